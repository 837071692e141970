"""Cheap looks at a volume before hours of computing on it."""

from __future__ import annotations

import numpy as np

from homolog.errors import BadInput
from homolog.space.volume import Volume


def require_finite(volume: Volume, name: str) -> None:
    """No NaN and no infinity."""
    data = volume.numpy()
    finite = np.isfinite(data)
    if finite.all():
        return
    first = np.unravel_index(int(finite.argmin()), data.shape)
    voxel = ", ".join(map(str, map(int, first)))
    raise BadInput(
        f"{name}: {data.size - np.count_nonzero(finite)} of {data.size} voxels are not numbers; the first, at voxel "
        f"({voxel}), is {data[first]}",
        f"homolog convert {name} cleaned.nii.gz --replace-nan -1000",
    )


def require_contrast(volume: Volume, name: str) -> None:
    """More than one value."""
    data = volume.numpy()
    low, high = data.min(), data.max()
    if low == high:
        raise BadInput(
            f"{name} is the same everywhere ({low:g}): there is nothing to align", "check that it is the right file"
        )
