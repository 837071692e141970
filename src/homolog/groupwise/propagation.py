"""Labels and landmarks brought from the few patients who have them to one who has not, by a vote.

Each source votes at each voxel for the labels around the place it is carried to. Votes count by how alike the two
pictures are around there: locally weighted voting (Artaechevarria, Munoz-Barrutia and Ortiz-de-Solorzano, IEEE TMI
28:1266, 2009), by their grey, or by patterns of MIND-SSC where two scanners have two scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels import foreground, label_votes, mind, smooth
from homolog.kernels.threads import over_planes
from homolog.space.dense import slabs
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.sampling import low_passed, resample, warp
from homolog.space.transforms import Affine, Transform
from homolog.space.volume import Volume

# Voxels that are voted on at once: of fifty sources 80 MB of places.
AT_ONCE = 65_536
# mm: pictures are compared on voxels of this size, ...
COMPARED_MM = 4.0
# ... around each place with a Gaussian of this deviation, in mm.
GREY_AROUND_MM, PATTERN_AROUND_MM = 3.5, 8.0
# Grey counts up to this many times its median distance from the patient's median.
WIDTHS = 5.0
# Squared differences up to this share of the widest are noise.
GREY_NOISE = 1e-3
# How much more a vote counts where patterns are more alike: the weight is exp(-SHARPNESS d), d from 0 (the same) to 1.
SHARPNESS = 30.0
# A source that shows the place votes there, however unlike it is: with this weight at least.
LEAST_WEIGHT = 1e-6
# Where less of what lies around is shown there is nothing to compare.
LEAST_SHARE = 1e-3
# A voxel's pattern of MIND-SSC has twelve channels in five unary bits.
BITS = 60.0


class Source(NamedTuple):
    """A patient whose labels are known.

    labels              label map
    source_from_target  carries places of the target to the source
    weights             picture in the target, on any grid: how much the vote counts there; None: 1 everywhere
    """

    labels: Volume
    source_from_target: Transform
    weights: Volume | None = None


@dataclass(frozen=True, eq=False)
class Propagated:
    """Labels by a vote.

    labels      on the target's grid; 0 where no source shows the place
    confidence  intensities 0 to 1: the winner's share of the votes; 0 where there were none
    """

    labels: Volume
    confidence: Volume


@dataclass(frozen=True, eq=False)
class PropagatedPoints:
    """Landmarks by their means.

    points     named, in the space the sources were in
    spread_mm  (N,) root mean square distance of the sources' points from their mean; NaN where one source has it
    count      (N,) how many sources have it
    """

    points: Keypoints
    spread_mm: np.ndarray
    count: np.ndarray


def propagated_labels(
    target_grid: Grid, sources: Sequence[Source | tuple[Volume, Transform] | tuple[Volume, Transform, Volume]]
) -> Propagated:
    """The label that most of the sources' votes are for, at each voxel of a target.

    A vote is divided among the labels of the eight voxels around the place, by their linear weights. Of labels with
    equally many votes the smallest wins: the background before a structure.
    """
    given = [Source(*source) for source in sources]
    space = _require_sources(given)
    row = label_votes.gathered([source.labels.numpy() for source in given])
    matrices = np.stack([source.labels.grid.voxel_from_world for source in given])
    winners, shares = np.empty(target_grid.shape, row[0].dtype), np.empty(target_grid.shape, np.float32)

    def planes(start: int, stop: int) -> None:
        for low, high in slabs(target_grid, start, stop, voxels=AT_ONCE):
            points = target_grid.points(low, high)
            carried = np.stack([source.source_from_target.apply(points) for source in given])
            weights = np.stack([_weights(source, target_grid, low, high) for source in given])
            found = label_votes.elect(row, matrices, carried, weights)
            winners[low:high], shares[low:high] = (each.reshape(-1, *target_grid.shape[1:]) for each in found)

    over_planes(planes, target_grid.shape[0])
    return Propagated(Volume(winners, target_grid, space, "labels"), Volume(shares, target_grid, space))


def likeness(
    target: Volume, source: Volume, source_from_target: Transform, *, by: Literal["grey", "patterns"] = "grey"
) -> Volume:
    """How much a source's vote should count at each place of a target: a picture on a coarse grid of the target.

    1 where both pictures are the same around a place, near 0 where they have nothing in common; beyond what the source
    shows, as at its rim.

    by  "grey": both have one scale of grey, as CTs have; "patterns": of MIND-SSC, whatever the scanners
    """
    grid = target.grid.with_spacing(np.maximum(target.grid.spacing_mm, COMPARED_MM))
    here = resample(target, grid, outside=float(target.numpy().min())).numpy()
    there = warp(low_passed(source, grid), source_from_target, grid, outside=np.nan).numpy()
    shown = np.isfinite(there)
    there = np.where(shown, there, np.float32(source.numpy().min()))
    if by == "patterns":
        apart = _around(_bits_apart(here, there), shown, PATTERN_AROUND_MM, grid)
        alike = np.exp(-SHARPNESS * apart)
    else:
        apart = _around(_grey_apart(here, there), shown, GREY_AROUND_MM, grid)
        alike = (1 + apart / GREY_NOISE) ** -2
    return Volume(np.maximum(alike, LEAST_WEIGHT).astype(np.float32), grid, target.space)


def _bits_apart(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(I, J, K) float32: the share of bits of the patterns that differ."""
    return mind.hamming(mind.codes(here, 1), mind.codes(there, 1)).astype(np.float32) / np.float32(BITS)


