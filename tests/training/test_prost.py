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
from homolog.nets.configs import LIGHT, ProstNetConfig
from homolog.nets.place_maps import lowered
from homolog.nets.prost import ProstNet, built, config_of
from homolog.projective.leaning import LEANING
from homolog.space import se3, se3_torch
from homolog.space.attenuation import attenuation
from homolog.train import prost, prost_data
from homolog.train.configs import ProstConfig
from homolog.train.loop import Plan
from tests.geometry import oblique_grid

SMALL = ProstConfig(volumes_a_step=1, truths=1, starts=2, given=1.0, volume_every=2, slopes_every=2)
BRANCHED = ProstNetConfig(12.0, 24, (2, 2), (8, 8), "group", True)


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


@pytest.fixture(scope="module")
def marked(patient) -> prost_data.Patient:
    """The same with three blocks of bone, marked as the parts of a pelvis."""
    data, excess, bone = patient.data.copy(), patient.excess.copy(), np.zeros(patient.grid.shape, np.uint8)
    middle = np.array(patient.grid.shape) // 2
    for part, across in ((2, 0), (3, -14), (4, 14)):
        place = tuple(slice(m + a - 5, m + a + 5) for m, a in zip(middle, (across, 2, 0)))
        data[place], excess[place], bone[place] = 0.03, 0.01, part
    return prost_data.Patient(data, excess, bone, patient.grid)


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
    apart = se3_torch.descent_direction(sample.poses, sample.truths.repeat(4, 1, 1)).numpy()
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


def test_maps_with_a_peak_at_the_ends_cost_nothing(marked):
    sample = some_sample(marked, truths=1)
    torch.manual_seed(0)
    seen = prost.compared(built(LIGHT), sample)
    lean, known = lowered(sample.places)
    perfect = []
    for poses in (sample.poses, sample.truths):
        where, _ = prost_data.places_in(sample, poses)
        square = ((lean - where[..., None, None]) ** 2).sum(2)
        maps = torch.log_softmax((known - square / (2 * prost.MAP_WIDTH**2)).flatten(2), 2)
        perfect.append(maps.reshape(square.shape))
    best = replace(seen, moving_maps=perfect[0], fixed_maps=perfect[1])
    assert float(prost.maps_loss(best, sample)) == pytest.approx(0, abs=1e-5)
    assert prost.maps_loss(seen, sample).item() > 1.0
    assert prost.places_loss(best, sample) < 0.2 * prost.places_loss(seen, sample)


def test_the_slopes_are_those_of_the_similarity(patient):
    torch.manual_seed(0)
    network, sample = built(LIGHT).double(), in_float64(some_sample(patient))
    slopes = prost.compared(network, sample).slopes
    assert slopes is not None
    step = np.repeat((4e-5, 0.01), 3)
    for n in range(6):
        ends = []
        for sign in (1, -1):
            twist = torch.zeros(2, 6, dtype=torch.float64)
            twist[:, n] = sign * step[n]
            poses = se3_torch.moved(sample.poses, twist)
            ends.append(prost.compared(network, replace(sample, poses=poses), slopes_too=False).values)
        found = ((ends[0] - ends[1]) / 2).detach().numpy()
        # the similarity bends where rays leave voxels
        scale = float((slopes.detach().abs().max(0).values * torch.from_numpy(step)).max())
        assert found == pytest.approx(slopes[:, n].detach().numpy() * step[n], abs=0.03 * scale)


def in_float64(sample: prost_data.Sample) -> prost_data.Sample:
    shown = {name: getattr(sample, name).double() for name in ("volume", "pictures", "places")}
    return replace(sample, **shown)


