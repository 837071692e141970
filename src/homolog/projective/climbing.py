"""From a pose uphill to the nearest best one, coarse to fine.

Measures of the correlation family are sums of squares: 1 - NCC = |a - b|^2 / 2 of normalised pictures. So first
derivatives give their curvature too, and steps are those of Levenberg and Marquardt. All others, and the correlations
where plain ascent is asked for, go along the gradient, as far as it pays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from homolog.projective import similarity
from homolog.projective.configs import GradientConfig
from homolog.projective.scene import Level, Scene
from homolog.projective.similarity import Quadratic
from homolog.space.alignment import Alignment, AlignStep
from homolog.space.projection import Projection
from homolog.space.volume import Volume

OnStep = Callable[[str, float, float], None]
State = TypeVar("State")

# A step that moves the body's typical place by less than this share of a voxel of its level is the last one.
STILL = 0.01
# So do steps in a row that each gain less than this: a ridge so flat is not the pictures' but their pixels'.
LEAST_GAIN, IDLE = 1e-5, 3
# A trust region's first damping, how it changes after a good and a bad step, and when there is nothing left to gain.
DAMPING, BETTER, WORSE, HOPELESS = 1e-2, 0.3, 5.0, 1e6
# Ascent: how far its first step carries the body's typical place, in voxels of the level.
STRIDE = 4.0


@dataclass(frozen=True, eq=False)
class Climb:
    """Where a climb ended: the pose, its score, the way there, and whether it stood still."""

    pose: np.ndarray
    score: float
    trace: tuple[AlignStep, ...]
    converged: bool

    def after(self, before: tuple[AlignStep, ...]) -> Climb:
        """The same end, with the way that led to its beginning."""
        return replace(self, trace=before + self.trace)


def align(
    volume: Volume,
    projections: Sequence[Projection],
    start: np.ndarray,
    config: GradientConfig = GradientConfig(),
    *,
    on_step: OnStep | None = None,
) -> Alignment:
    """Where the volume (attenuation, 1/mm) lies in the X-rays, from a start rig_from_patient (4, 4).

    Of several starts the one that is best at the coarsest level goes on to the finer ones.
    """
    began = time.perf_counter()
    scene = Scene.of(volume, projections, config.similarity)
    poses = [start, *drawn(scene, start, config)]
    found = climbed_through(scene, poses, config, on_step)
    from homolog.projective.refining import finished

    return finished(scene, found, config.stages[-1], config, began, on_step=on_step)


def climbed_through(
    scene: Scene, poses: Sequence[np.ndarray], config: GradientConfig, on_step: OnStep | None = None
) -> Climb:
    """The best of some poses, climbed level by level."""
    trace: list[AlignStep] = []
    best = Climb(poses[0], -np.inf, (), False)
    for depth, stage in enumerate(config.stages):
        level = scene.level(stage)
        begun = list(poses) if depth == 0 else [best.pose]
        if depth == 1:
            # a wide stage leads whole bodies home from afar and a cut-out bone astray: the start stays in the race
            begun.append(poses[0])
        ends = []
        for n, pose in enumerate(begun):
            name = f"{level.name}, start {n + 1}" if len(begun) > 1 else level.name
            ends.append(climb(level, pose, config.most_steps, scene.radius_mm, steps=config.steps, name=name))
            if on_step:
                on_step(name, (depth + (n + 1) / len(begun)) / len(config.stages), ends[-1].score)
        ends = sorted(ends, key=lambda end: end.score)
        trace += [step for end in ends for step in end.trace]
        best = ends[-1]
    return Climb(best.pose, best.score, tuple(trace), best.converged)


def climb(
    level: Level,
    pose: np.ndarray,
    most_steps: int,
    radius_mm: float,
    *,
    steps: str = "marquardt",
    name: str | None = None,
) -> Climb:
    """Uphill at one level until it stands still."""
    second_order = steps == "marquardt" and similarity.MEASURES[level.views[0].measure.name].second
    way = _marquardt if second_order else _ascent
    return way(level, pose, most_steps, radius_mm, name or level.name)


def _marquardt(level: Level, pose: np.ndarray, most_steps: int, radius_mm: float, name: str) -> Climb:
    still = STILL * float(level.projector.volume.grid.spacing_mm.min())
    way = marquardt(level.quadratic, level.moved, pose, metric(radius_mm), most_steps, still)
    trace = tuple(AlignStep(name, score, state) for score, state in zip(way.scores, way.states, strict=True))
    return Climb(way.states[-1], way.scores[-1], trace, way.converged)


@dataclass(frozen=True, eq=False)
class Way(Generic[State]):
    """The states on a way up, with their scores, each better than the one before; and whether it came to an end."""

    states: tuple[State, ...]
    scores: tuple[float, ...]
    converged: bool


def marquardt(
    quadratic: Callable[[State], Quadratic],
    moved: Callable[[State, np.ndarray], State],
    state: State,
    size: np.ndarray,
    most_steps: int,
    still_mm: float,
) -> Way[State]:
    """Levenberg and Marquardt's way up from a state, whatever its numbers are.

    moved     a state after a step (n,)
    size      (n,) mm^2: what the squares of a step's numbers count
    still_mm  a step that is shorter is the last one
    """
    here = quadratic(state)
    states, scores, damping, idle = [state], [here.value], DAMPING, 0
    for _ in range(most_steps):
        step = _damped(here.curvature, here.gradient, damping, size)
        if not step.any():
            return Way(tuple(states), tuple(scores), True)
        tried = moved(states[-1], step)
        there = quadratic(tried)
        if there.value > here.value:
            idle = idle + 1 if there.value - here.value < LEAST_GAIN else 0
            here, damping = there, max(damping * BETTER, 1e-6)
            states.append(tried)
            scores.append(there.value)
        else:
            damping *= WORSE
        if length_mm(step, size) < still_mm or damping > HOPELESS or idle == IDLE:
            return Way(tuple(states), tuple(scores), True)
    return Way(tuple(states), tuple(scores), False)


def _ascent(level: Level, pose: np.ndarray, most_steps: int, radius_mm: float, name: str) -> Climb:
    """Along the gradient by the metric in which a turn counts as far as it moves the body's typical place."""
    voxel_mm = float(level.projector.volume.grid.spacing_mm.min())
    stride = STRIDE * voxel_mm
    score, gradient = level.score_and_gradient(pose)
    trace = [AlignStep(name, score, pose)]
    for _ in range(most_steps):
        direction = _uphill(gradient, radius_mm)
        if not direction.any():
            return Climb(pose, score, tuple(trace), True)
        tried = level.moved(pose, stride * direction)
        there, slope = level.score_and_gradient(tried)
        if there > score:
            # two steps that agree can be longer, two that do not overshot
            agree = float(_uphill(slope, radius_mm) @ (metric(radius_mm) * direction))
            pose, score, gradient = tried, there, slope
            stride *= 1.5 if agree > 0.5 else (1.0 if agree > -0.2 else 0.5)
            trace.append(AlignStep(name, score, pose))
        else:
            stride *= 0.4
        if stride < STILL * voxel_mm:
            return Climb(pose, score, tuple(trace), True)
    return Climb(pose, score, tuple(trace), False)


