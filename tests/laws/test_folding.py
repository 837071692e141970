from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy.ndimage import correlate

from homolog import Affine, Displacement, Grid, Volume
from homolog.errors import BadInput, GridMismatch, SpaceMismatch
from homolog.metrics.folding import folding
from homolog.space.sampling import sampled_displacement
from tests.geometry import oblique_grid, sheared_grid, smooth_volume, some_affine, some_displacement, some_spline

PERIOD = 9


def wave(grid, height_mm):
    """A sine along the first axis, pushing along that axis, `PERIOD` voxels long."""
    steps = np.arange(grid.shape[0])[:, None, None, None]
    push = height_mm * np.sin(2 * np.pi * steps / PERIOD) * grid.axes[:, 0]
    return Displacement(np.broadcast_to(push, (*grid.shape, 3)).astype(np.float32), grid)


def folding_height(grid):
    """Half way between two voxels of an odd period the sine falls steepest: by 2 h sin(pi / PERIOD) in one voxel."""
    return grid.spacing_mm[0] / (2 * np.sin(np.pi / PERIOD))


@pytest.mark.parametrize("grid", [oblique_grid((27, 5, 6)), sheared_grid((27, 5, 6))], ids=["oblique", "sheared"])
def test_a_wave_folds_exactly_from_the_height_where_it_turns_back(grid):
    below, above = (folding(wave(grid, factor * folding_height(grid)), grid) for factor in (0.999, 1.001))
    assert below.fraction == 0 and below.least == pytest.approx(0.001, abs=1e-4)
    # the two voxels beside each turning point, one by its forward and one by its backward difference
    assert above.fraction == pytest.approx(2 / PERIOD) and above.least == pytest.approx(-0.001, abs=1e-4)


def test_central_differences_step_over_a_fold_that_one_sided_ones_see():
    grid = oblique_grid((27, 5, 6))
    found = folding(wave(grid, 1.02 * folding_height(grid)), grid)
    slope = 1.02 * (np.sin(4 * np.pi / 9 * 2.5) - np.sin(4 * np.pi / 9 * 1.5)) / (4 * np.sin(np.pi / 9))
    assert found.fraction > 0 and found.fraction_central == 0
    assert found.least_central == pytest.approx(1 + slope, abs=1e-4)


@pytest.mark.parametrize("grid", [oblique_grid(), sheared_grid()], ids=["oblique", "sheared"])
def test_an_affine_map_has_its_determinant_everywhere(grid):
    affine = some_affine()
    found = folding(affine, grid)
    truth = np.linalg.det(affine.matrix[:3, :3])
    assert [found.least, found.least_central] == pytest.approx([truth, truth], abs=1e-4)
    assert found.fraction == found.fraction_central == 0 and found.voxels == grid.size
    assert [found.sdlogj, found.sdlogj_l2r] == pytest.approx([0, 0], abs=1e-5)


def test_a_mirror_folds_everywhere_and_has_no_logarithm():
    found = folding(Affine(np.diag([-1.0, 1.0, 1.0, 1.0])), oblique_grid())
    assert found.fraction == found.fraction_central == 1
    assert found.least == pytest.approx(-1, abs=1e-4) and np.isnan(found.sdlogj)


def test_sdlogj_is_the_spread_of_the_analytic_jacobian():
    grid = oblique_grid((8 * PERIOD, 5, 6))
    height = 0.6 * folding_height(grid)
    slopes = 2 * np.pi * height / (PERIOD * grid.spacing_mm[0]) * np.cos(2 * np.pi * np.arange(PERIOD) / PERIOD)
    # the central difference of a sine is its slope times sin(w h) / (w h)
    logs = np.log(1 + slopes * np.sinc(2 / PERIOD))
    interior = grid.cropped((PERIOD, 0, 0), (7 * PERIOD, 5, 6))
    mask = Volume(interior_mask(grid, interior), grid, "fixed", "labels")
    assert folding(wave(grid, height), grid, mask=mask).sdlogj == pytest.approx(logs.std(), abs=1e-5)


def interior_mask(grid, interior):
    return interior.contains(grid.points(), 0.25).astype(np.uint8).reshape(grid.shape)


def learn2reg(transform, grid, inside=None):
    """Their formula, on the displacement in voxels."""
    field = sampled_displacement(transform, grid).astype(np.float64) @ grid.voxel_from_world[:3, :3].T
    kernels = [np.moveaxis(np.array([-0.5, 0, 0.5]).reshape(3, 1, 1), 0, axis) for axis in range(3)]
    slopes = np.array(
        [[correlate(field[..., c], kernel, mode="constant", cval=0.0) for kernel in kernels] for c in range(3)]
    )
    determinants = np.linalg.det(np.moveaxis(slopes, (0, 1), (3, 4)) + np.eye(3))[2:-2, 2:-2, 2:-2]
    logs = np.log(np.clip(determinants + 3, 1e-9, 1e9))
    return logs.std() if inside is None else logs[inside[2:-2, 2:-2, 2:-2]].std()


