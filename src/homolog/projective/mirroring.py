"""Whether an X-ray is shown the other way round: patients are nearly their own mirror images, and so are their X-rays.

A mirrored X-ray of a pelvis is matched well by a pose that is wrong by some degrees. What tells is that turned over it
is matched better still, by the pose that the patient's mirror image would have.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from homolog.projective.climbing import climb
from homolog.projective.glancing import posed
from homolog.projective.looking import looks
from homolog.projective.scene import Level, Scene
from homolog.space import se3
from homolog.space.projection import Projection

# Left and right exchanged: of the camera's columns, and of a patient's LPS x.
OVER = np.diag((-1.0, 1.0, 1.0))
STEPS = 15
# The share of what is not alike that must be gone when the picture is turned over.
LESS = 0.8


def mirrored(scene: Scene, rig_from_patient: np.ndarray) -> list[str]:
    """A sentence for each X-ray that fits better turned over."""
    return [
        f"'{projection.name}' turned over, left for right, shows the body better: is it mirrored?"
        for projection in scene.projections
        if _better_over(scene, projection, projection.camera_from_rig @ rig_from_patient)
    ]


def flipped(projection: Projection) -> Projection:
    """The X-ray as if left and right had been exchanged, which no rigid motion makes good."""
    return projection.replaced(
        data=projection.data[:, ::-1].copy(),
        mask=None if projection.mask is None else projection.mask[:, ::-1].copy(),
        camera=projection.camera.flipped(),
    )


def twin(camera_from_patient: np.ndarray, middle_mm: np.ndarray) -> np.ndarray:
    """(4, 4): the pose in a picture turned over, if the body is its own mirror image about its middle.

    middle_mm  (3,) patient LPS mm
    """
    place = OVER @ se3.carried(camera_from_patient, middle_mm)
    return posed(OVER @ camera_from_patient[:3, :3] @ OVER, place, middle_mm)


def _better_over(scene: Scene, projection: Projection, pose: np.ndarray) -> bool:
    alone = replace(scene, projections=(projection.replaced(camera_from_rig=np.eye(4)),), near=None)
    over = replace(alone, projections=(flipped(alone.projections[0]),))
    stage = looks(alone, pose)[0]
    here, there = alone.level(stage), over.level(stage)
    least = 1 - LESS * (1 - _climbed(here, pose, scene))
    return any(_climbed(there, begun, scene) > least for begun in (twin(pose, scene.pivot_mm), pose))


def _climbed(level: Level, pose: np.ndarray, scene: Scene) -> float:
    """The score that both pictures are compared by: after the same climb, at the same look."""
    return climb(level, pose, STEPS, scene.radius_mm).score
