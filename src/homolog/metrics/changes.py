"""Many figures before and after: means over the same things, and which of them got worse."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Change:
    """The means of a figure before and after.

    before, after  over the same things, those that have both figures; where none has both, each over its own
    count          how many things `after` is the mean of
    """

    before: float
    after: float
    count: int


def change(before: Mapping[Name, float | None], after: Mapping[Name, float | None]) -> Change:
    """The means of the figures that are numbers (None, NaN and infinities are not; NaN where there is none).

    A thing that lay outside the picture before has no distance then. Counted in one mean only, it would make the two
    means speak of different things.
    """
    earlier, later = _finite(before), _finite(after)
    both = earlier.keys() & later.keys()
    if both:
        earlier, later = ({name: figures[name] for name in figures if name in both} for figures in (earlier, later))
    return Change(_mean(earlier), _mean(later), len(later))


def worse(
    before: Mapping[Name, float | None], after: Mapping[Name, float | None], *, larger_is_better: bool
) -> list[Name]:
    """The things whose figure is worse after than before, in the order of `after`."""
    earlier, later, sign = _finite(before), _finite(after), 1 if larger_is_better else -1
    return [name for name, figure in later.items() if name in earlier and sign * (figure - earlier[name]) < 0]


def _finite(figures: Mapping[Name, float | None]) -> dict[Name, float]:
    return {name: figure for name, figure in figures.items() if figure is not None and isfinite(figure)}


def _mean(figures: Mapping[Name, float]) -> float:
    return sum(figures.values()) / len(figures) if figures else nan
