"""Integrals of a volume along the rays of an X-ray, their slopes and curvature, and their adjoints.

A picture's rays are a *bundle* (4, 3) float64 in voxel coordinates: the source, the direction of pixel (0, 0), and what
a column and a row add to it. The ray of pixel (row r, column c) is s + a (b1 + c b2 + r b3) for a > 0, without end; a
is the depth in mm along the optical axis, so an integral over a is the line integral divided by the ray's mm a mm of
depth. Outside the volume all is zero.

siddon     voxels are boxes around their centres: exact (Siddon 1985, Med. Phys. 12:252)
joseph     samples on the planes of voxel centres that the ray crosses most steeply, bilinear there, weighted by the
           depth between two planes (Joseph 1982, IEEE TMI 1:192)
trilinear  samples at depths (k + 1/2) step_mm, the same for every ray: no limit of the sum moves with the pose

The last two fade to zero within one voxel beyond the outermost centres. Slopes are exact derivatives of the very sums.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from homolog.errors import BadInput
from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes

METHODS = ("siddon", "joseph", "trilinear")
# A complex step: far below rounding, so that the derivative has no error of its own.
TINY = 1e-30
# Offsets are 32-bit integers, so that the compiler can work on many at once.
MOST_VOXELS = 2**31
# Planes of the first axis that one thread spreads on: each voxel has one thread, and gets its rays in their order.
SLAB = 16
NO_TANGENT = np.zeros((4, 3))


# ---------------------------------------------------------------------------------------------------------------------
# The definitions


def integrals_reference(
    volume: np.ndarray, bundle: np.ndarray, size_px: tuple[int, int], method: str, step_mm: float | None
) -> np.ndarray:
    """The twin of `integrals`; a complex bundle gives complex integrals."""
    out = np.zeros(size_px, np.result_type(bundle, np.float64))
    for pixel in np.ndindex(*size_px):
        voxels, weights = _ray_reference(volume.shape, bundle, pixel, method, step_mm)
        out[pixel] = weights @ volume[tuple(voxels.T)].astype(np.float64)
    return out


def with_slopes_reference(
    volume: np.ndarray, bundle: np.ndarray, size_px: tuple[int, int], method: str, step_mm: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `with_slopes`, by complex steps: of the source, and of the direction of all rays."""
    slopes = np.zeros((*size_px, 6))
    for place in np.ndindex(2, 3):
        moved = bundle.astype(complex)
        moved[place] += TINY * 1j
        values = integrals_reference(volume, moved, size_px, method, step_mm)
        slopes[..., 3 * place[0] + place[1]] = values.imag / TINY
    return values.real, slopes


