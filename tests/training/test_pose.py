"""A network that finds one volume's points: what it is shown, what it learns, and the pose that comes of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from homolog import Volume, weights
from homolog.errors import BadInput
from homolog.nets.configs import PointsNetConfig, ProstNetConfig, of_record
from homolog.nets.points import PointsNet, built
from homolog.projective.leaning import pixels_of, places_of, points_in
from homolog.projective.pointing import pose_by_points
from homolog.space import se3
from homolog.space.attenuation import attenuation
from homolog.space.camera import Camera
from homolog.space.projection import Projection
from homolog.train import pose, pose_data
from homolog.train.configs import PoseConfig
from homolog.train.loop import Plan
from tests.training.test_prost import scan

SMALL = PoseConfig(view="front", points=8, pixels=32, xrays=2)
ALONG_VIEW = {"front": (0, 1, 0), "back": (0, -1, 0), "left": (-1, 0, 0), "right": (1, 0, 0)}


@cache
def trunk() -> Volume:
    return attenuation(scan())


def subject_of(config: PoseConfig = SMALL, camera: Camera | None = None) -> pose_data.Subject:
    return pose_data.subject(trunk(), trunk(), config, camera)


def lean_maps(where: torch.Tensor, places: torch.Tensor, sharp: float = 400.0) -> torch.Tensor:
    """Maps (N, M, R, C) with a peak at each of some places (N, M, 2)."""
    lean = torch.nn.functional.avg_pool2d(places[:2], 2)
    square = ((lean - where[..., None, None]) ** 2).sum(2)
    return torch.log_softmax((-sharp * square).flatten(2), 2).reshape(square.shape)


class Knowing(PointsNet):
    """A network that knows where the points are, of an X-ray from each of some poses."""

    def __init__(self, config: PointsNetConfig, points: np.ndarray, poses: list[np.ndarray], camera: Camera) -> None:
        super().__init__(config)
        self.points, self.poses, self.camera, self.asked = points, poses, camera, 0

    def forward(self, pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        truth = torch.from_numpy(self.poses[self.asked])[None]
        self.asked += 1
        where, there = points_in(torch.from_numpy(self.points), truth, self.camera, places[2])
        maps = lean_maps(where, places) * there[..., None, None]
        return torch.log_softmax(maps.flatten(2), 2).reshape(maps.shape)


# ---------------------------------------------------------------------------------------------------------------------
# What it is shown


@pytest.mark.parametrize("view", ALONG_VIEW)
def test_rays_go_as_the_view_says(view):
    config = replace(SMALL, view=view, spread_degrees=0.0)
    some = pose_data.batch(subject_of(config), config, 2, np.random.default_rng(0))
    for truth in some.truths:
        # the camera's third axis, in the patient
        assert truth[2, :3] == pytest.approx(ALONG_VIEW[view], abs=1e-9)
        # the head is up in the picture
        assert truth[1, :3] == pytest.approx((0, 0, -1), abs=1e-9)


def test_around_sees_all_sides_and_any_all_orientations():
    rng = np.random.default_rng(0)
    around, anyhow = (
        np.array([one[2, :3] for one in poses(replace(SMALL, view=view, spread_degrees=1.0), rng)])
        for view in ("around", "any")
    )
    assert np.abs(around[:, 2]).max() < 0.1 and around[:, :2].min() < -0.9 and around[:, :2].max() > 0.9
    assert anyhow[:, 2].min() < -0.7 and anyhow[:, 2].max() > 0.7


def poses(config: PoseConfig, rng: np.random.Generator) -> list[np.ndarray]:
    one = subject_of(config)
    camera = pose_data.camera_of(one, rng)
    return [pose_data.pose_of(one, config, camera, rng) for _ in range(60)]


def test_the_body_is_within_the_depths_that_are_said():
    config = replace(SMALL, near=(0.7, 0.8), spread_degrees=0.0)
    one, rng = subject_of(config), np.random.default_rng(0)
    camera = pose_data.camera_of(one, rng)
    middle = one.box_mm.mean(axis=0)
    depths = [se3.carried(pose_data.pose_of(one, config, camera, rng), middle)[2] for _ in range(40)]
    reach = 0.25 * np.ptp(one.box_mm, axis=0)[1]
    assert min(depths) > 0.7 * camera.focal_mm - reach - 1e-6
    assert max(depths) < 0.8 * camera.focal_mm + reach + 1e-6


def test_points_are_in_bone_apart_from_each_other_and_alike_every_time():
    one, other = subject_of(), subject_of()
    assert np.array_equal(one.points_mm, other.points_mm)
    voxels = np.rint(trunk().grid.voxel(one.points_mm)).astype(int)
    assert (scan().numpy()[tuple(voxels.T)] > 300).all()
    apart = np.linalg.norm(one.points_mm[:, None] - one.points_mm[None], axis=2) + 1e9 * np.eye(len(one.points_mm))
    assert apart.min() > 15.0


def test_a_masked_body_has_its_points_inside():
    body = trunk().with_data(trunk().numpy() * (np.arange(trunk().grid.shape[2]) > 24))
    one = pose_data.subject(trunk(), body, SMALL)
    voxels = np.rint(trunk().grid.voxel(one.points_mm)).astype(int)
    assert (voxels[:, 2] > 24).all()
    # X-rays still show everything
    assert one.whole is trunk()


def test_a_given_camera_takes_the_pictures():
    given = Camera.centred(1000.0, (300, 200), 1.0)
    one = subject_of(camera=given)
    drawn = pose_data.camera_of(one, np.random.default_rng(0))
    assert drawn.size_px == (32, 21)
    assert drawn.focal_mm == pytest.approx(1000.0, rel=0.1)
    assert drawn.pitch_mm[0] * 32 == pytest.approx(300.0)


def test_a_batch_says_where_the_points_are():
    some = pose_data.batch(subject_of(), SMALL, 2, np.random.default_rng(3))
    points = subject_of().points_mm
    for truth, where in zip(some.truths, some.where, strict=True):
        seen = points @ truth[:3, :3].T + truth[:3, 3]
        pixels = seen[:, :2] / seen[:, 2:] * some.camera.focal_mm / np.array(some.camera.pitch_mm[::-1])
        assert pixels_of(where.numpy(), some.camera) == pytest.approx(
            pixels + np.array(some.camera.centre_px), abs=1e-2
        )
    assert set(some.there.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(("points", "said"), [(10_000_000, "too few"), (0, "attenuates")])
def test_a_body_without_anything_to_find_is_refused(points, said):
    body = trunk() if points else trunk().with_data(np.zeros(trunk().grid.shape, np.float32))
    with pytest.raises(BadInput, match=said):
        pose_data.subject(trunk(), body, replace(SMALL, points=points or 8))


# ---------------------------------------------------------------------------------------------------------------------
# What it learns


def test_steps_lower_the_loss_and_the_card_builds_the_network_again(tmp_path):
    logs: list[float] = []
    one = subject_of()
    plan = Plan(steps=60, seed=1)
    state = pose.train(tmp_path, plan, one, SMALL, of={"hash": "h"}, on_step=lambda n, s, log: logs.append(log["loss"]))
    assert np.mean(logs[-15:]) < 0.8 * np.mean(logs[:15])
    card = weights.card(tmp_path)
    network = built(of_record(PointsNetConfig, card["network"]), weights.load(tmp_path))
    assert np.allclose(card["points_mm"], one.points_mm, atol=1e-3) and card["volume"] == {"hash": "h"}
    places = places_of(Camera.centred(1000.0, (32, 32), 9.0))
    pictures = torch.rand(1, 1, 32, 32)
    state.network.load_state_dict(state.averaged)
    assert torch.equal(network(pictures, places), state.network.eval()(pictures, places))


def test_a_training_that_goes_on_ends_like_one_that_did_not_stop(tmp_path):
    whole = pose.train(tmp_path / "whole", Plan(steps=6), subject_of(), SMALL)
    pose.train(tmp_path / "parts", Plan(steps=3), subject_of(), SMALL)
    parts = pose.train(tmp_path / "parts", Plan(steps=6), subject_of(), SMALL)
    assert all(torch.equal(parts.averaged[name], value) for name, value in whole.averaged.items())


def test_points_that_are_not_in_the_picture_are_taught_to_have_no_peak():
    some = pose_data.batch(subject_of(), SMALL, 2, np.random.default_rng(0))
    nowhere = replace(some, there=torch.zeros_like(some.there))
    flat, peaked = torch.zeros(2, 8, *(n // 2 for n in some.camera.size_px)), lean_maps(some.where, some.places)
    costs = []
    for maps in (flat, peaked):
        fixed = torch.log_softmax(maps.flatten(2), 2).reshape(maps.shape).requires_grad_()
        network = torch.nn.Module()
        network.weight = torch.nn.Parameter(torch.zeros(1))
        network.forward = lambda pictures, places, fixed=fixed, network=network: fixed + 0 * network.weight
        costs.append(pose.step(network, nowhere, SMALL)["loss"])
    assert costs[0] < 0.1 * costs[1]


# ---------------------------------------------------------------------------------------------------------------------
# The pose that comes of it


@pytest.mark.parametrize("count", [1, 2])
def test_places_of_all_points_give_the_pose(count):
    camera, rng = Camera.centred(1000.0, (64, 64), 5.0), np.random.default_rng(0)
    one = subject_of(replace(SMALL, points=24), camera)
    first = pose_data.pose_of(one, SMALL, camera, rng)
    from_rig = [np.eye(4), se3.about(np.array([0, 0, 700.0]), np.array([0, 1.2, 0, 0, 0, 0]))][:count]
    poses = [place @ first for place in from_rig]
    network = Knowing(PointsNetConfig(points=24), one.points_mm, poses, camera)
    views = [Projection(np.zeros((64, 64)), camera, place, mask=None) for place in from_rig]
    found = pose_by_points(network, one.points_mm, views).rig_from_patient
    assert np.degrees(se3.angle(found, first)) < 3.0
    apart = one.points_mm @ (found[:3, :3] - first[:3, :3]).T + found[:3, 3] - first[:3, 3]
    assert np.linalg.norm(apart[:, :2], axis=1).mean() < 4.0


def test_a_network_that_finds_nothing_says_so():
    camera = Camera.centred(1000.0, (32, 32), 9.0)
    torch.manual_seed(0)
    with pytest.raises(BadInput, match="too few for a pose"):
        pose_by_points(PointsNet(PointsNetConfig(8, 32)), np.zeros((8, 3)), [Projection(np.zeros((32, 32)), camera)])


def test_weights_of_another_network_are_refused():
    with pytest.raises(BadInput, match="another network"):
        of_record(ProstNetConfig, {"points": 3})
