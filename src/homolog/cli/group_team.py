"""Tasks of a group handed to whoever computes: this process, several, or Dask's workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from homolog.parallel import map_cases

OnStep = Callable[..., None]


@dataclass(frozen=True)
class Team:
    """Who computes, and who is told how far it is.

    engine   local, dask, or a scheduler's address
    jobs     how many tasks at once on this machine
    on_step  called with the stage and the share of its tasks that are done
    """

    engine: str
    jobs: int
    on_step: OnStep

    def each(self, work: Callable[[Any], Any], tasks: Sequence[Any], stage: str) -> Iterator[tuple[Any, Any]]:
        """Each task with what the work made of it, as they are finished; the first error ends all."""
        with closing(map_cases(work, tasks, processes=self.jobs, engine=self.engine)) as done:
            yield from self._told(done, len(tasks), stage)

    def tried(self, work: Callable[[Any], Any], tasks: Sequence[Any], stage: str) -> Iterator[tuple[Any, Any]]:
        """The same, where an error of a task takes the place of its result, and the others go on."""
        with closing(map_cases(work, tasks, processes=self.jobs, engine=self.engine, keep_errors=True)) as done:
            yield from self._told(done, len(tasks), stage)

    def _told(self, done: Iterator[tuple[Any, Any]], of: int, stage: str) -> Iterator[tuple[Any, Any]]:
        if of:
            self.on_step(stage, 0.0)
        for count, (task, result) in enumerate(done, 1):
            self.on_step(stage, count / of)
            yield task, result
