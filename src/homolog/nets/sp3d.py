"""SP3D: a network that finds keypoints of a volume and describes them at once.

Loiseau-Witon, Kechichian, Valette and Bartoli, "SP3D: learning keypoint detection and description in 3D medical
images", after DeTone et al., "SuperPoint", CVPR workshops 2018. An encoder makes features of cells of 8x8x8 voxels; one
head says in which of a cell's voxels a point is, or in none, the other describes every second voxel along each axis.

Half resolution: its place h lies at 2 h + 0.5 voxels, between two.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from homolog.errors import BadInput
from homolog.nets.blocks import ready
from homolog.nets.configs import Sp3dNetConfig

# Voxels along the side of a cell, and the answers about it: one for each voxel, and none of them (the dustbin), last.
CELL = 8
DUSTBIN = CELL**3
# Voxels that an answer depends on beyond its own cell: two for each pair of convolutions, doubled with each pooling,
# and the head's eight.
DETECTOR_REACH = 2 * (1 + 2 + 4 + 8) + 8
# Voxels that a descriptor depends on round its place: besides, what lies between at 1/8, a convolution and what lies
# between at 1/4, and the same at 1/2; 58.5, since its place need not be the middle of its cell.
DESCRIPTOR_REACH = 59
# Places of half resolution along a side of what a descriptor between eight of them is made of.
SIDE = 4
# Shares of four neighbours at 1/4 resolution in four at 1/2, of which the second is even or odd (see `_raised`).
EVEN = ((0.75, 0.25, 0.0, 0.0), (0.25, 0.75, 0.0, 0.0), (0.0, 0.75, 0.25, 0.0), (0.0, 0.25, 0.75, 0.0))
ODD = ((0.25, 0.75, 0.0, 0.0), (0.0, 0.75, 0.25, 0.0), (0.0, 0.25, 0.75, 0.0), (0.0, 0.0, 0.75, 0.25))


class Levels(NamedTuple):
    """Features of pictures (N, 1, D, H, W): half (N, C, D/2, H/2, W/2), quarter (N, C, D/4, ...), eighth (...)."""

    half: torch.Tensor
    quarter: torch.Tensor
    eighth: torch.Tensor


class Sp3dNet(nn.Module):
    """Pictures -> where points are, and what every place is like."""

    def __init__(self, config: Sp3dNetConfig) -> None:
        super().__init__()
        if len(config.widths) != 8:
            raise BadInput(f"the encoder has eight convolutions, and {len(config.widths)} widths are given")
        self.config = config
        widths = (1, *config.widths)
        self.pairs = nn.ModuleList(
            nn.Sequential(
                *_unit(widths[n], widths[n + 1], config.norm), *_unit(widths[n + 1], widths[n + 2], config.norm)
            )
            for n in range(0, 8, 2)
        )
        self.detector = DetectorHead(config)
        self.descriptor = DescriptorHead(config)
        # channels last: a step of training takes a sixth less
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, 513, D/8, H/8, W/8) and descriptors (N, C, D/2, H/2, W/2) of unit length.

        pictures  (N, 1, D, H, W), sides multiples of 8, in [0, 1]
        """
        levels = self.levels(pictures)
        return self.detector(levels), self.descriptor(levels)

    def detector_only(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 513, D/8, H/8, W/8) logits."""
        logits: torch.Tensor = self.detector(self.levels(pictures))
        return logits

    def levels(self, pictures: torch.Tensor) -> Levels:
        """What both heads look at."""
        _require_cells(pictures)
        finest = self.pairs[0](pictures.contiguous(memory_format=torch.channels_last_3d))
        half = self.pairs[1](functional.max_pool3d(finest, 2))
        quarter = self.pairs[2](functional.max_pool3d(half, 2))
        return Levels(half, quarter, self.pairs[3](functional.max_pool3d(quarter, 2)))

    def described_at(self, levels: Levels, places: torch.Tensor, picture: torch.Tensor | None = None) -> torch.Tensor:
        """(M, C) of unit length: descriptors of places alone, as `forward` has them between eight of its own.

        Before they are made unit, descriptors are linear between the places of half resolution.

        places   (M, 3) voxels of the picture, in the order of its axes; beyond the outermost places, their descriptors
        picture  (M,) int64, which picture each is of; the first where None
        """
        return self.descriptor.at(self.descriptor.quartered(levels), levels.half, places, picture)


class DetectorHead(nn.Module):
    """Features to the answers about each cell; the finer ones add to those about its voxels."""

    def __init__(self, config: Sp3dNetConfig) -> None:
        super().__init__()
        last, quarter, half = config.widths[7], config.widths[5], config.widths[3]
        self.at_eighth = nn.Sequential(
            *_unit(last, config.detector, config.norm), nn.Conv3d(config.detector, DUSTBIN + 1, 1)
        )
        # a channel for each voxel that a place of theirs is of
        self.at_quarter = nn.Conv3d(quarter, 4**3, 1) if config.finer else None
        self.at_half = nn.Conv3d(half, 2**3, 1) if config.finer else None

    def forward(self, levels: Levels) -> torch.Tensor:
        """(N, 513, D/8, H/8, W/8) logits."""
        logits: torch.Tensor = self.at_eighth(levels.eighth)
        if self.at_quarter is None or self.at_half is None:
            return logits
        finer = _of_cells(self.at_quarter(levels.quarter), 4) + _of_cells(self.at_half(levels.half), 2)
        return torch.cat((logits[:, :DUSTBIN] + finer, logits[:, DUSTBIN:]), 1)


class DescriptorHead(nn.Module):
    """Features of three resolutions to descriptors at the finest of them."""

    def __init__(self, config: Sp3dNetConfig) -> None:
        super().__init__()
        eighth, quarter, half = config.descriptor_middle
        self.at_eighth = nn.Sequential(*_unit(config.widths[7], eighth, config.norm))
        self.at_quarter = nn.Sequential(*_unit(eighth + config.widths[5], quarter, config.norm))
        self.at_half = nn.Sequential(*_unit(quarter + config.widths[3], half, config.norm))
        self.last = nn.Conv3d(half, config.descriptor, 1)

    def forward(self, levels: Levels) -> torch.Tensor:
        """(N, C, D/2, H/2, W/2) of unit length."""
        raised = _doubled(self.quartered(levels))
        return functional.normalize(self.last(self.at_half(torch.cat((raised, levels.half), 1))), dim=1)

    def quartered(self, levels: Levels) -> torch.Tensor:
        """(N, C, D/4, H/4, W/4): all but the finest resolution."""
        raised = _doubled(self.at_eighth(levels.eighth))
        out: torch.Tensor = self.at_quarter(torch.cat((raised, levels.quarter), 1))
        return out

    def at(
        self, quarter: torch.Tensor, half: torch.Tensor, places: torch.Tensor, picture: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`Sp3dNet.described_at`, from `quartered` features: the finest convolution is done round the places only."""
        if picture is None:
            picture = torch.zeros(len(places), dtype=torch.int64, device=places.device)
        shape = torch.tensor(half.shape[2:], device=places.device)
        at = torch.minimum(((places - 0.5) / 2).clamp_min(0), shape - 1)
        low = torch.minimum(at.long(), shape - 2)
        seen = torch.cat((_raised(quarter, low, picture), _cubes(half, low - 1, picture)), 4)
        seen = (seen * _inside(low - 1, shape)[..., None]).permute(0, 4, 1, 2, 3)
        first, *layers = self.at_half
        assert isinstance(first, nn.Conv3d)
        corners = functional.conv3d(seen, first.weight, first.bias)
        for layer in layers:
            corners = layer(corners)
        between = torch.einsum("ncijk,nijk->nc", corners, _shares(at - low).to(corners))
        return functional.normalize(functional.linear(between, self.last.weight.flatten(1), self.last.bias), dim=1)


