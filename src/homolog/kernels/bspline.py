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
    value, slope = basis(controls - base), _basis_slope(controls - base)
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


def basis(f):  # type: ignore[no-untyped-def]
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


@njit(inline="always", cache=True)
def _inside(flat, corner, nj, nk, wi, wj, wk, out):  # type: ignore[no-untyped-def]
    """Fills out (3,) where no control is repeated: twelve numbers in a row of k at once, which processors add together.

    corner  the number of the control (-1, -1, -1) from the point
    """
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = 0.0
    for a in range(4):
        for b in range(4):
            start = np.uintp(3 * (corner + (a * nj + b) * nk))
            row, weight = flat[start : start + np.uintp(12)], wi[a] * wj[b]
            a0, a1, a2 = a0 + weight * row[0], a1 + weight * row[1], a2 + weight * row[2]
            b0, b1, b2 = b0 + weight * row[3], b1 + weight * row[4], b2 + weight * row[5]
            c0, c1, c2 = c0 + weight * row[6], c1 + weight * row[7], c2 + weight * row[8]
            d0, d1, d2 = d0 + weight * row[9], d1 + weight * row[10], d2 + weight * row[11]
    out[0] = wk[0] * a0 + wk[1] * b0 + wk[2] * c0 + wk[3] * d0
    out[1] = wk[0] * a1 + wk[1] * b1 + wk[2] * c1 + wk[3] * d1
    out[2] = wk[0] * a2 + wk[1] * b2 + wk[2] * c2 + wk[3] * d2


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _evaluate(coefficients, controls, vectors, gradient):  # type: ignore[no-untyped-def]
    """Fills vectors (N, 3), and gradient (N, 3, 3) unless it is empty."""
    ni, nj, nk = coefficients.shape[0], coefficients.shape[1], coefficients.shape[2]
    flat = coefficients.reshape(ni * nj * nk * 3)
    wants_gradient = len(gradient) > 0
    wi, wj, wk = np.empty(4), np.empty(4), np.empty(4)
    di, dj, dk = np.empty(4), np.empty(4), np.empty(4)
    ps, qs, ks = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(4, np.int64)
    for n in range(len(controls)):
        # far beyond the lattice all sixty-four neighbours are the same edge: clamping keeps the index an integer
        x = min(max(controls[n, 0], -4.0), ni + 3.0)
        y = min(max(controls[n, 1], -4.0), nj + 3.0)
        z = min(max(controls[n, 2], -4.0), nk + 3.0)
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        _weights(x - i, wi, di)
        _weights(y - j, wj, dj)
        _weights(z - k, wk, dk)
        if not wants_gradient and 0 < i < ni - 2 and 0 < j < nj - 2 and 0 < k < nk - 2:
            _inside(flat, ((i - 1) * nj + j - 1) * nk + k - 1, nj, nk, wi, wj, wk, vectors[n])
            continue
        for c in range(4):
            ps[c] = min(max(i + c - 1, 0), ni - 1) * nj
            qs[c] = min(max(j + c - 1, 0), nj - 1)
            ks[c] = 3 * min(max(k + c - 1, 0), nk - 1)
        if ni == 1:
            # one control goes on in both directions: its four weights are one, their slopes cancel
            wi[0], di[0] = 1.0, 0.0
        u, v, w = 0.0, 0.0, 0.0
        for m in range(9 if wants_gradient else 0):
            gradient[n, m // 3, m % 3] = 0.0
        for a in range(np.uintp(1 if ni == 1 else 4)):
            for b in range(4):
                row = (ps[a] + qs[b]) * nk * 3
                weight = wi[a] * wj[b]
                e, f, g = np.uintp(row + ks[0]), np.uintp(row + ks[1]), np.uintp(row + ks[2])
                h = np.uintp(row + ks[3])
                one, two = np.uintp(1), np.uintp(2)
                lu = wk[0] * flat[e] + wk[1] * flat[f] + wk[2] * flat[g] + wk[3] * flat[h]
                lv = wk[0] * flat[e + one] + wk[1] * flat[f + one] + wk[2] * flat[g + one] + wk[3] * flat[h + one]
                lw = wk[0] * flat[e + two] + wk[1] * flat[f + two] + wk[2] * flat[g + two] + wk[3] * flat[h + two]
                u += weight * lu
                v += weight * lv
                w += weight * lw
                if wants_gradient:
                    along_i, along_j = di[a] * wj[b], wi[a] * dj[b]
                    su = dk[0] * flat[e] + dk[1] * flat[f] + dk[2] * flat[g] + dk[3] * flat[h]
                    sv = dk[0] * flat[e + one] + dk[1] * flat[f + one] + dk[2] * flat[g + one] + dk[3] * flat[h + one]
                    sw = dk[0] * flat[e + two] + dk[1] * flat[f + two] + dk[2] * flat[g + two] + dk[3] * flat[h + two]
                    gradient[n, 0, 0] += along_i * lu
                    gradient[n, 0, 1] += along_j * lu
                    gradient[n, 0, 2] += weight * su
                    gradient[n, 1, 0] += along_i * lv
                    gradient[n, 1, 1] += along_j * lv
                    gradient[n, 1, 2] += weight * sv
                    gradient[n, 2, 0] += along_i * lw
                    gradient[n, 2, 1] += along_j * lw
                    gradient[n, 2, 2] += weight * sw
        vectors[n, 0], vectors[n, 1], vectors[n, 2] = u, v, w


def evaluate(coefficients: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """The field at points.

    coefficients  (I, J, K, 3) float64 mm
    controls      (N, 3) float64, in steps of the control lattice, coefficient (0, 0, 0) at 0
    returns       (N, 3) float64 mm
    """
    vectors = np.empty((len(controls), 3))
    _evaluate(reading(coefficients, np.float64), reading(controls, np.float64), vectors, np.empty((0, 3, 3)))
    return vectors


def evaluate_gradient(coefficients: np.ndarray, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The field, and its (N, 3, 3) derivative in mm a lattice step: row the component, column the lattice axis."""
    vectors, gradient = np.empty((len(controls), 3)), np.empty((len(controls), 3, 3))
    _evaluate(reading(coefficients, np.float64), reading(controls, np.float64), vectors, gradient)
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
