"""Trains SP3D: first on simple solids, then on pairs of volumes.

    homolog train sp3d --stage shapes --minutes 40 --out sp3d-pt
    homolog train sp3d --begin sp3d-pt --minutes 80 --out sp3d

The same line again goes on from checkpoint.pt in its folder; a longer --minutes goes on further. What is drawn is in
`sp3d_data`, the losses in `sp3d_losses`, the numbers in `configs.Sp3dConfig`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homolog.errors import BadInput
from homolog.nets.configs import SP3D_NETS
from homolog.nets.sp3d import CELL, Sp3dNet
from homolog.space.keypoints import Keypoints
from homolog.train import loop, sp3d_data, sp3d_losses
from homolog.train.configs import Sp3dConfig
from homolog.train.loop import OnStep, Plan, State
from homolog.train.optimisers import AdamW
from homolog.train.sp3d_adaptation import adapting
from homolog.train.sp3d_data import Parts
from homolog.train.triplet_losses import contrast, false_positive_rate
from homolog.train.volume_pairs import Stream, cohort_density, require_seeds, require_volumes, seeds

RECIPE = "homolog train sp3d"
# What a drawn point costs: where fewer are found again than this, it does better to draw none.
COST = 0.25


def train(
    folder: Path,
    plan: Plan,
    config: Sp3dConfig = Sp3dConfig(),
    *,
    volumes: Sequence[Path] = (),
    landmarks: Sequence[Keypoints] = (),
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> State:
    """Trains into a folder, or goes on there: checkpoint.pt, log.csv, weights.safetensors with its card.

    volumes    of stage volumes: CTs to warp, besides the virtual patients
    landmarks  of a cohort, by whose local differences volumes are warped; else virtual patients'
    """
    _require(config)
    require_volumes(volumes)
    network = begun(config, plan.seed)
    pairs = _pairs(config, network, plan.seed, volumes, landmarks)

    def begin() -> State:
        there = network.to(device)
        return State(there, AdamW(there.parameters(), config.rate))

    def make_gradients(now: State, rng: np.random.Generator) -> dict[str, float]:
        if pairs is None:
            return shapes_step(network, *sp3d_data.shapes(config, rng), config)
        held = pairs.at(now.step)
        chosen = [held[int(rng.integers(len(held)))] for _ in range(config.pictures)]
        return volumes_step(network, [sp3d_data.parts(one, config, rng) for one in chosen], config, rng)

    def card(now: State) -> dict[str, Any]:
        more = {"virtual_patients": seeds(config), "given": [path.name for path in volumes]}
        return loop.card(now, plan, RECIPE, config, SP3D_NETS[config.net], **more)

    return loop.trained(
        folder, plan, config, begin, make_gradients, card, volumes=volumes, device=device, on_step=on_step
    )


def begun(config: Sp3dConfig, seed: int) -> Sp3dNet:
    """A network with drawn weights, or with those that training begins from."""
    torch.manual_seed(seed)
    network = Sp3dNet(SP3D_NETS[config.net])
    loop.filled(network, network.config, config.begin)
    return network


def _pairs(
    config: Sp3dConfig, network: Sp3dNet, seed: int, volumes: Sequence[Path], landmarks: Sequence[Keypoints]
) -> Stream[sp3d_data.Seen] | None:
    if config.stage == "shapes":
        return None
    teachers = [] if config.teacher == "surf3d" else [adapting(network, config)]
    return sp3d_data.stream(config, network.config, cohort_density(landmarks), seed, volumes, teachers)


# ---------------------------------------------------------------------------------------------------------------------
# Steps: each leaves its gradients in the network, and says what to log


def shapes_step(network: Sp3dNet, pictures: torch.Tensor, wanted: torch.Tensor, config: Sp3dConfig) -> dict[str, float]:
    """To find the points of solids."""
    device = next(network.parameters()).device
    with loop.precision(device, half=config.half):
        logits = network.detector_only(pictures.to(device))
    logits, wanted = logits.float(), wanted.to(device)
    loss = sp3d_losses.detection(logits, wanted, config.dustbin)
    loss.backward()
    return {"loss": float(loss.detach()), "placed": sp3d_losses.placed(logits, wanted)}


def volumes_step(
    network: Sp3dNet, several: Sequence[Parts], config: Sp3dConfig, rng: np.random.Generator
) -> dict[str, float]:
    """To find points in both volumes, and to describe places alike."""
    device = next(network.parameters()).device
    pictures = torch.cat([one.pictures for one in several]).to(device)
    wanted = torch.cat([one.wanted for one in several]).to(device)
    with loop.precision(device, half=config.half):
        levels = network.levels(pictures)
        logits = network.detector(levels)
    logits = logits.float()
    found = {"detection": sp3d_losses.detection(logits, wanted, config.dustbin)}
    rates: dict[str, float] = {}
    if config.describe:
        described, rates["fpr95"] = _described(network, levels, several, config)
        found["description"] = config.describe * described
    if config.repeat:
        found["repeat"] = config.repeat * _repeated(logits, several, config, rng)
    loss = torch.stack(list(found.values())).sum()
    loss.backward()
    logged = {name: float(one.detach()) for name, one in {"loss": loss, **found}.items()}
    return {**logged, "placed": sp3d_losses.placed(logits, wanted), **rates}


def _described(
    network: Sp3dNet, levels: Any, several: Sequence[Parts], config: Sp3dConfig
) -> tuple[torch.Tensor, float]:
    """The loss of descriptors, and their FPR95."""
    device = levels.half.device
    places = torch.cat([each for one in several for each in (one.places, one.others)]).to(device)
    counts = [len(each) for one in several for each in (one.places, one.others)]
    picture = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).to(device)
    with loop.precision(device, half=config.half):
        made = network.described_at(levels, places, picture).float().split(counts)
    fixed, moving = torch.cat(made[::2]), torch.cat(made[1::2])
    apart = torch.from_numpy(sp3d_data.apart(several, config.apart_mm)).to(device)
    rate = false_positive_rate(fixed, moving, apart)
    if config.likeness == "infonce":
        return contrast(fixed, moving, apart, config.temperature), rate
    return sp3d_losses.description(fixed, moving, apart, config.attract, config.repel), rate


def _repeated(
    logits: torch.Tensor, several: Sequence[Parts], config: Sp3dConfig, rng: np.random.Generator
) -> torch.Tensor:
    generator = torch.Generator(device="cpu").manual_seed(int(rng.integers(2**31)))
    terms = []
    for n, one in enumerate(several):
        drawn = [sp3d_losses.drawn_points(logits[2 * n + m : 2 * n + m + 1].cpu(), generator) for m in range(2)]
        here = sp3d_data.carried(one, drawn[0][0].numpy().astype(float))
        again = sp3d_data.near(here, drawn[1][0].numpy().astype(float), config.repeat_mm / config.voxel_mm)
        terms += [sp3d_losses.repeating(likely, found, COST) for (_, likely), found in zip(drawn, again, strict=True)]
    return torch.stack(terms).mean().to(logits.device)


def _require(config: Sp3dConfig) -> None:
    require_seeds(config)
    for option, side in (("--solids-vox 32", config.solids_vox), ("--side-vox 64", config.side_vox)):
        if side % CELL or side < 2 * CELL:
            raise BadInput(f"pictures of {side} voxels are not whole cells of {CELL}", option)
    if config.stage == "volumes" and config.teacher != "surf3d" and config.begin is None:
        raise BadInput("adaptation needs weights to begin from", "--begin FOLDER of --stage shapes")
