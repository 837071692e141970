"""What every record of a run says: with which program, on which machine, when, and how it was asked for."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path
from typing import Any

from homolog import __version__
from homolog.cli import invocation, terminal
from homolog.io.files import writing
from homolog.kernels.devices import in_use


def circumstances(seconds: float) -> dict[str, Any]:
    """The facts that do not depend on what was done."""
    return {
        "command": ["homolog", *invocation.words()],
        "folder": str(Path.cwd()),
        "version": __version__,
        "software": software(),
        "device": in_use(),
        "seconds": seconds,
        "finished": datetime.datetime.now().isoformat(timespec="seconds"),
    }


def software() -> dict[str, str]:
    """The versions of what computes."""
    from importlib.metadata import version

    names = ("numpy", "scipy", "numba", "nibabel", "SimpleITK")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def texts(values: dict[str, Any]) -> dict[str, Any]:
    """Paths as they are found from anywhere."""
    return {k: str(v.resolve()) if isinstance(v, Path) else v for k, v in values.items()}


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """A record, whole or not there."""
    with writing(path) as part:
        part.write_text(terminal.as_json(facts) + "\n")
