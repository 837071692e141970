"""`homolog demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli.configs import Common
from homolog.cli.options import CommonFlags

Folder = Annotated[Path, Parameter(name=("--output", "-o"), help="The folder to write to.")]


def demo(*, output: Folder = Path("demo"), common: CommonFlags = Common()) -> None:
    """Draws two virtual patients, registers them, and shows how good that was.

    The three commands it runs are printed before each: they are yours to change.
    Open run/report.html in the folder afterwards.
    """
    from homolog.cli import demonstration

    demonstration.shown(output)
