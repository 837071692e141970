"""How patients differ from place to place: affine maps around landmarks, and maps drawn to be like them.

After N. Loiseau-Witon, R. Kéchichian, S. Valette and A. Bartoli, Learning 3D medical image patch descriptors with the
triplet loss, IPCAI 2021, section 2.1. What that text leaves open is settled in docs/methods/pairs.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from math import isfinite

import numpy as np

from homolog.errors import BadInput, WorkFailed
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Affine
from homolog.synth.affine_facts import AffineFacts, facts_of
from homolog.synth.configs import LocalAffineConfig

# Why a fit is not used.
UNSHARED = "too few landmarks shared"
FLAT = "landmarks nearly in a line or plane"
MIRRORED = "mirrored"
STRETCHED = "stretched"
# Of cohorts of people about a draw in four is lost; one that loses so many in a row has no map to give.
MOST_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class LocalAffine:
    """What a map does around a place: x -> A (x - place) + place + t.

    linear    (3, 3) A
    shift_mm  (3,) t, LPS mm
    """

    linear: np.ndarray
    shift_mm: np.ndarray

    def about(self, place_mm: np.ndarray, *, fixed: str = "fixed", moving: str = "moving") -> Affine:
        """The map around a place (3,) LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.linear
        matrix[:3, 3] = place_mm + self.shift_mm - self.linear @ place_mm
        return Affine(matrix, fixed, moving)


@dataclass(frozen=True, eq=False)
class LocalAffines:
    """The maps around the landmarks of a cohort that count, and how many do not.

    linear    (N, 3, 3) A
    shift_mm  (N, 3) t, LPS mm: where the landmark itself is missed by the fit to it and its neighbours
    refused   reason -> how many
    """

    linear: np.ndarray
    shift_mm: np.ndarray
    refused: dict[str, int]

    def __len__(self) -> int:
        return len(self.linear)

    @property
    def elements(self) -> np.ndarray:
        """(N, 12): the rows of A, then t in mm."""
        return np.hstack((self.linear.reshape(-1, 9), self.shift_mm))


def local_affines(landmarks: Sequence[Keypoints], config: LocalAffineConfig = LocalAffineConfig()) -> LocalAffines:
    """A map for each landmark of each two patients, from it and its nearest neighbours to their namesakes.

    landmarks  one set a patient, with names; two patients are compared by the names they share
    """
    _require_cohort(landmarks)
    _require_sensible(config)
    couples = permutations(landmarks, 2) if config.both_ways else combinations(landmarks, 2)
    found = [_between(fixed, moving, config) for fixed, moving in couples]
    return LocalAffines(
        np.concatenate([one.linear for one in found]),
        np.concatenate([one.shift_mm for one in found]),
        dict(sum((Counter(one.refused) for one in found), Counter())),
    )


@dataclass(frozen=True, eq=False)
class AffineDensity:
    """Gaussian kernels on each of the twelve elements of a cohort's local maps.

    fitted        the maps that the kernels stand on
    bandwidth     (12,) the kernels' standard deviations, in the elements' units: their spread by Scott's n^(-1/5)
    patients      how many the maps are of
    """

    fitted: LocalAffines
    bandwidth: np.ndarray
    patients: int
    config: LocalAffineConfig

    @classmethod
    def of(cls, landmarks: Sequence[Keypoints], config: LocalAffineConfig = LocalAffineConfig()) -> AffineDensity:
        """The density of a cohort: one set of named landmarks a patient."""
        fitted = local_affines(landmarks, config)
        if len(fitted) < 2:
            raise BadInput(
                f"the landmarks of {len(landmarks)} patients give {len(fitted)} local affine maps, and a density needs "
                f"two or more; refused: {_listed(fitted.refused)}",
                "give more patients, or more landmarks of the same names in each",
            )
        # Scott's rule in one dimension, as each element has a density of its own
        bandwidth = fitted.elements.std(axis=0, ddof=1) * len(fitted) ** (-1 / 5)
        return cls(fitted, bandwidth, len(landmarks), config)

    @cached_property
    def facts(self) -> AffineFacts:
        """The published checks: are the elements independent, and are they normal?"""
        return facts_of(self.fitted.elements, self.bandwidth, self.fitted.refused, self.patients)

    def sample(self, rng: np.random.Generator) -> LocalAffine:
        """A map drawn element by element, and drawn again while it would have been refused as a fit."""
        for _ in range(MOST_DRAWS):
            drawn = self._drawn(rng)
            linear, shift_mm = drawn[:9].reshape(3, 3), drawn[9:]
            if _refusal(linear[None], self.config)[0] == "":
                near = np.linalg.norm(shift_mm) <= self.config.most_shift_mm
                return LocalAffine(linear, shift_mm if near else np.zeros(3))
        raise WorkFailed(
            f"{MOST_DRAWS} maps drawn from {len(self.fitted)} local affine maps are all mirrored or stretched beyond "
            f"{self.config.least_stretch:g} to {self.config.most_stretch:g}",
            "draw whole maps: LocalAffineConfig(together=True)",
        )

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """(12,): a fitted number and a step of its kernel, for each element."""
        elements = self.fitted.elements
        rows = rng.integers(len(elements), size=1 if self.config.together else 12)
        return elements[np.broadcast_to(rows, 12), np.arange(12)] + self.bandwidth * rng.normal(size=12)


