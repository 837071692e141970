"""A rigid, similarity or affine map by block matching: blocks of MIND-SSC codes searched in the other picture.

After the linear step of deeds (Heinrich et al., IEEE TMI 32:1239, 2013): the same codes, blocks, label cubes and both
directions. Where deeds takes each block's best label and fits least trimmed squares, here a block votes with its whole
cost volume, and votes and map are found together by expectation maximisation, as point sets are by coherent point
drift (Myronenko and Song, IEEE PAMI 32:2262, 2010). docs/methods/linear.md has the equations and all departures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels import displacement_cost, mind, soft_match
from homolog.pairwise.configs import LinearConfig
from homolog.pairwise.start import QUIET, starts
from homolog.space import fit
from homolog.space.grid import Grid
from homolog.space.prepared import Level, Prepared, prepare, warped
from homolog.space.registration import Registration, Step, Stopped
from homolog.space.transforms import Affine, Transform
from homolog.space.volume import Volume

OnStep = Callable[[str, float, float], None]

# The fine levels have about this many voxels in the fixed picture's box, between these spacings in mm: more of them
# doubled the time and changed the map by less than the patients differ.
FINE_VOXELS = 600_000
FINE_MM = (2.0, 4.0)
# MIND's patches have 3 voxels across: 10 mm at the fine levels, the size of what can be found again.
MIND_STEP = 1
# A block must lie in the patient by this share, and be moved to known voxels by this share.
IN_BODY, IN_VIEW = 0.5, 0.8
# A block half of whose labels lead out of the picture would vote for the other half.
SEEN_LABELS = 0.5
# Of a block's voxels, every second along two axes is compared, as in deeds: neighbours' patches overlap.
STRIDE = 2
# Fewer blocks than this do not hold twelve parameters.
FEWEST_BLOCKS = 20
# A start is tried with one step of this many blocks a direction.
TRIAL_BLOCKS = 500
# What the headers' own start must be better by than one that was searched for. A search does not depend on where the
# headers put the patients, so neither does the result where both lead to the same place.
HEADER_LEAD = 0.05

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

# Measured, see docs/methods/linear.md: right pairs of one modality reached 0.21 and more, wrong ones 0.20 and less.
POOR_BELOW = 0.2


def register(
    fixed: Volume,
    moving: Volume,
    config: LinearConfig = LinearConfig(),
    *,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    start: Transform | None = None,
    on_step: OnStep | None = None,
) -> Registration:
    """The map that lays the moving patient on the fixed one.

    fixed_mask, moving_mask  labels in the picture's space, 0 where it is not to be looked at
    start    where to begin; else places are searched for, whatever the headers say
    on_step  called with the stage's name, how far the work is (0 to 1), and the mean cost of the matches
    """
    began = time.perf_counter()
    here, there = prepare(fixed, fixed_mask, "fixed"), prepare(moving, moving_mask, "moving")
    spacing = config.spacing_mm or _fine_spacing(fixed.grid)
    coarse, fine = (_Scale.of(here, there, times * spacing, coarse=times > 1) for times in (2, 1))
    search = _Search(config, on_step)
    initial = np.eye(4) if start is None else _linearised(start, here, there)
    before = fine.agreement(initial)
    if start is not None:
        _require_overlap(before)
        path = _Path(initial)
    else:
        path = search.best_start(coarse, initial, [found.matrix for found in starts(here, there)])
    path = search.refined(path, coarse, config.coarse_radii_vox)
    path = search.refined(path, fine, config.fine_radii_vox)
    after = fine.agreement(path.matrix)
    return Registration(
        Affine(path.matrix, fixed.space, moving.space),
        path.trace,
        time.perf_counter() - began,
        path.stopped,
        before.similarity,
        after.similarity,
        after.overlap,
        POOR_BELOW,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The pictures at one spacing


@dataclass(frozen=True)
class Agreement:
    """How alike the pictures are under a map.

    similarity  1 - d / d0: d the mean Hamming distance over the patients where both are known, d0 what it is when the
                same codes meet in a random order; NaN without overlap
    overlap     the share of the patient, of the one shown more of, that the other picture shows
    """

    similarity: float
    overlap: float

    @property
    def score(self) -> float:
        """Similarity, less where little overlaps: any two edges can be laid on each other."""
        return self.similarity * self.overlap**0.5 if self.overlap > 0 else -1.0


@dataclass(frozen=True, eq=False)
class _Scale:
    """Both pictures at one spacing, each on its own grid, and the fixed one's codes."""

    fixed: Level
    moving: Level
    fixed_codes: np.ndarray
    moving_floor: float
    coarse: bool

    @classmethod
    def of(cls, fixed: Prepared, moving: Prepared, spacing_mm: float, *, coarse: bool) -> _Scale:
        here, there = fixed.level(spacing_mm), moving.level(spacing_mm)
        return cls(here, there, mind.codes(here.data, MIND_STEP, _floor(here)), _floor(there), coarse)

    @property
    def name(self) -> str:
        return f"{self.fixed.grid.spacing_mm[0]:.3g} mm"

    def moved(self, matrix: np.ndarray) -> tuple[Level, np.ndarray]:
        """The moving picture on the fixed grid under a map, and its codes."""
        level = warped(self.moving, matrix, self.fixed.grid)
        return level, mind.codes(level.data, MIND_STEP, self.moving_floor)

    def agreement(self, matrix: np.ndarray) -> Agreement:
        level, codes = self.moved(matrix)
        both = self.fixed.known & level.known
        counted = both & (self.fixed.body | level.body)
        if not counted.any():
            return Agreement(float("nan"), 0.0)
        one, other = self.fixed_codes[counted], codes[counted]
        mixed = other[np.random.default_rng(0).permutation(len(other))]
        chance = float(mind.hamming(one, mixed).mean())
        similarity = 1 - float(mind.hamming(one, other).mean()) / max(chance, 1e-6)
        # the moving patient's voxels are counted on the fixed grid, where each stands for det of its own
        moving_size = self.moving.body.sum() / abs(np.linalg.det(matrix[:3, :3]))
        fixed_seen = (self.fixed.body & level.known).sum() / max(self.fixed.body.sum(), 1)
        moving_seen = (level.body & self.fixed.known).sum() / max(moving_size, 1)
        return Agreement(similarity, float(min(1.0, max(fixed_seen, moving_seen))))


