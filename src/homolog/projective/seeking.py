"""Many poses, of which ever fewer are looked at ever finer: a search that does not depend on one start being right.

Poses are drawn about the start, or in all orientations where nothing is known. The best by a glance climb at a wide
stage, where pictures are smoothed and patches are large, the best of their ends at a finer one, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homolog.projective.climbing import Climb, OnStep, climb
from homolog.projective.configs import AutoConfig, Stage
from homolog.projective.scene import Level, Scene
from homolog.space import se3
from homolog.space.alignment import AlignStep

# Pixels and smoothing of the four looks; at the first two the smoothing and the patches have the same size on the X-ray
# as 3 and 16 px would have of 64, which were measured to bring poses home from farthest.
GLANCE = Stage(32, 6.0, 1.5, 8)
LOOKS = (Stage(32, 6.0, 1.5, 8), Stage(64, 4.0, 1.0, 9), Stage(128, 2.0, 1.0, 9))
# Poses nearer to each other than this, at the body's typical place, are one.
SAME_MM = (12.0, 6.0, 3.0)


@dataclass(frozen=True)
class Effort:
    """How many poses are glanced at, how many climb at each look, and for how many steps."""

    glances: int
    climbs: tuple[int, int, int]
    steps: tuple[int, int, int] = (15, 30, 40)


EFFORTS = {
    "fast": Effort(60, (6, 2, 1)),
    "usual": Effort(400, (32, 8, 3)),
    "thorough": Effort(2000, (120, 24, 6)),
}


def sought(
    scene: Scene, starts: Sequence[np.ndarray], effort: Effort, on_step: OnStep | None = None
) -> tuple[list[Climb], tuple[AlignStep, ...]]:
    """The ends of the last look, best first and each in a place of its own, and the way of the best one."""
    glance = scene.level(GLANCE)
    poses = best_by(glance, starts, effort.climbs[0]) if len(starts) > effort.climbs[0] else list(starts)
    ways: list[tuple[AlignStep, ...]] = [()] * len(poses)
    ends: list[Climb] = []
    for n, (stage, count, steps) in enumerate(zip(LOOKS, effort.climbs, effort.steps, strict=True)):
        level = scene.level(stage)
        ends = []
        for k, pose in enumerate(poses[:count]):
            end = climb(level, pose, steps, scene.radius_mm)
            ends.append(Climb(end.pose, end.score, ways[k] + end.trace, end.converged))
            if on_step:
                on_step(level.name, (n + (k + 1) / min(count, len(poses))) / len(LOOKS), max(e.score for e in ends))
        ends = distinct(sorted(ends, key=lambda end: -end.score), SAME_MM[n], scene)
        poses, ways = [end.pose for end in ends], [end.trace for end in ends]
    return ends, ends[0].trace


def best_by(level: Level, poses: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """The poses of highest score, best first; the first given one is always among them."""
    scores = np.array([level.score(pose) for pose in poses])
    order = [n for n in np.argsort(-scores, kind="stable") if n != 0][: count - 1]
    return [poses[n] for n in sorted([0, *order], key=lambda n: -scores[n])]


def distinct(ends: Sequence[Climb], same_mm: float, scene: Scene) -> list[Climb]:
    """The ends without those that are near a better one."""
    kept: list[Climb] = []
    for end in ends:
        if all(apart_mm(end.pose, other.pose, scene) > same_mm for other in kept):
            kept.append(end)
    return kept


def apart_mm(one: np.ndarray, other: np.ndarray, scene: Scene) -> float:
    """How far apart two poses put the corners of the body, root mean square, halved: at its typical place."""
    corners = scene.body.grid.corners()
    apart = corners @ (one[:3, :3] - other[:3, :3]).T + (one[:3, 3] - other[:3, 3])
    return float(np.sqrt((apart**2).sum(axis=1).mean()) / 2)


def drawn_about(scene: Scene, start: np.ndarray, config: AutoConfig, count: int) -> list[np.ndarray]:
    """The start, and poses about it, spread evenly over a normal distribution (Sobol's sequence, scrambled)."""
    from scipy.stats import norm, qmc

    level = scene.level(GLANCE)
    angle = np.radians(config.spread_degrees)
    sigma = np.array([angle] * 3 + [config.spread_mm] * 3)
    even = qmc.Sobol(6, seed=config.seed).random(1 << int(np.ceil(np.log2(max(count, 2)))))[: count - 1]
    return [start, *(level.moved(start, sigma * norm.ppf(np.clip(each, 1e-4, 1 - 1e-4))) for each in even)]


def drawn_anywhere(scene: Scene, config: AutoConfig, count: int) -> list[np.ndarray]:
    """Poses in all orientations, where the cameras look: nearest to all optical axes, or on the only one."""
    from scipy.stats import qmc

    even = qmc.Sobol(5, seed=config.seed).random(1 << int(np.ceil(np.log2(max(count, 2)))))[:count]
    shift_mm = config.spread_mm * (2 * even[:, 3:] - 1)
    out = []
    for n, (turn, shift) in enumerate(zip(even[:, :3], shift_mm, strict=True)):
        pose = np.eye(4)
        pose[:3, :3] = _any_rotation(turn)
        place = looked_at(scene, depth_share=(0.6, 0.75, 0.9)[n % 3]) + scene.axes[:, :2] @ shift
        pose[:3, 3] = place - pose[:3, :3] @ scene.pivot_mm
        out.append(pose)
    return out


def looked_at(scene: Scene, depth_share: float = 0.75) -> np.ndarray:
    """(3,) mm in the rig: nearest to all optical axes; for one X-ray at a share of the way to the detector."""
    sources = [-p.camera_from_rig[:3, :3].T @ p.camera_from_rig[:3, 3] for p in scene.projections]
    ways = [p.camera_from_rig[2, :3] for p in scene.projections]
    across = [np.eye(3) - np.outer(way, way) for way in ways]
    held = np.sum(across, axis=0)
    if np.linalg.cond(held) > 1e6:
        return np.asarray(sources[0] + depth_share * scene.projections[0].camera.focal_mm * ways[0])
    return np.linalg.solve(held, np.sum([a @ s for a, s in zip(across, sources, strict=True)], axis=0))


def _any_rotation(even: np.ndarray) -> np.ndarray:
    """(3, 3): a rotation from three numbers 0..1, evenly over all rotations (Shoemake, Graphics Gems III, 1992)."""
    one, two = 2 * np.pi * even[1], 2 * np.pi * even[2]
    less, more = np.sqrt(1 - even[0]), np.sqrt(even[0])
    return se3.rotation_of(np.array([less * np.sin(one), less * np.cos(one), more * np.sin(two), more * np.cos(two)]))
