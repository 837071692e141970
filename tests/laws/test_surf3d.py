"""3D-SURF: the published program's behaviour, straight from its definition, and what the mended one does better."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from homolog import Grid, Keypoints, Volume
from homolog.errors import BadInput, SpaceMismatch
from homolog.features.configs import Surf3dConfig
from homolog.features.surf3d import OCTAVES, STEPS, WIDTHS, describe, detect, patches
from homolog.kernels.box_gradients import describe_reference
from homolog.kernels.box_hessian import sums_reference

FROG = Surf3dConfig(compat="frog")
MENDED = Surf3dConfig()


# ---------------------------------------------------------------------------------------------------------------------
# The definition, with no table of sums, no kernel and no thread


def places(taps, length, step):
    """(length / step, length): a matrix that sums voxels round every `step`-th one, each by the tap of its offset."""
    matrix = np.zeros((length // 2 // (step // 2), length + 2 * 64))
    for row, line in enumerate(matrix):
        for offset, tap in taps.items():
            line[64 + row * step + offset] += tap
    return matrix[:, 64:-64]


def answers(counts, width, step):
    """|determinant| / width^9, and 0: no blob, 1: dark, 2: bright; at every `step` voxels."""
    third, half = width // 3, width // 2
    mean = dict.fromkeys(range(1 - third, third), 1)
    curve = {o: 1 - 3 * (abs(o) <= third // 2) for o in range(-half, half + 1)}
    slope = {o: -np.sign(o) for o in range(-third, third + 1)}

    def derivative(*taps):
        x, y, z = (places(t, n, step) for t, n in zip(taps, counts.shape))
        return np.float32(np.einsum("ai,bj,ck,ijk->abc", x, y, z, counts, optimize=True) / width**3)

    counts = counts.astype(np.float64)
    xx, yy, zz = derivative(curve, mean, mean), derivative(mean, curve, mean), derivative(mean, mean, curve)
    xy, yz, xz = derivative(slope, slope, mean), derivative(mean, slope, slope), derivative(slope, mean, slope)
    alpha, beta, two = np.float32(0.8330), np.float32(0.7603), np.float32(2)
    pairs = xx * yy + yy * zz + xx * zz - alpha * (xy * xy + xz * xz + yz * yz)
    trace = xx + yy + zz
    determinant = xx * yy * zz + two * beta * xy * yz * xz - alpha * (xx * yz * yz + yy * xz * xz + zz * xy * xy)
    blob = np.where((pairs > 0) & (trace * determinant > 0), np.where(trace >= 0, 1, 2), 0)
    edge = int(np.ceil((width + 1) / (2 * step))) + 1
    outside = np.ones(blob.shape, bool)
    outside[(slice(edge, -edge),) * 3] = False
    return np.where(outside, 0, np.abs(determinant)), np.where(outside, 0, blob)


def answers_of_all(counts):
    octaves = 1 + sum(min(counts.shape) >= room for room in (102, 198, 390))
    return {n: answers(counts, WIDTHS[n], STEPS[n]) for n in {n for octave in OCTAVES[:octaves] for n in octave}}


def published(layers, *, skips_column=True, exchanges=True):
    """(N, 6) voxel, scale in voxels, 1 where dark, response; of as many octaves as the smallest axis has room for."""
    octaves = 1 if len(layers) == 4 else 2
    rows = []
    for number, (octave, first) in enumerate(product(OCTAVES[:octaves], (0, 1))):
        below, middle, above = octave[first : first + 3]
        top = STEPS[above]
        three = {n: [field[(slice(None, None, top // STEPS[n]),) * 3] for field in layers[n]] for n in octave}
        response, blob = three[middle]

        def reach(n, top=top):
            return int(np.ceil((int(np.ceil((WIDTHS[n] + 1) / (2 * STEPS[n]))) + 1) * STEPS[n] / top))

        described = int((0.6666 * WIDTHS[above] + 2.5 * STEPS[middle]) / STEPS[middle] + 2)
        margin = max(reach(below), reach(middle), reach(above), described)
        compared = [middle]
        compared += [below] if number > 0 else []
        compared += [above] if octaves > 1 or first == 0 else []
        size = three[above][0].shape
        core = tuple(slice(margin, n - margin) for n in size)
        good = blob[core] > 0
        for layer, offset in product(compared, product((-1, 0, 1), repeat=3)):
            own = layer == middle
            if own and (offset == (0, 0, 0) or (skips_column and offset[:2] == (0, 0))):
                continue
            there = tuple(slice(margin + o, n - margin + o) for o, n in zip(offset, size))
            good &= ~((three[layer][1][there] > 0) & (three[layer][0][there] >= response[core]))
        for place in np.argwhere(good) + margin:
            window = tuple(slice(p - 1, p + 2) for p in place)
            around = np.stack([three[n][0][window] for n in (below, middle, above)], axis=-1).astype(np.float64)
            offset = refined(around, exchanges)
            if (np.abs(offset) < 1).all():
                scale = 0.1333 * (WIDTHS[middle] + offset[3] * (WIDTHS[middle] - WIDTHS[below]))
                rows.append([*((place + offset[:3]) * top), scale, blob[tuple(place)] == 1, response[tuple(place)]])
    return np.array(rows).reshape(-1, 6)


def refined(around, exchanges):
    """x, y, z, s of the extremum of a parabola through 3^4 values, by differences of the middle ones."""
    steps = np.eye(4, dtype=int)

    def value(offset):
        return around[tuple(1 + offset)]

    gradient = np.array([(value(e) - value(-e)) / 2 for e in steps])
    hessian = np.empty((4, 4))
    for a, b in np.ndindex(4, 4):
        p, q = steps[a], steps[b]
        if a == b:
            hessian[a, a] = value(p) - 2 * value(0 * p) + value(-p)
        else:
            hessian[a, b] = (value(p + q) - value(p - q) - value(q - p) + value(-p - q)) / 4
    if exchanges:
        hessian[0, 2], hessian[1, 2] = hessian[1, 2], hessian[0, 2]
        hessian[2, 0], hessian[2, 1] = hessian[2, 1], hessian[2, 0]
    return -np.linalg.pinv(hessian, rcond=1e-3) @ gradient


# ---------------------------------------------------------------------------------------------------------------------
# Agreement


def texture(shape, seed=0):
    """Whole numbers, as a CT has them; blobs of all widths that small pictures can show."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.normal(size=shape), sigma) * sigma**1.5 for sigma in (1.5, 3.0, 5.0)]
    return np.round(900 * sum(fields)).astype(np.float32)