def _floor(level: Level) -> float:
    return mind.contrast_floor(level.data, level.body, MIND_STEP, QUIET)


def _fine_spacing(grid: Grid) -> float:
    return float(np.clip((grid.size * grid.voxel_volume_mm3 / FINE_VOXELS) ** (1 / 3), *FINE_MM))


# ---------------------------------------------------------------------------------------------------------------------
# The way from a start to the map


@dataclass(frozen=True, eq=False)
class _Path:
    """Where a search has come to: matrix (4, 4) moving_from_fixed, and how."""

    matrix: np.ndarray
    trace: tuple[Step, ...] = ()
    stopped: Stopped = "max_steps"


@dataclass(frozen=True)
class _Search:
    config: LinearConfig
    on_step: OnStep | None

    def best_start(self, scale: _Scale, header: np.ndarray, found: list[np.ndarray]) -> _Path:
        """The start that one step from it makes the most of."""
        paths = [self._stepped(_Path(matrix), scale, self._first_radius, TRIAL_BLOCKS) for matrix in (*found, header)]
        scores = [scale.agreement(path.matrix).score for path in paths]
        scores[-1] -= HEADER_LEAD
        return paths[int(np.argmax(scores))]

    def refined(self, path: _Path, scale: _Scale, radii_vox: tuple[int, ...]) -> _Path:
        """Levels of steps at one scale, each until nothing moves any more."""
        for radius in radii_vox:
            for _ in range(self.config.max_steps):
                path = self._stepped(path, scale, radius, self.config.most_blocks)
                if path.stopped != "max_steps":
                    break
        return path

    @property
    def _first_radius(self) -> int:
        return (*self.config.coarse_radii_vox, *self.config.fine_radii_vox)[0]

    def _stepped(self, path: _Path, scale: _Scale, radius: int, most_blocks: int) -> _Path:
        level, codes = scale.moved(path.matrix)
        forwards = _ballots(scale.fixed, scale.fixed_codes, level, codes, radius, most_blocks, self.config)
        backwards = _ballots(level, codes, scale.fixed, scale.fixed_codes, radius, most_blocks, self.config)
        blocks = len(forwards.centres) + len(backwards.centres)
        if blocks < FEWEST_BLOCKS:
            return _Path(path.matrix, path.trace, "too_few_matches")
        kind = self._kind(scale)
        matrix = path.matrix @ _consensus(forwards, backwards, scale.fixed.grid, radius, kind)
        moved = _farthest_mm(path.matrix, matrix, _box(scale.fixed))
        energy = float(np.concatenate((forwards.lowest, backwards.lowest)).mean())
        stopped: Stopped = "converged" if moved <= self.config.tolerance_mm else "max_steps"
        trace = (*path.trace, Step(scale.name, energy, moved, blocks))
        if self.on_step is not None:
            self.on_step(scale.name, min(1.0, len(trace) / self._most_steps), energy)
        return _Path(matrix, trace, stopped)

    @property
    def _most_steps(self) -> int:
        config = self.config
        return 1 + config.max_steps * (len(config.coarse_radii_vox) + len(config.fine_radii_vox))

    def _kind(self, scale: _Scale) -> str:
        """From afar no shear: it is told from the patients' differences only once they lie on each other."""
        return "similarity" if scale.coarse and self.config.kind == "affine" else self.config.kind


