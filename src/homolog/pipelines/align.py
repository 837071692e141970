"""X-rays and a volume to a pose: the methods by their configs, and `auto`, which trusts no single start.

One rigid body a run. Poses are `rig_from_patient`; the volume is attenuation in 1/mm of what is looked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from homolog import methods
from homolog.projective import seeking
from homolog.projective.climbing import Climb, OnStep
from homolog.projective.configs import AutoConfig
from homolog.projective.judging import alignment
from homolog.projective.scene import Scene
from homolog.space.alignment import Alignment
from homolog.space.projection import Projection
from homolog.space.volume import Volume

# Another end as good as this share of the best one's score, elsewhere: nobody can tell which is right.
RIVAL = 0.8
# Below this likeness at the last look, pictures have hardly an edge in common.
LIKENESS = 0.25


def align(
    volume: Volume,
    projections: Sequence[Projection],
    start: np.ndarray | None,
    config: Any = AutoConfig(),
    *,
    on_step: OnStep | None = None,
) -> Alignment:
    """Where the volume lies in the X-rays, by the method whose config is given.

    start  (4, 4) rig_from_patient; None: it is looked for in all orientations where the cameras look
    """
    names = {methods.resolve(target): name for name, target in methods.PROJECTIVE_OPTIONS.items()}
    work = methods.resolve(methods.PROJECTIVE[names[type(config)]])
    if start is None and not isinstance(config, AutoConfig):
        start = _first_start(volume, projections, config, on_step)
    return work(volume, tuple(projections), start, config, on_step=on_step)


def auto(
    volume: Volume,
    projections: Sequence[Projection],
    start: np.ndarray | None,
    config: AutoConfig = AutoConfig(),
    *,
    on_step: OnStep | None = None,
) -> Alignment:
    """The best of many searches, with what else could be meant."""
    began = time.perf_counter()
    scene = Scene(volume, tuple(projections), config.similarity)
    ends = _searched(scene, start, config, on_step)
    level = scene.level(seeking.LOOKS[-1])
    return alignment(scene, ends[0], level, began, doubts(ends))


def doubts(ends: Sequence[Climb]) -> tuple[str, ...]:
    """What the ends of a search say against its best one."""
    said = []
    best = ends[0].score
    if best < LIKENESS:
        said.append(f"X-ray and projection are hardly alike ({best:.2f} of 1)")
    rivals = [end for end in ends[1:] if end.score > RIVAL * best]
    if rivals:
        said.append(f"another pose is nearly as good ({rivals[0].score:.2f}, this one {best:.2f})")
    return tuple(said)


def _searched(scene: Scene, start: np.ndarray | None, config: AutoConfig, on_step: OnStep | None) -> list[Climb]:
    effort = seeking.EFFORTS[config.effort]
    if start is None:
        # of all orientations there are many more than of those about a start
        effort = replace(effort, glances=5 * effort.glances, climbs=(3 * effort.climbs[0], *effort.climbs[1:]))
        starts = seeking.drawn_anywhere(scene, config, effort.glances)
    else:
        starts = seeking.drawn_about(scene, start, config, effort.glances)
    return seeking.sought(scene, starts, effort, on_step)[0]


def _first_start(volume: Volume, projections: Sequence[Projection], config: Any, on_step: OnStep | None) -> np.ndarray:
    """Where a quick search in all orientations ends, for methods that want a start."""
    seed = getattr(config, "seed", 0)
    scene = Scene(volume, tuple(projections), AutoConfig().similarity)
    return _searched(scene, None, AutoConfig(effort="fast", seed=seed), on_step)[0].pose
