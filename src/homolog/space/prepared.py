"""A picture made ready for registration: where it is known, where the patient is, and itself on isotropic grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels import foreground
from homolog.space import sampling
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, Transform
from homolog.space.volume import Volume

# What a voxel of `Level.state` says.
UNKNOWN, KNOWN, BODY = 0, 1, 2
# The patient is found on a picture this coarse: the outline is wanted, not its texture, and noise is averaged out.
BODY_SPACING_MM = 5.0
# Shares of the patient's voxels beyond which intensities are clipped: metal above, a scanner's padding below.
CLIPPED = (0.002, 0.999)


@dataclass(frozen=True, eq=False)
class Level:
    """A picture on one grid.

    data   (I, J, K) float32
    state  (I, J, K) uint8: UNKNOWN outside the picture or its mask, KNOWN, or BODY where the patient is
    """

    data: np.ndarray
    state: np.ndarray
    grid: Grid

    @property
    def known(self) -> np.ndarray:
        return np.asarray(self.state != UNKNOWN)

    @property
    def body(self) -> np.ndarray:
        return np.asarray(self.state == BODY)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture with outliers clipped, and the state of its voxels.

    picture  intensities
    state    labels UNKNOWN, KNOWN, BODY, on a coarser isotropic grid of the same box
    mask     the caller's mask, if any
    """

    picture: Volume
    state: Volume
    mask: Volume | None

    @property
    def space(self) -> str:
        return self.picture.space

    @property
    def dark(self) -> float:
        """What stands where nothing is known: the picture's darkest value."""
        return float(self.picture.numpy().min())

    def level(self, spacing_mm: float) -> Level:
        """The picture on the isotropic grid of its box, low-passed first."""
        grid = isotropic(self.picture.grid, spacing_mm)
        return Level(sampling.resample(self.picture, grid, outside=self.dark).numpy(), self._state_on(grid), grid)

    def body_points(self) -> np.ndarray:
        """(N, 3) LPS mm: the voxels of the patient, about 5 mm apart."""
        return self.state.grid.points()[(self.state.numpy() == BODY).ravel()]

    def _state_on(self, grid: Grid) -> np.ndarray:
        share = self.state.with_data((self.state.numpy() == BODY).astype(np.float32), "intensity")
        # just under a half: halves are common where two lattices meet, and a rounding would choose
        body = sampling.resample(share, grid, outside=0).numpy() > 0.499
        known = _known(self.picture, self.mask, grid)
        return np.where(known, np.where(body, BODY, KNOWN), UNKNOWN).astype(np.uint8)


def prepare(volume: Volume, mask: Volume | None, what: str) -> Prepared:
    """A picture ready for registration, or an error that says what is wrong with it.

    mask  labels in the picture's space on any grid: 0 where the picture is not to be looked at
    what  "fixed" or "moving", for the errors
    """
    require_picture(volume, what)
    _require_mask(mask, volume, what)
    picture = restored(volume)
    data = picture.numpy()
    spacing = max(BODY_SPACING_MM, float(volume.grid.spacing_mm.min()))
    grid = isotropic(volume.grid, spacing)
    coarse = sampling.resample(picture, grid, outside=float(data.min())).numpy()
    known = _known(picture, mask, grid)
    if not known.any():
        raise BadInput(f"the mask of the {what} image leaves nothing of it", "leave the mask out, or check its frame")
    if np.ptp(coarse[known]) <= 1e-6 * max(1.0, float(np.abs(coarse[known]).max())):
        raise BadInput(f"the {what} image is constant where it is to be looked at: nothing in it can be found again")
    body = foreground.body_mask(coarse, known)
    low, high = np.quantile(coarse[body], CLIPPED)
    state = Volume(np.where(known, np.where(body, BODY, KNOWN), UNKNOWN).astype(np.uint8), grid, volume.space, "labels")
    return Prepared(picture.with_data(np.clip(data, low, high)), state, mask)


