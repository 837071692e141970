"""The same work on many cases: in this process, or in several."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from homolog.errors import WorkFailed
from homolog.kernels.threads import thread_count, using_threads

Case = TypeVar("Case")
Result = TypeVar("Result")


def map_cases(
    work: Callable[[Case], Result], cases: Sequence[Case], *, processes: int = 1
) -> Generator[tuple[Case, Result], None, None]:
    """Each case with what the work makes of it, in the order in which they are finished.

    An error of one case ends the whole; so does leaving early (close the iterator): processes at work are stopped as
    by SIGTERM, and remove what they have half written.

    work       with several processes a function of a module, or a `partial` of one
    processes  how many at once; they share this process's threads
    """
    if processes == 1 or len(cases) < 2:
        for case in cases:
            yield case, work(case)
        return
    yield from _in_processes(work, cases, min(processes, len(cases)))


def _in_processes(
    work: Callable[[Case], Result], cases: Sequence[Case], processes: int
) -> Generator[tuple[Case, Result], None, None]:
    # spawned, not forked: a fork would inherit the locks of threads that are not there any more
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, context, _obey_sigterm_only)
    threads = max(1, thread_count() // processes)
    task = partial(_with_threads, work, threads)
    left = list(cases)
    running: dict[Future[Result], Case] = {}
    try:
        while left or running:
            # no more than are worked on: what waits in the pool's own queue could not be called back
            while left and len(running) < processes:
                case = left.pop(0)
                running[pool.submit(task, case)] = case
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        raise WorkFailed(
            "a process ended without a word; too little memory is the usual reason", "fewer processes at once"
        ) from error
    finally:
        if left or running:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(cancel_futures=True)


def _with_threads(work: Callable[[Case], Result], threads: int, case: Case) -> Result:
    with using_threads(threads):
        return work(case)


def _obey_sigterm_only() -> None:
    """Ctrl-C reaches every process of a terminal; the first one decides, and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> Any:
    # an exception, so that half-written files are removed on the way out
    raise SystemExit(128 + number)
