"""Trains ProST's network.

    homolog train prost --minutes 60 --out trained
    homolog train prost --minutes 600 --net paper --device cuda --out trained --volumes a.nii.gz b.nii.gz
    torchrun --nproc-per-node 4 -m homolog train prost --minutes 600 --out trained

The same line again goes on from trained/checkpoint.pt; a longer --minutes goes on further. The step, its optimiser and
its numbers are in `configs.ProstConfig`, what is drawn in `prost_data`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from homolog.errors import BadInput
from homolog.nets.configs import PROST_NETS, ProstNetConfig
from homolog.nets.prost import ProstNet
from homolog.projective.prost import ProjectiveTransformer
from homolog.space import se3_torch
from homolog.train import loop, prost_data
from homolog.train.configs import ProstConfig
from homolog.train.loop import OnStep, Plan, State
from homolog.train.optimisers import AdamW, Momentum, Optimiser
from homolog.train.place_losses import off_peaks, off_places
from homolog.train.prost_data import Patient, Sample

RECIPE = "homolog train prost"
# The standard deviation of a taught map, as rays lean: about a square of four pixels of a C-arm's 48.
MAP_WIDTH = 0.06
# What a normalised direction's length is kept above, so that none is divided by nothing.
LEAST = 1e-10


@dataclass(frozen=True, eq=False)
class Data:
    """Where patients come from.

    folder  where they are kept once drawn
    given   CTs, with labels of their bone where there are any
    """

    config: ProstConfig
    folder: Path
    given: tuple[Patient, ...] = ()

    def patient(self, step: int, rng: np.random.Generator) -> Patient:
        """One of the patients that have been drawn by this step."""
        if self.given and rng.uniform() < self.config.given:
            return self.given[int(rng.integers(len(self.given)))]
        count = min(self.config.patients, self.config.at_first + step // self.config.growth)
        return prost_data.virtual(self.config.first_patient + int(rng.integers(count)), self._spacing_mm, self.folder)

    @property
    def _spacing_mm(self) -> float:
        return PROST_NETS[self.config.net].spacing_mm


def train(
    folder: Path,
    plan: Plan,
    config: ProstConfig = ProstConfig(),
    *,
    volumes: Sequence[Path] = (),
    labels: Sequence[Path] = (),
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> State:
    """Trains into a folder, or goes on there: checkpoint.pt, log.csv, weights.safetensors with its card."""
    _require(volumes, labels, config)
    spacing = PROST_NETS[config.net].spacing_mm
    kept = folder / "patients"
    marks: list[Path | None] = list(labels) if labels else [None] * len(volumes)
    found = tuple(prost_data.given(path, mark, spacing, kept) for path, mark in zip(volumes, marks, strict=True))
    data = Data(config, kept, found)

    def make_gradients(now: State, rng: np.random.Generator) -> dict[str, float]:
        samples = [one(data, now.step, rng) for _ in range(config.volumes_a_step)]
        turn = now.step % config.volume_every == 0, now.step % config.slopes_every == 0
        return step(now.network, samples, config, volume_too=turn[0], slopes_too=turn[1])

    def card(now: State) -> dict[str, Any]:
        patients = [config.first_patient, config.first_patient + config.patients]
        more = {"virtual_patients": patients, "given": [path.name for path in volumes]}
        return loop.card(now, plan, RECIPE, config, network_of(config), **more)

    def begin() -> State:
        return fresh(config, plan.seed, device)

    return loop.trained(
        folder, plan, config, begin, make_gradients, card, volumes=volumes, device=device, on_step=on_step
    )


def one(data: Data, number: int, rng: np.random.Generator) -> Sample:
    """A sample of one of the patients."""
    return prost_data.sample(data.patient(number, rng), data.config, PROST_NETS[data.config.net], rng)


def fresh(config: ProstConfig, seed: int = 0, device: str = "cpu") -> State:
    """A network with drawn weights, and its optimiser."""
    torch.manual_seed(seed)
    network = ProstNet(PROST_NETS[config.net]).to(device)
    return State(network, optimiser(network, config))


def network_of(config: ProstConfig) -> ProstNetConfig:
    """The network's Config, with the units that it is taught."""
    turn, shift = (np.sqrt(2) * one for one in (config.turn_degrees, config.shift_mm))
    return replace(PROST_NETS[config.net], turn_degrees=round(turn, 3), shift_mm=round(shift, 3))


