"""What the patch descriptor learns from: patches round keypoints of two volumes that show the same places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from homolog.features.patch_descriptor import patches
from homolog.matching.truth import correspondences
from homolog.nets.configs import PatchNetConfig
from homolog.synth.local_affines import AffineDensity
from homolog.train.configs import TripletConfig
from homolog.train.volume_pairs import Source, Stream, VolumePair, keypoints_of

# A pair with fewer correspondences than this teaches little.
LEAST_PAIRS = 50


@dataclass(frozen=True, eq=False)
class Pair:
    """Patches of corresponding keypoints, row by row.

    fixed, moving  (N, S, S, S) float16, HU / 1000
    place_mm       (N, 3) of the fixed one's keypoints
    """

    fixed: np.ndarray
    moving: np.ndarray
    place_mm: np.ndarray

    def __len__(self) -> int:
        return len(self.fixed)


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches that correspond row by row, and which rows are surely of different places.

    anchor, positive  (N, S, S, S) float32
    apart             (N, N) bool
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    apart: torch.Tensor


def stream(
    config: TripletConfig, net: PatchNetConfig, density: AffineDensity, seed: int = 0, given: Sequence[Path] = ()
) -> Stream[Pair]:
    """Pairs for a training.

    given  CTs besides the virtual patients
    """
    return Stream(Source(config, density, given), partial(compared, config, net), seed)


def compared(config: TripletConfig, net: PatchNetConfig, two: VolumePair, rng: np.random.Generator) -> Pair | None:
    """The patches of corresponding keypoints; None where there are too few."""
    sides = (two.fixed, two.moving)
    points = [keypoints_of(volume, config) for volume in sides]
    within_mm = config.between_mm if two.of_two else config.within_mm
    pairs = correspondences(points[0], points[1], two.moving_from_fixed, within_mm=within_mm).pairs
    if len(pairs) < LEAST_PAIRS:
        return None
    pairs = pairs[rng.permutation(len(pairs))[: config.most]]
    kept = [points[n][pairs[:, n]] for n in range(2)]
    cut = [_scaled(patches(volume, side, net)) for volume, side in zip(sides, kept, strict=True)]
    return Pair(cut[0], cut[1], kept[0].position)


def batch(pairs: Sequence[Pair], config: TripletConfig, rng: np.random.Generator) -> Batch:
    """Half as many corresponding pairs as a batch has patches, of a few pairs of volumes."""
    chosen = rng.choice(len(pairs), min(len(pairs), config.volumes_a_batch), replace=False)
    each = config.batch // 2 // len(chosen)
    anchor, positive, place, owner = [], [], [], []
    for n in chosen:
        pair = pairs[n]
        rows = rng.choice(len(pair), min(each, len(pair)), replace=False)
        anchor.append(pair.fixed[rows])
        positive.append(pair.moving[rows])
        place.append(pair.place_mm[rows])
        owner.append(np.full(len(rows), n))
    where, whose = np.concatenate(place), np.concatenate(owner)
    near = ((where[:, None] - where[None]) ** 2).sum(2) <= config.apart_mm**2
    apart = ~(near & (whose[:, None] == whose[None]))
    shown = [_remapped(np.concatenate(side).astype(np.float32), config, rng) for side in (anchor, positive)]
    return Batch(torch.from_numpy(shown[0]), torch.from_numpy(shown[1]), torch.from_numpy(apart))


# ---------------------------------------------------------------------------------------------------------------------
# Helpers


def _scaled(cut: np.ndarray) -> np.ndarray:
    # bone and air are within a few thousands: float16 keeps 1 HU of 1000
    return (cut / 1000).astype(np.float16)


def _remapped(cut: np.ndarray, config: TripletConfig, rng: np.random.Generator) -> np.ndarray:
    """A share of the patches as another modality or window would show them: greys bent, monotonously or not, and noise.

    cut  (N, S, S, S) HU / 1000
    """
    chosen = rng.uniform(size=len(cut)) < (config.remapped or 0.0)
    for row in np.flatnonzero(chosen):
        knots = np.array([-1.0, -0.15, -0.05, 0.05, 0.15, 0.4, 1.2])
        values = knots + rng.normal(size=len(knots)) * config.bend * np.gradient(knots)
        noise = rng.normal(size=cut[row].shape) * config.noise * cut[row].std()
        cut[row] = np.interp(cut[row], knots, values) + noise
    return cut
