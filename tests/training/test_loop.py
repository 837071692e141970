"""The loop that trainings share."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from homolog.errors import BadInput, UnwritableFile
from homolog.train import loop
from homolog.train.loop import Plan, State

# Each process fits a line to numbers of its own.
SCRIPT = """
import sys
import numpy as np, torch
from pathlib import Path
from homolog.train import loop
from homolog.train.loop import Plan, State

torch.manual_seed(0)
network = torch.nn.Linear(2, 1)
state = State(network, torch.optim.SGD(network.parameters(), 0.1))

def gradients(rng):
    inputs = torch.tensor(rng.normal(size=(4, 2)), dtype=torch.float32)
    loss = ((network(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean()
    loss.backward()
    return {"loss": float(loss.detach())}

loop.join()
folder = Path(sys.argv[1])
loop.run(state, gradients, Plan(steps=3), folder, rate=lambda n: 1.0)
torch.save(network.state_dict(), folder / f"rank{loop.rank()}.pt")
loop.leave()
"""


def line() -> tuple[State, loop.Step]:
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 1)

    def gradients(rng: np.random.Generator) -> dict[str, float]:
        inputs = torch.tensor(rng.normal(size=(4, 2)), dtype=torch.float32)
        loss = ((network(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean()
        loss.backward()
        return {"loss": float(loss.detach())}

    return State(network, torch.optim.AdamW(network.parameters(), 0.05)), gradients


def run(folder: Path, steps: int) -> State:
    state, gradients = line()
    state = loop.resumed(state, folder)
    return loop.run(state, gradients, Plan(steps=steps, averaging=0.9), folder, rate=lambda n: 1 / (1 + n))


def test_six_steps_are_three_and_three(tmp_path):
    whole, _ = run(tmp_path / "a", 6), run(tmp_path / "b", 3)
    parts = run(tmp_path / "b", 6)
    assert torch.equal(whole.network.weight, parts.network.weight)
    assert torch.equal(whole.averaged["weight"], parts.averaged["weight"])
    assert [row["loss"] for row in loop.rows(tmp_path / "a/log.csv")] == [
        row["loss"] for row in loop.rows(tmp_path / "b/log.csv")
    ]


def test_an_interrupt_keeps_what_was_done(tmp_path):
    state, gradients = line()

    def stopped(rng: np.random.Generator) -> dict[str, float]:
        if state.step == 2:
            raise KeyboardInterrupt
        return gradients(rng)

    with pytest.raises(KeyboardInterrupt):
        loop.run(state, stopped, Plan(steps=6, averaging=0.9), tmp_path, rate=lambda n: 1 / (1 + n))
    assert loop.resumed(line()[0], tmp_path).step == 2
    whole, parts = run(tmp_path / "whole", 6), run(tmp_path, 6)
    assert torch.equal(whole.network.weight, parts.network.weight)


def test_a_finished_training_does_nothing_more(tmp_path):
    first, again = run(tmp_path, 3), run(tmp_path, 3)
    assert torch.equal(first.network.weight, again.network.weight)
    assert [row["step"] for row in loop.rows(tmp_path / "log.csv")] == [1, 2, 3]


def test_a_step_that_is_no_number_is_left_out(tmp_path):
    state, _ = line()
    before = state.network.weight.detach().clone()

    def broken(rng: np.random.Generator) -> dict[str, float]:
        (state.network.weight.sum() * float("nan")).backward()
        return {"loss": float("nan")}

    loop.run(state, broken, Plan(steps=2), tmp_path, rate=lambda n: 1.0)
    assert torch.equal(state.network.weight, before)


def test_a_full_disk_is_said_and_the_checkpoint_before_stays(tmp_path):
    state, gradients = line()
    loop.run(state, gradients, Plan(steps=1), tmp_path, rate=lambda n: 1.0)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UnwritableFile, match=r"checkpoint\.pt: no room left"):
            loop.run(state, gradients, Plan(steps=2), tmp_path, rate=lambda n: 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_minutes_end_a_training(tmp_path):
    state, gradients = line()
    loop.run(state, gradients, Plan(minutes=1e-3), tmp_path, rate=lambda n: 1.0)
    assert state.step >= 1
    assert state.seconds >= 0.06


def test_several_processes_agree_and_average_their_gradients(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29541", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    ran = [
        subprocess.Popen([sys.executable, script, tmp_path], env={**os.environ, **common, "RANK": str(n)})
        for n in range(2)
    ]
    assert [one.wait(timeout=120) for one in ran] == [0, 0]
    first, second = (torch.load(tmp_path / f"rank{n}.pt", weights_only=True) for n in range(2))
    assert torch.equal(first["weight"], second["weight"])
    assert len(loop.rows(tmp_path / "log.csv")) == 3
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    for step in range(3):
        # one process that sees what both saw
        seen = np.concatenate([np.random.default_rng([0, step, rank]).normal(size=(4, 2)) for rank in range(2)])
        inputs = torch.tensor(seen, dtype=torch.float32)
        optimiser.zero_grad()
        ((network(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean().backward()
        optimiser.step()
    assert torch.allclose(network.weight, first["weight"], atol=1e-6)


@dataclass(frozen=True)
class Steps:
    warm_steps: int = 1
    calm_steps: int = 10


def test_a_training_goes_on_with_the_options_it_began_with(tmp_path):
    def trained(config: Steps, seed: int, *volumes: str) -> State:
        state, gradients = line()
        plan = Plan(steps=2 + 2 * (tmp_path / "checkpoint.pt").exists(), seed=seed)
        given = [Path(name) for name in volumes]
        return loop.trained(
            tmp_path, plan, config, lambda: state, lambda now, rng: gradients(rng), lambda now: {}, volumes=given
        )

    trained(Steps(), 0, "a/one.nii.gz")
    for config, seed, volume, told in (
        (Steps(calm_steps=20), 0, "one.nii.gz", "calm_steps 10, not 20"),
        (Steps(), 1, "one.nii.gz", "seed 0, not 1"),
        (Steps(), 0, "two.nii.gz", "volumes .*one.*, not .*two"),
    ):
        with pytest.raises(BadInput, match=told):
            trained(config, seed, volume)
    assert trained(Steps(), 0, "one.nii.gz").step == 4
