"""`homolog register`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from homolog import methods
from homolog.cli import terminal
from homolog.cli.configs import Common, Register
from homolog.cli.options import FLAGS, CommonFlags
from homolog.errors import BadInput

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

    with terminal.Progress() as progress:
        done = registering.registered(fixed, moving, output, config, options, progress.on_step)
    terminal.note(registering.quality_line(done))
    if config.json:
        terminal.result_json(done)
    else:
        terminal.result(output / "run.json")


def for_line(words: Sequence[str]) -> Callable[..., None]:
    """The command with the flags of the method that a line names; two methods may call different things alike."""
    name = _method(words)
    options: Any = methods.resolve(methods.PAIRWISE_OPTIONS[name])
    flags: Any = Annotated[options, Parameter(name="*", group=Group(f"The method {name}", sort_key=8))]

    def command(*given: Any, **named: Any) -> None:
        # a parser leaves out what no flag was given for
        register(*given, **{"options": options(), **named})

    command.__doc__ = register.__doc__
    command.__signature__ = _with_options(flags, options())  # type: ignore[attr-defined]
    return command


def owners(flag: str) -> list[str]:
    """The methods that have an option of this flag's name."""
    field = flag.partition("=")[0].removeprefix("--").replace("-", "_")
    return [name for name, place in methods.PAIRWISE_OPTIONS.items() if hasattr(methods.resolve(place)(), field)]


def _with_options(flags: Any, default: Any) -> Any:
    """The signature of `register` with these for its options."""
    from inspect import signature

    found = signature(register, eval_str=True)
    parameters = dict(found.parameters)
    parameters["options"] = parameters["options"].replace(annotation=flags, default=default)
    return found.replace(parameters=list(parameters.values()))


def _method(words: Sequence[str]) -> str:
    """The method that a line names, the usual one where it names none."""
    name = Register().method
    for word, after in zip(words, [*words[1:], ""]):
        if word == "--method":
            name = after
        elif word.startswith("--method="):
            name = word.partition("=")[2]
    if name not in methods.PAIRWISE:
        near = get_close_matches(name, methods.PAIRWISE, n=1)
        said = f"did you mean --method {near[0]}?" if near else f"--method {' or '.join(methods.PAIRWISE)}"
        raise BadInput(f"no method is called {name!r}", said)
    return name
