"""Trains the patch descriptor (Loiseau-Witon et al., IPCAI 2021).

    homolog train triplet --minutes 60 --out trained
    homolog train triplet --net paper --minutes 60 --out trained
    homolog train triplet --minutes 60 --out trained --volumes a.nii.gz b.nii.gz --landmarks a.mrk.json b.mrk.json ...

The same line again goes on from trained/checkpoint.pt; a longer --minutes goes on further. What is drawn is in
`triplet_data`, the losses in `triplet_losses`, the numbers in `configs.TripletConfig`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homolog.errors import BadInput
from homolog.nets.configs import BEST_PATCH, PAPER_PATCH
from homolog.nets.patch import PatchNet
from homolog.space.keypoints import Keypoints
from homolog.train import loop, triplet_data, triplet_losses
from homolog.train.configs import TripletConfig
from homolog.train.loop import OnStep, Plan, State
from homolog.train.optimisers import AdamW, Momentum, Optimiser
from homolog.train.triplet_data import Batch
from homolog.train.volume_pairs import cohort_density, require_seeds, require_volumes, seeds

RECIPE = "homolog train triplet"
NETS = {"paper": PAPER_PATCH, "best": BEST_PATCH}
# What each network is trained by where nothing else is asked for.
USUAL: dict[str, dict[str, Any]] = {
    "paper": {"loss": "triplet", "rate": 0.1, "between": 0.0, "local": 1.0, "remapped": 0.0},
    "best": {"loss": "infonce", "rate": 1e-3, "between": 0.3, "local": 0.8, "remapped": 0.15},
}
# As published.
WEIGHT_DECAY = 1e-6


def train(
    folder: Path,
    plan: Plan,
    config: TripletConfig = TripletConfig(),
    *,
    volumes: Sequence[Path] = (),
    landmarks: Sequence[Keypoints] = (),
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> State:
    """Trains into a folder, or goes on there: checkpoint.pt, log.csv, weights.safetensors with its card.

    volumes    CTs to warp, besides the virtual patients
    landmarks  of a cohort, by whose local differences volumes are warped; else virtual patients'
    """
    config = chosen(config)
    _require(config)
    require_volumes(volumes)
    stream = triplet_data.stream(config, NETS[config.net], cohort_density(landmarks), plan.seed, volumes)

    def begin() -> State:
        torch.manual_seed(plan.seed)
        network = PatchNet(NETS[config.net])
        loop.filled(network, network.config, config.begin)
        network.to(device)
        return State(network, optimiser(network, config))

    def make_gradients(now: State, rng: np.random.Generator) -> dict[str, float]:
        return step(now.network, triplet_data.batch(stream.at(now.step), config, rng), config, now.step)

    def card(now: State) -> dict[str, Any]:
        more = {"virtual_patients": seeds(config), "given": [path.name for path in volumes]}
        return loop.card(now, plan, RECIPE, config, NETS[config.net], **more, landmarked=len(landmarks))

    return loop.trained(
        folder, plan, config, begin, make_gradients, card, volumes=volumes, device=device, on_step=on_step
    )


def chosen(config: TripletConfig) -> TripletConfig:
    """With what is usual for the network where nothing was asked for."""
    usual = {name: value for name, value in USUAL[config.net].items() if getattr(config, name) is None}
    return replace(config, **usual)


def optimiser(network: PatchNet, config: TripletConfig) -> Optimiser:
    """As published for the published network, else AdamW."""
    assert config.rate is not None
    if config.net == "paper":
        return Momentum(network.parameters(), config.rate, weight_decay=WEIGHT_DECAY)
    return AdamW(network.parameters(), config.rate)


def step(network: torch.nn.Module, batch: Batch, config: TripletConfig, number: int = 0) -> dict[str, float]:
    """Leaves the gradients of a step in the network, and says what to log."""
    device = next(network.parameters()).device
    with loop.precision(device, half=config.half):
        found = network(torch.cat((batch.anchor, batch.positive)).to(device))
    anchor, positive = found.float().chunk(2)
    apart = batch.apart.to(device)
    logged: dict[str, float] = {}
    if config.loss == "infonce":
        loss = triplet_losses.contrast(anchor, positive, apart, config.temperature)
    else:
        hardest = config.hard_after is not None and number >= config.hard_after
        loss, active = triplet_losses.triplet(anchor, positive, apart, config.margin, hardest=hardest)
        logged["active"] = float(active)
    loss.backward()
    fpr95 = triplet_losses.false_positive_rate(anchor, positive, apart)
    return {"loss": float(loss.detach()), "fpr95": fpr95, **logged}


def _require(config: TripletConfig) -> None:
    require_seeds(config)
    if config.batch < 4:
        raise BadInput(f"a batch of {config.batch} patches has nothing to compare", "--batch 1000")
