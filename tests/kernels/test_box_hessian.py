from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate1d, gaussian_filter

from homolog.kernels import box_hessian
from homolog.kernels.threads import using_threads


def counts(shape=(44, 38, 50), largest=4000, seed=0):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    smooth -= smooth.min()
    return np.round(smooth * largest / smooth.max()).astype(np.float32)


def table_of(data, **options):
    return box_hessian.sums(lambda start, stop: data[start:stop], data.shape, **options)


def ball(shape, sigma_vox, height):
    away = sum(
        (np.arange(n) - n // 2).reshape([-1 if a == b else 1 for b in range(3)]) ** 2 for a, n in enumerate(shape)
    )
    return (2000 + height * np.exp(-away / (2 * sigma_vox**2))).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Sums


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 1, 1), (40, 2, 3)])
def test_sums_agree_with_their_twin(shape):
    data = np.random.default_rng(0).integers(0, 30_000, shape).astype(np.float32)
    np.testing.assert_array_equal(table_of(data), box_hessian.sums_reference(data) % 2**32)


def test_sums_go_round_where_32_bits_end(monkeypatch):
    monkeypatch.setattr(box_hessian, "AT_ONCE", 3 * 60 * 60)
    data = np.full((60, 60, 60), 30_000, np.float32)
    expected = box_hessian.sums_reference(data)
    assert expected.max() > 2**32
    np.testing.assert_array_equal(table_of(data), expected % 2**32)


def test_values_become_counts_above_the_lowest_to_the_nearest_number():
    data = np.array([-1000.6, -1000.2, 3.4, 3.6], np.float32).reshape(1, 1, 4)
    table = table_of(data, low=-1000.6, levels=2.0)
    assert np.diff(table[1, 1].astype(np.int64)).tolist() == [0, 1, 2008, 2008]
    cut = table_of(data, low=-1000.6, truncated=True)
    assert np.diff(cut[1, 1].astype(np.int64)).tolist() == [0, 0, 1003, 1003]


def test_a_value_that_a_rounding_put_below_the_lowest_is_the_lowest():
    data = np.array([-5.0, -4.0], np.float32).reshape(1, 1, 2)
    assert table_of(data, low=-4.0)[1, 1].tolist() == [0, 0, 0]


# ---------------------------------------------------------------------------------------------------------------------
# Layers


@pytest.mark.parametrize("width, step", [(9, 2), (15, 2), (21, 4)])
@pytest.mark.parametrize("largest", [4000, 4000 * 2**9])
def test_layers_agree_with_their_twin(width, step, largest):
    # a largest count that is stated too high makes the filter be cut in slices: the sums are the same whole numbers
    data = counts((34, 30, 36) if width < 21 else (60, 64, 62))
    found = box_hessian.layer(table_of(data), width, step, largest)
    expected = box_hessian.layer_reference(data, width, step)
    assert (expected.blob == box_hessian.DARK).any() and (expected.blob == box_hessian.BRIGHT).any()
    # of a dozen products of float32, each rounded to 6e-8 of terms that may cancel
    np.testing.assert_allclose(found.response, expected.response, atol=2e-6 * expected.response.max())
    # the sign of a sum that nearly vanishes may differ
    assert (found.blob != expected.blob).mean() < 1e-3


def test_slices_change_nothing_to_the_last_bit():
    data, table = counts(), table_of(counts())
    whole = box_hessian.layer(table, 15, 2, int(data.max()))
    for largest in (10**6, 10**7):
        cut = box_hessian.layer(table, 15, 2, largest)
        np.testing.assert_array_equal(cut.response, whole.response)
        np.testing.assert_array_equal(cut.blob, whole.blob)


