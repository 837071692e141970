"""Small drawings of numbers, as SVG in the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from homolog.report.page import figure
from homolog.report.runs import number

# Points of a line: a screen shows no more.
MOST_POINTS = 200
WIDTH, HEIGHT = 230, 90
MARGIN = 6
TEXT = 22
BARS_WIDTH, MOST_BARS = 480, 48


def dumbbell(before: float | None, after: float | None) -> str:
    """Two figures between 0 and 1 on one track: a ring before, a dot after; a loss is dashed as well as coloured."""
    if after is None:
        return ""
    parts = ['<line class="track" x1="0" y1="8" x2="200" y2="8"/>']
    if before is not None:
        kind = "gain" if after >= before else "loss"
        parts.append(f'<line class="{kind}" x1="{200 * before:.1f}" y1="8" x2="{200 * after:.1f}" y2="8"/>')
        parts.append(f'<circle class="was" cx="{200 * before:.1f}" cy="8" r="4"/>')
    parts.append(f'<circle class="is" cx="{200 * after:.1f}" cy="8" r="4.6"/>')
    return f'<svg class="dumbbell" viewBox="0 0 200 16" aria-hidden="true">{"".join(parts)}</svg>'


def traces(trace: Any) -> str:
    """A chart for each stage of an optimisation, each on its own scale: the energies of two stages do not compare.

    trace  rows of {"stage", "step", "energy"} in the order they were written; rows without a number are left out
    """
    rows = [row for row in trace if isinstance(row, dict)] if isinstance(trace, list) else []
    finite = [row for row in rows if number(row.get("energy")) is not None]
    charts = [_trace(str(stage), [row["energy"] for row in group]) for stage, group in groupby(finite, _stage)]
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def signed_counts(sizes: np.ndarray, sign: np.ndarray | None) -> str:
    """How many points there are of each size, dark ones below bright ones, in equal steps of the logarithm.

    sizes  (N,) mm
    sign   (N,) -1 dark, +1 bright, or None
    """
    edges = _steps(float(sizes.min()), float(sizes.max()))
    dark = np.zeros(len(sizes), bool) if sign is None else sign < 0
    counts = [np.histogram(sizes[of], edges)[0] for of in (dark, ~dark)]
    most, wide = max(1, int((counts[0] + counts[1]).max())), BARS_WIDTH / (len(edges) - 1)
    bars, foot = "", np.zeros(len(edges) - 1)
    for kind, found in zip(("dark", "bright"), counts):
        for n, count in enumerate(found.tolist()):
            top = HEIGHT * (1 - (foot[n] + count) / most)
            tall = HEIGHT * count / most
            says = f"{count} {kind}, {edges[n]:.3g} to {edges[n + 1]:.3g} mm"
            bars += (
                f'<rect class="{kind}" x="{n * wide + 0.5:.1f}" y="{top:.1f}" width="{wide - 1:.1f}" '
                f'height="{tall:.1f}"><title>{says}</title></rect>'
            )
        foot += found
    line = f'<line x1="0" y1="{HEIGHT}" x2="{BARS_WIDTH}" y2="{HEIGHT}"/>'
    return (
        f'<div class="chart bars"><svg viewBox="0 0 {BARS_WIDTH} {HEIGHT + TEXT}" role="img" '
        f'aria-label="counts of points by scale">{bars}{line}'
        f'<text x="0" y="{HEIGHT + 16}">{figure(edges[0], ".3g", "mm")}</text>'
        f'<text x="{BARS_WIDTH / 2}" y="{HEIGHT + 16}" text-anchor="middle">most in a step: {most}</text>'
        f'<text x="{BARS_WIDTH}" y="{HEIGHT + 16}" text-anchor="end">{figure(edges[-1], ".3g", "mm")}</text>'
        "</svg></div>"
    )


def _steps(least: float, largest: float) -> np.ndarray:
    """Edges a tenth of a doubling apart and more, so that no more than MOST_BARS bars stand."""
    most = max(largest, least * 1.01)
    count = min(MOST_BARS, max(1, int(np.ceil(np.log2(most / least) * 10))))
    return np.geomspace(least, most * (1 + 1e-9), count + 1)


def _stage(row: dict[str, Any]) -> Any:
    return row.get("stage", "")


def _trace(stage: str, energies: Sequence[float]) -> str:
    """One stage's energies, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(energies) - 1, min(len(energies), MOST_POINTS)).round().astype(int))
    values = np.array(energies, float)[chosen]
    spread = np.ptp(values) or 1.0
    across = MARGIN + (WIDTH - 2 * MARGIN) * (chosen / max(1, len(energies) - 1))
    down = MARGIN + (HEIGHT - 2 * MARGIN) * (1 - (values - values.min()) / spread)
    knots = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down))
    first, last = figure(energies[0], ".4g"), figure(energies[-1], ".4g")
    steps = f"{len(energies)} step{'s' if len(energies) != 1 else ''}"
    return (
        f'<div class="chart"><h3>{escape(stage) or "energy"}</h3>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + TEXT}" role="img" aria-label="energy from {first} to {last} in {steps}">'
        f'<line x1="0" y1="{HEIGHT}" x2="{WIDTH}" y2="{HEIGHT}"/><polyline points="{knots}"/>'
        f'<circle cx="{across[-1]:.1f}" cy="{down[-1]:.1f}" r="3"/>'
        f'<text x="0" y="{HEIGHT + 16}">{first} → {last}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 16}" text-anchor="end">{steps}</text></svg></div>'
    )
