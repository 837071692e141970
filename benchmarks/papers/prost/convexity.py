"""The paper's claim: its similarity, unlike others, falls off evenly from the true pose, and its gradient leads back.

Similarities are looked at along the six degrees of freedom through the true pose, and along geodesics from it to poses
drawn as starts are. Of the gradient, turning and shifting are compared apart with the way back along the geodesic, as
in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from baselines import network
from scenes import START_RAD, Case, drawn

from homolog.kernels.threads import using_threads
from homolog.projective.configs import Stage
from homolog.projective.prost import LearnedSimilarity
from homolog.projective.scene import Level, Scene
from homolog.projective.similarity import Measure, prepare
from homolog.space import se3

LEARNED = "ProST"
# What is looked at: a measure's name and its options. At the size of the paper's pictures, on voxels of the CT.
STAGE = Stage(128, 2.0)
SMOOTH = {"sigma_px": 4.0, "radius_px": 24}
MEASURES: dict[str, tuple[str, dict[str, float]]] = {
    "ncc": ("ncc", {}),
    "patch_ncc": ("patch_ncc", {}),
    "mncc": ("mncc", {}),
    "mi": ("mi", {}),
    "gradient_ncc": ("gradient_ncc", {}),
    "prost_gradient_ncc": ("prost_gradient_ncc", {}),
    "gradient_orientation": ("gradient_orientation", {}),
    "gradient_difference": ("gradient_difference", {}),
    "patch_gradient_ncc": ("patch_gradient_ncc", {}),
    "mgradient_ncc": ("mgradient_ncc", {}),
    "mixed": ("mixed", {}),
    "gradient_ncc, smooth": ("gradient_ncc", SMOOTH),
    "patch_gradient_ncc, smooth": ("patch_gradient_ncc", SMOOTH),
}
# How far along each degree of freedom, rad and mm; the last is the depth.
FREEDOMS = ("turn x", "turn y", "turn z", "shift x", "shift y", "depth")
REACH = np.array([np.radians(30)] * 3 + [60.0, 60.0, 120.0])
STEPS, GEODESICS, ALONG = np.linspace(-1, 1, 41), 10, np.linspace(0, 1, 21)
# A peak is right that is no farther from the truth than this share of the reach.
RIGHT = 0.05


@dataclass(frozen=True, eq=False)
class Profile:
    """Of one similarity on one case.

    freedoms   (6, 41) its values along the degrees of freedom, from -1 to 1 of the reach
    geodesics  (10, 21) its values from the truth to where starts lie
    cosines    (10, 20, 2) of its gradient and the way back, for turning and for shifting; the truth is left out
    """

    freedoms: np.ndarray
    geodesics: np.ndarray
    cosines: np.ndarray


@dataclass(frozen=True, eq=False)
class Poses:
    """Where similarities are asked: freedoms (6, 41, 4, 4), geodesics (10, 21, 4, 4), and the way back (10, 21, 6)."""

    freedoms: np.ndarray
    geodesics: np.ndarray
    back: np.ndarray


def profiles(case: Case, volume: str, which: str | None, seed: int) -> dict[str, Profile]:
    """Of every measure, and of the network where its weights are named."""
    body = getattr(case.body, volume)
    level = Scene.of(body, (case.projection,), "ncc").level(STAGE)
    asked = poses(level, case, np.random.default_rng([seed, case.number, 1]))
    with using_threads(1):
        found = _of_measures(level, asked)
        if which is not None:
            found[LEARNED] = _of_network(case, body, which, asked)
    return found


def poses(level: Level, case: Case, rng: np.random.Generator) -> Poses:
    far = [drawn(case.body.centre_mm, START_RAD, rng) for _ in range(GEODESICS)]
    ways = [geodesic(case.truth, end, level.pivot_mm) for end in far]
    freedoms = [[level.moved(case.truth, step * reach) for step in STEPS] for reach in np.diag(REACH)]
    return Poses(
        np.array(freedoms),
        np.array([way[0] for way in ways]),
        np.array([way[1] for way in ways]),
    )


def geodesic(truth: np.ndarray, end: np.ndarray, pivot_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(21, 4, 4) poses from the truth, the body turning about its pivot, and (21, 6) the way back from each.

    The way back is by a turn about the camera's axes and a shift along them: `space.se3_torch.descent_direction`.
    """
    import torch

    from homolog.space import se3_torch

    to_pivot = np.eye(4)
    to_pivot[:3, 3] = pivot_mm
    first, last = truth @ to_pivot, end @ to_pivot
    turn = se3.rotation_log(last[:3, :3] @ first[:3, :3].T)
    way = np.repeat(first[None], len(ALONG), axis=0)
    for n, share in enumerate(ALONG):
        way[n, :3, :3] = se3.rotation_exp(share * turn) @ first[:3, :3]
        way[n, :3, 3] = first[:3, 3] + share * (last[:3, 3] - first[:3, 3])
    back = se3_torch.descent_direction(torch.from_numpy(way), torch.from_numpy(first).expand(len(way), 4, 4))
    return way @ np.linalg.inv(to_pivot), back.numpy()