# ---------------------------------------------------------------------------------------------------------------------
# Fits


def _between(fixed: Keypoints, moving: Keypoints, config: LocalAffineConfig) -> LocalAffines:
    """The maps of two patients, around each landmark they share."""
    there = set(moving.name or ())
    shared = [name for name in fixed.name or () if name in there]
    if len(shared) <= config.neighbours:
        return LocalAffines(np.empty((0, 3, 3)), np.empty((0, 3)), {UNSHARED: len(shared)} if shared else {})
    fixed_mm, moving_mm = fixed.by_name(shared).position, moving.by_name(shared).position
    groups = _with_nearest(fixed_mm, config.neighbours)
    return _fitted(fixed_mm[groups], moving_mm[groups], config)


def _with_nearest(places_mm: np.ndarray, neighbours: int) -> np.ndarray:
    """(N, 1 + neighbours): each row and those of its nearest, itself first."""
    apart = np.linalg.norm(places_mm[:, None] - places_mm, axis=2)
    # before any other that lies at the same place
    np.fill_diagonal(apart, -1.0)
    return np.argsort(apart, axis=1, kind="stable")[:, : 1 + neighbours]


def _fitted(fixed_mm: np.ndarray, moving_mm: np.ndarray, config: LocalAffineConfig) -> LocalAffines:
    """The least of sum |y - A x|^2 + pull^2 |A - 1|^2, both centred; fixed_mm, moving_mm (N, M, 3), landmark first."""
    centre_f, centre_m = fixed_mm.mean(axis=1), moving_mm.mean(axis=1)
    x, y = fixed_mm - centre_f[:, None], moving_mm - centre_m[:, None]
    extents = np.linalg.svd(x, compute_uv=False)
    spread = extents[:, 0] <= config.most_condition * extents[:, 2]
    # all at one place: nothing is known of any direction
    spread &= extents[:, 2] > 0
    x, y = x[spread], y[spread]
    pull = config.pull_mm**2 * np.eye(3)
    # A (x'x + pull) = y'x + pull, both symmetric on the right
    normal, cross = x.transpose(0, 2, 1) @ x + pull, y.transpose(0, 2, 1) @ x + pull
    linear = np.linalg.solve(normal, cross.transpose(0, 2, 1)).transpose(0, 2, 1)
    # y - y_L = A (x - x_L) + t at the centres, and so everywhere
    shift_mm = np.einsum("nij,nj->ni", linear, x[:, 0]) - y[:, 0]
    why = _refusal(linear, config)
    refused = Counter({FLAT: int((~spread).sum())}) + Counter(reason for reason in why if reason)
    return LocalAffines(linear[why == ""], shift_mm[why == ""], dict(refused))


def _refusal(linear: np.ndarray, config: LocalAffineConfig) -> np.ndarray:
    """(N,) why no patient is mapped so onto another; empty where one may be."""
    stretches = np.linalg.svd(linear, compute_uv=False)
    stretched = (stretches[:, 0] > config.most_stretch) | (stretches[:, 2] < config.least_stretch)
    return np.where(np.linalg.det(linear) <= 0, MIRRORED, np.where(stretched, STRETCHED, ""))


# ---------------------------------------------------------------------------------------------------------------------
# What is asked for


def _require_cohort(landmarks: Sequence[Keypoints]) -> None:
    if len(landmarks) < 2:
        raise BadInput(f"local affine maps lie between patients: two or more are wanted, got {len(landmarks)}")
    for points in landmarks:
        if points.name is None:
            raise BadInput(f"the landmarks of '{points.space}' have no names, so none of them has a counterpart")
        twice = [name for name, count in Counter(points.name).items() if count > 1]
        if twice:
            raise BadInput(f"'{points.space}' has more than one landmark named {twice[0]!r}", "rename or remove it")
        if not np.isfinite(points.position).all():
            raise BadInput(f"the landmarks of '{points.space}' hold NaN or infinite positions", "remove them")


def _require_sensible(config: LocalAffineConfig) -> None:
    if config.neighbours < 3:
        raise BadInput(f"an affine map needs a landmark and 3 neighbours or more, got neighbours={config.neighbours}")
    for name in ("pull_mm", "most_shift_mm"):
        value = getattr(config, name)
        if not (isfinite(value) and value >= 0):
            raise BadInput(f"LocalAffineConfig.{name} must be finite and not negative, got {value}")
    if not 0 < config.least_stretch <= 1 <= config.most_stretch:
        raise BadInput(
            "LocalAffineConfig needs least_stretch above 0 and up to 1, and most_stretch of 1 or more, got "
            f"{config.least_stretch} and {config.most_stretch}"
        )
    if not config.most_condition >= 1:
        raise BadInput(f"LocalAffineConfig.most_condition must be 1 or more, got {config.most_condition}")


def _listed(refused: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in refused.items()) or "none"
