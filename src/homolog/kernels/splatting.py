"""Cubic B-splines of many images on one lattice: their displacements at points, and points' pulls spread on controls.

The points of a lattice stay where they are while its coefficients are sought, so what they weigh is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from homolog.kernels.arrays import beside, reading
from homolog.kernels.bspline import basis
from homolog.kernels.lanes import added, nothing, products, put, row
from homolog.kernels.scattering import Rows
from homolog.kernels.threads import over_planes

if TYPE_CHECKING:
    import torch

# Points a thread takes at once at least.
LEAST = 20_000
# Controls that all images are visited for before the next ones, so that their mean stays in the fastest memory.
TOGETHER = 64
# Numbers in a line of the processor's memory.
LINE = 8


@dataclass(frozen=True, eq=False)
class Placed:
    """Points of several images on a lattice of controls. Where the weights are torch's, so is what is made of them.

    corner  (P,) int32: the number of the control (-1, -1, -1) from each, of `shape`
    weight  (P, 12) float64: of the four controls along x, y, z
    start   (N + 1,) int64: the rows of each image
    shape   (I, J, K) controls
    """

    corner: Any
    weight: Any
    start: np.ndarray
    shape: tuple[int, int, int]

    def beside(self, other: Any) -> Placed:
        """The same for Numba's kernels, or for torch's on a device: as another array is."""
        return replace(self, corner=beside(self.corner, other), weight=beside(self.weight, other))


def placed(controls: np.ndarray, start: np.ndarray, shape: tuple[int, int, int]) -> Placed:
    """Points (P, 3) in steps of the lattice, at least one and at most shape - 2 from its beginning."""
    base = np.clip(np.floor(controls), 1, np.array(shape) - 3).astype(np.int64)
    weight = np.moveaxis(basis(controls - base), 0, 2).reshape(len(controls), 12)
    corner = np.ravel_multi_index(tuple((base - 1).T), shape).astype(np.int32)
    return Placed(corner, np.ascontiguousarray(weight), np.asarray(start, np.int64), shape)


def displaced_reference(coefficients: np.ndarray, points: Placed, position: np.ndarray) -> np.ndarray:
    """The twin of `displaced`."""
    index, weight = _taps(points)
    image = np.repeat(np.arange(len(points.start) - 1), np.diff(points.start))
    return position + np.einsum("pt,ptc->pc", weight, coefficients[image[:, None], index, :3])


def unmoved(points: Placed) -> Any:
    """(N, controls, 4) float64: coefficients that leave all points where they are."""
    return beside(np.zeros((len(points.start) - 1, int(np.prod(points.shape)), 4)), points.weight)


def displaced(coefficients: Any, points: Placed, position: Any) -> Any:
    """(P, 3) float64 mm: where the splines put points that lie at `position` (P, 3).

    coefficients  (N, controls, 4) float64 mm: x, y, z and one more, for alignment
    """
    if not isinstance(points.weight, np.ndarray):
        return displaced_torch(coefficients, points, position)
    out = np.empty(position.shape)
    arrays = reading(coefficients, np.float64), *_read(points), reading(position, np.float64)
    start, (_, nj, nk) = reading(points.start, np.int64), points.shape
    over_planes(lambda first, last: _displaced(*arrays, start, nj, nk, first, last, out), len(out), at_least=LEAST)
    return out


def displaced_torch(coefficients: torch.Tensor, points: Placed, position: torch.Tensor) -> torch.Tensor:
    """`displaced` on float64 tensors of one device."""
    import torch

    flat, corner = coefficients.reshape(-1, 4), _corner_torch(points)
    sums = torch.zeros((len(corner), 16), dtype=torch.float64, device=corner.device)
    # from each control the sixteen numbers of four controls in a row
    rows = flat.as_strided((max(0, len(flat) - 3), 16), (4, 1))
    for weight, step in _rows_torch(points):
        sums += weight[:, None] * rows.index_select(0, corner + step)
    return position + torch.einsum("pk,pkc->pc", points.weight[:, 8:], sums.reshape(-1, 4, 4))[:, :3]


def splatted_reference(pull: np.ndarray, points: Placed) -> np.ndarray:
    """The twin of `splatted`."""
    index, weight = _taps(points)
    image = np.repeat(np.arange(len(points.start) - 1), np.diff(points.start))
    out = np.zeros((len(points.start) - 1, int(np.prod(points.shape)), 4))
    np.add.at(out, (image[:, None], index), weight[..., None] * pull[:, None])
    return out


def splatted(pull: Any, points: Placed) -> Any:
    """(N, controls, 4) float64: the sum of what points (P, 4) carry, by their weights at each control."""
    if not isinstance(points.weight, np.ndarray):
        return splatted_torch(pull, points)
    images = len(points.start) - 1
    out = _aligned((images, int(np.prod(points.shape)), 4))
    corner, weight = _read(points)
    rows, start = reading(pull, np.float64), reading(points.start, np.int64)
    at_least = max(1, images * LEAST // max(1, len(rows)))
    over_planes(
        lambda first, last: _splatted(rows, corner, weight, start, *points.shape[1:], first, last, out),
        images,
        at_least=at_least,
    )
    return out


def splatted_torch(pull: torch.Tensor, points: Placed) -> torch.Tensor:
    """`splatted` on float64 tensors of one device."""
    import torch

    cells = Rows.of(_corner_torch(points))
    carried = (points.weight[:, 8:, None] * pull[:, None]).reshape(-1, 16)[cells.order]
    out = torch.zeros((len(points.start) - 1, int(np.prod(points.shape)), 4), dtype=torch.float64, device=pull.device)
    for weight, step in _rows_torch(points):
        sums = cells.summed(weight[cells.order][:, None] * carried)
        for along in range(4):
            # no control twice, so that it does not matter who is first
            out.view(-1, 4).index_add_(0, cells.places + (step + along), sums[:, 4 * along : 4 * along + 4])
    return out


def advanced_reference(
    coefficients: np.ndarray, sums: np.ndarray, rate: float, free: np.ndarray, centred: bool, hold: float = 0.0
) -> np.ndarray:
    """The twin of `advanced`."""
    weight = sums[..., 3:]
    step = np.divide(sums, weight + hold, out=np.zeros_like(sums), where=weight > 0)
    step[..., 3] = 0.0
    further = coefficients + rate * step * free[:, None, None]
    if centred and free.any():
        further[free] -= further[free].mean(axis=0)
    return further


def advanced(coefficients: Any, sums: Any, rate: float, free: np.ndarray, centred: bool, hold: float = 0.0) -> Any:
    """(N, controls, 4): each control moved by a share of the mean of what is spread on it.

    coefficients  (N, controls, 4) float64 mm
    sums          (N, controls, 4): three sums and their weight, from `splatted`
    free          (N,) bool, which images move
    centred       whether the mean over those images is taken away
    hold          a weight that pulls nowhere: controls with little on them follow slowly
    """
    if not isinstance(coefficients, np.ndarray):
        return advanced_torch(coefficients, sums, rate, free, centred, hold)
    out = _aligned(coefficients.shape)
    arrays = reading(coefficients, np.float64), reading(sums, np.float64), reading(free, np.bool_)
    over_planes(
        lambda first, last: _advanced(*arrays, rate, hold, centred, first, last, out), sums.shape[1], at_least=LEAST
    )
    return out


def advanced_torch(
    coefficients: torch.Tensor, sums: torch.Tensor, rate: float, free: np.ndarray, centred: bool, hold: float
) -> torch.Tensor:
    """`advanced` on float64 tensors of one device."""
    moves = beside(free, sums)
    weight = sums[..., 3:]
    share = (rate / (weight + hold)).masked_fill((weight <= 0) | ~moves[:, None, None], 0.0)
    further = coefficients + share * sums
    further[..., 3] = 0.0
    if centred and free.any():
        further[moves] -= further[moves].mean(dim=0)
    return further


def farthest(coefficients: Any) -> np.ndarray:
    """(3,): the largest coefficient along each axis, in mm, whatever its sign."""
    if not isinstance(coefficients, np.ndarray):
        return np.asarray(coefficients[..., :3].abs().amax(dim=(0, 1)).cpu())
    out = np.zeros(3)
    _farthest(reading(coefficients, np.float64), out)
    return out


def _taps(points: Placed) -> tuple[np.ndarray, np.ndarray]:
    """(P, 64) numbers of the controls, and their weights."""
    steps = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    index = points.corner[:, None] + steps @ np.array([points.shape[1] * points.shape[2], points.shape[2], 1])
    along = points.weight.reshape(-1, 3, 4)
    weight = along[:, 0, steps[:, 0]] * along[:, 1, steps[:, 1]] * along[:, 2, steps[:, 2]]
    return index, weight


def _corner_torch(points: Placed) -> torch.Tensor:
    """(P,) int64: the number of each point's first control among those of all images."""
    image = np.repeat(np.arange(len(points.start) - 1), np.diff(points.start)) * int(np.prod(points.shape))
    return points.corner.long() + beside(image, points.corner)


