"""PNG files from arrays: a page that must open anywhere needs no more of a drawing library than this."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def encode(pixels: np.ndarray) -> bytes:
    """A PNG file.

    pixels  (rows, columns) grey or (rows, columns, 3) red, green, blue; uint8, the first row on top
    """
    rows, columns = pixels.shape[:2]
    lines = np.ascontiguousarray(pixels, np.uint8).reshape(rows, -1)
    # each line starts with the number of its filter; 0 is none
    filtered = np.hstack((np.zeros((rows, 1), np.uint8), lines)).tobytes()
    colour = 2 if pixels.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", columns, rows, 8, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(filtered, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 greys of values between black at `low` and white at `high`."""
    return np.clip(255 * (values - low) / (high - low), 0, 255).astype(np.uint8)


def overlay(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """(rows, columns, 3): two grey pictures in complementary colours; where they agree the result is grey."""
    return np.stack((fixed, moving, fixed), axis=-1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
