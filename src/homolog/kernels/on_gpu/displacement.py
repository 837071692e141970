"""`displacement.displace` for GPUs: the voxels of a lattice, where they lie and where a field carries them."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def _row(m, i, j, k):
    return tl.load(m) * i + tl.load(m + 1) * j + tl.load(m + 2) * k + tl.load(m + 3)


@triton.jit
def _cell(u, size):
    """A coordinate clamped onto the lattice, as lower and upper index and fraction."""
    u = tl.minimum(tl.maximum(u, 0.0), size - 1.0)
    low = u.to(tl.int32)
    return low, tl.minimum(low + 1, size - 1), (u - low).to(tl.float32)


@triton.jit(do_not_specialize=["first", "nj", "nk", "fi", "fj", "fk", "count"])
def _place(vectors, matrices, carried, place, first, nj, nk, fi, fj, fk, count, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    valid = n < count
    voxel = n + first
    i = (voxel // (nj * nk)).to(tl.float64)
    j = (voxel // nk % nj).to(tl.float64)
    k = (voxel % nk).to(tl.float64)
    i0, i1, u = _cell(_row(matrices, i, j, k), fi)
    j0, j1, v = _cell(_row(matrices + 4, i, j, k), fj)
    k0, k1, w = _cell(_row(matrices + 8, i, j, k), fk)
    a, b, c, d = (i0 * fj + j0) * fk, (i0 * fj + j1) * fk, (i1 * fj + j0) * fk, (i1 * fj + j1) * fk
    for m in tl.static_range(3):
        va = _on_row(vectors + m, a, k0, k1, w)
        vb = _on_row(vectors + m, b, k0, k1, w)
        vc = _on_row(vectors + m, c, k0, k1, w)
        vd = _on_row(vectors + m, d, k0, k1, w)
        low, high = va + v * (vb - va), vc + v * (vd - vc)
        at = _row(matrices + 12 + 4 * m, i, j, k)
        tl.store(place + 3 * n + m, at.to(tl.float32), mask=valid)
        tl.store(carried + 3 * n + m, (at + low + u * (high - low)).to(tl.float32), mask=valid)


@triton.jit
def _on_row(vectors, row, k0, k1, w):
    low = tl.load(vectors + 3 * (row + k0))
    return low + w * (tl.load(vectors + 3 * (row + k1)) - low)


def placed(
    vectors: torch.Tensor, matrices: torch.Tensor, shape: tuple[int, int, int], start: int, stop: int, block: int = 128
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the voxels of planes start <= i < stop are carried, and where they lie: two (n, J, K, 3) float32 mm.

    vectors   (A, B, C, 3) float32 mm
    matrices  (24,) float64: node_from_voxel (3, 4), place_from_voxel (3, 4)
    shape     (I, J, K) of the lattice
    """
    out = (stop - start, shape[1], shape[2], 3)
    carried = torch.empty(out, dtype=torch.float32, device=vectors.device)
    place = torch.empty_like(carried)
    count = place.numel() // 3
    grid = (triton.cdiv(count, block),)
    first = start * shape[1] * shape[2]
    with torch.cuda.device_of(vectors):
        _place[grid](vectors, matrices, carried, place, first, *shape[1:], *vectors.shape[:3], count, block)
    return carried, place
