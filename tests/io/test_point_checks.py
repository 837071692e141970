"""A wrong frame shows when points are laid on their image."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from homolog.errors import BadInput, UnknownFrame
from homolog.io.point_checks import require_inside
from homolog.space.keypoints import Keypoints
from tests.geometry import oblique_grid

# far enough from the origin that the half-turned image does not overlap it
GRID = oblique_grid(origin_mm=(-131.0, 112.5, 240.0))
NAMES = {"points_name": "landmarks.fcsv", "image_name": "ct.nii.gz"}


def points_inside(count=40):
    voxels = np.random.default_rng(0).uniform(0, np.array(GRID.shape) - 1, (count, 3))
    return Keypoints(GRID.world(voxels), "ct", tuple(f"L{row}" for row in range(count)))


def moved(points, position):
    return points.moved_to(position, points.space)


def test_points_inside_are_let_pass_without_a_word(caplog):
    require_inside(points_inside(), GRID, **NAMES)
    assert not caplog.records


@pytest.mark.parametrize(("read_as", "other"), [("RAS", "LPS"), ("LPS", "RAS")])
def test_points_read_in_the_wrong_frame_are_refused_with_the_right_one(read_as, other):
    points = points_inside()
    turned = points.position * (-1, -1, 1)
    turned[:3] = points.position[:3]
    with pytest.raises(UnknownFrame) as refusal:
        require_inside(moved(points, turned), GRID, read_as=read_as, **NAMES)
    wanted = f"37 of 40 points of landmarks.fcsv fall outside ct.nii.gz as {read_as} and inside as {other}"
    assert refusal.value.message == wanted
    assert f"--points-space {other}" in refusal.value.hint


def test_without_knowing_how_they_were_read_both_frames_are_offered():
    points = points_inside()
    with pytest.raises(UnknownFrame, match="x and y negated") as refusal:
        require_inside(moved(points, points.position * (-1, -1, 1)), GRID, **NAMES)
    assert "RAS" in refusal.value.hint
    assert "LPS" in refusal.value.hint


def test_points_that_are_elsewhere_either_way_are_refused_with_both_boxes():
    corners = Keypoints(GRID.corners() + (0, 0, 5000), "ct")
    with pytest.raises(BadInput) as refusal:
        require_inside(corners, GRID, **NAMES)
    assert not isinstance(refusal.value, UnknownFrame)
    low, high = GRID.bounds()
    assert f"x[{low[0]:.0f}, {high[0]:.0f}]" in refusal.value.message
    assert f"z[{low[2] + 5000:.0f}, {high[2] + 5000:.0f}]" in refusal.value.message
    assert "5000 mm apart" in refusal.value.message


def test_a_few_points_outside_are_named(caplog):
    points = points_inside()
    position = points.position.copy()
    position[7] += (0, 0, 500)
    with caplog.at_level(logging.WARNING):
        require_inside(moved(points, position), GRID, **NAMES)
    assert "1 of 40" in caplog.text
    assert "L7" in caplog.text
    assert "L8" not in caplog.text
