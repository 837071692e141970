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

from homolog.projective.resizing import resized
from homolog.projective.scene import Scene, at_spacing
from homolog.space import se3
from homolog.space.camera import Camera
from homolog.space.projecting import Projector
from homolog.space.projection import Projection

# Pixels along the X-ray's longer side, and half a window of the contrast that slopes are divided by.
SIZE_PX, WINDOW_PX = 48, 4
# Of the mean contrast: what a place must have besides, so that flat ones stay flat.
SHARE = 0.1
# Voxels of the volume, mm, at most this many pixels wide where it is.
VOXEL_MM = 5.0


@dataclass(frozen=True)
class Glimpse:
    """An orientation at a depth, at the place of the X-ray where it fits best."""

    score: float
    camera_from_patient: np.ndarray


@dataclass(frozen=True, eq=False)
class Glance:
    """An X-ray made ready to be glanced at."""

    projector: Projector
    projection: Projection
    pivot_mm: np.ndarray

    @classmethod
    def of(cls, scene: Scene, view: int) -> Glance:
        small = resized(scene.projections[view], SIZE_PX)
        return cls(Projector(at_spacing(scene.body, VOXEL_MM), "joseph"), small, scene.pivot_mm)

    def glimpse(self, rotation: np.ndarray, depth_mm: float) -> Glimpse:
        """The best place of an orientation (3, 3), camera from patient, with the pivot at a depth."""
        pose = np.eye(4)
        pose[:3, :3] = rotation
        pose[:3, 3] = np.array([0.0, 0.0, depth_mm]) - rotation @ self.pivot_mm
        image = self.projector.image(self._wide, pose)
        if not image.any():
            return Glimpse(-np.inf, pose)
        score, shift = self._best_shift(image)
        return Glimpse(score, self._shifted(rotation, depth_mm, shift))

    def _best_shift(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        """The highest correlation over shifts, and the shift (column, row) in px."""
        from scipy import fft

        slopes = np.fft.rfft2(even_slopes(image, np.ones(image.shape)))
        spectra = np.concatenate((slopes, np.fft.rfft2((even_slopes(image, np.ones(image.shape)) ** 2).sum(0))[None]))
        products = self._spectra * np.conj(spectra)
        both = fft.irfft2(products[:2].sum(0), s=image.shape)
        energy = fft.irfft2(products[2], s=image.shape)
        score = both / np.sqrt(np.maximum(energy, 0.02 * energy.max()) * self._energy)
        score = np.where(self._allowed, score, -np.inf)
        row, column = np.unravel_index(int(np.argmax(score)), score.shape)
        shift = np.array([_signed(int(column), score.shape[1]), _signed(int(row), score.shape[0])], float)
        return float(score[row, column]), shift

    def _shifted(self, rotation: np.ndarray, depth_mm: float, shift_px: np.ndarray) -> np.ndarray:
        """The pose whose pivot is seen where the shift puts it, turned with its ray."""
        camera = self.projection.camera
        ray = camera.rays((np.array(camera.centre_px) + shift_px)[None])[0]
        out = np.eye(4)
        out[:3, :3] = _turning_axis_to(ray) @ rotation
        out[:3, 3] = depth_mm * ray - out[:3, :3] @ self.pivot_mm
        return out

    @cached_property
    def _wide(self) -> Camera:
        """The detector with half of it more on all sides."""
        rows, columns = self.projection.camera.size_px
        return self.projection.camera.cropped((-(rows // 2), -(columns // 2)), (2 * rows, 2 * columns))

    @cached_property
    def _fixed(self) -> tuple[np.ndarray, np.ndarray]:
        """(3, rows, columns): even slopes, and where they count, on the wide detector."""
        mask = self.projection.mask
        weights = np.ones(self.projection.camera.size_px) if mask is None else mask.astype(float)
        slopes = even_slopes(self.projection.data.astype(float), weights)
        rows, columns = self.projection.camera.size_px
        around = (
            (0, 0),
            (rows // 2, 2 * rows - rows - rows // 2),
            (columns // 2, 2 * columns - columns - columns // 2),
        )
        return np.pad(slopes, around), np.pad(_inner(weights)[None], around)[0]

    @cached_property
    def _spectra(self) -> np.ndarray:
        slopes, weights = self._fixed
        return np.fft.rfft2(np.concatenate((slopes, weights[None])))

    @cached_property
    def _energy(self) -> float:
        return float((self._fixed[0] ** 2).sum())

    @cached_property
    def _allowed(self) -> np.ndarray:
        """Shifts that bring the pivot, which is on the axis, to a place on the detector or nearly so."""
        rows, columns = self._wide.size_px
        down = np.abs([_signed(n, rows) for n in range(rows)])
        across = np.abs([_signed(n, columns) for n in range(columns)])
        return (down[:, None] <= rows // 4) & (across[None] <= columns // 4)


def even_slopes(picture: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(2, rows, columns): slopes across and down, divided by the root mean square slope around; 0 without weight."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    smooth = gaussian_filter(picture, 0.7)
    down, across = np.gradient(smooth)
    slopes = np.stack((across, down)) * _inner(weights)
    squares = (slopes**2).sum(axis=0)
    total = squares.sum() / max(_inner(weights).sum(), 1)
    counted = np.maximum(uniform_filter(_inner(weights), 2 * WINDOW_PX + 1), 1e-3)
    local = uniform_filter(squares, 2 * WINDOW_PX + 1) / counted
    return np.asarray(slopes / np.sqrt(local + SHARE * total + 1e-30))


def _inner(weights: np.ndarray) -> np.ndarray:
    """Weights without the rim, whose slopes come from what is not compared."""
    from scipy.ndimage import minimum_filter

    return np.asarray(minimum_filter(weights, 3, mode="constant"))


def _signed(place: int, size: int) -> int:
    return place if place <= size // 2 else place - size


def _turning_axis_to(ray: np.ndarray) -> np.ndarray:
    """(3, 3): the shortest turn that brings the optical axis to a ray."""
    way = ray / np.linalg.norm(ray)
    across = np.cross([0.0, 0.0, 1.0], way)
    sine = float(np.linalg.norm(across))
    return np.eye(3) if sine < 1e-12 else se3.rotation_exp(across / sine * np.arctan2(sine, way[2]))


def glimpsed(glance: Glance, rotations: Sequence[np.ndarray], depths_mm: Sequence[float]) -> list[Glimpse]:
    """One for each orientation and depth, best first."""
    found = [glance.glimpse(rotation, depth) for rotation, depth in zip(rotations, depths_mm, strict=True)]
    return sorted(found, key=lambda glimpse: -glimpse.score)
