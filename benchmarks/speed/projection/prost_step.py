"""One training step of ProST's published network: 128^3 voxels, an X-ray of 128^2 pixels, one pose, one thread.

Prints a line of JSON: the least user seconds of some steps, MB at the process's peak and above what it held before.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import torch

from homolog.kernels.threads import using_threads
from homolog.projective.leaning import places_of
from homolog.space.camera import Camera
from homolog.space.grid import Grid
from homolog.train import prost
from homolog.train.configs import ProstConfig
from homolog.train.prost_data import Sample, from_the_front

# The published geometry: a cube of 298.5 mm, 620 mm from the source, a detector of 374 mm at 1020 mm.
SIZE, CUBE_MM, FOCAL_MM, SOURCE_MM, DETECTOR_MM = 128, 298.5, 1020.0, 620.0, 374.0
STEPS = 2


def sample() -> Sample:
    """A block of noise; what a step costs does not depend on what it sees."""
    quarter = SIZE // 4
    volume = torch.zeros((SIZE,) * 3)
    volume[quarter:-quarter, quarter:-quarter, quarter:-quarter] = 0.03 * torch.rand((SIZE // 2,) * 3)
    grid = Grid.regular((SIZE,) * 3, CUBE_MM / SIZE, [(CUBE_MM / SIZE - CUBE_MM) / 2] * 3)
    camera = Camera.centred(FOCAL_MM, (SIZE, SIZE), DETECTOR_MM / SIZE)
    truths = torch.from_numpy(from_the_front(0, SOURCE_MM))[None]
    poses = truths.clone()
    poses[:, 0, 3] += 10.0
    none = torch.zeros((0, 3), dtype=torch.float64)
    return Sample(volume, grid, camera, torch.rand(1, 1, SIZE, SIZE), places_of(camera), truths, poses, none)


def main() -> None:
    torch.set_num_threads(1)
    config = ProstConfig(net="paper", truths=1, starts=1)
    state, seen = prost.fresh(config), sample()
    held, times = _status("VmRSS"), []
    with using_threads(1):
        for _ in range(STEPS):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            state.optimiser.zero_grad()
            prost.step(state.network, [seen], config)
            state.optimiser.step()
            times.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
    peak = _status("VmHWM")
    print(json.dumps({"user_s": float(np.min(times)), "peak_mb": peak, "above_mb": peak - held}))


def _status(word: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(word))


if __name__ == "__main__":
    main()
