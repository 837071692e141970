"""What ProST's network learns from: patients, what of them is looked for, X-rays of them, and poses.

The X-ray shows all of the patient; what is looked for in it is bone alone, cut out along the body. So the network must
see through what the volume does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from homolog.errors import BadInput
from homolog.io import volumes
from homolog.io.files import content_hash, writing
from homolog.nets.configs import ProstNetConfig
from homolog.projective.prost import places_of, shown_volume
from homolog.projective.scene import Scene
from homolog.space import se3
from homolog.space.attenuation import attenuation, linear_attenuation
from homolog.space.camera import Camera
from homolog.space.grid import Grid
from homolog.space.projecting import Projector
from homolog.space.projection import Projection
from homolog.space.sampling import require_same_grid, resample
from homolog.space.volume import Volume
from homolog.synth import xrays
from homolog.synth.anatomy.structures import NUMBERS, STRUCTURES
from homolog.synth.patients import draw_patient
from homolog.synth.xray_config import XrayConfig
from homolog.train.configs import ProstConfig

# Seeds of virtual patients that nothing is trained on.
HELD_OUT = 10_000
# HU above which a voxel is bone where no labels say so; contrast in vessels, at most 400, is drawn over it at times.
BONE_HU = (150.0, 300.0)
# mm along the body of the piece that is looked for: a field of view's worth, and half as much again.
PIECE_MM = (200.0, 340.0)
# A piece with less bone than this, in voxels of 5 mm, is drawn anew.
LEAST_BONE_MM3 = 200 * 5.0**3
# C-arms: mm from source to detector, the share of it to the patient, mm along the detector's side. ProST's are 1020,
# 0.61 and 374.
FOCAL_MM, NEAR, DETECTOR_MM = (950.0, 1150.0), (0.57, 0.72), (300.0, 400.0)
# Pixels of a detector that are added up to one of those that the network sees, about.
BINNED = 100
BONES = tuple(
    number
    for number, name in STRUCTURES.items()
    if name.startswith("vertebra ")
    or name.split()[-1] in ("sternum", "clavicle", "scapula", "humerus", "sacrum", "hip", "femur")
    or "rib" in name.split()
)
PELVIS = tuple(NUMBERS[name] for name in ("sacrum", "right hip", "left hip"))


@dataclass(frozen=True, eq=False)
class Patient:
    """A CT to learn from.

    data  (I, J, K) float16, 1/mm
    bone  (I, J, K) uint8: 1 in bone, 2 in the pelvis, 0 elsewhere; None where a threshold must do
    """

    data: np.ndarray
    bone: np.ndarray | None
    grid: Grid

    def whole(self) -> Volume:
        """Attenuation of everything, 1/mm."""
        return Volume(self.data.astype(np.float32), self.grid, "patient")


@dataclass(frozen=True, eq=False)
class Sample:
    """What one volume of a step is compared with.

    volume    (I, J, K) float32, 1/mm, of what is looked for; its world's origin is the pivot
    pictures  (T, 1, rows, columns) float32: X-rays of everything
    places    (3, rows, columns)
    truths    (T, 4, 4) float64 camera_from_world
    poses     (T, S, 4, 4) float64 to compare with each X-ray
    """

    volume: torch.Tensor
    grid: Grid
    camera: Camera
    pictures: torch.Tensor
    places: torch.Tensor
    truths: torch.Tensor
    poses: torch.Tensor


# ---------------------------------------------------------------------------------------------------------------------
# Patients


def virtual(seed: int, spacing_mm: float, folder: Path) -> Patient:
    """A virtual patient, from the folder if it was drawn before."""
    if seed >= HELD_OUT:
        raise BadInput(
            f"virtual patient {seed} is kept for tests", f"train on seeds below {HELD_OUT}: --first-patient 1000"
        )
    return drawn(seed, spacing_mm, folder)


def drawn(seed: int, spacing_mm: float, folder: Path) -> Patient:
    """Any virtual patient, those kept for tests too."""
    path = folder / f"patient_{seed:05d}_{spacing_mm:g}mm.npz"
    if not path.exists():
        patient = draw_patient(seed)
        scan, labels = patient.both(patient.grid(spacing_mm))
        _kept(Patient(_attenuation(scan), _bone(labels.numpy()), scan.grid), path)
    return _loaded(path)


def given(path: Path, labels: Path | None, spacing_mm: float, folder: Path) -> Patient:
    """A CT of a file, and the labels of its bone if there are any (everything labelled counts)."""
    scan = volumes.read(path)
    marked = None if labels is None else volumes.read_labels(labels, space=scan.space)
    if marked is not None:
        require_same_grid(marked, scan)
    kept = folder / f"{content_hash(scan)[:16]}_{'labels' if marked else 'bone'}_{spacing_mm:g}mm.npz"
    if not kept.exists():
        coarse = _upright(scan, spacing_mm)
        bone = None if marked is None else _share(marked, coarse.grid)
        _kept(Patient(_attenuation(coarse), bone, coarse.grid), kept)
    return _loaded(kept)


def _attenuation(scan: Volume) -> np.ndarray:
    return attenuation(scan).numpy().astype(np.float16)


def _bone(labels: np.ndarray) -> np.ndarray:
    return np.isin(labels, BONES).astype(np.uint8) + np.isin(labels, PELVIS)


def _upright(scan: Volume, spacing_mm: float) -> Volume:
    """Along LPS, whatever way it was stored."""
    low, high = scan.grid.bounds()
    shape = np.maximum(1, np.ceil((high - low) / spacing_mm)).astype(int)
    return resample(scan, Grid.regular(shape.tolist(), spacing_mm, low + spacing_mm / 2), outside=-1000.0)


def _share(labels: Volume, grid: Grid) -> np.ndarray:
    marked = labels.with_data((labels.numpy() > 0).astype(np.float32), "intensity")
    return (resample(marked, grid, outside=0.0).numpy() > 0.5).astype(np.uint8)


def _kept(patient: Patient, path: Path) -> None:
    bone = {} if patient.bone is None else {"bone": patient.bone}
    with writing(path, shared=True) as part, part.open("wb") as file:
        np.savez_compressed(file, data=patient.data, matrix=patient.grid.world_from_voxel, **bone)  # type: ignore[arg-type]


# a patient is looked at every few seconds; unpacking takes 0.03 s
@lru_cache(maxsize=256)
def _loaded(path: Path) -> Patient:
    with np.load(path) as held:
        grid = Grid(held["data"].shape, held["matrix"])
        return Patient(held["data"], held.get("bone"), grid)


# ---------------------------------------------------------------------------------------------------------------------
# Samples


def sample(patient: Patient, config: ProstConfig, net: ProstNetConfig, rng: np.random.Generator) -> Sample:
    """A piece of a patient's bone, X-rays of the patient, and poses to compare."""
    camera, depth_mm = camera_of(net.pixels, rng)
    body, pivot = piece(patient, rng)
    turn, shift = np.radians(config.turn_degrees), config.shift_mm
    nominal = from_the_front(np.radians(config.view_degrees) * rng.normal(), depth_mm)
    truths = [_about(nominal, turn, shift, rng) for _ in range(config.truths)]
    poses = [[_started(nominal, truth, turn, shift, rng) for _ in range(config.starts)] for truth in truths]
    pictures, mask = exposed(patient, camera, [truth @ _shifted(-pivot) for truth in truths], rng)
    volume = shown_volume(body, net)
    return Sample(
        torch.from_numpy(volume.numpy()),
        Grid(volume.grid.shape, _shifted(-pivot) @ volume.grid.world_from_voxel),
        camera,
        torch.from_numpy(pictures[:, None]),
        places_of(camera, mask),
        torch.from_numpy(np.array(truths)),
        torch.from_numpy(np.array(poses)),
    )


