"""3D-SIFT: the published program's behaviour, straight from its definition, and what the mended one does better."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from homolog import Grid, Keypoints, Volume
from homolog.errors import BadInput, SpaceMismatch
from homolog.features.configs import Sift3dConfig
from homolog.features.sift3d import describe, detect
from homolog.features.sift3d_extrema import candidates, offsets
from homolog.features.sift3d_pyramid import base_of, climb, sigma_of
from homolog.kernels.extrema import extrema_reference, largest_reference
from homolog.kernels.gradient_histogram import histograms_reference
from homolog.kernels.scale_space import published_line_reference
from homolog.kernels.structure import moments_reference

PUBLISHED = Sift3dConfig(compat="sift3d")
MENDED = Sift3dConfig()
CENTRE = np.array([15.0, -40.0, 120.0])


# ---------------------------------------------------------------------------------------------------------------------
# The definition: no table, no kernel, no thread


def blurred_as_published(data, sigma_mm, spacing):
    for axis, mm in enumerate(spacing):
        # what becomes of a line that is 1 at one voxel is what that voxel gives to the others
        gives = np.array([published_line_reference(one, mm, sigma_mm) for one in np.eye(data.shape[axis])])
        data = np.moveaxis(np.tensordot(data, gives, (axis, 0)), -1, axis).astype(np.float32)
    return data


def published_levels(data, spacing):
    """For each octave its spacing and its six levels, by name: -1 to 4."""
    sigma = {s: 1.6 * 2 ** (s / 3) for s in range(-1, 5)}
    first = blurred_as_published(data / np.abs(data).max(), np.sqrt(sigma[-1] ** 2 - 1.15**2), spacing)
    for octave in range(int(np.log2(min(data.shape))) - 2):
        levels = {-1: first}
        for s in range(5):
            # the first defect: the same blur in mm in every octave
            added = np.sqrt(sigma[s] ** 2 - sigma[s - 1] ** 2)
            levels[s] = blurred_as_published(levels[s - 1], added, spacing * 2**octave)
        yield octave, spacing * 2**octave, levels
        first = levels[2][tuple(slice(0, n // 2 * 2, 2) for n in first.shape)]


def published(data, spacing):
    """Rows of (voxel of the picture (3), scale, frame (9), descriptor (768)), in the program's order."""
    rows = []
    for octave, mm, levels in published_levels(data, spacing):
        for s in range(3):
            four = [levels[n] for n in range(s - 1, s + 3)]
            places = extrema_reference(four, 0.1 * largest_reference(four[1], four[2]))
            scale = 1.6 * 2 ** (octave + s / 3)
            for place in sorted(places.tolist(), key=lambda p: p[::-1]):
                frame = published_frame(levels[s], np.array([place]), scale, mm)
                if frame is not None:
                    where = np.array([place]), np.array([scale]), frame.T[None], mm
                    found = histograms_reference(levels[s], *where, middle=0, least=1.1920929e-6, exchanged=True)[0]
                    found = np.minimum(found / np.linalg.norm(found), 1 / 30)
                    found = found / np.linalg.norm(found)
                    rows.append((*np.array(place) * 2**octave, scale, *frame.ravel(), *found))
    return np.array(rows)


def published_frame(level, place, scale, spacing):
    sums, products = (one[0] for one in moments_reference(level, place, np.array([1.5 * scale]), spacing, 3.0))
    values, vectors = np.linalg.eigh(products)
    if sums @ sums < 1e-10 or values[1] > 0.9 * values[2] or values[0] > 0.9 * values[1]:
        return None
    first, second = (vectors[:, n] * (1 if vectors[:, n] @ sums > 0 else -1) for n in (2, 1))
    if min(first @ sums, second @ sums) < 0.4 * np.linalg.norm(sums):
        return None
    return np.stack((first, second, np.cross(first, second)), axis=1)


# ---------------------------------------------------------------------------------------------------------------------
# A patient without a file, who can be turned and enlarged: waves in all directions, made into light and dark parts


