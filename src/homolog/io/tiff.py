"""TIFF files: what their pages are, read from the directories themselves, and their pixels.

libtiff decodes the pixels, but it reads a file that was cut off as one with fewer pages and says so to the terminal
only: the chain of pages is followed here first. Written here too, so that a full disk is the system's error.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io.files import require_file, writing
from homolog.io.stored import COPY_AGAIN

SUFFIXES = (".tif", ".tiff")
# The tags of TIFF 6.0 that are looked at.
COLUMNS, ROWS, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
STRIP_OFFSETS, SAMPLES, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES, FORMAT = 273, 277, 279, 324, 325, 339
# Bytes and struct letter of a field's types; others are passed over.
TYPES = {1: (1, "B"), 2: (1, "s"), 3: (2, "H"), 4: (4, "I"), 16: (8, "Q")}
WHITE_IS_ZERO, DEFLATE = 0, 8
MOST_PAGES = 100_000


@dataclass(frozen=True)
class Page:
    """A page's size, what a pixel of it is, and the text that goes with it."""

    rows: int
    columns: int
    bits: int
    samples: int
    white_is_zero: bool
    description: str


def pages_of(path: Path) -> list[Page]:
    """Every page of a file, none of which reaches beyond its end."""
    content = memoryview(require_file(path).read_bytes())
    order, wide, at = _start(content, path)
    pages: list[Page] = []
    seen: set[int] = set()
    while at:
        if at in seen or len(pages) > MOST_PAGES:
            raise UnreadableFile(f"{path}: its pages run in a circle", COPY_AGAIN)
        seen.add(at)
        try:
            fields, at = _directory(content, at, order, wide)
        except struct.error as error:
            raise _cut_off(path, len(pages) + 1) from error
        pages.append(_page(fields, len(content), path, len(pages) + 1))
    if not pages:
        raise UnreadableFile(f"{path} is a TIFF without pages", COPY_AGAIN)
    return pages


def pixels_of(path: Path, pages: Sequence[Page]) -> np.ndarray:
    """(pages, rows, columns) or, of colours, (pages, rows, columns, samples), as stored.

    pages  what `pages_of` found in the file
    """
    import SimpleITK as sitk

    if len({(page.rows, page.columns, page.samples) for page in pages}) > 1:
        sizes = ", ".join(sorted({f"{page.columns}x{page.rows}" for page in pages}))
        raise BadInput(f"{path} holds pages of different kinds ({sizes})", "save the pages that are wanted alone")
    try:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="TIFFImageIO"))
    except RuntimeError as error:
        raise UnreadableFile(
            f"{path} cannot be decoded as TIFF ({pages[0].bits} bits, {pages[0].samples} samples a pixel)",
            f"save it again without compression: tiffcp -c none {path} plain.tif",
        ) from error
    return pixels.reshape(len(pages), pages[0].rows, pages[0].columns, *pixels.shape[-1:] * (pages[0].samples > 1))


