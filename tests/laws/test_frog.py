"""Groups of drawn patients, whose truth is known: what drawing them together must and must not do."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from homolog import Affine, BSpline, Keypoints, Matches
from homolog.errors import BadInput, SpaceMismatch
from homolog.groupwise import frog
from homolog.groupwise.configs import FrogConfig
from homolog.kernels import half_edges, splatting
from homolog.kernels.threads import using_threads
from homolog.space import fit
from tests.groups import DEFAULT, PUBLISHED, SCATTER_MM, Cohort, cohort, motion, places, random_matches, spread

MODES = pytest.mark.parametrize("config", [DEFAULT, PUBLISHED], ids=["default", "published"])


def apart_mm(one: np.ndarray, other: np.ndarray, kind=None) -> float:
    """The farthest of two placings of the same points, after one map of that kind of all of them."""
    one, other = one.reshape(-1, 3), other.reshape(-1, 3)
    one = one if kind is None else kind(one, other).apply(one)
    return float(np.linalg.norm(one - other, axis=1).max())


@pytest.fixture(scope="module")
def drawn() -> Cohort:
    return cohort()


@pytest.fixture(scope="module")
def groups(drawn) -> dict:
    return {config: frog.register(drawn.keypoints, drawn.matches, config) for config in (DEFAULT, PUBLISHED)}


# ---------------------------------------------------------------------------------------------------------------------
# What it is for


@MODES
def test_patients_come_together(drawn, groups, config):
    before = spread(np.stack([points.position[rows] for points, rows in zip(drawn.keypoints, drawn.order)]))
    # ours settles to what the drawn noise leaves and a little bending; the published one has had few short steps
    assert drawn.spread_mm(groups[config]) < {DEFAULT: 3 * SCATTER_MM, PUBLISHED: before.mean() / 3}[config]
    assert not any(one.doubts for one in groups[config].fits)


def test_wrong_matches_do_not_count_and_right_ones_do(drawn, groups):
    group = groups[DEFAULT]
    weight = np.concatenate([group.weights[pair] for pair in drawn.matches])
    right = np.concatenate([drawn.right[pair] for pair in drawn.matches])
    at = [common.apply(points.position) for common, points in zip(group.common_from_image, drawn.keypoints)]
    ends = [at[i][each.pairs[:, 0]] - at[j][each.pairs[:, 1]] for (i, j), each in drawn.matches.items()]
    # a wrong match of two neighbours is hardly wrong
    far = np.linalg.norm(np.concatenate(ends), axis=1) > 40
    assert weight[~right & far].max() < 1e-3
    assert np.quantile(weight[right], 0.02) > 0.9
    assert (~right & far).sum() > 500


def test_scattered_headers_and_turned_patients_do_not_matter(drawn, groups):
    rng = np.random.default_rng(3)
    motions = [motion((0.1, 0.2, 1.0), 180.0 * (n % 2) + 25 * n, rng.normal(0, 1500, 3)) for n in range(4)]
    scattered = drawn.moved(motions)
    group = frog.register(scattered.keypoints, scattered.matches, DEFAULT)
    assert not any(one.doubts for one in group.fits)
    # other directions of the lattice's axes to the bodies, no more
    assert scattered.spread_mm(group) < 1.2 * drawn.spread_mm(groups[DEFAULT])


def test_prone_patients_come_together_though_most_matches_are_wrong():
    prone = cohort(images=4, count=1000, wrong=0.93)
    prone = prone.moved([motion(degrees=180.0 * (n % 2)) for n in range(4)])
    group = frog.register(prone.keypoints, prone.matches, replace(DEFAULT, levels=1))
    assert not any(one.doubts for one in group.fits)
    assert prone.spread_mm(group) < 5 * SCATTER_MM


def test_nobody_is_upright_but_all_on_average(drawn):
    turned = drawn.moved([motion((0.2, 0.1, 1.0), degrees) for degrees in (20, 20, -20, -20)])
    group = frog.register(turned.keypoints, turned.matches, replace(DEFAULT, levels=0))
    turns = [Rotation.from_matrix(linear.matrix[:3, :3]).as_rotvec(degrees=True) for linear in group.linear]
    # bodies are sheared by some degrees as well
    assert np.linalg.norm(np.mean(turns, axis=0)) < 5
    assert np.linalg.norm(turns, axis=1).min() > 12


def test_points_that_many_others_found_lose_their_matches(drawn, groups):
    rng, pairs = np.random.default_rng(0), drawn.matches[0, 1].pairs
    crowd = np.stack((rng.permutation(250)[:60], np.full(60, pairs[7, 1])), axis=1)
    given = {**drawn.matches, (0, 1): Matches(np.vstack((pairs, crowd)))}
    group = frog.register(drawn.keypoints, given, replace(DEFAULT, most_matches=3))
    left = np.concatenate((pairs[:, 1] != pairs[7, 1], np.zeros(60, bool)))
    assert (group.weights[0, 1][~left] == 0).all()
    # as though they had not been given
    spared = {**drawn.matches, (0, 1): Matches(given[0, 1].pairs[left])}
    without = frog.register(drawn.keypoints, spared, replace(DEFAULT, most_matches=None))
    assert drawn.placed(group).tobytes() == drawn.placed(without).tobytes()


def test_a_start_that_turns_is_kept_by_linear_maps_that_may_not_turn(drawn):
    turned = drawn.moved([motion((0.3, 0.2, 1.0), 35.0 * n) for n in range(4)])
    group = frog.register(turned.keypoints, turned.matches, replace(DEFAULT, linear="scales", linear_steps=40))
    assert turned.spread_mm(group) < 4 * SCATTER_MM


def test_two_images_are_a_group():
    pair = cohort(images=2)
    group = frog.register(pair.keypoints, pair.matches, DEFAULT)
    assert pair.spread_mm(group) < 3 * SCATTER_MM
    # neither is the template
    one, two = (linear.matrix[:3, :3] for linear in group.linear)
    assert np.linalg.det(one) * np.linalg.det(two) == pytest.approx(1, abs=1e-9)


@MODES
def test_identical_images_lie_on_each_other(drawn, config):
    same = [drawn.keypoints[0].moved_to(drawn.keypoints[0].position, f"copy{n}") for n in range(3)]
    rows = Matches(np.stack([np.arange(len(same[0]))] * 2, axis=1))
    group = frog.register(same, {(0, 1): rows, (0, 2): rows, (1, 2): rows}, config)
    at = [common.apply(same[0].position) for common in group.common_from_image]
    np.testing.assert_allclose(at, [same[0].position] * 3, atol=1e-9)
    # the published program has no test of convergence
    assert group.stopped == ("converged" if config.tolerance > 0 else "max_steps")


# ---------------------------------------------------------------------------------------------------------------------
# What must not matter


@pytest.mark.parametrize("config", [replace(DEFAULT, start="boxes"), PUBLISHED], ids=["default", "published"])
def test_the_order_of_images_and_matches_does_not_matter(drawn, config):
    group = frog.register(drawn.keypoints, drawn.matches, config)
    # sums are made in another order: 1e-16 of metres, over a hundred steps
    assert apart_mm(drawn.placed(group), shuffled(drawn, config)) < 1e-6


def test_the_order_decides_of_a_drawn_start_only_where_the_common_space_lies(drawn, groups):
    here, there = drawn.placed(groups[DEFAULT]), shuffled(drawn, DEFAULT)
    # triples of matches are drawn by their rows; the affine stage then has one solution, up to one map of all images
    assert apart_mm(here, there, fit.affine) < 0.05
    assert apart_mm(here, there) < 3


def shuffled(drawn: Cohort, config: FrogConfig) -> np.ndarray:
    """The places of the same group, its images and matches given in another order."""
    rng, order = np.random.default_rng(0), [2, 0, 3, 1]
    matches = {}
    for (i, j), each in drawn.matches.items():
        a, b, pairs = order.index(i), order.index(j), each.pairs[rng.permutation(len(each))]
        matches[min(a, b), max(a, b)] = Matches(pairs if a < b else pairs[:, ::-1])
    again = Cohort([drawn.keypoints[i] for i in order], matches, [drawn.order[i] for i in order], {})
    return again.placed(frog.register(again.keypoints, matches, config))[np.argsort(order)]


@MODES
def test_the_number_of_threads_does_not_matter(drawn, config, monkeypatch):
    # so few matches that one thread would take them all
    monkeypatch.setattr(half_edges, "LEAST", 10)
    monkeypatch.setattr(splatting, "LEAST", 10)
    placed = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            group = frog.register(drawn.keypoints, drawn.matches, config)
        placed.append((drawn.placed(group).tobytes(), [step.energy_mm for step in group.trace]))
    assert placed[0] == placed[1] == placed[2]


@pytest.mark.parametrize(
    "whole", [motion(shift=(1500.0, -700.0, 333.0)), motion(degrees=90.0, shift=(50.0, 60.0, 70.0))], ids=str
)
def test_moving_all_patients_moves_the_common_space_with_them(drawn, groups, whole):
    moved = drawn.moved([whole] * 4)
    group = frog.register(moved.keypoints, moved.matches, DEFAULT)
    with_them = np.stack([Affine(whole).apply(at) for at in drawn.placed(groups[DEFAULT])])
    # weights and lattices see metres with 1e-13 of them; least squares of points metres off lose half the digits
    assert apart_mm(with_them, moved.placed(group)) < 1e-3


def test_turning_all_patients_changes_little_but_where_the_common_space_lies(drawn, groups):
    turned = drawn.moved([motion((1.0, 2.0, 3.0), 20.0)] * 4)
    group = frog.register(turned.keypoints, turned.matches, DEFAULT)
    # another box, so another lattice: fewer mm than patients lie apart
    assert apart_mm(drawn.placed(groups[DEFAULT]), turned.placed(group), fit.rigid) < 1.5
    assert turned.spread_mm(group) == pytest.approx(drawn.spread_mm(groups[DEFAULT]), rel=0.1)


@MODES
def test_landmarks_are_only_looked_at(drawn, groups, config):
    marks = [points[rows[:20]] for points, rows in zip(drawn.keypoints, drawn.order)]
    group = frog.register(drawn.keypoints, drawn.matches, config, landmarks=[*marks[:3], None])
    assert drawn.placed(group).tobytes() == drawn.placed(groups[config]).tobytes()
    assert [step.energy_mm for step in group.trace] == [step.energy_mm for step in groups[config].trace]
    at = drawn.placed(group)[:3, :20]
    # the trace tells the state before each step: the last one moves little
    assert group.trace[-1].spread_mm == pytest.approx(spread(at).mean(), rel=0.05)
    assert group.trace[0].spread_mm > 2 * group.trace[-1].spread_mm


# ---------------------------------------------------------------------------------------------------------------------
# What holds of the maps


@MODES
def test_the_mean_of_all_splines_is_no_motion(groups, config):
    maps = [common.parts for common in groups[config].common_from_image]
    layers = [[part for part in parts if isinstance(part, BSpline)] for parts in maps]
    assert len(layers[0]) >= 2
    for layer in zip(*layers):
        assert len({part.grid for part in layer}) == 1
        np.testing.assert_allclose(sum(part.coefficients for part in layer), 0, atol=1e-9)


def test_the_common_space_has_the_patients_mean_size(groups):
    sizes = [np.linalg.det(linear.matrix[:3, :3]) for linear in groups[DEFAULT].linear]
    assert np.log(sizes).mean() == pytest.approx(0, abs=1e-9)
    assert np.ptp(sizes) > 0.02


@MODES
def test_nothing_folds_whatever_pulls(config):
    torn = cohort(images=3, wrong=0.0)
    # within 90 mm of its middle one body is inside out: no map that is one to one brings the matches together
    away = torn.keypoints[0].position - torn.keypoints[0].position.mean(axis=0)
    inside = np.linalg.norm(away, axis=1) < 90
    inverted = torn.keypoints[0].position - 2 * away * inside[:, None]
    keypoints = [torn.keypoints[0].moved_to(inverted, "patient0"), *torn.keypoints[1:]]
    hard = replace(config, levels=3, steps=60, rate=0.5, hold=0.0, tolerance=0.0)
    group = frog.register(keypoints, torn.matches, hard)
    assert inside.sum() > 10
    assert len(group.common_from_image[0].parts) > 5
    for common, points in zip(group.common_from_image, keypoints):
        low, high = points.position.min(axis=0), points.position.max(axis=0)
        anywhere = np.random.default_rng(0).uniform(low - 50, high + 50, (4000, 3))
        assert np.linalg.det(common.jacobian(np.vstack((anywhere, points.position)))).min() > 0


def test_energies_fall_between_looks_at_the_matches(groups):
    steps = groups[DEFAULT].trace
    assert {step.stage for step in steps} == {"linear", "200 mm", "100 mm"}
    for before, after in pairwise(steps):
        # matches are looked at anew at every linear step, and every ten steps of a level
        if before.stage == after.stage != "linear" and after.step % 10:
            assert after.energy_mm <= before.energy_mm
    for stage in ("linear", "200 mm", "100 mm"):
        energies = [step.energy_mm for step in steps if step.stage == stage]
        assert energies[-1] < energies[0]


# ---------------------------------------------------------------------------------------------------------------------
# Images that do not fit


@pytest.mark.parametrize("has_matches", [True, False])
def test_a_stranger_is_flagged_left_where_it_lay_and_moves_nobody(drawn, groups, has_matches):
    away = places(300, 99) * (1.1, 0.7, 0.5) + (900.0, -2000.0, 400.0)
    stranger = Keypoints(away, "stranger")
    its = {(n, 4): random_matches(drawn.keypoints[n], stranger, n) for n in range(4 if has_matches else 0)}
    whole = drawn.with_image(stranger, its)
    group = frog.register(whole.keypoints, whole.matches, DEFAULT)
    assert [bool(one.doubts) for one in group.fits] == [False] * 4 + [True]
    shifts = group.common_from_image[4].apply(away) - away
    np.testing.assert_allclose(shifts, np.tile(shifts[0], (300, 1)), atol=1e-9)
    # its points lie in the lattice's box: the lattice may lie a little otherwise
    assert apart_mm(drawn.placed(groups[DEFAULT]), drawn.placed(group)) < 1
    assert drawn.spread_mm(group) == pytest.approx(drawn.spread_mm(groups[DEFAULT]), rel=0.1)


def test_an_image_whose_slices_are_said_to_lie_too_far_apart_is_left_out(drawn):
    long = drawn.moved([*[np.eye(4)] * 3, np.diag([1.0, 1.0, 2.4, 1.0])])
    group = frog.register(long.keypoints, long.matches, DEFAULT)
    assert [bool(one.doubts) for one in group.fits] == [False] * 3 + [True]
    assert "voxel size" in group.fits[3].doubts[0]
    # the three lie to one another as they do without it
    alone = {pair: each for pair, each in drawn.matches.items() if 3 not in pair}
    without = frog.register(drawn.keypoints[:3], alone, DEFAULT)
    assert apart_mm(drawn.placed(without), drawn.placed(group)[:3], kind=fit.affine) < 2


def test_the_published_program_cannot_leave_a_stranger_but_doubts_it(drawn):
    stranger = Keypoints(places(300, 99), "stranger")
    whole = drawn.with_image(stranger, {(n, 4): random_matches(drawn.keypoints[n], stranger, n) for n in range(4)})
    group = frog.register(whole.keypoints, whole.matches, PUBLISHED)
    assert [bool(one.doubts) for one in group.fits] == [False] * 4 + [True]


def test_images_that_have_nothing_in_common_all_stay(drawn):
    some = drawn.keypoints[:3]
    matches = {(i, j): random_matches(some[i], some[j], i + j) for i, j in ((0, 1), (0, 2), (1, 2))}
    group = frog.register(some, matches, DEFAULT)
    assert all(one.doubts for one in group.fits)
    for common, points in zip(group.common_from_image, some):
        assert np.ptp(common.apply(points.position) - points.position, axis=0).max() < 1e-9


@MODES
@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_few_matches_are_not_believed(drawn, config, count):
    few = Matches(drawn.matches[0, 1].pairs[drawn.right[0, 1]][:count])
    group = frog.register(drawn.keypoints[:2], {(0, 1): few}, config)
    assert all(one.doubts for one in group.fits)
    assert len(group.weights[0, 1]) == count


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def with_nan(points: Keypoints) -> Keypoints:
    position = points.position.copy()
    position[3, 1] = np.nan
    return points.moved_to(position, points.space)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda k, m: ([k[0]], {}), "at least two images"),
        (lambda k, m: ([k[0], k[0]], m), "both called 'patient0'"),
        (lambda k, m: ([k[0], with_nan(k[1])], m), "'patient1' lie at NaN"),
        (lambda k, m: ([k[0], k[1][:0]], m), "'patient1' has no keypoints"),
        (lambda k, m: (k, {}), "no two images have any match"),
        (lambda k, m: (k, {(0, 1): Matches(np.zeros((0, 2)))}), "no two images have any match"),
        (lambda k, m: (k, {(0, 1): Matches(m[0, 1].pairs + (0, 7))}), "row 256 of the points of 'patient1'"),
        (lambda k, m: (k, {(0, 1): Matches(m[0, 1].pairs - (1, 0))}), "row -1 of the points of 'patient0'"),
        (lambda k, m: (k, {(1, 0): m[0, 1]}), r"images \(1, 0\)"),
        (lambda k, m: (k, {(0, 2): m[0, 1]}), r"images \(0, 2\), of 2"),
    ],
)
def test_what_is_no_group_is_refused(drawn, change, said):
    with pytest.raises(BadInput, match=said):
        frog.register(*change(drawn.keypoints[:2], {(0, 1): drawn.matches[0, 1]}), DEFAULT)


def test_landmarks_that_are_not_theirs_are_refused(drawn):
    def marked(*landmarks):
        frog.register(drawn.keypoints[:2], {(0, 1): drawn.matches[0, 1]}, DEFAULT, landmarks=landmarks)

    with pytest.raises(BadInput, match="of 1 images"):
        marked(None)
    with pytest.raises(BadInput, match="'patient0' lie at NaN"):
        marked(with_nan(drawn.keypoints[0]), None)
    with pytest.raises(SpaceMismatch, match="'patient1'"):
        marked(drawn.keypoints[1], drawn.keypoints[0])
