"""Each fast kernel against its twin, and the twins against scipy and SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import map_coordinates

from homolog.kernels import interpolate

SHAPES = [(9, 8, 7), (1, 8, 7), (5, 1, 1), (1, 1, 1), (2, 2, 2)]


def case(shape, mode, seed=0):
    rng = np.random.default_rng(seed)
    voxels = rng.uniform(-1.2, 1.2, (500, 3)) + rng.uniform(0, 1, (500, 3)) * np.array(shape)
    data = rng.normal(size=shape).astype(np.float32)
    if mode == "vote":
        data = rng.integers(0, 4, shape).astype(np.int16)
    elif mode == "cubic":
        data = interpolate.spline_coefficients(data)
    return data, voxels


@pytest.mark.parametrize("mode", interpolate.MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_fast_kernel_agrees_with_its_twin(shape, mode):
    data, voxels = case(shape, mode)
    expected = interpolate.sample_reference(data, voxels, mode, -9)
    # float32: three lerps of values near 1 round at 6e-8 each
    np.testing.assert_allclose(interpolate.sample(data, voxels, mode, -9), expected, atol=1e-6)


@pytest.mark.parametrize("mode", interpolate.MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_torch_gives_the_same_answers(shape, mode):
    data, voxels = case(shape, mode)
    expected = interpolate.sample_reference(data, voxels, mode, -9)
    found = interpolate.sample_torch(torch.from_numpy(data), torch.from_numpy(voxels), mode, -9)
    # float32 coordinates from -1 to 1 are good to 1e-6 voxel here, times a slope of a few a voxel
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_cubic_is_scipys_interpolating_spline():
    rng = np.random.default_rng(3)
    data = rng.normal(size=(12, 11, 10)).astype(np.float32)
    voxels = rng.uniform(0, 9, (400, 3))
    expected = map_coordinates(data, voxels.T, order=3, mode="mirror")
    found = interpolate.sample(interpolate.spline_coefficients(data), voxels, "cubic", 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_both_prefilters_pass_through_every_voxel():
    data = np.random.default_rng(4).normal(size=(9, 1, 6)).astype(np.float32)
    nodes = np.argwhere(np.ones(data.shape)).astype(np.float64)
    by_torch = interpolate.spline_coefficients_torch(torch.from_numpy(data)).numpy()
    for coefficients in (interpolate.spline_coefficients(data), by_torch):
        np.testing.assert_allclose(interpolate.sample(coefficients, nodes, "cubic", 0), data.ravel(), atol=1e-5)


@pytest.mark.parametrize(("mode", "itk"), [("linear", sitk.sitkLinear), ("nearest", sitk.sitkNearestNeighbor)])
def test_the_rim_is_itks(mode, itk):
    data, _ = case((6, 5, 4), mode)
    image = sitk.GetImageFromArray(data.T.copy())
    voxels = np.array([[x, 2.2, 1.3] for x in (-0.6, -0.5, -0.49, 0.0, 0.5, 2.5, 4.9, 5.0, 5.49, 5.51)])
    resampled = [
        sitk.Resample(image, (1, 1, 1), sitk.Transform(), itk, v.tolist(), (1.0,) * 3, np.eye(3).ravel().tolist(), -9.0)
        for v in voxels
    ]
    expected = [r.GetPixelAsFloat((0, 0, 0)) if hasattr(r, "GetPixelAsFloat") else r[0, 0, 0] for r in resampled]
    np.testing.assert_allclose(interpolate.sample(data, voxels, mode, -9), expected, atol=1e-6)


def test_a_vote_never_invents_a_label_between_two_others():
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[4:] = 7
    values = interpolate.sample(labels, np.random.default_rng(5).uniform(0, 7, (500, 3)), "vote", 0)
    assert set(values.tolist()) == {0, 7}


def test_storage_order_does_not_matter():
    data, voxels = case((9, 8, 7), "linear")
    same = interpolate.sample(np.asfortranarray(data), voxels, "linear", 0)
    np.testing.assert_array_equal(same, interpolate.sample(data, voxels, "linear", 0))


def test_no_points_give_no_values():
    assert interpolate.sample(np.ones((2, 2, 2), np.float32), np.empty((0, 3)), "linear", 0).shape == (0,)


def test_sampling_has_gradients_to_the_picture_and_the_place():
    rng = np.random.default_rng(7)
    data = torch.from_numpy(rng.normal(size=(4, 5, 6))).requires_grad_()
    # away from cell faces, where linear interpolation has a kink
    places = rng.integers(0, 3, (6, 3)) + rng.uniform(0.2, 0.8, (6, 3))
    voxels = torch.from_numpy(places).requires_grad_()
    for mode in ("linear", "cubic"):
        assert torch.autograd.gradcheck(lambda d, v, m=mode: interpolate.sample_torch(d, v, m, 0.0), (data, voxels))
