"""What the line integrals share: rays side by side in lanes, a block of samples at a time.

Each block is passed over three times: where its samples lie (vectorised), what the volume has there (look-ups that
were announced to the memory before), and what it adds to the rays (vectorised again). The loops hold no branch and one
array of scratch, or the compiler would not vectorise them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic
# Rays side by side: the float32 of a widest register, or of two or four of narrower ones.
LANES = 16
# Lines of rays and samples of each ray in a block: small enough for the fastest memory, large enough that what was
# announced has come when it is looked up.
LINES = 2
STEPS = 8
BLOCK = LANES * LINES * STEPS
# No reassociation: with it, the compiler replaces look-ups by slow gathers.
FAST = {"contract", "nnan", "ninf", "nsz", "arcp"}
NEVER = 1e200


@intrinsic
def announce(typing, flat, place):  # type: ignore[no-untyped-def]
    """Tells the processor that an element will be read soon."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        # to read; into the second memory, as the first is easily full; data
        builder.call(prefetch, [pointer, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(flat, types.uintp), generate


@njit(inline="always", cache=True)
def span(s, d, low, high, begin, end):  # type: ignore[no-untyped-def]
    """The depths between begin and end at which s + a d is between low and high."""
    if d == 0.0:
        # half open, as voxels are: a ray in the face between two is in the upper one
        return (begin, end) if low <= s < high else (end, begin)
    one, two = (low - s) / d, (high - s) / d
    return max(begin, min(one, two)), min(end, max(one, two))


@njit(nogil=True, cache=True)
def inside(shape, rim, source, direction):  # type: ignore[no-untyped-def]
    """The depths at which a ray is inside the volume and `rim` voxels around the outermost centres; none: 0, 0."""
    begin, end = 0.0, 2 * NEVER
    for axis in range(3):
        begin, end = span(source[axis], direction[axis], -rim, shape[axis] - 1.0 + rim, begin, end)
    return (begin, end) if begin < end < NEVER else (0.0, 0.0)


@njit(nogil=True, cache=True)
def directions(bundle, line, lane, size, out):  # type: ignore[no-untyped-def]
    """Fills (lines, lanes, 3) with the directions of a block's rays; those past the picture repeat its last ones."""
    for n in range(LINES):
        for m in range(LANES):
            across, down = min(lane + m, size[1] - 1), min(line + n, size[0] - 1)
            for axis in range(3):
                out[n, m, axis] = bundle[1, axis] + across * bundle[2, axis] + down * bundle[3, axis]


@njit(inline="always", cache=True)
def sides(x, far):  # type: ignore[no-untyped-def]
    """What the lower voxel and the upper one (at `far`) weigh at x, both fading over one voxel."""
    return max(x * 0, 1 + x * 0 - abs(x)), max(x * 0, 1 + x * 0 - abs(x - far))


@njit(inline="always", cache=True)
def slope(x):  # type: ignore[no-untyped-def]
    """The derivative of max(0, 1 - |x|), by its cell's right side."""
    zero, one = x * 0, x * 0 + 1
    rising, falling = (one if x >= -one else zero), (-one if x < one else zero)
    return rising if x < zero else falling


@njit(inline="always", cache=True)
def steepest(direction):  # type: ignore[no-untyped-def]
    """0 to 5: the axis along which a direction is longest (the first of equals), twice, and one if it is upwards."""
    x, y, z = abs(direction[0]), abs(direction[1]), abs(direction[2])
    axis = 0
    if y > x:
        axis = 1
    if z > max(x, y):
        axis = 2
    return 2 * axis + (1 if direction[axis] > 0.0 else 0)


@njit(inline="always", cache=True)
def others(axis):  # type: ignore[no-untyped-def]
    """The two other axes."""
    return (1 if axis == 0 else 0), (1 if axis == 2 else 2)


@njit(nogil=True, cache=True)
def crossed(shape, rim, source, direction, kind, slack):  # type: ignore[no-untyped-def]
    """The planes first..last, across the steepest axis, that rays of one kind in a block can cross in the volume.

    rim    how far the volume reaches beyond its outermost centres
    slack  how far before the source the first plane may lie
    """
    axis, upwards = kind // 2, kind % 2 == 1
    begin, end = np.inf, -np.inf
    for n in range(LINES):
        for m in range(LANES):
            if steepest(direction[n, m]) != kind or direction[n, m, axis] == 0.0:
                continue
            low, high = inside(shape, rim, source, direction[n, m])
            if low < high:
                one, two = source[axis] + low * direction[n, m, axis], source[axis] + high * direction[n, m, axis]
                begin, end = min(begin, min(one, two)), max(end, max(one, two))
    if not begin <= end:
        return 0, 0
    # one more on either side, for rounding; what does not count weighs nothing
    first, last = max(0, np.int64(np.floor(begin))), min(shape[axis], np.int64(np.floor(end)) + 2)
    if upwards:
        first = max(first, np.int64(np.floor(source[axis] - slack)) + 1)
    else:
        last = min(last, np.int64(np.ceil(source[axis] + slack)))
    return first, max(first, last)
