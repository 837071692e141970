"""Trilinear and Joseph integrals of many rays in torch: both are sums over a lattice of samples on each ray.

Trilinear's samples lie at depths (k + 1/2) * step, Joseph's where a ray meets the planes of voxel centres of its
dominant axis. A sample counts with the depth between two of them, the lattice's pace. What differs is how samples
follow when a ray moves: Joseph's stay in their planes, and their pace changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from homolog.kernels.line_rays_torch import SAMPLES, Rays, ScatteredSums, depths_within, looked_up

if TYPE_CHECKING:
    import torch

CORNERS = tuple(product((0, 1), repeat=3))


@dataclass(frozen=True, eq=False)
class Lattice:
    """The samples of M rays: sample j of a ray is at place + j * stride, at depth + j * pace.

    place     (M, 3) float64, in voxels: of the sample in the middle of the volume, so that j stays small
    stride    (M, 3)
    depth     (M,) mm
    pace      (M,) mm
    first     (M,) int64: the least j that counts
    count     (M,) int64
    plane     (M, 3): 1 / direction on the axis whose planes hold the samples, else 0; all 0 for trilinear
    shift     (M, 3), turn (M, 3): a sample moves by shift + depth * turn along the tangent
    slowing   (M,): the relative change of the pace along the tangent
    """

    place: torch.Tensor
    stride: torch.Tensor
    depth: torch.Tensor
    pace: torch.Tensor
    first: torch.Tensor
    count: torch.Tensor
    plane: torch.Tensor
    shift: torch.Tensor
    turn: torch.Tensor
    slowing: torch.Tensor


def lattice(rays: Rays, shape: tuple[int, ...], method: str, step_mm: float) -> Lattice:
    """The samples of rays through a volume of this shape (I, J, K), as far as they can be other than zero."""
    make = _trilinear if method == "trilinear" else _joseph
    return make(rays, shape, step_mm)


def _trilinear(rays: Rays, shape: tuple[int, ...], step_mm: float) -> Lattice:
    import torch

    begin, end = depths_within(rays, shape, beyond=1.0)
    # (k + 1/2) * step; k counts from the source
    middle = torch.where(end > begin, (begin + end) / (2 * step_mm), 0.0).floor()
    depth = (middle + 0.5) * step_mm
    pace = torch.full_like(depth, step_mm)
    none = torch.zeros_like(rays.source)
    return Lattice(
        rays.source + depth[:, None] * rays.direction, step_mm * rays.direction, depth, pace,
        *_counted(begin, end, depth, pace, -middle),
        none, rays.source_move, rays.direction_move, none[:, 0],
    )  # fmt: skip


def _joseph(rays: Rays, shape: tuple[int, ...], step_mm: float) -> Lattice:
    """Depths are those of the planes: `step_mm` has no say."""
    import torch

    begin, end = depths_within(rays, shape, beyond=1.0)
    axis = rays.direction.abs().argmax(dim=1, keepdim=True)
    along, source = (whole.gather(1, axis)[:, 0] for whole in (rays.direction, rays.source))
    middle = torch.tensor(shape, device=axis.device)[axis[:, 0]].double().div(2).floor()
    depth, pace = (middle - source) / along, 1 / along.abs()
    place = (rays.source + depth[:, None] * rays.direction).scatter(1, axis, middle[:, None])
    stride = (rays.direction * pace[:, None]).scatter(1, axis, along.sign()[:, None])
    plane = torch.zeros_like(stride).scatter(1, axis, 1 / along[:, None])
    # the plane's samples slide along the ray until they are in their plane again
    back_shift, back_turn = ((plane * move).sum(1, keepdim=True) for move in (rays.source_move, rays.direction_move))
    # only what is in front of the source: the first plane after it
    least = ((source - middle) * along.sign()).floor() + 1
    return Lattice(
        place, stride, depth, pace, *_counted(begin, end, depth, pace, least), plane,
        rays.source_move - back_shift * rays.direction, rays.direction_move - back_turn * rays.direction,
        -back_turn[:, 0],
    )  # fmt: skip


def _counted(
    begin: torch.Tensor, end: torch.Tensor, depth: torch.Tensor, pace: torch.Tensor, least: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first sample between two depths and not before `least`, and how many there are: (M,) int64 each."""
    import torch

    hits = end > begin
    first = torch.maximum(torch.where(hits, (begin - depth) / pace, 0.0).floor(), least)
    last = torch.where(hits, (end - depth) / pace, -1.0).ceil()
    return first.long(), torch.where(hits, last - first + 1, 0.0).clamp(min=0).long()


