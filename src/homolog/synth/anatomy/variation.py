"""How patients differ: the maps from a patient to the canonical body and back, drawn without folds.

A map is an affine part and six uniform cubic splines. The way from the patient to the canonical body is the direct
one, since every voxel goes it; the way back is solved at the nodes of finer lattices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.ndimage import spline_filter1d
from scipy.spatial.transform import Rotation

from homolog.kernels import bspline
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, BSpline, Transform, chain
from homolog.synth.anatomy import volumes
from homolog.synth.anatomy.body import BOUNDS_MM
from homolog.synth.anatomy.envelope import CAVITY, SKIN, outline

CANONICAL = "canonical"
# control spacings, mm: of habitus, of the general steps, of the organs' step
HABITUS_MM, GENERAL_MM, ORGAN_MM = 46.0, 54.0, 26.0
# nodes of an inverse to a control spacing; its error falls with the fourth power, and organs bend the most
PER_CONTROL, PER_ORGAN_CONTROL = 5, 6
NODE_TOLERANCE_MM = 1e-3
# no volume is shrunk to less than this share, nor swollen to more than its inverse, by one step
LEAST_DETERMINANT = 0.25
# the general steps' coefficients in control spacings, and how much of them may change volumes
GENERAL, SWELLING = 0.3, 0.2
# where the lattices of the general steps begin: several composed steps go further than one may without a fold
GENERAL_SHIFTS_MM = (0.0, 27.0, 13.0, 40.0)
# a body whose organs come out too large or too small is drawn again, so often
TRIES = 8
# centres, reach, standard deviations of shift (mm) and of growth: neighbours move on their own
ORGANS: dict[str, tuple[tuple[float, float, float], Any, float, float]] = {
    "liver": ((-62, -4, 164), 125, 18, 0.07), "left lobe": ((6, -46, 186), 62, 15, 0.12),
    "spleen": ((92, 44, 186), 76, 18, 0.14), "right kidney": ((-60, 44, 102), 78, 19, 0.06),
    "left kidney": ((61, 45, 118), 78, 19, 0.06), "stomach": ((58, -26, 168), 88, 22, 0.14),
    "gallbladder": ((-44, -50, 124), 50, 18, 0.16), "pancreas": ((24, -8, 146), 70, 19, 0.05),
    "right adrenal": ((-31, 24, 166), 40, 12, 0.05), "left adrenal": ((34, 24, 161), 40, 12, 0.05),
    "duodenum": ((-42, -8, 104), 60, 15, 0.05), "aorta": ((7, 4, 90), 55, 12, 0.08),
    "cava": ((-20, 4, 120), 50, 12, 0.12),
    "heart": ((12, -34, 298), 110, 16, 0.06), "arch": ((0, 0, 400), 80, 14, 0.06),
    "bladder": ((0, -28, -100), 84, 14, 0.16),
    "rectum": ((0, 58, -110), 70, 14, 0.12), "transverse colon": ((0, -66, 82), 80, 22, 0.08),
    "right colon": ((-92, 0, 30), 70, 19, 0.08), "left colon": ((96, 28, 60), 70, 17, 0.06),
    "right lung": ((-72, 8, 300), (100, 130, 170), 0, 0.0), "left lung": ((72, 8, 300), (100, 130, 170), 0, 0.0),
    "bowel": ((0, -40, 0), 100, 22, 0.08), "oesophagus": ((8, 26, 270), 60, 9, 0.06),
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
        undone = [*map(undoing, self.steps[:-1]), undoing(self.steps[-1], PER_ORGAN_CONTROL)]
        return chain([Affine(self.affine), *undone], fixed=CANONICAL, moving=patient)

    def carried_back(self, canonical: np.ndarray) -> np.ndarray:
        """(N, 3) LPS mm in the patient of a few canonical points, each solved by itself."""
        points = canonical
        for step in reversed(self.steps):
            points = solved_back(step, points, 1e-7)
        return points @ self.affine[:3, :3].T + self.affine[:3, 3]


def draw(rng: np.random.Generator, strength: float, placement_mm: float) -> Variation:
    """A patient; `strength` 0 leaves the canonical body where it is."""
    drawn = _drawn(rng, strength, placement_mm)
    for _ in range(TRIES):
        if volumes.are_adult(_volumes_ml(drawn)):
            break
        drawn = _drawn(rng, strength, placement_mm)
    return drawn


def _drawn(rng: np.random.Generator, strength: float, placement_mm: float) -> Variation:
    affine = _drawn_affine(rng, strength, placement_mm)
    habitus = _lattice(HABITUS_MM, (0, 0, 0))
    general = [_lattice(GENERAL_MM, (shift, shift, shift)) for shift in GENERAL_SHIFTS_MM]
    wanted = [
        (habitus, _habitus(habitus.points(), rng)),
        *((lattice, _general(lattice, rng)) for lattice in general),
    ]
    steps = tuple(_unfolded(lattice, strength * vectors) for lattice, vectors in wanted)
    return Variation(affine, (*steps, _organs(Variation(affine, steps), rng, strength)))


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
    drawn = 10 * _less_swelling(rng.normal(size=(*slow.shape, 3)), SWELLING)
    return vectors + bspline.evaluate(drawn, slow.voxel(points))


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
    weight = 0.3 + 0.7 * np.clip((1.32 - radius) / 0.55, 0, 1) * _bump(points[:, 2], 160, 420)
    drawn = np.clip(rng.normal(size=(*lattice.shape, 3)), -2, 2)
    return GENERAL * GENERAL_MM * weight[:, None] * _less_swelling(drawn, SWELLING).reshape(-1, 3)


def _less_swelling(coefficients: np.ndarray, share: float) -> np.ndarray:
    """As much motion, of which less changes volumes: what the field's waves do along themselves is made smaller.

    Helmholtz' decomposition of a spline's coefficients (I, J, K, 3), which are taken as periodic.
    """
    waves = np.stack(np.meshgrid(*(np.fft.fftfreq(n) for n in coefficients.shape[:3]), indexing="ij"), axis=-1)
    along = waves / np.maximum(np.linalg.norm(waves, axis=-1, keepdims=True), 1e-9)
    spectrum = np.fft.fftn(coefficients, axes=(0, 1, 2))
    spectrum -= (1 - share) * along * (along * spectrum).sum(axis=-1, keepdims=True)
    # one of three directions is made smaller
    return np.fft.ifftn(spectrum, axes=(0, 1, 2)).real * (3 / (2 + share**2)) ** 0.5


def _organs(before: Variation, rng: np.random.Generator, strength: float) -> BSpline:
    """Each organ a place of its own, fading to its neighbours, and the volume that is drawn for it."""
    lattice = _organ_lattice()
    points = lattice.points()
    vectors = np.zeros_like(points)
    for name, (_, _, shift_mm, growth) in ORGANS.items():
        near, away = _near(name, points)
        shift, grown = shift_mm * np.clip(rng.normal(size=3), -2, 2), growth * np.clip(rng.normal(), -2, 2)
        vectors += strength * near * (shift + (0 if name in volumes.ADULTS else grown) * away)
    wanted_ml = volumes.drawn_ml(rng, strength)

    def step(growths: np.ndarray) -> BSpline:
        return _unfolded(lattice, vectors + np.tensordot(growths, _swellings(), 1).reshape(-1, 3))

    def volumes_ml(growths: np.ndarray) -> np.ndarray:
        return _volumes_ml(Variation(before.affine, (*before.steps, step(growths))))

    return step(volumes.solved_growths(volumes_ml, wanted_ml, _effect()))


def _volumes_ml(variation: Variation) -> np.ndarray:
    """(V,) ml of the organs whose volumes are drawn, in the patient."""
    points = np.concatenate(volumes.organ_places())
    swollen = np.ones(len(points))
    for step in reversed(variation.steps):
        points = solved_back(step, points, 0.01)
        swollen = swollen / np.linalg.det(step.jacobian(points))
    return volumes.canonical_ml() * volumes.organ_means(swollen) * np.linalg.det(variation.affine)


def _organ_lattice() -> Grid:
    return _lattice(ORGAN_MM, (0, 0, 0), ((-150, -110, -170), (150, 110, 460)))


@cache
def _swellings() -> np.ndarray:
    """(V, I, J, K, 3) mm: what a growth of one does to the controls, for each organ whose volume is drawn."""
    lattice = _organ_lattice()
    fields = [np.multiply(*_near(name, lattice.points())) for name in volumes.ADULTS]
    return np.array(fields).reshape(len(fields), *lattice.shape, 3)


@cache
def _effect() -> np.ndarray:
    return volumes.effect(_swellings(), _organ_lattice())


def _near(name: str, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 1) how much of an organ's own motion a place takes part in, and (N, 3) mm from the organ's middle."""
    centre, reach_mm, _, _ = ORGANS[name]
    away = points - np.array(centre)
    return np.clip(1 - ((away / reach_mm) ** 2).sum(axis=1), 0, None)[:, None] ** 2, away


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
    slopes = BSpline(coefficients, lattice).jacobian(cells)
    slopes[:, [0, 1, 2], [0, 1, 2]] -= 1
    swelling, areas, twist = _invariants(slopes)
    share = 1.0
    while (1 + share * (swelling + share * (areas + share * twist))).min() < LEAST_DETERMINANT:
        share *= 0.93
    return BSpline(share * coefficients, lattice)


