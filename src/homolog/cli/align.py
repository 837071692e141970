"""`homolog align`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from homolog import methods
from homolog.cli import terminal
from homolog.cli.align_config import Align
from homolog.cli.configs import Common
from homolog.cli.method_flags import MethodFlags
from homolog.cli.options import FLAGS, CommonFlags

Ct = Annotated[Path, Parameter(help="The volume: a file, a DICOM folder or zip, a TIFF stack.")]
Xrays = Annotated[
    Path, Parameter(help="X-rays of one moment: DICOM, PNG, TIFF, or 2D pictures of NIfTI, MetaImage, NRRD.")
]
Folder = Annotated[Path, Parameter(name=("--output", "-o"), help="The folder to write to.")]


def align(
    ct: Ct,
    /,
    *xrays: Xrays,
    output: Folder,
    config: Annotated[Align, FLAGS] = Align(),
    options: Any = None,
    common: CommonFlags = Common(),
) -> None:
    """Finds where a volume lies in X-rays of the same patient.

    The volume is one rigid body: a head, a pelvis, a single bone. Bones that move
    against each other are found in a run each, every one with its own
    --volume-mask.

    The folder gets pose.json (matrices for each X-ray, with the conventions spelt
    out, and how uncertain they are), pictures of each X-ray beside its projection,
    trajectory.csv, run.json and report.html. The last line is the verdict: GOOD,
    CHECK or FAILED, with the reasons. Look at the pictures before you rely on it.

    The same command again redoes only what is missing.

      homolog align ct.nii.gz xray.dcm -o run
      homolog align ct.nii.gz ap.png lateral.png --camera rig.json -o run
      homolog align ct.nii.gz xray.png --focal-mm 1020 --pitch-mm 0.3 -o run
      homolog align ct.nii.gz xray.dcm --volume-mask pelvis.nii.gz -o run
      homolog evaluate run --truth pose.json

    Each method has options of its own, shown by naming it:

      homolog align --method gradient --help
    """
    from homolog.cli import aligning

    with terminal.Progress() as progress:
        done = aligning.aligned(ct, xrays, output, config, options, progress.on_step)
    for line in aligning.assumptions(done):
        terminal.note(line)
    if config.json:
        terminal.result_json(done)
    else:
        terminal.result(output / "run.json")
    terminal.note(aligning.verdict_line(done))


METHODS = MethodFlags(methods.PROJECTIVE_OPTIONS, Align.method)


def for_line(words: Sequence[str]) -> Callable[..., None]:
    """The command with the flags of the method that a line names."""
    return METHODS.for_line(align, words)
