"""Where things are in a picture: maps, one a place, each with its peak where that place is seen.

A picture is looked at down to a few wide pixels and up again, so that each place is looked for in the light of the
whole. Positions are in rays and not in pixels: how far the ray to a place leans across and down.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from homolog.nets.blocks import Bottleneck, activation, norm2d

# Maps are as fine as squares of so many pixels.
SQUARE = 2
# A map's logits come from means over features of about 1; positions need peaks at a few pixels of the map.
SHARPNESS = 3.0


class PlaceMaps(nn.Module):
    """Features of a picture -> maps of places."""

    def __init__(self, widths: tuple[int, ...], places: int, norm: str, smooth: bool) -> None:
        super().__init__()
        self.down = nn.ModuleList(_stage(a, b, norm, smooth) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.join = nn.ModuleList(_join(a, norm, smooth) for a in widths[:-1])
        self.maps = nn.Conv2d(widths[0], places, 1)

    def maps_of(self, features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(N, M, R, C): how likely each of M places is in each square of four pixels, as logarithms.

        features  (N, C, R, C)
        places    (3, rows, columns): how far each ray leans across and down, and whether its pixel is known
        """
        maps = SHARPNESS * self.maps(self._seen(features)) + lowered(places)[1]
        return torch.log_softmax(maps.flatten(2), 2).reshape(maps.shape)

    def _seen(self, features: torch.Tensor) -> torch.Tensor:
        """Down to a few wide pixels and up again, so that each place is looked for in the light of the whole."""
        levels = [features]
        for stage in self.down:
            levels.append(stage(functional.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False)))
        here = levels.pop()
        for up, join, level in zip(reversed(self.up), reversed(self.join), reversed(levels), strict=True):
            raised = functional.interpolate(up(here), level.shape[2:], mode="bilinear")
            here = join(level + raised)
        return here


def positions(maps: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(N, M, 2): how far the rays to M places lean across and down, the means of their maps."""
    out: torch.Tensor = maps.flatten(2).exp() @ lowered(places)[0].flatten(1).T
    return out


def spreads(maps: torch.Tensor, positions: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(N, M): mean squares of the distances from positions (N, M, 2): large where a place was not found."""
    square = lowered(places)[0].square().sum(0).flatten()
    out: torch.Tensor = maps.flatten(2).exp() @ square - positions.square().sum(2)
    return out


def lowered(places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of squares of four pixels: how far their rays lean (2, R, C), and what to add to a map's logits (R, C).

    places  (3, rows, columns)
    """
    lean, known = places[:2], places[2]
    share = functional.avg_pool2d(known[None], SQUARE)[0]
    known_lean = functional.avg_pool2d(lean * known, SQUARE) / share.clamp_min(1e-3)
    return known_lean, (share + 1e-4).log()


def entry(inputs: int, width: int, norm: str, smooth: bool) -> nn.Sequential:
    """Pictures, their squares of four pixels as channels, to first features."""
    return nn.Sequential(nn.Conv2d(inputs * SQUARE**2, width, 3, padding=1), norm2d(norm, width), activation(smooth))


def _stage(before: int, width: int, norm: str, smooth: bool) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, width, 1), Bottleneck(width, norm, smooth, (3, 3)))


def _join(width: int, norm: str, smooth: bool) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), norm2d(norm, width), activation(smooth))


def squares(pictures: torch.Tensor) -> torch.Tensor:
    """(N, 4 C, rows / 2, columns / 2): squares of four pixels as channels; an odd last row or column is left out."""
    rows, columns = (n - n % SQUARE for n in pictures.shape[2:])
    return functional.pixel_unshuffle(pictures[:, :, :rows, :columns], SQUARE)
