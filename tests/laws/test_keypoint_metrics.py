from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2, norm

from homolog import Affine, Grid, Keypoints, Matches, Volume
from homolog.errors import BadInput, SpaceMismatch
from homolog.metrics import descriptors, keypoints
from homolog.metrics.descriptors import Case, average_precision, discrimination, false_positive_rate, retrieval
from homolog.metrics.keypoints import fair_budget, inlier_ratio, matching_score, repeatability
from tests.geometry import oblique_grid, some_affine, some_displacement

# 120 x 140 x 130 mm, oblique and left-handed
GRID = oblique_grid((100, 70, 80), (1.2, 2.0, 1.625))
MAP = some_affine(about_mm=GRID.world([[50, 35, 40]])[0])
# all that the map carries anywhere
WIDE = GRID.padded(40)


def strewn(count, seed=0, grid=GRID):
    rng = np.random.default_rng(seed)
    return grid.world(rng.uniform(-0.5, np.array(grid.shape) - 0.5, (count, 3)))


def points(position, space="fixed", seed=0, numbers=8):
    rng = np.random.default_rng(seed)
    return Keypoints(
        position,
        space,
        response=rng.permutation(len(position)).astype(float),
        descriptors=rng.normal(size=(len(position), numbers)).astype(np.float32),
    )


def box(low, high, space="fixed"):
    """Labels: 1 between two shares of the first axis."""
    data = np.zeros(GRID.shape, np.uint8)
    data[int(low * GRID.shape[0]) : int(high * GRID.shape[0])] = 1
    return Volume(data, GRID, space, "labels")


def off_by(lengths, seed=3):
    away = np.random.default_rng(seed).normal(size=(len(lengths), 3))
    return away * (np.array(lengths) / np.linalg.norm(away, axis=1))[:, None]


# ---------------------------------------------------------------------------------------------------------------------
# Repeatability


def far_apart(count=60):
    """Points no two of which lie within 12 mm, so that none meets another's place."""
    grid = Grid.regular((5, 4, 4), 14.0, GRID.world([[35, 22, 25]])[0], GRID.axes)
    return grid.points()[:count]


def test_points_off_their_places_by_known_lengths_are_found_again_within_them():
    fixed = points(far_apart(40))
    lengths = [0.5] * 10 + [1.5] * 10 + [3.0] * 10 + [5.0] * 10
    moving = points(MAP.apply(fixed.position) + off_by(lengths), "moving")
    found = repeatability(fixed, moving, MAP, fixed_region=GRID, moving_region=WIDE)
    assert found.rate == pytest.approx((0.25, 0.5, 0.75))
    assert (found.fixed, found.moving) == (40, 40)


def test_points_without_a_counterpart_count_on_both_sides():
    fixed = points(far_apart(40))
    moving = points(MAP.apply(fixed.position[10:]), "moving")
    found = repeatability(fixed, moving, MAP, fixed_region=GRID, moving_region=WIDE, within_mm=(2,))
    assert found.rate == pytest.approx(((30 + 30) / (40 + 30),))


def test_repeatability_does_not_depend_on_which_picture_is_called_fixed():
    rigid = Affine(np.vstack((np.hstack((GRID.axes, [[4.0], [-7.0], [2.0]])), [0, 0, 0, 1])))
    fixed, moving = points(strewn(300)), points(rigid.apply(strewn(280, 1)), "moving", 1)
    regions = Grid(GRID.shape, GRID.world_from_voxel), Grid(GRID.shape, rigid.matrix @ GRID.world_from_voxel)
    there = repeatability(fixed, moving, rigid, fixed_region=regions[0], moving_region=regions[1], within_mm=(9,))
    back = repeatability(
        moving, fixed, rigid.inverse(), fixed_region=regions[1], moving_region=regions[0], within_mm=(9,)
    )
    assert 0.2 < there.rate[0] < 0.95
    assert there.rate == pytest.approx(back.rate)
    assert there.chance == pytest.approx(back.chance)


