"""What is asked of a patient, looked at before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from homolog.errors import BadInput
from homolog.kernels import launching
from homolog.space.grid import Grid
from homolog.synth.anatomy import own
from homolog.synth.configs import PatientConfig

if TYPE_CHECKING:
    import torch

PHASES = ("native", "arterial", "portal")
# A voxel finer than this shows nothing more, one coarser no organ.
LEAST_SPACING_MM, MOST_SPACING_MM = 0.4, 10.0


def sensible_device(name: str | torch.device) -> torch.device:
    """The device of a name, "cuda" or "cuda:1", if patients can be drawn there."""
    import torch

    device = torch.device(name)
    if device.type != "cuda":
        raise BadInput(f"patients are drawn on 'cpu' or 'cuda', not on {str(device)!r}", "device='cpu'")
    if not torch.cuda.is_available():
        raise BadInput(f"device {str(device)!r}: this machine has no GPU that torch can use", "device='cpu'")
    if not launching.has_triton():
        raise BadInput("a GPU draws patients by Triton, which is not installed", "pip install triton")
    return torch.device("cuda", torch.cuda.current_device()) if device.index is None else device


def sensible_spacing(spacing_mm: float | Sequence[float]) -> np.ndarray:
    spacing = np.broadcast_to(np.asarray(spacing_mm, float), 3)
    if not ((spacing >= LEAST_SPACING_MM) & (spacing <= MOST_SPACING_MM)).all():
        raise BadInput(
            f"voxels of {spacing.tolist()} mm: a patient is shown at {LEAST_SPACING_MM} to {MOST_SPACING_MM} mm",
            "spacing_mm=2.5 is usual for a whole body, 1.5 for one region",
        )
    return spacing


def require_scannable(grid: Grid) -> None:
    sensible_spacing(grid.spacing_mm.tolist())


def require_sensible(config: PatientConfig) -> None:
    choices = {
        "headers": ("shared", "scattered"), "modality": ("ct", "mr"), "phase": (None, *PHASES),
        "implant": (None, "none", "hip", "screws"),
    }  # fmt: skip
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            raise BadInput(
                f"PatientConfig.{name} is one of {', '.join(map(repr, allowed))}, got {getattr(config, name)!r}"
            )
    limits = {
        "variability": (0, 1.5), "placement_mm": (0, 200), "tumours": (0, len(own.SITES)), "noise_hu": (0, 500),
        "sharpness": (-1, 1), "slice_mm": (0.5, 10),
    }  # fmt: skip
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        if value is not None and not (isfinite(value) and low <= value <= high):
            raise BadInput(f"PatientConfig.{name} lies between {low} and {high}, got {value}")
