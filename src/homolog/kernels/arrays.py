"""What compiled kernels are handed: one type an argument, so that each kernel is compiled once and cached."""

from __future__ import annotations

from typing import Any

import numpy as np


def reading(array: Any, dtype: Any = None) -> np.ndarray:
    """A contiguous, read-only view (or copy, where the array is not contiguous or of another dtype).

    Numba compiles a kernel anew for read-only arrays; giving it nothing else keeps that to once.
    """
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def elementwise(array: Any) -> Any:
    """NumPy or torch, whichever the array is of: functions of single elements have the same names in both."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def beside(array: np.ndarray, other: Any) -> Any:
    """The same numbers where another array is: NumPy's beside NumPy's, else torch's on the other's device."""
    if isinstance(other, np.ndarray):
        return array
    import torch

    return torch.tensor(array, device=other.device)
