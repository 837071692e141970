"""The same work on many cases: the same results however many processes do it, and nothing half done left behind."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from functools import partial

import pytest

from homolog.errors import BadInput, WorkFailed
from homolog.io.files import writing
from homolog.kernels.threads import thread_count, using_threads
from homolog.parallel import map_cases


def squared(number):
    return number**2, os.getpid()


def threads_of(number):
    return thread_count()


def refuses_three(number):
    if number == 3:
        raise BadInput("three is none of ours", "--number 2")
    return number


def dies_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def writes_slowly(folder, number):
    with writing(folder / f"{number}.txt") as part:
        part.write_text("half")
        if number:
            time.sleep(60)
    return number


@pytest.mark.parametrize("processes", [1, 2, 9])
def test_each_case_comes_with_its_result(processes):
    done = dict(map_cases(squared, range(5), processes=processes))
    assert {case: square for case, (square, _) in done.items()} == {n: n**2 for n in range(5)}
    assert (os.getpid() in {process for _, process in done.values()}) == (processes == 1)


@pytest.mark.parametrize("processes", [1, 2])
def test_no_cases_are_no_work(processes):
    assert list(map_cases(squared, [], processes=processes)) == []


def test_processes_share_the_threads():
    with using_threads(5):
        assert {count for _, count in map_cases(threads_of, range(2), processes=2)} == {2}


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_arrives_as_it_was(processes):
    with pytest.raises(BadInput, match="three is none of ours") as caught:
        list(map_cases(refuses_three, range(6), processes=processes))
    assert caught.value.hint == "--number 2"


def test_a_process_that_the_system_ends_is_said_and_not_waited_for():
    with pytest.raises(WorkFailed, match="ended without a word"):
        list(map_cases(dies_at_three, range(6), processes=2))


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_leaving_early_ends_those_at_work_and_removes_what_they_have_half_written(tmp_path):
    began = time.monotonic()
    with closing(map_cases(partial(writes_slowly, tmp_path), range(3), processes=2)) as done:
        assert next(done)[0] == 0
        while not list(tmp_path.glob("*.part*")) and time.monotonic() - began < 30:
            time.sleep(0.01)
    assert time.monotonic() - began < 40
    assert [path.name for path in tmp_path.iterdir()] == ["0.txt"]
