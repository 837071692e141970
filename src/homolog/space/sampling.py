"""Pictures and points under a map: warping, resampling, pyramids; one `apply` that finds the direction by itself."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels import displacement as fields
from homolog.kernels import interpolate, smooth
from homolog.kernels.threads import over_planes
from homolog.space.dense import sampled_displacement as sampled_displacement
from homolog.space.dense import slabs
from homolog.space.grid import Grid
from homolog.space.inversion import carry_back, invert
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Affine, Chain, Displacement, Transform, as_numpy
from homolog.space.volume import Volume

Interpolation = Literal["linear", "cubic", "nearest", "smooth"]


def warp(
    moving: Volume,
    moving_from_fixed: Transform,
    grid: Grid,
    *,
    outside: float,
    interpolation: Interpolation | None = None,
) -> Volume:
    """The moving picture on a grid of the fixed patient: each voxel looks up the place it is carried to.

    grid           the fixed grid
    outside        the value beyond half a voxel from the moving picture's outermost centres
    interpolation  "linear" or "cubic" for intensities, "nearest" or "smooth" (each label's indicator interpolated
                   linearly, the largest wins) for labels; default linear, and nearest for labels
    """
    _require_space(moving.space, moving_from_fixed.moving, f"warp an image of '{moving.space}'", moving_from_fixed)
    mode = _mode(moving, interpolation)
    outside = _fitting(outside, moving)
    data: Any
    if isinstance(moving.data, np.ndarray):
        data = _warp_numpy(moving, moving_from_fixed, grid, mode, outside)
    elif moving.data.device.type == "cpu" and not moving.data.requires_grad:
        import torch

        data = torch.from_numpy(_warp_numpy(moving.with_data(moving.numpy()), moving_from_fixed, grid, mode, outside))
    else:
        data = _warp_torch(moving, moving_from_fixed, grid, mode, outside)
    return Volume(data, grid, moving_from_fixed.fixed, moving.kind)


def carry(points: Keypoints, transform: Transform) -> Keypoints:
    """Points carried along the map, whichever of its two ends they are in: forwards, or solved backwards at each."""
    if points.space == transform.fixed and points.space != transform.moving:
        return points.moved_to(transform.apply(points.position), transform.moving)
    _require_space(points.space, transform.moving, f"carry points of '{points.space}'", transform)
    solved = carry_back(transform, points.position)
    lost = ~solved.found()
    if lost.any():
        names = [points.name[n] if points.name else f"number {n}" for n in np.flatnonzero(lost)[:5]]
        raise BadInput(
            f"{lost.sum()} of {len(points)} points have no counterpart in '{transform.fixed}': the map folds or tears "
            f"at {', '.join(names)}",
            "use the map written for the other direction, or leave these points out",
        )
    return points.moved_to(solved.points, transform.fixed)


def apply(transform: Transform, thing: Volume | Keypoints, grid: Grid | None = None, **options: Any) -> Any:
    """A picture, labels or points brought to the other end of the map; the direction follows from their space.

    grid     needed for pictures: the voxels of the other patient to fill
    options  of `warp`
    """
    if transform.fixed == transform.moving:
        raise SpaceMismatch(
            f"both ends of the map are called '{transform.fixed}': the direction cannot be told by name"
        )
    if isinstance(thing, Keypoints):
        return carry(thing, transform)
    if grid is None:
        raise BadInput(f"a grid is needed to bring the image of '{thing.space}' to the other patient")
    if thing.space == transform.fixed:
        # the inverse is solved where it is used, at the voxels of the grid that is asked for
        transform = invert(transform, grid).transform if not isinstance(transform, Affine) else transform.inverse()
    return warp(thing, transform, grid, **options)


def resample(volume: Volume, grid: Grid, *, outside: float, interpolation: Interpolation | None = None) -> Volume:
    """The same picture on another grid of the same patient, low-passed first along axes that become coarser."""
    if volume.kind == "intensity":
        volume = low_passed(volume, grid)
    return warp(volume, Affine.identity(volume.space, volume.space), grid, outside=outside, interpolation=interpolation)


def low_passed(volume: Volume, grid: Grid) -> Volume:
    """Smoothed so that a sample on the grid has the point spread of its voxels (Cardoso et al., MICCAI 2015).

    A voxel of width s spreads like a Gaussian of full width s at half maximum, so the kernel that takes spacing s to
    spacing t has a variance of (t^2 - s^2) / (8 ln 2); for oblique grids t^2 is measured along the volume's own axes.
    """
    source = volume.grid.spacing_mm
    target = np.sqrt(((volume.grid.axes.T @ grid.world_from_voxel[:3, :3]) ** 2).sum(axis=1))
    variance_mm2 = np.maximum(0, target**2 - source**2) / (8 * np.log(2))
    # one part in a thousand: headers round their spacings
    sigma_vox = np.where(target > 1.001 * source, np.sqrt(variance_mm2) / source, 0.0).tolist()
    if not any(sigma_vox):
        return volume
    if isinstance(volume.data, np.ndarray):
        return volume.with_data(smooth.smooth(volume.data, sigma_vox))
    return volume.with_data(smooth.smooth_torch(volume.data, sigma_vox))


def lie_in(labels: Volume, points_mm: np.ndarray) -> np.ndarray:
    """(N,) bool: which points (N, 3) LPS mm lie in a voxel of a label map that is not 0."""
    voxels = np.floor(labels.grid.voxel(points_mm) + 0.5).astype(np.int64)
    within = np.all((voxels >= 0) & (voxels < labels.grid.shape), axis=1)
    within[within] = labels.numpy()[tuple(voxels[within].T)] != 0
    return within


def pyramid(volume: Volume, spacings_mm: list[float]) -> list[Volume]:
    """The picture at several isotropic spacings, each made from the original; none is finer than the original."""
    finest = volume.grid.spacing_mm
    grids = [volume.grid.with_spacing(np.maximum(spacing, finest).tolist()) for spacing in spacings_mm]
    # the outer half voxel of a coarser grid can lie beyond the last centre: the rim's clamp, not `outside`, fills it
    return [resample(volume, grid, outside=float(volume.numpy().min())) for grid in grids]


def require_same_grid(one: Volume, other: Volume) -> None:
    """Raises unless two pictures share space and grid, and says how to bring one onto the other."""
    from homolog.errors import GridMismatch

    if one.space != other.space:
        raise SpaceMismatch(
            f"'{one.space}' and '{other.space}' are two spaces: their voxels cannot be compared",
            "warp one onto the other first, or name the same space when reading: read(path, space=...)",
        )
    if not one.grid.same_as(other.grid):
        raise GridMismatch(
            f"two pictures of '{one.space}' lie on different grids: {one.grid!r} and {other.grid!r}",
            "homolog apply identity labels.nii.gz --like ct.nii.gz -o labels_on_ct.nii.gz",
        )


def _warp_numpy(moving: Volume, transform: Transform, grid: Grid, mode: str, outside: float) -> np.ndarray:
    voxel_from_world = moving.grid.voxel_from_world
    dense = _dense_step(transform, grid) if mode == "linear" else None
    if dense is not None:
        displacement, after = dense
        source_from_mm = voxel_from_world @ after
        return fields.warp_dense(
            moving.numpy(),
            as_numpy(displacement.vectors),
            source_from_mm @ grid.world_from_voxel,
            source_from_mm[:3, :3],
            outside,
        )
    data = np.ascontiguousarray(moving.data)
    if mode == "cubic":
        data = interpolate.spline_coefficients(data)
    out = np.empty(grid.shape, data.dtype)

    def planes(start: int, stop: int) -> None:
        for low, high in slabs(grid, start, stop):
            points = transform._apply_numpy(grid.points(low, high))
            interpolate.sample(data, points, mode, outside, voxel_from_world, out[low:high].reshape(-1))

    over_planes(planes, grid.shape[0])
    return out


def _dense_step(transform: Transform, grid: Grid) -> tuple[Displacement, np.ndarray] | None:
    """A displacement on the output's own grid and the affine (4, 4) after it, if the map has that shape."""
    parts = transform.parts if isinstance(transform, Chain) else (transform,)
    first, after = parts[-1], parts[:-1]
    if len(after) > 1 or not isinstance(first, Displacement) or not first.grid.same_as(grid, tolerance_vox=1e-6):
        return None
    if after and not isinstance(after[0], Affine):
        return None
    return first, after[0].matrix if after and isinstance(after[0], Affine) else np.eye(4)


