"""What ProST's network learns from: patients, what of them is looked for, X-rays of them, and poses.

The X-ray shows all of the patient; what is looked for in it is bone alone: the pelvis, or more around it. So the
network must see through what the volume does not hold. Of bone there is what it attenuates beyond soft tissue, since
cut out of it a bone would cast the shadow of a bone in air.
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
from homolog.projective.leaning import places_of, points_in
from homolog.projective.prost import shown_volume
from homolog.projective.scene import Solid
from homolog.space import se3
from homolog.space.attenuation import attenuation, excess_attenuation, linear_attenuation
from homolog.space.camera import Camera
from homolog.space.grid import Grid
from homolog.space.projecting import Projector
from homolog.space.sampling import require_same_grid, resample
from homolog.space.volume import Volume
from homolog.synth import xrays
from homolog.synth.anatomy.structures import NUMBERS, STRUCTURES
from homolog.synth.patients import draw_patient
from homolog.synth.xray_config import Opening, XrayConfig
from homolog.train.configs import ProstConfig

# Seeds of virtual patients that nothing is trained on.
HELD_OUT = 10_000
# HU above which a voxel is bone where no labels say so; contrast in vessels, at most 400, is drawn over it at times.
BONE_HU = (150.0, 300.0)
# mm along the body of the piece that is looked for where nothing says which bone: a field of view's worth, and half as
# much again; and of what is taken of other bones above and below the pelvis.
PIECE_MM, AROUND_MM = (200.0, 340.0), 80.0
# mm of the virtual patients' lower end that are kept: what an X-ray of the pelvis shows, and nothing that ends within.
TRUNK_MM = 560.0
# A piece with less bone than this, in voxels of 5 mm, is drawn anew.
LEAST_BONE_MM3 = 100 * 5.0**3
# C-arms: mm from source to detector, the share of it to the patient, mm along the detector's side. ProST's are 1020,
# 0.61 and 374.
FOCAL_MM, NEAR, DETECTOR_MM = (960.0, 1080.0), (0.58, 0.65), (345.0, 400.0)
# The collimator's width as a part of the detector's: most pictures show a part of a pelvis only.
OPENING = (0.62, 1.0)
# Pixels of a detector that are added up to one of those that the network sees, about.
BINNED = 36
BONES = tuple(
    number
    for number, name in STRUCTURES.items()
    if name.startswith("vertebra ")
    or name.split()[-1] in ("sternum", "clavicle", "scapula", "humerus", "sacrum", "hip", "femur")
    or "rib" in name.split()
)
# The pelvis, whose parts are marked 2, 3 and 4 in a patient's bone; 1 is other bone.
PELVIS = tuple(NUMBERS[name] for name in ("sacrum", "right hip", "left hip"))
PART = 2
# A part's ends are the means of this share of its voxels.
END = 0.02
# Of ends: of each part its centre and its ends to the left, right, front, back, head and feet.
ENDS = len(PELVIS) * 7


@dataclass(frozen=True, eq=False)
class Patient:
    """A CT to learn from.

    data    (I, J, K) float16, 1/mm
    excess  (I, J, K) float16, 1/mm beyond soft tissue
    bone    (I, J, K) uint8: 1 in bone, 2 to 4 in the pelvis, 0 elsewhere; None where a threshold must do
    """

    data: np.ndarray
    excess: np.ndarray
    bone: np.ndarray | None
    grid: Grid

    def whole(self) -> Volume:
        """Attenuation of everything, 1/mm."""
        return Volume(self.data.astype(np.float32), self.grid, "patient")

    def beyond(self, kept: np.ndarray) -> Volume:
        """Attenuation beyond soft tissue where it is kept (I, J, K), 1/mm."""
        return Volume(np.where(kept, self.excess, np.float16(0)).astype(np.float32), self.grid, "patient")

    @property
    def has_pelvis(self) -> bool:
        """Whether it is known where the parts of the pelvis are."""
        return self.bone is not None and bool((self.bone >= PART).any())


@dataclass(frozen=True, eq=False)
class Sample:
    """What one volume of a step is compared with.

    volume    (I, J, K) float32, 1/mm, of what is looked for; its world's origin is the pivot
    pictures  (T, 1, rows, columns) float32: X-rays of everything
    places    (3, rows, columns)
    truths    (T, 4, 4) float64 camera_from_world
    poses     (T * S, 4, 4) float64 to compare with the X-rays, S drawn for each, the first T first
    ends      (E, 3) float64 mm from the pivot: ends of the bones whose places a network may be taught; E may be 0
    """

    volume: torch.Tensor
    grid: Grid
    camera: Camera
    pictures: torch.Tensor
    places: torch.Tensor
    truths: torch.Tensor
    poses: torch.Tensor
    ends: torch.Tensor


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
        scan, labels = patient.both(_lower(patient.grid(spacing_mm)))
        _kept(_patient(scan, _bone(labels.numpy())), path)
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
        _kept(_patient(coarse, None if marked is None else _share(marked, coarse.grid)), kept)
    return _loaded(kept)


def _patient(scan: Volume, bone: np.ndarray | None) -> Patient:
    data, excess = (each(scan).numpy().astype(np.float16) for each in (attenuation, excess_attenuation))
    return Patient(data, excess, bone, scan.grid)


def _lower(grid: Grid) -> Grid:
    """The part of a virtual patient's grid, along LPS, that X-rays of the pelvis show."""
    i, j, k = grid.shape
    return grid.cropped((0, 0, 0), (i, j, min(k, int(TRUNK_MM / grid.spacing_mm[2]))))


