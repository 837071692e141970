"""How a groupwise registration came to its end: its energy, and its landmarks' spread, over all steps in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from homolog.report.charts import MOST_POINTS
from homolog.report.page import figure, section
from homolog.report.runs import Run, number

# The chart of all steps: its size, and what is left around it for the words.
WIDE, TALL = 760, 250
LEFT, RIGHT, TOP, BELOW = 40, 150, 22, 24
# Words closer than this to each other, up and down, are moved apart.
LINE = 14
# About this many steps of the axis of distances.
TICKS = 4
# Width of a letter of a small chart's text, to see whether a word has room.
LETTER = 6.2
LINES = {"energy_mm": ("energy", "matches"), "spread_mm": ("landmarks", "landmarks")}
CONVERGENCE_KEY = (
    '<p class="note">Matches: the energy, a root mean square of the distances between their ends, each weighted by how '
    "sure it is to be right. The weights are found anew every few steps, so it may jump though nothing moves. "
    "Landmarks: the mean distance to their centroids; nothing is fitted to them.</p>"
)


def convergence(run: Run) -> str:
    """The energy over all steps, and the landmarks' spread on the same axis of mm; stages are parted by lines."""
    trace = run.value("trace")
    rows = [row for row in trace if isinstance(row, dict)] if isinstance(trace, list) else []
    found = {key: [number(row.get(key)) for row in rows] for key in LINES}
    top = max((value for values in found.values() for value in values if value is not None), default=0.0)
    if top <= 0:
        return ""
    spans = _spans(rows)
    drawn = [_rules(top), _stages(spans, len(rows))]
    ends: list[tuple[float, str, str]] = []
    for key, (kind, name) in LINES.items():
        drawn += [_line(found[key], span, len(rows), top, kind) for span in spans]
        last = next((value for value in reversed(found[key]) if value is not None), None)
        if last is not None:
            ends.append((_down(last, top), kind, f"{name} {figure(last, '.2f', 'mm')}"))
    says = "; ".join(_from_to(name, found[key]) for key, (_, name) in LINES.items() if any(found[key]))
    stopped = {"converged": "It ended because it stood still.", "max_steps": "It ended because its steps were used up."}
    why = stopped.get(str(run.value("stopped")), "")
    chart = (
        f'<div class="chart wide"><svg viewBox="0 0 {WIDE} {TALL}" role="img" aria-label="{escape(says)}">'
        f"{''.join(drawn)}{_words(ends)}</svg></div>"
    )
    told = f'<p class="quiet">{len(rows)} steps. {why}</p>'
    return section("Convergence", told + chart + CONVERGENCE_KEY)


def _spans(rows: Sequence[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Stages with the numbers of their first steps and of those after their last."""
    spans, start = [], 0
    for stage, several in groupby(rows, lambda row: str(row.get("stage", ""))):
        stop = start + len(list(several))
        spans.append((stage, start, stop))
        start = stop
    return spans


def _line(values: Sequence[float | None], span: tuple[str, int, int], count: int, top: float, kind: str) -> str:
    """A stage's part of a line: weights change between stages, so that no step leads from one to the next."""
    known = [n for n in range(span[1], span[2]) if values[n] is not None]
    if not known:
        return ""
    chosen = np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_POINTS)).round().astype(int))
    knots = [(_across(known[n], count), _down(float(values[known[n]] or 0), top)) for n in chosen]
    if len(knots) == 1:
        return f'<circle class="{kind}" cx="{knots[0][0]:.1f}" cy="{knots[0][1]:.1f}" r="2"/>'
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in knots)
    return f'<polyline class="{kind}" points="{told}"/>'


def _rules(top: float) -> str:
    """Lines across at round distances."""
    raw = top / TICKS
    unit = 10 ** np.floor(np.log10(raw))
    step = float(next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * (1 - 1e-9)))
    drawn = ""
    for tick in np.arange(0, top * (1 + 1e-9), step).tolist():
        y = _down(tick, top)
        unit_said = "\N{NO-BREAK SPACE}mm" if tick == 0 else ""
        drawn += (
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDE - RIGHT}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}{unit_said}</text>'
        )
    return drawn


def _stages(spans: Sequence[tuple[str, int, int]], count: int) -> str:
    drawn = ""
    for stage, start, stop in spans:
        left, right = _across(start, count), _across(stop, count)
        drawn += f'<line class="begins" x1="{left:.1f}" y1="{TOP - 14}" x2="{left:.1f}" y2="{TALL - BELOW}"/>'
        if right - left > LETTER * len(stage) + 6:
            drawn += f'<text x="{left + 4:.1f}" y="{TOP - 4}">{escape(stage)}</text>'
        drawn += f'<text x="{left:.1f}" y="{TALL - 6}">{start}</text>' if right - left > 30 else ""
    return drawn


def _words(ends: Sequence[tuple[float, str, str]]) -> str:
    """What the lines are, at their ends, none upon another."""
    drawn, above = "", -float(LINE)
    for y, kind, said in sorted(ends):
        y = max(y, above + LINE)
        drawn += f'<text class="{kind}" x="{WIDE - RIGHT + 8}" y="{y + 4:.1f}">{escape(said)}</text>'
        above = y
    return drawn


def _across(step: float, count: int) -> float:
    return LEFT + (WIDE - LEFT - RIGHT) * step / max(1, count)


def _down(value: float, top: float) -> float:
    return TOP + (TALL - TOP - BELOW) * (1 - value / top)


def _from_to(name: str, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{name} from {known[0]:.2f} to {known[-1]:.2f} mm"
