from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from homolog import Keypoints
from homolog.errors import BadInput, WorkFailed
from homolog.synth.affine_facts import ELEMENTS, facts_of
from homolog.synth.configs import LocalAffineConfig
from homolog.synth.local_affines import FLAT, MIRRORED, STRETCHED, UNSHARED, AffineDensity, local_affines
from tests.geometry import some_affine

# without a pull to the identity, four landmarks are met exactly
EXACT = LocalAffineConfig(pull_mm=0.0)
TURNED = Rotation.from_rotvec((0.4, -1.1, 0.7)).as_matrix()


def places(count: int = 25, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform((-180, -110, 20), (170, 120, 420), (count, 3))


def patient(places_mm: np.ndarray, space: str = "a", order: Sequence[int] | None = None) -> Keypoints:
    rows = np.arange(len(places_mm)) if order is None else np.asarray(order)
    return Keypoints(places_mm[rows], space, tuple(f"landmark {row}" for row in rows))


def near_one_another(patients: int = 7, seed: int = 5, jitter_mm: float = 1.0) -> list[Keypoints]:
    """Patients so alike that no map between them, fitted or drawn, comes near to a limit."""
    rng = np.random.default_rng(seed)
    return [
        patient(some_affine(n, size=0.05).apply(places()) + jitter_mm * rng.normal(size=(25, 3)), f"patient {n}")
        for n in range(patients)
    ]


def turned_about_z(patients: int = 6) -> list[Keypoints]:
    turns = [Rotation.from_euler("z", 7.0 * n, degrees=True).as_matrix() for n in range(patients)]
    return [patient(places() @ turn.T, f"patient {n}") for n, turn in enumerate(turns)]


def drawn_elements(density: AffineDensity, count: int, seed: int = 0) -> np.ndarray:
    """(count, 12)"""
    rng = np.random.default_rng(seed)
    draws = [density.sample(rng) for _ in range(count)]
    return np.array([[*draw.linear.ravel(), *draw.shift_mm] for draw in draws])


@pytest.fixture(scope="module")
def alike() -> AffineDensity:
    return AffineDensity.of(near_one_another())


# ---------------------------------------------------------------------------------------------------------------------
# Fits


def test_landmarks_under_one_affine_map_give_that_map_everywhere():
    truth = some_affine(size=0.15, shift_mm=30.0)
    found = local_affines([patient(places()), patient(truth.apply(places()), "b")], EXACT)
    assert len(found) > 10
    np.testing.assert_allclose(found.linear, np.broadcast_to(truth.matrix[:3, :3], found.linear.shape), atol=1e-10)
    np.testing.assert_allclose(found.shift_mm, 0.0, atol=1e-10)


@pytest.mark.parametrize("pull_mm", [0.0, 5.0, 500.0])
def test_a_patient_that_lies_elsewhere_is_not_distorted(pull_mm):
    pair = [patient(places()), patient(places() + (300.0, -20.0, 1000.0), "b")]
    found = local_affines(pair, replace(EXACT, pull_mm=pull_mm))
    np.testing.assert_allclose(
        found.elements, np.tile([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], (len(found), 1)), atol=1e-10
    )


def test_a_fit_is_the_least_of_misses_and_of_the_pull():
    here, there = places(4), places(4) + np.random.default_rng(2).normal(scale=9.0, size=(4, 3))
    config = LocalAffineConfig(pull_mm=25.0, least_stretch=0.1, most_stretch=10.0)
    found = local_affines([patient(here), patient(there, "b")], config)
    # the same four every time: the same A. Rows of the pull stand beside the landmarks' own
    rows = np.vstack((here - here.mean(axis=0), config.pull_mm * np.eye(3)))
    wanted = np.vstack((there - there.mean(axis=0), config.pull_mm * np.eye(3)))
    linear = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
    np.testing.assert_allclose(found.linear, np.broadcast_to(linear, (4, 3, 3)), atol=1e-10)
    np.testing.assert_allclose(found.shift_mm, (here - here.mean(axis=0)) @ linear.T + there.mean(axis=0) - there)


def test_a_cohort_of_one_map_draws_that_map_about_any_place():
    truth, place_mm = some_affine(size=0.15, shift_mm=30.0), np.array([12.0, -40.0, 300.0])
    density = AffineDensity.of([patient(places()), patient(truth.apply(places()), "b")], EXACT)
    drawn = density.sample(np.random.default_rng(0)).about(place_mm, fixed="here", moving="there")
    assert (drawn.fixed, drawn.moving) == ("here", "there")
    np.testing.assert_allclose(drawn.apply(place_mm[None])[0], place_mm, atol=1e-9)
    np.testing.assert_allclose(drawn.matrix[:3, :3], truth.matrix[:3, :3], atol=1e-9)


@pytest.mark.parametrize("flat", [(1.0, 5e-4, 5e-4), (1.0, 1.0, 5e-4)], ids=["in a line", "in a plane"])
def test_landmarks_nearly_in_a_line_or_a_plane_are_refused_and_counted(flat):
    lying = (places() * flat) @ TURNED.T
    found = local_affines([patient(lying), patient(some_affine().apply(lying), "b")], EXACT)
    assert len(found) == 0
    assert found.refused == {FLAT: 25}


def test_landmarks_at_one_place_are_refused():
    found = local_affines([patient(np.full((5, 3), 7.0)), patient(places(5), "b")])
    assert len(found) == 0 and found.refused == {FLAT: 5}


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.diag([-1.0, 1.0, 1.0]), MIRRORED),
        (1.7 * TURNED, STRETCHED),
        (0.5 * TURNED, STRETCHED),
        (np.diag([1.0, 0.01, 1.0]), STRETCHED),
    ],
)
def test_what_no_patient_does_to_another_is_refused_by_its_reason(matrix, reason):
    still = local_affines([patient(places()), patient(places(), "b")], EXACT)
    found = local_affines([patient(places()), patient(places() @ matrix.T, "b")], EXACT)
    assert len(found) == 0
    # which landmarks lie flat does not depend on where they go
    assert found.refused == {**still.refused, reason: len(still)}


