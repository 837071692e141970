"""ProST: the projective spatial transformer and its learned similarity (Gao et al., MICCAI 2020, arXiv:2003.10987;
Gao et al., IEEE TMI 43:275, 2024).

A volume is made into channels by a small 3D network, and projected; the projection and the X-ray are made into
features by two 2D networks; the mean squared difference of these is L_N, trained so that its gradient points along the
geodesic to the true pose. Going down it brings a pose from far away to where a measure like gradient NCC finds the
rest.

Departures from the paper, and why, are in docs/methods/prost.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from homolog.errors import BadInput
from homolog.nets.configs import ProstNetConfig
from homolog.nets.prost import ProstNet
from homolog.projective.leaning import places_of
from homolog.projective.prost_configs import DescentConfig
from homolog.projective.resizing import resized
from homolog.projective.scene import Solid
from homolog.space import se3, se3_torch
from homolog.space.alignment import AlignStep
from homolog.space.camera import Camera
from homolog.space.grid import Grid
from homolog.space.projecting_torch import project_torch
from homolog.space.projection import Projection
from homolog.space.sampling import resample
from homolog.space.volume import Volume

OnStep = Callable[[str, float, float], None]

# How much a view's ways count beside another's, about its camera's axes and along them: turns in the picture are seen
# best, and shifts along the rays hardly.
TURNS_SEEN, SHIFTS_SEEN = np.array((0.5, 0.5, 1.0)), np.array((1.0, 1.0, 0.02))
# Air around what attenuates, in voxels, so that a projection fades where the volume ends.
MARGIN = 1


class ProjectiveTransformer(nn.Module):
    """Projects any number of channels; differentiable twice to the pose and to the channels.

    grid    of the channels, LPS mm
    camera  what takes the pictures; its source, detector and pixels are in mm
    """

    def __init__(self, grid: Grid, camera: Camera, method: str = "trilinear", step_mm: float | None = None) -> None:
        super().__init__()
        self.grid, self.camera, self.method, self.step_mm = grid, camera, method, step_mm

    def forward(self, channels: torch.Tensor, camera_from_world: torch.Tensor) -> torch.Tensor:
        """(N, C, rows, columns) line integrals of channels (C, I, J, K) from poses (N, 4, 4)."""
        return project_torch(
            channels,
            self.grid.world_from_voxel,
            self.camera,
            camera_from_world,
            method=self.method,
            step_mm=self.step_mm,
        )


# ---------------------------------------------------------------------------------------------------------------------
# What the network is shown


def shown_volume(body: Volume, config: ProstNetConfig) -> Volume:
    """The volume (attenuation, 1/mm) along LPS with the network's voxels, around what attenuates."""
    low, high = body.grid.bounds()
    shape = np.ceil((high - low) / config.spacing_mm).astype(int) + 2 * MARGIN
    origin = (low + high) / 2 - (shape - 1) / 2 * config.spacing_mm
    return resample(body, Grid.regular(shape.tolist(), config.spacing_mm, origin), outside=0.0)


def unlikenesses(
    network: ProstNet,
    channels: torch.Tensor,
    transformer: ProjectiveTransformer,
    fixed: torch.Tensor,
    places: torch.Tensor,
    poses: torch.Tensor,
) -> torch.Tensor:
    """(N,): L_N of poses camera_from_world (N, 4, 4), against features of X-rays (1 or N, C, rows, columns)."""
    projections = transformer(channels, poses)
    return network.unlikeness(network.moving(projections, places), fixed)


# ---------------------------------------------------------------------------------------------------------------------
# The similarity, for a search


