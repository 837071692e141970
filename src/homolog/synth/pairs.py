"""A scan made into a pair: the scan, and the same scan warped as patients differ, with both directions known.

After N. Loiseau-Witon, R. Kéchichian, S. Valette and A. Bartoli, Learning 3D medical image patch descriptors with the
triplet loss, IPCAI 2021, section 2.1: a local affine map, and here a smooth warp before it. See docs/methods/pairs.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import numpy as np

from homolog.errors import BadInput
from homolog.space import sampling
from homolog.space.dense import densified, sampled_on
from homolog.space.grid import Grid
from homolog.space.keypoints import Matches
from homolog.space.transforms import Affine, Displacement, Transform, chain
from homolog.space.volume import Volume
from homolog.synth.configs import PairConfig, WarpConfig
from homolog.synth.deformations import DrawnWarp, draw_warp
from homolog.synth.local_affines import AffineDensity

ORDINARY = PairConfig()


@dataclass(frozen=True, eq=False)
class Pair:
    """A scan, and what it would be in another patient.

    fixed, moving  the two pictures, on the same grid
    moving_from_fixed, fixed_from_moving  the two directions; exact, and each the other's inverse within `error_mm`
    """

    fixed: Volume
    moving: Volume
    moving_from_fixed: Transform
    fixed_from_moving: Transform
    error_mm: float


def semi_synthetic(
    scan: Volume,
    rng: np.random.Generator,
    config: PairConfig = ORDINARY,
    density: AffineDensity | None = None,
    *,
    moving: str | None = None,
) -> Pair:
    """The scan and one warp of it, which fills the scan's own grid; on a GPU where the scan is a tensor there.

    density  of local affine maps; without one, an affine part is drawn by the sizes of `config`
    moving   the name of the warped scan's space; default the scan's with " warped" after it
    """
    moving = moving or f"{scan.space} warped"
    warp = draw_pair_warp(scan.grid, rng, config, density, fixed=scan.space, moving=moving)
    picture = sampling.warp(scan, _looked_up(warp.fixed_from_moving, scan, config), scan.grid, outside=config.outside)
    return Pair(scan, picture, warp.moving_from_fixed, warp.fixed_from_moving, warp.error_mm)


def draw_pair_warp(
    grid: Grid,
    rng: np.random.Generator,
    config: PairConfig = ORDINARY,
    density: AffineDensity | None = None,
    *,
    fixed: str = "fixed",
    moving: str = "moving",
) -> DrawnWarp:
    """First a smooth warp, then an affine map about the middle of the grid's box, drawn from `density` if given."""
    _require_sensible(config)
    smooth = draw_warp(grid, rng, _drawn_sizes(rng, config, affine=density is None), fixed=fixed, moving=moving)
    if density is None:
        return smooth
    return _followed(smooth, density.sample(rng).about(grid.corners().mean(axis=0)))


def groups(counts: Sequence[int], links: Mapping[tuple[int, int], Matches]) -> list[np.ndarray]:
    """A number for each keypoint that all those which it is connected with by matches share, and no others.

    counts  how many keypoints each set has: a scan and its warps, say
    links   (a, b) -> matches of rows of set a with rows of set b
    Returns for each set (count,) int64 from 0 on, counted through all sets. A keypoint without matches is alone.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    joined = [_rows(starts, ends, matches) for ends, matches in links.items()]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *joined])
    edges = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(starts[-1], starts[-1]))
    numbers = connected_components(edges, directed=False)[1].astype(np.int64)
    return [numbers[start:stop] for start, stop in pairwise(starts)]


# ---------------------------------------------------------------------------------------------------------------------
# The map


def _drawn_sizes(rng: np.random.Generator, config: PairConfig, *, affine: bool) -> WarpConfig:
    """The sizes of one warp; all are drawn whether they are needed or not, so that later draws do not shift."""
    strength_mm, spacing_mm = rng.uniform(*config.strength_mm), rng.uniform(*config.control_spacing_mm)
    return WarpConfig(
        strength_mm=float(strength_mm),
        control_spacing_mm=float(spacing_mm),
        swelling=config.swelling,
        rotation_degrees=config.rotation_degrees if affine else 0.0,
        log_scale=config.log_scale if affine else 0.0,
        shear=config.shear if affine else 0.0,
        translation_mm=config.translation_mm if affine else 0.0,
    )


def _followed(smooth: DrawnWarp, affine: Affine) -> DrawnWarp:
    """The smooth warp, then the affine map; and the same backwards."""
    there, back = smooth.moving_from_fixed, smooth.fixed_from_moving
    # the affine map is undone to rounding; what the smooth warp misses on its way there, it may stretch
    stretch = float(np.linalg.norm(affine.matrix[:3, :3], 2))
    return DrawnWarp(
        chain([affine, there], fixed=there.fixed, moving=there.moving),
        chain([back, affine.inverse()], fixed=there.moving, moving=there.fixed),
        smooth.error_mm * max(1.0, stretch),
    )


def _looked_up(fixed_from_moving: Transform, scan: Volume, config: PairConfig) -> Transform:
    """The map as displacements at nodes that cover the grid, where the scan's data are; an affine map is itself."""
    if isinstance(fixed_from_moving, Affine):
        return fixed_from_moving
    nodes = _nodes(scan.grid, config.node_mm)
    if isinstance(scan.data, np.ndarray) or scan.data.device.type == "cpu":
        return densified(fixed_from_moving, nodes)
    vectors = sampled_on(fixed_from_moving, nodes, scan.data.device)
    return Displacement(vectors, nodes, fixed_from_moving.fixed, fixed_from_moving.moving)


def _nodes(grid: Grid, node_mm: float) -> Grid:
    """The voxels themselves where these are no finer; else a coarser lattice, and one node more at each end."""
    if (grid.spacing_mm >= node_mm).all():
        return grid
    return grid.with_spacing(np.maximum(grid.spacing_mm, node_mm)).padded(1)


# ---------------------------------------------------------------------------------------------------------------------
# Helpers


def _rows(starts: np.ndarray, ends: tuple[int, int], matches: Matches) -> np.ndarray:
    """(M, 2) rows counted through all sets."""
    sizes = np.diff(starts)
    first, second = ends
    if not (0 <= first < len(sizes) and 0 <= second < len(sizes)):
        raise BadInput(f"matches of sets {first} and {second}, but there are {len(sizes)} sets of keypoints")
    if len(matches) and ((matches.pairs < 0) | (matches.pairs >= sizes[[first, second]])).any():
        raise BadInput(
            f"matches of sets {first} and {second} reach row {matches.pairs.max(axis=0).tolist()} of "
            f"{sizes[[first, second]].tolist()} keypoints"
        )
    return matches.pairs + starts[[first, second]]


def _require_sensible(config: PairConfig) -> None:
    """The rest is looked at by the warp itself."""
    for name in ("strength_mm", "control_spacing_mm"):
        least, most = getattr(config, name)
        if not (isfinite(least) and isfinite(most) and 0 <= least <= most):
            raise BadInput(f"PairConfig.{name} goes from the least to the most, both 0 or more, got {least} to {most}")
    if not (isfinite(config.node_mm) and config.node_mm > 0):
        raise BadInput(f"PairConfig.node_mm must be finite and above 0, got {config.node_mm}")
