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


def looks_unrescaled(volume: Volume) -> bool:
    """Whether a CT seems to hold its stored numbers, 1024 above Hounsfield units: air near 24, soft tissue near 1064.

    Told from MR by how narrow soft tissue is (240 units hold it, whatever the scanner), and from labels, which may be
    numbered from 1000 too, by how many different numbers it takes.
    """
    numbers = _sample(volume.numpy())
    # in Hounsfield units air is far below -200; 12 bits end at 4095, resampling overshoots a little
    if volume.kind == "labels" or numbers.min() < -200 or not 1100 < numbers.max() < 4500:
        return False
    air_and_lung, soft = _part(numbers, -200, 300), _part(numbers, 904, 1144)
    beside = max(_part(numbers, 664, 904), _part(numbers, 1144, 1384))
    kinds = np.unique(np.rint(numbers[(numbers >= 904) & (numbers < 1144)])).size
    return bool(air_and_lung > 0.005 and soft > 0.03 and soft > 2 * beside and kinds > 60)


def _sample(data: np.ndarray) -> np.ndarray:
    """About a million finite voxels, spread evenly."""
    numbers = data.reshape(-1)[:: max(1, data.size // 1_000_000)]
    finite = numbers[np.isfinite(numbers)]
    return finite if finite.size else np.zeros(1, np.float32)


def _part(numbers: np.ndarray, low: float, high: float) -> float:
    return float(((numbers >= low) & (numbers < high)).mean())
