"""Everything a pose is judged by: the volume, the X-rays and a measure of likeness, coarse or fine.

A pose is `rig_from_patient`. It is changed by a twist (6,): a turn about the pivot, in rad, then a shift in mm, both
along the first camera's axes, so that the sixth number is the depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from homolog.errors import BadInput
from homolog.projective import similarity
from homolog.projective.configs import Stage
from homolog.projective.resizing import resized
from homolog.projective.similarity import Quadratic
from homolog.space import se3
from homolog.space.camera import Camera
from homolog.space.projecting import Projector
from homolog.space.projection import Projection
from homolog.space.sampling import pyramid
from homolog.space.volume import Volume

# Voxels of air kept around what attenuates, so that it fades where it ends.
MARGIN = 1
# Of the largest attenuation: what is less is air, or a table's foam, and does not move the pivot.
AIR = 0.05


@dataclass(frozen=True, eq=False)
class View:
    """An X-ray at one size, ready to be compared with by a measure that was prepared with some options."""

    projection: Projection
    measure: Any
    options: dict[str, Any]

    @property
    def weights(self) -> np.ndarray:
        """(rows, columns) bool: what is compared."""
        mask = self.projection.mask
        return np.ones(self.projection.camera.size_px, bool) if mask is None else mask

    def without(self, left: np.ndarray) -> Any:
        """The measure where only some pixels (rows, columns) bool are compared."""
        return similarity.prepare(self.measure.name, self.projection.data, mask=left, **self.options)

    def camera_from_patient(self, rig_from_patient: np.ndarray) -> np.ndarray:
        return self.projection.camera_from_rig @ rig_from_patient


@dataclass(frozen=True, eq=False)
class Level:
    """The scene at one resolution.

    pivot_mm  (3,) patient LPS mm
    axes      (3, 3) the first camera's axes in the rig, as columns
    """

    name: str
    projector: Projector
    views: tuple[View, ...]
    pivot_mm: np.ndarray
    axes: np.ndarray

    def moved(self, rig_from_patient: np.ndarray, twist: np.ndarray) -> np.ndarray:
        """(4, 4): the pose after a twist (6,)."""
        return se3.about(se3.carried(rig_from_patient, self.pivot_mm), twist, self.axes) @ rig_from_patient

    def score(self, rig_from_patient: np.ndarray) -> float:
        """The mean likeness over the X-rays; larger is better."""
        return float(np.mean([view.measure.value(self.image(view, rig_from_patient)) for view in self.views]))

    def image(self, view: View, rig_from_patient: np.ndarray) -> np.ndarray:
        """The projection (rows, columns) from a view."""
        return self.projector.image(view.projection.camera, view.camera_from_patient(rig_from_patient))

    def score_and_gradient(self, rig_from_patient: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean likeness, and its change (6,) by a twist."""
        score, gradient = 0.0, np.zeros(6)
        for view in self.views:
            image, jacobian = self.seen(view, rig_from_patient)
            value, by_image = view.measure.value_and_gradient(image)
            score += value / len(self.views)
            gradient += np.einsum("rc,rck->k", by_image, jacobian) / len(self.views)
        return score, gradient

    def quadratic(self, rig_from_patient: np.ndarray) -> Quadratic:
        """The mean likeness about a pose: its value, its change (6,) and its curvature (6, 6) by a twist."""
        value, gradient, curvature = 0.0, np.zeros(6), np.zeros((6, 6))
        for view in self.views:
            here = view.measure.gauss_newton(*self.seen(view, rig_from_patient))
            value += here.value / len(self.views)
            gradient += here.gradient / len(self.views)
            curvature += here.curvature / len(self.views)
        return Quadratic(value, gradient, curvature)

    def seen(
        self, view: View, rig_from_patient: np.ndarray, camera: Camera | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The projection (rows, columns) from a view and its change (rows, columns, 6) by a twist."""
        pose = view.camera_from_patient(rig_from_patient)
        pivot = se3.carried(pose, self.pivot_mm)
        axes = view.projection.camera_from_rig[:3, :3] @ self.axes
        return self.projector.image_and_jacobian(camera or view.projection.camera, pose, pivot, axes)


@dataclass(frozen=True, eq=False)
class Solid:
    """A volume of attenuation (1/mm) made ready to be looked for; what is derived from it is made once."""

    volume: Volume

    def __post_init__(self) -> None:
        data = self.volume.numpy()
        if not np.isfinite(data).all() or data.max() <= 0:
            raise BadInput(
                f"'{self.volume.space}' attenuates nothing, or holds numbers that are not finite: nothing to project",
                "give a CT in HU, and a mask that covers some of its bone",
            )

    @cached_property
    def body(self) -> Volume:
        """The volume without the air around it."""
        data = self.volume.numpy()
        inside = np.argwhere(data > AIR * data.max())
        start = np.maximum(inside.min(axis=0) - MARGIN, 0)
        stop = np.minimum(inside.max(axis=0) + 1 + MARGIN, data.shape)
        part = data[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        return replace(self.volume, data=np.ascontiguousarray(part), grid=self.volume.grid.cropped(start, stop))

    @cached_property
    def pivot_mm(self) -> np.ndarray:
        """(3,) patient LPS mm: the centre of what attenuates."""
        data = self.body.numpy()
        weights = np.where(data > AIR * data.max(), data, 0.0).astype(np.float64)
        along = [weights.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        voxel = [float((sums * np.arange(len(sums))).sum() / sums.sum()) for sums in along]
        return self.body.grid.world(np.array(voxel))

    @cached_property
    def radius_mm(self) -> float:
        """How far a typical place is from the pivot: half the root mean square over the corners of the body's box."""
        return float(np.sqrt(((self.body.grid.corners() - self.pivot_mm) ** 2).sum(axis=1).mean()) / 2)

    def at(self, spacing_mm: float) -> Volume:
        """The body with voxels of so many mm."""
        if spacing_mm not in self._made:
            self._made[spacing_mm] = at_spacing(self.body, spacing_mm)
        return self._made[spacing_mm]

    @cached_property
    def _made(self) -> dict[float, Volume]:
        return {}


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume and X-rays of it.

    solid        of all that the X-rays show, or of the one rigid body that is looked for
    projections  at their full size
    similarity   the name of a measure
    near         (3,) mm in the rig: about where the body is, where somebody says it
    """

    solid: Solid
    projections: tuple[Projection, ...]
    similarity: str
    near: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.projections:
            raise BadInput("an alignment needs at least one X-ray")

    @classmethod
    def of(
        cls, volume: Volume, projections: Sequence[Projection], similarity: str, near: np.ndarray | None = None
    ) -> Scene:
        """Of a volume of attenuation, 1/mm."""
        return cls(Solid(volume), tuple(projections), similarity, near)

    @property
    def body(self) -> Volume:
        return self.solid.body

    @property
    def pivot_mm(self) -> np.ndarray:
        return self.solid.pivot_mm

    @property
    def radius_mm(self) -> float:
        return self.solid.radius_mm

    @cached_property
    def axes(self) -> np.ndarray:
        """(3, 3): the first camera's axes in the rig, as columns."""
        return self.projections[0].camera_from_rig[:3, :3].T.copy()

    def level(self, stage: Stage) -> Level:
        """The scene as a stage of a search compares it."""
        if stage not in self._levels:
            self._levels[stage] = self._level(stage)
        return self._levels[stage]

    @cached_property
    def _levels(self) -> dict[Stage, Level]:
        return {}

    def _level(self, stage: Stage) -> Level:
        views = []
        for projection in self.projections:
            small = resized(projection, stage.size_px)
            options = {"sigma_px": stage.sigma_px, "radius_px": stage.radius_px}
            measure = similarity.prepare(self.similarity, small.data, mask=small.mask, **options)
            views.append(View(small, measure, options))
        return Level(stage.name, Projector(self.solid.at(stage.spacing_mm)), tuple(views), self.pivot_mm, self.axes)


def at_spacing(volume: Volume, spacing_mm: float) -> Volume:
    """The volume with coarser voxels, and the same mass; as it is where its voxels are as coarse already."""
    if (volume.grid.spacing_mm > 0.8 * spacing_mm).all():
        return volume
    return pyramid(volume, [spacing_mm])[0]