def camera_of(pixels: int, rng: np.random.Generator) -> tuple[Camera, float]:
    """A drawn C-arm, and mm from its source to the patient."""
    focal = rng.uniform(*FOCAL_MM)
    camera = Camera.centred(focal, (pixels, pixels), rng.uniform(*DETECTOR_MM) / pixels)
    return camera, focal * rng.uniform(*NEAR)


def piece(patient: Patient, rng: np.random.Generator) -> tuple[Volume, np.ndarray]:
    """Bone of a piece along the body, as attenuation, and its pivot (3,) LPS mm."""
    for _ in range(20):
        body = _cut(patient, rng)
        if (body.numpy() > 0).sum() * body.grid.voxel_volume_mm3 > LEAST_BONE_MM3:
            break
    else:
        raise BadInput("a volume to train on holds hardly any bone", "give CTs of the trunk or of the pelvis")
    # pivot and box are those that a registration will take
    scene = Scene(body, (Projection(np.zeros((1, 1)), Camera.centred(1.0, (1, 1))),), "ncc")
    return scene.body, scene.pivot_mm


def _cut(patient: Patient, rng: np.random.Generator) -> Volume:
    whole, length_mm = patient.whole(), rng.uniform(*PIECE_MM)
    low, high = whole.grid.bounds()[:, 2]
    bottom = rng.uniform(low, max(low, high - length_mm))
    z = whole.grid.origin_mm[2] + whole.grid.spacing_mm[2] * np.arange(whole.grid.shape[2])
    kept = _looked_for(patient, whole.numpy(), rng) & (z >= bottom) & (z <= bottom + length_mm)
    return whole.with_data(np.where(kept, whole.numpy(), np.float32(0)))


