"""The same work on many cases: the same results whoever does it, and nothing half done left behind."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import time
from contextlib import closing
from functools import partial

import pytest

from homolog import parallel, parallel_dask
from homolog.errors import BadInput, WorkFailed
from homolog.io.files import writing
from homolog.kernels.threads import thread_count, using_threads
from homolog.parallel import map_cases, require_engine

HERE, PROCESSES, OWN_WORKERS = {}, {"processes": 2}, {"processes": 2, "engine": "dask"}
unix = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")


def squared(number):
    return number**2, os.getpid(), thread_count()


def refuses_three(number):
    if number == 3:
        raise BadInput("three is none of ours", "--number 2")
    return number


def divides(number):
    return 1 / number


def dies_at_three(diary, times, number):
    """Ends its process that often; a line in the diary for each beginning."""
    with diary.open("a") as lines:
        lines.write(f"{number}\n")
    if number == 3 and diary.read_text().splitlines().count("3") <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def company(folder, number):
    """Which others are worked on in the meantime; the first time that three is, its process ends."""
    here = folder / f"{number}.begun"
    if number == 3 and not here.exists():
        here.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    here.touch()
    time.sleep(0.1)
    others = {path.name for path in folder.iterdir()} - {here.name}
    here.unlink()
    return others


def writes_slowly(folder, number):
    with writing(folder / f"{number}.txt") as part:
        part.write_text("half")
        for _ in range(600 if number else 0):
            time.sleep(0.1)
    return number


@pytest.fixture(scope="module")
def their_workers():
    """Two workers at a scheduler's address, which were there before and are there afterwards."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        memory_limit=0,
    ) as cluster:
        yield {"engine": cluster.scheduler_address}


KNOWN = {"this process": HERE, "processes": PROCESSES, "own workers": OWN_WORKERS}


@pytest.fixture
def crew(request):
    """Who does the work."""
    return KNOWN[request.param] if request.param in KNOWN else request.getfixturevalue("their_workers")


def by(*crews):
    return pytest.mark.parametrize("crew", crews, indirect=True)


@pytest.mark.parametrize(
    ("crew", "share"),
    # a thread of a worker of theirs is one processor's: who has how many is not for us to say
    [("this process", 5), ("processes", 2), ("own workers", 2), ("their workers", 1)],
    indirect=["crew"],
)
def test_each_case_comes_with_its_result_and_the_threads_are_shared(crew, share):
    with using_threads(5):
        # two cases that are alike are two
        done = list(map_cases(squared, [0, 1, 2, 2, 4], **crew))
    assert sorted((case, square) for case, (square, *_) in done) == [(0, 0), (1, 1), (2, 4), (2, 4), (4, 16)]
    assert (os.getpid() in {process for _, (_, process, _) in done}) == (crew is HERE)
    assert {threads for _, (_, _, threads) in done} == {share}


@pytest.mark.parametrize("engine", ["local", "dask", "tcp://nobody:1"])
def test_no_cases_are_no_work(engine):
    assert list(map_cases(squared, [], processes=2, engine=engine)) == []


@by("this process", "their workers")
def test_an_error_arrives_as_it_was(crew):
    with pytest.raises(BadInput, match="three is none of ours") as caught:
        list(map_cases(refuses_three, range(6), **crew))
    assert caught.value.hint == "--number 2"


@by("this process", "processes", "their workers")
def test_an_error_may_be_kept_as_what_became_of_a_case(crew):
    done = dict(map_cases(refuses_three, range(6), keep_errors=True, **crew))
    error = done.pop(3)
    assert (type(error), error.message, error.hint) == (BadInput, "three is none of ours", "--number 2")
    assert done == {n: n for n in range(6) if n != 3}


@by("this process", "processes")
def test_a_bug_is_never_kept(crew):
    with pytest.raises(ZeroDivisionError):
        list(map_cases(divides, [1, 0], keep_errors=True, **crew))


@unix
@by("processes", "their workers")
def test_a_worker_that_is_killed_costs_only_its_case(crew, tmp_path):
    done = dict(map_cases(partial(dies_at_three, tmp_path / "diary", 1), range(6), **crew))
    assert done == {n: n for n in range(6)}
    assert (tmp_path / "diary").read_text().split().count("3") == 2


