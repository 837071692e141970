"""SP3D's network and the search for its points, whatever its weights: here they are drawn, and nothing was trained."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch.nn.functional import max_pool3d

from homolog import Grid, Keypoints, Volume, methods
from homolog.errors import BadInput, SpaceMismatch, UnreadableFile
from homolog.features import sp3d, sp3d_tiles
from homolog.features.configs import Sp3dConfig
from homolog.features.sp3d_peaks import apart, offsets, peaks
from homolog.features.sp3d_picture import picture_of
from homolog.kernels.threads import using_threads
from homolog.nets.configs import SP3D_FULL, SP3D_LIGHT, Sp3dNetConfig
from homolog.nets.sp3d import CELL, DESCRIPTOR_REACH, DETECTOR_REACH, Levels, Sp3dNet, built, shuffled
from homolog.pipelines import sp3d as pipeline

SMALL = Sp3dNetConfig(
    widths=(4, 4, 6, 6, 8, 8, 8, 8),
    detector=12,
    finer=True,
    descriptor_middle=(6, 5, 7),
    descriptor=12,
    window_hu=(-1000, 1000),
)
VOXEL_MM = 1.5


@cache
def drawn(config: Sp3dNetConfig = SMALL, seed: int = 3) -> dict[str, torch.Tensor]:
    """Weights whose answers differ from voxel to voxel, which those of a fresh network hardly do."""
    torch.manual_seed(seed)
    network = Sp3dNet(config)
    for part in network.modules():
        if isinstance(part, torch.nn.Conv3d):
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(part.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(part.weight, 0.5, 2.0)
    return network.state_dict()


@cache
def network(config: Sp3dNetConfig = SMALL) -> Sp3dNet:
    return built(config, drawn(config))


def textured(grid: Grid, seed: int = 0) -> Volume:
    """A CT of blobs as wide as some voxels, in HU, known at every place."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(24, 3)) / 9.0
    phases, heights = rng.uniform(0, 2 * np.pi, 24), rng.uniform(50, 150, 24)
    points = grid.points() - grid.corners().mean(axis=0)
    data = (heights * np.cos(points @ waves.T + phases)).sum(axis=1) - 100
    return Volume(data.reshape(grid.shape).astype(np.float32), grid, "patient")


@cache
def oblique() -> Volume:
    axes = Rotation.from_rotvec((0.1, -0.15, 0.2)).as_matrix()[:, [2, 0, 1]] * (1, -1, 1)
    assert np.linalg.det(axes) < 0
    return textured(Grid.regular((30, 34, 40), (2.2, 2.0, 1.8), (40, -300, 12), axes))


@cache
def upright(shape: tuple[int, int, int] = (40, 48, 44)) -> Volume:
    return textured(Grid.regular(shape, VOXEL_MM, (-11.0, 7.0, 500.0)))


def detect(volume: Volume, mask: Volume | None = None, config: Sp3dNetConfig = SMALL, **options) -> Keypoints:
    return sp3d.detect(volume, replace(Sp3dConfig(), **options), network=network(config), mask=mask)


def columns(points: Keypoints) -> set[str]:
    return {f.name for f in fields(points) if getattr(points, f.name) is not None}


def same_points(one: Keypoints, other: Keypoints, within_mm: float = 0.01) -> bool:
    """Whether both have the same points, but for one in a hundred that hung by a rounding, described alike."""
    away, row = cKDTree(other.position).query(one.position)
    same = away < within_mm
    np.testing.assert_allclose(one.response[same], other.response[row[same]], rtol=1e-3)
    np.testing.assert_allclose(one.descriptors[same], other.descriptors[row[same]], atol=1e-3)
    return bool(same.mean() > 0.99) and abs(len(one) - len(other)) <= 0.01 * len(one)


@pytest.fixture(scope="module", params=["oblique", "upright"])
def volume(request) -> Volume:
    return {"oblique": oblique, "upright": upright}[request.param]()


