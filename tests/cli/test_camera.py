"""`homolog camera`: what is said of cameras is so, what is wrong is named with what mends it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from homolog import Volume, write
from homolog.io.cameras import read_cameras, write_cameras
from homolog.space import camera_poses
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera
from tests.geometry import oblique_grid

GRID = oblique_grid((20, 18, 16), (3.0, 2.5, 4.0), origin_mm=(-260.0, 180.0, 240.0))
MIDDLE = GRID.corners().mean(axis=0)
CAMERA = Camera(1000.0, (200, 250), (1.0, 1.0), (120.0, 95.0))


def carm(primary=0.0, secondary=0.0, **options):
    pose = camera_poses.from_carm(primary, secondary, source_isocentre_mm=700, isocentre_mm=MIDDLE, **options)
    return PlacedCamera(CAMERA, pose, "ap" if primary == 0 else "side")


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder, which is also the current one: a volume in front of two cameras."""
    monkeypatch.chdir(tmp_path)
    write(Volume(np.ones(GRID.shape, np.float32), GRID, "ct"), "ct.nii.gz")
    write_cameras("two.json", [carm(), carm(80, 10)])
    return tmp_path


def doubts_of(homolog, *words):
    ended = homolog("camera", "info", *words, "--json")
    assert ended.code == 0, ended.err
    return [doubt for view in ended.json["cameras"] for doubt in view["doubts"]]


def test_info_says_where_a_camera_stands_and_what_it_sees(room, homolog):
    ended = homolog("camera", "info", "two.json", "--volume", "ct.nii.gz")
    assert ended.code == 0
    assert re.search(r"magnification there\s+1\.429\s+1\.429", ended.out)
    assert "detector front, source back (LAO 0, CRA 0)" in ended.out
    assert "LAO 80, CRA 10" in ended.out
    assert "R\\F" in ended.out
    degrees = np.degrees(np.arccos(carm().axis @ carm(80, 10).axis))
    assert f"axes {degrees:.1f} degrees apart" in ended.out
    assert "hint" not in ended.out


def test_info_in_json_measures_the_volume(room, homolog):
    found = homolog("camera", "info", "two.json", "--volume", "ct.nii.gz", "--json").json
    first = found["cameras"][0]
    assert first["volume"]["in_front"]
    assert first["volume"]["caught"] == pytest.approx(1)
    corners = CAMERA.project(GRID.corners(), carm().camera_from_world)
    assert np.array(first["volume"]["corners_px"]) == pytest.approx(corners, abs=0.01)
    assert first["doubts"] == []
    assert found["pairs"][0]["miss_mm"] == pytest.approx(0, abs=1e-6)


def test_a_mirrored_picture_is_noticed(room, homolog):
    write_cameras("m.json", [carm(seen_from="detector")])
    (doubt,) = doubts_of(homolog, "m.json")
    assert "mirrored" in doubt["what"]
    assert "--flip" in doubt["hint"]
    assert doubts_of(homolog, "m.json", "--flip") == []


WRONG = {
    "--invert": lambda placed: np.linalg.inv(placed.camera_from_world),
    "--frame RAS": lambda placed: placed.camera_from_world @ np.diag((-1, -1, 1, 1)),
    "--unit-mm 1000": lambda placed: placed.camera_from_world * np.array(((1, 1, 1, 1e-3),) * 3 + ((1, 1, 1, 1),)),
}


@pytest.mark.parametrize("flags", WRONG)
def test_a_camera_that_does_not_see_the_volume_gets_the_flags_with_which_it_would(room, homolog, flags):
    wrong = carm(40, -20).replaced(camera_from_world=WRONG[flags](carm(40, -20)))
    write_cameras("wrong.json", [wrong])
    (doubt,) = doubts_of(homolog, "wrong.json", "--volume", "ct.nii.gz")
    assert flags in doubt["hint"]
    assert doubts_of(homolog, "wrong.json", "--volume", "ct.nii.gz", *flags.split()) == []
    # and what is converted with them is mended
    assert homolog("camera", "convert", "wrong.json", *flags.split(), "-o", "right.json").code == 0
    (right,) = read_cameras("right.json")
    assert right.camera_from_world == pytest.approx(carm(40, -20).camera_from_world, abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"focal_mm": 500.0}, "magnification 0.71"),
        ({"focal_mm": 3500.0}, "5.0 times as large"),
        ({"focal_mm": 1.0, "pitch_mm": (0.001, 0.001)}, "1 mm from the detector"),
        ({"centre_px": (400.0, 95.0)}, "off the detector, at column 400.0, row 95.0 of 250 x 200"),
        ({"centre_px": (-900.0, 95.0)}, "misses the detector"),
    ],
)
def test_what_is_scaled_or_placed_wrongly_is_named(room, homolog, changed, says):
    write_cameras("wrong.json", [carm().replaced(camera=replace(CAMERA, **changed))])
    found = doubts_of(homolog, "wrong.json", "--volume", "ct.nii.gz")
    assert any(says in doubt["what"] for doubt in found)
    assert all(doubt["hint"] for doubt in found)


