"""Our optimisers step as torch's do, and read each other's checkpoints."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from homolog.train.optimisers import AdamW, Momentum

PAIRS = {
    "adamw": (lambda p: AdamW(p, 0.03), lambda p: torch.optim.AdamW(p, 0.03, weight_decay=1e-2)),
    "momentum": (lambda p: Momentum(p, 0.03), lambda p: torch.optim.SGD(p, 0.03, momentum=0.9)),
}


def some_parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(5)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (5,), (2,))]


def stepped(optimiser, parameters, steps: range) -> None:
    for n in steps:
        optimiser.zero_grad()
        # the last is never used: it has no gradient
        loss = (parameters[0] - n).square().sum() + (parameters[1] * (n + 1)).sin().sum()
        loss.backward()
        optimiser.step()


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_steps_are_taken_as_torch_takes(name):
    ours, theirs = some_parameters(), some_parameters()
    stepped(PAIRS[name][0](ours), ours, range(25))
    stepped(PAIRS[name][1](theirs), theirs, range(25))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("first", [0, 1])
def test_either_goes_on_from_the_others_checkpoint(name, first):
    whole, halves = some_parameters(), some_parameters()
    stepped(PAIRS[name][0](whole), whole, range(12))
    begun, going_on = PAIRS[name][first](halves), PAIRS[name][1 - first](halves)
    stepped(begun, halves, range(6))
    stored, own = begun.state_dict(), going_on.state_dict()
    # torch's groups hold more settings than ours; each keeps its own
    going_on.load_state_dict({"state": stored["state"], "param_groups": own["param_groups"]})
    stepped(going_on, halves, range(6, 12))
    for one, other in zip(whole, halves, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_making_one_does_not_import_torchs_compiler():
    said = (
        "import sys, torch; from homolog.train.optimisers import AdamW; "
        "AdamW([torch.nn.Parameter(torch.ones(2))], 0.1); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
