"""Maps between two patients, each named by both its ends: `moving_from_fixed` carries a point of the fixed patient.

That is also the map which resampling needs: the moving image is looked up where a fixed voxel's centre is carried to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels import bspline, displacement, interpolate, launching
from homolog.kernels import points as positions
from homolog.kernels.threads import over_planes
from homolog.space.grid import SINGULAR, Grid

# Points a thread takes at once: large enough to hide Python, small enough to stay in its cache.
CHUNK = 65536
BROKEN = "the program that made this map failed; run it again"

Self = TypeVar("Self", bound="Transform")
# beside the maps, not in them: a map that is pickled for another process leaves its tensors behind
_ON_DEVICES: WeakKeyDictionary[Transform, dict[Any, Any]] = WeakKeyDictionary()


class Transform:
    """What all maps share. The members are final: Affine, Displacement, BSpline, ThinPlate, Chain."""

    fixed: str
    moving: str

    def apply(self, points: Any) -> Any:
        """Carries fixed points (N, 3) LPS mm to the moving patient; a tensor gives a tensor on its device."""
        if isinstance(points, np.ndarray | list | tuple):
            return self._apply_in_chunks(_as_points(points))
        if points.device.type == "cpu" and not points.requires_grad:
            return points.new_tensor(self._apply_in_chunks(_as_points(points.numpy())))
        return self._apply_torch(points)

    def jacobian(self, points: np.ndarray) -> np.ndarray:
        """(N, 3, 3) float64: the derivative of the map at fixed points (N, 3) LPS mm."""
        raise TypeError(f"{type(self).__name__} is not one of the five maps")

    def inverse(self, grid: Grid | None = None) -> Transform:
        """The map `fixed_from_moving`; for one without a closed form, solved on `grid` (see `inversion.invert`)."""
        from homolog.space.inversion import invert

        return invert(self, grid).transform

    def renamed(self: Self, *, fixed: str | None = None, moving: str | None = None) -> Self:
        """The same map between spaces of other names."""
        names = {"fixed": fixed or self.fixed, "moving": moving or self.moving}
        return replace(self, **names)  # type: ignore[type-var]

    def describe(self) -> str:
        """One sentence: what is carried where."""
        return (
            f"carries points of '{self.fixed}' to '{self.moving}' (LPS mm), "
            f"so it resamples images of '{self.moving}' onto the grid of '{self.fixed}'"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.moving}' from '{self.fixed}'>"

    def __matmul__(self, other: Transform) -> Transform:
        """`c_from_b @ b_from_a`: first `other`, then this one; the spaces in the middle must be the same."""
        if self.fixed != other.moving:
            raise SpaceMismatch(
                f"cannot compose '{self.moving}' from '{self.fixed}' with '{other.moving}' from '{other.fixed}': "
                f"'{self.fixed}' is not '{other.moving}'",
                "swap the two, invert one of them, or rename a space with renamed()",
            )
        return chain([self, other])

    def _apply_in_chunks(self, points: np.ndarray) -> np.ndarray:
        out = np.empty_like(points)

        def part(start: int, stop: int) -> None:
            out[start:stop] = self._apply_numpy(points[start:stop])

        over_planes(part, len(points), at_least=CHUNK)
        return out

    def _apply_numpy(self, points: np.ndarray) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} is not one of the five maps")

    def _apply_torch(self, points: Any) -> Any:
        raise TypeError(f"{type(self).__name__} is not one of the five maps")


@dataclass(frozen=True, eq=False, repr=False)
class Affine(Transform):
    """p -> M p + t.

    matrix  (4, 4) float64, moving_from_fixed, LPS mm
    """

    matrix: np.ndarray
    fixed: str = "fixed"
    moving: str = "moving"

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise BadInput(f"an affine map needs a finite 4x4 matrix, got shape {matrix.shape}", BROKEN)
        if not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-9):
            raise BadInput(f"the last row of an affine matrix must be 0 0 0 1, got {matrix[3].tolist()}", BROKEN)
        if not abs(np.linalg.det(matrix[:3, :3])) > SINGULAR * np.linalg.norm(matrix[:3, :3], axis=0).prod():
            raise BadInput("the affine matrix is singular: it flattens the patient and has no inverse", BROKEN)
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls, fixed: str = "fixed", moving: str = "moving") -> Affine:
        return cls(np.eye(4), fixed, moving)

    def jacobian(self, points: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.matrix[:3, :3], (len(points), 3, 3)).copy()

    def inverse(self, grid: Grid | None = None) -> Affine:
        return Affine(np.linalg.inv(self.matrix), self.moving, self.fixed)

    def _apply_numpy(self, points: np.ndarray) -> np.ndarray:
        return positions.moved(self.matrix, points)

    def _apply_torch(self, points: Any) -> Any:
        matrix = points.new_tensor(self.matrix)
        return points @ matrix[:3, :3].T + matrix[:3, 3]


@dataclass(frozen=True, eq=False, repr=False)
class Displacement(Transform):
    """p -> p + d(p), d linear between the nodes of its own grid, beyond it the nearest edge value.

    vectors  (I, J, K, 3) float32 LPS mm, NumPy array or torch tensor
    grid     where the nodes lie in the fixed patient, of any resolution
    """

    vectors: Any
    grid: Grid
    fixed: str = "fixed"
    moving: str = "moving"

    def __post_init__(self) -> None:
        if tuple(self.vectors.shape) != (*self.grid.shape, 3):
            raise BadInput(
                f"a displacement on {self.grid!r} needs vectors {(*self.grid.shape, 3)}, got {self.vectors.shape}"
            )
        object.__setattr__(self, "vectors", _finite(_to_float32(self.vectors), "a displacement field"))

    def jacobian(self, points: np.ndarray) -> np.ndarray:
        voxel_from_world = self.grid.voxel_from_world[:3, :3]
        slopes = displacement.sample_vectors_and_slopes(as_numpy(self.vectors), self.grid.voxel(points))[1]
        return np.eye(3) + slopes @ voxel_from_world

    def _apply_numpy(self, points: np.ndarray) -> np.ndarray:
        return displacement.displace(as_numpy(self.vectors), self.grid.voxel_from_world, points)

    def _apply_torch(self, points: Any) -> Any:
        vectors = _on_device(self, self.vectors, points.device)
        return points + interpolate.sample_vectors_torch(vectors, _voxel_torch(self.grid, points))


@dataclass(frozen=True, eq=False, repr=False)
class BSpline(Transform):
    """p -> p + sum of beta(p) c, uniform cubic; beyond the lattice the coefficients are repeated by their edge.

    coefficients  (I, J, K, 3) float64 LPS mm, NumPy array or torch tensor
    grid          where the control points lie in the fixed patient
    """

    coefficients: Any
    grid: Grid
    fixed: str = "fixed"
    moving: str = "moving"

    def __post_init__(self) -> None:
        if tuple(self.coefficients.shape) != (*self.grid.shape, 3):
            raise BadInput(
                f"a spline on {self.grid!r} needs coefficients {(*self.grid.shape, 3)}, got {self.coefficients.shape}"
            )
        coefficients = self.coefficients
        if isinstance(coefficients, np.ndarray):
            coefficients = np.ascontiguousarray(coefficients, np.float64)
        object.__setattr__(self, "coefficients", _finite(coefficients, "a B-spline"))

    def jacobian(self, points: np.ndarray) -> np.ndarray:
        slopes = bspline.evaluate_gradient(as_numpy(self.coefficients), self.grid.voxel(points))[1]
        return np.eye(3) + slopes @ self.grid.voxel_from_world[:3, :3]

    def _apply_numpy(self, points: np.ndarray) -> np.ndarray:
        controls = positions.moved(self.grid.voxel_from_world, points)
        return points + bspline.evaluate(as_numpy(self.coefficients), controls)

    def _apply_torch(self, points: Any) -> Any:
        coefficients = _on_device(self, self.coefficients, points.device)
        if points.is_cuda and launching.has_triton() and not (points.requires_grad or coefficients.requires_grad):
            from homolog.kernels.on_gpu import bspline as on_gpu

            return on_gpu.carried(coefficients, self.grid.voxel_from_world, points)
        return points + bspline.evaluate_torch(coefficients, _voxel_torch(self.grid, points))


@dataclass(frozen=True, eq=False, repr=False)
class ThinPlate(Transform):
    """p -> A p + sum of w |p - c|: the smoothest map through its landmarks in 3D (Bookstein, IEEE PAMI 11:567, 1989).

    centres  (M, 3) float64 LPS mm, in the fixed patient
    weights  (M, 3) float64, mm per mm
    affine   (4, 4) float64, moving_from_fixed
    """

    centres: np.ndarray
    weights: np.ndarray
    affine: np.ndarray
    fixed: str = "fixed"
    moving: str = "moving"

    def __post_init__(self) -> None:
        for name in ("centres", "weights", "affine"):
            array = np.array(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, _finite(array, f"a thin plate's {name}"))
        if self.centres.shape != self.weights.shape or self.centres.ndim != 2 or self.centres.shape[1] != 3:
            raise BadInput(
                f"a thin plate needs (M, 3) centres and weights, got {self.centres.shape}, {self.weights.shape}"
            )

    def jacobian(self, points: np.ndarray) -> np.ndarray:
        out = np.empty((len(points), 3, 3))
        for start in range(0, len(points), 4096):
            towards = points[start : start + 4096, None, :] - self.centres
            distance = np.linalg.norm(towards, axis=2, keepdims=True)
            # at a centre |p - c| has no derivative; its mean over directions is zero
            unit = np.divide(towards, distance, out=np.zeros_like(towards), where=distance > 0)
            out[start : start + 4096] = np.einsum("mc,nmd->ncd", self.weights, unit)
        return out + self.affine[:3, :3]

    def _apply_numpy(self, points: np.ndarray) -> np.ndarray:
        from scipy.spatial.distance import cdist

        out = points @ self.affine[:3, :3].T + self.affine[:3, 3]
        for start in range(0, len(points), 4096):
            out[start : start + 4096] += cdist(points[start : start + 4096], self.centres) @ self.weights
        return out

    def _apply_torch(self, points: Any) -> Any:
        import torch

        affine = points.new_tensor(self.affine)
        distance = torch.cdist(points, points.new_tensor(self.centres), compute_mode="donot_use_mm_for_euclid_dist")
        return points @ affine[:3, :3].T + affine[:3, 3] + distance @ points.new_tensor(self.weights)


@dataclass(frozen=True, eq=False, repr=False)
class Chain(Transform):
    """Several maps in a row, in the order of a matrix product: the last one is applied first."""

    parts: tuple[Transform, ...]

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        if not parts:
            raise BadInput("a chain needs at least one map")
        for after, before in pairwise(parts):
            if after.fixed != before.moving:
                ends = f"'{after.moving}' from '{after.fixed}' cannot follow '{before.moving}' from '{before.fixed}'"
                raise SpaceMismatch(f"in a chain {ends}")
        object.__setattr__(self, "parts", parts)

    @property
    def fixed(self) -> str:  # type: ignore[override]
        return self.parts[-1].fixed

    @property
    def moving(self) -> str:  # type: ignore[override]
        return self.parts[0].moving

    def renamed(self, *, fixed: str | None = None, moving: str | None = None) -> Chain:
        parts = list(self.parts)
        parts[-1] = parts[-1].renamed(fixed=fixed)
        parts[0] = parts[0].renamed(moving=moving)
        return Chain(tuple(parts))

    def jacobian(self, points: np.ndarray) -> np.ndarray:
        total = np.broadcast_to(np.eye(3), (len(points), 3, 3))
        for part in reversed(self.parts):
            total = part.jacobian(points) @ total
            points = part.apply(points)
        return total

    def _apply_numpy(self, points: np.ndarray) -> np.ndarray:
        for part in reversed(self.parts):
            points = part._apply_numpy(points)
        return points

    def _apply_torch(self, points: Any) -> Any:
        for part in reversed(self.parts):
            points = part._apply_torch(points)
        return points


def chain(parts: Sequence[Transform], *, fixed: str | None = None, moving: str | None = None) -> Transform:
    """Maps joined in the order of a matrix product, chains flattened and neighbouring affine maps multiplied.

    With `fixed` and `moving` given, the parts are one map's own steps (an affine and a displacement, say) and the
    spaces between them get names of their own; without, the names must meet already.
    """
    flat = [step for part in parts for step in (part.parts if isinstance(part, Chain) else (part,))]
    if fixed is not None and moving is not None:
        between = [f"{moving}~{n}" for n in range(1, len(flat))]
        names = [moving, *between, fixed]
        flat = [part.renamed(moving=names[n], fixed=names[n + 1]) for n, part in enumerate(flat)]
    merged: list[Transform] = []
    for after in Chain(tuple(flat)).parts:
        last = merged[-1] if merged else None
        if isinstance(last, Affine) and isinstance(after, Affine):
            merged[-1] = Affine(last.matrix @ after.matrix, after.fixed, last.moving)
        else:
            merged.append(after)
    return merged[0] if len(merged) == 1 else Chain(tuple(merged))


def _as_points(points: Any) -> np.ndarray:
    array = np.ascontiguousarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise BadInput(f"points must be (N, 3), got {array.shape}")
    return array


def as_numpy(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def _to_float32(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(array, np.float32)
    return array.float()


def _finite(array: Any, name: str) -> Any:
    # one sum, not a mask of the whole field: a NaN or an infinity anywhere survives it
    if not np.isfinite(float(array.sum())):
        raise BadInput(f"{name} holds NaN or infinite values", BROKEN)
    return array


def _on_device(transform: Transform, array: Any, device: Any) -> Any:
    """A map's own array as a tensor; on a GPU it stays as long as the map does, as it may be tens of MB."""
    import torch

    if device.type == "cpu" or not isinstance(array, np.ndarray):
        return torch.as_tensor(array, device=device)
    kept = _ON_DEVICES.setdefault(transform, {})
    if device not in kept:
        kept[device] = torch.as_tensor(array, device=device)
    return kept[device]


def _voxel_torch(grid: Grid, points: Any) -> Any:
    matrix = points.new_tensor(grid.voxel_from_world)
    return points @ matrix[:3, :3].T + matrix[:3, 3]