def with_curvature_reference(
    volume: np.ndarray,
    bundle: np.ndarray,
    tangent: np.ndarray,
    size_px: tuple[int, int],
    method: str,
    step_mm: float | None,
    *,
    step: float = 1e-6,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The twin of `with_curvature`, by central differences of the slopes."""
    values, slopes = with_slopes_reference(volume, bundle, size_px, method, step_mm)
    _, after = with_slopes_reference(volume, bundle + step * tangent, size_px, method, step_mm)
    _, before = with_slopes_reference(volume, bundle - step * tangent, size_px, method, step_mm)
    return values, slopes, (after - before) / (2 * step)


def spread_reference(
    weights: np.ndarray,
    bundle: np.ndarray,
    shape: tuple[int, int, int],
    method: str,
    step_mm: float | None,
    *,
    tangent: np.ndarray | None = None,
    tangent_weights: np.ndarray | None = None,
) -> np.ndarray:
    """The twin of `spread`."""
    out = np.zeros(shape)
    moved = bundle if tangent is None else bundle + TINY * 1j * tangent
    for pixel in np.ndindex(*weights.shape):
        voxels, shares = _ray_reference(shape, moved, pixel, method, step_mm)
        amount = shares.real * weights[pixel]
        if tangent_weights is not None:
            amount = amount + shares.imag / TINY * tangent_weights[pixel]
        np.add.at(out, tuple(voxels.T), amount)
    return out


def by_label_reference(
    volume: np.ndarray, labels: np.ndarray, bundle: np.ndarray, size_px: tuple[int, int], count: int
) -> np.ndarray:
    """The twin of `by_label`."""
    parts = [np.where(labels == label, volume, 0) for label in range(count)]
    return np.array([integrals_reference(part, bundle, size_px, "siddon", None) for part in parts])


def _ray_reference(
    shape: tuple[int, ...], bundle: np.ndarray, pixel: tuple[int, ...], method: str, step_mm: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (T, 3) and weights (T,) whose products with the volume add up to the integral of one pixel."""
    direction = bundle[1] + pixel[1] * bundle[2] + pixel[0] * bundle[3]
    if method == "siddon":
        return _boxes_reference(shape, bundle[0], direction)
    if method == "joseph":
        return _planes_reference(shape, bundle[0], direction)
    return _lattice_reference(shape, bundle[0], direction, checked_step(step_mm))


def _boxes_reference(
    shape: tuple[int, ...], source: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    depths = [np.zeros(1)]
    for axis, count in enumerate(shape):
        if direction[axis].real != 0:
            depths.append((np.arange(count + 1) - 0.5 - source[axis]) / direction[axis])
    crossed = np.concatenate(depths)
    crossed = crossed[crossed.real >= 0]
    crossed = crossed[np.argsort(crossed.real, kind="stable")]
    middle = (crossed[1:] + crossed[:-1]).real[:, None] / 2
    voxels = np.floor(source.real + middle * direction.real + 0.5).astype(int)
    return _kept_reference(shape, voxels, np.diff(crossed))


def _planes_reference(
    shape: tuple[int, ...], source: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    axis = int(np.argmax(np.abs(direction.real)))
    if direction[axis].real == 0:
        return np.zeros((0, 3), int), np.zeros(0)
    depths = (np.arange(shape[axis]) - source[axis]) / direction[axis]
    points = source + depths[:, None] * direction
    points[:, axis] = np.arange(shape[axis])
    weight = np.sign(direction[axis].real) / direction[axis]
    return _corners_reference(shape, points[depths.real > 0], weight)


def _lattice_reference(
    shape: tuple[int, ...], source: np.ndarray, direction: np.ndarray, step_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    moving = direction.real != 0
    ends = (np.array([[-1.0], [1.0]]) * np.array(shape) - source.real)[:, moving] / direction.real[moving]
    last = np.ceil(ends.max(axis=0).min(initial=np.inf) / step_mm) if moving.any() else 0
    depths = (np.arange(max(0, int(last))) + 0.5) * step_mm
    return _corners_reference(shape, source + depths[:, None] * direction, step_mm)


def _corners_reference(shape: tuple[int, ...], points: np.ndarray, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """The eight voxels around points (N, 3), each weighted linearly in its distance along every axis."""
    base = np.floor(points.real).astype(int)
    part = points - base
    voxels, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        voxels.append(base + corner)
        weights.append(weight * np.where(corner, part, 1 - part).prod(axis=1))
    return _kept_reference(shape, np.concatenate(voxels), np.concatenate(weights))


def _kept_reference(shape: tuple[int, ...], voxels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = ((voxels >= 0) & (voxels < np.array(shape))).all(axis=1)
    return voxels[inside], weights[inside]


# ---------------------------------------------------------------------------------------------------------------------
# The fast ones


def integrals(
    volume: np.ndarray, bundle: np.ndarray, size_px: tuple[int, int], method: str, step_mm: float | None
) -> np.ndarray:
    """(rows, cols) float64: the integral of a volume (I, J, K) over the depth of each pixel's ray.

    bundle   (4, 3) float64, voxels: source, direction of pixel (0, 0), its change a column, its change a row
    step_mm  the depth between the samples of "trilinear"
    """
    return _project(volume, bundle, NO_TANGENT, size_px, method, step_mm, 0)[0]


def with_slopes(
    volume: np.ndarray, bundle: np.ndarray, size_px: tuple[int, int], method: str, step_mm: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """`integrals`, and (rows, cols, 6) float64: their derivatives by the source's x y z and the ray's direction."""
    return _project(volume, bundle, NO_TANGENT, size_px, method, step_mm, 1)[:2]


def with_curvature(
    volume: np.ndarray,
    bundle: np.ndarray,
    tangent: np.ndarray,
    size_px: tuple[int, int],
    method: str,
    step_mm: float | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`with_slopes`, and (rows, cols, 6) float64: how the slopes turn when the bundle moves along a tangent (4, 3)."""
    return _project(volume, bundle, tangent, size_px, method, step_mm, 2)


def spread(
    weights: np.ndarray,
    bundle: np.ndarray,
    shape: tuple[int, int, int],
    method: str,
    step_mm: float | None,
    *,
    tangent: np.ndarray | None = None,
    tangent_weights: np.ndarray | None = None,
) -> np.ndarray:
    """(I, J, K) of the weights' dtype: the adjoint of `integrals`, what pixels (rows, cols) weigh on each voxel.

    tangent          (4, 3): adds the adjoint of the integrals' derivative along it,
    tangent_weights  (rows, cols), with these weights
    """
    _check(shape, bundle, weights.shape)
    dtype = _precision(weights)
    picture = reading(weights, dtype)
    turning = np.zeros_like(picture) if tangent_weights is None else tangent_weights
    arrays = picture, reading(turning, dtype), reading(bundle, np.float64)
    moving = reading(NO_TANGENT if tangent is None else tangent, np.float64)
    kernel, step, out = (
        _kernels(method),
        checked_step(step_mm) if method == "trilinear" else 1.0,
        np.zeros(shape, dtype),
    )

    def work(first: int, last: int) -> None:
        for slab in range(first, last):
            kernel.spread(*arrays, moving, step, slab * SLAB, min(shape[0], slab * SLAB + SLAB), out)

    over_planes(work, -(-shape[0] // SLAB))
    return out


def by_label(
    volume: np.ndarray, labels: np.ndarray, bundle: np.ndarray, size_px: tuple[int, int], count: int
) -> np.ndarray:
    """(count, rows, cols) float64: Siddon's integrals of each label's voxels by themselves.

    labels  (I, J, K) integers; what is not in 0..count-1 is left out
    """
    from homolog.kernels import line_siddon

    _check(volume.shape, bundle, size_px)
    if labels.shape != volume.shape:
        raise BadInput(f"the labels are on {labels.shape} voxels, the volume on {volume.shape}")
    out = np.zeros((count, *size_px))
    arrays = reading(volume, _precision(volume)), reading(labels), reading(bundle, np.float64)
    over_planes(lambda first, last: line_siddon.by_label(*arrays, first, last, out), size_px[0])
    return out


def checked_step(step_mm: float | None) -> float:
    """The step of the trilinear lattice, which cannot do without."""
    if step_mm is None or not step_mm > 0:
        raise BadInput(f"trilinear samples need a positive step in mm, got {step_mm}")
    return float(step_mm)


def _project(
    volume: np.ndarray,
    bundle: np.ndarray,
    tangent: np.ndarray,
    size_px: tuple[int, int],
    method: str,
    step_mm: float | None,
    order: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integrals and as many derivatives as `order`; the others are empty."""
    from homolog.kernels.line_blocks import LINES

    _check(volume.shape, bundle, size_px)
    values = np.zeros(size_px)
    slopes, turned = (np.zeros((*size_px, 6 if order >= least else 0)) for least in (1, 2))
    flat = values.reshape(-1), slopes.reshape(values.size, -1), turned.reshape(values.size, -1)
    lines, lanes, strides, order_of_rows = _laid_out(bundle, size_px)
    kernel, step = _kernels(method), checked_step(step_mm) if method == "trilinear" else 1.0
    arrays = (
        reading(volume, _precision(volume)),
        reading(np.asarray(bundle)[order_of_rows], np.float64),
        reading(np.asarray(tangent)[order_of_rows], np.float64),
    )
    size = (lines, lanes)
    over_planes(
        lambda first, last: kernel.project(*arrays, step, size, strides, first, last, order, *flat), -(-lines // LINES)
    )
    return values, slopes, turned


def _check(shape: tuple[int, ...], bundle: np.ndarray, size_px: tuple[int, int]) -> None:
    if min(size_px) < 1:
        raise BadInput(f"a picture needs at least one row and one column, got {tuple(size_px)}")
    if np.shape(bundle) != (4, 3) or not np.isfinite(bundle).all():
        raise BadInput(f"a bundle of rays must be (4, 3) finite numbers, got {np.shape(bundle)}", "check the pose")
    if min(shape) < 1 or np.prod(shape) >= MOST_VOXELS:
        raise BadInput(f"line integrals need a volume of 1 to {MOST_VOXELS - 1} voxels, got {shape}", "resample it")


def _laid_out(bundle: np.ndarray, size_px: tuple[int, int]) -> tuple[int, int, tuple[int, int], list[int]]:
    """Which of rows and columns lie side by side in lanes: those along the voxels that are neighbours in memory."""
    rows, columns = (int(n) for n in size_px)
    if abs(bundle[2][2]) >= abs(bundle[3][2]):
        return rows, columns, (columns, 1), [0, 1, 2, 3]
    return columns, rows, (1, columns), [0, 1, 3, 2]


def _kernels(method: str) -> ModuleType:
    from homolog.kernels import line_joseph, line_siddon, line_trilinear

    found = dict(zip(METHODS, (line_siddon, line_joseph, line_trilinear), strict=True)).get(method)
    if found is None:
        raise BadInput(f"no line integrals by '{method}'", f"one of: {', '.join(METHODS)}")
    return found


def _precision(array: np.ndarray) -> Any:
    return np.float64 if array.dtype == np.float64 else np.float32
