"""The command line that is running, for the records of what was run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_WORDS: ContextVar[tuple[str, ...]] = ContextVar("homolog_words", default=())


def words() -> list[str]:
    """The words after `homolog`."""
    return list(_WORDS.get())


@contextmanager
def running(line: Sequence[str]) -> Iterator[None]:
    """Within the block, these are the words."""
    token = _WORDS.set(tuple(line))
    try:
        yield
    finally:
        _WORDS.reset(token)