def restored(volume: Volume) -> Volume:
    """The same picture, its voxels stored along x, y, z as nearly as they lie: so that rounding is the same however it
    was stored."""
    columns, against = _patient_order(volume.grid.axes)
    data = volume.numpy().transpose(columns)
    step = np.eye(4)[:, [*columns, 3]]
    for axis in np.flatnonzero(against).tolist():
        data = np.flip(data, axis)
        # counted from the other end: voxel n becomes length - 1 - n
        step[columns[axis], axis] = -1
        step[columns[axis], 3] = data.shape[axis] - 1
    return Volume(np.ascontiguousarray(data), Grid(data.shape, volume.grid.world_from_voxel @ step), volume.space)


def isotropic(grid: Grid, spacing_mm: float) -> Grid:
    """Cubic voxels over the same box, along its own axes, in an order and a direction that do not depend on storage.

    Axes that lean, as a tilted gantry's do, are replaced by the nearest upright ones.
    """
    axes = _upright(grid.axes)
    columns, against = _patient_order(axes)
    axes = axes[:, columns] * np.where(against, -1.0, 1.0)
    corners = grid.corners() @ axes
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = np.maximum(1, np.ceil((high - low) / spacing_mm - 1e-6)).astype(int)
    # the box's centre is the grid's, so that it does not matter from which end the voxels are counted
    origin = axes @ ((low + high) / 2 - spacing_mm * (shape - 1) / 2)
    return Grid.regular(shape.tolist(), spacing_mm, origin, axes)


def warped(level: Level, moving_from_fixed: np.ndarray | Transform, grid: Grid) -> Level:
    """A moving picture on a grid of the fixed patient, under a matrix (4, 4) LPS mm or any map."""
    if isinstance(moving_from_fixed, np.ndarray):
        moving_from_fixed = Affine(moving_from_fixed)
    transform = moving_from_fixed.renamed(fixed="fixed", moving="moving")
    dark = float(level.data.min())
    data = sampling.warp(Volume(level.data, level.grid, "moving"), transform, grid, outside=dark)
    state = sampling.warp(Volume(level.state, level.grid, "moving", "labels"), transform, grid, outside=UNKNOWN)
    return Level(data.numpy(), state.numpy(), grid)


def _upright(axes: np.ndarray) -> np.ndarray:
    """The orthonormal matrix nearest to unit axes."""
    u, _, vt = np.linalg.svd(axes)
    return u @ vt


def _patient_order(axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the axes lies nearest to x, to y, to z (3,), and whether against it (3,) bool."""
    from scipy.optimize import linear_sum_assignment

    columns = linear_sum_assignment(-np.abs(axes))[1]
    return columns, np.diag(axes[:, columns]) < 0


def _known(picture: Volume, mask: Volume | None, grid: Grid) -> np.ndarray:
    known = picture.grid.contains(grid.points()).reshape(grid.shape)
    if mask is None:
        return np.asarray(known)
    wanted = mask.with_data((mask.numpy() != 0).astype(np.uint8))
    return known & (sampling.resample(wanted, grid, outside=0).numpy() != 0)


def require_picture(volume: Volume, what: str) -> None:
    if volume.kind != "intensity":
        raise BadInput(f"the {what} image is a label map: a picture is needed", "read it with read(path)")
    if min(volume.grid.shape) < 2:
        raise BadInput(f"the {what} image is a single slice ({volume.grid!r}): a volume is needed")
    if not np.isfinite(volume.numpy()).all():
        raise BadInput(f"the {what} image holds NaN or infinite values", "homolog convert --replace-nan -1000 IN OUT")


def _require_mask(mask: Volume | None, volume: Volume, what: str) -> None:
    if mask is None:
        return
    if mask.kind != "labels":
        raise BadInput(f"the mask of the {what} image is a picture of intensities", "read it with read_labels(path)")
    if mask.space != volume.space:
        raise SpaceMismatch(
            f"the mask of the {what} image is in '{mask.space}', the image in '{volume.space}'",
            f"read it with read_labels(path, space={volume.space!r})",
        )
    if not (mask.numpy() != 0).any():
        raise BadInput(f"the mask of the {what} image is empty", "leave the mask out to use all of the image")
