"""Columns of numbers in one `.npz`: no pickles, the same bytes for the same columns, and a word on what they are."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from homolog.errors import UnreadableFile
from homolog.io.files import require_file, writing
from homolog.io.stored import COPY_AGAIN

# The earliest that a zip can say: the time of day must not change the bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def write_columns(path: Path, what: str, version: int, columns: Mapping[str, np.ndarray]) -> None:
    """Arrays by name, any but objects, with `format` and `version` before them; NumPy alone reads it."""
    with writing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, values in {"format": np.array(what), "version": np.array(version), **columns}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", NO_TIME), "w", force_zip64=True) as member:
                npy.write_array(member, np.asarray(values, order="C"), allow_pickle=False)


def read_columns(path: Path, what: str, version: int) -> dict[str, np.ndarray]:
    """The arrays by name, if the file holds `what` of no later version."""
    try:
        with np.load(require_file(path), allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise UnreadableFile(f"{path} is damaged, or no .npz of plain arrays ({error})", COPY_AGAIN) from error
    said = str(found.pop("format", ""))
    if said != what:
        holds = said or f"arrays named {', '.join(sorted(found)[:5]) or 'nothing'}"
        raise UnreadableFile(f"{path} is an .npz, but not of {what}: it holds {holds}")
    if int(found.pop("version", 0)) > version:
        raise UnreadableFile(f"{path} was written by a later version of this program", "pip install -U homolog")
    return found
