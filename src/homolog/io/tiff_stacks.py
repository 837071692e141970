"""A stack of slices in one TIFF, a page a slice, as a volume.

Such a file knows neither its voxels' size (its resolution tags are of a printed page, and most programs leave 72 dots
an inch there) nor where it lies. The size has to be given; columns, rows and pages are taken as x, y and z of an LPS
world whose origin is the first voxel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from homolog.errors import BadInput
from homolog.io import tiff
from homolog.io.axes import placed
from homolog.io.files import stem_of
from homolog.io.stored import SLAB_PLANES, Stored

log = logging.getLogger(__name__)


def opened(path: Path, spacing_mm: Sequence[float] | None) -> Stored:
    """What a stack holds.

    spacing_mm  (3,) mm between columns, between rows and between pages
    """
    pages = tiff.pages_of(path)
    first = pages[0]
    if len(pages) == 1:
        raise BadInput(
            f"{path} is a flat picture ({first.columns}x{first.rows}); a volume is a stack of slices, a page a slice",
            "X-rays are aligned to a volume with: homolog align VOLUME XRAY -o DIR",
        )
    if first.samples != 1:
        raise BadInput(f"{path} holds colours ({first.samples} samples a pixel); one number a voxel is wanted")
    shape = (first.columns, first.rows, len(pages))
    matrix = np.diag([*_spacing(path, spacing_mm, shape), 1.0])
    log.warning(
        "%s does not say where it lies: columns, rows, pages are taken as x, y, z (LPS), its first voxel as the origin",
        path,
    )

    def slabs() -> Iterator[np.ndarray]:
        voxels = tiff.pixels_of(path, pages)
        for k in range(0, len(voxels), SLAB_PLANES):
            yield voxels[k : k + SLAB_PLANES]

    return Stored(path, placed(shape, matrix, path), stem_of(path), _dtype(path, first.bits), slabs)


def _spacing(path: Path, spacing_mm: Sequence[float] | None, shape: tuple[int, int, int]) -> list[float]:
    sizes = "x".join(map(str, shape))
    if spacing_mm is None:
        raise BadInput(
            f"{path} ({sizes}) is a TIFF stack, which does not say how large its voxels are",
            "give mm between columns, rows and pages: --spacing-mm 0.4 0.4 0.6",
        )
    spacing = [float(step) for step in spacing_mm]
    if len(spacing) != 3 or not all(np.isfinite(step) and step > 0 for step in spacing):
        raise BadInput(
            f"{path}: a spacing is three positive numbers of mm, got {' '.join(map(str, spacing_mm))}",
            "--spacing-mm 0.4 0.4 0.6",
        )
    return spacing


def _dtype(path: Path, bits: int) -> np.dtype:
    """What the pixels are once decoded; a page knows only its bits."""
    if bits not in (8, 16, 32, 64):
        raise BadInput(f"{path} stores {bits} bits a voxel; 8, 16 or 32 can be read", "save it with 16 bits a voxel")
    return np.dtype(np.float64 if bits >= 32 else np.int32)
