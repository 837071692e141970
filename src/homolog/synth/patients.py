"""Virtual patients: scans as different as people are, whose corresponding places are known at every voxel.

All patients are one canonical body seen through a known map, so the map between any two is known as well. What has no
counterpart in another patient, a grain of tissue, gas, a tumour, metal, is painted where the patient lies.
See docs/methods/patients.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from homolog.errors import BadInput
from homolog.kernels import displacement, implicit
from homolog.space.dense import sampled_displacement, slabs
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Transform
from homolog.space.volume import Volume
from homolog.synth import acquisition
from homolog.synth.anatomy import body, compiled, looks, own, variation
from homolog.synth.anatomy.landmarks import landmarks as canonical_landmarks
from homolog.synth.anatomy.structures import BTCV as BTCV
from homolog.synth.anatomy.structures import STRUCTURES as STRUCTURES
from homolog.synth.anatomy.structures import TISSUES
from homolog.synth.checks import PHASES, require_scannable, require_sensible, sensible_device, sensible_spacing
from homolog.synth.configs import PatientConfig

if TYPE_CHECKING:
    import torch

ORDINARY = PatientConfig()
AIR_HU = -1000.0
# Where each region begins and ends in the canonical body, mm along z.
REGIONS = {
    "neck-thigh": (body.BOTTOM_MM, body.TOP_MM),
    "chest": (205.0, 470.0),
    "abdomen": (-25.0, 262.0),
    "pelvis": (-200.0, 40.0),
    "abdomen-pelvis": (-190.0, 262.0),
    "chest-abdomen-pelvis": (-190.0, 470.0),
}
# The map is looked up between the nodes of a lattice that stands still in the patient: second derivatives are below
# 0.02 a mm nearly everywhere, so that with 4 mm the picture lies within 4^2 / 8 * 0.02 = 0.04 mm of the map.
NODE_MM = 4.0


@dataclass(frozen=True, eq=False)
class Patient:
    """One virtual patient. The maps, and everything drawn, are made when they are first asked for.

    name    also the name of the patient's space
    seed, config   from which all of it follows
    """

    name: str
    seed: int
    config: PatientConfig

    # -----------------------------------------------------------------------------------------------------------------
    # Maps and landmarks

    @cached_property
    def canonical_from_patient(self) -> Transform:
        return self._variation.canonical_from_patient(self.name)

    @cached_property
    def patient_from_canonical(self) -> Transform:
        return self._variation.patient_from_canonical(self.name)

    def landmarks(self) -> Keypoints:
        """The named points, in this patient."""
        known = canonical_landmarks()
        places = self._own(np.array([place for _, place in known.values()])) + self._header_mm
        return Keypoints(places, self.name, tuple(known))

    # -----------------------------------------------------------------------------------------------------------------
    # Where it is scanned

    def grid(
        self,
        spacing_mm: float | Sequence[float] = 2.5,
        crop: Sequence[Sequence[float]] | np.ndarray | None = None,
        region: str = "neck-thigh",
    ) -> Grid:
        """A grid along LPS around the patient.

        spacing_mm  one, or three along x, y, z
        crop        (2, 3) LPS mm, the lowest and the highest corner of a smaller box; it must meet the body
        region      "neck-thigh", "chest", "abdomen", "pelvis", "abdomen-pelvis" or "chest-abdomen-pelvis"
        """
        spacing = sensible_spacing(spacing_mm)
        if region not in REGIONS:
            raise BadInput(f"no region {region!r}", f"use one of {', '.join(REGIONS)}")
        box = self._box_mm(REGIONS[region]) if crop is None else self._sensible_crop(crop)
        shape = np.maximum(1, np.round((box[1] - box[0]) / spacing)).astype(int)
        return Grid.regular(shape.tolist(), spacing, box[0] + spacing / 2)

    # -----------------------------------------------------------------------------------------------------------------
    # Pictures

    def scan(self, grid: Grid, device: str | torch.device = "cpu") -> Volume:
        """What a scanner shows on a grid in this patient's space: HU, or MR in its own units."""
        return self.both(grid, device)[0]

    def labels(self, grid: Grid, device: str | torch.device = "cpu") -> Volume:
        """The numbers of STRUCTURES at the voxels' centres; 0 is outside the body."""
        require_scannable(grid)
        here = self._lying(grid)
        if str(device) != "cpu":
            return Volume(self._drawn_on(here, device, values=False)[1], grid, self.name, "labels")
        labels = np.empty(grid.shape, np.uint8)
        field = self._field(here)
        for start, stop in slabs(here):
            points = here.points(start, stop)
            labels[start:stop] = self._shown(points, field, 1.0, values=False)[1].reshape(labels[start:stop].shape)
        return Volume(labels, grid, self.name, "labels")

    def both(self, grid: Grid, device: str | torch.device = "cpu") -> tuple[Volume, Volume]:
        """Scan and labels, for little more than the scan alone.

        device  "cpu" gives NumPy arrays, "cuda" tensors that are drawn on the GPU and stay there
        """
        require_scannable(grid)
        here = self._lying(grid)
        values, labels = self._drawn(here) if str(device) == "cpu" else self._drawn_on(here, device)
        values = self._acquired(values, here)
        return Volume(values, grid, self.name), Volume(labels, grid, self.name, "labels")

    def _drawn(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Values without noise, and labels."""
        values, labels = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.uint8)
        field, width_mm = self._field(grid), self._width_mm(grid)
        for start, stop in slabs(grid):
            points = grid.points(start, stop)
            shown, numbers = self._sliced(points, field, width_mm)
            values[start:stop] = shown.reshape(values[start:stop].shape)
            labels[start:stop] = numbers.reshape(labels[start:stop].shape)
        return values, labels

    def _drawn_on(
        self, grid: Grid, device: str | torch.device, *, values: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        where = sensible_device(device)
        # imports Triton
        from homolog.synth import on_device

        return on_device.drawn(self, grid, where, values=values)

    # -----------------------------------------------------------------------------------------------------------------
    # What was drawn

    def _random(self, what: str) -> np.random.Generator:
        """A generator of its own for each thing drawn: switching one off leaves the others as they were."""
        return _generator(self.seed, what)

    @cached_property
    def _anatomy(self) -> variation.Variation:
        """Of the patient where it lies, before a header puts it elsewhere. All is drawn there."""
        return _drawn(self.seed, self.config.variability, self.config.placement_mm)

    @cached_property
    def _canonical_from_place(self) -> Transform:
        return self._anatomy.canonical_from_patient(self.name)

    @cached_property
    def _variation(self) -> variation.Variation:
        moved = self._anatomy.affine.copy()
        moved[:3, 3] += self._header_mm
        return variation.Variation(moved, self._anatomy.steps)

    @cached_property
    def _header_mm(self) -> np.ndarray:
        """(3,) where the header puts the patient besides where it lies: nowhere else, or metres away."""
        if self.config.headers == "shared":
            return np.zeros(3)
        return np.round(self._random("header").uniform(-2000, 2000, 3), 1)

    @cached_property
    def phase(self) -> str:
        """ "native", "arterial" or "portal"."""
        return self.config.phase or str(self._random("phase").choice(PHASES, p=(0.25, 0.2, 0.55)))

    @cached_property
    def slice_mm(self) -> float:
        drawn = float(self._random("slice").choice((1.0, 2.0, 3.0, 5.0), p=(0.35, 0.35, 0.15, 0.15)))
        return drawn if self.config.slice_mm is None else self.config.slice_mm

    @cached_property
    def sharpness(self) -> float:
        drawn = float(np.clip(0.5 * self._random("kernel").normal(), -1, 1))
        return drawn if self.config.sharpness is None else self.config.sharpness

    @cached_property
    def _looks(self) -> np.ndarray:
        """(L, 12) how each layer of the body looks in this patient."""
        rng = self._random("looks")
        drawn = {name: (rng.normal(), rng.normal(), rng.normal()) for name in TISSUES}
        picture = 3 if self.config.modality == "mr" else PHASES.index(self.phase)
        rows = {name: looks.look(TISSUES[name], picture, drawn[name], self.config) for name in TISSUES}
        return np.array([rows[one.name] for one in body.layers()])

    @cached_property
    def _extras(self) -> tuple[list[own.Extra], list[own.Streaks]]:
        """Tumours and metal in the patient's own place."""
        rng = self._random("tumours")
        count = int(rng.choice(3, p=(0.55, 0.3, 0.15))) if self.config.tumours is None else self.config.tumours
        sites = [own.SITES[n] for n in rng.permutation(len(own.SITES))[:count]]
        found = own.tumours(self._own(np.array([site for site, _ in sites])), [extra for _, extra in sites], rng)
        metal = self._metal()
        return found + [one for one, _ in metal], [streaks for _, streaks in metal]

    def _metal(self) -> list[tuple[own.Extra, own.Streaks]]:
        rng = self._random("implant")
        kind = str(rng.choice(("none", "hip", "screws"), p=(0.9, 0.06, 0.04)))
        kind = self.config.implant or kind
        side = int(rng.choice((-1, 1)))
        if kind == "hip":
            head, shaft = self._own(own.hip_places(side))
            return [own.hip(head, shaft, side, rng)]
        if kind == "screws":
            starts, ends = own.screw_places()
            return [own.screws(self._own(starts), self._own(ends), rng)]
        return []

    def _own(self, canonical: np.ndarray) -> np.ndarray:
        """(N, 3) canonical points where the patient lies."""
        return self._anatomy.carried_back(canonical.reshape(-1, 3))

    @cached_property
    def _table(self) -> tuple[float, float]:
        """y of the table's top and x of its middle, in the patient's own place."""
        back = self._own(np.array([(x, 118.0, z) for x in (-60, 0, 60) for z in (-80, 0, 120, 240, 340)]))
        return float(back[:, 1].max()) + 6.0, float(back[:, 0].mean())

    # -----------------------------------------------------------------------------------------------------------------
    # How it is shown

    def _box_mm(self, region_mm: tuple[float, float]) -> np.ndarray:
        """(2, 3) LPS mm: around the skin of a part of the body."""
        low, high = region_mm
        rim = [(x, y, z) for x in (-185, 0, 185) for y in (-115, 10, 125) for z in np.linspace(low, high, 7)]
        places, ends = self._own(np.array(rim)), self._own(np.array([(0, 20, low), (0, 20, high)], float))[:, 2]
        box = np.stack((places.min(axis=0), places.max(axis=0)))
        box[:, 2] = ends
        return box + np.array([[-8, -8, 0], [8, 22, 0]]) + self._header_mm

    def _sensible_crop(self, crop: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        box = np.asarray(crop, float)
        if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[1] > box[0]).all():
            raise BadInput(
                "a crop is its lowest and its highest corner, (2, 3) LPS mm", "crop=[[0, 0, 0], [96, 96, 96]]"
            )
        whole = self._box_mm(REGIONS["neck-thigh"])
        if (box[1] <= whole[0]).any() or (box[0] >= whole[1]).any():
            raise BadInput(
                f"the crop {box.round(1).tolist()} lies outside the body of '{self.name}', {whole.round(1).tolist()}",
                "take the crop around one of patient.landmarks()",
            )
        return box

    def _lying(self, grid: Grid) -> Grid:
        """A grid in the patient's own place, rounded: a voxel is the same wherever a header puts the patient."""
        matrix = grid.world_from_voxel.copy()
        matrix[:3, 3] = np.round(matrix[:3, 3] - self._header_mm, 6)
        return Grid(grid.shape, matrix)

    def _field(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """The map as displacements at nodes: vectors, and node_from_patient (4, 4)."""
        nodes = self._nodes(grid)
        return sampled_displacement(self._canonical_from_place, nodes), nodes.voxel_from_world

    def _nodes(self, grid: Grid) -> Grid:
        """Those around a grid of the lattice that stands still in the patient."""
        bounds = grid.bounds(0.5)
        low = np.floor(bounds[0] / NODE_MM) - 2
        shape = np.ceil(bounds[1] / NODE_MM) + 3 - low
        return Grid.regular(shape.astype(int).tolist(), NODE_MM, low * NODE_MM)

    def _width_mm(self, grid: Grid) -> float:
        return acquisition.edge_width_mm(grid, self.sharpness)

    def _sliced(self, points: np.ndarray, field: tuple, width_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """The mean over the slice's thickness; labels are those of its middle."""
        others = self._slice_shifts_mm()[1:]
        values, labels = self._shown(points, field, width_mm)
        for shift in others:
            values += self._shown(points + np.array([0, 0, shift]), field, width_mm)[0]
        return values / (1 + len(others)), labels

    def _slice_shifts_mm(self) -> list[float]:
        return acquisition.slice_shifts_mm(self.slice_mm)

    def _shown(
        self, points: np.ndarray, field: tuple, width_mm: float, *, values: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Without noise: what lies at points of the patient."""
        vectors, node_from_patient = field
        canonical = displacement.displace(vectors, node_from_patient, points)
        shown, labels = implicit.render(
            compiled.tables(),
            self._looks,
            canonical,
            points + self._grain_mm,
            width_mm,
            self._outside,
            values=values,
        )
        if values:
            shown = self._with_own(shown, points, labels, width_mm)
        return shown, labels

    @property
    def _outside(self) -> float:
        return 0.0 if self.config.modality == "mr" else AIR_HU

    @cached_property
    def _grain_mm(self) -> np.ndarray:
        """(3,) from where in the endless noise the patient's own grain is taken."""
        return self._random("grain").uniform(0, 1000, 3) * np.array([1.0, 0.0, 1.0])

    def _with_own(self, shown: np.ndarray, place: np.ndarray, labels: np.ndarray, width_mm: float) -> np.ndarray:
        """Tumours, metal with streaks, the table; on MR the field that brightens one side."""
        mr = self.config.modality == "mr"
        extras, streaks = self._extras
        shown = acquisition.with_extras(shown, place, extras, width_mm, mr=mr)
        if mr:
            return shown * self._bias(place).astype(np.float32)
        shown = acquisition.with_streaks(shown, place, streaks)
        return acquisition.with_table(shown, place, labels, self._table) if self.config.table else shown

    def _bias(self, place: Any) -> Any:
        return acquisition.coil_field(self._random("bias"), place)

    def _acquired(self, values: Any, grid: Grid) -> Any:
        drawn = float(self._random("dose").uniform(6, 16))
        level_hu = drawn if self.config.noise_hu is None else self.config.noise_hu
        return acquisition.noisy(
            values,
            grid,
            self.seed,
            level_hu=level_hu,
            sharpness=self.sharpness,
            mr=self.config.modality == "mr",
        )


def draw_patient(seed: int, config: PatientConfig = ORDINARY) -> Patient:
    """The patient of a seed, "patient_007" for 7: the same one, whenever and wherever it is drawn."""
    require_sensible(config)
    if seed < 0:
        raise BadInput(f"a patient's seed is 0 or more, got {seed}")
    return Patient(f"patient_{seed:03d}", int(seed), config)


def between(a: Patient, b: Patient) -> Transform:
    """b_from_a: carries a point of patient `a` to the same place in patient `b`."""
    return b.patient_from_canonical @ a.canonical_from_patient


# ---------------------------------------------------------------------------------------------------------------------
# Helpers


# the same anatomy in another phase or modality is drawn once
@lru_cache(maxsize=16)
def _drawn(seed: int, variability: float, placement_mm: float) -> variation.Variation:
    return variation.draw(_generator(seed, "anatomy"), variability, placement_mm)


def _generator(seed: int, what: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(what.encode())])
