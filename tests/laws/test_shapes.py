from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from homolog.errors import BadInput
from homolog.kernels.structure import moments
from homolog.synth.configs import ShapeConfig
from homolog.synth.shapes import FAMILIES, NEGATIVES, Painted, Shapes, blurred, draw_shapes, painted, visible
from homolog.synth.solids.families import ellipsoid, solid_angles
from homolog.synth.solids.parts import Ball, Convex, Ellipsoid, Part, Rod, Solid

KINDS = {
    "box": {"corner"}, "plate": {"corner"}, "wedge": {"corner"}, "polyhedron": {"corner"}, "stack": {"corner"},
    "board": {"crossing", "corner"}, "polyline": {"end", "junction"}, "vessel": {"end", "junction"},
    "star": {"centre", "end"}, "balls": {"centre"},
}  # fmt: skip
CLEAN = ShapeConfig(negatives=0, several=0, noise=(0.0, 0.0), background=0.0)
BRIGHT, DARK, LEVEL = 0.9, 0.2, 0.5
# voxels by which a corner may seem to lie farther out or in, as voxels sample its faces' ramps here and there: with the
# least blur 0.02 is the standard deviation
MISPLACED = 0.07
# what a picture is sampled by in these tests, and its blur, in voxels
WINDOW, PSF = 1.0, 1.5
TETRAHEDRON = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1.0)])
CUBE = np.array(np.meshgrid(*[(-8.0, 8.0)] * 3)).reshape(3, -1).T


def drawn(config: ShapeConfig, seed: int = 0) -> Shapes:
    return draw_shapes(np.random.default_rng(seed), config)


def placed(solid: Solid, seed: int = 0, centre: tuple[float, float, float] = (31.3, 30.8, 33.1)) -> Solid:
    return solid.moved(Rotation.from_quat(np.random.default_rng(seed).normal(size=4)).as_matrix(), np.array(centre))


def cube(centre: tuple[float, float, float], seed: int = 0) -> Solid:
    return placed(Solid([Convex.around(CUBE)], CUBE, ("corner",) * 8), seed, centre)


def covers(solid: Solid, shape: tuple[int, int, int] = (64, 64, 64)) -> np.ndarray:
    """How much of each voxel is covered."""
    return painted(np.zeros(shape, np.float32), [Painted(solid, 1.0, 0.0)])


def seen(*solids: tuple[Solid, float], config: ShapeConfig = CLEAN) -> Shapes:
    scene = [Painted(solid, brightness, DARK) for solid, brightness in solids]
    picture = blurred(painted(np.full((64, 64, 64), LEVEL, np.float32), scene), 1.0)
    return visible(picture, scene, config)


def listed(found: Shapes, points: np.ndarray) -> np.ndarray:
    """Which points are in the list."""
    return np.array([bool(len(found.points)) and bool((found.points == point).all(axis=1).any()) for point in points])


