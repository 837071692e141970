"""Where kernels for GPUs run in tests: on a GPU if there is one, else in Triton's interpreter on the CPU.

Triton decides when it is first imported, so tests take the kernels from here.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch

if find_spec("triton") is None:
    pytest.skip("Triton is not made for this platform", allow_module_level=True)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
INTERPRETED = DEVICE.type == "cpu"
if INTERPRETED:
    os.environ["TRITON_INTERPRET"] = "1"

from homolog.kernels.on_gpu import bspline, displacement, implicit, line_integrals, line_spread, noise  # noqa: E402

__all__ = [
    "DEVICE",
    "INTERPRETED",
    "bspline",
    "displacement",
    "implicit",
    "line_integrals",
    "line_spread",
    "noise",
    "tensor",
]


def tensor(array, dtype=torch.float32):
    return torch.tensor(array, dtype=dtype, device=DEVICE)
