"""How well two label maps agree: shared voxels, and how far apart the labels' surfaces are.

Every function takes both maps on one grid in one space, and the labels to look at: by default all but 0 that either
map holds. A label absent from either map scores NaN, as in Learn2Reg (average with `numpy.nanmean`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from scipy.ndimage import find_objects

from homolog.errors import BadInput
from homolog.kernels import surface
from homolog.space.sampling import require_same_grid
from homolog.space.volume import Volume

# Voxels counted at once: NumPy counts in int64, eight times what labels usually take.
SLAB = 4_000_000
# Label values are looked up in tables up to this; anything stranger is renumbered first.
MOST_LABELS = 65_536
PERCENT = 95.0


@dataclass(frozen=True)
class Counts:
    """Voxels of one label: in the fixed map, in the warped map, in both."""

    fixed: int
    warped: int
    shared: int

    @property
    def dice(self) -> float:
        """Twice the shared voxels over the sum of both; NaN where the label is absent from either."""
        present = self.fixed and self.warped
        return 2 * self.shared / (self.fixed + self.warped) if present else nan


@dataclass(frozen=True)
class Gap:
    """Distances between the two surfaces of one label: each surfel to the nearest one of the other surface.

    fixed_to_warped, warped_to_fixed  (N,), (M,) float64, in the unit of the lattice they were asked on
    fixed_areas, warped_areas         (N,), (M,) float64, the area of each surfel
    """

    fixed_to_warped: np.ndarray
    warped_to_fixed: np.ndarray
    fixed_areas: np.ndarray
    warped_areas: np.ndarray

    @property
    def hausdorff95(self) -> float:
        """The larger of both directions' distances that 95 % of the surface's area stays within."""
        there = surface.weighted_percentile(self.fixed_to_warped, self.fixed_areas, PERCENT)
        back = surface.weighted_percentile(self.warped_to_fixed, self.warped_areas, PERCENT)
        return max(there, back)

    @property
    def mean(self) -> float:
        """The mean over both surfaces' area together."""
        distances = np.concatenate((self.fixed_to_warped, self.warped_to_fixed))
        return float(np.average(distances, weights=np.concatenate((self.fixed_areas, self.warped_areas))))


def dice(fixed_labels: Volume, warped_labels: Volume, labels: Sequence[int] | None = None) -> dict[int, float]:
    """Label -> Dice overlap in [0, 1]."""
    return {label: count.dice for label, count in counts(fixed_labels, warped_labels, labels).items()}


def counts(fixed_labels: Volume, warped_labels: Volume, labels: Sequence[int] | None = None) -> dict[int, Counts]:
    """Label -> its voxels in either map and in both."""
    chosen, fixed, warped = _prepared(fixed_labels, warped_labels, labels)
    totals = np.zeros((3, len(chosen) + 1), np.int64)
    for planes in _slabs(fixed):
        ours, theirs = fixed[planes].ravel(), warped[planes].ravel()
        for row, values in enumerate((ours, theirs, ours[ours == theirs])):
            totals[row] += np.bincount(values, minlength=len(chosen) + 1)
    return {label: Counts(*totals[:, n + 1].tolist()) for n, label in enumerate(chosen)}


def hausdorff95_mm(
    fixed_labels: Volume, warped_labels: Volume, labels: Sequence[int] | None = None
) -> dict[int, float]:
    """Label -> the robust Hausdorff distance: the larger of both directions' 95th percentiles by surface area, mm."""
    gaps = surface_gaps(fixed_labels, warped_labels, labels)
    return {label: gap.hausdorff95 if gap else nan for label, gap in gaps.items()}


def hausdorff95_vox(
    fixed_labels: Volume, warped_labels: Volume, labels: Sequence[int] | None = None
) -> dict[int, float]:
    """Label -> the same on voxels taken for unit cubes, whatever their shape: Learn2Reg's figure."""
    gaps = surface_gaps(fixed_labels, warped_labels, labels, linear=np.eye(3))
    return {label: gap.hausdorff95 if gap else nan for label, gap in gaps.items()}


def mean_surface_mm(
    fixed_labels: Volume, warped_labels: Volume, labels: Sequence[int] | None = None
) -> dict[int, float]:
    """Label -> the mean distance between the surfaces, over the area of both together, mm."""
    gaps = surface_gaps(fixed_labels, warped_labels, labels)
    return {label: gap.mean if gap else nan for label, gap in gaps.items()}


