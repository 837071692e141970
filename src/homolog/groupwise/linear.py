"""The linear stage: a map of each image, in which matches that are likely right come near each other.

Published: for each axis a scale and a shift, by the ratio of variances and the difference of means, half of the way at
each step. Ours does the same for all directions at once: the map that gives an image's matched points the mean and the
covariance of what they are matched with, turned so that the two agree best. Least squares would not do: the nearest way
to bring noisy matches together is to shrink every patient, and those most who match worst. What all images do alike is
taken away (the gauge).
"""

from __future__ import annotations

import numpy as np

from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.edges import Cloud
from homolog.groupwise.state import Marks, Mixtures, Trace
from homolog.kernels import half_edges
from homolog.kernels.half_edges import Moments
from homolog.kernels.points import moved

STAGE = "linear"
# Steps between two looks at which matches are right; the affine stage looks before each.
REFRESH = 10
# mm: the affine stage ends when no point moves by more.
SETTLED_MM = 0.05
# How strongly an image's step is held to none, in matches that agree: few matches shear nobody.
HELD = 20.0
# mm: matched points that spread less than this in some direction say nothing of how to stretch in it.
LEAST_SPREAD_MM = 5.0


def boxes(cloud: Cloud) -> np.ndarray:
    """(N, 4, 4): shifts that lay the middles of the images' boxes of points on their mean."""
    images = [cloud.of(image) for image in range(len(cloud))]
    middles = np.array([(points.min(axis=0) + points.max(axis=0)) / 2 for points in images])
    matrices = np.tile(np.eye(4), (len(cloud), 1, 1))
    matrices[:, :3, 3] = middles.mean(axis=0) - middles
    return matrices


def settled(
    cloud: Cloud,
    matrices: np.ndarray,
    mixtures: Mixtures,
    config: FrogConfig,
    trace: Trace,
    held: np.ndarray | None = None,
) -> tuple[np.ndarray, bool]:
    """Better maps (N, 4, 4) from these, and whether they had settled before the steps were used up.

    held  (N,) bool: images whose maps are not to change
    """
    if config.linear == "affine":
        return _affine(cloud, matrices, mixtures, config, trace, held)
    return _published(cloud, matrices, mixtures, config, trace, held), True


def carried(matrices: np.ndarray, position: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(P, 3): the points of each image under its matrix."""
    return np.concatenate([moved(each, position[a:b]) for each, a, b in zip(matrices, start, start[1:])])


def _by_image(found: Moments, cloud: Cloud) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 4, 4) each: sums of w p p^T, w q q^T and w q p^T over an image's matches, p its own ends, q the others."""
    own, other, cross = np.zeros((3, len(cloud), 4, 4))
    for block, (one, two) in enumerate(cloud.edges.images):
        first, second = found.own[block]
        own[one], other[one], cross[one] = own[one] + first, other[one] + second, cross[one] + found.cross[block].T
        own[two], other[two], cross[two] = own[two] + second, other[two] + first, cross[two] + found.cross[block]
    return own, other, cross


def _marks(trace: Trace, matrices: np.ndarray) -> np.ndarray | None:
    marks: Marks | None = trace.landmarks
    return None if marks is None else carried(matrices, marks.position, marks.start)


# ---------------------------------------------------------------------------------------------------------------------
# As published


def _published(
    cloud: Cloud, matrices: np.ndarray, mixtures: Mixtures, config: FrogConfig, trace: Trace, held: np.ndarray | None
) -> np.ndarray:
    before = np.tile(np.eye(4), (len(matrices), 1, 1))
    if not np.array_equal(matrices[:, :3, :3], before[:, :3, :3]):
        # a start that turns is gone on from: what may be done to it is only done after it
        before, matrices = matrices, before
    scale, shift = np.ones((len(matrices), 3)), matrices[:, :3, 3].copy()
    for step in range(config.linear_steps):
        now = _diagonal(scale, shift) @ before
        position = carried(now, cloud.position, cloud.start)
        if step % REFRESH == 0:
            mixtures.refresh(cloud, position)
        found = half_edges.moments(position, cloud.edges, mixtures.curves())
        trace.add(STAGE, step, found.energy, _marks(trace, now))
        q, t = _axis_steps(found, cloud, config)
        if held is not None:
            q[held], t[held] = 1.0, 0.0
        # the shift is not multiplied by the step's scale: a small defect of the original, which moves less each time
        scale, shift = scale * q, shift + t
    return np.asarray(_diagonal(scale, shift) @ before)


def _axis_steps(found: Moments, cloud: Cloud, config: FrogConfig) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) and (N, 3) mm: by what scales are multiplied, and what is added to shifts."""
    rate = config.linear_rate
    own, other, _ = _by_image(found, cloud)
    weight = np.maximum(own[:, 3, 3:], 1e-300)
    (mean_own, var_own), (mean_other, var_other) = (_along_axes(each, weight) for each in (own, other))
    q = np.ones_like(var_own)
    if config.linear == "scales":
        sound = (var_own > 0) & (var_other > 0)
        q[sound] = (var_other[sound] / var_own[sound]) ** (rate / 2)
    return q, rate * (mean_other - mean_own) + (1 - q) * mean_own


def _along_axes(sums: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) and (N, 3): the mean and the variance along each axis, of sums (N, 4, 4) of w p p^T."""
    mean = sums[:, :3, 3] / weight
    return mean, np.einsum("nii->ni", sums)[:, :3] / weight - mean**2


