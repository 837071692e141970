from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from homolog.errors import BadInput, GridMismatch
from homolog.projective.similarity import MEASURES, prepare
from homolog.projective.similarity_torch import similarity
from tests.pictures import COLUMNS, ROWS, SHAPE, blobs, like, mask, picture

EVERY = pytest.mark.parametrize("name", MEASURES)
ONE = pytest.mark.parametrize("name", [name for name, recipe in MEASURES.items() if recipe.one])
SECOND = pytest.mark.parametrize("name", [name for name, recipe in MEASURES.items() if recipe.second])
SMOOTHED = pytest.mark.parametrize("sigma_px", [0.0, 1.2])
RADIUS = 3


def batched(name, moving, fixed, weights=None, **options):
    weights = None if weights is None else torch.tensor(weights)
    return similarity(name, torch.tensor(moving), torch.tensor(fixed), mask=weights, **options).numpy()


# ---------------------------------------------------------------------------------------------------------------------
# Laws


@SMOOTHED
@EVERY
def test_tensors_give_the_same_values_and_gradients(name, sigma_px):
    fixed, moving, weights = picture(0), like(picture(0)), mask()
    options = {"sigma_px": sigma_px, "radius_px": RADIUS, "share": 0.1, "bins": 16}
    value, gradient = prepare(name, fixed, mask=weights, **options).value_and_gradient(moving)
    tensor = torch.tensor(moving, requires_grad=True)
    other = similarity(name, tensor[None], torch.tensor(fixed), mask=torch.tensor(weights), **options)[0]
    (other_gradient,) = torch.autograd.grad(other, tensor)
    # float64 in another order
    assert other.item() == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(other_gradient.numpy(), gradient, rtol=0, atol=1e-9 * np.abs(gradient).max())


@EVERY
def test_single_precision_has_its_digits(name):
    fixed, moving = picture(0).astype(np.float32), like(picture(0)).astype(np.float32)
    value = batched(name, moving[None], fixed, radius_px=RADIUS)[0]
    assert value.dtype == np.float32
    # 6e-8 of rounding, times the number of deviations that a mean is large, in sums of some hundred
    assert value == pytest.approx(prepare(name, fixed, radius_px=RADIUS).value(moving), abs=2e-5)


@SMOOTHED
@EVERY
def test_the_gradient_is_that_of_central_differences(name, sigma_px):
    measure = prepare(name, picture(0), mask=mask(), sigma_px=sigma_px, radius_px=RADIUS)
    moving = like(picture(0))
    value, gradient = measure.value_and_gradient(moving)
    assert value == pytest.approx(measure.value(moving), rel=1e-12)
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=SHAPE)
        step = 1e-5
        ahead, behind = (measure.value(moving + sign * step * direction) for sign in (1, -1))
        assert (ahead - behind) / (2 * step) == pytest.approx((gradient * direction).sum(), rel=2e-5, abs=1e-9)


# not the mixtures, which are sums of others
@pytest.mark.parametrize("name", [name for name, recipe in MEASURES.items() if len(recipe.parts) == 1])
def test_tensors_are_differentiable_twice(name):
    fixed = torch.tensor(picture(0)[:9, :8])
    moving = torch.tensor(like(picture(0))[:9, :8][None], requires_grad=True)
    weights = torch.tensor(mask()[3:12, 2:10])

    def value(moving):
        return similarity(name, moving, fixed, mask=weights, radius_px=2, sigma_px=0.8, share=0.2, bins=8)

    assert torch.autograd.gradcheck(value, moving, fast_mode=True)
    assert torch.autograd.gradgradcheck(value, moving, fast_mode=True)


@EVERY
def test_a_batch_is_one_by_one(name):
    moving = np.stack([like(picture(n), n + 1) for n in range(3)])
    fixed = np.stack([picture(n) for n in range(3)])
    one_each = batched(name, moving, fixed, mask(), radius_px=RADIUS)
    against_first = batched(name, moving, fixed[0], mask(), radius_px=RADIUS)
    for n in range(3):
        own = prepare(name, fixed[n], mask=mask(), radius_px=RADIUS)
        assert one_each[n] == pytest.approx(own.value(moving[n]), rel=1e-9)
        first = prepare(name, fixed[0], mask=mask(), radius_px=RADIUS)
        assert against_first[n] == pytest.approx(first.value(moving[n]), rel=1e-9, abs=1e-12)


