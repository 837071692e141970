"""From a frozen dataclass to flags: the one place that knows the argument parser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from homolog.cli.configs import Common, Reading

# A Config whose fields are flags: `config: Annotated[Apply, FLAGS] = Apply()`.
FLAGS = Parameter(name="*")

CommonFlags = Annotated[Common, Parameter(name="*", group=Group("Common", sort_key=9))]
ReadingFlags = Annotated[Reading, Parameter(name="*", group=Group("The map's file", sort_key=8))]
MapFile = Annotated[Path, Parameter(help="The map's file: .h5, .tfm, .txt, .mat, a displacement .nii.gz, ...")]
Output = Annotated[Path, Parameter(name=("--output", "-o"), help="The file to write.")]
OptionalOutput = Annotated[Path | None, Parameter(name=("--output", "-o"), help="The file to write.")]


def application(name: str, summary: str, **options: object) -> App:
    """An empty command that further ones are hung into.

    Flags have no `--no-` twins: every switch is off unless named.
    """
    default = Parameter(negative=(), show_default=_default, consume_multiple=True)
    return App(
        name=name,
        help=summary,
        help_format="plaintext",
        default_parameter=default,
        print_error=False,
        exit_on_error=False,
        **options,  # type: ignore[arg-type]
    )


def _default(value: object) -> str | None:
    """How a default is shown; a switch's is plain from its being one."""
    if value in (False, (), None):
        return None
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