# ---------------------------------------------------------------------------------------------------------------------
# Values and gradients


def _of_measures(level: Level, asked: Poses) -> dict[str, Profile]:
    """Each pose is projected once for all measures."""
    view = level.views[0]
    fixed, mask = view.projection.data, view.projection.mask
    measures = {told: prepare(name, fixed, mask=mask, **options) for told, (name, options) in MEASURES.items()}
    values: dict[str, list[float]] = {told: [] for told in measures}
    for pose in asked.freedoms.reshape(-1, 4, 4):
        image = level.projector.image(view.projection.camera, view.camera_from_patient(pose))
        for told, measure in measures.items():
            values[told].append(measure.value(image))
    sloped: dict[str, list[tuple[float, np.ndarray]]] = {told: [] for told in measures}
    for pose in asked.geodesics.reshape(-1, 4, 4):
        image, jacobian = level.seen(view, pose)
        for told, measure in measures.items():
            sloped[told].append(_sloped(measure, image, jacobian))
    return {told: _profile(np.array(values[told]), sloped[told], asked) for told in measures}


def _sloped(measure: Measure, image: np.ndarray, jacobian: np.ndarray) -> tuple[float, np.ndarray]:
    value, by_pixel = measure.value_and_gradient(image)
    return value, np.einsum("rc,rck->k", by_pixel, jacobian)


def _of_network(case: Case, body: Any, which: str, asked: Poses) -> Profile:
    learned = LearnedSimilarity.of(network(which), body, (case.projection,))
    values = np.concatenate([learned.scores(line) for line in asked.freedoms])
    sloped: list[tuple[float, np.ndarray]] = []
    for way in asked.geodesics:
        sloped += zip(*learned.scores_and_gradients(way), strict=True)
    return _profile(values, sloped, asked)


def _profile(values: np.ndarray, sloped: Sequence[tuple[float, np.ndarray]], asked: Poses) -> Profile:
    gradients = np.array([gradient for _, gradient in sloped]).reshape(GEODESICS, len(ALONG), 6)[:, 1:]
    back = asked.back[:, 1:]
    cosines = [_cosine(gradients[..., part], back[..., part]) for part in (slice(0, 3), slice(3, 6))]
    along = np.array([value for value, _ in sloped]).reshape(GEODESICS, len(ALONG))
    return Profile(values.reshape(len(FREEDOMS), len(STEPS)), along, np.stack(cosines, axis=-1))


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of the last axis; 0 where there is no gradient."""
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.asarray((one * other).sum(axis=-1) / np.maximum(lengths, 1e-30))


# ---------------------------------------------------------------------------------------------------------------------
# Figures


def figures(found: Sequence[Profile]) -> dict[str, Any]:
    """Of one similarity over its cases.

    rising     the share of steps towards the truth that rise, along the degrees of freedom, and along geodesics
    unbroken   the share of geodesics all of whose steps rise
    peak_right  the share of lines of the freedoms whose best value is at the truth
    """
    freedoms = np.concatenate([profile.freedoms for profile in found])
    geodesics = np.concatenate([profile.geodesics for profile in found])
    cosines = np.concatenate([profile.cosines for profile in found])
    towards = towards_truth(freedoms) > 0
    back = np.diff(geodesics, axis=1) < 0
    peaks = np.abs(STEPS[freedoms.argmax(axis=1)]) <= RIGHT + 1e-9
    return {
        "rising_freedoms": float(towards.mean()),
        "rising_geodesics": float(back.mean()),
        "unbroken_geodesics": float(back.all(axis=1).mean()),
        "peak_right": float(peaks.mean()),
        "cosine_turn": float(cosines[..., 0].mean()),
        "cosine_shift": float(cosines[..., 1].mean()),
        "rising_by_freedom": towards.reshape(-1, len(FREEDOMS), towards.shape[1]).mean(axis=(0, 2)).tolist(),
    }


def towards_truth(lines: np.ndarray) -> np.ndarray:
    """(N, 40): how much each step of lines (N, 41) towards their middle gains."""
    middle, steps = lines.shape[1] // 2, np.diff(lines, axis=1)
    return np.concatenate((steps[:, :middle], -steps[:, middle:]), axis=1)
