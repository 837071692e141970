"""The pictures of an alignment: each X-ray beside its projection at the pose that was found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from homolog.cli.align_inputs import Case, Shot
from homolog.io.files import writing
from homolog.projective.resizing import resized
from homolog.report import align_pictures, png
from homolog.space.camera import Camera
from homolog.space.projecting import Projector
from homolog.space.projection import Projection

# Pixels along the longer side: what a page shows of one, and what a line of an edge is thin in.
SHOWN_PX, LEAST_PX = 640, 360

Poses = list[tuple[Camera, np.ndarray]]


def write_pictures(case: Case, folder: Path, found: Poses, start: Poses | None) -> dict[str, dict[str, str]]:
    """The files, X-ray by X-ray: what they show -> the file's name.

    found, start  of each X-ray its camera and its pose camera_from_patient, both as the search sees it
    """
    projector = Projector(case.volume)
    files: dict[str, dict[str, str]] = {}
    for n, shot in enumerate(case.shots):
        drawn = _drawn(shot, projector, found[n], None if start is None else start[n])
        files[shot.name] = {}
        for kind, pixels in drawn:
            path = folder / f"{shot.name}_{kind}.png"
            with writing(path) as part:
                part.write_bytes(png.encode(pixels))
            files[shot.name][kind] = path.name
    return files


def _drawn(
    shot: Shot, projector: Projector, found: tuple[Camera, np.ndarray], start: tuple[Camera, np.ndarray] | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Pictures by what they show, turned as the X-ray's file shows it."""
    small = resized(Projection(shot.picture, shot.camera.camera, mask=shot.mask), SHOWN_PX)
    times, back = max(1, round(LEAST_PX / max(small.data.shape))), shot.turn.back.data
    size = (times * small.data.shape[0], times * small.data.shape[1])
    mask = None if small.mask is None else _enlarged(back(small.mask), times)
    shown = align_pictures.grey(_enlarged(back(small.data), times), mask)
    projection = back(projector.image(found[0].resized(size), found[1]))
    likeness = align_pictures.grey_projection(projection)
    yield "xray", shown
    yield "projection", likeness
    yield "checkerboard", align_pictures.checkerboard(shown, likeness)
    yield "edges", align_pictures.with_edges(shown, projection, mask)
    if start is not None:
        yield "start", align_pictures.grey_projection(back(projector.image(start[0].resized(size), start[1])))


def _enlarged(picture: np.ndarray, times: int) -> np.ndarray:
    """Each pixel so many times along both sides."""
    return picture.repeat(times, axis=0).repeat(times, axis=1)
