"""What a map from matches of keypoints must do, most of which are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from homolog import Affine, Keypoints, Matches
from homolog.errors import BadInput
from homolog.kernels import jacobian
from homolog.pairwise.configs import KeypointConfig
from homolog.pairwise.keypoint import register
from homolog.space.dense import sampled_displacement
from homolog.space.grid import Grid

CENTRE = np.array([40.0, -900.0, 1300.0])
BOX = np.array([170.0, 110.0, 260.0])
PATIENT = CENTRE + np.random.default_rng(99).uniform(-0.9, 0.9, (300, 3)) * BOX


def truth(kind="affine"):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(18) * np.array([0.6, -0.64, 0.48])).as_matrix()
    if kind != "rigid":
        matrix[:3, :3] *= 0.88
    if kind == "affine":
        matrix[:3, :3] @= [[1.07, 0.06, 0], [0, 0.95, 0], [0, 0.05, 1.02]]
    matrix[:3, 3] = (900.0, 250.0, -4000.0)
    return Affine(matrix)


def pairs(right=60, wrong=600, scatter_mm=8.0, transform=None, seed=0, thin=(1, 1, 1)):
    """Matches of two patients: some follow a map but for their scatter, the others lie anywhere in the patients."""
    rng = np.random.default_rng(seed)
    transform = truth() if transform is None else transform
    fixed = CENTRE + rng.uniform(-1, 1, (right + wrong, 3)) * BOX * thin
    moving = transform.apply(fixed)
    moving[:right] += rng.normal(0, scatter_mm, (right, 3))
    moving[right:] = transform.apply(CENTRE + rng.uniform(-1, 1, (wrong, 3)) * BOX * thin)
    return fixed, moving, rng.uniform(0.3, 1, right + wrong)


def found(fixed, moving, distance=None, kind="affine", **columns):
    rows = np.stack((np.arange(len(fixed)), np.arange(len(fixed))), axis=1)
    one, other = (Keypoints(p, space, **columns) for p, space in ((fixed, "fixed"), (moving, "moving")))
    return register(one, other, Matches(rows, distance), KeypointConfig(kind=kind))


def error_mm(result, transform=None):
    expected = (truth() if transform is None else transform).apply(PATIENT)
    return np.linalg.norm(result.moving_from_fixed.apply(PATIENT) - expected, axis=1)


@pytest.mark.parametrize("kind", ["rigid", "similarity", "affine"])
def test_a_map_is_found_among_ten_times_as_many_wrong_matches(kind):
    result = found(*pairs(transform=truth(kind)), kind=kind)
    # 60 places that scatter by 8 mm along each axis hold twelve numbers to 8 * sqrt(12 / 60 / 3) mm and some
    assert error_mm(result, truth(kind)).mean() < 8.0
    assert not result.doubts and result.stopped == "converged"


def test_exact_matches_give_the_exact_map():
    result = found(*pairs(right=40, wrong=200, scatter_mm=0.0))
    # a corner of the matches' box holds the map, like a fiftieth of a match, to one without shear: 20 mm off there
    assert error_mm(result).max() < 0.5


def test_which_matches_are_right_is_told():
    result = found(*pairs(right=80, wrong=400, scatter_mm=3.0))
    rows = result.matches.pairs[:, 0]
    assert result.right[rows < 80].mean() > 0.9
    assert (result.right > 0.5).sum() < 100


def test_many_matches_in_one_place_do_not_outweigh_a_patient():
    fixed, moving, _ = pairs(right=60, wrong=100)
    rng = np.random.default_rng(4)
    crowd = CENTRE + rng.normal(0, 12, (400, 3))
    elsewhere = truth().apply(crowd) + (90.0, 60.0, -70.0) + rng.normal(0, 2, (400, 3))
    result = found(np.vstack((fixed, crowd)), np.vstack((moving, elsewhere)))
    assert error_mm(result).mean() < 10.0


def test_matches_by_chance_are_doubted():
    for seed in range(3):
        result = found(*pairs(right=0, wrong=500, seed=seed))
        assert any("chance" in doubt for doubt in result.doubts)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_matches_give_no_map_but_say_so(count):
    result = found(*pairs(right=count, wrong=0))
    assert result.stopped == "too_few_matches" and not result.is_significant
    assert len(result.doubts) == 1 and f"only {count}" in result.doubts[0]
    np.testing.assert_array_equal(result.moving_from_fixed.apply(PATIENT), PATIENT)


def test_matches_on_a_line_give_no_map_but_say_so():
    result = found(*pairs(right=50, wrong=0, scatter_mm=0.0, thin=(0, 0, 1)))
    assert result.stopped == "too_few_matches" and "line" in result.doubts[0]


def test_matches_in_a_plane_leave_a_doubt_and_no_wild_stretch():
    result = found(*pairs(right=80, wrong=0, scatter_mm=2.0, transform=truth("similarity"), thin=(1, 0, 1)))
    assert any("plane" in doubt for doubt in result.doubts)
    stretch = np.linalg.svd(result.moving_from_fixed.matrix[:3, :3], compute_uv=False)
    np.testing.assert_allclose(stretch, 0.88, atol=0.03)
    assert error_mm(result, truth("similarity")).max() < 4.0


def test_a_patient_half_as_long_is_doubted():
    squeezed = truth().matrix @ np.diag([1, 1, 0.5, 1.0])
    result = found(*pairs(right=300, wrong=0, scatter_mm=1.0, transform=Affine(squeezed)))
    assert result.doubts


def test_moving_both_patients_moves_the_answer():
    fixed, moving, distance = pairs(wrong=250)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec((0.4, -0.2, 0.3)).as_matrix()
    motion[:3, 3] = (-300.0, 2000.0, 70.0)
    one = found(fixed, moving, distance)
    other = found(Affine(motion).apply(fixed), Affine(motion).apply(moving), distance)
    expected = Affine(motion).apply(one.moving_from_fixed.apply(PATIENT))
    np.testing.assert_allclose(other.moving_from_fixed.apply(Affine(motion).apply(PATIENT)), expected, atol=3.0)


def test_the_order_of_matches_hardly_matters():
    fixed, moving, distance = pairs(wrong=250)
    order = np.random.default_rng(8).permutation(len(fixed))
    one, other = found(fixed, moving, distance), found(fixed[order], moving[order], distance[order])
    assert error_mm(other, one.moving_from_fixed).max() < 3.0


def test_the_same_matches_give_the_same_bytes():
    one, other = found(*pairs(wrong=250)), found(*pairs(wrong=250))
    assert one.moving_from_fixed.matrix.tobytes() == other.moving_from_fixed.matrix.tobytes()


def test_keypoints_with_axes_of_their_own_may_be_turned_any_way():
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(140) * np.array([0.6, 0.64, 0.48])).as_matrix()
    fixed, moving, distance = pairs(right=200, wrong=300, transform=Affine(matrix))
    frame = np.tile(np.eye(3), (len(fixed), 1, 1))
    assert error_mm(found(fixed, moving, distance, frame=frame), Affine(matrix)).mean() < 8.0


# ---------------------------------------------------------------------------------------------------------------------
# Bending


def waved(points):
    """A smooth motion of 15 mm over a quarter of a metre."""
    away = (points - CENTRE) / 250.0
    return points + 15.0 * np.stack([np.sin(np.pi * away[:, axis]) for axis in (2, 0, 1)], axis=1)


def test_a_bending_map_follows_what_a_linear_one_cannot():
    fixed, moving, distance = pairs(right=500, wrong=500, scatter_mm=2.0)
    moving[:500] = truth().apply(waved(fixed[:500])) + np.random.default_rng(1).normal(0, 2, (500, 3))
    expected = truth().apply(waved(PATIENT))

    def missed(kind):
        result = found(fixed, moving, distance, kind)
        assert not result.doubts
        return np.linalg.norm(result.moving_from_fixed.apply(PATIENT) - expected, axis=1).mean()

    assert missed("bspline") < 0.5 * missed("affine")


@pytest.mark.parametrize("seed", range(2))
def test_no_bending_map_folds(seed):
    # places that change places with their neighbours: a spline that followed would fold
    rng = np.random.default_rng(seed)
    fixed, moving, distance = pairs(right=400, wrong=200, scatter_mm=1.0, seed=seed)
    moving[:300] += rng.choice([-22.0, 22.0], (300, 3))
    result = found(fixed, moving, distance, "bspline")
    grid = Grid.regular((40, 30, 60), 9.0, CENTRE - (180.0, 135.0, 270.0))
    field = sampled_displacement(result.moving_from_fixed.renamed(moving="fixed"), grid)
    assert min(part.min() for part in jacobian.determinants(field, grid.world_from_voxel[:3, :3])) > 0


def test_a_bending_map_is_straight_where_matches_are():
    fixed, moving, distance = pairs(right=300, wrong=100, scatter_mm=0.5)
    assert error_mm(found(fixed, moving, distance, "bspline")).mean() < 1.0


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be used


def test_matches_of_other_points_are_refused():
    points = Keypoints(PATIENT, "fixed"), Keypoints(PATIENT, "moving")
    with pytest.raises(BadInput, match="row 300 of the moving"):
        register(*points, Matches(np.array([[0, 1], [1, 300]])))


def test_places_that_are_no_numbers_are_refused():
    fixed, moving, _ = pairs(right=20, wrong=0)
    moving[3] = np.nan
    with pytest.raises(BadInput, match=r"moving.*NaN"):
        found(fixed, moving)
