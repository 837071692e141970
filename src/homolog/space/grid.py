"""Where voxels lie in the patient: a lattice of voxel centres in LPS+ millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from homolog.errors import BadInput
from homolog.kernels import points as positions

# A matrix this near to singular cannot be inverted to a micrometre: 1e-9 of the product of the voxel's sides.
SINGULAR = 1e-9


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice: `data[i, j, k]` sits at `world_from_voxel @ (i, j, k, 1)`, voxel centres at integers.

    shape             (I, J, K) voxels
    world_from_voxel  (4, 4) float64, LPS mm; oblique, sheared and left-handed matrices are ordinary
    """

    shape: tuple[int, int, int]
    world_from_voxel: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        matrix = np.array(self.world_from_voxel, dtype=np.float64)
        if len(shape) != 3 or min(shape, default=0) < 1:
            raise BadInput(f"a grid needs three positive sizes, got {self.shape}")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise BadInput(f"a grid needs a finite 4x4 world_from_voxel, got {matrix.tolist()}")
        if not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise BadInput(f"the last row of world_from_voxel must be 0 0 0 1, got {matrix[3].tolist()}")
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if not abs(np.linalg.det(matrix[:3, :3])) > SINGULAR * spacing.prod():
            raise BadInput(
                f"world_from_voxel is singular (spacing {np.round(spacing, 6).tolist()} mm): its voxels have no volume",
                "the file's header is broken; write it again with the program that made it",
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "world_from_voxel", matrix)

    @classmethod
    def regular(
        cls,
        shape: Sequence[int],
        spacing_mm: Sequence[float] | np.ndarray | float = 1.0,
        origin_mm: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
        axes: np.ndarray | None = None,
    ) -> Grid:
        """A grid from its spacing, the position of voxel (0, 0, 0) and the unit axes in its columns (identity: LPS)."""
        matrix = np.eye(4)
        axes = np.eye(3) if axes is None else np.asarray(axes, dtype=np.float64)
        matrix[:3, :3] = axes * np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), 3)
        matrix[:3, 3] = origin_mm
        return cls((shape[0], shape[1], shape[2]), matrix)

    @property
    def voxel_from_world(self) -> np.ndarray:
        """(4, 4) float64, LPS mm to voxels."""
        return np.linalg.inv(self.world_from_voxel)

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) float64: the length of a step along i, j, k."""
        return np.linalg.norm(self.world_from_voxel[:3, :3], axis=0)

    @property
    def origin_mm(self) -> np.ndarray:
        """(3,) float64, LPS mm: the centre of voxel (0, 0, 0)."""
        return self.world_from_voxel[:3, 3].copy()

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) float64: the unit vectors of i, j, k in its columns."""
        return self.world_from_voxel[:3, :3] / self.spacing_mm

    @property
    def shear_degrees(self) -> float:
        """How far the most slanted pair of axes is from a right angle."""
        cosines = (self.axes.T @ self.axes)[np.triu_indices(3, 1)]
        return float(np.degrees(np.arcsin(np.clip(np.abs(cosines), 0, 1))).max())

    @property
    def size(self) -> int:
        """The number of voxels."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def voxel_volume_mm3(self) -> float:
        return float(abs(np.linalg.det(self.world_from_voxel[:3, :3])))

    def world(self, voxels: np.ndarray) -> np.ndarray:
        """LPS mm of voxel coordinates, both (..., 3)."""
        return _moved(self.world_from_voxel, voxels)

    def voxel(self, points_mm: np.ndarray) -> np.ndarray:
        """Voxel coordinates of LPS mm, both (..., 3)."""
        return _moved(self.voxel_from_world, points_mm)

    def points(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """(n, 3) float64, LPS mm: the voxel centres of the planes start <= i < stop, k running fastest."""
        return positions.lattice(self.world_from_voxel, self.shape, start, self.shape[0] if stop is None else stop)

    def corners(self, margin_vox: float = 0.5) -> np.ndarray:
        """(8, 3) float64, LPS mm: the corners of the box of voxels; the default margin is the voxels' own edges."""
        ends = [(-margin_vox, n - 1 + margin_vox) for n in self.shape]
        return self.world(np.array(list(product(*ends))))

    def bounds(self, margin_vox: float = 0.5) -> np.ndarray:
        """(2, 3) float64, LPS mm: the smallest and the largest x, y, z of the corners."""
        corners = self.corners(margin_vox)
        return np.stack((corners.min(axis=0), corners.max(axis=0)))

    def contains(self, points_mm: np.ndarray, margin_vox: float = 0.5) -> np.ndarray:
        """(n,) bool: which points lie within `margin_vox` of the voxel centres' box."""
        voxels = self.voxel(points_mm)
        within = (voxels >= -margin_vox) & (voxels < np.array(self.shape) - 1 + margin_vox)
        return np.asarray(within.all(axis=-1))

    def same_as(self, other: Grid, tolerance_vox: float = 1e-3) -> bool:
        """Whether both put every voxel at the same place, to a thousandth of a voxel."""
        if self.shape != other.shape:
            return False
        apart_mm = np.abs(self.corners(0.0) - other.corners(0.0)).max()
        return bool(apart_mm <= tolerance_vox * self.spacing_mm.min())

    def cropped(self, start: Sequence[int], stop: Sequence[int]) -> Grid:
        """The voxels start <= (i, j, k) < stop, which may reach past the ends (then it is padding)."""
        shift = np.eye(4)
        shift[:3, 3] = start
        shape = tuple(int(b) - int(a) for a, b in zip(start, stop, strict=True))
        return Grid(shape, self.world_from_voxel @ shift)  # type: ignore[arg-type]

    def padded(self, voxels: int | Sequence[int]) -> Grid:
        """The same lattice with that many voxels more at both ends of each axis."""
        margin = np.broadcast_to(np.asarray(voxels), 3)
        return self.cropped((-margin).tolist(), (np.array(self.shape) + margin).tolist())

    def with_spacing(self, spacing_mm: float | Sequence[float] | np.ndarray) -> Grid:
        """The same box of voxel edges cut into voxels of another size; the far edges may grow by less than a voxel."""
        wanted = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), 3)
        if not (wanted > 0).all():
            raise BadInput(f"spacing must be positive, got {wanted.tolist()} mm")
        ratio = wanted / self.spacing_mm
        shape = np.maximum(1, np.ceil(np.array(self.shape) / ratio - 1e-6)).astype(int)
        step = np.diag([*ratio, 1.0])
        # the outer edge of the first voxel stays where it is
        step[:3, 3] = 0.5 * ratio - 0.5
        return Grid(tuple(shape.tolist()), self.world_from_voxel @ step)

    def covering(self, points_mm: np.ndarray) -> Grid:
        """The same lattice, enlarged until the box of its voxel centres holds every point (it never shrinks)."""
        voxels = self.voxel(points_mm).reshape(-1, 3)
        start = np.minimum(0, np.floor(voxels.min(axis=0) + 1e-6))
        stop = np.maximum(np.array(self.shape) - 1, np.ceil(voxels.max(axis=0) - 1e-6)) + 1
        return self.cropped(start.astype(int).tolist(), stop.astype(int).tolist())

    def __repr__(self) -> str:
        sizes = "x".join(map(str, self.shape))
        spacing = "x".join(f"{s:.4g}" for s in self.spacing_mm)
        origin = ", ".join(f"{o:.4g}" for o in self.origin_mm)
        return f"Grid({sizes}, {spacing} mm, origin ({origin}) LPS)"


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return positions.moved(matrix, points.reshape(-1, 3)).reshape(points.shape)
