"""MIND-SSC: what a voxel's surroundings look like whatever the scanner, as floats or as 60 bits to be compared by XOR.

Self-similarity context (Heinrich et al., MICCAI 2013, "Towards realtime multimodal fusion"): the patches of the six
neighbours at a distance are compared with each other, not with the centre. Twelve pairs of neighbours do not face each
other; they are the twelve channels. Binarised as in Heinrich's deeds: six levels a channel, written in unary.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes

CHANNELS = 12
BITS = 60
# A channel m falls into the level of exp(-m), sixths rounded to the nearest: bit n of its five is m < -ln((n + 1.5)/6).
THRESHOLDS = -np.log((np.arange(5) + 1.5) / 6)
# What deeds divides by at least, in squared units of the picture: it only keeps a constant patch from dividing by zero.
NO_CONTRAST = 1e-6
# Planes a thread does at once: enough that the margin, six steps, is a small part, few enough for memory.
PLANES = 24


def _edges() -> list[tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]]:
    """The twelve pairs (one neighbour, other neighbour, their difference); pairs 2n and 2n + 1 have one difference."""
    pairs = []
    for (a, b), sign in product(((0, 1), (0, 2), (1, 2)), (-1, 1)):
        first, second = np.eye(3, dtype=int)[a], np.eye(3, dtype=int)[b]
        difference = first + sign * second
        for one, other in ((first, -sign * second), (sign * second, -first)):
            pairs.append((tuple(one.tolist()), tuple(other.tolist()), tuple(difference.tolist())))
    return pairs


EDGES = _edges()


# ---------------------------------------------------------------------------------------------------------------------
# The twins


def distances_reference(data: np.ndarray, step: int) -> np.ndarray:
    """(12, I, J, K) float64: sums of squared differences between the patches of two neighbours; edges go on outside."""
    padded = np.pad(data.astype(np.float64), 2 * step, mode="edge")

    def shifted(by: np.ndarray) -> np.ndarray:
        return padded[tuple(slice(2 * step + b, 2 * step + b + n) for b, n in zip(by, data.shape))]

    channels = np.zeros((CHANNELS, *data.shape))
    for channel, (one, other, _) in enumerate(EDGES):
        for patch in product(range(-step, step + 1), repeat=3):
            one_place, other_place = step * np.array(one) + patch, step * np.array(other) + patch
            channels[channel] += (shifted(one_place) - shifted(other_place)) ** 2
    return channels


def normalised_reference(distances: np.ndarray, floor: float) -> np.ndarray:
    """(12, I, J, K): m = (d - min d) / max(mean(d - min d), floor), over the channels of a voxel."""
    above = distances - distances.min(axis=0)
    return above / np.maximum(above.mean(axis=0), floor)


def descriptors_reference(data: np.ndarray, step: int, floor: float = NO_CONTRAST) -> np.ndarray:
    """The twin of `descriptors`: exp(-m)."""
    return np.exp(-normalised_reference(distances_reference(data, step), floor))


def codes_reference(data: np.ndarray, step: int, floor: float = NO_CONTRAST) -> np.ndarray:
    """The twin of `codes`: bit 5 c + n of a voxel is whether channel c lies below threshold n."""
    values = normalised_reference(distances_reference(data, step), floor)
    result = np.zeros(data.shape, np.uint64)
    for channel, n in product(range(CHANNELS), range(5)):
        result |= (values[channel] < THRESHOLDS[n]).astype(np.uint64) << np.uint64(5 * channel + n)
    return result


def hamming_reference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """uint8: how many of their 60 bits differ: the sum over the channels of how many levels they are apart."""
    return np.bitwise_count(one ^ other)


# ---------------------------------------------------------------------------------------------------------------------
# The kernels


def _popcount(context: Any, word: Any) -> Any:
    """The number of bits set in a uint64: one instruction, which Numba itself has no name for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


