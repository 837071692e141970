"""What a file of cameras may leave unsaid, and what is said when it does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.space.camera_matrices import Pitch


@dataclass(frozen=True, eq=False)
class Unsaid:
    """What the caller knows and the file may not.

    size_px      (rows, columns)
    pitch_mm     (row, column), or one for both
    front_mm     (3,) world: a point in front of the source, which decides the sign of a 3x4 matrix
    first_pixel  the coordinate of the first pixel's centre; None: the format's own habit
    world        whose mm the world's are; None: what the format usually means
    """

    size_px: tuple[int, int] | None = None
    pitch_mm: Pitch = None
    front_mm: np.ndarray | None = None
    first_pixel: float | None = None
    world: str | None = None

    def pixels(self, path: Path) -> tuple[int, int]:
        """(rows, columns), which such a file never says."""
        if self.size_px is None:
            raise BadInput(
                f"{path} does not say how many pixels its pictures have", "--size-px ROWS COLUMNS, those of the X-ray"
            )
        return self.size_px

    def about(self, name: str, usual_world: str) -> dict[str, Any]:
        """Name and world, for the constructors."""
        return {"name": name, "world": self.world or usual_world}


def named(path: Path, number: int, count: int) -> str:
    """A camera's name where the file gives none."""
    return path.stem if count == 1 else f"{path.stem}/{number:0{len(str(count - 1))}d}"


def numbers(words: list[str], where: str) -> list[float]:
    """Finite numbers, or an error that says where they were wanted."""
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise UnreadableFile(f"{where}: a number was wanted ({error})") from None
    if not np.isfinite(values).all():
        raise UnreadableFile(f"{where}: finite numbers were wanted, got {' '.join(words)}")
    return values
