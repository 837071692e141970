"""Kernels release the interpreter's lock, so plain threads share their planes.

Not Numba's own parallel loops: OpenMP's workers spin while they wait, which burns user time that other programs on the
machine need, and each parallel kernel takes several times longer to compile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import Any

# Several for each thread, so that none waits long for the last one, nor an interrupt for the current one.
PIECES = 8
_THREADS: ContextVar[int] = ContextVar("homolog_threads", default=0)


def thread_count() -> int:
    """How many threads kernels use: what `using_threads` says, else the processors this process may run on."""
    return _THREADS.get() or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(_cpus()))


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Within the block, kernels use this many threads (0: all processors)."""
    token = _THREADS.set(count)
    try:
        yield
    finally:
        _THREADS.reset(token)


def over_planes(work: Callable[[int, int], Any], planes: int, *, at_least: int = 1) -> None:
    """Calls `work(start, stop)` on ranges that cover 0..planes, `at_least` planes each, from several threads.

    The ranges do not overlap, so the result does not depend on how many threads there are.
    """
    pieces = min(PIECES * thread_count(), max(1, planes // max(1, at_least)))
    bounds = [planes * n // pieces for n in range(pieces + 1)]
    if pieces == 1 or thread_count() == 1:
        for start, stop in pairwise(bounds):
            work(start, stop)
        return
    pool = ThreadPoolExecutor(thread_count())
    try:
        for future in [pool.submit(work, start, stop) for start, stop in pairwise(bounds)]:
            future.result()
    finally:
        # an interrupt must not wait for the pieces that have not begun
        pool.shutdown(cancel_futures=True)


def _cpus() -> int:
    return os.cpu_count() or 1