def in_the_published_order(signs, shape, mm=1.7, origin=(40.0, -30.0, 12.0)):
    """A file whose voxels run along or against x, y, z, and the array and the origin that the program makes of it."""
    data, grid = texture(shape), Grid.regular(shape, mm, origin, np.diag(signs))
    against = [n for n in range(3) if signs[n] != (-1, -1, 1)[n]]
    first = [(n - 1 if axis in against else 0) for axis, n in enumerate(shape)]
    return Volume(data, grid, "patient"), np.flip(data, against), grid.world(np.array(first))


@pytest.fixture(
    scope="module", params=[((-1.0, -1.0, 1.0), (142, 145, 140)), ((1.0, -1.0, -1.0), (84, 87, 80))], ids=["two", "one"]
)
def by_definition(request):
    """A picture for two octaves, or one that the program reverses for one; and the answers of its filters."""
    volume, counts, origin = in_the_published_order(*request.param)
    return volume, counts - counts.min(), origin, answers_of_all(counts - counts.min())


def in_order(position):
    return np.lexsort(np.round(position, 3).T)


def test_all_points_of_the_published_program_are_found_and_no_other(by_definition):
    volume, _, origin, layers = by_definition
    expected, found = published(layers), detect(volume, FROG)
    position = origin + expected[:, :3] * 1.7 * (-1, -1, 1)
    assert len(found) == len(expected) > 20
    ours, theirs = in_order(found.position), in_order(position)
    # their response is float32, and so is what the parabola is laid through
    np.testing.assert_allclose(found.position[ours], position[theirs], atol=1e-3)
    np.testing.assert_allclose(found.scale[ours], 1.7 * expected[theirs, 3], atol=1e-3)
    np.testing.assert_array_equal(found.sign[ours] < 0, expected[theirs, 4] == 1)
    np.testing.assert_allclose(found.response[ours], expected[theirs, 5], rtol=1e-3)


def test_the_published_descriptors_are_made(by_definition):
    volume, counts, origin, _ = by_definition
    found = detect(volume, Surf3dConfig(compat="frog", most=8))
    voxels = (found.position - origin) / 1.7 * (-1, -1, 1)
    expected = describe_reference(sums_reference(counts), voxels, found.scale / 1.7)
    np.testing.assert_allclose(found.descriptors, expected, atol=1e-5)


