"""Blocks that vote on where they lie in the other picture, and the map that most of their votes agree on.

docs/methods/linear.md has the equations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homolog.kernels import displacement_cost, soft_match
from homolog.pairwise.configs import LinearConfig
from homolog.pairwise.scales import Scale, farthest_mm
from homolog.space import fit
from homolog.space.grid import Grid
from homolog.space.prepared import Level, warped

# A block must lie in the patient by this share, and be moved to known voxels by this share.
IN_BODY, IN_VIEW = 0.5, 0.8
# A block half of whose labels lead out of the picture would vote for the other half.
SEEN_LABELS = 0.5
# Of a block's voxels, every second along two axes is compared, as in deeds: neighbours' patches overlap.
STRIDE = 2
# Blocks are left out by a sequence that fills the lattice evenly: the fractions of a block's place times these (the
# powers of the root of x^4 = x + 1). Whether one is used depends on its place alone, so that a block that comes into
# view changes nothing for the others.
SPREAD = 1 / 1.22074408460575947536 ** np.arange(1, 4)

# The best label gets e^2.5 times the votes of one whose cost is the block's mean. Sharper votes are all at one label,
# and a motion by less than a voxel goes unseen.
SHARPNESS = 2.5
# The votes are counted this far round the prediction (standard deviation): at first in search radii; at least a voxel,
# so that the labels on both sides of the best one count.
FIRST_SIGMA, LEAST_SIGMA = 0.6, 1.0
# Votes that are spread evenly through their window would be thrown beyond it: no further than ten times.
LEAST_WAY = 0.1
CONSENSUS_STEPS = 10
# The consensus is found where a step moves no corner by more than this share of a voxel.
CONSENSUS_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Ballots:
    """What the blocks of one picture say of where they are in the other.

    centres  (N, 3) float64 voxels
    chances  (N, L) float32, a distribution over the label cube
    lowest   (N,) float32, the best label's cost in bits
    """

    centres: np.ndarray
    chances: np.ndarray
    lowest: np.ndarray


@dataclass(frozen=True)
class Used:
    """The share of the blocks of the fixed and of the moved picture that vote."""

    forwards: float
    backwards: float

    @classmethod
    def of(cls, scale: Scale, matrix: np.ndarray, config: LinearConfig) -> Used:
        """So that about `most_blocks` vote a direction, half of them from afar, where a label cube holds more.

        Chosen once for a level, or blocks would come and go.
        """
        moved = warped(scale.moving, matrix, scale.fixed.grid)
        pairs = ((scale.fixed, moved), (moved, scale.fixed))
        most = config.most_blocks / 2 if scale.coarse else config.most_blocks
        return cls(*(most / max(_blocks_in_view(*pair, config), 1) for pair in pairs))


def _blocks_in_view(one: Level, other: Level, config: LinearConfig) -> int:
    """How many blocks there are to vote."""
    middles = _blocks(one, config.block_vox, config.lattice_vox) + config.block_vox // 2
    return int(other.known[tuple(middles.T)].sum())


def ballots(
    one: Level,
    one_codes: np.ndarray,
    other: Level,
    other_codes: np.ndarray,
    radius: int,
    share: float,
    config: LinearConfig,
) -> Ballots:
    edge = config.block_vox
    corners = _blocks(one, edge, config.lattice_vox, share)
    costs = displacement_cost.block_costs(
        one_codes, other_codes, other.known, corners, edge=edge, radius=radius, stride=STRIDE, least=IN_VIEW
    )
    seen = (costs < displacement_cost.UNKNOWN).mean(axis=1) > SEEN_LABELS
    costs = costs[seen]
    chances = soft_match.likelihoods(costs, displacement_cost.UNKNOWN, SHARPNESS)
    return Ballots(corners[seen] + (edge - 1) / 2, chances, costs.min(axis=1))


def _blocks(level: Level, edge: int, step: int, share: float = 1.0) -> np.ndarray:
    """(N, 3) int64: the first voxels of the blocks, on a lattice in the middle of the grid, that lie in the patient."""
    shape = np.array(level.data.shape)
    count = (shape - edge) // step + 1
    if (count < 1).any():
        return np.empty((0, 3), np.int64)
    # the same rim at both ends, so that it does not matter from which end the voxels are counted
    first = (shape - edge - (count - 1) * step) // 2
    inside = _block_sums(level.body, edge, step, first, count) >= IN_BODY * edge**3
    known = _block_sums(level.known, edge, step, first, count) == edge**3
    places = np.argwhere(inside & known)
    return np.asarray(first + step * places[(places * SPREAD).sum(axis=1) % 1 < share])


def _block_sums(mask: np.ndarray, edge: int, step: int, first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """int32 (count): how many voxels are set in each block of the lattice."""
    sums = mask.astype(np.int32)
    for axis in range(3):
        sums = np.moveaxis(sums, axis, 0)
        starts = range(first[axis], first[axis] + edge)
        sums = np.add.reduce([sums[n : n + step * (count[axis] - 1) + 1 : step] for n in starts])
        sums = np.moveaxis(sums, 0, axis)
    return sums


def consensus(forwards: Ballots, backwards: Ballots, grid: Grid, radius: int, kind: str) -> np.ndarray:
    """(4, 4) LPS mm: how the warped picture lies to the fixed one, by what most of the votes agree on.

    In turn: the votes near where the map puts each block give its mean place, its weight, and how far round it votes
    are counted; the places give the map.
    """
    step, sigma = np.eye(4), max(LEAST_SIGMA, FIRST_SIGMA * radius)
    for _ in range(CONSENSUS_STEPS):
        in_voxels = grid.voxel_from_world @ step @ grid.world_from_voxel
        ahead, ahead_weight, ahead_spread = _counted(forwards, in_voxels, radius, sigma)
        back, back_weight, back_spread = _counted(backwards, np.linalg.inv(in_voxels), radius, sigma)
        here, there = np.concatenate((forwards.centres, back)), np.concatenate((ahead, backwards.centres))
        weight = np.concatenate((ahead_weight, back_weight))
        before = step
        step = getattr(fit, kind)(grid.world(here), grid.world(there), weight).matrix
        spread = weight @ np.concatenate((ahead_spread, back_spread)) / (3 * max(weight.sum(), 1e-30))
        narrower = min(sigma, max(LEAST_SIGMA, float(np.sqrt(spread))))
        if sigma - narrower < CONSENSUS_TOLERANCE and (
            farthest_mm(before, step, grid.corners()) < CONSENSUS_TOLERANCE * grid.spacing_mm[0]
        ):
            break
        sigma = narrower
    return step


def _counted(ballots: Ballots, map_vox: np.ndarray, radius: int, sigma: float) -> tuple[np.ndarray, ...]:
    """Where the blocks' votes near a map (4, 4) lie (N, 3), the blocks' weights (N,), and the votes' spread (N,)."""
    predicted = ballots.centres @ map_vox[:3, :3].T + map_vox[:3, 3] - ballots.centres
    votes = soft_match.votes(ballots.chances, predicted, radius, sigma)
    # what a block without an opinion would give: it weighs half, and its mean is the prediction, so it only slows
    even = min(1.0, (2 * np.pi) ** 1.5 * sigma**3 / (2 * radius + 1) ** 3)
    away, share, spread = votes[:, :3] - predicted, votes[:, 3], votes[:, 4]
    # The window pulls the mean towards the prediction, by the more the less the votes know: of Gaussian votes of
    # variance s round m, through a window of sigma^2, the mean lies sigma^2 / (sigma^2 + s) of the way to m. That share
    # is one minus the seen variance over sigma^2. Undoing it makes the slow steps of EM those of Newton's method.
    variance = (spread - (away**2).sum(axis=1)) / 3
    way = np.clip(1 - variance / sigma**2, LEAST_WAY, 1)
    places = ballots.centres + predicted + away / way[:, None]
    return places, way * share / (share + even), spread
