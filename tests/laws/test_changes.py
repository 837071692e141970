"""Means before and after are over the same things, whatever is missing from either."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from homolog.metrics.changes import change, worse


@pytest.mark.parametrize("missing", [None, nan, inf])
def test_what_has_no_figure_on_one_side_counts_on_neither(missing):
    before, after = {"a": 4.0, "b": missing, "c": 8.0}, {"a": 1.0, "b": 50.0, "c": missing}
    found = change(before, after)
    assert (found.before, found.after, found.count) == (4.0, 1.0, 1)


def test_where_nothing_has_both_each_mean_is_its_own():
    found = change({"a": nan}, {"a": 2.0, "b": 4.0})
    assert isnan(found.before)
    assert (found.after, found.count) == (3.0, 2)


def test_worse_is_less_of_what_is_good_and_more_of_what_is_bad():
    before, after = {1: 0.5, 2: 0.5, 3: None, 4: 0.5}, {1: 0.4, 2: 0.6, 3: 0.1, 4: 0.5}
    assert worse(before, after, larger_is_better=True) == [1]
    assert worse(before, after, larger_is_better=False) == [2]