@pytest.fixture(scope="module")
def found(volume) -> Keypoints:
    return detect(volume)


# ---------------------------------------------------------------------------------------------------------------------
# The network


def test_channels_are_the_voxels_of_a_cell():
    logits = torch.randn(2, 513, 2, 3, 1, dtype=torch.float64)
    likely, found = logits.softmax(1), shuffled(logits)
    expected = np.zeros((2, 16, 24, 8))
    for n, z, y, x in np.ndindex(expected.shape):
        channel = ((z % 8) * 8 + y % 8) * 8 + x % 8
        expected[n, z, y, x] = likely[n, channel, z // 8, y // 8, x // 8]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    cells = found.unfold(1, 8, 8).unfold(2, 8, 8).unfold(3, 8, 8).sum((-1, -2, -3))
    torch.testing.assert_close(cells, 1 - likely[:, 512])


@pytest.mark.parametrize("side", [2, 4])
def test_finer_answers_are_of_their_own_voxels(side):
    net, voxels = network(), torch.randn(16, 24, 8)
    # each place answers for a cube of voxels, in their order
    cubes = voxels.reshape(16 // side, side, 24 // side, side, 8 // side, side).permute(1, 3, 5, 0, 2, 4)
    answers = cubes.reshape(1, side**3, 16 // side, 24 // side, 8 // side)
    levels = net.levels(torch.rand(1, 1, 16, 24, 8))
    without = net.detector(levels)
    head = net.detector.at_half if side == 2 else net.detector.at_quarter
    hook = head.register_forward_hook(lambda _, __, out: out + answers)
    given = net.detector(levels) - without
    hook.remove()
    for z, y, x in np.ndindex(16, 24, 8):
        channel = ((z % 8) * 8 + y % 8) * 8 + x % 8
        assert float(given[0, channel, z // 8, y // 8, x // 8]) == pytest.approx(float(voxels[z, y, x]), abs=1e-5)
    assert (given[0, 512] == 0).all()


KINDS = [{}, {"norm": "batch"}, {"norm": "layer"}, {"finer": False}]


@pytest.mark.parametrize("config", [replace(SMALL, **kind) for kind in KINDS])
def test_descriptors_of_places_are_those_of_the_whole(config):
    net, pictures = network(config), torch.rand(2, 1, 24, 16, 32)
    logits, whole = net(pictures)
    torch.testing.assert_close(net.detector_only(pictures), logits)
    assert logits.shape == (2, 513, 3, 2, 4) and whole.shape == (2, 12, 12, 8, 16)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(2, 12, 8, 16))
    lattice = torch.tensor(list(np.ndindex(12, 8, 16)))
    levels = net.levels(pictures)
    for n in range(2):
        which = torch.full((len(lattice),), n)
        there = net.described_at(levels, 2 * lattice.double() + 0.5, which)
        torch.testing.assert_close(there, whole[n].flatten(1).T, atol=1e-5, rtol=0)


def test_descriptors_between_places_are_linear_before_they_are_made_unit():
    net, rng = network(), np.random.default_rng(1)
    given = []
    hook = net.descriptor.last.register_forward_hook(lambda _, __, out: given.append(out[0]))
    picture = torch.rand(1, 1, 16, 24, 16)
    net(picture)
    hook.remove()
    # beyond the outermost places as well, where theirs go on
    places = rng.uniform(-0.5, 23.5, (200, 3)).clip(-0.5, np.array(picture.shape[2:]) - 0.5)
    each = [map_coordinates(one.numpy(), (places.T - 0.5) / 2, order=1, mode="nearest") for one in given[0]]
    expected = np.stack(each, 1) / np.linalg.norm(each, axis=0)[:, None]
    there = net.described_at(net.levels(picture), torch.from_numpy(places))
    np.testing.assert_allclose(there.numpy(), expected, atol=1e-5)


def test_a_gradient_reaches_every_weight_through_places_alone():
    net = Sp3dNet(replace(SMALL, norm="batch"))
    net.load_state_dict(drawn(replace(SMALL, norm="batch")))
    levels = net.levels(torch.rand(2, 1, 16, 16, 16))
    some = net.described_at(levels, torch.rand(50, 3) * 15, torch.arange(50) % 2)
    (some @ torch.randn(12, 3)).square().mean().add(net.detector(levels).square().mean()).backward()
    # the shift before a softmax or a normalisation may have none; the rest has
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for n, p in net.named_parameters() if "weight" in n)


def reached(answer, axis: int) -> tuple[int, int]:
    """First and last voxel along an axis that an answer (of a picture) depends on, of several pictures together."""
    shape = [16, 16, 16]
    shape[axis] = 144
    seen = torch.zeros(shape, dtype=torch.bool)
    for seed in range(3):
        torch.manual_seed(seed)
        picture = torch.rand(1, 1, *shape, requires_grad=True)
        (gradient,) = torch.autograd.grad(answer(picture), picture)
        seen |= gradient[0, 0] != 0
    voxels = seen.nonzero()[:, axis]
    return int(voxels.min()), int(voxels.max())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_answer_depends_on_no_more_than_is_said(axis):
    # weights above 0, so that no ReLU hides anything
    net = built(SMALL, {name: one.abs() / one.numel() ** 0.5 for name, one in drawn().items()})
    cell = 8
    first, last = reached(lambda picture: net.detector_only(picture).select(2 + axis, cell).square().sum(), axis)
    reach = max(CELL * cell - first, last - (CELL * cell + CELL - 1))
    # which of eight voxels is the largest hides a few
    assert DETECTOR_REACH - CELL < reach <= DETECTOR_REACH
    reaches = []
    for place in (64.0, 66.6, 68.5, 70.4):
        places = torch.full((1, 3), 7.0)
        places[0, axis] = place
        first, last = reached(lambda p, at=places: net.described_at(net.levels(p), at)[0, :3].sum(), axis)
        reaches.append(max(place - first, last - place))
    assert DESCRIPTOR_REACH - CELL < max(reaches) <= DESCRIPTOR_REACH


def test_folded_normalisation_gives_the_same_answers():
    config = replace(SMALL, norm="batch")
    net = Sp3dNet(config).eval()
    net.load_state_dict(drawn(config))
    picture = torch.rand(1, 1, 16, 16, 16)
    for one, other in zip(net(picture), network(config)(picture)):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    assert not any(isinstance(part, torch.nn.BatchNorm3d) for part in network(config).modules())


def test_sizes_are_the_published_ones():
    def count(part: torch.nn.Module) -> int:
        return sum(one.numel() for one in part.parameters())

    with torch.device("meta"):
        full, light = Sp3dNet(SP3D_FULL), Sp3dNet(SP3D_LIGHT)
    # eight convolutions of 27 weights for each two channels, and a shift for each channel
    assert count(full.pairs) == 27 * (64 + 3 * 64**2 + 64 * 128 + 3 * 128**2) + 4 * 64 + 4 * 128
    assert count(full.detector) == 27 * 128 * 256 + 256 + 513 * 257
    assert count(light) < count(full) / 1.9


def test_pictures_that_are_no_whole_cells_are_refused():
    for shape in ((1, 1, 16, 16, 12), (1, 2, 16, 16, 16), (1, 16, 16, 16), (1, 1, 0, 8, 8)):
        with pytest.raises(BadInput, match="multiples of 8"):
            network().detector_only(torch.zeros(shape))


# ---------------------------------------------------------------------------------------------------------------------
# Peaks


def test_the_strongest_of_those_that_crowd_is_kept():
    rng = np.random.default_rng(2)
    for reach, count in ((3.0, 400), (1.0, 200), (0.0, 50), (2.5, 1), (40.0, 60)):
        voxels = np.unique(rng.integers(0, 16, (count, 3)), axis=0)
        rng.shuffle(voxels)
        # many are equally strong
        strength = rng.integers(0, 8, len(voxels)).astype(float)
        kept: list[int] = []
        for n in sorted(range(len(voxels)), key=lambda n: (-strength[n], *voxels[n])):
            if all(((voxels[n] - voxels[m]) ** 2).sum() > reach**2 for m in kept):
                kept.append(n)
        np.testing.assert_array_equal(np.flatnonzero(apart(voxels, strength, reach)), sorted(kept))
    assert apart(np.zeros((0, 3), np.int64), np.zeros(0), 3.0).shape == (0,)


def test_the_peak_of_a_gaussian_is_found_between_voxels():
    rng = np.random.default_rng(3)
    lattice = np.stack(np.meshgrid(*3 * [np.arange(9.0)], indexing="ij"), axis=-1)
    for _ in range(20):
        centre = 4 + rng.uniform(-0.3, 0.3, 3)
        axes = Rotation.random(random_state=rng).as_matrix()
        precision = axes @ np.diag(rng.uniform(1.0, 1.6, 3) ** -2) @ axes.T
        away = lattice - centre
        log_likely = torch.from_numpy(-1 - 0.5 * np.einsum("...a,ab,...b->...", away, precision, away))
        voxels, shift, likely = peaks(log_likely, 1.0)
        np.testing.assert_allclose(voxels + shift, centre[None], atol=1e-9)
        np.testing.assert_allclose(likely, 1.0)


def test_how_likely_a_peak_is_hardly_depends_on_where_in_its_voxel_it_lies():
    lattice = np.stack(np.meshgrid(*3 * [np.arange(9.0)], indexing="ij"), axis=-1)
    found, own = [], []
    for aside in (0.0, 0.25, 0.45):
        spot = np.exp(-0.5 * ((lattice - 4 - aside) ** 2).sum(-1) / 0.8**2)
        spot *= 0.9 / spot.sum()
        voxels, _, likely = peaks(torch.from_numpy(np.log(spot)), 0.3)
        assert voxels.tolist() == [[4, 4, 4]]
        assert likely[0] == pytest.approx(spot[3:6, 3:6, 3:6].sum())
        assert len(peaks(torch.from_numpy(np.log(spot)), float(likely[0]) + 1e-6)[0]) == 0
        found.append(likely[0])
        own.append(spot[4, 4, 4])
    assert max(found) / min(found) < 1.2 and max(own) / min(own) > 1.5


def test_where_a_quadratic_has_no_peak_nearby_the_voxel_is_not_left():
    rng = np.random.default_rng(4)
    around = rng.normal(size=(500, 3, 3, 3))
    around[:, 1, 1, 1] = around.max(axis=(1, 2, 3)) + rng.uniform(0, 1e-3, 500)
    around[:5] = 1.0
    found = offsets(around)
    assert np.isfinite(found).all() and np.abs(found).max() <= 0.75
    np.testing.assert_array_equal(found[:5], 0)


# ---------------------------------------------------------------------------------------------------------------------
# Points


def test_columns_are_what_they_say(volume, found):
    assert len(found) > 30 and found.space == volume.space
    assert columns(found) == {"position", "space", "response", "descriptors"}
    assert found.response.dtype == np.float64 and found.descriptors.dtype == np.float32
    assert (np.diff(found.response) <= 0).all()
    assert (found.response >= 0.05).all() and (found.response <= 1).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    # between voxels
    assert len(np.unique(found.position[:, 0])) > 0.9 * len(found)
    assert columns(detect(volume, descriptors=False)) == {"position", "space", "response"}
    np.testing.assert_array_equal(detect(volume, point_scale_mm=3.0).scale, 3.0)


def seen(picture: np.ndarray, move: tuple[int, ...]) -> np.ndarray:
    """What the network says of each voxel, its cells beginning so many voxels later; NaN of those of no cell."""
    net, part = network(), np.pad(picture, [(0, -n % 8) for n in picture.shape], mode="edge")
    cells = tuple(slice(a, n - -a % 8) for a, n in zip(move, part.shape))
    with torch.no_grad():
        half = net.levels(torch.from_numpy(part)[None, None]).half[
            (..., *(slice(a.start // 2, a.stop // 2) for a in cells))
        ]
        quarter = net.pairs[2](max_pool3d(half, 2))
        likely = shuffled(net.detector(Levels(half, quarter, net.pairs[3](max_pool3d(quarter, 2)))))[0]
    out = np.full(part.shape, np.nan, np.float32)
    out[cells] = likely.numpy()
    return out[tuple(map(slice, picture.shape))]


@pytest.mark.parametrize("looks", [1, 2, 4, 8])
def test_points_are_the_peaks_of_what_the_network_says_in_all_looks_together(looks):
    volume = upright()
    found = detect(volume, apart_mm=0.0, border_mm=3.0, looks=looks)
    picture = np.clip((volume.numpy() + 1000) / 2000, 0, 1)
    moves = sp3d_tiles.shifts(looks)
    assert moves[0] == (0, 0, 0) and len(set(moves)) == looks and 0 <= np.min(moves) <= np.max(moves) < CELL
    likely = np.nanmean([seen(picture, move) for move in moves], axis=0)
    nearest = np.round(volume.grid.voxel(found.position)).astype(int)
    steps = list(product((-1, 0, 1), repeat=3))
    together = np.sum([np.roll(likely, step, (0, 1, 2)) for step in steps], axis=0)
    # a peak may lie up to three quarters of a voxel from its own
    around = np.array([together[tuple(slice(n - 1, n + 2) for n in at)].ravel() for at in nearest])
    assert (np.abs(around / found.response[:, None] - 1).min(axis=1) < 1e-4).all()
    inner = tuple(slice(2, n - 2) for n in picture.shape)
    largest = np.max([np.roll(likely, step, (0, 1, 2)) for step in steps], axis=0)
    assert abs(((likely == largest) & (together >= 0.05))[inner].sum() - len(found)) <= 0.02 * len(found)


def test_moving_the_patient_moves_the_points(volume, found):
    shift = np.array([5000.25, -3210.5, 888.75])
    matrix = volume.grid.world_from_voxel.copy()
    matrix[:3, 3] += shift
    again = detect(Volume(volume.data, Grid(volume.grid.shape, matrix), volume.space))
    assert same_points(again.moved_to(again.position - shift, volume.space), found)


@pytest.mark.parametrize("order, flips", [((2, 0, 1), (1,)), ((0, 1, 2), (0, 1, 2))])
def test_storage_order_does_not_matter(volume, found, order, flips):
    matrix = volume.grid.world_from_voxel[:, [*order, 3]].copy()
    data = volume.numpy().transpose(order)
    for axis in flips:
        matrix[:3, 3] += matrix[:3, axis] * (data.shape[axis] - 1)
        matrix[:3, axis] *= -1
        data = np.flip(data, axis)
    again = detect(Volume(np.asfortranarray(data), Grid(data.shape, matrix), volume.space))
    assert same_points(again, found)


def test_what_is_cut_off_by_whole_cells_does_not_matter_far_away():
    whole = upright((120, 24, 24))
    cut = Volume(whole.numpy()[16:], whole.grid.cropped((16, 0, 0), whole.grid.shape), whole.space)
    far = whole.grid.world([16 + DESCRIPTOR_REACH + 8, 0, 0])[0]
    one, other = (detect(each) for each in (whole, cut))
    one, other = (each[each.position[:, 0] > far] for each in (one, other))
    assert len(one) > 10 and same_points(one, other)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, norm="batch"), replace(SMALL, norm="layer")])
def test_tiles_do_not_matter(config):
    volume = upright((44, 60, 36))
    whole = detect(volume, config=config, tile_vox=1000)
    assert len(whole) > 30
    for side in (8, 21, 40):
        assert same_points(detect(volume, config=config, tile_vox=side), whole, 1e-3)


def test_blocks_do_not_matter():
    volume = upright((330, 26, 29))
    picture = picture_of(volume, Sp3dConfig(), SMALL.window_hu)
    few = 26 * CELL**3 * 16 * sp3d_tiles.bytes_of(SMALL) / 1e9
    parts = sp3d_tiles.blocks(picture, SMALL, Sp3dConfig(memory_gb=few))
    assert len(parts) > 3 and parts[2].seen_start[0] > 0
    assert same_points(detect(volume, memory_gb=few), detect(volume), 1e-3)


def test_blocks_answer_for_each_voxel_once_and_fit_in_what_they_are_given():
    large = Grid.regular((1300, 700, 500), VOXEL_MM)
    picture = replace(picture_of(upright(), Sp3dConfig(), SMALL.window_hu), grid=large)
    for gb in (0.5, 1.0, 40.0):
        parts = sp3d_tiles.blocks(picture, SP3D_LIGHT, Sp3dConfig(memory_gb=gb))
        voxels = np.random.default_rng(5).integers(0, large.shape, (200, 3))
        np.testing.assert_array_equal(np.sum([one.holds(voxels) for one in parts], axis=0), 1)
        seen = [np.prod(np.subtract(one.seen_stop, one.seen_start)) for one in parts]
        assert max(seen) * CELL**3 * sp3d_tiles.bytes_of(SP3D_LIGHT) <= gb * 1e9
    assert len(parts) == 1
    with pytest.raises(BadInput, match=r"0\.1 GB") as caught:
        sp3d_tiles.blocks(picture, SP3D_LIGHT, Sp3dConfig(memory_gb=0.1))
    enough = float(caught.value.hint.split()[1])
    sp3d_tiles.blocks(picture, SP3D_LIGHT, Sp3dConfig(memory_gb=enough))


def test_threads_do_not_matter_and_torch_keeps_its_own(volume, found):
    before, several = torch.get_num_threads(), []
    for threads in (1, 3):
        with using_threads(threads):
            several.append(detect(volume, tile_vox=24))
    one, other = several
    for column in ("position", "response", "descriptors"):
        assert getattr(one, column).tobytes() == getattr(other, column).tobytes(), column
    assert same_points(one, found) and torch.get_num_threads() == before


def test_the_input_is_left_as_it_was(volume):
    before = volume.numpy().copy()
    detect(volume, most=3)
    np.testing.assert_array_equal(volume.numpy(), before)


# ---------------------------------------------------------------------------------------------------------------------
# Which points are kept


def test_points_keep_apart(volume, found):
    for apart_mm in (4.5, 9.0):
        some = detect(volume, apart_mm=apart_mm)
        # between voxels they may come nearer by 3/4 of one each along each axis
        assert len(cKDTree(some.position).query_pairs(apart_mm - 2 * 0.75 * np.sqrt(3) * VOXEL_MM)) == 0
    assert 0 < len(some) < len(found) < len(detect(volume, apart_mm=0.0))


def test_there_are_no_points_at_the_border(volume, found):
    def depth(points):
        voxels = volume.grid.voxel(points.position)
        inside = np.minimum(voxels + 0.5, np.array(volume.grid.shape) - 0.5 - voxels)
        return (inside * volume.grid.spacing_mm).min()

    assert depth(found) >= 6.0 - 1e-6
    assert depth(detect(volume, border_mm=15.0)) >= 15.0 - 1e-6
    assert volume.grid.contains(detect(volume, border_mm=0.0).position).all()


def test_a_mask_says_where_points_are_wanted(volume, found):
    middle = volume.grid.corners().mean(axis=0)
    left = (volume.grid.points()[:, 0] > middle[0]).reshape(volume.grid.shape)
    mask = Volume(left.astype(np.uint8), volume.grid, volume.space, "labels")
    masked = detect(volume, mask)
    sure = np.abs(found.position[:, 0] - middle[0]) > 3
    kept = np.isin(found.position[:, 0], masked.position[:, 0])
    np.testing.assert_array_equal(kept[sure], found.position[sure, 0] > middle[0])
    assert 0 < len(masked) < len(found)
    np.testing.assert_array_equal(detect(volume, mask, most=5).position, masked.position[:5])
    nothing = detect(volume, mask.with_data(np.zeros_like(mask.data)))
    assert len(nothing) == 0 and nothing.descriptors.shape == (0, 12)
    with pytest.raises(SpaceMismatch, match="other"):
        detect(volume, mask.in_space("other"))


def test_the_likeliest_are_kept_or_spread(volume, found):
    some = detect(volume, most=7)
    np.testing.assert_array_equal(some.position, found.position[:7])
    np.testing.assert_allclose(some.descriptors, found.descriptors[:7], atol=1e-5)
    assert len(detect(volume, most=0)) == 0
    spread = detect(volume, most=8, spread_mm=25.0)
    cubes = np.floor((spread.position - found.position.min(axis=0)) / 25.0)
    assert len(np.unique(cubes, axis=0)) == 8
    assert len(detect(volume, threshold=float(found.response[9]) * (1 - 1e-6))) == 10


def test_points_that_are_given_are_described(volume, found):
    bare = replace(found, descriptors=None)[::-3]
    described = sp3d.describe(volume, bare, network=network())
    np.testing.assert_array_equal(described.position, bare.position)
    np.testing.assert_allclose(described.descriptors, found.descriptors[::-3], atol=1e-5)
    nobody = sp3d.describe(volume, bare[:0], network=network())
    assert nobody.descriptors.shape == (0, 12)
    away = bare.moved_to(bare.position + np.where(np.arange(len(bare))[:, None] < 3, 4000.0, 0.0), volume.space)
    with pytest.raises(BadInput, match=f"3 of {len(bare)}"):
        sp3d.describe(volume, away, network=network())
    with pytest.raises(SpaceMismatch, match="elsewhere"):
        sp3d.describe(volume, bare.moved_to(bare.position, "elsewhere"), network=network())


# ---------------------------------------------------------------------------------------------------------------------
# Other pictures


def test_a_picture_that_is_no_ct_is_shown_by_its_own_range():
    volume = upright()
    bright = volume.numpy() - volume.numpy().min()
    one = detect(volume.with_data(bright))
    other = detect(volume.with_data(2.5 * bright + 300))
    assert len(one) > 30 and same_points(one, other)
    as_ct = detect(volume.with_data(bright), greys="ct")
    # an offset matters to HU
    assert not len(as_ct) or not np.array_equal(as_ct.position[:5], one.position[:5])


@pytest.mark.parametrize("spacing_mm", [(0.3, 0.3, 0.3), (8.0, 8.0, 8.0), (0.8, 0.7, 5.0)])
def test_any_voxels_will_do(spacing_mm):
    shape = np.ceil(np.array((27.0, 30.0, 29.0)) / spacing_mm).astype(int)
    volume = textured(Grid.regular(shape.tolist(), spacing_mm, (3, 4, 5), np.diag((-1.0, 1.0, 1.0))))
    found = detect(volume, border_mm=3.0)
    assert len(found) > 5 and volume.grid.contains(found.position).all()


def test_a_constant_picture_has_no_points_but_all_columns(volume, found):
    for value in (0.0, -1000.1, 3e5):
        nothing = detect(volume.with_data(np.full(volume.grid.shape, value)))
        assert len(nothing) == 0 and columns(nothing) == columns(found)
        for column in columns(found) - {"space"}:
            empty, full = getattr(nothing, column), getattr(found, column)
            assert empty.dtype == full.dtype and empty.shape == (0, *full.shape[1:]), column


def test_where_all_is_even_there_are_no_points():
    volume = upright((40, 24, 24))
    data = volume.numpy().copy()
    data[:24] = -1000
    found = detect(volume.with_data(data))
    # in the cell next to what is seen there may be some
    assert len(found) and (volume.grid.voxel(found.position)[:, 0] > 16 - 1).all()


@pytest.mark.parametrize("wrong", ["NaN", "infinite", "label", "slice"])
def test_input_in_which_nothing_can_be_looked_for_is_refused(volume, wrong):
    data = volume.numpy().copy()
    if wrong == "label":
        volume = Volume(data.astype(np.int16), volume.grid, volume.space, "labels")
    elif wrong == "slice":
        volume = Volume(data[:, :, :1], volume.grid.cropped((0, 0, 0), (*data.shape[:2], 1)), volume.space)
    else:
        data[3, 4, 5] = np.nan if wrong == "NaN" else np.inf
        volume = volume.with_data(data)
    with pytest.raises(BadInput, match=wrong):
        detect(volume)


def test_a_picture_all_of_which_is_border_is_refused_with_a_way_out():
    tiny = textured(Grid.regular((7, 30, 30), 1.0))
    with pytest.raises(BadInput, match="border") as caught:
        detect(tiny)
    assert "--border-mm" in caught.value.hint
    # less than a cell, and looked at all the same
    detect(tiny, border_mm=0.0)


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 0.0}, {"threshold": 1.5}, {"apart_mm": -1.0}, {"border_mm": float("nan")}, {"point_scale_mm": 0.0}]
    + [{"tile_vox": 7}, {"memory_gb": 0.0}, {"sampling_mm": 0.0}],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BadInput) as caught:
        detect(upright(), **wrong)
    assert "--" in caught.value.hint


