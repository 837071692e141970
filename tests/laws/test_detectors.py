"""What every method that finds keypoints in a volume must do, whatever is inside it."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from homolog import Affine, Grid, Keypoints, Volume, methods
from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels.threads import using_threads

CENTRE = np.array([20.0, -35.0, 310.0])
# Two pictures of one patient are said to show the same place when points are nearer than half a voxel.
SAME_PLACE_MM = 1.0
# With voxels of 2 mm the patient's smaller blobs are 3D-SURF's smallest, which it tells badly.
FINER = {"surf3d": {"sampling_mm": 1.5}}


# what a network finds has neither sign nor scale, and needs weights: test_sp3d.py has its laws
HANDMADE = [name for name in methods.DETECTORS if name != "sp3d"]


@pytest.fixture(scope="module", params=HANDMADE)
def name(request):
    return request.param


def options_of(name, **options):
    return methods.resolve(methods.DETECTOR_OPTIONS[name])(**options)


def detect(name, volume, mask=None, **options):
    return methods.resolve(methods.DETECTORS[name])(volume, options_of(name, **options), mask=mask)


def describe(name, volume, points, **options):
    module = methods.DETECTORS[name].split(":")[0]
    return methods.resolve(f"{module}:describe")(volume, points, options_of(name, **options))


# ---------------------------------------------------------------------------------------------------------------------
# A patient without a file: Gaussian ovals, dark and bright


def balls(count=900, seed=5):
    """Centres (N, 3) LPS mm, precisions (N, 3, 3) 1/mm^2, widths (N,) mm at most, heights (N,)."""
    rng = np.random.default_rng(seed)
    centres = CENTRE + rng.uniform(-85, 85, (count, 3))
    widths = rng.uniform(2.5, 6.0, (count, 1)) * rng.uniform(0.7, 1.2, (count, 3))
    axes = Rotation.random(count, random_state=seed).as_matrix()
    precisions = np.einsum("nab,nb,ncb->nac", axes, widths**-2.0, axes)
    return centres, precisions, widths.max(axis=1), rng.uniform(150, 500, count) * rng.choice([-1, 1], count)


@cache
def scan(grid):
    data = np.full(grid.shape, 1000.0)
    for centre, precision, width, height in zip(*balls()):
        reach = 5 * width / grid.spacing_mm
        at = grid.voxel(centre)
        low = np.maximum(0, np.ceil(at - reach)).astype(int)
        high = np.minimum(grid.shape, np.floor(at + reach) + 1).astype(int)
        if (low < high).all():
            part = grid.cropped(low, high)
            away = part.points() - centre
            values = height * np.exp(-0.5 * np.einsum("na,ab,nb->n", away, precision, away))
            data[tuple(map(slice, low, high))] += values.reshape(part.shape)
    return Volume(data.astype(np.float32), grid, "patient")


def values_at(volume, points):
    return map_coordinates(volume.numpy(), volume.grid.voxel(points).T, order=1, mode="nearest")


def about(grid, centre=CENTRE):
    matrix = grid.world_from_voxel.copy()
    matrix[:3, 3] += centre - grid.corners().mean(axis=0)
    return Grid(grid.shape, matrix)


@cache
def oblique():
    axes = Rotation.from_rotvec((0.1, -0.15, 0.2)).as_matrix()[:, [2, 0, 1]] * (1, -1, 1)
    assert np.linalg.det(axes) < 0
    return about(Grid.regular((74, 84, 88), (2.2, 2.0, 1.8), (0, 0, 0), axes))


@cache
def upright():
    return about(Grid.regular((87, 85, 83), 2.0, (0, 0, 0), np.diag((1.0, -1.0, 1.0))))


def moved(volume, matrix):
    return Volume(volume.data, Grid(volume.grid.shape, matrix @ volume.grid.world_from_voxel), volume.space)


def motion(shift_mm=(0.0, 0.0, 0.0), rotation=None):
    """A rigid motion about the patient's centre."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) if rotation is None else rotation
    matrix[:3, 3] = CENTRE + shift_mm - matrix[:3, :3] @ CENTRE
    return matrix


def columns(points):
    return {f.name for f in fields(points) if getattr(points, f.name) is not None}


