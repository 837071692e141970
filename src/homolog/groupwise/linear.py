"""The linear stage: a map of each image, in which matches that are likely right come near each other.

Published: for each axis a scale and a shift, by the ratio of variances and the difference of means, half of the way at
each step. Ours: affine maps of all images at once, those of least weighted squared distance between the ends of all
matches. Unless something holds them, the nearest way to bring all matches together is to shrink every patient to a
point; so the mean over images of the step is held to be no motion (the gauge), which the least squares problem takes
as a constraint.
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
# Steps between two looks at which matches are right; in the published program, and in ours, where a step goes the
# whole way.
REFRESH, REFRESH_AFFINE = 10, 1
# mm: the affine stage ends when no point moves by more.
SETTLED_MM = 0.05
# How strongly an image's step is held to none, in matches that agree: few matches shear nobody.
HELD = 20.0


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
    weight, own, own2, other, other2 = _by_image(found, cloud)
    mean_own, mean_other = own / weight, other / weight
    var_own, var_other = own2 / weight - mean_own**2, other2 / weight - mean_other**2
    q = np.ones_like(var_own)
    if config.linear == "scales":
        sound = (var_own > 0) & (var_other > 0)
        q[sound] = (var_other[sound] / var_own[sound]) ** (rate / 2)
    return q, rate * (mean_other - mean_own) + (1 - q) * mean_own


def _by_image(found: Moments, cloud: Cloud) -> tuple[np.ndarray, ...]:
    """For each image: the sum of weights (N, 1), and over axes (N, 3) of w a, w a^2, w b, w b^2, b being other ends."""
    sums = np.zeros((len(cloud), 4, 3))
    weight = np.zeros((len(cloud), 1))
    for block, (one, two) in enumerate(cloud.edges.images):
        for image, mine, other in ((one, 0, 1), (two, 1, 0)):
            a, b = found.own[block, mine], found.own[block, other]
            weight[image] += a[3, 3]
            sums[image] += a[:3, 3], np.diag(a)[:3], b[:3, 3], np.diag(b)[:3]
    return (np.maximum(weight, 1e-300), *np.moveaxis(sums, 1, 0))


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
        if step % REFRESH_AFFINE == 0:
            mixtures.refresh(cloud, position)
        found = half_edges.moments(position, cloud.edges, mixtures.curves())
        trace.add(STAGE, step, found.energy, _marks(trace, matrices))
        steps = joint_step(found, cloud.edges.images, len(cloud), held)
        matrices = steps @ matrices
        if np.abs(carried(steps, position, cloud.start) - position).max(initial=0.0) < SETTLED_MM:
            return _of_mean_size(matrices, position, cloud, held), True
    return _of_mean_size(matrices, position, cloud, held), False


def joint_step(found: Moments, images: np.ndarray, count: int, held: np.ndarray | None) -> np.ndarray:
    """(N, 4, 4): the maps of all images that bring matches nearest, their mean held to be no motion.

    With images held, whose maps are known, they are the gauge.
    """
    normal, pull = np.zeros((count, 4, count, 4)), np.zeros((count, 4, 3))
    for block, (one, two) in enumerate(images):
        own, cross = found.own[block], found.cross[block]
        normal[one, :, one] += own[0]
        normal[two, :, two] += own[1]
        normal[one, :, two] -= cross
        normal[two, :, one] -= cross.T
        # the wanted step from none: w p (q - p)
        pull[one] += (cross - own[0])[:, :3]
        pull[two] += (cross.T - own[1])[:, :3]
    size = 4 * count
    matrix, right = normal.reshape(size, size), pull.reshape(size, 3)
    diagonal = np.einsum("ninj->nij", normal).copy()
    matrix += _holding(diagonal)
    if not diagonal[:, 3, 3].any():
        # nothing pulls, and nobody counts in the mean
        return np.tile(np.eye(4), (count, 1, 1))
    free = np.ones(count, bool) if held is None else ~held
    if held is not None:
        rows = np.repeat(free, 4)
        step = np.zeros((size, 3))
        step[rows] = np.linalg.solve(matrix[np.ix_(rows, rows)], right[rows])
    else:
        # the mean of all steps is nothing: four equations more, scaled as the others are. Images count in it by their
        # matches, or one with few could make up, by moving far, for all others shrinking
        share = diagonal[:, 3, 3] / max(diagonal[:, 3, 3].mean(), 1e-300)
        constraint = float(np.trace(matrix)) / size * np.hstack([each * np.eye(4) for each in share])
        whole = np.block([[matrix, constraint.T], [constraint, np.zeros((4, 4))]])
        step = np.linalg.solve(whole, np.vstack((right, np.zeros((4, 3)))))[:size]
    steps = np.tile(np.eye(4), (count, 1, 1))
    steps[:, :3] += step.reshape(count, 4, 3).transpose(0, 2, 1)
    return steps


def _holding(diagonal: np.ndarray) -> np.ndarray:
    """A block diagonal that stands against any step, as that many points would that are spread as the image's own."""
    count = len(diagonal)
    out = np.zeros((count, 4, count, 4))
    for image, each in enumerate(diagonal):
        share = HELD / each[3, 3] if each[3, 3] > 0 else 0.0
        # a point or two do not spread: a metre-sized cloud stands in where there are none
        spread = share * each if share > 0 else np.diag([1e4, 1e4, 1e4, 1.0]) * HELD
        out[image, :, image] = spread + 1e-6 * np.diag(np.maximum(np.diag(spread), 1.0))
    return out.reshape(4 * count, 4 * count)


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
