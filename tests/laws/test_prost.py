"""ProST: its transformer, its network, and going down its similarity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from homolog import Grid, Volume
from homolog.errors import BadInput
from homolog.nets import place_maps
from homolog.nets.configs import LIGHT, PAPER, ProstNetConfig
from homolog.nets.prost import ProstNet, built, config_of
from homolog.nets.shown import standardised
from homolog.projective.leaning import places_of
from homolog.projective.prost import (
    LearnedSimilarity,
    ProjectiveTransformer,
    descend,
    descended,
    shown_volume,
)
from homolog.projective.prost_configs import DescentConfig
from homolog.space import se3, se3_torch
from homolog.space.camera import Camera
from homolog.space.projecting import project
from homolog.space.projection import Projection
from tests.geometry import oblique_grid, smooth_volume

CAMERA = Camera(900.0, (24, 20), (9.0, 11.0), (8.2, 13.1))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks are tiny, and torch's threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def box(grid: Grid, seed: int = 0) -> Volume:
    """Attenuation above 0 in an oblique, anisotropic, left-handed grid."""
    volume = smooth_volume(grid, "patient", seed, 0.02)
    return volume.with_data(np.abs(volume.numpy()) + np.float32(0.005))


def looking_at(point_mm: np.ndarray, depth_mm: float = 600.0, seed: int = 2) -> np.ndarray:
    """camera_from_world: a point on the axis, from an oblique direction."""
    out = np.eye(4)
    out[:3, :3] = se3.rotation_exp(np.random.default_rng(seed).normal(size=3))
    out[:3, 3] = np.array([4.0, -6.0, depth_mm]) - out[:3, :3] @ point_mm
    return out


def centre_of(grid: Grid) -> np.ndarray:
    return grid.corners().mean(axis=0)


BODY = box(oblique_grid((17, 14, 12), (9.0, 13.0, 11.0)))
POSE = looking_at(centre_of(BODY.grid))
# small enough to be quick, and still with every option on
TINY = ProstNetConfig(12.0, 24, (2, 2), (8, 8, 8), "group", True, True, 5, marks=6)


def taken(volume: Volume, pose: np.ndarray, camera: Camera = CAMERA) -> Projection:
    return Projection(project(volume, camera, pose), camera)


def similarity(seed: int = 0, config: ProstNetConfig = TINY, count: int = 1) -> LearnedSimilarity:
    torch.manual_seed(seed)
    rigs = [np.eye(4), se3.about(POSE[:3, 3], np.array([0.1, 1.2, -0.2, 5.0, 3.0, 20.0]))][:count]
    pictures = [Projection(project(BODY, CAMERA, rig @ POSE), CAMERA, rig) for rig in rigs]
    return LearnedSimilarity.of(built(config), BODY, pictures)


# ---------------------------------------------------------------------------------------------------------------------
# The transformer


def test_the_transformer_projects_each_channel_as_a_volume_of_its_own():
    other = box(BODY.grid, seed=5)
    channels = torch.from_numpy(np.stack((BODY.numpy(), other.numpy())))
    poses = np.stack((POSE, looking_at(centre_of(BODY.grid), seed=4)))
    ours = ProjectiveTransformer(BODY.grid, CAMERA)(channels, torch.from_numpy(poses)).numpy()
    for pose, pictures in zip(poses, ours):
        for volume, picture in zip((BODY, other), pictures):
            assert picture == pytest.approx(project(volume, CAMERA, pose), rel=1e-4, abs=1e-5)


def test_the_anatomy_that_faces_the_source_is_not_cut_off():
    # ones in a cube seen along an axis: the central ray runs through its whole side, and a voxel's half at each end
    cube = Volume(np.ones((30, 30, 30), np.float32), Grid.regular((30, 30, 30), 12.0), "cube")
    camera = Camera.centred(1020.0, (1, 1), 1.0)
    pose = np.eye(4)
    pose[:3, 3] = np.array([0, 0, 620.0]) - centre_of(cube.grid)
    seen = ProjectiveTransformer(cube.grid, camera)(torch.ones(1, 30, 30, 30), torch.from_numpy(pose)[None])
    assert float(seen) == pytest.approx(360.0, rel=1e-3)


def test_a_loss_on_the_poses_gradient_can_be_differentiated_by_channels_and_pose():
    grid = oblique_grid((3, 4, 3), (50.0, 40.0, 45.0))
    camera = Camera(900.0, (2, 2), (60.0, 70.0), (0.6, 0.4))
    channels = torch.from_numpy(np.random.default_rng(0).uniform(0.01, 0.03, (2, 3, 4, 3))).requires_grad_()
    pose = torch.from_numpy(looking_at(centre_of(grid)))[None]
    twist = torch.full((1, 6), 1e-2, dtype=torch.float64, requires_grad=True)

    def projected(channels: torch.Tensor, twist: torch.Tensor) -> torch.Tensor:
        return ProjectiveTransformer(grid, camera)(channels, se3_torch.moved(pose, twist))

    assert torch.autograd.gradcheck(projected, (channels, twist), atol=1e-4)
    assert torch.autograd.gradgradcheck(projected, (channels, twist), atol=1e-3)


# ---------------------------------------------------------------------------------------------------------------------
# The network


def test_the_papers_network_has_the_papers_number_of_parameters():
    assert sum(parameter.numel() for parameter in ProstNet(PAPER).parameters()) == 781_723


def test_the_papers_network_adds_to_the_volume_and_keeps_its_size():
    network = ProstNet(PAPER)
    volume = torch.rand(9, 8, 7) * 0.03
    added = network.channels(volume) - volume
    assert added.shape == (3, 9, 8, 7)
    assert float(added.detach().min()) >= -1e-6
    with torch.no_grad():
        assert network.fixed(torch.rand(2, 1, 128, 128), torch.ones(3, 128, 128)).shape == (2, 64, 16, 16)


def test_slabs_change_neither_what_is_added_nor_its_gradient(monkeypatch):
    from homolog.nets import prost

    torch.manual_seed(0)
    network, volume = ProstNet(ProstNetConfig(picture_channels=(8, 8))), torch.rand(34, 9, 10) * 0.03
    found = []
    for voxels in (10**6, 100):
        monkeypatch.setattr(prost, "SLAB_VOXELS", voxels)
        network.zero_grad()
        channels = network.channels(volume)
        (channels * torch.linspace(-1, 1, 34)[:, None, None]).sum().backward()
        found.append([channels, *(one.grad.clone() for one in network.volume_branch.parameters())])
    for whole, cut in zip(*found):
        assert torch.allclose(whole, cut, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [PAPER, LIGHT, TINY])
def test_a_config_survives_its_card(config):
    import json
    from dataclasses import asdict

    assert config_of(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize("config", [LIGHT, TINY])
def test_gain_offset_and_what_is_masked_do_not_matter_to_the_x_ray(config):
    network = built(config)
    camera = Camera.centred(1000.0, (config.pixels, config.pixels), 8.0)
    picture = torch.from_numpy(np.random.default_rng(0).uniform(0, 4, (1, 1, *camera.size_px)).astype(np.float32))
    known = np.ones(camera.size_px, bool)
    known[:, :5] = False
    places = places_of(camera, known)
    other = 3.0 * picture + 7.0
    other[..., :5] = -50.0
    assert torch.allclose(network.fixed(picture, places), network.fixed(other, places), atol=1e-3)
    assert not torch.allclose(network.fixed(picture, places), network.fixed(picture.flip(-1), places), atol=1e-4)


def test_a_constant_x_ray_is_no_number_less():
    seen = standardised(torch.full((1, 1, 8, 8), 3.0), torch.ones(8, 8))
    assert torch.isfinite(seen).all()
    assert float(seen.abs().max()) == 0


@pytest.mark.parametrize("config", [PAPER, LIGHT])
def test_equal_features_are_not_unlike_and_shifted_ones_are(config):
    network, features = built(config), torch.rand(2, 4, 6, 5)
    assert network.unlikeness(features, features).tolist() == [0, 0]
    assert (network.unlikeness(features, features + 1) >= 1).all()


def test_places_are_told_in_rays_and_not_in_pixels():
    # the maps see the picture alone, so that a camera with other pixels sees the same places
    torch.manual_seed(0)
    network = built(TINY)
    fine = Camera(900.0, (24, 20), (9.0, 11.0), (8.2, 13.1))
    longer = Camera(1800.0, (24, 20), (18.0, 22.0), (8.2, 13.1))
    assert torch.allclose(places_of(fine), places_of(longer), atol=1e-6)
    picture = torch.rand(1, 1, 24, 20)
    marks = place_maps.positions(network.fixed_maps(picture, places_of(fine)), places_of(fine))
    low, high = places_of(fine)[:2].flatten(1).min(1).values, places_of(fine)[:2].flatten(1).max(1).values
    assert marks.shape == (1, TINY.marks, 2)
    assert ((marks >= low) & (marks <= high)).all()


def test_no_place_is_found_where_nothing_is_known():
    torch.manual_seed(0)
    network, mask = built(TINY), np.zeros(CAMERA.size_px, bool)
    mask[:, :6] = True
    places = places_of(CAMERA, mask)
    marks = place_maps.positions(network.fixed_maps(torch.rand(1, 1, *CAMERA.size_px), places), places)
    assert (marks[..., 0] < float(places_of(CAMERA)[0, 0, 6])).all()


# ---------------------------------------------------------------------------------------------------------------------
# The similarity


@pytest.mark.parametrize("count", [1, 2])
def test_the_gradient_is_that_of_the_score(count):
    learned = similarity(count=count)
    _, gradient = learned.score_and_gradient(POSE)
    step = np.repeat((2e-4, 0.1), 3)
    ends = [[learned.moved(POSE, s * step * np.eye(6)[n]) for n in range(6)] for s in (1, -1)]
    up, down = (learned.scores(np.stack(poses)) for poses in ends)
    slopes = (up - down) / (2 * step)
    scale = np.linalg.norm(gradient * step)
    # float32 features, central differences of a score that bends where rays leave voxels: a fiftieth of the gradient
    assert gradient * step == pytest.approx(slopes * step, abs=0.02 * scale)


def test_many_poses_at_once_score_as_they_do_alone():
    learned = similarity(count=2)
    poses = np.stack([learned.moved(POSE, 0.1 * n * np.array([1, -1, 0.5, 60, 30, 90])) for n in range(3)])
    assert learned.scores(poses) == pytest.approx([learned.score(pose) for pose in poses], rel=1e-4)
    scores, gradients = learned.scores_and_gradients(poses)
    assert scores == pytest.approx(learned.scores(poses), rel=1e-3)
    assert gradients[1] == pytest.approx(learned.score_and_gradient(poses[1])[1], rel=1e-2, abs=1e-6)


def test_where_the_world_lies_does_not_matter():
    shift = np.eye(4)
    shift[:3, 3] = (900.0, -40.0, 250.0)
    torch.manual_seed(0)
    network = built(TINY)
    here = LearnedSimilarity.of(network, BODY, [taken(BODY, POSE)])
    moved = Volume(BODY.numpy(), Grid(BODY.grid.shape, shift @ BODY.grid.world_from_voxel), "patient")
    there = LearnedSimilarity.of(network, moved, [taken(BODY, POSE)])
    assert there.score(POSE @ np.linalg.inv(shift)) == pytest.approx(here.score(POSE), rel=1e-3)


def test_air_around_the_body_does_not_matter():
    torch.manual_seed(0)
    network = built(TINY)
    padded = Volume(np.pad(BODY.numpy(), 4), BODY.grid.padded(4), "patient")
    plain, wide = (LearnedSimilarity.of(network, each, [taken(BODY, POSE)]) for each in (BODY, padded))
    # the box ends a voxel farther out, so that the volume is sampled at other places
    assert wide.pivot_mm == pytest.approx(plain.pivot_mm, abs=0.5)
    far = plain.moved(POSE, np.array([0.3, -0.2, 0.1, 40.0, 20.0, -30.0]))
    assert wide.score(far) - wide.score(POSE) == pytest.approx(plain.score(far) - plain.score(POSE), rel=0.5)


def test_the_shown_volume_lies_where_the_body_does():
    shown = shown_volume(BODY, TINY)
    assert np.diag(shown.grid.world_from_voxel)[:3] == pytest.approx([12.0] * 3)
    mass = [volume.numpy().sum() * volume.grid.voxel_volume_mm3 for volume in (BODY, shown)]
    assert mass[1] == pytest.approx(mass[0], rel=0.1)
    middles = [
        np.average(volume.grid.points(), axis=0, weights=volume.numpy().ravel().astype(float))
        for volume in (BODY, shown)
    ]
    assert middles[1] == pytest.approx(middles[0], abs=3.0)


# ---------------------------------------------------------------------------------------------------------------------
# The descent


class Bowl:
    """A similarity whose shape is known: the paper's target, less the squared geodesic distance."""

    def __init__(self, truth: np.ndarray, pivot_mm: np.ndarray) -> None:
        self.truth, self.pivot = truth, np.eye(4)
        self.pivot[:3, 3] = pivot_mm

    def moved(self, pose: np.ndarray, twist: np.ndarray) -> np.ndarray:
        pivot = pose[:3, :3] @ self.pivot[:3, 3] + pose[:3, 3]
        return se3.about(pivot, twist) @ pose

    def score_and_gradient(self, pose: np.ndarray) -> tuple[float, np.ndarray]:
        poses = [torch.from_numpy(each @ self.pivot)[None] for each in (pose, self.truth)]
        score = -float(se3_torch.squared_distance(*poses, 135.0))
        return score, se3_torch.descent_direction(*poses)[0].numpy() * np.repeat((2 * 135.0**2, 2.0), 3)


