"""Many poses, of which ever fewer are looked at ever finer: a search that does not depend on one start being right.

Orientations and depths are drawn about the start, or all of them where nothing is known, and glanced at (`glancing`).
The best of these climb at a coarse stage, the best of their ends at a fine one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from homolog.projective.climbing import Climb, OnStep, climb
from homolog.projective.configs import AutoConfig, Stage
from homolog.projective.glancing import Glance, Glimpse, glances, glimpses
from homolog.projective.judging import alike
from homolog.projective.looking import looked_at, looks, pivot_at
from homolog.projective.scene import Scene
from homolog.space import se3

# Poses nearer to each other than this, at the body's typical place, are one.
SAME_MM = (4.0, 2.0, 1.0)
# Shares of the way to the detector at which a body is looked for whose depth nobody knows.
DEPTHS = (0.55, 0.65, 0.75, 0.85, 0.95)


@dataclass(frozen=True)
class Effort:
    """How many orientations are glanced at, how many climb at each look, for how many steps, and how often at most."""

    glances: int
    climbs: tuple[int, ...]
    rounds: int
    steps: tuple[int, ...] = (15, 60, 40)

    def times(self, factor: int) -> Effort:
        return replace(self, glances=factor * self.glances, climbs=(factor * self.climbs[0], *self.climbs[1:]))


EFFORTS = {
    "fast": Effort(256, (10, 2, 1), 1),
    "usual": Effort(1024, (32, 4, 2), 3),
    "thorough": Effort(4096, (96, 8, 4), 3),
}
# How many of the best are glanced at again, turned and shifted a little, and by how much (one standard deviation).
AGAIN, NEARBY, NEARBY_SHARE = 48, 8, 0.3
# Of the body's typical place, how far apart two poses must put it to be worth a climb each.
APART = 0.1
# All orientations are so many times more than those about a start.
ANYWHERE = 6


def sought(
    scene: Scene,
    start: np.ndarray | None,
    config: AutoConfig,
    on_step: OnStep | None = None,
    further: Sequence[np.ndarray] = (),
) -> list[Climb]:
    """The ends of the last look, best first, each in a place of its own; the start itself always climbs too.

    As long as nothing is alike, other orientations are drawn, as many again as so far.

    further  poses (4, 4) that something else proposes
    """
    effort = EFFORTS[config.effort]
    ends: list[Climb] = []
    for again in range(effort.rounds):
        drawn = replace(config, seed=config.seed + again)
        more = effort.times(2 ** max(0, again - 1))
        ends = merged([*ends, *_round(scene, start, drawn, more, further, on_step)], scene)
        if alike(scene, ends[0].pose):
            break
    return ends


def merged(ends: Sequence[Climb], scene: Scene) -> list[Climb]:
    return distinct(sorted(ends, key=_worst_last), SAME_MM[-1], scene)


def _round(
    scene: Scene,
    start: np.ndarray | None,
    config: AutoConfig,
    effort: Effort,
    further: Sequence[np.ndarray],
    on_step: OnStep | None,
) -> list[Climb]:
    stages = looks(scene, start)
    found = glanced(scene, start, config, effort, stages[0], on_step)
    poses = apart([each.rig_from_patient for each in found], effort.climbs[0], scene)
    poses = [*further, *poses] if start is None else [start, *further, *poses]
    ends = [Climb(pose, -np.inf, (), False) for pose in poses]
    for n, stage in enumerate(stages):
        begun = ends if n == 0 else ends[: effort.climbs[n]]
        share = (0.6 + 0.4 * n / len(stages), 0.6 + 0.4 * (n + 1) / len(stages))
        ends = climbed(scene, stage, effort.steps[n], begun, SAME_MM[n], share, on_step)
    return ends


def glanced(
    scene: Scene,
    start: np.ndarray | None,
    config: AutoConfig,
    effort: Effort,
    stage: Stage,
    on_step: OnStep | None,
) -> list[Glimpse]:
    """Glimpses of orientations about a start, or of all, and once more of what is near the best; best first."""
    views = glances(scene, stage)
    if start is None:
        tries = anywhere(scene, config, ANYWHERE * effort.glances)
    else:
        tries = about(scene, start, config, effort.glances)
    first, *alone = _glimpsed(views, tries, (0.0, 0.4), on_step)
    nearby = about_each(scene, first[:AGAIN], config, start is None)
    again = _glimpsed(views, nearby, (0.4, 0.6), on_step)[0]
    found = sorted([*first, *again], key=_worst_last)
    # an X-ray that shows little of the body drags down what another one shows well: that one's own best climb too
    return [each for together in zip(found, *alone) for each in together] if alone else found


def _glimpsed(
    views: Sequence[Glance],
    tries: Sequence[tuple[np.ndarray, np.ndarray]],
    share: tuple[float, float],
    on_step: OnStep | None,
) -> list[list[Glimpse]]:
    """Of all X-rays together, then of each of several alone: glimpses, best first."""
    found = []
    for n, (rotation, place) in enumerate(tries):
        found.append(glimpses(views, rotation, place))
        if on_step and n % 64 == 63:
            done = share[0] + (share[1] - share[0]) * n / len(tries)
            on_step("a glance", done, max(each[0].score for each in found))
    return [sorted(column, key=_worst_last) for column in zip(*found, strict=True)]


def _worst_last(found: Glimpse | Climb) -> float:
    return -found.score


def climbed(
    scene: Scene,
    stage: Stage,
    steps: int,
    begun: Sequence[Climb],
    same_mm: float,
    share: tuple[float, float],
    on_step: OnStep | None,
) -> list[Climb]:
    """The ends of climbs at a stage, best first and distinct, each with its way so far."""
    level, ends = scene.level(stage), []
    for n, each in enumerate(begun):
        ends.append(climb(level, each.pose, steps, scene.radius_mm).after(each.trace))
        if on_step:
            done = share[0] + (share[1] - share[0]) * (n + 1) / len(begun)
            on_step(level.name, done, max(each.score for each in ends))
    return distinct(sorted(ends, key=_worst_last), same_mm, scene)


def distinct(ends: Sequence[Climb], same_mm: float, scene: Scene) -> list[Climb]:
    """The ends without those that are near a better one."""
    kept: list[Climb] = []
    for end in ends:
        if all(apart_mm(end.pose, other.pose, scene) > same_mm for other in kept):
            kept.append(end)
    return kept


def apart(poses: Sequence[np.ndarray], count: int, scene: Scene) -> list[np.ndarray]:
    """The first so many poses of which none is near another: neighbours would climb to the same place."""
    kept: list[np.ndarray] = []
    for pose in poses:
        if len(kept) == count:
            break
        if all(apart_mm(pose, other, scene) > APART * scene.radius_mm for other in kept):
            kept.append(pose)
    return kept


def apart_mm(one: np.ndarray, other: np.ndarray, scene: Scene) -> float:
    """How far apart two poses put the corners of the body, root mean square, halved: at its typical place."""
    corners = scene.body.grid.corners()
    apart = corners @ (one[:3, :3] - other[:3, :3]).T + (one[:3, 3] - other[:3, 3])
    return float(np.sqrt((apart**2).sum(axis=1).mean()) / 2)


def about(scene: Scene, start: np.ndarray, config: AutoConfig, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Orientations (3, 3) and places of the pivot (3,) about a start, evenly over a normal distribution (Sobol)."""
    even = _normal(4, count, config.seed)
    turns = np.radians(config.spread_degrees) * even[:, :3]
    place, way = pivot_at(start, scene), scene.axes[:, 2]
    return [
        (se3.rotation_exp(turn) @ start[:3, :3], place + config.spread_mm * deep * way)
        for turn, deep in zip(turns, even[:, 3], strict=True)
    ]


