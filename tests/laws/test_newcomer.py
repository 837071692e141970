"""One more patient in a finished group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homolog import Affine, Keypoints, Matches
from homolog.errors import BadInput, SpaceMismatch
from homolog.groupwise import frog, newcomer
from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.group import COMMON
from homolog.kernels.threads import using_threads
from homolog.space import fit
from tests.groups import DEFAULT, SCATTER_MM, cohort, motion, places, random_matches

# the last of them is the newcomer
DRAWN = cohort(images=5)
OWN = DRAWN.keypoints[4]
OTHERS = DRAWN.keypoints[:4]
FOUND = [Matches(DRAWN.matches[n, 4].pairs[:, ::-1]) for n in range(4)]


@pytest.fixture(scope="module")
def group():
    return frog.register(OTHERS, {pair: each for pair, each in DRAWN.matches.items() if 4 not in pair}, DEFAULT)


def placed(group, own: Keypoints = OWN, found=FOUND, config: FrogConfig = DEFAULT):
    return newcomer.place(own, OTHERS, group.common_from_image, found, config)


def middles(group) -> np.ndarray:
    """(places, 3) mm: where each place lies in the common space, on average over the group."""
    maps = zip(group.common_from_image, OTHERS, DRAWN.order)
    return np.mean([common.apply(points.position[rows]) for common, points, rows in maps], axis=0)


def own_places(alone, own: Keypoints = OWN) -> np.ndarray:
    return alone.common_from_image[0].apply(own.position[DRAWN.order[4]])


def rms_mm(apart: np.ndarray) -> float:
    return float(np.sqrt((apart**2).sum(axis=1).mean()))


def test_a_newcomer_comes_to_lie_where_the_group_would_have_put_it(group):
    alone = placed(group)
    assert not alone.fits[0].doubts
    together = frog.register(DRAWN.keypoints, DRAWN.matches, DEFAULT)
    at = DRAWN.placed(together)
    off_together = rms_mm(at[4] - at[:4].mean(axis=0))
    # the others no longer come to meet it: four of five parts of the way at the most were its own
    assert rms_mm(own_places(alone) - middles(group)) < 5 / 4 * off_together + SCATTER_MM
    # and the place itself, once the one common space is laid on the other
    same = fit.affine(middles(group), at[:4].mean(axis=0))
    assert rms_mm(same.apply(own_places(alone)) - at[4]) < 3 * SCATTER_MM


def test_one_of_the_group_comes_back_to_its_place(group):
    again = OTHERS[2].moved_to(OTHERS[2].position, "again")
    rows = np.stack([np.arange(len(again))] * 2, axis=1)
    pairs = [DRAWN.matches[0, 2].pairs[:, ::-1], DRAWN.matches[1, 2].pairs[:, ::-1], rows, DRAWN.matches[2, 3].pairs]
    alone = placed(group, again, [Matches(each) for each in pairs])
    apart = alone.common_from_image[0].apply(again.position) - group.common_from_image[2].apply(again.position)
    assert rms_mm(apart) < 2 * SCATTER_MM


def test_the_group_stays_as_it_was(group):
    before = [common.apply(points.position).tobytes() for common, points in zip(group.common_from_image, OTHERS)]
    assert len(placed(group).common_from_image) == 1
    after = [common.apply(points.position).tobytes() for common, points in zip(group.common_from_image, OTHERS)]
    assert before == after


@pytest.mark.parametrize("config", [DEFAULT, FrogConfig(compat="frog")], ids=["default", "published"])
def test_a_newcomer_may_lie_anywhere_in_any_direction(group, config):
    away = Affine(motion((1.0, 0.2, 0.1), 160.0, (900.0, -2000.0, 50.0)))
    turned = OWN.moved_to(away.apply(OWN.position), OWN.space)
    alone = placed(group, turned, config=config)
    assert not alone.fits[0].doubts
    # the scanner's axes are the newcomer's own, and so what scales along them
    allowed = {None: 0.2 * SCATTER_MM, "frog": 3 * SCATTER_MM}[config.compat]
    assert rms_mm(own_places(alone, turned) - own_places(placed(group, config=config))) < allowed


def test_the_newcomer_moves_with_the_common_space(group):
    whole = Affine(motion(shift=(700.0, -300.0, 1100.0)), COMMON, COMMON)
    moved = replace(group, common_from_image=tuple(whole @ common for common in group.common_from_image))
    np.testing.assert_allclose(own_places(placed(moved)), whole.apply(own_places(placed(group))), atol=1e-3)


def test_the_number_of_threads_does_not_matter(group):
    results = []
    for threads in (1, 4):
        with using_threads(threads):
            results.append(own_places(placed(group)).tobytes())
    assert results[0] == results[1]


def test_nothing_folds(group):
    common = placed(group, config=replace(DEFAULT, levels=3, rate=0.5, tolerance=0.0)).common_from_image[0]
    low, high = OWN.position.min(axis=0), OWN.position.max(axis=0)
    anywhere = np.random.default_rng(0).uniform(low - 50, high + 50, (4000, 3))
    assert np.linalg.det(common.jacobian(anywhere)).min() > 0


def test_a_stranger_is_flagged_and_only_shifted(group):
    stranger = Keypoints(places(300, 99) * (1.1, 0.7, 0.5) + (900.0, -2000.0, 400.0), "stranger")
    alone = placed(group, stranger, [random_matches(stranger, each, n) for n, each in enumerate(OTHERS)])
    assert alone.fits[0].space == "stranger" and alone.fits[0].doubts
    shifts = alone.common_from_image[0].apply(stranger.position) - stranger.position
    np.testing.assert_allclose(shifts, np.tile(shifts[0], (300, 1)), atol=1e-9)


def test_a_newcomer_whose_slices_are_said_to_lie_too_far_apart_is_left_out(group):
    long = OWN.moved_to(OWN.position * (1.0, 1.0, 2.4), OWN.space)
    assert "voxel size" in placed(group, long).fits[0].doubts[0]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_few_matches_are_not_believed(group, count):
    few = Matches(FOUND[0].pairs[DRAWN.right[0, 4]][:count])
    assert placed(group, found=[few, *[Matches(np.zeros((0, 2)))] * 3]).fits[0].doubts


def test_what_is_no_newcomer_is_refused(group):
    maps = group.common_from_image
    with pytest.raises(BadInput, match="4, 4 and 3"):
        newcomer.place(OWN, OTHERS, maps, FOUND[:3], DEFAULT)
    with pytest.raises(SpaceMismatch, match="keypoints of 'patient0'"):
        newcomer.place(OWN, OTHERS, maps[::-1], FOUND, DEFAULT)
    with pytest.raises(BadInput, match="'patient4' has no keypoints"):
        newcomer.place(OWN[:0], OTHERS, maps, FOUND, DEFAULT)
    with pytest.raises(BadInput, match="no match with any image"):
        newcomer.place(OWN, OTHERS, maps, [Matches(np.zeros((0, 2)))] * 4, DEFAULT)
    with pytest.raises(BadInput, match="row 250 of the points of 'patient4'"):
        newcomer.place(OWN, OTHERS, maps, [Matches([[250, 0]]), *FOUND[1:]], DEFAULT)
    lost = OWN.moved_to(np.where(np.arange(250)[:, None] == 7, np.nan, OWN.position), OWN.space)
    with pytest.raises(BadInput, match="'patient4' lie at NaN"):
        newcomer.place(lost, OTHERS, maps, FOUND, DEFAULT)
