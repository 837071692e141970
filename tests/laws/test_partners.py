"""Who is matched with whom: everyone is connected, nobody is asked too much, like meets like, and turns never clash."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from homolog.errors import BadInput
from homolog.features.configs import Surf3dConfig
from homolog.kernels.threads import using_threads
from homolog.matching import partners, signature
from homolog.pipelines.detect import detect
from homolog.space.keypoints import Keypoints
from homolog.synth.patients import draw_patient

SIZES = [(5, 2), (6, 3), (24, 5), (41, 6), (100, 20), (101, 20), (1000, 20), (1000, 2)]


def likeness_of(count, seed=0):
    """A cohort of two kinds, and a few that are like nobody."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(2, 8))[rng.integers(0, 2, count)] + 0.5 * rng.normal(size=(count, 8))
    kinds[: count // 20] = 5 * rng.normal(size=(count // 20, 8))
    apart = np.linalg.norm(kinds[:, None] - kinds[None], axis=2)
    return np.exp(-apart)


def degrees(pairs, count):
    return np.bincount(pairs.ravel(), minlength=count)


def parts(pairs, count):
    return connected_components(coo_matrix((np.ones(len(pairs)), pairs.T), (count, count)), directed=False)[0]


def require_pairs(pairs, count):
    assert pairs.dtype == np.int64
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.min() >= 0
    assert pairs.max() < count
    assert pairs.tolist() == sorted(map(list, {tuple(pair) for pair in pairs.tolist()}))


@pytest.mark.parametrize("count", [2, 3, 8, 9])
def test_all_pairs_are_every_two_once(count):
    assert [tuple(pair) for pair in partners.all_pairs(count).tolist()] == list(combinations(range(count), 2))


@pytest.mark.parametrize(("count", "wanted"), SIZES)
def test_partners_drawn_at_random_are_as_many_for_everyone_and_connect_all(count, wanted):
    for seed in range(3):
        pairs = partners.chosen(count, wanted, seed=seed)
        require_pairs(pairs, count)
        assert parts(pairs, count) == 1
        # of an odd number of pictures one is left over in each turn, and each of them once
        assert set(degrees(pairs, count)) <= {wanted - count % 2, wanted}
        assert len(pairs) == wanted * (count - count % 2) // 2


@pytest.mark.parametrize(("count", "wanted"), SIZES)
def test_partners_that_are_alike_leave_all_connected_and_nobody_with_twice_as_many(count, wanted):
    pairs = partners.chosen(count, wanted, likeness_of(count))
    require_pairs(pairs, count)
    assert parts(pairs, count) == 1
    assert degrees(pairs, count).max() <= 2 * wanted
    assert degrees(pairs, count).mean() < 1.35 * wanted
    if wanted > 3:
        assert degrees(pairs, count).min() >= wanted - 1


def test_two_kinds_of_pictures_are_connected_although_neither_is_like_the_other():
    kind = np.arange(40) % 2
    likeness = (kind[:, None] == kind[None]).astype(float)
    pairs = partners.chosen(40, 6, likeness)
    assert parts(pairs, 40) == 1
    same = kind[pairs[:, 0]] == kind[pairs[:, 1]]
    drawn = partners.chosen(40, 3)
    assert (~same).sum() == (kind[drawn[:, 0]] != kind[drawn[:, 1]]).sum()


def test_the_most_alike_are_partners():
    count = 60
    likeness = likeness_of(count)
    np.fill_diagonal(likeness, 0)
    pairs = {tuple(pair) for pair in partners.chosen(count, 8, likeness).tolist()}
    best = np.unravel_index(np.argsort(likeness, axis=None)[::-1][:40], likeness.shape)
    assert {(min(i, j), max(i, j)) for i, j in zip(*(side.tolist() for side in best))} <= pairs


def test_the_random_partners_do_not_depend_on_likeness():
    drawn = {tuple(pair) for pair in partners.chosen(80, 5, seed=4).tolist()}
    for seed in range(3):
        assert drawn <= {tuple(pair) for pair in partners.chosen(80, 10, likeness_of(80, seed), seed=4).tolist()}


def test_partners_are_the_same_every_time_and_others_with_another_seed():
    likeness = likeness_of(50)
    before = likeness.copy()
    once, again = (partners.chosen(50, 6, likeness, seed=1) for _ in range(2))
    assert np.array_equal(once, again)
    assert np.array_equal(likeness, before)
    assert not np.array_equal(once, partners.chosen(50, 6, likeness, seed=2))


@pytest.mark.parametrize("wanted", [4, 5, 20])
def test_as_many_partners_as_there_are_others_is_all_pairs(wanted):
    assert np.array_equal(partners.chosen(5, wanted, likeness_of(5)), partners.all_pairs(5))


def test_images_that_are_all_alike_still_get_partners():
    pairs = partners.chosen(30, 6, np.ones((30, 30)))
    assert degrees(pairs, 30).min() >= 5
    assert degrees(pairs, 30).max() <= 12


def test_too_few_partners_or_pictures_and_a_likeness_of_others_are_refused():
    for wanted in (1, 0, -3):
        with pytest.raises(BadInput, match="in pieces"):
            partners.chosen(10, wanted)
    for count in (1, 0):
        with pytest.raises(BadInput, match="two pictures"):
            partners.all_pairs(count)
    with pytest.raises(BadInput, match="9, 9"):
        partners.chosen(10, 4, np.ones((9, 9)))
    with pytest.raises(BadInput, match="NaN"):
        partners.chosen(10, 4, np.full((10, 10), np.nan))


# ---------------------------------------------------------------------------------------------------------------------
# Turns


def require_turns(turns, pairs):
    assert sorted(np.concatenate(turns).tolist()) == list(range(len(pairs)))
    for turn in turns:
        busy = pairs[turn].ravel()
        assert len(np.unique(busy)) == len(busy)


@pytest.mark.parametrize("count", [2, 3, 10, 33, 100])
def test_all_pairs_take_the_fewest_turns_there_can_be(count):
    pairs = partners.all_pairs(count)
    turns = partners.rounds(pairs, count)
    require_turns(turns, pairs)
    # a turn has count // 2 pairs at most
    assert len(turns) == -(-len(pairs) // (count // 2))


@pytest.mark.parametrize(("count", "wanted"), SIZES)
def test_turns_of_partners_have_nobody_twice_and_are_few(count, wanted):
    pairs = partners.chosen(count, wanted, likeness_of(count))
    turns = partners.rounds(pairs, count)
    require_turns(turns, pairs)
    assert len(turns) < 2 * degrees(pairs, count).max()


def test_pairs_in_any_order_and_either_way_round_make_turns():
    pairs = partners.all_pairs(17)
    shuffled = np.random.default_rng(0).permutation(pairs)[:, ::-1]
    turns = partners.rounds(shuffled, 17)
    require_turns(turns, shuffled)
    assert len(turns) == 17
    assert partners.rounds(np.zeros((0, 2), np.int64), 5) == []


def test_pairs_of_pictures_that_are_not_there_are_refused():
    with pytest.raises(BadInput, match="picture 5 of 5"):
        partners.rounds(np.array([[0, 5]]), 5)
    with pytest.raises(BadInput, match="with itself"):
        partners.rounds(np.array([[0, 1], [2, 2]]), 5)


# ---------------------------------------------------------------------------------------------------------------------
# Likeness


@pytest.fixture(scope="module")
def body_parts():
    """Two chests and two pelves of other patients."""
    found = []
    for region, seed in (("chest", 0), ("pelvis", 1), ("chest", 2), ("pelvis", 4)):
        patient = draw_patient(seed)
        scan = patient.scan(patient.grid(5.0, region=region))
        found.append(detect(scan, config=Surf3dConfig(sampling_mm=2.5)))
    return found


def test_two_chests_are_more_alike_than_a_chest_and_a_pelvis(body_parts):
    vocabulary = signature.words(body_parts)
    alike = signature.likeness(np.stack([signature.of(points, vocabulary) for points in body_parts]))
    chests, pelves, across = alike[0, 2], alike[1, 3], alike[::2, 1::2]
    assert min(chests, pelves) > across.max()
    np.testing.assert_allclose(np.diag(alike), 1)
    np.testing.assert_allclose(alike, alike.T, atol=1e-12)
    assert ((alike >= 0) & (alike <= 1)).all()


def test_signatures_do_not_depend_on_threads(body_parts):
    found = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            vocabulary = signature.words(body_parts, seed=3)
            found.append(np.concatenate([signature.of(points, vocabulary) for points in body_parts]).tobytes())
    assert len(set(found)) == 1


def test_moving_the_patient_or_listing_his_keypoints_in_another_order_leaves_his_signature(body_parts):
    vocabulary = signature.words(body_parts)
    points = body_parts[0]
    shuffled = points[np.random.default_rng(0).permutation(len(points))]
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    moved = shuffled.moved_to(shuffled.position @ turned.T + [300.0, -20.0, 7.0], "elsewhere")
    np.testing.assert_array_equal(signature.of(moved, vocabulary), signature.of(points, vocabulary))


def test_what_is_not_known_of_keypoints_is_not_asked_for(body_parts):
    bare = [replace(points, sign=None, scale=None) for points in body_parts]
    vocabulary = signature.words(bare, count=40)
    assert vocabulary.shape == (40, 48)
    alike = signature.likeness(np.stack([signature.of(points, vocabulary) for points in bare]))
    np.testing.assert_allclose(np.diag(alike), 1)


def test_few_descriptors_make_few_words_and_no_keypoints_are_like_nothing():
    rng = np.random.default_rng(0)
    few = Keypoints(rng.normal(size=(3, 3)), "few", descriptors=rng.normal(size=(3, 8)).astype(np.float32))
    none = Keypoints(np.zeros((0, 3)), "none", descriptors=np.zeros((0, 8), np.float32))
    vocabulary = signature.words([few, none])
    assert vocabulary.shape == (3, 8)
    alike = signature.likeness(np.stack([signature.of(few, vocabulary), signature.of(none, vocabulary)]))
    assert np.array_equal(alike, [[pytest.approx(1), 0], [0, 0]])


def test_keypoints_that_cannot_be_compared_are_refused():
    rng = np.random.default_rng(0)
    eight, nine = (
        Keypoints(np.zeros((5, 3)), str(width), descriptors=rng.normal(size=(5, width)).astype(np.float32))
        for width in (8, 9)
    )
    with pytest.raises(BadInput, match="no descriptors"):
        signature.words([Keypoints(np.zeros((5, 3)), "bare")])
    with pytest.raises(BadInput, match="8 numbers and 9"):
        signature.words([eight, nine])
    with pytest.raises(BadInput, match="9 numbers, words 8"):
        signature.of(nine, signature.words([eight]))
    with pytest.raises(BadInput, match="no picture has keypoints"):
        signature.words([])
    with pytest.raises(BadInput, match="at least one word"):
        signature.words([eight], count=0)
