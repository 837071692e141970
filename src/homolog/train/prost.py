"""Trains ProST's network.

    homolog train prost --minutes 60 --out trained
    homolog train prost --minutes 600 --net paper --device cuda --out trained --volumes a.nii.gz b.nii.gz
    torchrun --nproc-per-node 4 -m homolog train prost --minutes 600 --out trained

The same line again goes on from trained/checkpoint.pt; a longer --minutes goes on further. The step, its optimiser and
its numbers are in `configs.ProstConfig`, what is drawn in `prost_data`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from homolog.errors import BadInput
from homolog.io.files import writing
from homolog.nets.configs import PROST_NETS
from homolog.nets.prost import ProstNet, record_of
from homolog.projective.prost import ProjectiveTransformer, unlikenesses
from homolog.space import se3_torch
from homolog.train import loop, prost_data
from homolog.train.configs import ProstConfig
from homolog.train.loop import OnStep, Plan, State
from homolog.train.prost_data import Patient, Sample

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
        count = min(self.config.patients, 1 + step // self.config.growth)
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
    loop.join(device)
    spacing = PROST_NETS[config.net].spacing_mm
    kept = folder / "patients"
    marks: list[Path | None] = list(labels) if labels else [None] * len(volumes)
    found = tuple(prost_data.given(path, mark, spacing, kept) for path, mark in zip(volumes, marks, strict=True))
    state = loop.resumed(fresh(config, plan.seed, device), folder)
    data = Data(config, kept, found)

    def make_gradients(rng: np.random.Generator) -> dict[str, float]:
        samples = [one(data, state.step, rng) for _ in range(config.volumes_a_step)]
        return step(state.network, samples, config, volume_too=state.step % config.volume_every == 0)

    def on_save(now: State) -> None:
        write(now, config, plan, folder, [path.name for path in volumes])

    try:
        return loop.run(
            state,
            make_gradients,
            plan,
            folder,
            rate=lambda n: rate(n, config),
            on_step=on_step,
            on_save=on_save,
        )
    finally:
        loop.leave()


def one(data: Data, number: int, rng: np.random.Generator) -> Sample:
    """A sample of one of the patients."""
    return prost_data.sample(data.patient(number, rng), data.config, PROST_NETS[data.config.net], rng)


def fresh(config: ProstConfig, seed: int = 0, device: str = "cpu") -> State:
    """A network with drawn weights, and its optimiser."""
    torch.manual_seed(seed)
    network = ProstNet(PROST_NETS[config.net]).to(device)
    return State(network, optimiser(network, config))


def optimiser(network: ProstNet, config: ProstConfig) -> torch.optim.Optimizer:
    """AdamW, or SGD as published."""
    if config.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), config.rate, momentum=0.9)
    return torch.optim.AdamW(network.parameters(), config.rate, weight_decay=1e-2)


def rate(step: int, config: ProstConfig) -> float:
    """What the first rate is multiplied with: warmed up, kept, then falling with the root of the step's number.

    It asks for no end, so that a training can always be prolonged.
    """
    return min(1.0, (step + 1) / config.warm_steps, float(np.sqrt(config.calm_steps / (step + 1))))


# ---------------------------------------------------------------------------------------------------------------------
# One step


def step(
    network: torch.nn.Module, samples: Sequence[Sample], config: ProstConfig, *, volume_too: bool = True
) -> dict[str, float]:
    """Leaves the gradients of a step in the network, and says what to log.

    volume_too  whether the 3D branch gets gradients as well
    """
    assert isinstance(network, ProstNet)
    network.volume_branch.requires_grad_(volume_too)
    # of the parameters alone: the pose is a leaf too, and its second derivatives are not wanted
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    logs = []
    for each in samples:
        loss, logged = judged(network, each, config)
        (loss / len(samples)).backward(inputs=trained)
        logs.append(logged)
    network.requires_grad_(True)
    return {name: float(np.mean([logged[name] for logged in logs])) for name in logs[0]}


def judged(network: ProstNet, sample: Sample, config: ProstConfig) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of a sample, and what to log of it."""
    values, slopes = slopes_of(network, sample)
    truths = sample.truths.repeat_interleave(sample.poses.shape[1], 0)
    wanted = se3_torch.descent_direction(sample.poses.flatten(0, 1), truths).float()
    # what a standard deviation of the relative pose is: 13.4 degrees and 31.7 mm where both are drawn as published
    sizes = np.sqrt(2) * torch.tensor([np.radians(config.turn_degrees)] * 3 + [config.shift_mm] * 3).float()
    found, wanted = -slopes.float().cpu() * sizes, wanted / sizes
    turned, shifted = cosine(found[:, :3], wanted[:, :3]), cosine(found[:, 3:], wanted[:, 3:])
    # |a - b|^2 of unit vectors is 2 - 2 cos: the published loss
    direction = (4 - 2 * turned - 2 * shifted).mean()
    # half the squared distance has this gradient
    length = (((found - wanted) ** 2).sum(1) / ((wanted**2).sum(1) + 0.5)).mean()
    value = ((_root(values.cpu()) - _root((wanted**2).sum(1) / 2)) ** 2).mean()
    loss = direction + config.length * length + config.value * value
    named = {"loss": loss, "direction": direction, "cos_turn": turned.mean(), "cos_shift": shifted.mean()}
    named |= {"length": length, "value": value}
    return loss, {name: float(one.detach()) for name, one in named.items()}


def slopes_of(network: ProstNet, sample: Sample) -> tuple[torch.Tensor, torch.Tensor]:
    """L_N (N,) and its change (N, 6) by twists of the body about its origin, both with their history."""
    device = next(network.parameters()).device
    places = sample.places.to(device)
    channels = network.channels(sample.volume.to(device))
    fixed = network.fixed(sample.pictures.to(device), places).repeat_interleave(sample.poses.shape[1], 0)
    poses = sample.poses.flatten(0, 1).to(device)
    twists = torch.zeros((len(poses), 6), dtype=torch.float64, device=device, requires_grad=True)
    transformer = ProjectiveTransformer(sample.grid, sample.camera)
    values = unlikenesses(network, channels, transformer, fixed, places, se3_torch.moved(poses, twists))
    (slopes,) = torch.autograd.grad(values.sum(), twists, create_graph=True)
    return values, slopes


def cosine(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(N,): of the angles between vectors (N, 3)."""
    lengths = (found.square().sum(1) + LEAST**2).sqrt() * (wanted.square().sum(1) + LEAST**2).sqrt()
    return (found * wanted).sum(1) / lengths


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


def write(state: State, config: ProstConfig, plan: Plan, folder: Path, given: Sequence[str] = ()) -> None:
    """weights.safetensors, the weights averaged over the last steps, and their card."""
    from safetensors.torch import save_file

    record = {
        "network": record_of(PROST_NETS[config.net]),
        "recipe": "homolog train prost",
        "config": asdict(config),
        "seed": plan.seed,
        "steps": state.step,
        "minutes": round(state.seconds / 60, 1),
        "virtual_patients": [config.first_patient, config.first_patient + config.patients],
        "given": list(given),
    }
    with writing(folder / "weights.safetensors") as part:
        save_file({name: value.cpu().contiguous() for name, value in state.averaged.items()}, part)
    with writing(folder / "weights.json") as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


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