def test_a_convex_similarity_leads_home_from_far_away():
    bowl = Bowl(POSE, centre_of(BODY.grid))
    start = bowl.moved(POSE, np.array([0.4, -0.3, 0.5, 60.0, -40.0, 70.0]))
    found = descended(bowl, start, DescentConfig(most_steps=200))
    apart = np.linalg.inv(POSE) @ found.rig_from_patient
    assert found.converged
    assert np.linalg.norm(se3.rotation_log(apart[:3, :3])) < np.radians(0.5)
    assert found.score == pytest.approx(0, abs=4.0)
    assert found.trace[0].score < found.trace[-1].score


def test_a_descent_never_ends_worse_than_it_began():
    torch.manual_seed(0)
    network = built(TINY)
    learned = LearnedSimilarity.of(network, BODY, [taken(BODY, POSE)])
    start = learned.moved(POSE, np.array([0.2, -0.1, 0.1, 20.0, 10.0, -30.0]))
    said: list[float] = []
    found = descend(
        network,
        BODY,
        taken(BODY, POSE),
        start,
        DescentConfig(most_steps=8),
        on_step=lambda stage, share, score: said.append(share),
    )
    assert found.score >= learned.score(start) - 1e-9
    assert found.score == max(step.score for step in found.trace)
    assert said == sorted(said)
    assert len(said) == len(found.trace)