def _diagonal(scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrices = np.tile(np.eye(4), (len(scale), 1, 1))
    for axis in range(3):
        matrices[:, axis, axis] = scale[:, axis]
    matrices[:, :3, 3] = shift
    return matrices


# ---------------------------------------------------------------------------------------------------------------------
# Affine


def _affine(
    cloud: Cloud, matrices: np.ndarray, mixtures: Mixtures, config: FrogConfig, trace: Trace, held: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    matrices, position = matrices.copy(), carried(matrices, cloud.position, cloud.start)
    for step in range(config.linear_steps):
        position = carried(matrices, cloud.position, cloud.start)
        mixtures.refresh(cloud, position)
        found = half_edges.moments(position, cloud.edges, mixtures.curves())
        trace.add(STAGE, step, found.energy, _marks(trace, matrices))
        steps = _steps(found, cloud, config.linear_rate, held)
        matrices = steps @ matrices
        if np.abs(carried(steps, position, cloud.start) - position).max(initial=0.0) < SETTLED_MM:
            return _of_mean_size(matrices, position, cloud, held), True
    return _of_mean_size(matrices, position, cloud, held), False


def _steps(found: Moments, cloud: Cloud, rate: float, held: np.ndarray | None) -> np.ndarray:
    """(N, 4, 4): what each image does; nothing in common, unless some are held and the others have to follow."""
    own, other, cross = _by_image(found, cloud)
    steps = np.stack([_step(*each, rate) for each in zip(own, other, cross)])
    if held is not None:
        steps[held] = np.eye(4)
        return steps
    weight = own[:, 3, 3]
    if not weight.any():
        return steps
    # images count in what is common by their matches; others have no part in it
    common = np.linalg.inv(np.einsum("n,nij->ij", weight / weight.sum(), steps))
    steps[weight > 0] = common @ steps[weight > 0]
    return steps


def _step(own: np.ndarray, other: np.ndarray, cross: np.ndarray, rate: float) -> np.ndarray:
    """(4, 4): a share of the way to the map that gives points the mean and the covariance of what they match.

    own, other, cross  (4, 4): the sums of w p p^T, w q q^T and w q p^T over an image's matches, p = (x, y, z, 1) mm
    """
    step, weight = np.eye(4), own[3, 3]
    if not weight > 0:
        return step
    p, q = own[:3, 3] / weight, other[:3, 3] / weight
    spread, spread_there = (each[:3, :3] / weight - np.outer(m, m) for each, m in ((own, p), (other, q)))
    both = cross[:3, :3] / weight - np.outer(q, p)
    rate *= weight / (weight + HELD)
    if np.linalg.eigvalsh(spread)[0] > LEAST_SPREAD_MM**2 < np.linalg.eigvalsh(spread_there)[0]:
        step[:3, :3] += rate * (_laying(spread, spread_there, both) - np.eye(3))
    step[:3, 3] = p - step[:3, :3] @ p + rate * (q - p)
    return step


def _laying(spread: np.ndarray, spread_there: np.ndarray, both: np.ndarray) -> np.ndarray:
    """(3, 3): L with L spread L^T = spread_there, of all such that which agrees best with the covariance of both."""
    less = _roots(spread)[1]
    root, less_there = _roots(spread_there)
    u, _, vt = np.linalg.svd(less_there @ both @ less)
    # never a reflection: a mirrored patient is no motion
    return root @ u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt @ less


def _roots(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The symmetric square root, and its inverse."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T


def _of_mean_size(matrices: np.ndarray, position: np.ndarray, cloud: Cloud, held: np.ndarray | None) -> np.ndarray:
    """The same maps into a common space of the patients' mean size, about the middle of all points.

    Images without matches have no part in it.
    """
    joined = np.unique(cloud.edges.images[np.diff(cloud.edges.start) > 0])
    if held is not None or not len(joined):
        return matrices
    middle = position[np.isin(cloud.image_of_rows(), joined)].mean(axis=0)
    growth = np.exp(-np.log(np.abs(np.linalg.det(matrices[joined, :3, :3]))).mean() / 3)
    common = np.diag([growth, growth, growth, 1.0])
    common[:3, 3] = middle * (1 - growth)
    matrices[joined] = common @ matrices[joined]
    return matrices
