"""How finely a body is looked at, by its size on the X-rays, and where it is looked for when nobody says it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from homolog.projective.configs import Stage
from homolog.projective.glancing import meeting
from homolog.projective.scene import Scene
from homolog.space import se3

# Hardly smoothed and with small patches: farther-reaching stages were measured to lead masked bones astray, for what is
# smooth in an X-ray is soft tissue.
LOOKS = (Stage(64, 4.0, 0.7, 5), Stage(128, 2.0, 1.0, 7), Stage(256, 1.0, 1.0, 9))
# A look that is no finer than this share of the one before, by pixels or by voxels, is left out.
FINER = 0.75
# A body that is small on the X-rays is looked at with more pixels: so many along it, but not more than so many in all.
BODY_PX, MOST_PX = 40, 224


def looks(scene: Scene, start: np.ndarray | None) -> tuple[Stage, ...]:
    """The looks, with pixels and voxels for the body's size on the X-rays, as far as these and the volume are fine."""
    span = np.sort(np.ptp(scene.body.grid.bounds(), axis=0))[1:]
    place = looked_at(scene) if start is None else pivot_at(start, scene)
    body_px = []
    for projection in scene.projections:
        camera, pose = projection.camera, projection.camera_from_rig
        depth_mm = max(float(se3.carried(pose, place)[2]), 1.0)
        width_mm = min(n * pitch for n, pitch in zip(camera.size_px, camera.pitch_mm, strict=True))
        body_px.append(LOOKS[0].size_px * float(np.sqrt(span.prod())) * camera.focal_mm / depth_mm / width_mm)
    finer = float(np.clip(BODY_PX / min(body_px), 1.0, MOST_PX / LOOKS[0].size_px))
    most_px = max(max(projection.camera.size_px) for projection in scene.projections)
    least_mm = float(scene.solid.volume.grid.spacing_mm.min())
    out: list[Stage] = []
    for look in LOOKS:
        size, spacing = round(finer * look.size_px), look.spacing_mm / finer
        stage = replace(look, size_px=min(size, most_px), spacing_mm=max(spacing, least_mm))
        if not out or out[-1].size_px < FINER * stage.size_px or stage.spacing_mm < FINER * out[-1].spacing_mm:
            out.append(stage)
    return tuple(out)


def looked_at(scene: Scene, depth_share: float = 0.75) -> np.ndarray:
    """(3,) mm in the rig: nearest to all optical axes; for one X-ray at a share of the way to the detector."""
    if scene.near is not None:
        return scene.near
    views = [se3.inverse(each.camera_from_rig) for each in scene.projections]
    sources, ways = np.array([each[:3, 3] for each in views]), np.array([each[:3, 2] for each in views])
    if np.linalg.matrix_rank(ways, tol=0.05) < 2:
        return np.asarray(sources[0] + depth_share * scene.projections[0].camera.focal_mm * ways[0])
    return meeting(sources, ways)[0]


def pivot_at(rig_from_patient: np.ndarray, scene: Scene) -> np.ndarray:
    """(3,) mm in the rig: the middle of what attenuates, under a pose."""
    return se3.carried(rig_from_patient, scene.pivot_mm)