class Compass(Bowl):
    """A similarity that tells the way, but of the depth only a third."""

    has_ways = True

    def __init__(self, truth: np.ndarray, pivot_mm: np.ndarray, count: int) -> None:
        super().__init__(truth, pivot_mm)
        self.views = (None,) * count
        self.seen = np.array([0.8, 0.8, 0.8, 0.8, 0.8, 0.33])

    def score(self, pose: np.ndarray) -> float:
        return self.score_and_gradient(pose)[0]

    def score_and_way(self, pose: np.ndarray) -> tuple[float, np.ndarray]:
        poses = [torch.from_numpy(each @ self.pivot)[None] for each in (pose, self.truth)]
        return self.score(pose), se3_torch.descent_direction(*poses)[0].numpy() * self.seen

    def deepened(self, pose: np.ndarray, depth_mm: float) -> np.ndarray:
        return self.moved(pose, np.array([0, 0, 0, 0, 0, depth_mm]))


@pytest.mark.parametrize("count", [1, 2])
def test_ways_lead_home_and_from_one_x_ray_the_depth_is_followed_once(count):
    compass = Compass(POSE, centre_of(BODY.grid), count)
    start = compass.moved(POSE, np.array([0.4, -0.3, 0.5, 60.0, -40.0, 70.0]))
    found = descended(compass, start)
    poses = [torch.from_numpy(each @ compass.pivot)[None] for each in (found.rig_from_patient, POSE)]
    left = se3_torch.descent_direction(*poses)[0].numpy()
    assert found.converged
    assert len(found.trace) < 30
    assert np.degrees(np.linalg.norm(left[:3])) < 0.2
    assert np.linalg.norm(left[3:5]) < 0.5
    assert -left[5] == pytest.approx((1 - 0.33) * 70.0 if count == 1 else 0.0, abs=0.5)


