"""Whether a pose should be believed, and how far it may be off.

The covariance is a jackknife over blocks of the X-rays: the pose that is best without one block is one Gauss-Newton
step away, and how much these poses differ says how much the pose is held by all of the picture rather than by a corner
of it. Unlike the curvature alone it knows of soft tissue, overlaid bones and scatter, which are alike over many pixels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from homolog.projective import similarity
from homolog.projective.climbing import Climb
from homolog.projective.scene import Level, Scene, View
from homolog.space.alignment import Alignment, Judgement

# Blocks along each side of an X-ray.
BLOCKS = 4
# mm: what the depth, and what the pose across the rays, may be uncertain by (one standard deviation).
DEPTH_MM, ACROSS_MM = 5.0, 1.5
# The share of the projection that must fall on what is compared.
SEEN = 0.25
NOTHING = "nothing of the body is projected on the X-ray"


def alignment(scene: Scene, found: Climb, level: Level, began: float, doubts: tuple[str, ...] = ()) -> Alignment:
    """What is given back of a pose that was found: with its covariance, and what speaks against it."""
    covariance = covariance_of(level, found.pose) if np.isfinite(found.score) else None
    reasons = (*doubts, *doubts_of(scene, level, found, covariance))
    views = level.views
    return Alignment(
        rig_from_patient=found.pose,
        cameras=tuple(projection.camera for projection in scene.projections),
        camera_from_rig=tuple(view.projection.camera_from_rig for view in views),
        pivot_mm=scene.pivot_mm,
        covariance=covariance,
        score=found.score,
        trace=found.trace,
        seconds=time.perf_counter() - began,
        stopped="converged" if found.converged else "max_steps",
        judgement=judgement(reasons, found.score),
        doubts=reasons,
    )


def covariance_of(level: Level, rig_from_patient: np.ndarray) -> np.ndarray | None:
    """(6, 6) of (rad, mm) along the first camera's axes, by leaving out each block once; None if nothing is held."""
    if not similarity.MEASURES[level.views[0].measure.name].second:
        return None
    seen = [level.seen(view, rig_from_patient) for view in level.views]
    whole = [view.measure.gauss_newton(*pictures) for view, pictures in zip(level.views, seen, strict=True)]
    steps = []
    for n, view in enumerate(level.views):
        for without in _without_blocks(view):
            part = without.gauss_newton(*seen[n])
            rest = [other for k, other in enumerate(whole) if k != n]
            curvature = part.curvature + sum(other.curvature for other in rest)
            gradient = part.gradient + sum(other.gradient for other in rest)
            if np.linalg.cond(curvature) > 1e14:
                return None
            steps.append(np.linalg.solve(curvature, gradient))
    if len(steps) < 8:
        return None
    apart = np.array(steps) - np.mean(steps, axis=0)
    return np.asarray((len(steps) - 1) / len(steps) * apart.T @ apart)


def doubts_of(scene: Scene, level: Level, found: Climb, covariance: np.ndarray | None) -> tuple[str, ...]:
    """Sentences that say why a pose should not be believed."""
    seen = _share_seen(level, found.pose)
    if seen <= 0:
        return (NOTHING,)
    doubts = []
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
        wide = replace(
            camera,
            size_px=(3 * rows, 3 * columns),
            centre_px=(camera.centre_px[0] + columns, camera.centre_px[1] + rows),
        ).resized((rows, columns))
        image = level.projector.image(wide, view.camera_from_patient(pose))
        third = image[rows // 3 : rows - rows // 3, columns // 3 : columns - columns // 3]
        shares.append(float(third.sum() / image.sum()) if image.sum() > 0 else 0.0)
    return max(shares)


def _without_blocks(view: View) -> Iterator[Any]:
    """The measure of a view, without each block of its compared part once."""
    mask = view.weights
    if not mask.any():
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    for down in np.array_split(np.arange(rows[0], rows[-1] + 1), BLOCKS):
        for across in np.array_split(np.arange(columns[0], columns[-1] + 1), BLOCKS):
            left = mask.copy()
            left[np.ix_(down, across)] = False
            if left.sum() < mask.sum() and left.any():
                yield similarity.prepare(view.measure.name, view.projection.data, mask=left)
