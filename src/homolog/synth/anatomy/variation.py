"""How patients differ: the maps from a patient to the canonical body and back, drawn without folds.

A map is an affine part and four uniform cubic splines. The way from the patient to the canonical body is the direct
one, since every voxel goes it; the way back is solved at the nodes of finer lattices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import spline_filter1d
from scipy.spatial.transform import Rotation

from homolog.kernels import bspline
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, BSpline, Transform, chain
from homolog.synth.anatomy.body import BOUNDS_MM
from homolog.synth.anatomy.envelope import CAVITY, SKIN, outline

CANONICAL = "canonical"
# control spacings, mm: of habitus, of the two general steps, of the organs' step
HABITUS_MM, GENERAL_MM, ORGAN_MM = 46.0, 54.0, 26.0
# nodes of an inverse to a control spacing; its error falls with the fourth power
PER_CONTROL = 5
NODE_TOLERANCE_MM = 1e-3
# no volume is shrunk to less than this share, nor swollen to more than its inverse, by one step
LEAST_DETERMINANT = 0.25
# centres, reach, standard deviations of shift (mm) and of growth: neighbours move on their own
ORGANS: dict[str, tuple[tuple[float, float, float], float, float, float]] = {
    "liver": ((-62, -4, 164), 125, 10, 0.07), "left lobe": ((6, -46, 186), 62, 8, 0.12),
    "spleen": ((92, 44, 186), 76, 10, 0.14), "right kidney": ((-60, 44, 102), 78, 11, 0.06),
    "left kidney": ((61, 45, 118), 78, 11, 0.06), "stomach": ((58, -26, 168), 88, 12, 0.14),
    "gallbladder": ((-44, -50, 124), 50, 9, 0.16), "pancreas": ((24, -8, 146), 70, 10, 0.05),
    "right adrenal": ((-31, 24, 166), 40, 6, 0.05), "left adrenal": ((34, 24, 161), 40, 6, 0.05),
    "duodenum": ((-42, -8, 104), 60, 8, 0.05), "aorta": ((7, 4, 90), 55, 6, 0.08), "cava": ((-20, 4, 120), 50, 6, 0.12),
    "heart": ((12, -34, 298), 110, 9, 0.06), "arch": ((0, 0, 400), 80, 7, 0.06),
    "bladder": ((0, -28, -100), 84, 7, 0.16),
    "rectum": ((0, 58, -110), 70, 7, 0.12), "transverse colon": ((0, -66, 82), 80, 12, 0.08),
    "right colon": ((-92, 0, 30), 70, 10, 0.08), "left colon": ((96, 28, 60), 70, 9, 0.06),
    "bowel": ((0, -40, 0), 100, 12, 0.08), "oesophagus": ((8, 26, 270), 60, 5, 0.06),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Variation:
    """One patient's anatomy: the affine part and the splines, canonical_from_patient, in the order they are applied."""

    affine: np.ndarray
    steps: tuple[BSpline, ...]

    def canonical_from_patient(self, patient: str) -> Transform:
        first = Affine(np.linalg.inv(self.affine))
        return chain([*reversed(self.steps), first], fixed=patient, moving=CANONICAL)

    def patient_from_canonical(self, patient: str) -> Transform:
        """Solved on lattices, a second or so."""
        undone = [undoing(step) for step in self.steps]
        return chain([Affine(self.affine), *undone], fixed=CANONICAL, moving=patient)

    def carried_back(self, canonical: np.ndarray) -> np.ndarray:
        """(N, 3) LPS mm in the patient of a few canonical points, each solved by itself."""
        points = canonical
        for step in reversed(self.steps):
            points = solved_back(step, points, 1e-7)
        return points @ self.affine[:3, :3].T + self.affine[:3, 3]


def draw(rng: np.random.Generator, strength: float, placement_mm: float) -> Variation:
    """A patient; `strength` 0 leaves the canonical body where it is."""
    affine = _drawn_affine(rng, strength, placement_mm)
    habitus = _lattice(HABITUS_MM, (0, 0, 0))
    general = [_lattice(GENERAL_MM, shift) for shift in ((0, 0, 0), (27, 27, 27))]
    organs = _lattice(ORGAN_MM, (0, 0, 0), ((-150, -110, -170), (150, 110, 460)))
    wanted = [
        (habitus, _habitus(habitus.points(), rng)),
        *((lattice, _general(lattice, rng)) for lattice in general),
        (organs, _organs(organs.points(), rng)),
    ]
    return Variation(affine, tuple(_unfolded(grid, strength * vectors) for grid, vectors in wanted))


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn


def _drawn_affine(rng: np.random.Generator, strength: float, placement_mm: float) -> np.ndarray:
    """(4, 4) patient_from_canonical: build, turn and place; the turn is about the body's middle."""
    size = 0.045 * rng.normal()
    log_scales = strength * (size + np.array([0.05, 0.06, 0.045]) * np.clip(rng.normal(size=3), -2, 2))
    turn = Rotation.from_rotvec(np.radians(strength * 3.0) * rng.normal(size=3)).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(np.exp(log_scales))
    middle = np.array([0.0, 10.0, 120.0])
    place = placement_mm * np.array([0.7, 0.8, 2.0]) * rng.normal(size=3)
    matrix[:3, 3] = middle + place - matrix[:3, :3] @ middle
    return matrix


