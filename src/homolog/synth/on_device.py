"""Patients drawn where torch's tensors are: what `patients` does on the CPU, on a GPU and without leaving it.

The body's tables, a few megabytes, go there once; what belongs to one patient or one grid is some kilobytes. Nothing
comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from homolog.kernels.on_gpu import displacement, implicit
from homolog.space.dense import DEVICE_SLAB, sampled_on, slabs
from homolog.space.grid import Grid
from homolog.synth.anatomy import compiled, own

if TYPE_CHECKING:
    from homolog.synth.patients import Patient


def drawn(
    patient: Patient, grid: Grid, device: torch.device, *, values: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (I, J, K) float32 without noise, empty if not wanted, and labels uint8."""
    shown = torch.empty(grid.shape if values else (0, 0, 0), dtype=torch.float32, device=device)
    labels = torch.empty(grid.shape, dtype=torch.uint8, device=device)
    scene = _scene(patient, grid, device, values)
    for start, stop in slabs(grid, voxels=DEVICE_SLAB):
        shown[start:stop], labels[start:stop] = _sliced(scene, start, stop)
    return shown, labels


# ---------------------------------------------------------------------------------------------------------------------
# What is needed there


@dataclass(frozen=True, eq=False)
class _Scene:
    """One patient on one grid, on a device.

    vectors   (A, B, C, 3) float32 mm, canonical_from_patient at nodes
    matrices  (S, 24) float64, one row for each sample across a slice, see `displacement.placed`
    looks     (L, 12) float32
    grain_mm  (3,) float32, from where the patient's own noise is taken
    extras    (P, 18) float32 each, the shapes of tumours and metal
    width_mm  over how much an edge is smeared
    values    whether brightness is wanted, besides labels
    """

    patient: Patient
    grid: Grid
    tables: implicit.DeviceTables
    vectors: torch.Tensor
    matrices: torch.Tensor
    looks: torch.Tensor
    grain_mm: torch.Tensor
    extras: list[torch.Tensor]
    width_mm: float
    values: bool


def _scene(patient: Patient, grid: Grid, device: torch.device, values: bool) -> _Scene:
    nodes, shifts_mm = patient._nodes(grid), patient._slice_shifts_mm() if values else [0.0]

    def moved(array: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    return _Scene(
        patient,
        grid,
        implicit.on_device(compiled.tables(), device),
        sampled_on(patient._canonical_from_place, nodes, device),
        moved(np.stack([_matrices(grid, nodes, shift) for shift in shifts_mm]), torch.float64),
        moved(patient._looks),
        moved(patient._grain_mm),
        [moved(extra.shapes) for extra in patient._extras[0]] if values else [],
        patient._width_mm(grid),
        values,
    )


def _matrices(grid: Grid, nodes: Grid, shift_mm: float) -> np.ndarray:
    """(24,) for voxels that lie so much farther along z."""
    world_from_voxel = grid.world_from_voxel.copy()
    world_from_voxel[2, 3] += shift_mm
    node_from_voxel = nodes.voxel_from_world @ world_from_voxel
    return np.concatenate((node_from_voxel[:3].ravel(), world_from_voxel[:3].ravel()))


# ---------------------------------------------------------------------------------------------------------------------
# Drawing


def _sliced(scene: _Scene, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean over the slice's thickness; labels are those of its middle, which comes first."""
    values, labels = _painted(scene, 0, start, stop)
    for sample in range(1, len(scene.matrices)):
        values += _painted(scene, sample, start, stop)[0]
    return values / len(scene.matrices), labels


def _painted(scene: _Scene, sample: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Without noise: what lies at the voxels of some planes."""
    canonical, place = displacement.placed(scene.vectors, scene.matrices[sample], scene.grid.shape, start, stop)
    shown, labels = implicit.render(
        scene.tables,
        scene.looks,
        canonical,
        place + scene.grain_mm,
        scene.width_mm,
        scene.patient._outside,
        values=scene.values,
    )
    return (_with_own(scene, shown, place, labels) if scene.values else shown), labels


def _with_own(scene: _Scene, shown: torch.Tensor, place: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Tumours, metal with streaks, the table; on MR the field that brightens one side."""
    patient, mr = scene.patient, scene.patient.config.modality == "mr"
    extras, streaks = patient._extras
    for extra, shapes in zip(extras, scene.extras):
        cover = (0.5 - implicit.least_distance(shapes, place) / scene.width_mm).clamp(0, 1)
        shown += cover * ((extra.mr if mr else extra.hu) - shown)
    if mr:
        return shown * patient._bias(place)
    for one in streaks:
        shown += one.at(place)
    if patient.config.table:
        cover, hu = own.table_hu(place, *patient._table)
        shown += torch.where(labels == 0, cover * (hu - shown), 0.0)
    return shown
