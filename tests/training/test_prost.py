"""Training ProST's network: what it is shown, what it learns, and going on where it stopped."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from homolog import Grid, Volume, weights
from homolog.errors import BadInput
from homolog.io import volumes
from homolog.nets.configs import LIGHT
from homolog.nets.prost import built, config_of
from homolog.space import se3, se3_torch
from homolog.train import prost, prost_data
from homolog.train.configs import ProstConfig
from homolog.train.loop import Plan
from tests.geometry import oblique_grid

SMALL = ProstConfig(volumes_a_step=1, truths=1, starts=2, given=1.0, volume_every=2)


@cache
def scan() -> Volume:
    """A trunk of water with two bones, on an oblique, anisotropic, left-handed grid."""
    grid = oblique_grid((30, 34, 40), (7.0, 6.0, 8.0))
    points = grid.points() - grid.corners().mean(axis=0)
    hu = np.full(len(points), -1000.0, np.float32)
    hu[(points[:, 0] / 90) ** 2 + (points[:, 1] / 80) ** 2 + (points[:, 2] / 160) ** 2 < 1] = 20.0
    hu[(points[:, 0] / 30) ** 2 + (points[:, 1] / 20) ** 2 + (points[:, 2] / 110) ** 2 < 1] = 700.0
    hu[((points[:, 0] - 50) / 15) ** 2 + (points[:, 1] / 20) ** 2 + (points[:, 2] / 50) ** 2 < 1] = 500.0
    return Volume(hu.reshape(grid.shape), grid, "trunk")


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ct") / "trunk.nii.gz"
    volumes.write(scan(), path)
    return path


@pytest.fixture(scope="module")
def patient(ct, tmp_path_factory) -> prost_data.Patient:
    return prost_data.given(ct, None, LIGHT.spacing_mm, tmp_path_factory.mktemp("kept"))


def some_sample(patient: prost_data.Patient, seed: int = 0, **changes: int) -> prost_data.Sample:
    return prost_data.sample(patient, replace(SMALL, **changes), LIGHT, np.random.default_rng(seed))


# ---------------------------------------------------------------------------------------------------------------------
# What it is shown


def test_a_given_ct_keeps_its_place_and_its_bone(patient):
    bone = patient.whole().numpy() > 0.025
    found = patient.grid.points()[bone.ravel()].mean(axis=0)
    was = scan().grid.points()[(scan().numpy() > 300).ravel()].mean(axis=0)
    assert found == pytest.approx(was, abs=4.0)


def test_the_same_generator_draws_the_same_sample(patient):
    one, again, other = some_sample(patient, 3), some_sample(patient, 3), some_sample(patient, 4)
    assert torch.equal(one.pictures, again.pictures)
    assert torch.equal(one.poses, again.poses)
    assert not torch.equal(one.truths, other.truths)


def test_poses_are_drawn_as_far_apart_as_is_said(patient):
    sample = some_sample(patient, truths=60, starts=4)
    apart = se3_torch.descent_direction(sample.poses, sample.truths[:, None]).flatten(0, 1).numpy()
    half = np.quantile(np.abs(apart), 0.9, axis=0)
    # half the starts have the published deviation, half less: of a mixture of normals with scales from 0.05 to 1, 90 %
    # lie below 1.35 deviations
    assert half[:3] == pytest.approx(1.35 * np.sqrt(2) * np.radians(9.45), rel=0.25)
    assert half[3:] == pytest.approx(1.35 * np.sqrt(2) * 22.4, rel=0.25)


def test_the_view_from_the_front_hangs_as_radiologists_look_at_it():
    pose = prost_data.from_the_front(0.0, 700.0)
    left, head, front = (pose[:3, :3] @ axis for axis in ((1, 0, 0), (0, 0, 1), (0, -1, 0)))
    assert left == pytest.approx([1, 0, 0])
    assert head == pytest.approx([0, -1, 0])
    # what is in front is nearer to the source
    assert front == pytest.approx([0, 0, -1])
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_patients_kept_for_tests_are_not_trained_on(tmp_path):
    with pytest.raises(BadInput, match="kept for tests"):
        prost_data.virtual(10_000, 5.0, tmp_path)
    with pytest.raises(BadInput, match="kept for tests"):
        prost.train(tmp_path, Plan(steps=1), replace(SMALL, first_patient=9_990, patients=20))


# ---------------------------------------------------------------------------------------------------------------------
# What it learns


def test_the_slopes_are_those_of_the_similarity(patient):
    torch.manual_seed(0)
    network, sample = built(LIGHT), some_sample(patient)
    _, slopes = prost.slopes_of(network, sample)
    step = np.repeat((2e-3, 0.5), 3)
    for n in range(6):
        ends = []
        for sign in (1, -1):
            twist = torch.zeros(2, 6, dtype=torch.float64)
            twist[:, n] = sign * step[n]
            poses = se3_torch.moved(sample.poses.flatten(0, 1), twist)[None]
            ends.append(prost.slopes_of(network, replace(sample, poses=poses))[0])
        found = ((ends[0] - ends[1]) / (2 * step[n])).detach().numpy()
        scale = float((slopes.detach().abs().max(0).values * torch.from_numpy(step)).max())
        assert found * step[n] == pytest.approx(slopes[:, n].detach().numpy() * step[n], abs=0.05 * scale)


def test_a_gradient_along_the_geodesic_costs_nothing(patient, monkeypatch):
    sample = some_sample(patient)
    wanted = se3_torch.descent_direction(sample.poses.flatten(0, 1), sample.truths.repeat_interleave(2, 0)).float()
    sizes = np.sqrt(2) * torch.tensor([np.radians(9.45)] * 3 + [22.4] * 3).float()

    def perfect(network, sample):
        return ((wanted / sizes) ** 2).sum(1) / 2, -wanted / sizes**2

    monkeypatch.setattr(prost, "slopes_of", perfect)
    loss, logged = prost.judged(built(LIGHT), sample, SMALL)
    assert float(loss) == pytest.approx(0, abs=1e-5)
    assert logged["cos_turn"] == pytest.approx(1)
    monkeypatch.setattr(prost, "slopes_of", lambda *given: (perfect(*given)[0], -perfect(*given)[1]))
    assert prost.judged(built(LIGHT), sample, SMALL)[1]["direction"] == pytest.approx(8, rel=1e-5)


def test_training_on_one_sample_turns_its_gradient_to_the_truth(patient):
    sample = some_sample(patient, truths=1, starts=3)
    state = prost.fresh(SMALL)
    before = prost.judged(state.network, sample, SMALL)[1]["direction"]
    for _ in range(10):
        state.optimiser.zero_grad()
        prost.step(state.network, [sample], SMALL)
        state.optimiser.step()
    assert prost.judged(state.network, sample, SMALL)[1]["direction"] < 0.6 * before


def test_only_asked_for_steps_train_the_3d_branch(patient):
    network, sample = prost.fresh(SMALL).network, some_sample(patient)
    prost.step(network, [sample], SMALL, volume_too=False)
    assert all(each.grad is None for each in network.volume_branch.parameters())
    assert any(each.grad is not None for each in network.fixed_branch.parameters())
    prost.step(network, [sample], SMALL, volume_too=True)
    assert all(each.grad is not None for each in network.volume_branch.parameters())


# ---------------------------------------------------------------------------------------------------------------------
# Going on


def test_a_resumed_training_ends_as_one_that_never_stopped(ct, tmp_path):
    whole = prost.train(tmp_path / "whole", Plan(steps=4), SMALL, volumes=[ct])
    prost.train(tmp_path / "parts", Plan(steps=2), SMALL, volumes=[ct])
    parts = prost.train(tmp_path / "parts", Plan(steps=4), SMALL, volumes=[ct])
    assert parts.step == whole.step == 4
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name
        assert torch.equal(whole.averaged[name], parts.averaged[name]), name
    logs = [list(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("whole", "parts")]
    assert [[row["step"], row["loss"]] for row in logs[0]] == [[row["step"], row["loss"]] for row in logs[1]]


def test_the_written_weights_can_be_loaded_and_used(ct, tmp_path):
    state = prost.train(tmp_path, Plan(steps=1), SMALL, volumes=[ct])
    card = weights.card(tmp_path)
    assert card["steps"] == 1
    assert card["given"] == ["trunk.nii.gz"]
    network = built(config_of(card["network"]), weights.load(tmp_path))
    for name, value in network.state_dict().items():
        assert torch.equal(value, state.averaged[name])
    with pytest.raises(BadInput, match="no weights are called"):
        weights.load("nobody")


def test_another_network_in_the_folder_is_an_error(ct, tmp_path):
    prost.train(tmp_path, Plan(steps=1), SMALL, volumes=[ct])
    with pytest.raises(BadInput, match="another network"):
        prost.train(tmp_path, Plan(steps=2), replace(SMALL, net="paper"), volumes=[ct])


def test_a_training_without_an_end_is_refused():
    with pytest.raises(BadInput, match="needs an end"):
        Plan()


def test_the_direction_of_a_pose_is_that_of_a_motion_about_the_pivot(patient):
    # the world of a sample begins at the pivot, so a turn leaves the pivot's place in the picture alone
    sample = some_sample(patient)
    pose = sample.truths[0]
    turned = se3_torch.moved(pose[None], torch.tensor([[0.2, -0.1, 0.3, 0, 0, 0]], dtype=torch.float64))[0]
    assert turned[:3, 3].numpy() == pytest.approx(pose[:3, 3].numpy())
    assert turned.numpy() == pytest.approx(
        se3.about(pose[:3, 3].numpy(), np.array([0.2, -0.1, 0.3, 0, 0, 0])) @ pose.numpy()
    )


def test_a_volume_without_bone_is_refused(tmp_path):
    grid = Grid.regular((20, 20, 20), 6.0)
    water = prost_data.Patient(np.full(grid.shape, 0.0193, np.float16), None, grid)
    with pytest.raises(BadInput, match="hardly any bone"):
        some_sample(water)
