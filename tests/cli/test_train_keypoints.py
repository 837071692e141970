"""`homolog train triplet` and `homolog train sp3d`: what they write, and that the other commands take it."""

from __future__ import annotations

import json

import pytest
import torch

from homolog import write, write_points
from homolog.io.keypoints import read_keypoints
from homolog.synth.patients import draw_patient

SMALL = ("--box-mm", "150", "130", "150", "--spacing-mm", "2.5", "--held", "2", "--at-first", "1", "--threads", "1")
TRIPLET = ("train", "triplet", "--net", "paper", "--batch", "60", "--keypoints", "400", *SMALL)
SHAPES = ("train", "sp3d", "--stage", "shapes", "--solids", "2", "--threads", "1")


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder, which is also the current one, with a part of a virtual patient."""
    monkeypatch.chdir(tmp_path)
    patient = draw_patient(10)
    grid = patient.grid(3.0)
    low = [n // 2 - 24 for n in grid.shape]
    write(patient.scan(grid.cropped(low, [n + 48 for n in low])), "ct.nii.gz")
    return tmp_path


def test_a_descriptor_that_was_trained_describes(room, homolog):
    ended = homolog(*TRIPLET, "--steps", "2", "--out", "trained", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["steps"] == 2 and ended.json["fpr95"] <= 1
    assert {"weights.safetensors", "weights.json", "log.csv", "training.html"} <= {
        p.name for p in room.glob("trained/*")
    }
    ended = homolog("keypoints", "ct.nii.gz", "--describe", "trained", "--sampling-mm", "2", "-o", "keys")
    assert ended.code == 0, ended.err
    found = read_keypoints("keys/ct.npz")
    assert found.descriptors is not None and found.descriptors.shape[1] == 48


def test_a_cohort_with_landmarks_says_how_volumes_are_warped(room, homolog):
    for seed in (20, 21, 22):
        write_points(draw_patient(seed).landmarks(), f"marks_{seed}.mrk.json")
    marks = [f"marks_{seed}.mrk.json" for seed in (20, 21, 22)]
    ended = homolog(*TRIPLET, "--steps", "1", "--out", "trained", "--landmarks", *marks)
    assert ended.code == 0, ended.err
    assert json.loads((room / "trained/weights.json").read_text())["landmarked"] == 3


def test_points_of_a_network_that_was_trained_are_found(room, homolog):
    ended = homolog(*SHAPES, "--steps", "2", "--out", "pt")
    assert ended.code == 0, ended.err
    line = ("--method", "sp3d", "--weights", "pt", "--sampling-mm", "3", "--threads", "1", "-n", "50")
    ended = homolog("keypoints", "ct.nii.gz", *line, "-o", "keys")
    assert ended.code == 0, ended.err
    found = read_keypoints("keys/ct.npz")
    assert len(found) == 50 and found.descriptors is not None and found.descriptors.shape[1] == 128


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ((*TRIPLET, "--out", "new"), "needs an end"),
        ((*TRIPLET, "--steps", "1", "--first-patient", "9500", "--out", "new"), "kept for landmarks and tests"),
        ((*TRIPLET, "--steps", "1", "--volumes", "gone.nii.gz", "--given", "1", "--out", "new"), "gone.nii.gz"),
        ((*TRIPLET, "--steps", "1", "--landmarks", "ct.nii.gz", "--out", "new"), "ct.nii.gz"),
        (("train", "sp3d", "--stage", "shapes", "--steps", "1", "--solids-vox", "30", "--out", "new"), "whole cells"),
        (("train", "sp3d", "--steps", "1", "--begin", "gone", "--out", "new"), "gone"),
        (("train", "sp3d", "--steps", "1", "--teacher", "adapted", "--out", "new"), "weights to begin from"),
    ],
)
def test_what_cannot_be_trained_is_said(room, homolog, line, said):
    ended = homolog(*line)
    assert ended.code == 2, ended.err
    assert said in ended.err
    assert not (room / "new/weights.safetensors").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("recipe", ["triplet", "sp3d", "prost"])
def test_a_gpu_that_is_not_there_is_said_to_be_missing(room, homolog, recipe):
    ended = homolog("train", recipe, "--steps", "1", "--device", "cuda", "--out", "new")
    assert ended.code == 2, ended.err
    assert "no GPU" in ended.err and "--device cpu" in ended.err
    assert not (room / "new").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("words", ["keypoints ct.nii.gz", "match ct.nii.gz ct.nii.gz", "group ct.nii.gz ct.nii.gz"])
def test_nor_can_points_be_found_on_it(room, homolog, words):
    ended = homolog(*words.split(), "--device", "cuda", "-o", "new")
    assert ended.code == 2, ended.err
    assert "no GPU" in ended.err and "--device cpu" in ended.err
    assert not (room / "new").exists()


def test_a_training_is_not_mixed_with_another(room, homolog):
    assert homolog(*SHAPES, "--steps", "1", "--out", "pt").code == 0
    before = (room / "pt/weights.safetensors").read_bytes()
    ended = homolog(*SHAPES, "--steps", "2", "--dustbin", "0.5", "--out", "pt")
    assert ended.code == 2, ended.err
    assert "dustbin 0.2, not 0.5" in ended.err and "another folder" in ended.err
    assert (room / "pt/weights.safetensors").read_bytes() == before