def test_mending_the_two_defects_is_all_that_differs_where_voxels_are_cubes(by_definition):
    _, counts, origin, layers = by_definition
    # without the defects nothing prefers an end of an axis, but the lattice of every second voxel begins at one
    straight = Volume(np.ascontiguousarray(counts), Grid.regular(counts.shape, 1.7, origin, np.diag((-1, -1, 1))), "p")
    expected = published(layers, skips_column=False, exchanges=False)
    found = detect(straight, MENDED)
    position = origin + expected[:, :3] * 1.7 * (-1, -1, 1)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.position[in_order(found.position)], position[in_order(position)], atol=1e-3)


# ---------------------------------------------------------------------------------------------------------------------
# The two defects


def ball(centre, widths=(2.5, 2.5, 2.5), axes=np.eye(3)):
    """One bright blob; voxels are counted as the published program counts them."""
    away = (np.moveaxis(np.indices((56, 56, 56)), 0, -1) - centre) @ axes / widths
    data = np.round(2000 * np.exp(-(away**2).sum(axis=-1) / 2)).astype(np.float32)
    return Volume(data, Grid.regular(data.shape, 1.0, (0, 0, 0), np.diag((-1.0, -1.0, 1.0))), "patient")


@pytest.mark.parametrize("axis", range(3))
def test_the_published_comparison_finds_one_blob_twice_along_z(axis):
    # nearly in the middle between two of the places that are looked at
    centre = 28 + 0.8 * np.eye(3)[axis]
    assert len(detect(ball(centre), FROG)) == (2 if axis == 2 else 1)
    assert len(detect(ball(centre), MENDED)) == 1


def test_the_published_refinement_misplaces_slanted_blobs():
    slant = Rotation.from_rotvec((0, np.pi / 4, 0)).as_matrix()

    def errors(config):
        for centre in np.random.default_rng(0).uniform(27, 29, (6, 3)):
            found = detect(ball(centre, (2.2, 2.6, 4.0), slant), config).position[0]
            yield np.linalg.norm(found - centre * (-1, -1, 1))

    assert np.mean(list(errors(FROG))) > 2 * np.mean(list(errors(MENDED)))


# ---------------------------------------------------------------------------------------------------------------------
# Where it looks


def about(grid, centre):
    matrix = grid.world_from_voxel.copy()
    matrix[:3, 3] += centre - grid.corners().mean(axis=0)
    return Grid(grid.shape, matrix)


