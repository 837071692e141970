"""The painter of bodies against its twin, and single shapes against plain geometry."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from homolog.kernels import implicit

MODES = [implicit.PLAIN, implicit.GUT, implicit.MUSCLE, implicit.LUNG]


def row(kind, *numbers):
    return np.array([kind, *numbers, *[0.0] * (implicit.ROW - 1 - len(numbers))])


TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
STACKS = np.array([(2, -9, 8, 10, 2.0), (0, -8, 10, 12, 2.4), (-1, -5, 6, 7, 2.6)], float)
SHAPES = np.array(
    [
        row(implicit.STACK, 0, 3, -12, 10),
        row(implicit.ELLIPSOID, 1, 2, 3, *TURN.ravel(), 9, 7, 5),
        row(implicit.CONE, -8, 0, 2, 9, 4, 3, 3, 5, 0, 0, 1, 1.4),
        row(implicit.BOX, 0, -3, 0, *TURN.ravel(), 4, 5, 6, 1.5),
        row(implicit.COLUMN, 3, 3, -4, *TURN.ravel(), 4, 3, 5, 1),
    ]
)
LAYER = np.array([0, 1, 1, 2, 3], np.int32)
LAYERS = np.array([(0, 0.5, 20, 7), (4, 0, 1, 8), (0, 1, 9, -1), (2, 0.3, 12, 9)], float)
LOOKS = np.array([(40.0, 300, 2, 5, 8, 3, 9, mode, 0.4, -60, 2.0, 0.5 + n / 4) for n, mode in enumerate(MODES)])


def tables(cells):
    """A body whose cells list every shape, unless a lattice of none leaves all points outside."""
    tile = np.random.default_rng(1).normal(size=(implicit.TILE,) * 3).astype(np.float32)
    count = int(np.prod(cells))
    starts = np.arange(count + 1, dtype=np.int32) * len(SHAPES)
    entries = np.tile(np.arange(len(SHAPES), dtype=np.int32), count)
    origin = np.array([-32.0, -32, -32])
    filled = np.full(count, -1, np.int32)
    return implicit.Tables(SHAPES, LAYER, LAYERS, STACKS, origin, 16.0, np.array(cells), starts, entries, filled, tile)


@pytest.mark.parametrize("count", [0, 1, 700])
@pytest.mark.parametrize("width_mm", [0.8, 5.0])
def test_the_fast_kernel_agrees_with_its_twin(count, width_mm):
    rng = np.random.default_rng(2)
    points, own = rng.uniform(-20, 20, (count, 3)), rng.uniform(-200, 200, (2 * count, 3))[::2]
    body = tables((4, 4, 4))
    expected, numbers = implicit.render_reference(body, LOOKS, points, own, width_mm, -1000.0)
    found, labels = implicit.render(body, LOOKS, points, own, width_mm, -1000.0)
    # float32 of values to 1300 is good to 1e-4; the tile is float32 and summed in another order
    np.testing.assert_allclose(found, expected, atol=5e-3)
    np.testing.assert_array_equal(labels, numbers)


def test_many_melted_pieces_of_a_tube_agree_with_the_twin():
    """Each piece lowers the others' distance: one that is left out too early would show as a dent."""
    ends = np.stack((np.linspace(-16, 16, 13), 5 * np.sin(np.arange(13.0)), np.zeros(13)), axis=1)
    shapes = np.array([row(implicit.CONE, *a, *b, 3, 3, 0, 0, 1, 1.0) for a, b in pairwise(ends)])
    body = tables((4, 4, 4))
    starts = np.arange(65, dtype=np.int32) * 12
    tube = replace(
        body, shapes=shapes, layer=np.zeros(12, np.int32), layers=np.array([(9.0, 0.4, 20, 7)]), starts=starts,
        entries=np.tile(np.arange(12, dtype=np.int32), 64),
    )  # fmt: skip
    points = np.random.default_rng(3).uniform(-26, 26, (600, 3))
    expected, numbers = implicit.render_reference(tube, LOOKS[:1], points, points, 2.0, -1000.0)
    found, labels = implicit.render(tube, LOOKS[:1], points, points, 2.0, -1000.0)
    np.testing.assert_allclose(found, expected, atol=5e-3)
    np.testing.assert_array_equal(labels, numbers)


def test_beyond_its_cells_a_body_is_not_there():
    points = np.array([[0.0, 0, 0], [-33.0, 0, 0], [0, 0, 1e4]])
    values, labels = implicit.render(tables((4, 4, 4)), LOOKS, points, points, 1.0, -7.0)
    assert values[0] != -7 and list(values[1:]) == [-7, -7] and list(labels[1:]) == [0, 0]


def test_labels_alone_are_the_labels():
    points = np.random.default_rng(3).uniform(-15, 15, (300, 3))
    body = tables((4, 4, 4))
    values, labels = implicit.render(body, LOOKS, points, points, 1.0, 0.0, values=False)
    assert len(values) == 0
    np.testing.assert_array_equal(labels, implicit.render(body, LOOKS, points, points, 1.0, 0.0)[1])


def test_a_ball_and_a_capsule_have_euclidean_distances():
    points = np.random.default_rng(4).uniform(-30, 30, (200, 3))
    ball = row(implicit.ELLIPSOID, 1, 2, 3, *TURN.ravel(), 6, 6, 6)
    from_centre = np.linalg.norm(points - (1, 2, 3), axis=1)
    np.testing.assert_allclose(implicit.distances(ball, STACKS, points), from_centre - 6, atol=1e-9)
    capsule = row(implicit.CONE, 0, 0, -5, 0, 0, 5, 2, 2, 0, 0, 1, 1.0)
    nearest = points * np.array([1, 1, 0]) + np.clip(points, -5, 5) * np.array([0, 0, 1]) * 0
    nearest[:, 2] = points[:, 2] - np.clip(points[:, 2], -5, 5)
    np.testing.assert_allclose(
        implicit.distances(capsule, STACKS, points), np.linalg.norm(nearest, axis=1) - 2, atol=1e-9
    )


@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[3], SHAPES[4]], ids=["ellipsoid", "box", "column"])
def test_a_turned_shape_reaches_its_sizes_along_its_own_axes(shape):
    axes, sizes = shape[4:13].reshape(3, 3), shape[13:16]
    ends = np.array([shape[1:4] + side * size * axis for (size, axis), side in product(zip(sizes, axes), (-1, 1))])
    np.testing.assert_allclose(implicit.distances(shape, STACKS, ends), 0, atol=1e-9)


def test_noise_is_periodic():
    tile = tables((1, 1, 1)).tile
    points = np.random.default_rng(6).uniform(-50, 50, (50, 3))
    period_mm = implicit.TILE / implicit.PER_WAVE * 8.0
    ones = implicit.noise_reference(tile, points, 8.0)
    np.testing.assert_allclose(implicit.noise_reference(tile, points + period_mm, 8.0), ones, atol=1e-6)