def _looked_for(patient: Patient, data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(I, J, K) bool: all bone, the pelvis alone at times, or what is bright."""
    by_threshold, pelvis_alone, hu = rng.uniform() < 0.3, rng.uniform() < 0.15, rng.uniform(*BONE_HU)
    if patient.bone is None or by_threshold:
        return data > linear_attenuation("water", 70.0) * (1 + hu / 1000)
    return patient.bone >= (2 if pelvis_alone and (patient.bone == 2).any() else 1)


def exposed(
    patient: Patient, camera: Camera, camera_from_patient: list[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(T, rows, columns) float32 X-rays as they may come out, and where they are known (rows, columns)."""
    projector = Projector(patient.whole())
    paths = np.stack([projector.image(camera, pose) for pose in camera_from_patient])
    taken = xrays.expose(paths, camera, exposure(rng), rng)
    mask = taken.mask if taken.mask.any() else np.ones(camera.size_px, bool)
    return taken.data.astype(np.float32), mask


def exposure(rng: np.random.Generator) -> XrayConfig:
    """As an X-ray may have been taken, before its pixels were added up to the few that the network sees."""
    one = xrays.drawn(rng)
    return replace(one, photons=one.photons * BINNED, electronic=one.electronic * BINNED**0.5)


def from_the_front(angle: float, depth_mm: float) -> np.ndarray:
    """(4, 4) camera_from_body: the body's origin on the axis at a depth; at angle 0 the rays go from front to back.

    The picture hangs as radiologists look at it: the head is up, the patient's left on its right.
    """
    out = np.eye(4)
    out[:3, :3] = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]) @ se3.rotation_exp(np.array([0, 0, angle]))
    out[2, 3] = depth_mm
    return out


def _about(pose: np.ndarray, turn: float, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Turned about the body's origin and shifted, by normal draws about each axis."""
    return se3.about(pose[:3, 3], rng.normal(size=6) * np.repeat((turn, shift), 3)) @ pose


def _started(nominal: np.ndarray, truth: np.ndarray, turn: float, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Half of them drawn as the truth was, as published; half nearer to it, where a descent will come to."""
    if rng.uniform() < 0.5:
        return _about(nominal, turn, shift, rng)
    near = np.sqrt(2) * rng.uniform(0.05, 1.0)
    return _about(truth, near * turn, near * shift, rng)


def _shifted(mm: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, 3] = mm
    return out
