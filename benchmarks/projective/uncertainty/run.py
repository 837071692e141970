"""How far poses of masked bone are off, and what their covariance says of it: real CTs, X-rays of all of the body.

Bone above a threshold, in a box of 22 cm, against noisy X-rays of everything from one direction, climbed from the true
pose: what is left is the bias that soft tissue and a mask's edges cause. Root mean squares over the poses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import SCANS, arguments, write_ours

from homolog import read
from homolog.projective.climbing import climb
from homolog.projective.configs import Stage
from homolog.projective.scene import Scene
from homolog.projective.uncertain import covariance_of, jackknife
from homolog.space import se3
from homolog.space.attenuation import attenuation
from homolog.space.camera import Camera
from homolog.space.projecting import Projector
from homolog.space.projection import Projection
from homolog.space.sampling import pyramid
from homolog.space.volume import Volume

POSES, PHOTONS, BOX_MM, XRAY_MM = 6, 2e4, 220.0, 2.0
SIZE_PX, FINER, WIDTH_MM, FOCAL_MM, DEPTH_MM = 128, 3, 300.0, 1020.0, 680.0
STAGE, MEASURE = Stage(128, 2.0, 1.0, 9), "patch_gradient_ncc"
FRONT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
CAMERA = Camera.centred(FOCAL_MM, (SIZE_PX, SIZE_PX), WIDTH_MM / SIZE_PX)


def middle_of(ct: Volume, scan: str) -> np.ndarray:
    """(3,) LPS mm: of the scan; of the pelvis where there is one, which is lower."""
    middle = ct.grid.corners().mean(axis=0)
    if "pelvis" in scan:
        middle[2] = np.quantile(ct.grid.points()[ct.numpy().ravel() > 300][:, 2], 0.3)
    return middle


def bone_of(ct: Volume, middle: np.ndarray, threshold_hu: float) -> Volume:
    near = (np.abs(ct.grid.points() - middle) < BOX_MM / 2).all(axis=1).reshape(ct.grid.shape)
    kept = near & (ct.numpy() > threshold_hu)
    return ct.with_data(np.where(kept, attenuation(ct).numpy(), 0).astype(np.float32))


def pose_of(middle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(4, 4): from the front, turned by 11 degrees about each axis."""
    out = np.eye(4)
    out[:3, :3] = se3.rotation_exp(rng.normal(0, 0.2, 3)) @ FRONT
    place = np.array([*rng.normal(0, 10, 2), DEPTH_MM + rng.normal(0, 20)])
    out[:3, 3] = place - out[:3, :3] @ middle
    return out


def x_ray(everything: Volume, pose: np.ndarray, rng: np.random.Generator) -> Projection:
    fine = CAMERA.resized((FINER * SIZE_PX, FINER * SIZE_PX))
    image = Projector(everything, "siddon").image(fine, pose).reshape(SIZE_PX, FINER, SIZE_PX, FINER).mean((1, 3))
    counted = rng.poisson(PHOTONS * np.exp(-image))
    return Projection(-np.log(np.maximum(counted, 1) / PHOTONS), CAMERA)


def errors(bone: Volume, shot: Projection, pose: np.ndarray) -> np.ndarray:
    """(3, 6): the error's twist, its deviation by the jackknife alone, and by both parts."""
    scene = Scene.of(bone, (shot,), MEASURE)
    level = scene.level(STAGE)
    found = climb(level, pose, 40, scene.radius_mm).pose
    turn = se3.rotation_log(found[:3, :3] @ pose[:3, :3].T)
    shift = ((found - pose) @ (*scene.pivot_mm, 1))[:3]
    parts = (jackknife(level, found), covariance_of(level, found))
    return np.array([np.concatenate((turn, shift)), *(np.sqrt(np.diag(part)) for part in parts if part is not None)])


def figures_of(rows: np.ndarray) -> dict[str, object]:
    """Of rows (poses, 3, 6)."""
    error, noise, said = rows.transpose(1, 0, 2)
    root = {"error": error, "over jackknife": error / noise, "over covariance": error / said}
    figures = {name: np.sqrt((values**2).mean(axis=0)) for name, values in root.items()}
    out: dict[str, object] = {"poses": len(rows)}
    for name, six in figures.items():
        turn = np.degrees(six[:3]) if name == "error" else six[:3]
        out[f"{name}, turn"] = [round(float(one), 2) for one in turn]
        out[f"{name}, shift"] = [round(float(one), 2) for one in six[3:]]
    out["within two deviations"] = round(float((np.abs(error) < 2 * said).mean()), 3)
    return out


def main() -> None:
    data = arguments(__doc__, "data").data
    all_rows, figures = [], {}
    for scan in ("chest-a", "chest-b", "abdomen-pelvis"):
        ct = read(data / SCANS[scan])
        middle, everything = middle_of(ct, scan), pyramid(attenuation(ct), [XRAY_MM])[0]
        rows = []
        for threshold_hu in (200.0, 300.0):
            bone = bone_of(ct, middle, threshold_hu)
            # not the poses on which uncertain.EDGE was chosen
            for seed in range(100, 100 + POSES):
                rng = np.random.default_rng(seed)
                pose = pose_of(middle, rng)
                rows.append(errors(bone, x_ray(everything, pose, rng), pose))
        figures[scan] = figures_of(np.array(rows))
        all_rows += rows
    write_ours(Path(__file__).parent, {**figures, "all": figures_of(np.array(all_rows))})


if __name__ == "__main__":
    main()
