"""`noise.normal` for GPUs, by Triton, whose own generator is the same Philox 4x32-10."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from homolog.kernels import noise

_UNIT, _HALF, _TURN = tl.constexpr(noise.UNIT), tl.constexpr(noise.HALF), tl.constexpr(noise.TURN)


@triton.jit
def _pair(first, second):
    uniform = first.to(tl.float32) * _UNIT + _HALF
    angle = second.to(tl.float32) * _TURN
    radius = tl.sqrt(-2.0 * tl.log(uniform))
    return radius * tl.cos(angle), radius * tl.sin(angle)


@triton.jit(do_not_specialize=["key", "count"])
def _fill(out, key, count, BLOCK: tl.constexpr):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a, b, c, d = tl.randint4x(key, n)
    first, second = _pair(a, b)
    third, fourth = _pair(c, d)
    at = 4 * n.to(tl.int64)
    tl.store(out + at, first, mask=at < count)
    tl.store(out + at + 1, second, mask=at + 1 < count)
    tl.store(out + at + 2, third, mask=at + 2 < count)
    tl.store(out + at + 3, fourth, mask=at + 3 < count)


def normal(key: int, count: int, device: torch.device, block: int = 128) -> torch.Tensor:
    """(count,) float32 of mean zero and variance one: `noise.normal`'s, to the last bits of logarithm and cosine."""
    out = torch.empty(count, dtype=torch.float32, device=device)
    if count:
        # as a signed number, which is what a kernel's 64-bit argument is
        signed = key - 2**64 if key >= 2**63 else key
        with torch.cuda.device_of(out):
            _fill[(triton.cdiv(count, 4 * block),)](out, signed, count, block)
    return out
