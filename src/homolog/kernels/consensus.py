"""Similarity maps drawn from triples of matches, and how well all matches agree with each."""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading

# A match agrees by 1 - (d / t)^2 where it lies d mm off and d is below t, on average over these t in mm: how far apart
# the same place of two patients comes to lie under one linear map is not known beforehand, so it is averaged over.
REACHES = np.array([5.0, 10.0, 20.0, 40.0, 60.0])
LONGEST = 3600.0
# Of a triple: points nearer to each other than this tell no direction, in mm.
LEAST_APART = 20.0
# A triangle thinner than this, height over base, tells no turn about its base.
LEAST_HEIGHT = 0.15


def agreement(apart: np.ndarray) -> np.ndarray:
    """(N,) from 1 to 0: how much each match agrees that lies so many mm off."""
    share = 1 - (np.asarray(apart)[..., None] / REACHES) ** 2
    return np.asarray(np.maximum(share, 0).mean(axis=-1))


def pull(apart: np.ndarray) -> np.ndarray:
    """(N,) in 1/mm^2: the weights of a least squares fit whose every step raises the sum of agreements."""
    return np.asarray(((apart[..., None] < REACHES) / REACHES**2).mean(axis=-1))


def of_triple(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """(3, 4): the similarity that lays one triangle (3, 3) on another, their frames and middles on each other."""
    frames = []
    for p in (fixed, moving):
        along = (p[1] - p[0]) / np.linalg.norm(p[1] - p[0])
        across = np.cross(along, p[2] - p[0])
        across /= np.linalg.norm(across)
        frames.append(np.stack((along, np.cross(across, along), across), axis=1))
    sides = [np.linalg.norm(p - np.roll(p, 1, axis=0), axis=1).sum() for p in (fixed, moving)]
    linear = sides[1] / sides[0] * frames[1] @ frames[0].T
    return np.c_[linear, moving.mean(axis=0) - linear @ fixed.mean(axis=0)]


def draw(
    fixed: np.ndarray,
    moving: np.ndarray,
    weight: np.ndarray,
    likely: np.ndarray,
    *,
    most_cosine: float,
    most_scale: float,
    seed: int,
    count: int,
    keep: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The best (keep, 3, 4) of `count` maps, and their scores: sums of weight times agreement.

    fixed, moving  (N, 3) mm, row n of one matched with row n of the other
    weight         (N,) how much a match counts
    likely         (N,) ascending to 1: the share of draws that take one of the rows up to here
    most_cosine    the cosine of the largest turn that a side of a triangle may make
    most_scale     by how many times sides may be longer or shorter
    """
    maps, scores = np.zeros((keep, 3, 4)), np.full(keep, -1.0)
    _draw(
        reading(fixed, np.float64),
        reading(moving, np.float64),
        reading(weight, np.float64),
        reading(likely, np.float64),
        most_cosine,
        most_scale,
        np.uint64(seed),
        count,
        maps,
        scores,
    )
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    return maps[order], scores[order]


@njit(nogil=True, cache=True)
def _random(state):  # type: ignore[no-untyped-def]
    """The next state of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), and a number in [0, 1)."""
    state = np.uint64(state + np.uint64(0x9E3779B97F4A7C15))
    z = state
    z = np.uint64((z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
    z = np.uint64((z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
    z = z ^ (z >> np.uint64(31))
    return state, np.float64(z >> np.uint64(11)) / 9007199254740992.0


@njit(nogil=True, cache=True)
def _fits(fixed, moving, a, b, most_cosine, most_scale):  # type: ignore[no-untyped-def]
    """Whether two matches can both be right: their sides are of like length and direction."""
    f2 = m2 = dot = 0.0
    for d in range(3):
        f, m = fixed[b, d] - fixed[a, d], moving[b, d] - moving[a, d]
        f2 += f * f
        m2 += m * m
        dot += f * m
    if f2 < LEAST_APART * LEAST_APART or m2 < LEAST_APART * LEAST_APART:
        return False
    if m2 > f2 * most_scale * most_scale or f2 > m2 * most_scale * most_scale:
        return False
    return dot >= most_cosine * np.sqrt(f2 * m2)


@njit(nogil=True, cache=True)
def _draw(fixed, moving, weight, likely, most_cosine, most_scale, state, count, maps, scores):  # type: ignore[no-untyped-def]
    n = fixed.shape[0]
    t = np.empty((3, 4))
    frame = np.empty((2, 3, 3))
    rows = np.empty(3, np.int64)
    for _ in range(count):
        for m in range(3):
            state, number = _random(state)
            rows[m] = min(np.searchsorted(likely, number, "right"), n - 1)
        a, b, c = rows[0], rows[1], rows[2]
        if a in (b, c) or b == c or not _fits(fixed, moving, a, b, most_cosine, most_scale):
            continue
        if not _fits(fixed, moving, a, c, most_cosine, most_scale):
            continue
        if not _fits(fixed, moving, b, c, most_cosine, most_scale):
            continue
        if not (_framed(fixed, a, b, c, frame[0]) and _framed(moving, a, b, c, frame[1])):
            continue
        scale = _round(moving, a, b, c) / _round(fixed, a, b, c)
        for i in range(3):
            for j in range(3):
                t[i, j] = 0.0
                for d in range(3):
                    t[i, j] += scale * frame[1, i, d] * frame[0, j, d]
        for i in range(3):
            t[i, 3] = (moving[a, i] + moving[b, i] + moving[c, i]) / 3
            for j in range(3):
                t[i, 3] -= t[i, j] * (fixed[a, j] + fixed[b, j] + fixed[c, j]) / 3
        score = _score(fixed, moving, weight, t)
        worst = np.argmin(scores)
        if score > scores[worst]:
            scores[worst] = score
            maps[worst] = t


@njit(nogil=True, cache=True)
def _framed(p, a, b, c, frame):  # type: ignore[no-untyped-def]
    """The triangle's own axes in columns; whether it is thick enough to have them."""
    ux, uy, uz = p[b, 0] - p[a, 0], p[b, 1] - p[a, 1], p[b, 2] - p[a, 2]
    vx, vy, vz = p[c, 0] - p[a, 0], p[c, 1] - p[a, 1], p[c, 2] - p[a, 2]
    base = np.sqrt(ux * ux + uy * uy + uz * uz)
    wx, wy, wz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    area = np.sqrt(wx * wx + wy * wy + wz * wz)
    if area < LEAST_HEIGHT * base * base:
        return False
    ux, uy, uz, wx, wy, wz = ux / base, uy / base, uz / base, wx / area, wy / area, wz / area
    frame[0, 0], frame[1, 0], frame[2, 0] = ux, uy, uz
    frame[0, 1], frame[1, 1], frame[2, 1] = wy * uz - wz * uy, wz * ux - wx * uz, wx * uy - wy * ux
    frame[0, 2], frame[1, 2], frame[2, 2] = wx, wy, wz
    return True


@njit(nogil=True, cache=True)
def _round(p, a, b, c):  # type: ignore[no-untyped-def]
    total = 0.0
    for one, other in ((a, b), (b, c), (c, a)):
        d2 = 0.0
        for d in range(3):
            d2 += (p[one, d] - p[other, d]) ** 2
        total += np.sqrt(d2)
    return total


@njit(nogil=True, cache=True)
def _score(fixed, moving, weight, t):  # type: ignore[no-untyped-def]
    total = 0.0
    for n in range(fixed.shape[0]):
        d2 = 0.0
        for i in range(3):
            away = t[i, 0] * fixed[n, 0] + t[i, 1] * fixed[n, 1] + t[i, 2] * fixed[n, 2] + t[i, 3] - moving[n, i]
            d2 += away * away
        if d2 < LONGEST:
            share = 0.0
            for r in range(REACHES.shape[0]):
                share += max(0.0, 1 - d2 / (REACHES[r] * REACHES[r]))
            total += weight[n] * share / REACHES.shape[0]
    return total
