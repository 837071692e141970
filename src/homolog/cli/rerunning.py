"""What `homolog rerun` does: the recorded command again, on inputs that must still be the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from homolog.cli import terminal
from homolog.cli.inputs import kind_of
from homolog.errors import BadInput, UnreadableFile
from homolog.io import volumes
from homolog.io.files import content_hash
from homolog.io.records import file_hash
from homolog.report.runs import Run, read_run


def rerun(path: Path, output: Path | None) -> None:
    """Runs a record's command, into its own folder or into another."""
    from homolog.cli.main import run_within

    run = read_run(path.parent if path.name == "run.json" else path)
    words = run.value("command")
    if not isinstance(words, list) or len(words) < 2:
        raise BadInput(f"{run.folder / 'run.json'} does not record its command", "run homolog register again")
    for what, recorded in _inputs(run):
        _require_unchanged(what, recorded)
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


def _inputs(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """What was registered, matched, grouped, aligned, or looked through for points: of each its path and hash."""
    xrays = run.value("xrays")
    if isinstance(xrays, list):
        shots = [("an X-ray", one) for one in xrays if isinstance(one, dict)]
        return [("the volume", run.section("volume")), *shots]
    for several in (run.value("volumes"), run.value("images")):
        if isinstance(several, list):
            return [("an image", one) for one in several if isinstance(one, dict)]
    return [(f"the {side} image", run.section(side)) for side in ("fixed", "moving")]


def _require_unchanged(what: str, recorded: dict[str, Any]) -> None:
    path, known = Path(str(recorded.get("path"))), recorded.get("hash")
    if not path.exists():
        raise UnreadableFile(f"{path}, {what} of the run, is gone", "bring it back, or run the command anew")
    if "file_hash" in recorded and path.is_file():
        known, is_picture = recorded["file_hash"], False
    else:
        is_picture = kind_of(path) == "volume"
    if known and (content_hash(volumes.read(path)) if is_picture else file_hash(path)) != known:
        raise BadInput(f"{path} is not {what} of the run: it has changed since", "run the command anew")
