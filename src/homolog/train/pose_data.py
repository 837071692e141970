"""What a network learns from that finds one volume's points: X-rays of that volume, from where it may be seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from homolog.errors import BadInput
from homolog.projective.leaning import places_of, points_in
from homolog.projective.scene import at_spacing
from homolog.space import se3
from homolog.space.attenuation import linear_attenuation
from homolog.space.camera import Camera
from homolog.space.projecting import Projector
from homolog.space.volume import Volume
from homolog.train.configs import PoseConfig
from homolog.train.prost_data import exposed, from_the_front

# C-arms and Bucky tables, where no camera is given: mm from source to detector, mm along the detector's longer side,
# and the shorter side's share of it.
FOCAL_MM, DETECTOR_MM, ASPECT = (900.0, 1200.0), (250.0, 430.0), (0.75, 1.0)
# A camera that is given may be known this well only, of its focal length.
FOCAL_SHARE = 0.02
# Rays aim at the middle of the body, give or take this share of its box along each axis.
AIMED = 0.25
# Bone is what attenuates more than water by this; points are put there, if there is so much of it, in voxels.
BONE, LEAST_BONE = 1.3, 200
# Points are spread over a drawn subset of the body's voxels, so many for each, in the inner part of its box: of what is
# farther out an X-ray often shows nothing.
DRAWN, INNER = 500, 0.75
# How the source stands to the patient, as turns about his long axis from the front.
SIDES = {"front": 0.0, "back": np.pi, "left": -np.pi / 2, "right": np.pi / 2}


@dataclass(frozen=True, eq=False)
class Subject:
    """The volume.

    whole      attenuation of everything, 1/mm
    points_mm  (M, 3) LPS mm, what the network finds
    box_mm     (2, 3) LPS mm: the body's lowest and highest corner
    camera     what takes the X-rays, with as many pixels as the network is shown; None: any C-arm
    pixels     along their longer side
    """

    whole: Volume
    points_mm: np.ndarray
    box_mm: np.ndarray
    camera: Camera | None
    pixels: int

    @cached_property
    def projector(self) -> Projector:
        """Voxels as large as pixels are at a body that magnifies by a third."""
        camera = self.camera
        width = float(np.mean(DETECTOR_MM)) if camera is None else max(np.multiply(camera.size_px, camera.pitch_mm))
        return Projector(at_spacing(self.whole, 0.75 * width / self.pixels))


@dataclass(frozen=True, eq=False)
class Batch:
    """X-rays of one camera.

    pictures  (N, 1, rows, columns) float32
    places    (3, rows, columns), see `places_of`
    where     (N, M, 2) the points, as places are given; there (N, M): 1 where they are in the picture, else 0
    truths    (N, 4, 4) camera_from_patient
    """

    pictures: torch.Tensor
    places: torch.Tensor
    where: torch.Tensor
    there: torch.Tensor
    truths: np.ndarray
    camera: Camera
    mask: np.ndarray


def subject(whole: Volume, body: Volume, config: PoseConfig, camera: Camera | None = None, seed: int = 0) -> Subject:
    """Points in the body's bone, or all over it where it has none.

    whole  attenuation, 1/mm, of all that X-rays show
    body   of what a pose is wanted of, on the same grid
    """
    data = body.numpy()
    if not data.max() > 0:
        raise BadInput(f"nothing of '{body.space}' attenuates", "another mask")
    bony = data > BONE * linear_attenuation("water", 70.0)
    inside = np.argwhere(bony if bony.sum() >= LEAST_BONE else data > 0.05 * data.max())
    if len(inside) < config.points:
        raise BadInput(f"'{body.space}' has {len(inside)} voxels, too few for {config.points} points", "--points 8")
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(inside), min(len(inside), DRAWN * config.points), replace=False)
    points = body.grid.world(inside[drawn].astype(float))
    box = np.stack((points.min(axis=0), points.max(axis=0)))
    small = None
    if camera is not None:
        factor = min(1.0, config.pixels / max(camera.size_px))
        rows, columns = (max(1, round(n * factor)) for n in camera.size_px)
        small = camera.resized((rows, columns))
    inner = (np.abs(points - box.mean(axis=0)) <= INNER * np.ptp(box, axis=0) / 2).all(axis=1)
    points = points[inner] if inner.sum() >= config.points else points
    return Subject(whole, apart(points, config.points), box, small, config.pixels)


def apart(points: np.ndarray, count: int) -> np.ndarray:
    """(count, 3): of points, some that are far from each other, each the farthest from those before it."""
    chosen = [int(np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1)))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]


def batch(subject: Subject, config: PoseConfig, count: int, rng: np.random.Generator) -> Batch:
    """Some X-rays of the volume, by one drawn camera and exposure."""
    camera = camera_of(subject, rng)
    truths = [pose_of(subject, config, camera, rng) for _ in range(count)]
    taken, mask = exposed(subject.projector, camera, truths, rng)
    places = places_of(camera, mask)
    poses = torch.from_numpy(np.array(truths))
    where, there = points_in(torch.from_numpy(subject.points_mm), poses, camera, places[2])
    pictures = torch.from_numpy(taken)[:, None]
    return Batch(pictures, places, where, there, np.array(truths), camera, mask)


def camera_of(subject: Subject, rng: np.random.Generator) -> Camera:
    """The one that is given, whose focal length may be a little off; else a drawn one."""
    if subject.camera is not None:
        focal = subject.camera.focal_mm * (1 + FOCAL_SHARE * rng.normal())
        return replace(subject.camera, focal_mm=float(focal))
    long, short = subject.pixels, max(1, round(subject.pixels * rng.uniform(*ASPECT)))
    size = (long, short) if rng.uniform() < 0.5 else (short, long)
    return Camera.centred(rng.uniform(*FOCAL_MM), size, rng.uniform(*DETECTOR_MM) / long)


def pose_of(subject: Subject, config: PoseConfig, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """(4, 4) camera_from_patient: the body somewhere near the axis, seen as the view says."""
    low, high = subject.box_mm
    aim = (low + high) / 2 + AIMED * (high - low) * rng.uniform(-1, 1, 3)
    depth = camera.focal_mm * rng.uniform(*config.near)
    out = from_the_front(_side(config, rng), depth)
    if config.view == "any":
        turn = se3.rotation_of(rng.normal(size=4))
    else:
        turn = se3.rotation_exp(np.radians(config.spread_degrees) * rng.normal(size=3))
    out[:3, :3] = turn @ out[:3, :3]
    out[:3, 3] -= out[:3, :3] @ aim
    return out


def _side(config: PoseConfig, rng: np.random.Generator) -> float:
    if config.view in SIDES:
        return float(SIDES[config.view])
    return float(rng.uniform(-np.pi, np.pi))
