"""What one question to a measure of likeness costs: value, gradient, second order; pictures of 64 and 128 px."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, user_seconds, write_ours, yardstick

from homolog.projective.similarity import MEASURES, prepare

# Some systems count user seconds in steps of 4 ms: so many calls are timed together.
CALLS = 100


def milliseconds(work: Callable[[], object]) -> float:
    def often() -> None:
        for _ in range(CALLS):
            work()

    return 1e3 * user_seconds(often, runs=3) / CALLS


def costs(name: str, size_px: int, sigma_px: float) -> dict[str, float]:
    rng = np.random.default_rng(0)
    fixed, other = rng.normal(size=(2, size_px, size_px)).astype(np.float32)
    jacobian = rng.normal(size=(size_px, size_px, 6)).astype(np.float32)
    measure = prepare(name, fixed, sigma_px=sigma_px)
    row = {
        "value_ms": milliseconds(lambda: measure.value(other)),
        "value_and_gradient_ms": milliseconds(lambda: measure.value_and_gradient(other)),
    }
    if MEASURES[name].second:
        row["second_order_ms"] = milliseconds(lambda: measure.gauss_newton(other, jacobian))
    return row


def main() -> None:
    arguments(__doc__)
    figures: dict[str, object] = {"yardstick_user_s": yardstick()}
    for size_px in (64, 128):
        for name in MEASURES:
            for sigma_px in (0.0, 2.0):
                figures[f"{name}, {size_px} px, sigma {sigma_px:g}"] = costs(name, size_px, sigma_px)
    write_ours(Path(__file__).parent, figures)


if __name__ == "__main__":
    main()
