"""What SP3D learns from: pictures of solids, and corresponding parts of two volumes with the points to be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from homolog.features.configs import Sp3dConfig as LookConfig
from homolog.features.sp3d_picture import picture_of
from homolog.matching.truth import correspondences
from homolog.nets.configs import Sp3dNetConfig
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Transform
from homolog.space.volume import Volume
from homolog.synth.configs import ShapeConfig
from homolog.synth.local_affines import AffineDensity
from homolog.synth.shapes import draw_shapes
from homolog.train.configs import Sp3dConfig
from homolog.train.sp3d_losses import wanted_of
from homolog.train.volume_pairs import Source, Stream, VolumePair, keypoints_of

# A pair with fewer points to be found than this teaches little.
LEAST_POINTS = 50
# Of the range from black to white: darker is air, where no descriptor is asked for.
AIR = 0.02
# Voxels by which the middles of two corresponding parts are drawn apart.
JITTER_VOX = 6.0

# From a volume to points of it that are worth finding.
Teacher = Callable[[Volume], Keypoints]


@dataclass(frozen=True, eq=False)
class Side:
    """One volume of a pair, as the network sees it.

    picture  (I, J, K) float16 in [0, 1], at least as large as a part
    grid     its voxels, along LPS
    scan     the grid of what was scanned: the picture goes on beyond it where the scan lies obliquely
    points   (M, 3) LPS mm, to be found
    """

    picture: np.ndarray
    grid: Grid
    scan: Grid
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class Seen:
    """A pair of volumes; points correspond row by row."""

    fixed: Side
    moving: Side
    moving_from_fixed: Transform


@dataclass(frozen=True, eq=False)
class Parts:
    """Corresponding parts of two volumes.

    pictures        (2, 1, S, S, S) float32: the fixed one, the moving one
    wanted          (2, 513, s, s, s) float32, see `sp3d_losses.wanted_of`
    places, others  (M, 3) float32 voxels of the fixed part and of the moving one, that correspond
    place_mm        (M, 3) LPS mm of the fixed volume
    low             (2, 3) int64: where the parts begin in their pictures
    """

    pictures: torch.Tensor
    wanted: torch.Tensor
    places: torch.Tensor
    others: torch.Tensor
    place_mm: np.ndarray
    low: np.ndarray
    seen: Seen


def shapes(config: Sp3dConfig, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (N, 1, S, S, S) of solids, and what is wanted of each (N, 513, s, s, s)."""
    drawn = [draw_shapes(rng, ShapeConfig(side=config.solids_vox)) for _ in range(config.solids)]
    pictures = np.stack([one.picture for one in drawn])[:, None]
    wanted = np.stack([wanted_of(one.points, config.solids_vox, config.blur_vox) for one in drawn])
    return torch.from_numpy(pictures), torch.from_numpy(wanted)


def stream(
    config: Sp3dConfig,
    net: Sp3dNetConfig,
    density: AffineDensity,
    seed: int = 0,
    given: Sequence[Path] = (),
    teachers: Sequence[Teacher] = (),
) -> Stream[Seen]:
    """Pairs for a training.

    teachers  from a volume to points worth finding, besides or instead of 3D-SURF
    """
    known = list(teachers)
    if config.teacher != "adapted":
        known.append(lambda volume: keypoints_of(volume, config))
    return Stream(Source(config, density, given), lambda two, rng: seen_of(config, net, known, two), seed)


def seen_of(config: Sp3dConfig, net: Sp3dNetConfig, teachers: Sequence[Teacher], two: VolumePair) -> Seen | None:
    """A pair as the network sees it, with the points that were found in both; None where these are few."""
    both = [_found_again(teacher, config, two) for teacher in teachers]
    points = np.concatenate([one for one, _ in both]), np.concatenate([other for _, other in both])
    if len(points[0]) < LEAST_POINTS:
        return None
    sides = [_side(volume, config, net, own) for volume, own in zip((two.fixed, two.moving), points, strict=True)]
    return Seen(sides[0], sides[1], two.moving_from_fixed)


def _found_again(teacher: Teacher, config: Sp3dConfig, two: VolumePair) -> tuple[np.ndarray, np.ndarray]:
    """Points (M, 3) of the fixed volume that are found in the moving one too, and where they are there.

    Under a warp that is exactly where the map says. Another patient's picture shows what was found a little beside it,
    and there alone is something to be learnt from.
    """
    fixed, moving = teacher(two.fixed), teacher(two.moving)
    pairs = correspondences(fixed, moving, two.moving_from_fixed, within_mm=config.points_mm).pairs
    here = fixed.position[pairs[:, 0]]
    there = moving.position[pairs[:, 1]] if two.of_two else two.moving_from_fixed.apply(here)
    return here, np.asarray(there).reshape(-1, 3)


