"""Keypoints described by a network, whatever its weights: the cubes it is shown, and what it makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from homolog import Grid, Keypoints, Volume
from homolog.errors import BadInput, SpaceMismatch
from homolog.features import patch_descriptor
from homolog.features.patch_descriptor import describe, patches
from homolog.kernels.threads import using_threads
from homolog.nets.configs import BEST_PATCH, PAPER_PATCH, PatchNetConfig
from homolog.nets.patch import PatchNet, built
from tests.geometry import oblique_grid, sheared_grid, smooth_volume

GRID = oblique_grid((38, 44, 41), (1.3, 2.1, 1.7))
# small enough for a test, and otherwise as the best one is
SMALL = replace(
    BEST_PATCH,
    side=8,
    reach=8.0,
    wider=(),
    channels=(8, 16),
    strides=(2, 2),
    padded=True,
    pooled=(),
    numbers=32,
    sampling_mm=1.5,
)


@pytest.fixture(scope="module")
def volume():
    return smooth_volume(GRID, "patient")


@pytest.fixture(scope="module")
def points(volume):
    return some_points(volume)


def some_points(volume, count=50, scales=(1.0, 4.0), seed=1):
    """Anywhere in the picture, of scales from less than a voxel to several."""
    rng = np.random.default_rng(seed)
    grid = volume.grid
    position = grid.world(rng.uniform(0, np.array(grid.shape) - 1, (count, 3)))
    return Keypoints(position, volume.space, scale=np.exp(rng.uniform(*np.log(scales), count)))


def network(config=SMALL, seed=0):
    """With weights that nobody trained, and running means that are not 0."""
    torch.manual_seed(seed)
    net = PatchNet(config)
    with torch.no_grad():
        net(torch.randn(64, 1 + len(config.wider), *3 * (config.side,)))
    return net.eval().requires_grad_(False)


# ---------------------------------------------------------------------------------------------------------------------
# The network


def test_the_published_network_has_as_many_weights_as_its_layers_say():
    # 27 and a bias for 32 channels; 32 times 27 and a bias for 64; 64 channels of 2x2x2 and a bias for 48 numbers
    expected = 32 * (27 + 1) + 64 * (32 * 27 + 1) + 48 * (64 * 8 + 1)
    assert sum(each.numel() for each in PatchNet(PAPER_PATCH).parameters()) == expected == 80_880


@pytest.mark.parametrize("config", [PAPER_PATCH, BEST_PATCH, replace(SMALL, norm="group"), replace(SMALL, numbers=48)])
def test_descriptors_are_of_unit_length(config):
    cubes = (1 + len(config.wider),) if config.wider else ()
    described = network(config)(300 * torch.randn(5, *cubes, *3 * (config.side,)) + 40)
    assert described.shape == (5, config.numbers) and described.dtype == torch.float32
    torch.testing.assert_close(described.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("config", [PAPER_PATCH, SMALL, replace(SMALL, norm="group")])
@pytest.mark.parametrize("value", [0.0, -1000.1, 3e7])
def test_where_a_patch_is_flat_its_own_rounding_is_not_described(config, value):
    net = network(config)
    flat = net(torch.full((2, *3 * (config.side,)), value))
    assert torch.isfinite(flat).all()
    torch.testing.assert_close(flat, net(torch.zeros(2, *3 * (config.side,))), rtol=0, atol=0)


def test_a_descriptor_has_a_gradient_that_reaches_every_weight():
    net = PatchNet(SMALL)
    described = net(torch.randn(8, 8, 8, 8))
    (described[0] @ described[1]).backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in net.parameters())


def test_weights_are_built_into_the_network_that_wrote_them():
    net = network()
    again = built(SMALL, net.state_dict())
    seen = torch.randn(3, 8, 8, 8)
    torch.testing.assert_close(again(seen), net(seen), rtol=0, atol=0)
    assert not any(each.requires_grad for each in again.parameters())
    with pytest.raises(BadInput, match="not of the network"):
        built(PAPER_PATCH, net.state_dict())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"strides": (2,)}, "1 strides"),
        ({"channels": (), "strides": ()}, "0 convolutions"),
        ({"padded": False, "side": 3}, "nothing is left"),
    ],
)
def test_layers_that_do_not_fit_are_refused(change, said):
    with pytest.raises(BadInput, match=said):
        PatchNet(replace(SMALL, **change))


# ---------------------------------------------------------------------------------------------------------------------
# The cubes


@pytest.mark.parametrize("grid", [GRID, sheared_grid((40, 42, 44))], ids=["oblique", "sheared"])
@pytest.mark.parametrize(
    "config", [PAPER_PATCH, BEST_PATCH, replace(PAPER_PATCH, side=7, sampling_mm=2.5)], ids=["paper", "best", "coarse"]
)
def test_a_patch_of_a_ramp_is_that_ramp_along_the_patients_axes(grid, config):
    slope, level = np.array([3.0, -7.0, 2.0]), 40.0
    ramp = Volume((grid.points() @ slope + level).reshape(grid.shape).astype(np.float32), grid, "patient")
    middle = Keypoints(grid.world(np.array(grid.shape) / 2 - 0.3)[None], "patient", scale=np.array([1.15]))
    reaches = (config.reach, *config.wider)
    found = patches(ramp, middle, config)[0].reshape(len(reaches), *3 * (config.side,))
    for reach, cube in zip(reaches, found, strict=True):
        step_mm = 2 * reach * 1.15 / config.side
        along_mm = step_mm * (np.arange(config.side) - (config.side - 1) / 2)
        x, y, z = np.meshgrid(*middle.position[0][:, None] + along_mm, indexing="ij")
        expected = slope[0] * x + slope[1] * y + slope[2] * z + level
        np.testing.assert_allclose(cube, expected, atol=0.01)


def test_the_voxels_of_a_patch_fill_its_cube():
    # the cube's first and last voxel are half a voxel from its faces
    config = PatchNetConfig(side=4, reach=2.0)
    grid = Grid.regular((40, 40, 40), 1.0)
    data = np.broadcast_to(np.arange(40.0)[:, None, None], grid.shape).astype(np.float32)
    cut = patches(Volume(data, grid, "p"), Keypoints(np.full((1, 3), 20.0), "p", scale=np.array([3.0])), config)
    np.testing.assert_allclose(cut[0, :, 0, 0], [15.5, 18.5, 21.5, 24.5], atol=1e-4)


def test_moving_the_patient_moves_nothing_in_a_descriptor(volume, points):
    shift = np.eye(4)
    shift[:3, 3] = (71.5, -130.25, 800.0)
    moved = Volume(volume.data, Grid(GRID.shape, shift @ GRID.world_from_voxel), "patient")
    again = points.moved_to(points.position + shift[:3, 3], "patient")
    np.testing.assert_allclose(patches(moved, again, SMALL), patches(volume, points, SMALL), atol=1e-3)
    net = network()
    np.testing.assert_allclose(
        describe(moved, again, net).descriptors, describe(volume, points, net).descriptors, atol=1e-4
    )


def test_turning_the_patient_by_right_angles_turns_his_patches(volume, points):
    # x becomes y, y becomes -x: the old patch's axes are the new one's in another order
    turn = np.eye(4)
    turn[:2, :2] = [(0, -1), (1, 0)]
    turned = Volume(volume.data, Grid(GRID.shape, turn @ GRID.world_from_voxel), "patient")
    again = points.moved_to(points.position @ turn[:3, :3].T, "patient")
    before, after = patches(volume, points, SMALL), patches(turned, again, SMALL)
    np.testing.assert_allclose(after, np.rot90(before, axes=(1, 2)), atol=0.05)
    assert np.abs(after - before).max() > 10


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_storage_order_does_not_matter(volume, points, order):
    step = np.eye(4)[:, [*order, 3]]
    data = volume.numpy().transpose(order)[::-1, :, ::-1]
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[[0, 2], 3] = np.array(data.shape)[[0, 2]] - 1
    stored = Volume(data, Grid(data.shape, GRID.world_from_voxel @ step @ flip), "patient")
    np.testing.assert_allclose(patches(stored, points, SMALL), patches(volume, points, SMALL), atol=1e-3)


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (3.0, -1000.0), (1.0, 5000.0)])
def test_gain_and_offset_of_the_picture_do_not_matter(volume, points, gain, offset):
    net = network()
    changed = volume.with_data((gain * volume.numpy() + offset).astype(np.float32))
    np.testing.assert_allclose(
        describe(changed, points, net).descriptors, describe(volume, points, net).descriptors, atol=2e-3
    )


def test_beyond_the_rim_the_rims_values_stand(volume):
    corners = Keypoints(GRID.corners(0.4), "patient", scale=np.full(8, 2.0))
    cut = patches(volume, corners, PAPER_PATCH)
    data = volume.numpy()
    assert np.isfinite(cut).all() and cut.min() >= data.min() and cut.max() <= data.max()
    # all voxels on the outer side are the corner's own
    assert (np.abs(cut - data[[0, -1]][:, [0, -1]][:, :, [0, -1]].reshape(8, 1, 1, 1)) < 1e-3).any((1, 2, 3)).all()


def test_large_patches_do_not_show_every_other_voxel_of_noise():
    rng = np.random.default_rng(0)
    grid = Grid.regular((60, 60, 60), 1.0)
    noise = Volume(rng.normal(size=grid.shape).astype(np.float32), grid, "p")
    points = Keypoints(rng.uniform(25, 35, (20, 3)), "p", scale=np.full(20, 4.0))
    as_it_is, smooth = (patches(noise, points, replace(PAPER_PATCH, low_passed=on)).std() for on in (False, True))
    # voxels of 4 mm: means of some 20 voxels at least
    assert smooth < 0.25 and as_it_is > 0.45


def test_a_finer_picture_of_the_same_place_is_described_alike():
    def scan(spacing_mm, box_mm=60.0):
        grid = Grid.regular(3 * (int(box_mm / spacing_mm),), spacing_mm, 3 * (spacing_mm / 2,))
        waves = np.sin(grid.points() @ np.random.default_rng(3).normal(0, 0.25, (3, 12)) + np.arange(12))
        return Volume(waves.sum(axis=1).reshape(grid.shape).astype(np.float32), grid, "p")

    coarse, fine = scan(1.5), scan(0.75)
    points = some_points(coarse, scales=(1.5, 3.0))
    points = points[(np.abs(points.position - 30) < 15).all(axis=1)]
    net = network()
    one, other = (describe(each, points, net).descriptors for each in (coarse, fine))
    assert len(points) > 4 and (one * other).sum(axis=1).min() > 0.95


def test_further_cubes_are_further_channels(volume, points):
    both = patches(volume, points, replace(SMALL, wider=(2 * SMALL.reach,)))
    np.testing.assert_array_equal(both[:, 0], patches(volume, points, SMALL))
    np.testing.assert_array_equal(both[:, 1], patches(volume, points, replace(SMALL, reach=2 * SMALL.reach)))
    config = replace(SMALL, wider=(2 * SMALL.reach,))
    assert describe(volume, points, PatchNet(config).eval()).descriptors.shape == (len(points), SMALL.numbers)


# ---------------------------------------------------------------------------------------------------------------------
# Describing


def test_descriptors_are_what_the_network_makes_of_the_patches(volume, points):
    net = network()
    described = describe(volume, points, net)
    expected = net(torch.from_numpy(patches(volume, points, SMALL))).numpy()
    np.testing.assert_allclose(described.descriptors, expected, atol=1e-5)
    assert described.descriptors.dtype == np.float32
    np.testing.assert_array_equal(described.position, points.position)
    np.testing.assert_array_equal(described.scale, points.scale)


def test_blocks_and_threads_do_not_matter(volume, points, monkeypatch):
    net = network()
    expected, cut = describe(volume, points, net).descriptors, patches(volume, points, SMALL)
    before = torch.get_num_threads()
    monkeypatch.setattr(patch_descriptor, "BLOCK", 7)
    with using_threads(1):
        np.testing.assert_allclose(describe(volume, points, net).descriptors, expected, atol=1e-5)
        np.testing.assert_array_equal(patches(volume, points, SMALL), cut)
    assert torch.get_num_threads() == before


def test_no_points_are_described_by_no_rows(volume, points):
    assert describe(volume, points[:0], network()).descriptors.shape == (0, SMALL.numbers)
    assert patches(volume, points[:0], SMALL).shape == (0, 8, 8, 8)


def test_an_input_is_not_changed(volume, points):
    data, position = volume.numpy().copy(), points.position.copy()
    describe(volume, points, network())
    np.testing.assert_array_equal(volume.numpy(), data)
    np.testing.assert_array_equal(points.position, position)
    assert points.descriptors is None


def test_points_that_cannot_be_described_are_refused(volume, points):
    bare = replace(points, scale=None)
    with pytest.raises(BadInput, match="without a scale") as caught:
        patches(volume, bare, SMALL)
    assert caught.value.hint
    with pytest.raises(SpaceMismatch, match="elsewhere"):
        patches(volume, replace(points, space="elsewhere"), SMALL)
    with pytest.raises(BadInput, match=f"2 of {len(points)} points lie outside"):
        away = points.position + np.where(np.arange(len(points))[:, None] < 2, 4000.0, 0.0)
        patches(volume, points.moved_to(away, "patient"), SMALL)
    for wrong in (np.nan, 0.0, -1.0, np.inf):
        with pytest.raises(BadInput, match=f"1 of {len(points)}"):
            patches(volume, replace(points, scale=np.r_[wrong, points.scale[1:]]), SMALL)


@pytest.mark.parametrize(("wrong", "said"), [("nan", "NaN"), ("flat", "constant"), ("labels", "label")])
def test_pictures_that_nothing_can_be_described_in_are_refused(volume, points, wrong, said):
    data = volume.numpy().copy()
    if wrong == "labels":
        volume = Volume(data.astype(np.int16), GRID, "patient", "labels")
    else:
        data[3, 4, 5] = np.nan
        volume = volume.with_data(np.full(GRID.shape, -1000.1, np.float32) if wrong == "flat" else data)
    with pytest.raises(BadInput, match=said):
        describe(volume, points, network())


@pytest.mark.parametrize("change", [{"sampling_mm": 0.0}, {"reach": -1.0}, {"wider": (np.nan,)}, {"side": 0}])
def test_cubes_of_no_size_are_refused(volume, points, change):
    with pytest.raises(BadInput, match="cubes cannot be cut"):
        patches(volume, points, replace(SMALL, **change))