# ---------------------------------------------------------------------------------------------------------------------
# Weights


@pytest.fixture
def trained(tmp_path):
    """A folder as training leaves it."""
    from safetensors.torch import save_file

    state = {name: one.contiguous() for name, one in drawn().items()}
    save_file(state, tmp_path / "weights.safetensors")
    (tmp_path / "weights.json").write_text(json.dumps({"network": asdict(SMALL)}))
    return tmp_path


def test_weights_are_found_by_their_folder_and_by_their_file(trained):
    volume, expected = upright(), detect(upright(), most=20)
    function, config = methods.resolve(methods.DETECTORS["sp3d"]), methods.resolve(methods.DETECTOR_OPTIONS["sp3d"])
    for name in (trained, trained / "weights.safetensors"):
        found = function(volume, config(weights=str(name), most=20))
        assert same_points(found, expected)
        again = pipeline.describe(volume, replace(found, descriptors=None), config(weights=str(name)))
        np.testing.assert_allclose(again.descriptors, found.descriptors, atol=1e-5)


def test_weights_that_are_not_there_are_said_to_be_missing_with_a_way_to_get_some():
    with pytest.raises(BadInput, match="no-such-weights") as caught:
        pipeline.detect(upright(), Sp3dConfig(weights="no-such-weights"))
    assert "homolog train sp3d" in caught.value.hint


def test_damaged_weights_and_those_of_another_network_are_refused(trained):
    config = Sp3dConfig(weights=str(trained))
    card = trained / "weights.json"
    for network_record, said in (
        ({**asdict(SMALL), "widths": [4] * 8}, "not of the network that their card describes"),
        ({**asdict(SMALL), "widths": [4] * 7}, "eight"),
        ({**asdict(SMALL), "depth": 4}, "another network or version"),
        (None, "does not say"),
    ):
        card.write_text(json.dumps({"network": network_record}))
        with pytest.raises(BadInput, match=said):
            pipeline.detect(upright(), config)
    card.write_text(json.dumps({"network": asdict(SMALL)}))
    whole = (trained / "weights.safetensors").read_bytes()
    (trained / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile):
        pipeline.detect(upright(), config)
