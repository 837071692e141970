"""What `homolog evaluate` found, as tables for people: what it comes to first, then structure by structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from homolog.cli.overlaps import dice_change, distance_change, whole
from homolog.metrics.changes import Change

Table = tuple[list[str], list[list[object]]]

# Structures named in a line of the summary; the table below it marks them all.
MOST_NAMED = 5


def tables(facts: dict[str, Any]) -> list[Table]:
    """The figures as tables: what it comes to, the map, and every structure."""
    found = [_changes(facts), _of_the_map(facts)]
    if "labels" in facts:
        found.append(_structures(facts["labels"]))
    return [(columns, rows) for columns, rows in found if rows]


def notes(facts: dict[str, Any]) -> list[str]:
    """Lines on what the tables leave out, and on what got worse."""
    return _label_notes(facts["labels"]) if "labels" in facts else []


def _changes(facts: dict[str, Any]) -> Table:
    """Means before and after."""
    rows: list[list[object]] = []
    labels = facts.get("labels")
    if labels:
        rows += _label_changes(labels)
    errors = facts.get("target_error_mm", {})
    before, after = errors.get("before", {}), errors.get("after", {})
    if errors:
        count = len((after or before)["error"])
        for key, name in (("mean", f"mean of {count}"), ("p95", "95 %"), ("max", "largest")):
            rows.append([f"landmark error, {name}, mm", _mm(before.get(key)), _mm(after.get(key))])
    return ["", "before", "after"], rows


def _label_changes(labels: dict[str, Any]) -> list[list[object]]:
    dice, distance = dice_change(labels), distance_change(labels)
    rows = [_row("Dice, mean of", dice, 3), _row("hd95, mm, mean of", distance, 2)]
    only = whole(labels)
    if labels["cut"] and only:
        rows.append(_row("Dice, those shown whole:", dice_change(labels, only), 3))
        rows.append(_row("hd95, mm, those shown whole:", distance_change(labels, only), 2))
    return rows


def _row(name: str, means: Change, digits: int) -> list[object]:
    return [f"{name} {means.count}", _text(means.before, digits), _text(means.after, digits)]


def _of_the_map(facts: dict[str, Any]) -> Table:
    rows: list[list[object]] = []
    if "folding" in facts:
        folds = facts["folding"]
        rows = [
            ["folds, % of voxels", 100 * folds["fraction"]],
            ["folds by central differences, %", 100 * folds["fraction_central"]],
            ["sdlogj", folds["sdlogj"]],
            ["sdlogj as Learn2Reg counts", folds["sdlogj_l2r"]],
        ]
    for side, trip in facts.get("inverse_consistency_mm", {}).items():
        rows.append([f"there and back from {side}, mean, mm", trip["mean"]])
        rows.append([f"there and back from {side}, largest, mm", trip["max"]])
    return ["the map", ""], [[name, _small(value)] for name, value in rows]


def _structures(labels: dict[str, Any]) -> Table:
    """Every structure: its figures, and what there is to know of them."""
    measures = [key for key in ("dice_before", "dice", "hd95_mm_before", "hd95_mm") if key in labels]
    heads = {
        "dice_before": "Dice before",
        "dice": "after",
        "hd95_mm_before": "hd95 before, mm",
        "hd95_mm": "after, mm",
    }
    if "dice_before" not in labels:
        heads |= {"dice": "Dice", "hd95_mm": "hd95, mm"}
    rows: list[list[object]] = []
    for label in labels["dice"]:
        cells = [_text(labels[key][label], 3 if key.startswith("dice") else 2) for key in measures]
        rows.append([_called(label, labels), *cells, _remark(label, labels)])
    return ["structure", *(heads[key] for key in measures), ""], rows


def _remark(label: int, labels: dict[str, Any]) -> str:
    worse = [
        name for name, key in (("Dice", "dice"), ("hd95", "hd95_mm")) if label in labels.get("worse", {}).get(key, ())
    ]
    remarks = {
        "only in fixed": label in labels.get("only_fixed", ()),
        "only in moving": label in labels.get("only_moving", ()),
        "cut": label in labels["cut"],
        f"{' and '.join(worse)} worse": bool(worse),
    }
    return ", ".join(remark for remark, true in remarks.items() if true)


def _label_notes(labels: dict[str, Any]) -> list[str]:
    lines = []
    for name, key in (("Dice", "dice"), ("hd95", "hd95_mm")):
        worse = labels.get("worse", {}).get(key, [])
        if worse:
            lines.append(f"worse than before in {name}: {_listed(worse, labels)}")
    lost = [label for label, figure in labels["dice"].items() if figure == 0]
    if lost:
        lines.append(f"not met at all (Dice 0): {_listed(lost, labels)}")
    if labels["cut"]:
        lines.append(f"cut by a picture's border, so that no map can make them whole: {_listed(labels['cut'], labels)}")
    for side, other in (("fixed", "moving"), ("moving", "fixed")):
        alone = labels.get(f"only_{side}", [])
        if alone:
            lines.append(f"in no mean, as the {other} labels have none: {_listed(alone, labels)}")
    return lines


def _listed(found: Sequence[int], labels: Mapping[str, Any]) -> str:
    named = ", ".join(_called(label, labels) for label in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"{len(found)} of {len(labels['dice'])} ({named}{more})"


def _called(label: int, labels: Mapping[str, Any]) -> str:
    name = labels["names"].get(label)
    return f"{label} {name}" if name else str(label)


def _mm(value: float | None) -> str:
    return _text(value, 2)


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None or not isfinite(value) else f"{value:.{digits}f}"


def _small(value: object) -> object:
    """A figure of rounding, 3e-14, is as good as none."""
    return "< 0.001" if isinstance(value, float) and 0 < value < 0.001 else value
