from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.distance import pdist

from homolog import Affine, Keypoints
from homolog.errors import BadInput, SpaceMismatch
from homolog.metrics.landmarks import spread, target_error, target_error_learn2reg
from tests.geometry import oblique_grid, some_affine, some_displacement

NAMES = tuple("abcdefghijkl")


def landmarks(space="fixed", seed=0, names=NAMES):
    voxels = np.random.default_rng(seed).uniform(1, 10, (len(NAMES), 3))
    return Keypoints(oblique_grid().world(voxels), space, name=names)


def test_the_true_map_has_no_error():
    fixed, affine = landmarks(), some_affine()
    found = target_error(fixed, fixed.moved_to(affine.apply(fixed.position), "moving"), affine)
    assert found.max_mm == pytest.approx(0, abs=1e-12) and found.names == NAMES


def test_the_error_is_measured_in_the_moving_patient():
    fixed, affine = landmarks(), some_affine()
    off = np.random.default_rng(1).normal(size=(len(fixed), 3))
    lengths = np.arange(1.0, 13.0)
    off *= (lengths / np.linalg.norm(off, axis=1))[:, None]
    found = target_error(fixed, fixed.moved_to(affine.apply(fixed.position) + off, "moving"), affine)
    assert found.error_mm == pytest.approx(lengths)
    assert (found.mean_mm, found.median_mm, found.max_mm) == pytest.approx((6.5, 6.5, 12.0))
    assert found.p95_mm == pytest.approx(np.percentile(lengths, 95))


def test_without_a_map_it_tells_how_far_the_stored_points_are_apart():
    fixed = landmarks()
    moving = fixed.moved_to(fixed.position + [3.0, 0.0, 4.0], "moving")
    assert target_error(fixed, moving, None).error_mm == pytest.approx([5.0] * 12)
    assert target_error(fixed, moving, Affine.identity()) == target_error(fixed, moving, None)


def test_the_order_of_named_landmarks_does_not_matter():
    fixed, moving = landmarks(), landmarks("moving", seed=1)
    shuffled = moving[np.random.default_rng(2).permutation(len(moving))]
    assert target_error(fixed, shuffled, some_affine()) == target_error(fixed, moving, some_affine())


def test_names_in_one_list_only_are_left_out():
    fixed, moving = landmarks(), landmarks("moving", seed=1)
    found = target_error(fixed[2:], moving[:-3], some_affine())
    assert found.names == NAMES[2:-3]
    assert found.error_mm == target_error(fixed, moving, some_affine()).error_mm[2:-3]


def test_no_landmarks_have_no_error():
    nothing = Keypoints(np.empty((0, 3)), "fixed")
    found = target_error(nothing, nothing.moved_to(nothing.position, "moving"), some_affine())
    assert found.error_mm == () and np.isnan([found.mean_mm, found.median_mm, found.p95_mm, found.max_mm]).all()


def test_landmarks_given_the_wrong_way_round_are_refused():
    with pytest.raises(SpaceMismatch, match="carries points of 'fixed' to 'moving'"):
        target_error(landmarks("moving"), landmarks("fixed"), some_affine())


def test_learn2regs_error_is_its_formula_in_voxels():
    grid = oblique_grid()
    field = some_displacement(grid)
    fixed, moving = landmarks(), landmarks("moving", seed=1)
    in_voxels = field.vectors.astype(np.float64) @ grid.voxel_from_world[:3, :3].T
    start, goal = grid.voxel(fixed.position), grid.voxel(moving.position)
    shift = np.stack([map_coordinates(in_voxels[..., axis], start.T, order=3) for axis in range(3)], axis=1)
    expected = np.linalg.norm((start + shift - goal) * grid.spacing_mm, axis=1)
    assert target_error_learn2reg(fixed, moving, field).error_mm == pytest.approx(expected, abs=1e-5)


def test_two_images_spread_half_as_far_from_their_middle_as_from_each_other():
    one = landmarks("common")
    other = one.moved_to(one.position + [0.0, 6.0, 8.0], "common")
    found = spread([one, other])
    assert (found.centroid_mm, found.median_mm, found.max_mm, found.pairwise_mm) == pytest.approx((5, 5, 5, 10))
    assert (found.landmarks, found.images, found.left_out) == (12, 2, ())


def test_both_definitions_of_spread_are_means_over_landmarks_and_images():
    groups = [landmarks("common", seed=seed, names=None) for seed in range(5)]
    stacked = np.stack([group.position for group in groups])
    centroid = np.linalg.norm(stacked - stacked.mean(axis=0), axis=2)
    pairwise = [pdist(stacked[:, row]) for row in range(stacked.shape[1])]
    found = spread(groups)
    assert (found.centroid_mm, found.pairwise_mm) == pytest.approx((centroid.mean(), np.mean(pairwise)))
    assert (found.median_mm, found.max_mm) == pytest.approx((np.median(centroid), centroid.max()))


def test_the_spread_does_not_depend_on_the_order_of_images_or_landmarks():
    groups = [landmarks("common", seed=seed) for seed in range(4)]
    shuffled = [group[np.random.default_rng(n).permutation(12)] for n, group in enumerate(groups)][::-1]
    one, other = spread(groups), spread(shuffled)
    assert (other.centroid_mm, other.pairwise_mm) == pytest.approx((one.centroid_mm, one.pairwise_mm))
    assert (other.median_mm, other.max_mm) == pytest.approx((one.median_mm, one.max_mm))


def test_a_landmark_missing_from_some_images_counts_where_it_stands():
    groups = [landmarks("common", seed=seed) for seed in range(3)]
    fewer = [groups[0], groups[1][1:], groups[2][2:]]
    # 'a' is left in one image, 'b' in two, the others in three
    found = spread(fewer)
    assert (found.landmarks, found.left_out) == (11, ("a",))
    pairs = [groups[0].by_name("b"), groups[1].by_name("b")], [group[2:] for group in groups]
    counts, means = (2, 30), [spread(part).centroid_mm for part in pairs]
    assert found.centroid_mm == pytest.approx(np.average(means, weights=counts))


def test_lonely_landmarks_have_no_spread():
    found = spread([landmarks("common")])
    assert np.isnan([found.centroid_mm, found.pairwise_mm]).all() and found.left_out == NAMES


def test_sets_that_cannot_be_paired_are_refused():
    named, bare = landmarks("common"), landmarks("common", names=None)
    with pytest.raises(SpaceMismatch, match="'common', 'elsewhere'"):
        spread([named, replace(named, space="elsewhere")])
    with pytest.raises(BadInput, match="some have none"):
        spread([named, bare])
    with pytest.raises(BadInput, match="hold 12, 11 points"):
        spread([bare, bare[1:]])
    with pytest.raises(BadInput, match="'a' stands more than once in set 1"):
        spread([named, replace(named, name=("a", "a", *NAMES[2:]))])


def test_the_numbers_can_be_written_as_json():
    fixed, moving = landmarks(), landmarks("moving", seed=1)
    assert len(json.loads(json.dumps(asdict(target_error(fixed, moving, some_affine()))))["error_mm"]) == 12
    assert json.loads(json.dumps(asdict(spread([fixed, fixed]))))["landmarks"] == 12
