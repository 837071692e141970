"""Pictures of simple solids whose corners, ends, junctions, crossings and centres are known exactly.

A detector of keypoints can be trained on them before it sees a patient. What is listed is what can be seen: points that
a later solid hides, that lie too near to the border or that do not stand out from their surroundings are left out. See
docs/methods/shapes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from homolog.errors import BadInput
from homolog.kernels.smooth import smooth
from homolog.synth.configs import ShapeConfig
from homolog.synth.solids import families, tubes
from homolog.synth.solids.parts import Part, Solid

# What is drawn by a name: a solid round the origin, for a picture of so many voxels a side.
FAMILIES: dict[str, Callable[[np.random.Generator, float], Solid]] = {
    "box": families.box,
    "plate": families.plate,
    "wedge": families.wedge,
    "polyhedron": families.polyhedron,
    "stack": families.stack,
    "board": families.board,
    "polyline": tubes.polyline,
    "vessel": tubes.vessel,
    "star": tubes.star,
    "balls": families.balls,
}
# Pictures without points.
NEGATIVES = ("ellipsoid", "noise", "gradient", "texture")
# A smaller cube has no room for the least solids.
LEAST_SIDE = 24
# Round a point, these voxels are looked at to see whether it stands out: wider than the broadest blur.
SEEN_VOX = 4.0
# The background's mean: on both sides of it there is room for a solid.
LEVELS = (0.3, 0.7)
# The least of the picture's range that stays free at both ends, for the background's waves and the noise.
HEADROOM = 0.05
# The sigma of textures, in voxels: their hills must be broader than the largest ball, whose centre is a point.
FINEST_VOX, COARSEST_VOX = 5.0, 16.0
# Noise of a scanner has a grain; half of the pictures get one, of this standard deviation in voxels.
GRAIN_VOX = 0.7


@dataclass(frozen=True, eq=False)
class Shapes:
    """A picture and the places that stand out in it.

    picture  (I, J, K) float32 in [0, 1]
    points   (N, 3) float64 voxels, voxel centres at integers
    kinds    N of "corner", "end", "junction", "crossing", "centre"
    """

    picture: np.ndarray
    points: np.ndarray
    kinds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Painted:
    """A solid in its place, with its brightness.

    bright  of the solid; with a board, of its light cells
    dark    of the dark cells
    """

    solid: Solid
    bright: float
    dark: float


def draw_shapes(rng: np.random.Generator, config: ShapeConfig = ShapeConfig()) -> Shapes:
    """A picture of one solid or several, or of none, and the points of theirs that can be seen in it."""
    require_sensible(config)
    names = _drawn_families(rng, config)
    level = float(rng.uniform(*LEVELS))
    picture = np.clip(_background(rng, config, level, names), HEADROOM, 1 - HEADROOM)
    scene = [_placed(rng, config, name, level) for name in names if name in FAMILIES or name == "ellipsoid"]
    picture = blurred(painted(picture, scene), float(rng.uniform(*config.psf_vox)))
    noise = float(rng.uniform(*config.noise)) * (4.0 if names == ["noise"] else 1.0)
    picture = np.clip(picture + noise * _noise(rng, config.side), 0, 1)
    return visible(picture, scene, config)


def painted(picture: np.ndarray, scene: Sequence[Painted]) -> np.ndarray:
    """(I, J, K) float32: solids painted over a picture in their order, each as far as it covers a voxel."""
    result = picture.astype(np.float32)
    for one in scene:
        bounds = np.array([part.bounds() for part in one.solid.parts])
        box = _box(bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0), result.shape)
        if box is not None:
            cover = _cover(one.solid.parts, box)
            here = tuple(slice(low, high) for low, high in box)
            result[here] += cover * (_brightness(one, box) - result[here])
    return result


def blurred(picture: np.ndarray, psf_vox: float) -> np.ndarray:
    return smooth(picture, (psf_vox,) * 3)


def visible(picture: np.ndarray, scene: Sequence[Painted], config: ShapeConfig = ShapeConfig()) -> Shapes:
    """The picture of a scene with those of its points that are in it, not hidden, and stand out."""
    points, kinds = [np.zeros((0, 3))], []
    for n, one in enumerate(scene):
        kept = _inside(one.solid.points, picture.shape, config.margin_vox)
        for later in scene[n + 1 :]:
            kept[kept] = later.solid.distance_at(one.solid.points[kept]) >= config.clearance_vox
        kept[kept] = _contrast_at(picture, one.solid, one.solid.points[kept]) >= config.least_contrast
        points.append(one.solid.points[kept])
        kinds += [kind for kind, keep in zip(one.solid.kinds, kept) if keep]
    return Shapes(picture, np.concatenate(points), tuple(kinds))


def require_sensible(config: ShapeConfig) -> None:
    known = (*FAMILIES, *NEGATIVES)
    unknown = [name for name in config.families if name not in known]
    if unknown or not config.families:
        raise BadInput(
            f"ShapeConfig.families holds names out of {', '.join(known)}, got {list(config.families)}",
            "ShapeConfig(families=('box', 'vessel'))",
        )
    if config.side < LEAST_SIDE:
        raise BadInput(f"ShapeConfig.side is {LEAST_SIDE} voxels or more, got {config.side}", "ShapeConfig(side=64)")
    limits = {
        "negatives": (0, 1), "several": (0, 1), "background": (0, 2), "psf_vox": (0.3, 3), "contrast": (0.02, 0.8),
        "noise": (0, 0.5), "margin_vox": (0, config.side / 2), "clearance_vox": (0, config.side),
        "least_contrast": (0, 1),
    }  # fmt: skip
    for name, (low, high) in limits.items():
        values = np.atleast_1d(getattr(config, name)).astype(float)
        if not (low <= values[0] <= values[-1] <= high):
            raise BadInput(f"ShapeConfig.{name} lies between {low} and {high}, got {getattr(config, name)}")


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn, and where


def _drawn_families(rng: np.random.Generator, config: ShapeConfig) -> list[str]:
    """The names of what a picture shows, from back to front."""
    if rng.random() < config.negatives:
        return [str(rng.choice(NEGATIVES))]
    count = int(rng.integers(2, 5)) if rng.random() < config.several else 1
    drawn = [str(name) for name in rng.choice(config.families, size=count)]
    # a large body behind them, as organs lie in a body
    return ["ellipsoid", *drawn] if count > 1 and rng.random() < 0.3 else drawn


def _placed(rng: np.random.Generator, config: ShapeConfig, name: str, level: float) -> Painted:
    """A solid turned at random, most of it inside the picture, brighter or darker than the background."""
    make = families.ellipsoid if name == "ellipsoid" else FAMILIES[name]
    solid = make(rng, float(config.side))
    reach = min(0.8 * solid.radius(), 0.5 * config.side - 2)
    centre = rng.uniform(reach, config.side - 1 - reach, size=3)
    solid = solid.moved(Rotation.from_quat(rng.normal(size=4)).as_matrix(), centre)
    bright = _brightness_beside(rng, config, level)
    # half of the boards have cells like the background; the others' differ from it by the same, the other way
    dark = level if rng.random() < 0.5 else min(max(2 * level - bright, HEADROOM), 1 - HEADROOM)
    return Painted(solid, bright, dark)


def _brightness_beside(rng: np.random.Generator, config: ShapeConfig, level: float) -> float:
    """Brighter or darker than the background by a drawn contrast, of the other sign if there is no room for it."""
    least, most = config.contrast
    rooms = np.array([level - HEADROOM, 1 - HEADROOM - level])
    sign = int(rng.random() < 0.5)
    if rooms[sign] < least:
        sign = 1 - sign
    contrast = rng.uniform(min(least, rooms[sign]), min(most, rooms[sign]))
    return float(level + (2 * sign - 1) * contrast)


# ---------------------------------------------------------------------------------------------------------------------
# Background and noise


def _background(rng: np.random.Generator, config: ShapeConfig, level: float, names: Sequence[str]) -> np.ndarray:
    """(I, J, K) float32: a level with a gradient and a texture; pictures of these alone have stronger ones."""
    slope = rng.uniform(0.2, 0.5) if names == ["gradient"] else rng.uniform(0.0, 0.15)
    waves = rng.uniform(0.04, 0.12) if names == ["texture"] else rng.uniform(0.0, 0.03)
    return level + np.float32(config.background) * (
        np.float32(slope) * _ramp(rng, config.side) + np.float32(waves) * _texture(rng, config.side)
    )


def _ramp(rng: np.random.Generator, side: int) -> np.ndarray:
    """(I, J, K) float32: even along a drawn direction, from -0.5 to 0.5 over the length of an edge."""
    i, j, k = (axis / side - 0.5 for axis in _axes([(0, side)] * 3))
    a, b, c = families.directions(rng, 1)[0].astype(np.float32)
    return np.asarray((a * i + b * j) + c * k)


def _texture(rng: np.random.Generator, side: int) -> np.ndarray:
    """(I, J, K) float32 of variance one: smooth hills and hollows, white noise on a coarse lattice that is blurred.

    Two places are alike as exp(-d^2 / 2 sigma^2).
    """
    sigma = rng.uniform(FINEST_VOX, min(COARSEST_VOX, side / 4))
    # at the frequency of these nodes the blur's own spectrum has fallen to exp(-pi^2): they leave no trace
    nodes = np.arange(-3 * sigma, side - 1 + 4 * sigma, sigma)
    weights = np.exp(-(((np.arange(side)[:, None] - nodes) / sigma) ** 2))
    weights = (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
    field = rng.standard_normal((len(nodes),) * 3, np.float32)
    for _ in range(3):
        field = np.tensordot(field, weights, axes=([0], [1]))
    return field


def _noise(rng: np.random.Generator, side: int) -> np.ndarray:
    """(I, J, K) float32 of variance one: white, or with a grain."""
    white = rng.standard_normal((side,) * 3, np.float32)
    if rng.random() < 0.5:
        return white
    grain = blurred(white, GRAIN_VOX)
    return grain / np.float32(grain.std())


# ---------------------------------------------------------------------------------------------------------------------
# Painting


def _box(low: np.ndarray, high: np.ndarray, shape: Sequence[int]) -> list[tuple[int, int]] | None:
    """Voxels from and to, half open, that a solid can cover; None if there are none."""
    first = np.maximum(np.ceil(low - 0.5), 0).astype(int)
    last = np.minimum(np.floor(high + 0.5) + 1, shape).astype(int)
    return None if (first >= last).any() else list(zip(first.tolist(), last.tolist()))


def _axes(box: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The open grid of a box, float32."""
    return list(np.ix_(*(np.arange(low, high, dtype=np.float32) for low, high in box)))


