"""What a patient has that no other has: tumours, metal with its streaks, the table; all in the patient's own place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homolog.kernels import implicit
from homolog.synth.anatomy.shapes import ellipsoid, tube

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

    def at(self, points: np.ndarray) -> np.ndarray:
        away = points - self.centre_mm
        angle, radius = np.arctan2(away[:, 1], away[:, 0]), np.hypot(away[:, 0], away[:, 1])
        rays = sum(np.cos((3 + 4 * n) * angle + phase) for n, phase in enumerate(self.phases)) / len(self.phases) ** 0.5
        level = np.clip((self.half_mm - np.abs(away[:, 2])) / 6 + 0.5, 0, 1)
        return self.strength_hu * rays * level * np.exp(-radius / self.fade_mm) * np.clip(radius / 10, 0, 1)


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


def table_hu(points: np.ndarray, top_mm: float, middle_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """(N,), (N,): how much of a place is table, and its HU: a bent shell of carbon around foam."""
    across = points[:, 0] - middle_mm
    deep = points[:, 1] - (top_mm - across**2 / 900.0)
    cover = np.clip(deep + 0.5, 0, 1) * np.clip(24.5 - deep, 0, 1) * np.clip((225 - np.abs(across)) + 0.5, 0, 1)
    shell = np.clip(2.5 - np.minimum(deep, 24 - deep), 0, 1)
    return cover, -940 + shell * 780
