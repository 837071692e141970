"""How far a pose may be off: by what differs from one part of the X-rays to the next, and by what does not.

Noise, soft tissue and overlaid bones differ. A jackknife sees them: the pose that is best without one block of an X-ray
is one Gauss-Newton step away, and how much these poses differ says how much the pose is held by all of the picture.

Edges that lie too far out everywhere, as those of a bone that was cut out at too high a threshold, are the same in all
blocks. So to the jackknife's is added the covariance of a pose from eight landmarks in each X-ray, told as well as
edges are: by a share of a voxel or pixel, the larger the more of the X-ray neither projection nor noise explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homolog.projective import similarity
from homolog.projective.scene import Level, View
from homolog.projective.similarity import Quadratic
from homolog.space.camera import Camera

if TYPE_CHECKING:
    from homolog.projective.refining import Held

# Blocks along each side of an X-ray.
BLOCKS = 4
# A landmark is told to this share of a voxel or a pixel, whichever is larger on the body, where nothing of the X-ray is
# explained; measured on bone above 200 and 300 HU of three CTs in X-rays of all of them (docs/methods/search.md).
EDGE = 0.6
# So many landmarks in an X-ray, spread over a lattice of so many points along each side of the body's box.
LANDMARKS, LATTICE = 8, 4


def covariance_of(level: Level, rig_from_patient: np.ndarray, held: Held | None = None) -> np.ndarray | None:
    """(6, 6) of (rad, mm) along the first camera's axes; None if the pictures do not hold the pose.

    With cameras that were refined, (6 + n, 6 + n), their n numbers last.
    """
    if not similarity.MEASURES[level.views[0].measure.name].second:
        return None
    noise = jackknife(level, rig_from_patient, held)
    shared = of_landmarks(level, rig_from_patient, held)
    return None if noise is None or shared is None else noise + shared


def jackknife(level: Level, rig_from_patient: np.ndarray, held: Held | None = None) -> np.ndarray | None:
    """The covariance by leaving out each block of each X-ray once; what is known of cameras is taken for true."""
    if held is None:
        seen = [level.seen(view, rig_from_patient) for view in level.views]
        known = Quadratic(0.0, np.zeros(6), np.zeros((6, 6)))
    else:
        seen = [held.seen(level, n) for n in range(len(level.views))]
        known = held.known(len(level.views))
    whole = [view.measure.gauss_newton(*pictures) for view, pictures in zip(level.views, seen, strict=True)]
    gradient = known.gradient + np.sum([one.gradient for one in whole], axis=0)
    curvature = known.curvature + np.sum([one.curvature for one in whole], axis=0)
    steps = []
    for n, view in enumerate(level.views):
        for without in _without_blocks(view):
            part = without.gauss_newton(*seen[n])
            left = curvature - whole[n].curvature + part.curvature
            if not _holds(left):
                return None
            steps.append(np.linalg.solve(left, gradient - whole[n].gradient + part.gradient))
    if len(steps) < 8:
        return None
    apart = np.array(steps) - np.mean(steps, axis=0)
    return np.asarray((len(steps) - 1) / len(steps) * apart.T @ apart)


def of_landmarks(level: Level, rig_from_patient: np.ndarray, held: Held | None = None) -> np.ndarray | None:
    """The covariance of a pose from landmarks all over the body, told as well as edges are."""
    unexplained = np.sqrt(max(0.0, _reachable(level) - level.score(rig_from_patient)))
    steps = np.repeat((1e-4, 1e-2), 3) if held is None else 1e-2 / np.sqrt(held.freedom.size(held.guess))
    information = np.zeros((len(steps), len(steps))) if held is None else np.diag(held.freedom.sigmas**-2.0)
    changes = [_changes(level, rig_from_patient, held, np.eye(len(steps))[n] * step) for n, step in enumerate(steps)]
    for view, counted, moved in zip(level.views, _counted(level, rig_from_patient), zip(*changes, strict=True)):
        jacobian = np.stack([change / step for change, step in zip(moved, steps, strict=True)], -1)[counted]
        told_mm = max(EDGE * unexplained * _grain_mm(level, view, rig_from_patient), 1e-9)
        rows = jacobian.reshape(-1, len(steps)) / told_mm
        information += min(1.0, LANDMARKS / max(1, counted.sum())) * rows.T @ rows
    return np.linalg.inv(information) if _holds(information) else None


def _reachable(level: Level) -> float:
    """The mean likeness that each X-ray would have with itself without its noise.

    With as much noise again it is c = sqrt((1 + a) / (1 + 2 a)), a being the noise's share; without, 1 / sqrt(1 + a).
    """
    rng = np.random.default_rng(0)
    values = []
    for view in level.views:
        picture = view.projection.data.astype(np.float64)
        noise = noise_of(picture, view.weights)
        noisier = view.measure.value(picture + noise * rng.normal(size=picture.shape))
        values.append(np.sqrt(max(0.0, 2 - 1 / max(noisier, 0.5) ** 2)))
    return float(np.mean(values))


def noise_of(picture: np.ndarray, weights: np.ndarray) -> float:
    """The standard deviation of a picture's noise, by differences that see neither slopes nor most edges.

    As Immerkaer (Computer Vision and Image Understanding 64:300, 1996), but by the median, to which edges matter less.

    picture  (rows, columns)
    weights  (rows, columns) bool: what is looked at
    """
    from scipy.ndimage import convolve, minimum_filter

    kernel = np.outer((1.0, -2.0, 1.0), (1.0, -2.0, 1.0))
    inner = minimum_filter(weights, 3, mode="constant")
    if not inner.any():
        return 0.0
    return float(np.median(np.abs(convolve(picture, kernel)[inner])) / (0.6745 * np.linalg.norm(kernel)))


def _changes(level: Level, pose: np.ndarray, held: Held | None, step: np.ndarray) -> list[np.ndarray]:
    """Of each view (points, 2): how far a step moves the body's points across the rays, in mm there."""
    ends = []
    for sign in (0.5, -0.5):
        if held is None:
            cameras = [view.projection.camera for view in level.views]
            poses = [view.camera_from_patient(level.moved(pose, sign * step)) for view in level.views]
        else:
            guess = held.freedom.moved(level, held.guess, sign * step)
            cameras, poses = list(guess.cameras), [place @ guess.pose for place in guess.camera_from_rig]
        ends.append(_on_detectors(level, cameras, poses))
    out = []
    for view, there, back in zip(level.views, *ends, strict=True):
        out.append((there - back) * _depth(level, view, pose) / view.projection.camera.focal_mm)
    return out


