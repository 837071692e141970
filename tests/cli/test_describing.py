"""`--describe`: a trained network in place of the detector's own descriptors, in every command that finds keypoints."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from homolog import (
    Affine,
    Keypoints,
    Volume,
    read,
    read_keypoints,
    read_transform,
    write,
    write_keypoints,
    write_transform,
)
from homolog import weights as shipped
from homolog.cli.main import main
from homolog.features.patch_descriptor import describe
from homolog.io.records import End, Record, file_hash
from homolog.nets.configs import ProstNetConfig
from homolog.pipelines.describe import patch
from homolog.space.grid import Grid
from tests.cli.patch_weights import SMALL, write_weights
from tests.geometry import oblique_grid, smooth_volume

GRID = oblique_grid((56, 54, 60), (1.3, 1.2, 1.5))
SHIFT = Affine(np.array([(1, 0, 0, 21.0), (0, 1, 0, -4.0), (0, 0, 1, 7.5), (0, 0, 0, 1.0)]))


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """ana.nii.gz, ben.nii.gz, who is ana elsewhere in the scanner, and weights in trained/."""
    monkeypatch.chdir(tmp_path)
    ana = smooth_volume(GRID, "ana", seed=1)
    write(ana, "ana.nii.gz")
    write(Volume(ana.numpy(), Grid(GRID.shape, SHIFT.matrix @ GRID.world_from_voxel), "ben"), "ben.nii.gz")
    return write_weights(Path("trained"))


def record_of(folder):
    return json.loads(Path(folder, "run.json").read_text())


@pytest.mark.parametrize("given", ["trained", "trained/weights.safetensors"])
def test_points_are_those_of_the_detector_and_descriptors_those_of_the_network(homolog, scans, given):
    assert homolog("keypoints", "ana.nii.gz", "-o", "plain").code == 0
    ended = homolog("keypoints", "ana.nii.gz", "-o", "keys", "--describe", given)
    assert ended.code == 0, ended.err
    plain, found = read_keypoints("plain/ana.npz"), read_keypoints("keys/ana.npz")
    for column in ("position", "scale", "response", "sign"):
        np.testing.assert_array_equal(getattr(found, column), getattr(plain, column))
    volume = read("ana.nii.gz")
    expected = describe(volume, replace(found, space=volume.space), scans).descriptors
    np.testing.assert_allclose(found.descriptors, expected, atol=1e-5)


def test_the_record_says_which_weights(homolog, scans):
    assert homolog("keypoints", "ana.nii.gz", "-o", "keys", "--describe", "trained").code == 0
    run = record_of("keys")
    weights = Path("trained/weights.safetensors")
    assert run["descriptor"] == {"weights": str(weights.parent.resolve()), "hash": file_hash(weights)}
    assert run["volumes"][0]["descriptor"] == SMALL.numbers
    assert homolog("keypoints", "ana.nii.gz", "-o", "plain").code == 0
    assert "descriptor" not in record_of("plain")


def test_other_weights_are_another_way_of_finding(homolog, scans):
    line = ("keypoints", "ana.nii.gz", "-o", "keys", "--describe", "trained", "--no-pictures")
    assert homolog(*line).code == 0
    made = Path("keys/ana.npz").stat().st_mtime_ns
    assert homolog(*line).code == 0
    assert Path("keys/ana.npz").stat().st_mtime_ns == made
    before = read_keypoints("keys/ana.npz").descriptors
    write_weights(Path("trained"), seed=1)
    refused = homolog(*line)
    assert refused.code == 2 and "found with describe trained" in refused.errors[0]
    assert homolog("keypoints", "ana.nii.gz", "-o", "keys").code == 2
    assert homolog(*line, "--force").code == 0
    assert np.abs(read_keypoints("keys/ana.npz").descriptors - before).max() > 0.1


def test_given_points_are_described_as_found_ones_are(homolog, scans):
    assert homolog("keypoints", "ana.nii.gz", "-o", "keys", "--describe", "trained", "-n", 40).code == 0
    found = read_keypoints("keys/ana.npz")
    write_keypoints(Keypoints(found.position[::-1], "x", scale=found.scale[::-1]), "some.npz")
    line = ("keypoints", "ana.nii.gz", "--points", "some.npz", "--describe", "trained", "-o", "given")
    assert homolog(*line).code == 0
    np.testing.assert_allclose(read_keypoints("given/ana.npz").descriptors, found.descriptors[::-1], atol=1e-4)


def test_descriptors_of_the_network_can_be_ranked(homolog, scans):
    line = ("keypoints", "ana.nii.gz", "--describe", "trained", "--no-pictures")
    assert homolog(*line, "-o", "keys").code == 0 and homolog(*line, "--rank", "-o", "ranked").code == 0
    plain, ranks = (read_keypoints(f"{folder}/ana.npz").descriptors for folder in ("keys", "ranked"))
    np.testing.assert_array_equal(np.argsort(ranks, axis=1), np.argsort(plain, axis=1))
    np.testing.assert_allclose(ranks.sum(axis=1), 0, atol=1e-4)


def test_two_volumes_are_matched_by_what_the_network_says(homolog, scans):
    ends = [End(name, read(f"{name}.nii.gz").grid) for name in ("ana", "ben")]
    write_transform(replace(SHIFT, fixed="ana", moving="ben"), "ben_from_ana.h5", record=Record(*ends))
    line = ("match", "ana.nii.gz", "ben.nii.gz", "--describe", "trained", "--transform", "ben_from_ana.h5", "-o", "m")
    ended = homolog(*line, "--json")
    assert ended.code == 0, ended.err
    right = ended.json["matches"]["judged"][0]
    assert right["of"] > 20 and right["count"] > 0.95 * right["of"]
    assert read_keypoints("m/fixed.npz").descriptors.shape[1] == SMALL.numbers
    assert ended.json["descriptor"]["hash"] == file_hash(Path("trained/weights.safetensors"))


def test_without_weights_the_error_says_how_to_make_some(homolog, scans, monkeypatch):
    monkeypatch.setattr(shipped, "names", lambda: ["prost"])
    ended = homolog("keypoints", "ana.nii.gz", "-o", "keys", "--describe", "patch")
    assert ended.code == 2 and "no weights of the descriptor 'patch'" in ended.errors[0]
    assert "homolog train triplet" in ended.hints[0]
    assert not Path("keys").exists()


def test_weights_that_come_along_are_known_by_the_descriptors_name(scans, monkeypatch):
    Path("room").mkdir()
    for ending in ("safetensors", "json"):
        shutil.copy(f"trained/weights.{ending}", f"room/patch.{ending}")
    monkeypatch.setattr(shipped, "FOLDER", Path("room"))
    assert main(["keypoints", "ana.nii.gz", "-o", "keys", "--describe", "patch"]) == 0
    assert record_of("keys")["descriptor"]["weights"] == "patch"
    volume, found = read("ana.nii.gz"), read_keypoints("keys/ana.npz", space="ana")
    np.testing.assert_allclose(patch(volume, found).descriptors, found.descriptors, atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "words", "said"),
    [
        (lambda: None, ("--no-descriptors",), "--no-descriptors"),
        (lambda: Path("trained/weights.json").unlink(), (), "weights.json"),
        (lambda: Path("trained/weights.json").write_text("{}"), (), "does not say what network"),
        (lambda: Path("trained/weights.safetensors").write_bytes(b"not"), (), "no whole safetensors"),
        (
            lambda: Path("trained/weights.json").write_text(json.dumps({"network": vars(ProstNetConfig())})),
            (),
            "of another network",
        ),
    ],
    ids=["without descriptors", "no card", "an empty card", "a damaged file", "another network"],
)
def test_what_cannot_describe_is_refused_and_leaves_nothing(homolog, scans, spoil, words, said):
    spoil()
    ended = homolog("keypoints", "ana.nii.gz", "-o", "keys", "--describe", "trained", *words)
    assert ended.code == 2, ended.err
    assert said in ended.errors[0]
    assert not list(Path().glob("keys/*.npz"))


# ---- group and register


@pytest.fixture
def cohort(scans):
    """ana, ben, cyd and dan: one patient in four places of the scanner, with a noise of each."""
    volume = read("ana.nii.gz")
    for seed, name in enumerate(("ana", "ben", "cyd", "dan")):
        shift = np.eye(4)
        shift[:3, 3] = seed * np.array([9.0, -4.0, 6.5])
        noise = np.random.default_rng(seed).normal(0, 3, GRID.shape).astype(np.float32)
        write(Volume(volume.numpy() + noise, Grid(GRID.shape, shift @ GRID.world_from_voxel), name), f"{name}.nii.gz")


@pytest.mark.slow
def test_a_group_is_described_by_the_network_and_so_are_its_newcomers(homolog, cohort):
    line = ("group", "ana.nii.gz", "ben.nii.gz", "cyd.nii.gz", "-o", "group", "--levels", 0, "--sampling-mm", 1.3)
    ended = homolog(*line, "--describe", "trained")
    assert ended.code == 0, ended.err
    stored = [read_keypoints(path) for path in Path("group/store/keypoints").glob("*.npz")]
    assert len(stored) == 3 and {each.descriptors.shape[1] for each in stored} == {SMALL.numbers}
    assert record_of("group")["descriptor"]["hash"] == file_hash(Path("trained/weights.safetensors"))
    # the detector's own are other keypoints, and another group
    assert homolog(*line).code == 2
    ended = homolog("group", "--add", "dan.nii.gz", "--to", "group")
    assert ended.code == 0, ended.err
    assert record_of("group")["newcomers"][0]["doubts"] == []
    write_weights(Path("trained"), seed=1)
    refused = homolog("group", "--add", "dan.nii.gz", "--to", "group")
    assert refused.code == 2 and "not those any more" in refused.errors[0]


def test_keypoints_of_files_are_described_already(homolog, cohort):
    Path("keys").mkdir()
    ended = homolog("group", "ana.nii.gz", "ben.nii.gz", "-o", "g", "--keypoints", "keys", "--describe", "trained")
    assert ended.code == 2 and "--describe" in ended.errors[0]
    assert not Path("g").exists()


@pytest.mark.slow
def test_volumes_are_registered_by_what_the_network_says(homolog, cohort):
    line = ("register", "ana.nii.gz", "ben.nii.gz", "-o", "run", "--method", "keypoint", "--kind", "rigid")
    ended = homolog(*line, "--keypoints", "surf3d", "--describe", "trained", "--sampling-mm", 1.3)
    assert ended.code == 0, ended.err
    run = record_of("run")
    assert run["descriptor"]["hash"] == file_hash(Path("trained/weights.safetensors"))
    assert run["config"]["keypoint"]["describe"] == "trained"
    found = read_transform("run/moving_from_fixed.h5").apply(GRID.corners())
    np.testing.assert_allclose(found, GRID.corners() + (9.0, -4.0, 6.5), atol=0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--keypoints", "surf"), "no detector is called 'surf'"), (("--describe", "pacth"), "no descriptor is called")],
)
def test_what_nobody_knows_is_refused_before_anything_is_registered(homolog, scans, words, said):
    ended = homolog("register", "ana.nii.gz", "ben.nii.gz", "-o", "run", "--method", "keypoint", *words)
    assert ended.code == 2 and said in ended.errors[0]
