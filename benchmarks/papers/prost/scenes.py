"""What is looked for in which X-ray: bodies, poses as the paper draws them, and X-rays of everything around the bone.

The X-ray shows the whole CT, exposed with a spectrum, scatter, blur, photons and a collimator; the volume that is
looked for holds only bone. A pose's rig is the camera itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, label
from scipy.spatial.transform import Rotation

from homolog import Volume
from homolog.io import volumes
from homolog.space.attenuation import attenuation, bone_attenuation, excess_attenuation
from homolog.space.camera import Camera
from homolog.space.projecting import Projector
from homolog.space.projection import Projection
from homolog.synth.xray_config import XrayConfig
from homolog.synth.xrays import expose

# The C-arm of the paper's code: mm from source to detector and to the patient, 128 x 128 pixels.
CAMERA, ISOCENTRE_MM = Camera.centred(1020.0, (128, 128), 2.92), 620.0
# Its distribution: each component is normal with 0.15 as standard deviation, times these: rad for the true pose and for
# the start, mm for both (half the side of its cube).
SIGMA, TRUE_RAD, START_RAD, SHIFT_MM = 0.15, 0.35 * np.pi, 0.30 * np.pi, 149.25
# Camera axes in the patient at zero: rays from front to back, the head up, the patient's left on the right.
FROM_THE_FRONT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
# The HU below which nothing is projected in the paper's masked volume.
PAPER_FLOOR_HU = -130.0
# The X-ray is drawn with pixels so many times finer than the detector's, and the beam is added up.
FINER = 2
# The first virtual patient; the network is trained on seeds below 10 000. And how many are drawn at most.
FIRST, PATIENTS, SPACING_MM, REGION = 20_000, 20, 2.0, "neck-thigh"
PELVIS = ("sacrum", "right hip", "left hip")
# Where the real CTs lie under --data, and how their bone is told: labels of a file, or brightness.
REAL = {
    "abdomen-pelvis": ("abdomen-pelvis/example_ct.nii.gz", "abdomen-pelvis/example_seg_fast_force_split.nii.gz"),
    "chest-a": ("chest-a/lidc-idri-0001_2mm.nii.gz", None),
    "chest-b": ("chest-b/cmb-crc-msb-01068_2mm.nii.gz", None),
}
# TotalSegmentator's numbers of the sacrum and of both hips.
REAL_PELVIS = (25, 77, 78)
# Bone by brightness; beyond 1500 HU is contrast in a vein. Other vessels are as bright as bone, but solid: what holds a
# ball of 8 mm is none, and 6 mm more around it. Pieces below 3 cm^3 are left out: ribs are larger, what remains of
# vessels is not. Gaps up to 3 mm are closed, which fills vertebrae.
BONE_HU, VESSEL_MM, RIM_MM, PIECE_MM3, GAP_MM = (250.0, 1500.0), 8.0, 6.0, 3000.0, 3.0
# Points of bone at which target errors are measured.
POINTS = 500


@dataclass(frozen=True, eq=False)
class Body:
    """A CT, and its bone that is looked for.

    whole, bony    attenuation of everything, and the part of it that is bone's, 1/mm
    masked         attenuation in the mask alone, as in the paper
    excess         what the masked bone attenuates beyond soft tissue
    points_mm      (N, 3) of the bone
    centre_mm      (3,) of the bone
    """

    name: str
    whole: Volume
    bony: Volume
    masked: Volume
    excess: Volume
    points_mm: np.ndarray
    centre_mm: np.ndarray

    @classmethod
    def of(cls, name: str, ct: Volume, mask: np.ndarray) -> Body:
        inside = np.argwhere(mask)
        chosen = np.random.default_rng(0).choice(len(inside), min(POINTS, len(inside)), replace=False)
        return cls(
            name,
            attenuation(ct),
            bone_attenuation(ct),
            _around(attenuation(ct, floor_hu=PAPER_FLOOR_HU, mask=mask), inside),
            _around(excess_attenuation(ct, mask=mask), inside),
            ct.grid.world(inside[chosen].astype(float)),
            ct.grid.world(inside.mean(axis=0)),
        )


@dataclass(frozen=True, eq=False)
class Case:
    """An X-ray, where the body truly lies in it, and where a search starts; poses are camera_from_patient (4, 4)."""

    number: int
    body: Body
    projection: Projection
    truth: np.ndarray
    start: np.ndarray


def _around(volume: Volume, inside: np.ndarray) -> Volume:
    """The box of voxels (N, 3), which a search need not look for each time."""
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    data = volume.numpy()[tuple(slice(a, b) for a, b in zip(low, high))]
    return replace(volume, data=np.ascontiguousarray(data), grid=volume.grid.cropped(low, high))


# ---------------------------------------------------------------------------------------------------------------------
# Bodies


# a worker goes through its cases patient by patient
@lru_cache(maxsize=1)
def body(place: str, folder: Path) -> Body:
    """A virtual patient's pelvis ("patient_20000" of a folder of patients), or a real CT's bone (of --data)."""
    if place in REAL:
        return _real(place, folder)
    ct = volumes.read(folder / place / "ct.nii.gz", space=place)
    names = json.loads((folder / place / "labels.json").read_text())
    numbers = [int(number) for number, name in names.items() if name in PELVIS]
    labels = volumes.read_labels(folder / place / "labels.nii.gz", space=place)
    return Body.of(place, ct, np.isin(labels.numpy(), numbers))


def _real(place: str, folder: Path) -> Body:
    scan, labels = REAL[place]
    ct = volumes.read(folder / scan, space=place)
    if labels is None:
        return Body.of(place, ct, bone_by_brightness(ct))
    return Body.of(place, ct, np.isin(volumes.read_labels(folder / labels, space=place).numpy(), REAL_PELVIS))


def bone_by_brightness(ct: Volume) -> np.ndarray:
    """(I, J, K) bool: the larger pieces of what is bright and not a vessel."""
    bright = (ct.numpy() > BONE_HU[0]) & (ct.numpy() < BONE_HU[1])
    vessels = _within(distance_transform_edt(bright, ct.grid.spacing_mm) > VESSEL_MM, VESSEL_MM + RIM_MM, ct)
    pieces, _ = label(bright & ~vessels)
    large = np.bincount(pieces.ravel()) * ct.grid.voxel_volume_mm3 > PIECE_MM3
    # what is in no piece has the number 0
    large[0] = False
    return ~_within(~_within(large[pieces], GAP_MM, ct), GAP_MM, ct)


def _within(mask: np.ndarray, reach_mm: float, ct: Volume) -> np.ndarray:
    """(I, J, K) bool: what is no farther than that from a mask."""
    return np.asarray(distance_transform_edt(~mask, ct.grid.spacing_mm) <= reach_mm)


# ---------------------------------------------------------------------------------------------------------------------
# Cases


def case(of: Body, number: int, seed: int) -> Case:
    """The same for the same numbers, whatever else is asked for."""
    rng = np.random.default_rng([seed, number])
    truth, start = drawn(of.centre_mm, TRUE_RAD, rng), drawn(of.centre_mm, START_RAD, rng)
    return Case(number, of, xray(of.whole, of.bony, CAMERA, truth, exposure(rng), rng), truth, start)


def drawn(centre_mm: np.ndarray, turn_rad: float, rng: np.random.Generator) -> np.ndarray:
    """(4, 4): the view from the front, turned by Rx Ry Rz about the bone's centre and shifted."""
    angles = turn_rad * SIGMA * rng.normal(size=3)
    out = np.eye(4)
    out[:3, :3] = Rotation.from_euler("XYZ", angles).as_matrix() @ FROM_THE_FRONT
    out[:3, 3] = [0.0, 0.0, ISOCENTRE_MM] + SHIFT_MM * SIGMA * rng.normal(size=3) - out[:3, :3] @ centre_mm
    return out