def _grey_apart(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(I, J, K) float32: squared differences of grey, 1 where one is the middle of the target's patient and one beyond.

    Beyond a few times the spread of the patient's own grey, air is like air and metal like bone.
    """
    body = here[foreground.body_mask(here, np.ones(here.shape, bool))]
    middle = np.median(body)
    width = max(float(WIDTHS * np.median(np.abs(body - middle))), 1e-6)
    clipped = [np.clip((data - middle) / width, -1, 1) for data in (here, there)]
    return np.asarray((clipped[0] - clipped[1]) ** 2, np.float32)


def _around(apart: np.ndarray, shown: np.ndarray, sigma_mm: float, grid: Grid) -> np.ndarray:
    """The mean around each place, over what is shown; 1 where nothing is."""
    sigma_vox = (sigma_mm / grid.spacing_mm).tolist()
    total = smooth.smooth(np.where(shown, apart, np.float32(0)), sigma_vox)
    share = smooth.smooth(shown.astype(np.float32), sigma_vox)
    return np.where(share > LEAST_SHARE, total / np.maximum(share, LEAST_SHARE), np.float32(1))


def propagated_points(sources: Sequence[Keypoints]) -> PropagatedPoints:
    """The mean place of each named landmark over the sources that have it, and how far they are from it.

    sources  landmarks of each, all carried to one space: the common one, or the target's
    """
    _require_named(sources)
    places: dict[str, list[np.ndarray]] = {}
    for points in sources:
        for name, place in zip(points.name or (), points.position):
            places.setdefault(name, []).append(place)
    names = sorted(places)
    means = np.array([np.mean(places[name], axis=0) for name in names]).reshape(-1, 3)
    spread = [
        np.sqrt(((np.array(places[name]) - middle) ** 2).sum(axis=1).mean()) if len(places[name]) > 1 else np.nan
        for name, middle in zip(names, means)
    ]
    count = np.array([len(places[name]) for name in names], np.int64)
    return PropagatedPoints(Keypoints(means, sources[0].space, tuple(names)), np.array(spread, np.float64), count)


# ---------------------------------------------------------------------------------------------------------------------


def _weights(source: Source, grid: Grid, start: int, stop: int) -> np.ndarray:
    """(N,) float32 at the voxels of some planes."""
    part = grid.cropped((start, 0, 0), (stop, *grid.shape[1:]))
    if source.weights is None:
        return np.ones(part.size, np.float32)
    if source.weights.grid.same_as(grid):
        return source.weights.numpy()[start:stop].reshape(-1)
    space = source.weights.space
    return warp(source.weights, Affine.identity(space, space), part, outside=0).numpy().reshape(-1)


def _require_sources(given: Sequence[Source]) -> str:
    """The target's space, after making sure that all maps begin there and end where their labels are."""
    if not given:
        raise BadInput("labels need at least one source, got none")
    space = given[0].source_from_target.fixed
    for labels, source_from_target, weights in given:
        if labels.kind != "labels":
            raise BadInput(f"the labels of '{labels.space}' are a picture of intensities", "read_labels(path)")
        if source_from_target.moving != labels.space or source_from_target.fixed != space:
            raise SpaceMismatch(
                f"labels of '{labels.space}' are wanted in '{space}': the map {source_from_target.describe()}",
                f"if it is the same patient, name its space: read_labels(path, space={source_from_target.moving!r})",
            )
        if weights is not None and weights.space != space:
            raise SpaceMismatch(f"the weights of '{labels.space}' are in '{weights.space}', the target is '{space}'")
    return space


def _require_named(sources: Sequence[Keypoints]) -> None:
    if not sources:
        raise BadInput("landmarks need at least one source, got none")
    for points in sources:
        if points.space != sources[0].space:
            raise SpaceMismatch(
                f"landmarks in '{points.space}' and in '{sources[0].space}' have no common mean",
                "carry them to one space first: homolog.carry(points, transform)",
            )
        if points.name is None and len(points):
            raise BadInput(f"landmarks in '{points.space}' have no names to be told apart by", "name them in the file")
