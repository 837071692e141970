"""`homolog train pose`, and `homolog align --start` with what it writes."""

from __future__ import annotations

import json
from shutil import copytree

import numpy as np
import pytest

from homolog import read, weights, write
from homolog.cli.main import main
from homolog.io.poses import read_pose
from homolog.space import se3
from tests.cli.test_align import LEVELS
from tests.xray_scenes import placed, write_study

STEPS = 200
RECIPE = ("--view", "front", "--spread-degrees", "6", "--near", "0.7", "0.8", "--points", "12", "--pixels", "32")
TRAIN = ("train", "pose", "ct.nii.gz", "--camera", "front_truth.json", *RECIPE, "--threads", "1")
ALIGN = ("align", "ct.nii.gz", "front.nii.gz", "--camera", "front_truth.json", *LEVELS)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write_study(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*TRAIN, "--out", "trained", "--steps", str(STEPS)]) == 0
    return folder


@pytest.fixture
def trained(trained_once, tmp_path, monkeypatch):
    """A folder, which is also the current one: a body, X-rays of it, and a network that was trained for it."""
    copytree(trained_once, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def test_the_network_finds_about_where_the_camera_stands(trained, homolog):
    ended = homolog(*ALIGN, "--start", "trained", "-o", "run")
    assert ended.code == 0, ended.err
    record = json.loads((trained / "run/run.json").read_text())
    assert "points it finds agree" in record["start"]
    # how far the search went from what the network said
    assert record["moved"]["degrees"] < 15 and record["moved"]["mm"] < 60
    found, truth = read_pose("run/pose.json").views[0].camera_from_patient, placed().camera_from_world
    assert np.degrees(se3.angle(found, truth)) < 1.5


def test_the_card_says_how_far_off_it_is_and_of_which_volume(trained):
    card = weights.card("trained")
    numbers = card["numbers"]
    assert numbers["found"] > 0.5
    assert 0 < numbers["degrees_50"] < 15 and numbers["degrees_50"] <= numbers["degrees_90"]
    assert card["volume"]["path"] == "ct.nii.gz" and len(card["points_mm"]) == 12
    assert card["steps"] == STEPS


def test_the_same_line_goes_on_and_redoes_nothing(trained, homolog):
    before = (trained / "trained/log.csv").read_text()
    ended = homolog(*TRAIN, "--out", "trained", "--steps", str(STEPS), "--json")
    assert ended.code == 0, ended.err
    assert ended.json["steps"] == STEPS
    assert (trained / "trained/log.csv").read_text() == before
    assert "training.html" in {path.name for path in (trained / "trained").iterdir()}


def test_a_network_of_another_volume_is_not_believed(trained, homolog):
    ct = read("ct.nii.gz")
    write(ct.with_data(ct.numpy() + 3), "other.nii.gz")
    ended = homolog("align", "other.nii.gz", *ALIGN[2:], "--start", "trained", "-o", "run")
    assert ended.code == 2
    assert "was trained for another volume (ct.nii.gz)" in ended.err and "homolog train pose" in ended.err
    assert not (trained / "run").exists()


def test_weights_of_another_recipe_are_refused(trained, homolog):
    ended = homolog(*ALIGN, "--start", weights.FOLDER / "prost.safetensors", "-o", "run")
    assert ended.code == 2
    assert "not of homolog train pose" in ended.err


def test_a_network_that_knows_nothing_yet_leaves_it_to_a_search(trained, homolog):
    ended = homolog(*TRAIN, "--out", "begun", "--steps", "1")
    assert ended.code == 0, ended.err
    assert "it finds no pose yet" in ended.err
    ended = homolog(*ALIGN, "--start", "begun", "-o", "run")
    assert ended.code == 0, ended.err
    assert "searched for where the cameras look, since the network finds" in ended.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--steps", "1", "--points", "99999999"), "too few for"),
        (("--steps", "1", "--volume-mask", "ct.nii.gz"), "labels are whole numbers"),
        (("--steps", "1", "--camera", "gone.json"), "gone.json"),
        ((), "needs an end"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_written(trained, homolog, flags, said):
    ended = homolog("train", "pose", "ct.nii.gz", "--out", "new", *flags)
    assert ended.code == 2, ended.err
    assert said in ended.err
    assert not (trained / "new").exists()
