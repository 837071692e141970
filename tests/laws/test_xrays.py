"""X-rays made to look real: each thing that happens to a beam, by what it must do to the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homolog.errors import BadInput, GridMismatch
from homolog.space.attenuation import linear_attenuation
from homolog.space.camera import Camera
from homolog.synth.xray_config import XrayConfig
from homolog.synth.xray_film import film
from homolog.synth.xrays import drawn, expose, poisson, stored

# pixels are not square, the optical axis is off the middle
CAMERA = Camera(1020.0, (60, 48), (0.8, 1.3), (31.0, 20.5))
FLAT = np.full(CAMERA.size_px, 1.5)


def some_paths(seed: int = 0, count: int | None = None) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    shape = CAMERA.size_px if count is None else (count, *CAMERA.size_px)
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = gaussian_filter(noise, (0,) * (len(shape) - 2) + (4, 4))
    return 2.0 + 1.5 * smooth / np.abs(smooth).max()


def test_a_perfect_exposure_gives_the_line_integrals_back():
    paths = some_paths()
    taken = expose(paths, CAMERA)
    np.testing.assert_allclose(taken.data, paths, rtol=1e-6)
    np.testing.assert_allclose(taken.detector, np.exp(-paths), rtol=1e-6)
    assert taken.mask.all()


def test_noise_is_as_strong_as_counting_photons_makes_it():
    # the variance of a logarithm is one over the number that was counted; 3000 pixels know it to 2.6 %
    for photons in (2e3, 1e5):
        data = expose(FLAT, CAMERA, XrayConfig(photons=photons), np.random.default_rng(1)).data
        assert data.var() * photons * np.exp(-1.5) == pytest.approx(1, abs=5 * 0.026)
        assert data.mean() == pytest.approx(1.5, abs=5 * np.sqrt(np.exp(1.5) / photons / data.size) + 0.003)


@pytest.mark.parametrize("mean", [0.02, 0.7, 6.0, 29.0, 31.0, 400.0])
def test_counted_photons_are_poissons(mean):
    from scipy.stats import poisson as oracle

    count = 40_000
    numbers = poisson(np.full(count, mean), np.random.default_rng(2))
    assert (numbers == np.rint(numbers)).all()
    places = np.arange(int(numbers.max()) + 1)
    seen = np.array([(numbers <= place).mean() for place in places])
    # 1.95 is Kolmogorov's bound for one chance in a thousand; 0.001 is what skewness alone leaves above 30
    assert np.abs(seen - oracle.cdf(places, mean)).max() < 1.95 / np.sqrt(count) + 0.001


def test_the_same_seed_gives_the_same_picture_and_another_one_another():
    config = XrayConfig(photons=500, electronic=3, screws=1, wires=1)
    first, again, other = (expose(FLAT, CAMERA, config, np.random.default_rng(seed)).data for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_many_at_once_are_as_one_by_one():
    config = XrayConfig(blur_mm=1.1, scatter=0.3, scatter_mm=12, vignetting=0.3, kilovolts=90, collimator="circle")
    paths = some_paths(count=3)
    together = expose(paths, CAMERA, config)
    for one, data in zip(paths, together.data):
        np.testing.assert_allclose(expose(one, CAMERA, config).data, data, rtol=1e-6)


def test_pictures_that_are_taken_together_have_noise_of_their_own():
    taken = expose(np.stack([FLAT, FLAT]), CAMERA, XrayConfig(photons=1000), np.random.default_rng(6)).data
    assert abs(np.corrcoef(taken[0].ravel(), taken[1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("axis", [0, 1])
def test_blur_is_as_wide_in_mm_down_as_across(axis):
    line = np.full(CAMERA.size_px, 9.0)
    middle = CAMERA.size_px[axis] // 2
    np.moveaxis(line, axis, 0)[middle] = 0.0
    detector = expose(line, CAMERA, XrayConfig(blur_mm=2.0)).detector.astype(float)
    profile = np.moveaxis(detector, axis, 0)[:, 20] - np.exp(-9.0)
    places = (np.arange(len(profile)) - middle) * CAMERA.pitch_mm[axis]
    assert profile.sum() == pytest.approx(1 - np.exp(-9.0), rel=1e-3)
    # taps end at four standard deviations
    assert np.sqrt((profile * places**2).sum() / profile.sum()) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_scatter_is_the_part_that_was_asked_for_and_has_no_detail(share):
    paths = some_paths()
    config = XrayConfig(scatter=share, scatter_mm=25)
    clean, scattered = (expose(paths, CAMERA, one).detector.astype(float) for one in (XrayConfig(), config))
    added = scattered - clean
    assert np.average(added / scattered, weights=1 - clean) == pytest.approx(share, abs=1e-4)
    # a Gaussian of 25 mm has no slope above its height by 25 mm times 0.61
    slope_a_mm = max(np.abs(np.diff(added, axis=n)).max() / CAMERA.pitch_mm[n] for n in (0, 1))
    assert slope_a_mm < added.max() / 25


def test_an_open_field_beside_the_patient_does_not_change_how_much_scatter_is_behind_him():
    wide = np.zeros((60, 48))
    wide[:, :24] = 3.0
    for paths in (wide, np.full((60, 48), 3.0)):
        detector = expose(paths, CAMERA, XrayConfig(scatter=0.4, scatter_mm=5)).detector
        assert 1 - np.exp(-3) / detector[30, 8] == pytest.approx(0.4, abs=0.05)


def test_scatter_takes_contrast_away():
    paths = some_paths()
    plain, scattered = (expose(paths, CAMERA, XrayConfig(scatter=share)).data for share in (0.0, 0.5))
    assert scattered.std() < 0.8 * plain.std()


def test_an_open_beam_makes_no_scatter():
    taken = expose(np.zeros(CAMERA.size_px), CAMERA, XrayConfig(scatter=0.5))
    np.testing.assert_allclose(taken.data, 0, atol=1e-6)


def test_a_beam_of_many_energies_is_harder_behind_more():
    thickness_mm = np.linspace(0, 300, CAMERA.size_px[0])[:, None] * np.ones(CAMERA.size_px[1])
    paths = thickness_mm * linear_attenuation("water", 70.0)
    seen = expose(paths, CAMERA, XrayConfig(kilovolts=100)).data[:, 0].astype(float)
    slopes = np.diff(seen) / np.diff(thickness_mm[:, 0])
    assert (np.diff(slopes) < 0).all()
    assert linear_attenuation("water", 100.0) < slopes[-1] < slopes[0] < linear_attenuation("water", 20.0)


def test_a_spectrum_of_bone_hardens_more_than_one_of_water():
    bone = np.full(CAMERA.size_px, 40 * linear_attenuation("bone", 70.0))
    config = XrayConfig(kilovolts=80)
    as_water, as_bone = (expose(bone, CAMERA, config, bone=part).data for part in (None, bone))
    energies = (30.0, 80.0)
    assert as_bone.min() > as_water.max()
    assert 40 * linear_attenuation("bone", energies[1]) < as_bone.mean() < 40 * linear_attenuation("bone", energies[0])


def test_nothing_passes_beside_the_collimator_and_everything_within():
    for collimator in ("rectangle", "circle"):
        config = XrayConfig(collimator=collimator, opening=0.6, edge_mm=0.3)
        taken = expose(FLAT, CAMERA, config)
        np.testing.assert_allclose(taken.data[taken.mask], 1.5, atol=0.06)
        assert taken.detector[0, 0] < 1e-6
        height, width = 60 * 0.8, 48 * 1.3
        area = {"rectangle": 0.36 * height * width, "circle": np.pi * (0.3 * height) ** 2}[collimator]
        # the mask ends three softnesses, 0.9 mm, before the edge, and at whole pixels
        assert 0.75 * area < taken.mask.sum() * 0.8 * 1.3 < area


def test_a_collimator_that_is_turned_by_90_degrees_has_its_sides_exchanged():
    square = Camera.centred(1000, (40, 40), 1.0)
    upright, turned = (
        expose(np.zeros((40, 40)), square, XrayConfig(collimator="rectangle", opening=0.5, turned_degrees=degrees))
        for degrees in (20, 110)
    )
    np.testing.assert_allclose(turned.detector, upright.detector.T[:, ::-1], atol=1e-6)
    assert np.abs(upright.detector - upright.detector[:, ::-1]).max() > 0.5


def test_corners_are_darker_by_as_much_as_was_asked_for():
    detector = expose(np.zeros((61, 41)), Camera.centred(1000, (61, 41), 0.7), XrayConfig(vignetting=0.4)).detector
    assert detector[30, 20] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(detector[[0, 0, -1, -1], [0, -1, 0, -1]], 0.6, rtol=1e-5)


def test_metal_hides_what_is_behind_it_only_where_it_lies():
    paths = some_paths()
    taken = expose(paths, CAMERA, XrayConfig(screws=1, wires=1), np.random.default_rng(9)).data
    added = taken - paths
    there = added > 1e-4
    assert 0.005 < there.mean() < 0.4
    np.testing.assert_allclose(added[~there], 0, atol=1e-4)
    # the thickest screw measures 6 mm
    assert 0.5 < added.max() <= 6 * linear_attenuation("iron", 70.0) + 1e-4


def test_a_starved_pixel_is_finite_and_as_dark_as_half_a_photon():
    taken = expose(np.full(CAMERA.size_px, 40.0), CAMERA, XrayConfig(photons=100), np.random.default_rng(3))
    np.testing.assert_allclose(taken.data, np.log(200), rtol=1e-6)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_detectors_file_holds_what_arrived(bits):
    taken = expose(some_paths(), CAMERA)
    numbers = stored(taken, bits)
    assert numbers.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_allclose(numbers / (0.9 * (2**bits - 1)), taken.detector, atol=0.56 / 2**bits)


def test_what_is_drawn_to_train_on_can_be_exposed_and_differs():
    generator = np.random.default_rng(11)
    configs = [drawn(generator) for _ in range(12)]
    assert len(set(configs)) == 12
    for config in configs:
        taken = expose(some_paths(), CAMERA, config, generator)
        assert np.isfinite(taken.data).all()
        assert taken.mask.any()


def test_a_film_shows_bone_white_air_black_and_nothing_behind_the_blades():
    paths = some_paths()
    mask = np.zeros(paths.shape, bool)
    mask[8:50, 6:40] = True
    greys = film(paths, mask)
    assert greys.min() == 0
    assert greys.max() == 1
    assert not greys[~mask].any()
    assert np.corrcoef(greys[mask], paths[mask])[0, 1] > 0.8
    np.testing.assert_allclose(film(3 * paths, mask), greys, atol=1e-4)


def test_a_film_of_nothing_is_one_grey():
    greys = film(np.zeros(CAMERA.size_px))
    assert np.ptp(greys) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"photons": -1},
        {"scatter": 1.0},
        {"opening": 0},
        {"kilovolts": 300},
        {"blur_mm": np.nan},
        {"collimator": "oval"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_no_tube_does_is_refused(change):
    with pytest.raises(BadInput):
        expose(FLAT, CAMERA, replace(XrayConfig(), **change))


def test_line_integrals_of_another_camera_and_broken_ones_are_refused():
    with pytest.raises(GridMismatch):
        expose(FLAT.T, CAMERA)
    with pytest.raises(GridMismatch):
        expose(FLAT, CAMERA, bone=FLAT[:-1])
    with pytest.raises(BadInput, match="finite"):
        expose(np.where(FLAT > 1, np.nan, 0), CAMERA)