def window_means(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Means round points that need not be voxels, weighted by a Gaussian of WINDOW voxels."""
    # a Gaussian this broad is summed over voxels as over space: the difference is of the order of exp(-2 pi^2)
    axes = [np.exp(-0.5 * ((np.arange(n) - points[:, [d]]) / WINDOW) ** 2) for d, n in enumerate(picture.shape)]
    total = np.einsum("ni,nj,nk,ijk->n", *axes, picture.astype(float), optimize=True)
    return total / np.prod([axis.sum(axis=1) for axis in axes], axis=0)


def corners_alone(part: Convex, reach: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vertices whose surroundings, so far, are those faces only that meet there: the vertex and the faces' normals."""
    heights = part.offsets - part.vertices @ part.normals.T
    meets = np.abs(heights) < 1e-6
    return [
        (vertex, part.normals[here])
        for vertex, here, height in zip(part.vertices, meets, heights)
        if height[~here].min() > reach
    ]


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn


def test_the_same_generator_draws_the_same_and_another_does_not():
    for seed in range(4):
        one, again = drawn(ShapeConfig(several=1.0), seed), drawn(ShapeConfig(several=1.0), seed)
        assert np.array_equal(one.picture, again.picture)
        assert np.array_equal(one.points, again.points)
        assert one.kinds == again.kinds
    assert not np.array_equal(one.picture, drawn(ShapeConfig(several=1.0), 99).picture)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_its_own_kinds_of_points_and_no_others(family):
    shown = [drawn(replace(CLEAN, families=(family,)), seed) for seed in range(12)]
    assert {kind for one in shown for kind in one.kinds} == KINDS[family]
    assert all(len(one.kinds) == len(one.points) for one in shown)


@pytest.mark.parametrize("name", NEGATIVES)
def test_pictures_of_nothing_that_stands_out_have_no_points(name):
    for seed in range(5):
        one = drawn(ShapeConfig(families=(name,), negatives=0, several=0.5), seed)
        assert one.points.shape == (0, 3)
        assert one.kinds == ()
        assert one.picture.std() > 0


def test_the_share_of_pictures_without_points_is_the_one_asked_for():
    none = [not drawn(ShapeConfig(side=32, negatives=1.0), seed).kinds for seed in range(20)]
    assert all(none)
    config = ShapeConfig(side=32, families=("box",), negatives=0.5, several=0)
    share = np.mean([not drawn(config, seed).kinds for seed in range(200)])
    # four standard deviations of a coin thrown 200 times
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(200)


@pytest.mark.parametrize("side", [24, 40, 64])
def test_pictures_have_the_side_asked_for_and_points_stay_off_the_border(side):
    config = ShapeConfig(side=side, several=1.0, margin_vox=5.5)
    shown = [drawn(config, seed) for seed in range(25)]
    for one in shown:
        assert one.picture.shape == (side,) * 3
        assert one.picture.dtype == np.float32
        assert one.points.dtype == np.float64
        assert one.picture.min() >= 0
        assert one.picture.max() <= 1
    points = np.concatenate([one.points for one in shown])
    assert 5.5 <= points.min() < 8
    assert side - 9 < points.max() <= side - 1 - 5.5


def test_solids_are_brighter_and_darker_than_what_lies_behind():
    signs = []
    for seed in range(20):
        picture = drawn(replace(CLEAN, families=("box",)), seed).picture
        level = np.median(picture)
        above, below = picture.max() - level, level - picture.min()
        # the blur takes nothing from the middle of a box eight voxels thick
        assert max(above, below) >= 0.19
        signs.append(above > below)
    assert 0 < sum(signs) < 20


def test_points_are_spread_over_all_places_between_voxels():
    points = np.concatenate([drawn(ShapeConfig(several=1.0), seed).points for seed in range(25)])
    share = np.histogram(points % 1, 4, (0, 1))[0] / points.size
    assert len(points) > 200
    # points of one board are not independent: a tenth is allowed instead of chance's two hundredths
    assert np.abs(share - 0.25).max() < 0.1


# ---------------------------------------------------------------------------------------------------------------------
# Where a point is


@pytest.mark.parametrize("family", ["box", "wedge", "polyhedron", "stack"])
def test_a_corner_lies_where_its_faces_meet_in_the_picture(family):
    # with the window, the blur and a voxel's own width, a corner is seen through a Gaussian and the ramp of a face
    sigma = np.hypot(WINDOW, PSF)
    x = np.random.default_rng(1).normal(scale=sigma, size=(40_000, 3))
    checked = 0
    for seed in range(6):
        solid = placed(FAMILIES[family](np.random.default_rng(seed), 64.0), seed)
        picture = blurred(covers(solid), PSF)
        for part in solid.parts:
            for vertex, normals in corners_alone(part, 3.5 * sigma):
                if ((vertex < 8) | (vertex > 55)).any():
                    continue
                expected = np.clip(0.5 - (x @ normals.T).max(axis=1), 0, 1)
                # four standard errors of the samples, and of what lies beyond 3.5 standard deviations
                tolerance = 4 * expected.std() / np.sqrt(len(x)) + 1e-3
                assert abs(window_means(picture, vertex[None])[0] - expected.mean()) < tolerance
                assert np.linalg.norm(solid.points - vertex, axis=1).min() < 1e-9
                checked += 1
    assert checked >= 6


def test_a_box_fills_an_eighth_round_each_of_its_corners():
    solid = cube((31.4, 30.7, 32.2), seed=3)
    found = window_means(blurred(covers(solid), PSF), solid.points)
    # the mean over faces shifted by t, -1/2 to 1/2, of Phi(t / s)^3 is 1/8 + 3/2 phi(0)^2 (1/12) / s^2
    sigma = np.hypot(WINDOW, PSF)
    antialiasing = 1.5 / (2 * np.pi) / 12 / sigma**2
    assert np.allclose(found, 1 / 8 + antialiasing, atol=MISPLACED * 0.75 / np.sqrt(2 * np.pi) / sigma)
    assert abs(found.mean() - 1 / 8 - antialiasing) < 1e-3


def test_a_drawn_box_fills_an_eighth_round_each_point_of_its_list():
    config = replace(CLEAN, families=("box",), psf_vox=(0.5, 0.5), margin_vox=5.0)
    for seed in range(6):
        one = drawn(config, seed)
        level = np.median(one.picture)
        inside = one.picture.flat[np.abs(one.picture - level).argmax()]
        share = (window_means(one.picture, one.points) - level) / (inside - level)
        sigma = np.hypot(WINDOW, 0.5)
        antialiasing = 1.5 / (2 * np.pi) / 12 / sigma**2
        # faces misplaced, all three the same way, and 0.002 of the rest of the box, 8 voxels away
        tolerance = MISPLACED * 0.75 / np.sqrt(2 * np.pi) / sigma + 2e-3
        assert np.allclose(share, 1 / 8 + antialiasing, atol=tolerance)


@pytest.mark.parametrize("family", ["box", "plate", "wedge", "polyhedron", "stack"])
def test_corners_lie_on_the_surface_and_apart(family):
    for seed in range(15):
        solid = placed(FAMILIES[family](np.random.default_rng(seed), 64.0), seed)
        assert np.abs(solid.distance_at(solid.points)).max() < 1e-4
        apart = np.linalg.norm(solid.points[:, None] - solid.points, axis=2) + 99 * np.eye(len(solid.points))
        # slabs of a stack lie 3.5 voxels apart, less what their faces lean, which is made good
        assert apart.min() > (3.0 if family == "stack" else 4.0 - 1e-9)


def test_a_plate_too_thin_for_two_corners_has_one_in_the_middle():
    counts = set()
    for seed in range(12):
        plate = FAMILIES["plate"](np.random.default_rng(seed), 64.0)
        thickness = np.ptp(plate.parts[0].vertices, axis=0).min()
        assert len(plate.points) == (8 if thickness >= 4 else 4)
        assert np.allclose(np.abs(plate.points[:, 2]), thickness / 2 if thickness >= 4 else 0)
        counts.add(len(plate.points))
    assert counts == {4, 8}


def test_solid_angles_are_those_that_are_known():
    octahedron = np.concatenate((np.eye(3), -np.eye(3)))
    assert np.allclose(solid_angles(CUBE), np.pi / 2)
    assert np.allclose(solid_angles(octahedron), 4 * np.arcsin(1 / 3))
    assert np.allclose(solid_angles(TETRAHEDRON), np.arccos(23 / 27))


def test_a_crossing_is_a_centre_of_opposites():
    tried = 0
    for seed in range(12):
        solid = placed(FAMILIES["board"](np.random.default_rng(seed), 64.0), seed)
        inner = np.array([kind == "crossing" for kind in solid.kinds])
        # nothing but cells of the board within reach: two more voxels than windows, blur and steps take
        middle = solid.points[inner & ((solid.points > 20) & (solid.points < 43)).all(axis=1)]
        middle = middle[solid.distance_at(middle) < -12]
        if not len(middle):
            continue
        picture = blurred(painted(np.full((64,) * 3, LEVEL, np.float32), [Painted(solid, BRIGHT, DARK)]), PSF)
        # half of the way to a cell's centre, and a little aside
        step = solid.board.steps.sum(axis=0) / 4 + np.random.default_rng(seed).uniform(-1, 1, size=(len(middle), 3))
        there, opposite = window_means(picture, middle + step), window_means(picture, middle - step)
        # a face that is misplaced changes its side of the picture by its ramp in the middle
        misplaced = 3 * MISPLACED * (BRIGHT - DARK) / np.sqrt(2 * np.pi) / np.hypot(WINDOW, PSF)
        assert np.allclose(there + opposite, BRIGHT + DARK, atol=misplaced)
        assert np.abs(there - opposite).min() > 0.02
        tried += len(middle)
    assert tried > 20


def test_a_balls_centre_is_its_centroid():
    solid = Solid([Ball(np.array([20.3, 24.6, 22.9]), 2.2)])
    weights = covers(solid, (44, 48, 46)).astype(float)
    centroid = [(weights * axis).sum() / weights.sum() for axis in np.indices(weights.shape)]
    assert np.allclose(centroid, solid.parts[0].centre, atol=1e-3)


def test_an_end_and_a_junction_lie_on_the_axes():
    for family in ("polyline", "vessel", "star"):
        solid = FAMILIES[family](np.random.default_rng(5), 64.0)
        ends = np.array([[rod.start, rod.end] for rod in solid.parts]).reshape(-1, 3)
        met = [int((np.linalg.norm(ends - point, axis=1) < 1e-9).sum()) for point in solid.points]
        for kind, count in zip(solid.kinds, met):
            assert count == 1 if kind == "end" else count >= 2


@pytest.mark.parametrize(
    ("part", "volume"),
    [
        (Convex.around(CUBE), lambda t: (16 + 2 * t) ** 3),
        # moved outwards, the faces of a tetrahedron make one that is larger by t over the inner radius, 9 / sqrt 3
        (Convex.around(9 * TETRAHEDRON), lambda t: 18**3 / 3 * (1 + t * 3**0.5 / 9) ** 3),
        (
            Rod(np.array([-9.0, 2, 0]), np.array([8.0, -4, 6]), (2.5, 2.5)),
            lambda t: np.pi * (2.5 + t) ** 2 * 19 + np.pi * 4 / 3 * (2.5 + t) ** 3,
        ),
        (Ball(np.zeros(3), 2.0), lambda t: (np.pi / np.log(2)) ** 1.5 * 2.0**3),
        (Ellipsoid(np.zeros(3), 11.0 * np.eye(3)), lambda t: 4 / 3 * np.pi * (11 + t) ** 3),
        (Ellipsoid(np.zeros(3), np.diag([9.0, 14, 11])), lambda t: 4 / 3 * np.pi * (9 + t) * (14 + t) * (11 + t)),
    ],
    ids=["cube", "tetrahedron", "rod", "Gaussian ball", "ball", "ellipsoid"],
)
def test_a_solid_covers_as_much_as_it_has_volume(part: Part, volume: Callable[[float], float]):
    total = covers(placed(Solid([part]), seed=4)).sum(dtype=float)
    # a face's ramp is the mean of faces up to half a voxel within and without; Simpson's rule is exact for cubes
    expected = (volume(-0.5) + 4 * volume(0.0) + volume(0.5)) / 6
    assert total == pytest.approx(expected, rel=4e-3)


def test_turning_the_solid_turns_the_picture_and_the_points():
    # a quarter turn about the third axis, then a third of one about the diagonal: voxels go to voxels
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    centre = np.full(3, 31.5)
    indices = np.indices((64,) * 3).reshape(3, -1).T
    came_from = tuple(np.rint((indices - centre) @ turn + centre).astype(int).T)
    for family in FAMILIES:
        solid = placed(FAMILIES[family](np.random.default_rng(8), 64.0), seed=8)
        there = solid.moved(turn, centre - turn @ centre)
        scenes = [[Painted(one, BRIGHT, DARK)] for one in (solid, there)]
        flat = np.full((64,) * 3, LEVEL, np.float32)
        pictures = [blurred(painted(flat, scene), 1.0) for scene in scenes]
        # float32 coordinates of 64 voxels
        assert np.allclose(pictures[1], pictures[0][came_from].reshape(64, 64, 64), atol=1e-4)
        found = [visible(picture, scene, CLEAN) for picture, scene in zip(pictures, scenes)]
        assert len(found[0].points) > 0
        assert np.allclose(found[1].points, (found[0].points - centre) @ turn.T + centre)


@pytest.mark.parametrize("family", ["box", "wedge", "polyhedron", "stack"])
def test_slopes_point_to_more_sides_at_corners_than_on_faces_and_edges(family):
    corners, elsewhere = [], []
    for seed in range(4):
        one = drawn(replace(CLEAN, families=(family,), psf_vox=(0.8, 0.8)), seed)
        slope = np.linalg.norm(np.gradient(one.picture.astype(float)), axis=0)
        slope[:4], slope[-4:], slope[:, :4], slope[:, -4:], slope[:, :, :4], slope[:, :, -4:] = (0,) * 6
        surface = np.argwhere(slope > 0.7 * slope.max())
        far = np.linalg.norm(surface[:, None] - one.points[None], axis=2).min(axis=1) > 6
        chosen = np.random.default_rng(seed).permutation(surface[far])[:60].astype(float)
        corners.append(evenness(one.picture, one.points))
        elsewhere.append(evenness(one.picture, chosen))
    at_corners, at_faces = np.concatenate(corners), np.concatenate(elsewhere)
    assert len(at_corners) > 12
    assert len(at_faces) > 60
    assert np.median(at_corners) > 3 * np.quantile(at_faces, 0.9)
    assert np.mean(at_corners > np.quantile(at_faces, 0.95)) > 0.9


def evenness(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Of a structure tensor, the smallest eigenvalue over the largest: 0 on a face or along an edge."""
    tensors = moments(picture, points, np.full(len(points), 1.5), np.ones(3))[1]
    values = np.linalg.eigvalsh(tensors)
    return values[:, 0] / values[:, 2]


# ---------------------------------------------------------------------------------------------------------------------
# What can be seen


def test_a_point_inside_a_later_solid_is_not_listed_and_one_before_it_is():
    behind, front = cube((28.0, 30, 31), seed=1), cube((41.0, 36, 31), seed=2)
    # half-spaces say who is inside, apart from how the solids measure distances
    hull = ConvexHull(front.parts[0].vertices)
    outside = (behind.points @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1)
    assert (outside < -1).any()
    assert (outside > 2).any()
    hidden = seen((behind, BRIGHT), (front, DARK))
    assert not listed(hidden, behind.points[outside < 0]).any()
    assert listed(hidden, behind.points[outside > 2]).all()
    assert listed(hidden, front.points).all()
    assert listed(seen((front, DARK), (behind, BRIGHT)), behind.points).all()


def test_a_point_that_a_later_solid_only_nears_is_kept_or_not_by_the_clearance():
    behind = cube((31.0, 31, 31))
    point = behind.points[0]
    outwards = (point - 31.0) / np.linalg.norm(point - 31.0)
    later = Solid([Ellipsoid(point + 6.0 * outwards, 4.0 * np.eye(3))])
    near, far = replace(CLEAN, clearance_vox=2.5), replace(CLEAN, clearance_vox=1.5)
    assert not listed(seen((behind, BRIGHT), (later, DARK), config=near), point[None]).any()
    assert listed(seen((behind, BRIGHT), (later, DARK), config=far), point[None]).all()


def test_a_solid_as_bright_as_what_it_lies_on_has_no_points():
    large = placed(Solid([Ellipsoid(np.zeros(3), 29.0 * np.eye(3))]))
    on_it = cube((31.0, 32, 30), seed=5)
    assert not listed(seen((large, BRIGHT), (on_it, BRIGHT)), on_it.points).any()
    assert listed(seen((large, BRIGHT), (on_it, DARK)), on_it.points).all()


def test_asking_for_more_contrast_leaves_fewer_points():
    config = ShapeConfig(several=1.0, negatives=0)
    for seed in range(4):
        counts = [len(drawn(replace(config, least_contrast=least), seed).points) for least in (0.0, 0.05, 0.15, 1.0)]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[-1] == 0


def test_large_ellipsoids_are_nowhere_as_sharp_as_a_ball_that_has_a_point():
    for seed in range(30):
        lengths = np.linalg.norm(ellipsoid(np.random.default_rng(seed), 64.0).parts[0].half_axes, axis=1)
        # the sharpest radius of an ellipsoid's sections
        assert lengths.min() ** 2 / lengths.max() > 3.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (ShapeConfig(families=("box", "teapot")), "teapot"),
        (ShapeConfig(families=()), "families"),
        (ShapeConfig(side=8), "side is 24"),
        (ShapeConfig(negatives=1.5), "negatives"),
        (ShapeConfig(psf_vox=(1.5, 0.5)), "psf_vox"),
        (ShapeConfig(noise=(0.0, float("nan"))), "noise"),
        (ShapeConfig(contrast=(0.5, 2.0)), "contrast"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_drawn_is_refused_by_name(wrong, said):
    with pytest.raises(BadInput, match=said):
        drawn(wrong)
