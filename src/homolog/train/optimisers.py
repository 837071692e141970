"""AdamW and stochastic gradient descent with momentum, without what torch's own bring along.

Making one of `torch.optim` imports torch's compiler: 150 MB and some seconds, for a few lines of arithmetic. These keep
the same state under the same names, so that checkpoints of either can be read by the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

Tensor = torch.Tensor


class Optimiser:
    """Steps of parameters along their gradients; `param_groups` holds the rate, as `torch.optim` does."""

    def __init__(self, parameters: Iterable[Tensor], rate: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": rate}]
        self.state: list[dict[str, Tensor]] = [{} for _ in self.param_groups[0]["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        rate = float(self.param_groups[0]["lr"])
        for parameter, held in zip(self.param_groups[0]["params"], self.state, strict=True):
            if parameter.grad is not None:
                self._moved(parameter, parameter.grad, held, rate)

    def state_dict(self) -> dict[str, Any]:
        group = {name: value for name, value in self.param_groups[0].items() if name != "params"}
        group["params"] = list(range(len(self.state)))
        return {"state": {n: held for n, held in enumerate(self.state) if held}, "param_groups": [group]}

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        own = self.param_groups[0]["params"]
        self.param_groups[0] |= {name: value for name, value in stored["param_groups"][0].items() if name != "params"}
        self.state = [
            {
                name: value.to(parameter.device)
                for name, value in stored["state"].get(n, {}).items()
                if value is not None
            }
            for n, parameter in enumerate(own)
        ]

    def _moved(self, parameter: Tensor, gradient: Tensor, held: dict[str, Tensor], rate: float) -> None:
        raise TypeError(f"{type(self).__name__} does not say how it steps")


class AdamW(Optimiser):
    """Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, algorithm 2."""

    FIRST, SECOND, LEAST = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Iterable[Tensor], rate: float, weight_decay: float = 1e-2) -> None:
        super().__init__(parameters, rate)
        self.weight_decay = weight_decay

    def _moved(self, parameter: Tensor, gradient: Tensor, held: dict[str, Tensor], rate: float) -> None:
        if not held:
            held |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(parameter)}
            held["exp_avg_sq"] = torch.zeros_like(parameter)
        held["step"] += 1
        step = float(held["step"])
        parameter.mul_(1 - rate * self.weight_decay)
        held["exp_avg"].lerp_(gradient, 1 - self.FIRST)
        held["exp_avg_sq"].mul_(self.SECOND).addcmul_(gradient, gradient, value=1 - self.SECOND)
        size = (held["exp_avg_sq"].sqrt() / (1 - self.SECOND**step) ** 0.5).add_(self.LEAST)
        parameter.addcdiv_(held["exp_avg"], size, value=-rate / (1 - self.FIRST**step))


class Momentum(Optimiser):
    """Stochastic gradient descent with momentum, as the authors of ProST and of the patch descriptor use it."""

    def __init__(
        self, parameters: Iterable[Tensor], rate: float, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, rate)
        self.momentum, self.weight_decay = momentum, weight_decay

    def _moved(self, parameter: Tensor, gradient: Tensor, held: dict[str, Tensor], rate: float) -> None:
        if self.weight_decay:
            gradient = gradient.add(parameter, alpha=self.weight_decay)
        if held:
            held["momentum_buffer"].mul_(self.momentum).add_(gradient)
        else:
            held["momentum_buffer"] = gradient.clone()
        parameter.add_(held["momentum_buffer"], alpha=-rate)
