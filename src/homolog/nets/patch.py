"""Networks that describe the cube of a picture round a point by a few numbers, so that like places are near each other.

Two kinds: convolutions with maxima between them (Loiseau-Witon et al., IPCAI 2021, after TFeat, BMVC 2016), and strided
ones that are normalised (after HardNet, NIPS 2017). Which one it is, `PatchNetConfig` says.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from homolog.errors import BadInput
from homolog.nets.blocks import GROUP, ready
from homolog.nets.configs import PatchNetConfig

# Voxels along a convolution's side, and along that of a block whose maximum is kept.
KERNEL, POOL = 3, 2
# Below this deviation, in grey values, a patch is flat: it becomes zeros, not its own rounding.
FLAT = 1e-6


class PatchNet(nn.Module):
    """Patches -> descriptors."""

    def __init__(self, config: PatchNetConfig) -> None:
        super().__init__()
        self.config = config
        sides = _sides(config)
        self.layers = nn.Sequential(*_convolutions(config))
        self.head = nn.Sequential(*_head(config, config.channels[-1] * sides[-1] ** 3))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, D) float32 of unit length; zeros where a patch shows nothing.

        patches  (N, S, S, S), or (N, C, S, S, S) of several cubes; grey values as they were sampled
        """
        seen = patches[:, None] if patches.ndim == 4 else patches
        described: torch.Tensor = functional.normalize(self.head(self.layers(standardised(seen)).flatten(1)))
        return described


def standardised(patches: torch.Tensor) -> torch.Tensor:
    """Cubes (N, C, S, S, S) with mean 0 and deviation 1 each; a flat one becomes zeros."""
    middle = patches.shape[-1] // 2
    # the middle's grey value first: then flat cubes are exactly 0, and large offsets cost no digits
    centred = patches - patches[..., middle : middle + 1, middle : middle + 1, middle : middle + 1]
    centred = centred - centred.mean((-3, -2, -1), keepdim=True)
    deviation = centred.square().mean((-3, -2, -1), keepdim=True).sqrt()
    return centred / deviation.clamp_min(FLAT)


def built(config: PatchNetConfig, state: dict[str, torch.Tensor]) -> PatchNet:
    """A network ready to describe with these weights; nothing in it changes any more."""
    return ready(PatchNet(config), state)


def _sides(config: PatchNetConfig) -> list[int]:
    """Voxels along the side after each convolution, and the maxima that follow it."""
    _require_lists(config)
    sides = [config.side]
    for layer, stride in enumerate(config.strides):
        side = (sides[-1] + 2 * _padding(config) - KERNEL) // stride + 1
        sides.append(side // POOL if layer in config.pooled else side)
    if min(sides) < 1:
        raise BadInput(f"nothing is left of a cube of {config.side} voxels after its convolutions: {sides}")
    return sides


def _require_lists(config: PatchNetConfig) -> None:
    if len(config.channels) != len(config.strides) or not config.channels:
        raise BadInput(f"{len(config.channels)} convolutions have {len(config.strides)} strides", "one for each")


def _padding(config: PatchNetConfig) -> int:
    return KERNEL // 2 if config.padded else 0


def _convolutions(config: PatchNetConfig) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 1 + len(config.wider)
    for layer, (channels, stride) in enumerate(zip(config.channels, config.strides, strict=True)):
        # a normalisation takes the mean away again
        bias = config.norm == "none"
        layers.append(nn.Conv3d(before, channels, KERNEL, stride, _padding(config), bias=bias))
        layers += _norm(config, channels)
        layers.append(nn.Tanh() if config.activation == "tanh" else nn.ReLU(inplace=True))
        layers += [nn.MaxPool3d(POOL)] if layer in config.pooled else []
        before = channels
    return layers


def _norm(config: PatchNetConfig, channels: int) -> list[nn.Module]:
    """Without scales and offsets of its own: the next layer has weights enough, and none can switch a channel off."""
    if config.norm == "none":
        return []
    if config.norm == "batch":
        return [nn.BatchNorm3d(channels, affine=False)]
    return [nn.GroupNorm(max(1, channels // GROUP), channels, affine=False)]


def _head(config: PatchNetConfig, features: int) -> list[nn.Module]:
    dropout = [nn.Dropout(config.dropout)] if config.dropout else []
    linear = nn.Linear(features, config.numbers, bias=config.norm == "none")
    return [*dropout, linear, *([nn.BatchNorm1d(config.numbers, affine=False)] if config.norm == "batch" else [])]
