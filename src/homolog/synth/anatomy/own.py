"""What a patient has that no other has: tumours, metal with its streaks, the table; all in the patient's own place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from homolog.kernels import implicit
from homolog.kernels.arrays import elementwise
from homolog.synth.anatomy.shapes import ellipsoid, tube
from homolog.synth.anatomy.skeleton import HIP_JOINT, VERTEBRA_Z, spine_y, vertebra_size

NO_STACKS = np.zeros((2, 5))
METAL_HU, METAL_MR = 3000.0, 5.0
# where tumours grow: canonical places and how much brighter or darker they are than 60 HU
SITES = (((-84, 10, 190), -28), ((-58, -10, 150), -20), ((86, 40, 180), 10), ((-72, 44, 90), 25), ((70, 46, 100), 20),
         ((-90, 30, 330), -15), ((84, -10, 350), -10), ((20, 30, 360), 0), ((0, 70, -60), -10))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Extra:
    """Shapes (N, 18) in the patient's own LPS mm, of one brightness on CT and on MR; whether they are metal."""

    shapes: np.ndarray
    hu: float
    mr: float
    metal: bool = False

    def near(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: within 40 mm of the box of the shapes' middles and ends."""
        cones = self.shapes[self.shapes[:, 0] == implicit.CONE]
        ends = np.concatenate((self.shapes[:, 1:4], cones[:, 4:7]))
        return ((points > ends.min(axis=0) - 40) & (points < ends.max(axis=0) + 40)).all(axis=1)

    def distance(self, points: np.ndarray) -> np.ndarray:
        return np.min([implicit.distances(shape, NO_STACKS, points) for shape in self.shapes], axis=0)


@dataclass(frozen=True, eq=False)
class Streaks:
    """Rays from a piece of metal, level with it.

    centre_mm    (3,) in the patient's own LPS mm
    half_mm      how far along the body the metal reaches
    strength_hu  beside it; they fade over `fade_mm`
    phases       (R,) of the rays
    """

    centre_mm: np.ndarray
    half_mm: float
    strength_hu: float
    phases: np.ndarray
    fade_mm: float = 55.0

    def level(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: whether points are level with the metal; elsewhere there are no streaks."""
        return np.abs(points[:, 2] - self.centre_mm[2]) < self.half_mm + 3

    def at(self, points: Any) -> Any:
        """HU at points (..., 3), an array or a tensor."""
        xp = elementwise(points)
        x, y, z = (points[..., axis] - float(self.centre_mm[axis]) for axis in range(3))
        angle, radius = xp.arctan2(y, x), xp.hypot(x, y)
        # they turn along the body, each at its own rate: no two slices have the same
        rays = sum(
            xp.cos((3 + 4 * n) * angle + (0.3 + 0.15 * n) * z + float(phase)) for n, phase in enumerate(self.phases)
        )
        level = xp.clip((self.half_mm - xp.abs(z)) / 6 + 0.5, 0, 1)
        strength = self.strength_hu / len(self.phases) ** 0.5
        return strength * rays * level * xp.exp(-radius / self.fade_mm) * xp.clip(radius / 10, 0, 1)


def tumours(centres: np.ndarray, brightness: Sequence[float], rng: np.random.Generator) -> list[Extra]:
    """Uneven balls of 8 to 22 mm."""
    found = []
    for centre, extra in zip(centres, brightness):
        size = rng.uniform(8, 22)
        lumps = [
            ellipsoid(centre + 0.35 * size * rng.normal(size=3), size * rng.uniform(0.6, 1, 3), rng.uniform(0, 180, 3))
            for _ in range(3)
        ]
        found.append(Extra(np.concatenate(lumps), 60 + extra + 8 * rng.normal(), 120.0))
    return found


def hip_places(side: int) -> np.ndarray:
    """(2, 3) canonical: the middle of a hip joint, and a place within the thigh bone's shaft."""
    return np.array([HIP_JOINT, (116, 6, -235)]) * np.array([side, 1, 1])


def screw_places() -> tuple[np.ndarray, np.ndarray]:
    """Canonical starts and ends (6, 3) of screws in L3 to L5, right and left in turn."""
    starts, ends = [], []
    for n in (15, 16, 17):
        z, (half, deep, _) = VERTEBRA_Z[n], vertebra_size(n)
        for side in (-1, 1):
            starts.append((side * (0.62 * half + 4), spine_y(z) + deep + 26, z + 4))
            ends.append((side * 0.45 * half, spine_y(z) - 0.4 * deep, z + 4))
    return np.array(starts, float), np.array(ends, float)


def hip(head: np.ndarray, shaft: np.ndarray, side: int, rng: np.random.Generator) -> tuple[Extra, Streaks]:
    """A prosthesis from the joint into the thigh bone; both ends in the patient's own LPS mm."""
    neck = shaft + 0.75 * (head - shaft) * np.array([0.35, 1, 1.2])
    shapes = [ellipsoid(head, (17, 17, 17)), tube([head, neck, shaft], (8, 9, 6))]
    metal = Extra(np.concatenate(shapes), METAL_HU, METAL_MR, True)
    return metal, Streaks(head + np.array([side * 12.0, 4, -20]), 45, 260, rng.uniform(0, 6.28, 7))


def screws(starts: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> tuple[Extra, Streaks]:
    """Pairs of screws through pedicles, and the rods that join them."""
    shapes = [tube([a, b], 2.8) for a, b in zip(starts, ends)]
    rods = [tube(starts[n::2], 2.8) for n in (0, 1)]
    metal = Extra(np.concatenate((*shapes, *rods)), METAL_HU, METAL_MR, True)
    middle, half = starts.mean(axis=0), np.ptp(starts[:, 2]) / 2 + 12
    return metal, Streaks(middle, float(half), 150, rng.uniform(0, 6.28, 7))


def table_hu(points: Any, top_mm: float, middle_mm: float) -> tuple[Any, Any]:
    """(...), (...): how much of a place (..., 3) is table, and its HU: a bent shell of carbon around foam."""
    xp = elementwise(points)
    across = points[..., 0] - middle_mm
    deep = points[..., 1] - (top_mm - across**2 / 900.0)
    within = xp.clip(deep + 0.5, 0, 1) * xp.clip(24.5 - deep, 0, 1)
    cover = within * xp.clip(225.5 - xp.abs(across), 0, 1)
    shell = xp.maximum(xp.clip(2.5 - deep, 0, 1), xp.clip(deep - 21.5, 0, 1))
    return cover, -940 + shell * 780
