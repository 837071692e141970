"""Virtual patients on a GPU: a crop of 64^3 voxels at 1.5 mm, its labels and its exact map, and a whole body.

Without a GPU it is left out; on a machine that has one, `python benchmarks/patients/on_gpu/run.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, write_ours

from homolog.space.dense import sampled_displacement, sampled_on
from homolog.synth.configs import PatientConfig
from homolog.synth.patients import between, draw_patient

RUNS = 20


def main() -> None:
    arguments(__doc__)
    if not torch.cuda.is_available():
        print(
            "left out, its figures stay as committed: needs a GPU that torch can use; "
            "there, run python benchmarks/patients/on_gpu/run.py",
            file=sys.stderr,
        )
        sys.exit(0)
    device = torch.device("cuda")
    one, other = draw_patient(10, PatientConfig(slice_mm=2.0)), draw_patient(11)
    map_ = between(one, other)
    middle = one.landmarks().by_name(["liver centre"]).position[0]
    crop = one.grid(1.5, crop=np.stack((middle - 48, middle + 48)))
    whole = one.grid(1.5)

    def sample() -> None:
        one.both(crop, device)
        sampled_on(map_, crop, device)

    figures = {
        "first_crop_s": milliseconds(sample, runs=1, warm=False) / 1000,
        "crop_64_at_1_5_mm_ms": milliseconds(lambda: one.both(crop, device)),
        "map_at_each_voxel_of_the_crop_ms": milliseconds(lambda: sampled_on(map_, crop, device)),
        "crop_with_labels_and_map_ms": milliseconds(sample),
        "whole_million_voxels": whole.size / 1e6,
        "whole_at_1_5_mm_ms": milliseconds(lambda: one.both(whole, device), runs=3),
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20,
    }
    write_ours(
        Path(__file__).parent,
        {"gpu": torch.cuda.get_device_name(), "speed": figures, "beside_the_cpu": beside_the_cpu(one, crop, map_)},
    )


def milliseconds(work: Callable[[], Any], runs: int = RUNS, *, warm: bool = True) -> float:
    """The median time from the call until the GPU is done."""
    for _ in range(3 if warm else 0):
        work()
    times = []
    for _ in range(runs):
        torch.cuda.synchronize()
        begun = perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1000 * (perf_counter() - begun))
    return float(np.median(times))


def beside_the_cpu(one: Any, grid: Any, map_: Any) -> dict[str, Any]:
    """How far both are apart, and whether the GPU repeats itself."""
    device = torch.device("cuda")
    scan, labels = one.both(grid)
    found, numbers = one.both(grid, device)
    again = one.both(grid, device)[0]
    apart_mm = sampled_on(map_, grid, device).cpu().numpy() - sampled_displacement(map_, grid)
    return {
        "worst_hu": np.abs(found.numpy() - scan.numpy()).max(),
        "labels_that_differ": int((numbers.numpy() != labels.numpy()).sum()),
        "map_worst_mm": np.abs(apart_mm).max(),
        "same_bytes_again": found.numpy().tobytes() == again.numpy().tobytes(),
    }


if __name__ == "__main__":
    main()
