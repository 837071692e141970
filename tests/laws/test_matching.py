from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from homolog import Affine, Keypoints
from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels.threads import using_threads
from homolog.matching.configs import MatchConfig
from homolog.matching.nearest import match
from homolog.matching.truth import correspondences
from tests.geometry import oblique_grid, some_affine, some_spline

GRID = oblique_grid()
MIDDLE = GRID.world([[8, 7, 6]])[0]
MAP = some_affine(about_mm=MIDDLE)
FREE = MatchConfig(mutual=False, same_sign=False, scale_ratio=None)


def points(count=120, space="fixed", seed=0, numbers=5):
    rng = np.random.default_rng(seed)
    return Keypoints(
        GRID.world(rng.uniform(0, 12, (count, 3))),
        space,
        # a few values only, so that many pairs lie at the very limit of a ratio
        scale=rng.choice([2.0, 2.6, 3.0, 3.9, 5.07], count),
        response=rng.uniform(size=count),
        sign=rng.choice(np.array([-1, 1], np.int8), count),
        descriptors=rng.normal(size=(count, numbers)).astype(np.float32),
    )


def moving_copy(fixed, noise=0.0, seed=1):
    """The same points in another order, carried by the map; and where each of the fixed ones went."""
    order = np.random.default_rng(seed).permutation(len(fixed))
    there = fixed.moved_to(MAP.apply(fixed.position), "moving")[order]
    rng = np.random.default_rng(seed + 1)
    told = there.descriptors + noise * rng.normal(size=there.descriptors.shape).astype(np.float32)
    return replace(there, descriptors=told.astype(np.float32)), np.argsort(order)


def allowed(fixed, moving, config, moving_from_fixed=None):
    """(N, M) bool, by the words of the config."""
    fit = np.ones((len(fixed), len(moving)), bool)
    if config.same_sign:
        fit &= fixed.sign[:, None] == moving.sign
    if config.scale_ratio is not None:
        larger, smaller = (which(fixed.scale[:, None], moving.scale) for which in (np.maximum, np.minimum))
        fit &= larger <= config.scale_ratio * smaller
    if config.within_mm is not None:
        moved = moving_from_fixed.apply(fixed.position)
        fit &= np.linalg.norm(moved[:, None] - moving.position, axis=2) <= config.within_mm
    return fit


def matched_by_hand(fixed, moving, config, moving_from_fixed=None):
    """The definition, over all pairs."""
    apart = np.linalg.norm(fixed.descriptors[:, None].astype(float) - moving.descriptors, axis=2)
    apart = np.where(allowed(fixed, moving, config, moving_from_fixed), apart, np.inf)

    def good(apart):
        order = np.sort(np.pad(apart, ((0, 0), (0, 2)), constant_values=np.inf), axis=1)
        fit = np.isfinite(order[:, 0])
        fit &= config.ratio is None or order[:, 0] <= config.ratio * order[:, 1]
        return fit & (order[:, 0] <= (config.most_distance or np.inf))

    pairs = [
        (row, column)
        for row, column in enumerate(apart.argmin(axis=1))
        if good(apart)[row] and (not config.mutual or (apart.T.argmin(axis=1)[column] == row and good(apart.T)[column]))
    ]
    return np.array(pairs).reshape(-1, 2), np.array([apart[pair] for pair in pairs])


OPTIONS = [
    MatchConfig(mutual=mutual, ratio=ratio, same_sign=same_sign, scale_ratio=scale_ratio, most_distance=most)
    for mutual, ratio, same_sign, scale_ratio, most in product(
        (True, False), (None, 0.8), (True, False), (None, 1.0, 1.3), (None, 1.5)
    )
]


@pytest.mark.parametrize("config", OPTIONS, ids=str)
def test_matches_are_those_of_the_definition(config):
    fixed, moving = points(), points(100, "moving", 1)
    found = match(fixed, moving, config)
    pairs, distance = matched_by_hand(fixed, moving, config)
    assert len(pairs)
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-12)


@pytest.mark.parametrize("config", OPTIONS[::3], ids=str)
@pytest.mark.parametrize("within_mm", [2.0, 8.0, 1000.0])
def test_with_a_prior_map_the_nearest_is_sought_where_the_map_points(config, within_mm):
    fixed, moving = points(), points(100, "moving", 1)
    config = replace(config, within_mm=within_mm)
    found = match(fixed, moving, config, moving_from_fixed=MAP)
    pairs, distance = matched_by_hand(fixed, moving, config, MAP)
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-12)


def test_a_prior_map_finds_what_look_alikes_elsewhere_hide():
    """Every descriptor stands at many places: only the map tells which is meant."""
    fixed = points(200, numbers=3)
    fixed = replace(fixed, descriptors=np.tile(fixed.descriptors[:10], (20, 1)), sign=None, scale=None)
    moving, places = moving_copy(fixed)
    free = match(fixed, moving)
    guided = match(fixed, moving, MatchConfig(within_mm=1e-6), moving_from_fixed=MAP)
    assert (free.pairs[:, 1] == places[free.pairs[:, 0]]).sum() <= 10
    np.testing.assert_array_equal(guided.pairs, np.stack((np.arange(200), places), axis=1))


