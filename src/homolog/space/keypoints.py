"""Points in the patient, with whatever is known about each; and which of them correspond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from homolog.errors import BadInput


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Points in one space; only `position` and `space` are required, the other columns are None or have N rows.

    position     (N, 3) float64, LPS mm
    space        the name of the patient space they are in
    name         N strings (a landmark set is a Keypoints with names)
    scale        (N,) mm
    response     (N,) the detector's strength
    sign         (N,) -1 or +1: dark on bright, bright on dark
    frame        (N, 3, 3) rotation, local axes in the columns
    descriptors  (N, D)
    """

    position: np.ndarray
    space: str
    name: tuple[str, ...] | None = None
    scale: np.ndarray | None = None
    response: np.ndarray | None = None
    sign: np.ndarray | None = None
    frame: np.ndarray | None = None
    descriptors: np.ndarray | None = None

    def __post_init__(self) -> None:
        position = np.asarray(self.position, dtype=np.float64)
        position = position.reshape(0, 3) if position.size == 0 else position
        if position.ndim != 2 or position.shape[1] != 3:
            raise BadInput(f"positions must be (N, 3), got {position.shape}")
        object.__setattr__(self, "position", position)
        if self.name is not None:
            object.__setattr__(self, "name", tuple(self.name))
        for column in _COLUMNS:
            values = getattr(self, column)
            if values is not None and len(values) != len(position):
                raise BadInput(f"'{column}' has {len(values)} rows for {len(position)} positions")

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, rows: Any) -> Keypoints:
        """A mask, slice or list of rows; every column stays in step."""
        chosen = np.arange(len(self))[rows]
        picked: dict[str, Any] = {"position": self.position[chosen]}
        for column in _COLUMNS:
            values = getattr(self, column)
            if values is not None:
                picked[column] = tuple(values[r] for r in chosen) if column == "name" else values[chosen]
        return replace(self, **picked)

    def moved_to(self, position: np.ndarray, space: str) -> Keypoints:
        """The same points at other positions in another space; scale and frame stay as they were measured."""
        return replace(self, position=position, space=space)

    def by_name(self, names: Sequence[str]) -> Keypoints:
        """The rows of these names, in this order."""
        rows = {name: row for row, name in enumerate(self.name or ())}
        missing = [name for name in names if name not in rows]
        if missing:
            raise BadInput(f"no point named {', '.join(map(repr, missing[:5]))} in '{self.space}'")
        return self[[rows[name] for name in names]]


_COLUMNS = tuple(f.name for f in fields(Keypoints) if f.name not in ("position", "space"))


@dataclass(frozen=True, eq=False)
class Matches:
    """Which rows of two Keypoints correspond.

    pairs     (M, 2) int64, rows of the first and of the second
    distance  (M,) between descriptors, or None
    weight    (M,) in [0, 1], or None
    """

    pairs: np.ndarray
    distance: np.ndarray | None = None
    weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", np.asarray(self.pairs, dtype=np.int64).reshape(-1, 2))

    def __len__(self) -> int:
        return len(self.pairs)
