"""A map as the commands see it: the transform in a file, and what is known of the two patients it joins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from homolog.cli.configs import Reading
from homolog.errors import BadInput
from homolog.io.records import Record, Side, read_record
from homolog.io.transforms import read_transform
from homolog.io.volumes import read_grid
from homolog.space.grid import Grid
from homolog.space.transforms import Transform

OTHER: dict[Side, Side] = {"fixed": "moving", "moving": "fixed"}


@dataclass(frozen=True, eq=False)
class Map:
    """A map between two patients, and what is known of them.

    path          its file
    transform     carries fixed points to moving points; its two spaces have two names
    record        what was written beside it, or None
    like          the grid that was named for the fixed side, or simply to be filled
    moving_like   the grid that was named for the moving side
    """

    path: Path
    transform: Transform
    record: Record | None
    like: Grid | None
    moving_like: Grid | None

    def space(self, side: Side) -> str:
        return self.transform.fixed if side == "fixed" else self.transform.moving

    def image_grid(self, side: Side) -> Grid | None:
        """Where that side's own image lies: as named on the command line, else as recorded."""
        named = self.like if side == "fixed" else self.moving_like
        return named or self._recorded_grid(side)

    def grid_to_fill(self, side: Side) -> Grid:
        """The grid on which an image that arrives at that side is put."""
        named = self.like if side == "fixed" else self.moving_like or self.like
        grid = named or self._recorded_grid(side)
        if grid is None:
            raise BadInput(
                f"{self.path} does not say on which grid of the {side} patient to put the image",
                f"--like {side}.nii.gz",
            )
        return grid

    def _recorded_grid(self, side: Side) -> Grid | None:
        if self.record is None:
            return None
        return self.record.fixed.grid if side == "fixed" else self.record.moving.grid


def read_map(path: Path, reading: Reading) -> Map:
    """The map in a file."""
    like = None if reading.like is None else read_grid(reading.like)
    moving_like = None if reading.moving_like is None else read_grid(reading.moving_like)
    transform = _transform(path, reading, like, moving_like)
    if transform.fixed == transform.moving:
        transform = transform.renamed(fixed="fixed", moving="moving")
    return Map(path, transform, read_record(path), like, moving_like)


def _transform(path: Path, reading: Reading, like: Grid | None, moving_like: Grid | None) -> Transform:
    try:
        return read_transform(
            path,
            like=like,
            moving_like=moving_like,
            format=reading.format,
            matrix=reading.matrix,
            grid_spacing_vox=reading.grid_spacing_vox,
            frame=reading.frame,
            index=reading.index,
        )
    except BadInput as error:
        if str(path) in error.message:
            raise
        # numbers that make no map: what they came from should be said
        hint = error.hint or "write it again with the program that made it"
        raise BadInput(f"{path}: {error.message}", hint) from error
