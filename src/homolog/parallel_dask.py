"""Dask's workers, as a crew of `parallel`: started here and ended with the work, or found at a scheduler's address."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from tempfile import TemporaryDirectory
from threading import Lock, get_ident
from typing import Any
from urllib.parse import urlsplit

from homolog import __version__
from homolog.errors import BadInput, WorkFailed

# Seconds in which a scheduler answers, and a first worker is there; and for which work waits while none is.
ANSWER_S, WORKERS_S = 10.0, 60.0
# Seconds in which a worker on this machine starts anew.
START_S = 10.0
# Seconds after which room is looked for again: workers may come later.
LOOK_AGAIN_S = 5.0
# A scheduler tries a case several times by itself (distributed.scheduler.allowed-failures) before it calls it killed;
# once more, alone, tells whether it was the case.
THEIR_ATTEMPTS = 2


class Workers:
    """The workers of a client's scheduler."""

    def __init__(self, client: Any, *, threads: int, attempts: int) -> None:
        from distributed import KilledWorker

        self.dead: tuple[type[BaseException], ...] = (KilledWorker,)
        self.attempts = attempts
        self.threads = threads
        self._client = client
        self._running: set[Any] = set()
        self._last_seen = time.monotonic()

    def room(self) -> int:
        try:
            count = sum(self._client.nthreads().values())
        except OSError as error:
            raise self._left() from error
        now = time.monotonic()
        if count:
            self._last_seen = now
        elif now - self._last_seen > WORKERS_S:
            raise WorkFailed(f"no worker is left at {_address(self._client)}", _start_one(_address(self._client)))
        return max(1, count)

    def submit(self, task: Callable[[], Any]) -> Any:
        # pure: two cases that are alike are two
        future = self._client.submit(_stoppable, task, pure=False)
        self._running.add(future)
        return future

    def finished(self) -> Collection[Any]:
        from distributed import CancelledError, wait

        try:
            with self._client.as_current():
                found = wait(self._running, timeout=LOOK_AGAIN_S, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return []
        except (OSError, CancelledError) as error:
            raise self._left() from error
        self._running = set(found.not_done)
        return found.done

    def stop(self) -> None:
        """Ends those at work, as there is nobody left to take their results."""
        if not self._running:
            return
        # a scheduler that has gone is why they are stopped: its error is on its way already
        with suppress(OSError):
            self._client.cancel(list(self._running))
            self._client.run(_stop, [future.key for future in self._running], on_error="ignore")

    def _left(self) -> WorkFailed:
        where = _address(self._client)
        return WorkFailed(f"the Dask scheduler at {where} has gone", "the same command again goes on from there")


class _Stopped(BaseException):
    """Nobody wants the result any more; an exception, so that half-written files are removed on the way out."""


# In a worker: the threads at work for us, by the key of what they work on.
_AT_WORK: dict[str, int] = {}
_ONE_AT_A_TIME = Lock()


def _stoppable(task: Callable[[], Any]) -> Any:
    from distributed import get_worker

    key = str(get_worker().get_current_task())
    try:
        with _ONE_AT_A_TIME:
            _AT_WORK[key] = get_ident()
        try:
            return task()
        finally:
            with _ONE_AT_A_TIME:
                del _AT_WORK[key]
    except _Stopped:
        return None


def _stop(keys: Sequence[str]) -> None:
    """In a worker: ends those of these that it works on, at their next step in Python."""
    with _ONE_AT_A_TIME:
        for thread in (_AT_WORK[key] for key in keys if key in _AT_WORK):
            # threads, unlike processes, have no signals; this is what CPython has in their place
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Stopped))


@contextmanager
def own_workers(processes: int, *, threads: int, attempts: int) -> Iterator[Workers]:
    """Workers on this machine, a process each, that are ended with the block."""
    import dask
    from distributed import Client, LocalCluster

    with (
        _quiet(),
        _environment_kept(),
        TemporaryDirectory(prefix="homolog-dask-") as scratch,
        dask.config.set(_rules(scratch)),
    ):
        cluster = LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            # the system decides, as for other processes: an equal share each would end the one large case among small
            memory_limit=0,
            # a page about it has no reader; Dask opens one all the same, and complains where its usual port is taken
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
        with cluster, Client(cluster, set_as_default=False) as client:
            workers = Workers(client, threads=threads, attempts=attempts)
            try:
                yield workers
            finally:
                workers.stop()
                # a worker that takes the place of a dead one complains aloud if it is ended while it starts
                with suppress(TimeoutError):
                    client.wait_for_workers(processes, timeout=START_S)


