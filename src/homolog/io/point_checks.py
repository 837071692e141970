"""Whether points lie in the image they were placed on: the moment at which a wrong frame shows."""

from __future__ import annotations

import logging

import numpy as np

from homolog.errors import BadInput, UnknownFrame
from homolog.io.listings import HALF_TURN
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints

logger = logging.getLogger(__name__)

# What a millimetre rounded on the way may put a point beyond the outermost voxels' edges.
MARGIN_VOX = 1.0
OTHER = {"LPS": "RAS", "RAS": "LPS"}


def require_inside(
    points: Keypoints, grid: Grid, *, points_name: str, image_name: str, read_as: str | None = None
) -> None:
    """Refuses points most of which lie outside the image, saying so if another frame would put them inside.

    read_as  the frame the file was read in, for the message: "LPS", "RAS" or "voxel"
    """
    inside = grid.contains(points.position, MARGIN_VOX)
    outside = int((~inside).sum())
    if 2 * outside > len(points):
        turned = grid.contains(points.position * HALF_TURN, MARGIN_VOX)
        counted = f"{outside} of {len(points)} points of {points_name} fall outside {image_name}"
        if 2 * turned.sum() > len(points) and read_as != "voxel":
            raise _wrong_frame(counted, read_as)
        raise _elsewhere(counted, points, grid, points_name, image_name)
    if outside:
        names = [points.name[row] if points.name else str(row + 1) for row in np.flatnonzero(~inside)]
        logger.warning(
            "%d of %d points of %s lie outside %s: %s", outside, len(points), points_name, image_name, _few(names)
        )


def _wrong_frame(counted: str, read_as: str | None) -> UnknownFrame:
    other = OTHER.get(read_as or "")
    if other is None:
        hint = "--points-space RAS, or LPS: the one they were not read in"
        return UnknownFrame(f"{counted} as read, and inside with x and y negated", hint)
    return UnknownFrame(
        f"{counted} as {read_as} and inside as {other}", f"--points-space {other} to override the header"
    )


def _elsewhere(counted: str, points: Keypoints, grid: Grid, points_name: str, image_name: str) -> BadInput:
    box = np.stack((points.position.min(axis=0), points.position.max(axis=0)))
    image = grid.bounds()
    apart_mm = np.linalg.norm(box.mean(axis=0) - image.mean(axis=0))
    width = max(len(points_name), len(image_name))
    return BadInput(
        f"{counted}, as LPS and as RAS\n  {points_name:{width}}  {_box_text(box)}\n"
        f"  {image_name:{width}}  {_box_text(image)}\n  their centres are {apart_mm:.0f} mm apart",
        "check that the points were placed on this image",
    )


def _box_text(box: np.ndarray) -> str:
    ranges = (f"{axis}[{low:.0f}, {high:.0f}]" for axis, low, high in zip("xyz", *box, strict=True))
    return f"{' '.join(ranges)} mm (LPS)"


def _few(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
