"""Other methods may begin from the map of the pictures' keypoints."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import homolog
from homolog import Affine, Volume
from homolog.errors import BadInput
from tests.laws.test_pairwise import (
    CLOSE_MM,
    QUICK,
    error_mm,
    fixed_grid,
    moved,
    moving_grid,
    rigid_motion,
    scan,
    truth,
)


@pytest.fixture(scope="module")
def pair():
    return scan(fixed_grid(2), "fixed"), scan(moving_grid(2), "moving", truth().inverse())


def test_a_method_goes_on_from_the_map_of_the_keypoints(pair):
    motion = rigid_motion((-90.0, 700.0, 260.0), 20.0)
    told = []
    options = {"config": QUICK["linear"], "start": "keypoint", "on_step": lambda *news: told.append(news)}
    result = homolog.register(pair[0], moved(pair[1], motion), method="linear", **options)
    undone = Affine(np.linalg.inv(motion) @ result.moving_from_fixed.matrix, "fixed", "moving")
    assert error_mm(undone, truth()) < CLOSE_MM["linear"]
    assert result.trace[0].stage == "keypoints"
    fractions = [fraction for _, fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[-1] <= 1


def test_where_keypoints_find_no_map_the_method_searches_and_it_is_said(pair, caplog):
    noise = np.random.default_rng(0).normal(0, 100, fixed_grid().shape).astype(np.float32)
    moving = Volume(noise, fixed_grid(), "moving")
    with caplog.at_level(logging.WARNING, "homolog"):
        result = homolog.register(pair[0], moving, config=QUICK["linear"], start="keypoint")
    assert "no start from keypoints" in caplog.text
    alone = homolog.register(pair[0], moving, config=QUICK["linear"])
    assert result.moving_from_fixed.matrix.tobytes() == alone.moving_from_fixed.matrix.tobytes()


def test_keypoints_do_not_begin_from_themselves(pair):
    with pytest.raises(BadInput, match="themselves") as caught:
        homolog.register(*pair, method="keypoint", start="keypoint")
    assert "--method linear" in caught.value.hint
