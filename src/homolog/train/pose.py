"""Trains a network for one volume, in minutes, that tells from an X-ray of it about where the camera stood.

    homolog train pose ct.nii.gz --minutes 5 --out trained
    homolog align ct.nii.gz xray.dcm --start trained -o run

It learns to find points of the volume in projections of the volume itself, exposed as X-rays are: nothing else is
needed. Its weights know no other volume. The same line again goes on from trained/checkpoint.pt.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homolog.errors import BadInput
from homolog.metrics.poses import target_errors
from homolog.nets.configs import PointsNetConfig
from homolog.nets.points import PointsNet, built
from homolog.projective.leaning import width_of
from homolog.projective.pointing import pose_by_points
from homolog.space import se3
from homolog.space.projection import Projection
from homolog.train import loop, pose_data
from homolog.train.configs import PoseConfig
from homolog.train.loop import OnStep, Plan, State
from homolog.train.optimisers import AdamW
from homolog.train.place_losses import off_nowhere, off_peaks, off_places
from homolog.train.pose_data import Batch, Subject

RECIPE = "homolog train pose"
# The standard deviation of a map's peak, in squares of four pixels.
PEAK = 0.8
# How much it counts that points which are not in the picture have no peak.
NOWHERE = 0.3
# X-rays that a finished network is tried on, drawn as none before.
TRIED, TRIED_SEED = 32, 1_000_003


def train(
    folder: Path,
    plan: Plan,
    subject: Subject,
    config: PoseConfig = PoseConfig(),
    *,
    of: dict[str, Any] | None = None,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> State:
    """Trains into a folder, or goes on there: checkpoint.pt, log.csv, weights.safetensors with its card.

    of  what the card says of the volume
    """

    def begin() -> State:
        torch.manual_seed(plan.seed)
        network = PointsNet(net_of(config)).to(device)
        return State(network, AdamW(network.parameters(), config.rate))

    def make_gradients(now: State, rng: np.random.Generator) -> dict[str, float]:
        return step(now.network, pose_data.batch(subject, config, config.xrays, rng), config)

    def card(now: State) -> dict[str, Any]:
        return record_of(now, subject, config, plan, of or {})

    return loop.trained(folder, plan, config, begin, make_gradients, card, device=device, on_step=on_step)


def net_of(config: PoseConfig) -> PointsNetConfig:
    return replace(PointsNetConfig(), points=config.points, pixels=config.pixels)


def record_of(state: State, subject: Subject, config: PoseConfig, plan: Plan, of: dict[str, Any]) -> dict[str, Any]:
    """The card of the weights."""
    points = subject.points_mm.round(4).tolist()
    return loop.card(state, plan, RECIPE, config, net_of(config), volume=of, points_mm=points)


def step(network: torch.nn.Module, batch: Batch, config: PoseConfig) -> dict[str, float]:
    """Leaves the gradients of a step in the network, and says what to log."""
    device = next(network.parameters()).device
    maps = network(batch.pictures.to(device), batch.places.to(device))
    # the width of a pixel of the maps, as rays lean
    pixel = width_of(batch.places) / (max(maps.shape[2:]) - 1)
    places = config.places * off_places(maps, batch.places, batch.where, batch.there)
    peaks = off_peaks(maps, batch.places, batch.where, batch.there, PEAK * pixel)
    peaks = config.maps * (peaks + NOWHERE * off_nowhere(maps, batch.places, batch.there))
    loss = places + peaks
    loss.backward()
    named = {"loss": loss, "places": places, "maps": peaks}
    return {name: float(one.detach()) for name, one in named.items()}


# ---------------------------------------------------------------------------------------------------------------------
# How good it is


def tried(state: State, subject: Subject, config: PoseConfig, count: int = TRIED) -> dict[str, float]:
    """On X-rays drawn anew: the share for which a pose is found, and how far off those are, as percentiles."""
    network = built(net_of(config), {name: value.cpu() for name, value in state.averaged.items()})
    rng = np.random.default_rng([TRIED_SEED, subject.pixels])
    found = [off for _ in range(count) for off in _off(network, subject, pose_data.batch(subject, config, 1, rng))]
    off = np.array([each for each in found if np.isfinite(each[1])]).reshape(-1, 2)
    numbers = {"found": len(off) / len(found)}
    for n, name in enumerate(("degrees", "mm")):
        for share in (50, 90):
            numbers[f"{name}_{share}"] = float(np.percentile(off[:, n], share)) if len(off) else 0.0
    return numbers


def _off(network: PointsNet, subject: Subject, batch: Batch) -> list[tuple[float, float]]:
    """Of each X-ray: degrees, and the mean distance of the points, mm; infinite where no pose was found."""
    out: list[tuple[float, float]] = []
    for picture, truth in zip(batch.pictures, batch.truths, strict=True):
        projection = Projection(picture[0].numpy(), batch.camera, mask=batch.mask)
        try:
            pose = pose_by_points(network, subject.points_mm, (projection,)).rig_from_patient
        except BadInput:
            out.append((np.inf, np.inf))
            continue
        apart_mm = target_errors(subject.points_mm, pose, truth)
        out.append((float(np.degrees(se3.angle(pose, truth))), float(apart_mm.mean())))
    return out
