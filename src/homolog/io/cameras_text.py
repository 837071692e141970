"""Cameras in plain text: 3x4 matrices, calibrations by headings, ASTRA's rows, plastimatch's flags."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.cameras_told import Unsaid, named, numbers
from homolog.io.listings import read_lines
from homolog.space.camera_matrices import from_krt, from_projection_matrix
from homolog.space.camera_poses import PlacedCamera
from homolog.space.camera_scanners import PlastimatchView, from_astra, from_plastimatch, to_astra, to_plastimatch

# The headings of a calibration by X-ray motion analysis (XMALab, Autoscoper), and how many numbers stand below each.
HEADINGS = {"image size": 2, "camera matrix": 9, "rotation": 9, "translation": 3}
# plastimatch's flags, and how many numbers follow each.
FLAGS = {"-nrm": 3, "-vup": 3, "-g": 2, "-o": 3, "-r": 2, "-z": 2, "-c": 2}


def read_matrices(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """Cameras of 3x4 matrices, three lines of four numbers each, or four lines whose last is 0 0 0 1."""
    rows = np.array(_table(path, 4))
    rows = rows[~(rows == (0, 0, 0, 1)).all(axis=1)]
    if len(rows) == 0 or len(rows) % 3:
        raise UnreadableFile(f"{path} has {len(rows)} lines of four numbers: a projection matrix has three")
    return matrices(rows.reshape(-1, 3, 4), path, unsaid)


def matrices(stack: np.ndarray, path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """Cameras of projection matrices (N, 3, 4)."""
    return [
        from_projection_matrix(
            matrix,
            unsaid.pixels(path),
            front_mm=unsaid.front_mm,
            pitch_mm=unsaid.pitch_mm,
            first_pixel=unsaid.first_pixel or 0.0,
            **unsaid.about(named(path, n, len(stack)), "patient"),
        )
        for n, matrix in enumerate(stack)
    ]


def matrices_text(cameras: list[PlacedCamera]) -> str:
    """A 3x4 matrix a camera, with an empty line between two."""
    return "\n".join(_lines(camera.pixels_from_world) for camera in cameras)


def read_calibration(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """The camera of a text with the headings image size (columns, rows), camera matrix, rotation and translation."""
    found = _below_headings(path)
    columns, rows = found["image size"]
    camera = from_krt(
        np.reshape(found["camera matrix"], (3, 3)),
        np.reshape(found["rotation"], (3, 3)),
        np.array(found["translation"]),
        (int(rows), int(columns)),
        pitch_mm=unsaid.pitch_mm,
        first_pixel=unsaid.first_pixel or 0.0,
        **unsaid.about(path.stem, "calibration"),
    )
    return [camera]


def calibration_text(camera: PlacedCamera) -> str:
    """A camera under the headings of a calibration; a mirrored one has a negative first focal entry."""
    rows, columns = camera.camera.size_px
    signs = np.array((-1.0 if camera.mirrored else 1.0, 1.0, 1.0))
    pose = signs[:, None] * camera.camera_from_world[:3]
    parts = {
        "image size": f"{columns},{rows}\n",
        "camera matrix": _lines(camera.camera.pixels_from_camera * signs, ","),
        "rotation": _lines(pose[:, :3], ","),
        "translation": _lines(pose[:, 3:], ","),
    }
    return "\n".join(f"{heading}\n{body}" for heading, body in parts.items())


def is_calibration(path: Path) -> bool:
    """Whether the first words of a text are the first heading of a calibration."""
    first = next((line for line in read_lines(path) if line.strip()), "")
    return first.strip().lower() == "image size"


def read_astra(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """Cameras of lines of twelve numbers, as `numpy.savetxt` writes ASTRA's cone_vec vectors."""
    return astra(np.array(_table(path, 12)), path, unsaid)


