"""Integrals along rays: analytic lengths, the twins, and rays that simple code stumbles over."""

from __future__ import annotations

import numpy as np
import pytest

from homolog.errors import BadInput
from homolog.kernels import line_integrals
from homolog.kernels.line_integrals import METHODS
from homolog.kernels.threads import using_threads

SHAPE, STEP = (9, 7, 11), 0.37


def bundle_of(source, towards, size_px=(6, 7), apart=1.3, seed=0):
    """Rays from a source; at `towards` they are `apart` voxels from each other, and askew."""
    rng = np.random.default_rng(seed)
    middle = (np.asarray(towards, float) - source) / 31.0
    axes = np.linalg.qr(np.column_stack((middle, rng.normal(size=(3, 2)))))[0] * apart / 31.0
    # not square, and left-handed for some seeds
    across, down = axes[:, 1] * 1.2, axes[:, 2]
    first = middle - across * (size_px[1] - 1) / 2 - down * (size_px[0] - 1) / 2
    return np.array([source, first, across, down])


SOURCES = {
    "oblique": (31.0, -22.0, -18.0),
    "from above": (4.1, 3.3, 40.0),
    "along the first axis": (-33.0, 3.2, 5.1),
    "along the second axis": (4.4, 41.0, 6.2),
    "inside": (4.171, 3.428, 5.293),
}
VOLUMES = ("random", "one voxel", "a plane", "not contiguous")


def bundle_for(source, shape):
    """Rays through most of a volume from one of the SOURCES."""
    return bundle_of(SOURCES[source], np.array(shape) / 2 - 0.4, apart=0.2 if min(shape) == max(shape) else 1.3)


def volume_of(kind, dtype=np.float64):
    rng = np.random.default_rng(5)
    if kind == "one voxel":
        return rng.uniform(0.5, 1.5, (1, 1, 1)).astype(dtype)
    if kind == "a plane":
        return rng.uniform(0.5, 1.5, (9, 1, 11)).astype(dtype)
    if kind == "not contiguous":
        return rng.uniform(-0.5, 1.5, SHAPE[::-1]).astype(dtype).T
    return rng.uniform(-0.5, 1.5, SHAPE).astype(dtype)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", VOLUMES)
