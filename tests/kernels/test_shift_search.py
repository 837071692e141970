from __future__ import annotations

from itertools import product

import numpy as np

from homolog.kernels import foreground
from homolog.kernels.shift_search import (
    Sides,
    correlations,
    correlations_reference,
    shift_sums,
    shift_sums_reference,
)

MASKS = ("fixed_known", "moving_known", "fixed_body", "moving_body")


def sides():
    rng = np.random.default_rng(0)
    known = [(rng.random(shape) > 0.2).astype(np.float32) for shape in ((5, 6, 4), (4, 7, 5))]
    bodies = [mask * (rng.random(mask.shape) > 0.5) for mask in known]
    pictures = [rng.random((3, *mask.shape)).astype(np.float32) * mask for mask in known]
    return Sides(*pictures, *known, *bodies)


def test_every_shift_agrees_with_the_sums_over_its_overlap():
    given = sides()
    sums = shift_sums(given)
    assert sums.distance.shape == given.lattice == (8, 12, 8)
    for shift in product(range(-4, 4), range(-5, 7), range(-3, 5)):
        found = [array[shift] for array in (sums.distance, sums.either, sums.fixed_seen, sums.moving_seen)]
        # transforms in float32 of sums up to a few hundred
        np.testing.assert_allclose(found, shift_sums_reference(given, shift), atol=1e-3)


def test_every_shift_has_the_correlation_of_its_overlap():
    given = sides()
    found = correlations(given)
    assert found.shape == given.lattice
    for shift in product(range(-4, 4), range(-5, 7), range(-3, 5)):
        np.testing.assert_allclose(found[shift], correlations_reference(given, shift), atol=2e-3)


def test_flat_pictures_correlate_with_nothing():
    given = sides()
    flat = Sides(given.fixed, given.moving_known[None].repeat(3, 0) * 7, *[getattr(given, name) for name in MASKS])
    np.testing.assert_allclose(correlations(flat), 0, atol=1e-6)


def test_the_patient_is_found_without_the_table_and_with_the_lungs():
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (60, 50, 30)], indexing="ij"), axis=-1)
    body = (((grid - (30, 22, 15)) / (24, 16, 40)) ** 2).sum(axis=-1) < 1
    lung = (((grid - (22, 22, 15)) / (6, 8, 40)) ** 2).sum(axis=-1) < 1
    data = np.where(body, 40.0, -1000.0)
    data[lung] = -850
    data[:, 44:46] = -200  # the table, and a stray voxel
    data[2, 2, 2] = 3000
    noisy = (data + np.random.default_rng(0).normal(0, 20, data.shape)).astype(np.float32)
    for scale, shift in ((1.0, 0.0), (0.001, 7.0)):
        found = foreground.body_mask(noisy * scale + shift, np.ones(data.shape, bool))
        assert (found != body).mean() < 0.01
        assert found[lung].mean() > 0.99


def test_an_empty_stretch_between_two_classes_is_halved():
    values = np.concatenate((np.full(100, -1000.0), np.full(50, 40.0)))
    assert -500 < foreground.otsu_threshold(values) < -450
