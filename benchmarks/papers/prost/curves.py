"""The benchmark's pictures, as SVG: similarities about the true pose, and how many poses end how near."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from convexity import ALONG, FREEDOMS, REACH, STEPS, Profile

# A panel of similarities, px, and what is beside it.
WIDE, HIGH, GAP, NAMES, HEAD = 92, 46, 8, 160, 34
BAND, LINE, AXIS, GEODESIC = "#c6dafc", "#1f6feb", "#999", "#1a7f37"
# Of the picture of errors: px, and the mm that it begins and ends with.
PLOT_WIDE, PLOT_HIGH, LEFT, BOTTOM, TOP, BESIDE = 420, 280, 48, 40, 16, 330
LEAST_MM, MOST_MM = 0.1, 200.0
COLOURS = (
    "#8a5a00", "#d29922", "#57606a", "#bf3989", "#8250df", "#cf222e", "#bc8f5f", "#8c959f", "#1a7f37", "#3fb950",
    "#1f6feb",
)  # fmt: skip


def similarities(profiles: dict[str, Sequence[Profile]], path: Path) -> None:
    """A row a similarity: along each degree of freedom, then along geodesics.

    Each line is stretched to the panel's height; shown are the median over cases and the middle half of them.
    """
    places = [NAMES + n * (WIDE + GAP) for n in range(len(FREEDOMS) + 1)]
    parts = [_heading(place, says) for place, says in zip(places, _headings())]
    for row, (name, found) in enumerate(profiles.items()):
        top = HEAD + row * (HIGH + GAP)
        parts.append(f'<text x="8" y="{top + HIGH / 2 + 4}">{escape(name)}</text>')
        for n, place in enumerate(places[:-1]):
            lines = np.array([profile.freedoms[n] for profile in found])
            parts.append(_panel(place, top, (STEPS + 1) / 2, lines, LINE, middle=True))
        ways = np.concatenate([profile.geodesics for profile in found])
        parts.append(_panel(places[-1], top, ALONG, ways, GEODESIC, middle=False))
    _write(path, places[-1] + WIDE + GAP, HEAD + len(profiles) * (HIGH + GAP), parts)


def _headings() -> list[str]:
    reach = [f"±{np.degrees(far):.0f}°" if n < 3 else f"±{far:.0f} mm" for n, far in enumerate(REACH)]
    return [f"{name}, {far}" for name, far in zip(FREEDOMS, reach)] + ["truth → start"]


def _heading(place: float, says: str) -> str:
    return f'<text x="{place + WIDE / 2}" y="{HEAD - 10}" text-anchor="middle">{says}</text>'


def _panel(left: float, top: float, across: np.ndarray, lines: np.ndarray, colour: str, *, middle: bool) -> str:
    """lines (N, S) over across (S,) from 0 to 1."""
    low, high = lines.min(axis=1, keepdims=True), lines.max(axis=1, keepdims=True)
    even = (lines - low) / np.maximum(high - low, 1e-30)
    x = left + WIDE * across
    low_y, mid_y, high_y = (top + HIGH * (1 - np.percentile(even, q, axis=0)) for q in (25, 50, 75))
    truth = left + WIDE / 2 if middle else left
    # every other point will do for the band, which halves the file
    band = _knots(np.concatenate((x[::2], x[::-2])), np.concatenate((low_y[::2], high_y[::-2])))
    return (
        f'<rect x="{left}" y="{top}" width="{WIDE}" height="{HIGH}" fill="none" stroke="#ddd"/>'
        f'<polygon points="{band}" fill="{BAND}"/>'
        f'<path d="M{truth} {top}V{top + HIGH}" stroke="{AXIS}" stroke-dasharray="2 2"/>'
        f'<polyline points="{_knots(x, mid_y)}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
    )


def errors(found: dict[str, Sequence[float]], path: Path) -> None:
    """How many of the poses end nearer than so many mm; found: by what the method says, target errors in mm."""
    parts = []
    for millimetres in (0.1, 1.0, 10.0, 100.0):
        x = _across(millimetres)
        parts.append(f'<path d="M{x:.1f} {TOP}V{PLOT_HIGH - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{PLOT_HIGH - BOTTOM + 15}" text-anchor="middle">{millimetres:g}</text>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _up(share)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{PLOT_WIDE}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>')
    parts.append(f'<text x="{(LEFT + PLOT_WIDE) / 2}" y="{PLOT_HIGH - 8}" text-anchor="middle">target error, mm</text>')
    parts.append(f'<text x="{PLOT_WIDE + 14}" y="{TOP + 4}">within 10 mm</text>')
    # names from the best method down, as the lines lie
    order = sorted(found, key=lambda name: -_share_within(found[name], 10.0))
    for row, name in enumerate(order):
        colour = COLOURS[list(found).index(name) % len(COLOURS)]
        parts.append(f'<polyline points="{_steps(found[name])}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        says = f"{100 * _share_within(found[name], 10.0):.0f} %  {escape(name.replace('`', ''))}"
        parts.append(f'<text x="{PLOT_WIDE + 14}" y="{TOP + 24 + 17 * row}" fill="{colour}">{says}</text>')
    _write(path, PLOT_WIDE + BESIDE, PLOT_HIGH, parts)


def _steps(values: Sequence[float]) -> str:
    """A staircase."""
    ordered = np.sort(np.asarray(values, float))
    shares = np.arange(1, len(ordered) + 1) / len(ordered)
    x = np.repeat([_across(value) for value in ordered], 2)
    y = np.column_stack((np.concatenate(([0.0], shares[:-1])), shares)).ravel()
    return _knots(x, np.array([_up(share) for share in y]))


def _share_within(values: Sequence[float], limit: float) -> float:
    return float((np.asarray(values) <= limit).mean())


def _across(millimetres: float) -> float:
    inside = np.clip(millimetres, LEAST_MM, MOST_MM)
    return float(LEFT + (PLOT_WIDE - LEFT) * np.log(inside / LEAST_MM) / np.log(MOST_MM / LEAST_MM))


def _up(share: float) -> float:
    return PLOT_HIGH - BOTTOM - (PLOT_HIGH - BOTTOM - TOP) * share


def _knots(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))


def _write(path: Path, wide: float, high: float, parts: Sequence[str]) -> None:
    size = f'viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" height="{high:.0f}"'
    style = 'font-family="sans-serif" font-size="11"'
    inside = '<rect width="100%" height="100%" fill="white"/>' + "".join(parts)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{inside}</svg>\n')
