"""How landmarks and time go with the number of patients, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 240, 48, 40, 30
COLOURS = {"as published": "#8a5a00", "default": "#1f6feb", "partners": "#1a7f37"}
Line = Sequence[tuple[float, float]]


def plotted(cohorts: dict[str, Any], partners: dict[str, Any], path: Path) -> None:
    """Left: landmark distance and time against patients; right: against partners a patient, in the largest cohort."""
    sizes = sorted(int(size) for size in cohorts if size.isdigit())

    def along(kind: str, name: str) -> Line:
        return [(size, cohorts[str(size)][kind][name]) for size in sizes]

    few = [(int(count), row) for count, row in partners.items()]
    whole = cohorts[str(sizes[-1])]
    few.append((sizes[-1] - 1, {**whole["better"], "matching_user_s": whole["matching_user_s"]}))
    panels = [
        _panel("patients", "landmarks, mm", {"as published": along("compat", "landmarks_end_mm"),
                                             "default": along("better", "landmarks_end_mm")}, 0),
        _panel("patients", "user s, drawn together", {"as published": along("compat", "user_s"),
                                                      "default": along("better", "user_s")}, 1),
        _panel(f"partners of each of {sizes[-1]}", "landmarks, mm",
               {"partners": [(n, row["landmarks_end_mm"]) for n, row in few]}, 2),
        _panel(f"partners of each of {sizes[-1]}", "user s, matched and drawn together",
               {"partners": [(n, row["user_s"] + row["matching_user_s"]) for n, row in few]}, 3),
    ]  # fmt: skip
    size = f'viewBox="0 0 {2 * WIDTH} {2 * HEIGHT}" width="{2 * WIDTH}" height="{2 * HEIGHT}"'
    style = 'font-family="sans-serif" font-size="11"'
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}><rect width="100%" height="100%" fill="white"/>'
        + "".join(panels)
        + "</svg>\n"
    )


def _panel(across: str, up: str, lines: dict[str, Line], place: int) -> str:
    left, top = WIDTH * (place % 2), HEIGHT * (place // 2)
    most_x = 1.08 * max(x for line in lines.values() for x, _ in line)
    most_y = 1.15 * max(y for line in lines.values() for _, y in line)

    def at(x: float, y: float) -> tuple[float, float]:
        wide, high = WIDTH - LEFT - 20, HEIGHT - BOTTOM - TOP
        return left + LEFT + wide * x / most_x, top + HEIGHT - BOTTOM - high * y / most_y

    (x0, y0), (x1, y1) = at(0, 0), at(most_x, most_y)
    parts = [f'<path d="M{x0:.1f} {y1:.1f}V{y0:.1f}H{x1:.1f}" fill="none" stroke="#555"/>']
    parts.append(f'<text x="{(x0 + x1) / 2:.0f}" y="{y0 + 30:.0f}" text-anchor="middle">{across}</text>')
    parts.append(f'<text x="{x0:.0f}" y="{y1 - 8:.0f}">{up}</text>')
    for n in range(1, 5):
        parts.append(_tick(*at(0, most_y * n / 4), f"{most_y * n / 4:.3g}"))
    for n, (name, line) in enumerate(lines.items()):
        colour = COLOURS[name]
        points = [at(x, y) for x, y in line]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        for (x, y), (number, value) in zip(points, line):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            # of two lines that meet, one has its numbers above and the other below
            beside = y - 6 if n == 0 else y + 15
            parts.append(f'<text x="{x:.1f}" y="{beside:.1f}" text-anchor="middle" fill="{colour}">{value:.3g}</text>')
            parts.append(f'<text x="{x:.1f}" y="{y0 + 14:.1f}" text-anchor="middle">{number:g}</text>')
        if len(lines) > 1:
            parts.append(f'<text x="{x0 + 120:.0f}" y="{y1 - 8 + 14 * n:.0f}" fill="{colour}">{name}</text>')
    return "".join(parts)


def _tick(x: float, y: float, text: str) -> str:
    return f'<text x="{x - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