def metric(radius_mm: float) -> np.ndarray:
    """(6,) mm^2: what the squares of a twist's parts count, a turn as far as it moves the body's typical place."""
    return np.array([radius_mm**2] * 3 + [1.0] * 3)


def length_mm(step: np.ndarray, size: np.ndarray) -> float:
    """How far a step (n,) moves the body's typical place, by what its numbers' squares count (n,)."""
    return float(np.sqrt((size * step**2).sum()))


def drawn(scene: Scene, start: np.ndarray, config: GradientConfig) -> list[np.ndarray]:
    """Further starts about a pose, the given one not among them."""
    rng = np.random.default_rng(config.seed)
    level = scene.level(config.stages[0])
    angle = np.radians(config.spread_degrees)
    sigma = np.array([angle] * 3 + [config.spread_mm, config.spread_mm, 2 * config.spread_mm])
    return [level.moved(start, sigma * rng.normal(size=6)) for _ in range(config.starts - 1)]


def _damped(curvature: np.ndarray, gradient: np.ndarray, damping: float, size: np.ndarray) -> np.ndarray:
    """(n,): the step of a quadratic, shorter where it is damped; what the pictures do not see stays as it is."""
    scale = float(np.max(np.diag(curvature) / size, initial=0.0))
    if scale <= 0:
        return np.zeros(len(size))
    held = curvature + damping * np.diag(np.maximum(np.diag(curvature), 1e-3 * scale * size))
    return np.asarray(np.linalg.solve(held, gradient))


def _uphill(gradient: np.ndarray, radius_mm: float) -> np.ndarray:
    """(6,): the steepest way up, 1 mm long; zero on a plain."""
    direction = gradient / metric(radius_mm)
    length = length_mm(direction, metric(radius_mm))
    return direction / length if length > 0 else np.zeros(6)
