"""Which point of one list is which of the other."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.errors import BadInput
from homolog.space.keypoints import Keypoints
from homolog.space.pairing import pair_by_name


def named(space, names):
    """Points whose x is the same wherever the name is the same."""
    position = np.array([[hash(name) % 1000, row, 0] for row, name in enumerate(names)]).reshape(-1, 3)
    return Keypoints(position, space, tuple(names))


@given(fixed=st.lists(st.text(), unique=True), moving=st.lists(st.text(), unique=True), shared=st.text())
def test_pairs_have_the_same_name_in_the_same_row(fixed, moving, shared):
    fixed = list(dict.fromkeys([*fixed, shared]))
    moving = list(dict.fromkeys([shared, *moving]))
    ours, theirs = pair_by_name(named("fixed", fixed), named("moving", moving))
    assert ours.name == theirs.name == tuple(name for name in fixed if name in moving)
    assert (ours.space, theirs.space) == ("fixed", "moving")
    np.testing.assert_array_equal(ours.position[:, 0], theirs.position[:, 0])


def test_names_that_stand_alone_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        pair_by_name(named("a", ["tip", "base", "left"]), named("b", ["base", "right"]))
    assert all(name in caplog.text for name in ("tip", "left", "right"))
    assert "base" not in caplog.text


def test_complete_lists_are_not_worth_a_word(caplog):
    pair_by_name(named("a", ["tip", "base"]), named("b", ["base", "tip"]))
    assert not caplog.records


@pytest.mark.parametrize("variant", ["clavicle left", "Clavicle_Left", "CLAVICLE-LEFT", " clavicle_left "])
def test_names_that_differ_only_in_case_or_blanks_are_not_paired_but_suggested(variant):
    with pytest.raises(BadInput) as refusal:
        pair_by_name(named("a", ["clavicle_left"]), named("b", [variant]))
    assert repr(variant) in refusal.value.hint
    assert "did you mean" in refusal.value.hint


def test_lists_with_nothing_in_common_are_refused_with_what_they_hold():
    with pytest.raises(BadInput, match=r"'a'.*'b'") as refusal:
        pair_by_name(named("a", ["tip"]), named("b", ["F-1"]))
    assert "'tip'" in refusal.value.hint
    assert "'F-1'" in refusal.value.hint


def test_a_name_that_stands_twice_cannot_be_paired():
    with pytest.raises(BadInput, match="'tip' stands more than once in 'b'"):
        pair_by_name(named("a", ["tip", "base"]), named("b", ["tip", "tip"]))


def test_a_double_name_that_pairs_with_nothing_does_no_harm():
    ours, theirs = pair_by_name(named("a", ["base", "x", "x"]), named("b", ["base"]))
    assert ours.name == theirs.name == ("base",)


def test_lists_without_names_pair_by_row():
    fixed = Keypoints(np.random.default_rng(0).normal(size=(4, 3)), "a")
    moving = Keypoints(np.random.default_rng(1).normal(size=(4, 3)), "b")
    assert pair_by_name(fixed, moving) == (fixed, moving)
    with pytest.raises(BadInput, match=r"4 points.*3"):
        pair_by_name(fixed, moving[:3])


def test_names_on_one_side_only_are_refused():
    bare = Keypoints(np.zeros((1, 3)), "bare")
    with pytest.raises(BadInput, match="'a' have names and those of 'bare' have none"):
        pair_by_name(named("a", ["tip"]), bare)
    with pytest.raises(BadInput, match="'a' have names and those of 'bare' have none"):
        pair_by_name(bare, named("a", ["tip"]))
