"""A map between two patients from their keypoints alone: rigid to affine, and bending where asked.

Matches of descriptors are mostly wrong between patients; `consensus` finds the linear map that the others agree on.
Then keypoints are matched again near to where the map puts them, and a spline of least bending takes up what is left
(`bending`). docs/methods/keypoint.md has the equations, the parameters and what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from homolog.errors import BadInput
from homolog.matching import consensus
from homolog.matching.configs import MatchConfig
from homolog.matching.consensus import AGREES, FEWEST, Agreed, Kind
from homolog.matching.nearest import match
from homolog.pairwise.believing import too_stretched
from homolog.pairwise.bending import bent, controls_over
from homolog.pairwise.configs import KeypointConfig
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.registration import Step, Stopped
from homolog.space.transforms import Affine, BSpline, Transform, chain

# Matches that lie within so many mm of where a map puts them.
Near = Callable[[float, Transform], Matches]

# The same matches, re-paired by chance, so many times: how well a map can agree with what means nothing.
CHANCES = 5
# A map is believed that agrees so many times better than the best of those. Chosen on virtual patients 20 to 31 and
# real pairs, checked on others: docs/methods/keypoint.md.
LEAD = 3.0
# And where matches were looked for near a map only, which chance agrees with more easily.
LEAD_NEAR = 1.7
# A linear map is fitted anew, so often at most, to matches within so many times the scatter of right ones, and this.
GATE_SCATTERS, LEAST_GATE_MM, NEARER = 6.0, 10.0, 5
# Of a bending map's stiffness: with how many times that it begins, so that it first follows what is common.
STIFFER = (10.0, 3.0)


@dataclass(frozen=True, eq=False)
class Found:
    """A map between two sets of keypoints.

    moving_from_fixed  the map; where `stopped` says "too_few_matches" the start, or the identity without one
    matches   the pairs it was made from
    right     (M,) 0 to 1, how sure each of them is right
    score     how well matches agree, each counting less where many lie together
    chance    the same for matches re-paired by chance, the best of several
    lead      how many times better than that a map has to be
    trace     the steps, in order
    doubts    why it should not be believed
    """

    moving_from_fixed: Transform
    matches: Matches
    right: np.ndarray
    score: float
    chance: float
    lead: float
    trace: tuple[Step, ...]
    stopped: Stopped
    doubts: tuple[str, ...]

    @property
    def is_map(self) -> bool:
        """Whether there were enough matches for any map."""
        return self.stopped != "too_few_matches"

    @property
    def is_significant(self) -> bool:
        """Whether matches agree better than chance lets them."""
        return self.is_clear(self.lead)

    def is_clear(self, times: float) -> bool:
        """Whether matches agree so many times better than chance lets them."""
        return self.is_map and self.score >= times * self.chance


def register(
    fixed: Keypoints,
    moving: Keypoints,
    matches: Matches | None = None,
    config: KeypointConfig = KeypointConfig(),
    *,
    start: Affine | None = None,
    box_mm: np.ndarray | None = None,
    on_step: Callable[[str, float, float], None] | None = None,
) -> Found:
    """The map that lays the moving keypoints on the fixed ones.

    matches  which correspond, some of them; default those whose descriptors are each other's nearest
    start    a map to improve: matches are then looked for near to where it puts the points
    box_mm   (2, 3) LPS mm, where a bending map is wanted; default round the fixed points
    on_step  called with the stage's name, how far the work is (0 to 1), and the mean distance of matches in mm
    """
    kind = config.linear_kind
    found = linear(fixed, moving, matches, kind=kind, start=start, within_mm=max(config.gates_mm, default=60.0))
    if on_step is not None:
        on_step("agreement", 0.5, _energy(found, fixed, moving))
    if not found.is_significant:
        return found

    def near(within_mm: float, transform: Transform) -> Matches:
        if matches is None:
            return match(fixed, moving, MatchConfig(within_mm=within_mm), moving_from_fixed=transform)
        return _within(fixed, moving, matches, within_mm, transform)

    if config.bends:
        return _bent(fixed, moving, found, near, config, box_mm, on_step)
    return _nearer(fixed, moving, found, near, kind, max(config.gates_mm, default=60.0))


def linear(
    fixed: Keypoints,
    moving: Keypoints,
    matches: Matches | None = None,
    *,
    kind: Kind = "affine",
    start: Affine | None = None,
    within_mm: float = 60.0,
    rounds: int = consensus.ROUNDS,
) -> Found:
    """The map of a kind that most matches agree on."""
    if matches is None:
        gate = MatchConfig(within_mm=within_mm) if start is not None else MatchConfig()
        matches = match(fixed, moving, gate, moving_from_fixed=start)
    _require_rows(fixed, moving, matches)
    here, there = fixed.position[matches.pairs[:, 0]], moving.position[matches.pairs[:, 1]]
    if len(matches) < FEWEST:
        return _none(
            fixed, moving, matches, f"only {len(matches)} keypoints match: at least {FEWEST} are needed", start
        )
    best = consensus.agreed(
        here,
        there,
        matches.distance,
        kind=kind,
        start=None if start is None else start.matrix,
        rounds=rounds,
        # keypoints with axes of their own are described along those, whichever way the patient is turned
        most_degrees=consensus.MOST_DEGREES if fixed.frame is None else 180.0,
    )
    if best.score <= 0 or best.spread[1] < consensus.THIN * best.spread[0]:
        return _none(fixed, moving, matches, "the matches lie on one line, or no three of them agree on a map", start)
    found = Found(
        Affine(best.matrix, fixed.space, moving.space),
        matches,
        best.agrees,
        best.score,
        _chance(here, there, start, within_mm),
        LEAD if start is None else LEAD_NEAR,
        (_step("keypoints", best, start, here, there),),
        "converged",
        (),
    )
    return replace(found, doubts=_doubts(found, best, kind))


def _require_rows(fixed: Keypoints, moving: Keypoints, matches: Matches) -> None:
    for points, rows, what in ((fixed, matches.pairs[:, 0], "fixed"), (moving, matches.pairs[:, 1], "moving")):
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(points)):
            raise BadInput(
                f"matches name row {max(rows.max(), -rows.min())} of the {what} points ('{points.space}'), "
                f"which have {len(points)}",
                "match these very points: match(fixed, moving)",
            )
        if not np.isfinite(points.position[rows]).all():
            raise BadInput(f"matched {what} points ('{points.space}') hold NaN or infinite positions")


def _within(fixed: Keypoints, moving: Keypoints, matches: Matches, within_mm: float, transform: Transform) -> Matches:
    """Those of the matches that lie within so many mm of where a map puts them."""
    rows, columns = matches.pairs.T
    apart = np.linalg.norm(transform.apply(fixed.position[rows]) - moving.position[columns], axis=1)
    return Matches(matches.pairs[apart <= within_mm])


def _nearer(fixed: Keypoints, moving: Keypoints, found: Found, near: Near, kind: Kind, within_mm: float) -> Found:
    """The same map from matches no further off than right ones scatter."""
    for _ in range(NEARER):
        before = found.moving_from_fixed
        assert isinstance(before, Affine)
        matches = near(within_mm, before)
        if len(matches) < FEWEST:
            break
        here, there = fixed.position[matches.pairs[:, 0]], moving.position[matches.pairs[:, 1]]
        best = consensus.settled(here, there, before.matrix, kind, within_mm)
        after = Affine(best.matrix, fixed.space, moving.space)
        apart = np.linalg.norm(after.apply(here) - there, axis=1)
        step = Step(
            f"matches within {within_mm:.3g} mm",
            float(best.right @ apart / max(best.right.sum(), 1e-9)),
            float(np.linalg.norm(after.apply(here) - before.apply(here), axis=1).max()),
            int((best.right > 0.5).sum()),
        )
        found = replace(found, moving_from_fixed=after, matches=matches, right=best.right, trace=(*found.trace, step))
        gate = max(LEAST_GATE_MM, GATE_SCATTERS * best.scatter_mm)
        if gate > 0.9 * within_mm:
            break
        within_mm = gate
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Believing it


def _chance(here: np.ndarray, there: np.ndarray, start: Affine | None, within_mm: float) -> float:
    """The best score of several sets of matches that mean nothing: the same places, paired at random."""
    rng = np.random.default_rng(0)
    scores = [0.0]
    for _ in range(CHANCES):
        if start is None:
            scores.append(consensus.agreed(here, there[rng.permutation(len(there))], kind="similarity", rounds=1).score)
            continue
        # near a map that is given, a match that means nothing lies anywhere in the ball that was searched
        ways = rng.normal(size=here.shape)
        ways *= within_mm * np.cbrt(rng.random((len(here), 1))) / np.linalg.norm(ways, axis=1, keepdims=True)
        scores.append(consensus.agreed(here, start.apply(here) + ways, kind="affine", start=start.matrix).score)
    return max(scores)


def _doubts(found: Found, best: Agreed, kind: Kind) -> tuple[str, ...]:
    said = []
    if not found.is_significant:
        said.append(
            f"the matches of keypoints agree hardly better ({found.score:.1f}) than chance lets them "
            f"({found.chance:.1f}): wrong anatomy, or too little in common?"
        )
    if kind == "affine" and best.spread[2] < consensus.THIN * best.spread[0]:
        said.append("the matches lie nearly in one plane: how the map stretches across it is not known")
    said += [doubt for doubt in (too_stretched(best.matrix),) if doubt]
    return tuple(said)


def _none(fixed: Keypoints, moving: Keypoints, matches: Matches, why: str, start: Affine | None) -> Found:
    nowhere = Affine.identity(fixed.space, moving.space) if start is None else start
    return Found(nowhere, matches, np.zeros(len(matches)), 0.0, 0.0, LEAD, (), "too_few_matches", (why,))


# ---------------------------------------------------------------------------------------------------------------------
# Bending


def _bent(
    fixed: Keypoints,
    moving: Keypoints,
    straight: Found,
    near: Near,
    config: KeypointConfig,
    box_mm: np.ndarray | None,
    on_step: Callable[[str, float, float], None] | None,
) -> Found:
    """The linear map after a spline, each time fitted to matches nearer to where the last one puts them."""
    matrix = straight.moving_from_fixed
    assert isinstance(matrix, Affine)
    box = np.stack((fixed.position.min(axis=0), fixed.position.max(axis=0))) if box_mm is None else box_mm
    controls = controls_over(box[0], box[1], config.control_spacing_mm)
    stiffness = [config.stiffness * times for times in (*STIFFER, *[1.0] * len(config.gates_mm))]
    found = straight
    for number, (gate, stiff) in enumerate(zip(config.gates_mm, stiffness)):
        matches = near(gate, found.moving_from_fixed)
        if len(matches) < FEWEST:
            break
        here, there = fixed.position[matches.pairs[:, 0]], moving.position[matches.pairs[:, 1]]
        wanted = matrix.inverse().apply(there) - here
        fitted = bent(here, wanted, consensus.weights_of(here, there), controls, within_mm=gate, stiffness=stiff)
        spline = BSpline(fitted.spline.coefficients, controls, fixed.space, fixed.space)
        bending = chain([matrix, spline], fixed=fixed.space, moving=moving.space)
        before = found.moving_from_fixed.apply(here)
        after = bending.apply(here)
        moved = float(np.linalg.norm(after - before, axis=1).max())
        energy = float(fitted.right @ np.linalg.norm(after - there, axis=1) / max(fitted.right.sum(), 1e-9))
        step = Step(f"bending within {gate:g} mm", energy, moved, int((fitted.right > 0.5).sum()))
        found = replace(
            found, moving_from_fixed=bending, matches=matches, right=fitted.right, trace=(*found.trace, step)
        )
        if on_step is not None:
            on_step(step.stage, 0.5 + 0.5 * (number + 1) / len(config.gates_mm), energy)
    return found


def _step(stage: str, best: Agreed, start: Affine | None, here: np.ndarray, there: np.ndarray) -> Step:
    """Its energy is how many mm off matches lie, those that agree."""
    before = here if start is None else start.apply(here)
    after = Affine(best.matrix).apply(here)
    return Step(
        stage,
        float(best.agrees @ np.linalg.norm(after - there, axis=1) / max(best.agrees.sum(), 1e-9)),
        float(np.linalg.norm(after - before, axis=1).max()),
        int((best.agrees > AGREES).sum()),
    )


def _energy(found: Found, fixed: Keypoints, moving: Keypoints) -> float:
    """mm, how far off matches lie, those that agree."""
    pairs = found.matches.pairs
    if not found.right.sum() > 0:
        return 0.0
    apart = found.moving_from_fixed.apply(fixed.position[pairs[:, 0]]) - moving.position[pairs[:, 1]]
    return float(found.right @ np.linalg.norm(apart, axis=1) / found.right.sum())
