"""What a network that was trained for one CT is worth as a start, beside a search in all orientations.

python benchmarks/projective/starts/run.py --data DIR [--steps 1500] [--number 30]

For each CT a network is trained (`homolog train pose`, one thread) for views around the patient, and tried on X-rays
that were drawn anew: noisy, scattered, mostly collimated, 128 x 128 pixels. Then `--method auto --effort fast` goes
from the network's pose, and, of the same X-rays, from none. Errors are over the network's points. User seconds of one
thread. About half an hour for both CTs.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

sys.path.insert(0, str(Path(__file__).parents[2]))
import numpy as np
import torch
from common import SCANS, write_ours

from homolog.errors import BadInput
from homolog.io import volumes
from homolog.kernels.threads import using_threads
from homolog.metrics.poses import target_errors
from homolog.nets.points import PointsNet, built
from homolog.pipelines.align import align
from homolog.projective.configs import AutoConfig
from homolog.projective.pointing import pose_by_points
from homolog.space import se3
from homolog.space.attenuation import attenuation
from homolog.space.projection import Projection
from homolog.space.volume import Volume
from homolog.train import pose, pose_data
from homolog.train.configs import PoseConfig
from homolog.train.loop import Plan

HERE = Path(__file__).parent
CTS = ("chest-a", "abdomen-pelvis")
STEPS, NUMBER, FINE_PX = 1500, 30, 128
SEARCH = AutoConfig(effort="fast")


def main() -> None:
    given = arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"steps": given.steps, "number": given.number}
    with using_threads(1):
        for name in CTS:
            figures[name] = measured(attenuation(volumes.read(given.data / SCANS[name])), given)
            print(name, *(f"  {row}: {numbers}" for row, numbers in figures[name].items()), sep="\n", flush=True)
    if (given.steps, given.number) == (STEPS, NUMBER):
        write_ours(HERE, figures)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real scans (chest-a, abdomen-pelvis, ...)")
    parser.add_argument("--golden", type=Path, help="not used here; all benchmarks are given it")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of training [{STEPS}]")
    parser.add_argument("--number", type=int, default=NUMBER, help=f"X-rays of each CT [{NUMBER}]")
    given = parser.parse_args()
    if given.data is None:
        print("left out, its figures stay as committed: needs --data", file=sys.stderr)
        sys.exit(0)
    return given


def measured(whole: Volume, given: argparse.Namespace) -> dict[str, Any]:
    config = PoseConfig()
    subject = pose_data.subject(whole, whole, config)
    with tempfile.TemporaryDirectory() as folder:
        began = seconds()
        state = pose.train(Path(folder), Plan(steps=given.steps), subject, config)
        trained_s = seconds() - began
    network = built(pose.net_of(config), state.averaged)
    fine = replace(subject, pixels=FINE_PX)
    tries = [tried(network, fine, config, number) for number in range(given.number)]
    rows = {name: summary([one[name] for one in tries]) for name in tries[0]}
    return {"training_user_s": round(trained_s, 1), **rows}


def tried(network: PointsNet, fine: pose_data.Subject, config: PoseConfig, number: int) -> dict[str, np.ndarray]:
    """Degrees, mm and user seconds of each way, for one X-ray."""
    some = pose_data.batch(fine, config, 1, np.random.default_rng([pose.TRIED_SEED, number]))
    xray = Projection(some.pictures[0, 0].numpy(), some.camera, mask=some.mask)
    began = seconds()
    try:
        start: np.ndarray | None = pose_by_points(network, fine.points_mm, (xray,)).rig_from_patient
    except BadInput:
        start = None
    alone = np.array([*off(start, fine.points_mm, some.truths[0]), seconds() - began])
    out = {"network": alone}
    for name, begin in (("network_then_auto", start), ("auto_without_start", None)):
        if name == "network_then_auto" and start is None:
            # as the command does: it searches as if there were no network
            continue
        began = seconds()
        found = align(fine.whole, (xray,), begin, replace(SEARCH, seed=number)).rig_from_patient
        out[name] = np.array([*off(found, fine.points_mm, some.truths[0]), seconds() - began])
    if start is None:
        out["network_then_auto"] = out["auto_without_start"]
    return out


def off(pose_found: np.ndarray | None, points: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    if pose_found is None:
        return np.inf, np.inf
    return float(np.degrees(se3.angle(pose_found, truth))), float(target_errors(points, pose_found, truth).mean())


def summary(rows: list[np.ndarray]) -> dict[str, float]:
    degrees, mm, user_s = np.array(rows).T
    there = np.isfinite(mm)
    return {
        "found": round(float(there.mean()), 3),
        "degrees_median": round(float(np.median(degrees[there])), 2) if there.any() else -1.0,
        "mm_median": round(float(np.median(mm[there])), 2) if there.any() else -1.0,
        "below_10_mm": round(float((mm < 10).mean()), 3),
        "user_s_median": round(float(np.median(user_s)), 2),
    }


def seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


if __name__ == "__main__":
    main()
