"""A map as ITK stores it: a class, two lists of numbers, and for several of them how they lie in an HDF5 file.

There `TransformGroup` has a group for each, named 0, 1, ...; in a composite the first is the composite itself, which
has no numbers, and the others stand in the order of a matrix product. Fields are kept and written as float32, which is
all that our displacements have; ITK turns them into its own type when it reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from homolog.errors import BadInput, NotEnoughMemory
from homolog.io import hdf5
from homolog.io.hdf5_writing import Tree, Written, write
from homolog.io.itk_steps import Padded, Step
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, BSpline, Displacement

GROUP, CLASS = "TransformGroup", "TransformType"
# ITK before 5 knows only the names in which an s is missing; later ones look for them if the others are not there
FIXED = ("TransformFixedParameters", "TranformFixedParameters")
PARAMETERS = ("TransformParameters", "TranformParameters")
COMPOSITE, FIELD, SPLINE = "CompositeTransform", "DisplacementFieldTransform", "BSplineTransform"
# the class that keeps a field, and those that differ from it only while they are optimised
FIELDS = (FIELD, f"GaussianSmoothingOnUpdate{FIELD}", f"BSplineSmoothingOnUpdate{FIELD}")
# ITK says what wrote a file and never reads it; without a word about the machine a map is the same bytes anywhere
PREAMBLE = {"ITKVersion": "5.4", "HDFVersion": "1.8", "OSName": "any", "OSVersion": "any"}
# A lattice's fixed parameters: size, origin, spacing, and the directions of its axes.
LATTICE_NUMBERS = 18
# A slab of vectors: four of 12 bytes fill most of a cache line, and more only make the slab's own copies larger.
PLANES = 4
# no image has more nodes along an axis, and float64 holds each whole number up to here
MOST_NODES = 2**31


@dataclass(frozen=True)
class Block:
    """One transform of a file that is open.

    kind        its class with the type and dimension of its numbers: AffineTransform_double_3_3
    fixed       (F,) float64, its fixed parameters
    parameters  its parameters, not read yet
    """

    kind: str
    fixed: np.ndarray
    parameters: hdf5.Numbers

    def is_one_of(self, *classes: str) -> bool:
        """Whether it is of one of these classes, and 3-D."""
        return self.kind.removesuffix("_double_3_3").removesuffix("_float_3_3") in classes


def read_blocks(file: hdf5.File, path: Path) -> list[Block]:
    """The transforms of a file that make up its map, in the order of a matrix product."""
    members = file.members(file.root)
    if GROUP not in members:
        raise BadInput(f"{path} is an HDF5 file without a {GROUP}: it holds no transform of ITK's")
    group = file.members(members[GROUP])
    found = [file.members(_named(group, str(n))) for n in range(len(group))]
    kinds = [_kind(file, one) for one in found]
    first = 1 if kinds and kinds[0].startswith(COMPOSITE) else 0
    if len(kinds) > 1 and not first:
        raise several(path)
    if len(kinds) == first:
        raise BadInput(f"{path} holds no transform: its {GROUP} is empty")
    return [_block(file, kind, one) for kind, one in zip(kinds[first:], found[first:])]


def several(path: Path) -> BadInput:
    return BadInput(f"{path} holds several transforms that are not one composite", "save each in a file of its own")


def field(block: Block) -> Displacement:
    """Interleaved vectors, i fastest, turned slab by slab: there is one copy of them, and a slab."""
    grid = _grid(block)
    i, j, _ = grid.shape
    vectors, at = _room(grid), 0
    for numbers in block.parameters.arrays(PLANES * j * i * 3):
        slab = numbers.reshape(-1, j, i, 3)
        vectors[:, :, at : at + len(slab)] = slab.transpose(2, 1, 0, 3)
        at += len(slab)
    return Displacement(vectors, grid)


def spline(block: Block) -> BSpline:
    """The x of all control points, then y, then z; i fastest."""
    grid = _grid(block)
    return BSpline(block.parameters.all().reshape(3, *grid.shape[::-1]).transpose(3, 2, 1, 0), grid)


def numbers_of(step: Affine | BSpline) -> tuple[str, np.ndarray, np.ndarray]:
    """ITK's name of the class, its parameters and its fixed parameters, float64."""
    if isinstance(step, Affine):
        parameters = np.concatenate((step.matrix[:3, :3].ravel(), step.matrix[:3, 3]))
        return "AffineTransform_double_3_3", parameters, np.zeros(3)
    coefficients = np.asarray(step.coefficients, np.float64).transpose(3, 2, 1, 0).ravel()
    return f"{SPLINE}_double_3_3", coefficients, _lattice(step.grid)


