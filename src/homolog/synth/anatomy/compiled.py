"""The body as the kernel's tables, with the cells in which each shape can matter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter

from homolog.kernels import implicit, implicit_cells
from homolog.synth.anatomy import body
from homolog.synth.anatomy.shapes import STACK_MM, Layer
from homolog.synth.anatomy.structures import TISSUES

CELL_MM = 10.0
# Noise of variance one stays within four.
NOISE_REACH = 4.0
# The widest edge that is drawn, halved: see MOST_WIDTH_MM in acquisition.
REACH_MM = 4.0
# A cell is looked at in the middles of its eight parts, from which its farthest point is a quarter of its diagonal
# away; distances to ellipsoids and stacks are of first order, so a third is added.
PART_MM = 1.33 * CELL_MM / 4 * 3**0.5


@cache
def tables() -> implicit.Tables:
    """The canonical body; the same arrays for every patient."""
    layers = body.layers()
    shapes, owner, stacks = _rows(layers)
    bounds = np.array(body.BOUNDS_MM)
    counts = np.ceil((bounds[1] - bounds[0]) / CELL_MM).astype(np.int64)
    styles = np.array([(one.blend_mm, one.bump_mm, one.bump_wave_mm, one.label) for one in layers], float)
    starts, entries, filled = _index(shapes, owner, stacks, layers, bounds[0], counts)
    return implicit.Tables(
        shapes, owner, styles, stacks, bounds[0], CELL_MM, counts, starts, entries, filled, noise_tile(0)
    )


@cache
def noise_tile(seed: int) -> np.ndarray:
    """(64, 64, 64) float32: periodic noise without a mean and of variance one, four nodes to a wave."""
    white = np.random.default_rng(seed).normal(size=(implicit.TILE,) * 3)
    # less its own blur: no wave is longer than the tile, so that a texture does not brighten one side of an organ
    smooth = gaussian_filter(white, 1.1, mode="wrap") - gaussian_filter(white, 3.5, mode="wrap")
    tile = np.clip(smooth / smooth.std(), -NOISE_REACH, NOISE_REACH).astype(np.float32)
    tile.setflags(write=False)
    return tile


def _rows(layers: Sequence[Layer]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All shapes, the layer of each, and the stacks' cross-sections every few millimetres."""
    shapes, owner = [], []
    sections: list[np.ndarray] = []
    for number, one in enumerate(layers):
        rows = [one.shapes]
        for knots in one.stacks:
            ordered = knots[np.argsort(knots[:, 0])]
            z = np.arange(ordered[0, 0], ordered[-1, 0] + STACK_MM / 2, STACK_MM)
            row = np.zeros((1, implicit.ROW))
            row[0, :5] = implicit.STACK, sum(len(section) for section in sections), len(z), z[0], STACK_MM
            sections.append(PchipInterpolator(ordered[:, 0], ordered[:, 1:], extrapolate=True)(z))
            rows.append(row)
        shapes.append(np.concatenate(rows))
        owner.append(np.full(len(shapes[-1]), number, np.int32))
    return np.concatenate(shapes), np.concatenate(owner), np.concatenate(sections)


def _index(
    shapes: np.ndarray,
    owner: np.ndarray,
    stacks: np.ndarray,
    layers: Sequence[Layer],
    origin_mm: np.ndarray,
    counts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """starts, entries, filled: in each cell the shapes of layers that can show, above the highest one that fills it."""
    near = np.array([PART_MM + _reach_mm(one) for one in layers])
    fill = near + np.array([TISSUES[one.name].skin_deep_mm for one in layers])
    fill[[one.label < 0 or not TISSUES[one.name].may_fill for one in layers]] = np.inf
    bounds = np.array([_bounds(shape) for shape in shapes])
    bounds += near[owner][:, None, None] * np.array([-1, 1])[:, None]
    boxes = np.clip(np.floor((bounds - origin_mm) / CELL_MM), 0, counts - 1).astype(np.int64)
    return implicit_cells.index(shapes, owner, stacks, boxes, near[owner], fill[owner], origin_mm, CELL_MM, counts)


def _reach_mm(one: Layer) -> float:
    return REACH_MM + one.blend_mm + NOISE_REACH * one.bump_mm


def _bounds(shape: np.ndarray) -> np.ndarray:
    """(2, 3) mm: a box around a shape; a stack's is as wide as the body."""
    if shape[0] == implicit.STACK:
        whole = np.array(body.BOUNDS_MM)
        whole[:, 2] = shape[3], shape[3] + shape[4] * shape[2]
        return whole
    if shape[0] == implicit.CONE:
        radius = shape[7:9].max()
        return np.stack((np.minimum(shape[1:4], shape[4:7]) - radius, np.maximum(shape[1:4], shape[4:7]) + radius))
    spread = np.abs(shape[4:13].reshape(3, 3)).T @ shape[13:16]
    return np.stack((shape[1:4] - spread, shape[1:4] + spread))
