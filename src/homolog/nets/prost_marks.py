"""Where things are in a picture, and of that where the body is: the picture branch of ProST that a processor can train.

An X-ray and a projection of bone look unlike each other, but the same places can be found in both. So the branch makes
maps, one a place, of which the mean position is taken, in rays and not in pixels, and from the positions a few
coordinates of the pose. The pictures' own features come and go on the way; nothing else is left of them to be compared.
"""

from __future__ import annotations

import torch
from torch import nn

from homolog.nets.blocks import activation
from homolog.nets.configs import ProstNetConfig
from homolog.nets.place_maps import PlaceMaps, entry, squares

# Numbers between the positions and the coordinates.
HIDDEN = 128
# A step in depth changes the distances of places a fifth as much as a step across moves them all: these are
# enlarged, to be learnt as soon.
APART = 4.0


class Marks(PlaceMaps):
    """Pictures -> positions of places in them -> coordinates."""

    def __init__(self, moving_inputs: int, fixed_inputs: int, config: ProstNetConfig) -> None:
        widths, norm, smooth = config.picture_channels, config.norm, config.smooth
        super().__init__(widths, config.marks, norm, smooth)
        # what a projection and an X-ray are made of differs; where things lie in them does not
        self.moving_entry = entry(moving_inputs, widths[0], norm, smooth)
        self.fixed_entry = entry(fixed_inputs, widths[0], norm, smooth)
        self.plain = nn.Linear(2 + 2 * config.marks, config.coordinates)
        self.bent = nn.Sequential(
            nn.Linear(3 * config.marks, HIDDEN),
            activation(smooth),
            nn.Linear(HIDDEN, HIDDEN),
            activation(smooth),
            nn.Linear(HIDDEN, config.coordinates),
        )

    def moving(self, pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(N, M, R, C): maps of projections (N, C, rows, columns), see `maps_of`."""
        return self.maps_of(self.moving_entry(squares(pictures)), places)

    def fixed(self, pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(N, M, R, C): maps of X-rays (N, C, rows, columns), see `maps_of`."""
        return self.maps_of(self.fixed_entry(squares(pictures)), places)

    def coordinates(self, positions: torch.Tensor, spreads: torch.Tensor) -> torch.Tensor:
        """(N, D): of the pose, from positions (N, M, 2) and spreads (N, M)."""
        middle = positions.mean(1)
        apart = APART * (positions - middle[:, None])
        plain = self.plain(torch.cat((middle, apart.flatten(1)), 1))
        out: torch.Tensor = plain + self.bent(torch.cat((positions.flatten(1), spreads), 1))
        return out