def _box(level: Level) -> np.ndarray:
    """(8, 3) LPS mm: the corners of the box round the patient."""
    places = np.argwhere(level.body)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    return level.grid.cropped(low.tolist(), high.tolist()).corners()


def _farthest_mm(one: np.ndarray, other: np.ndarray, points: np.ndarray) -> float:
    apart = Affine(one).apply(points) - Affine(other).apply(points)
    return float(np.linalg.norm(apart, axis=1).max())


# ---------------------------------------------------------------------------------------------------------------------
# Blocks and their votes


@dataclass(frozen=True, eq=False)
class _Ballots:
    """What the blocks of one picture say of where they are in the other.

    centres  (N, 3) float64 voxels
    chances  (N, L) float32, a distribution over the label cube
    lowest   (N,) float32, the best label's cost in bits
    """

    centres: np.ndarray
    chances: np.ndarray
    lowest: np.ndarray


def _ballots(
    one: Level,
    one_codes: np.ndarray,
    other: Level,
    other_codes: np.ndarray,
    radius: int,
    most: int,
    config: LinearConfig,
) -> _Ballots:
    edge = config.block_vox
    corners = _blocks(one, edge, config.lattice_vox)
    if len(corners) > most:
        corners = corners[np.round(np.linspace(0, len(corners) - 1, most)).astype(int)]
    costs = displacement_cost.block_costs(
        one_codes, other_codes, other.known, corners, edge=edge, radius=radius, stride=STRIDE, least=IN_VIEW
    )
    seen = (costs < displacement_cost.UNKNOWN).mean(axis=1) > SEEN_LABELS
    costs = costs[seen]
    chances = soft_match.likelihoods(costs, displacement_cost.UNKNOWN, SHARPNESS)
    return _Ballots(corners[seen] + (edge - 1) / 2, chances, costs.min(axis=1))


def _blocks(level: Level, edge: int, step: int) -> np.ndarray:
    """(N, 3) int64: the first voxels of the blocks, on a lattice in the middle of the grid, that lie in the patient."""
    shape = np.array(level.data.shape)
    count = (shape - edge) // step + 1
    if (count < 1).any():
        return np.empty((0, 3), np.int64)
    # the same rim at both ends, so that it does not matter from which end the voxels are counted
    first = (shape - edge - (count - 1) * step) // 2
    corners = first + step * np.argwhere(np.ones(count, bool))
    places = tuple(corners.T)
    inside = _block_sums(level.body, edge)[places] >= IN_BODY * edge**3
    return corners[inside & (_block_sums(level.known, edge)[places] == edge**3)]


def _block_sums(mask: np.ndarray, edge: int) -> np.ndarray:
    """int32: at each voxel how many are set in the block that begins there."""
    sums = mask.astype(np.int32)
    for axis in range(3):
        sums = np.moveaxis(sums, axis, 0)
        length = len(sums) - edge + 1
        sums = np.moveaxis(np.add.reduce([sums[n : n + length] for n in range(edge)]), 0, axis)
    return sums


def _consensus(forwards: _Ballots, backwards: _Ballots, grid: Grid, radius: int, kind: str) -> np.ndarray:
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
            _farthest_mm(before, step, grid.corners()) < CONSENSUS_TOLERANCE * grid.spacing_mm[0]
        ):
            break
        sigma = narrower
    return step


def _counted(ballots: _Ballots, map_vox: np.ndarray, radius: int, sigma: float) -> tuple[np.ndarray, ...]:
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


# ---------------------------------------------------------------------------------------------------------------------
# The start that a caller gives


def _linearised(start: Transform, fixed: Prepared, moving: Prepared) -> np.ndarray:
    """The affine matrix nearest to a map over the fixed patient."""
    if (start.fixed, start.moving) != (fixed.space, moving.space):
        raise SpaceMismatch(
            f"the start {start.describe()}, but the images are '{fixed.space}' (fixed) and '{moving.space}' (moving)",
            "invert it, or name the images' spaces: read(path, space=...)",
        )
    if isinstance(start, Affine):
        return start.matrix
    points = fixed.body_points()
    return fit.affine(points, start.apply(points)).matrix


def _require_overlap(agreement: Agreement) -> None:
    if not agreement.overlap > 0:
        raise BadInput(
            "under the start that was given the two images do not overlap", "leave the start out: one is searched for"
        )