def _habitus(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Girth, the spine's curve, breath, and slow changes all over."""
    z = points[:, 2]
    vectors = _girth(points, rng)
    vectors[:, 0] += 7 * rng.normal() * np.sin((z - 20) / 150 + rng.uniform(0, 6)) * _bump(z, 180, 320)
    vectors[:, 1] += 8 * rng.normal() * np.cos((z - 60) / 130 + rng.uniform(0, 6)) * _bump(z, 180, 360)
    # the diaphragm's dome goes down by centimetres, its rim and the back by less
    dome = np.exp(-(((points[:, 0]) / 105) ** 2) - ((points[:, 1] + 10) / 85) ** 2)
    vectors[:, 2] += 17 * np.clip(rng.normal(), -2, 2) * dome * _bump(z, 215, 150)
    slow = _lattice(115.0, (0, 0, 0))
    return vectors + bspline.evaluate(24 * rng.normal(size=(*slow.shape, 3)), slow.voxel(points))


def _girth(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fat under the skin thicker or thinner, most of all at the belly."""
    grown = np.clip(rng.normal(), -1.3, 1.9)
    shapes = outline(SKIN, points[:, 2])
    middle_y, half_y = (shapes[:, 1] + shapes[:, 2]) / 2, (shapes[:, 2] - shapes[:, 1]) / 2
    away = np.stack((points[:, 0] / shapes[:, 3], (points[:, 1] - middle_y) / half_y, np.zeros(len(points))), axis=1)
    radius = np.linalg.norm(away, axis=1)
    rise = np.clip((radius - 0.72) / 0.5, 0, 1)
    amount_mm = -(10 + 7 * _bump(points[:, 2], 30, 170)) * grown * rise**2 * (3 - 2 * rise)
    return amount_mm[:, None] * away / np.maximum(radius, 1e-6)[:, None]


def _general(lattice: Grid, rng: np.random.Generator) -> np.ndarray:
    """Normal coefficients, smaller outside chest and belly, where the skin would bulge."""
    points = lattice.points()
    shapes = outline(CAVITY, points[:, 2])
    middle_y, half_y = (shapes[:, 1] + shapes[:, 2]) / 2, (shapes[:, 2] - shapes[:, 1]) / 2
    radius = np.hypot(points[:, 0] / shapes[:, 3], (points[:, 1] - middle_y) / half_y)
    weight = 0.45 + 0.55 * np.clip((1.45 - radius) / 0.6, 0, 1) * _bump(points[:, 2], 160, 420)
    return 0.27 * GENERAL_MM * weight[:, None] * np.clip(rng.normal(size=(len(points), 3)), -2, 2)


def _organs(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each organ a place and a size of its own, fading to its neighbours."""
    vectors = np.zeros_like(points)
    for centre, reach_mm, shift_mm, growth in ORGANS.values():
        away = points - np.array(centre)
        near = np.clip(1 - (away**2).sum(axis=1) / reach_mm**2, 0, None)[:, None] ** 2
        shift, grown = shift_mm * np.clip(rng.normal(size=3), -2, 2), growth * np.clip(rng.normal(), -2, 2)
        vectors += near * (shift + grown * away)
    return vectors


def _bump(z_mm: np.ndarray, middle_mm: float, half_mm: float) -> np.ndarray:
    return np.clip(1 - ((z_mm - middle_mm) / half_mm) ** 2, 0, 1) ** 2


def _lattice(spacing_mm: float, shift_mm: Sequence[float], bounds: Sequence[Sequence[float]] = BOUNDS_MM) -> Grid:
    low, high = np.array(bounds, float) - np.array(shift_mm)
    counts = np.ceil((high - low) / spacing_mm).astype(int) + 1
    return Grid.regular(counts.tolist(), spacing_mm, low)


def _unfolded(lattice: Grid, vectors: np.ndarray) -> BSpline:
    """The step, made smaller until no place is squeezed too far; edges are still, so that it is at rest beyond."""
    coefficients = vectors.reshape(*lattice.shape, 3)
    cells = lattice.with_spacing(lattice.spacing_mm / 2).points()
    slopes = BSpline(coefficients, lattice).jacobian(cells) - np.eye(3)
    share = 1.0
    while np.linalg.det(np.eye(3) + share * slopes).min() < LEAST_DETERMINANT:
        share *= 0.93
    return BSpline(share * coefficients, lattice)


# ---------------------------------------------------------------------------------------------------------------------
# The way back


def solved_back(step: BSpline, arrived: np.ndarray, tolerance_mm: float) -> np.ndarray:
    """(N, 3): the points that the step carries to these, by Newton's method, halved steps where it overshoots."""
    start = 2 * arrived - step.apply(arrived)
    open_ = np.arange(len(arrived))
    for _ in range(30):
        missed = step.apply(start[open_]) - arrived[open_]
        far = np.abs(missed).max(axis=1) > tolerance_mm
        open_, missed = open_[far], missed[far]
        if not len(open_):
            break
        move = np.linalg.solve(step.jacobian(start[open_]), missed[..., None])[..., 0]
        # no step is longer than half a control spacing, the scale on which slopes change
        length = np.linalg.norm(move, axis=1, keepdims=True)
        start[open_] -= move * np.minimum(1, 0.5 * step.grid.spacing_mm[0] / np.maximum(length, 1e-12))
    return start


def undoing(step: BSpline) -> BSpline:
    """The step backwards: the spline through its inverse displacement at the nodes of a finer lattice."""
    fine_mm = step.grid.spacing_mm / PER_CONTROL
    margin = 2 * PER_CONTROL
    shape = (np.array(step.grid.shape) - 1) * PER_CONTROL + 1 + 2 * margin
    lattice = Grid.regular(shape.tolist(), fine_mm, step.grid.origin_mm - margin * fine_mm)
    arrived = lattice.points()
    vectors = (solved_back(step, arrived, NODE_TOLERANCE_MM) - arrived).reshape(*lattice.shape, 3)
    for axis in range(3):
        vectors = spline_filter1d(vectors, 3, axis=axis, output=np.float64, mode="mirror")
    return BSpline(vectors, lattice)