def summed(flat: torch.Tensor, shape: tuple[int, ...], rays: Rays, method: str, step_mm: float, order: int) -> list:
    """Integrals (C, M), from order 1 their slopes (C, M, 6), at order 2 how those turn along the tangent (C, M, 6).

    flat   (C, I * J * K) values
    """
    samples = lattice(rays, shape, method, step_mm)
    sizes = (1, 3, 3, 3, 3)[: 2 * order + 1]
    sums = [flat.new_zeros((len(flat), len(samples.count), size)) for size in sizes]
    for place, depth, counts, move in _blocks(samples, flat.dtype, len(flat)):
        for n, values in enumerate(_field(flat, shape, place, order, move)):
            by_depth = n in (2, 4)
            sums[n] += (values * (counts * depth if by_depth else counts)).sum(dim=2)
    return _derivatives([part.double() for part in sums], samples, rays)


def _blocks(samples: Lattice, dtype: torch.dtype, channels: int) -> Iterator[tuple]:
    """Some samples of each ray at a time.

    Gives their places [i, j, k] (M, S), their depths from `samples.depth` (M, S, 1), whether they count (M, S, 1), and
    their moves along the tangent [i, j, k] (M, S), of this dtype.
    """
    import torch

    longest = int(samples.count.max()) if len(samples.count) else 0
    size = max(1, SAMPLES // max(1, len(samples.count) * channels))
    place, stride, shift, turn = (
        whole.to(dtype) for whole in (
            samples.place, samples.stride, samples.shift + samples.depth[:, None] * samples.turn, samples.turn
        )
    )  # fmt: skip
    for start in range(0, longest, size):
        number = torch.arange(start, min(longest, start + size), device=place.device)
        j = (samples.first[:, None] + number).to(dtype)
        depth = j * samples.pace.to(dtype)[:, None]
        counts = (number < samples.count[:, None]).to(dtype)
        places = [place[:, n, None] + j * stride[:, n, None] for n in range(3)]
        moves = [shift[:, n, None] + depth * turn[:, n, None] for n in range(3)]
        yield places, depth[..., None], counts[..., None], moves


def _field(
    flat: torch.Tensor, shape: tuple[int, ...], place: list[torch.Tensor], order: int, move: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Values, slopes twice, and the slopes' change twice: (C, M, S, 1) and (C, M, S, 3), as many as `order` wants.

    Twice, since they are summed twice: as they are, and by depth.
    """
    import torch

    low = [along.floor() for along in place]
    fi, fj, fk = (along - below for along, below in zip(place, low))
    i, j, k = (below.long() for below in low)
    corner = {(a, b, c): looked_up(flat, [i + a, j + b, k + c], shape) for a, b, c in CORNERS}
    # along k, then j, then i: `step` is the slope of what comes before
    step_k = {(a, b): corner[a, b, 1] - corner[a, b, 0] for a, b in product((0, 1), repeat=2)}
    on_k = {(a, b): corner[a, b, 0] + fk * step_k[a, b] for a, b in step_k}
    step_j = [on_k[a, 1] - on_k[a, 0] for a in (0, 1)]
    on_j = [on_k[a, 0] + fj * step_j[a] for a in (0, 1)]
    slope_i = on_j[1] - on_j[0]
    value = (on_j[0] + fi * slope_i)[..., None]
    if order == 0:
        return [value]
    slope_jk = [step_k[a, 1] - step_k[a, 0] for a in (0, 1)]
    step_k_on_j = [step_k[a, 0] + fj * slope_jk[a] for a in (0, 1)]
    slope_ij, slope_ik = step_j[1] - step_j[0], step_k_on_j[1] - step_k_on_j[0]
    slopes = torch.stack((slope_i, step_j[0] + fi * slope_ij, step_k_on_j[0] + fi * slope_ik), dim=-1)
    if order == 1:
        return [value, slopes, slopes]
    both = slope_jk[0] + fi * (slope_jk[1] - slope_jk[0])
    mi, mj, mk = move
    # within a cell there is no second derivative along one axis
    change = (slope_ij * mj + slope_ik * mk, slope_ij * mi + both * mk, slope_ik * mi + both * mj)
    turned = torch.stack(change, dim=-1)
    return [value, slopes, slopes, turned, turned]


def _derivatives(sums: list, samples: Lattice, rays: Rays) -> list:
    """What the sums over the samples say about moving the rays; see `summed`.

    sums   (C, M, 1) values, then (C, M, 3): slopes, slopes by depth, their changes, those by depth
    """
    import torch

    sums = [part * samples.pace[:, None] for part in sums]
    value = sums[0]
    if len(sums) == 1:
        return [value[..., 0]]
    from_middle, depth = samples.plane == 0, samples.depth[:, None]
    # what lies across a sample's plane does not move it
    still = [part * from_middle for part in sums[1:]]
    at_source, at_direction = still[0], still[1] + depth * still[0]
    pull, turn = (_dot(part, rays.direction) for part in (at_source, at_direction))
    slopes = torch.cat((at_source - samples.plane * pull, at_direction - samples.plane * (turn + value)), dim=-1)
    if len(sums) == 3:
        return [value[..., 0], slopes]
    slowing = samples.slowing[:, None]
    slid = -_dot(samples.plane, rays.source_move), -_dot(samples.plane, rays.direction_move)
    source_turned = still[2] + slowing * at_source
    direction_turned = (
        still[3] + depth * still[2] + slowing * at_direction + slid[0] * at_source + slid[1] * at_direction
    )
    moved = _dot(slopes, torch.cat((rays.source_move, rays.direction_move), dim=-1))
    pulled = _dot(at_source, rays.direction_move) + _dot(source_turned, rays.direction) + pull * slowing
    turned = _dot(at_direction, rays.direction_move) + _dot(direction_turned, rays.direction) + moved
    turned = turned + (turn + value) * slowing
    change = (source_turned - samples.plane * pulled, direction_turned - samples.plane * turned)
    return [value[..., 0], slopes, torch.cat(change, dim=-1)]


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(dim=-1, keepdim=True)


def reach(
    rays: Rays, shape: tuple[int, ...], weights: torch.Tensor, moved: torch.Tensor, method: str, step_mm: float
) -> torch.Tensor:
    """More than any voxel can get from `spread`: a float64 scalar."""
    samples = lattice(rays, shape, method, step_mm)
    farthest = (samples.depth.abs() + (samples.first.abs() + samples.count) * samples.pace)[:, None]
    move = (samples.shift.abs() + farthest * samples.turn.abs()).sum(dim=1) + samples.slowing.abs()
    return ((weights.abs() + moved.abs() * move) * samples.pace * samples.count).sum()


def spread(
    sums: ScatteredSums, rays: Rays, weights: torch.Tensor, moved: torch.Tensor, method: str, step_mm: float
) -> None:
    """Adds to each voxel what it counts for in the weighted integrals.

    weights   (C, M) float64, of the integrals
    moved     (C, M) float64, of their derivatives along the tangent
    """
    samples = lattice(rays, sums.shape, method, step_mm)
    steady = ((weights + samples.slowing * moved) * samples.pace)[..., None]
    moved = (moved * samples.pace)[..., None]
    for place, _, counts, move in _blocks(samples, weights.dtype, len(weights)):
        low = [along.floor() for along in place]
        upper = [along - below for along, below in zip(place, low)]
        for corner in CORNERS:
            share = [f if up else 1 - f for f, up in zip(upper, corner)]
            sign = [1 if up else -1 for up in corner]
            change = (
                sign[0] * move[0] * share[1] * share[2]
                + sign[1] * move[1] * share[0] * share[2]
                + sign[2] * move[2] * share[0] * share[1]
            )
            values = (steady * (share[0] * share[1] * share[2]) + moved * change) * counts[..., 0]
            at = [(below.long() + up).reshape(-1) for below, up in zip(low, corner)]
            sums.add(at, values.reshape(len(values), -1))
