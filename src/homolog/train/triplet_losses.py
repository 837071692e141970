"""What a descriptor is taught by: that corresponding patches are alike, and others not.

anchor, positive  (N, D) unit descriptors, row by row of the same place
apart             (N, N) bool: where row i and column j are surely of different places
"""

from __future__ import annotations

import torch
from torch.nn import functional


def triplet(
    anchor: torch.Tensor, positive: torch.Tensor, apart: torch.Tensor, margin: float, *, hardest: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of max(|a - p|^2 - |a - n|^2 + margin, 0), both ways, and the share of triplets that are not 0.

    Negatives are mined online: of those that are farther than the positive the nearest (semi-hard; Schroff et al.,
    CVPR 2015), or with `hardest` the nearest of all.
    """
    squares = distances(anchor, positive)
    terms = torch.cat([_terms(each, mask, margin, hardest) for each, mask in ((squares, apart), (squares.T, apart.T))])
    return terms.mean(), (terms > 0).float().mean()


def _terms(squares: torch.Tensor, apart: torch.Tensor, margin: float, hardest: bool) -> torch.Tensor:
    right = squares.diagonal()
    chosen = _nearest(squares, apart if hardest else apart & (squares > right[:, None]))
    if not hardest:
        # where no negative is farther than the positive, the farthest there is
        farthest = squares.masked_fill(~apart, -torch.inf).max(1).values
        chosen = torch.where(torch.isfinite(chosen), chosen, farthest)
    terms = (right - chosen + margin).clamp_min(0)
    return terms[torch.isfinite(chosen)]


def _nearest(squares: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    return squares.masked_fill(~allowed, torch.inf).min(1).values


def contrast(anchor: torch.Tensor, positive: torch.Tensor, apart: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE, both ways: each patch is to find its own among all that are surely others (van den Oord, 2018)."""
    alike = anchor @ positive.T / temperature
    own = torch.eye(len(alike), dtype=torch.bool, device=alike.device)
    alike = alike.masked_fill(~(apart | own), -torch.inf)
    right = torch.arange(len(alike), device=alike.device)
    return (functional.cross_entropy(alike, right) + functional.cross_entropy(alike.T, right)) / 2


def distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(N, N): squared distances of unit descriptors."""
    return (2 - 2 * one @ other.T).clamp_min(0)


def false_positive_rate(anchor: torch.Tensor, positive: torch.Tensor, apart: torch.Tensor) -> float:
    """FPR95 of a batch: the share of wrong pairs that are as near as all but a twentieth of the right ones."""
    squares = distances(anchor.detach(), positive.detach())
    threshold = torch.quantile(squares.diagonal(), 0.95)
    wrong = squares[apart]
    return float((wrong <= threshold).float().mean()) if len(wrong) else 0.0
