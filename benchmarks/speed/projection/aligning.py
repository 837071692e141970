"""X-rays of the chest with noise, and starts far off: what an alignment of each costs, and where it ends.

The X-rays are exact sums of the 256^3 voxels on a finer detector; what is moved are 128^3 or all voxels, interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from chest import ARMS, Chest, camera, halved

from homolog.kernels.threads import using_threads
from homolog.pipelines.align import align
from homolog.projective.configs import GradientConfig
from homolog.projective.resizing import resized
from homolog.space import se3
from homolog.space.projecting import Projector
from homolog.space.projection import Projection

TURN_DEGREES, SHIFT_MM = 20.0, 30.0
# Of the brightest pixel, in each pixel of the detector that is aligned.
NOISE = 0.01
# mm: points of the patient at which an error is measured, 27 about the middle.
REACH_MM = 75.0
# The finest level is what the figure is named for.
COARSE = GradientConfig(sizes_px=(64, 64), spacings_mm=(4.0, 2.0), sigmas_px=(3.0, 1.0), radii_px=(16, 9))
FINE = GradientConfig(
    sizes_px=(64, 64, 128), spacings_mm=(4.0, 4.0, 1.0), sigmas_px=(3.0, 1.0, 1.0), radii_px=(16, 9, 9)
)


@dataclass(frozen=True, eq=False)
class Task:
    """An X-ray of the chest, its true pose, and where an alignment begins, both camera_from_world."""

    xray: Projection
    truth: np.ndarray
    start: np.ndarray


def tasks(one: Chest, pixels: int, number: int) -> list[Task]:
    """From the arm's views in turn; starts are evenly drawn within 20 degrees and 30 mm, axis by axis."""
    rng, projector = np.random.default_rng(0), Projector(one.volume, "siddon")
    images = [resized(Projection(projector.image(camera(2 * pixels), pose), camera(2 * pixels)), pixels)
              for pose in one.poses]  # fmt: skip
    out = []
    for n in range(number):
        clean, truth = images[n % len(ARMS)], one.poses[n % len(ARMS)]
        noisy = clean.data + NOISE * clean.data.max() * rng.normal(size=clean.data.shape)
        twist = rng.uniform(-1, 1, 6) * ([np.radians(TURN_DEGREES)] * 3 + [SHIFT_MM] * 3)
        pivot = truth[:3, :3] @ one.middle_mm + truth[:3, 3]
        out.append(Task(clean.replaced(data=noisy), truth, se3.about(pivot, twist) @ truth))
    return out


def saved(all_tasks: Sequence[Task], one: Chest, folder: Path) -> None:
    """As plain arrays, which rivals read as well."""
    moving = halved(one.volume)
    np.save(folder / "moving.npy", moving.numpy())
    np.save(folder / "moving_affine.npy", moving.grid.world_from_voxel)
    np.save(folder / "middle.npy", one.middle_mm)
    np.save(folder / "fixed.npy", np.array([task.xray.data for task in all_tasks]))
    np.save(folder / "starts.npy", np.array([task.start for task in all_tasks]))


def costs(one: Chest, pixels: int, number: int, threads: int) -> dict[str, Any]:
    """User seconds and errors of ours: at 64^2/128^3, or up to 128^2/256^3."""
    import resource

    volume, config = (halved(one.volume), COARSE) if pixels == 64 else (one.volume, FINE)
    found, times, judged = [], [], []
    all_tasks = tasks(one, pixels, number)
    with using_threads(threads):
        align(volume, [all_tasks[0].xray], all_tasks[0].truth, config)
        for task in all_tasks:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            result = align(volume, [task.xray], task.start, config)
            times.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
            found.append(result.rig_from_patient)
            judged.append(result.judgement)
    return {**errors(one, all_tasks, found), **seconds(times), "judged_good": judged.count("GOOD")}


def seconds(times: Sequence[float]) -> dict[str, float]:
    return {"user_s": float(np.median(times)), "most_user_s": float(np.max(times))}


def errors(one: Chest, all_tasks: Sequence[Task], found: Sequence[np.ndarray]) -> dict[str, Any]:
    """mm in the patient, mean over the points: at the start and at the end."""
    started = [off_mm(one, task.start, task.truth) for task in all_tasks]
    ended = [off_mm(one, pose, task.truth) for pose, task in zip(found, all_tasks, strict=False)]
    return {
        "starts": len(ended),
        "start_mm": float(np.median(started[: len(ended)])),
        "end_mm": float(np.median(ended)),
        "worst_mm": float(np.max(ended)),
        "below_1_mm": sum(end < 1 for end in ended),
    }


def off_mm(one: Chest, found: np.ndarray, truth: np.ndarray) -> float:
    """How far points of the patient are from where they should be, mean over 27."""
    steps = (-REACH_MM, 0.0, REACH_MM)
    points = one.middle_mm + np.array([(x, y, z) for x in steps for y in steps for z in steps])
    apart = points @ (found[:3, :3] - truth[:3, :3]).T + (found[:3, 3] - truth[:3, 3])
    return float(np.linalg.norm(apart, axis=1).mean())
