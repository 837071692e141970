"""Rival projectors on the chest; run in their own environment, so it imports nothing of ours.

python benchmarks/speed/projection/rivals.py FOLDER RENDERER PIXELS SAMPLES VIEWS RUNS
python benchmarks/speed/projection/rivals.py FOLDER align RENDERER SAMPLES

FOLDER holds what chest.saved leaves there; for `align`, what aligning.saved does. One line of JSON comes back; pictures
go to FOLDER/RENDERER.npy, the poses that were found to FOLDER/RENDERER_found.npy.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# one thread, before anybody starts a pool
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch

FOCAL_MM, DETECTOR_MM = 1020.0, 400.0
# A picture of a pose: (4, 4) world_from_camera, our camera's axes, to (rows, columns).
Picture = Callable[[torch.Tensor], torch.Tensor]


def diffdrr(renderer: str, volume: np.ndarray, affine: np.ndarray, pixels: int, samples: int) -> Picture:
    """DiffDRR's module; its camera is ours turned by half a turn about the optical axis."""
    from diffdrr.drr import DRR
    from diffdrr.pose import RigidTransform

    # all that it reads of a subject
    subject = SimpleNamespace(
        volume=SimpleNamespace(affine=affine),
        density=SimpleNamespace(data=torch.from_numpy(volume)[None]),
        mask=None,
        reorient=torch.eye(4),
    )
    drr: Any = DRR(subject, FOCAL_MM, pixels, DETECTOR_MM / pixels, renderer=renderer)
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    more = {"n_points": samples} if renderer == "trilinear" else {}
    return lambda pose: drr(RigidTransform((pose @ half_turn)[None]), **more)[0, 0]


def nanodrr(_: str, volume: np.ndarray, affine: np.ndarray, pixels: int, samples: int) -> Picture:
    """nanodrr's function; pixels are centred at halves there, and pictures' axes reversed."""
    from nanodrr.data import Subject
    from nanodrr.drr import render

    imaged = torch.from_numpy(volume).permute(2, 1, 0)[None, None].contiguous()
    world_from_voxel, shape = torch.from_numpy(affine), np.array(volume.shape)
    grid_from_voxel = np.diag([*(2 / shape), 1.0])
    # -1 and 1 are the outer faces
    grid_from_voxel[:3, 3] = 1 / shape - 1
    matrices = (world_from_voxel, world_from_voxel.inverse(), torch.from_numpy(grid_from_voxel))
    middle = torch.zeros(3)
    subject = Subject(
        imaged, torch.zeros_like(imaged), *(each.float() for each in matrices), middle, convert_to_mu=False
    )
    scale, centre = FOCAL_MM / (DETECTOR_MM / pixels), pixels / 2
    lens = torch.tensor([[scale, 0, centre], [0, scale, centre], [0, 0, 1]]).inverse()[None]
    focal = torch.tensor([FOCAL_MM])
    return lambda pose: render(subject, lens, pose[None], focal, pixels, pixels, n_samples=samples)[0, 0]


RENDERERS = {
    "diffdrr_siddon": ("siddon", diffdrr),
    "diffdrr_trilinear": ("trilinear", diffdrr),
    "nanodrr": ("", nanodrr),
}


def picture_of(name: str, volume: np.ndarray, affine: np.ndarray, pixels: int, samples: int) -> Picture:
    renderer, build = RENDERERS[name]
    return build(renderer, volume, affine, pixels, samples)


# ---------------------------------------------------------------------------------------------------------------------


def measured(folder: Path, name: str, pixels: int, samples: int, views: int, runs: int) -> dict[str, float]:
    """User seconds a view and extra MB: of a value, and of a value with its gradient to the pose."""
    picture = picture_of(
        name, np.load(folder / "volume.npy"), np.load(folder / "world_from_voxel.npy"), pixels, samples
    )
    poses = torch.from_numpy(np.linalg.inv(np.load(folder / "poses.npy")[:views])).float()
    small = picture_of(name, np.ones((16, 16, 16), np.float32), np.diag([20.0, 20, 20, 1]), 16, 16)
    _gradient(small, poses[0])
    pictures: list[np.ndarray] = []

    def value(pose: torch.Tensor) -> None:
        with torch.no_grad():
            pictures.append(picture(pose).numpy())

    value_s, value_mb = spent([lambda p=pose: value(p) for pose in poses], runs)
    np.save(folder / f"{name}.npy", np.array(pictures[::runs]))
    gradient_s, gradient_mb = spent([lambda p=pose: _gradient(picture, p) for pose in poses], runs)
    return {"value_user_s": value_s, "value_mb": value_mb, "gradient_user_s": gradient_s, "gradient_mb": gradient_mb}


def spent(works: list[Callable[[], None]], runs: int) -> tuple[float, float]:
    """The mean over works of each one's least user seconds, and the most MB above what was held before."""
    held = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    times = []
    for work in works:
        each = []
        for _ in range(runs):
            before = user_s()
            work()
            each.append(user_s() - before)
        times.append(min(each))
    return float(np.mean(times)), status("VmHWM") - held


def _gradient(picture: Picture, pose: torch.Tensor) -> None:
    leaf = pose.clone().requires_grad_(True)
    picture(leaf).sum().backward()


# ---------------------------------------------------------------------------------------------------------------------


def aligned(folder: Path, name: str, samples: int) -> dict[str, Any]:
    """DiffDRR's tutorial for each X-ray: Adam on NCC by rotation and translation, 150 steps or until NCC is 0.999."""
    picture = picture_of(name, np.load(folder / "moving.npy"), np.load(folder / "moving_affine.npy"), 64, samples)
    found, times = [], []
    for fixed, start in zip(np.load(folder / "fixed.npy"), np.load(folder / "starts.npy"), strict=True):
        began = user_s()
        found.append(_climbed(picture, torch.from_numpy(fixed).float(), start, np.load(folder / "middle.npy")))
        times.append(user_s() - began)
    np.save(folder / f"{name}_found.npy", np.array(found))
    return {"user_s": times}


def _climbed(picture: Picture, fixed: torch.Tensor, start: np.ndarray, middle_mm: np.ndarray) -> np.ndarray:
    """(4, 4) camera_from_world after Adam's steps from such a start, turned about the chest's middle."""
    turn, shift = (torch.zeros(3, requires_grad=True) for _ in range(2))
    adam = torch.optim.Adam([{"params": [turn], "lr": 1e-1}, {"params": [shift], "lr": 5.0}], maximize=True)
    place = torch.from_numpy(start[:3, :3] @ middle_mm + start[:3, 3]).float()
    begun = torch.from_numpy(start).float()

    def pose() -> torch.Tensor:
        zero = torch.zeros(())
        x, y, z = turn
        skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
        rotation = torch.linalg.matrix_exp(skew)
        moved = torch.cat([rotation, (place - rotation @ place + shift)[:, None]], 1)
        return torch.cat([moved, torch.tensor([[0.0, 0, 0, 1]])]) @ begun

    for _ in range(150):
        adam.zero_grad()
        likeness = ncc(picture(torch.linalg.inv(pose())), fixed)
        if likeness > 0.999:
            break
        likeness.backward()
        adam.step()
    return pose().detach().numpy().astype(np.float64)


def ncc(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / (a.norm() * b.norm())


def status(word: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(word))


def user_s() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


if __name__ == "__main__":
    torch.set_num_threads(1)
    where, what, *rest = sys.argv[1:]
    if what == "align":
        print(json.dumps(aligned(Path(where), rest[0], int(rest[1]))))
    else:
        print(json.dumps(measured(Path(where), what, *map(int, rest))))
