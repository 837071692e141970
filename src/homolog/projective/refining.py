"""What of the cameras is sought with the pose: the source's distance, the principal point, the views' places.

Gauss and Newton's steps over pose and cameras together, from a pose that has converged. What is known beforehand holds
the cameras: each correction o has a standard deviation s, and the likeness S of the pictures stands against it as

    S - sum (o / s)^2 / (2 k)

where k says how much evidence a unit of likeness is. It is measured at the pose: the pose's covariance (`uncertain`) is
what the curvature's inverse over k should be. Cameras with the same numbers are one machine and share a correction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from homolog.errors import BadInput
from homolog.projective import similarity
from homolog.projective.climbing import STILL, Climb, OnStep, marquardt, metric
from homolog.projective.configs import Refine, Rig, Stage
from homolog.projective.judging import alignment
from homolog.projective.mirroring import mirrored
from homolog.projective.scene import Level, Scene
from homolog.projective.similarity import Quadratic
from homolog.projective.uncertain import covariance_of
from homolog.space import se3
from homolog.space.alignment import Alignment, AlignStep
from homolog.space.camera import Camera
from homolog.space.projection import Projection

# One standard deviation of what is known of a camera: of the source's distance, and of the principal point as a share
# of the detector's width.
FOCAL_SHARE, CENTRE_SHARE = 0.02, 0.03
# The same of a further view's place among the others, where the rig is loose.
LOOSE_DEGREES, LOOSE_MM = 1.0, 3.0
# The evidence is measured anew after each round: at first the wrong cameras count as noise.
ROUNDS, MOST_STEPS = 2, 40
# A correction whose standard deviation is still this share of what it was before has been learnt from no picture.
LEARNT = 0.5
# Standard deviations beyond which what was known of a camera was wrong.
FAR = 3.0


class Wanted(Protocol):
    """What a Config says about cameras."""

    @property
    def refine(self) -> Refine: ...
    @property
    def rig(self) -> Rig: ...


@dataclass(frozen=True, eq=False)
class Guess:
    """A pose, and the cameras (at full size) with their places."""

    pose: np.ndarray
    cameras: tuple[Camera, ...]
    camera_from_rig: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Freedom:
    """What may change besides the pose; its numbers follow the pose's six in all vectors of this file.

    For each machine: the source's distance, as a share of it, and the principal point (column, row) in px of the full
    size. For each view after the first: a twist (6,) of the body in that view, about its pivot, along the view's axes.

    scene     as given
    machines  of each view: which correction its camera takes
    """

    scene: Scene
    source: bool
    principal: bool
    loose: bool

    @cached_property
    def machines(self) -> tuple[int, ...]:
        kinds: list[tuple[object, ...]] = []
        for projection in self.scene.projections:
            kind = _kind(projection.camera)
            if kind not in kinds:
                kinds.append(kind)
        return tuple(kinds.index(_kind(projection.camera)) for projection in self.scene.projections)

    @property
    def count(self) -> int:
        """Of the numbers, without the pose's."""
        views = len(self.scene.projections) - 1
        return (max(self.machines) + 1) * self._each + 6 * views * self.loose

    @property
    def _each(self) -> int:
        return self.source + 2 * self.principal

    def machine(self, view: int) -> slice:
        """Where a view's machine has its numbers."""
        return slice(6 + self.machines[view] * self._each, 6 + (self.machines[view] + 1) * self._each)

    def place(self, view: int) -> slice:
        """Where a view after the first has its twist."""
        begin = 6 + (max(self.machines) + 1) * self._each + 6 * (view - 1)
        return slice(begin, begin + 6)

    @cached_property
    def sigmas(self) -> np.ndarray:
        """(6 + count,): what is known before, one standard deviation; infinite for the pose."""
        out = np.full(6 + self.count, np.inf)
        for n, projection in enumerate(self.scene.projections):
            out[self.machine(n)] = self._kept(FOCAL_SHARE, *_centre_sigma_px(projection.camera))
            if self.loose and n:
                out[self.place(n)] = np.repeat((np.radians(LOOSE_DEGREES), LOOSE_MM), 3)
        return out

    def size(self, guess: Guess) -> np.ndarray:
        """(6 + count,) mm^2: what squares count, each number as far as it moves the body's typical place."""
        out = np.empty(6 + self.count)
        out[:6] = metric(self.scene.radius_mm)
        for n, camera in enumerate(guess.cameras):
            pose = guess.camera_from_rig[n] @ guess.pose
            depth = abs(float(pose[2, :3] @ self.scene.pivot_mm + pose[2, 3]))
            row, column = (pitch * depth / camera.focal_mm for pitch in camera.pitch_mm)
            out[self.machine(n)] = np.array(self._kept(self.scene.radius_mm, column, row)) ** 2
            if self.loose and n:
                out[self.place(n)] = metric(self.scene.radius_mm)
        return out

    def begun(self, pose: np.ndarray) -> Guess:
        views = self.scene.projections
        return Guess(pose, tuple(view.camera for view in views), tuple(view.camera_from_rig for view in views))

    def moved(self, level: Level, guess: Guess, step: np.ndarray) -> Guess:
        """After a step (6 + count,)."""
        cameras, places = [], []
        for n, (camera, camera_from_rig) in enumerate(zip(guess.cameras, guess.camera_from_rig, strict=True)):
            cameras.append(self._changed(camera, self.scene.projections[n].camera, step[self.machine(n)]))
            if self.loose and n:
                pivot = se3.carried(camera_from_rig @ guess.pose, self.scene.pivot_mm)
                camera_from_rig = se3.about(pivot, step[self.place(n)]) @ camera_from_rig
            places.append(camera_from_rig)
        return Guess(level.moved(guess.pose, step[:6]), tuple(cameras), tuple(places))

    def offset(self, guess: Guess) -> np.ndarray:
        """(6 + count,): how far the cameras are from the given ones; 0 for the pose."""
        out = np.zeros(6 + self.count)
        for n, given in enumerate(self.scene.projections):
            camera = guess.cameras[n]
            apart = np.subtract(camera.centre_px, given.camera.centre_px)
            out[self.machine(n)] = self._kept(camera.focal_mm / given.camera.focal_mm - 1, *apart)
            if self.loose and n:
                change = guess.camera_from_rig[n] @ se3.inverse(given.camera_from_rig)
                pivot = se3.carried(given.camera_from_rig @ guess.pose, self.scene.pivot_mm)
                shift = se3.carried(change, pivot) - pivot
                out[self.place(n)] = np.concatenate((se3.rotation_log(change[:3, :3]), shift))
        return out

    def seen(self, level: Level, guess: Guess, view: int) -> tuple[np.ndarray, np.ndarray]:
        """A view's projection (rows, columns) and its change (rows, columns, 6 + count) by all numbers."""
        here = level.views[view]
        camera, pose = here.projection.camera, guess.camera_from_rig[view] @ guess.pose
        pivot = se3.carried(pose, self.scene.pivot_mm)
        image, by_body = level.projector.image_and_jacobian(camera, pose, pivot)
        out = np.zeros((*image.shape, 6 + self.count), image.dtype)
        axes = guess.camera_from_rig[view][:3, :3] @ level.axes
        out[..., :3], out[..., 3:6] = by_body[..., :3] @ axes, by_body[..., 3:] @ axes
        if self._each:
            by_camera = level.projector.intrinsic_jacobian(camera, pose)[1]
            factors = np.divide(camera.size_px, guess.cameras[view].size_px)
            by_camera = by_camera * (self.scene.projections[view].camera.focal_mm, factors[1], factors[0])
            out[..., self.machine(view)] = by_camera[..., 0 if self.source else 1 : 3 if self.principal else 1]
        if self.loose and view:
            out[..., self.place(view)] = by_body
        return image, out

    def at(self, level: Level, guess: Guess) -> Level:
        """A level whose views have these cameras."""
        views = []
        for n, view in enumerate(level.views):
            camera = guess.cameras[n].resized(view.projection.camera.size_px)
            moved = view.projection.replaced(camera=camera, camera_from_rig=guess.camera_from_rig[n])
            views.append(replace(view, projection=moved))
        return replace(level, views=tuple(views))

    def _kept(self, focal: float, column: float, row: float) -> list[float]:
        return [focal] * self.source + [column, row] * self.principal

    def _changed(self, camera: Camera, given: Camera, step: np.ndarray) -> Camera:
        """A step's focal length is a share of the given one, so that numbers add up."""
        if self.source:
            camera = replace(camera, focal_mm=camera.focal_mm + given.focal_mm * float(step[0]))
        if self.principal:
            column, row = np.add(camera.centre_px, step[-2:])
            camera = replace(camera, centre_px=(float(column), float(row)))
        return camera


