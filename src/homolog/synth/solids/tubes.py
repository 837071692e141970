"""Tubes and rods, drawn round the origin: bent lines, branching vessels, stars.

They are thin, at most three voxels of radius, so that where an axis ends or axes meet is a place and not a region:
those points of the axes are what is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from homolog.synth.solids.families import directions, length
from homolog.synth.solids.parts import Rod, Solid

LEAST_RADIUS, MOST_RADIUS = 1.0, 3.0
LEAST_LIMB = 10.0
# Below the least turn a bend is seen as a curve; above the most, the limbs lie side by side for long.
LEAST_TURN_DEGREES, MOST_TURN_DEGREES = 40.0, 110.0
# Between a vessel's limb and the one it comes from.
LEAST_PARTING_DEGREES, MOST_PARTING_DEGREES = 25.0, 55.0
# Between two rods of a star.
RODS_DEGREES = 40.0
# Voxels of background that stay between two limbs which do not meet, and how near to where they meet they may touch.
CLEARANCE, MEETING = 3.0, 8.0
# Straight pieces of a bent limb, which turns by this much at most: by less than a junction does, at none of its nodes
# by more than 8 degrees.
PIECES, BEND_DEGREES = 5, 30.0
# How often two new limbs are drawn before their parent is left to end.
TRIES = 8


@dataclass(frozen=True, eq=False)
class Limb:
    """A tube between two points.

    axis    (N, 3), in order
    radius  of the tube
    """

    axis: np.ndarray
    radius: float

    def rods(self) -> list[Rod]:
        return [Rod(one, other, (self.radius, self.radius)) for one, other in zip(self.axis, self.axis[1:])]

    def heading(self) -> np.ndarray:
        """(3,) direction in which it ends."""
        step = self.axis[-1] - self.axis[-2]
        return np.asarray(step / np.linalg.norm(step))

    def is_clear_of(self, others: Sequence[Limb]) -> bool:
        """Whether it touches others only where it begins."""
        here = _beyond(self.axis, self.axis[0])
        return all(
            cdist(here, _beyond(other.axis, self.axis[0])).min(initial=np.inf) > self.radius + other.radius + CLEARANCE
            for other in others
        )


def polyline(rng: np.random.Generator, side: float) -> Solid:
    """One to four straight limbs of one radius, end to end: two ends, and a junction at each bend."""
    radius, heading = float(rng.uniform(LEAST_RADIUS, MOST_RADIUS)), directions(rng, 1)[0]
    limbs: list[Limb] = []
    nodes = [np.zeros(3)]
    for _ in range(int(rng.integers(1, 5))):
        limb = Limb(np.array([nodes[-1], nodes[-1] + heading * length(rng, LEAST_LIMB, 0.5 * side)]), radius)
        if not limb.is_clear_of(limbs):
            break
        limbs.append(limb)
        nodes.append(limb.axis[-1])
        heading = _turned(rng, heading, rng.uniform(LEAST_TURN_DEGREES, MOST_TURN_DEGREES))
    return _of_limbs(limbs, nodes, ["end", *["junction"] * (len(nodes) - 2), "end"])


def vessel(rng: np.random.Generator, side: float) -> Solid:
    """A bent tube that parts in two, and these again: a junction where limbs part, ends where they do not."""
    trunk = _bent(rng, np.zeros(3), directions(rng, 1)[0], float(rng.uniform(2.0, MOST_RADIUS)), side)
    limbs, growing = [trunk], [(trunk, int(rng.integers(1, 4)))]
    points, kinds = [trunk.axis[0]], ["end"]
    while growing:
        limb, partings = growing.pop(0)
        children = _children(rng, limb, limbs, side) if partings else []
        points.append(limb.axis[-1])
        kinds.append("junction" if children else "end")
        limbs += children
        growing += [(child, partings - 1) for child in children]
    return _of_limbs(limbs, points, kinds)


def star(rng: np.random.Generator, side: float) -> Solid:
    """Three to seven rods from a centre, thinner towards their tips: centre and tips."""
    thickest, reach = float(rng.uniform(1.5, MOST_RADIUS)), 0.4 * side
    axes: list[np.ndarray] = []
    most = int(rng.integers(3, 8))
    # the last of them may find no room among its neighbours: then it is left out
    for axis in directions(rng, TRIES * most):
        if len(axes) < most and all(axis @ other < np.cos(np.radians(RODS_DEGREES)) for other in axes):
            axes.append(axis)
    tips = np.array([axis * length(rng, LEAST_LIMB, reach) for axis in axes])
    rods = [Rod(np.zeros(3), tip, (thickest, float(rng.uniform(0.7, 1.5)))) for tip in tips]
    return Solid(rods, np.concatenate((np.zeros((1, 3)), tips)), ("centre", *["end"] * len(tips)))


def _children(rng: np.random.Generator, parent: Limb, limbs: Sequence[Limb], side: float) -> list[Limb]:
    """Two limbs that go on where one ends, or none if there is no room.

    Radii follow Murray's law, r^3 = r1^3 + r2^3 (J Gen Physiol 9:835, 1926).
    """
    share, heading = rng.uniform(0.3, 0.7), parent.heading()
    radii = [max(parent.radius * part ** (1 / 3), LEAST_RADIUS) for part in (share, 1 - share)]
    for _ in range(TRIES):
        angles = np.radians(rng.uniform(LEAST_PARTING_DEGREES, MOST_PARTING_DEGREES, size=2)) * (1, -1)
        across = _across(rng, heading)
        ways = [np.cos(angle) * heading + np.sin(angle) * across for angle in angles]
        one, other = (_bent(rng, parent.axis[-1], way, r, side) for way, r in zip(ways, radii))
        if one.is_clear_of(limbs) and other.is_clear_of([*limbs, one]):
            return [one, other]
    return []


def _bent(rng: np.random.Generator, start: np.ndarray, heading: np.ndarray, radius: float, side: float) -> Limb:
    """A limb along a parabola that sets out in a direction and turns by up to BEND_DEGREES."""
    long = length(rng, LEAST_LIMB + radius, 0.4 * side)
    last = _turned(rng, heading, rng.uniform(0.0, BEND_DEGREES))
    part = np.linspace(0, 1, PIECES + 1)[:, None]
    return Limb(start + long * ((part - part**2 / 2) * heading + part**2 / 2 * last), radius)


def _of_limbs(limbs: Sequence[Limb], points: Sequence[np.ndarray], kinds: Sequence[str]) -> Solid:
    middle = np.mean(points, axis=0)
    solid = Solid([rod for limb in limbs for rod in limb.rods()], np.array(points), tuple(kinds))
    return solid.moved(np.eye(3), -middle)


def _beyond(axis: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(N, 3): points along an axis, a voxel apart or less, that are farther than MEETING from a place."""
    steps = int(np.linalg.norm(np.diff(axis, axis=0), axis=1).max()) + 2
    part = np.linspace(0, 1, steps)[:, None, None]
    points = ((1 - part) * axis[:-1] + part * axis[1:]).reshape(-1, 3)
    return points[np.linalg.norm(points - start, axis=1) > MEETING]


def _turned(rng: np.random.Generator, heading: np.ndarray, degrees: float) -> np.ndarray:
    """(3,): the direction turned by an angle, towards any side."""
    angle = np.radians(degrees)
    return np.asarray(np.cos(angle) * heading + np.sin(angle) * _across(rng, heading))


def _across(rng: np.random.Generator, heading: np.ndarray) -> np.ndarray:
    """(3,): a drawn direction at right angles to one."""
    across = np.cross(heading, directions(rng, 1)[0])
    return np.asarray(across / np.linalg.norm(across))
