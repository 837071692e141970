"""A pose from landmarks that are known in the volume and in X-rays, some of which may be mistaken for others.

The pose of a few landmarks is found by orthogonal iteration (Lu, Hager and Mjolsness, IEEE PAMI 22(6), 2000), which
takes rays of any number of cameras, from many orientations; the pose that most landmarks agree on is kept (RANSAC), and
settled by least squares of the angles between rays and landmarks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np

from homolog.errors import BadInput
from homolog.space import se3
from homolog.space.camera import Camera

logger = logging.getLogger(__name__)

# What one X-ray needs: three leave up to four poses to choose from.
LEAST = 4
# A landmark agrees with a pose that puts it this near to its ray; people place them to some mm.
AGREEING_MM = 8.0
MOST_SUBSETS = 40
ITERATIONS = 40
SETTLING = 20
# Below this share of the largest spread, landmarks lie on a line: a turn about it is not seen.
ON_A_LINE = 1e-3

Seen = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class LandmarkPose:
    """A pose, and how well landmarks agree on it.

    rig_from_patient  (4, 4)
    agreeing          one an X-ray: (N,) bool
    error_mm          root mean square distance of those from their rays, in the patient
    """

    rig_from_patient: np.ndarray
    agreeing: tuple[np.ndarray, ...]
    error_mm: float


def pose_from_landmarks(
    seen: Sequence[Seen],
    cameras: Sequence[Camera],
    camera_from_rig: Sequence[np.ndarray],
    *,
    agreeing_mm: float = AGREEING_MM,
    seed: int = 0,
) -> LandmarkPose:
    """The pose that most landmarks agree on.

    seen             one an X-ray: points (N, 3) of the patient, LPS mm, and their pixels (N, 2), (column, row)
    cameras          one an X-ray
    camera_from_rig  one an X-ray (4, 4)
    """
    rays = _Rays.of(seen, cameras, camera_from_rig)
    _require_enough(rays, len(seen))
    candidates = _candidates(rays, np.random.default_rng(seed))
    distances = np.stack([rays.distances(pose) for pose in candidates])
    # as many as agree, and of these the nearest: what is farther off counts as just missed
    costs = np.minimum(distances, agreeing_mm) ** 2
    best = candidates[int(np.argmin(costs.sum(axis=1)))]
    for _ in range(3):
        agreeing = rays.distances(best) <= agreeing_mm
        _require_agreement(agreeing, rays, agreeing_mm)
        best = _settled(rays.some(agreeing), best)
    return _told(rays, best, agreeing_mm, [len(points) for points, _ in seen])


# ---------------------------------------------------------------------------------------------------------------------
# Rays


@dataclass(frozen=True, eq=False)
class _Rays:
    """Landmarks and the rays they are on.

    points   (M, 3) patient mm
    sources  (M, 3) rig mm
    along    (M, 3) rig, unit directions
    """

    points: np.ndarray
    sources: np.ndarray
    along: np.ndarray

    @classmethod
    def of(cls, seen: Sequence[Seen], cameras: Sequence[Camera], camera_from_rig: Sequence[np.ndarray]) -> _Rays:
        parts = []
        for (points, pixels), camera, place in zip(seen, cameras, camera_from_rig, strict=True):
            points, pixels = np.asarray(points, float).reshape(-1, 3), np.asarray(pixels, float).reshape(-1, 2)
            rig_from_camera = np.linalg.inv(place)
            along = camera.rays(pixels) @ rig_from_camera[:3, :3].T
            source = np.broadcast_to(rig_from_camera[:3, 3], points.shape)
            parts.append((points, source, along / np.linalg.norm(along, axis=1, keepdims=True)))
        return cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def some(self, rows: np.ndarray) -> _Rays:
        return _Rays(self.points[rows], self.sources[rows], self.along[rows])

    def offsets(self, rig_from_patient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M, 3) and (M,) mm: from each ray to its landmark, at right angles; and how far along the ray that is."""
        apart = self.points @ rig_from_patient[:3, :3].T + rig_from_patient[:3, 3] - self.sources
        depth = np.einsum("mi,mi->m", apart, self.along)
        return apart - depth[:, None] * self.along, depth

    def distances(self, rig_from_patient: np.ndarray) -> np.ndarray:
        """(M,) mm; infinite for landmarks behind their source."""
        offsets, depth = self.offsets(rig_from_patient)
        return np.where(depth > 0, np.linalg.norm(offsets, axis=1), np.inf)


# ---------------------------------------------------------------------------------------------------------------------
# Candidates


def _candidates(rays: _Rays, rng: np.random.Generator) -> list[np.ndarray]:
    """Poses of small sets of landmarks and of all of them, from the orientations of a cube."""
    few = np.stack(_subsets(len(rays.points), rng))
    return [*_iterated(rays, few), *_iterated(rays, np.arange(len(rays.points))[None])]


