"""How each image fits into its group, by its matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from homolog.groupwise.edges import Cloud
from homolog.groupwise.group import Fit
from homolog.groupwise.state import Mixtures
from homolog.kernels import half_edges, mixture
from homolog.space.keypoints import Keypoints

# Bins of the histograms that are given back, mm and how many; more lies beyond.
BIN_MM, BINS = 1.0, 200
# An image with fewer right matches than this, in all, does not fit; nor one with so small a share of them, or whose
# right matches scatter so many times as much as those of the others.
FEWEST_RIGHT, LEAST_SHARE, MOST_SCATTER = 12, 0.01, 3.0
# mm: between patients right matches scatter by about this; less, between two scans of one, is no measure for others.
USUAL_MM = 3.0


def by_millimetre(counts: np.ndarray) -> np.ndarray:
    """(N, BINS) by the millimetre."""
    each = round(BIN_MM / mixture.BIN_MM)
    return counts[:, : BINS * each].reshape(len(counts), BINS, each).sum(axis=2)


def judged(
    keypoints: Sequence[Keypoints], used: Cloud, position: np.ndarray, mixtures: Mixtures, strangers: np.ndarray
) -> tuple[np.ndarray, tuple[Fit, ...]]:
    """(M,) how sure each match is right, and what that says of each image."""
    weight, square = half_edges.weights_reference(position, used.edges, mixtures.curves())
    apart = np.sqrt(square)
    images = np.repeat(used.edges.images, np.diff(used.edges.start), axis=0)
    fits = []
    scatters = [figures[0] for figures, away in zip(mixtures.figures, strangers) if not away]
    usual = max(USUAL_MM, float(np.median(scatters or [0.0])))
    for image, points in enumerate(keypoints):
        mine = (images == image).any(axis=1)
        right = mine & (weight > 0.5)
        fit = Fit(
            points.space,
            int(mine.sum()),
            int(right.sum()),
            float(np.sqrt((apart[right] ** 2).mean())) if right.any() else float("nan"),
            *mixtures.figures[image],
        )
        fits.append(replace(fit, doubts=_doubts(fit, bool(strangers[image]), usual)))
    return weight, tuple(fits)


def _doubts(fit: Fit, is_stranger: bool, usual_mm: float) -> tuple[str, ...]:
    if is_stranger:
        return (
            "its matches agree with those of no other image any better than chance lets them: another part of the "
            "body, another modality, or turned? It was left where it lay",
        )
    said = []
    if fit.inliers < FEWEST_RIGHT or fit.share < LEAST_SHARE:
        said.append(f"only {fit.inliers} of its {fit.matches} matches are right ({100 * fit.share:.1f} %)")
    if fit.scatter_mm > MOST_SCATTER * usual_mm:
        said.append(f"its right matches scatter by {fit.scatter_mm:.1f} mm, those of most images by {usual_mm:.1f}")
    return tuple(said)
