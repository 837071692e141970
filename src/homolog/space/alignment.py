"""What an alignment of X-rays with a volume gives back, whichever method made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from homolog.space.camera import Camera

Judgement = Literal["GOOD", "CHECK", "FAILED"]


@dataclass(frozen=True, eq=False)
class AlignStep:
    """One step on the way.

    stage             what was done, as "gradient 64 px, start 3"
    score             the similarity, larger is better; steps of one stage compare
    rig_from_patient  (4, 4) float64: the pose there
    """

    stage: str
    score: float
    rig_from_patient: np.ndarray


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a rigid body lies in the X-rays, and how that was found.

    rig_from_patient  (4, 4) float64: patient LPS mm to the rig's frame, which is the camera's own for one X-ray alone
    cameras           one an X-ray, as refined where that was asked for
    camera_from_rig   one an X-ray (4, 4)
    pivot_mm          (3,) patient LPS mm: the point about which the covariance turns
    covariance        (6, 6) of (rotation about the first camera's axes, rad; translation along them, mm), the body
                      turned about its pivot; None where it could not be estimated
    score             of the similarity at the pose, larger is better
    trace             the steps, in order
    seconds           wall time
    stopped           "converged"; "max_steps": still moving when its steps were used up
    judgement         GOOD, CHECK or FAILED, with the reasons in doubts
    """

    rig_from_patient: np.ndarray
    cameras: tuple[Camera, ...]
    camera_from_rig: tuple[np.ndarray, ...]
    pivot_mm: np.ndarray
    covariance: np.ndarray | None
    score: float
    trace: tuple[AlignStep, ...]
    seconds: float
    stopped: Literal["converged", "max_steps"]
    judgement: Judgement = "CHECK"
    doubts: tuple[str, ...] = ()

    @property
    def camera_from_patient(self) -> tuple[np.ndarray, ...]:
        """One an X-ray (4, 4): patient LPS mm to the camera's frame."""
        return tuple(camera_from_rig @ self.rig_from_patient for camera_from_rig in self.camera_from_rig)
