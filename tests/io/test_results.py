from __future__ import annotations

import pytest

from homolog.errors import UnreadableFile
from homolog.io.results import LEDGER, Results, key_of


class Kitchen:
    """A stage that counts how often it is asked to work."""

    def __init__(self, folder):
        self.folder, self.times = folder, 0

    def cook(self):
        self.times += 1
        path = self.folder / "dish.txt"
        path.write_text(f"made {self.times} times")
        return [path], {"times": self.times}


def test_what_is_there_is_not_made_again(tmp_path):
    kitchen, results = Kitchen(tmp_path), Results(tmp_path)
    key = key_of(recipe=1, cook="a")
    assert results.stage("dish", key, kitchen.cook) == {"times": 1}
    assert results.is_done("dish", key_of(cook="a", recipe=1))
    assert Results(tmp_path).stage("dish", key, kitchen.cook) == {"times": 1}
    assert kitchen.times == 1


@pytest.mark.parametrize("spoil", ["removed", "changed", "another key"])
def test_what_is_missing_changed_or_of_something_else_is_made_again(tmp_path, spoil):
    kitchen, results = Kitchen(tmp_path), Results(tmp_path)
    results.stage("dish", key_of(recipe=1), kitchen.cook)
    if spoil == "removed":
        (tmp_path / "dish.txt").unlink()
    elif spoil == "changed":
        (tmp_path / "dish.txt").write_text("eaten")
    results.stage("dish", key_of(recipe=2 if spoil == "another key" else 1), kitchen.cook)
    assert kitchen.times == 2


def test_a_stage_that_fails_is_not_listed(tmp_path):
    def burnt():
        raise ValueError("burnt")

    with pytest.raises(ValueError, match="burnt"):
        Results(tmp_path).stage("dish", "key", burnt)
    assert not Results(tmp_path).is_done("dish", "key")


def test_a_damaged_ledger_says_how_to_go_on(tmp_path):
    (tmp_path / LEDGER).write_text("{")
    with pytest.raises(UnreadableFile, match="damaged"):
        Results(tmp_path).ledger()