def _rules(scratch: str) -> dict[str, Any]:
    return {
        "temporary-directory": scratch,
        # a death is told at once: who is to blame is found out by `parallel`, which leaves a suspect alone
        "distributed.scheduler.allowed-failures": 0,
        # in place of Dask's own limits on threads, which other processes of ours do not have; and workers tell of their
        # own doings too, when they start and end
        "distributed.nanny.pre-spawn-environ": {"DASK_LOGGING__DISTRIBUTED": "critical"},
        # Ctrl-C reaches every process of a terminal; this one decides, and ends the others
        "distributed.worker.preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
    }


@contextmanager
def workers_at(address: str) -> Iterator[Workers]:
    """The workers of a scheduler that is running, all of this version; each thread of theirs is one processor's."""
    with _quiet(), _client_of(address) as client:
        _require_workers(client, address)
        _require_same_version(client, address)
        workers = Workers(client, threads=1, attempts=THEIR_ATTEMPTS)
        try:
            yield workers
        finally:
            workers.stop()


def _client_of(address: str) -> Any:
    from distributed import Client

    try:
        _require_a_word(address)
        return Client(address, timeout=ANSWER_S, set_as_default=False)
    # Dask says in many ways that it is not understood: no certificate, no handshake, no such name
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise BadInput(
            f"--engine {address}: no Dask scheduler answers there ({str(error) or type(error).__name__})",
            f"dask scheduler --port {address.rpartition(':')[2]}   (on that machine)",
        ) from error


def _require_a_word(address: str) -> None:
    """Refuses those who take the call and are silent; Dask would wait for ever for what a scheduler says first."""
    parts = urlsplit(address)
    if parts.scheme == "tls":
        return
    # who does not take it now may do so soon: Dask calls again for a while
    place = parts.hostname, parts.port
    with suppress(ConnectionError, socket.gaierror), socket.create_connection(place, ANSWER_S) as call:
        call.recv(1)


def _require_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError as error:
        raise BadInput(
            f"--engine {address}: the scheduler has had no worker for {WORKERS_S:g} s", _start_one(address)
        ) from error


def _require_same_version(client: Any, address: str) -> None:
    """Other versions may make other results of the same files."""
    # of the standard library: whoever is without homolog could not even be asked by a function of ours
    workers = client.run(metadata.version, "homolog", on_error="return")
    versions = {"the scheduler": _version_of_scheduler(client)} | {f"worker {name}": workers[name] for name in workers}
    for who, version in sorted(versions.items()):
        if version != __version__:
            said = "no homolog" if isinstance(version, Exception) else f"homolog {version}"
            raise BadInput(
                f"--engine {address}: {who} has {said}, here is {__version__}",
                f"pip install homolog=={__version__}   (on that machine; then start Dask there anew)",
            )


def _version_of_scheduler(client: Any) -> Any:
    # it reads what is sent to the workers
    try:
        return client.run_on_scheduler(metadata.version, "homolog")
    except metadata.PackageNotFoundError as error:
        return error


def _address(client: Any) -> str:
    return str(client.scheduler.address)


def _start_one(address: str) -> str:
    return f"dask worker {address} --nthreads 1 --nworkers 4"


@contextmanager
def _quiet() -> Iterator[None]:
    """What Dask tells of its own doings is no message of ours; what matters of it comes as an error."""
    import distributed

    handlers = logging.getLogger(distributed.__name__).handlers
    levels = [handler.level for handler in handlers]
    try:
        for handler in handlers:
            handler.setLevel(logging.CRITICAL)
        yield
    finally:
        for handler, level in zip(handlers, levels):
            handler.setLevel(level)


@contextmanager
def _environment_kept() -> Iterator[None]:
    """What Dask's workers are to find in their environment, it puts into that of this process."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
