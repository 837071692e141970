"""What every method that takes two volumes to one map must do, whatever is inside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from homolog import Affine, Grid, Volume, methods
from homolog.errors import BadInput, SpaceMismatch
from homolog.pairwise.configs import KeypointConfig, LinearConfig
from tests.geometry import oblique_grid

# Each method as quick as it goes on pictures of 6 mm; the laws do not depend on it.
QUICK = {
    "linear": LinearConfig(spacing_mm=6.0, most_blocks=500),
    "keypoint": KeypointConfig(kind="affine", sampling_mm=2.5),
}
# Keypoints are small things: pictures that hold any have voxels so many times finer.
FINER = {"linear": 1, "keypoint": 2}
CENTRE = np.array([20.0, -35.0, 310.0])
# mm at the patient's worst place. Blocks are told to half a voxel of 6 mm each, and the map is the mean of hundreds; of
# keypoints, which slide along smooth edges by more, there are dozens.
CLOSE_MM = {"linear": 1.0, "keypoint": 4.0}
# mm between answers to nearly the same question: keypoints come and go as voxels are rounded, blocks do not.
STEADY_MM = {"linear": 0.1, "keypoint": 2.0}
# What goes by whether a place is bright or dark finds nothing in a negative.
KNOWS_NEGATIVES = {"linear": True, "keypoint": False}


@pytest.fixture(scope="module", params=list(methods.PAIRWISE))
def name(request):
    return request.param


def register(name, fixed, moving, **options):
    return methods.resolve(methods.PAIRWISE[name])(fixed, moving, options.pop("config", QUICK[name]), **options)


def fixed_grid(times=1):
    axes = Rotation.from_rotvec((0.1, -0.15, 0.2)).as_matrix() * (1, 1, -1)
    grid = Grid.regular((60, 54, 58), (4.6, 5.0, 5.4), (0, 0, 0), axes)
    return about(finer(grid, times), CENTRE)


def moving_grid(times=1):
    axes = Rotation.from_rotvec((-0.1, 0.1, 0.1)).as_matrix()[:, [2, 0, 1]] * (-1, 1, 1)
    return about(finer(Grid.regular((52, 64, 56), (6.0, 4.4, 5.0), (0, 0, 0), axes), times), CENTRE)


def finer(grid, times):
    matrix = grid.world_from_voxel.copy()
    matrix[:3, :3] /= times
    return Grid([times * n for n in grid.shape], matrix)


def about(grid, centre):
    matrix = grid.world_from_voxel.copy()
    matrix[:3, 3] += centre - grid.corners().mean(axis=0)
    return Grid(grid.shape, matrix)


def anatomy(points):
    """A patient without a file: intensities (N,) at LPS mm (N, 3); air, a body of three radii, organs, bones."""
    rng = np.random.default_rng(7)
    values = np.full(len(points), -1000.0)
    seen = points - CENTRE
    values[_squared(seen / (105, 80, 115)) < 1] = -90
    for _ in range(34):
        middle = rng.uniform(-1, 1, 3) * (75, 50, 95)
        radii = rng.uniform(10, 38, 3)
        inside = _squared((seen - middle) / radii) < 1
        body = values > -500
        values[body & inside] = rng.choice([-850, 40, 70, 110, 180, 700], p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.1])
    return values


def _squared(vectors):
    return np.einsum("nd,nd->n", vectors, vectors)


def scan(grid, space, fixed_from_here=None, noise=12.0):
    points = grid.points()
    values = anatomy(points if fixed_from_here is None else fixed_from_here.apply(points))
    values += np.random.default_rng(len(space)).normal(0, noise, len(values))
    return Volume(values.reshape(grid.shape).astype(np.float32), grid, space)


def body_points():
    points = fixed_grid().points()[::37]
    return points[(((points - CENTRE) / (100, 75, 110)) ** 2).sum(axis=1) < 1]


def truth(kind="affine", degrees=9.0, shift_mm=(14.0, -9.0, 18.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array([0.5, -0.4, 0.77])).as_matrix()
    if kind == "similarity":
        matrix[:3, :3] *= 1.07
    if kind == "affine":
        matrix[:3, :3] @= [[1.06, 0.05, 0], [0, 0.95, -0.04], [0.03, 0, 1.03]]
    matrix[:3, 3] = CENTRE + shift_mm - matrix[:3, :3] @ CENTRE
    return Affine(matrix, "fixed", "moving")


def error_mm(found, expected):
    points = body_points()
    return np.linalg.norm(found.apply(points) - expected.apply(points), axis=1).max()


def moved(volume, matrix):
    return Volume(volume.data, Grid(volume.grid.shape, matrix @ volume.grid.world_from_voxel), volume.space)


def rigid_motion(shift_mm, degrees=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0.0, 0.8])).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


@pytest.fixture(scope="module")
def pair(name):
    return scan(fixed_grid(FINER[name]), "fixed"), scan(moving_grid(FINER[name]), "moving", truth().inverse())


@pytest.fixture(scope="module")
def found(pair, name):
    return register(name, *pair)


def test_identical_volumes_need_no_motion(name):
    volume = scan(fixed_grid(FINER[name]), "fixed")
    result = register(name, volume, volume.in_space("moving"))
    assert error_mm(result.moving_from_fixed, Affine.identity("fixed", "moving")) < 0.05
    assert result.similarity_after > 0.99
    assert result.stopped == "converged"


def test_a_drawn_map_is_recovered(name, found):
    assert error_mm(found.moving_from_fixed, truth()) < CLOSE_MM[name]
    assert (found.moving_from_fixed.fixed, found.moving_from_fixed.moving) == ("fixed", "moving")
    assert found.similarity_after > found.similarity_before
    assert not found.is_poor


def test_the_way_back_is_the_inverse(name, found):
    there = found.moving_from_fixed.apply(body_points())
    np.testing.assert_allclose(found.fixed_from_moving.apply(there), body_points(), atol=1e-6)


@pytest.mark.parametrize("kind", ["rigid", "similarity"])
def test_a_map_of_each_kind_is_recovered_and_is_of_that_kind(name, kind):
    if not hasattr(QUICK[name], "kind"):
        pytest.skip(f"{name} has no kinds of map")
    fixed = scan(fixed_grid(FINER[name]), "fixed")
    moving = scan(moving_grid(FINER[name]), "moving", truth(kind).inverse())
    result = register(name, fixed, moving, config=replace(QUICK[name], kind=kind))
    assert error_mm(result.moving_from_fixed, truth(kind)) < CLOSE_MM[name]
    linear = result.moving_from_fixed.matrix[:3, :3]
    scale = np.cbrt(np.linalg.det(linear))
    np.testing.assert_allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-9)
    assert kind == "similarity" or abs(scale - 1) < 1e-9


def test_moving_both_patients_moves_the_answer(name, pair, found):
    motion = rigid_motion((40.0, -800.0, 120.0), 25.0)
    result = register(name, *(moved(volume, motion) for volume in pair))
    there = Affine(motion).apply(body_points())
    expected = Affine(motion).apply(found.moving_from_fixed.apply(body_points()))
    # the same voxels, and the same work up to the rounding of a resampling
    assert np.linalg.norm(result.moving_from_fixed.apply(there) - expected, axis=1).max() < 5 * STEADY_MM[name]


@pytest.mark.parametrize("shift_mm, degrees", [((5000.0, -4000.0, 3000.0), 0.0), ((-90.0, 70.0, 260.0), 35.0)])
def test_any_header_position_is_a_start(name, pair, shift_mm, degrees):
    motion = rigid_motion(shift_mm, degrees)
    result = register(name, pair[0], moved(pair[1], motion))
    undone = Affine(np.linalg.inv(motion) @ result.moving_from_fixed.matrix, "fixed", "moving")
    assert error_mm(undone, truth()) < CLOSE_MM[name]


def test_the_answer_is_the_same_wherever_the_header_puts_the_patient(name, pair, found):
    motion = rigid_motion((5000.0, -4000.0, 3000.0))
    result = register(name, pair[0], moved(pair[1], motion))
    undone = Affine(np.linalg.inv(motion) @ result.moving_from_fixed.matrix, "fixed", "moving")
    assert error_mm(undone, found.moving_from_fixed) < STEADY_MM[name]


def test_the_same_input_gives_the_same_bytes(name, pair, found):
    again = register(name, *pair)
    assert again.moving_from_fixed.matrix.tobytes() == found.moving_from_fixed.matrix.tobytes()


def test_storage_order_does_not_matter(name, pair, found):
    def restored(volume):
        matrix = volume.grid.world_from_voxel[:, [2, 0, 1, 3]].copy()
        matrix[:3, 3] += matrix[:3, 1] * (volume.grid.shape[0] - 1)
        matrix[:3, 1] *= -1
        data = np.asfortranarray(volume.numpy().transpose(2, 0, 1)[:, ::-1])
        return Volume(data, Grid(data.shape, matrix), volume.space)

    result = register(name, *map(restored, pair))
    assert error_mm(result.moving_from_fixed, found.moving_from_fixed) < STEADY_MM[name]


def test_another_contrast_is_registered_too(name, pair):
    negative = pair[1].with_data(2000 - 0.7 * pair[1].numpy().clip(-200, 800))
    result = register(name, pair[0], negative.with_data(np.where(pair[1].numpy() < -950, 0, negative.numpy())))
    if KNOWS_NEGATIVES[name] or not result.is_poor:
        assert error_mm(result.moving_from_fixed, truth()) < 3 * CLOSE_MM[name]


def test_half_a_patient_is_found_in_a_whole_one(name, pair):
    low, high = np.array(pair[1].grid.shape) * [[0, 0, 0], [0.55, 1, 1]]
    start, stop = low.astype(int), high.astype(int)
    half = Volume(pair[1].numpy()[: stop[0]], pair[1].grid.cropped(start.tolist(), stop.tolist()), "moving")
    result = register(name, pair[0], moved(half, rigid_motion((900.0, 0.0, -700.0))))
    back = Affine(rigid_motion((-900.0, 0.0, 700.0)) @ result.moving_from_fixed.matrix, "fixed", "moving")
    points = body_points()
    points = points[half.grid.contains(truth().apply(points))]
    assert np.linalg.norm(back.apply(points) - truth().apply(points), axis=1).mean() < 2 * CLOSE_MM[name]


def test_what_a_mask_covers_is_not_looked_at(name, pair):
    fixed, moving = pair
    points = moving.grid.points()
    covered = (points[:, 0] > CENTRE[0] + 45).reshape(moving.grid.shape)
    spoilt = moving.numpy().copy()
    spoilt[covered] = np.random.default_rng(5).normal(0, 900, covered.sum())
    other = spoilt.copy()
    other[covered] = 1234
    mask = Volume((~covered).astype(np.uint8), moving.grid, "moving", "labels")
    results = [register(name, fixed, moving.with_data(data), moving_mask=mask) for data in (spoilt, other)]
    for result in results:
        points = body_points()
        points = points[truth().apply(points)[:, 0] < CENTRE[0] + 45]
        apart = np.linalg.norm(result.moving_from_fixed.apply(points) - truth().apply(points), axis=1)
        assert apart.mean() < 2 * CLOSE_MM[name]


def test_a_start_that_is_given_is_used(name, pair):
    near = Affine(truth().matrix @ rigid_motion((3.0, 2.0, -2.0)), "fixed", "moving")
    motion = rigid_motion((5000.0, 0.0, 0.0))
    result = register(name, pair[0], moved(pair[1], motion), start=Affine(motion @ near.matrix, "fixed", "moving"))
    undone = Affine(np.linalg.inv(motion) @ result.moving_from_fixed.matrix, "fixed", "moving")
    assert error_mm(undone, truth()) < CLOSE_MM[name]
    with pytest.raises(SpaceMismatch, match="moving"):
        register(name, *pair, start=near.inverse())
    with pytest.raises(BadInput, match="do not overlap"):
        register(name, *pair, start=Affine(rigid_motion((4000.0, 0.0, 0.0)), "fixed", "moving"))


def test_progress_is_told_and_recorded(name, pair):
    told = []
    result = register(name, *pair, on_step=lambda *news: told.append(news))
    fractions = [fraction for _, fraction, _ in told]
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert fractions[-1] >= fractions[0]
    assert len(result.trace) > 1 and all(step.used > 0 for step in result.trace)
    assert result.seconds > 0


def test_unlike_pictures_are_said_to_be_unlike(name, pair):
    grid = oblique_grid((50, 52, 48), (5.0, 5.5, 6.0))
    noise = Volume(np.random.default_rng(0).normal(0, 100, grid.shape).astype(np.float32), grid, "moving")
    assert register(name, pair[0], noise).is_poor


def test_exchanged_left_and_right_are_noticed(name, pair):
    moving = pair[1]
    # the second axis of the moving grid runs along left and right
    mirrored = moving.with_data(np.ascontiguousarray(moving.numpy()[:, ::-1]))
    result = register(name, pair[0], mirrored)
    assert result.is_poor
    assert any("mirrored" in doubt or "alike" in doubt for doubt in result.doubts)
    assert not any("mirrored" in doubt for doubt in register(name, *pair).doubts)


def test_a_little_noise_changes_the_answer_little(name, pair, found):
    # one unit in a voxel of a hundred, as when a file rounds to whole numbers
    rng = np.random.default_rng(4)
    noisy = pair[1].with_data(pair[1].numpy() + (rng.random(pair[1].grid.shape) < 0.01))
    assert error_mm(register(name, pair[0], noisy).moving_from_fixed, found.moving_from_fixed) < STEADY_MM[name]


@pytest.mark.parametrize(
    "wrong, said", [("constant", "constant"), ("empty mask", "empty"), ("nan", "NaN"), ("labels", "label")]
)
def test_input_that_cannot_be_registered_is_refused(name, pair, wrong, said):
    fixed, moving = pair
    options = {}
    if wrong == "constant":
        moving = moving.with_data(np.full(moving.grid.shape, 40.0))
    elif wrong == "empty mask":
        options["moving_mask"] = Volume(np.zeros(moving.grid.shape, np.uint8), moving.grid, "moving", "labels")
    elif wrong == "nan":
        moving = moving.with_data(np.where(moving.numpy() > 100, np.nan, moving.numpy()))
    else:
        moving = Volume(moving.numpy().astype(np.int16), moving.grid, "moving", "labels")
    with pytest.raises(BadInput, match=said) as caught:
        register(name, fixed, moving, **options)
    assert "moving" in caught.value.message
