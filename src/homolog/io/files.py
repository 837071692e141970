"""Files are either whole or not there: everything is written beside its name and renamed when it is complete."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from homolog.errors import UnreadableFile, UnwritableFile
from homolog.space.volume import Volume

# Suffixes of two parts; any other name has one.
DOUBLE_SUFFIXES = (".nii.gz", ".mrk.json", ".csv.gz", ".h5.json", ".tfm.json", ".txt.json")


def suffix_of(path: Path) -> str:
    """The ending that tells the format, in lower case: `.nii.gz` for `CT.NII.GZ`."""
    name = path.name.lower()
    return next((s for s in DOUBLE_SUFFIXES if name.endswith(s)), path.suffix.lower())


def stem_of(path: Path) -> str:
    """The name without the ending that tells the format: `ct` for `ct.nii.gz`."""
    return path.name[: len(path.name) - len(suffix_of(path))] or path.name


def require_file(path: Path) -> Path:
    """The path, if a file that can be opened lies there."""
    if not path.exists():
        near = _nearest_name(path)
        raise UnreadableFile(f"{path}: no such file", f"did you mean {near}?" if near else "check the path")
    if path.is_dir():
        raise UnreadableFile(f"{path} is a folder, a file was wanted")
    if not os.access(path, os.R_OK):
        raise UnreadableFile(f"{path}: no permission to read it")
    if path.stat().st_size == 0:
        raise UnreadableFile(f"{path} is empty (0 bytes)", "it was probably cut off while being copied; copy it again")
    return path


@contextmanager
def writing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A name to write to, renamed to `path` when the block ends well and removed when it does not.

    The part keeps the ending (`ct.part.nii.gz`), because other libraries choose the format by it.

    shared  other processes, or other machines, may write the same file at the same time: each its own part
    """
    path = Path(path)
    mine = f"-{socket.gethostname()}-{os.getpid()}" if shared else ""
    part = path.with_name(f"{stem_of(path)}.part{mine}{path.name[len(stem_of(path)) :]}")
    try:
        if path.is_dir():
            raise UnwritableFile(f"{path} is a folder, a file name was wanted")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None


def unwritable(path: Path, error: OSError) -> UnwritableFile:
    """The system's refusal to write, in words with a way out."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UnwritableFile(f"{path}: no room left to write it", "free some space, or write to another disk with -o")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UnwritableFile(f"{path}: no permission to write there", "choose another folder with -o")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return UnwritableFile(f"{path}: a file lies where a folder is needed", "choose another folder with -o")
    return UnwritableFile(f"{path}: cannot be written ({error.strerror or error})", "choose another folder with -o")


def content_hash(volume: Volume) -> str:
    """A name for what a volume holds (numbers, grid, kind), the same whatever file format it came from."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{volume.kind} {volume.grid.shape}".encode())
    # a micrometre: formats keep directions and origins with different numbers of digits
    digest.update(np.round(volume.grid.corners(0.0), 3).astype(np.float64).tobytes())
    data = volume.numpy()
    data = data.astype(np.int32) if volume.kind == "labels" else data
    digest.update(np.ascontiguousarray(data).data)
    return digest.hexdigest()


def _nearest_name(path: Path) -> str:
    from difflib import get_close_matches

    folder = path.parent
    if not folder.is_dir():
        return ""
    near = get_close_matches(path.name, [p.name for p in folder.iterdir()], n=1, cutoff=0.75)
    return str(folder / near[0]) if near else ""