# typed as what it is inside compiled code: mypy sees the builder's two arguments
popcount: Any = intrinsic(_popcount)


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _box_maps(padded, start, stop, step, offsets, maps, squares, columns):  # type: ignore[no-untyped-def]
    """Fills maps (6, n + 2 step, J + 2 step, K + 2 step): boxes of squared differences along six directions.

    Six maps serve twelve channels: two pairs of neighbours with one difference see the same map from two places.

    padded   (I + 6 step, ...) float32, the picture with its edges repeated
    squares  (n + 4 step, J + 4 step, K + 4 step) scratch; columns (K + 4 step) scratch
    """
    width = 2 * step + 1
    ni, nj, nk = stop - start + 4 * step, squares.shape[1], squares.shape[2]
    for m in range(6):
        di, dj, dk = offsets[m, 0] * step, offsets[m, 1] * step, offsets[m, 2] * step
        for i in range(ni):
            for j in range(nj):
                here = padded[start + i + step, j + step]
                there = padded[start + i + step + di, j + step + dj]
                row = squares[i, j]
                for k in range(nk):
                    difference = there[k + step + dk] - here[k + step]
                    row[k] = difference * difference
        # along j first, in place from below: row j is not needed any more once its box is summed
        for i in range(ni):
            for j in range(nj - 2 * step):
                row = squares[i, j]
                for b in range(1, width):
                    other = squares[i, j + b]
                    for k in range(nk):
                        row[k] += other[k]
        for i in range(ni - 2 * step):
            for j in range(nj - 2 * step):
                first = squares[i, j]
                for k in range(nk):
                    columns[k] = first[k]
                for a in range(1, width):
                    other = squares[i + a, j]
                    for k in range(nk):
                        columns[k] += other[k]
                out = maps[m, i, j]
                for k in range(nk - 2 * step):
                    out[k] = columns[k]
                for c in range(1, width):
                    for k in range(nk - 2 * step):
                        out[k] += columns[k + c]


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _channel_rows(maps, places, i, j, step, floor, rows, lowest, mean):  # type: ignore[no-untyped-def]
    """Fills rows (12, K) with d - min d, and mean (K) with max(its mean, floor)."""
    nk = rows.shape[1]
    for c in range(12):
        source = maps[c // 2, i + step + places[c, 0] * step, j + step + places[c, 1] * step]
        first = step + places[c, 2] * step
        row = rows[c]
        for k in range(nk):
            value = source[first + k]
            row[k] = value
            lowest[k] = value if c == 0 else min(lowest[k], value)
            mean[k] = value if c == 0 else mean[k] + value
    for k in range(nk):
        mean[k] = max(mean[k] * np.float32(1 / 12) - lowest[k], floor)
    for c in range(12):
        row = rows[c]
        for k in range(nk):
            row[k] -= lowest[k]


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _codes_planes(maps, places, planes, step, floor, thresholds, out):  # type: ignore[no-untyped-def]
    nj, nk = out.shape[1], out.shape[2]
    rows = np.empty((12, nk), np.float32)
    lowest, mean = np.empty(nk, np.float32), np.empty(nk, np.float32)
    bits = np.empty(nk, np.uint32)
    for i in range(planes):
        for j in range(nj):
            _channel_rows(maps, places, i, j, step, floor, rows, lowest, mean)
            line = out[i, j]
            for k in range(nk):
                line[k] = 0
            # six channels are thirty bits: put together in 32-bit words, eight voxels an instruction
            for half in range(2):
                for k in range(nk):
                    bits[k] = 0
                for c in range(6):
                    row = rows[6 * half + c]
                    for n in range(5):
                        threshold = thresholds[n]
                        shift = np.uint32(5 * c + n)
                        for k in range(nk):
                            bits[k] |= np.uint32(row[k] < threshold * mean[k]) << shift
                for k in range(nk):
                    line[k] |= np.uint64(bits[k]) << np.uint64(30 * half)


@njit(nogil=True, cache=True)
def _descriptor_planes(maps, places, start, planes, step, floor, out):  # type: ignore[no-untyped-def]
    nj, nk = out.shape[2], out.shape[3]
    rows = np.empty((12, nk), np.float32)
    lowest, mean = np.empty(nk, np.float32), np.empty(nk, np.float32)
    for i in range(planes):
        for j in range(nj):
            _channel_rows(maps, places, i, j, step, floor, rows, lowest, mean)
            for c in range(12):
                for k in range(nk):
                    out[c, start + i, j, k] = np.exp(-rows[c, k] / mean[k])


@njit(nogil=True, cache=True)
def _hamming(one, other, out):  # type: ignore[no-untyped-def]
    for n in range(len(out)):
        out[n] = popcount(one[n] ^ other[n])


# (12, 3): where, in steps from a voxel, a channel reads the map of its difference; (6, 3): the differences
_PLACES = np.array([other for _, other, _ in EDGES])
_OFFSETS = np.array([difference for *_, difference in EDGES[::2]])


def codes(data: np.ndarray, step: int, floor: float = NO_CONTRAST) -> np.ndarray:
    """MIND-SSC in 60 bits a voxel, for `hamming`.

    data     (I, J, K) float32; beyond it the edge values go on
    step     voxels from a voxel to its six neighbours, and half the width of a patch
    floor    the least mean contrast to divide by, in squared units of the picture summed over a patch: where there is
             less, the channels become alike (all bits set), so that noise in air has no pattern
    returns  (I, J, K) uint64
    """
    out = np.empty(data.shape, np.uint64)

    def part(maps: np.ndarray, start: int, stop: int) -> None:
        _codes_planes(maps, _PLACES, stop - start, step, np.float32(floor), _LIMITS, out[start:stop])

    _over_maps(data, step, part)
    return out


def descriptors(data: np.ndarray, step: int, floor: float = NO_CONTRAST) -> np.ndarray:
    """(12, I, J, K) float32: MIND-SSC itself, exp(-m) in 0..1; arguments as for `codes`."""
    out = np.empty((CHANNELS, *data.shape), np.float32)

    def part(maps: np.ndarray, start: int, stop: int) -> None:
        _descriptor_planes(maps, _PLACES, start, stop - start, step, np.float32(floor), out)

    _over_maps(data, step, part)
    return out


def hamming(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """uint8 of the codes' shape: how many of their 60 bits differ."""
    out = np.empty(one.shape, np.uint8)
    _hamming(reading(one, np.uint64).ravel(), reading(other, np.uint64).ravel(), out.reshape(-1))
    return out


def contrast_floor(data: np.ndarray, body: np.ndarray, step: int, share: float) -> float:
    """A floor for the functions above: a share of the mean contrast in the patient.

    data   (I, J, K) float32
    body   (I, J, K) bool: the patient's voxels
    share  0 to 1, of the mean squared difference of voxels `step` apart, summed over a patch
    """
    total, count = 0.0, 0
    for axis in range(3):
        difference = np.diff(data[_every(axis, step)], axis=axis).astype(np.float64)
        inside = body[_every(axis, step)][_but_last(axis)]
        total += float((difference[inside] ** 2).sum())
        count += int(inside.sum())
    return max(NO_CONTRAST, share * (2 * step + 1) ** 3 * total / max(count, 1))


def _every(axis: int, step: int) -> tuple[slice, ...]:
    return tuple(slice(None, None, step) if a == axis else slice(None) for a in range(3))


def _but_last(axis: int) -> tuple[slice, ...]:
    return tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))


_LIMITS = THRESHOLDS.astype(np.float32)


def _over_maps(data: np.ndarray, step: int, part: Any) -> None:
    """Calls `part(maps, start, stop)` for slabs of planes, whose results do not depend on how they are cut."""
    padded = reading(np.pad(np.asarray(data, np.float32), 3 * step, mode="edge"))
    rows, columns = data.shape[1] + 4 * step, data.shape[2] + 4 * step

    def work(first: int, last: int) -> None:
        for start in range(first, last, PLANES):
            stop = min(start + PLANES, last)
            maps = np.empty((6, stop - start + 2 * step, rows - 2 * step, columns - 2 * step), np.float32)
            squares = np.empty((stop - start + 4 * step, rows, columns), np.float32)
            _box_maps(padded, start, stop, step, _OFFSETS, maps, squares, np.empty(columns, np.float32))
            part(maps, start, stop)

    over_planes(work, data.shape[0], at_least=PLANES)
