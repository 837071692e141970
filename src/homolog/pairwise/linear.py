"""A rigid, similarity or affine map by block matching: blocks of MIND-SSC codes searched in the other picture.

After the linear step of deeds (Heinrich et al., IEEE TMI 32:1239, 2013): the same codes, blocks, label cubes and both
directions. Where deeds takes each block's best label and fits least trimmed squares, here a block votes with its whole
cost volume, and votes and map are found together by expectation maximisation, as point sets are by coherent point
drift (Myronenko and Song, IEEE PAMI 32:2262, 2010). docs/methods/linear.md has the equations and all departures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from homolog.pairwise.believing import PEAK, elsewhere, linearised, no_peak, require_overlap, too_stretched
from homolog.pairwise.configs import LinearConfig
from homolog.pairwise.scales import Scale, farthest_mm, fine_spacing
from homolog.pairwise.start import starts
from homolog.pairwise.votes import Used, ballots, consensus
from homolog.space import fit
from homolog.space.prepared import Level, prepare
from homolog.space.registration import Registration, Step, Stopped
from homolog.space.transforms import Affine, Transform
from homolog.space.volume import Volume

OnStep = Callable[[str, float, float], None]

# Fewer blocks than this do not hold twelve parameters.
FEWEST_BLOCKS = 20
# A start is tried with one step of `most_blocks` so many.
TRIAL_BLOCKS = 1000
# What the headers' own start must be better by than one that was searched for. A search does not depend on where the
# headers put the patients, so neither does the result where both lead to the same place.
HEADER_LEAD = 0.05
# Steps shrink slowly, as blocks cannot vote further than the search radius. So a step is extrapolated from this many
# before it (Anderson, J. ACM 12:547, 1965; Walker and Ni, SIAM J. Numer. Anal. 49:1715, 2011), damped by this share of
# the differences' own size, to no more than so many times its length; only where it is shorter than the one before, or
# turns back.
MEMORY, DAMPING, LONGEST, SHRINKING = 4, 0.05, 4.0, 0.8
# From afar a step this many times the tolerance is small enough: the fine level mends the rest.
COARSE_TOLERANCE = 5.0

# When not to believe a map. Chosen on patients 0 to 9 and real pairs, checked on others: docs/methods/linear.md.
# Left and right were exchanged in a file if the mirrored picture fits better by more than this, after a few steps.
MIRROR_LEAD, MIRROR_STEPS, MIRROR_BLOCKS = 0.01, 3, 2000


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
    spacing = config.spacing_mm or fine_spacing(fixed.grid)
    coarse, fine = (Scale.of(here, there, times * spacing, coarse=times > 1) for times in (2, 1))
    search = _Search(config, on_step)
    initial = np.eye(4) if start is None else linearised(start, here, there).matrix
    before = fine.agreement(initial)
    if start is not None:
        require_overlap(before)
        path = _Path(initial, initial)
    else:
        path = search.best_start(coarse, initial, [found.matrix for found in starts(here, there)])
    for level in search.levels(coarse, fine):
        path = search.refined(path, level)
    after = fine.agreement(path.matrix)
    doubts = search.doubts(path, coarse)
    return Registration(
        Affine(path.matrix, fixed.space, moving.space),
        path.trace,
        time.perf_counter() - began,
        path.stopped,
        before.similarity,
        after.similarity,
        after.overlap,
        doubts,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The way from a start to the map


@dataclass(frozen=True, eq=False)
class _Path:
    """Where a search has come to: matrix (4, 4) moving_from_fixed, from which start, and how."""

    start: np.ndarray
    matrix: np.ndarray
    trace: tuple[Step, ...] = ()
    stopped: Stopped = "max_steps"


@dataclass(frozen=True, eq=False)
class _Level:
    """One level of the search: at which scale, how many voxels far, for which kind of map."""

    scale: Scale
    radius: int
    kind: str


@dataclass(frozen=True)
class _Search:
    config: LinearConfig
    on_step: OnStep | None

    def best_start(self, scale: Scale, header: np.ndarray, found: list[np.ndarray]) -> _Path:
        """The start that one step from it makes the most of."""
        few = replace(self.config, most_blocks=TRIAL_BLOCKS)
        first = self.levels(scale, scale)[0]
        begun = [_Path(matrix, matrix) for matrix in (*found, header)]
        paths = [self._stepped(path, first, Used.of(scale, path.matrix, few)) for path in begun]
        scores = [scale.agreement(path.matrix).score for path in paths]
        scores[-1] -= HEADER_LEAD
        return paths[int(np.argmax(scores))]

    def levels(self, coarse: Scale, fine: Scale) -> list[_Level]:
        """At first no shear: it is told from the patients' differences only once they lie on each other."""
        config = self.config
        pairs = [(coarse, n) for n in config.coarse_radii_vox] + [(fine, n) for n in config.fine_radii_vox]
        first = "similarity" if config.kind == "affine" and len(pairs) > 1 else config.kind
        return [_Level(scale, n, config.kind if at else first) for at, (scale, n) in enumerate(pairs)]

    def refined(self, path: _Path, level: _Level) -> _Path:
        """Steps until nothing moves any more."""
        used = Used.of(level.scale, path.matrix, self.config)
        tried: list[tuple[np.ndarray, np.ndarray]] = []
        for _ in range(self.config.max_steps):
            before = path.matrix
            path = self._stepped(path, level, used)
            if path.stopped != "max_steps":
                break
            tried = [*tried, (before, path.matrix)][-MEMORY:]
            path = replace(path, matrix=_extrapolated(tried, _box(level.scale.fixed), level.kind))
        return path

    def doubts(self, path: _Path, scale: Scale) -> tuple[str, ...]:
        """Why a map should not be believed."""
        here = scale.agreement(path.matrix).similarity
        away = elsewhere(scale, Affine(path.matrix))
        mirrored = scale.agreement(self._mirrored(path.start, scale)).similarity
        said = []
        if path.stopped == "too_few_matches":
            said.append("too little of one picture was found in the other")
        said += [doubt for doubt in (no_peak(here, away),) if doubt]
        if mirrored - here > MIRROR_LEAD and mirrored - away >= PEAK:
            said.append(
                f"the moving picture fits better mirrored ({mirrored:.2f}) than as it is ({here:.2f}): are left and "
                "right exchanged in a file?"
            )
        said += [doubt for doubt in (too_stretched(path.matrix),) if doubt]
        return tuple(said)

    def _mirrored(self, start: np.ndarray, scale: Scale) -> np.ndarray:
        """The map to the mirrored moving patient: from the start, as the map found is bent to the wrong side."""
        middle = scale.patient_mm.mean(axis=0)
        mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
        mirror[0, 3] = 2 * middle[0]
        few = _Search(replace(self.config, max_steps=MIRROR_STEPS, most_blocks=MIRROR_BLOCKS), None)
        path = _Path(start @ mirror, start @ mirror)
        levels = self.levels(scale, scale)
        # near by only, and as free as the map that it is compared with
        radius = min(level.radius for level in levels)
        for level in levels:
            path = few.refined(path, replace(level, radius=radius))
        return path.matrix

    def _stepped(self, path: _Path, level: _Level, used: Used) -> _Path:
        scale = level.scale
        moved, codes = scale.moved(path.matrix)
        forwards = ballots(scale.fixed, scale.fixed_codes, moved, codes, level.radius, used.forwards, self.config)
        backwards = ballots(moved, codes, scale.fixed, scale.fixed_codes, level.radius, used.backwards, self.config)
        blocks = len(forwards.centres) + len(backwards.centres)
        if blocks < FEWEST_BLOCKS:
            return replace(path, stopped="too_few_matches")
        matrix = path.matrix @ consensus(forwards, backwards, scale.fixed.grid, level.radius, level.kind)
        way_mm = farthest_mm(path.matrix, matrix, scale.patient_mm)
        energy = float(np.concatenate((forwards.lowest, backwards.lowest)).mean())
        tolerance_mm = self.config.tolerance_mm * (COARSE_TOLERANCE if scale.coarse else 1)
        trace = (*path.trace, Step(scale.name, energy, way_mm, blocks))
        if self.on_step is not None:
            self.on_step(scale.name, min(1.0, len(trace) / self._most_steps), energy)
        return _Path(path.start, matrix, trace, "converged" if way_mm <= tolerance_mm else "max_steps")

    @property
    def _most_steps(self) -> int:
        config = self.config
        return 1 + config.max_steps * (len(config.coarse_radii_vox) + len(config.fine_radii_vox))


