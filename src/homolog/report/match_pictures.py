"""A page of the matches between two volumes: both patients side by side, and lines from point to point."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from homolog.io.files import writing
from homolog.report import png, views
from homolog.report.page import figure, number, page, section, table
from homolog.report.pictures import button, label
from homolog.report.projections import seen_through
from homolog.report.scene import Motion
from homolog.report.views import AXIAL, CORONAL, SAGITTAL, Plane, View
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.volume import Volume

# Lines that an eye can still follow.
MOST_LINES = 200
# Rows of the table.
LISTED = 10
# mm between the two pictures, round points that have no picture, and of a letter's height.
BETWEEN_MM, ROUND_MM, LETTER_MM = 60.0, 20.0, 14.0
PLANES = (CORONAL, SAGITTAL, AXIAL)
DOT_MM = 1.6
# Voxels along each side of a picture of nothing.
NOTHING = 32


@dataclass(frozen=True, eq=False)
class Judged:
    """What is known of each match.

    agrees  (M,) bool
    by      what it agrees with: "the known map"
    within  how far it may lie off: "4 mm"
    """

    agrees: np.ndarray
    by: str
    within: str


@dataclass(frozen=True, eq=False)
class Pair:
    """What was matched; a picture of either side may be missing."""

    fixed: Keypoints
    moving: Keypoints
    matches: Matches
    fixed_picture: Volume | None = None
    moving_picture: Volume | None = None

    @property
    def places_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """(M, 3) LPS mm of both ends of each match."""
        rows, columns = self.matches.pairs.T
        return self.fixed.position[rows], self.moving.position[columns]


def write_page(
    pair: Pair, path: Path, judged: Judged | None = None, rows: Sequence[tuple[str, str, str]] = (), says: str = ""
) -> Path:
    """One HTML file that needs no network.

    rows  of a table: how near matches are to where a map puts them, how many, and their share
    says  a sentence on the map
    """
    sections = [
        _top(pair, judged),
        _lines(pair, judged),
        section("Matches and the map", _counts(rows, says)),
        section("The nearest descriptors", _nearest(pair, judged)),
    ]
    with writing(path) as part:
        title = f"{len(pair.matches)} matches of {pair.moving.space} with {pair.fixed.space}"
        part.write_text(page(title, sections), encoding="utf-8")
    return path


def motion_in_words(pair: Pair, judged: Judged) -> str:
    """What the matches that agree say of the way from the one patient to the other."""
    fixed, moving = (places[judged.agrees] for places in pair.places_mm)
    if len(fixed) < 4 or np.linalg.matrix_rank(fixed - fixed.mean(axis=0), tol=1.0) < 3:
        return ""
    motion = Motion.of(fixed, moving)
    shift = figure(float(np.linalg.norm(motion.shift_mm)), ".1f", "mm")
    turn, factor = figure(motion.turn_degrees, ".1f"), figure(motion.volume_factor, ".3f")
    return (
        f"Those {len(fixed)} shift by {shift}, turn by {turn}° and multiply volumes by {factor}; beyond that they "
        f"scatter by {figure(motion.rest_mm, '.2f', 'mm')} (root mean square)."
    )


def _top(pair: Pair, judged: Judged | None) -> str:
    tiles = {"fixed keypoints": len(pair.fixed), "moving keypoints": len(pair.moving), "matches": len(pair.matches)}
    if judged is not None:
        tiles |= {f"within {judged.within} of {judged.by}": int(judged.agrees.sum())}
    told = "".join(f'<div class="tile"><dt>{escape(name)}</dt><dd>{value}</dd></div>' for name, value in tiles.items())
    names = f"{escape(pair.moving.space)} <small>matched with</small> {escape(pair.fixed.space)}"
    return f'<header><h1>{names}</h1><dl class="tiles">{told}</dl></header>'


def _counts(rows: Sequence[tuple[str, str, str]], says: str) -> str:
    sentence = f'<p class="quiet">{escape(says)}</p>' if says else ""
    cells = [
        [escape(name), f"\N{ZERO WIDTH SPACE}{count}", f"\N{ZERO WIDTH SPACE}{share}"] for name, count, share in rows
    ]
    heads = ["", "\N{ZERO WIDTH SPACE}matches", "\N{ZERO WIDTH SPACE}share"]
    return sentence + table(heads, cells) if cells else sentence


def _nearest(pair: Pair, judged: Judged | None) -> str:
    rows = []
    ends = pair.places_mm
    for n, row in enumerate(_best(pair.matches, LISTED).tolist(), 1):
        places = [number(float(value), ".1f") for end in ends for value in end[row]]
        far = None if pair.matches.distance is None else float(pair.matches.distance[row])
        agrees = [] if judged is None else ["yes" if judged.agrees[row] else "no"]
        rows.append([str(n), *places, number(far, ".3f"), *agrees])
    heads = [f"\N{ZERO WIDTH SPACE}{name}" for name in ("fixed x, LPS mm", "y", "z", "moving x", "y", "z", "distance")]
    return table(["", *heads, *([] if judged is None else ["agrees"])], rows)


# ---------------------------------------------------------------------------------------------------------------------
# Lines


def _lines(pair: Pair, judged: Judged | None) -> str:
    modes = [("lines", "All of these"), ("bare", "Pictures alone")]
    if judged is not None:
        modes[1:1] = [("agreeing", "Those that agree"), ("others", "The others")]
    buttons = "".join(button(n, mode, name, n == 1) for n, (mode, name) in enumerate(modes, 1))
    best = _best(pair.matches, MOST_LINES)
    parts = [_two(pair, judged, plane, best) for plane in PLANES]
    which = "all matches"
    if len(best) < len(pair.matches):
        which = f"the {len(best)} of {len(pair.matches)} matches whose descriptors are nearest"
    pictured = any(picture is not None for picture in (pair.fixed_picture, pair.moving_picture))
    looked = "both patients looked through, as in a radiograph; " if pictured else ""
    says = f"{looked}{which}; fixed on the left, moving on the right"
    body = f'<div class="modes">{buttons}</div>\n{label("Lines", says)}{"".join(parts)}{_key(judged)}'
    text = section("Point to point", body, "explorer")
    return text.replace('class="explorer"', 'class="explorer" data-mode="lines"', 1)


def _key(judged: Judged | None) -> str:
    if judged is None:
        return '<p class="key"><span>no map is known, nor agreed on, by which to judge</span></p>'
    where = f"{judged.within} of {escape(judged.by)}"
    return (
        f'<p class="key"><span><i class="swatch agreeing"></i>within {where}</span>'
        '<span><i class="swatch others"></i>farther off, dashed</span></p>'
    )


def _two(pair: Pair, judged: Judged | None, plane: Plane, best: np.ndarray) -> str:
    """Both patients in one plane, to one scale, and the lines between them."""
    left = _frame(pair.fixed_picture, pair.fixed, plane)
    right = _frame(pair.moving_picture, pair.moving, plane)
    start = left.size_mm[0] + BETWEEN_MM
    width, height = start + right.size_mm[0], max(left.size_mm[1], right.size_mm[1])
    fixed, moving = (view.seen(places[best]) for view, places in zip((left, right), pair.places_mm))
    ends = (fixed, moving + (start, 0.0))
    agrees = np.ones(len(best), bool) if judged is None else judged.agrees[best]
    inside = (
        _side(left, pair.fixed_picture, pair.fixed, 0.0)
        + _side(right, pair.moving_picture, pair.moving, start)
        + _drawn("others", ends, ~agrees)
        + _drawn("agreeing" if judged is not None else "unjudged", ends, agrees)
    )
    names = f"<span>fixed: {escape(pair.fixed.space)}</span><span>moving: {escape(pair.moving.space)}</span>"
    return (
        f'<figure class="match {plane.name}"><figcaption><b>{plane.name.capitalize()}</b>{names}</figcaption>'
        f'<svg viewBox="0 0 {width:.2f} {height:.2f}" role="img" aria-label="{plane.name}: lines between '
        f'matched points">{inside}</svg></figure>'
    )


def _frame(picture: Volume | None, points: Keypoints, plane: Plane) -> View:
    """What is shown of a patient: the whole picture, or where the points are."""
    shown = picture if picture is not None else _around(points)
    return next(view for view in views.views_of(shown) if view.plane is plane)


def _around(points: Keypoints) -> Volume:
    """A picture of nothing, as large as the box round the points."""
    low, high = np.full(3, -ROUND_MM), np.full(3, ROUND_MM)
    if len(points):
        low, high = points.position.min(axis=0) - ROUND_MM, points.position.max(axis=0) + ROUND_MM
    side = (high - low) / NOTHING
    grid = Grid.regular((NOTHING,) * 3, side, low + side / 2)
    return Volume(np.zeros(grid.shape, np.float32), grid, points.space)


def _side(view: View, picture: Volume | None, points: Keypoints, start_mm: float) -> str:
    """A patient, with the letters of its edges; all points where there is no picture."""
    width, height = view.size_mm
    parts = [f'<rect x="{start_mm:.2f}" y="0" width="{width:.2f}" height="{height:.2f}"/>']
    if picture is not None:
        data = b64encode(png.encode(seen_through(picture, view))).decode("ascii")
        parts.append(
            f'<image x="{start_mm:.2f}" y="0" width="{width:.2f}" height="{height:.2f}" preserveAspectRatio="none" '
            f'href="data:image/png;base64,{data}"/>'
        )
    else:
        seen = view.seen(points.position) + (start_mm, 0.0)
        parts += [f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="{DOT_MM}"/>' for x, y in seen.tolist()]
    places = ((0, height / 2), (width, height / 2), (width / 2, 0), (width / 2, height))
    inwards = ((LETTER_MM, 0), (-LETTER_MM, 0), (0, LETTER_MM), (0, -LETTER_MM))
    for letter, (x, y), (dx, dy) in zip(view.plane.letters, places, inwards):
        at = f'x="{start_mm + x + dx:.1f}" y="{y + dy + 0.35 * LETTER_MM:.1f}"'
        parts.append(f'<text {at} font-size="{LETTER_MM}">{letter}</text>')
    return "".join(parts)


def _drawn(kind: str, ends: Sequence[np.ndarray], chosen: np.ndarray) -> str:
    """The lines of some matches, with a dot at each end."""
    parts = []
    for (x, y), (to_x, to_y) in zip(ends[0][chosen].tolist(), ends[1][chosen].tolist()):
        parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{DOT_MM}"/>' for a, b in ((x, y), (to_x, to_y))]
    return f'<g class="{kind}">{"".join(parts)}</g>'


def _best(matches: Matches, most: int) -> np.ndarray:
    """(N,) rows of the matches whose descriptors are nearest, best first; the first ones where that is not known."""
    if matches.distance is None:
        return np.arange(min(most, len(matches)))
    return np.argsort(matches.distance, kind="stable")[:most]