@SMOOTHED
@EVERY
def test_brightness_and_contrast_do_not_matter(name, sigma_px):
    fixed, moving = picture(0), like(picture(0))
    value = prepare(name, fixed, mask=mask(), sigma_px=sigma_px).value(moving)
    brighter = prepare(name, 250 + 0.02 * fixed, mask=mask(), sigma_px=sigma_px)
    assert brighter.value(7.5 * moving - 30) == pytest.approx(value, rel=1e-7)


@SMOOTHED
@ONE
def test_a_picture_has_one_with_itself_and_less_with_others(name, sigma_px):
    measure = prepare(name, picture(0), mask=mask(), sigma_px=sigma_px, radius_px=RADIUS)
    value, gradient = measure.value_and_gradient(picture(0))
    assert value == pytest.approx(1, abs=1e-12)
    assert np.abs(gradient).max() < 1e-9
    others = [measure.value(each) for each in (like(picture(0)), picture(1), -picture(0), picture(0) ** 3)]
    assert max(others) < 0.99 and min(others) >= -1 - 1e-12


@pytest.mark.parametrize("name", [name for name, recipe in MEASURES.items() if recipe.symmetric])
def test_pictures_can_change_places(name):
    fixed, moving = picture(0), like(picture(0))
    forth = prepare(name, fixed, mask=mask(), radius_px=RADIUS).value(moving)
    assert prepare(name, moving, mask=mask(), radius_px=RADIUS).value(fixed) == pytest.approx(forth, rel=1e-9)


@EVERY
def test_it_falls_as_a_picture_is_shifted(name):
    measure = prepare(name, blobs(), radius_px=RADIUS)
    for right, down in ((1, 0), (0, 1), (-0.6, 0.8)):
        values = [measure.value(blobs(step * right, step * down)) for step in (0, 0.5, 1, 2, 3)]
        assert (np.diff(values) < 0).all()


@SMOOTHED
@EVERY
def test_a_mask_hides_a_screw(name, sigma_px):
    fixed, moving, weights = picture(0), like(picture(0)), mask(soft=False)
    clean = prepare(name, fixed, mask=weights, sigma_px=sigma_px, radius_px=RADIUS)
    with_screw, under = fixed.copy(), moving.copy()
    with_screw[5:11, 8:16] = 400
    with_screw[6, 9] = np.nan
    under[5:11, 8:16] = -50
    screwed = prepare(name, with_screw, mask=weights > 0, sigma_px=sigma_px, radius_px=RADIUS)
    value, gradient = screwed.value_and_gradient(under)
    assert value == pytest.approx(clean.value(moving), rel=1e-9)
    assert np.abs(gradient[5:11, 8:16]).max() < 1e-12
    assert batched(name, under[None], with_screw, weights, sigma_px=sigma_px, radius_px=RADIUS)[0] == pytest.approx(
        value, rel=1e-9
    )
    assert prepare(name, np.nan_to_num(with_screw), sigma_px=sigma_px).value(moving) != pytest.approx(value, rel=0.01)


@EVERY
@pytest.mark.parametrize("nothing", [0.0, 0.1, -1e6])
def test_what_has_no_content_has_no_likeness(name, nothing):
    flat = np.full(SHAPE, nothing)
    for fixed, moving, weights in (
        (picture(0), flat, None),
        (flat, picture(0), None),
        (flat, flat, None),
        (picture(0), picture(0), np.zeros(SHAPE)),
        (picture(0), flat, mask()),
    ):
        for sigma_px in (0.0, 1.2):
            value, gradient = prepare(name, fixed, mask=weights, sigma_px=sigma_px).value_and_gradient(moving)
            assert value == 0 and not gradient.any()
            tensor = torch.tensor(np.stack((moving, picture(2))), requires_grad=True)
            kept = None if weights is None else torch.tensor(weights)
            values = similarity(name, tensor, torch.tensor(fixed), mask=kept, sigma_px=sigma_px)
            assert values[0] == 0
            (gradient,) = torch.autograd.grad(values.sum(), tensor)
            assert torch.isfinite(gradient).all() and not gradient[0].any()


@EVERY
def test_edges_in_one_direction_only_are_enough(name):
    stripes = np.sin(COLUMNS / 3) + 0.1 * np.sin(COLUMNS)
    measure = prepare(name, stripes, radius_px=RADIUS)
    value, gradient = measure.value_and_gradient(np.sin(COLUMNS / 3 + 0.3))
    assert 0.3 < value < 2 and np.isfinite(gradient).all()
    assert batched(name, np.sin(COLUMNS / 3 + 0.3)[None], stripes, radius_px=RADIUS)[0] == pytest.approx(
        value, rel=1e-9
    )
    ramp = prepare(name, 2 * COLUMNS + ROWS, radius_px=RADIUS).value(picture(0))
    assert batched(name, picture(0)[None], 2 * COLUMNS + ROWS, radius_px=RADIUS)[0] == pytest.approx(ramp, abs=1e-9)


