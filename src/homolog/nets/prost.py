"""The network of the projective spatial transformer (Gao et al., MICCAI 2020), without the projection in its middle.

A volume becomes channels, which are projected by whoever calls; the projection and the X-ray become features; how
unlike they are is the mean of their squared differences, the learned similarity L_N.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from homolog.nets import place_maps
from homolog.nets.blocks import Bottleneck, activation, halving, ready, recomputed
from homolog.nets.configs import ProstNetConfig, of_record
from homolog.nets.prost_marks import Marks
from homolog.nets.shown import shown

# Attenuation in 1/mm is shown to the network in multiples of this, about that of water at 70 keV,
WATER_PER_MM = 0.02
# and a projection in multiples of 50 mm of it: bone then comes to about 1.
WATER_MM = 50.0
# Voxels that the 3D branch looks at together, besides as many planes at each end as it has convolutions.
SLAB_VOXELS = 2**18


class ProstNet(nn.Module):
    """Volume -> channels, projections -> features, X-rays -> features."""

    def __init__(self, config: ProstNetConfig) -> None:
        super().__init__()
        self.config = config
        self.volume_branch = _volume_branch(config)
        projected = (config.volume_channels or (1,))[-1] + _places(config)
        taken = 1 + bool(config.details_px) + _places(config)
        if config.marks:
            self.marks = Marks(projected, taken, config)
        else:
            self.moving_branch = _picture_branch(projected, config)
            self.fixed_branch = _picture_branch(taken, config)

    def channels(self, volume: torch.Tensor) -> torch.Tensor:
        """(C, I, J, K) float32 in 1/mm, to be projected, of a volume (I, J, K) in 1/mm."""
        if not self.config.volume_channels:
            return volume[None]
        seen = volume[None, None] / WATER_PER_MM
        added = _by_slabs(self.volume_branch, seen)
        # the volume itself is in each channel; the branch adds to it
        out: torch.Tensor = (seen + added)[0] * WATER_PER_MM
        return out

    def moving(self, projections: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Features of projected channels.

        projections  (N, C, rows, columns), line integrals
        places       (3, rows, columns): how far each ray leans across and down, and 1 where the X-ray is known, else 0
        """
        if self.config.marks:
            return self.coordinates(self.moving_maps(projections, places), places)
        out: torch.Tensor = self.moving_branch(self._projected(projections, places))
        return out

    def fixed(self, pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Features of X-rays (N, 1, rows, columns); their gain and offset do not matter."""
        if self.config.marks:
            return self.coordinates(self.fixed_maps(pictures, places), places)
        out: torch.Tensor = self.fixed_branch(self._taken(pictures, places))
        return out

    def moving_maps(self, projections: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(N, M, R, C): logarithms of how likely each of M places is where, in projections."""
        return self.marks.moving(self._projected(projections, places), places)

    def fixed_maps(self, pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(N, M, R, C): the same of the same places in X-rays."""
        return self.marks.fixed(self._taken(pictures, places), places)

    def coordinates(self, maps: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(N, D): of the pose, of maps (N, M, R, C)."""
        positions = place_maps.positions(maps, places)
        return self.marks.coordinates(positions, place_maps.spreads(maps, positions, places))

    def _projected(self, projections: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return self._with_places(projections * places[2] / (WATER_PER_MM * WATER_MM), places)

    def _taken(self, pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return self._with_places(shown(pictures, places[2], self.config.details_px), places)

    def _with_places(self, pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        if not self.config.places:
            return pictures
        return torch.cat((pictures, places.expand(len(pictures), *places.shape)), 1)

    def unlikeness(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """(N,): L_N, the mean squared difference of features (N, ...)."""
        return ((moving - fixed) ** 2).flatten(1).mean(1)


def built(config: ProstNetConfig, state: dict[str, torch.Tensor] | None = None) -> ProstNet:
    """A network ready to compare with, with these weights or else drawn ones; nothing in it changes any more."""
    network = ProstNet(config)
    return ready(network, network.state_dict() if state is None else state)


def config_of(record: dict[str, Any]) -> ProstNetConfig:
    """The Config that a file of weights carries."""
    return of_record(ProstNetConfig, record)


# ---------------------------------------------------------------------------------------------------------------------
# Helpers


def _places(config: ProstNetConfig) -> int:
    return 3 if config.places else 0


def _volume_branch(config: ProstNetConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 1
    for channels in config.volume_channels:
        layers += [nn.Conv3d(before, channels, 3, padding=1), activation(config.smooth, inplace=True)]
        before = channels
    return nn.Sequential(*layers)


def _picture_branch(before: int, config: ProstNetConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    *wide, last = config.picture_channels
    for channels in wide:
        layers += [nn.Conv2d(before, channels, 3, padding=1), activation(config.smooth)]
        layers += [Bottleneck(channels, config.norm, config.smooth), halving(config.smooth)]
        before = channels
    layers += [nn.Conv2d(before, last, 3, padding=1)]
    # a difference of features that are cut off at 0 has no gradient where both are; published with it, left out here
    return nn.Sequential(*layers, *([] if config.smooth else [nn.ReLU()]))


def _by_slabs(branch: nn.Sequential, volume: torch.Tensor) -> torch.Tensor:
    """A branch of 3x3x3 convolutions, slab by slab, each computed again when its gradient is asked for.

    So memory holds the layers of one slab and not of the whole volume, which at 128^3 take 0.7 GB.
    """
    planes, reach = volume.shape[2], sum(isinstance(layer, nn.Conv3d) for layer in branch)
    together = max(1, SLAB_VOXELS // (volume.shape[3] * volume.shape[4]))
    if planes <= together:
        out: torch.Tensor = branch(volume)
        return out
    parts = []
    for start in range(0, planes, together):
        # what a cut does wrong goes in by a voxel a convolution, and is left out again
        low, stop = max(0, start - reach), min(planes, start + together)
        seen = volume[:, :, low : min(planes, stop + reach)]
        part = recomputed(branch, seen) if torch.is_grad_enabled() else branch(seen)
        parts.append(part[:, :, start - low : stop - low])
    return torch.cat(parts, 2)