def astra(rows: np.ndarray, path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """Cameras of vectors (N, 12)."""
    size_px = unsaid.pixels(path)
    return [
        from_astra(row, size_px, **unsaid.about(named(path, n, len(rows)), "patient")) for n, row in enumerate(rows)
    ]


def astra_text(cameras: list[PlacedCamera]) -> str:
    return _lines(np.stack([to_astra(camera) for camera in cameras]))


def read_plastimatch(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """Cameras of calls of `plastimatch drr`, one a line; numbers of a flag are quoted together."""
    calls = [line for line in read_lines(path) if "-nrm" in line]
    if not calls:
        raise UnreadableFile(f"{path} holds no call of plastimatch: none of its lines has -nrm")
    views = [_plastimatch_view(line, path) for line in calls]
    return [
        from_plastimatch(view, **unsaid.about(named(path, n, len(views)), "patient")) for n, view in enumerate(views)
    ]


def plastimatch_text(cameras: list[PlacedCamera]) -> str:
    """A call of `plastimatch drr` a camera."""
    return "".join(f"plastimatch drr {_flags(to_plastimatch(camera))}\n" for camera in cameras)


def _flags(view: PlastimatchView) -> str:
    values = {"-nrm": view.nrm, "-vup": view.vup, "-g": (view.sad, view.sid), "-o": view.isocentre}
    values |= {"-r": view.size_px, "-z": view.size_mm, "-c": view.centre_px or ()}
    return " ".join(f'{flag} "{" ".join(f"{value:.12g}" for value in given)}"' for flag, given in values.items())


def _plastimatch_view(line: str, path: Path) -> PlastimatchView:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UnreadableFile(f"{path}: {error} in {line!r}") from None
    found = {}
    for flag, count in FLAGS.items():
        if flag in words[:-1]:
            found[flag] = numbers(words[words.index(flag) + 1].split(), f"{path}, {flag}")
            if len(found[flag]) != count:
                raise UnreadableFile(f"{path}: {flag} takes {count} numbers, got {len(found[flag])}")
    if missing := [flag for flag in ("-nrm", "-g", "-r", "-z") if flag not in found]:
        raise UnreadableFile(f"{path}: a call of plastimatch lacks {' and '.join(missing)}")
    rows, columns = (int(n) for n in found["-r"])
    centre = found.get("-c")
    return PlastimatchView(
        nrm=found["-nrm"],
        vup=found.get("-vup", (0.0, 0.0, 1.0)),
        sad=found["-g"][0],
        sid=found["-g"][1],
        isocentre=found.get("-o", (0.0, 0.0, 0.0)),
        size_px=(rows, columns),
        size_mm=(found["-z"][0], found["-z"][1]),
        centre_px=(centre[0], centre[1]) if centre else None,
    )


def _below_headings(path: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    heading = ""
    for line in read_lines(path):
        words = line.replace(",", " ").split()
        if line.strip().lower() in HEADINGS:
            heading = line.strip().lower()
            found[heading] = []
        elif words and heading:
            found[heading] += numbers(words, f"{path}, below '{heading}'")
    for heading, count in HEADINGS.items():
        if len(found.get(heading, [])) != count:
            raise UnreadableFile(
                f"{path}: below '{heading}' {count} numbers were wanted, {len(found.get(heading, []))} are there"
            )
    return found


def _table(path: Path, width: int) -> list[list[float]]:
    """Lines of numbers, all as many; comments (#) and empty lines are let pass."""
    lines = [line.partition("#")[0].replace(",", " ").split() for line in read_lines(path)]
    rows = [numbers(words, str(path)) for words in lines if words]
    if not rows or {len(row) for row in rows} != {width}:
        lengths = sorted({len(row) for row in rows})
        raise UnreadableFile(f"{path}: lines of {width} numbers were wanted, they have {lengths or 'none'}")
    return rows


def _lines(rows: np.ndarray, between: str = " ") -> str:
    return "".join(between.join(repr(float(value)) for value in row) + "\n" for row in rows)
