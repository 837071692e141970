"""The options of ProST's descent. Only the standard library is imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DescentConfig:
    """Down the learned similarity until it is flat: ProST's first phase."""

    most_steps: int = 80
    """Steps at most."""
    still_degrees: float = 0.1
    """Degrees of a step below which a network's own way has come to its end."""
    still_mm: float = 0.2
    """mm of such a step, likewise."""
    longest_degrees: float = 20.0
    """Degrees that a step along a network's own way turns the body by at most."""
    longest_mm: float = 40.0
    """mm that such a step shifts the body by at most."""
    stride_degrees: float = 3.0
    """Degrees that the first steps turn the body by, where the similarity says nothing of how far."""
    stride_mm: float = 7.0
    """mm that the first steps shift the body by."""
    momentum: float = 0.6
    """0 to 1, how much of a step goes on in the next one."""
    patience: int = 6
    """Steps without anything better, after which strides are halved."""
    flat: float = 0.1
    """Share of the first stride below which the descent ends."""
