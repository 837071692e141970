"""The page of an alignment, made from a record and the files it names."""

from __future__ import annotations

import json

import numpy as np
import pytest

from homolog.errors import UnreadableFile
from homolog.io.poses import Pose, View, write_pose
from homolog.io.records import End
from homolog.report import align_pictures, png
from homolog.report.align import write_align_report
from homolog.space import se3
from homolog.space.camera_poses import from_carm
from tests.report.reading import Reading
from tests.xray_scenes import CAMERA, GRID, MIDDLE, body

RAMP = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (72, 1))


def pose_of(camera_from_patient, **changes):
    view = View("front", CAMERA, np.eye(4), camera_from_patient)
    covariance = np.diag(np.array((0.001, 0.002, 0.0005, 0.3, 0.4, 2.5)) ** 2)
    facts = {
        "rig_from_patient": camera_from_patient, "views": (view,), "pivot_mm": MIDDLE, "covariance": covariance,
        "body_mm": GRID.corners(), "judgement": "GOOD", "doubts": (), "patient": End("ct", GRID),
    }  # fmt: skip
    return Pose(**{**facts, **changes})


def page_of(folder, *, pose=None, **facts):
    """The page of a record with these facts."""
    folder.mkdir(exist_ok=True)
    carm = from_carm(30.0, -20.0, source_isocentre_mm=675.0, isocentre_mm=MIDDLE)
    write_pose(pose or pose_of(carm), folder / "pose.json")
    pictures = {"xray": RAMP, "projection": RAMP[::-1], "edges": np.stack([RAMP] * 3, axis=-1), "start": 255 - RAMP}
    for kind, pixels in pictures.items():
        (folder / f"front_{kind}.png").write_bytes(png.encode(pixels))
    (folder / "trajectory.csv").write_text(
        "stage,step,score,turn_x_deg,turn_y_deg,turn_z_deg,x_mm,y_mm,z_mm\n"
        '"64 px, start 2",0,0.25,0,0,0,0,0,700\n"64 px, start 2",1,0.75,0,0,9,3,4,700\n'
    )
    xray = {"name": "front", "path": "x/front.dcm", "assumed": ["bone is bright"]}
    xray["outputs"] = {kind: f"front_{kind}.png" for kind in pictures}
    record = {
        "command": ["homolog", "align", "ct.nii.gz", "front.dcm"], "seconds": 12.0,
        "volume": {"path": "ct.nii.gz", "space": "ct", "assumed": ["Hounsfield units <all>"]},
        "xrays": [xray], "start": "from landmarks", "moved": {"mm": 5.0, "degrees": 9.0},
        "outputs": {"pose": "pose.json", "trajectory": "trajectory.csv"},
        "quality": {"verdict": "GOOD", "why": "", "score": 0.5},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps({**record, **facts}))
    return Reading(write_align_report(folder).read_text(encoding="utf-8"), folder)


def test_the_page_says_what_lies_where_and_how_sure_that_is(tmp_path):
    text = page_of(tmp_path).text
    # as the title, and as the heading
    assert text.count("ct.nii.gz in front.dcm") == 2
    assert "GOOD" in text
    # one standard deviation: the larger turn in degrees, both directions along the detector together, and the depth
    assert f"± {np.degrees(0.002):.2g}°" in text
    assert "± 0.5 mm" in text
    assert "± 2.5 mm" in text
    assert "5.0 mm" in text
    assert "turned by 9.0°" in text


@pytest.mark.parametrize("word", ["CHECK", "FAILED"])
def test_a_pose_that_is_in_doubt_says_so_first_and_why(word, tmp_path):
    text = page_of(tmp_path, quality={"verdict": word, "why": "the depth is not determined", "score": 0.1}).text
    assert text.index(f"{word} ") < text.index("likeness") < text.index("The X-rays")
    assert "the depth is not determined" in text
    assert ("Do not use this pose" in text) == (word == "FAILED")


def test_the_cameras_are_told_in_the_patient(tmp_path):
    text = page_of(tmp_path).text
    assert "30.0°, −20.0°" in text
    source = se3.inverse(from_carm(30.0, -20.0, source_isocentre_mm=675.0, isocentre_mm=MIDDLE))[:3, 3]
    assert ", ".join(f"{value:.1f}".replace("-", "−") for value in source) in text


