"""FROG's keypoints: x, y, z and scale in mm, sign, response, descriptor; as text, compressed or not, or float32.

Its frame is that of NIfTI, whose axes run against two of ours; its sign is 1 for dark blobs on bright ground, which
are -1 here, and 0 for bright ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io.files import require_file
from homolog.io.listings import HALF_TURN
from homolog.io.stored import COPY_AGAIN
from homolog.space.keypoints import Keypoints

# Numbers before the descriptor, and a descriptor's; its binary files say neither.
LEADING, DESCRIPTOR = 6, 48
ROW_BYTES = 4 * (LEADING + DESCRIPTOR)


def is_frogs(table: np.ndarray) -> bool:
    """Whether rows can be its keypoints: scales above 0, signs 0 or 1, no response below 0."""
    if table.shape[1] < LEADING:
        return False
    scale, sign, response = table[:, 3:LEADING].T
    return bool((scale > 0).all() and np.isin(sign, (0, 1)).all() and (response >= 0).all())


def keypoints(table: np.ndarray, path: Path, space: str, frame: str) -> Keypoints:
    """Of a table of its rows.

    frame  "RAS", as it writes what it finds in NIfTI files, or "LPS"
    """
    if not is_frogs(table):
        raise UnreadableFile(
            f"{path} holds no keypoints of FROG: its rows are x,y,z,scale,sign,response and a descriptor, "
            "scales above 0, signs 0 or 1"
        )
    if frame not in ("LPS", "RAS"):
        raise BadInput(f"{path}: FROG's points are in LPS or RAS mm, not in {frame}s", "--points-space RAS")
    return Keypoints(
        table[:, :3] * (HALF_TURN if frame == "RAS" else 1.0),
        space,
        scale=table[:, 3].copy(),
        sign=np.where(table[:, 4] == 1, -1, 1).astype(np.int8),
        response=table[:, 5].copy(),
        descriptors=table[:, LEADING:].astype(np.float32) if table.shape[1] > LEADING else None,
    )


def read_binary(path: Path) -> np.ndarray:
    """(N, 54) float64 of a `.bin`."""
    raw = require_file(path).read_bytes()
    if len(raw) % ROW_BYTES:
        raise UnreadableFile(
            f"{path} has {len(raw)} bytes: FROG's points take {ROW_BYTES} each, so it is cut off, or another program's",
            COPY_AGAIN,
        )
    table = np.frombuffer(raw, "<f4").reshape(-1, LEADING + DESCRIPTOR).astype(np.float64)
    if not np.isfinite(table).all():
        raise UnreadableFile(f"{path} holds no keypoints of FROG: some of its numbers are NaN or infinite")
    return table


def text(points: Keypoints, path: Path) -> str:
    """The rows of a `.csv`."""
    table = _table(points, path)
    # fixed digits, as the program's own, but more of them: a thousandth of the spread of a descriptor's numbers
    row = ",".join(["%.6f"] * 4 + ["%d", "%.9g"] + ["%.9f"] * (table.shape[1] - LEADING)) + "\n"
    return "".join(row % tuple(values) for values in table.tolist())


def binary(points: Keypoints, path: Path) -> bytes:
    """The bytes of a `.bin`."""
    table = _table(points, path)
    if table.shape[1] != LEADING + DESCRIPTOR:
        raise BadInput(
            f"{path}: FROG's .bin has {DESCRIPTOR} numbers a descriptor, these points have {table.shape[1] - LEADING}",
            "write a .csv.gz or an .npz",
        )
    return table.astype("<f4").tobytes()


def _table(points: Keypoints, path: Path) -> np.ndarray:
    columns = ("scale", "sign", "response", "descriptors")
    missing = [name for name in columns if getattr(points, name) is None]
    if missing:
        raise BadInput(
            f"{path}: FROG's files hold {', '.join(columns)}; these points have no {' and no '.join(missing)}",
            "write an .npz, which keeps what there is",
        )
    scale, sign, response, descriptors = (np.asarray(getattr(points, name), np.float64) for name in columns)
    leading = np.column_stack((points.position * HALF_TURN, scale, sign < 0, response))
    return np.hstack((leading, descriptors))
