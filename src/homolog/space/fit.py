"""Maps from corresponding points: rigid, similarity, affine in closed form, and a thin plate through all of them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from homolog.errors import BadInput
from homolog.space.transforms import Affine, ThinPlate

Weights = np.ndarray | None
# Points this near to one line (to one plane, for an affine map), relative to their spread, leave a turn undetermined.
FLAT = 1e-6
# Flatter than this, they are not put into normal equations.
THIN = 1e-3


def rigid(fixed_mm: np.ndarray, moving_mm: np.ndarray, weights: Weights = None, **spaces: str) -> Affine:
    """The rotation and shift with the least squared distance; both (N, 3) LPS mm, weights (N,)."""
    return _orthogonal(fixed_mm, moving_mm, weights, "rigid", **spaces)


def similarity(fixed_mm: np.ndarray, moving_mm: np.ndarray, weights: Weights = None, **spaces: str) -> Affine:
    """`rigid`, and one scale for all directions (Umeyama, IEEE PAMI 13:376, 1991)."""
    return _orthogonal(fixed_mm, moving_mm, weights, "similarity", **spaces)


def affine(fixed_mm: np.ndarray, moving_mm: np.ndarray, weights: Weights = None, **spaces: str) -> Affine:
    """The affine map with the least squared distance; both (N, 3) LPS mm, weights (N,)."""
    fixed_mm, moving_mm, weight = _checked(fixed_mm, moving_mm, weights, 4, "an affine map")
    centre_f, centre_m = weight @ fixed_mm, weight @ moving_mm
    spread = (fixed_mm - centre_f) * np.sqrt(weight)[:, None]
    wanted = (moving_mm - centre_m) * np.sqrt(weight)[:, None]
    normal = spread.T @ spread
    if np.linalg.eigvalsh(normal)[0] > THIN**2 * np.trace(normal):
        linear = np.linalg.solve(normal, spread.T @ wanted).T
        return _affine(linear, centre_m - linear @ centre_f, **spaces)
    # the normal equations square the condition; points nearly in a plane need the slower way
    if np.linalg.svd(spread, compute_uv=False)[2] <= FLAT * np.linalg.norm(spread):
        raise BadInput("the points lie in one plane: an affine map is not determined by them", "fit a similarity")
    linear = np.linalg.lstsq(spread, wanted, rcond=None)[0].T
    return _affine(linear, centre_m - linear @ centre_f, **spaces)


def thin_plate(fixed_mm: np.ndarray, moving_mm: np.ndarray, *, stiffness_mm: float = 0.0, **spaces: str) -> ThinPlate:
    """The thin-plate spline through landmarks, in 3D with U(r) = r.

    fixed_mm, moving_mm  (N, 3) LPS mm, at least four and not in one plane
    stiffness_mm   0 passes through every landmark; larger lets it miss by more and bend less (Wahba's lambda, mm)
    """
    fixed_mm, moving_mm, _ = _checked(fixed_mm, moving_mm, None, 4, "a thin plate")
    apart = np.linalg.norm(fixed_mm[:, None] - fixed_mm, axis=2)
    if (apart + np.eye(len(fixed_mm)) <= 0).any() and stiffness_mm == 0:
        raise BadInput("two landmarks lie at the same place: no thin plate passes through both", "leave one out")
    affine(fixed_mm, moving_mm)  # refuses landmarks in one plane, and says so
    # centred and scaled, so that the two blocks of the system have like magnitudes
    centre, size = fixed_mm.mean(axis=0), max(float(apart.max()), 1e-9)
    polynomial = np.hstack((np.ones((len(fixed_mm), 1)), (fixed_mm - centre) / size))
    # -r is the conditionally positive definite sign, so the stiffness is subtracted from U(r) = r
    kernel = apart / size - (stiffness_mm / size) * np.eye(len(fixed_mm))
    system = np.block([[kernel, polynomial], [polynomial.T, np.zeros((4, 4))]])
    solution = np.linalg.solve(system, np.vstack((moving_mm, np.zeros((4, 3)))))
    count = len(fixed_mm)
    weights, shift, linear = solution[:count] / size, solution[count], solution[count + 1 :].T / size
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift - linear @ centre
    return ThinPlate(fixed_mm, weights, matrix, **spaces)


def _orthogonal(
    fixed_mm: np.ndarray, moving_mm: np.ndarray, weights: Weights, kind: Literal["rigid", "similarity"], **spaces: str
) -> Affine:
    fixed_mm, moving_mm, weight = _checked(fixed_mm, moving_mm, weights, 3, f"a {kind} map")
    centre_f, centre_m = weight @ fixed_mm, weight @ moving_mm
    covariance = (moving_mm - centre_m).T @ (weight[:, None] * (fixed_mm - centre_f))
    u, values, vt = np.linalg.svd(covariance)
    if values[1] <= FLAT * max(values[0], 1e-300):
        raise BadInput("the points lie on one line: the turn about it is not determined", "add a point beside the line")
    # the nearest rotation, never a reflection: a mirrored patient is no motion (Kabsch, Acta Cryst. A32:922, 1976)
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = 1.0
    if kind == "similarity":
        scale = float(np.trace(np.diag(values) @ proper) / (weight @ ((fixed_mm - centre_f) ** 2).sum(axis=1)))
    linear = scale * u @ proper @ vt
    return _affine(linear, centre_m - linear @ centre_f, **spaces)


def _affine(linear: np.ndarray, shift: np.ndarray, **spaces: str) -> Affine:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    return Affine(matrix, **spaces)


def _checked(
    fixed_mm: np.ndarray, moving_mm: np.ndarray, weights: Weights, least: int, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both point sets in float64, and weights that sum to one."""
    fixed_mm, moving_mm = np.asarray(fixed_mm, np.float64), np.asarray(moving_mm, np.float64)
    if fixed_mm.shape != moving_mm.shape or fixed_mm.ndim != 2 or fixed_mm.shape[1] != 3:
        raise BadInput(f"corresponding points must be two (N, 3) arrays, got {fixed_mm.shape} and {moving_mm.shape}")
    weight = np.ones(len(fixed_mm)) if weights is None else np.asarray(weights, np.float64)
    if (weight > 0).sum() < least:
        raise BadInput(f"{what} needs at least {least} corresponding points, got {(weight > 0).sum()}")
    if not (np.isfinite(fixed_mm).all() and np.isfinite(moving_mm).all() and (weight >= 0).all()):
        raise BadInput("corresponding points and weights must be finite, and weights not negative")
    return fixed_mm, moving_mm, weight / weight.sum()