def _extrapolated(tried: list[tuple[np.ndarray, np.ndarray]], corners: np.ndarray, kind: str) -> np.ndarray:
    """(4, 4): where steps (from, to) lead to, by the combination of them that would have moved the least.

    Corners stand for a map: a sum of maps with weights of sum one moves them to the same sum of places.
    """
    places = np.array([[Affine(matrix).apply(corners).ravel() for matrix in pair] for pair in tried])
    moves = places[:, 1] - places[:, 0]
    # a step on in the same direction and no shorter is as long as blocks can be found: nothing follows from its length
    if len(tried) < 2 or moves[-1] @ moves[-2] > SHRINKING * (moves[-2] @ moves[-2]):
        return tried[-1][1]
    differences = np.diff(moves, axis=0).T
    damping = DAMPING * np.sqrt((differences**2).sum(axis=0).mean())
    system = np.vstack((differences, damping * np.eye(differences.shape[1])))
    share = np.linalg.lstsq(system, np.r_[moves[-1], np.zeros(differences.shape[1])], rcond=None)[0]
    extra = np.diff(places[:, 1], axis=0).T @ share
    # no further from the last step than it was long
    extra *= min(1.0, LONGEST * np.linalg.norm(moves[-1]) / max(float(np.linalg.norm(extra)), 1e-12))
    end = tried[-1][1]
    seen_from_end = Affine(np.linalg.inv(end)).apply((places[-1, 1] - extra).reshape(-1, 3))
    return np.asarray(end @ getattr(fit, kind)(corners, seen_from_end).matrix)


def _box(level: Level) -> np.ndarray:
    """(8, 3) LPS mm: the corners of the box round the patient."""
    places = np.argwhere(level.body)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    return level.grid.cropped(low.tolist(), high.tolist()).corners()
