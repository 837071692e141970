from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import box_maxima
from homolog.kernels.box_hessian import BRIGHT, Layer
from homolog.kernels.threads import using_threads

ALL = (True, True, True)


def layers(steps=(2, 2, 4), shape=(13, 12, 14), seed=0, values=None):
    """Random answers on lattices of which the last is the coarsest; few different values, so that there are equals."""
    rng = np.random.default_rng(seed)
    result = []
    for width, step in zip((15, 21, 39), steps):
        size = tuple(n * steps[-1] // step for n in shape)
        response = rng.integers(0, values, size).astype(np.float32) if values else rng.random(size).astype(np.float32)
        result.append(Layer(width, step, response, (rng.random(size) < 0.7).astype(np.uint8) * BRIGHT))
    return result


@pytest.mark.parametrize("steps", [(2, 2, 2), (2, 2, 4), (2, 4, 4), (2, 4, 8)])
@pytest.mark.parametrize("values", [None, 12])
@pytest.mark.parametrize("use", [ALL, (False, True, True), (True, True, False)])
@pytest.mark.parametrize("skip", [False, True])
def test_maxima_agree_with_their_twin(steps, values, use, skip):
    given = layers(steps, (9, 8, 10), values=values)
    found = box_maxima.maxima(given, 1, 0.4, use, skip)
    expected = box_maxima.maxima_reference(given, 1, 0.4, use, skip)
    np.testing.assert_array_equal(found, expected)
    assert found.shape[1] == 3


def test_there_are_maxima_to_agree_on():
    assert len(box_maxima.maxima(layers(), 1, 0.0, ALL)) > 3


def test_a_maximum_is_not_beaten_by_what_is_no_blob():
    three = layers((2, 2, 2), (9, 9, 9))
    middle = three[1]
    middle.response[4, 4, 4], middle.blob[4, 4, 4] = 2.0, BRIGHT
    middle.response[4, 5, 4], middle.blob[4, 5, 4] = 3.0, 0
    assert [4, 4, 4] in box_maxima.maxima(three, 1, 0.0, ALL).tolist()
    middle.blob[4, 5, 4] = BRIGHT
    assert [4, 4, 4] not in box_maxima.maxima(three, 1, 0.0, ALL).tolist()


def test_of_two_equals_neither_is_a_maximum():
    three = layers((2, 2, 2), (9, 9, 9))
    for place in ((4, 4, 4), (4, 5, 4)):
        three[1].response[place], three[1].blob[place] = 2.0, BRIGHT
    assert not {(4, 4, 4), (4, 5, 4)} & set(map(tuple, box_maxima.maxima(three, 1, 0.0, ALL).tolist()))


def test_neighbours_along_the_third_axis_are_passed_over_only_where_that_is_asked_for():
    three = layers((2, 2, 2), (9, 9, 9))
    for place, response in (((4, 4, 4), 3.0), ((4, 4, 5), 2.0)):
        three[1].response[place], three[1].blob[place] = response, BRIGHT
    mended = box_maxima.maxima(three, 1, 0.0, ALL, skip=False).tolist()
    published = box_maxima.maxima(three, 1, 0.0, ALL, skip=True).tolist()
    assert [4, 4, 4] in mended and [4, 4, 5] not in mended
    assert [4, 4, 4] in published and [4, 4, 5] in published


@pytest.mark.parametrize("threshold", [0.0, 0.9, 2.0])
def test_only_answers_from_the_threshold_up_count(threshold):
    three = layers()
    found = box_maxima.maxima(three, 1, threshold, ALL)
    weakest = three[1].response[tuple((2 * found).T)].min(initial=np.inf)
    assert weakest >= threshold
    assert (len(found) == 0) == (threshold == 2.0)


@pytest.mark.parametrize("margin", [6, 7, 100])
def test_a_margin_that_leaves_nothing_finds_nothing(margin):
    assert box_maxima.maxima(layers(), margin, 0.0, ALL).shape == (0, 3)


def test_neighbourhoods_hold_what_the_layers_hold():
    three = layers((2, 2, 4))
    around = box_maxima.neighbourhoods(three, np.array([[3, 4, 5], [6, 7, 8]]))
    assert around[0, 1, 1, 1, 1] == three[1].response[6, 8, 10]
    assert around[0, 0, 2, 1, 1] == three[0].response[8, 8, 10]
    assert around[0, 1, 1, 0, 1] == three[1].response[6, 6, 10]
    assert around[1, 2, 1, 1, 2] == three[2].response[6, 7, 9]
    assert box_maxima.neighbourhoods(three, np.zeros((0, 3), np.int64)).shape == (0, 3, 3, 3, 3)


def test_threads_do_not_matter():
    expected = box_maxima.maxima(layers(shape=(40, 9, 11)), 1, 0.0, ALL)
    for threads in (1, 3):
        with using_threads(threads):
            np.testing.assert_array_equal(box_maxima.maxima(layers(shape=(40, 9, 11)), 1, 0.0, ALL), expected)
