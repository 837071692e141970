"""Groups of patients drawn in a test: points of one space, carried to each by a known map, and matched partly wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from homolog import Affine, Keypoints, Matches
from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.group import Group
from homolog.space.transforms import Transform, chain
from tests.geometry import oblique_grid, some_affine, some_spline

BODY = oblique_grid((31, 21, 41), (10.0, 10.0, 10.0), seed=5)
MIDDLE = BODY.corners().mean(axis=0)
# few points want wide splines; fewer steps than people get
DEFAULT = FrogConfig(spacing_mm=200.0, levels=2, steps=40, linear_steps=20)
PUBLISHED = replace(
    DEFAULT, linear="scales", start="boxes", rate=0.02, hold=0.0, tolerance=0.0, most_matches=None, steps=25
)
# what a keypoint is found off its place, along each axis
SCATTER_MM = 1.0


@dataclass(frozen=True)
class Cohort:
    """Patients, and in `order` the rows of the same places in each; of each match in `right` whether it is."""

    keypoints: list[Keypoints]
    matches: dict[tuple[int, int], Matches]
    order: list[np.ndarray]
    right: dict[tuple[int, int], np.ndarray]

    def placed(self, group: Group) -> np.ndarray:
        """(images, places, 3) mm: where the group puts each place of each image."""
        maps = zip(group.common_from_image, self.keypoints, self.order)
        return np.stack([common.apply(points.position[rows]) for common, points, rows in maps])

    def spread_mm(self, group: Group) -> float:
        return float(np.sqrt((spread(self.placed(group)) ** 2).mean()))

    def moved(self, motions: list[np.ndarray]) -> Cohort:
        """Each patient elsewhere: (4, 4) a patient."""
        pairs = zip(self.keypoints, motions)
        return replace(self, keypoints=[k.moved_to(Affine(m).apply(k.position), k.space) for k, m in pairs])

    def with_image(self, newcomer: Keypoints, matches: dict[tuple[int, int], Matches]) -> Cohort:
        return replace(self, keypoints=[*self.keypoints, newcomer], matches={**self.matches, **matches})


def spread(placed: np.ndarray) -> np.ndarray:
    return np.linalg.norm(placed - placed.mean(axis=0), axis=2)


def places(count: int, seed: int) -> np.ndarray:
    voxels = np.random.default_rng(seed).uniform(0, np.array(BODY.shape) - 1, (count, 3))
    return voxels @ BODY.world_from_voxel[:3, :3].T + BODY.world_from_voxel[:3, 3]


def body(seed: int) -> Transform:
    """Another shape of body, sheared and bent, with shifts of 30 mm and coefficients of 10."""
    bend = some_spline(seed, 10.0, 80.0, BODY)
    return chain([some_affine(seed, 0.08, 30.0, MIDDLE), bend], fixed="drawn", moving="image")


def cohort(images: int = 4, count: int = 250, wrong: float = 0.5, seed: int = 0) -> Cohort:
    drawn, rng = places(count, seed), np.random.default_rng(seed + 1)
    keypoints, order = [], []
    for image in range(images):
        mixed = rng.permutation(count)
        seen = body(100 * seed + image).apply(drawn) + rng.normal(0, SCATTER_MM, drawn.shape)
        keypoints.append(Keypoints(seen[mixed], f"patient{image}"))
        order.append(np.argsort(mixed))
    matches, right = {}, {}
    for i, j in np.ndindex(images, images):
        if i < j:
            other = np.arange(count)
            astray = rng.random(count) < wrong
            other[astray] = rng.permutation(other[astray])
            matches[i, j] = Matches(np.stack((order[i], order[j][other]), axis=1))
            right[i, j] = other == np.arange(count)
    return Cohort(keypoints, matches, order, right)


def random_matches(one: Keypoints, other: Keypoints, seed: int) -> Matches:
    rng, most = np.random.default_rng(seed), min(len(one), len(other))
    return Matches(np.stack((rng.permutation(len(one))[:most], rng.permutation(len(other))[:most]), axis=1))


def motion(axis=(0.0, 0.0, 1.0), degrees: float = 0.0, shift=(0.0, 0.0, 0.0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, 3] = shift
    return matrix
