"""The options of matching, below each its unit. Only the standard library is imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MatchConfig:
    """Which nearest descriptors are taken for the same place."""

    mutual: bool = True
    """Each of the two must be the other's nearest; else every fixed point's nearest counts."""
    either: bool = False
    """Where they need not be mutual: what moving points find counts as well as what fixed ones find."""
    ratio: float | None = None
    """The nearest's distance over the second nearest's, at most; default no limit."""
    same_sign: bool = True
    """Dark blobs match dark ones only, where both sides have signs."""
    scale_ratio: float | None = 1.3
    """The larger of two scales over the smaller, at most, where both sides have scales; none: no limit."""
    most_distance: float | None = None
    """The largest distance between descriptors; default no limit."""
    within_mm: float | None = None
    """mm, how far from where a prior map puts it a point may be; needs such a map."""


# Of a group: wrong matches are told from right ones by the group, so that more of them, found from either side, bring
# landmarks nearer than fewer that are mutual (docs/methods/frog.md).
EITHER = MatchConfig(mutual=False, either=True)