def test_planted_matches_are_found_again():
    fixed = points(300, numbers=24)
    moving, places = moving_copy(fixed, noise=0.1)
    for config in (MatchConfig(), MatchConfig(ratio=0.8), FREE):
        np.testing.assert_array_equal(match(fixed, moving, config).pairs[:, 1], places)


def test_mutual_matches_do_not_depend_on_which_picture_is_called_fixed():
    fixed, moving = points(), points(100, "moving", 1)
    for config in (MatchConfig(), MatchConfig(ratio=0.9), MatchConfig(scale_ratio=1.5, most_distance=2.0)):
        there, back = match(fixed, moving, config), match(moving, fixed, config)
        order = np.argsort(back.pairs[:, 1])
        np.testing.assert_array_equal(there.pairs, back.pairs[order][:, ::-1])
        np.testing.assert_array_equal(there.distance, back.distance[order])


def test_the_order_of_points_does_not_matter():
    fixed, moving = points(), points(100, "moving", 1)
    order, other = (np.random.default_rng(n).permutation(n) for n in (120, 100))
    found = match(fixed[order], moving[other])
    named = {(order[row], other[column]) for row, column in found.pairs}
    assert named == {tuple(pair) for pair in match(fixed, moving).pairs}


def test_where_the_points_lie_does_not_matter_without_a_prior_map():
    fixed, moving = points(), points(100, "moving", 1)
    elsewhere = moving.moved_to(MAP.apply(moving.position)[::-1], "moving")
    np.testing.assert_array_equal(match(fixed, elsewhere).pairs, match(fixed, moving).pairs)


@pytest.mark.parametrize("size, shift", [(1e-6, 0.0), (1e12, 0.0), (100.0, 50_000.0)])
def test_descriptors_of_any_size_are_matched(size, shift):
    fixed, moving = points(), points(100, "moving", 1)
    one, other = (replace(p, descriptors=np.float32(size * p.descriptors + shift)) for p in (fixed, moving))
    pairs, distance = matched_by_hand(one, other, MatchConfig())
    found = match(one, other)
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-12)


def test_of_equal_descriptors_the_lower_rows_meet_whatever_their_scales():
    fixed, moving = points(40), points(40, "moving", 1)
    one, other = (replace(p, descriptors=np.zeros((40, 5), np.float32)) for p in (fixed, moving))
    for config in (MatchConfig(), MatchConfig(within_mm=1e4)):
        found = match(one, other, config, moving_from_fixed=MAP)
        np.testing.assert_array_equal(found.pairs, matched_by_hand(one, other, config, MAP)[0])


def test_what_is_not_known_is_no_gate():
    fixed, moving = points(), points(100, "moving", 1)
    expected = match(fixed, moving, replace(FREE, mutual=True)).pairs
    for bare, config in (({"sign": None}, {"scale_ratio": None}), ({"scale": None}, {"same_sign": False})):
        config = MatchConfig(**config)
        np.testing.assert_array_equal(match(replace(fixed, **bare), moving, config).pairs, expected)
        np.testing.assert_array_equal(match(fixed, replace(moving, **bare), config).pairs, expected)


@pytest.mark.parametrize("sizes", [(0, 100), (120, 0), (0, 0)])
@pytest.mark.parametrize("config", [MatchConfig(), FREE, MatchConfig(within_mm=5)], ids=str)
def test_no_points_have_no_matches(sizes, config):
    found = match(points()[: sizes[0]], points(100, "moving")[: sizes[1]], config, moving_from_fixed=MAP)
    assert found.pairs.shape == (0, 2) and found.pairs.dtype == np.int64
    assert found.distance.shape == (0,) and found.distance.dtype == np.float64


def test_no_gate_left_open_has_no_matches():
    fixed, moving = points(), points(100, "moving", 1)
    assert len(match(replace(fixed, sign=np.full(120, 1)), replace(moving, sign=np.full(100, -1)))) == 0
    assert len(match(replace(fixed, scale=np.full(120, 1.0)), replace(moving, scale=np.full(100, 2.0)))) == 0


def test_scales_at_the_very_limit_pass_whichever_is_the_larger():
    small = replace(points(500), scale=np.random.default_rng(0).uniform(1, 9, 500), sign=None)
    large = replace(small, scale=1.3 * small.scale, space="moving")
    for config in (MatchConfig(), MatchConfig(within_mm=1e-3)):
        for one, other in ((small, large), (replace(large, space="fixed"), replace(small, space="moving"))):
            found = match(one, other, config, moving_from_fixed=Affine.identity())
            np.testing.assert_array_equal(found.pairs, np.stack(2 * (np.arange(500),), axis=1))


