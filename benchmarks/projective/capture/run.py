"""How far each measure of likeness leads to the right pose: real CTs, X-rays of all of it, all or only bone projected.

Along 26 straight lines through the right pose, up to 30 degrees, 60 mm across and 120 mm along the rays, in 40 steps:
the share of steps towards the right pose that rise, and the share of lines whose best pose is within 5 % of the reach.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import SCANS, arguments, write_ours

from homolog import read
from homolog.projective.similarity import prepare
from homolog.space import se3
from homolog.space.attenuation import attenuation
from homolog.space.camera import Camera
from homolog.space.projecting import Projector
from homolog.space.sampling import pyramid
from homolog.space.volume import Volume

# A narrow field: 300 mm of detector, magnified 1.5 times, see 200 mm of the patient.
SIZE_PX, PITCH_MM, FOCAL_MM, DEPTH_MM = 64, 300 / 64, 1020.0, 680.0
# The X-ray is drawn with finer pixels and voxels than what it is compared with, and with photons.
FINER, XRAY_MM, MOVING_MM, PHOTONS = 4, 3.0, 4.0, 2e4
BONE_HU = 200.0
REACH = np.array([np.radians(30)] * 3 + [60.0, 60.0, 120.0])
STEPS = np.linspace(-1, 1, 41)
RANDOM_LINES = 20
ASKED = {
    "ncc": {},
    "mncc": {},
    "patch_ncc": {},
    "gradient_ncc": {},
    "gradient_ncc, sigma 2": {"sigma_px": 2.0},
    "patch_gradient_ncc": {},
    "patch_gradient_ncc, sigma 2, radius 12": {"sigma_px": 2.0, "radius_px": 12},
    "patch_gradient_ncc, sigma 3, radius 16": {"sigma_px": 3.0, "radius_px": 16},
    "mixed, sigma 2": {"sigma_px": 2.0},
    "gradient_orientation, sigma 1": {"sigma_px": 1.0},
    "gradient_difference, sigma 2": {"sigma_px": 2.0},
    "prost_gradient_ncc, sigma 1": {"sigma_px": 1.0},
    "mi": {},
}


def lines() -> np.ndarray:
    """(L, 6): the axes, then random ways whose largest part reaches as far as an axis."""
    drawn = np.random.default_rng(2).normal(size=(RANDOM_LINES, 6))
    return np.concatenate((np.eye(6), drawn / np.abs(drawn).max(axis=1, keepdims=True)))


def pose_of(pivot_mm: np.ndarray) -> np.ndarray:
    """(4, 4): from the front, a little oblique, the pivot nearly in the middle."""
    out = np.eye(4)
    front = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    out[:3, :3] = se3.rotation_exp(np.radians([8.0, -6.0, 5.0])) @ front
    out[:3, 3] = np.array([5.0, -4.0, DEPTH_MM]) - out[:3, :3] @ pivot_mm
    return out


def xray(volume: Volume, pose: np.ndarray) -> np.ndarray:
    size = FINER * SIZE_PX
    fine = Projector(volume).image(Camera.centred(FOCAL_MM, (size, size), PITCH_MM / FINER), pose)
    photons = PHOTONS * np.exp(-fine.reshape(SIZE_PX, FINER, SIZE_PX, FINER).mean((1, 3)))
    return -np.log(np.maximum(np.random.default_rng(1).poisson(photons), 1) / PHOTONS)


def projections(volume: Volume, pose: np.ndarray, pivot_mm: np.ndarray) -> np.ndarray:
    """(L, S, rows, columns): along each line."""
    camera, projector = Camera.centred(FOCAL_MM, (SIZE_PX, SIZE_PX), PITCH_MM), Projector(volume)
    pivot = pose[:3, :3] @ pivot_mm + pose[:3, 3]
    moved = [[se3.about(pivot, step * REACH * line) @ pose for step in STEPS] for line in lines()]
    return np.array([[projector.image(camera, each) for each in along] for along in moved])


def judged(fixed: np.ndarray, moving: np.ndarray, name: str, options: dict[str, float]) -> dict[str, float]:
    measure = prepare(name, fixed, **options)
    values = np.array([[measure.value(each) for each in along] for along in moving])
    middle = len(STEPS) // 2
    rises = np.diff(values, axis=1)
    rising = np.concatenate((rises[:, :middle] > 0, rises[:, middle:] < 0), axis=1).mean()
    found = np.abs(STEPS[values.argmax(axis=1)]) <= 0.05 + 1e-9
    return {"rising": float(rising), "peak_right": float(found.mean())}


def main() -> None:
    data = arguments(__doc__, "data").data
    figures: dict[str, object] = {}
    for scan in ("chest-a", "chest-b", "abdomen-pelvis"):
        ct = read(data / SCANS[scan])
        bone = attenuation(ct, floor_hu=BONE_HU)
        inside = np.argwhere(bone.numpy() > 0)
        pivot_mm = bone.grid.world(inside.mean(axis=0))
        pose = pose_of(pivot_mm)
        everything = attenuation(ct)
        fixed = xray(pyramid(everything, [XRAY_MM])[0], pose)
        for shown, volume in (("all", everything), ("bone", bone)):
            moving = projections(pyramid(volume, [MOVING_MM])[0], pose, pivot_mm)
            for asked, options in ASKED.items():
                figures[f"{scan}, {shown}, {asked}"] = judged(fixed, moving, asked.split(",")[0], options)
    write_ours(Path(__file__).parent, figures)


if __name__ == "__main__":
    main()
