"""`homolog train pose`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from homolog.cli.align_config import Align
from homolog.cli.configs import Common
from homolog.cli.options import FLAGS, CommonFlags
from homolog.cli.train import Folder, Train, told, trained
from homolog.train.configs import PoseConfig

if TYPE_CHECKING:
    from homolog.train.pose_data import Subject

Ct = Annotated[Path, Parameter(help="The volume whose X-rays are to be aligned: a file, a DICOM folder or zip.")]
RecipeFlags = Annotated[PoseConfig, Parameter(name="*", group=Group("The recipe", sort_key=8))]


@dataclass(frozen=True, kw_only=True)
class TrainPose(Train):
    """Of what."""

    camera: Path | None = None
    """A file of the camera that takes the X-rays, if it is known; else any C-arm or Bucky table is drawn."""
    volume_mask: Path | None = None
    """A label map of the volume: the points are taken where it is not 0, and X-rays aim there."""
    labels: tuple[int, ...] = ()
    """The labels of --volume-mask that count; default all but 0."""
    values: Literal["auto", "hu", "relative"] = "auto"
    """What the volume's numbers are: Hounsfield units, or numbers that grow from 0 with attenuation."""
    spacing_mm: tuple[float, float, float] | None = None
    """mm, x y z, the voxels of a TIFF stack, which does not say them."""


def pose(
    ct: Ct,
    /,
    *,
    out: Folder,
    config: Annotated[TrainPose, FLAGS] = TrainPose(),
    recipe: RecipeFlags = PoseConfig(),
    common: CommonFlags = Common(),
) -> None:
    """Trains a network, for one volume, that says from an X-ray about where it was taken.

    It learns from projections of the volume itself to find points of it. Minutes
    are enough where it is known from which side the X-rays are taken (--view). It
    knows this volume only; homolog align --start takes the folder. At the end it is
    tried on X-rays drawn anew.

      homolog train pose ct.nii.gz --view front --minutes 5 --out trained
      homolog align ct.nii.gz xray.dcm --start trained -o run
    """
    from homolog.train import loop
    from homolog.train import pose as training

    subject, of = read(ct, config, recipe)

    def work(plan: loop.Plan, on_step: loop.OnStep) -> loop.State:
        return training.train(out, plan, subject, recipe, of=of, device=config.device, on_step=on_step)

    state = trained(config, work)
    numbers = training.tried(state, subject, recipe)
    plan = loop.Plan(config.steps, config.minutes, config.seed)
    loop.write_weights(state, out, training.record_of(state, subject, recipe, plan, of) | {"numbers": numbers})
    told(out, state, config, recipe, numbers, f"; {in_words(numbers)}")


def read(ct: Path, config: TrainPose, recipe: PoseConfig) -> tuple[Subject, dict[str, Any]]:
    """What is trained on, and what the card says of the volume."""
    from homolog.cli.align_volume import body_mask, read_body
    from homolog.io.cameras import read_cameras
    from homolog.io.files import content_hash
    from homolog.train.pose_data import subject

    flags = Align(values=config.values, spacing_mm=config.spacing_mm)
    body = read_body(ct, flags)
    masked = replace(flags, volume_mask=config.volume_mask, labels=config.labels)
    mask = body_mask(body.picture, ct, masked)
    part = body.volume if mask is None else body.volume.with_data(body.volume.numpy() * mask)
    camera = None if config.camera is None else read_cameras(config.camera)[0].camera
    of = {"path": str(ct), "space": body.picture.space, "hash": content_hash(body.picture)}
    return subject(body.volume, part, recipe, camera, config.seed), of


def in_words(numbers: dict[str, float]) -> str:
    """How far off poses are on X-rays that were drawn anew."""
    if not numbers["found"]:
        return "it finds no pose yet: train it longer, or say from which side the X-rays are taken (--view)"
    return (
        f"on X-rays drawn anew it finds a pose in {100 * numbers['found']:.0f} of 100, half of them within "
        f"{numbers['degrees_50']:.1f} degrees and {numbers['mm_50']:.0f} mm, nine tenths within "
        f"{numbers['degrees_90']:.1f} degrees and {numbers['mm_90']:.0f} mm"
    )