def _on_detectors(level: Level, cameras: Sequence[Camera], poses: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of each view (points, 2) mm from the detector's outer corner, which no resizing moves."""
    points = _lattice(level)
    shown = [(camera, camera.project(points, pose)) for camera, pose in zip(cameras, poses, strict=True)]
    return [(pixels + 0.5) * np.array(camera.pitch_mm)[::-1] for camera, pixels in shown]


def _counted(level: Level, pose: np.ndarray) -> list[np.ndarray]:
    """Of each view (points,) bool: whether the point is seen where pictures are compared."""
    out = []
    for view in level.views:
        pixels = view.projection.camera.project(_lattice(level), view.camera_from_patient(pose))
        inside = np.isfinite(pixels).all(axis=1)
        column, row = np.rint(np.where(inside[:, None], pixels, -1.0)).astype(int).T
        rows, columns = view.projection.camera.size_px
        inside &= (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        out.append(inside & view.weights[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)])
    return out


def _lattice(level: Level) -> np.ndarray:
    """(64, 3) patient LPS mm: evenly in the body's box."""
    grid = level.projector.volume.grid
    share = (np.arange(LATTICE) + 0.5) / LATTICE
    shares = np.stack(np.meshgrid(share, share, share, indexing="ij"), -1).reshape(-1, 3)
    return np.asarray(grid.world(shares * np.array(grid.shape) - 0.5))


def _grain_mm(level: Level, view: View, pose: np.ndarray) -> float:
    """mm: a voxel, or a pixel where the body is, whichever is larger."""
    camera = view.projection.camera
    pixel_mm = max(camera.pitch_mm) * _depth(level, view, pose) / camera.focal_mm
    return max(pixel_mm, float(level.projector.volume.grid.spacing_mm.min()))


def _depth(level: Level, view: View, pose: np.ndarray) -> float:
    return abs(float((view.camera_from_patient(pose) @ (*level.pivot_mm, 1.0))[2]))


def _holds(information: np.ndarray) -> bool:
    """Whether all directions are held, by numbers of one size whatever their units."""
    roots = np.sqrt(np.diag(information))
    return bool((roots > 0).all() and np.linalg.cond(information / np.outer(roots, roots)) < 1e10)


def _without_blocks(view: View) -> Iterator[Any]:
    """The measure of a view, without each block of its compared part once."""
    mask = view.weights
    if not mask.any():
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    for down in np.array_split(np.arange(rows[0], rows[-1] + 1), BLOCKS):
        for across in np.array_split(np.arange(columns[0], columns[-1] + 1), BLOCKS):
            left = mask.copy()
            left[np.ix_(down, across)] = False
            if left.sum() < mask.sum() and left.any():
                yield view.without(left)