def test_a_volume_behind_the_source_is_named(room, homolog):
    pose = np.diag((-1.0, 1.0, -1.0, 1.0)) @ carm().camera_from_world
    write_cameras("away.json", [carm().replaced(camera_from_world=pose)])
    (doubt,) = doubts_of(homolog, "away.json", "--volume", "ct.nii.gz")
    assert "behind the source" in doubt["what"]


def test_a_matrix_is_turned_to_where_the_volume_is(room, homolog):
    placed = carm(seen_from="detector")
    write_cameras("P.txt", [placed], "matrix")
    size = ("--size-px", 200, 250, "--pitch-mm", 1)
    (doubt,) = doubts_of(homolog, "P.txt", *size, "--volume", "ct.nii.gz")
    assert "homolog camera convert FILE --volume CT" in doubt["hint"]
    assert homolog("camera", "convert", "P.txt", *size, "--volume", "ct.nii.gz", "-o", "p.json").code == 0
    (found,) = read_cameras("p.json")
    assert found.camera_from_world == pytest.approx(placed.camera_from_world, abs=1e-9)


def test_cameras_that_look_away_from_each_other_are_told(room, homolog):
    first = camera_poses.from_look_at((300, 0, 0), (500, 0, 0))
    second = camera_poses.from_look_at((0, 300, 0), (0, 500, 0))
    write_cameras("away.json", [PlacedCamera(CAMERA, first, "a"), PlacedCamera(CAMERA, second, "b")])
    ended = homolog("camera", "info", "away.json")
    assert "behind a source" in ended.out


def test_cameras_that_look_at_each_other_meet_nowhere(room, homolog):
    write_cameras("opposed.json", [carm(), replace(carm(180), name="back")])
    ended = homolog("camera", "info", "opposed.json")
    assert ended.code == 0, ended.err
    assert "pass nearest" not in ended.out
    assert homolog("camera", "info", "opposed.json", "--json").json["pairs"] == []


@pytest.mark.parametrize("name", ["cameras.html", "cameras.svg"])
def test_the_drawing_has_every_camera_and_fetches_nothing(room, homolog, name):
    ended = homolog("camera", "info", "two.json", "--volume", "ct.nii.gz", "-o", name)
    assert ended.code == 0
    drawn = (room / name).read_text()
    assert all(word in drawn for word in ("ap", "side", "from the front", "from the feet"))
    # three views with a source each; the page has pictures too
    assert len(re.findall(r'<circle [^>]*fill="#0072b2"', drawn)) >= 3
    assert not re.search(r'(src|href)="(?!data:)|url\((?!#)|@import', drawn)


def test_a_drawing_of_another_kind_is_refused(room, homolog):
    ended = homolog("camera", "info", "two.json", "-o", "two.jpg")
    assert ended.code == 2
    assert ended.hints == ["hint:  -o two.html"]


def test_convert_names_what_a_format_cannot_say(room, homolog):
    ended = homolog("camera", "convert", "two.json", "-o", "two.xml")
    assert ended.code == 0
    assert "reverse the rows" in ended.err
    found = read_cameras("two.xml", size_px=(200, 250), pitch_mm=1.0)
    assert found[0].source_mm == pytest.approx(carm().source_mm)


def test_one_of_many_can_be_taken(room, homolog):
    assert homolog("camera", "convert", "two.json", "--only", "side", "-o", "side.yml").code == 0
    (found,) = read_cameras("side.yml")
    assert found.axis == pytest.approx(carm(80, 10).axis)
    ended = homolog("camera", "convert", "two.json", "--only", "front", "-o", "x.json")
    assert ended.code == 2
    assert "it has ap, side" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("info",),
        ("info", "missing.json"),
        ("info", "two.json", "--pitch-mm", "-1"),
        ("info", "two.json", "--unit-mm", "0"),
        ("convert", "two.json", "-o", "two.yml"),
        ("convert", "two.json", "-o", "two.txt"),
        ("convert", "two.json", "--only", "side", "-o", "two.json"),
        ("info", "ct.nii.gz"),
    ],
)
def test_wrong_use_is_one_error_with_a_way_out(room, homolog, words):
    before = sorted(room.iterdir())
    ended = homolog("camera", *words)
    assert ended.code == 2
    assert len(ended.errors) == len(ended.hints) == 1
    assert sorted(room.iterdir()) == before
