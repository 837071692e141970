"""Where does the point lie that a displacement field carries here? Solves u + d(u) = v point by point.

The fixed point of Chen et al. (Med. Phys. 35:81, 2008), u <- v - d(u), contracts only where the field's slope is below
one; where a step does not halve the error, a damped Newton step on the field's own trilinear piece takes over.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.displacement import sample_vectors_reference, vector_and_slope

# A fixed point that does better than this contracts well enough to need no derivative.
CONTRACTION = 0.5
MOST_STEPS = 60


def invert_points_reference(
    vectors: np.ndarray, targets: np.ndarray, steps: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `invert_points` where the field contracts: the fixed point alone, and the residual it ends with."""
    solution = targets - sample_vectors_reference(vectors, targets)
    for _ in range(steps):
        solution = targets - sample_vectors_reference(vectors, solution)
    residual = np.linalg.norm(solution + sample_vectors_reference(vectors, solution) - targets, axis=1)
    return solution, residual


@njit(inline="always", cache=True)
def _residual(vectors, u, v, d, slope, r):  # type: ignore[no-untyped-def]
    vector_and_slope(vectors, u[0], u[1], u[2], d, slope)
    r[0], r[1], r[2] = u[0] + d[0] - v[0], u[1] + d[1] - v[1], u[2] + d[2] - v[2]
    return np.sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2])


@njit(inline="always", cache=True)
def _newton_step(slope, r, step):  # type: ignore[no-untyped-def]
    """Solves (I + slope) step = -r by Cramer's rule; returns the determinant."""
    a, b, c = 1 + slope[0, 0], slope[0, 1], slope[0, 2]
    d, e, f = slope[1, 0], 1 + slope[1, 1], slope[1, 2]
    g, h, i = slope[2, 0], slope[2, 1], 1 + slope[2, 2]
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if abs(determinant) > 1e-9:
        step[0] = -((e * i - f * h) * r[0] + (c * h - b * i) * r[1] + (b * f - c * e) * r[2]) / determinant
        step[1] = -((f * g - d * i) * r[0] + (a * i - c * g) * r[1] + (c * d - a * f) * r[2]) / determinant
        step[2] = -((d * h - e * g) * r[0] + (b * g - a * h) * r[1] + (a * e - b * d) * r[2]) / determinant
    return determinant


@njit(inline="always", cache=True)
def _solve_one(vectors, v, u, tolerance, d, slope, r, step, trial):  # type: ignore[no-untyped-def]
    """Improves u until u + d(u) is within tolerance of v; returns the error reached."""
    error = _residual(vectors, u, v, d, slope, r)
    newton = False
    for _ in range(MOST_STEPS):
        if error <= tolerance:
            break
        if newton:
            if abs(_newton_step(slope, r, step)) <= 1e-9:
                break
        else:
            step[0], step[1], step[2] = -r[0], -r[1], -r[2]
        length, before = 1.0, error
        while length > 1e-3:
            for m in range(3):
                trial[m] = u[m] + length * step[m]
            error = _residual(vectors, trial, v, d, slope, r)
            if error < before or not newton:
                break
            length *= 0.5
        if error >= before:
            # neither went down: back to where it was, and the other step if that has not been tried
            error = _residual(vectors, u, v, d, slope, r)
            if newton:
                break
            newton = True
            continue
        u[0], u[1], u[2] = trial[0], trial[1], trial[2]
        newton = error > CONTRACTION * before
    return error


@njit(nogil=True, cache=True)
def _invert_points(vectors, targets, tolerance, solution, residual):  # type: ignore[no-untyped-def]
    d, r, step, trial, u = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    slope = np.empty((3, 3))
    for n in range(len(targets)):
        v = targets[n]
        near = n > 0 and residual[n - 1] <= tolerance
        if near:
            for m in range(3):
                near = near and abs(v[m] - targets[n - 1, m]) < 2.0
        residual[n] = np.inf
        # three places to start from, each tried only if the one before failed (as it can on the wrong side of a fold):
        # the neighbour's displacement, from which one or two steps are left in a row of voxels; its own; none
        for start in range(0 if near else 1, 3):
            if start == 1:
                vector_and_slope(vectors, v[0], v[1], v[2], d, slope)
            for m in range(3):
                if start == 0:
                    u[m] = v[m] + solution[n - 1, m] - targets[n - 1, m]
                else:
                    u[m] = v[m] - d[m] if start == 1 else v[m]
            error = _solve_one(vectors, v, u, tolerance, d, slope, r, step, trial)
            if error < residual[n]:
                residual[n] = error
                solution[n, 0], solution[n, 1], solution[n, 2] = u[0], u[1], u[2]
            if error <= tolerance:
                break


def invert_points(
    vectors: np.ndarray, targets: np.ndarray, tolerance: float, out: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """The points that a field in voxel units carries to the targets.

    vectors    (I, J, K, 3) float32, displacement in voxels of its own lattice
    targets    (N, 3) float64, voxel coordinates; neighbours in sequence are solved fastest
    tolerance  voxels
    returns    solution (N, 3) float64 with solution + d(solution) = target, and the residual (N,) voxels; where it
               exceeds the tolerance no such point was found: the field folds or tears there
    """
    solution, residual = out or (np.empty((len(targets), 3)), np.empty(len(targets)))
    _invert_points(reading(vectors, np.float32), reading(targets, np.float64), tolerance, solution, residual)
    return solution, residual
