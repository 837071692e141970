"""The same work on many cases: in this process, in several, or by Dask's workers, here or on other machines."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from textwrap import shorten
from types import FrameType
from typing import Any, Literal, Protocol, TypeVar, overload
from urllib.parse import urlsplit

from homolog.errors import BadInput, HomologError, WorkFailed
from homolog.kernels.devices import Device, device, using_device
from homolog.kernels.threads import thread_count, using_threads

Case = TypeVar("Case")
Result = TypeVar("Result")

LOCAL, DASK = "local", "dask"
# A case may be killed for the greed of others, or by the machine; twice more, alone, and it is to blame.
ATTEMPTS = 3
# Characters of a case in an error.
NAME_LENGTH = 120


class Crew(Protocol):
    """Those who do the work; futures are as in `concurrent.futures`.

    dead      what a future holds whose worker died
    attempts  how often a case is begun, if its workers die
    threads   for each case
    """

    dead: tuple[type[BaseException], ...]
    attempts: int
    threads: int

    def room(self) -> int:
        """How many cases are worked on at once, at least 1."""

    def submit(self, task: Callable[[], Any]) -> Any:
        """Has it worked on now, as there is room, and gives its future."""

    def finished(self) -> Collection[Any]:
        """Waits for the next of those submitted; none at all where it is time to ask for room again."""


@overload
def map_cases(
    work: Callable[[Case], Result], cases: Sequence[Case], *, processes: int = 1, engine: str = LOCAL
) -> Generator[tuple[Case, Result], None, None]: ...


@overload
def map_cases(
    work: Callable[[Case], Result],
    cases: Sequence[Case],
    *,
    processes: int = 1,
    engine: str = LOCAL,
    keep_errors: Literal[True],
) -> Generator[tuple[Case, Result | HomologError], None, None]: ...


def map_cases(
    work: Callable[[Case], Result],
    cases: Sequence[Case],
    *,
    processes: int = 1,
    engine: str = LOCAL,
    keep_errors: bool = False,
) -> Generator[tuple[Case, Any], None, None]:
    """Each case with what the work makes of it, in the order in which they are finished.

    An error of one case ends the whole; so does leaving early (close the iterator): processes at work are stopped as
    by SIGTERM, and remove what they have half written. A worker that dies costs only its case, which is begun again;
    one whose workers die every time is a `WorkFailed` that names it.

    work         where this process is not alone a function of a module, or a `partial` of one
    processes    how many at once on this machine; they share this process's threads
    engine       "local", "dask" (workers of its own on this machine), or the address of a Dask scheduler, whose
                 workers have one thread a case
    keep_errors  whether a case with a HomologError comes with that error, and the others go on
    """
    require_engine(engine, processes)
    if not cases:
        return
    with _crew(engine, min(processes, len(cases))) as crew:
        for case, result in _each(crew, partial(_attempted, work, crew.threads, device()), cases):
            if isinstance(result, HomologError) and not keep_errors:
                raise result
            yield case, result


def require_engine(engine: str, processes: int = 1) -> None:
    """Refuses an engine that there is not, without asking whether anybody answers at its address."""
    if processes < 1:
        raise BadInput(f"--jobs is at least 1, got {processes}", "--jobs 1")
    if engine == LOCAL:
        return
    if engine != DASK and not _is_address(engine):
        raise BadInput(
            f"--engine {engine}: local, dask or a scheduler's address tcp://HOST:PORT is wanted",
            "--engine tcp://localhost:8786",
        )
    if find_spec("distributed") is None:
        raise BadInput(f"--engine {engine} needs Dask, which is not installed", "pip install 'homolog[dask]'")


def _is_address(engine: str) -> bool:
    try:
        parts = urlsplit(engine)
        return parts.scheme in ("tcp", "tls") and bool(parts.hostname and parts.port) and not parts.path
    except ValueError:
        # a port that is none
        return False


def _crew(engine: str, processes: int) -> AbstractContextManager[Crew]:
    if engine == LOCAL:
        return _this_process() if processes == 1 else _some_processes(processes)
    from homolog import parallel_dask

    if engine == DASK:
        return parallel_dask.own_workers(processes, threads=_share(processes), attempts=ATTEMPTS)
    return parallel_dask.workers_at(engine)


def _each(
    crew: Crew, task: Callable[[Case], Result | HomologError], cases: Sequence[Case]
) -> Iterator[tuple[Case, Result | HomologError]]:
    """Each case with its result, or with the error of ours that it ended with.

    A case whose worker died is begun again when all others are done, alone: the memory that it lacked is free then, and
    if its worker dies once more, nobody else's case can be why.
    """
    left, suspects = deque(cases), deque[tuple[Case, int]]()
    running: dict[Any, tuple[Case, int]] = {}
    while left or suspects or running:
        room = crew.room()
        # no more than are worked on: what waits in another's queue cannot be called back, and may die with its worker
        while left and len(running) < room:
            case = left.popleft()
            running[crew.submit(partial(task, case))] = case, 1
        if not running:
            case, attempt = suspects.popleft()
            running[crew.submit(partial(task, case))] = case, attempt
        for future in crew.finished():
            case, attempt = running.pop(future)
            error = future.exception()
            if not isinstance(error, crew.dead):
                yield case, future.result()
            elif attempt < crew.attempts:
                suspects.append((case, attempt + 1))
            else:
                yield case, _lost(case)


def _lost(case: object) -> WorkFailed:
    return WorkFailed(
        f"{shorten(str(case), NAME_LENGTH, placeholder=' ...')}: every process that works on it ends without a word; "
        "too little memory is the usual reason",
        "fewer processes at once, or more memory for each",
    )


def _attempted(work: Callable[[Case], Result], threads: int, networks: Device, case: Case) -> Result | HomologError:
    """An error of ours is a result: it travels as one, and Dask's workers need not log it."""
    with using_threads(threads), using_device(networks):
        try:
            return work(case)
        except HomologError as error:
            return error