def about_each(
    scene: Scene, found: Sequence[Glimpse], config: AutoConfig, any_depth: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Orientations and places near each of some glimpses, closer by as much as the first ones were apart."""
    even = _normal(4, NEARBY * len(found), config.seed + 1)
    degrees = NEARBY_SHARE * (30.0 if any_depth else config.spread_degrees)
    out = []
    for n, each in enumerate(found):
        pose, place = each.rig_from_patient, pivot_at(each.rig_from_patient, scene)
        for turn in even[NEARBY * n : NEARBY * (n + 1)]:
            rotation = se3.rotation_exp(np.radians(degrees) * turn[:3]) @ pose[:3, :3]
            out.append((rotation, place + NEARBY_SHARE * config.spread_mm * turn[3] * scene.axes[:, 2]))
    return out


def anywhere(scene: Scene, config: AutoConfig, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """All orientations, where the body is said to be, or where the cameras look."""
    even = _sobol(4, count, config.seed)
    if scene.near is None:
        places = [looked_at(scene, share) for share in DEPTHS]
        return [(_any_rotation(turn), places[n % len(places)]) for n, turn in enumerate(even[:, :3])]
    deep = config.spread_mm * (2 * even[:, 3:] - 1) * scene.axes[:, 2]
    return [(_any_rotation(turn), scene.near + along) for turn, along in zip(even[:, :3], deep, strict=True)]


def _normal(dimensions: int, count: int, seed: int) -> np.ndarray:
    from scipy.stats import norm

    return np.asarray(norm.ppf(np.clip(_sobol(dimensions, count, seed), 1e-4, 1 - 1e-4)))


def _sobol(dimensions: int, count: int, seed: int) -> np.ndarray:
    from scipy.stats import qmc

    return qmc.Sobol(dimensions, seed=seed).random_base2(int(np.ceil(np.log2(max(count, 2)))))[:count]


def _any_rotation(even: np.ndarray) -> np.ndarray:
    """(3, 3): a rotation from three numbers 0..1, evenly over all rotations (Shoemake, Graphics Gems III, 1992)."""
    one, two = 2 * np.pi * even[1], 2 * np.pi * even[2]
    less, more = np.sqrt(1 - even[0]), np.sqrt(even[0])
    return se3.rotation_of(np.array([less * np.sin(one), less * np.cos(one), more * np.sin(two), more * np.cos(two)]))
