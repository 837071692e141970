"""Splines of many images at their points, and what points carry spread on controls: twins, laws and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from homolog.kernels import bspline, splatting
from homolog.kernels.scattering import summed_reference, summed_torch
from homolog.kernels.threads import using_threads

SHAPE = (7, 5, 6)
CASES = {
    "several": [40, 25, 60],
    "an image without points": [30, 0, 20],
    "one image": [50],
    "one point": [1],
    "none": [0],
}


def case(counts=(40, 25, 60), shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    start = np.concatenate(([0], np.cumsum(counts)))
    controls = rng.uniform(1, np.array(shape) - 2, (start[-1], 3))
    # on the rim, at both ends, and so on controls
    controls[:1], controls[1:2] = 1.0, np.array(shape) - 2.0
    return splatting.placed(controls, start, shape), controls, rng


def coefficients_of(points, rng):
    out = rng.normal(0, 10, (len(points.start) - 1, int(np.prod(points.shape)), 4))
    return out


def to(device, *arrays):
    return arrays if device == "cpu" else [torch.from_numpy(array) for array in arrays]


def placed_on(device, points):
    return points if device == "cpu" else points.beside(torch.zeros(0))


@pytest.fixture(params=CASES)
def drawn(request):
    return case(CASES[request.param])


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_points_are_moved_as_by_the_twin(drawn, device):
    points, _, rng = drawn
    coefficients, position = coefficients_of(points, rng), rng.normal(0, 100, (points.start[-1], 3))
    found = splatting.displaced(*to(device, coefficients), placed_on(device, points), *to(device, position))
    # 64 products of coefficients below 50 mm with weights that add up to one, added to a place below 500 mm
    expected = splatting.displaced_reference(coefficients, points, position)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=500 * 2.0**-50)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_pulls_are_spread_as_by_the_twin(drawn, device):
    points, _, rng = drawn
    pull = rng.normal(0, 10, (points.start[-1], 4))
    pull[::3] = 0
    found = splatting.splatted(*to(device, pull), placed_on(device, points))
    # at most 60 terms below 50 mm a control
    expected = splatting.splatted_reference(pull, points)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=60 * 50 * 2.0**-52)


@pytest.mark.parametrize("hold", [0.0, 0.3])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("free", [[True] * 3, [True, False, True], [False] * 3])
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_controls_advance_as_by_the_twin(device, free, centred, hold):
    points, _, rng = case(shape=(9, 8, 7))
    before, free = coefficients_of(points, rng), np.array(free)
    before[..., 3] = 0
    pull = rng.normal(0, 10, (points.start[-1], 4))
    pull[:, 3] = np.abs(pull[:, 3])
    sums = splatting.splatted(pull, points)
    assert (sums[..., 3] == 0).any()
    found = splatting.advanced(*to(device, before, sums), 0.1, free, centred, hold)
    # a mean of three numbers; a step is a quotient, however small both are, of at most a few hundred mm
    expected = splatting.advanced_reference(before, sums, 0.1, free, centred, hold)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_the_farthest_coefficient_is_found_whatever_its_sign(device):
    coefficients = np.zeros((2, 5, 4))
    coefficients[1, 3, 0], coefficients[0, 4, 1], coefficients[0, 0, 3] = -7, 2, 99
    np.testing.assert_array_equal(splatting.farthest(*to(device, coefficients)), [7, 2, 0])


def test_each_image_is_moved_by_its_own_spline():
    points, controls, rng = case()
    coefficients = coefficients_of(points, rng)
    found = splatting.displaced(coefficients, points, np.zeros_like(controls))
    for image, (start, stop) in enumerate(zip(points.start, points.start[1:])):
        lattice = coefficients[image, :, :3].reshape(*SHAPE, 3)
        # both kernels add 64 terms below 50 mm
        np.testing.assert_allclose(found[start:stop], bspline.evaluate(lattice, controls[start:stop]), atol=1e-12)


def test_spreading_is_the_adjoint_of_moving():
    """<moved by c, pull> = <c, pull spread>, for any c and pull."""
    points, controls, rng = case()
    coefficients, pull = coefficients_of(points, rng), rng.normal(0, 10, (len(controls), 4))
    moved = splatting.displaced(coefficients, points, np.zeros_like(controls))
    spread = splatting.splatted(pull, points)
    # sums of some thousand products of about 100
    assert (moved * pull[:, :3]).sum() == pytest.approx((coefficients * spread)[..., :3].sum(), abs=1e-8)


def test_nothing_is_lost_where_it_is_spread():
    points, _, rng = case()
    pull = rng.normal(0, 10, (points.start[-1], 4))
    found = splatting.splatted(pull, points).sum(axis=1)
    expected = [pull[a:b].sum(axis=0) for a, b in zip(points.start, points.start[1:])]
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_a_step_keeps_the_mean_over_free_images_at_nothing():
    points, _, rng = case(shape=(9, 8, 7))
    pull = np.abs(rng.normal(0, 10, (points.start[-1], 4)))
    free = np.array([True, False, True])
    further = splatting.advanced(splatting.unmoved(points), splatting.splatted(pull, points), 0.1, free, True)
    assert np.abs(further[free]).max() > 0.1 and not further[~free].any()
    np.testing.assert_allclose(further[free].mean(axis=0), 0, atol=1e-13)


def test_points_that_all_want_the_same_move_their_controls_by_a_share_of_it():
    points, controls, _ = case()
    pull = np.tile([3.0, -4.0, 5.0, 1.0], (len(controls), 1))
    free = np.ones(3, bool)
    further = splatting.advanced(splatting.unmoved(points), splatting.splatted(pull, points), 0.2, free, False)
    moved = splatting.displaced(further, points, controls) - controls
    np.testing.assert_allclose(moved, np.tile([0.6, -0.8, 1.0], (len(controls), 1)), atol=1e-12)


def test_any_number_of_threads_gives_the_same_bytes():
    points, controls, rng = case([9000] * 6, (30, 29, 28))
    coefficients, pull = coefficients_of(points, rng), np.abs(rng.normal(0, 10, (len(controls), 4)))
    found = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            sums = splatting.splatted(pull, points)
            further = splatting.advanced(coefficients, sums, 0.1, np.ones(6, bool), True)
            moved = splatting.displaced(further, points, controls)
        found.append((sums.tobytes(), further.tobytes(), moved.tobytes()))
    assert len(controls) > 2 * splatting.LEAST and sums.shape[1] > splatting.LEAST
    assert found[0] == found[1] == found[2]


def test_any_layout_of_the_arrays_gives_the_same():
    points, controls, rng = case()
    coefficients, pull = coefficients_of(points, rng), rng.normal(0, 10, (len(controls), 4))
    turned = [np.asfortranarray(np.repeat(array, 2, axis=0)[::2]) for array in (coefficients, controls, pull)]
    one = splatting.displaced(coefficients, points, controls)
    assert one.tobytes() == splatting.displaced(turned[0], points, turned[1]).tobytes()
    assert splatting.splatted(pull, points).tobytes() == splatting.splatted(turned[2], points).tobytes()


@pytest.mark.parametrize("count", [0, 1, 500])
def test_scattered_numbers_are_summed_as_by_the_twin(count):
    rng = np.random.default_rng(4)
    values, index = rng.normal(0, 100, (count, 3)), rng.integers(0, 20, count)
    found = summed_torch(torch.from_numpy(values), torch.from_numpy(index), 30)
    # a few dozen terms below 500
    np.testing.assert_allclose(found.numpy(), summed_reference(values, index, 30), rtol=0, atol=1e-11)