@unix
@by("processes", "own workers")
def test_a_case_that_kills_whoever_works_on_it_is_named_when_all_others_are_done(crew, tmp_path):
    done = list(map_cases(partial(dies_at_three, tmp_path / "diary", 99), range(6), keep_errors=True, **crew))
    case, error = done.pop()
    assert case == 3
    assert isinstance(error, WorkFailed)
    assert error.message.startswith("3: every process that works on it ends without a word")
    assert sorted(done) == [(n, n) for n in (0, 1, 2, 4, 5)]
    assert (tmp_path / "diary").read_text().split().count("3") == 3


@unix
def test_a_case_whose_worker_died_is_begun_again_alone(tmp_path):
    done = dict(map_cases(partial(company, tmp_path), [3, 0, 1, 2, 4, 5], processes=3))
    assert done[3] == set()
    assert any("3.begun" in found for found in done.values())


@unix
@by("processes", "own workers", "their workers")
def test_leaving_early_ends_those_at_work_and_removes_what_they_have_half_written(crew, tmp_path, capfd):
    before = set(multiprocessing.active_children())
    environment = dict(os.environ)
    began = time.monotonic()
    with closing(map_cases(partial(writes_slowly, tmp_path), range(3), **crew)) as done:
        assert next(done)[0] == 0
        while not list(tmp_path.glob("*.part*")) and time.monotonic() - began < 30:
            time.sleep(0.01)
    # their workers go on living: they need a moment
    while list(tmp_path.glob("*.part*")) and time.monotonic() - began < 40:
        time.sleep(0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["0.txt"]
    assert time.monotonic() - began < 40
    assert set(multiprocessing.active_children()) <= before
    assert dict(os.environ) == environment
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "engine",
    ["", "desk", "8786", "localhost:8786", "tcp://", "tcp://host", "tcp://:8786", "tcp://host:none", "http://host:1"],
)
def test_an_engine_that_there_is_not_is_refused_before_anything_is_asked(engine):
    with pytest.raises(BadInput, match="tcp://HOST:PORT is wanted"):
        require_engine(engine, 1)


@pytest.mark.parametrize(
    "engine", ["local", "dask", "tcp://10.0.0.1:8786", "tls://node7.cluster:8786", "tcp://[::1]:8786"]
)
def test_an_engine_that_may_be_there_is_not(engine):
    require_engine(engine, 3)
    with pytest.raises(BadInput, match="--jobs is at least 1, got 0"):
        require_engine(engine, 0)


def test_without_dask_the_way_to_it_is_said(monkeypatch):
    monkeypatch.setattr(parallel, "find_spec", lambda name: None)
    require_engine("local", 2)
    with pytest.raises(BadInput, match="not installed") as caught:
        list(map_cases(squared, [1], engine="dask"))
    assert caught.value.hint == "pip install 'homolog[dask]'"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(parallel_dask, "ANSWER_S", 0.5)
    monkeypatch.setattr(parallel_dask, "WORKERS_S", 0.5)


def test_an_address_where_nobody_answers_is_bad_input(impatient):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(BadInput, match="no Dask scheduler answers there") as caught:
            list(map_cases(squared, [1], engine=f"tcp://127.0.0.1:{port}"))
    assert f"dask scheduler --port {port}" in caught.value.hint


def test_somebody_else_at_the_address_is_not_waited_for(impatient):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "tcp://{}:{}".format(*silent.getsockname())
        with pytest.raises(BadInput, match="no Dask scheduler answers there"):
            list(map_cases(squared, [1], engine=address))


def test_a_scheduler_without_workers_is_bad_input(impatient):
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0") as cluster:
        with pytest.raises(BadInput, match="no worker") as caught:
            list(map_cases(squared, [1], engine=cluster.scheduler_address))
        assert caught.value.hint.startswith(f"dask worker {cluster.scheduler_address}")


def test_a_scheduler_that_goes_away_is_said(impatient):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0") as cluster:
        done = map_cases(squared, range(1000), engine=cluster.scheduler_address)
        next(done)
        cluster.close()
        with pytest.raises(WorkFailed, match="has gone"):
            list(done)


def test_workers_with_another_version_are_refused(their_workers, monkeypatch):
    monkeypatch.setattr(parallel_dask, "__version__", "99.1")
    with pytest.raises(BadInput, match=r"has homolog .*, here is 99\.1"):
        list(map_cases(squared, [1], **their_workers))
