"""Whether a pose should be believed."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from homolog.projective.climbing import Climb
from homolog.projective.looking import looks
from homolog.projective.scene import Level, Scene
from homolog.projective.uncertain import covariance_of
from homolog.space.alignment import Alignment, Judgement

# What the depth, the place across the rays, and the turn may be uncertain by (one standard deviation).
DEPTH_MM, ACROSS_MM, TURN_DEGREES = 5.0, 1.5, 2.0
# The share of the projection that must fall on what is compared.
SEEN = 0.25
# How alike X-rays and projections must be where the body is, always by this measure and at the finest look: wrong
# poses, and wrong patients, had at most 0.32, right ones of masked pelves in whole patients' X-rays at least 0.46.
BY, LIKENESS = "patch_gradient_ncc", 0.38
# px around the body's projection that its likeness is measured on: beyond, it is no fault that there is something else.
REACH_PX = 4
NOTHING = "nothing of the body is projected on the X-ray"


def alignment(
    scene: Scene,
    found: Climb,
    level: Level,
    began: float,
    doubts: tuple[str, ...] = (),
    covariance: np.ndarray | None = None,
) -> Alignment:
    """What is given back of a pose that was found: with its covariance, and what speaks against it."""
    if covariance is None and np.isfinite(found.score):
        covariance = covariance_of(level, found.pose)
    reasons = (*doubts, *doubts_of(scene, level, found, covariance))
    views = level.views
    return Alignment(
        rig_from_patient=found.pose,
        cameras=tuple(projection.camera for projection in scene.projections),
        camera_from_rig=tuple(view.projection.camera_from_rig for view in views),
        pivot_mm=scene.pivot_mm,
        covariance=None if covariance is None else covariance[:6, :6],
        score=found.score,
        trace=found.trace,
        seconds=time.perf_counter() - began,
        stopped="converged" if found.converged else "max_steps",
        judgement=judgement(reasons, found.score),
        doubts=reasons,
    )


def doubts_of(scene: Scene, level: Level, found: Climb, covariance: np.ndarray | None) -> tuple[str, ...]:
    """Sentences that say why a pose should not be believed."""
    seen = _share_seen(level, found.pose)
    if seen <= 0:
        return (NOTHING,)
    doubts = []
    share = likeness(scene, found.pose)
    if share < LIKENESS:
        doubts.append(f"X-ray and projection are hardly alike ({share:.2f} of 1)")
    if not found.converged:
        doubts.append("the search was still moving when its steps were used up")
    if seen < SEEN:
        doubts.append(f"only {100 * seen:.0f} % of the body's projection falls on the X-ray's compared part")
    if covariance is None:
        return (*doubts, "the pictures do not determine the pose")
    across_mm, depth_mm = uncertain_mm(covariance)
    if across_mm > ACROSS_MM:
        doubts.append(f"the pose across the rays is uncertain by {across_mm:.1f} mm")
    if depth_mm > DEPTH_MM:
        doubts.append(f"the depth is not determined: it is uncertain by {depth_mm:.0f} mm")
    turn_degrees = float(np.degrees(np.sqrt(np.trace(covariance[:3, :3]))))
    if turn_degrees > TURN_DEGREES:
        doubts.append(f"how the body is turned is uncertain by {turn_degrees:.1f} degrees")
    return tuple(doubts)


def uncertain_mm(covariance: np.ndarray) -> tuple[float, float]:
    """mm: one standard deviation across the first camera's rays, and along them."""
    return float(np.sqrt(covariance[3, 3] + covariance[4, 4])), float(np.sqrt(covariance[5, 5]))


def judgement(doubts: tuple[str, ...], score: float) -> Judgement:
    if not np.isfinite(score) or NOTHING in doubts:
        return "FAILED"
    return "CHECK" if doubts else "GOOD"


def _share_seen(level: Level, pose: np.ndarray) -> float:
    """The share of the body's projection that falls on what is compared, in the X-ray that shows most of it."""
    shares = []
    for view in level.views:
        camera = view.projection.camera
        rows, columns = camera.size_px
        # a detector three times as wide and high shows what misses the real one
        wide = camera.cropped((-rows, -columns), (3 * rows, 3 * columns)).resized((rows, columns))
        image = level.projector.image(wide, view.camera_from_patient(pose))
        third = image[rows // 3 : rows - rows // 3, columns // 3 : columns - columns // 3]
        shares.append(float(third.sum() / image.sum()) if image.sum() > 0 else 0.0)
    return max(shares)


def alike(scene: Scene, pose: np.ndarray) -> bool:
    """Whether X-rays and projections are as alike as wrong poses were not seen to be."""
    return likeness(scene, pose) >= LIKENESS


def likeness(scene: Scene, pose: np.ndarray) -> float:
    """How alike X-rays and projections are where the body is: the mean over X-rays that show some of it."""
    judged = scene if scene.similarity == BY else replace(scene, similarity=BY)
    level = judged.level(looks(judged, pose)[-1])
    found = []
    for view in level.views:
        image = level.image(view, pose)
        there = view.weights & _grown(image > 0, REACH_PX)
        found.append(view.without(there).value(image) if there.any() else 0.0)
    return float(np.mean(found))


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    from scipy.ndimage import maximum_filter

    return np.asarray(maximum_filter(mask, 2 * pixels + 1))