def _bone(labels: np.ndarray) -> np.ndarray:
    parts = np.zeros(256, np.uint8)
    parts[list(BONES)] = 1
    parts[list(PELVIS)] = PART + np.arange(len(PELVIS))
    return parts[labels]


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
        matrix = patient.grid.world_from_voxel
        np.savez_compressed(file, data=patient.data, excess=patient.excess, matrix=matrix, **bone)  # type: ignore[arg-type]


# a patient is looked at every few seconds; unpacking takes 0.03 s
@lru_cache(maxsize=256)
def _loaded(path: Path) -> Patient:
    with np.load(path) as held:
        grid = Grid(held["data"].shape, held["matrix"])
        return Patient(held["data"], held["excess"], held.get("bone"), grid)


# ---------------------------------------------------------------------------------------------------------------------
# Samples


def sample(patient: Patient, config: ProstConfig, net: ProstNetConfig, rng: np.random.Generator) -> Sample:
    """A piece of a patient's bone, X-rays of the patient, and poses to compare."""
    camera, depth_mm = camera_of(net.pixels, rng)
    body, pivot = piece(patient, rng)
    turn, shift = np.radians(config.turn_degrees), config.shift_mm
    nominal = from_the_front(np.radians(config.view_degrees) * rng.normal(), depth_mm)
    truths = [_about(nominal, turn, shift, rng) for _ in range(config.truths)]
    poses = [_started(nominal, truth, turn, shift, rng) for _ in range(config.starts) for truth in truths]
    pictures, mask = exposed(Projector(patient.whole()), camera, [truth @ _shifted(-pivot) for truth in truths], rng)
    volume = shown_volume(body, net)
    return Sample(
        torch.from_numpy(volume.numpy()),
        Grid(volume.grid.shape, _shifted(-pivot) @ volume.grid.world_from_voxel),
        camera,
        torch.from_numpy(pictures[:, None]),
        places_of(camera, mask),
        torch.from_numpy(np.array(truths)),
        torch.from_numpy(np.array(poses)),
        torch.from_numpy(ends_of(patient) - pivot if patient.has_pelvis else np.zeros((0, 3))),
    )


def camera_of(pixels: int, rng: np.random.Generator) -> tuple[Camera, float]:
    """A drawn C-arm, and mm from its source to the patient."""
    focal = rng.uniform(*FOCAL_MM)
    camera = Camera.centred(focal, (pixels, pixels), rng.uniform(*DETECTOR_MM) / pixels)
    return camera, focal * rng.uniform(*NEAR)