def _side(volume: Volume, config: Sp3dConfig, net: Sp3dNetConfig, points: np.ndarray) -> Side:
    picture = picture_of(volume, LookConfig(sampling_mm=config.voxel_mm), net.window_hu)
    shape = np.maximum(picture.grid.shape, config.side_vox)
    return Side(picture.part(np.zeros(3, int), shape).astype(np.float16), picture.grid, volume.grid, points)


# ---------------------------------------------------------------------------------------------------------------------
# Parts


def parts(seen: Seen, config: Sp3dConfig, rng: np.random.Generator) -> Parts:
    """A part of the fixed volume about one of the points, and what corresponds to it."""
    side, middle = config.side_vox, seen.fixed.points[int(rng.integers(len(seen.fixed.points)))]
    there = np.asarray(seen.moving_from_fixed.apply(middle[None]))[0]
    low = np.stack([_low(one, at, side, rng) for one, at in ((seen.fixed, middle), (seen.moving, there))])
    pictures, wanted = [], []
    for one, start in zip((seen.fixed, seen.moving), low, strict=True):
        cut = one.picture[tuple(slice(a, a + side) for a in start)].astype(np.float32)
        pictures.append(_shown(cut, config, rng))
        wanted.append(wanted_of(one.grid.voxel(one.points) - start, side, config.blur_vox))
    places = _places(seen, low, config, rng)
    return Parts(
        torch.from_numpy(np.stack(pictures)[:, None]),
        torch.from_numpy(np.stack(wanted)),
        torch.from_numpy(places[0].astype(np.float32)),
        torch.from_numpy(places[1].astype(np.float32)),
        seen.fixed.grid.world(places[0] + low[0]),
        low,
        seen,
    )


def carried(parts: Parts, voxels: np.ndarray) -> np.ndarray:
    """(M, 3) voxels of the moving part: where voxels (M, 3) of the fixed part are there."""
    world = parts.seen.fixed.grid.world(voxels + parts.low[0])
    there = np.asarray(parts.seen.moving_from_fixed.apply(world)).reshape(-1, 3)
    return parts.seen.moving.grid.voxel(there) - parts.low[1]


def apart(several: Sequence[Parts], apart_mm: float) -> np.ndarray:
    """(M, M): which places of all parts together are surely different ones: of other volumes, or far apart."""
    place_mm = np.concatenate([one.place_mm for one in several])
    first = [[other.seen is one.seen for other in several].index(True) for one in several]
    owner = np.repeat(first, [len(one.place_mm) for one in several])
    far = ((place_mm[:, None] - place_mm[None]) ** 2).sum(2) > apart_mm**2
    return np.asarray(far | (owner[:, None] != owner[None]))


def near(one: np.ndarray, other: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Which points (M, 3) and (N, 3) have one of the others within a distance: (M,) and (N,) bool."""
    if not (len(one) and len(other)):
        return np.zeros(len(one), bool), np.zeros(len(other), bool)
    there, back = (cKDTree(b).query(a)[0] <= within for a, b in ((one, other), (other, one)))
    return there, back


def _low(side: Side, middle_mm: np.ndarray, side_vox: int, rng: np.random.Generator) -> np.ndarray:
    middle = side.grid.voxel(middle_mm[None])[0] + JITTER_VOX * rng.uniform(-1, 1, 3)
    room = np.array(side.picture.shape) - side_vox
    return np.clip(np.rint(middle - side_vox / 2), 0, room).astype(np.int64)


def _places(seen: Seen, low: np.ndarray, config: Sp3dConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (M, 3) of both parts that correspond: half of them points, all within both scans, and none in air."""
    side, count = config.side_vox, config.places
    own = seen.fixed.grid.voxel(seen.fixed.points) - low[0]
    own = own[_within(own, side)]
    own = own[rng.permutation(len(own))[: count // 2]]
    here = np.concatenate((own, rng.uniform(0, side - 1, (count - len(own), 3))))
    world = seen.fixed.grid.world(here + low[0])
    there = seen.moving.grid.voxel(np.asarray(seen.moving_from_fixed.apply(world)).reshape(-1, 3)) - low[1]
    kept = _within(here, side) & _within(there, side)
    for one, places, start in ((seen.fixed, here, low[0]), (seen.moving, there, low[1])):
        voxels = np.clip(np.rint(places).astype(int) + start, 0, np.array(one.picture.shape) - 1)
        kept &= (one.picture[tuple(voxels.T)] > AIR) & one.scan.contains(one.grid.world(places + start))
    return here[kept], there[kept]


def _within(voxels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(((voxels >= 0) & (voxels <= side - 1)).all(axis=1))


def _shown(cut: np.ndarray, config: Sp3dConfig, rng: np.random.Generator) -> np.ndarray:
    """As another scanner or window would show it: greys bent in order, and noise."""
    knots = np.linspace(0, 1, 6)
    values = knots + config.bend * (knots[1] - knots[0]) * rng.uniform(-1, 1, len(knots))
    noise = config.noise * rng.uniform() * rng.normal(size=cut.shape).astype(np.float32)
    return np.clip(np.interp(cut, knots, values).astype(np.float32) + noise, 0, 1)
