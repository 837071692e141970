"""The figures of a group as tables; the worst first, and long ones folded."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from homolog.report.charts import dumbbell
from homolog.report.group_members import Member
from homolog.report.group_pictures import Common, rings
from homolog.report.page import NONE, figure, folded, number, path_text, section, table
from homolog.report.runs import Run
from homolog.report.runs import number as finite
from homolog.report.tables import percent

# Rows that are read; the others are looked up.
SHOWN, FARTHEST = 20, 10
STAGES = {"before": "before", "linear": "linear maps", "end": "at the end"}
SPREADS = {
    "centroid_mm": "centroid, mean",
    "median_mm": "centroid, median",
    "max_mm": "centroid, largest",
    "pairwise_mm": "two images, mean",
}
IMAGES_KEY = (
    '<p class="note">Right: matches taken for right at the end. Residual: how far apart their ends lie, root mean '
    "square. c₁: the scale of right matches’ distances in the mixture. Landmarks: the mean distance of the image’s "
    "landmarks to their centroids. Folds: voxels at which the map folds, by one-sided differences. Inverse: there and "
    "back again, mean and largest.</p>"
)
LANDMARKS_KEY = (
    '<p class="note">Centroid: a landmark’s mean place over the images that fit and have it. Between two images, '
    "distances are about √(2 N / (N − 1)) times as large.</p>"
)


def images(members: Sequence[Member]) -> str:
    """All images, in the order given."""
    rows = [_image(each) for each in members]
    heads = ("keypoints", "matches", "right", "of all", "residual, mm", "c₁, mm", "landmarks, mm", "folds",
             "inverse, mm")  # fmt: skip
    # a column in which no image has anything is none
    kept = [n for n in range(1, len(heads) + 1) if any(row[n] != number(None) for row in rows)]
    cells = [[row[0], *(row[n] for n in kept), row[-1]] for row in rows]
    head = ["image", *(_column(heads[n - 1]) for n in kept), "fits"]
    return section("All images, the worst first", _long(head, cells, "images") + IMAGES_KEY if rows else "")


def doubtful(members: Sequence[Member], run: Run) -> str:
    """Those that do not fit or fold, and what was left out, each with the reason."""
    rows = [[_name(each), "; ".join(map(escape, _reasons(each)))] for each in members if _reasons(each)]
    left_out = run.value("left_out")
    gone = [each for each in left_out if isinstance(each, dict)] if isinstance(left_out, list) else []
    rows += [[path_text(each.get("path", "")), f"left out: {escape(str(each.get('why', '')))}"] for each in gone]
    return section("What to look at", _long(["image", "why"], rows, "images"))


def landmarks(run: Run) -> str:
    """The spread of landmarks at each stage by both definitions, and landmark by landmark."""
    found = run.section("landmarks")
    stages = {key: name for key, name in STAGES.items() if run.section("landmarks", key)}
    rows = [
        [said, *(number(finite(run.section("landmarks", stage).get(key))) for stage in stages)]
        for key, said in SPREADS.items()
        if any(finite(run.section("landmarks", stage).get(key)) is not None for stage in stages)
    ]
    spread = f"<div><h3>Distances</h3>{table(['mm', *map(_column, stages.values())], rows)}{_counted(run)}</div>"
    each = {
        str(name): mm for name, value in _dict(found.get("by_landmark")).items() if (mm := finite(value)) is not None
    }
    ranked = [[escape(name), number(mm)] for name, mm in sorted(each.items(), key=lambda item: -item[1])]
    worst = _long(["to their centroid, at the end", _column("mean, mm")], ranked, "landmarks", FARTHEST)
    parts = (spread if rows else "") + (f"<div><h3>The farthest landmarks</h3>{worst}</div>" if worst else "")
    return section("Landmarks", f'<div class="columns">{parts}</div>{LANDMARKS_KEY}' if parts else "")


def overlap(run: Run) -> str:
    """How well labels handed on meet those that the images have."""
    found = run.section("overlap")
    dice = {str(name): value for name, each in _dict(found.get("dice")).items() if (value := finite(each)) is not None}
    rows = [
        [escape(name), dumbbell(None, value), number(value, ".3f")]
        for name, value in sorted(dice.items(), key=lambda item: item[1])
    ]
    mean = finite(found.get("mean_dice"))
    foot = [] if mean is None else ["mean", dumbbell(None, mean), number(mean, ".3f")]
    given = found.get("from")
    names = ", ".join(map(str, given)) if isinstance(given, list) else ""
    said = (
        f"<p>Labels of {escape(names)} were handed on to the others, and compared with their own.</p>" if names else ""
    )
    body = table(["structure", "Dice, 0 to 1", _column("mean")], rows, foot)
    return section("Labels handed on", said + body if body else "")


def regions(run: Run, common: Common | None) -> str:
    """Where in the common space right matches lie farthest apart."""
    found = run.value("regions")
    listed = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    placed = [(_centre(each), each) for each in listed if _centre(each) is not None]
    rows = [
        [
            str(n),
            *(number(float(x), ".0f") for x in centre),  # type: ignore[union-attr]
            number(finite(each.get("residual_mm"))),
            _count(finite(each.get("matches"))),
        ]
        for n, (centre, each) in enumerate(placed, 1)
    ]
    if not rows:
        return ""
    head = ["", *map(_column, ("x, LPS mm", "y", "z", "residual, mm", "matches"))]
    picture = rings(common, np.array([centre for centre, _ in placed])) if common else ""
    said = '<p class="quiet">Places in the common space where matches taken for right still lie farthest apart.</p>'
    return section("Where images meet worst", said + picture + table(head, rows))


# ---------------------------------------------------------------------------------------------------------------------
# Cells


def _image(member: Member) -> list[str]:
    said = member.said
    matches, right = member.counts
    share = None if not matches or right is None else right / matches
    folds, mean, most = (
        said.number("folding", "fraction"),
        said.number("inverse", "mean_mm"),
        said.number("inverse", "max_mm"),
    )
    largest = "" if mean is None or most is None else f" <span class='quiet'>{figure(most, '.2f')}</span>"
    return [
        _name(member),
        _count(said.number("keypoints")),
        _count(matches),
        _count(right),
        number(None if share is None else 100 * share, ".1f", "%"),
        number(said.number("residual_mm")),
        number(said.number("scatter_mm")),
        number(said.number("landmarks_mm")),
        number(None) if folds is None else f"\N{ZERO WIDTH SPACE}{percent(folds)}",
        number(mean, ".3f") + largest,
        '<span class="worse">▲ no</span>' if member.doubts else "yes",
    ]


def _name(member: Member) -> str:
    later = "" if member.place is not None else " <span class='quiet'>placed later</span>"
    return f"{escape(member.name)}{later}"


def _reasons(member: Member) -> list[str]:
    """Why an image should not be relied on."""
    folds = (
        [f"its map folds at {percent(member.said.number('folding', 'fraction'))} of the voxels"] if member.folds else []
    )
    return [*member.doubts, *folds]


def _counted(run: Run) -> str:
    """Over how many landmarks and images the spread is."""
    end = run.section("landmarks", "end")
    marks, images_ = finite(end.get("landmarks")), finite(end.get("images"))
    if marks is None or images_ is None:
        return ""
    return f'<p class="note">{marks:.0f} landmarks of {images_:.0f} images.</p>'


def _long(head: Sequence[str], rows: Sequence[Sequence[str]], what: str, most: int = SHOWN) -> str:
    """A table, whose rows beyond those that are read are folded away."""
    shown = table(head, rows[:most])
    if len(rows) <= most:
        return shown
    return shown + folded(f"The other {len(rows) - most} {what}", table(head, rows[most:]))


def _count(value: float | None) -> str:
    return f"\N{ZERO WIDTH SPACE}{NONE if value is None else f'{value:,.0f}'.replace(',', ' ')}"


def _centre(region: dict[str, Any]) -> np.ndarray | None:
    found = region.get("centre_mm")
    numbers = [finite(each) for each in found] if isinstance(found, list) else []
    return np.array(numbers, float) if len(numbers) == 3 and None not in numbers else None


def _column(name: str) -> str:
    return f"\N{ZERO WIDTH SPACE}{name}"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
