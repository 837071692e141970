"""X-rays and a volume to a pose: methods by their configs; `auto`, which trusts no single start; ProST's phases.

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
from homolog.projective.climbing import Climb, OnStep, climbed_through
from homolog.projective.configs import AutoConfig, CmaesConfig, ProstConfig
from homolog.projective.evolution import evolved, polishing
from homolog.projective.judging import alike
from homolog.projective.looking import looks
from homolog.projective.mirroring import flipped
from homolog.projective.refining import finished
from homolog.projective.scene import Scene
from homolog.space.alignment import Alignment
from homolog.space.projection import Projection
from homolog.space.volume import Volume

# Another end as good as this share of the best one's score, elsewhere: nobody can tell which is right.
RIVAL = 0.8
# The rays of the network's X-rays, in LPS, and how far from them it has seen any (two standard deviations).
BACKWARDS, MOST_DEGREES = np.array([0.0, 1.0, 0.0]), 40.0
# The swarm that follows the network looks less far around it than one that follows a start.
NEAR = CmaesConfig(sigma_degrees=4.0, sigma_mm=6.0, sigma_depth_mm=20.0)


def align(
    volume: Volume,
    projections: Sequence[Projection],
    start: np.ndarray | None,
    config: Any = AutoConfig(),
    *,
    near: np.ndarray | None = None,
    on_step: OnStep | None = None,
) -> Alignment:
    """Where the volume lies in the X-rays, by the method whose config is given.

    start  (4, 4) rig_from_patient; None: it is looked for in all orientations where the cameras look
    near   (3,) mm in the rig: about where the body's middle is, where there is no start
    """
    names = {methods.resolve(target): name for name, target in methods.PROJECTIVE_OPTIONS.items()}
    work = methods.resolve(methods.PROJECTIVE[names[type(config)]])
    if isinstance(config, AutoConfig):
        return auto(volume, projections, start, config, near=near, on_step=on_step)
    if start is None:
        start = _first_start(volume, projections, config, near, on_step)
    return work(volume, tuple(projections), start, config, on_step=on_step)


def auto(
    volume: Volume,
    projections: Sequence[Projection],
    start: np.ndarray | None,
    config: AutoConfig = AutoConfig(),
    *,
    near: np.ndarray | None = None,
    on_step: OnStep | None = None,
) -> Alignment:
    """The best of many searches, with what else could be meant."""
    began = time.perf_counter()
    scene = Scene.of(volume, projections, config.similarity, near)
    ends = seeking.sought(scene, start, config, on_step)
    doubts = [*_rivals(ends), *_mirrored(scene, start, ends[0], config)]
    return finished(scene, ends[0], looks(scene, start)[-1], config, began, doubts, on_step)


def prost(
    volume: Volume,
    projections: Sequence[Projection],
    start: np.ndarray,
    config: ProstConfig = ProstConfig(),
    *,
    on_step: OnStep | None = None,
) -> Alignment:
    """Down the learned similarity until it is flat, then up a measure of likeness (the paper's two phases)."""
    from homolog.projective.prost import LearnedSimilarity, descended
    from homolog.projective.prost_configs import DescentConfig

    began = time.perf_counter()
    doubts = _unseen(projections, start)
    learned = LearnedSimilarity.of(_network(config.weights), volume, projections)
    first = descended(learned, start, replace(DescentConfig(), most_steps=config.most_steps), on_step=on_step)
    found = Climb(first.rig_from_patient, first.score, tuple(first.trace), first.converged)
    last = polishing(AutoConfig().similarity)
    scene = Scene.of(volume, projections, last.similarity)
    if config.then == "cmaes":
        near = replace(NEAR, similarity=last.similarity, seed=config.seed)
        found = evolved(scene, found.pose, near, on_step).after(found.trace)
    if config.then != "none":
        found = climbed_through(scene, [found.pose], last, on_step).after(found.trace)
    return finished(scene, found, last.stages[-1], last, began, doubts, on_step)


def _unseen(projections: Sequence[Projection], start: np.ndarray) -> list[str]:
    """Views of other sides than those that the network was trained on: rays that go from front to back."""
    said = []
    for projection in projections:
        way = (projection.camera_from_rig @ start)[2, :3]
        degrees = float(np.degrees(np.arccos(np.clip(way @ BACKWARDS, -1.0, 1.0))))
        if degrees > MOST_DEGREES:
            said.append(
                f"'{projection.name}' is seen {degrees:.0f} degrees from the front, and the network knows X-rays taken "
                "from the front only: --method auto does without it"
            )
    return said


def _network(name: str) -> Any:
    from homolog import weights
    from homolog.nets import prost as networks

    return networks.built(networks.config_of(weights.card(name)["network"]), weights.load(name))


def _rivals(ends: Sequence[Climb]) -> list[str]:
    """What the other ends of a search say against its best one."""
    best = ends[0].score
    rivals = [end.score for end in ends[1:] if end.score > RIVAL * best]
    return [f"another pose is nearly as good ({rivals[0]:.2f}, this one {best:.2f})"] if rivals else []


def _mirrored(scene: Scene, start: np.ndarray | None, found: Climb, config: AutoConfig) -> list[str]:
    """Whether the mirrored X-rays would show the body, where these do not."""
    if alike(scene, found.pose):
        return []
    other = replace(scene, projections=tuple(flipped(each) for each in scene.projections))
    end = seeking.sought(other, start, replace(config, effort="fast"))[0]
    if not alike(other, end.pose):
        return []
    return ["the X-ray's mirror image shows the body better: is the picture mirrored?"]


def _first_start(
    volume: Volume,
    projections: Sequence[Projection],
    config: Any,
    near: np.ndarray | None,
    on_step: OnStep | None,
) -> np.ndarray:
    """Where a quick search in all orientations ends, for methods that want a start."""
    seed = getattr(config, "seed", 0)
    scene = Scene.of(volume, projections, AutoConfig().similarity, near)
    return seeking.sought(scene, None, AutoConfig(effort="fast", seed=seed), on_step)[0].pose
