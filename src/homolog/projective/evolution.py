"""A swarm of poses that evolves: CMA-ES (Hansen and Ostermeier, 2001), for similarities with many local maxima."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from homolog.projective.climbing import Climb, OnStep, climbed_through, length_mm, metric
from homolog.projective.configs import CmaesConfig, GradientConfig, Measure
from homolog.projective.judging import alignment
from homolog.projective.mirroring import mirrored
from homolog.projective.scene import Level, Scene
from homolog.space.alignment import Alignment, AlignStep
from homolog.space.projection import Projection
from homolog.space.volume import Volume

# The swarm has settled when its spread carries the body's typical place by less than this share of a voxel.
SETTLED = 0.2


def align(
    volume: Volume,
    projections: Sequence[Projection],
    start: np.ndarray,
    config: CmaesConfig = CmaesConfig(),
    *,
    on_step: OnStep | None = None,
) -> Alignment:
    """Where the volume (attenuation, 1/mm) lies in the X-rays, searched about a start rig_from_patient (4, 4)."""
    began = time.perf_counter()
    scene = Scene.of(volume, projections, config.similarity)
    found = evolved(scene, start, config, on_step)
    last = polishing(config.similarity)
    if config.polish:
        found = climbed_through(scene, [found.pose], last, on_step).after(found.trace)
    stage = last.stages[-1] if config.polish else config.stage
    return alignment(scene, found, scene.level(stage), began, tuple(mirrored(scene, found.pose)))


def polishing(similarity: Measure) -> GradientConfig:
    """The last stages of the gradient's method, without its widest."""
    return GradientConfig(
        similarity=similarity, sizes_px=(64, 128), spacings_mm=(4.0, 2.0), sigmas_px=(1.0, 1.0), radii_px=(9, 9)
    )


def evolved(
    scene: Scene,
    start: np.ndarray,
    config: CmaesConfig,
    on_step: OnStep | None = None,
    score: Callable[[np.ndarray], float] | None = None,
) -> Climb:
    """The best pose that a swarm about the start comes upon; `score` takes another measure of a pose (4, 4)."""
    from cmaes import CMA

    level = scene.level(config.stage)
    judge = score or level.score
    sigma = sigma_of(config)
    swarm = CMA(mean=np.zeros(6), sigma=1.0, population_size=config.population, seed=config.seed)
    best, trace, name = (judge(start), start), [], f"swarm {config.size_px} px"
    trace.append(AlignStep(name, best[0], start))
    for generation in range(config.generations):
        twists = [swarm.ask() for _ in range(config.population)]
        poses = [level.moved(start, sigma * twist) for twist in twists]
        scores = [judge(pose) for pose in poses]
        swarm.tell([(twist, -value) for twist, value in zip(twists, scores, strict=True)])
        top = int(np.argmax(scores))
        if scores[top] > best[0]:
            best = (scores[top], poses[top])
        trace.append(AlignStep(name, *best))
        if on_step:
            on_step(name, (generation + 1) / config.generations, best[0])
        if _settled(level, np.std(twists, axis=0) * sigma, scene.radius_mm) or swarm.should_stop():
            return Climb(best[1], best[0], tuple(trace), True)
    return Climb(best[1], best[0], tuple(trace), False)


def sigma_of(config: CmaesConfig) -> np.ndarray:
    """(6,): the first generation's spread, rad and mm along the first camera's axes."""
    angle = np.radians(config.sigma_degrees)
    return np.array([angle] * 3 + [config.sigma_mm, config.sigma_mm, config.sigma_depth_mm])


def _settled(level: Level, spread: np.ndarray, radius_mm: float) -> bool:
    return length_mm(spread, metric(radius_mm)) < SETTLED * float(level.projector.volume.grid.spacing_mm.min())