def test_what_the_other_picture_does_not_show_does_not_count():
    fixed = points(far_apart(60))
    moving = points(fixed.position, "moving")
    still = Affine.identity()
    left, right = box(0, 0.5), box(0.3, 1.0, "moving")
    shares = GRID.voxel(fixed.position)[:, 0] / GRID.shape[0]
    both = np.floor(shares * GRID.shape[0] + 0.5)
    both = (both >= 30) & (both < 50)
    assert 0 < both.sum() < len(both)
    found = repeatability(fixed, moving, still, fixed_region=left, moving_region=right, within_mm=(2,))
    assert (found.fixed, found.moving, found.rate) == (both.sum(), both.sum(), (1.0,))
    # 0.2 of the grid's volume, measured in 60 000 places: four standard errors
    share = found.shared_mm3 / (GRID.size * GRID.voxel_volume_mm3)
    assert share == pytest.approx(0.2, abs=0.7 * 4 * np.sqrt(2 / 7 * 5 / 7 / keypoints.PLACES))


def test_a_region_is_measured_in_the_moving_patient():
    grown = Affine(np.diag([1.2, 0.9, 1.1, 1.0]))
    found = repeatability(points(strewn(5)), points(strewn(5), "moving"), grown, fixed_region=GRID, moving_region=WIDE)
    expected = 1.2 * 0.9 * 1.1 * GRID.size * GRID.voxel_volume_mm3
    # the map about the origin carries part of the box out of the other
    seen = WIDE.contains(grown.apply(strewn(200_000, 5))).mean()
    assert found.shared_mm3 == pytest.approx(expected * seen, rel=0.02)


@pytest.mark.parametrize("counts", [(2000, 2000), (500, 3000)])
def test_points_strewn_evenly_are_found_again_as_often_as_chance_says(counts):
    """To four standard errors of a binomial share; balls that leave the region find a little less."""
    inner = box(0.0, 1.0)
    fixed, moving = (points(strewn(n, n + s), "fixed" if s else "moving", s) for s, n in zip((1, 0), counts))
    still = Affine.identity()
    found = repeatability(
        fixed, moving, still, fixed_region=inner, moving_region=replace(inner, space="moving"), within_mm=(2, 4)
    )
    for rate, chance in zip(found.rate, found.chance):
        # balls at the rim lie outside in part: 4 mm of 120 to 140 take at most 3 * 2 * 4 / 120 / 4 of it
        assert rate == pytest.approx(chance, abs=4 * np.sqrt(chance / sum(counts) * 2) + 0.05 * chance)
        assert rate <= chance + 4 * np.sqrt(chance / sum(counts) * 2)


def test_a_budget_keeps_the_strongest_of_the_shared_points():
    fixed = points(far_apart(60))
    moving = points(fixed.position[::-1], "moving", seed=1)
    both = keypoints.shared(fixed, moving, Affine.identity(), fixed_region=box(0, 0.5), moving_region=GRID, budget=7)
    seen = fixed.response[np.floor(GRID.voxel(fixed.position)[:, 0] + 0.5) < 50]
    np.testing.assert_array_equal(both.fixed.response, np.sort(seen)[::-1][:7])
    assert len(both.moving) == 7
    found = repeatability(
        fixed, moving, Affine.identity(), fixed_region=box(0, 0.5), moving_region=GRID, budget=7, within_mm=(1,)
    )
    same = len({tuple(p) for p in both.fixed.position} & {tuple(p) for p in both.moving.position})
    assert found.rate == pytest.approx((same / 7,))


def test_the_fair_budget_is_what_the_poorest_detector_found_in_the_poorer_picture():
    regions = {"fixed_region": box(0, 0.5), "moving_region": GRID}
    many = points(strewn(400)), points(strewn(300, 1), "moving")
    few = points(strewn(100, 2)), points(strewn(200, 3), "moving")
    inside = (np.floor(GRID.voxel(few[0].position)[:, 0] + 0.5) < 50).sum()
    assert fair_budget([many, few], Affine.identity(), **regions) == inside
    assert fair_budget([many, (few[0], few[1][:3])], Affine.identity(), **regions) <= 3


