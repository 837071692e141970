"""X-rays of a volume on a GPU: 200^2 pixels, 500 samples a ray; ours beside nanodrr's fused kernel, where it is there.

Without a GPU nothing is measured; on a machine that has one, `python benchmarks/speed/projection_on_gpu.py`, after
`pip install nanodrr==0.1.7` for the rival.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import arguments, write_ours

from homolog.kernels import line_integrals
from homolog.kernels.line_integrals_torch import (
    integrals_torch,
    spread_torch,
    use_triton,
    with_curvature_torch,
    with_slopes_torch,
)

VOXELS, PIXELS, SAMPLES = 256, 200, 500
RUNS = 100
# the rival's own figure for such a picture, by its benchmark, on an RTX 6000 Ada
NANODRR_US = (78, 85)


@dataclass(frozen=True)
class Case:
    """A cube of 1 mm voxels, which are its world too, seen along k by a camera that it fills.

    volume   (I, J, K) float32
    pixels_from_camera, world_from_camera   (3, 3) and (4, 4) float64
    step_mm  as many samples lie in the cube, on the optical axis
    """

    volume: torch.Tensor
    pixels_from_camera: np.ndarray
    world_from_camera: np.ndarray
    size_px: tuple[int, int]
    focal_mm: float
    samples: int

    @property
    def step_mm(self) -> float:
        return self.volume.shape[2] / self.samples

    @property
    def bundle(self) -> np.ndarray:
        """(4, 3) float64, see `kernels.line_integrals`."""
        directions = self.world_from_camera[:3, :3] @ np.linalg.inv(self.pixels_from_camera)
        return np.array([self.world_from_camera[:3, 3], *directions[:, [2, 0, 1]].T])

    @property
    def lengths(self) -> np.ndarray:
        """(rows, columns): mm of a ray for a mm of depth."""
        rows, columns = np.indices(self.size_px)
        rays = np.linalg.inv(self.pixels_from_camera) @ np.stack((columns, rows, np.ones_like(rows))).reshape(3, -1)
        return np.linalg.norm(rays, axis=0).reshape(self.size_px)


def case(voxels: int, pixels: int, samples: int, device: torch.device) -> Case:
    """Smooth noise, 0.02 1/mm on average."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand((1, 1, *(voxels // 8,) * 3), generator=rng) * 0.04
    volume = torch.nn.functional.interpolate(coarse, size=(voxels,) * 3, mode="trilinear")[0, 0]
    focal_mm, pitch_mm = 4.0 * voxels, 1.2 * voxels / pixels
    middle = (pixels - 1) / 2
    seen = np.array([(focal_mm / pitch_mm, 0, middle), (0, focal_mm / pitch_mm, middle), (0, 0, 1)])
    world_from_camera = np.eye(4)
    # a bit off the axis, so that no ray is along the voxels
    world_from_camera[:3, 3] = (voxels - 1) / 2 + 1.3, (voxels - 1) / 2 - 2.1, -2.9 * voxels
    return Case(volume.to(device), seen, world_from_camera, (pixels, pixels), focal_mm, samples)


def ours(one: Case) -> dict[str, Callable[[], Any]]:
    """What is measured of ours, by name."""
    volumes, device = one.volume[None], one.volume.device
    bundles = torch.tensor(one.bundle[None], device=device)
    tangents = torch.ones_like(bundles) * 0.01
    weights = torch.ones((1, 1, *one.size_px), device=device)
    shape, rest = tuple(one.volume.shape), ("trilinear", one.step_mm)
    return {
        "forward": lambda: integrals_torch(volumes, bundles, one.size_px, *rest),
        "slopes": lambda: with_slopes_torch(volumes, bundles, one.size_px, *rest),
        "curvature": lambda: with_curvature_torch(volumes, bundles, tangents, one.size_px, *rest),
        "adjoint": lambda: spread_torch(weights, bundles, shape, *rest),
        "adjoint_of_both": lambda: spread_torch(
            weights, bundles, shape, *rest, tangents=tangents, tangent_weights=weights
        ),
        "forward_joseph": lambda: integrals_torch(volumes, bundles, one.size_px, "joseph", None),
        "forward_siddon": lambda: integrals_torch(volumes, bundles, one.size_px, "siddon", None),
    }