@cache
def waves(count=150, seed=3):
    """Wave vectors (3, N), 1/mm, of 11 to 45 mm, and phases (N,)."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(3, count))
    lengths_mm = 11 * (45 / 11) ** rng.uniform(0, 1, count)
    return 2 * np.pi * directions / np.linalg.norm(directions, axis=0) / lengths_mm, rng.uniform(0, 2 * np.pi, count)


def scan(grid, linear=np.eye(3), shift=np.zeros(3)):
    """The patient about the centre, moved by p -> linear (p - centre) + centre + shift."""
    vectors, phases = waves()
    points = (grid.points() - CENTRE - shift) @ np.linalg.inv(linear).T
    field = np.cos(np.float32(points) @ np.float32(vectors) + np.float32(phases)).sum(axis=1) / len(phases) ** 0.5
    return Volume(400 * np.tanh(1.5 * field).reshape(grid.shape), grid, "patient")


def about_centre(shape=(50, 46, 54), spacing=(1.9, 2.1, 1.8), axes=None):
    """Oblique, anisotropic and left-handed, unless axes are given."""
    if axes is None:
        axes = Rotation.from_rotvec((0.15, -0.1, 0.2)).as_matrix()[:, [1, 2, 0]] * (-1, 1, 1)
        assert np.linalg.det(axes) < 0
    matrix = Grid.regular(shape, spacing, (0, 0, 0), axes).world_from_voxel.copy()
    matrix[:3, 3] += CENTRE - Grid(shape, matrix).corners().mean(axis=0)
    return Grid(shape, matrix)


@pytest.fixture(scope="module")
def volume():
    return scan(about_centre())


@pytest.fixture(scope="module")
def found(volume):
    return detect(volume, MENDED)


def inner(points, reach=30.0):
    return points[np.linalg.norm(points.position - CENTRE, axis=1) < reach]


def pairs(one, other, within_mm, scales=1.3):
    """Rows of both that lie at one place and are alike in size."""
    apart, row = cKDTree(other.position).query(one.position)
    same = (apart < within_mm) & (np.abs(np.log(other.scale[row] / one.scale)) < np.log(scales))
    return np.flatnonzero(same), row[same]


def angles(one, other):
    """Degrees between frames (N, 3, 3)."""
    return np.degrees(Rotation.from_matrix(np.swapaxes(one, 1, 2) @ other).magnitude())


# ---------------------------------------------------------------------------------------------------------------------
# The published program


@pytest.fixture(scope="module")
def small():
    shape, spacing = (26, 22, 25), (2.0, 2.3, 1.8)
    data = scan(about_centre(shape, spacing)).data
    return Volume(data, Grid.regular(shape, spacing, (3, 4, 5)), "patient")


def test_every_published_point_is_found_and_no_other(small):
    expected = published(small.numpy(), small.grid.spacing_mm)
    found = detect(small, PUBLISHED)
    assert len(found) == len(expected) > 20 and len(set(expected[:, 3])) > 3
    voxels = np.column_stack((small.grid.voxel(found.position), found.scale)).round(4)
    order, rows = np.lexsort(voxels.T), np.lexsort(expected[:, :4].round(4).T)
    np.testing.assert_allclose(voxels[order], expected[rows, :4], atol=1e-4)
    # float32 levels: eigenvalues nearly alike turn their vectors by more than the last digits
    np.testing.assert_allclose(found.frame[order].reshape(-1, 9), expected[rows, 4:13], atol=1e-3)
    assert (found.descriptors[order] * expected[rows, 13:]).sum(axis=1).min() > 0.9999


def test_published_points_ignore_directions_but_are_where_the_header_says(small):
    upright = detect(small, PUBLISHED)
    grid = about_centre(small.grid.shape, small.grid.spacing_mm)
    oblique = detect(Volume(small.data, grid, "patient"), PUBLISHED)
    np.testing.assert_allclose(oblique.response, upright.response)
    np.testing.assert_allclose(
        sorted_rows(grid.voxel(oblique.position)), sorted_rows(small.grid.voxel(upright.position))
    )
    again = describe(Volume(small.data, grid, "patient"), replace(oblique, frame=None, descriptors=None), PUBLISHED)
    np.testing.assert_array_equal(again.descriptors, oblique.descriptors)
    # frames are the array's, in the patient: mirrored where the array is
    np.testing.assert_allclose(np.linalg.det(oblique.frame), -1)


def sorted_rows(voxels):
    voxels = voxels.round(4)
    return voxels[np.lexsort(voxels.T)]


def test_blurs_are_the_nominal_ones_and_published_octaves_but_the_first_are_blurred_less():
    """The first defect. A Gaussian of width w, blurred by b, is w^3 / (w^2 + b^2)^1.5 high in its middle."""
    width = 6.0
    grid = Grid.regular((65, 65, 65), 1.0, (-32, -32, -32))
    data = np.exp(-(grid.points() ** 2).sum(axis=1) / (2 * width**2)).reshape(grid.shape)
    ball = Volume(data, grid, "patient")

    def widths(config):
        """Each level's blur, in shares of what it should be."""
        base = base_of(ball, config)
        for octave, level, picture in climb(base, config):
            if octave < 3:
                top = float(picture.data.max()) * base.strength + base.middle
                added = width**2 * (top ** (-2 / 3) - 1)
                yield octave, np.sqrt(added + config.input_sigma_mm**2) / sigma_of(octave, level, config)

    np.testing.assert_allclose([share for _, share in widths(MENDED)], 1, atol=0.02)
    of = [[share for o, share in widths(PUBLISHED) if o == octave] for octave in range(3)]
    np.testing.assert_allclose(of[0], 1, atol=0.02)
    assert max(of[1][2:]) < 0.95 and max(of[2][2:]) < 0.75


