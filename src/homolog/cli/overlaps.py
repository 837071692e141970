"""How well labels meet, before a map and after it: figures of each structure, means, and which got worse."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np

from homolog.cli.configs import Evaluate
from homolog.cli.maps import Map
from homolog.errors import GridMismatch
from homolog.io import volumes
from homolog.io.label_names import names_beside, read_label_names
from homolog.metrics import overlap
from homolog.metrics.changes import Change, change, worse
from homolog.space.grid import Grid
from homolog.space.sampling import resample, warp
from homolog.space.volume import Volume

Figures = dict[int, float]


def overlaps(config: Evaluate, the_map: Map | None) -> dict[str, Any]:
    """What there is to say of labels, as JSON takes it.

    A structure that one of the two patients has not is no number and counts in no mean. One that both have and that is
    not in the fixed picture (where the headers put it, or where the map carried it to) has Dice 0, and no distance.
    One that a picture's border cuts is measured like the others and named in `cut`: no map can make it whole.
    """
    assert config.fixed_labels is not None
    space = the_map.space("fixed") if the_map else "fixed"
    fixed = volumes.read_labels(config.fixed_labels, space=space)
    if config.moving_labels is None:
        assert config.warped_labels is not None
        warped = volumes.read_labels(config.warped_labels, space=space)
        _require_same_grid(fixed, warped, config)
        facts = {"dice": overlap.dice(fixed, warped), "hd95_mm": overlap.hausdorff95_mm(fixed, warped)}
        return {**_named(config), **_summed(facts, cut(fixed))}
    assert the_map is not None
    moving = volumes.read_labels(config.moving_labels, space=the_map.space("moving"))
    return {**_named(config), **before_and_after(fixed, moving, the_map)}


def before_and_after(fixed: Volume, moving: Volume, the_map: Map) -> dict[str, Any]:
    """The figures of labels that a map brings over."""
    before = resample(moving.in_space(fixed.space), fixed.grid, outside=0)
    after = warp(moving, the_map.transform, fixed.grid, outside=0)
    ours, theirs = _present(fixed), _present(moving)
    labels = sorted(ours | theirs)
    figures = {
        "dice_before": _dice(fixed, before, labels, ours & theirs),
        "dice": _dice(fixed, after, labels, ours & theirs),
        "hd95_mm_before": overlap.hausdorff95_mm(fixed, before, labels),
        "hd95_mm": overlap.hausdorff95_mm(fixed, after, labels),
    }
    alone = {"only_fixed": sorted(ours - theirs), "only_moving": sorted(theirs - ours)}
    return {**_summed(figures, cut(fixed) | cut(moving)), **alone}


def cut(labels: Volume) -> set[int]:
    """The labels that the border of their picture cuts: those on its outermost voxels."""
    data = labels.numpy()
    faces = [np.take(data, end, axis) for axis in range(3) if data.shape[axis] > 1 for end in (0, -1)]
    return {int(label) for face in faces for label in np.unique(face)} - {0}


def dice_change(labels: dict[str, Any], only: set[int] | None = None) -> Change:
    return _change(labels, "dice", only)


def distance_change(labels: dict[str, Any], only: set[int] | None = None) -> Change:
    return _change(labels, "hd95_mm", only)


def whole(labels: dict[str, Any]) -> set[int]:
    """The structures that no border cuts."""
    return set(labels["dice"]) - set(labels["cut"])


def _change(labels: dict[str, Any], name: str, only: set[int] | None) -> Change:
    before, after = labels.get(f"{name}_before", {}), labels[name]
    chosen = set(after) if only is None else only
    return change(*({label: figure for label, figure in each.items() if label in chosen} for each in (before, after)))


def _summed(figures: dict[str, Figures], cut_labels: set[int]) -> dict[str, Any]:
    """The figures with their means, over all structures and over those that no border cuts."""
    facts: dict[str, Any] = {**figures, "cut": sorted(cut_labels)}
    for key, only in (("mean", None), ("mean_whole", whole(facts))):
        dice, distance = dice_change(facts, only), distance_change(facts, only)
        means = {
            "dice_before": dice.before,
            "dice": dice.after,
            "hd95_mm_before": distance.before,
            "hd95_mm": distance.after,
        }
        facts[key] = {name: mean for name, mean in means.items() if name in figures}
        facts[f"{key}_of"] = {"dice": dice.count, "hd95_mm": distance.count}
    if "dice_before" in figures:
        facts["worse"] = {
            "dice": worse(figures["dice_before"], figures["dice"], larger_is_better=True),
            "hd95_mm": worse(figures["hd95_mm_before"], figures["hd95_mm"], larger_is_better=False),
        }
    return facts


def _dice(fixed: Volume, warped: Volume, labels: list[int], in_both: set[int]) -> Figures:
    """Dice, which is 0 where a structure that both patients have was not brought into the picture."""
    found = overlap.counts(fixed, warped, labels)
    return {
        label: 2 * count.shared / (count.fixed + count.warped) if label in in_both else nan
        for label, count in found.items()
    }


def _present(labels: Volume) -> set[int]:
    return {int(label) for label in np.unique(labels.numpy())} - {0}


def _named(config: Evaluate) -> dict[str, Any]:
    if config.label_names:
        return {"names": read_label_names(config.label_names)}
    beside = [path for path in (config.fixed_labels, config.moving_labels or config.warped_labels) if path]
    return {"names": next((names for path in beside if (names := names_beside(path))), {})}


def _require_same_grid(fixed: Volume, warped: Volume, config: Evaluate) -> None:
    if not fixed.grid.same_as(warped.grid):
        raise GridMismatch(
            f"{config.warped_labels} is on {_shape(warped.grid)} voxels, {config.fixed_labels} on {_shape(fixed.grid)}"
            + (", elsewhere" if warped.grid.shape == fixed.grid.shape else ""),
            f"homolog apply identity {config.warped_labels} --labels --like {config.fixed_labels} -o on_fixed.nii.gz",
        )


def _shape(grid: Grid) -> str:
    return "x".join(map(str, grid.shape))
