"""What lies beside a written map: `t.h5` does not know which patients it joins, `t.h5.json` does.

The record is renamed into place before its transform, so no transform is ever without one. It holds a hash of the
transform's bytes: a record left over from another transform of that name is recognised, and passed over with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.files import content_hash, require_file, writing
from homolog.space.grid import Grid
from homolog.space.volume import Volume

log = logging.getLogger(__name__)

FORMAT = "homolog transform record"
VERSION = 1

Side = Literal["fixed", "moving"]


@dataclass(frozen=True, eq=False)
class End:
    """One of a map's two patients.

    space         its name
    grid          where the voxels of its image lie, LPS mm
    path          the image's file
    content_hash  of the image (see `files.content_hash`)
    """

    space: str
    grid: Grid | None = None
    path: Path | None = None
    content_hash: str | None = None

    @classmethod
    def of(cls, volume: Volume, path: Path | str | None = None) -> End:
        """The end at which a picture lies, and the file it was read from."""
        return cls(volume.space, volume.grid, None if path is None else Path(path), content_hash(volume))


@dataclass(frozen=True, eq=False)
class Record:
    """What a transform file means.

    fixed, moving     the map carries points of `fixed` to `moving`
    inverse_mean_mm   measured there and back, where an inverse was made
    inverse_p95_mm    likewise
    software          what wrote it; "" is replaced by this version
    """

    fixed: End
    moving: End
    inverse_mean_mm: float | None = None
    inverse_p95_mm: float | None = None
    software: str = ""

    def describe(self) -> str:
        """One sentence: what the transform carries where."""
        fixed, moving = _called(self.fixed), _called(self.moving)
        return f"carries points of {fixed} to {moving} (LPS mm), so it resamples images of {moving} onto {fixed}"


def beside(path: Path | str) -> Path:
    """Where the record of a transform file lies."""
    path = Path(path)
    return path.with_name(path.name + ".json")


def read_record(path: Path | str) -> Record | None:
    """The record beside a transform file; None where there is none, or where it is another transform's."""
    path, record_path = Path(path), beside(path)
    if not record_path.exists():
        return None
    record, transform_hash = _parsed(record_path)
    if transform_hash != file_hash(require_file(path)):
        log.warning("%s belongs to another transform than %s: passed over", record_path, path.name)
        return None
    return record


def write_record(record: Record, path: Path | str) -> None:
    """The record beside a transform file that is already there."""
    with writing(beside(path)) as part:
        part.write_text(record_text(record, Path(path), file_hash(require_file(Path(path)))))


def recognise(record: Record, volume: Volume | None = None, path: Path | str | None = None) -> Side | None:
    """Which end a picture or a file is: by what it holds, else by where it lies; None where neither decides."""
    if volume is not None:
        found = content_hash(volume)
        sides = _sides(record, lambda end: end.content_hash == found)
        if sides:
            return sides[0] if len(sides) == 1 else None
    if path is None:
        return None
    place = Path(path).resolve()
    sides = _sides(record, lambda end: end.path is not None and end.path.resolve() == place)
    return sides[0] if len(sides) == 1 else None


def file_hash(path: Path) -> str:
    """A name for a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def record_text(record: Record, path: Path, transform_hash: str) -> str:
    """The record as it lies beside the transform `path`."""
    folder = path.resolve().parent
    stored = {
        "format": FORMAT,
        "version": VERSION,
        "meaning": record.describe(),
        "fixed": _end_to(record.fixed, folder),
        "moving": _end_to(record.moving, folder),
        "inverse_error_mm": {"mean": record.inverse_mean_mm, "p95": record.inverse_p95_mm},
        "transform_hash": transform_hash,
        "software": record.software or _software(),
    }
    return json.dumps(stored, indent=2) + "\n"


def _called(end: End) -> str:
    return f"'{end.space}'" + (f" ({end.path.name})" if end.path else "")


def _sides(record: Record, fits: Callable[[End], bool]) -> list[Side]:
    ends: list[tuple[Side, End]] = [("fixed", record.fixed), ("moving", record.moving)]
    return [side for side, end in ends if fits(end)]


def _end_to(end: End, folder: Path) -> dict[str, Any]:
    grid = end.grid and {"shape": list(end.grid.shape), "world_from_voxel_lps": end.grid.world_from_voxel.tolist()}
    return {"space": end.space, "grid": grid, **_place(end.path, folder), "content_hash": end.content_hash}


def _place(path: Path | None, folder: Path) -> dict[str, str | None]:
    """Both ways to find a file: relative survives a moved study, absolute a moved record."""
    if path is None:
        return {"path": None, "relative_path": None}
    whole = path.resolve()
    # another drive has no relative way to it
    near = Path(os.path.relpath(whole, folder)).as_posix() if whole.anchor == folder.anchor else None
    return {"path": str(whole), "relative_path": near}


def _end_from(stored: dict[str, Any], record_path: Path) -> End:
    grid, relative = stored.get("grid"), stored.get("relative_path")
    path = Path(stored["path"]) if stored.get("path") else None
    if relative and (near := record_path.resolve().parent / relative).exists():
        path = near.resolve()
    lattice = Grid(tuple(grid["shape"]), np.array(grid["world_from_voxel_lps"])) if grid else None
    return End(stored["space"], lattice, path, stored.get("content_hash"))


def _parsed(record_path: Path) -> tuple[Record, str]:
    """The record, and the hash of the transform it belongs to."""
    try:
        stored = json.loads(require_file(record_path).read_text())
        if stored["format"] != FORMAT:
            raise ValueError(stored["format"])
        _require_known(stored["version"], record_path)
        return _record_from(stored, record_path), stored["transform_hash"]
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableFile(
            f"{record_path} is damaged, or no record of a transform", f"mv {record_path} {record_path}.old"
        ) from error


def _record_from(stored: dict[str, Any], record_path: Path) -> Record:
    error = stored["inverse_error_mm"]
    fixed, moving = (_end_from(stored[side], record_path) for side in ("fixed", "moving"))
    return Record(fixed, moving, error["mean"], error["p95"], stored["software"])


def _require_known(version: int, record_path: Path) -> None:
    if version > VERSION:
        raise UnreadableFile(
            f"{record_path} is of version {version}, this program reads up to {VERSION}", "pip install -U homolog"
        )


def _software() -> str:
    from homolog import __version__

    return f"homolog {__version__}"
