"""Which orientations could be meant, at a glance: one coarse projection each, tried at all places of the X-ray at once.

A body that moves across the rays, and turns with the ray that it is on, nearly keeps its picture and only shifts it. So
of the six numbers of a pose two are found by one correlation (by Fourier's transform), and only orientation and depth
are left to be tried: some thousand projections of a few thousand rays.

Compared are slopes, each divided by the root mean square slope around it: a faint edge of bone counts as much as the
rim of the body. The score is the correlation of the two fields where the X-ray is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from homolog.kernels import picture_filters
from homolog.projective.configs import Stage
from homolog.projective.resizing import resized
from homolog.projective.scene import Scene
from homolog.space import se3
from homolog.space.camera import Camera
from homolog.space.projecting import Projector
from homolog.space.projection import Projection

# Half a window of the contrast that slopes are divided by, px.
WINDOW_PX = 4
# Of the mean contrast: what a place must have besides, so that flat ones stay flat.
SHARE = 0.1
# The standard deviation of what pictures are smoothed by, px: more of it was measured to hide the bones.
SIGMA_PX = 0.7
# Of the projection's slopes, the least share that must fall on what is compared to count as seen in full.
LEAST_SEEN = 0.02
# mm: rays of two X-rays that miss each other by as much see two things.
MISS_MM = 40.0
AXIS = np.array([0.0, 0.0, 1.0])
TAPS = np.exp(-0.5 * (np.arange(-2, 3) / SIGMA_PX) ** 2)
TAPS /= TAPS.sum()


@dataclass(frozen=True, eq=False)
class Glimpse:
    """An orientation at the place where it fits best.

    score             the mean correlation over the X-rays
    rig_from_patient  (4, 4)
    """

    score: float
    rig_from_patient: np.ndarray


@dataclass(frozen=True, eq=False)
class Glance:
    """An X-ray made ready to be glanced at."""

    projector: Projector
    projection: Projection
    pivot_mm: np.ndarray

    def sight(self, rotation: np.ndarray, place: np.ndarray) -> tuple[float, np.ndarray]:
        """The best correlation of an orientation, and the ray (3,), camera frame, that the pivot is on there.

        rotation  (3, 3) camera from patient, of a body whose pivot is at a place (3,) mm in front of the camera
        """
        if place[2] <= 0:
            return -np.inf, place
        image = self._image(posed(turning_to(AXIS, place).T @ rotation, place[2] * AXIS, self.pivot_mm))
        if not image.any():
            return -np.inf, place
        score, shift = self._best_shift(even_slopes(image))
        camera = self.projection.camera
        return score, camera.rays((np.array(camera.centre_px) + shift)[None])[0]

    def sight_from_rig(self, rotation: np.ndarray, place: np.ndarray) -> tuple[float, np.ndarray]:
        """The same of an orientation, rig from patient, at a place in the rig; the ray is along the rig's axes."""
        camera_from_rig = self.projection.camera_from_rig
        score, ray = self.sight(camera_from_rig[:3, :3] @ rotation, se3.carried(camera_from_rig, place))
        return score, camera_from_rig[:3, :3].T @ ray

    @cached_property
    def source(self) -> np.ndarray:
        """(3,) mm in the rig."""
        return se3.inverse(self.projection.camera_from_rig)[:3, 3]

    def _image(self, pose: np.ndarray) -> np.ndarray:
        """(rows, columns): the projection on the wide detector; only rays that meet the body's box are followed."""
        out = np.zeros(self._wide.size_px, np.float32)
        places = self._wide.project(self.projector.volume.grid.corners(1.0), pose)
        if not np.isfinite(places).all():
            return out
        low = np.maximum(np.floor(places.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(places.max(axis=0)).astype(int) + 1, out.shape[::-1])
        if (high <= low).any():
            return out
        part = self._wide.cropped((int(low[1]), int(low[0])), (int(high[1] - low[1]), int(high[0] - low[0])))
        out[low[1] : high[1], low[0] : high[0]] = self.projector.image(part, pose)
        return out

    def _best_shift(self, slopes: np.ndarray) -> tuple[float, np.ndarray]:
        """The highest correlation of slopes (2, rows, columns) over shifts, and the shift (column, row) in px."""
        from scipy import fft

        seen = (slopes**2).sum(axis=0, keepdims=True)
        products = self._spectra * np.conj(fft.rfft2(np.concatenate((slopes, seen))))
        both, energy = fft.irfft2(np.stack((products[0] + products[1], products[2])), s=slopes.shape[1:])
        score = both / np.sqrt(np.maximum(energy, LEAST_SEEN * float(seen.sum())) * self._energy)
        score = np.where(self._allowed, score, -np.inf)
        row, column = np.unravel_index(int(np.argmax(score)), score.shape)
        shift = np.array([_signed(int(column), score.shape[1]), _signed(int(row), score.shape[0])], float)
        return float(score[row, column]), shift

    @cached_property
    def _around(self) -> tuple[int, int]:
        """(rows, columns) px that the body may reach beyond the detector."""
        rows, columns = self.projection.camera.size_px
        return rows // 2, columns // 2

    @cached_property
    def _wide(self) -> Camera:
        """The detector with some more on all sides, of a size that Fourier's transform likes."""
        from scipy.fft import next_fast_len

        (rows, columns), (above, left) = self.projection.camera.size_px, self._around
        size = (next_fast_len(rows + 2 * above, real=True), next_fast_len(columns + 2 * left, real=True))
        return self.projection.camera.cropped((-above, -left), size)

    @cached_property
    def _fixed(self) -> np.ndarray:
        """(3, rows, columns): even slopes, and where they count, on the wide detector."""
        mask = self.projection.mask
        weights = np.ones(self.projection.camera.size_px) if mask is None else mask.astype(float)
        slopes = even_slopes(self.projection.data, weights)
        rows, columns = self.projection.camera.size_px
        out = np.zeros((3, *self._wide.size_px), np.float32)
        above, left = self._around
        out[:, above : above + rows, left : left + columns] = (*slopes, inner(weights))
        return out

    @cached_property
    def _spectra(self) -> np.ndarray:
        from scipy import fft

        return np.asarray(fft.rfft2(self._fixed))

    @cached_property
    def _energy(self) -> float:
        return float((self._fixed[:2].astype(np.float64) ** 2).sum())

    @cached_property
    def _allowed(self) -> np.ndarray:
        """Shifts that bring the pivot, which is on the axis, to a place on the detector."""
        (rows, columns), (right, down) = self.projection.camera.size_px, self.projection.camera.centre_px
        high, wide = self._wide.size_px
        by_row = np.array([0 <= down + _signed(n, high) < rows for n in range(high)])
        by_column = np.array([0 <= right + _signed(n, wide) < columns for n in range(wide)])
        return by_row[:, None] & by_column[None]


def glances(scene: Scene, stage: Stage) -> tuple[Glance, ...]:
    """One for each X-ray, with the stage's pixels and voxels."""
    projector = Projector(scene.solid.at(stage.spacing_mm), "joseph")
    return tuple(Glance(projector, resized(each, stage.size_px), scene.pivot_mm) for each in scene.projections)


def glimpses(views: Sequence[Glance], rotation: np.ndarray, place: np.ndarray) -> list[Glimpse]:
    """An orientation (3, 3), rig from patient, tried all over the X-rays, the pivot about as deep as at a place (3,).

    The first is of all X-rays together; of several, one of each of them alone follows.
    """
    sights = [view.sight_from_rig(rotation, place) for view in views]
    alone = [_alone(view, *sight, rotation, place) for view, sight in zip(views, sights, strict=True)]
    return alone if len(views) == 1 else [_together(views, sights, rotation, place), *alone]


def _together(
    views: Sequence[Glance], sights: Sequence[tuple[float, np.ndarray]], rotation: np.ndarray, place: np.ndarray
) -> Glimpse:
    """The pivot where the rays meet, or nearly so: the farther they miss each other, the less the score."""
    score = float(np.mean([score for score, _ in sights]))
    if not np.isfinite(score):
        return Glimpse(-np.inf, posed(rotation, place, views[0].pivot_mm))
    there, miss_mm = meeting(np.array([view.source for view in views]), np.array([way for _, way in sights]))
    return Glimpse(score * max(0.0, 1 - miss_mm / MISS_MM), posed(rotation, there, views[0].pivot_mm))


def _alone(view: Glance, score: float, way: np.ndarray, rotation: np.ndarray, place: np.ndarray) -> Glimpse:
    """The pivot as deep as it was: the body keeps its picture if it turns with the ray that it is on."""
    if not np.isfinite(score):
        return Glimpse(-np.inf, posed(rotation, place, view.pivot_mm))
    before = place - view.source
    depth_mm = float(view.projection.camera_from_rig[2, :3] @ before)
    return Glimpse(score, posed(turning_to(before, way) @ rotation, view.source + depth_mm * way, view.pivot_mm))


def posed(rotation: np.ndarray, place: np.ndarray, pivot_mm: np.ndarray) -> np.ndarray:
    """(4, 4): turned so, with the pivot at a place."""
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = place - rotation @ pivot_mm
    return out


def even_slopes(picture: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(2, rows, columns) float32: slopes across and down, divided by the root mean square slope around them.

    weights  (rows, columns), 0 where nothing is compared
    """
    smooth = picture_filters.smooth(np.asarray(picture, np.float64)[None], TAPS)
    slopes = picture_filters.slopes(smooth)[0]
    counted = np.ones(picture.shape) if weights is None else inner(weights)
    slopes *= counted
    squares = (slopes**2).sum(axis=0)
    size = float((2 * WINDOW_PX + 1) ** 2)
    local = picture_filters.box_sums(squares[None], WINDOW_PX)[0] / size
    if weights is not None:
        local /= np.maximum(picture_filters.box_sums(counted[None], WINDOW_PX)[0] / size, 1e-3)
    total = squares.sum() / max(float((squares > 0).sum()), 1.0)
    return np.asarray(slopes / np.sqrt(local + SHARE * total + 1e-30), np.float32)


def inner(weights: np.ndarray) -> np.ndarray:
    """Weights without the rim, whose slopes come from what is not compared."""
    from scipy.ndimage import minimum_filter

    return np.asarray(minimum_filter(weights, 3, mode="constant"))


def _signed(place: int, size: int) -> int:
    return place if place <= size // 2 else place - size


def turning_to(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(3, 3): the shortest turn that brings one direction (3,) to another."""
    from_, to = one / np.linalg.norm(one), other / np.linalg.norm(other)
    across = np.cross(from_, to)
    sine = float(np.linalg.norm(across))
    return np.eye(3) if sine < 1e-12 else se3.rotation_exp(across / sine * np.arctan2(sine, float(from_ @ to)))


def meeting(sources: np.ndarray, ways: np.ndarray) -> tuple[np.ndarray, float]:
    """(3,) mm: the point nearest to lines through sources (V, 3) along ways (V, 3), and how far it is from them."""
    ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)
    across = np.eye(3) - ways[:, :, None] * ways[:, None]
    point = np.linalg.lstsq(across.sum(0), np.einsum("vij,vj->i", across, sources), rcond=None)[0]
    missed = np.einsum("vij,vj->vi", across, point - sources)
    return point, float(np.linalg.norm(missed, axis=1).max())
