"""What the user sees: results on stdout, everything else on stderr; colours and bars only where a person looks."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from homolog.errors import HomologError

COLOURS = {"error:": "31", "warning:": "33", "hint:": "36"}
# How often a log file without a person in front of it is told how far a long step is.
SECONDS_BETWEEN_LINES = 10.0
# Before this share of a step is done, its speed says little of how long the rest takes.
TELLING_SHARE = 0.02


def result(text: object) -> None:
    """A line on stdout: what a script would want to read."""
    print(text, file=sys.stdout, flush=True)


def result_json(facts: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    result(as_json(facts))


def as_json(facts: dict[str, Any]) -> str:
    """JSON that every reader takes: NaN and infinities, which it has no words for, become null."""
    return json.dumps(plain(facts), indent=2, allow_nan=False)


def note(text: object) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


def show_error(error: HomologError, hint: str) -> None:
    """Two lines: what is wrong, and what to do, which is `hint` where the error does not say."""
    _marked("error:", error.message)
    _marked("hint:", error.hint or hint, pad=" ")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table on stdout: drawn on a terminal, columns of plain text elsewhere."""
    cells = [[_cell(value) for value in row] for row in rows]
    words = [n == 0 or not any(row[n][:1].isdigit() for row in cells) for n in range(len(columns))]
    if not is_terminal(sys.stdout):
        widths = [max(len(row[n]) for row in [list(columns), *cells]) for n in range(len(columns))]
        lines = [
            [cell.ljust(width) if left else cell.rjust(width) for cell, width, left in zip(row, widths, words)]
            for row in [list(columns), *cells]
        ]
        result("\n".join(["  ".join(line).rstrip() for line in lines]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for n, column in enumerate(columns):
        table.add_column(column, justify="left" if words[n] else "right")
    for row in cells:
        table.add_row(*row)
    Console().print(table)


def duration(seconds: float) -> str:
    """A time for people: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at it, who can be shown colours and moving bars."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """How far a long step is: a bar on a terminal, elsewhere a line every ten seconds.

    `on_step(stage, fraction)` is the callback that methods take; a third number (their energy) is let pass.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._began: dict[str, tuple[float, float]] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> Progress:
        if is_terminal(sys.stderr):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            left = (TextColumn("left"), TimeRemainingColumn())
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), *left)
            # rich would send stdout to where the bar is, even if stdout is a file
            on_screen = is_terminal(sys.stdout)
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=on_screen)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_step(self, stage: str, fraction: float, energy: float | None = None) -> None:
        began, at_first = self._began.setdefault(stage, (time.monotonic(), fraction))
        if self._bar is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bar.add_task(stage, total=1.0)
            self._bar.update(self._tasks[stage], completed=fraction)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            note(f"{stage}: {100 * fraction:.0f} %{_left(self._last_line - began, at_first, fraction)}")


def _left(seconds: float, at_first: float, fraction: float) -> str:
    """How long the rest takes if it goes on like this.

    at_first  what was done before the seconds began, as of work that is gone on with
    """
    if not (fraction - at_first >= TELLING_SHARE and fraction < 1):
        return ""
    return f", about {duration(seconds / (fraction - at_first) * (1 - fraction))} left"


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Within the block, what libraries warn of or log as a warning is a `warning:` line on stderr."""
    handler = _Lines(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _marked("warning:", str(message))
            yield
    finally:
        root.removeHandler(handler)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # nibabel writes its own lines to stderr
        if not record.name.startswith("nibabel"):
            _marked("warning:", record.getMessage())


def _marked(mark: str, text: str, pad: str = "") -> None:
    if mark in COLOURS and is_terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
        mark = f"\x1b[{COLOURS[mark]}m{mark}\x1b[0m"
    note(f"{mark}{pad} {text}")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def plain(value: Any) -> Any:
    """The same without NaN, infinities and NumPy's own numbers."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return value if isinstance(value, (int, str, bool, type(None))) else str(value)