# ---------------------------------------------------------------------------------------------------------------------
# Turned, enlarged, mirrored and moved patients


def test_turning_the_patient_turns_the_frames_and_leaves_the_descriptors(volume, found):
    turn = Rotation.from_rotvec(np.radians(40) * np.array([0.48, -0.6, 0.64])).as_matrix()
    turned = detect(scan(volume.grid, turn), MENDED)
    back = replace(turned, position=(turned.position - CENTRE) @ turn + CENTRE)
    here, there = pairs(inner(found), back, 1.5)
    # for many points it is decided by little whether their orientation is certain; by chance 2 % would meet
    assert len(here) > 0.4 * len(inner(found)) > 30
    one, other = inner(found)[here], back[there]
    # their places are known to a fraction of a voxel, whatever the voxels' directions
    assert np.median(np.linalg.norm(one.position - other.position, axis=1)) < 0.8
    between = angles(turn @ one.frame, other.frame)
    assert np.median(between) < 5 and np.mean(between < 20) > 0.8
    # frames that did not turn would be 40 degrees away
    assert np.median(angles(one.frame, other.frame)) > 30
    alike = one.descriptors @ back.descriptors.T
    assert np.median(alike[np.arange(len(one)), there]) > 0.95
    assert np.mean(np.linalg.norm(back.position[alike.argmax(axis=1)] - one.position, axis=1) < 2) > 0.85


def test_points_of_a_patient_twice_as_large_are_twice_as_large():
    one = detect(scan(about_centre((60, 56, 64), (1.5, 1.6, 1.4))), MENDED)
    large = detect(scan(about_centre((70, 75, 68), (2.1, 2.0, 2.2)), 2 * np.eye(3)), MENDED)
    half = replace(large, position=(large.position - CENTRE) / 2 + CENTRE, scale=large.scale / 2)
    wide = inner(one, 28)
    wide = wide[wide.scale > 2]
    here, there = pairs(wide, half, 1.2)
    assert len(here) > 0.4 * len(wide) > 15
    np.testing.assert_allclose(np.median(half.scale[there] / wide.scale[here]), 1, atol=0.03)
    assert np.median((wide.descriptors[here] * half.descriptors[there]).sum(axis=1)) > 0.9


def test_a_mirrored_patient_is_another_patient(volume, found):
    """Frames are rotations, never mirrors, though the voxels are stored left-handed."""
    np.testing.assert_allclose(np.linalg.det(found.frame), 1)
    mirror = np.diag((-1.0, 1.0, 1.0))
    mirrored = detect(scan(volume.grid, mirror), MENDED)
    np.testing.assert_allclose(np.linalg.det(mirrored.frame), 1)
    back = replace(mirrored, position=(mirrored.position - CENTRE) @ mirror + CENTRE)
    here, there = pairs(inner(found), back, 1.5)
    assert len(here) > 20
    assert np.median((inner(found).descriptors[here] * back.descriptors[there]).sum(axis=1)) < 0.9