def surface_gaps(
    fixed_labels: Volume,
    warped_labels: Volume,
    labels: Sequence[int] | None = None,
    *,
    linear: np.ndarray | None = None,
) -> dict[int, Gap | None]:
    """Label -> the distances all surface figures are made of (None where the label is absent from either map).

    linear  (3, 3) the lattice the distances are measured on; default the grid's own in mm, oblique or sheared as it is
    """
    chosen, fixed, warped = _prepared(fixed_labels, warped_labels, labels)
    linear = fixed_labels.grid.world_from_voxel[:3, :3] if linear is None else linear
    areas = surface.surfel_areas(linear)
    fixed_boxes, warped_boxes = (find_objects(data, max_label=len(chosen)) for data in (fixed, warped))
    gaps: dict[int, Gap | None] = {}
    for n, label in enumerate(chosen):
        boxes = fixed_boxes[n], warped_boxes[n]
        if boxes[0] is None or boxes[1] is None:
            gaps[label] = None
        else:
            gaps[label] = _gap(_surface(fixed, boxes[0], n + 1), _surface(warped, boxes[1], n + 1), linear, areas)
    return gaps


def _gap(
    fixed: tuple[np.ndarray, np.ndarray], warped: tuple[np.ndarray, np.ndarray], linear: np.ndarray, areas: np.ndarray
) -> Gap:
    ours, theirs = fixed[0] @ linear.T, warped[0] @ linear.T
    there, back = surface.nearest_distances(ours, theirs), surface.nearest_distances(theirs, ours)
    return Gap(there, back, areas[fixed[1]], areas[warped[1]])


def _surface(data: np.ndarray, box: tuple[slice, ...], number: int) -> tuple[np.ndarray, np.ndarray]:
    """The surfels of one label, looked for in its own box only: (N, 3) voxel coordinates, and (N,) codes."""
    corners, codes = surface.surfels(data[box] == number)
    return corners + [side.start for side in box], codes


def _prepared(
    fixed_labels: Volume, warped_labels: Volume, labels: Sequence[int] | None
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The labels to look at, and both maps renumbered: label n of the list is n + 1, all the rest 0."""
    require_same_grid(fixed_labels, warped_labels)
    fixed, warped = _integers(fixed_labels), _integers(warped_labels)
    chosen = _present(fixed, warped) if labels is None else list(dict.fromkeys(map(int, labels)))
    return chosen, _renumbered(fixed, chosen), _renumbered(warped, chosen)


def _integers(volume: Volume) -> np.ndarray:
    if volume.kind != "labels":
        raise BadInput(
            f"overlap is measured on label maps; the picture of '{volume.space}' was read as intensities",
            "read it with read_labels(path), or --labels",
        )
    return volume.numpy()


def _present(fixed: np.ndarray, warped: np.ndarray) -> list[int]:
    """Every label but 0 in either map, in order."""
    found: set[int] = set()
    for data in (fixed, warped):
        for planes in _slabs(data):
            found.update(_values(data[planes]))
    return sorted(found - {0})


def _values(data: np.ndarray) -> list[int]:
    if _in_table(data):
        # fifty times faster than sorting the voxels
        return np.flatnonzero(np.bincount(data.ravel())).tolist()
    return np.unique(data).tolist()


def _renumbered(data: np.ndarray, chosen: list[int]) -> np.ndarray:
    numbers = np.empty(data.shape, np.uint16)
    for planes in _slabs(data):
        numbers[planes] = _numbers(data[planes], chosen)
    return numbers


def _numbers(data: np.ndarray, chosen: list[int]) -> np.ndarray:
    """1 + the position of each voxel's label in the list, 0 if it is not there."""
    if _in_table(data):
        table = np.zeros(MOST_LABELS, np.uint16)
        for n, label in enumerate(chosen):
            if 0 <= label < MOST_LABELS:
                table[label] = n + 1
        return table[data]
    numbers = np.zeros(data.shape, np.uint16)
    for n, label in enumerate(chosen):
        numbers[data == label] = n + 1
    return numbers


def _in_table(data: np.ndarray) -> bool:
    return int(data.min()) >= 0 and int(data.max()) < MOST_LABELS


def _slabs(data: np.ndarray) -> Iterator[slice]:
    """Ranges of planes, about SLAB voxels each."""
    step = max(1, SLAB // data[0].size)
    return (slice(start, start + step) for start in range(0, len(data), step))
