"""Points that a caller gives to be described."""

from __future__ import annotations

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume


def require_space(keypoints: Keypoints, volume: Volume) -> None:
    """Raises unless the points are of the picture's patient."""
    if keypoints.space != volume.space:
        raise SpaceMismatch(
            f"the points are in '{keypoints.space}', the image in '{volume.space}'",
            f"if it is the same patient, name its space: read(path, space={keypoints.space!r})",
        )


def require_scales(keypoints: Keypoints, volume: Volume) -> None:
    """Raises unless the points are of the picture's patient and say how much round them to look at."""
    require_space(keypoints, volume)
    if keypoints.scale is None:
        raise BadInput(
            "points without a scale cannot be described: how much round them to look at is not known",
            "dataclasses.replace(points, scale=numpy.full(len(points), 3.0)) for 3 mm",
        )


def require_inside(keypoints: Keypoints, volume: Volume) -> None:
    # NaN lies in no box
    outside = ~volume.grid.contains(keypoints.position)
    if outside.any():
        raise BadInput(
            f"{int(outside.sum())} of {len(keypoints)} points lie outside '{volume.space}'", "is their frame LPS mm?"
        )


def known(column: np.ndarray | None) -> np.ndarray:
    """A column of keypoints that a detector has filled, or that was asked for before."""
    assert column is not None
    return column
