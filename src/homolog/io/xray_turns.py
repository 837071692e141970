"""The eight ways to turn a picture over: what is stored, and what a camera sees.

A camera's picture is seen from the source. Radiographs are often kept as a viewer who faces the patient sees them, from
the detector's side: mirrored, which no rotation of a camera can undo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from homolog.space.camera import Camera


@dataclass(frozen=True)
class Turn:
    """How a picture is turned: rows and columns exchanged first, then mirrored."""

    exchanged: bool = False
    left_right: bool = False
    up_down: bool = False

    @property
    def mirrors(self) -> bool:
        return (self.exchanged + self.left_right + self.up_down) % 2 == 1

    @property
    def matrix(self) -> np.ndarray:
        """(2, 2): directions (along columns, down rows) of the stored picture to those of the turned one."""
        swap = np.eye(2)[::-1] if self.exchanged else np.eye(2)
        return np.diag([-1.0 if self.left_right else 1.0, -1.0 if self.up_down else 1.0]) @ swap

    @property
    def words(self) -> str:
        """For messages; empty where nothing is turned."""
        names = {
            Turn(): "",
            Turn(False, True, False): "mirrored left-right",
            Turn(False, False, True): "mirrored top-bottom",
            Turn(False, True, True): "turned by 180 degrees",
            Turn(True, True, False): "turned by 90 degrees clockwise",
            Turn(True, False, True): "turned by 90 degrees counter-clockwise",
            Turn(True, False, False): "mirrored about its falling diagonal",
            Turn(True, True, True): "mirrored about its rising diagonal",
        }
        return names[self]

    @property
    def back(self) -> Turn:
        """What undoes it."""
        if not self.exchanged:
            return self
        return Turn(True, self.up_down, self.left_right)

    def data(self, picture: np.ndarray) -> np.ndarray:
        """(rows, columns) turned."""
        picture = picture.T if self.exchanged else picture
        picture = picture[:, ::-1] if self.left_right else picture
        return np.ascontiguousarray(picture[::-1] if self.up_down else picture)

    def camera(self, camera: Camera) -> Camera:
        """The turned picture's camera, from the stored one's."""
        if self.exchanged:
            camera = Camera(camera.focal_mm, camera.size_px[::-1], camera.pitch_mm[::-1], camera.centre_px[::-1])
        column, row = camera.centre_px
        column = camera.size_px[1] - 1 - column if self.left_right else column
        row = camera.size_px[0] - 1 - row if self.up_down else row
        return replace(camera, centre_px=(column, row))

    def pose(self, camera_from_world: np.ndarray) -> np.ndarray:
        """(4, 4): the turned picture's pose, from the stored one's; a mirror changes the determinant's sign."""
        full = np.eye(4)
        full[:2, :2] = self.matrix
        return full @ camera_from_world


EVERY_TURN = tuple(Turn(*flags) for flags in product((False, True), repeat=3))


def nearest_turn(stored: np.ndarray, wanted: np.ndarray) -> tuple[Turn, float]:
    """The turn that brings the stored picture's axes nearest to the wanted ones, and by how much it beats the next one.

    stored, wanted  (2, 3): where columns and rows run in the patient, LPS
    """
    fits = [float(np.sum((turn.matrix @ stored) * wanted)) for turn in EVERY_TURN]
    best, second = np.argsort(fits)[::-1][:2]
    return EVERY_TURN[best], fits[best] - fits[second]