def optimiser(network: ProstNet, config: ProstConfig) -> Optimiser:
    """AdamW, or SGD as published."""
    if config.optimiser == "sgd":
        return Momentum(network.parameters(), config.rate)
    return AdamW(network.parameters(), config.rate)


# ---------------------------------------------------------------------------------------------------------------------
# One step


def step(
    network: torch.nn.Module,
    samples: Sequence[Sample],
    config: ProstConfig,
    *,
    volume_too: bool = True,
    slopes_too: bool = True,
) -> dict[str, float]:
    """Leaves the gradients of a step in the network, and says what to log.

    volume_too  whether the 3D branch gets gradients as well
    slopes_too  whether the similarity's own gradient is looked at, see `judged`
    """
    assert isinstance(network, ProstNet)
    network.volume_branch.requires_grad_(volume_too)
    # of the parameters alone: the pose is a leaf too, and its second derivatives are not wanted
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    logs = []
    for each in samples:
        loss, logged = judged(network, each, config, slopes_too=slopes_too)
        (loss / len(samples)).backward(inputs=trained)
        logs.append(logged)
    network.requires_grad_(True)
    return {name: float(np.mean([logged[name] for logged in logs])) for name in logs[0]}


@dataclass(frozen=True, eq=False)
class Compared:
    """What a network makes of a sample, with its history.

    moving, fixed            features of the N poses and of the T X-rays
    moving_maps, fixed_maps  (N or T, M, R, C), where the network looks for places
    values                   (N,): L_N of each pose with its own X-ray
    slopes                   (N, 6): its change by twists of the body about its origin, if it was asked for
    """

    moving: torch.Tensor
    fixed: torch.Tensor
    moving_maps: torch.Tensor | None
    fixed_maps: torch.Tensor | None
    values: torch.Tensor
    slopes: torch.Tensor | None