def test_places_that_come_from_nowhere_are_not_shared():
    """A field that folds has moving points with no inverse."""
    flat = some_displacement(GRID)
    flat = replace(
        flat, vectors=(GRID.world([[50, 35, 40]])[0] - GRID.points()).reshape(flat.vectors.shape).astype(np.float32)
    )
    found = repeatability(
        points(strewn(50)), points(strewn(50, 1), "moving"), flat, fixed_region=GRID, moving_region=GRID, within_mm=(2,)
    )
    assert found.moving == 0 and found.shared_mm3 == 0


def test_curved_maps_are_followed_both_ways():
    curved = some_displacement(GRID, height_mm=6.0)
    fixed = points(strewn(200))
    moving = points(curved.apply(fixed.position), "moving")
    found = repeatability(fixed, moving, curved, fixed_region=GRID, moving_region=WIDE, within_mm=(0.01,))
    assert found.rate == (1.0,)
    assert found.fixed == found.moving == 200


def test_no_points_have_no_rate():
    none = points(np.zeros((0, 3)))
    found = repeatability(none, points(strewn(5), "moving"), MAP, fixed_region=GRID, moving_region=WIDE)
    assert found.rate == (0, 0, 0) and np.isnan(found.chance).all()
    nothing = repeatability(none, none.moved_to(none.position, "moving"), MAP, fixed_region=GRID, moving_region=WIDE)
    assert np.isnan(nothing.rate).all() and np.isnan(nothing.chance).all()


# ---------------------------------------------------------------------------------------------------------------------
# Matching


def test_the_matching_score_counts_both_directions_and_never_exceeds_repeatability():
    fixed = points(far_apart(40), numbers=3)
    lengths = np.linspace(0.1, 5, 40)
    noise = 0.5 * np.random.default_rng(5).normal(size=(40, 3)).astype(np.float32)
    moving = replace(
        fixed.moved_to(MAP.apply(fixed.position) + off_by(lengths), "moving"), descriptors=fixed.descriptors + noise
    )[5:]
    regions = {"fixed_region": GRID, "moving_region": WIDE}
    score = matching_score(fixed, moving, MAP, **regions)
    apart = np.linalg.norm(fixed.descriptors[:, None].astype(float) - moving.descriptors[None], axis=2)
    there, back = apart.argmin(axis=1), apart.argmin(axis=0)
    places = np.linalg.norm(MAP.apply(fixed.position)[:, None] - moving.position[None], axis=2)
    mutual = back[there] == np.arange(40)
    for n, within in enumerate(score.within_mm):
        right = places[np.arange(40), there] <= within
        right_back = places[back, np.arange(35)] <= within
        assert score.score[n] == pytest.approx((right.mean() + right_back.mean()) / 2)
        assert score.accuracy[n] == pytest.approx(right[mutual].mean())
    assert 0 < score.score[1] < 1 and score.mutual == mutual.sum()
    assert all(s <= r + 1e-12 for s, r in zip(score.score, repeatability(fixed, moving, MAP, **regions).rate))
    pairs = np.stack((np.flatnonzero(mutual), there[mutual]), axis=1)
    assert inlier_ratio(fixed, moving, Matches(pairs), MAP) == pytest.approx(score.accuracy[1])


def test_only_shared_points_are_matched():
    """A twin outside what both pictures show does not draw a match away."""
    fixed = points(far_apart(60))
    moving = fixed.moved_to(fixed.position, "moving")
    first = np.floor(GRID.voxel(fixed.position)[:, 0] + 0.5)
    outside = first >= 50
    inside = np.flatnonzero(~outside)
    twins = moving.descriptors.copy()
    twins[np.flatnonzero(outside)[:5]] = twins[inside[:5]]
    twins[inside[:5]] += 0.01
    found = matching_score(
        fixed,
        replace(moving, descriptors=twins),
        Affine.identity(),
        fixed_region=box(0, 0.5),
        moving_region=box(0, 0.5, "moving"),
    )
    assert found.score == (1.0, 1.0, 1.0) and found.mutual == len(inside)


