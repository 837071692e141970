"""Our projectors: what is measured of each, its memory in a process of its own, and whether it is right.

python benchmarks/speed/projection/projectors.py FOLDER METHOD KIND PIXELS

prints the MB that one call takes above what was held before; FOLDER holds what chest.saved leaves there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from chest import FOCAL_MM, Chest, camera, loaded

from homolog import Grid, Volume
from homolog.kernels import line_integrals
from homolog.kernels.threads import using_threads
from homolog.space import se3
from homolog.space.camera import Camera
from homolog.space.projecting import METHODS, Projector, bundle, tangents

# value: the picture. gradient: and its change by all six of a twist, in each pixel. curvature: and the change of all
# slopes along a twist, which a derivative of a derivative needs. adjoint: a picture's weights spread into the volume.
# second_order: the same, and what the derivative along a twist spreads, which is what training ProST needs.
QUICK = ("value", "gradient", "curvature")
KINDS = (*QUICK, "adjoint", "second_order")
Work = Callable[[np.ndarray], object]


def works(volume: Volume, method: str, pixels: int) -> dict[str, Work]:
    """By kind: what is done with a pose."""
    projector, seen = Projector(volume, method), camera(pixels)
    data, size_px, step_mm = volume.numpy(), seen.size_px, projector.step_mm
    weights = np.ones(size_px, np.float32)
    pivot = np.array([0.0, 0.0, FOCAL_MM / 2])

    def along(pose: np.ndarray) -> np.ndarray:
        return tangents(seen, pose, volume.grid, pivot, np.eye(3)).sum(axis=0)

    def rays(pose: np.ndarray) -> np.ndarray:
        return bundle(seen, pose, volume.grid)

    def second_order(pose: np.ndarray) -> object:
        more = {"tangent": along(pose), "tangent_weights": weights}
        return line_integrals.spread(weights, rays(pose), data.shape, method, step_mm, **more)

    return {
        "value": lambda pose: projector.image(seen, pose),
        "gradient": lambda pose: projector.image_and_jacobian(seen, pose, pivot),
        "curvature": lambda pose: line_integrals.with_curvature(
            data, rays(pose), along(pose), size_px, method, step_mm
        ),
        "adjoint": lambda pose: line_integrals.spread(weights, rays(pose), data.shape, method, step_mm),
        "second_order": second_order,
    }


def extra_mb(folder: Path, method: str, kind: str, pixels: int) -> float:
    """MB above the volume, which is held before; in a process that has done nothing else."""
    one = loaded(folder)
    small = Volume(np.ones((16, 16, 16), np.float32), Grid.regular((16,) * 3, 10.0), "small")
    works(small, method, 16)[kind](one.poses[0])
    work = works(one.volume, method, pixels)[kind]
    held = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    with using_threads(1):
        work(one.poses[1])
    return _status("VmHWM") - held


def agreement(one: Chest) -> dict[str, float]:
    """Whether the projectors are right: against the exact one, chords of a box, and their twins."""
    figures = {"siddon_from_chords": _from_chords()}
    seen = camera(128)
    exact = [Projector(one.volume, "siddon").image(seen, pose) for pose in one.poses]
    for method in METHODS:
        figures[f"{method}_from_twin"] = _from_twin(method)
        if method != "siddon":
            found = [Projector(one.volume, method).image(seen, pose) for pose in one.poses]
            figures[f"{method}_one_minus_r_with_siddon"] = 1 - min(map(correlation, found, exact))
    return figures


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _from_chords() -> float:
    """The largest difference from the lengths of rays in an oblique box, as a part of the longest."""
    grid, seen = _oblique((40, 30, 20)), _off_centre()
    pose = _in_front(grid)
    image = Projector(Volume(np.ones(grid.shape, np.float32), grid, "box"), "siddon").image(seen, pose)
    rays = bundle(seen, pose, grid)
    rows, columns = np.indices(seen.size_px)
    ways = rays[1] + columns[..., None] * rays[2] + rows[..., None] * rays[3]
    faces = np.stack([(-0.5 - rays[0]) / ways, (np.array(grid.shape) - 0.5 - rays[0]) / ways])
    chords = np.maximum(faces.max(0).min(-1) - faces.min(0).max(-1), 0) * seen.lengths()
    return float(np.abs(image - chords).max() / chords.max())


def _from_twin(method: str) -> float:
    """The largest difference of a float32 volume's picture from the float64 twin, as a part of the largest value."""
    grid, seen = _oblique((40, 30, 20)), _off_centre()
    pose = _in_front(grid)
    data = np.random.default_rng(0).random(grid.shape)
    rays, step_mm = bundle(seen, pose, grid), 1.0
    twin = line_integrals.integrals_reference(data, rays, seen.size_px, method, step_mm)
    found = line_integrals.integrals(data.astype(np.float32), rays, seen.size_px, method, step_mm)
    return float(np.abs(found - twin).max() / twin.max())


def _oblique(shape: tuple[int, int, int]) -> Grid:
    """Anisotropic, left-handed."""
    axes = se3.rotation_exp(np.array([0.3, -0.5, 0.2])) @ np.diag([1.0, -1.0, 1.0])
    return Grid.regular(shape, (1.1, 1.7, 2.3), (-20.0, 25.0, -30.0), axes)


def _off_centre() -> Camera:
    return Camera(1000.0, (24, 30), (5.0, 4.0), (13.3, 12.1))


def _in_front(grid: Grid) -> np.ndarray:
    """(4, 4): turned, the grid's middle beside the optical axis."""
    pose = np.eye(4)
    pose[:3, :3] = se3.rotation_exp(np.array([0.4, 0.3, -0.2]))
    pose[:3, 3] = np.array([3.0, -4.0, 700.0]) - pose[:3, :3] @ grid.corners().mean(axis=0)
    return pose


def _status(word: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(word))


if __name__ == "__main__":
    print(extra_mb(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
