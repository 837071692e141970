"""`homolog doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common, Doctor
from homolog.cli.options import FLAGS, CommonFlags
from homolog.errors import BadInput

Files = Annotated[Path, Parameter(help="Files to say of what they are.")]


def doctor(
    *files: Files,
    config: Annotated[Doctor, FLAGS] = Doctor(),
    common: CommonFlags = Common(),
) -> None:
    """Says what homolog finds on this machine, and what files are.

    Versions, devices, threads, memory, compiled kernels, cache. Paste it into the
    report of a problem.
    """
    from homolog.cli import machine

    facts = machine.facts()
    found = {str(path): machine.what_is(path) for path in files}
    if config.json:
        terminal.result_json({**facts, "files": found} if files else facts)
    else:
        for name, value in facts.items():
            terminal.result(f"{name:10}  {machine.as_text(value)}")
        for name, what in found.items():
            terminal.result(f"{name}: {what['says']}")
    broken = [name for name, what in found.items() if what["kind"] == "unreadable"]
    if broken:
        raise BadInput(
            f"{len(broken)} of {len(files)} files cannot be read: {', '.join(broken)}", found[broken[0]]["hint"]
        )
