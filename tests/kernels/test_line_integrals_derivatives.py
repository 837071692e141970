"""Slopes and curvature of line integrals are those of the very sums; spreading is their adjoint."""

from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import line_integrals
from homolog.kernels.line_integrals import METHODS
from tests.kernels.test_line_integrals import SHAPE, SOURCES, STEP, VOLUMES, bundle_for, bundle_of, volume_of

SIZE = (6, 7)


def tangent_of(seed=3):
    """A pose's: the source moves in voxels, directions by little."""
    return np.random.default_rng(seed).normal(size=(4, 3)) * np.array([[1.0], [0.03], [0.003], [0.003]])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", VOLUMES)
@pytest.mark.parametrize("method", METHODS)
def test_slopes_and_curvature_are_those_of_the_twin(method, kind, source):
    volume, tangent = volume_of(kind), tangent_of()
    bundle = bundle_for(source, volume.shape)
    expected = line_integrals.with_curvature_reference(volume, bundle, tangent, SIZE, method, STEP)
    found = line_integrals.with_curvature(volume, bundle, tangent, SIZE, method, STEP)
    assert np.abs(expected[1]).max() > 0
    # complex steps are exact; differences of slopes over 1e-6 have 1e-9 of rounding
    for one, two, error in zip(found, expected, (1e-12, 1e-11, 1e-6), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=error * max(1, np.abs(two).max()))
    _, slopes = line_integrals.with_slopes(volume, bundle, SIZE, method, STEP)
    np.testing.assert_allclose(slopes, found[1], rtol=0, atol=1e-12 * max(1, np.abs(slopes).max()))


@pytest.mark.parametrize("method", METHODS)
def test_moving_the_rays_changes_the_integrals_by_their_slopes(method):
    volume = volume_of("random")
    bundle, tangent, step = bundle_of(SOURCES["oblique"], (4, 3, 5)), tangent_of(), 1e-6
    after = line_integrals.integrals(volume, bundle + step * tangent, SIZE, method, STEP)
    before = line_integrals.integrals(volume, bundle - step * tangent, SIZE, method, STEP)
    _, slopes = line_integrals.with_slopes(volume, bundle, SIZE, method, STEP)
    expected = (slopes * motion_of(tangent)).sum(axis=-1)
    np.testing.assert_allclose((after - before) / (2 * step), expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_moving_the_rays_turns_the_slopes(method):
    volume = volume_of("random")
    bundle, tangent, step = bundle_of(SOURCES["oblique"], (4, 3, 5)), tangent_of(), 1e-6
    _, after = line_integrals.with_slopes(volume, bundle + step * tangent, SIZE, method, STEP)
    _, before = line_integrals.with_slopes(volume, bundle - step * tangent, SIZE, method, STEP)
    _, _, turned = line_integrals.with_curvature(volume, bundle, tangent, SIZE, method, STEP)
    np.testing.assert_allclose((after - before) / (2 * step), turned, rtol=0, atol=1e-6 * np.abs(turned).max())


def motion_of(tangent):
    """(rows, columns, 6): how each pixel's source and direction move."""
    rows, columns = np.indices(SIZE)[..., None]
    turning = tangent[1] + columns * tangent[2] + rows * tangent[3]
    return np.concatenate((np.broadcast_to(tangent[0], turning.shape), turning), axis=-1)


@pytest.mark.parametrize("method", METHODS)
def test_turning_is_symmetric(method):
    """The second derivative of each integral along two tangents does not depend on which comes first."""
    volume, bundle = volume_of("random"), bundle_of(SOURCES["from above"], (4, 3, 5))
    one, two = tangent_of(3), tangent_of(4)
    _, _, by_one = line_integrals.with_curvature(volume, bundle, one, SIZE, method, STEP)
    _, _, by_two = line_integrals.with_curvature(volume, bundle, two, SIZE, method, STEP)
    first, second = (by_one * motion_of(two)).sum(axis=-1), (by_two * motion_of(one)).sum(axis=-1)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-10 * np.abs(first).max())


@pytest.mark.parametrize("method", METHODS)
def test_slopes_of_a_float32_volume_are_those_of_its_float64_copy(method):
    rng = np.random.default_rng(6)
    volume, size = rng.uniform(0, 1, (40, 44, 38)).astype(np.float32), (20, 30)
    bundle, tangent = bundle_of((150.0, 90.0, -120.0), (20, 22, 19), size), tangent_of()
    single = line_integrals.with_curvature(volume, bundle, tangent, size, method, STEP)
    double = line_integrals.with_curvature(volume.astype(np.float64), bundle, tangent, size, method, STEP)
    for one, two in zip(single, double, strict=True):
        # not the largest: where a sample lies on the face of a cell, rounding decides which side's slope is taken
        assert np.quantile(np.abs(one - two), 0.9) < 1e-5 * np.abs(two).max()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", VOLUMES)
@pytest.mark.parametrize("method", METHODS)
def test_spreading_is_the_adjoint_of_integrating(method, kind, source):
    volume, rng = volume_of(kind), np.random.default_rng(8)
    bundle, weights = bundle_for(source, volume.shape), rng.normal(size=SIZE)
    picture = line_integrals.integrals(volume, bundle, SIZE, method, STEP)
    spread = line_integrals.spread(weights, bundle, volume.shape, method, STEP)
    np.testing.assert_allclose((spread * volume).sum(), (weights * picture).sum(), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(
        spread, line_integrals.spread_reference(weights, bundle, volume.shape, method, STEP), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("method", METHODS)
def test_spreading_along_a_tangent_is_the_adjoint_of_the_derivative(method, source):
    volume, rng, tangent = volume_of("random"), np.random.default_rng(8), tangent_of()
    bundle = bundle_of(SOURCES[source], (4.3, 3.2, 5.1))
    plain, moving = rng.normal(size=(2, *SIZE))
    values, slopes = line_integrals.with_slopes(volume, bundle, SIZE, method, STEP)
    expected = (plain * values).sum() + (moving * (slopes * motion_of(tangent)).sum(axis=-1)).sum()
    spread = line_integrals.spread(plain, bundle, SHAPE, method, STEP, tangent=tangent, tangent_weights=moving)
    np.testing.assert_allclose((spread * volume).sum(), expected, rtol=1e-10)
    twin = line_integrals.spread_reference(plain, bundle, SHAPE, method, STEP, tangent=tangent, tangent_weights=moving)
    np.testing.assert_allclose(spread, twin, rtol=0, atol=1e-10 * np.abs(twin).max())


@pytest.mark.parametrize("method", METHODS)
def test_integrals_are_linear_in_the_volume(method):
    one, two = volume_of("random"), np.random.default_rng(9).normal(size=SHAPE)
    bundle = bundle_of(SOURCES["oblique"], (4, 3, 5))
    parts = [line_integrals.with_slopes(each, bundle, SIZE, method, STEP) for each in (one, two, 2 * one - 3 * two)]
    for first, second, both in zip(*parts, strict=True):
        np.testing.assert_allclose(2 * first - 3 * second, both, rtol=0, atol=1e-11 * np.abs(both).max())
