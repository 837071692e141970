"""How large organs are: drawn for each patient, then met by letting each grow or shrink in its own step.

A map drawn at random would blow one kidney up to thrice the other. So volumes are drawn from what adults have, and the
growths of the organs' step are solved for: the volume of an organ in the patient is the mean of the inverse map's
determinant over places in the canonical organ, and its logarithm is nearly linear in the growths.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from homolog.kernels import bspline, implicit
from homolog.space.grid import Grid
from homolog.synth.anatomy import compiled
from homolog.synth.anatomy.structures import NUMBERS

# organ whose growth is solved for: its structure, its median in ml, the standard deviation of its logarithm, and the
# least and the most that adults are found to have; docs/methods/patients.md says by whom
ADULTS: dict[str, tuple[str, float, float, float, float]] = {
    "liver": ("liver", 1430, 0.12, 1000, 1900), "spleen": ("spleen", 195, 0.25, 107, 315),
    "right kidney": ("right kidney", 155, 0.13, 105, 230), "left kidney": ("left kidney", 160, 0.13, 105, 230),
    "stomach": ("stomach", 470, 0.24, 200, 800), "gallbladder": ("gallbladder", 28, 0.27, 14, 60),
    "pancreas": ("pancreas", 80, 0.18, 45, 125),
    "right adrenal": ("right adrenal gland", 4.2, 0.2, 2.0, 7.0),
    "left adrenal": ("left adrenal gland", 4.4, 0.2, 2.0, 7.0), "heart": ("heart", 600, 0.12, 450, 800),
    "right lung": ("right lung", 2550, 0.15, 1500, 3500), "left lung": ("left lung", 2180, 0.15, 1300, 3400),
    "bladder": ("urinary bladder", 165, 0.33, 60, 400),
}  # fmt: skip
# the left lung as a share of the right one
LEFT_LUNG = (0.72, 0.98)
# how much of an organ's size is that of the whole person, and how much of one side's that of the other
COMMON, PAIRED = 0.45, {"left kidney": 0.75, "left adrenal": 0.75, "left lung": 0.97}
# standard deviations beyond which nobody is drawn
MOST = 1.9
# places looked at in each organ; a mean of determinants that differ by a third is then good to 3 %
PLACES = 120
# growths are solved for in so many rounds, and kept within what does not fold
ROUNDS, MOST_GROWTH = 3, 0.5
SAMPLED_MM, FINE_MM, FINE_BELOW_ML = 4.0, 1.2, 60.0


def drawn_ml(rng: np.random.Generator, strength: float) -> np.ndarray:
    """(V,) ml, in the order of ADULTS; a strength of 0 leaves the canonical volumes."""
    common, own = rng.normal(), {name: rng.normal() for name in ADULTS}
    wanted = []
    for name, (_, median_ml, spread, _, _) in ADULTS.items():
        free = own[name]
        if name in PAIRED:
            free = PAIRED[name] * own[name.replace("left", "right")] + (1 - PAIRED[name] ** 2) ** 0.5 * free
        share = np.clip(COMMON * common + (1 - COMMON**2) ** 0.5 * free, -MOST, MOST)
        wanted.append(np.log(median_ml) + spread * share)
    canonical = np.log(canonical_ml())
    return np.exp(canonical + min(strength, 1.0) * (np.array(wanted) - canonical))


def are_adult(volumes_ml: np.ndarray) -> bool:
    """Whether nothing is larger or smaller than in adults, and the left lung smaller than the right one."""
    limits = np.array([row[3:] for row in ADULTS.values()], float)
    sizes = dict(zip(ADULTS, volumes_ml))
    share = sizes["left lung"] / sizes["right lung"]
    within = (volumes_ml >= limits[:, 0]) & (volumes_ml <= limits[:, 1])
    return bool(within.all()) and LEFT_LUNG[0] <= share <= LEFT_LUNG[1]


def solved_growths(
    volumes_ml: Callable[[np.ndarray], np.ndarray], wanted_ml: np.ndarray, effect: np.ndarray
) -> np.ndarray:
    """(V,) growths with which the organs have the wanted volumes, as nearly as they may.

    volumes_ml  of growths
    effect      (V, V) the derivative of the volumes' logarithms by the growths
    """
    growths = np.zeros(len(wanted_ml))
    # neighbours that overlap are not played off against each other
    solver = np.linalg.solve(effect.T @ effect + 0.05 * np.eye(len(effect)), effect.T)
    for _ in range(ROUNDS):
        missed = np.log(wanted_ml / volumes_ml(growths))
        growths = np.clip(growths + solver @ missed, -MOST_GROWTH, MOST_GROWTH)
    return growths


def effect(fields: np.ndarray, lattice: Grid) -> np.ndarray:
    """(V, V): by how much the logarithm of each organ's volume falls with each growth, at the canonical body.

    fields  (V, I, J, K, 3) mm of displacement towards the canonical body for a growth of one
    """
    places = lattice.voxel(np.concatenate(organ_places()))
    found = np.empty((len(fields), len(fields)))
    for column, field in enumerate(fields):
        slopes = bspline.evaluate_gradient(field, places)[1]
        swelling = np.trace(slopes, axis1=1, axis2=2) / lattice.spacing_mm[0]
        found[:, column] = -organ_means(swelling)
    return found


def organ_means(values: np.ndarray) -> np.ndarray:
    """(V,) of values at the places of all organs."""
    starts = np.cumsum([0, *(len(one) for one in organ_places()[:-1])])
    return np.add.reduceat(values, starts) / [len(one) for one in organ_places()]


@cache
def organ_places() -> tuple[np.ndarray, ...]:
    """(PLACES, 3) canonical mm in each organ of ADULTS."""
    return tuple(inside[np.linspace(0, len(inside) - 1, PLACES).astype(int)] for inside, _ in _sampled())


@cache
def canonical_ml() -> np.ndarray:
    return np.array([volume for _, volume in _sampled()])


@cache
def _sampled() -> tuple[tuple[np.ndarray, float], ...]:
    """For each organ of ADULTS the places within it, and its volume in ml."""
    points = Grid.regular((80, 62, 164), SAMPLED_MM, (-158.0, -122.0, -170.0)).points()
    labels = _labels(points)
    found = []
    for structure, *_ in ADULTS.values():
        inside, spacing = points[labels == NUMBERS[structure]], SAMPLED_MM
        if len(inside) * spacing**3 < 1000 * FINE_BELOW_ML:
            low, high = inside.min(axis=0) - 6, inside.max(axis=0) + 6
            fine = Grid.regular(np.ceil((high - low) / FINE_MM).astype(int).tolist(), FINE_MM, low).points()
            inside, spacing = fine[_labels(fine) == NUMBERS[structure]], FINE_MM
        found.append((inside, len(inside) * spacing**3 / 1000))
    return tuple(found)


def _labels(points: np.ndarray) -> np.ndarray:
    """(N,) of the canonical body; no look is asked for, so any will do."""
    tables = compiled.tables()
    looks = np.zeros((len(tables.layers), 12))
    return implicit.render(tables, looks, points, points, 1.0, 0.0, values=False)[1]
