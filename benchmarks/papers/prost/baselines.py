"""The methods that are compared, and how one of them is tried on one case."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from homolog import weights
from homolog.errors import HomologError
from homolog.kernels.threads import using_threads
from homolog.metrics.poses import pose_error
from homolog.pipelines.align import align
from homolog.projective.configs import AutoConfig, CmaesConfig, GradientConfig
from homolog.projective.prost_configs import DescentConfig
from homolog.space.alignment import Alignment
from homolog.space.camera import Camera
from homolog.space.projection import Projection
from homolog.space.volume import Volume

FROM_COARSE = GradientConfig(similarity="gradient_ncc")
# From a pose that is near: without the widest look, and in a narrower swarm.
FROM_NEAR = GradientConfig(
    similarity="gradient_ncc", sizes_px=(64, 128), spacings_mm=(4.0, 2.0), sigmas_px=(1.0, 0.0), radii_px=(9, 9)
)
NARROW = CmaesConfig(sigma_degrees=6.0, sigma_mm=12.0, sigma_depth_mm=25.0)
# As the paper climbs: at the detector's own pixels from the start.
AT_ONCE = GradientConfig(
    similarity="gradient_ncc",
    steps="ascent",
    sizes_px=(128,),
    spacings_mm=(2.0,),
    sigmas_px=(0.0,),
    radii_px=(9,),
    most_steps=200,
)


@dataclass(frozen=True)
class Method:
    """What is done.

    says     for the table
    volume   what is projected: the masked bone as in the paper, what it attenuates beyond soft tissue, or everything
    learned  whether ProST's descent comes first
    config   of what follows; None: nothing does
    """

    says: str
    volume: Literal["masked", "excess", "whole"]
    config: GradientConfig | CmaesConfig | AutoConfig | None
    learned: bool = False

    @property
    def needs_weights(self) -> bool:
        return self.learned


METHODS = {
    "cmaes": Method("gradient NCC by CMA-ES", "masked", CmaesConfig()),
    "descent": Method("gradient NCC by gradient descent", "masked", AT_ONCE),
    "marquardt": Method("gradient NCC by Levenberg-Marquardt", "masked", FROM_COARSE),
    "network": Method("ProST alone", "excess", None, learned=True),
    "network_gradient": Method("ProST, then gradient NCC", "excess", FROM_NEAR, learned=True),
    "network_cmaes": Method("ProST, then CMA-ES", "excess", NARROW, learned=True),
    "cmaes_excess": Method("gradient NCC by CMA-ES, bone beyond soft tissue", "excess", CmaesConfig()),
    "gradient": Method("`--method gradient`, bone beyond soft tissue", "excess", GradientConfig()),
    "auto_masked": Method("`--method auto`, masked as the others", "masked", AutoConfig()),
    "auto": Method("`--method auto`", "excess", AutoConfig()),
}


@dataclass(frozen=True, eq=False)
class Puzzle:
    """What a method is asked, and what its answer is held against.

    volumes    by the names that methods know
    points_mm  (N, 3) of the patient, whose distance is the error
    """

    number: int
    volumes: dict[str, Volume]
    projection: Projection
    truth: np.ndarray
    start: np.ndarray
    points_mm: np.ndarray


@dataclass(frozen=True, eq=False)
class Placed:
    """A pose as `metrics.poses` takes it."""

    camera: Camera
    camera_from_world: np.ndarray


@dataclass(frozen=True)
class Trial:
    """How a method did on a case: errors in mm and degrees, user seconds, and what it said of its own answer.

    Named as in `metrics.poses`; a method that gave up with an error is infinitely far off.
    """

    method: str
    start_mm: float
    target_mm: float
    projection_mm: float = np.inf
    reprojection_mm: float = np.inf
    turn_degrees: float = np.inf
    in_plane_mm: float = np.inf
    depth_mm: float = np.inf
    user_s: float = 0.0
    score: float = 0.0
    judgement: str = ""
    doubts: str = ""


NUMBERS = (
    "start_mm", "target_mm", "projection_mm", "reprojection_mm", "turn_degrees", "in_plane_mm", "depth_mm", "user_s",
    "score",
)  # fmt: skip


def tried(name: str, puzzle: Puzzle, which: str | None, methods: dict[str, Method] = METHODS) -> Trial:
    """One thread; the seed of what is drawn is the case's number."""
    method = methods[name]
    start_mm = errors(puzzle, puzzle.start)["target_mm"]
    began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    try:
        with using_threads(1):
            pose, said = answered(method, puzzle, which)
    except HomologError as error:
        return Trial(name, start_mm, np.inf, judgement="FAILED", doubts=str(error))
    user_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime - began
    return Trial(name, start_mm, **errors(puzzle, pose), user_s=user_s, **said)


def answered(method: Method, puzzle: Puzzle, which: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """The pose (4, 4), and what is said of it."""
    volume, pose, said = puzzle.volumes[method.volume], puzzle.start, {}
    if method.learned:
        pose, said = descended(volume, puzzle.projection, pose, which or "prost")
    if method.config is None:
        return pose, said
    config = replace(method.config, seed=puzzle.number)
    if which is not None and hasattr(config, "weights"):
        config = replace(config, weights=which)
    found = align(volume, (puzzle.projection,), pose, config)
    return found.rig_from_patient, told(found)


def descended(
    volume: Volume, projection: Projection, start: np.ndarray, which: str
) -> tuple[np.ndarray, dict[str, float]]:
    from homolog.projective.prost import descend

    found = descend(network(which), volume, projection, start, DescentConfig())
    return found.rig_from_patient, {"score": found.score}


@lru_cache(maxsize=1)
def network(which: str) -> Any:
    """Of shipped weights, or of a file of them."""
    import torch

    from homolog.nets import prost

    torch.set_num_threads(1)
    return prost.built(prost.config_of(weights.card(which)["network"]), weights.load(which))


def told(found: Alignment) -> dict[str, Any]:
    return {"score": found.score, "judgement": found.judgement, "doubts": "; ".join(found.doubts)}


def errors(puzzle: Puzzle, pose: np.ndarray) -> dict[str, float]:
    camera = puzzle.projection.camera
    error = pose_error(puzzle.points_mm, [Placed(camera, pose)], [Placed(camera, puzzle.truth)])
    view = error.views[0]
    return {
        "target_mm": error.target_mean_mm,
        "projection_mm": view.projection_mm,
        "reprojection_mm": view.reprojection_mm,
        "turn_degrees": view.rotation_degrees,
        "in_plane_mm": view.in_plane_mm,
        "depth_mm": view.depth_mm,
    }


def settings_of(methods: Sequence[str], which: str | None, known: dict[str, Method] = METHODS) -> dict[str, str]:
    """What each method's answers depend on besides the case and the code: its options, and the weights it uses."""
    return {name: _settings(known[name], which) for name in methods}


def _settings(method: Method, which: str | None) -> str:
    descent = DescentConfig() if method.learned else None
    trained = _of_weights(which) if method.needs_weights else None
    return f"{method.volume} {method.config} {descent} {trained}"


@lru_cache(maxsize=1)
def _of_weights(which: str | None) -> str:
    try:
        held = weights.load(which or "prost")
    except HomologError:
        return "none"
    return str({name: float(values.double().abs().sum()) for name, values in held.items()})
