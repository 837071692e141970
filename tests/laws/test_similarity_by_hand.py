"""What each measure is: by another hand, patch by patch, or by another program."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.ndimage import correlate

from homolog.projective.similarity import prepare
from tests.pictures import SHAPE, like, mask, picture

RADIUS = 3


def test_ncc_is_numpys_correlation_coefficient():
    fixed, moving = picture(0), like(picture(0))
    expected = np.corrcoef(fixed.ravel(), moving.ravel())[0, 1]
    assert prepare("ncc", fixed).value(moving) == pytest.approx(expected, rel=1e-12)


def test_gradient_ncc_is_the_mean_coefficient_of_scharrs_pictures():
    stencil = np.outer([3, 10, 3], [-1, 0, 1])
    fixed, moving = picture(0), like(picture(0))
    expected = np.mean(
        [
            np.corrcoef(*(correlate(each, kernel)[1:-1, 1:-1].ravel() for each in (fixed, moving)))[0, 1]
            for kernel in (stencil, stencil.T)
        ]
    )
    assert prepare("gradient_ncc", fixed).value(moving) == pytest.approx(expected, rel=1e-12)


def unfolded(channels, weights, radius, centred=True):
    """Each patch (C, pixels) with its weights (pixels,), every one cut out."""
    for row, column in np.ndindex(weights.shape):
        place = np.s_[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1]
        inside = weights[place].ravel()
        if inside.sum() > 0:
            values = channels[(slice(None), *place)].reshape(len(channels), -1)
            yield values - centred * (values @ inside)[:, None] / inside.sum(), inside


def local_by_hand(fixed, moving, weights, radius, share, centred=True):
    patches = list(zip(*(unfolded(channels, weights, radius, centred) for channels in (fixed, moving)), strict=True))
    amount = np.array([inside.sum() for (_, inside), _ in patches])

    def products(one, other):
        return np.array([(inside * pair[one][0] * pair[other][0]).sum() for pair in patches for inside in [pair[0][1]]])

    def scaled(products):
        return products + share * products.sum() / amount.sum() * amount

    first, both, second = products(0, 0), products(0, 1), products(1, 1)
    norms = [(amount * each / scaled(each)).sum() for each in (first, second)]
    return (amount * both / np.sqrt(scaled(first) * scaled(second))).sum() / np.sqrt(np.prod(norms))


def slopes(image):
    stencil = np.outer([3, 10, 3], [-1, 0, 1]) / 32
    return np.stack([correlate(image, kernel) for kernel in (stencil, stencil.T)])


def inner(weights):
    """Zero too where one of the nine around has no weight, least of them elsewhere."""
    padded = np.pad(weights, 1)
    return np.array(
        [[padded[row : row + 3, column : column + 3].min() for column in range(SHAPE[1])] for row in range(SHAPE[0])]
    )


def test_patches_by_box_sums_are_patches_cut_out():
    fixed, moving, weights = picture(0), like(picture(0)), mask()
    by_hand = local_by_hand(fixed[None], moving[None], weights, RADIUS, 0.05)
    assert prepare("patch_ncc", fixed, mask=weights, radius_px=RADIUS, share=0.05).value(moving) == pytest.approx(
        by_hand, rel=1e-9
    )
    by_hand = local_by_hand(slopes(fixed), slopes(moving), inner(weights), RADIUS, 0.3)
    assert prepare("patch_gradient_ncc", fixed, mask=weights, radius_px=RADIUS, share=0.3).value(
        moving
    ) == pytest.approx(by_hand, rel=1e-9)
    by_hand = local_by_hand(slopes(fixed), slopes(moving), inner(weights), 0, 0.2, centred=False)
    assert prepare("gradient_orientation", fixed, mask=weights, share=0.2).value(moving) == pytest.approx(
        by_hand, rel=1e-9
    )


def test_where_all_patches_count_alike_it_is_the_mean_of_their_coefficients():
    fixed, moving = picture(0), like(picture(0))
    patches = zip(*(unfolded(each[None], np.ones(SHAPE), RADIUS) for each in (fixed, moving)))
    pairs = [(inside.sum(), np.corrcoef(one[0], other[0])[0, 1]) for (one, inside), (other, _) in patches]
    amount, coefficients = np.array(pairs).T
    value = prepare("patch_ncc", fixed, radius_px=RADIUS, share=1e-9).value(moving)
    # a share of 1e-9 of the mean variance; the flattest patch has a thousandth of it
    assert value == pytest.approx((amount * coefficients).sum() / amount.sum(), rel=1e-5)


def test_patches_as_large_as_the_picture_are_the_picture():
    fixed, moving = picture(0), like(picture(0))
    whole = prepare("patch_ncc", fixed, radius_px=max(SHAPE)).value(moving)
    assert whole == pytest.approx(prepare("ncc", fixed).value(moving), rel=1e-9)


def test_mixtures_are_sums_of_their_parts():
    fixed, moving = picture(0), like(picture(0))

    def value(name):
        return prepare(name, fixed, radius_px=RADIUS).value(moving)

    assert value("mncc") == pytest.approx((value("ncc") + value("patch_ncc")) / 2, rel=1e-12)
    assert value("mixed") == pytest.approx((value("mncc") + value("patch_gradient_ncc")) / 2, rel=1e-12)


def information_by_hand(fixed, moving, bins):
    spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)

    def shares(image):
        scores = (image.ravel() - image.mean()) / image.std()
        places = 1 + (bins - 3) / 2 * (1 + scores / np.sqrt(scores**2 + 4))
        return np.array([np.nan_to_num(spline(places - bin)) for bin in range(bins)])

    joint = shares(fixed) @ shares(moving).T / fixed.size
    entropy = [-(each[each > 0] * np.log(each[each > 0])).sum() for each in (joint.sum(1), joint.sum(0), joint)]
    return entropy[0] + entropy[1] - entropy[2]


def test_mutual_information_is_the_entropies_of_a_histogram():
    fixed, moving = picture(0), like(picture(0))
    assert prepare("mi", fixed, bins=20).value(moving) == pytest.approx(
        information_by_hand(fixed, moving, 20), rel=1e-9
    )


def test_mutual_information_sees_a_negative_as_alike_and_another_picture_as_not():
    measure = prepare("mi", picture(0))
    assert measure.value(-picture(0)) == pytest.approx(measure.value(picture(0)), rel=0.01)
    assert measure.value(picture(5)) < 0.4 * measure.value(picture(0))


def test_prosts_variant_tells_signs_only():
    """Slopes that always have one sign agree, however unlike their sizes are."""
    rng = np.random.default_rng(0)
    fixed, moving = (np.cumsum(rng.uniform(1, most, SHAPE[1])) + np.zeros(SHAPE) for most in (2, 20))
    assert prepare("prost_gradient_ncc", fixed).value(moving) > 0.999
    assert prepare("gradient_ncc", fixed).value(moving) < 0.6
