"""A network that finds the points of one volume in X-rays of it: a map for each point."""

from __future__ import annotations

import torch

from homolog.nets.blocks import ready
from homolog.nets.configs import PointsNetConfig
from homolog.nets.place_maps import PlaceMaps, entry, squares
from homolog.nets.shown import shown

NORM, SMOOTH = "group", True


class PointsNet(PlaceMaps):
    """X-rays -> maps."""

    def __init__(self, config: PointsNetConfig) -> None:
        super().__init__(config.picture_channels, config.points, NORM, SMOOTH)
        self.config = config
        # the picture, its details, and of each pixel where its ray goes and whether it is known
        self.entry = entry(1 + bool(config.details_px) + 3, config.picture_channels[0], NORM, SMOOTH)

    def forward(self, pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(N, M, R, C): logarithms of how likely each point is where, in squares of four pixels.

        pictures  (N, 1, rows, columns); their gain and offset do not matter
        places    (3, rows, columns): how far each ray leans across and down, and 1 where the X-ray is known, else 0
        """
        seen = shown(pictures, places[2], self.config.details_px)
        seen = torch.cat((seen, places.expand(len(seen), *places.shape)), 1)
        return self.maps_of(self.entry(squares(seen)), places)


def built(config: PointsNetConfig, state: dict[str, torch.Tensor]) -> PointsNet:
    """A network ready to look with these weights; nothing in it changes any more."""
    return ready(PointsNet(config), state)