def test_every_landmark_of_every_two_patients_is_fitted_or_counted():
    found = local_affines(near_one_another(5))
    assert len(found) + sum(found.refused.values()) == 25 * 5 * 4 // 2


def test_only_shared_names_count_and_their_order_does_not():
    truth, some = some_affine().apply(places()), [20, 3, 14, 7, 9, 11, 2, 18]
    few = local_affines([patient(places()), patient(truth, "b", some)])
    same = local_affines([patient(places(), "a", sorted(some)), patient(truth, "b", sorted(some))])
    np.testing.assert_allclose(few.elements, same.elements, atol=1e-12)
    assert len(few) + few.refused.get(FLAT, 0) == 8
    none = local_affines([patient(places(), "a", [0, 1, 2, 3]), patient(truth, "b", [1, 2, 3, 4, 5])])
    assert len(none) == 0 and none.refused == {UNSHARED: 3}


def test_where_patients_lie_does_not_matter():
    cohort = near_one_another(4)
    moved = [
        one.moved_to(one.position + 500.0 * np.random.default_rng(n).normal(size=3), "c")
        for n, one in enumerate(cohort)
    ]
    np.testing.assert_allclose(local_affines(moved).elements, local_affines(cohort).elements, atol=1e-9)


def test_turning_the_cohort_turns_its_maps():
    cohort = near_one_another(4)
    before = local_affines(cohort)
    after = local_affines([one.moved_to(one.position @ TURNED.T, one.space) for one in cohort])
    np.testing.assert_allclose(after.linear, TURNED @ before.linear @ TURNED.T, atol=1e-10)
    np.testing.assert_allclose(after.shift_mm, before.shift_mm @ TURNED.T, atol=1e-9)
    assert after.refused == before.refused