@dataclass(frozen=True, eq=False)
class Held:
    """A freedom at a guess, held by what is known.

    evidence  k: the logarithm of the likelihood for a unit of likeness
    """

    freedom: Freedom
    guess: Guess
    evidence: float

    @property
    def precision(self) -> np.ndarray:
        """(6 + count,): the curvature of what is known, in units of likeness."""
        return np.asarray(1 / (self.freedom.sigmas**2 * self.evidence))

    def seen(self, level: Level, view: int) -> tuple[np.ndarray, np.ndarray]:
        return self.freedom.seen(level, self.guess, view)

    def known(self, share: float = 1.0) -> Quadratic:
        """What corrections cost near the guess, times a share."""
        offset = self.freedom.offset(self.guess)
        value = float(-self.precision @ offset**2 / 2)
        return Quadratic(share * value, -share * self.precision * offset, share * np.diag(self.precision))

    def quadratic(self, level: Level) -> Quadratic:
        """The mean likeness of the pictures less what the corrections cost."""
        level = self.freedom.at(level, self.guess)
        near = [view.measure.gauss_newton(*self.seen(level, n)) for n, view in enumerate(level.views)]
        known = self.known()
        return Quadratic(
            float(np.mean([one.value for one in near])) + known.value,
            np.mean([one.gradient for one in near], axis=0) + known.gradient,
            np.mean([one.curvature for one in near], axis=0) + known.curvature,
        )