def test_a_gradient_along_the_geodesic_costs_nothing(patient):
    sample = some_sample(patient)
    wanted = prost.wanted_of(sample.poses, sample.truths.repeat(2, 1, 1), SMALL)
    nothing = torch.zeros(2, 6)

    def cost(slopes: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
        seen = prost.Compared(nothing, nothing, None, None, (wanted**2).sum(1) / 2, slopes)
        loss, logged = prost.slopes_loss(seen, sample, SMALL)
        return float(loss), logged

    loss, logged = cost(-wanted / prost.sizes(SMALL))
    assert loss == pytest.approx(0, abs=1e-5)
    assert float(logged["cos_turn"]) == pytest.approx(1)
    assert float(cost(wanted / prost.sizes(SMALL))[1]["direction"]) == pytest.approx(8, rel=1e-5)


def test_coordinates_that_differ_as_the_poses_do_cost_nothing(patient):
    sample = some_sample(patient, truths=3)
    # shifts alone add up from pose to pose
    for poses in (sample.poses, sample.truths):
        poses[:, :3, :3] = sample.truths[0, :3, :3].clone()
    first = sample.truths[:1]
    moving, fixed = (3**0.5 * prost.wanted_of(first, poses, SMALL) for poses in (sample.poses, sample.truths))
    seen = prost.Compared(moving, fixed, None, None, torch.zeros(6), None)
    assert float(prost.coordinates_loss(seen, sample, SMALL)) == pytest.approx(0, abs=1e-5)
    elsewhere = replace(seen, moving=moving + 7.0, fixed=fixed + 7.0)
    assert float(prost.coordinates_loss(elsewhere, sample, SMALL)) == pytest.approx(0, abs=1e-5)
    assert float(prost.coordinates_loss(replace(seen, moving=-moving), sample, SMALL)) > 0.1
    # and the similarity is then half the squared distance
    own = prost.wanted_of(sample.poses, sample.truths.repeat(2, 1, 1), SMALL)
    assert built(LIGHT).unlikeness(moving, fixed.repeat(2, 1)).tolist() == pytest.approx(
        ((own**2).sum(1) / 2).tolist(), rel=1e-4
    )


def test_ends_are_taught_where_the_camera_sees_them(marked):
    sample = some_sample(marked, truths=1)
    where, known = prost_data.places_in(sample, sample.truths)
    assert where.shape == (1, prost_data.ENDS, 2)
    camera = sample.camera
    for end, place, there in zip(sample.ends.numpy(), where[0].numpy(), known[0].tolist()):
        seen = sample.truths[0].numpy() @ np.append(end, 1.0)
        assert place == pytest.approx(LEANING * seen[:2] / seen[2], rel=1e-5)
        pixel = camera.project(seen[None, :3], np.eye(4))[0]
        inside = (np.round(pixel) >= 0).all() and (np.round(pixel) < np.array(camera.size_px)[::-1]).all()
        assert there == (inside and float(sample.places[2][round(pixel[1]), round(pixel[0])]))


def test_the_ends_of_a_bone_lie_on_it(marked):
    ends = prost_data.ends_of(marked)
    right = ends[7:14]
    points = marked.grid.world(np.argwhere(marked.bone == 3))
    assert right[0] == pytest.approx(points.mean(axis=0))
    for n, axis in enumerate((0, 0, 1, 1, 2, 2)):
        extreme = (points.min(axis=0), points.max(axis=0))[n % 2][axis]
        # the mean of the last fiftieth of its voxels
        assert abs(right[1 + n][axis] - extreme) < 8.0


def test_what_is_looked_for_is_what_bone_has_beyond_soft_tissue(patient, marked):
    muscle = Volume(np.linspace(-1000.0, 80.0, 8, dtype=np.float32).reshape(2, 2, 2), Grid.regular((2, 2, 2), 1.0), "m")
    for one in (patient, marked):
        body, _ = prost_data.piece(one, np.random.default_rng(0))
        most = one.whole().numpy().max() - attenuation(muscle).numpy().max()
        assert 0 < body.numpy().max() <= most * 1.01


def test_training_on_one_sample_turns_its_gradient_to_the_truth(patient):
    sample = some_sample(patient, truths=1, starts=3)
    state = prost.fresh(SMALL)
    before = prost.judged(state.network, sample, SMALL)[1]["direction"]
    for _ in range(8):
        state.optimiser.zero_grad()
        prost.step(state.network, [sample], SMALL)
        state.optimiser.step()
    assert prost.judged(state.network, sample, SMALL)[1]["direction"] < 0.8 * before


def test_only_asked_for_steps_train_the_3d_branch(patient):
    network, sample = ProstNet(BRANCHED), prost_data.sample(patient, SMALL, BRANCHED, np.random.default_rng(0))
    prost.step(network, [sample], SMALL, volume_too=False)
    assert all(each.grad is None for each in network.volume_branch.parameters())
    assert any(each.grad is not None for each in network.fixed_branch.parameters())
    prost.step(network, [sample], SMALL, volume_too=True)
    assert all(each.grad is not None for each in network.volume_branch.parameters())


def test_a_network_without_coordinates_is_always_taught_by_its_slopes(patient):
    network, sample = ProstNet(BRANCHED), prost_data.sample(patient, SMALL, BRANCHED, np.random.default_rng(0))
    logged = prost.judged(network, sample, SMALL, slopes_too=False)[1]
    assert logged["loss"] == pytest.approx(
        logged["direction"] + 0.5 * logged["length"] + 0.2 * logged["value"], rel=1e-4
    )
    assert "places" not in logged
    assert "maps" not in logged


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
    with pytest.raises(BadInput, match="net light, not paper"):
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
    water = prost_data.Patient(np.full(grid.shape, 0.0193, np.float16), np.zeros(grid.shape, np.float16), None, grid)
    with pytest.raises(BadInput, match="hardly any bone"):
        some_sample(water)