def test_both_ways_the_order_of_patients_does_not_matter():
    cohort, config = near_one_another(4), LocalAffineConfig(both_ways=True)
    there, back = local_affines(cohort, config), local_affines(cohort[::-1], config)
    assert len(there) > len(local_affines(cohort))
    np.testing.assert_allclose(np.sort(there.elements, axis=0), np.sort(back.elements, axis=0), atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# The density


def test_kernels_are_as_wide_as_scotts_rule_makes_them(alike):
    for column, width in zip(alike.fitted.elements.T, alike.bandwidth):
        oracle = stats.gaussian_kde(column, "scott")
        assert width == pytest.approx(float(np.sqrt(oracle.covariance[0, 0])))


def test_drawn_elements_have_the_mean_and_the_spread_of_the_density(alike):
    count, data = 3000, alike.fitted.elements
    drawn = drawn_elements(alike, count)
    # of a mixture of kernels at the data: variances add, and so do fourth moments, in their way
    variance = data.var(axis=0) + alike.bandwidth**2
    fourth = (
        ((data - data.mean(axis=0)) ** 4).mean(axis=0)
        + 6 * data.var(axis=0) * alike.bandwidth**2
        + 3 * alike.bandwidth**4
    )
    # five standard errors: one of 24 passes beyond in a hundred thousand seeds
    assert (np.abs(drawn.mean(axis=0) - data.mean(axis=0)) < 5 * np.sqrt(variance / count)).all()
    assert (np.abs(drawn.var(axis=0) - variance) < 5 * np.sqrt((fourth - variance**2) / count)).all()


@pytest.mark.parametrize("element", ["Axx", "Ayz", "ty"])
def test_drawn_elements_follow_the_kernels_themselves(alike, element):
    n = ELEMENTS.index(element)
    oracle = stats.gaussian_kde(alike.fitted.elements[:, n], "scott")
    below = np.vectorize(lambda upper: oracle.integrate_box_1d(-np.inf, upper))
    assert stats.kstest(drawn_elements(alike, 800, seed=3)[:, n], below).pvalue > 1e-4


def test_elements_are_drawn_apart_as_published_or_together():
    cohort = turned_about_z()
    apart = np.corrcoef(drawn_elements(AffineDensity.of(cohort), 600)[:, [1, 3]].T)[0, 1]
    together = LocalAffineConfig(together=True)
    joined = np.corrcoef(drawn_elements(AffineDensity.of(cohort, together), 600)[:, [1, 3]].T)[0, 1]
    # five standard errors of no correlation; a turn's two sines are one number, blurred by kernels
    assert abs(apart) < 5 / np.sqrt(600)
    assert joined < -0.8


def test_no_drawn_map_is_one_that_would_be_refused():
    rng = np.random.default_rng(1)
    wild = [patient(some_affine(n, size=0.5).apply(places()) + rng.normal(scale=15.0, size=(25, 3))) for n in range(6)]
    density = AffineDensity.of(wild, LocalAffineConfig(least_stretch=0.7, most_stretch=1.4))
    linear = drawn_elements(density, 300)[:, :9].reshape(-1, 3, 3)
    stretches = np.linalg.svd(linear, compute_uv=False)
    assert stretches.min() >= 0.7 and stretches.max() <= 1.4
    assert np.linalg.det(linear).min() > 0


def test_shifts_beyond_the_limit_are_left_out():
    density = AffineDensity.of(near_one_another(jitter_mm=6.0), LocalAffineConfig(pull_mm=20.0, most_shift_mm=2.0))
    lengths = np.linalg.norm(drawn_elements(density, 200)[:, 9:], axis=1)
    assert (lengths == 0).any() and (lengths > 0).any()
    assert lengths.max() <= 2.0


def test_the_same_seed_draws_the_same_map_and_another_seed_another(alike):
    first, again, other = (drawn_elements(alike, 3, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


# ---------------------------------------------------------------------------------------------------------------------
# The checks


def test_turns_about_one_axis_show_which_elements_are_one_number():
    facts = AffineDensity.of(turned_about_z(), EXACT).facts
    r = {(a, b): facts.correlation[i][j] for i, a in enumerate(ELEMENTS) for j, b in enumerate(ELEMENTS)}
    # cosines on the diagonal, the sine and its opposite beside it
    assert r["Axx", "Ayy"] == pytest.approx(1.0) and r["Axy", "Ayx"] == pytest.approx(-1.0)
    assert abs(facts.largest_r) == pytest.approx(1.0) and facts.largest_r_p < 1e-6
    # nothing but x and y changes: what is constant is related to nothing, and nothing can be said of it
    assert np.isnan(r["Azz", "Axx"]) and np.isnan(facts.normality_p[ELEMENTS.index("Azz")])
    assert facts.couples == 6 and 2 <= facts.related <= 6


def test_the_checks_are_those_of_scipy():
    rng = np.random.default_rng(8)
    elements = rng.normal(size=(400, 12)) @ (np.eye(12) + 0.08 * rng.normal(size=(12, 12)))
    facts = facts_of(elements, np.ones(12), {}, 20)
    oracles = {(a, b): stats.pearsonr(elements[:, a], elements[:, b]) for a in range(12) for b in range(a + 1, 12)}
    pair, most = max(oracles.items(), key=lambda found: abs(found[1].statistic))
    assert facts.largest_of == (ELEMENTS[pair[0]], ELEMENTS[pair[1]])
    assert facts.largest_r == pytest.approx(most.statistic)
    assert facts.largest_r_p == pytest.approx(most.pvalue)
    assert facts.related == sum(found.pvalue * 66 < 0.01 for found in oracles.values())


def test_normal_numbers_pass_and_others_do_not():
    rng = np.random.default_rng(3)
    normal, flat = rng.normal(size=(500, 12)), rng.uniform(-1, 1, (500, 12))
    assert min(facts_of(normal, np.ones(12), {}, 20).normality_p) > 1e-4
    assert max(facts_of(flat, np.ones(12), {}, 20).normality_p) < 1e-6


def test_the_facts_can_be_read(alike):
    text = str(alike.facts)
    assert f"{len(alike.fitted)} local affine maps of 7 patients" in text
    assert f"{FLAT}: {alike.fitted.refused[FLAT]}" in text
    assert all(name in text for name in ELEMENTS)


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be done


@pytest.mark.parametrize(
    ("cohort", "named"),
    [
        ([patient(places())], "two or more"),
        ([patient(places()), Keypoints(places(), "nameless")], "nameless"),
        ([patient(places()), Keypoints(places(2), "b", ("tip", "tip"))], "tip"),
        ([patient(places()), patient(np.full((25, 3), np.nan), "b")], "NaN"),
        ([patient(places() * (1, 0, 0)), patient(places(), "b")], FLAT),
        ([patient(places(), "a", [1, 2]), patient(places(), "b", [5, 6])], "needs two"),
    ],
    ids=["one", "no names", "names twice", "not a number", "a line", "nothing shared"],
)
def test_a_cohort_without_a_density_is_refused_by_name(cohort, named):
    with pytest.raises(BadInput, match=named):
        AffineDensity.of(cohort)


@pytest.mark.parametrize(
    "wrong",
    [
        {"neighbours": 2},
        {"pull_mm": -1.0},
        {"most_shift_mm": np.nan},
        {"least_stretch": 0.0},
        {"most_stretch": 0.9},
        {"most_condition": 0.5},
    ],
)
def test_options_out_of_their_range_are_refused_by_name(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        local_affines(near_one_another(2), replace(LocalAffineConfig(), **wrong))


def test_a_density_that_never_gives_a_map_says_so():
    turns = Rotation.random(5, random_state=1).as_matrix()
    cohort = [patient(places() @ turn.T, f"patient {n}") for n, turn in enumerate(turns)]
    narrow = replace(EXACT, least_stretch=0.999, most_stretch=1.001)
    with pytest.raises(WorkFailed, match="stretched"):
        AffineDensity.of(cohort, narrow).sample(np.random.default_rng(0))
