"""Which point of one list is which of the other."""

from __future__ import annotations

import logging
from collections import Counter

from homolog.errors import BadInput
from homolog.space.keypoints import Keypoints

logger = logging.getLogger(__name__)


def pair_by_name(fixed: Keypoints, moving: Keypoints) -> tuple[Keypoints, Keypoints]:
    """Both lists restricted to the names they share, in the fixed list's order; lists without names pair by row."""
    if fixed.name is None and moving.name is None:
        return _paired_by_row(fixed, moving)
    if fixed.name is None or moving.name is None:
        named, bare = (fixed, moving) if moving.name is None else (moving, fixed)
        raise BadInput(
            f"the points of '{named.space}' have names and those of '{bare.space}' have none: they cannot be paired",
            "give both lists names, or neither (then they pair by row)",
        )
    theirs = set(moving.name)
    common = [name for name in fixed.name if name in theirs]
    if not common:
        raise _nothing_common(fixed, moving)
    _require_single(common, fixed, moving)
    _warn_unmatched(fixed, moving)
    return fixed.by_name(common), moving.by_name(common)


def _paired_by_row(fixed: Keypoints, moving: Keypoints) -> tuple[Keypoints, Keypoints]:
    if len(fixed) != len(moving):
        raise BadInput(
            f"'{fixed.space}' has {len(fixed)} points and '{moving.space}' {len(moving)}, all without names: "
            "they cannot be paired by row",
            "give both lists the same number of points, or names",
        )
    return fixed, moving


def _require_single(common: list[str], fixed: Keypoints, moving: Keypoints) -> None:
    for points in (fixed, moving):
        times = Counter(points.name)
        double = [name for name in dict.fromkeys(common) if times[name] > 1]
        if double:
            raise BadInput(
                f"{_few(double)} stands more than once in '{points.space}': which one is meant cannot be told",
                "rename the points so that every name stands once",
            )


def _nothing_common(fixed: Keypoints, moving: Keypoints) -> BadInput:
    message = f"no point of '{fixed.space}' has the name of a point of '{moving.space}'"
    plain = {_plain(name): name for name in moving.name or ()}
    for name in fixed.name or ():
        if _plain(name) in plain:
            return BadInput(message, f"did you mean {name!r} and {plain[_plain(name)]!r} to be the same? rename one")
    return BadInput(message, f"they are called {_few(list(fixed.name or ()))}; and {_few(list(moving.name or ()))}")


def _plain(name: str) -> str:
    """A name without what people vary: case, blanks, hyphens and underscores."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _warn_unmatched(fixed: Keypoints, moving: Keypoints) -> None:
    for points, other in ((fixed, moving), (moving, fixed)):
        theirs = set(other.name or ())
        alone = [name for name in points.name or () if name not in theirs]
        if alone:
            logger.warning("left out, being only in '%s' and not in '%s': %s", points.space, other.space, _few(alone))


def _few(names: list[str], most: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