def _cover(parts: Sequence[Part], box: Sequence[tuple[int, int]]) -> np.ndarray:
    """How much of each voxel of a box the parts cover: where several do, the most that one does."""
    cover = np.zeros([high - low for low, high in box], np.float32)
    corner = [low for low, _ in box]
    for part in parts:
        low, high = part.bounds() - corner
        here = _box(low, high, cover.shape)
        if here is not None:
            place = [axis + np.float32(first) for axis, first in zip(_axes(here), corner)]
            view = cover[tuple(slice(*ends) for ends in here)]
            np.maximum(view, part.occupancy(*place), out=view)
    return cover


def _brightness(one: Painted, box: Sequence[tuple[int, int]]) -> np.ndarray:
    if one.solid.board is None:
        return np.asarray(np.float32(one.bright))
    return np.float32(one.bright) + np.float32(one.dark - one.bright) * one.solid.board.darkness(*_axes(box))


# ---------------------------------------------------------------------------------------------------------------------
# What can be seen


def _inside(points: np.ndarray, shape: Sequence[int], margin_vox: float) -> np.ndarray:
    """(N,) bool."""
    return np.all((points >= margin_vox) & (points <= np.array(shape) - 1 - margin_vox), axis=1)


def _contrast_at(picture: np.ndarray, solid: Solid, points: np.ndarray) -> np.ndarray:
    """(N,): by how much the picture differs, in a ball round a point, between the solid and the rest.

    Means over both, weighted by how much of a voxel is the solid's; where cells of a board meet, the larger of the
    differences between its dark cells and the rest, its light ones and the rest.
    """
    voxels = (np.rint(points).astype(int)[:, None] + _ball()).clip(0, np.array(picture.shape) - 1)
    values = picture[tuple(np.moveaxis(voxels, -1, 0))].astype(float)
    shares = [share.reshape(values.shape).astype(float) for share in solid.shares_at(voxels.reshape(-1, 3))]
    return np.fmax.reduce([np.abs(_mean(values, share) - _mean(values, 1 - share)) for share in shares], axis=0)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,): weighted means of the rows; NaN, which passes no threshold, where there is less than a voxel."""
    totals = weights.sum(axis=1)
    return np.divide((weights * values).sum(axis=1), totals, out=np.full(len(totals), np.nan), where=totals >= 1)


def _ball() -> np.ndarray:
    """(M, 3) steps to the voxels that are looked at."""
    reach = int(SEEN_VOX)
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return steps[(steps**2).sum(axis=1) <= SEEN_VOX**2]
