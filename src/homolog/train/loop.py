"""What every training does: steps, a log, checkpoints to go on from with the same result, and several processes.

A recipe hands over a function that makes the gradients of one step from that step's own random generator, and this
calls it. As nothing but the step's number decides what is drawn, a run that was cut off and resumed, and one that was
not, end with the same numbers.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from homolog import weights
from homolog.errors import BadInput
from homolog.io.files import unwritable, writing
from homolog.nets.configs import Net, of_record
from homolog.train.optimisers import Optimiser

# Makes the gradients of a step with a generator of its own, and says what to log.
Step = Callable[[np.random.Generator], dict[str, float]]
# Called after each step with its number, the share of the run that is done, and what is logged.
OnStep = Callable[[int, float, dict[str, float]], None]


@dataclass(frozen=True)
class Plan:
    """How long to train, and how often to write.

    steps      to train in all, or None
    minutes    to train in all, those of runs before included, or None; whichever is over first
    seed       of all that is drawn
    clip       the gradient's norm is kept below it
    save_s     seconds between checkpoints
    averaging  of the averaged weights that come out: each step's count this much less than the step's after it
    """

    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    clip: float = 10.0
    save_s: float = 60.0
    averaging: float = 0.999

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise BadInput("a training needs an end", "--minutes 60, or --steps 10000")
        for name, value in (("steps", self.steps), ("minutes", self.minutes)):
            if value is not None and not value > 0:
                raise BadInput(f"--{name} must be positive, got {value}")


@dataclass
class State:
    """All that a checkpoint holds; the one thing here that changes.

    averaged  the weights, averaged over the last steps
    options   of the recipe: a checkpoint of other ones is not gone on from
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer | Optimiser
    averaged: dict[str, torch.Tensor] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.averaged:
            self.averaged = {name: value.detach().clone() for name, value in self.network.state_dict().items()}


class Falling(Protocol):
    """A recipe's Config, a dataclass, and what it says of its rate, see `falling`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def warm_steps(self) -> int: ...

    @property
    def calm_steps(self) -> int: ...


def trained(
    folder: Path,
    plan: Plan,
    config: Falling,
    begin: Callable[[], State],
    make_gradients: Callable[[State, np.random.Generator], dict[str, float]],
    record_of: Callable[[State], dict[str, Any]],
    *,
    volumes: Sequence[Path] = (),
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> State:
    """A recipe's whole training, from where the folder stands: checkpoint.pt, log.csv, weights with their card.

    begin           makes the first state
    make_gradients  leaves the gradients of a step in the state's network, and says what to log
    record_of       the card
    volumes         that are learnt from
    """
    join(device)
    try:
        state = begin()
        state.options = {**asdict(config), "seed": plan.seed, "volumes": [path.name for path in volumes]}
        state = resumed(state, folder)
        return run(
            state,
            lambda rng: make_gradients(state, rng),
            plan,
            folder,
            rate=lambda n: falling(n, config.warm_steps, config.calm_steps),
            on_step=on_step,
            on_save=lambda now: write_weights(now, folder, record_of(now)),
        )
    finally:
        leave()


def card(state: State, plan: Plan, recipe: str, config: Any, network: Any, **more: Any) -> dict[str, Any]:
    """What the card of any weights says; more is of the recipe's own."""
    return {
        "network": asdict(network),
        "recipe": recipe,
        "config": asdict(config),
        "seed": plan.seed,
        "steps": state.step,
        "minutes": round(state.seconds / 60, 1),
        **more,
    }


def run(
    state: State,
    make_gradients: Step,
    plan: Plan,
    folder: Path,
    *,
    rate: Callable[[int], float],
    on_step: OnStep | None = None,
    on_save: Callable[[State], None] | None = None,
) -> State:
    """Trains until the plan is over, from where the state stands.

    rate     of a step's number: what the optimiser's learning rates are multiplied with
    on_save  called with each checkpoint, in the first of several processes
    """
    log, began, saved = Log(folder, state.step), time.monotonic() - state.seconds, time.monotonic()
    first = state.step
    for group in state.optimiser.param_groups:
        group.setdefault("first_lr", group["lr"])
    try:
        share = _share(state, plan)
        while share < 1:
            logged = _one(state, make_gradients, plan, rate)
            state.seconds = time.monotonic() - began
            log.add(state.step, state.seconds, logged)
            # all processes ask together, whoever of them tells it
            share = _share(state, plan)
            if on_step is not None:
                on_step(state.step, share, logged)
            if time.monotonic() - saved > plan.save_s:
                save(state, folder, on_save)
                saved = time.monotonic()
    finally:
        # an interrupt loses nothing: the state is that of the last whole step; and what never began leaves nothing
        if state.step > first:
            save(state, folder, on_save)
        log.close()
    return state