def test_every_picture_is_in_the_page_itself(tmp_path):
    page = page_of(tmp_path)
    shown = {kind: pictures for (_, kind), pictures in page.pictures.items()}
    assert set(shown) == {"fixed", "after", "before", "edges"}
    assert np.array_equal(shown["fixed"][0], RAMP)
    assert np.array_equal(shown["after"][0], RAMP[::-1])
    assert page.aspects["xray-1"] == pytest.approx(80 / 72)


def test_what_is_not_known_is_left_out(tmp_path):
    carm = from_carm(0.0, 0.0, source_isocentre_mm=675.0, isocentre_mm=MIDDLE)
    page = page_of(tmp_path, pose=pose_of(carm, covariance=None), xrays=[])
    assert "±" not in page.text
    assert not page.pictures
    assert "Held against" not in page.text


def test_errors_that_were_measured_are_shown(tmp_path):
    view = {"name": "front", "projection_mm": 1.25, "projection_px": 0.5, "rotation_degrees": 0.75, "depth_mm": None}
    pose = {"target_mean_mm": 2.5, "target_median_mm": 2.25, "target_max_mm": 4, "points": 8, "views": [view]}
    text = page_of(tmp_path, metrics={"pose": {**pose, "truth": "truth.json"}}).text
    assert "Held against the truth" in text
    assert all(figure in text for figure in ("2.50", "2.25", "4.00", "1.25", "0.75"))


def test_what_others_wrote_is_text_and_no_markup(tmp_path):
    page = page_of(tmp_path, start="<script>alert(1)</script>")
    assert "<script>alert(1)</script>" in page.text
    assert "Hounsfield units <all>" in page.text


def test_a_picture_that_is_gone_is_named(tmp_path):
    page_of(tmp_path)
    (tmp_path / "front_edges.png").unlink()
    with pytest.raises(UnreadableFile, match=r"front_edges\.png"):
        write_align_report(tmp_path)


def test_a_long_search_shows_how_it_ended(tmp_path):
    page_of(tmp_path)
    head = "stage,step,score,turn_x_deg,turn_y_deg,turn_z_deg,x_mm,y_mm,z_mm\n"
    rows = "".join(f'"start {n}",{step},{n / 100},0,0,0,0,0,700\n' for n in range(30) for step in range(2))
    (tmp_path / "trajectory.csv").write_text(head + rows)
    text = Reading(write_align_report(tmp_path).read_text(encoding="utf-8"), tmp_path).text
    assert "the last 12 of 30 stages" in text
    assert "start 29" in text
    assert "start 17" not in text


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def test_edges_lie_where_a_disc_ends():
    row, column = np.indices((90, 110))
    distance = np.hypot(row - 41.3, column - 57.8)
    disc = np.clip(25.5 - distance, 0, 1).astype(np.float32)
    found = align_pictures.edges(disc)
    assert found.sum() > 100
    assert np.abs(distance[found] - 25).max() < 1.5
    # all the way round
    turned = np.degrees(np.arctan2(row - 41.3, column - 57.8)[found])
    assert np.histogram(turned, 24, (-180, 180))[0].min() > 0


def test_a_picture_of_nothing_has_no_edges_and_is_black():
    nothing = np.zeros((20, 30), np.float32)
    assert not align_pictures.edges(nothing).any()
    assert not align_pictures.grey_projection(nothing).any()


def test_a_checkerboard_shows_both_by_turns():
    first, second = np.zeros((40, 60), np.uint8), np.full((40, 60), 200, np.uint8)
    board = align_pictures.checkerboard(first, second)
    side = align_pictures.square_px(board.shape)
    assert board[0, 0] == 0
    assert board[0, side] == board[side, 0] == 200
    assert board[side, side] == 0


def test_what_is_not_compared_is_darker_and_decides_no_grey():
    picture = np.tile(np.linspace(1, 2, 50, dtype=np.float32), (40, 1))
    with_screw = picture.copy()
    with_screw[:, :5] = 90
    mask = np.ones(picture.shape, bool)
    mask[:, :5] = False
    shown = align_pictures.grey(with_screw, mask)
    assert np.array_equal(shown[:, 5:], align_pictures.grey(picture, mask)[:, 5:])
    assert shown[:, :5].max() < 128


def test_the_body_of_these_tests_is_no_mirror_image_of_itself():
    data = body().numpy()
    assert all(np.abs(data - np.flip(data, axis)).max() > 500 for axis in range(3))
