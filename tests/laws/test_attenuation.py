"""From Hounsfield units to attenuation: the definition holds, mixtures are kept, what cannot be is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from homolog import Volume
from homolog.errors import BadInput, GridMismatch
from homolog.space.attenuation import (
    ENERGIES_KEV,
    attenuation,
    bone_attenuation,
    linear_attenuation,
    relative_attenuation,
)
from tests.geometry import oblique_grid

MATERIALS = ("air", "water", "bone", "iron", "aluminium")


def hounsfield(mu: np.ndarray, energy_kev: float) -> np.ndarray:
    """The definition."""
    air, water = (linear_attenuation(material, energy_kev) for material in ("air", "water"))
    return 1000 * (mu - water) / (water - air)


def some_ct(seed: int = 0) -> Volume:
    grid = oblique_grid((9, 8, 7))
    return Volume(np.random.default_rng(seed).uniform(-999, 3000, grid.shape).astype(np.float32), grid, "ct")


@pytest.mark.parametrize("energy_kev", [55.0, 70.0, 82.5])
def test_hounsfield_units_hold_at_the_cts_own_energy(energy_kev):
    ct = some_ct()
    mu = attenuation(ct, energy_kev=energy_kev, ct_energy_kev=energy_kev)
    # float32 holds 3000 HU to 2e-4, and 1/mm to 1e-7 of that
    np.testing.assert_allclose(hounsfield(mu.numpy(), energy_kev), ct.numpy(), atol=0.01)
    assert mu.numpy().dtype == np.float32
    assert mu.grid is ct.grid


@pytest.mark.parametrize("energy_kev", [25.0, 45.0, 70.0, 120.0])
def test_a_material_that_was_scanned_is_itself_at_every_energy(energy_kev):
    hu = [hounsfield(linear_attenuation(material, 70.0), 70.0) for material in ("water", "bone")]
    almost_air = -999.999
    ct = Volume(np.array([almost_air, *hu], np.float32).reshape(3, 1, 1), oblique_grid((3, 1, 1)), "ct")
    expected = [linear_attenuation(material, energy_kev) for material in ("air", "water", "bone")]
    mu = attenuation(ct, energy_kev=energy_kev).numpy().ravel()
    np.testing.assert_allclose(mu, expected, rtol=1e-3, atol=linear_attenuation("water", energy_kev) * 2e-6)


@pytest.mark.parametrize("material", MATERIALS)
def test_softer_photons_are_stopped_sooner(material):
    energies = np.linspace(20, 150, 60)
    assert (np.diff([linear_attenuation(material, float(energy)) for energy in energies]) < 0).all()


@pytest.mark.parametrize("material", MATERIALS)
def test_between_tabulated_energies_attenuation_is_straight_in_both_logarithms(material):
    for low, high in pairwise(ENERGIES_KEV):
        ends = [linear_attenuation(material, float(energy)) for energy in (low, high)]
        middle = linear_attenuation(material, float(np.sqrt(low * high)))
        assert middle == pytest.approx(np.sqrt(ends[0] * ends[1]), rel=1e-12)


def test_bone_is_the_denser_to_photons_the_softer_they_are():
    # photoelectric absorption grows with the atomic number's cube, and calcium's share with it
    ratios = [linear_attenuation("bone", kev) / linear_attenuation("water", kev) for kev in (30.0, 60.0, 150.0)]
    assert ratios[0] > 1.5 * ratios[1] > 1.5 * 1.2 * ratios[2]
    # where Compton scattering is all, electrons are counted: 1.92 g/cm3 with 0.515 a nucleon, water has 0.555
    assert ratios[2] == pytest.approx(1.92 * 0.515 / 0.555, rel=0.08)


def test_what_is_at_the_floor_or_below_attenuates_nothing():
    ct = some_ct()
    everything, bones = attenuation(ct).numpy(), attenuation(ct, floor_hu=200).numpy()
    kept = ct.numpy() > 200
    assert kept.any()
    assert not kept.all()
    np.testing.assert_array_equal(bones[kept], everything[kept])
    assert not bones[~kept].any()


def test_what_a_scanner_puts_outside_its_field_attenuates_nothing():
    hu = np.array([-3024, -1024, -1000, -999, 40], np.float32).reshape(5, 1, 1)
    mu = attenuation(Volume(hu, oblique_grid((5, 1, 1)), "ct")).numpy().ravel()
    assert not mu[:3].any()
    assert (mu[3:] > 0).all()


def test_a_mask_keeps_what_it_names_whatever_its_labels_are_stored_as():
    ct = some_ct()
    chosen = np.random.default_rng(1).random(ct.grid.shape) < 0.4
    labels = Volume((chosen * 7).astype(np.int16), ct.grid, "ct", "labels")
    by_labels, by_array = attenuation(ct, mask=labels).numpy(), attenuation(ct, mask=chosen).numpy()
    np.testing.assert_array_equal(by_labels, by_array)
    np.testing.assert_array_equal(by_array, np.where(chosen, attenuation(ct).numpy(), 0))


def test_bone_and_water_make_up_the_whole():
    ct = some_ct()
    for energy_kev in (40.0, 70.0):
        whole, bone = (each(ct, energy_kev=energy_kev).numpy() for each in (attenuation, bone_attenuation))
        part = bone / linear_attenuation("bone", energy_kev)
        soft = ct.numpy() <= 0
        assert not bone[soft].any()
        rest = (1 - part[~soft]) * linear_attenuation("water", energy_kev)
        np.testing.assert_allclose(whole[~soft], bone[~soft] + rest, rtol=1e-5, atol=1e-7)


def test_the_storage_of_a_volume_does_not_matter_and_it_is_left_as_it_was():
    ct = some_ct()
    before = ct.numpy().copy()
    fortran = ct.with_data(np.asfortranarray(ct.numpy()))
    np.testing.assert_array_equal(attenuation(ct).numpy(), attenuation(fortran).numpy())
    np.testing.assert_array_equal(ct.numpy(), before)


def test_a_volume_without_a_unit_is_proportional_to_attenuation():
    grid = oblique_grid((6, 5, 4))
    numbers = np.random.default_rng(2).uniform(0, 4095, grid.shape).astype(np.float32)
    mu = relative_attenuation(Volume(numbers, grid, "bone")).numpy()
    again = relative_attenuation(Volume(numbers * 0.25, grid, "bone")).numpy()
    np.testing.assert_allclose(mu, again, rtol=1e-6)
    np.testing.assert_allclose(mu / mu.max(), numbers / numbers.max(), rtol=1e-6)
    assert mu.max() == pytest.approx(linear_attenuation("bone", 70.0), rel=1e-6)
    assert not relative_attenuation(Volume(numbers, grid, "bone"), floor=1000.0).numpy()[numbers <= 1000].any()


def refused(values: np.ndarray, kind: str = "intensity", **options: object) -> BadInput:
    values = np.asarray(values)
    with pytest.raises(BadInput) as caught:
        attenuation(Volume(values, oblique_grid(values.shape), "scan", kind), **options)
    return caught.value


def test_what_is_no_ct_is_refused():
    shape = (4, 4, 4)
    generator = np.random.default_rng(3)
    assert "Hounsfield" in refused(generator.uniform(0, 800, shape)).message
    assert "Hounsfield" in refused(generator.normal(size=shape)).message
    # an MR whose filter rang: a few voxels are below 0
    ringing = generator.uniform(0, 800, (12, 12, 12))
    ringing[0, 0, 0] = -70
    assert "Hounsfield" in refused(ringing).message
    assert "Hounsfield" in refused(generator.uniform(-1000, 1e6, shape)).message
    assert "--rescale" in refused(generator.uniform(0, 4000, shape)).hint
    assert "label" in refused(np.ones(shape, np.int16), "labels").message
    for wrong in (np.nan, np.inf, -np.inf):
        broken = generator.uniform(-1000, 1000, shape)
        broken[1, 2, 3] = wrong
        assert "--replace-nan" in refused(broken).hint


def test_a_mask_that_lies_elsewhere_or_keeps_nothing_is_refused():
    ct = some_ct()
    elsewhere = Volume(np.ones(ct.grid.shape, np.uint8), oblique_grid((9, 8, 7), seed=8), "ct", "labels")
    with pytest.raises(GridMismatch):
        attenuation(ct, mask=elsewhere)
    with pytest.raises(GridMismatch):
        attenuation(ct, mask=np.ones((3, 3, 3)))
    with pytest.raises(BadInput, match="0 everywhere"):
        attenuation(ct, mask=np.zeros(ct.grid.shape))


@pytest.mark.parametrize("energy_kev", [0.0, 19.0, 151.0, np.nan])
def test_an_energy_that_the_tables_do_not_cover_is_refused(energy_kev):
    with pytest.raises(BadInput, match="keV"):
        attenuation(some_ct(), energy_kev=energy_kev)
