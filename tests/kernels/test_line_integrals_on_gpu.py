"""Triton's line integrals against those in torch, which have been held to the twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from homolog.kernels.line_integrals_torch import spread_torch, with_curvature_torch
from tests.kernels.test_line_integrals_torch import DISTANCES_MM, SHAPE, bundle, close, tangent
from tests.on_gpu import DEVICE, tensor

# imported after `on_gpu` has decided where kernels run
from homolog.kernels.on_gpu import line_integrals, line_spread  # isort: skip

SIZE_PX, STEP_MM = (3, 10), 1.1
# one program for all voxels: Triton's interpreter takes as long for a few lanes as for many
BRICK = (8, 8, 8)


def doubles(array):
    return tensor(np.asarray(array), torch.float64)


def case(distance_mm=40.0137):
    rng = np.random.default_rng(3)
    bundles = np.array([bundle(distance_mm, turned, SIZE_PX) for turned in (0.0, 0.9)])
    return rng.normal(size=(2, *SHAPE)).astype(np.float32), bundles, np.array([tangent(n) for n in (5, 6)])


def pictures(seed):
    return np.random.default_rng(seed).normal(size=(2, 2, *SIZE_PX)).astype(np.float32)


@pytest.mark.parametrize("where", DISTANCES_MM)
def test_pictures_slopes_and_curvature_are_the_cpus(where):
    volumes, bundles, tangents = case(DISTANCES_MM[where])
    expected = with_curvature_torch(
        torch.tensor(volumes).double(), torch.tensor(bundles), torch.tensor(tangents), SIZE_PX, "trilinear", STEP_MM
    )
    found = line_integrals.with_curvature(tensor(volumes), doubles(bundles), doubles(tangents), SIZE_PX, STEP_MM)
    assert bool(found[0].any()) == (where != "behind")
    for part, whole in zip(found, expected):
        assert part.shape == whole.shape and part.dtype == torch.float32
        # places within 10 voxels are rounded by 5e-7, and some ten samples of height 1 are added
        close(part.cpu(), whole.numpy(), 1e-5)


def test_less_is_asked_for_and_the_same_comes():
    volumes, bundles, tangents = case()
    given = tensor(volumes[:1]), doubles(bundles[:1])
    values, slopes, _ = line_integrals.with_curvature(*given, doubles(tangents[:1]), SIZE_PX, STEP_MM)
    alone = line_integrals.integrals(*given, SIZE_PX, STEP_MM)
    with_slopes = line_integrals.with_slopes(*given, SIZE_PX, STEP_MM)
    # compilers may fuse a product and a sum here and not there
    close(alone.cpu(), values.cpu().numpy(), 1e-6)
    close(with_slopes[0].cpu(), values.cpu().numpy(), 1e-6)
    close(with_slopes[1].cpu(), slopes.cpu().numpy(), 1e-6)


def test_a_pixel_does_not_depend_on_its_neighbours():
    volumes, bundles, _ = case()
    given = tensor(volumes[:1]), doubles(bundles[:1])
    whole = line_integrals.integrals(*given, SIZE_PX, STEP_MM)
    part = line_integrals.integrals(*given, (2, 5), STEP_MM)
    assert torch.equal(part, whole[..., :2, :5])


@pytest.mark.parametrize("where", DISTANCES_MM)
def test_the_adjoint_is_the_cpus(where):
    _, bundles, tangents = case(DISTANCES_MM[where])
    weights, moved = pictures(8), pictures(9)
    expected = spread_torch(
        torch.tensor(weights).double(), torch.tensor(bundles), SHAPE, "trilinear", STEP_MM,
        tangents=torch.tensor(tangents), tangent_weights=torch.tensor(moved).double(),
    )  # fmt: skip
    found = line_spread.spread(
        tensor(weights), doubles(bundles), SHAPE, STEP_MM,
        tangents=doubles(tangents), tangent_weights=tensor(moved), brick=BRICK,
    )  # fmt: skip
    assert found.shape == (2, *SHAPE) and bool(found.any()) == (where != "behind")
    # a share is known to some 1e-6, and a voxel gets some twenty of height 1
    close(found.cpu(), expected.numpy(), 1e-5)


def test_a_voxel_does_not_depend_on_its_neighbours():
    _, bundles, _ = case()
    weights = tensor(pictures(4)[:1, :1])
    whole = line_spread.spread(weights, doubles(bundles[:1]), SHAPE, STEP_MM, brick=BRICK)
    parts = line_spread.spread(weights, doubles(bundles[:1]), SHAPE, STEP_MM, brick=(4, 8, 8))
    part = line_spread.spread(weights, doubles(bundles[:1]), (3, 5, 4), STEP_MM, brick=BRICK)
    assert whole.any() and torch.equal(whole, parts) and torch.equal(part, whole[:, :3, :, :4])


def test_a_step_that_float32_cannot_hold_is_kept():
    # 1e7 steps from the source, half a unit in float32's last place of 0.1 would be 0.7 mm
    volumes = np.zeros((1, 3, 3, 3), np.float32)
    volumes[0, 1, 1] = [1, 2, 3]
    rays = np.array([[(1.0, 1.0, 1.0 - 1e6), (0, 0, 1), (1e-9, 0, 0), (0, 1e-9, 0)]])
    found = line_integrals.with_slopes(tensor(volumes), doubles(rays), (1, 1), 0.1)
    expected = with_curvature_torch(
        torch.tensor(volumes).double(), torch.tensor(rays), torch.tensor(rays), (1, 1), "trilinear", 0.1
    )
    close(found[0].cpu(), expected[0].numpy(), 1e-6)
    close(found[1][..., :3].cpu(), expected[1][..., :3].numpy(), 1e-6)


def test_no_picture_and_no_channel_are_nothing():
    volumes, bundles, _ = case()
    empty = torch.zeros((0, 4, 3), dtype=torch.float64, device=DEVICE)
    assert line_integrals.integrals(tensor(volumes), empty, SIZE_PX, STEP_MM).shape == (0, 2, *SIZE_PX)
    assert line_integrals.integrals(tensor(volumes[:0]), doubles(bundles), SIZE_PX, STEP_MM).shape == (2, 0, *SIZE_PX)
    nothing = line_spread.spread(tensor(pictures(1)[:0]), empty, SHAPE, STEP_MM, brick=BRICK)
    assert nothing.shape == (2, *SHAPE) and not nothing.any()