def test_a_balls_centre_and_size_are_found_between_voxels_and_levels():
    width, grid = 3.0, about_centre((40, 41, 42))
    centre = CENTRE + (0.9, -0.7, 0.4)
    data = 100 * np.exp(-((grid.points() - centre) ** 2).sum(axis=1) / (2 * width**2)).reshape(grid.shape)
    ball = Volume(data, grid, "patient")
    found, _ = candidates(base_of(ball, MENDED), MENDED)
    strongest = found[[found.response.argmax()]]
    np.testing.assert_allclose(strongest.position[0], centre, atol=0.1)
    # the blur at which the middle of a Gaussian loses most to the next one, a third of an octave wider
    blur = np.geomspace(1.5, 8, 2000)
    middles = [(width**2 / (width**2 + (b**2 - 1.15**2))) ** 1.5 for b in (blur, blur * 2 ** (1 / 3))]
    assert strongest.scale[0] == pytest.approx(blur[np.argmax(middles[0] - middles[1])], rel=0.08)
    assert strongest.response[0] == pytest.approx(100 * np.max(middles[0] - middles[1]), rel=0.05)
    assert strongest.sign[0] == 1
    nearest = candidates(base_of(ball, PUBLISHED), PUBLISHED)[0]
    voxels = grid.voxel(nearest.position)
    np.testing.assert_allclose(voxels, voxels.round(), atol=1e-6)


def test_an_extremum_of_a_quadratic_is_found_where_it_is():
    rng = np.random.default_rng(0)
    steps = np.stack(np.meshgrid(*4 * [[0, 1, -1]], indexing="ij"), axis=-1)
    for sign in (-1, 1):
        root = rng.normal(size=(4, 4))
        bend, place = sign * (root @ root.T + 2 * np.eye(4)), rng.uniform(-0.9, 0.9, 4)
        away = steps - place
        around = np.einsum("...a,ab,...b->...", away, bend, away)[None]
        np.testing.assert_allclose(offsets(around)[0], place, atol=1e-9)


def test_a_tilted_gantry_shows_the_same_points(volume, found):
    tilted = about_centre((50, 76, 50), (2.0, 2.0, 2.0), np.eye(3)).world_from_voxel.copy()
    tilted[1, 2] = np.tan(np.radians(20)) * 2.0
    grid = Grid((50, 76, 50), tilted)
    matrix = tilted.copy()
    matrix[:3, 3] += CENTRE - grid.corners().mean(axis=0)
    leaning = scan(Grid(grid.shape, matrix))
    again = detect(leaning, MENDED)
    assert leaning.grid.contains(again.position).all()
    here, there = pairs(inner(found), again, 1.5)
    assert len(here) > 0.3 * len(inner(found))
    assert np.median((inner(found).descriptors[here] * again.descriptors[there]).sum(axis=1)) > 0.9


def test_another_unit_and_another_zero_change_nothing_but_the_response(volume, found):
    again = detect(volume.with_data(4 * volume.numpy() - 20_000), MENDED)
    here, there = pairs(found, again, 0.05)
    assert len(here) > 0.99 * max(len(found), len(again))
    np.testing.assert_allclose(again.response[there], 4 * found.response[here], rtol=0.01)
    assert np.median((found.descriptors[here] * again.descriptors[there]).sum(axis=1)) > 0.999


def test_thick_slices_have_as_many_octaves_as_thin_ones():
    """Their voxels are halved in number only where the others have caught up with them."""
    thin, thick = (
        Volume(np.zeros(s), Grid.regular(s, (1, 1, mm)), "p") for s, mm in (((64,) * 3, 1), ((64, 64, 16), 4))
    )

    def octaves(volume, config):
        return len({octave for octave, _, _ in climb(base_of(volume, config), config)})

    assert octaves(thin, MENDED) == octaves(thick, MENDED) == 4
    assert octaves(thick, PUBLISHED) == 2
    last = {octave: level.spacing_mm.tolist() for octave, _, level in climb(base_of(thick, MENDED), MENDED)}
    assert last == {0: [1, 1, 4], 1: [2, 2, 4], 2: [4, 4, 4], 3: [8, 8, 8]}


def test_thick_slices_show_the_same_points(found):
    thick = detect(scan(about_centre((76, 76, 24), (1.3, 1.3, 4.0), np.eye(3))), MENDED)
    # blobs thinner than a slice cannot be told
    strong = inner(found, 26)
    strong = strong[strong.scale > 3]
    assert len(strong) > 8 and len(pairs(strong, thick, 2.0)[0]) > 0.4 * len(strong)


# ---------------------------------------------------------------------------------------------------------------------
# Given points


def test_points_that_were_found_are_described_as_they_were(volume, found):
    again = describe(volume, replace(found, frame=None, descriptors=None))
    np.testing.assert_allclose(again.frame, found.frame, atol=1e-5)
    np.testing.assert_allclose(again.descriptors, found.descriptors, atol=1e-4)
    np.testing.assert_array_equal(again.position, found.position)


