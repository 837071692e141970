"""Draws what trainings logged, a panel a column: python benchmarks/training_curves.py --out curves.svg NAME=FOLDER ...

Each point is the mean of so many steps that a curve has sixty of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from homolog.train.loop import rows

# px
WIDE, HIGH, LEFT, TOP, GAP = 300, 150, 52, 40, 66
POINTS = 60
# Where a curve's largest value is so many times its least, it is drawn by its logarithm.
DECADES = 20
COLOURS = ("#1f6feb", "#d29922", "#1a7f37", "#cf222e", "#8250df", "#57606a")
LEFT_OUT = ("step", "seconds", "gradient_norm", "loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trained", nargs="+", metavar="NAME=FOLDER", help="trainings, with log.csv in them")
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    given = parser.parse_args()
    logs = {name: rows(Path(folder) / "log.csv") for name, _, folder in (one.partition("=") for one in given.trained)}
    shown = [column for column in next(iter(logs.values()))[0] if column not in LEFT_OUT]
    columns = ["loss", *shown]
    parts = []
    for n, column in enumerate(columns):
        held = {name: [row for row in log if column in row] for name, log in logs.items()}
        parts += panel(n, column, {name: log for name, log in held.items() if log}, list(logs))
    width, height = LEFT + len(columns) * (WIDE + GAP), TOP + HIGH + 44
    given.out.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def panel(number: int, column: str, logs: dict[str, Sequence[dict[str, float]]], names: Sequence[str]) -> list[str]:
    left = LEFT + number * (WIDE + GAP)
    curves = {name: curve(log, column) for name, log in logs.items()}
    longest = max(float(minutes.max()) for minutes, _ in curves.values())
    low, high = (float(pick([pick(values) for _, values in curves.values()])) for pick in (np.min, np.max))
    # what falls by much is drawn by its logarithm
    by_decades = low > 0 and high > DECADES * low
    low = low if by_decades else 0.0

    def height(values: np.ndarray) -> np.ndarray:
        if by_decades:
            return np.log(values / low) / np.log(high / low)
        return values / max(high, 1e-9)

    parts = [
        f'<path d="M{left} {TOP}V{TOP + HIGH}H{left + WIDE}" fill="none" stroke="#555"/>',
        f'<text x="{left}" y="{TOP - 24}">{escape(column)}</text>',
        f'<text x="{left - 4}" y="{TOP + 8}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{left - 4}" y="{TOP + HIGH}" text-anchor="end">{low:.2g}</text>',
        f'<text x="{left + WIDE}" y="{TOP + HIGH + 14}" text-anchor="end">{longest:.0f} minutes</text>',
    ]
    for place, (name, (minutes, values)) in enumerate(curves.items()):
        colour = COLOURS[names.index(name) % len(COLOURS)]
        x, y = left + WIDE * minutes / longest, TOP + HIGH * (1 - height(values))
        knots = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
        parts.append(f'<polyline points="{knots}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        says = f"{escape(name)} {values[-1]:.3g}"
        parts.append(f'<text x="{left + 90 * place}" y="{TOP - 8}" fill="{colour}">{says}</text>')
    return parts


def curve(log: Sequence[dict[str, float]], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Minutes and means of some steps each."""
    found = np.array([[row["seconds"] / 60, row[column]] for row in log])
    means = np.array([part.mean(axis=0) for part in np.array_split(found, min(POINTS, len(found)))])
    return means[:, 0], means[:, 1]


if __name__ == "__main__":
    main()
