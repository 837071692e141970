"""The linear map that the most matches agree on, found among many that are wrong.

Triples of matches are drawn, likelier ones more often, and a similarity is laid through each that could be right: as in
RANSAC (Fischler and Bolles, CACM 24:381, 1981), but maps are scored by how well matches agree, averaged over how far
apart they may lie (after Torr and Zisserman, CVIU 78:138, 2000, and Barath et al., MAGSAC, CVPR 2019), the best are
improved on all matches (Chum, Matas and Kittler, DAGM 2003), and drawing ends when a better one is unlikely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from homolog.kernels import consensus as kernel
from homolog.space import fit
from homolog.space.transforms import Affine

Kind = Literal["rigid", "similarity", "affine"]

# Triples of a round, and rounds at most; the best of a round that are improved on all matches.
TRIPLES, ROUNDS, IMPROVED = 4096, 40, 6
# Drawing ends when a triple of matches that agree was missed so far with no more than this probability, if of such
# triples only this share leads to the map: small triangles turn.
MISSED, LEADING = 1e-3, 0.05
# A match that agrees by more than this is counted as one of them: it lies about 13 mm off at most.
AGREES = 0.25
# Matches as near to each other as this, in mm, say much the same, and share what one would count.
CLUSTER_MM = 15.0
# A side of a triangle is turned by no more than this: upright descriptors end at 30 degrees, and places scatter.
MOST_DEGREES = 45.0
# Bodies, and their parts, differ in size by no more.
MOST_SCALE = 1.6
# Steps of the improvement, and for an affine map: how strongly it is held to the similarity, in matches a corner.
STEPS, HELD = 50, 0.02
# mm: what right matches of one patient scatter by along an axis at least; the share of it that may change at the end.
LEAST_SCATTER_MM, SETTLED = 0.5, 0.01
# Below this many matches no map follows.
FEWEST = 4
# Spread of the matches that agree, across, over along: thinner is a plane or a line.
THIN = 0.02


@dataclass(frozen=True, eq=False)
class Agreed:
    """A linear map and the matches that agree on it.

    matrix   (4, 4) moving_from_fixed, LPS mm
    score    the sum of agreements, each match counted by its weight
    weight   (N,) what each match counts
    agrees   (N,) 0 to 1, how much each match agrees
    spread   (3,) mm, standard deviations of those that agree along their principal axes, largest first
    """

    matrix: np.ndarray
    score: float
    weight: np.ndarray
    agrees: np.ndarray
    spread: np.ndarray


def agreed(
    fixed_mm: np.ndarray,
    moving_mm: np.ndarray,
    distance: np.ndarray | None = None,
    *,
    kind: Kind = "affine",
    start: np.ndarray | None = None,
    seed: int = 0,
    rounds: int = ROUNDS,
    improved: int = IMPROVED,
    most_degrees: float = MOST_DEGREES,
) -> Agreed:
    """The best map of a kind for matches (N, 3), (N, 3), LPS mm.

    distance      (N,) between descriptors: matches with smaller ones are drawn more often
    start         (4, 4) a map to improve, in place of drawing
    improved      how many of a round are improved on all matches
    most_degrees  by which a line between two places may be turned
    """
    weight = weights_of(fixed_mm, moving_mm)
    if start is not None:
        return _improved(fixed_mm, moving_mm, weight, start, kind)
    best = _nothing(weight)
    likely = _likely(weight, distance)
    for n in range(rounds):
        maps, _ = kernel.draw(
            fixed_mm,
            moving_mm,
            weight,
            likely,
            most_cosine=np.cos(np.radians(most_degrees)),
            most_scale=MOST_SCALE,
            seed=seed * 1_000_003 + n,
            count=TRIPLES,
            keep=improved,
        )
        drawn = (n + 1) * TRIPLES
        for linear in maps:
            found = _improved(fixed_mm, moving_mm, weight, np.vstack((linear, (0, 0, 0, 1))), kind)
            best = max(best, found, key=lambda one: one.score)
        # the share of triples that agree among themselves
        right = _likely_share(likely, best.agrees > AGREES) ** 3 * LEADING
        if drawn * np.log1p(-min(right, 0.999999)) < np.log(MISSED):
            break
    return best


@dataclass(frozen=True, eq=False)
class Settled:
    """A linear map as right matches have it, told from wrong ones by how far off they lie.

    matrix      (4, 4) moving_from_fixed, LPS mm
    right       (N,) the probability of each match
    scatter_mm  what right matches scatter by along an axis
    """

    matrix: np.ndarray
    right: np.ndarray
    scatter_mm: float


def settled(fixed_mm: np.ndarray, moving_mm: np.ndarray, matrix: np.ndarray, kind: Kind, within_mm: float) -> Settled:
    """From a map near the best one to that, by expectation maximisation; wrong matches lie within so many mm."""
    weight = weights_of(fixed_mm, moving_mm)
    share, scatter = 0.5, within_mm / 4
    for _ in range(STEPS):
        apart = np.linalg.norm(Affine(matrix).apply(fixed_mm) - moving_mm, axis=1)
        right = probability(apart, share, scatter, within_mm)
        counted = weight * right
        used = counted > 1e-6
        if used.sum() < FEWEST or _spread(fixed_mm[used], counted[used])[1] < 1e-3:
            break
        matrix = _fitted(fixed_mm[used], moving_mm[used], counted[used], kind)
        before, (share, scatter) = scatter, mixture(apart, right, weight, LEAST_SCATTER_MM)
        if abs(scatter - before) < SETTLED * before:
            break
    return Settled(matrix, right, scatter)


def probability(apart: np.ndarray, share: float, scatter: float, within_mm: float) -> np.ndarray:
    """(N,) of matches so many mm off: right ones, of a Maxwell distribution, against wrong ones all over a ball."""
    # both densities fall to zero with the distance in the same way, so the square is left out
    right = share * np.sqrt(2 / np.pi) / scatter**3 * np.exp(-(apart**2) / (2 * scatter**2))
    wrong = (1 - share) * 3 / within_mm**3
    return np.asarray(right / (right + wrong))


def mixture(apart: np.ndarray, right: np.ndarray, weight: np.ndarray, least_mm: float) -> tuple[float, float]:
    """The share of right matches, and what they scatter by along an axis in mm, from what each is taken for."""
    total = max(float((weight * right).sum()), 1e-9)
    # a Maxwell distribution's mean is 1.596 times the deviation along an axis
    scatter = max(least_mm, float((weight * right * apart).sum()) / total / 1.5958)
    return float(np.clip(total / weight.sum(), 0.02, 0.98)), scatter


def weights_of(fixed_mm: np.ndarray, moving_mm: np.ndarray) -> np.ndarray:
    """(N,) what each match counts: less, the more others lie near it."""
    return np.asarray(np.sqrt(_alone(fixed_mm) * _alone(moving_mm)))


def _alone(places_mm: np.ndarray) -> np.ndarray:
    """(N,) one over how many places lie near each, itself included."""
    if not len(places_mm):
        return np.zeros(0)
    tree = cKDTree(places_mm)
    return np.asarray(1.0 / tree.query_ball_point(places_mm, CLUSTER_MM, return_length=True))


def _likely_share(likely: np.ndarray, chosen: np.ndarray) -> float:
    """How often a draw takes one of the chosen rows."""
    return float(np.diff(likely, prepend=0.0)[chosen].sum())


def _likely(weight: np.ndarray, distance: np.ndarray | None) -> np.ndarray:
    """(N,) ascending to 1: the best match is drawn three times as often as the worst, other things equal."""
    chance = weight.copy()
    if distance is not None and len(distance) > 1:
        rank = np.argsort(np.argsort(distance, kind="stable"), kind="stable") / (len(distance) - 1)
        chance *= 1.5 - rank
    total = np.cumsum(chance)
    return np.asarray(total / total[-1])


def _improved(
    fixed_mm: np.ndarray, moving_mm: np.ndarray, weight: np.ndarray, matrix: np.ndarray, kind: Kind
) -> Agreed:
    """From a map to the best one near it: least squares over and over, each match by how it agrees."""
    if kind == "rigid":
        matrix = _unscaled(matrix, fixed_mm, weight)
    best, highest = matrix, -1.0
    for _ in range(STEPS):
        apart = np.linalg.norm(Affine(matrix).apply(fixed_mm) - moving_mm, axis=1)
        score = float(weight @ kernel.agreement(apart))
        if score <= highest + 1e-6:
            break
        best, highest = matrix, score
        pull = weight * kernel.pull(apart)
        used = pull > 0
        if used.sum() < FEWEST or _spread(fixed_mm[used], pull[used])[1] < 1e-3:
            break
        matrix = _fitted(fixed_mm[used], moving_mm[used], pull[used], kind)
    agrees = kernel.agreement(np.linalg.norm(Affine(best).apply(fixed_mm) - moving_mm, axis=1))
    spread = _spread(fixed_mm[agrees > AGREES], weight[agrees > AGREES])
    return Agreed(best, float(weight @ agrees), weight, agrees, spread)


def _fitted(fixed_mm: np.ndarray, moving_mm: np.ndarray, pull: np.ndarray, kind: Kind) -> np.ndarray:
    if kind == "rigid":
        return fit.rigid(fixed_mm, moving_mm, pull).matrix
    similarity = fit.similarity(fixed_mm, moving_mm, pull).matrix
    return similarity if kind == "similarity" else _sheared(fixed_mm, moving_mm, pull, similarity)


def _unscaled(matrix: np.ndarray, fixed_mm: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The rotation nearest to a map, and the shift that carries the matches' middle as it does."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    middle = weight @ fixed_mm / weight.sum()
    rigid = np.eye(4)
    rigid[:3, :3] = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    rigid[:3, 3] = Affine(matrix).apply(middle[None])[0] - rigid[:3, :3] @ middle
    return rigid


def _sheared(fixed_mm: np.ndarray, moving_mm: np.ndarray, pull: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The affine map, held a little to the similarity by the corners of the matches' own box.

    So that few matches, or those in a plane, do not shear the patient where there are none.
    """
    corners = fixed_mm.mean(axis=0) + np.ptp(fixed_mm, axis=0) * (np.array(list(np.ndindex(2, 2, 2))) - 0.5)
    held = np.full(8, HELD * pull.mean())
    places = np.vstack((fixed_mm, corners)), np.vstack((moving_mm, Affine(similarity).apply(corners)))
    if np.ptp(corners, axis=0).min() < 1.0:
        return similarity
    return fit.affine(*places, np.r_[pull, held]).matrix


def _spread(places_mm: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if len(places_mm) < 2:
        return np.zeros(3)
    share = weight / weight.sum()
    away = places_mm - share @ places_mm
    values = np.linalg.eigvalsh((away * share[:, None]).T @ away)
    return np.sqrt(np.maximum(values, 0))[::-1]


def _nothing(weight: np.ndarray) -> Agreed:
    return Agreed(np.eye(4), 0.0, weight, np.zeros(len(weight)), np.zeros(3))