def falling(step: int, warm_steps: int, calm_steps: int) -> float:
    """What a first rate is multiplied with: warmed up, kept, then falling as the step's number grows.

    It asks for no end, so that a training can always be prolonged.
    """
    return min(1.0, (step + 1) / warm_steps, calm_steps / (step + 1))


def precision(device: torch.device, *, half: bool) -> torch.autocast:
    """In which numbers a network works: whole ones, or bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def filled(network: nn.Module, config: Net, name: str | None) -> None:
    """Gives a network of this Config the weights that training begins from, where it begins from any."""
    if name is None:
        return
    theirs = of_record(type(config), weights.card(name)["network"])
    if theirs != config:
        raise BadInput(f"the weights of {name} are of another network", "another --net, or the options they had")
    network.load_state_dict(weights.load(name))


def generator_of(seed: int, step: int) -> np.random.Generator:
    """A step's own, another one in each process."""
    return np.random.default_rng([seed, step, rank()])


# ---------------------------------------------------------------------------------------------------------------------
# Checkpoints


def save(state: State, folder: Path, on_save: Callable[[State], None] | None = None) -> None:
    """Writes checkpoint.pt, whole or not at all; of several processes the first one does."""
    if rank() > 0:
        return
    held = {
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "averaged": state.averaged,
        "step": state.step,
        "seconds": state.seconds,
        "options": state.options,
    }
    # by way of the memory: torch's own writing to a full disk ends in an error that does not say so
    whole = io.BytesIO()
    torch.save(held, whole)
    with writing(folder / "checkpoint.pt") as part:
        part.write_bytes(whole.getbuffer())
    if on_save is not None:
        on_save(state)


def write_weights(state: State, folder: Path, record: dict[str, Any]) -> None:
    """weights.safetensors, the weights averaged over the last steps, and weights.json, their card."""
    from safetensors.torch import save

    with writing(folder / "weights.safetensors") as part:
        # not by `save_file`, whose files nobody else may read
        part.write_bytes(save({name: value.cpu().contiguous() for name, value in state.averaged.items()}))
    with writing(folder / "weights.json") as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def resumed(state: State, folder: Path) -> State:
    """The state of the folder's checkpoint, or the one that is given where there is none."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return state
    device = next(state.network.parameters()).device
    held = torch.load(path, map_location=device, weights_only=True)
    _require_same(state.options, held.get("options", state.options), path)
    try:
        state.network.load_state_dict(held["network"])
        state.optimiser.load_state_dict(held["optimiser"])
    except (RuntimeError, ValueError) as error:
        raise BadInput(
            f"{path} is of another network than the one to train", "train into another folder with --out"
        ) from error
    return State(state.network, state.optimiser, held["averaged"], held["step"], held["seconds"], state.options)


def _require_same(asked: dict[str, Any], begun: dict[str, Any], path: Path) -> None:
    """Raises where a training would go on with other options than it began with: its card would tell half of it."""
    others = [name for name in asked if name in begun and asked[name] != begun[name]]
    if others:
        told = ", ".join(f"{name} {begun[name]}, not {asked[name]}" for name in others[:3])
        raise BadInput(f"{path} is of a training with {told}", "the same options, or another folder with --out")


# ---------------------------------------------------------------------------------------------------------------------
# The log


class Log:
    """log.csv, and TensorBoard's files where it is installed. Rows of steps that will be done again are left out."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.board = folder / "log.csv", None
        self.columns: list[str] = []
        if rank() > 0:
            return
        kept = [row for row in rows(self.path) if row["step"] <= step] if step else []
        self.file = self.path.open("w", newline="")
        for row in kept:
            self._write({**row, "step": int(row["step"])})
        self.board = _board(folder)

    def add(self, step: int, seconds: float, logged: dict[str, float]) -> None:
        """One step's row."""
        if rank() > 0:
            return
        self._write({"step": step, "seconds": round(seconds, 2), **{n: float(f"{v:.6g}") for n, v in logged.items()}})
        if self.board is not None:
            for name, value in logged.items():
                self.board.add_scalar(name, value, step)

    def _write(self, row: dict[str, Any]) -> None:
        with self._said():
            if not self.columns:
                self.columns = list(row)
                csv.writer(self.file).writerow(self.columns)
            csv.DictWriter(self.file, self.columns, extrasaction="ignore").writerow(row)
            self.file.flush()

    def close(self) -> None:
        """Nothing is added any more."""
        if rank() == 0:
            # what a full disk did not take is tried once more
            with self._said():
                self.file.close()
        if self.board is not None:
            self.board.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self.path, error) from error