def test_a_networks_way_is_what_its_coordinates_differ_by():
    learned = similarity()
    score, way = learned.score_and_way(POSE)
    assert score == pytest.approx(learned.score(POSE), rel=1e-4)
    units = np.repeat((np.radians(TINY.turn_degrees), TINY.shift_mm), 3)
    assert score == pytest.approx(-((way / units) ** 2).sum() / 2, rel=1e-4)


def test_a_deeper_pose_keeps_the_pivots_place_in_the_picture():
    learned = similarity()
    deeper = learned.deepened(POSE, 50.0)
    here, there = (pose[:3, :3] @ learned.pivot_mm + pose[:3, 3] for pose in (POSE, deeper))
    assert there[2] - here[2] == pytest.approx(50.0)
    assert there[:2] / there[2] == pytest.approx(here[:2] / here[2])
    assert deeper[:3, :3] == pytest.approx(POSE[:3, :3])


def test_two_x_rays_tell_the_depth_that_one_does_not():
    learned = similarity(count=2)
    ways = [np.array([0, 0, 0, 3.0, 2.0, 0.0]), np.zeros(6)]
    turned = learned.views[1][3].numpy()[:3, :3]
    # the second view sees a shift along the first one's rays from the side
    ways[1][3:] = turned @ np.array([3.0, 2.0, 20.0])
    ways[1][5] = 0.0
    found = learned.agreed(ways)
    assert found[5] == pytest.approx(20.0, abs=2.0)
    assert found[3:5] == pytest.approx([3.0, 2.0], abs=2.0)


def test_a_thumbnail_is_refused():
    with pytest.raises(BadInput, match="needs"):
        LearnedSimilarity.of(built(LIGHT), BODY, [taken(BODY, POSE, Camera.centred(900.0, (4, 64), 9.0))])