@pytest.mark.parametrize("width", [75, 147])
def test_wide_filters_on_many_grey_values_do_not_overflow(width):
    shape = (width + 41,) * 3
    data = ball(shape, 0.1333 * width, 28_000.0)
    found = box_hessian.layer(table_of(data), width, 8, 30_000)
    centre = tuple(n // 8 // 2 for n in shape)
    place = [8 * n for n in centre]
    window = tuple(slice(p - width // 2, p + width // 2 + 1) for p in place)
    third, across = width // 3, 2 * (width // 3) - 1
    mean = np.abs(np.arange(width) - width // 2) <= (across - 1) // 2
    curve = np.where(np.abs(np.arange(width) - width // 2) <= third // 2, -2, 1)
    part = data[window].astype(np.float64)
    curvature = [
        np.einsum("ijk,i,j,k", np.round(part), *(curve if n == axis else mean for n in range(3))) / width**3
        for axis in range(3)
    ]
    # a ball's mixed derivatives vanish at its centre; here they do to a place's offset from it
    assert found.response[centre] == pytest.approx(abs(np.prod(curvature)), rel=0.02)
    assert found.blob[centre] == box_hessian.BRIGHT


def test_straight_filters_are_second_differences_of_boxes():
    """Against scipy: along each axis a lobe of a third, less twice the middle one; across, a box."""
    data, width, step = counts((40, 44, 42)), 9, 2
    found = box_hessian.layer_reference(data, width, step)
    third, across = width // 3, 2 * (width // 3) - 1
    curve, mean = np.repeat([1.0, -2.0, 1.0], third), np.ones(across)
    slope = np.r_[np.ones(third), 0.0, -np.ones(third)]

    def filtered(*taps):
        result = data.astype(np.float64)
        for axis, weights in enumerate(taps):
            result = correlate1d(result, weights, axis=axis, mode="constant")
        return result / width**3

    xx, yy, zz = (filtered(*(curve if n == axis else mean for n in range(3))) for axis in range(3))
    xy, yz, xz = (filtered(*(mean if n == axis else slope for n in range(3))) for axis in (2, 0, 1))
    hessian = np.stack((xx, xy * 0.9127, xz * 0.9127, xy * 0.9127, yy, yz * 0.9127, xz * 0.9127, yz * 0.9127, zz), -1)
    hessian = hessian.reshape(*data.shape, 3, 3)[::step, ::step, ::step]
    edge = box_hessian.rim(width, step)
    inner = (slice(edge, -edge),) * 3
    # the equations' factors are rounded to four digits
    expected = np.abs(np.linalg.det(hessian))[inner]
    np.testing.assert_allclose(found.response[inner], expected, atol=1e-3 * expected.max())
    values = np.linalg.eigvalsh(hessian)[inner]
    sure = np.abs(values).min(axis=-1) > 1e-2 * np.abs(values).max()
    one_sign = (np.sign(values) == np.sign(values[..., :1])).all(axis=-1)
    assert sure.sum() > 100 and one_sign[sure].any()
    np.testing.assert_array_equal(found.blob[inner][sure] > 0, one_sign[sure])
    np.testing.assert_array_equal(
        found.blob[inner][sure & one_sign],
        np.where(values[..., 0] > 0, box_hessian.DARK, box_hessian.BRIGHT)[sure & one_sign],
    )


@pytest.mark.parametrize("height, kind", [(-1500.0, box_hessian.DARK), (1500.0, box_hessian.BRIGHT)])
def test_a_ball_is_a_blob_of_its_own_colour(height, kind):
    data = ball((48, 48, 48), 2.8, height)
    found = box_hessian.layer(table_of(data), 21, 2, 4000)
    assert np.unravel_index(found.response.argmax(), found.response.shape) == (12, 12, 12)
    assert found.blob[12, 12, 12] == kind


def test_a_picture_narrower_than_the_filter_has_no_answer():
    found = box_hessian.layer(table_of(counts((12, 40, 40))), 9, 2, 4000)
    assert found.response.shape == (6, 20, 20)
    assert not found.response.any() and not found.blob.any()


def test_a_constant_has_no_answer():
    found = box_hessian.layer(table_of(np.full((40, 40, 40), 4000, np.float32)), 9, 2, 4000)
    assert not found.response.any() and not found.blob.any()


def test_threads_do_not_matter():
    data = counts()
    expected = box_hessian.layer(table_of(data), 9, 2, 4000)
    for threads in (1, 3):
        with using_threads(threads):
            found = box_hessian.layer(table_of(np.asfortranarray(data)), 9, 2, 4000)
        np.testing.assert_array_equal(found.response, expected.response)
        np.testing.assert_array_equal(found.blob, expected.blob)
