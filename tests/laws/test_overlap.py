from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import SimpleITK as sitk
import surface_distance

from homolog import Affine, Grid, Volume
from homolog.errors import BadInput, GridMismatch, SpaceMismatch
from homolog.metrics import overlap
from tests.geometry import oblique_grid, sheared_grid

# surface-distance imports from names that scipy is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

GRID = oblique_grid((46, 38, 30))


def ellipsoids(grid, shift_mm=0.0, seed=5, names=(2, 7, 30)):
    """Three overlapping ellipsoids with bumps; the last drawn wins."""
    rng = np.random.default_rng(seed)
    points = grid.points() + shift_mm * np.array([1.0, -0.6, 0.4])
    data = np.zeros(grid.size, np.int16)
    for name in names:
        towards = points - grid.world(np.array(grid.shape) * rng.uniform(0.35, 0.65, 3))
        bumps = 0.1 * np.sin(towards / rng.uniform(2.0, 4.0)).sum(axis=1)
        data[((towards / rng.uniform(9, 16, 3)) ** 2).sum(axis=1) < 1 + bumps] = name
    return Volume(data.reshape(grid.shape), grid, "patient", "labels")


FIXED, WARPED = ellipsoids(GRID), ellipsoids(GRID, shift_mm=3.0)


def noise(grid, seed):
    data = np.random.default_rng(seed).integers(0, 3, grid.shape).astype(np.uint8)
    return Volume(data, grid, "patient", "labels")


def theirs(fixed, warped, label, spacing):
    return surface_distance.compute_surface_distances(fixed.data == label, warped.data == label, tuple(spacing))


def ball(grid, radius_mm):
    distance = np.linalg.norm(grid.points() - grid.world((np.array(grid.shape) - 1) / 2), axis=1)
    return Volume((distance < radius_mm).astype(np.uint8).reshape(grid.shape), grid, "patient", "labels")


def test_dice_is_that_of_surface_distance_and_of_itk():
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(*(sitk.GetImageFromArray(volume.data) for volume in (FIXED, WARPED)))
    for label, score in overlap.dice(FIXED, WARPED).items():
        assert score == surface_distance.compute_dice_coefficient(FIXED.data == label, WARPED.data == label)
        assert score == pytest.approx(measures.GetDiceCoefficient(label), rel=1e-15, abs=1e-15)


@pytest.mark.parametrize("pair", [(FIXED, WARPED), (noise(GRID, 0), noise(GRID, 1))], ids=["organs", "noise"])
def test_hausdorff95_is_that_of_surface_distance_in_mm_and_in_voxels(pair):
    in_mm, in_voxels = overlap.hausdorff95_mm(*pair), overlap.hausdorff95_vox(*pair)
    for label in in_mm:
        expected = [
            surface_distance.compute_robust_hausdorff(theirs(*pair, label, spacing), 95)
            for spacing in (GRID.spacing_mm, np.ones(3))
        ]
        assert [in_mm[label], in_voxels[label]] == pytest.approx(expected, abs=1e-9)


def test_the_mean_runs_over_the_area_of_both_surfaces():
    for label, mean in overlap.mean_surface_mm(FIXED, WARPED).items():
        gap = theirs(FIXED, WARPED, label, GRID.spacing_mm)
        there, back = surface_distance.compute_average_surface_distance(gap)
        areas = gap["surfel_areas_gt"].sum(), gap["surfel_areas_pred"].sum()
        assert mean == pytest.approx((there * areas[0] + back * areas[1]) / sum(areas), rel=1e-9)


def test_identical_labels_agree_fully():
    assert set(overlap.dice(FIXED, FIXED).values()) == {1.0}
    assert set(overlap.hausdorff95_mm(FIXED, FIXED).values()) == {0.0}
    assert set(overlap.mean_surface_mm(FIXED, FIXED).values()) == {0.0}


@pytest.mark.parametrize("grid", [oblique_grid((34, 28, 26)), sheared_grid((36, 30, 28))], ids=["oblique", "sheared"])
def test_concentric_balls_are_as_far_apart_as_their_radii_differ(grid):
    balls = ball(grid, 12.0), ball(grid, 16.0)
    # surfels lie at corners of voxels, within half a voxel's side (1.05 mm) of the sphere on average
    assert overlap.mean_surface_mm(*balls)[1] == pytest.approx(4.0, abs=1.05)
    assert overlap.hausdorff95_mm(*balls)[1] == pytest.approx(4.0, abs=1.05)
    assert overlap.dice(*balls)[1] == pytest.approx(2 * 12**3 / (12**3 + 16**3), abs=0.02)


def test_on_leaning_axes_distances_are_those_in_the_patient_and_not_along_the_axis():
    grid = sheared_grid((32, 30, 24), degrees=30.0)
    slabs = []
    for start in (5, 9):
        data = np.zeros(grid.shape, np.uint8)
        data[1:-1, 1:-1, start : start + 4] = 1
        slabs.append(Volume(data, grid, "patient", "labels"))
    i, j, k = grid.world_from_voxel[:3, :3].T
    across_mm = 4 * abs(k @ np.cross(i, j)) / np.linalg.norm(np.cross(i, j))
    # the nearest surfel need not lie straight across: it can be half a voxel off along i and j
    most_mm = np.hypot(across_mm, np.hypot(*grid.spacing_mm[:2]) / 2)
    assert across_mm < overlap.hausdorff95_mm(*slabs)[1] < most_mm < 4 * grid.spacing_mm[2]