def exposure(rng: np.random.Generator) -> XrayConfig:
    """A fluoroscopic frame, its pixels added up to large ones."""
    return XrayConfig(
        photons=float(np.exp(rng.uniform(np.log(3e5), np.log(3e6)))),
        blur_mm=0.5,
        scatter=float(rng.uniform(0.1, 0.4)),
        vignetting=float(rng.uniform(0.0, 0.2)),
        kilovolts=float(rng.uniform(65, 100)),
        collimator=("rectangle", "circle")[rng.integers(2)],
        opening=float(rng.uniform(0.7, 0.95)),
        turned_degrees=float(rng.uniform(-15, 15)),
    )


def xray(
    whole: Volume,
    bony: Volume | None,
    camera: Camera,
    camera_from_patient: np.ndarray,
    config: XrayConfig,
    rng: np.random.Generator,
) -> Projection:
    """What a detector sees of everything; a spectrum needs the part that is bone's."""
    fine = camera.resized((FINER * camera.size_px[0], FINER * camera.size_px[1]))

    def paths(volume: Volume) -> np.ndarray:
        return pooled_beam(Projector(volume, "siddon").image(fine, camera_from_patient))

    taken = expose(paths(whole), camera, config, rng, bone=None if bony is None else paths(bony))
    return Projection(taken.data, camera, mask=taken.mask, name=f"{whole.space} X-ray")


def pooled_beam(paths: np.ndarray) -> np.ndarray:
    """Line integrals on the detector's pixels: what comes through is added up, not what is lost."""
    rows, columns = (n // FINER for n in paths.shape)
    through = np.exp(-paths.astype(float)).reshape(rows, FINER, columns, FINER).mean(axis=(1, 3))
    return np.asarray(-np.log(through))
