"""Pairs of volumes whose every place is known to correspond: what keypoint networks learn from.

Pairs follow one another without end, each by its number. A pair is a virtual patient, or a CT that was given, and
either a warp of it as the paper on patch descriptors draws them, or, which no real data can give, another virtual
patient. What is made of some pairs is held at a time, and the oldest goes as a new one comes: nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from homolog.errors import BadInput
from homolog.features import surf3d
from homolog.features.configs import Surf3dConfig
from homolog.io import volumes
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.sampling import pyramid
from homolog.space.transforms import Transform
from homolog.space.volume import Volume
from homolog.synth.local_affines import AffineDensity
from homolog.synth.pairs import semi_synthetic
from homolog.synth.patients import Patient, between, draw_patient
from homolog.train.configs import PairsConfig

# Virtual patients whose landmarks say how people differ locally, where no landmarks are given. Seeds from 10 000 on are
# kept for tests.
COHORT = range(9_000, 9_020)
# Draws of a pair that came to nothing before it is given up.
MOST_DRAWS = 20

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class VolumePair:
    """Two volumes, and the map between them.

    of_two  whether they are of two patients
    """

    fixed: Volume
    moving: Volume
    moving_from_fixed: Transform
    of_two: bool


@dataclass(frozen=True, eq=False)
class Source:
    """Where pairs come from.

    given    CTs besides the virtual patients
    density  how people differ locally
    """

    config: PairsConfig
    density: AffineDensity
    given: Sequence[Path] = ()

    def drawn(self, rng: np.random.Generator) -> VolumePair:
        """The next pair."""
        if self.given and rng.uniform() < self.config.given:
            scan = _read(self.given[int(rng.integers(len(self.given)))], self.config.spacing_mm)
            return self._warped(_cropped(scan, self.config, rng), rng)
        patient = self._patient(rng)
        scan = patient.scan(_box(patient, self.config, rng))
        if rng.uniform() < (self.config.between or 0.0):
            other = self._patient(rng)
            if other.name != patient.name:
                return self._of_two(patient, scan, other, rng)
        return self._warped(scan, rng)

    def _patient(self, rng: np.random.Generator) -> Patient:
        return draw_patient(self.config.first_patient + int(rng.integers(self.config.patients)))

    def _warped(self, scan: Volume, rng: np.random.Generator) -> VolumePair:
        locally = rng.uniform() < (self.config.local or 0.0)
        drawn = semi_synthetic(scan, rng, density=self.density if locally else None)
        return VolumePair(drawn.fixed, drawn.moving, drawn.moving_from_fixed, False)

    def _of_two(self, patient: Patient, scan: Volume, other: Patient, rng: np.random.Generator) -> VolumePair:
        to_other = between(patient, other)
        middle = to_other.apply(scan.grid.bounds().mean(axis=0)[None])[0]
        return VolumePair(scan, other.scan(_box(other, self.config, rng, middle)), to_other, True)


@dataclass(eq=False)
class Stream(Generic[Made]):
    """What is made of pairs, by their number; those that are held are all that is remembered.

    make  of a pair and a generator of its own; None where the pair teaches nothing
    """

    source: Source
    make: Callable[[VolumePair, np.random.Generator], Made | None]
    seed: int = 0
    _held: dict[int, Made] = field(default_factory=dict)

    def at(self, step: int) -> list[Made]:
        """What is held at a step: at first little, so that training begins at once."""
        config = self.source.config
        newest = min(config.at_first, config.held) - 1 + step // config.refresh
        numbers = range(max(0, newest + 1 - config.held), newest + 1)
        self._held = {n: self._held[n] if n in self._held else self.made(n) for n in numbers}
        return list(self._held.values())

    def made(self, number: int) -> Made:
        """Of a pair, the same whenever it is asked for."""
        for again in range(MOST_DRAWS):
            rng = np.random.default_rng([self.seed, 7, number, again])
            found = self.make(self.source.drawn(rng), rng)
            if found is not None:
                return found
        raise BadInput("volumes to train on have hardly any keypoints in common", "give CTs of the trunk")


def keypoints_of(volume: Volume, config: PairsConfig) -> Keypoints:
    """The strongest of 3D-SURF's points, not described."""
    asked = Surf3dConfig(sampling_mm=config.sampling_mm, most=config.keypoints, descriptors=False)
    return surf3d.detect(volume, asked)


def cohort_density(landmarks: Sequence[Keypoints] = ()) -> AffineDensity:
    """How people differ locally: of the landmarks that are given, else of virtual patients'."""
    return AffineDensity.of(list(landmarks) or [draw_patient(seed).landmarks() for seed in COHORT])


def seeds(config: PairsConfig) -> list[int]:
    """Of the virtual patients: the first, and the first that is none any more."""
    return [config.first_patient, config.first_patient + config.patients]


def require_seeds(config: PairsConfig) -> None:
    """Raises where patients would be trained on that are kept for tests."""
    last = config.first_patient + config.patients - 1
    if last >= min(COHORT):
        raise BadInput(
            f"patients {config.first_patient} to {last} reach into those kept for landmarks and tests",
            "--first-patient 2000 --patients 4000",
        )


def require_volumes(paths: Sequence[Path]) -> None:
    """Raises where a volume is not there, or cannot be read."""
    for path in paths:
        volumes.read_grid(path)


# ---------------------------------------------------------------------------------------------------------------------
# Parts of scans


def _box(patient: Patient, config: PairsConfig, rng: np.random.Generator, middle: np.ndarray | None = None) -> Grid:
    """A part of the patient's grid, of the size that is looked at, anywhere or about a place."""
    grid = patient.grid(config.spacing_mm)
    size = np.minimum(np.ceil(np.array(config.box_mm) / config.spacing_mm).astype(int), grid.shape)
    room = np.array(grid.shape) - size
    drawn = rng.uniform(size=3)
    start = np.floor(drawn * (room + 1)) if middle is None else np.rint(grid.voxel(middle[None])[0] - size / 2)
    low = np.clip(start, 0, room).astype(int)
    return grid.cropped(low, low + size)


def _cropped(scan: Volume, config: PairsConfig, rng: np.random.Generator) -> Volume:
    """A part of a CT of that size, anywhere in it."""
    size = np.minimum(np.ceil(np.array(config.box_mm) / scan.grid.spacing_mm).astype(int), scan.grid.shape)
    low = np.floor(rng.uniform(size=3) * (np.array(scan.grid.shape) - size + 1)).astype(int)
    part = scan.numpy()[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))]
    return Volume(np.ascontiguousarray(part), scan.grid.cropped(low, low + size), scan.space)


@lru_cache(maxsize=8)
def _read(path: Path, spacing_mm: float) -> Volume:
    """A CT with voxels no finer than needed."""
    scan = volumes.read(path)
    return scan if (scan.grid.spacing_mm > 0.8 * spacing_mm).all() else pyramid(scan, [spacing_mm])[0]
