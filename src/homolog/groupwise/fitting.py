"""How each image fits into its group, by its matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from homolog.groupwise.edges import Cloud
from homolog.groupwise.group import Fit
from homolog.groupwise.state import Mixtures
from homolog.kernels import mixture
from homolog.space.keypoints import Keypoints

# Bins of the histograms that are given back, mm and how many; more lies beyond.
BIN_MM, BINS = 1.0, 200
# An image with fewer right matches than this, in all, does not fit; nor one with so small a share of them, or whose
# right matches scatter so many times as much as those of the others.
FEWEST_RIGHT, LEAST_SHARE, MOST_SCATTER = 12, 0.01, 3.0
# mm: between patients right matches scatter by about this; less, between two scans of one, is no measure for others.
USUAL_MM = 3.0
# A linear map that makes a patient longer or shorter than this, along any axis, is led by wrong matches.
MOST_STRETCH = 1.7
STRANGE = (
    "its matches agree with those of no other image any better than chance lets them: another part of the body, "
    "another modality, or turned? It was left where it lay"
)
STRETCHED = (
    "to fit it would be {:.1f} times as large in one direction and {:.1f} in another: is its voxel size right, or has "
    "it too little in common? It was left out"
)
LOST = "no linear map brings its matches together with those of the others: too little in common? It was left out"


def by_millimetre(counts: np.ndarray) -> np.ndarray:
    """(N, BINS) by the millimetre."""
    each = round(BIN_MM / mixture.BIN_MM)
    return counts[:, : BINS * each].reshape(len(counts), BINS, each).sum(axis=2)


def lost(matrices: np.ndarray, mixtures: Mixtures, astray: Mapping[int, str]) -> dict[int, str]:
    """Images that the linear stage has led astray, besides those that are known to be, and what is to be said of them.

    matrices  (N, 4, 4) common from image
    """
    usual, found = _usual_mm(mixtures, astray), {}
    for image, (matrix, figures) in enumerate(zip(matrices, mixtures.figures)):
        if image in astray:
            continue
        if said := stretched(matrix):
            found[image] = said
        elif figures[0] > MOST_SCATTER * usual:
            found[image] = LOST
    return found


def stretched(matrix: np.ndarray) -> str | None:
    """What is to be said of a linear map (4, 4) that no two patients ask for."""
    stretch = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if stretch[0] <= MOST_STRETCH and stretch[2] >= 1 / MOST_STRETCH:
        return None
    return STRETCHED.format(stretch[0], stretch[2])


def judged(
    keypoints: Sequence[Keypoints],
    whole: Cloud,
    used: Cloud,
    position: np.ndarray,
    mixtures: Mixtures,
    astray: Mapping[int, str],
) -> tuple[np.ndarray, tuple[Fit, ...]]:
    """(M,) how sure each match that was used is right, and what that says of each image.

    whole   all matches, of those too that were not used
    astray  images that were left out, and why
    """
    count, usual = len(keypoints), _usual_mm(mixtures, astray)
    given, right, square = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count)
    np.add.at(given, whole.edges.images, np.diff(whole.edges.start)[:, None])
    weight = np.empty(len(used.edges))
    # pair by pair: of a hundred images, all matches at once would not fit in memory
    for (one, two), start, stop in zip(used.edges.images, used.edges.start, used.edges.start[1:]):
        first, second = used.edges.rows[start:stop].T
        apart = np.linalg.norm(position[second] - position[first], axis=1)
        sure = [mixture.probability(apart, mixtures.figures[image]) for image in (one, two)]
        weight[start:stop] = np.minimum(*sure)
        near = apart[weight[start:stop] > 0.5]
        for image in (one, two):
            right[image] += len(near)
            square[image] += near @ near
    residual = np.sqrt(np.divide(square, right, out=np.full(count, np.nan), where=right > 0))
    fits = [
        Fit(points.space, int(given[image]), int(right[image]), float(residual[image]), *mixtures.figures[image])
        for image, points in enumerate(keypoints)
    ]
    doubts = [(astray[image],) if image in astray else _doubts(fit, usual) for image, fit in enumerate(fits)]
    return weight, tuple(replace(fit, doubts=said) for fit, said in zip(fits, doubts))


def _usual_mm(mixtures: Mixtures, astray: Mapping[int, str]) -> float:
    """What right matches of most images scatter by."""
    scatters = [figures[0] for image, figures in enumerate(mixtures.figures) if image not in astray]
    return max(USUAL_MM, float(np.median(scatters or [0.0])))


def _doubts(fit: Fit, usual_mm: float) -> tuple[str, ...]:
    said = []
    if fit.inliers < FEWEST_RIGHT or fit.share < LEAST_SHARE:
        said.append(f"only {fit.inliers} of its {fit.matches} matches are right ({100 * fit.share:.1f} %)")
    if fit.scatter_mm > MOST_SCATTER * usual_mm:
        said.append(f"its right matches scatter by {fit.scatter_mm:.1f} mm, those of most images by {usual_mm:.1f}")
    return tuple(said)
