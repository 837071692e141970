"""Siddon's integrals of many rays in torch: exact, by the planes between voxels that each ray crosses.

A crossing at depth a from value V to value W adds (V - W) * a; the crossings of one axis are looked at by themselves,
so nothing is sorted. Two planes that are crossed at nearly the same depth must be seen in the same order from both
axes, or a corner would be counted twice: crossings are ordered by their computed depths, equal ones by their axes.

Depths and sums are float64: what is summed is 1000 times what remains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homolog.kernels.line_rays_torch import SAMPLES, Rays, ScatteredSums, depths_within, looked_up

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Crossings:
    """Some crossings of planes across one axis, S for each of M rays.

    depth   (M, S) float64 mm
    counts  (M, S) bool: whether there is this crossing
    before  [i, j, k], each (M, S) int64: the voxel on the source's side
    after   [i, j, k]
    """

    depth: torch.Tensor
    counts: torch.Tensor
    before: list[torch.Tensor]
    after: list[torch.Tensor]


def summed(flat: torch.Tensor, shape: tuple[int, ...], rays: Rays, method: str, step_mm: float, order: int) -> list:
    """Integrals (C, M), from order 1 their slopes (C, M, 6), at order 2 how those turn along the tangent (C, M, 6).

    flat   (C, I * J * K) values
    """
    import torch

    jumps = torch.zeros((len(flat), len(rays.source), 3), dtype=torch.float64, device=flat.device)
    by_depth = torch.zeros_like(jumps)
    for axis in range(3):
        for some in _crossings(rays, shape, axis, len(flat)):
            jump = looked_up(flat, some.before, shape).double() - looked_up(flat, some.after, shape).double()
            jump = jump.masked_fill(~some.counts, 0.0)
            jumps[..., axis] += jump.sum(dim=2)
            by_depth[..., axis] += (jump * some.depth).sum(dim=2)
    value = by_depth.sum(dim=2)
    if order == 0:
        return [value]
    # a plane at x is crossed at (x - source) / direction
    inverse = _inverse(rays.direction)
    slopes = torch.cat((-jumps * inverse, -by_depth * inverse), dim=2)
    if order == 1:
        return [value, slopes]
    at_source = jumps * rays.direction_move
    at_direction = jumps * rays.source_move + 2 * by_depth * rays.direction_move
    return [value, slopes, torch.cat((at_source, at_direction), dim=2) * (inverse**2).repeat(1, 2)]


def reach(
    rays: Rays, shape: tuple[int, ...], weights: torch.Tensor, moved: torch.Tensor, method: str, step_mm: float
) -> torch.Tensor:
    """More than any voxel can get from `spread`: a float64 scalar."""
    import torch

    begin, end = depths_within(rays, shape, beyond=1.0)
    end = torch.where(end > begin, end, 0.0)
    move = (rays.source_move.abs() + end[:, None] * rays.direction_move.abs()) * _inverse(rays.direction).abs()
    # of one ray, a voxel has two crossings
    return 2 * (weights.abs() * end + moved.abs() * move.sum(dim=1)).sum()


def spread(
    sums: ScatteredSums, rays: Rays, weights: torch.Tensor, moved: torch.Tensor, method: str, step_mm: float
) -> None:
    """Adds to each voxel what it counts for in the weighted integrals.

    weights   (C, M) float64, of the integrals
    moved     (C, M) float64, of their derivatives along the tangent
    """
    inverse = _inverse(rays.direction)
    for axis in range(3):
        shift, turn = (-(move[:, axis] * inverse[:, axis])[:, None] for move in (rays.source_move, rays.direction_move))
        for some in _crossings(rays, sums.shape, axis, len(weights)):
            share = weights[..., None] * some.depth + moved[..., None] * (shift + some.depth * turn)
            share = share.masked_fill(~some.counts, 0.0).reshape(len(weights), -1)
            sums.add([index.reshape(-1) for index in some.before], share)
            sums.add([index.reshape(-1) for index in some.after], -share)


def _inverse(direction: torch.Tensor) -> torch.Tensor:
    """1 / direction, and 0 where a ray crosses no plane."""
    import torch

    return torch.where(direction == 0, 0.0, 1 / torch.where(direction == 0, 1.0, direction))


def _crossings(rays: Rays, shape: tuple[int, ...], axis: int, channels: int) -> Iterator[Crossings]:
    import torch

    first, count = _planes(rays, shape, axis)
    longest = int(count.max()) if len(count) else 0
    size = max(1, SAMPLES // max(1, len(count) * channels))
    for start in range(0, longest, size):
        number = torch.arange(start, min(longest, start + size), device=first.device)
        plane = first[:, None] + number
        depth = _depth(rays, axis, plane)
        counts = (number < count[:, None]) & (depth > 0)
        # a ray across the axis meets its planes nowhere: no infinite depth may be multiplied with its zeros
        depth = depth.masked_fill(~counts, 0.0)
        beside = [_passed(rays, depth, axis, other) for other in range(3)]
        before, after = list(beside), list(beside)
        ahead = (rays.direction[:, axis] > 0)[:, None]
        before[axis], after[axis] = plane - ahead.long(), plane - (~ahead).long()
        yield Crossings(depth, counts, before, after)


def _planes(rays: Rays, shape: tuple[int, ...], axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first plane of each ray and how many: (M,) int64; plane p lies at p - 1/2."""
    import torch

    begin, end = depths_within(rays, shape, beyond=1.0)
    source, direction = rays.source[:, axis], rays.direction[:, axis]
    meets = (end > begin) & (direction != 0)
    near, far = (torch.where(meets, source + depth * direction, 0.0) for depth in (begin, end))
    first = (torch.minimum(near, far) - 0.5).floor().clamp(min=0)
    last = (torch.maximum(near, far) + 1.5).ceil().clamp(max=shape[axis])
    return first.long(), torch.where(meets, last - first + 1, 0.0).clamp(min=0).long()


def _depth(rays: Rays, axis: int, plane: torch.Tensor) -> torch.Tensor:
    """(M, S) float64: where planes are crossed. One formula for all, or equal depths would not be equal."""
    return ((plane - 0.5) - rays.source[:, axis, None]) / rays.direction[:, axis, None]


def _passed(rays: Rays, depth: torch.Tensor, axis: int, other: int) -> torch.Tensor:
    """(M, S) int64: the voxel along `other` in which each crossing of `axis` happens."""
    import torch

    source, direction = rays.source[:, other, None], rays.direction[:, other, None]
    guess = (source + depth * direction + 0.5).nan_to_num().floor()
    sign = direction.sign()
    # the planes through which the ray comes in and goes out: the guess may be one voxel off
    came, goes = (_depth(rays, other, guess + 0.5 + side * sign / 2) for side in (-1, 1))
    if other < axis:
        early, late = goes <= depth, came > depth
    else:
        early, late = goes < depth, came >= depth
    step = torch.where(early, sign, torch.where(late, -sign, 0.0))
    return (guess + torch.where(direction == 0, 0.0, step)).long()
