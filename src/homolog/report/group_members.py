"""The images of a group, as its record tells of them, and which of them a reader should look at first."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from homolog.report.runs import Run


@dataclass(frozen=True, eq=False)
class Member:
    """An image of a group.

    place  in the record's lists; None of one that was placed in the finished group
    said   what the record says of it
    """

    place: int | None
    said: Run

    @property
    def name(self) -> str:
        return str(self.said.value("name") or ("image" if self.place is None else f"image {self.place}"))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it should not be believed to fit."""
        found = self.said.value("doubts")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    @property
    def folds(self) -> bool:
        return bool(self.said.number("folding", "fraction"))

    @property
    def counts(self) -> tuple[int | None, int | None]:
        """How many matches it has with all others, and how many of those are right."""
        matches, right = (self.said.number(key) for key in ("matches", "inliers"))
        return (None if matches is None else int(matches)), (None if right is None else int(right))


def members_of(run: Run) -> list[Member]:
    """All images, in the record's order; those that came later last."""
    own = [Member(n, Run(run.folder, each)) for n, each in enumerate(_listed(run, "images")) if isinstance(each, dict)]
    late = [Member(None, Run(run.folder, each)) for each in _listed(run, "newcomers") if isinstance(each, dict)]
    return [*own, *late]


def worst_first(members: list[Member]) -> list[Member]:
    """Those that do not fit, then those whose right matches lie farthest apart."""
    return sorted(members, key=_goodness)


def _goodness(member: Member) -> tuple[bool, float]:
    residual = member.said.number("residual_mm")
    # no right match at all is worse than any distance
    return not member.doubts, -inf if residual is None else -residual


def _listed(run: Run, key: str) -> list[object]:
    found = run.value(key)
    return found if isinstance(found, list) else []
