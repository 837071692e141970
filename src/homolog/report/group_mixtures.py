"""Each image's matches by how far apart they lie, and the two distributions that part the right from the wrong."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log

import numpy as np

from homolog.kernels.mixture import maxwell
from homolog.report.group_members import Member
from homolog.report.page import figure, folded, section
from homolog.report.runs import Run, number

# Charts shown at once, and their size.
SHOWN = 12
WIDTH, HEIGHT, TEXT = 230, 84, 20
# mm, where the logarithm begins and which distances are written.
LEAST_MM, WRITTEN_MM = 0.5, (1, 3, 10, 30, 100, 300, 1000)
# A bar is this many times as wide as the one to its left, where a bin is not wider than that.
GROWTH = 1.12
CURVE_POINTS = 64
KEY = (
    '<p class="key"><span>{end}counts at the end</span><span>{linear}after the linear stage</span>'
    "<span>{right}right matches, as fitted</span><span>{astray}wrong ones, as fitted</span></p>"
    '<p class="note">How many matches of an image lie how far apart in the common space. Distances run with their '
    "logarithm, and areas are numbers of matches. Two hills that stand apart can be told apart; where there is only "
    "the one on the right, nothing of the image was found in the others.</p>"
)

Points = list[tuple[float, float]]


def mixtures(run: Run, members: Sequence[Member]) -> str:
    """A small chart for each image, in the order given; those beyond a screenful are folded away."""
    bin_mm = run.number("histograms", "bin_mm") or 1.0
    charts = [chart for each in members if (chart := _mixture(run, each, bin_mm))]
    if not charts:
        return ""
    body = _charts(charts[:SHOWN])
    if len(charts) > SHOWN:
        body += folded(f"The other {len(charts) - SHOWN}", _charts(charts[SHOWN:]))
    return section("Right and wrong matches", _key() + body)


def _charts(several: Sequence[str]) -> str:
    return f'<div class="charts mixtures">{"".join(several)}</div>'


def _mixture(run: Run, member: Member, bin_mm: float) -> str:
    end, linear = (_counts(run, stage, member.place) for stage in ("end", "linear"))
    if end is None or end.sum() <= 0:
        return ""
    curves = _curves(member, end, bin_mm)
    steps = {"end": _heights(end, bin_mm), "linear": [] if linear is None else _heights(linear, bin_mm)}
    high = max(y for several in (*steps.values(), *curves.values()) for _, y in several) or 1.0
    last = log(max(len(end), 0 if linear is None else len(linear)) * bin_mm / LEAST_MM)
    drawn = "".join(
        f'<path class="{kind}" d="{_path(points, last, high)}"/>'
        for kind, points in {**steps, **curves}.items()
        if points
    )
    sign = ' <span class="worse">▲ does not fit</span>' if member.doubts else ""
    return (
        f'<div class="chart"><h3>{escape(member.name)}{sign}</h3>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + TEXT}" role="img" aria-label="{escape(_told(member))}">{drawn}'
        f'<line x1="0" y1="{HEIGHT}" x2="{WIDTH}" y2="{HEIGHT}"/>{_distances(last)}</svg>'
        f'<p class="note">{escape(_told(member))}</p></div>'
    )


def _counts(run: Run, stage: str, place: int | None) -> np.ndarray | None:
    """(bins,) of an image after a stage; None where the record has none."""
    rows = run.value("histograms", stage)
    if place is None or not isinstance(rows, list) or place >= len(rows) or not isinstance(rows[place], list):
        return None
    found = np.array([number(count) or 0.0 for count in rows[place]])
    return found if found.size else None


def _heights(counts: np.ndarray, bin_mm: float) -> Points:
    """The outline of bars over the logarithm of the distance: so many matches to a step of e."""
    edges = _edges(len(counts))
    logs = np.log(np.maximum(edges * bin_mm, LEAST_MM) / LEAST_MM)
    heights = np.add.reduceat(counts, edges[:-1]) / np.maximum(np.diff(logs), 1e-9)
    corners: Points = [(float(logs[0]), 0.0)]
    for left, right, height in zip(logs[:-1].tolist(), logs[1:].tolist(), heights.tolist()):
        corners += [(left, height), (right, height)]
    return [*corners, (float(logs[-1]), 0.0)]


def _edges(bins: int) -> np.ndarray:
    """Numbers of the bins at which bars begin, and where the last one ends."""
    edges = [0]
    while edges[-1] < bins:
        edges.append(min(bins, max(edges[-1] + 1, round(edges[-1] * GROWTH))))
    return np.array(edges)


def _curves(member: Member, counts: np.ndarray, bin_mm: float) -> dict[str, Points]:
    """Right and wrong matches as the mixture has them, on the axes of `_heights`; nothing where it is not known."""
    share, right, astray = (member.said.number(key) for key in ("share", "scatter_mm", "astray_mm"))
    reach = len(counts) * bin_mm
    if share is None or not 0 <= share <= 1 or reach <= LEAST_MM:
        return {}
    at = np.geomspace(LEAST_MM, reach, CURVE_POINTS)
    parts = {"right": (share, right), "astray": (1 - share, astray)}
    densities = {
        kind: part * maxwell(at, c) for kind, (part, c) in parts.items() if c is not None and c > 0 and part > 0
    }
    # the histogram ends somewhere, the distributions do not: both have the same area as far as it goes
    mass = sum(float(np.trapezoid(density * at, np.log(at))) for density in densities.values())
    if mass <= 0:
        return {}
    logs, scale = np.log(at / LEAST_MM).tolist(), float(counts.sum()) / mass
    return {kind: list(zip(logs, (density * at * scale).tolist())) for kind, density in densities.items()}


def _path(points: Points, last: float, high: float) -> str:
    x = [WIDTH * across / max(last, 1e-9) for across, _ in points]
    y = [HEIGHT * (1 - height / high) for _, height in points]
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y))


def _distances(last: float) -> str:
    """The written distances, those that the axis holds."""
    drawn = ""
    for mm in WRITTEN_MM:
        x = WIDTH * log(mm / LEAST_MM) / max(last, 1e-9)
        if x < WIDTH - 12:
            said = f"{mm}\N{NO-BREAK SPACE}mm" if mm == WRITTEN_MM[0] else str(mm)
            drawn += (
                f'<line x1="{x:.1f}" y1="{HEIGHT}" x2="{x:.1f}" y2="{HEIGHT + 4}"/>'
                f'<text x="{x:.1f}" y="{HEIGHT + 16}" text-anchor="middle">{said}</text>'
            )
    return drawn


def _told(member: Member) -> str:
    """The mixture in words."""
    share, right, astray = (member.said.number(key) for key in ("share", "scatter_mm", "astray_mm"))
    said = [
        "" if share is None else f"{figure(100 * share, '.1f')} % right",
        "" if right is None else f"they scatter by {figure(right, '.1f', 'mm')}",
        "" if astray is None else f"the others by {figure(astray, '.0f', 'mm')}",
    ]
    return ", ".join(each for each in said if each)


def _key() -> str:
    samples = {
        kind: f'<svg class="sample" viewBox="0 0 26 12" aria-hidden="true"><path class="{kind}" d="{path}"/></svg>'
        for kind, path in (("end", "M1 11V5H13V2H25V11"), ("linear", "M1 11V5H13V2H25V11"), ("right", "M1 6H25"),
                           ("astray", "M1 6H25"))
    }  # fmt: skip
    return KEY.format(**samples)