def test_a_lone_neighbour_passes_any_ratio():
    found = match(points(1), points(1, "moving"), MatchConfig(ratio=0.1, scale_ratio=None, same_sign=False))
    np.testing.assert_array_equal(found.pairs, [[0, 0]])


def test_threads_do_not_matter():
    fixed, moving = points(6000, numbers=4), points(5000, "moving", 1, numbers=4)
    results = []
    for threads in (1, 3):
        with using_threads(threads):
            results.append(match(fixed, moving, MatchConfig(ratio=0.95)))
    np.testing.assert_array_equal(results[0].pairs, results[1].pairs)
    np.testing.assert_array_equal(results[0].distance, results[1].distance)


def test_wrong_use_of_matching_is_told():
    fixed, moving = points(), points(100, "moving", 1)
    broken = moving.descriptors.copy()
    broken[3, 1] = np.nan
    with pytest.raises(BadInput, match="no descriptors"):
        match(fixed, replace(moving, descriptors=None))
    with pytest.raises(BadInput, match=r"5 numbers.* 7"):
        match(fixed, points(10, "moving", numbers=7))
    with pytest.raises(BadInput, match="NaN"):
        match(fixed, replace(moving, descriptors=broken))
    with pytest.raises(BadInput, match="NaN"):
        match(replace(fixed, scale=np.full(120, np.nan)), moving)
    with pytest.raises(BadInput, match="map"):
        match(fixed, moving, MatchConfig(within_mm=5))
    with pytest.raises(SpaceMismatch):
        match(fixed, moving, MatchConfig(within_mm=5), moving_from_fixed=MAP.inverse())
    for wrong in ({"ratio": 0.0}, {"ratio": 1.5}, {"scale_ratio": 0.5}, {"within_mm": -1.0}, {"most_distance": -1.0}):
        with pytest.raises(BadInput):
            match(fixed, moving, MatchConfig(**wrong), moving_from_fixed=MAP)


# ---------------------------------------------------------------------------------------------------------------------
# Who corresponds


def corresponding_by_hand(fixed, moving, transform, config):
    apart = np.linalg.norm(transform.apply(fixed.position)[:, None] - moving.position, axis=2)
    apart = np.where(allowed(fixed, moving, config, transform), apart, np.inf)
    pairs = [
        (row, column)
        for row, column in enumerate(apart.argmin(axis=1))
        if np.isfinite(apart[row, column]) and (not config.mutual or apart[:, column].argmin() == row)
    ]
    return np.array(pairs).reshape(-1, 2), np.array([apart[pair] for pair in pairs])


@pytest.mark.parametrize("transform", [MAP, some_spline()], ids=["affine", "spline"])
@pytest.mark.parametrize("mutual, same_sign, scale_ratio", [*product((True, False), (True, False), (None, 1.3))])
def test_correspondences_are_those_of_the_definition(transform, mutual, same_sign, scale_ratio):
    fixed, moving = points(400), points(300, "moving", 1)
    options = {"mutual": mutual, "same_sign": same_sign, "scale_ratio": scale_ratio}
    found = correspondences(fixed, moving, transform, within_mm=3.0, **options)
    pairs, apart = corresponding_by_hand(fixed, moving, transform, MatchConfig(within_mm=3.0, **options))
    assert 20 < len(pairs) < 400
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.distance, apart, rtol=1e-9)


def test_planted_correspondences_are_found_without_any_descriptor():
    fixed = replace(points(), descriptors=None)
    moving, places = moving_copy(points())
    found = correspondences(fixed, replace(moving, descriptors=None), MAP, within_mm=0.5)
    np.testing.assert_array_equal(found.pairs, np.stack((np.arange(120), places), axis=1))
    np.testing.assert_allclose(found.distance, 0, atol=1e-9)


def test_correspondences_are_measured_in_the_moving_patient():
    fixed = points(60)
    grown = Affine(np.diag([3.0, 3.0, 3.0, 1.0]))
    moving = fixed.moved_to(grown.apply(fixed.position + [0.3, 0, 0]), "moving")
    assert len(correspondences(fixed, moving, grown, within_mm=0.89)) < 5
    found = correspondences(fixed, moving, grown, within_mm=0.91)
    assert len(found) > 50 and np.isclose(found.distance, 0.9).mean() > 0.9


def test_no_points_do_not_correspond():
    found = correspondences(points()[:0], points(5, "moving"), MAP, within_mm=5)
    assert found.pairs.shape == (0, 2) and found.distance.shape == (0,)


def test_wrong_use_of_correspondences_is_told():
    fixed, moving = points(), points(100, "moving", 1)
    with pytest.raises(SpaceMismatch):
        correspondences(moving, fixed, MAP, within_mm=5)
    with pytest.raises(BadInput):
        correspondences(fixed, moving, MAP, within_mm=0)
    with pytest.raises(BadInput, match="NaN"):
        correspondences(fixed, moving.moved_to(moving.position * np.nan, "moving"), MAP, within_mm=5)
    with pytest.raises(BadInput):
        correspondences(fixed, moving, MAP, within_mm=5, scale_ratio=0.5)
