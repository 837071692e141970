"""Pieces that networks share."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from homolog.errors import BadInput

Net = TypeVar("Net", bound=nn.Module)

# Channels a group of group normalisation.
GROUP = 8


def norm2d(kind: str, channels: int) -> nn.Module:
    """Batch or group normalisation of pictures."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(max(1, channels // GROUP), channels)


def activation(smooth: bool, *, inplace: bool = False) -> nn.Module:
    """SiLU, which has a second derivative, or ReLU, which can save memory by working in place."""
    return nn.SiLU() if smooth else nn.ReLU(inplace)


def halving(smooth: bool) -> nn.Module:
    """The mean or the maximum of four pixels."""
    return nn.AvgPool2d(2) if smooth else nn.MaxPool2d(2)


def ready(network: Net, state: dict[str, torch.Tensor]) -> Net:
    """A network with these weights, of which nothing changes any more."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BadInput(
            "the weights are not of the network that their card describes", "copy both files again, or train anew"
        ) from error
    return network.eval().requires_grad_(False)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions without narrowing, each normalised, beside an identity (He et al., CVPR 2016).

    sizes  of the convolutions, if others than these
    """

    def __init__(self, channels: int, norm: str, smooth: bool, sizes: tuple[int, ...] = (1, 3, 1)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in sizes:
            layers += [nn.Conv2d(channels, channels, size, padding=size // 2, bias=False), norm2d(norm, channels)]
            layers += [activation(smooth)]
        self.inner = nn.Sequential(*layers[:-1])
        self.after = activation(smooth)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, C, rows, columns), as it comes."""
        out: torch.Tensor = self.after(pictures + self.inner(pictures))
        return out


def recomputed(module: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """What a module makes of its input; its layers are not kept, but computed again when a gradient is asked for.

    `torch.utils.checkpoint` does the same and imports torch's compiler for it: 130 MB. Differentiable once.
    """
    return _Recomputed.apply(module, given, *module.parameters())


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, module: nn.Module, given: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        ctx.module = module
        ctx.save_for_backward(given, *parameters)
        out: torch.Tensor = module(given)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, weights: torch.Tensor) -> Any:
        given, *parameters = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        given = given.detach().requires_grad_(needed[0])
        wanted = [each for each, needs in zip((given, *parameters), needed, strict=True) if needs]
        with torch.enable_grad():
            found = iter(torch.autograd.grad(ctx.module(given), wanted, weights))
        return None, *(next(found) if needs else None for needs in needed)