def _subsets(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    if comb(count, LEAST) <= MOST_SUBSETS:
        return [np.array(rows) for rows in combinations(range(count), LEAST)]
    return [rng.choice(count, LEAST, replace=False) for _ in range(MOST_SUBSETS)]


def _iterated(rays: _Rays, rows: np.ndarray) -> list[np.ndarray]:
    """Orthogonal iteration of subsets (S, n): the shift that is best for a turn, the turn that is best for a shift."""
    points, sources, along = (each[rows] for each in (rays.points, rays.sources, rays.along))
    across = np.eye(3) - along[..., :, None] * along[..., None, :]
    # rays that are all parallel leave the depth free: the smallest shift will do
    inverse = np.linalg.pinv(across.sum(axis=1))
    centred = points - points.mean(axis=1, keepdims=True)
    rotations = np.broadcast_to(_cube(), (len(rows), 24, 3, 3))
    for _ in range(ITERATIONS):
        placed = _shifted(rotations, points, sources, across, inverse)[0]
        depth = np.einsum("sbni,sni->sbn", placed - sources[:, None], along)
        # a landmark behind its source is wanted in front of it
        feet = sources[:, None] + np.abs(depth)[..., None] * along[:, None]
        feet -= feet.mean(axis=2, keepdims=True)
        rotations = _nearest_turns(np.einsum("sbni,snj->sbij", feet, centred))
    shifts = _shifted(rotations, points, sources, across, inverse)[1]
    return [_pose(*each) for each in zip(rotations.reshape(-1, 3, 3), shifts.reshape(-1, 3))]


def _shifted(
    rotations: np.ndarray, points: np.ndarray, sources: np.ndarray, across: np.ndarray, inverse: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(S, B, n, 3) and (S, B, 3): points turned and shifted to their rays as near as can be, and the shift."""
    turned = np.einsum("sbij,snj->sbni", rotations, points)
    wanted = np.einsum("snij,sbnj->sbi", across, sources[:, None] - turned)
    shifts = np.einsum("sij,sbj->sbi", inverse, wanted)
    return turned + shifts[:, :, None], shifts


def _nearest_turns(matrices: np.ndarray) -> np.ndarray:
    """(..., 3, 3): the rotations nearest to matrices."""
    left, _, right = np.linalg.svd(matrices)
    signs = np.ones(matrices.shape[:-1])
    signs[..., 2] = np.sign(np.linalg.det(left @ right))
    return np.asarray((left * signs[..., None, :]) @ right)


def _cube() -> np.ndarray:
    """(24, 3, 3): the rotations of a cube."""
    turns = []
    for axes, signs in product(
        ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)), product((1, -1), repeat=3)
    ):
        matrix = np.eye(3)[list(axes)] * np.array(signs)[:, None]
        if np.linalg.det(matrix) > 0:
            turns.append(matrix)
    return np.array(turns)


def _pose(rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, shift
    return out


# ---------------------------------------------------------------------------------------------------------------------
# Settling


def _settled(rays: _Rays, pose: np.ndarray) -> np.ndarray:
    """The least squares of distances seen from the sources, by Gauss and Newton's steps."""
    pivot = rays.points.mean(axis=0)
    for _ in range(SETTLING):
        offsets, depth = rays.offsets(pose)
        centre = se3.carried(pose, pivot)
        arms = rays.points @ pose[:3, :3].T + pose[:3, 3] - centre
        moved = np.concatenate((-np.stack([se3.hat(arm) for arm in arms]), np.tile(np.eye(3), (len(arms), 1, 1))), 2)
        across = np.eye(3) - rays.along[:, :, None] * rays.along[:, None]
        # angles, not mm: a near landmark is not placed better than a far one
        slopes = (across @ moved / depth[:, None, None]).reshape(-1, 6)
        twist = np.linalg.lstsq(slopes, -(offsets / depth[:, None]).ravel(), rcond=1e-12)[0]
        pose = se3.about(centre, twist) @ pose
        if np.abs(twist).max() < 1e-10:
            break
    return pose


def _told(rays: _Rays, pose: np.ndarray, agreeing_mm: float, counts: Sequence[int]) -> LandmarkPose:
    distances = rays.distances(pose)
    agreeing = distances <= agreeing_mm
    if not agreeing.all():
        logger.warning("%d of %d landmarks do not agree with the others", (~agreeing).sum(), len(agreeing))
    error = float(np.sqrt((distances[agreeing] ** 2).mean()))
    return LandmarkPose(pose, tuple(np.split(agreeing, np.cumsum(counts)[:-1])), error)


# ---------------------------------------------------------------------------------------------------------------------
# Checks


def _require_enough(rays: _Rays, views: int) -> None:
    if len(rays.points) < LEAST:
        raise BadInput(
            f"a pose needs at least {LEAST} landmarks seen in X-rays, got {len(rays.points)} in {views}",
            "place more of them, not all in one plane if you can",
        )
    spread = np.linalg.svd(rays.points - rays.points.mean(axis=0), compute_uv=False)
    if spread[1] <= ON_A_LINE * spread[0]:
        raise BadInput("the landmarks lie on a line: a turn about it cannot be seen", "add one beside that line")


def _require_agreement(agreeing: np.ndarray, rays: _Rays, agreeing_mm: float) -> None:
    if agreeing.sum() < LEAST:
        raise BadInput(
            f"the landmarks agree on no pose: at most {int(agreeing.sum())} of {len(agreeing)} come within "
            f"{agreeing_mm:g} mm of their rays",
            "check their names, the pixels (column, row) and whether the picture is mirrored",
        )
