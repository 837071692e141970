"""Where trained networks work: on the processor, unless a caller says otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, TypeVar

from homolog.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

    Network = TypeVar("Network", bound=nn.Module)

Device = Literal["auto", "cpu", "cuda"]
_DEVICE: ContextVar[Device] = ContextVar("homolog_device", default="cpu")


def device() -> Device:
    """What `using_device` says."""
    return _DEVICE.get()


@contextmanager
def using_device(name: Device) -> Iterator[None]:
    """Within the block, networks that are called by a name work there; auto: on a GPU where there is one."""
    token = _DEVICE.set(name)
    try:
        yield
    finally:
        _DEVICE.reset(token)


def require_device(name: Device) -> None:
    """Refuses a GPU where there is none."""
    if name != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        raise BadInput("--device cuda: this machine has no GPU that torch can use", "--device cpu")


def in_use() -> Literal["cpu", "cuda"]:
    """Where networks work now; it loads nothing that is not loaded."""
    if device() == "cpu" or "torch" not in sys.modules:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def placed(network: Network) -> Network:
    """The network where it is to work. On a GPU, convolutions of this process round as a processor's from then on."""
    import torch

    require_device(device())
    if in_use() == "cpu":
        return network
    # else products of numbers of ten bits
    torch.backends.cudnn.allow_tf32 = False
    return network.to("cuda")
