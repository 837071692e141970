"""Where patients can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homolog.errors import BadInput
from homolog.kernels import launching

if TYPE_CHECKING:
    import torch


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
