"""How alike two pictures are under every shift at once, counted over what both of them show.

Sums over an overlap are correlations with the masks of what is known, so the Fourier transform gives them for all
shifts (Padfield, IEEE Transactions on Image Processing 21:2706, 2012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from homolog.kernels.threads import thread_count

Transformed = Callable[[np.ndarray], np.ndarray]
# Of a picture's energy, what float32 transforms may leave where nothing is.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Sides:
    """Two pictures on lattices of one spacing and direction.

    fixed, moving  (C, I, J, K) float32 descriptors, 0 where nothing is known; the shapes of the two may differ
    fixed_known, moving_known  (I, J, K) float32, 1 where something is known
    fixed_body, moving_body    (I, J, K) float32, 1 in the patient; 0 where nothing is known
    """

    fixed: np.ndarray
    moving: np.ndarray
    fixed_known: np.ndarray
    moving_known: np.ndarray
    fixed_body: np.ndarray
    moving_body: np.ndarray

    @property
    def lattice(self) -> tuple[int, ...]:
        """How many shifts there are along each axis; shift s stands at index s, a negative one at s + their number."""
        return tuple(a + b - 1 for a, b in zip(self.fixed.shape[1:], self.moving.shape[1:]))


@dataclass(frozen=True)
class ShiftSums:
    """For each shift s, by which moving voxel v + s lies on fixed voxel v, sums over where both are known.

    distance     squared differences of the descriptors
    either       voxels in either patient
    fixed_seen   the fixed patient's voxels that the moving picture shows
    moving_seen  the moving patient's voxels that the fixed picture shows
    """

    distance: np.ndarray
    either: np.ndarray
    fixed_seen: np.ndarray
    moving_seen: np.ndarray


def shift_sums_reference(sides: Sides, shift: tuple[int, int, int]) -> tuple[float, float, float, float]:
    """The twin of `shift_sums` at one shift: the four sums, over the voxels of the overlap."""
    f, m = _overlap(sides, shift)
    known = sides.fixed_known[f] * sides.moving_known[m]
    distance = known * ((sides.fixed[(slice(None), *f)] - sides.moving[(slice(None), *m)]) ** 2).sum(axis=0)
    here, there = sides.fixed_body[f] * known, sides.moving_body[m] * known
    return float(distance.sum()), float(np.maximum(here, there).sum()), float(here.sum()), float(there.sum())


def shift_sums(sides: Sides) -> ShiftSums:
    """The four sums for all shifts, each an array of `sides.lattice`."""
    forward, at_shifts = _transforms(sides)
    fixed_known, moving_known = forward(sides.fixed_known), forward(sides.moving_known)
    fixed_body, moving_body = forward(sides.fixed_body), forward(sides.moving_body)
    spectrum = forward((sides.fixed**2).sum(axis=0)).conj() * moving_known
    spectrum += fixed_known.conj() * forward((sides.moving**2).sum(axis=0))
    for here, there in zip(sides.fixed, sides.moving):
        spectrum -= 2 * forward(here).conj() * forward(there)
    fixed_seen, moving_seen = at_shifts(fixed_body.conj() * moving_known), at_shifts(fixed_known.conj() * moving_body)
    both = at_shifts(fixed_body.conj() * moving_body)
    return ShiftSums(at_shifts(spectrum), fixed_seen + moving_seen - both, fixed_seen, moving_seen)


def correlations_reference(sides: Sides, shift: tuple[int, int, int]) -> float:
    """The twin of `correlations` at one shift: Pearson's, of all that both pictures show, channel after channel."""
    f, m = _overlap(sides, shift)
    both = (sides.fixed_known[f] * sides.moving_known[m]).ravel() > 0
    together = own_fixed = own_moving = 0.0
    for here, there in zip(sides.fixed, sides.moving):
        x, y = here[f].ravel()[both].astype(float), there[m].ravel()[both].astype(float)
        x, y = x - x.mean() if len(x) else x, y - y.mean() if len(y) else y
        together, own_fixed, own_moving = together + x @ y, own_fixed + x @ x, own_moving + y @ y
    return together / np.sqrt(own_fixed * own_moving) if own_fixed * own_moving > 0 else 0.0


def correlations(sides: Sides) -> np.ndarray:
    """For all shifts, the correlation coefficient of what both pictures show; 0 where one of them is flat there."""
    forward, at_shifts = _transforms(sides)
    fixed_known, moving_known = forward(sides.fixed_known), forward(sides.moving_known)
    count = np.maximum(at_shifts(fixed_known.conj() * moving_known), 1)
    together, own_fixed, own_moving = (np.zeros(sides.lattice, np.float32) for _ in range(3))
    for here, there in zip(sides.fixed, sides.moving):
        fixed, moving = forward(here), forward(there)
        fixed_sum, moving_sum = at_shifts(fixed.conj() * moving_known), at_shifts(fixed_known.conj() * moving)
        together += at_shifts(fixed.conj() * moving) - fixed_sum * moving_sum / count
        own_fixed += at_shifts(forward(here**2).conj() * moving_known) - fixed_sum**2 / count
        own_moving += at_shifts(fixed_known.conj() * forward(there**2)) - moving_sum**2 / count
    # what is left of a flat overlap is the rounding of the transforms
    flat = ROUNDING * max(float((sides.fixed**2).sum()), float((sides.moving**2).sum()))
    seen = (own_fixed > flat) & (own_moving > flat)
    return np.where(seen, together / np.sqrt(np.where(seen, own_fixed * own_moving, 1)), 0)


def _transforms(sides: Sides) -> tuple[Transformed, Transformed]:
    """To spectra, and from spectra to an array of `sides.lattice`."""
    from scipy import fft

    shape = tuple(fft.next_fast_len(n, real=True) for n in sides.lattice)
    options: dict[str, Any] = {"s": shape, "axes": (0, 1, 2), "workers": thread_count()}
    return (
        lambda array: np.asarray(fft.rfftn(array, **options)),
        lambda spectrum: _unwrapped(fft.irfftn(spectrum, **options), sides),
    )


def _overlap(sides: Sides, shift: tuple[int, int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels of the fixed and of the moving lattice that lie on each other under a shift; empty where none do."""
    fixed_shape, moving_shape = np.array(sides.fixed_known.shape), np.array(sides.moving_known.shape)
    start = np.maximum(0, -np.array(shift))
    stop = np.maximum(start, np.minimum(fixed_shape, moving_shape - shift))
    fixed = tuple(slice(a, b) for a, b in zip(start, stop))
    return fixed, tuple(slice(a + s, b + s) for a, b, s in zip(start, stop, shift))


def _unwrapped(correlation: np.ndarray, sides: Sides) -> np.ndarray:
    """The correlation without the padding that makes its lengths quick to transform."""
    for axis, (fixed, moving) in enumerate(zip(sides.fixed.shape[1:], sides.moving.shape[1:])):
        length = correlation.shape[axis]
        wanted = np.r_[0:moving, length - (fixed - 1) : length]
        correlation = np.take(correlation, wanted, axis=axis)
    return correlation