OBLIQUE = Rotation.from_rotvec((0.3, -0.2, 0.4)).as_matrix() * (1, 1, -1)
HEADERS = {
    "cubes": Grid.regular((61, 60, 64), 2.0, axes=np.diag((1.0, -1.0, 1.0))),
    "upright": Grid.regular((80, 61, 50), (1.5, 1.9, 2.6), axes=np.diag((-1.0, 1.0, -1.0))[:, [2, 0, 1]]),
    "rounded": Grid.regular((80, 61, 50), (1.5, 1.9, 2.6), axes=Rotation.from_rotvec((0, 0, 8e-4)).as_matrix()),
    "oblique": Grid.regular((70, 60, 64), (1.8, 2.0, 2.2), axes=OBLIQUE),
    "sheared": Grid.regular((70, 60, 64), (1.8, 2.0, 2.2), axes=OBLIQUE @ [[1, 0, 0.3], [0, 1, 0], [0, 0, 0.954]]),
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("sampling_mm", [None, 1.3])
def test_a_ball_is_found_where_it_is_whatever_the_header(header, sampling_mm):
    centre, sigma = np.array([-310.0, 45.3, 900.7]), 6.0
    grid = about(HEADERS[header], centre + (1.1, -0.7, 0.4))
    away = ((grid.points() - centre) ** 2).sum(axis=1)
    data = (-500 + 900 * np.exp(-away / (2 * sigma**2))).reshape(grid.shape).astype(np.float32)
    found = detect(Volume(data, grid, "patient"), Surf3dConfig(sampling_mm=sampling_mm, most=1))
    assert found.sign.tolist() == [1]
    # places are looked at two voxels apart
    assert np.linalg.norm(found.position[0] - centre) < 0.2 * 2 * (sampling_mm or 2.0)
    # a determinant divided by the sixth power of the scale is largest below the ball's own width
    assert 0.55 < found.scale[0] / sigma < 0.7
    described = describe(Volume(data, grid, "patient"), found).descriptors[0]
    # what is before the point brightens along x, y, z, what is behind it darkens; x and y are counted from behind
    np.testing.assert_array_equal(np.sign(described.reshape(2, 2, 2, 6)[0, 0, 0, :3]), 1)
    np.testing.assert_array_equal(np.sign(described.reshape(2, 2, 2, 6)[1, 1, 1, :3]), -1)


def test_the_rim_of_an_oblique_scan_is_no_blob():
    grid = about(HEADERS["oblique"], np.zeros(3))
    away = (grid.points() ** 2).sum(axis=1)
    # what stands where nothing was scanned is as dark as the ball
    data = (1000 - 2000 * np.exp(-away / (2 * 5.0**2))).reshape(grid.shape).astype(np.float32)
    found = detect(Volume(data, grid, "patient"))
    assert len(found) and np.linalg.norm(found.position, axis=1).max() < 45


def test_a_coarser_sampling_sees_less_noise():
    """Noise of one voxel, as of a thin-sliced scan: what is left of it by looking up every second or third voxel."""
    shape = (200, 190, 195)
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=shape).astype(np.float32), 5.0)
    smooth *= 300 / smooth.std()
    noise = 500 * np.random.default_rng(1).normal(size=shape)
    clean, noisy = (
        detect(Volume(data, Grid.regular(shape, 1.0), "patient"), Surf3dConfig(sampling_mm=2.2))
        for data in (smooth, smooth + noise)
    )
    apart = np.linalg.norm(clean.position[:, None] - noisy.position[None], axis=-1).min(axis=1)[: len(clean) // 2]
    # without a low-pass it is 0.7 mm
    assert len(apart) > 20 and np.median(apart) < 0.5


# ---------------------------------------------------------------------------------------------------------------------
# What is refused, and what is not


def cubes(shape=(86, 88, 84), mm=2.0, seed=3):
    return Volume(texture(shape, seed), Grid.regular(shape, mm, (10, 20, 30)), "patient")


@pytest.mark.parametrize("shape", [(45, 60, 60), (60, 45, 60), (60, 60, 45)])
def test_a_picture_smaller_than_the_smallest_filter_is_refused_with_the_size_it_needs(shape):
    with pytest.raises(BadInput, match="need 46 along each axis") as caught:
        detect(cubes(shape))
    finer = float(caught.value.hint.split()[-1])
    detect(cubes(shape), Surf3dConfig(sampling_mm=finer))


def test_the_smallest_picture_that_is_not_refused():
    assert detect(cubes((46, 46, 46))).descriptors.shape[1] == 48


@pytest.mark.parametrize(
    "options, said",
    [
        ({"sampling_mm": 0.0}, "sampling"),
        ({"sampling_mm": float("nan")}, "sampling"),
        ({"sampling_mm": 0.01}, "in number"),
        ({"octaves": 0}, "octaves"),
        ({"threshold": float("nan")}, "threshold"),
        ({"most": -1}, "keep"),
        ({"spread_mm": 0.0, "most": 3}, "cubes"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(BadInput, match=said) as caught:
        detect(cubes(), Surf3dConfig(**options))
    assert caught.value.hint


def test_the_sampling_that_is_proposed_fits():
    with pytest.raises(BadInput) as caught:
        detect(cubes(), Surf3dConfig(sampling_mm=0.01))
    mm = float(caught.value.hint.split()[-1])
    assert np.prod(np.ceil(np.array((86, 88, 84)) * 2.0 / mm)) <= 1_500_000_000


def test_slices_too_far_apart_for_cubes_are_refused():
    volume = Volume(texture((60, 60, 60)), Grid.regular((60, 60, 60), (0.5, 0.5, 9.0)), "patient")
    with pytest.raises(BadInput, match="18 times"):
        detect(volume)


def test_the_published_program_is_not_imitated_where_it_could_not_go():
    with pytest.raises(BadInput, match="no cubes"):
        detect(Volume(texture((60, 60, 60)), Grid.regular((60, 60, 60), (1.0, 1.0, 1.5)), "patient"), FROG)
    with pytest.raises(BadInput, match="grey values"):
        detect(cubes().with_data(40 * texture((86, 88, 84))), FROG)


def test_the_published_program_takes_no_notice_of_oblique_axes():
    volume = cubes()
    matrix = volume.grid.world_from_voxel.copy()
    matrix[:3, :3] = Rotation.from_rotvec((0.1, -0.2, 0.3)).as_matrix() @ matrix[:3, :3]
    tilted = detect(Volume(volume.data, Grid(volume.grid.shape, matrix), "patient"), FROG)
    # nor are its axes reversed, so the array is looked at as it is
    straight = Grid.regular(volume.grid.shape, 2.0, matrix[:3, 3], np.diag((-1.0, -1.0, 1.0)))
    expected = detect(Volume(volume.data, straight, "patient"), FROG)
    np.testing.assert_allclose(tilted.position, expected.position, atol=1e-9)
    np.testing.assert_array_equal(tilted.descriptors, expected.descriptors)


@pytest.mark.parametrize("factor, offset", [(1e-3, 0.0), (1e4, -3e7), (2.0**-14, 1.0), (1.0, 30_000.0)])
def test_the_scanners_unit_does_not_matter(factor, offset):
    volume = cubes()
    expected = detect(volume)
    found = detect(volume.with_data((volume.numpy().astype(np.float64) * factor + offset).astype(np.float32)))
    # other levels of grey: what hardly stands out may come and go
    strong = expected[: len(expected) // 2]
    apart = np.linalg.norm(found.position[None] - strong.position[:, None], axis=-1)
    assert np.mean(apart.min(axis=1) < 0.2) > 0.95
    nearest = apart.argmin(axis=1)
    np.testing.assert_allclose(
        np.median(found.response[nearest] / strong.response), factor**3, rtol=0.02, err_msg="the unit is HU cubed"
    )


def test_a_threshold_leaves_out_what_answers_less():
    everything = detect(cubes())
    least = float(np.median(everything.response))
    some = detect(cubes(), Surf3dConfig(threshold=least))
    np.testing.assert_array_equal(some.position, everything.position[everything.response >= least])


def test_fewer_octaves_find_smaller_blobs_only():
    volume = in_the_published_order((1.0, 1.0, 1.0), (142, 142, 142))[0]
    assert detect(volume, Surf3dConfig(octaves=1)).scale.max() < 0.8 * detect(volume).scale.max()


def test_ranks_take_the_place_of_numbers():
    plain, ranked = detect(cubes()), detect(cubes(), Surf3dConfig(rank=True))
    np.testing.assert_array_equal(ranked.position, plain.position)
    np.testing.assert_allclose(np.linalg.norm(ranked.descriptors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(ranked.descriptors[0].argsort(), plain.descriptors[0].argsort(kind="stable"))


# ---------------------------------------------------------------------------------------------------------------------
# Points that are given


def given(position, scale=3.0, space="patient"):
    position = np.atleast_2d(np.asarray(position, float))
    return Keypoints(position, space, scale=np.full(len(position), scale))


def test_points_of_another_patient_are_not_described():
    with pytest.raises(SpaceMismatch, match="other"):
        describe(cubes(), given((60, 70, 80), space="other"))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_points_need_a_scale_that_means_something(scale):
    with pytest.raises(BadInput, match="scales"):
        describe(cubes(), given((60, 70, 80), scale))


def test_a_scale_whose_sums_would_not_fit_is_refused_and_described_on_coarser_voxels():
    volume = Volume(texture((60, 60, 60)), Grid.regular((60, 60, 60), 0.2), "patient")
    wide = given((5.5, 6.0, 6.5), 16.0)
    with pytest.raises(BadInput, match="scales above") as caught:
        describe(volume, wide)
    mm = float(caught.value.hint.split()[-1])
    assert np.isfinite(describe(volume, wide, Surf3dConfig(sampling_mm=mm)).descriptors).all()


def test_patches_are_the_picture_round_the_points():
    """On a picture that is linear in place, trilinear look-ups are exact."""
    for grid in HEADERS.values():
        slope = np.array([3.0, -5.0, 7.0])
        data = (grid.points() @ slope).reshape(grid.shape).astype(np.float32)
        centre = grid.corners().mean(axis=0)
        points = given(centre + np.array([[0, 0, 0], [4.3, -2.1, 3.2]]), 2.3)
        found = patches(Volume(data, grid, "patient"), points)
        assert found.shape == (2, 10, 10, 10) and found.dtype == np.float32
        steps = 2.3 * (np.arange(10) - 4.5)
        offsets = -slope[0] * steps[:, None, None] - slope[1] * steps[:, None] + slope[2] * steps
        expected = (points.position @ slope)[:, None, None, None] + offsets
        # a header that leans by 8e-4 is taken as upright: by 12 mm off the point that is a hundredth of one
        np.testing.assert_allclose(found, expected, atol=0.1)


def test_no_points_have_no_patches():
    assert patches(cubes(), given(np.zeros((0, 3)))).shape == (0, 10, 10, 10)
    assert describe(cubes(), given(np.zeros((0, 3)))).descriptors.shape == (0, 48)
