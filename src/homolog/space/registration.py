"""What a registration gives back, whichever method made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homolog.space.transforms import Transform

Stopped = Literal["converged", "max_steps", "too_few_matches"]


@dataclass(frozen=True)
class Step:
    """One step on the way.

    stage       what was done, as "8 mm"
    energy      the mean cost of the correspondences it used, in the method's own unit; steps of one stage compare
    moved_mm    how far the step moved the fixed patient at most
    used        how many correspondences it used
    """

    stage: str
    energy: float
    moved_mm: float
    used: int


@dataclass(frozen=True, eq=False)
class Registration:
    """A map between two patients, and how it was found.

    moving_from_fixed  carries fixed points to the moving patient
    trace              the steps, in order
    seconds            wall time
    stopped            "converged"; "max_steps": still moving when its steps were used up; "too_few_matches": it went no
                       further because too little corresponds
    similarity_before  of the two pictures where the files' headers put them (or the start that was given): 1 alike,
                       0 as unlike as chance; NaN where they do not overlap
    similarity_after   the same under the map
    overlap            the share of the patient, of the picture that is shown more of, that the other picture shows too
    doubts             sentences that say why the map should not be believed; none for a good one
    """

    moving_from_fixed: Transform
    trace: tuple[Step, ...]
    seconds: float
    stopped: Stopped
    similarity_before: float
    similarity_after: float
    overlap: float
    doubts: tuple[str, ...] = ()

    @property
    def fixed_from_moving(self) -> Transform:
        """The way back: closed for an affine map, else solved on the map's own grid."""
        return self.moving_from_fixed.inverse()

    @property
    def is_poor(self) -> bool:
        """Whether the map should not be believed."""
        return bool(self.doubts)