def write(picture: np.ndarray, path: Path, description: str = "") -> None:
    """`picture` (rows, columns) or (pages, rows, columns), uint8, uint16 or float32, and a line of text on its page."""
    sheets = picture.reshape(-1, *picture.shape[-2:])
    with writing(path) as part, open(part, "wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, 8))
        at = 8
        for n, sheet in enumerate(sheets):
            block = _written_page(sheet, at, description.encode(), last=n == len(sheets) - 1)
            file.write(block)
            at += len(block)


def _start(content: memoryview, path: Path) -> tuple[str, bool, int]:
    """Byte order, whether it is a BigTIFF, and where the first page's directory is."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(content[:2]), "")
    if not order or len(content) < 16:
        raise UnreadableFile(f"{path} is not a TIFF file: it starts with {bytes(content[:8])!r}", COPY_AGAIN)
    version = struct.unpack_from(order + "H", content, 2)[0]
    if version not in (42, 43):
        raise UnreadableFile(f"{path} is not a TIFF file: its version is {version}, not 42 or 43", COPY_AGAIN)
    wide = version == 43
    return order, wide, struct.unpack_from(order + ("Q" if wide else "I"), content, 8 if wide else 4)[0]


def _directory(content: memoryview, at: int, order: str, wide: bool) -> tuple[dict[int, Any], int]:
    """A page's fields by their tags, and where the next directory is."""
    count_letter, entry, place_letter, inline = ("Q", 20, "Q", 8) if wide else ("H", 12, "I", 4)
    count = struct.unpack_from(order + count_letter, content, at)[0]
    first = at + struct.calcsize(order + count_letter)
    fields = {}
    for n in range(min(count, 4096)):
        here = first + n * entry
        tag, kind, length = struct.unpack_from(order + "HH" + place_letter, content, here)
        if kind not in TYPES:
            continue
        size, letter = TYPES[kind]
        place = here + 4 + inline
        if size * length > inline:
            place = struct.unpack_from(order + place_letter, content, place)[0]
        values = struct.unpack_from(f"{order}{length}{letter}", content, place)
        fields[tag] = values[0] if letter == "s" else values
    return fields, struct.unpack_from(order + place_letter, content, first + count * entry)[0]


def _page(fields: dict[int, Any], file_bytes: int, path: Path, number: int) -> Page:
    def single(tag: int, default: int) -> int:
        return int(fields.get(tag, (default,))[0])

    rows, columns = single(ROWS, 0), single(COLUMNS, 0)
    if rows < 1 or columns < 1:
        raise BadInput(f"{path}: page {number} is {columns}x{rows} pixels, there is nothing in it")
    offsets = fields.get(STRIP_OFFSETS, fields.get(TILE_OFFSETS, ()))
    sizes = fields.get(STRIP_BYTES, fields.get(TILE_BYTES, ()))
    if not offsets or any(start + size > file_bytes for start, size in zip(offsets, sizes)):
        raise _cut_off(path, number)
    text = fields.get(DESCRIPTION, b"").split(b"\0")[0].decode("utf-8", "replace")
    white = single(PHOTOMETRIC, 1) == WHITE_IS_ZERO
    return Page(rows, columns, single(BITS, 1), single(SAMPLES, 1), white, text)


def _cut_off(path: Path, number: int) -> UnreadableFile:
    return UnreadableFile(f"{path} is cut off: its page {number} lies beyond the end of the file", COPY_AGAIN)


def _written_page(sheet: np.ndarray, at: int, text: bytes, *, last: bool) -> bytes:
    """A directory, what it points to, and the pixels in one strip, for the place `at` in a file."""
    rows, columns = sheet.shape
    packed = zlib.compress(np.ascontiguousarray(sheet, sheet.dtype.newbyteorder("<")).tobytes(), 6)
    text = (text + b"\0") if text else b""
    entries = 10 + bool(text)
    text_at = at + 2 + 12 * entries + 4
    pixels_at = text_at + len(text) + len(text) % 2
    # a next page begins on an even byte, which TIFF wants of directories
    after = pixels_at + len(packed) + len(packed) % 2
    fields = [
        (COLUMNS, 4, 1, columns), (ROWS, 4, 1, rows), (BITS, 3, 1, 8 * sheet.dtype.itemsize),
        (COMPRESSION, 3, 1, DEFLATE), (PHOTOMETRIC, 3, 1, 1), *([(DESCRIPTION, 2, len(text), text_at)] if text else []),
        (STRIP_OFFSETS, 4, 1, pixels_at), (SAMPLES, 3, 1, 1), (278, 4, 1, rows), (STRIP_BYTES, 4, 1, len(packed)),
        (FORMAT, 3, 1, 3 if sheet.dtype.kind == "f" else 1),
    ]  # fmt: skip
    block = struct.pack("<H", entries) + b"".join(_entry(*field) for field in fields)
    block += struct.pack("<I", 0 if last else after) + text + b"\0" * (len(text) % 2)
    return block + packed + b"\0" * (len(packed) % 2)


def _entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHI", tag, kind, count) + struct.pack("<HH" if kind == 3 else "<I", value, *[0] * (kind == 3))
