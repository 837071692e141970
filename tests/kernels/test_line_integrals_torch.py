"""Line integrals in torch against their twins, and by the laws that they keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from homolog.errors import BadInput
from homolog.kernels import line_integrals, line_rays_torch, line_samples_torch
from homolog.kernels.line_integrals_torch import (
    integrals_torch,
    spread_torch,
    use_triton,
    with_curvature_torch,
    with_slopes_torch,
)

METHODS = line_integrals.METHODS
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHAPE, SIZE_PX, STEP_MM = (6, 5, 8), (4, 5), 0.7
# oblique, sheared, left-handed, and no two axes as long
VOXEL_FROM_CAMERA = np.array([(0.9, 0.4, -0.1), (-0.3, 0.8, 0.5), (0.3, -0.2, 1.1)]) * [0.9, -0.8, 1.2]
# the volume before the camera; the source within it; the volume behind the source. No round numbers: a sample on a face
# between cells has a kink there, and no slope
DISTANCES_MM = {"before": 40.0137, "within": 1.3719, "behind": -40.0137}


def tensor(array, dtype=torch.float64):
    return torch.tensor(np.asarray(array), dtype=dtype, device=DEVICE)


def bundle(distance_mm=40.0137, turned=0.0, size_px=SIZE_PX, shape=SHAPE):
    """Rays that spread over a volume of 10 voxels, whose middle is off the optical axis."""
    cos, sin = np.cos(turned), np.sin(turned)
    axes = VOXEL_FROM_CAMERA @ np.array([(cos, 0, sin), (0, 1, 0), (-sin, 0, cos)])
    source = (np.array(shape) - 1) / 2 - distance_mm * axes[:, 2] + 0.3 * axes[:, 0]
    column, row = (axes[:, n] * 9 / (size_px[1 - n] * max(20.0, abs(distance_mm))) for n in (0, 1))
    first = axes[:, 2] - (size_px[1] - 1) / 2 * column - (size_px[0] - 1) / 2 * row
    return np.array([source, first, column, row])


def tangent(seed):
    return np.random.default_rng(seed).normal(size=(4, 3)) * np.array([1, 0.03, 0.003, 0.003])[:, None]


def case(distance_mm=40.0137):
    rng = np.random.default_rng(7)
    bundles = np.array([bundle(distance_mm), bundle(distance_mm, 0.4), bundle(distance_mm, 1.5)])
    return rng.normal(size=(2, *SHAPE)), bundles, np.array([tangent(n) for n in range(3)])


def close(found, expected, relative):
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize("where", DISTANCES_MM)
@pytest.mark.parametrize("method", METHODS)
def test_pictures_and_slopes_are_the_twins(method, where):
    volumes, bundles, _ = case(DISTANCES_MM[where])
    values, slopes = with_slopes_torch(tensor(volumes), tensor(bundles), SIZE_PX, method, STEP_MM)
    assert values.shape == (3, 2, *SIZE_PX) and slopes.shape == (3, 2, *SIZE_PX, 6)
    for n, c in np.ndindex(3, 2):
        twin = line_integrals.with_slopes_reference(volumes[c], bundles[n], SIZE_PX, method, STEP_MM)
        close(values[n, c].cpu(), twin[0], 1e-12)
        close(slopes[n, c].cpu(), twin[1], 1e-11)
    assert bool(values.any()) == (where != "behind")


@pytest.mark.parametrize("method", METHODS)
def test_float32_is_float64_rounded(method):
    volumes, bundles, tangents = case()
    volumes = volumes.astype(np.float32)
    rays = tensor(bundles), tensor(tangents), SIZE_PX, method, STEP_MM
    single = with_curvature_torch(tensor(volumes, torch.float32), *rays)
    double = with_curvature_torch(tensor(volumes), *rays)
    for found, expected in zip(single, double):
        assert found.dtype == torch.float32
        # places within 10 voxels are rounded by 5e-7, and some ten samples of height 1 are added
        close(found.cpu(), expected.cpu().numpy(), 1e-5)


@pytest.mark.parametrize("where", ["before", "within"])
@pytest.mark.parametrize("method", METHODS)
def test_curvature_is_how_slopes_change_along_a_tangent(method, where):
    volumes, bundles, tangents = case(DISTANCES_MM[where])
    rest = SIZE_PX, method, STEP_MM
    values, slopes, turned = with_curvature_torch(tensor(volumes), tensor(bundles), tensor(tangents), *rest)
    step = 1e-6
    after, before = (
        with_slopes_torch(tensor(volumes), tensor(bundles + sign * step * tangents), *rest) for sign in (1, -1)
    )
    expected = ((after[1] - before[1]) / (2 * step)).cpu().numpy()
    # a central difference of 1e-6 holds 9 digits of what is differentiated
    close(turned.cpu(), expected, 1e-7)
    for found, whole in zip((values, slopes), with_slopes_torch(tensor(volumes), tensor(bundles), *rest)):
        assert torch.equal(found, whole)


@pytest.mark.parametrize("where", ["before", "within"])
@pytest.mark.parametrize("method", METHODS)
def test_spreading_is_the_adjoint_of_projecting_and_of_its_change(method, where):
    volumes, bundles, tangents = case(DISTANCES_MM[where])
    rng = np.random.default_rng(1)
    weights, moved = (tensor(rng.normal(size=(3, 2, *SIZE_PX))) for _ in range(2))
    rest = method, STEP_MM
    values, slopes = with_slopes_torch(tensor(volumes), tensor(bundles), SIZE_PX, *rest)
    change = along(slopes, tensor(tangents))
    plain = spread_torch(weights, tensor(bundles), SHAPE, *rest)
    both = spread_torch(
        weights, tensor(bundles), SHAPE, *rest, tangents=tensor(tangents), tangent_weights=moved
    )  # fmt: skip
    assert plain.shape == both.shape == (2, *SHAPE)
    close((plain * tensor(volumes)).sum().cpu(), (values * weights).sum().cpu().numpy(), 1e-11)
    close((both * tensor(volumes)).sum().cpu(), (values * weights + change * moved).sum().cpu().numpy(), 1e-11)


def along(slopes, tangents):
    """(N, C, rows, columns): the change of pictures whose bundles move along tangents."""
    rows, columns = (tensor(np.arange(n)) for n in SIZE_PX)
    turn = tangents[:, None, None, 1] + columns[:, None] * tangents[:, None, None, 2]
    turn = turn + rows[:, None, None] * tangents[:, None, None, 3]
    move = torch.cat((tangents[:, None, None, 0].expand_as(turn), turn), dim=-1)
    return (slopes * move[:, None]).sum(-1)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_voxel_gets_does_not_depend_on_the_order_of_pictures(method):
    _, bundles, _ = case()
    weights = tensor(np.random.default_rng(2).normal(size=(3, 2, *SIZE_PX)), torch.float32)
    one = spread_torch(weights, tensor(bundles), SHAPE, method, STEP_MM)
    other = spread_torch(weights.flip(0), tensor(bundles).flip(0), SHAPE, method, STEP_MM)
    assert torch.equal(one, other) and one.dtype == torch.float32


@pytest.mark.parametrize("method", METHODS)
def test_memory_that_is_short_does_not_matter(method, monkeypatch):
    volumes, bundles, tangents = case()
    rays = tensor(bundles), tensor(tangents), SIZE_PX, method, STEP_MM
    whole = with_curvature_torch(tensor(volumes), *rays)
    monkeypatch.setattr("homolog.kernels.line_rays_torch.RAYS", 7)
    for module in ("line_samples_torch", "line_siddon_torch"):
        monkeypatch.setattr(f"homolog.kernels.{module}.SAMPLES", 40)
    for found, expected in zip(with_curvature_torch(tensor(volumes), *rays), whole):
        close(found.cpu(), expected.cpu().numpy(), 1e-13)


def test_siddon_gives_a_box_its_chord_lengths_in_float32():
    shape = (40, 30, 50)
    rays = bundle(900.0, 0.7, (9, 8), shape) * np.array([1, 1, 4, 4])[:, None]
    ones = tensor(np.ones((1, *shape)), torch.float32)
    found = integrals_torch(ones, tensor(rays[None]), (9, 8), "siddon", None)[0, 0].cpu()
    row, column = np.meshgrid(np.arange(9), np.arange(8), indexing="ij")
    direction = rays[1] + column[..., None] * rays[2] + row[..., None] * rays[3]
    ends = (np.array([[-0.5] * 3, np.array(shape) - 0.5]) - rays[0])[:, None, None] / direction
    expected = np.maximum(0, ends.max(axis=0).min(axis=-1) - ends.min(axis=0).max(axis=-1))
    assert (expected > 1).sum() > 10
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("off", [0.0, 0.5])
def test_rays_along_the_grid_count_no_voxel_twice(method, off):
    # straight along k, through voxel centres or between them; the detector's edge misses the volume
    rays = np.array([(0.0 + off, off, -20.0), (0, 0, 1), (0, 0, 0), (0, 0, 0)])
    rays[2:, :2] = [(0, 1 / 8), (1 / 8, 0)]
    ones = tensor(np.ones((1, *SHAPE)))
    values, slopes, turned = with_curvature_torch(
        ones, tensor(rays[None]), tensor(tangent(0)[None]), (2, 2), method, 0.25
    )  # fmt: skip
    assert all(torch.isfinite(part).all() for part in (values, slopes, turned))
    close(values[0, 0, 0, 0].cpu(), np.float64(SHAPE[2]), 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_rays_that_miss_leave_nothing(method):
    volumes, bundles, tangents = case()
    bundles[:, 0] += 500 * VOXEL_FROM_CAMERA[:, 0]
    rays = tensor(bundles), tensor(tangents), SIZE_PX, method, STEP_MM
    assert not any(part.any() for part in with_curvature_torch(tensor(volumes), *rays))
    weights = tensor(np.ones((3, 2, *SIZE_PX)))
    assert not spread_torch(weights, tensor(bundles), SHAPE, method, STEP_MM).any()


def test_a_weight_that_is_no_number_is_not_hidden():
    weights = tensor(np.ones((3, 2, *SIZE_PX)))
    weights[0, 0, 1, 2] = torch.nan
    assert spread_torch(weights, tensor(case()[1]), SHAPE, "joseph", None).isnan().any()


def test_samples_are_only_taken_near_the_volume():
    rays = line_rays_torch.rays_of(tensor(case()[1]), None, SIZE_PX, slice(0, 60))
    lattice = line_samples_torch.lattice(rays, SHAPE, "trilinear", STEP_MM)
    # the longest way through 8 x 7 x 10 voxels, of which a mm of depth is at least 0.9
    assert 0 < int(lattice.count.max()) <= np.linalg.norm([8, 7, 10]) / 0.9 / STEP_MM + 3


def test_an_unknown_method_and_no_step_are_refused():
    volumes, bundles, _ = case()
    with pytest.raises(BadInput, match="nonsense"):
        integrals_torch(tensor(volumes), tensor(bundles), SIZE_PX, "nonsense", 1.0)
    with pytest.raises(BadInput, match="step"):
        integrals_torch(tensor(volumes), tensor(bundles), SIZE_PX, "trilinear", None)


def test_triton_is_for_float32_on_a_gpu():
    assert not use_triton(torch.zeros(1, dtype=torch.float32), SHAPE, "trilinear")
    assert not use_triton(tensor([0.0]), SHAPE, "trilinear")
    assert not use_triton(tensor([0.0], torch.float32), SHAPE, "siddon")
    assert not use_triton(tensor([0.0], torch.float32), (2000, 2000, 2000), "trilinear")