def _invariants(m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of (N, 3, 3) matrices, each (N,), those with which det(1 + s m) = 1 + s a + s^2 b + s^3 c."""
    (p, q, r), (s, t, u), (v, w, x) = np.moveaxis(m, 0, -1)
    minors = t * x - u * w, p * x - r * v, p * t - q * s
    twist = p * minors[0] - q * (s * x - u * v) + r * (s * w - t * v)
    return p + t + x, minors[0] + minors[1] + minors[2], twist


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


def undoing(step: BSpline, per_control: int = PER_CONTROL) -> BSpline:
    """The step backwards: the spline through its inverse displacement at the nodes of a finer lattice."""
    fine_mm = step.grid.spacing_mm / per_control
    margin = 2 * per_control
    shape = (np.array(step.grid.shape) - 1) * per_control + 1 + 2 * margin
    lattice = Grid.regular(shape.tolist(), fine_mm, step.grid.origin_mm - margin * fine_mm)
    arrived = lattice.points()
    vectors = (solved_back(step, arrived, NODE_TOLERANCE_MM) - arrived).reshape(*lattice.shape, 3)
    for axis in range(3):
        vectors = spline_filter1d(vectors, 3, axis=axis, output=np.float64, mode="mirror")
    return BSpline(vectors, lattice)