def write_hdf5(steps: Sequence[Step], file: BinaryIO) -> None:
    """Steps in the order of a matrix product; several are a composite."""
    blocks = [_written(step) for step in steps]
    if len(blocks) > 1:
        blocks.insert(0, {CLASS: f"{COMPOSITE}_double_3_3"})
    write({**PREAMBLE, GROUP: {str(n): block for n, block in enumerate(blocks)}}, file)


def stored_bytes(step: Step) -> int:
    """How much room the numbers of a step take in the file, about."""
    if isinstance(step, Affine):
        return 0
    return step.grid.size * 3 * (4 if isinstance(step, Padded) else 8)


# --- reading


def _named(members: dict[str, int], *names: str) -> int:
    for name in names:
        if name in members:
            return members[name]
    raise ValueError(f"it lacks {names[0]}")


def _kind(file: hdf5.File, members: dict[str, int]) -> str:
    kind = file.text(_named(members, CLASS))
    if not re.fullmatch(r"\w+", kind, re.ASCII):
        raise ValueError(f"a class is called {kind!r}")
    return kind


def _block(file: hdf5.File, kind: str, members: dict[str, int]) -> Block:
    fixed, parameters = (file.numbers(_named(members, *names)) for names in (FIXED, PARAMETERS))
    return Block(kind, fixed.all().astype(np.float64), parameters)


def _grid(block: Block) -> Grid:
    """Where a lattice lies, which fits the number of its parameters."""
    if len(block.fixed) != LATTICE_NUMBERS or not np.isfinite(block.fixed).all():
        raise ValueError(f"a lattice is described by {block.fixed.tolist()}")
    size, origin, spacing, axes = np.split(block.fixed, (3, 6, 9))
    if not ((size >= 1) & (size <= MOST_NODES) & (size == np.rint(size))).all():
        raise ValueError(f"a lattice has {size.tolist()} nodes")
    grid = Grid.regular([int(n) for n in size], spacing, origin, axes.reshape(3, 3))
    if block.parameters.count != 3 * grid.size:
        raise ValueError(f"a lattice of {grid.size} nodes has {block.parameters.count} numbers")
    return grid


def _room(grid: Grid) -> np.ndarray:
    try:
        return np.empty((*grid.shape, 3), np.float32)
    except MemoryError as error:
        raise NotEnoughMemory(f"a displacement on {grid!r} needs {grid.size * 12 / 1e9:.1f} GB") from error


# --- writing


def _written(step: Step) -> dict[str, Tree | Written | str]:
    if isinstance(step, Padded):
        kind, fixed = f"{FIELD}_float_3_3", Written.of(_lattice(step.grid))
        parameters = Written(3 * step.grid.size, "<f4", lambda: _slabs(step))
    else:
        kind, numbers, lattice = numbers_of(step)
        fixed, parameters = Written.of(lattice), Written.of(numbers)
    return {CLASS: kind, **dict.fromkeys(FIXED, fixed), **dict.fromkeys(PARAMETERS, parameters)}


def _slabs(step: Padded) -> Iterator[np.ndarray]:
    for k in range(0, step.grid.shape[2], PLANES):
        yield step.planes(k, k + PLANES)


def _lattice(grid: Grid) -> np.ndarray:
    return np.concatenate((np.array(grid.shape, np.float64), grid.origin_mm, grid.spacing_mm, grid.axes.ravel()))
