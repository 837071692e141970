"""Uniform cubic B-spline vector fields: values and derivatives at points (Rueckert et al., IEEE TMI 18:712, 1999).

Beyond the lattice the coefficients are repeated by their nearest edge. So the field goes on smoothly, and padding a
lattice with its edge values, as a file format may need, changes nothing.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading

if TYPE_CHECKING:
    import torch


def evaluate_reference(coefficients: np.ndarray, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `evaluate`: the sum over the 64 control points around each position, as it is written."""
    base = np.floor(controls).astype(int)
    value, slope = _basis(controls - base), _basis_slope(controls - base)
    vectors, gradient = np.zeros((len(controls), 3)), np.zeros((len(controls), 3, 3))
    for a, b, c in product(range(4), repeat=3):
        index = np.clip(base + np.array([a - 1, b - 1, c - 1]), 0, np.array(coefficients.shape[:3]) - 1)
        control = coefficients[tuple(index.T)]
        wi, wj, wk = value[a, :, 0], value[b, :, 1], value[c, :, 2]
        di, dj, dk = slope[a, :, 0], slope[b, :, 1], slope[c, :, 2]
        vectors += (wi * wj * wk)[:, None] * control
        weights = np.stack((di * wj * wk, wi * dj * wk, wi * wj * dk), axis=1)
        gradient += control[:, :, None] * weights[:, None, :]
    return vectors, gradient


def _basis(f):  # type: ignore[no-untyped-def]
    """The four pieces of the spline at fraction f: weights of the control points -1, 0, 1, 2."""
    return np.stack(((1 - f) ** 3 / 6, 2 / 3 - f**2 + f**3 / 2, 2 / 3 - (1 - f) ** 2 + (1 - f) ** 3 / 2, f**3 / 6))


def _basis_slope(f):  # type: ignore[no-untyped-def]
    g = 1 - f
    return np.stack((-(g**2) / 2, -2 * f + 1.5 * f**2, 2 * g - 1.5 * g**2, f**2 / 2))


@njit(inline="always", cache=True)
def _weights(f, w, d):  # type: ignore[no-untyped-def]
    g = 1 - f
    w[0], w[1], w[2], w[3] = g * g * g / 6, 2 / 3 - f * f + f * f * f / 2, 2 / 3 - g * g + g * g * g / 2, f * f * f / 6
    d[0], d[1], d[2], d[3] = -g * g / 2, -2 * f + 1.5 * f * f, 2 * g - 1.5 * g * g, f * f / 2


@njit(nogil=True, cache=True)
def _evaluate(coefficients, controls, wants_gradient, vectors, gradient):  # type: ignore[no-untyped-def]
    ni, nj, nk = coefficients.shape[0], coefficients.shape[1], coefficients.shape[2]
    wi, wj, wk = np.empty(4), np.empty(4), np.empty(4)
    di, dj, dk = np.empty(4), np.empty(4), np.empty(4)
    ks = np.empty(4, np.int64)
    for n in range(len(controls)):
        # far beyond the lattice all sixty-four neighbours are the same edge: clamping keeps the index an integer
        x = min(max(controls[n, 0], -4.0), ni + 3.0)
        y = min(max(controls[n, 1], -4.0), nj + 3.0)
        z = min(max(controls[n, 2], -4.0), nk + 3.0)
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        _weights(x - i, wi, di)
        _weights(y - j, wj, dj)
        _weights(z - k, wk, dk)
        for c in range(4):
            ks[c] = min(max(k + c - 1, 0), nk - 1)
        for m in range(3):
            total = 0.0
            gi, gj, gk = 0.0, 0.0, 0.0
            for a in range(4):
                p = min(max(i + a - 1, 0), ni - 1)
                along_j, slope_j, slope_k = 0.0, 0.0, 0.0
                for b in range(4):
                    q = min(max(j + b - 1, 0), nj - 1)
                    c0, c1 = coefficients[p, q, ks[0], m], coefficients[p, q, ks[1], m]
                    c2, c3 = coefficients[p, q, ks[2], m], coefficients[p, q, ks[3], m]
                    line = wk[0] * c0 + wk[1] * c1 + wk[2] * c2 + wk[3] * c3
                    along_j += wj[b] * line
                    if wants_gradient:
                        slope_j += dj[b] * line
                        slope_k += wj[b] * (dk[0] * c0 + dk[1] * c1 + dk[2] * c2 + dk[3] * c3)
                total += wi[a] * along_j
                gi += di[a] * along_j
                gj += wi[a] * slope_j
                gk += wi[a] * slope_k
            vectors[n, m] = total
            if wants_gradient:
                gradient[n, m, 0], gradient[n, m, 1], gradient[n, m, 2] = gi, gj, gk


def evaluate(coefficients: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """The field at points.

    coefficients  (I, J, K, 3) float64 mm
    controls      (N, 3) float64, in steps of the control lattice, coefficient (0, 0, 0) at 0
    returns       (N, 3) float64 mm
    """
    vectors = np.empty((len(controls), 3))
    _evaluate(reading(coefficients, np.float64), reading(controls, np.float64), False, vectors, np.empty((0, 3, 3)))
    return vectors


def evaluate_gradient(coefficients: np.ndarray, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The field, and its (N, 3, 3) derivative in mm a lattice step: row the component, column the lattice axis."""
    vectors, gradient = np.empty((len(controls), 3)), np.empty((len(controls), 3, 3))
    _evaluate(reading(coefficients, np.float64), reading(controls, np.float64), True, vectors, gradient)
    return vectors, gradient


def evaluate_torch(coefficients: torch.Tensor, controls: torch.Tensor) -> torch.Tensor:
    """`evaluate` on torch tensors of one device; differentiable in both."""
    import torch

    last = torch.tensor(coefficients.shape[:3], device=controls.device) - 1
    controls = torch.minimum(controls.clamp(min=-4.0), (last + 4).to(controls.dtype))
    base = torch.floor(controls.detach())
    f = controls - base
    g = 1 - f
    weights = torch.stack((g**3 / 6, 2 / 3 - f**2 + f**3 / 2, 2 / 3 - g**2 + g**3 / 2, f**3 / 6))
    vectors = torch.zeros_like(controls)
    for a, b, c in product(range(4), repeat=3):
        steps = torch.tensor((a - 1, b - 1, c - 1), device=controls.device)
        i, j, k = torch.minimum((base.long() + steps).clamp(min=0), last).unbind(dim=1)
        weight = weights[a, :, 0] * weights[b, :, 1] * weights[c, :, 2]
        vectors = vectors + weight[:, None] * coefficients[i, j, k].to(controls.dtype)
    return vectors
