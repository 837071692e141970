"""What a network that looks for places in pictures is taught by: maps (N, E, R, C) as `nets.place_maps` makes them.

places  (3, rows, columns), see `projective.leaning.places_of`
where   (N, E, 2): where the places are
there   (N, E): 1 where they are in the picture, else 0
"""

from __future__ import annotations

import torch
from torch.nn import functional

from homolog.nets.place_maps import lowered, positions


def off_places(maps: torch.Tensor, places: torch.Tensor, where: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """How far the maps' means are from the places."""
    found = positions(maps, places.to(maps.device)).cpu()
    apart = functional.smooth_l1_loss(found, where, beta=0.03, reduction="none").sum(2)
    return _mean(apart, there)


def off_peaks(
    maps: torch.Tensor, places: torch.Tensor, where: torch.Tensor, there: torch.Tensor, width: float
) -> torch.Tensor:
    """How far the maps are from normal distributions about the places: the divergence from these, in nats.

    width  their standard deviation, as rays lean
    """
    lean, known = lowered(places)
    square = ((lean.flatten(1).T - where[:, :, None]) ** 2).sum(3)
    return _mean(_divergence(-square / (2 * width**2) + known.flatten(), maps), there)


def off_nowhere(maps: torch.Tensor, places: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """How far the maps of places that are not in the picture are from being the same everywhere, likewise."""
    known = lowered(places)[1].flatten().expand(*maps.shape[:2], -1)
    return _mean(_divergence(known, maps), 1 - there)


def _divergence(wanted: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    wanted = torch.log_softmax(wanted, 2)
    return (wanted.exp() * (wanted - maps.flatten(2).cpu())).sum(2)


def _mean(apart: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return (apart * counted).sum() / counted.sum().clamp_min(1)
