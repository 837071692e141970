"""`homolog register`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common, Register
from homolog.cli.options import FLAGS, CommonFlags
from homolog.pairwise.configs import LinearConfig

Fixed = Annotated[Path, Parameter(help="The image that stays where it is: a file, a DICOM folder or zip.")]
Moving = Annotated[Path, Parameter(help="The image that is brought onto it.")]
Folder = Annotated[Path, Parameter(name=("--output", "-o"), help="The folder to write to.")]
LinearFlags = Annotated[LinearConfig, Parameter(name="*", group=Group("The method linear", sort_key=8))]


def register(
    fixed: Fixed,
    moving: Moving,
    /,
    *,
    output: Folder,
    config: Annotated[Register, FLAGS] = Register(),
    linear: LinearFlags = LinearConfig(),
    common: CommonFlags = Common(),
) -> None:
    """Lays the moving image on the fixed one.

    The folder gets moving_from_fixed.h5 and fixed_from_moving.h5 with their
    records, warped.nii.gz, labels_warped.nii.gz and points_on_fixed.mrk.json if
    those were given, run.json and report.html. The last line says how good it is,
    and says POOR when it should not be believed.

    The same command again redoes only what is missing.

      homolog register ct_march.nii.gz ct_june/ --labels organs_june.nii.gz -o run
      homolog evaluate run --fixed-labels organs_march.nii.gz
    """
    from homolog.cli import registering

    with terminal.Progress() as progress:
        done = registering.registered(fixed, moving, output, config, linear, progress.on_step)
    terminal.note(registering.quality_line(done))
    if config.json:
        terminal.result_json(done)
    else:
        terminal.result(output / "run.json")