def shuffled(logits: torch.Tensor) -> torch.Tensor:
    """(N, D, H, W): how likely a point of its cell is in each voxel.

    logits  (N, 513, D/8, H/8, W/8): channel (8 dz + dy) 8 + dx is voxel (8 z + dz, 8 y + dy, 8 x + dx), 512 none
    """
    return log_shuffled(logits).exp()


def log_shuffled(logits: torch.Tensor) -> torch.Tensor:
    """(N, D, H, W): logarithms of `shuffled`, which do not vanish."""
    likely = logits.permute(0, 2, 3, 4, 1).log_softmax(4)[..., :DUSTBIN]
    n, d, h, w = likely.shape[:4]
    cells = likely.reshape(n, d, h, w, CELL, CELL, CELL).permute(0, 1, 4, 2, 5, 3, 6)
    return cells.reshape(n, CELL * d, CELL * h, CELL * w)


def built(config: Sp3dNetConfig, state: dict[str, torch.Tensor]) -> Sp3dNet:
    """A network ready to look with these weights; nothing in it changes any more."""
    network = ready(Sp3dNet(config), state)
    _fold(network)
    return network


# ---------------------------------------------------------------------------------------------------------------------
# Layers


def _of_cells(answers: torch.Tensor, side: int) -> torch.Tensor:
    """(N, 512, d, h, w), of (N, side^3, D, H, W) answers of places with so many voxels a side."""
    n, _, depth, height, width = answers.shape
    there = CELL // side
    d, h, w = depth // there, height // there, width // there
    split = answers.reshape(n, side, side, side, d, there, h, there, w, there)
    return split.permute(0, 5, 1, 7, 2, 9, 3, 4, 6, 8).reshape(n, DUSTBIN, d, h, w)


