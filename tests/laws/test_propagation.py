"""Labels and landmarks from those who have them: what a vote must and must not do."""

from __future__ import annotations

import numpy as np
import pytest

from homolog import Affine, Displacement, Grid, Keypoints, Volume
from homolog.errors import BadInput, SpaceMismatch
from homolog.groupwise.propagation import Source, likeness, propagated_labels, propagated_points
from homolog.kernels.threads import using_threads
from tests.geometry import oblique_grid, smooth_volume, some_affine, some_spline

GRID = oblique_grid((19, 16, 14))


def some_labels(grid: Grid = GRID, space: str = "source", seed: int = 0, dtype=np.uint8) -> Volume:
    """Blocks of four labels, a few voxels across."""
    coarse = np.random.default_rng(seed).integers(0, 4, [-(-n // 4) for n in grid.shape])
    fine = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)[: grid.shape[0], : grid.shape[1], : grid.shape[2]]
    return Volume(fine.astype(dtype), grid, space, "labels")


def still(source: str = "source") -> Affine:
    return Affine.identity("target", source)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_labels_through_the_identity_are_the_labels_and_certain(dtype):
    labels = some_labels(dtype=dtype)
    found = propagated_labels(GRID, [(labels, still())])
    assert found.labels.numpy().dtype == dtype
    assert (found.labels.space, found.confidence.space) == ("target", "target")
    np.testing.assert_array_equal(found.labels.numpy(), labels.numpy())
    # a float32 fraction of a voxel is all that rounding can leave of an integer coordinate
    np.testing.assert_allclose(found.confidence.numpy(), 1, atol=1e-6)


def test_a_shifted_source_votes_shifted():
    labels = some_labels()
    step = np.eye(4)
    step[:3, 3] = GRID.world_from_voxel[:3, :3] @ (2, 0, 1)
    found = propagated_labels(GRID, [(labels, Affine(step, "target", "source"))]).labels.numpy()
    np.testing.assert_array_equal(found[:-2, :, :-1], labels.numpy()[2:, :, 1:])
    # what the source does not show is not known
    assert (found[-2:] == 0).all()


def test_two_against_one_win_and_the_confidence_is_their_share():
    here, other = some_labels(seed=1), some_labels(seed=2)
    found = propagated_labels(GRID, [(here, still()), (other, still()), (here, still())])
    np.testing.assert_array_equal(found.labels.numpy(), here.numpy())
    expected = np.where(here.numpy() == other.numpy(), 1, 2 / 3)
    np.testing.assert_allclose(found.confidence.numpy(), expected, atol=1e-6)


def test_the_order_of_the_sources_does_not_matter():
    maps = [
        some_affine(seed=n, about_mm=GRID.corners().mean(axis=0)).renamed(fixed="target", moving="source")
        for n in range(4)
    ]
    sources = [Source(some_labels(seed=n), one) for n, one in enumerate(maps)]
    one, other = propagated_labels(GRID, sources), propagated_labels(GRID, sources[::-1])
    np.testing.assert_array_equal(one.labels.numpy(), other.labels.numpy())
    np.testing.assert_allclose(one.confidence.numpy(), other.confidence.numpy(), atol=1e-6)


def test_the_number_of_threads_does_not_matter():
    spline = some_spline(around=GRID).renamed(fixed="target", moving="source")
    sources = [(some_labels(seed=1), spline), (some_labels(seed=2), still())]
    with using_threads(1):
        one = propagated_labels(GRID, sources)
    with using_threads(3):
        other = propagated_labels(GRID, sources)
    np.testing.assert_array_equal(one.labels.numpy(), other.labels.numpy())
    np.testing.assert_array_equal(one.confidence.numpy(), other.confidence.numpy())


def test_moving_the_common_space_changes_no_label():
    """Maps go through a space of which only both halves know where it lies."""
    labels, moved = some_labels(), some_affine(seed=9, size=0.4, shift_mm=300.0)
    source_from_common = some_affine(seed=3, about_mm=GRID.corners().mean(axis=0)).renamed(
        fixed="common", moving="source"
    )
    common_from_target = some_spline(around=GRID).renamed(fixed="target", moving="common")
    one = propagated_labels(GRID, [(labels, source_from_common @ common_from_target)])
    there = moved.renamed(fixed="common", moving="elsewhere")
    other = propagated_labels(GRID, [(labels, source_from_common @ there.inverse() @ there @ common_from_target)])
    assert (one.labels.numpy() == other.labels.numpy()).mean() > 0.9999
    np.testing.assert_allclose(one.confidence.numpy(), other.confidence.numpy(), atol=1e-5)


def test_a_source_votes_only_where_it_shows_the_place():
    whole = some_labels(seed=1)
    half = GRID.cropped((0, 0, 0), (9, *GRID.shape[1:]))
    part = Volume(np.full(half.shape, 9, np.uint8), half, "half", "labels")
    found = propagated_labels(GRID, [(part, still("half")), (whole, still()), (whole, still())])
    np.testing.assert_array_equal(found.labels.numpy(), whole.numpy())
    np.testing.assert_allclose(found.confidence.numpy()[:9], 2 / 3, atol=1e-6)
    np.testing.assert_allclose(found.confidence.numpy()[9:], 1, atol=1e-6)


def test_where_nobody_votes_there_is_no_label_and_no_confidence():
    far = Affine(np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3) * 1e4, "target", "source")
    found = propagated_labels(GRID, [(some_labels(), far)])
    assert not found.labels.numpy().any()
    assert not found.confidence.numpy().any()


def test_weights_on_a_coarser_grid_decide_place_by_place():
    here, other = some_labels(seed=1), some_labels(seed=2)
    coarse = GRID.with_spacing(GRID.spacing_mm * 2)
    heavy = np.ones(coarse.shape, np.float32)
    heavy[: coarse.shape[0] // 2] = 3.0
    weights = Volume(heavy, coarse, "target")
    found = propagated_labels(GRID, [(here, still(), weights), (other, still(), weights.with_data(4 - heavy))])
    np.testing.assert_array_equal(found.labels.numpy()[:6], here.numpy()[:6])
    np.testing.assert_array_equal(found.labels.numpy()[-5:], other.numpy()[-5:])


@pytest.mark.parametrize("by", ["grey", "patterns"])
def test_a_source_that_is_unlike_the_target_is_outvoted_by_a_like_one(by):
    """Two sources with wrong maps agree with each other; the one whose picture fits wins all the same."""
    grid = oblique_grid((40, 36, 34), (2.1, 2.3, 2.6))
    picture, labels = smooth_volume(grid, "target"), some_labels(grid)
    right = Source(labels, still(), likeness(picture, picture.in_space("source"), still(), by=by))
    step = np.eye(4)
    step[:3, 3] = grid.world_from_voxel[:3, :3] @ (4, 4, 4)
    astray = Affine(step, "target", "source")
    wrong = Source(labels, astray, likeness(picture, picture.in_space("source"), astray, by=by))
    weighted = propagated_labels(grid, [wrong, right, wrong]).labels.numpy()
    plain = propagated_labels(grid, [(labels, astray), (labels, still()), (labels, astray)]).labels.numpy()
    assert (plain == labels.numpy()).mean() < 0.6
    assert (weighted == labels.numpy()).mean() > 0.99


def test_likeness_by_patterns_does_not_depend_on_the_pictures_scale_of_grey():
    grid = oblique_grid((40, 36, 34), (2.1, 2.3, 2.6))
    picture = smooth_volume(grid, "target")
    other = smooth_volume(grid, "source", seed=1)
    one = likeness(picture, other, still(), by="patterns")
    scaled = likeness(picture, other.with_data(5 * other.numpy() + 300), still(), by="patterns")
    np.testing.assert_allclose(one.numpy(), scaled.numpy(), rtol=0.05)
    assert likeness(picture, picture.in_space("source"), still(), by="patterns").numpy().min() > one.numpy().max()


def test_landmarks_become_the_mean_over_those_who_have_them():
    one = Keypoints(np.array([[0.0, 0, 0], [10, 0, 0]]), "common", name=("a", "b"))
    two = Keypoints(np.array([[14.0, 0, 0], [3, 4, 0]]), "common", name=("b", "c"))
    found = propagated_points([one, two])
    assert found.points.name == ("a", "b", "c")
    np.testing.assert_allclose(found.points.position, [[0, 0, 0], [12, 0, 0], [3, 4, 0]])
    np.testing.assert_allclose(found.spread_mm, [np.nan, 2, np.nan])
    assert found.count.tolist() == [1, 2, 1]


def test_moving_the_common_space_moves_the_landmarks_and_not_their_spread():
    rng = np.random.default_rng(0)
    sources = [Keypoints(rng.normal(size=(5, 3)), "common", name=tuple("edcba")) for _ in range(4)]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = [points.moved_to(points.position @ turn.T + 50, "common") for points in sources]
    one, other = propagated_points(sources), propagated_points(moved)
    np.testing.assert_allclose(one.points.position @ turn.T + 50, other.points.position)
    np.testing.assert_allclose(one.spread_mm, other.spread_mm)


def test_what_cannot_be_propagated_is_refused_by_name():
    labels = some_labels()
    with pytest.raises(BadInput, match="at least one source"):
        propagated_labels(GRID, [])
    with pytest.raises(SpaceMismatch, match="'source' are wanted in 'target'"):
        propagated_labels(GRID, [(labels, still("another"))])
    with pytest.raises(BadInput, match="intensities"):
        propagated_labels(GRID, [(smooth_volume(GRID, "source"), still())])
    with pytest.raises(BadInput, match="no names"):
        propagated_points([Keypoints(np.zeros((2, 3)), "common")])
    with pytest.raises(SpaceMismatch, match="no common mean"):
        propagated_points([Keypoints(np.zeros((0, 3)), "common"), Keypoints(np.zeros((0, 3)), "else")])


def test_a_displacement_carries_votes_as_it_carries_points():
    vectors = np.zeros((*GRID.shape, 3), np.float32) + (GRID.world_from_voxel[:3, :3] @ (1, 1, 0)).astype(np.float32)
    field = Displacement(vectors, GRID, "target", "source")
    labels = some_labels()
    found = propagated_labels(GRID, [(labels, field)]).labels.numpy()
    np.testing.assert_array_equal(found[:-1, :-1], labels.numpy()[1:, 1:])
