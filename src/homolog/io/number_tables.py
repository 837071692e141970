"""Tables of nothing but numbers, as programs print them by the million: text, with or without gzip, no header."""

from __future__ import annotations

import gzip
import io
import re
import warnings
from pathlib import Path

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.files import require_file, suffix_of
from homolog.io.stored import COPY_AGAIN, decompressing

NUMBER = re.compile(rb"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
# Bytes that hold the first row, however wide: a thousand numbers of thirty digits.
HEAD = 32_768
# Rows by which a table is recognised.
ROWS = 64


def width_of(path: Path) -> int:
    """How many numbers the first row has, separated by commas; 0 where it holds anything else."""
    with decompressing(path), _opened(path) as stream:
        row = stream.read(HEAD).split(b"\n", 1)[0]
    fields = row.rstrip(b"\r,").split(b",")
    return len(fields) if all(map(NUMBER.fullmatch, fields)) else 0


def first_rows(path: Path) -> np.ndarray:
    """(ROWS, columns) float64: as many as it takes to see what they are."""
    with decompressing(path), _opened(path) as stream:
        lines = [stream.readline(HEAD) for _ in range(ROWS)]
    return _parsed(b"".join(line for line in lines if line.endswith(b"\n")) or lines[0], path)


def read_numbers(path: Path) -> np.ndarray:
    """(rows, columns) float64, all finite; a row that is shorter than the first is an error."""
    with decompressing(path), _opened(path) as stream:
        text = stream.read()
    found = _parsed(text, path)
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(broken):
        raise UnreadableFile(f"{path}, row {broken[0] + 1}: NaN or infinite", "remove such rows")
    return found


def _parsed(text: bytes, path: Path) -> np.ndarray:
    if not text.strip():
        raise UnreadableFile(f"{path} holds no rows of numbers", "were any points found?")
    if not text.endswith(b"\n"):
        # its last number may have lost digits, and be another number
        raise UnreadableFile(
            f"{path} ends within a line: it is cut off", f"{COPY_AGAIN}; if it is whole: echo >> {path}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # a comma at the end of each line is some programs' habit
            lines = io.StringIO(re.sub(rb",[ \t]*\r?\n", b"\n", text).decode("ascii"))
            return np.loadtxt(lines, np.float64, delimiter=",", ndmin=2, comments=None)
    except (ValueError, UserWarning) as error:
        said = str(error).split(";")[0].rstrip(".")
        raise UnreadableFile(f"{path} is cut off, or no table of numbers ({said})", COPY_AGAIN) from error


def write_text(text: str, path: Path) -> None:
    """The text, compressed where the name says so; the same bytes whenever it is written."""
    raw = text.encode()
    path.write_bytes(gzip.compress(raw, 6, mtime=0) if suffix_of(path) == ".csv.gz" else raw)


def _opened(path: Path) -> io.BufferedIOBase:
    require_file(path)
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb")
