"""`homolog register`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from homolog import methods
from homolog.cli import terminal
from homolog.cli.configs import Common, Register
from homolog.cli.method_flags import MethodFlags
from homolog.cli.options import FLAGS, CommonFlags

Fixed = Annotated[Path, Parameter(help="The image that stays where it is: a file, a DICOM folder or zip.")]
Moving = Annotated[Path, Parameter(help="The image that is brought onto it.")]
Folder = Annotated[Path, Parameter(name=("--output", "-o"), help="The folder to write to.")]


def register(
    fixed: Fixed,
    moving: Moving,
    /,
    *,
    output: Folder,
    config: Annotated[Register, FLAGS] = Register(),
    options: Any = None,
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

    Each method has options of its own, shown by naming it:

      homolog register --method linear --help
    """
    from homolog.cli import registering
    from homolog.cli.resources import working_on

    with working_on(config.device), terminal.Progress() as progress:
        done = registering.registered(fixed, moving, output, config, options, progress.on_step)
    terminal.note(registering.quality_line(done))
    if config.json:
        terminal.result_json(done)
    else:
        terminal.result(output / "run.json")


METHODS = MethodFlags(methods.PAIRWISE_OPTIONS, Register.method)


def for_line(words: Sequence[str]) -> Callable[..., None]:
    """The command with the flags of the method that a line names."""
    return METHODS.for_line(register, words)