@pytest.mark.parametrize("method", METHODS)
def test_integrals_are_those_of_the_twin(method, kind, source):
    volume = volume_of(kind)
    bundle = bundle_for(source, volume.shape)
    expected = line_integrals.integrals_reference(volume, bundle, (6, 7), method, STEP)
    found = line_integrals.integrals(volume, bundle, (6, 7), method, STEP)
    # sums of some tens of terms, at depths up to 60
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.abs(expected).max() > 0.1
    single = line_integrals.integrals(volume.astype(np.float32), bundle, (6, 7), method, STEP)
    # places in voxels to 1e-6, integrals of up to 1.5 a voxel over 31 mm a voxel
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size_px", [(1, 1), (1, 40), (35, 1), (3, 17)])
@pytest.mark.parametrize("method", METHODS)
def test_any_size_of_picture_is_the_same_rays(method, size_px):
    volume = volume_of("random")
    bundle = bundle_of(SOURCES["oblique"], (4, 3, 5), size_px, apart=0.4)
    found = line_integrals.integrals(volume, bundle, size_px, method, STEP)
    for pixel in {(0, 0), (size_px[0] - 1, size_px[1] - 1), (size_px[0] // 2, size_px[1] // 3)}:
        alone = bundle.copy()
        alone[1] += pixel[1] * bundle[2] + pixel[0] * bundle[3]
        one = line_integrals.integrals_reference(volume, alone, (1, 1), method, STEP)
        np.testing.assert_allclose(found[pixel], one[0, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_siddon_gives_the_lengths_of_chords_through_a_box(dtype):
    volume = np.zeros((12, 10, 14), dtype)
    volume[2:9, 3:8, 1:12] = 1.0
    bundle, size = bundle_of((40.0, 28.0, -35.0), (5, 5, 6), (40, 50), apart=0.25), (40, 50)
    found = line_integrals.integrals(volume, bundle, size, "siddon", None)
    expected = box_chords(bundle, size, np.array([1.5, 2.5, 0.5]), np.array([8.5, 7.5, 11.5]))
    assert (expected > 0).mean() > 0.3
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("method", ["joseph", "trilinear"])
def test_sampled_methods_give_the_lengths_of_chords_through_a_box(method):
    volume = np.zeros((64, 60, 62), np.float32)
    volume[10:50, 12:48, 9:51] = 1.0
    bundle, size = bundle_of((150.0, 90.0, -120.0), (30, 30, 30), (12, 14), apart=1.1), (12, 14)
    expected = box_chords(bundle, size, np.array([9.5, 11.5, 8.5]), np.array([49.5, 47.5, 50.5]))
    found = line_integrals.integrals(volume, bundle, size, method, 0.1)
    # through the middle, both faces are flat: a linear ramp over one voxel ends on average where the box does; a plane
    # or a lattice of depths misses at most a sample at each
    gap = 0.1 if method == "trilinear" else 1.0 / np.abs(bundle[1:].sum(axis=0)).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2 * gap)
    assert abs((found - expected).mean()) < 0.1 * gap
    assert expected.min() > 20 * gap


def box_chords(bundle, size_px, low, high):
    rows, columns = np.indices(size_px)[..., None]
    direction = bundle[1] + columns * bundle[2] + rows * bundle[3]
    # no direction is 0 but far less than any ray is wide
    direction = np.where(direction == 0, 1e-14, direction)
    one, two = (low - bundle[0]) / direction, (high - bundle[0]) / direction
    near, far = np.minimum(one, two).max(axis=-1), np.maximum(one, two).min(axis=-1)
    return np.maximum(0, far - np.maximum(near, 0))


@pytest.mark.parametrize("method", METHODS)
def test_rays_that_miss_or_look_away_see_nothing(method):
    volume = volume_of("random")
    aside = bundle_of((60.0, 3.0, -30.0), (60.0, 3.0, 5.0))
    away = bundle_of((4.0, 3.0, -30.0), (4.0, 3.0, -61.0))
    for bundle in (aside, away):
        assert not line_integrals.integrals(volume, bundle, (6, 7), method, STEP).any()
        assert not line_integrals.with_slopes(volume, bundle, (6, 7), method, STEP)[1].any()
        assert not line_integrals.spread(np.ones((6, 7)), bundle, SHAPE, method, STEP).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("upwards", [1.0, -1.0])
def test_siddon_sees_each_voxel_once_along_an_axis(axis, upwards):
    volume = volume_of("random")
    source = np.array([4.0, 3.0, 5.0])
    source[axis] = 5.0 - 40.0 * upwards
    direction = np.zeros(3)
    direction[axis] = 0.5 * upwards
    bundle = np.array([source, direction, np.zeros(3), np.zeros(3)])
    expected = 2 * volume[tuple(slice(None) if n == axis else int(source[n]) for n in range(3))].sum()
    found = line_integrals.with_slopes(volume, bundle, (1, 1), "siddon", None)
    np.testing.assert_allclose(found[0], expected, rtol=1e-13)
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("turn", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize(
    "through", [(3.5, 2.5, 4.0), (-0.5, 2.0, 3.0), (3.0, 2.5, 4.5), (7.5, 2.5, 3.0), (4.0, 3.0, 2.0)]
)
@pytest.mark.parametrize("away", [20.0, 0.0])
def test_rays_in_the_faces_between_voxels_count_once(method, turn, through, away):
    """Along axes and diagonals of the grid, through faces, edges and corners, from outside and from inside."""
    volume = volume_of("random")[:7, :7, :7]
    seen = 0.0
    for across, down in [(0, 0), (1, 0), (0, -1), (1, 1), (-1, 1), (0.5, 0.25)]:
        for upwards in (1.0, -1.0):
            direction = np.array([across, down, upwards])
            ray = np.array([through - away * direction, direction, np.zeros(3), np.zeros(3)])[:, list(turn)]
            values, slopes, turned = line_integrals.with_curvature(volume, ray, ray, (1, 1), method, 0.25)
            twin = line_integrals.integrals_reference(volume, ray, (1, 1), method, 0.25)
            np.testing.assert_allclose(values, twin, rtol=0, atol=1e-9)
            assert np.isfinite(slopes).all() and np.isfinite(turned).all()
            seen += np.abs(values).sum()
    # beyond the upper face is nothing, except on a fading slope
    assert seen > 1 or through[0] > 7


@pytest.mark.parametrize("method", METHODS)
def test_a_ray_in_a_face_sees_no_more_than_its_way_through_ones(method):
    for through in [(3.5, 2.5, 4.0), (3.0, 2.5, 4.5), (3.5, 3.5, 3.5)]:
        for direction in np.array([(0, 0, 1), (1, 0, 1), (1, 1, 1), (-1, 1, 1), (0, 0.5, 1)]):
            ray = np.array([through - 20 * direction, direction, np.zeros(3), np.zeros(3)])
            found = line_integrals.integrals(np.ones((8, 8, 8)), ray, (1, 1), method, 0.25)
            # the cube, from -1/2 to 7 1/2; sampled rims fade over a voxel, at most half a one more at each end
            whole = box_chords(ray, (1, 1), np.full(3, -0.5), np.full(3, 7.5))
            np.testing.assert_allclose(found, whole, rtol=0, atol=1e-12 if method == "siddon" else 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_threads_do_not_change_the_picture(method):
    volume = volume_of("random", np.float32)
    bundle, size = bundle_of(SOURCES["oblique"], (4, 3, 5), (33, 35), apart=0.3), (33, 35)
    tangent, weights = np.random.default_rng(1).normal(size=(4, 3)), np.ones(size, np.float32)
    results = []
    for count in (1, 3):
        with using_threads(count):
            images = line_integrals.with_curvature(volume, bundle, tangent, size, method, STEP)
            results.append((*images, line_integrals.spread(weights, bundle, (70, 7, 11), method, STEP)))
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("method", METHODS)
def test_lying_the_picture_on_its_side_gives_the_same_picture(method):
    volume = volume_of("random")
    bundle = bundle_of(SOURCES["oblique"], (4, 3, 5))
    upright = line_integrals.with_slopes(volume, bundle, (6, 7), method, STEP)
    lying = line_integrals.with_slopes(volume, bundle[[0, 1, 3, 2]], (7, 6), method, STEP)
    for one, two in zip(upright, lying, strict=True):
        np.testing.assert_allclose(one, np.swapaxes(two, 0, 1), rtol=0, atol=1e-10 * np.abs(one).max())


@pytest.mark.parametrize("source", SOURCES)
def test_labels_add_up_to_the_whole(source):
    volume, labels = volume_of("random", np.float32), np.random.default_rng(2).integers(0, 4, SHAPE).astype(np.uint8)
    bundle = bundle_of(SOURCES[source], (4, 3, 5))
    parts = line_integrals.by_label(volume, labels, bundle, (6, 7), 4)
    whole = line_integrals.integrals(volume, bundle, (6, 7), "siddon", None)
    np.testing.assert_allclose(parts.sum(axis=0), whole, rtol=0, atol=1e-11)
    twin = line_integrals.by_label_reference(volume, labels, bundle, (6, 7), 4)
    np.testing.assert_allclose(parts, twin, rtol=0, atol=1e-11)
    # what has no channel is left out
    np.testing.assert_array_equal(line_integrals.by_label(volume, labels, bundle, (6, 7), 2), parts[:2])


def test_what_cannot_be_integrated_is_refused():
    volume, bundle = volume_of("random"), bundle_of(SOURCES["oblique"], (4, 3, 5))
    with pytest.raises(BadInput, match="one row and one column"):
        line_integrals.integrals(volume, bundle, (0, 7), "siddon", None)
    with pytest.raises(BadInput, match="positive step"):
        line_integrals.integrals(volume, bundle, (6, 7), "trilinear", None)
    with pytest.raises(BadInput, match="no line integrals by 'simpson'"):
        line_integrals.integrals(volume, bundle, (6, 7), "simpson", None)
    with pytest.raises(BadInput, match="finite"):
        line_integrals.integrals(volume, np.full((4, 3), np.nan), (6, 7), "siddon", None)