def piece(patient: Patient, rng: np.random.Generator) -> tuple[Volume, np.ndarray]:
    """Bone as it attenuates beyond soft tissue, 1/mm, and its pivot (3,) LPS mm."""
    if patient.has_pelvis:
        assert patient.bone is not None
        body, pivot = _boxed(patient.beyond(patient.bone >= PART))
        # poses are those of the pelvis, whatever more of the patient is looked for with it
        return (body if rng.uniform() < 0.7 else _boxed(patient.beyond(_with_others(patient, rng)))[0]), pivot
    for _ in range(20):
        kept = _cut(patient, rng)
        if (kept & (patient.excess > 0)).sum() * patient.grid.voxel_volume_mm3 > LEAST_BONE_MM3:
            return _boxed(patient.beyond(kept))
    raise BadInput("a volume to train on holds hardly any bone", "give CTs of the trunk or of the pelvis")


def ends_of(patient: Patient) -> np.ndarray:
    """(21, 3) LPS mm: of each part of the pelvis its centre and six ends."""
    assert patient.bone is not None
    return np.concatenate([_ends(patient.grid.world(np.argwhere(patient.bone == PART + n))) for n in range(3)])


def _ends(points: np.ndarray) -> np.ndarray:
    count = max(1, int(END * len(points)))
    order = np.argsort(points, axis=0)
    far = [points[order[part, axis]].mean(axis=0) for axis in range(3) for part in (slice(count), slice(-count, None))]
    return np.array([points.mean(axis=0), *far])


def _boxed(body: Volume) -> tuple[Volume, np.ndarray]:
    """Box and pivot as a registration will take them."""
    solid = Solid(body)
    return solid.body, solid.pivot_mm


def _with_others(patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """(I, J, K) bool: the bones around the pelvis too, marked or by a threshold."""
    assert patient.bone is not None
    planes = np.flatnonzero((patient.bone >= PART).any(axis=(0, 1)))
    more = int(rng.uniform(0, AROUND_MM) / patient.grid.spacing_mm[2])
    k = np.arange(patient.grid.shape[2])
    bone = patient.bone > 0 if rng.uniform() < 0.5 else _bright(patient, rng)
    return bone & (k >= planes[0] - more) & (k <= planes[-1] + more)


def _cut(patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """(I, J, K) bool: a piece of a CT of which no pelvis is known."""
    length_mm = rng.uniform(*PIECE_MM)
    low, high = patient.grid.bounds()[:, 2]
    bottom = rng.uniform(low, max(low, high - length_mm))
    z = patient.grid.origin_mm[2] + patient.grid.spacing_mm[2] * np.arange(patient.grid.shape[2])
    bone = _bright(patient, rng) if patient.bone is None else patient.bone > 0
    return bone & (z >= bottom) & (z <= bottom + length_mm)


def _bright(patient: Patient, rng: np.random.Generator) -> np.ndarray:
    return patient.data > linear_attenuation("water", 70.0) * (1 + rng.uniform(*BONE_HU) / 1000)


def places_in(sample: Sample, poses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the ends of the bones lie in pictures from poses (N, 4, 4), see `points_in`."""
    return points_in(sample.ends, poses, sample.camera, sample.places[2])


def exposed(
    projector: Projector, camera: Camera, camera_from_volume: list[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(T, rows, columns) float32 X-rays as they may come out, and where they are known (rows, columns)."""
    paths = np.stack([projector.image(camera, pose) for pose in camera_from_volume])
    taken = xrays.expose(paths, camera, exposure(rng), rng)
    mask = taken.mask if taken.mask.any() else np.ones(camera.size_px, bool)
    return taken.data.astype(np.float32), mask


def exposure(rng: np.random.Generator) -> XrayConfig:
    """As an X-ray may have been taken, before its pixels were added up to the few that the network sees."""
    one = xrays.drawn(rng)
    collimator: Opening = "none" if rng.uniform() < 0.15 else ("rectangle", "circle")[rng.integers(2)]
    return replace(
        one,
        photons=one.photons * BINNED,
        electronic=one.electronic * BINNED**0.5,
        collimator=collimator,
        opening=float(rng.uniform(*OPENING)),
    )


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