def freedom_of(scene: Scene, config: Wanted) -> Freedom | None:
    """What a Config wants refined; None: nothing."""
    loose = config.rig == "loose" and len(scene.projections) > 1
    if config.refine == "none" and not loose:
        return None
    if not similarity.MEASURES[scene.similarity].second:
        having = ", ".join(name for name, recipe in similarity.MEASURES.items() if recipe.second)
        raise BadInput(
            f"'{scene.similarity}' cannot refine cameras: it has no curvature", f"take one that has: {having}"
        )
    return Freedom(scene, config.refine in ("source", "both"), config.refine in ("principal", "both"), loose)


def finished(
    scene: Scene,
    found: Climb,
    stage: Stage,
    config: Wanted,
    began: float,
    doubts: Sequence[str] = (),
    on_step: OnStep | None = None,
) -> Alignment:
    """What is given back of a search's end, after its cameras have been refined where that is wanted."""
    doubts = (*doubts, *mirrored(scene, found.pose))
    freedom, level = freedom_of(scene, config), scene.level(stage)
    held = None if freedom is None else refined(freedom, level, found.pose)
    if freedom is None or held is None:
        return alignment(scene, found, level, began, tuple(doubts))
    level, guess = freedom.at(level, held.guess), held.guess
    score, name = level.score(guess.pose), f"{stage.name}, with the cameras"
    if on_step:
        on_step(name, 1.0, score)
    trace = (*found.trace, AlignStep(name, score, guess.pose))
    scene = replace(scene, projections=_projections(scene, guess))
    end = Climb(guess.pose, score, trace, found.converged)
    covariance = covariance_of(level, guess.pose, held)
    told = () if covariance is None else tuple(doubts_of(held, covariance))
    return alignment(scene, end, level, began, (*doubts, *told), covariance)


def refined(freedom: Freedom, level: Level, pose: np.ndarray) -> Held | None:
    """The best pose and cameras; None where the pictures do not even determine a pose."""
    held, guess = None, freedom.begun(pose)
    for _ in range(ROUNDS):
        evidence = evidence_of(freedom.at(level, guess), guess.pose)
        if evidence is None:
            return held
        held = _climbed(Held(freedom, guess, evidence), level)
        guess = held.guess
    return held


def _climbed(held: Held, level: Level) -> Held:
    freedom, still = held.freedom, STILL * float(level.projector.volume.grid.spacing_mm.min())
    way = marquardt(
        lambda guess: replace(held, guess=guess).quadratic(level),
        lambda guess, step: freedom.moved(level, guess, step),
        held.guess,
        freedom.size(held.guess),
        MOST_STEPS,
        still,
    )
    return replace(held, guess=way.states[-1])


def evidence_of(level: Level, pose: np.ndarray) -> float | None:
    """k for which the curvature's inverse, over k, is as large as the covariance."""
    covariance = covariance_of(level, pose)
    if covariance is None:
        return None
    return 6 / max(float(np.trace(level.quadratic(pose).curvature @ covariance)), 1e-12)


def doubts_of(held: Held, covariance: np.ndarray) -> list[str]:
    """Sentences on cameras that the pictures did not determine, or that are far from what was given."""
    freedom, said = held.freedom, []
    offset, sigmas = freedom.offset(held.guess), freedom.sigmas
    unlearnt = np.sqrt(np.diag(covariance)) > LEARNT * sigmas
    far = np.abs(offset) > FAR * sigmas
    for n in [freedom.machines.index(machine) for machine in sorted(set(freedom.machines))]:
        part, name = freedom.machine(n), freedom.scene.projections[n].name
        if freedom.source and unlearnt[part][0]:
            said.append(f"the source's distance of '{name}' and the depth are not both determined by the X-rays")
        if freedom.principal and unlearnt[part][-2:].any():
            said.append(f"the principal point of '{name}' is not determined by the X-rays")
        if far[part].any():
            said.append(f"the camera of '{name}' would have to be quite another than the given one")
    return said + [
        f"the place of '{freedom.scene.projections[n].name}' would have to be quite another than the given one"
        for n in range(1, len(freedom.machines))
        if freedom.loose and far[freedom.place(n)].any()
    ]


def _projections(scene: Scene, guess: Guess) -> tuple[Projection, ...]:
    changed = zip(scene.projections, guess.cameras, guess.camera_from_rig, strict=True)
    return tuple(view.replaced(camera=camera, camera_from_rig=place) for view, camera, place in changed)


def _kind(camera: Camera) -> tuple[object, ...]:
    return (camera.focal_mm, camera.size_px, camera.pitch_mm, camera.centre_px)


def _centre_sigma_px(camera: Camera) -> tuple[float, float]:
    """(column, row): the same mm both ways."""
    sigma_mm = CENTRE_SHARE * camera.size_px[1] * camera.pitch_mm[1]
    return sigma_mm / camera.pitch_mm[1], sigma_mm / camera.pitch_mm[0]