def judged(
    network: ProstNet, sample: Sample, config: ProstConfig, *, slopes_too: bool = True
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of a sample, and what to log of it.

    slopes_too  with the loss of L_N's gradient, whose own gradient costs as much again as all the rest; a network that
                is taught coordinates and places does without in most steps
    """
    taught = bool(network.config.marks)
    seen = compared(network, sample, slopes_too=slopes_too or not taught)
    parts: dict[str, torch.Tensor] = {}
    if taught:
        parts["coordinates"] = coordinates_loss(seen, sample, config)
        parts["places"] = config.places * places_loss(seen, sample)
        parts["maps"] = config.maps * maps_loss(seen, sample)
    logged = dict(parts)
    if seen.slopes is not None:
        sloped, logs = slopes_loss(seen, sample, config)
        parts["slopes"] = sloped * (config.slopes if taught else 1.0)
        logged |= logs
    loss = torch.stack(list(parts.values())).sum()
    return loss, {name: float(one.detach()) for name, one in {"loss": loss, **logged}.items()}


def compared(network: ProstNet, sample: Sample, *, slopes_too: bool = True) -> Compared:
    """A sample as the network sees it."""
    device = next(network.parameters()).device
    places, pictures = sample.places.to(device), sample.pictures.to(device)
    poses = sample.poses.to(device)
    twists = torch.zeros((len(poses), 6), dtype=torch.float64, device=device, requires_grad=slopes_too)
    transformer = ProjectiveTransformer(sample.grid, sample.camera)
    projections = transformer(network.channels(sample.volume.to(device)), se3_torch.moved(poses, twists))
    maps: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    if network.config.marks:
        maps = moving_maps, fixed_maps = network.moving_maps(projections, places), network.fixed_maps(pictures, places)
        moving, fixed = network.coordinates(moving_maps, places), network.coordinates(fixed_maps, places)
    else:
        moving, fixed = network.moving(projections, places), network.fixed(pictures, places)
    values = network.unlikeness(moving, fixed[_own(sample)])
    slopes = torch.autograd.grad(values.sum(), twists, create_graph=True)[0] if slopes_too else None
    return Compared(moving, fixed, *maps, values, slopes)


def slopes_loss(seen: Compared, sample: Sample, config: ProstConfig) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """That L_N's gradient points along the geodesic, and is about as long; and its parts."""
    assert seen.slopes is not None
    wanted = wanted_of(sample.poses, sample.truths[_own(sample)], config)
    found = -seen.slopes.float().cpu() * sizes(config)
    turned, shifted = cosine(found[:, :3], wanted[:, :3]), cosine(found[:, 3:], wanted[:, 3:])
    # |a - b|^2 of unit vectors is 2 - 2 cos: the published loss
    direction = (4 - 2 * turned - 2 * shifted).mean()
    # half the squared distance has this gradient
    length = (((found - wanted) ** 2).sum(1) / ((wanted**2).sum(1) + 0.5)).mean()
    value = ((_root(seen.values.cpu()) - _root((wanted**2).sum(1) / 2)) ** 2).mean()
    named = {"direction": direction, "cos_turn": turned.mean(), "cos_shift": shifted.mean()}
    named |= {"length": length, "value": value}
    return direction + config.length * length + config.value * value, named


def coordinates_loss(seen: Compared, sample: Sample, config: ProstConfig) -> torch.Tensor:
    """That coordinates of all poses and of all X-rays differ by the way from one to the other."""
    wanted = wanted_of(sample.poses[:, None], sample.truths, config)
    # the mean square of the differences is then half the squared distance
    scale = (seen.moving.shape[1] / 2) ** 0.5
    found = (seen.fixed - seen.moving[:, None]).cpu()[..., : wanted.shape[-1]]
    return functional.smooth_l1_loss(found, scale * wanted, beta=0.3)


def places_loss(seen: Compared, sample: Sample) -> torch.Tensor:
    """That the first of the places are the ends of the bones, where these are in the picture."""
    parts = [off_places(maps, sample.places, where, there) for maps, where, there in _taught(seen, sample)]
    return torch.stack(parts).sum()


def maps_loss(seen: Compared, sample: Sample) -> torch.Tensor:
    """That their maps are normal distributions about them."""
    parts = [off_peaks(maps, sample.places, where, there, MAP_WIDTH) for maps, where, there in _taught(seen, sample)]
    return torch.stack(parts).sum()


def _taught(seen: Compared, sample: Sample) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Of projections and X-rays: maps of the ends (N, E, R, C), where they are (N, E, 2), whether that is known."""
    assert seen.moving_maps is not None and seen.fixed_maps is not None
    out = []
    for maps, poses in ((seen.moving_maps, sample.poses), (seen.fixed_maps, sample.truths)):
        where, there = prost_data.places_in(sample, poses)
        out.append((maps[:, : where.shape[1]], where, there))
    return out


def wanted_of(poses: torch.Tensor, truths: torch.Tensor, config: ProstConfig) -> torch.Tensor:
    """(..., 6): the way from poses to truths in units of `sizes`."""
    return se3_torch.descent_direction(poses, truths).float() / sizes(config)


def sizes(config: ProstConfig) -> torch.Tensor:
    """(6,): a standard deviation of the relative pose, 13.4 degrees and 31.7 mm where both are drawn as published."""
    return np.sqrt(2) * torch.tensor([np.radians(config.turn_degrees)] * 3 + [config.shift_mm] * 3).float()


def cosine(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(N,): of the angles between vectors (N, 3)."""
    lengths = (found.square().sum(1) + LEAST**2).sqrt() * (wanted.square().sum(1) + LEAST**2).sqrt()
    return (found * wanted).sum(1) / lengths


def _own(sample: Sample) -> torch.Tensor:
    """(N,): the X-ray that each pose was drawn for."""
    return torch.arange(len(sample.poses)) % len(sample.truths)


def _root(squares: torch.Tensor) -> torch.Tensor:
    return (squares + 0.01).sqrt()


# ---------------------------------------------------------------------------------------------------------------------
# How good it is


def validated(
    network: ProstNet, patients: Sequence[Patient], config: ProstConfig, number: int, seed: int = 0
) -> dict[str, float]:
    """Means over drawn samples of patients: loss and cosines between L_N's gradient and the geodesic's."""
    logs = []
    was_training = network.training
    network.eval()
    for n in range(number):
        rng = np.random.default_rng([seed, n])
        sample = prost_data.sample(patients[n % len(patients)], config, network.config, rng)
        logs.append(judged(network, sample, config)[1])
    network.train(was_training)
    return {name: float(np.mean([logged[name] for logged in logs])) for name in logs[0]}


def _require(volumes: Sequence[Path], labels: Sequence[Path], config: ProstConfig) -> None:
    if labels and len(labels) != len(volumes):
        raise BadInput(
            f"{len(volumes)} volumes and {len(labels)} label maps were given", "one --labels a volume, in order"
        )
    last = config.first_patient + config.patients - 1
    if last >= prost_data.HELD_OUT:
        raise BadInput(
            f"patients {config.first_patient} to {last} reach into those kept for tests",
            "--first-patient 1000 --patients 120",
        )