def rows(path: Path) -> list[dict[str, float]]:
    """The rows of a log, none where there is no log."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


# ---------------------------------------------------------------------------------------------------------------------
# One step


def _one(state: State, make_gradients: Step, plan: Plan, rate: Callable[[int], float]) -> dict[str, float]:
    torch.manual_seed(int(generator_of(plan.seed, state.step).integers(2**62)))
    for group in state.optimiser.param_groups:
        group["lr"] = group["first_lr"] * rate(state.step)
    state.optimiser.zero_grad(set_to_none=True)
    state.network.train()
    logged = make_gradients(generator_of(plan.seed, state.step))
    logged = across(logged, state.network)
    norm = float(nn.utils.clip_grad_norm_(state.network.parameters(), plan.clip))
    # a step that came to no number is left out: one bad draw must not end an hour's work
    if np.isfinite(norm):
        state.optimiser.step()
    _average(state, plan.averaging)
    state.step += 1
    return {**logged, "gradient_norm": norm}


def _average(state: State, averaging: float) -> None:
    # early on the average is of all steps so far, so that what was drawn at first is soon forgotten
    kept = min(averaging, state.step / (state.step + 10))
    with torch.no_grad():
        for name, value in state.network.state_dict().items():
            average = state.averaged[name]
            if value.is_floating_point():
                average.lerp_(value, 1 - kept)
            else:
                average.copy_(value)


def _share(state: State, plan: Plan) -> float:
    by_steps = state.step / plan.steps if plan.steps else 0.0
    by_time = _agreed(state.seconds) / 60 / plan.minutes if plan.minutes else 0.0
    return max(by_steps, by_time)


# ---------------------------------------------------------------------------------------------------------------------
# Several processes, as torchrun starts them


def rank() -> int:
    """Which of the processes this is."""
    return torch.distributed.get_rank() if _several() else 0


def join(device: torch.device | str = "cpu") -> None:
    """Joins the processes that torchrun started, if it did."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and not _several():
        torch.distributed.init_process_group("nccl" if str(device).startswith("cuda") else "gloo")


def leave() -> None:
    """Ends what `join` began."""
    if _several():
        torch.distributed.destroy_process_group()


def across(logged: dict[str, float], network: nn.Module) -> dict[str, float]:
    """Gradients and what is logged become their means over the processes.

    By hand and not by torch's wrapper, whose hooks do not know of gradients of gradients.
    """
    if not _several():
        return logged
    for parameter in network.parameters():
        if parameter.requires_grad:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.distributed.all_reduce(gradient)
            parameter.grad = gradient / torch.distributed.get_world_size()
    values = torch.tensor(list(logged.values()), dtype=torch.float64)
    device = next(network.parameters()).device
    values = values.to(device)
    torch.distributed.all_reduce(values)
    return dict(zip(logged, (values / torch.distributed.get_world_size()).tolist()))


def _agreed(seconds: float) -> float:
    """All processes stop at the same step: by the first one's clock."""
    if not _several():
        return seconds
    shared = torch.tensor([seconds], dtype=torch.float64)
    if torch.distributed.get_backend() == "nccl":
        shared = shared.cuda()
    torch.distributed.broadcast(shared, 0)
    return float(shared)


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