def test_matches_of_nothing_have_no_ratio():
    fixed, moving = points(strewn(5)), points(strewn(5), "moving")
    assert np.isnan(inlier_ratio(fixed, moving, Matches(np.zeros((0, 2))), MAP))
    none = matching_score(fixed[:0], moving, MAP, fixed_region=GRID, moving_region=WIDE)
    assert none.mutual == 0 and np.isnan(none.accuracy).all()


# ---------------------------------------------------------------------------------------------------------------------
# Descriptors


def test_the_false_positives_of_two_gaussians_are_the_closed_forms():
    rng = np.random.default_rng(1)
    right, wrong = rng.normal(1.0, 0.3, 200_000), rng.normal(2.0, 0.5, 200_000)
    expected = norm.cdf((1.0 + 0.3 * norm.ppf(0.95) - 2.0) / 0.5)
    # the threshold's own error is the larger: 0.3 * sqrt(0.95 * 0.05 / n) / density(1.645), times the slope
    assert false_positive_rate(right, wrong) == pytest.approx(expected, abs=4 * 0.0015)


def test_no_wrong_pair_is_let_through_where_all_are_farther():
    assert false_positive_rate(np.array([0.1, 0.2]), np.array([0.3])) == 0
    assert false_positive_rate(np.array([0.1] * 95 + [9] * 5), np.array([0.1, 0.2])) == 0.5


def test_average_precision_agrees_with_its_definition():
    rng = np.random.default_rng(2)
    # many ties
    right, wrong = rng.integers(0, 6, 50), rng.integers(3, 9, 70)
    expected = [(right <= d).sum() / ((right <= d).sum() + (wrong <= d).sum()) for d in right]
    assert average_precision(right, wrong) == pytest.approx(np.mean(expected))


def case(count=1500, noise=0.6, numbers=6, seed=0):
    rng = np.random.default_rng(seed)
    fixed = Keypoints(
        strewn(count, seed),
        "fixed",
        scale=rng.uniform(2, 6, count),
        sign=rng.choice([-1, 1], count),
        descriptors=rng.normal(size=(count, numbers)).astype(np.float32),
    )
    order = rng.permutation(count)
    moving = replace(
        fixed.moved_to(MAP.apply(fixed.position), "moving")[order],
        descriptors=(fixed.descriptors + noise * rng.normal(size=(count, numbers)))[order].astype(np.float32),
    )
    return Case(fixed, moving, Matches(np.stack((order, np.arange(count)), axis=1)), MAP)


def test_drawn_pairs_of_gaussian_descriptors_meet_the_closed_form():
    """Right pairs differ by s^2 chi^2, wrong ones by (2 + s^2) chi^2."""
    found = discrimination([case(), case(seed=1)], pairs=20_000, seeds=4)
    expected = chi2.cdf(0.6**2 / (2 + 0.6**2) * chi2.ppf(0.95, 6), 6)
    # 3000 descriptors, each in many pairs
    assert found.false_positives == pytest.approx(expected, rel=0.15)
    assert 0 < found.false_positives_sd < 0.2 * found.false_positives
    assert found.pairs == 20_000 and 0.5 < found.average_precision < 1


def test_hard_pairs_are_alike_in_what_the_detector_tells():
    """Descriptors that say no more than sign and scale tell random pairs apart, and hard ones hardly."""
    easy = case()
    told = [
        replace(
            side,
            descriptors=np.stack((5.0 * side.sign, 4 * np.log(side.scale)), axis=1).astype(np.float32)
            + 0.3 * np.random.default_rng(n).normal(size=(len(side), 2)).astype(np.float32),
        )
        for n, side in enumerate((easy.fixed, easy.moving))
    ]
    told = Case(*told, easy.correspondences, MAP)
    random, hard = (discrimination([told], pairs=10_000, seeds=2, hard=hard) for hard in (False, True))
    assert random.false_positives < 0.3 < 0.6 < hard.false_positives