def _rows_torch(points: Placed) -> Iterator[tuple[torch.Tensor, int]]:
    """Of each of a point's sixteen rows of four controls: the weights (P,), and where it begins."""
    weight = points.weight
    for a, b in product(range(4), repeat=2):
        yield weight[:, a] * weight[:, 4 + b], (a * points.shape[1] + b) * points.shape[2]


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros that begin where the processor's memory begins a line: a row of sixteen then lies in two lines or three."""
    size = int(np.prod(shape))
    room = np.zeros(size + LINE)
    first = -room.ctypes.data // room.itemsize % LINE
    return room[first : first + size].reshape(shape)


def _read(points: Placed) -> tuple[np.ndarray, np.ndarray]:
    return reading(points.corner, np.int32), reading(points.weight, np.float64)


# A row of four controls along k is sixteen numbers, which are worked on together (`lanes`).
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _displaced(coefficients, corner, weight, position, start, nj, nk, first, last, out):  # type: ignore[no-untyped-def]
    flat, size = coefficients.reshape(coefficients.size), coefficients.shape[1] * 4
    sums = np.empty(16)
    image = 0
    for n in range(first, last):
        while n >= start[image + 1]:
            image += 1
        w, begin = weight[n], 4 * corner[n] + size * image
        sixteen = nothing()
        for a in range(4):
            for b in range(4):
                sixteen = added(sixteen, w[a] * w[4 + b], row(flat, np.uintp(begin + 4 * (a * nj + b) * nk), 16))
        put(sums, np.uintp(0), sixteen)
        for c in range(3):
            along = w[8] * sums[c] + w[9] * sums[4 + c] + w[10] * sums[8 + c] + w[11] * sums[12 + c]
            out[n, c] = position[n, c] + along


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _splatted(pull, corner, weight, start, nj, nk, first, last, out):  # type: ignore[no-untyped-def]
    pulls, weights = pull.reshape(pull.size), weight.reshape(weight.size)
    for image in range(first, last):
        values = out[image].reshape(out.shape[1] * 4)
        for n in range(start[image], start[image + 1]):
            if pull[n, 3] == 0.0:
                continue
            w, begin = weight[n], 4 * corner[n]
            sixteen = products(row(weights, np.uintp(12 * n + 8), 4), row(pulls, np.uintp(4 * n), 4))
            for a in range(4):
                for b in range(4):
                    here = np.uintp(begin + 4 * (a * nj + b) * nk)
                    put(values, here, added(row(values, here, 16), w[a] * w[4 + b], sixteen))