@EVERY
def test_many_threads_can_ask_one_measure(name):
    measure = prepare(name, picture(0), mask=mask(), sigma_px=1.0)
    asked = [like(picture(0), seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(measure.value, asked))
    assert together == [measure.value(each) for each in asked]


# ---------------------------------------------------------------------------------------------------------------------
# Second order


def shifts(right_px, down_px):
    """(rows, columns, 2): how the blobs change per pixel to the right and down."""
    step = 1e-5
    return np.stack(
        [
            (blobs(right_px + step * a, down_px + step * b) - blobs(right_px - step * a, down_px - step * b))
            / (2 * step)
            for a, b in ((1, 0), (0, 1))
        ],
        axis=2,
    )


@SMOOTHED
@SECOND
def test_the_second_order_gradient_is_the_first_orders(name, sigma_px):
    measure = prepare(name, picture(0), mask=mask(), sigma_px=sigma_px, radius_px=RADIUS)
    moving = like(picture(0))
    jacobian = np.random.default_rng(0).normal(size=(*SHAPE, 6)).astype(np.float32)
    near = measure.gauss_newton(moving, jacobian)
    value, gradient = measure.value_and_gradient(moving)
    assert near.value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(near.gradient, np.einsum("rc,rcn->n", gradient, jacobian), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(near.curvature, near.curvature.T, rtol=1e-12)
    assert np.linalg.eigvalsh(near.curvature).min() > 0


@SMOOTHED
@SECOND
def test_at_its_peak_the_curvature_is_exact(name, sigma_px):
    measure = prepare(name, picture(0), mask=mask(), sigma_px=sigma_px, radius_px=RADIUS, share=0.2)
    jacobian = np.stack([picture(seed) for seed in (4, 5, 6)], axis=2)
    curvature = measure.gauss_newton(picture(0), jacobian).curvature
    for seed in range(3):
        way = np.random.default_rng(seed).normal(size=3)
        step = 1e-3
        ahead, behind = (measure.value(picture(0) + sign * step * jacobian @ way) for sign in (1, -1))
        # 1e-16 of rounding over 1e-6
        assert (2 - ahead - behind) / step**2 == pytest.approx(way @ curvature @ way, rel=1e-3)


@SECOND
def test_newtons_steps_find_a_shift(name):
    measure = prepare(name, blobs(), radius_px=RADIUS, sigma_px=0.7)
    place = np.array([0.9, -0.7])
    for _ in range(6):
        near = measure.gauss_newton(blobs(*place), shifts(*place))
        place = place + np.linalg.solve(near.curvature, near.gradient)
    assert np.abs(place).max() < 1e-4


@SECOND
def test_a_picture_without_content_has_no_second_order(name):
    near = prepare(name, picture(0)).gauss_newton(np.zeros(SHAPE), np.ones((*SHAPE, 6)))
    assert near.value == 0 and not near.gradient.any() and near.curvature.shape == (6, 6) and not near.curvature.any()


@pytest.mark.parametrize("name", [name for name, recipe in MEASURES.items() if not recipe.second])
def test_measures_without_second_order_say_which_have_it(name):
    with pytest.raises(BadInput, match="gradient_ncc"):
        prepare(name, picture(0)).gauss_newton(picture(1), np.ones((*SHAPE, 6)))


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(BadInput, match="no measure is called 'nonsense'"):
        prepare("nonsense", picture(0))
    with pytest.raises(BadInput, match="no measure is called 'nonsense'"):
        batched("nonsense", picture(0)[None], picture(0))
    with pytest.raises(GridMismatch, match="mask"):
        prepare("ncc", picture(0), mask=np.ones((3, 4)))
    with pytest.raises(GridMismatch, match="moving"):
        prepare("ncc", picture(0)).value(np.ones((3, 4)))
    with pytest.raises(GridMismatch, match="moving"):
        batched("ncc", np.ones((1, 3, 4)), picture(0))
    with pytest.raises(BadInput, match="0 to 1"):
        prepare("ncc", picture(0), mask=np.full(SHAPE, 255))
    with pytest.raises(BadInput, match="1 pixels that are no number"):
        prepare("ncc", np.where((ROWS == 3) & (COLUMNS == 4), np.nan, picture(0)))