@pytest.mark.parametrize("grid", [oblique_grid(), sheared_grid()], ids=["oblique", "sheared"])
@pytest.mark.parametrize("height_mm", [3.0, 30.0], ids=["smooth", "folded"])
def test_learn2regs_figure_is_that_of_its_formula_in_voxels(grid, height_mm):
    transform = some_displacement(grid, height_mm=height_mm)
    inside = smooth_volume(grid).data > 0
    mask = Volume(inside.astype(np.uint8), grid, "fixed", "labels")
    # relative too: next to the clipping limit the logarithm magnifies the rounding of float32 determinants
    close = {"rel": 1e-6, "abs": 1e-6}
    assert folding(transform, grid).sdlogj_l2r == pytest.approx(learn2reg(transform, grid), **close)
    masked = learn2reg(transform, grid, inside)
    assert folding(transform, grid, mask=mask).sdlogj_l2r == pytest.approx(masked, **close)


def test_learn2regs_figure_needs_voxels_inside_its_border():
    found = folding(some_affine(), oblique_grid((9, 4, 8)))
    assert np.isnan(found.sdlogj_l2r) and found.sdlogj == pytest.approx(0, abs=1e-5)


def test_folded_voxels_are_counted_and_left_out_of_the_spread():
    grid = oblique_grid((27, 5, 6))
    height = 1.5 * folding_height(grid)
    found = folding(wave(grid, height), grid)
    # the steps from voxel to voxel of one period are -1.5 cos(40 degrees n): three of them turn back, on four voxels;
    # over two voxels only the middle two do
    assert (found.fraction, found.fraction_central) == pytest.approx((4 / PERIOD, 2 / PERIOD))
    steps = height * np.diff(np.sin(2 * np.pi * np.arange(27) / PERIOD)) / grid.spacing_mm[0]
    central = 1 + np.concatenate((steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]))
    assert found.sdlogj == pytest.approx(np.log(central[central > 0]).std(), abs=1e-5)


def test_only_the_masks_voxels_count():
    grid = oblique_grid((27, 5, 6))
    transform = wave(grid, 1.001 * folding_height(grid))
    turning = np.isin(np.arange(27) % PERIOD, (4, 5))
    labels = np.broadcast_to(turning[:, None, None], grid.shape).astype(np.int16)
    at, away = (folding(transform, grid, mask=Volume(part, grid, "fixed", "labels")) for part in (labels, 1 - labels))
    assert (at.fraction, away.fraction) == (1, 0)
    assert at.voxels + away.voxels == grid.size


def test_moving_the_patient_changes_nothing():
    turn = np.eye(4)
    turn[:3] = np.column_stack((oblique_grid(seed=8).axes, [30.0, -20.0, 5.0]))
    grid = oblique_grid()
    here = some_displacement(grid, height_mm=20.0)
    elsewhere = Grid(grid.shape, turn @ grid.world_from_voxel)
    there = Displacement((here.vectors @ turn[:3, :3].T).astype(np.float32), elsewhere)
    assert asdict(folding(there, elsewhere)) == pytest.approx(asdict(folding(here, grid)), abs=1e-5)


def test_any_map_can_be_asked_on_any_grid():
    spline, grid = some_spline(), sheared_grid()
    found = folding(spline, grid)
    truth = np.linalg.det(spline.jacobian(grid.points()))
    assert found.fraction == 0 and truth.min() > 0
    # central differences over two voxels blur a spline whose control points lie seven voxels apart
    assert found.sdlogj == pytest.approx(np.log(truth).std(), rel=0.1)


def test_the_numbers_can_be_written_as_json():
    grid = oblique_grid()
    assert json.loads(json.dumps(asdict(folding(some_displacement(grid), grid))))["voxels"] == grid.size


def test_a_mask_of_another_place_is_refused():
    grid = oblique_grid()
    mask = Volume(np.ones(grid.shape, np.uint8), grid, "fixed", "labels")
    with pytest.raises(SpaceMismatch, match="'moving'"):
        folding(some_affine(), grid, mask=mask.in_space("moving"))
    with pytest.raises(GridMismatch) as error:
        folding(some_affine(), grid.cropped((1, 0, 0), (18, 14, 12)), mask=mask)
    assert "--like" in error.value.hint
    with pytest.raises(BadInput, match="mask is empty"):
        folding(some_affine(), grid, mask=mask.with_data(np.zeros(grid.shape, np.uint8)))
