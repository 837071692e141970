"""Linear filters of small pictures, each with its adjoint: sums over boxes, smoothing, slopes.

Pictures come as a stack (N, rows, columns) float64 and are worked through by one thread: an alignment asks for them
thousands of times at 32 to 256 pixels a side, where starting threads would take longer than the work.
Outside a picture is zero.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading

# The weight of the middle of the three rows (columns) over which a slope is averaged.
# Scharr's 3, 10, 3 keeps a slope's direction truer than Sobel's 1, 2, 1.
SCHARR = 10 / 16
SOBEL = 1 / 2


# ---------------------------------------------------------------------------------------------------------------------
# The twins


def box_sums_reference(stack: np.ndarray, radius_px: int) -> np.ndarray:
    """The twin of `box_sums`: the sum of all shifted copies."""
    rows, columns = stack.shape[1:]
    padded = np.pad(stack, ((0, 0), (radius_px, radius_px), (radius_px, radius_px)))
    shifts = range(2 * radius_px + 1)
    return np.asarray(sum(padded[:, r : r + rows, c : c + columns] for r in shifts for c in shifts))


def smooth_reference(stack: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """The twin of `smooth`: the sum of all shifted copies times two taps."""
    rows, columns = stack.shape[1:]
    radius = len(taps) // 2
    padded = np.pad(stack, ((0, 0), (radius, radius), (radius, radius)))
    return np.asarray(
        sum(
            taps[r] * taps[c] * padded[:, r : r + rows, c : c + columns]
            for r in range(len(taps))
            for c in range(len(taps))
        )
    )


def slopes_reference(stack: np.ndarray, middle: float) -> np.ndarray:
    """The twin of `slopes`: half the difference of the neighbours, averaged over three lines."""
    side = (1 - middle) / 2
    across = (stack[:, :, 2:] - stack[:, :, :-2]) / 2
    down = (stack[:, 2:] - stack[:, :-2]) / 2
    out = np.zeros((len(stack), 2, *stack.shape[1:]))
    out[:, 0, 1:-1, 1:-1] = side * (across[:, :-2] + across[:, 2:]) + middle * across[:, 1:-1]
    out[:, 1, 1:-1, 1:-1] = side * (down[:, :, :-2] + down[:, :, 2:]) + middle * down[:, :, 1:-1]
    return out


def slopes_adjoint_reference(slopes: np.ndarray, middle: float) -> np.ndarray:
    """The twin of `slopes_adjoint`: each inner pixel gives its stencil back."""
    across = np.outer([(1 - middle) / 2, middle, (1 - middle) / 2], [-0.5, 0.0, 0.5])
    rows, columns = slopes.shape[2:]
    out = np.zeros((len(slopes), rows, columns))
    for row in range(3):
        for column in range(3):
            place = np.s_[:, row : rows - 2 + row, column : columns - 2 + column]
            out[place] += across[row, column] * slopes[:, 0, 1:-1, 1:-1]
            out[place] += across[column, row] * slopes[:, 1, 1:-1, 1:-1]
    return out


# ---------------------------------------------------------------------------------------------------------------------
# The kernels


def box_sums(stack: np.ndarray, radius_px: int) -> np.ndarray:
    """(N, rows, columns) float64: sums over the (2 r + 1)^2 pixels around each pixel; its own adjoint.

    stack  (N, rows, columns)
    """
    out = np.empty(stack.shape)
    _box_sums(reading(stack, np.float64), radius_px, out)
    return out


def smooth(stack: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """(N, rows, columns) float64: the pictures correlated with taps along rows and columns; its own adjoint.

    stack  (N, rows, columns)
    taps   (2 r + 1,), symmetric
    """
    out = np.zeros(stack.shape)
    _smooth(reading(stack, np.float64), reading(taps, np.float64), out)
    return out


def slopes(stack: np.ndarray, middle: float = SCHARR) -> np.ndarray:
    """(N, 2, rows, columns) float64: change per column and per row; zero on the rim, where a neighbour is missing.

    stack  (N, rows, columns)
    """
    out = np.zeros((len(stack), 2, *stack.shape[1:]))
    _slopes(reading(stack, np.float64), middle, out)
    return out


def slopes_adjoint(slopes: np.ndarray, middle: float = SCHARR) -> np.ndarray:
    """(N, rows, columns) float64: what slopes (N, 2, rows, columns) give back to the pictures; the rim is not read."""
    out = np.zeros((len(slopes), *slopes.shape[2:]))
    _slopes_adjoint(reading(slopes, np.float64), middle, out)
    return out


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _box_sums(stack, radius, out):  # type: ignore[no-untyped-def]
    count, rows, columns = stack.shape
    line, sums = np.empty(columns), np.zeros(columns + 2 * radius + 1)
    for n in range(count):
        line[:] = 0
        for r in range(min(radius, rows)):
            for c in range(columns):
                line[c] += stack[n, r, c]
        for r in range(rows):
            if r + radius < rows:
                for c in range(columns):
                    line[c] += stack[n, r + radius, c]
            if r > radius:
                for c in range(columns):
                    line[c] -= stack[n, r - radius - 1, c]
            # sums[c + radius + 1]: of the columns up to c, going on with its last beyond the rim
            total = 0.0
            for c in range(columns):
                total += line[c]
                sums[c + radius + 1] = total
            for c in range(columns, columns + radius):
                sums[c + radius + 1] = total
            for c in range(columns):
                out[n, r, c] = sums[c + 2 * radius + 1] - sums[c]


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _smooth(stack, taps, out):  # type: ignore[no-untyped-def]
    count, rows, columns = stack.shape
    radius = len(taps) // 2
    line = np.empty(columns + 2 * radius)
    for n in range(count):
        for r in range(rows):
            line[:] = 0
            for t in range(max(-radius, -r), min(radius, rows - 1 - r) + 1):
                tap, other = taps[t + radius], stack[n, r + t]
                for c in range(columns):
                    line[c + radius] += tap * other[c]
            to = out[n, r]
            for t in range(len(taps)):
                tap = taps[t]
                for c in range(columns):
                    to[c] += tap * line[c + t]


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _slopes(stack, middle, out):  # type: ignore[no-untyped-def]
    count, rows, columns = stack.shape
    side, centre = (1 - middle) / 4, middle / 2
    for n in range(count):
        for r in range(1, rows - 1):
            above, here, below = stack[n, r - 1], stack[n, r], stack[n, r + 1]
            for c in range(1, columns - 1):
                falling, rising = below[c + 1] - above[c - 1], below[c - 1] - above[c + 1]
                out[n, 0, r, c] = centre * (here[c + 1] - here[c - 1]) + side * (falling - rising)
                out[n, 1, r, c] = centre * (below[c] - above[c]) + side * (falling + rising)


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _slopes_adjoint(slopes, middle, out):  # type: ignore[no-untyped-def]
    count, rows, columns = out.shape
    side, centre = (1 - middle) / 4, middle / 2
    for n in range(count):
        for r in range(1, rows - 1):
            across, down = slopes[n, 0, r], slopes[n, 1, r]
            above, here, below = out[n, r - 1], out[n, r], out[n, r + 1]
            # one statement a place: within a loop none reads what another writes, so that they become vectors
            for c in range(1, columns - 1):
                above[c - 1] -= side * (across[c] + down[c])
            for c in range(1, columns - 1):
                above[c] -= centre * down[c]
            for c in range(1, columns - 1):
                above[c + 1] += side * (across[c] - down[c])
            for c in range(1, columns - 1):
                here[c - 1] -= centre * across[c]
            for c in range(1, columns - 1):
                here[c + 1] += centre * across[c]
            for c in range(1, columns - 1):
                below[c - 1] += side * (down[c] - across[c])
            for c in range(1, columns - 1):
                below[c] += centre * down[c]
            for c in range(1, columns - 1):
                below[c + 1] += side * (across[c] + down[c])