def test_frames_that_are_given_are_kept_and_those_that_are_nan_are_found(volume, found):
    frame = found.frame[:6].copy()
    frame[2] = np.nan
    frame[4] = np.eye(3)
    again = describe(volume, replace(found[:6], frame=frame, descriptors=None))
    np.testing.assert_allclose(again.frame[2], found.frame[2], atol=1e-6)
    np.testing.assert_array_equal(again.frame[4], np.eye(3))
    alike = (again.descriptors * found.descriptors[:6]).sum(axis=1)
    assert alike[4] < 0.9 and np.delete(alike, 4).min() > 0.9999


def test_a_point_without_any_gradient_has_the_patients_axes_and_no_descriptor():
    grid = about_centre((20, 20, 20), (2.0, 2.0, 2.0))
    flat = Volume(np.full(grid.shape, 40.0), grid, "patient")
    found = describe(flat, Keypoints(CENTRE[None], "patient", scale=np.array([3.0])))
    np.testing.assert_array_equal(found.frame, np.eye(3)[None])
    assert found.descriptors.shape == (1, 768) and not found.descriptors.any()


@pytest.mark.parametrize("scale", [1e-3, 0.5, 900.0])
def test_points_of_any_size_are_described(volume, scale):
    found = describe(volume, Keypoints(CENTRE[None], "patient", scale=np.array([scale])))
    assert np.isfinite(found.descriptors).all() and np.isfinite(found.frame).all()


def test_points_that_cannot_be_described_are_refused(volume):
    points = Keypoints(CENTRE[None], "patient", scale=np.array([3.0]))
    for wrong, said in (
        ({"scale": None}, "scale"),
        ({"scale": np.array([0.0])}, "scales"),
        ({"scale": np.array([np.nan])}, "scales"),
        ({"position": CENTRE[None] + 500}, "outside"),
        ({"position": CENTRE[None] * np.nan}, "outside"),
    ):
        with pytest.raises(BadInput, match=said):
            describe(volume, replace(points, **wrong))
    with pytest.raises(SpaceMismatch, match="elsewhere"):
        describe(volume, replace(points, space="elsewhere"))
    assert describe(volume, points[:0]).descriptors.shape == (0, 768)


# ---------------------------------------------------------------------------------------------------------------------
# Options and odd pictures


@pytest.mark.parametrize(
    "options, said",
    [
        ({"peak_threshold": -0.1}, "peak_threshold"),
        ({"corner_threshold": np.nan}, "corner_threshold"),
        ({"sigma_mm": 1.0}, "sigma_mm"),
        ({"input_sigma_mm": -1.0}, "input_sigma_mm"),
    ],
)
def test_options_out_of_range_are_refused(volume, options, said):
    with pytest.raises(BadInput, match=said):
        detect(volume, Sift3dConfig(**options))


def test_thresholds_leave_points_out(volume, found):
    fewer, surer = (
        detect(volume, replace(MENDED, peak_threshold=0.3)),
        detect(volume, replace(MENDED, corner_threshold=0.5)),
    )
    for some in (fewer, surer):
        assert 10 < len(some) < len(found)
        assert np.isin(some.position[:, 0], found.position[:, 0]).all()


@pytest.mark.parametrize("shape, said", [((7, 20, 20), "8"), ((1, 20, 20), "slice")])
def test_pictures_without_room_are_refused(shape, said):
    with pytest.raises(BadInput, match=said):
        detect(Volume(np.zeros(shape), Grid.regular(shape, 1.0), "patient"))


@pytest.mark.parametrize("config", [MENDED, PUBLISHED])
@pytest.mark.parametrize("value", [0.0, -1000.0, 3e38, 1e-40])
def test_a_constant_picture_has_no_points_and_all_columns(config, value):
    grid = Grid.regular((12, 9, 8), (1.0, 2.0, 3.0))
    nothing = detect(Volume(np.full(grid.shape, value, np.float32), grid, "patient"), config)
    assert len(nothing) == 0
    assert nothing.descriptors.shape == (0, 768) and nothing.frame.shape == (0, 3, 3)
    assert nothing.scale.shape == nothing.response.shape == nothing.sign.shape == (0,)


@pytest.mark.parametrize("factor", [1e-30, 1e34])
def test_very_small_and_very_large_numbers_are_no_trouble(volume, found, factor):
    again = detect(volume.with_data(volume.numpy() * np.float32(factor)), MENDED)
    assert len(again) == pytest.approx(len(found), rel=0.01)
    np.testing.assert_allclose(again.response[:5], found.response[:5] * factor, rtol=1e-3)
