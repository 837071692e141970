"""What `homolog rerun` does: the recorded command again, on inputs that must still be the same."""

from __future__ import annotations

import os
from pathlib import Path

from homolog.cli import terminal
from homolog.errors import BadInput, UnreadableFile
from homolog.io import volumes
from homolog.io.files import content_hash
from homolog.report.runs import Run, Side, read_run


def rerun(path: Path, output: Path | None) -> None:
    """Runs a record's command, into its own folder or into another."""
    from homolog.cli.main import run_within

    run = read_run(path.parent if path.name == "run.json" else path)
    words = run.value("command")
    if not isinstance(words, list) or len(words) < 2:
        raise BadInput(f"{run.folder / 'run.json'} does not record its command", "run homolog register again")
    for side in ("fixed", "moving"):
        _require_unchanged(run, side)
    place = output or run.folder
    words = _with_output(words[1:], place.absolute())
    terminal.note(f"homolog {' '.join(words)}")
    started = Path(str(run.value("folder") or Path.cwd()))
    here = Path.cwd()
    try:
        os.chdir(started if started.is_dir() else here)
        run_within(words)
    finally:
        os.chdir(here)


def _with_output(words: list[str], place: Path) -> list[str]:
    for n, word in enumerate(words):
        if word in ("-o", "--output"):
            return [*words[: n + 1], str(place), *words[n + 2 :]]
        if word.startswith("--output="):
            return [*words[:n], f"--output={place}", *words[n + 1 :]]
    return [*words, "-o", str(place)]


def _require_unchanged(run: Run, side: Side) -> None:
    path, recorded = Path(str(run.value(side, "path"))), run.value(side, "hash")
    if not path.exists():
        raise UnreadableFile(f"{path}, the {side} image of the run, is gone", "bring it back, or register again")
    if recorded and content_hash(volumes.read(path)) != recorded:
        raise BadInput(f"{path} is not the {side} image that was registered: it has changed since", "register again")