def same_places(one, other, within_mm=SAME_PLACE_MM):
    """(N,) bool: which of one are found in the other, at the same place with a like scale; and (N,) the row there."""
    if not len(other):
        return np.zeros(len(one), bool), np.zeros(len(one), int)
    apart, row = cKDTree(other.position).query(one.position)
    return (apart < within_mm) & (np.abs(np.log(other.scale[row] / one.scale)) < np.log(1.3)), row


def inner(points, reach_mm=45.0):
    """Those that no picture's rim is near to."""
    return points[np.abs(points.position - CENTRE).max(axis=1) < reach_mm]


def stronger_half(points):
    return inner(points)[: len(inner(points)) // 2]


@pytest.fixture(scope="module", params=["oblique", "upright"])
def volume(request):
    return scan({"oblique": oblique, "upright": upright}[request.param]())


@pytest.fixture(scope="module")
def found(name, volume):
    return detect(name, volume)


# ---------------------------------------------------------------------------------------------------------------------
# What is found


def test_columns_are_what_they_say(name, volume, found):
    assert len(found) > 30
    assert found.space == volume.space
    assert columns(found) >= {"position", "space", "scale", "response", "sign", "descriptors"}
    assert found.position.dtype == found.scale.dtype == found.response.dtype == np.float64
    assert found.sign.dtype == np.int8 and found.descriptors.dtype == np.float32
    assert set(found.sign.tolist()) == {-1, 1}
    assert (np.diff(found.response) <= 0).all() and (found.response > 0).all() and (found.scale > 0).all()
    assert volume.grid.contains(found.position).all()
    assert np.isfinite(found.descriptors).all()
    if found.frame is not None:
        np.testing.assert_allclose(
            found.frame @ found.frame.transpose(0, 2, 1), np.eye(3)[None].repeat(len(found), 0), atol=1e-6
        )
        np.testing.assert_allclose(np.linalg.det(found.frame), 1, atol=1e-6)


def test_the_sign_says_which_is_brighter_a_blob_or_what_is_round_it(name, volume, found):
    round_it = np.concatenate((np.eye(3), -np.eye(3)))
    at = found.position[:, None] + 2 * found.scale[:, None, None] * round_it
    here, there = (values_at(volume, points.reshape(-1, 3)) for points in (found.position, at))
    brighter = here > there.reshape(-1, 6).mean(axis=1)
    assert (brighter == (found.sign > 0)).mean() > 0.9


def test_the_negative_has_the_same_points_of_the_other_sign(name, volume, found):
    negative = detect(name, volume.with_data(2000 - volume.numpy()))
    # what stands where nothing was scanned is the darkest value, which the negative has elsewhere
    same, row = same_places(inner(found), negative, 0.3)
    assert same.mean() > 0.95
    np.testing.assert_array_equal(negative.sign[row[same]], -inner(found).sign[same])


# ---------------------------------------------------------------------------------------------------------------------
# The same patient, put elsewhere or stored otherwise


def test_moving_the_patient_moves_the_keypoints(name, volume, found):
    shift = np.array([5000.25, -3210.5, 888.75])
    again = detect(name, moved(volume, motion(shift)))
    assert len(again) == len(found)
    np.testing.assert_allclose(again.position - shift, found.position, atol=1e-3)
    np.testing.assert_allclose(again.scale, found.scale, rtol=1e-4)
    assert np.median((again.descriptors * found.descriptors).sum(axis=1)) > 0.9999


@pytest.mark.parametrize("about_axis", [0, 1, 2])
def test_turning_the_patient_by_a_right_angle_turns_the_keypoints(name, volume, found, about_axis):
    turn = motion((30.0, 0.0, -400.0), Rotation.from_rotvec(np.pi / 2 * np.eye(3)[about_axis]).as_matrix().round())
    again = detect(name, moved(volume, turn))
    back = again.moved_to(Affine(np.linalg.inv(turn)).apply(again.position), again.space)
    # a lattice of every second voxel does not begin at the same end; weak points depend on that
    assert same_places(stronger_half(found), back)[0].mean() > 0.75
    assert same_places(stronger_half(back), found)[0].mean() > 0.75


@pytest.mark.parametrize("order, flips", [((2, 0, 1), (1,)), ((0, 1, 2), (0, 1, 2)), ((1, 0, 2), ())])
def test_storage_order_does_not_matter(name, volume, found, order, flips):
    matrix = volume.grid.world_from_voxel[:, [*order, 3]].copy()
    data = volume.numpy().transpose(order)
    for axis in flips:
        matrix[:3, 3] += matrix[:3, axis] * (data.shape[axis] - 1)
        matrix[:3, axis] *= -1
        data = np.flip(data, axis)
    again = detect(name, Volume(np.asfortranarray(data), Grid(data.shape, matrix), volume.space))
    assert len(again) == len(found)
    np.testing.assert_allclose(again.position, found.position, atol=1e-3)
    np.testing.assert_array_equal(again.sign, found.sign)
    assert np.median((again.descriptors * found.descriptors).sum(axis=1)) > 0.9999


def test_threads_do_not_matter(name, volume, found):
    for threads in (1, 3):
        with using_threads(threads):
            again = detect(name, volume)
        for column in columns(found) - {"space"}:
            assert getattr(again, column).tobytes() == getattr(found, column).tobytes(), column


def test_the_input_is_left_as_it_was(name, volume):
    before = volume.numpy().copy()
    detect(name, volume, most=3)
    np.testing.assert_array_equal(volume.numpy(), before)


# ---------------------------------------------------------------------------------------------------------------------
# The same patient, scanned otherwise


@pytest.fixture(scope="module")
def scanned_otherwise():
    axes = Rotation.from_rotvec((-0.2, 0.1, 0.35)).as_matrix() * (1, 1, -1)
    return scan(about(Grid.regular((90, 82, 84), (1.9, 2.1, 2.05), (0, 0, 0), axes), CENTRE + 0.37))


@pytest.fixture(scope="module")
def two_scans(name, volume, scanned_otherwise):
    one, other = (detect(name, scan, **FINER.get(name, {})) for scan in (volume, scanned_otherwise))
    return one, other


def test_another_grid_shows_the_same_places(two_scans):
    for one, other in (two_scans, two_scans[::-1]):
        strong = stronger_half(one)
        # weak ones come and go: whether they are extrema is decided by voxels that only one of the grids has
        assert len(strong) > 15 and same_places(strong, other)[0].mean() > 0.65


def test_the_same_place_in_two_grids_is_described_alike(two_scans):
    one, other = inner(two_scans[0]), two_scans[1]
    same, row = same_places(one, other)
    assert same.sum() > 20
    alike = one.descriptors[same] @ other.descriptors.T
    own = alike[np.arange(same.sum()), row[same]]
    elsewhere = np.linalg.norm(one.position[same][:, None] - other.position[None], axis=-1) > 10
    assert np.median(own) > 0.9
    # the likest of all other places is less like it, for most
    assert np.mean(own > np.where(elsewhere, alike, -1).max(axis=1)) > 0.9


def test_a_little_noise_changes_little(name, volume, found):
    # one unit in a voxel of a hundred, as when a file rounds to whole numbers
    rng = np.random.default_rng(4)
    again = detect(name, volume.with_data(volume.numpy() + (rng.random(volume.grid.shape) < 0.01)))
    assert same_places(found, again, 0.3)[0].mean() > 0.95


# ---------------------------------------------------------------------------------------------------------------------
# Options


def test_the_strongest_are_kept(name, volume, found):
    some = detect(name, volume, most=7)
    np.testing.assert_array_equal(some.position, found.position[:7])
    np.testing.assert_array_equal(some.descriptors, found.descriptors[:7])
    assert len(detect(name, volume, most=10**6)) == len(found)
    nothing = detect(name, volume, most=0)
    assert len(nothing) == 0 and columns(nothing) == columns(found)


def test_points_can_be_spread(name, volume, found):
    def cubes(points):
        return len(np.unique(np.floor((points.position - found.position.min(axis=0)) / 30.0), axis=0))

    most = cubes(found)
    some = detect(name, volume, most=most, spread_mm=30.0)
    # one of each cube, and they are still the strongest first
    assert len(some) == cubes(some) == most > cubes(found[:most])
    assert (np.diff(some.response) <= 0).all()
    assert some.response[0] == found.response[0]


def test_points_without_descriptors_are_the_same_points(name, volume, found):
    bare = detect(name, volume, descriptors=False)
    assert bare.descriptors is None and columns(bare) == columns(found) - {"descriptors"}
    np.testing.assert_array_equal(bare.position, found.position)


def test_ranks_are_of_unit_length_and_have_no_mean(name, volume, found):
    ranks = detect(name, volume, rank=True).descriptors
    assert ranks.dtype == np.float32 and ranks.shape == found.descriptors.shape
    np.testing.assert_allclose(np.linalg.norm(ranks, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(ranks.mean(axis=1), 0, atol=1e-4)


@pytest.mark.parametrize(
    "grid", [None, about(Grid.regular((31, 29, 27), (6.0, 6.5, 7.0), (0, 0, 0), np.diag((-1.0, 1.0, 1.0))))]
)
def test_no_point_is_found_where_the_mask_is_zero(name, volume, found, grid):
    grid = grid or volume.grid
    left = (grid.points()[:, 0] > CENTRE[0]).reshape(grid.shape)
    mask = Volume(left.astype(np.uint8), grid, volume.space, "labels")
    masked = detect(name, volume, mask)
    # a mask's voxels are wide: to its edge a point may lie half of one away
    sure = np.abs(found.position[:, 0] - CENTRE[0]) > 6
    kept = np.isin(found.position[:, 0], masked.position[:, 0])
    np.testing.assert_array_equal(kept[sure], found.position[sure, 0] > CENTRE[0])
    assert 0 < len(masked) < len(found)
    np.testing.assert_array_equal(detect(name, volume, mask, most=5).position, masked.position[:5])


def test_a_mask_that_leaves_nothing_leaves_no_points(name, volume, found):
    mask = Volume(np.zeros(volume.grid.shape, np.uint8), volume.grid, volume.space, "labels")
    nothing = detect(name, volume, mask)
    assert len(nothing) == 0 and columns(nothing) == columns(found)


def test_a_mask_of_another_patient_or_of_intensities_is_refused(name, volume):
    ones = np.ones(volume.grid.shape, np.uint8)
    with pytest.raises(SpaceMismatch, match="other"):
        detect(name, volume, Volume(ones, volume.grid, "other", "labels"))
    with pytest.raises(BadInput, match="mask"):
        detect(name, volume, Volume(ones.astype(np.float32), volume.grid, volume.space))


# ---------------------------------------------------------------------------------------------------------------------
# Points that are given


def test_points_that_are_given_are_described(name, volume, found):
    bare = replace(found, descriptors=None)[::-3]
    described = describe(name, volume, bare)
    np.testing.assert_array_equal(described.position, bare.position)
    np.testing.assert_array_equal(described.scale, bare.scale)
    assert described.descriptors.dtype == np.float32
    assert ((described.descriptors * found.descriptors[::-3]).sum(axis=1) > 0.99).mean() > 0.95


def test_points_that_cannot_be_described_are_refused(name, volume, found):
    with pytest.raises(BadInput, match="scale") as caught:
        describe(name, volume, Keypoints(found.position, volume.space))
    assert caught.value.hint
    away = found.moved_to(found.position + np.where(np.arange(len(found))[:, None] < 3, 4000.0, 0.0), volume.space)
    with pytest.raises(BadInput, match=f"3 of {len(found)}"):
        describe(name, volume, away)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures in which nothing can be found


@pytest.mark.parametrize("value", [0.0, -1000.1, 3e5])
def test_a_constant_picture_has_no_points_but_all_columns(name, volume, found, value):
    nothing = detect(name, volume.with_data(np.full(volume.grid.shape, value)))
    assert len(nothing) == 0
    assert columns(nothing) == columns(found)
    for column in columns(found) - {"space"}:
        empty, full = getattr(nothing, column), getattr(found, column)
        assert empty.dtype == full.dtype and empty.shape == (0, *full.shape[1:]), column


@pytest.mark.parametrize(
    "wrong, said", [("nan", "NaN"), ("infinite", "infinite"), ("labels", "label"), ("slice", "slice")]
)
def test_input_in_which_nothing_can_be_looked_for_is_refused(name, volume, wrong, said):
    data = volume.numpy().copy()
    if wrong == "labels":
        volume = Volume(data.astype(np.int16), volume.grid, volume.space, "labels")
    elif wrong == "slice":
        volume = Volume(data[:, :, :1], volume.grid.cropped((0, 0, 0), (*data.shape[:2], 1)), volume.space)
    else:
        data[3, 4, 5] = np.nan if wrong == "nan" else np.inf
        volume = volume.with_data(data)
    with pytest.raises(BadInput, match=said):
        detect(name, volume)


def test_a_picture_too_small_is_refused(name):
    grid = Grid.regular((7, 7, 7), 1.0)
    with pytest.raises(BadInput):
        detect(name, Volume(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid, "patient"))