@njit(nogil=True, cache=True, error_model="numpy")
def _advanced(coefficients, sums, free, rate, hold, centred, first, last, out):  # type: ignore[no-untyped-def]
    size, moving = 4 * coefficients.shape[1], max(1, free.sum())
    before, pulls, after = coefficients.reshape(sums.size), sums.reshape(sums.size), out.reshape(sums.size)
    means = np.empty(4 * TOGETHER)
    for begin in range(first, last, TOGETHER):
        end = min(last, begin + TOGETHER)
        means[:] = 0.0
        for image in range(len(free)):
            moves, counts = (rate, 1.0 / moving) if free[image] else (0.0, 0.0)
            for control in range(begin, end):
                here, there = np.uintp(image * size + 4 * control), np.uintp(4 * (control - begin))
                weight = pulls[here + np.uintp(3)]
                share = moves / (weight + hold) if weight > 0 else 0.0
                further = added(row(before, here, 4), share, row(pulls, here, 4))
                put(after, here, further)
                put(means, there, added(row(means, there, 4), counts, further))
        for image in range(len(free)):
            less = -1.0 if centred and free[image] else 0.0
            for control in range(begin, end):
                here, there = np.uintp(image * size + 4 * control), np.uintp(4 * (control - begin))
                put(after, here, added(row(after, here, 4), less, row(means, there, 4)))
                # what rode along is no coefficient
                after[here + np.uintp(3)] = 0.0


@njit(nogil=True, cache=True)
def _farthest(coefficients, out):  # type: ignore[no-untyped-def]
    for image in range(coefficients.shape[0]):
        for control in range(coefficients.shape[1]):
            for c in range(3):
                out[c] = max(out[c], abs(coefficients[image, control, c]))