def test_the_same_seeds_draw_the_same_pairs():
    assert discrimination([case()], pairs=2000) == discrimination([case()], pairs=2000)


def test_pairs_at_one_place_are_never_wrong_ones():
    """All points but one lie at one place: no wrong pair can be drawn, nor is one at less than the distance."""
    heap = case(300)
    heap = replace(heap, fixed=heap.fixed.moved_to(np.tile(strewn(1), (300, 1)), "fixed"))
    heap = replace(heap, moving=heap.moving.moved_to(MAP.apply(heap.fixed.position), "moving"))
    with pytest.raises(BadInput, match="wrong pair"):
        discrimination([heap], pairs=100)
    assert discrimination([heap], pairs=100, apart_mm=-1.0).pairs == 100


def test_the_right_ones_place_is_counted_among_all_points():
    some = case(400, noise=0.9, numbers=3)
    found = retrieval([some])
    apart = np.linalg.norm(some.fixed.descriptors[:, None].astype(float) - some.moving.descriptors[None], axis=2)
    rows, columns = some.correspondences.pairs.T
    places = 1 + (apart[rows] < apart[rows, columns][:, None]).sum(axis=1)
    assert 0.02 < found.first < 0.9
    assert found.first == pytest.approx((places == 1).mean())
    assert found.average_precision == pytest.approx((1 / places).mean())
    assert found.queries == 400


def test_the_same_descriptor_twice_does_not_push_the_right_one_back():
    some = case(300, noise=0.0)
    position, twice = (np.repeat(column, 2, axis=0) for column in (some.moving.position, some.moving.descriptors))
    doubled = Keypoints(position, "moving", descriptors=twice)
    pairs = some.correspondences.pairs * [1, 2] + [0, 1]
    assert retrieval([Case(some.fixed, doubled, Matches(pairs), MAP)]).first == 1.0


def test_no_correspondence_has_no_figure():
    some = case(10)
    none = replace(some, correspondences=Matches(np.zeros((0, 2))))
    assert np.isnan(discrimination([none]).false_positives)
    assert np.isnan(retrieval([none]).first) and np.isnan(retrieval([]).first)


# ---------------------------------------------------------------------------------------------------------------------
# Wrong use


def test_wrong_use_is_told():
    fixed, moving = points(strewn(5)), points(strewn(5), "moving")
    regions = {"fixed_region": GRID, "moving_region": WIDE}
    with pytest.raises(SpaceMismatch):
        repeatability(moving, fixed, MAP, **regions)
    with pytest.raises(SpaceMismatch, match="region"):
        repeatability(fixed, moving, MAP, fixed_region=box(0, 1, "moving"), moving_region=GRID)
    with pytest.raises(BadInput, match="intensities"):
        repeatability(
            fixed, moving, MAP, fixed_region=Volume(np.zeros(GRID.shape, np.float32), GRID, "fixed"), moving_region=GRID
        )
    with pytest.raises(BadInput, match="descriptors"):
        matching_score(replace(fixed, descriptors=None), moving, MAP, **regions)
    with pytest.raises(BadInput, match="response"):
        repeatability(replace(fixed, response=None), moving, MAP, **regions, budget=3)
    with pytest.raises(BadInput, match="NaN"):
        repeatability(fixed.moved_to(fixed.position * np.nan, "fixed"), moving, MAP, **regions)
    with pytest.raises(BadInput, match="descriptors"):
        replace(case(5), fixed=replace(case(5).fixed, descriptors=None))
    with pytest.raises(SpaceMismatch):
        replace(case(5), moving_from_fixed=MAP.inverse())
    with pytest.raises(BadInput):
        discrimination([case(5)], pairs=1)
    assert descriptors.TRUE_POSITIVES == 0.95
