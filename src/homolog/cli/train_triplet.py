"""`homolog train triplet`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from homolog.cli.configs import Common
from homolog.cli.options import FLAGS, CommonFlags
from homolog.cli.train import Folder, Train, told, trained
from homolog.train.configs import TripletConfig

if TYPE_CHECKING:
    from homolog.space.keypoints import Keypoints
    from homolog.train.loop import OnStep, Plan, State

RecipeFlags = Annotated[TripletConfig, Parameter(name="*", group=Group("The recipe", sort_key=8))]


@dataclass(frozen=True, kw_only=True)
class TrainPairs(Train):
    """On pairs of which volumes."""

    volumes: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    """CTs to warp and train on besides the virtual patients."""
    landmarks: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    """Named landmarks of a cohort, a file a patient: volumes are warped as these patients differ locally; else as
    virtual ones do."""
    points_space: Literal["LPS", "RAS", "voxel"] | None = None
    """The frame of --landmarks, where the files do not say their own."""


def triplet(
    *,
    out: Folder,
    config: Annotated[TrainPairs, FLAGS] = TrainPairs(),
    recipe: RecipeFlags = TripletConfig(),
    common: CommonFlags = Common(),
) -> None:
    """Trains the network that homolog keypoints --describe patch describes points by.

    It learns from patches around keypoints of two volumes that show the same
    places: a virtual patient, or a CT that is given, and a warp of it, or another
    virtual patient. The folder gets weights.safetensors with its card, log.csv,
    training.html and checkpoint.pt, from which the same line goes on, with the same
    result as if it had never stopped. A longer --minutes goes on further.

      homolog train triplet --minutes 60 --out trained
      homolog train triplet --net paper --minutes 60 --out published
      homolog keypoints ct.nii.gz --describe trained -o keys
    """
    from homolog.train import triplet as training

    marks = landmarks_of(config)

    def work(plan: Plan, on_step: OnStep) -> State:
        return training.train(
            out, plan, recipe, volumes=config.volumes, landmarks=marks, device=config.device, on_step=on_step
        )

    told(out, trained(config, work), config, training.chosen(recipe))


def landmarks_of(config: TrainPairs) -> list[Keypoints]:
    """The cohort's, one set a patient."""
    from homolog.io import keypoints
    from homolog.io.files import stem_of

    return [keypoints.read_keypoints(one, space=stem_of(one), frame=config.points_space) for one in config.landmarks]
