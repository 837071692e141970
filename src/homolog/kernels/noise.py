"""Normal noise that depends on a key and a voxel's number only, so that any machine makes the same.

Numbers come four to a block of Philox 4x32-10 (Salmon et al., SC 2011), whose counter is the block's place, two by two
through Box and Muller's transform (Ann. Math. Stat. 29:610, 1958). There is no state: threads and GPUs may begin
anywhere.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.threads import over_planes

ROUNDS = 10
# Philox's multipliers and the steps of its key
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_STEPS = (0x9E3779B9, 0xBB67AE85)
# from a word of 32 bits to the middle of its part of 0 to 1, and to an angle
UNIT, HALF, TURN = 2.0**-32, 2.0**-33, 6.283185307179586 * 2.0**-32
BLOCKS_A_THREAD = 16384


def normal_reference(key: int, count: int) -> np.ndarray:
    """The twin of `normal`."""
    words = philox_reference(key, np.arange(-(-count // 4)))
    pairs = [_normal_pair_reference(words[:, n], words[:, n + 1]) for n in (0, 2)]
    return np.concatenate(pairs, axis=1).astype(np.float32).ravel()[:count]


def philox_reference(key: int, counter: np.ndarray) -> np.ndarray:
    """(N, 4) uint64 below 2^32: a block of four words for each counter below 2^32."""
    low = np.uint64(0xFFFFFFFF)
    a, b, c, d = counter.astype(np.uint64), *np.zeros((3, len(counter)), np.uint64)
    keys = [key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF]
    for _ in range(ROUNDS):
        p, q = np.uint64(_MULTIPLIERS[0]) * a, np.uint64(_MULTIPLIERS[1]) * c
        b, d = q >> np.uint64(32) ^ b ^ np.uint64(keys[0]), p >> np.uint64(32) ^ d ^ np.uint64(keys[1])
        a, b, c, d = b, q & low, d, p & low
        keys = [(one + step) & 0xFFFFFFFF for one, step in zip(keys, _STEPS)]
    return np.stack((a, b, c, d), axis=1)


def _normal_pair_reference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 2) of two words each; the half keeps the logarithm's argument above zero."""
    uniform = first.astype(np.float32) * np.float32(UNIT) + np.float32(HALF)
    angle = second.astype(np.float32) * np.float32(TURN)
    radius = np.sqrt(-2 * np.log(uniform.astype(float)))
    return radius[:, None] * np.stack((np.cos(angle.astype(float)), np.sin(angle.astype(float))), axis=1)


@njit(nogil=True, cache=True)
def _fill(key, start, stop, out):  # type: ignore[no-untyped-def]
    """Blocks start <= n < stop of `out` (4 * blocks)."""
    unit, half, turn = np.float32(UNIT), np.float32(HALF), np.float32(TURN)
    low = np.uint64(0xFFFFFFFF)
    words = np.empty(4, np.uint64)
    for n in range(start, stop):
        a, b, c, d = np.uint64(n), np.uint64(0), np.uint64(0), np.uint64(0)
        k0, k1 = np.uint64(key) & low, np.uint64(key) >> np.uint64(32)
        for _ in range(ROUNDS):
            p, q = np.uint64(_MULTIPLIERS[0]) * a, np.uint64(_MULTIPLIERS[1]) * c
            a, b, c, d = (q >> np.uint64(32)) ^ b ^ k0, q & low, (p >> np.uint64(32)) ^ d ^ k1, p & low
            k0, k1 = (k0 + np.uint64(_STEPS[0])) & low, (k1 + np.uint64(_STEPS[1])) & low
        words[0], words[1], words[2], words[3] = a, b, c, d
        for m in range(0, 4, 2):
            uniform = np.float32(words[m]) * unit + half
            angle = np.float32(words[m + 1]) * turn
            radius = np.sqrt(np.float32(-2.0) * np.log(uniform))
            out[4 * n + m], out[4 * n + m + 1] = radius * np.cos(angle), radius * np.sin(angle)


def normal(key: int, count: int) -> np.ndarray:
    """(count,) float32 of mean zero and variance one, each from the key (64 bits) and its own number."""
    blocks = -(-count // 4)
    out = np.empty(4 * blocks, np.float32)
    over_planes(lambda start, stop: _fill(np.uint64(key), start, stop, out), blocks, at_least=BLOCKS_A_THREAD)
    return out[:count]
