"""An X-ray's camera: a source, a flat detector, and where the pixels lie on it.

The camera's frame has its origin at the source, x along columns, y along rows (down), z from source to detector. Where
it stands is `camera_from_world`, a rigid (4, 4) matrix in mm, kept apart from what the camera is. Pixel centres are at
integers, (0, 0) is the first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from homolog.errors import BadInput


@dataclass(frozen=True, eq=False)
class Camera:
    """What a camera is, wherever it stands.

    focal_mm   from the source to the detector, along the optical axis
    size_px    (rows, columns)
    pitch_mm   (row, column): from one pixel's centre to the next one's, down and across
    centre_px  (column, row): where the optical axis meets the detector; pixel centres are at integers
    """

    focal_mm: float
    size_px: tuple[int, int]
    pitch_mm: tuple[float, float]
    centre_px: tuple[float, float]

    def __post_init__(self) -> None:
        sizes = tuple(int(n) for n in self.size_px)
        if len(sizes) != 2 or min(sizes) < 1:
            raise BadInput(f"a detector needs at least one row and one column, got {self.size_px}")
        lengths = (self.focal_mm, *self.pitch_mm)
        if not all(np.isfinite(length) and length > 0 for length in lengths):
            raise BadInput(
                f"a camera's focal length and pitch must be positive, got {self.focal_mm} mm and {self.pitch_mm} mm"
            )
        if len(self.centre_px) != 2 or not np.isfinite(self.centre_px).all():
            raise BadInput(f"a camera's principal point must be (column, row), got {self.centre_px}")
        object.__setattr__(self, "focal_mm", float(self.focal_mm))
        object.__setattr__(self, "size_px", sizes)
        object.__setattr__(self, "pitch_mm", tuple(float(pitch) for pitch in self.pitch_mm))
        object.__setattr__(self, "centre_px", tuple(float(place) for place in self.centre_px))

    @classmethod
    def centred(cls, focal_mm: float, size_px: tuple[int, int], pitch_mm: float | tuple[float, float] = 1.0) -> Camera:
        """A camera whose optical axis meets the middle of its detector."""
        row, column = np.broadcast_to(np.asarray(pitch_mm, float), 2).tolist()
        return cls(focal_mm, size_px, (row, column), ((size_px[1] - 1) / 2, (size_px[0] - 1) / 2))

    @property
    def pixels_from_camera(self) -> np.ndarray:
        """(3, 3) float64, often called K: a point in the camera's frame to (column, row, 1) times its depth."""
        row, column = self.pitch_mm
        return np.array(
            [
                [self.focal_mm / column, 0.0, self.centre_px[0]],
                [0.0, self.focal_mm / row, self.centre_px[1]],
                [0.0, 0.0, 1.0],
            ]
        )

    @property
    def camera_from_pixels(self) -> np.ndarray:
        """(3, 3) float64: (column, row, 1) to the point of its ray at 1 mm depth."""
        return np.linalg.inv(self.pixels_from_camera)

    def project(self, points_mm: np.ndarray, camera_from_world: np.ndarray) -> np.ndarray:
        """(N, 2) float64 (column, row) of world points (N, 3) mm; NaN for what is not in front of the source."""
        points = np.asarray(points_mm, float) @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        homogeneous = points @ self.pixels_from_camera.T
        depth = np.where(homogeneous[:, 2:] > 0, homogeneous[:, 2:], np.nan)
        return np.asarray(homogeneous[:, :2] / depth)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 3) float64, camera frame: where the rays of (column, row) (N, 2) are at 1 mm depth."""
        return np.column_stack((pixels, np.ones(len(pixels)))) @ self.camera_from_pixels.T

    def lengths(self) -> np.ndarray:
        """(rows, columns) float64: mm along each pixel's ray for a mm of depth."""
        row, column = self.pitch_mm
        down = (np.arange(self.size_px[0]) - self.centre_px[1]) * row / self.focal_mm
        across = (np.arange(self.size_px[1]) - self.centre_px[0]) * column / self.focal_mm
        return np.sqrt(1 + down[:, None] ** 2 + across[None] ** 2)

    def resized(self, size_px: tuple[int, int]) -> Camera:
        """The same detector cut into another number of pixels: its outer edges stay where they are."""
        factors = (self.size_px[0] / size_px[0], self.size_px[1] / size_px[1])
        centre = ((self.centre_px[0] + 0.5) / factors[1] - 0.5, (self.centre_px[1] + 0.5) / factors[0] - 0.5)
        pitch = (self.pitch_mm[0] * factors[0], self.pitch_mm[1] * factors[1])
        return replace(self, size_px=size_px, pitch_mm=pitch, centre_px=centre)

    def cropped(self, start_px: tuple[int, int], size_px: tuple[int, int]) -> Camera:
        """The part of the detector that begins at (row, column)."""
        centre = (self.centre_px[0] - start_px[1], self.centre_px[1] - start_px[0])
        return replace(self, size_px=size_px, centre_px=centre)

    def flipped(self) -> Camera:
        """The camera of the same picture with its columns in the opposite order."""
        return replace(self, centre_px=(self.size_px[1] - 1 - self.centre_px[0], self.centre_px[1]))

    def __repr__(self) -> str:
        rows, columns = self.size_px
        row, column = self.pitch_mm
        return (
            f"Camera({self.focal_mm:.6g} mm, {rows}x{columns} px of {row:.4g}x{column:.4g} mm, "
            f"centre ({self.centre_px[0]:.2f}, {self.centre_px[1]:.2f}) px)"
        )