def nanodrr(one: Case) -> dict[str, Callable[[], torch.Tensor]]:
    """The same picture by nanodrr, and with its gradient to the pose; nothing where it is not installed."""
    if find_spec("nanodrr") is None:
        return {}
    from nanodrr.data import Subject
    from nanodrr.drr import render

    def tensor(array: Any) -> torch.Tensor:
        return torch.tensor(np.asarray(array), dtype=torch.float32, device=one.volume.device)

    # its pixels are centred at halves, its pictures' axes are reversed, and -1 and 1 are the outer faces
    half = np.array([(1, 0, 0.5), (0, 1, 0.5), (0, 0, 1)])
    grid_from_voxel = np.diag([*(2 / np.array(one.volume.shape)), 1.0])
    grid_from_voxel[:3, 3] = 1 / np.array(one.volume.shape) - 1
    reversed_ = one.volume.permute(2, 1, 0)[None, None].contiguous()
    middle = (np.array(one.volume.shape) - 1) / 2
    subject = Subject(
        reversed_, torch.zeros_like(reversed_), tensor(np.eye(4)), tensor(np.eye(4)), tensor(grid_from_voxel),
        tensor(middle), convert_to_mu=False,
    ).to(one.volume.device)  # fmt: skip
    lens = tensor(np.linalg.inv(half @ one.pixels_from_camera)[None]), tensor([one.focal_mm])
    pose = tensor(one.world_from_camera[None])

    def picture(own_pose: torch.Tensor) -> torch.Tensor:
        return render(subject, lens[0], own_pose, lens[1], *one.size_px, n_samples=one.samples)

    def gradient() -> torch.Tensor:
        own_pose = pose.clone().requires_grad_(True)
        picture(own_pose).sum().backward()
        assert own_pose.grad is not None
        return own_pose.grad

    def plain() -> torch.Tensor:
        with torch.no_grad():
            return picture(pose)

    return {"forward": plain, "forward_and_gradient": gradient}


def microseconds(work: Callable[[], Any], runs: int = RUNS) -> float:
    """The median time on the GPU, between two events around one call."""
    for _ in range(10):
        work()
    times = []
    for _ in range(runs):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        work()
        after.record()
        torch.cuda.synchronize()
        times.append(1000 * before.elapsed_time(after))
    return float(np.median(times))


def apart(one: Case) -> dict[str, float]:
    """The largest difference of our picture from the CPU's and the rival's, as a part of the largest value."""
    found = (ours(one)["forward"]()[0, 0].cpu().numpy(), one.lengths)
    volume = one.volume.cpu().numpy()
    cpu = line_integrals.integrals(volume, one.bundle, one.size_px, "trilinear", one.step_mm)
    out = {"from_the_cpu": float(np.abs(found[0] - cpu).max() / cpu.max())}
    for name, work in list(nanodrr(one).items())[:1]:
        theirs = work()[0, 0].cpu().numpy()
        # it spreads its samples over each ray's own stretch of the volume: another sum for the same integral
        out[f"from_nanodrr_{name}"] = float(np.abs(found[0] * found[1] - theirs).max() / theirs.max())
    return out


def main() -> None:
    arguments(__doc__)
    if not torch.cuda.is_available():
        print(
            "not measured, its figures stay as committed: needs a GPU that torch can use; "
            "there, run python benchmarks/speed/projection_on_gpu.py",
            file=sys.stderr,
        )
        sys.exit(0)
    one = case(VOXELS, PIXELS, SAMPLES, torch.device("cuda"))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    own = {f"{name}_us": microseconds(work) for name, work in ours(one).items()}
    theirs = {f"{name}_us": microseconds(work) for name, work in nanodrr(one).items()}
    figures = {
        "gpu": torch.cuda.get_device_name(),
        "by_triton": use_triton(one.volume, one.volume.shape, "trilinear"),
        "peak_mb": (torch.cuda.max_memory_allocated() - before) / 2**20,
        "ours": own,
        "apart": apart(one),
    }
    if theirs:
        figures["nanodrr"] = {**theirs, "ours_over_theirs": own["forward_us"] / theirs["forward_us"]}
    else:
        print(f"nanodrr is not installed; its own benchmark says {NANODRR_US} us on an RTX 6000 Ada", file=sys.stderr)
    folder = Path(__file__).parent / "projection_on_gpu"
    folder.mkdir(exist_ok=True)
    write_ours(folder, figures)


if __name__ == "__main__":
    main()
