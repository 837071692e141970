"""What the twelve elements of a cohort's local affine maps are like: the published checks, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The rows of A, then t.
ELEMENTS = (*(f"A{i}{j}" for i in "xyz" for j in "xyz"), "tx", "ty", "tz")
# D'Agostino and Pearson's test is by moments whose distributions are known from this many numbers on.
FEWEST_TESTED = 20
# What counts as related: one in a hundred cohorts of independent elements has such a pair (Bonferroni).
LEVEL = 0.01


@dataclass(frozen=True)
class AffineFacts:
    """The elements of local affine maps; those of t in mm. What cannot be said, of too few or of equal numbers, is NaN.

    patients, matrices  how many patients, how many maps that count
    refused             reason -> how many maps do not
    mean, spread        of each element; the spread is a standard deviation
    bandwidth           of each element, the standard deviation of its kernels
    normality_p         of each element, how probable so large a skewness and kurtosis are of normal numbers
    correlation         (12, 12) Pearson's r of each two elements
    largest_r, largest_r_p, largest_of  the r farthest from 0, how probable one as far is of independent elements
                        of as many independent maps, and the two it is of
    related             how many of the pairs of elements are not independent, of `couples`
    """

    patients: int
    matrices: int
    refused: dict[str, int]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    bandwidth: tuple[float, ...]
    normality_p: tuple[float, ...]
    correlation: tuple[tuple[float, ...], ...]
    largest_r: float
    largest_r_p: float
    largest_of: tuple[str, str]
    related: int
    couples: int

    def __str__(self) -> str:
        """A table of the elements, and sentences."""
        refused = "; ".join(f"{reason}: {count}" for reason, count in self.refused.items()) or "none"
        rows = [
            f"{name:>4} {mean:9.4f} {spread:9.4f} {kernel:9.4f} {p:9.2g}"
            for name, mean, spread, kernel, p in zip(
                ELEMENTS, self.mean, self.spread, self.bandwidth, self.normality_p, strict=True
            )
        ]
        return "\n".join((
            f"{self.matrices} local affine maps of {self.patients} patients (refused: {refused})",
            "          mean    spread bandwidth  normal p",
            *rows,
            f"largest |r| {abs(self.largest_r):.3f} (r = {self.largest_r:.3f}, p = {self.largest_r_p:.2g}) of "
            f"{' and '.join(self.largest_of)}",
            f"{self.related} of {self.couples} pairs of elements are not independent",
        ))  # fmt: skip


def facts_of(elements: np.ndarray, bandwidth: np.ndarray, refused: dict[str, int], patients: int) -> AffineFacts:
    """The checks on elements (N, 12), with N of 2 or more."""
    spread = elements.std(axis=0, ddof=1)
    correlation = _correlation(elements, spread)
    r = correlation[np.triu_indices(12, 1)]
    p = _probability(r, len(elements))
    couples = int(np.isfinite(p).sum())
    largest = int(np.nanargmax(np.abs(r))) if couples else 0
    first, second = (int(rows[largest]) for rows in np.triu_indices(12, 1))
    return AffineFacts(
        patients=patients,
        matrices=len(elements),
        refused=dict(refused),
        mean=_floats(elements.mean(axis=0)),
        spread=_floats(spread),
        bandwidth=_floats(bandwidth),
        normality_p=_floats(_normality(elements, spread)),
        correlation=tuple(_floats(row) for row in correlation),
        largest_r=float(r[largest]),
        largest_r_p=float(p[largest]),
        largest_of=(ELEMENTS[first], ELEMENTS[second]),
        related=int((p * couples < LEVEL).sum()),
        couples=couples,
    )


def _correlation(elements: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(12, 12) Pearson's r; NaN where an element is the same everywhere."""
    varies = _varies(elements, spread)
    scores = np.full_like(elements, np.nan)
    scores[:, varies] = (elements - elements.mean(axis=0))[:, varies] / spread[varies]
    return np.clip(scores.T @ scores / (len(elements) - 1), -1, 1)


def _probability(r: np.ndarray, count: int) -> np.ndarray:
    """Of an r as far from 0, by the beta distribution of r^2 of independent normal numbers."""
    from scipy.special import betainc

    return betainc((count - 2) / 2, 0.5, 1 - r**2) if count > 2 else np.full_like(r, np.nan)


def _normality(elements: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(12,) of skewness and kurtosis together (D'Agostino and Pearson, Biometrika 60:613, 1973)."""
    from scipy.stats import normaltest

    found = np.full(12, np.nan)
    varies = _varies(elements, spread)
    if len(elements) >= FEWEST_TESTED and varies.any():
        found[varies] = normaltest(elements[:, varies], axis=0).pvalue
    return found


def _varies(elements: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(12,) bool: whether an element differs by more than rounding does; t in mm is rounded with the positions."""
    return spread > 1e-9 * np.maximum(1.0, np.abs(elements).max(axis=0))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