def _warp_torch(moving: Volume, transform: Transform, grid: Grid, mode: str, outside: float) -> Any:
    import torch

    data = moving.data
    assert isinstance(data, torch.Tensor)
    if mode == "cubic":
        data = interpolate.spline_coefficients_torch(data)
    parts = []
    for start, stop in slabs(grid):
        points = transform.apply(torch.from_numpy(grid.points(start, stop)).to(data.device))
        matrix = torch.from_numpy(moving.grid.voxel_from_world).to(data.device)
        voxels = points @ matrix[:3, :3].T + matrix[:3, 3]
        parts.append(interpolate.sample_torch(data, voxels, mode, outside).reshape(stop - start, *grid.shape[1:]))
    return torch.cat(parts)


def _mode(volume: Volume, interpolation: Interpolation | None) -> str:
    chosen = interpolation or ("nearest" if volume.kind == "labels" else "linear")
    allowed = ("nearest", "smooth") if volume.kind == "labels" else ("linear", "cubic", "nearest")
    if chosen not in allowed:
        raise BadInput(
            f"{chosen!r} does not fit a picture of kind '{volume.kind}': use {' or '.join(allowed)}",
            "read a label map with read_labels(path), or --labels" if volume.kind == "intensity" else "",
        )
    return "vote" if chosen == "smooth" else chosen


def _fitting(outside: float, volume: Volume) -> float:
    """The value itself, if the labels' type can hold it."""
    if volume.kind == "labels":
        limits = np.iinfo(volume.numpy().dtype)
        if not (limits.min <= outside <= limits.max and outside == int(outside)):
            raise BadInput(f"outside={outside} is no value of labels of type {limits.dtype}", "use outside=0")
    return outside


def _require_space(space: str, wanted: str, what: str, transform: Transform) -> None:
    if space != wanted:
        raise SpaceMismatch(
            f"cannot {what}: the map {transform.describe()}",
            f"if it is the same patient, name its space: read(path, space={wanted!r})",
        )