def _share(processes: int) -> int:
    return max(1, thread_count() // processes)


# ---------------------------------------------------------------------------------------------------------------------
# This process


class _Here:
    """This process: a case is done when it is begun."""

    dead: tuple[type[BaseException], ...] = ()
    attempts = 1

    def __init__(self) -> None:
        self.threads = thread_count()
        self._done: list[Future[Any]] = []

    def room(self) -> int:
        return 1

    def submit(self, task: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(task())
        self._done.append(future)
        return future

    def finished(self) -> list[Future[Any]]:
        done, self._done = self._done, []
        return done


@contextmanager
def _this_process() -> Iterator[_Here]:
    yield _Here()


# ---------------------------------------------------------------------------------------------------------------------
# Several processes


class _Processes:
    """Processes of this machine. Each is a pool of its own, so that a death is that of one known case."""

    # SIGTERM from elsewhere ends a case, and leaves the process
    dead: tuple[type[BaseException], ...] = (BrokenProcessPool, SystemExit)
    attempts = ATTEMPTS

    def __init__(self, count: int) -> None:
        self.threads = _share(count)
        self._idle = [_one_process() for _ in range(count)]
        self._busy: dict[Future[Any], ProcessPoolExecutor] = {}

    def room(self) -> int:
        return len(self._idle) + len(self._busy)

    def submit(self, task: Callable[[], Any]) -> Future[Any]:
        pool = self._idle.pop()
        try:
            future = pool.submit(task)
        except BrokenProcessPool:
            # it died while it had nothing to do
            pool = _renewed(pool)
            future = pool.submit(task)
        self._busy[future] = pool
        return future

    def finished(self) -> Collection[Future[Any]]:
        done = wait(self._busy, return_when=FIRST_COMPLETED).done
        for future in done:
            pool = self._busy.pop(future)
            self._idle.append(_renewed(pool) if isinstance(future.exception(), BrokenProcessPool) else pool)
        return done

    def close(self, others: set[Any]) -> None:
        """Ends those at work, as there is nobody left to take their results.

        others  processes of this one that are none of these
        """
        if self._busy:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        for pool in [*self._idle, *self._busy.values()]:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _some_processes(count: int) -> Iterator[_Processes]:
    others = set(multiprocessing.active_children())
    crew = _Processes(count)
    try:
        yield crew
    finally:
        crew.close(others)


def _one_process() -> ProcessPoolExecutor:
    # spawned, not forked: a fork would inherit the locks of threads that are not there any more
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _obey_sigterm_only)


def _renewed(pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
    pool.shutdown()
    return _one_process()


def _obey_sigterm_only() -> None:
    """Ctrl-C reaches every process of a terminal; the first one decides, and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> Any:
    # an exception, so that half-written files are removed on the way out
    raise SystemExit(128 + number)
