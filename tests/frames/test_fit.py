from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator
from scipy.spatial.transform import Rotation

from homolog import fit
from homolog.errors import BadInput

RNG = np.random.default_rng(0)
FIXED = RNG.uniform(-80, 80, (25, 3)) + (100, -900, 40)
TURN = Rotation.from_euler("xyz", [25, -170, 70], degrees=True).as_matrix()


def test_a_rigid_motion_is_found_again_whatever_its_size():
    moving = FIXED @ TURN.T + (5000, 3, -7)
    np.testing.assert_allclose(fit.rigid(FIXED, moving).apply(FIXED), moving, atol=1e-9)
    np.testing.assert_allclose(fit.rigid(FIXED, moving).matrix[:3, :3], TURN, atol=1e-12)


def test_a_similarity_finds_the_scale_too():
    moving = 1.37 * FIXED @ TURN.T + (1, 2, 3)
    np.testing.assert_allclose(fit.similarity(FIXED, moving).matrix[:3, :3], 1.37 * TURN, atol=1e-10)


def test_an_affine_map_is_found_again():
    linear = np.eye(3) + 0.3 * RNG.normal(size=(3, 3))
    moving = FIXED @ linear.T + (1, 2, 3)
    np.testing.assert_allclose(fit.affine(FIXED, moving).apply(FIXED), moving, atol=1e-9)


def test_rigid_agrees_with_scipys_alignment_under_noise_and_weights():
    moving = FIXED @ TURN.T + RNG.normal(size=FIXED.shape)
    weights = RNG.uniform(0.1, 1, len(FIXED))
    centre_f, centre_m = np.average(FIXED, axis=0, weights=weights), np.average(moving, axis=0, weights=weights)
    expected = Rotation.align_vectors(moving - centre_m, FIXED - centre_f, weights=weights)[0].as_matrix()
    np.testing.assert_allclose(fit.rigid(FIXED, moving, weights).matrix[:3, :3], expected, atol=1e-9)


def test_a_mirrored_patient_is_not_taken_for_a_turned_one():
    mirrored = FIXED * (-1, 1, 1)
    assert np.linalg.det(fit.rigid(FIXED, mirrored).matrix[:3, :3]) == pytest.approx(1)
    assert np.linalg.det(fit.similarity(FIXED, mirrored).matrix[:3, :3]) > 0


def test_a_weight_of_zero_leaves_a_point_out():
    moving = FIXED @ TURN.T
    moving[3] += 1000
    weights = np.ones(len(FIXED))
    weights[3] = 0
    for method in (fit.rigid, fit.similarity, fit.affine):
        found = method(FIXED, moving, weights).apply(FIXED)
        np.testing.assert_allclose(np.delete(found, 3, 0), np.delete(moving, 3, 0), atol=1e-8)


def test_a_thin_plate_passes_through_its_landmarks_and_agrees_with_scipy():
    moving = FIXED @ TURN.T + 5 * RNG.normal(size=FIXED.shape)
    plate = fit.thin_plate(FIXED, moving)
    np.testing.assert_allclose(plate.apply(FIXED), moving, atol=1e-8)
    # U(r) = r is scipy's "linear" kernel with a polynomial of degree one
    oracle = RBFInterpolator(FIXED, moving, kernel="linear", degree=1)
    elsewhere = RNG.uniform(-90, 90, (50, 3)) + (100, -900, 40)
    np.testing.assert_allclose(plate.apply(elsewhere), oracle(elsewhere), atol=1e-7)


def test_a_stiff_plate_agrees_with_scipys_smoothing_and_ends_as_the_affine_fit():
    moving = FIXED @ TURN.T + 5 * RNG.normal(size=FIXED.shape)
    oracle = RBFInterpolator(FIXED, moving, kernel="linear", degree=1, smoothing=20.0)
    np.testing.assert_allclose(fit.thin_plate(FIXED, moving, stiffness_mm=20.0).apply(FIXED), oracle(FIXED), atol=1e-7)
    stiff = fit.thin_plate(FIXED, moving, stiffness_mm=1e9).apply(FIXED)
    np.testing.assert_allclose(stiff, fit.affine(FIXED, moving).apply(FIXED), atol=1e-3)


def test_the_names_of_the_spaces_are_kept():
    found = fit.rigid(FIXED, FIXED, fixed="a", moving="b")
    assert (found.fixed, found.moving) == ("a", "b")


@pytest.mark.parametrize("method", [fit.rigid, fit.similarity, fit.affine, fit.thin_plate])
def test_points_that_do_not_determine_the_map_are_refused(method):
    line = np.outer(np.arange(8.0), (1, 2, 3))
    for points in (line, line[:2], np.zeros((5, 3))):
        with pytest.raises(BadInput):
            method(points, points + 1)


def test_points_in_a_plane_determine_a_turn_but_no_affine_map():
    flat = np.column_stack((RNG.uniform(-9, 9, (8, 2)), np.zeros(8)))
    np.testing.assert_allclose(fit.rigid(flat, flat @ TURN.T).matrix[:3, :3], TURN, atol=1e-9)
    with pytest.raises(BadInput, match="one plane"):
        fit.affine(flat, flat)
    with pytest.raises(BadInput, match="one plane"):
        fit.thin_plate(flat, flat)