def test_moving_the_patient_changes_nothing():
    turned = Affine(np.block([[oblique_grid(seed=8).axes, np.full((3, 1), 40.0)], [np.zeros((1, 3)), np.eye(1)]]))
    for grid in (GRID, sheared_grid(GRID.shape)):
        elsewhere = Grid(grid.shape, turned.matrix @ grid.world_from_voxel)
        here = overlap.hausdorff95_mm(*(replace(volume, grid=grid) for volume in (FIXED, WARPED)))
        there = overlap.hausdorff95_mm(*(replace(volume, grid=elsewhere) for volume in (FIXED, WARPED)))
        assert there == pytest.approx(here, abs=1e-9)


def test_neither_map_comes_first():
    assert overlap.dice(WARPED, FIXED) == overlap.dice(FIXED, WARPED)
    assert overlap.hausdorff95_mm(WARPED, FIXED) == overlap.hausdorff95_mm(FIXED, WARPED)
    assert overlap.mean_surface_mm(WARPED, FIXED) == pytest.approx(overlap.mean_surface_mm(FIXED, WARPED), rel=1e-12)


def test_empty_space_round_the_labels_does_not_matter():
    padded = [Volume(np.pad(v.data, 5), GRID.padded(5), "patient", "labels") for v in (FIXED, WARPED)]
    assert overlap.dice(*padded) == overlap.dice(FIXED, WARPED)
    assert overlap.hausdorff95_mm(*padded) == pytest.approx(overlap.hausdorff95_mm(FIXED, WARPED), abs=1e-9)


def test_labels_at_the_edge_of_the_picture_are_closed_there():
    cropped = GRID.cropped((15, 12, 8), (32, 26, 20))
    pair = [Volume(v.data[15:32, 12:26, 8:20], cropped, "patient", "labels") for v in (FIXED, WARPED)]
    for label, hd95 in overlap.hausdorff95_mm(*pair).items():
        gap = theirs(*pair, label, GRID.spacing_mm)
        assert hd95 == pytest.approx(surface_distance.compute_robust_hausdorff(gap, 95), abs=1e-9)


def test_a_label_missing_from_either_map_scores_nan_and_its_voxels_are_told():
    without = WARPED.with_data(np.where(WARPED.data == 7, 0, WARPED.data))
    wanted = (2, 7, 99)
    for scores in (overlap.dice, overlap.hausdorff95_mm, overlap.hausdorff95_vox, overlap.mean_surface_mm):
        assert [np.isnan(scores(FIXED, without, wanted)[label]) for label in wanted] == [False, True, True]
        assert np.isnan(scores(without, FIXED, wanted)[7])
    counts = overlap.counts(FIXED, without, wanted)
    assert counts[7] == overlap.Counts(fixed=int((FIXED.data == 7).sum()), warped=0, shared=0)
    assert counts[99] == overlap.Counts(0, 0, 0)


def test_by_default_every_label_of_either_map_is_looked_at_but_zero():
    only_fixed, only_warped = ellipsoids(GRID, names=(2, 7)), ellipsoids(GRID, names=(7, 30))
    assert list(overlap.dice(only_fixed, only_warped)) == [2, 7, 30]
    assert list(overlap.dice(only_fixed, only_warped, labels=(0, 7))) == [0, 7]


@pytest.mark.parametrize(("dtype", "shift"), [(np.int32, -20), (np.int64, 10**9), (np.uint16, 60_000), (np.uint8, 0)])
def test_what_numbers_the_labels_have_does_not_matter(dtype, shift):
    renamed = [
        v.with_data(np.where(v.data > 0, v.data.astype(np.int64) + shift, 0).astype(dtype)) for v in (FIXED, WARPED)
    ]
    for scores in (overlap.dice, overlap.hausdorff95_mm):
        assert scores(*renamed) == {label + shift: value for label, value in scores(FIXED, WARPED).items()}


def test_maps_without_labels_have_no_scores():
    empty = FIXED.with_data(np.zeros_like(FIXED.data))
    assert overlap.dice(empty, empty) == overlap.hausdorff95_mm(empty, empty) == {}


def test_scores_can_be_written_as_json():
    scores = overlap.dice(FIXED, WARPED), overlap.hausdorff95_mm(FIXED, WARPED), overlap.mean_surface_mm(FIXED, WARPED)
    assert all(json.loads(json.dumps(each)).keys() == {"2", "7", "30"} for each in scores)
    assert json.loads(json.dumps(asdict(overlap.counts(FIXED, WARPED)[7])))["fixed"] == (FIXED.data == 7).sum()


def test_maps_that_do_not_share_a_grid_or_a_space_are_refused_with_a_way_out():
    for scores in (overlap.dice, overlap.hausdorff95_mm):
        with pytest.raises(GridMismatch) as error:
            scores(FIXED, ellipsoids(GRID.cropped((1, 0, 0), (47, 38, 30))))
        assert "homolog apply" in error.value.hint and "--like" in error.value.hint
        with pytest.raises(SpaceMismatch, match="'patient' and 'other'"):
            scores(FIXED, WARPED.in_space("other"))
        with pytest.raises(BadInput, match="read as intensities"):
            scores(FIXED, WARPED.with_data(WARPED.data.astype(np.float32), "intensity"))