class LayerNorm(nn.Module):
    """The channels of each place, to mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, D, H, W), as it comes."""
        last = features.permute(0, 2, 3, 4, 1)
        return functional.layer_norm(last, self.weight.shape, self.weight, self.bias).permute(0, 4, 1, 2, 3)


def _unit(before: int, width: int, norm: str) -> tuple[nn.Module, ...]:
    """A 3x3x3 convolution, its normalisation and ReLU."""
    # a shift follows from every normalisation
    convolution = nn.Conv3d(before, width, 3, padding=1, bias=norm == "none")
    return convolution, _norm(norm, width), nn.ReLU(inplace=True)


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    return LayerNorm(channels) if kind == "layer" else nn.Identity()


def _fold(network: nn.Module) -> None:
    """Batch normalisations become part of the convolutions before them, in place."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for part in network.modules():
        if isinstance(part, nn.Sequential):
            for n, (one, after) in enumerate(zip(list(part), list(part)[1:])):
                if isinstance(one, nn.Conv3d) and isinstance(after, nn.BatchNorm3d):
                    part[n], part[n + 1] = fuse_conv_bn_eval(one, after).requires_grad_(False), nn.Identity()


def _require_cells(pictures: torch.Tensor) -> None:
    if pictures.ndim != 5 or pictures.shape[1] != 1 or any(n % CELL or n == 0 for n in pictures.shape[2:]):
        raise BadInput(
            f"pictures (N, 1, D, H, W) with sides of multiples of {CELL} are wanted, got {tuple(pictures.shape)}"
        )


# ---------------------------------------------------------------------------------------------------------------------
# Features round places


def _doubled(features: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, scale_factor=2, mode="trilinear")


def _cubes(features: torch.Tensor, first: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """(M, 4, 4, 4, C): features from `first` (M, 3) on, the outermost repeated beyond the picture."""
    shape = features.shape[2:]
    steps = torch.arange(SIDE, device=first.device)
    i, j, k = ((first[:, axis, None] + steps).clamp(0, n - 1) for axis, n in enumerate(shape))
    plane = picture[:, None] * shape[0] + i
    rows = (plane[:, :, None, None] * shape[1] + j[:, None, :, None]) * shape[2] + k[:, None, None, :]
    # rows of channels: no copy where they are stored last
    flat = features.permute(0, 2, 3, 4, 1).reshape(-1, features.shape[1])
    return flat.index_select(0, rows.flatten()).reshape(*rows.shape, -1)


def _raised(quarter: torch.Tensor, low: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """(M, 4, 4, 4, C): `_doubled(quarter)` from low - 1 on, which does not depend on more than four along an axis."""
    table = torch.tensor((EVEN, ODD), dtype=quarter.dtype, device=quarter.device)
    cubes = _cubes(quarter, torch.div(low, 2, rounding_mode="floor") - 1, picture)
    along = table[low % 2]
    cubes = torch.einsum("nai,nijkc->najkc", along[:, 0], cubes)
    cubes = torch.einsum("nbj,najkc->nabkc", along[:, 1], cubes)
    return torch.einsum("ndk,nabkc->nabdc", along[:, 2], cubes)


def _inside(first: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """(M, 4, 4, 4) bool: which of the places from `first` on are of the picture: a convolution sees zeros elsewhere."""
    index = first[:, :, None] + torch.arange(SIDE, device=first.device)
    i, j, k = ((index >= 0) & (index < shape[:, None])).unbind(1)
    return i[:, :, None, None] & j[:, None, :, None] & k[:, None, None, :]


def _shares(fraction: torch.Tensor) -> torch.Tensor:
    """(M, 2, 2, 2): the weights of linear interpolation, of fractions (M, 3)."""
    i, j, k = torch.stack((1 - fraction, fraction), 2).unbind(1)
    return i[:, :, None, None] * j[:, None, :, None] * k[:, None, None, :]
