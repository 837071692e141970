"""The options of this room: one frozen Config a method, below each option its unit.

Only the standard library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

# Where keypoints of a group are looked for, mm, and how many of each image are kept, unless said.
SAMPLING_MM, MOST_KEYPOINTS = 1.0, 10_000


@dataclass(frozen=True)
class FrogConfig:
    """Keypoints of all patients drawn together, the wrong matches told from the right ones on the way."""

    compat: Literal["frog"] | None = None
    """Do as the published program does, whatever else is said here."""
    linear: Literal["affine", "scales", "translation"] = "affine"
    """What the linear maps may do: turn and shear too, stretch along the axes of the scanner, or only shift."""
    start: Literal["agreement", "boxes"] = "agreement"
    """Where patients are first put: where most matches agree, or the middles of their boxes of keypoints together."""
    linear_steps: int = 50
    """Steps of the linear stage at most."""
    linear_rate: float = 0.5
    """No unit, the share of a linear step that is taken."""
    spacing_mm: float = 120.0
    """mm between the controls of the first splines; it is halved from level to level."""
    levels: int = 3
    """Levels of splines; 0 ends with the linear maps."""
    steps: int = 200
    """Steps of a level at most."""
    rate: float = 0.1
    """No unit, the share of a spline's step that is taken."""
    hold: float = 0.3
    """Matches that pull nowhere, at every control: where there are few others, splines follow slowly and fold less."""
    tolerance: float = 0.01
    """No unit: a level ends when ten steps make the energy less by a smaller share than this."""
    most_matches: int | None = 2
    """Between two patients, a point that is the nearest of more others than this loses its matches; none: no limit."""
    least_weight: float = 0.5
    """No unit, 0 to 1: splines are drawn by matches that are right with at least this probability."""
    most_coefficient: float = 0.4
    """Control spacings, how far a spline may push a control before another is laid over it; 0.4 cannot fold."""

    def chosen(self) -> FrogConfig:
        """These options; with `compat` the published ones."""
        if self.compat is None:
            return self
        return replace(
            self, linear="scales", start="boxes", linear_steps=50, linear_rate=0.5, spacing_mm=100.0, levels=3,
            steps=200, rate=0.02, hold=0.0, tolerance=0.0, most_matches=None, least_weight=0.5, most_coefficient=0.4,
        )  # fmt: skip
