"""What `homolog demo` does: three commands that a user could have typed."""

from __future__ import annotations

import shlex
from pathlib import Path

from homolog.cli import terminal


def shown(output: Path) -> None:
    """Runs the commands one after the other."""
    from homolog.cli.main import run_within

    for words in _commands(output):
        terminal.note(f"\n$ homolog {shlex.join(words)}")
        run_within(words)
    terminal.note(f"\nopen {output / 'run' / 'report.html'} in a browser")


def _commands(output: Path) -> list[list[str]]:
    fixed, moving = (output / "cohort" / f"patient_00{n}" for n in (0, 1))
    draw = ["patients", "-n", "2", "--spacing", "3", "--region", "chest-abdomen-pelvis"]
    pair = [str(fixed / "ct.nii.gz"), str(moving / "ct.nii.gz")]
    moved = ["--labels", str(moving / "labels.nii.gz"), "--points", str(moving / "landmarks.mrk.json")]
    held = ["--fixed-labels", str(fixed / "labels.nii.gz"), "--fixed-points", str(fixed / "landmarks.mrk.json")]
    run = str(output / "run")
    return [
        [*draw, "-o", str(output / "cohort")],
        ["register", *pair, *moved, "-o", run],
        ["evaluate", run, *held],
    ]
