"""The same group by torch, on the processor and, where there is one, on a GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from homolog.groupwise import frog, newcomer
from tests import groups
from tests.groups import cohort

# torch's name for the processor with a number: "cpu" alone is Numba's
DEVICES = ["cpu:0", *(["cuda"] if torch.cuda.is_available() else [])]
# torch's many small steps are slow on a processor: a few of them show as much
DEFAULT = replace(groups.DEFAULT, steps=10, linear_steps=8)
PUBLISHED = replace(groups.PUBLISHED, steps=10, linear_steps=12)
MODES = pytest.mark.parametrize("config", [DEFAULT, PUBLISHED], ids=["default", "published"])


@pytest.fixture(scope="module")
def drawn():
    return cohort(images=3, count=150)


def farthest_mm(one, other, keypoints):
    pairs = zip(one.common_from_image, other.common_from_image, keypoints)
    return max(np.abs(a.apply(points.position) - b.apply(points.position)).max() for a, b, points in pairs)


@MODES
@pytest.mark.parametrize("device", DEVICES)
def test_torch_draws_the_group_that_numba_draws(drawn, config, device):
    marks = [points[:5] for points in drawn.keypoints]
    expected, found, again = (
        frog.register(drawn.keypoints, drawn.matches, config, landmarks=marks, device=each)
        for each in ("cpu", device, device)
    )
    # a step adds roundings of 1e-13 mm, and thirty steps each of which makes them no larger 1e-11; unless a match
    # lies just where it begins or ends to count, which moves a control by its share of a step
    assert farthest_mm(found, expected, drawn.keypoints) < 1e-4
    # but by the same means it is the same to the last bit
    assert farthest_mm(found, again, drawn.keypoints) == 0
    np.testing.assert_allclose(*[[s.spread_mm for s in each.trace] for each in (found, expected)], atol=1e-4)
    assert found.stopped == expected.stopped
    for pair, weight in expected.weights.items():
        np.testing.assert_allclose(found.weights[pair], weight, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_torch_places_a_newcomer_where_numba_does(drawn, device):
    last = len(drawn.keypoints) - 1
    among = {pair: each for pair, each in drawn.matches.items() if last not in pair}
    group = frog.register(drawn.keypoints[:last], among, DEFAULT)
    found = [
        newcomer.place(
            drawn.keypoints[last],
            drawn.keypoints[:last],
            group.common_from_image,
            [turned(drawn.matches[one, last]) for one in range(last)],
            DEFAULT,
            device=each,
        )
        for each in ("cpu", device)
    ]
    assert farthest_mm(*found, drawn.keypoints[last:]) < 1e-4


def turned(matches):
    return type(matches)(matches.pairs[:, ::-1])