@dataclass(frozen=True, eq=False)
class LearnedSimilarity:
    """A volume and X-rays as a trained network sees them; larger is better, as of all measures.

    Poses and twists are those of `projective.scene`.

    channels  (C, I, J, K) to be projected
    views     of each X-ray: what projects, features, places, and camera_from_rig
    pivot_mm  (3,) patient LPS mm
    axes      (3, 3) the first camera's axes in the rig, as columns
    """

    network: ProstNet
    channels: torch.Tensor
    views: tuple[tuple[ProjectiveTransformer, torch.Tensor, torch.Tensor, torch.Tensor], ...]
    pivot_mm: np.ndarray
    axes: np.ndarray
    name: str = "learned"

    @classmethod
    def of(cls, network: ProstNet, volume: Volume, projections: Sequence[Projection]) -> LearnedSimilarity:
        """Of a volume (attenuation, 1/mm; the one body that is looked for) and X-rays, on the network's device."""
        solid = Solid(volume)
        device = next(network.parameters()).device
        shown = shown_volume(solid.body, network.config)
        with torch.no_grad():
            channels = network.channels(torch.as_tensor(shown.numpy(), device=device))
            views = tuple(_view(network, shown.grid, one, device) for one in projections)
        return cls(network, channels, views, solid.pivot_mm, projections[0].camera_from_rig[:3, :3].T)

    def moved(self, rig_from_patient: np.ndarray, twist: np.ndarray) -> np.ndarray:
        """(4, 4): the pose after a twist (6,)."""
        return se3.about(se3.carried(rig_from_patient, self.pivot_mm), twist, self.axes) @ rig_from_patient

    def score(self, rig_from_patient: np.ndarray) -> float:
        """Minus L_N, the mean over the X-rays."""
        return float(self.scores(rig_from_patient[None])[0])

    def scores(self, rig_from_patient: np.ndarray) -> np.ndarray:
        """(N,): of poses (N, 4, 4), in one pass."""
        with torch.no_grad():
            return -self._unlikenesses(torch.as_tensor(rig_from_patient)).double().cpu().numpy()

    def score_and_gradient(self, rig_from_patient: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus L_N, and its change (6,) by a twist, per rad and per mm."""
        scores, gradients = self.scores_and_gradients(rig_from_patient[None])
        return float(scores[0]), gradients[0]

    def scores_and_gradients(self, rig_from_patient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) and (N, 6): of poses (N, 4, 4), in one pass."""
        poses = torch.as_tensor(rig_from_patient)
        twists = torch.zeros((len(poses), 6), dtype=torch.float64, requires_grad=True)
        values = self._unlikenesses(self._moved(poses, twists))
        (slopes,) = torch.autograd.grad(values.sum(), twists)
        return -values.detach().double().cpu().numpy(), -slopes.numpy()

    @property
    def has_ways(self) -> bool:
        """Whether the network has coordinates that tell the way by themselves."""
        return bool(self.network.config.marks)

    def score_and_way(self, rig_from_patient: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus L_N, and the twist (6,) by which the coordinates of projections and X-rays differ.

        Training makes them differ by the way to the truth, so that this is Newton's step, and needs no gradient.
        """
        scores, ways = [], []
        for transformer, fixed, places, camera_from_rig in self.views:
            pose = (camera_from_rig @ torch.as_tensor(rig_from_patient))[None].to(self.channels.device)
            with torch.no_grad():
                moving = self.network.moving(transformer(self.channels, pose), places)
            scores.append(-float(self.network.unlikeness(moving, fixed)))
            ways.append(self._twist((fixed - moving)[0].double().cpu().numpy()))
        return float(np.mean(scores)), self.agreed(ways)

    def _twist(self, apart: np.ndarray) -> np.ndarray:
        """(6,): differences of coordinates in rad and mm, along the camera's axes."""
        config = self.network.config
        return apart * np.repeat((np.radians(config.turn_degrees), config.shift_mm), 3) / (len(apart) / 2) ** 0.5

    def agreed(self, ways: Sequence[np.ndarray]) -> np.ndarray:
        """(6,) along the first camera's axes: of each view's way, what is seen from the side counts least."""
        out = np.zeros(6)
        for part, weights in ((slice(0, 3), TURNS_SEEN), (slice(3, 6), SHIFTS_SEEN)):
            total, mixed = np.zeros((3, 3)), np.zeros(3)
            for way, (*_, camera_from_rig) in zip(ways, self.views, strict=True):
                turned = (camera_from_rig.numpy()[:3, :3] @ self.axes).T
                total += turned @ np.diag(weights) @ turned.T
                mixed += turned @ (weights * way[part])
            out[part] = np.linalg.solve(total, mixed)
        return out

    def deepened(self, rig_from_patient: np.ndarray, depth_mm: float) -> np.ndarray:
        """(4, 4): farther from the first camera by a depth, along the ray through the pivot."""
        pivot = se3.carried(self.views[0][3].numpy() @ rig_from_patient, self.pivot_mm)
        shift = pivot * max(depth_mm / pivot[2], -0.5)
        return self.moved(rig_from_patient, np.concatenate((np.zeros(3), shift)))

    def _moved(self, poses: torch.Tensor, twists: torch.Tensor) -> torch.Tensor:
        about_pivot = torch.eye(4, dtype=torch.float64)
        about_pivot[:3, 3] = torch.as_tensor(self.pivot_mm)
        axes = torch.as_tensor(self.axes)
        along = torch.cat((twists[:, :3] @ axes.T, twists[:, 3:] @ axes.T), 1)
        return se3_torch.moved(poses @ about_pivot, along) @ torch.linalg.inv(about_pivot)

    def _unlikenesses(self, rig_from_patient: torch.Tensor) -> torch.Tensor:
        total = []
        for transformer, fixed, places, camera_from_rig in self.views:
            poses = (camera_from_rig @ rig_from_patient).to(self.channels.device)
            total.append(unlikenesses(self.network, self.channels, transformer, fixed, places, poses).cpu())
        return torch.stack(total).mean(0)


def _view(network: ProstNet, grid: Grid, projection: Projection, device: torch.device) -> tuple:
    small = resized(projection, network.config.pixels)
    least = 2 ** (len(network.config.picture_channels) - 1)
    if min(small.camera.size_px) < least:
        raise BadInput(
            f"'{projection.name}' has {projection.camera.size_px} pixels; the network needs {least} along each side",
            "give the X-ray as it was taken, not a thumbnail",
        )
    places = places_of(small.camera, small.mask).to(device)
    picture = torch.as_tensor(small.data, device=device)[None, None]
    camera_from_rig = torch.as_tensor(projection.camera_from_rig)
    return ProjectiveTransformer(grid, small.camera), network.fixed(picture, places), places, camera_from_rig


# ---------------------------------------------------------------------------------------------------------------------
# The first phase


@dataclass(frozen=True, eq=False)
class Descent:
    """Where the descent ended.

    rig_from_patient  (4, 4): the best pose on the way
    score             minus L_N there
    converged         whether it had become flat
    """

    rig_from_patient: np.ndarray
    score: float
    trace: tuple[AlignStep, ...]
    converged: bool


def descend(
    network: ProstNet,
    volume: Volume,
    projections: Sequence[Projection] | Projection,
    start: np.ndarray,
    config: DescentConfig = DescentConfig(),
    *,
    on_step: OnStep | None = None,
) -> Descent:
    """From a start rig_from_patient (4, 4) down the learned similarity until it is flat."""
    views = (projections,) if isinstance(projections, Projection) else tuple(projections)
    return descended(LearnedSimilarity.of(network, volume, views), start, config, on_step=on_step)


def descended(
    learned: LearnedSimilarity,
    start: np.ndarray,
    config: DescentConfig = DescentConfig(),
    *,
    on_step: OnStep | None = None,
) -> Descent:
    """The descent of a similarity that is ready: by ways where it knows them, else along its gradient."""
    if getattr(learned, "has_ways", False):
        return _along_ways(learned, start, config, on_step)
    return _along_gradients(learned, start, config, on_step)


def _along_ways(
    learned: LearnedSimilarity, start: np.ndarray, config: DescentConfig, on_step: OnStep | None
) -> Descent:
    """By Newton's steps.

    From one X-ray the depth is told worst, and is not followed step by step: what the network says of it is short, as
    little as it knows, and going on until it says nothing more would make it long again.
    """
    pose, trace, ways = start, list[AlignStep](), list[np.ndarray]()
    seen = np.array([1, 1, 1, 1, 1, len(learned.views) > 1])
    for step in range(config.most_steps):
        score, way = learned.score_and_way(pose)
        trace.append(AlignStep("descent", score, pose))
        ways.append(way)
        if on_step:
            on_step("descent", (step + 1) / config.most_steps, score)
        if _still(way * seen, config):
            break
        pose = learned.moved(pose, _shortened(way * seen, config))
    n = int(np.argmax([one.score for one in trace]))
    deeper = learned.deepened(trace[n].rig_from_patient, ways[n][5]) if len(learned.views) == 1 else pose
    trace.append(AlignStep("descent", learned.score(deeper), deeper))
    if on_step:
        on_step("descent", 1.0, trace[-1].score)
    best = max(trace, key=lambda one: one.score)
    return Descent(best.rig_from_patient, best.score, tuple(trace), _still(ways[-1] * seen, config))


def _still(way: np.ndarray, config: DescentConfig) -> bool:
    turn, shift = np.linalg.norm(way[:3]), np.linalg.norm(way[3:])
    return bool(turn < np.radians(config.still_degrees) and shift < config.still_mm)


def _shortened(way: np.ndarray, config: DescentConfig) -> np.ndarray:
    """(6,): far from what it has seen a network may ask for anything."""
    longest = np.radians(config.longest_degrees), config.longest_mm
    parts = (way[:3], way[3:])
    return np.concatenate(
        [part * min(1.0, long / max(np.linalg.norm(part), 1e-30)) for part, long in zip(parts, longest)]
    )


def _along_gradients(
    learned: LearnedSimilarity, start: np.ndarray, config: DescentConfig, on_step: OnStep | None
) -> Descent:
    """Training fixes the gradient's direction, apart for turning and for shifting, and not its length.

    So a step has the direction of the gradient and a length of its own, which shrinks when nothing better is found.
    """
    pose, share, speed, waited = start, 1.0, np.zeros(6), 0
    best_score, best = -np.inf, start
    trace: list[AlignStep] = []
    for step in range(config.most_steps):
        score, gradient = learned.score_and_gradient(pose)
        trace.append(AlignStep("descent", score, pose))
        if on_step:
            on_step("descent", (step + 1) / config.most_steps, score)
        waited = 0 if score > best_score else waited + 1
        if score > best_score:
            best_score, best = score, pose
        if waited >= config.patience:
            # back to the best place, more carefully
            share, pose, waited, speed = share / 2, best, 0, np.zeros(6)
            if share < config.flat:
                return Descent(best, best_score, tuple(trace), True)
            _, gradient = learned.score_and_gradient(pose)
        speed = config.momentum * speed + (1 - config.momentum) * _uphill(gradient, config)
        pose = learned.moved(pose, share * speed)
    return Descent(best, best_score, tuple(trace), False)


def _uphill(gradient: np.ndarray, config: DescentConfig) -> np.ndarray:
    """(6,): the directions of turning and of shifting, with their strides."""
    lengths = (np.linalg.norm(gradient[:3]), np.linalg.norm(gradient[3:]))
    turn = gradient[:3] / max(lengths[0], 1e-30) * np.radians(config.stride_degrees)
    shift = gradient[3:] / max(lengths[1], 1e-30) * config.stride_mm
    return np.concatenate((turn, shift))
