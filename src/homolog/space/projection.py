"""An X-ray: line integrals on a detector, seen by a camera that may be part of a rig."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from homolog.errors import BadInput, GridMismatch
from homolog.space.camera import Camera


@dataclass(frozen=True, eq=False)
class Projection:
    """A picture on a detector.

    data             (rows, columns) float32, line integrals of attenuation (no unit): bone is larger than air
    camera           what took it
    camera_from_rig  (4, 4) float64: where the camera stands among the others that took X-rays of the same moment; the
                     identity for a camera alone
    name             for messages and files
    mask             (rows, columns) bool, what is to be compared; None: all of it
    """

    data: np.ndarray
    camera: Camera
    camera_from_rig: np.ndarray = field(default_factory=lambda: np.eye(4))
    name: str = "x-ray"
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        data = np.asarray(self.data, np.float32)
        if data.shape != self.camera.size_px:
            raise GridMismatch(
                f"'{self.name}' has {data.shape} pixels (rows, columns), its camera {self.camera.size_px}",
                "give the camera of this very picture, or one resized to it",
            )
        if self.mask is not None and np.shape(self.mask) != data.shape:
            raise GridMismatch(f"the mask of '{self.name}' has {np.shape(self.mask)} pixels, the picture {data.shape}")
        matrix = np.array(self.camera_from_rig, np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise BadInput(f"camera_from_rig of '{self.name}' must be a finite 4x4 matrix")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "camera_from_rig", matrix)

    def replaced(self, **changes: Any) -> Projection:
        """The same X-ray with some of it changed."""
        return replace(self, **changes)

    def __repr__(self) -> str:
        return f"Projection('{self.name}', {self.camera!r})"
