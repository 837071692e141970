"""`bspline.evaluate` for GPUs: one launch for points carried by a spline, float64 as on the CPU.

torch alone takes some seven hundred launches for the 64 neighbours of a point, or gigabytes for all of them at once.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl


@triton.jit
def _basis(distance):
    """The spline at a distance from its middle, below 2 control spacings."""
    far = 2.0 - distance
    near = 2.0 / 3.0 - distance * distance + distance * distance * distance / 2.0
    return tl.where(distance < 1.0, near, far * far * far / 6.0)


@triton.jit
def _row(m, x, y, z):
    """One coordinate under a (3, 4) matrix; `m` points to its row."""
    return tl.load(m) * x + tl.load(m + 1) * y + tl.load(m + 2) * z + tl.load(m + 3)


@triton.jit
def _near(u, size):
    """The control point below a coordinate, and how far it is beyond that."""
    # far beyond the lattice all neighbours are the same edge: clamping keeps the index an integer
    u = tl.minimum(tl.maximum(u, -4.0), size + 3.0)
    low = tl.floor(u)
    return low.to(tl.int32), u - low


@triton.jit(do_not_specialize=["ni", "nj", "nk", "count"])
def _carry(points, out, coefficients, matrix, ni, nj, nk, count, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    valid = n < count
    x = tl.load(points + 3 * n, mask=valid, other=0.0).to(tl.float64)
    y = tl.load(points + 3 * n + 1, mask=valid, other=0.0).to(tl.float64)
    z = tl.load(points + 3 * n + 2, mask=valid, other=0.0).to(tl.float64)
    i, fi = _near(_row(matrix, x, y, z), ni.to(tl.float64))
    j, fj = _near(_row(matrix + 4, x, y, z), nj.to(tl.float64))
    k, fk = _near(_row(matrix + 8, x, y, z), nk.to(tl.float64))
    # a loop of the program, and not 64 copies, which compile for ten seconds
    for a in range(4):
        p = tl.minimum(tl.maximum(i + (a - 1), 0), ni - 1)
        for b in range(4):
            q = tl.minimum(tl.maximum(j + (b - 1), 0), nj - 1)
            across = _basis(tl.abs(fi - (a - 1))) * _basis(tl.abs(fj - (b - 1)))
            for c in tl.static_range(4):
                r = tl.minimum(tl.maximum(k + (c - 1), 0), nk - 1)
                control = coefficients + 3 * ((p * nj + q) * nk + r)
                weight = across * _basis(tl.abs(fk - (c - 1)))
                x += weight * tl.load(control).to(tl.float64)
                y += weight * tl.load(control + 1).to(tl.float64)
                z += weight * tl.load(control + 2).to(tl.float64)
    tl.store(out + 3 * n, x, mask=valid)
    tl.store(out + 3 * n + 1, y, mask=valid)
    tl.store(out + 3 * n + 2, z, mask=valid)


def carried(
    coefficients: torch.Tensor, control_from_world: np.ndarray, points: torch.Tensor, block: int = 128
) -> torch.Tensor:
    """Points moved by a spline.

    coefficients        (I, J, K, 3) mm, float64 or float32
    control_from_world  (4, 4) float64, on the host
    points              (N, 3) mm, float64 or float32
    returns             (N, 3) mm, of the points' dtype; added up in float64
    """
    out = torch.empty(points.shape, dtype=points.dtype, device=points.device)
    if len(points):
        # a tensor: Triton takes Python's floats for float32
        matrix = torch.from_numpy(np.array(control_from_world[:3], np.float64)).to(points.device)
        grid, sizes = (triton.cdiv(len(points), block),), coefficients.shape[:3]
        with torch.cuda.device_of(points):
            _carry[grid](points.contiguous(), out, coefficients.contiguous(), matrix, *sizes, len(points), block)
    return out
