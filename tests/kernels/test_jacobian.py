from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import correlate

from homolog.kernels import jacobian
from homolog.kernels.threads import using_threads
from tests.geometry import oblique_grid, sheared_grid

LINEAR = sheared_grid().world_from_voxel[:3, :3]

# float32 holds the fields and their differences to 2^-24; a determinant sums six products of up to (1 + 3 |slope|)
# with slopes of about one, and is rounded once more: some tens of those units.
TOLERANCE = 3e-6


def random_field(shape, seed=0, size_mm=0.4):
    return np.random.default_rng(seed).normal(scale=size_mm, size=(*shape, 3)).astype(np.float32)


def linear_field(grid, slope):
    return (grid.points() @ slope.T).reshape(*grid.shape, 3).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 2), (2, 2, 63), (4, 3, 64), (3, 4, 65), (3, 2, 130)])
def test_every_shape_agrees_with_the_twin(shape):
    field = random_field(shape)
    for fast, twin in zip(jacobian.determinants(field, LINEAR), jacobian.determinants_reference(field, LINEAR)):
        np.testing.assert_allclose(fast, twin, atol=TOLERANCE)


def test_a_field_stored_in_another_order_gives_the_same():
    field = random_field((6, 7, 5))
    scattered = np.asfortranarray(field.astype(np.float64))[::-1][::-1]
    for one, other in zip(jacobian.determinants(field, LINEAR), jacobian.determinants(scattered, LINEAR)):
        np.testing.assert_array_equal(one, other)


def test_no_voxels_give_no_determinants():
    central, least = jacobian.determinants(np.zeros((0, 3, 4, 3), np.float32), LINEAR)
    assert central.shape == least.shape == (0, 3, 4)


def test_the_number_of_threads_does_not_matter():
    field = random_field((23, 5, 70))
    results = []
    for count in (1, 3):
        with using_threads(count):
            results.append(jacobian.determinants(field, LINEAR))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("grid", [oblique_grid((7, 6, 5)), sheared_grid((7, 6, 5))], ids=["oblique", "sheared"])
def test_a_linear_map_has_its_own_determinant_at_every_voxel_and_the_border(grid):
    slope = np.array([[0.1, -0.2, 0.05], [0.15, -0.1, 0.3], [0.0, 0.2, 0.25]])
    truth = np.linalg.det(np.eye(3) + slope)
    for values in jacobian.determinants(linear_field(grid, slope), grid.world_from_voxel[:3, :3]):
        # coordinates of some hundreds of mm are rounded to 2^-16 mm before they are differenced over 1.3 mm
        np.testing.assert_allclose(values, truth, atol=2e-4)


def test_flipping_an_axis_of_the_storage_flips_the_determinants_and_changes_nothing_else():
    field = random_field((6, 5, 7))
    flipped = LINEAR * np.array([1, -1, 1])
    for one, other in zip(jacobian.determinants(field, LINEAR), jacobian.determinants(field[:, ::-1], flipped)):
        np.testing.assert_allclose(one, other[:, ::-1], atol=TOLERANCE)


def test_the_least_of_eight_is_never_above_the_central_one():
    central, least = jacobian.determinants(random_field((9, 8, 7)), LINEAR)
    assert (least <= central + TOLERANCE).all() and (least < central - 0.1).any()


def test_central_determinants_are_itks_once_vectors_lie_along_its_axes():
    # ITK leaves the image's direction out: it must be given vectors already turned into the axes of the lattice.
    grid = oblique_grid((9, 8, 7))
    field = random_field(grid.shape)
    image = sitk.GetImageFromArray((field @ grid.axes).transpose(2, 1, 0, 3).astype(np.float64), isVector=True)
    image.SetSpacing(grid.spacing_mm.tolist())
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image)).transpose(2, 1, 0)
    central = jacobian.determinants(field, grid.world_from_voxel[:3, :3])[0]
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(central[inner], expected[inner], atol=TOLERANCE)


def test_learn2regs_determinants_are_correlations_with_a_half_before_and_behind():
    field = random_field((8, 7, 9)).astype(np.float64)
    slopes = np.empty((*field.shape[:3], 3, 3))
    for axis in range(3):
        kernel = np.moveaxis(np.array([-0.5, 0, 0.5]).reshape(3, 1, 1), 0, axis)
        for component in range(3):
            slopes[..., component, axis] = correlate(field[..., component], kernel, mode="constant", cval=0.0)
    expected = np.linalg.det(slopes + np.eye(3))[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(jacobian.learn2reg_determinants(field), expected, atol=1e-12)


def test_in_voxel_units_the_determinants_are_the_same():
    field = random_field((8, 7, 9))
    in_voxels = field.astype(np.float64) @ np.linalg.inv(LINEAR).T
    ours = jacobian.inside_learn2reg_border(jacobian.determinants(field, LINEAR)[0])
    np.testing.assert_allclose(ours, jacobian.learn2reg_determinants(in_voxels), atol=TOLERANCE)


def test_folded_voxels_have_no_logarithm():
    swollen = np.exp(np.array([0.5, -0.5, 0.5, -0.5]))
    assert jacobian.log_spread(swollen) == pytest.approx(0.5)
    assert jacobian.log_spread(np.append(swollen, [0.0, -2.0])) == pytest.approx(0.5)
    assert np.isnan(jacobian.log_spread(np.array([-1.0])))


def test_learn2regs_spread_adds_three_and_clips():
    values = np.array([1.0, np.e - 3, -7.0])
    expected = np.std([np.log(4), 1.0, np.log(1e-9)])
    assert jacobian.log_spread_learn2reg(values) == pytest.approx(expected)
    assert np.isnan(jacobian.log_spread_learn2reg(jacobian.inside_learn2reg_border(np.ones((9, 9, 4)))))
