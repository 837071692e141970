"""FROG's `pairs.bin`: the keypoints of all images, and which of them match, as its `match` writes and its `frog` reads.

Little endian: a 16-bit count of images; for each a 16-bit length and its name, three float64 that shift it, a 32-bit
count and float32 rows x, y, z, scale, sign, response; then, until the file ends, two 16-bit numbers of images, a 32-bit
count and 32-bit rows of either image.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io.files import require_file
from homolog.io.frog_points import LEADING, keypoints
from homolog.space.keypoints import Keypoints, Matches

Pairs = dict[tuple[int, int], Matches]


def read_frog_pairs(path: Path | str, *, frame: str = "RAS") -> tuple[list[Keypoints], Pairs]:
    """The keypoints of every image, without descriptors, in LPS mm, and (i, j) -> their matches, i < j.

    frame  "RAS", as of points found in NIfTI files, or "LPS"
    """
    path = Path(path)
    raw = _Raw(require_file(path).read_bytes(), path)
    images = [_image(raw, frame) for _ in range(raw.number("H"))]
    matches: Pairs = {}
    while raw.place < len(raw.data):
        one, two, count = raw.number("H"), raw.number("H"), raw.number("I")
        rows = raw.array("<u4", 2 * count).reshape(-1, 2).astype(np.int64)
        _require_rows(rows, one, two, images, path)
        matches[min(one, two), max(one, two)] = Matches(rows if one < two else rows[:, ::-1])
    return images, matches


class _Raw:
    """Bytes that are read one thing after the other."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path, self.place = data, path, 0

    def number(self, kind: str) -> int:
        return int(struct.unpack("<" + kind, self.bytes(struct.calcsize("<" + kind)))[0])

    def array(self, dtype: str, count: int) -> np.ndarray:
        return np.frombuffer(self.bytes(count * np.dtype(dtype).itemsize), dtype)

    def bytes(self, count: int) -> bytes:
        found = self.data[self.place : self.place + count]
        if len(found) < count:
            raise UnreadableFile(
                f"{self.path} is no pairs.bin of FROG, or it is cut off: at byte {self.place} of {len(self.data)} "
                f"{count} more were wanted",
                "copy it again; files of a FROG that was built without INT_PTIDS are not read",
            )
        self.place += count
        return found


def _image(raw: _Raw, frame: str) -> Keypoints:
    name = raw.bytes(raw.number("H")).decode("utf-8", "replace")
    shift = raw.array("<f8", 3)
    rows = raw.array("<f4", LEADING * raw.number("I")).reshape(-1, LEADING).astype(np.float64)
    if not (np.isfinite(rows).all() and np.isfinite(shift).all()):
        raise UnreadableFile(f"{raw.path} holds no keypoints of FROG: some of its numbers are NaN or infinite")
    rows[:, :3] += shift
    return keypoints(rows, raw.path, name, frame)


def _require_rows(rows: np.ndarray, one: int, two: int, images: list[Keypoints], path: Path) -> None:
    if one == two or max(one, two) >= len(images):
        raise BadInput(f"{path} matches image {one} with image {two}, of {len(images)}")
    for end, image in enumerate((one, two)):
        if len(rows) and rows[:, end].max() >= len(images[image]):
            raise BadInput(f"{path} matches row {rows[:, end].max()} of image {image}, which has {len(images[image])}")
