"""Line integrals of volumes along the rays of cameras, in torch: on any device, in float32 and float64.

`line_integrals` defines them. Its kernels take one volume and one bundle, these several of each: C channels of one
shape, N pictures of one size. Bundles are float64 in voxel coordinates, see `line_rays_torch`; results are of the
volumes' dtype. Places are float64 for each ray and of the volumes' dtype, from the middle of the volume, for its
samples; memory does not grow with the number of samples.

Nothing here records a gradient: `with_slopes_torch`, `with_curvature_torch` and `spread_torch` are what gradients are
made of. On a GPU, float32 volumes and trilinear integrals go to Triton (`on_gpu.line_integrals`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homolog.errors import BadInput
from homolog.kernels import launching, line_samples_torch, line_siddon_torch
from homolog.kernels.line_integrals import METHODS, checked_step
from homolog.kernels.line_rays_torch import Rays, ScatteredSums, pieces, rays_of

if TYPE_CHECKING:
    import torch

# Triton's programs count voxels of a channel in 32 bits.
MOST_VOXELS = 2**31 - 1


def use_triton(values: torch.Tensor, shape: tuple[int, ...], method: str) -> bool:
    """Whether the kernels in Triton do this: float32 on a GPU, trilinear, and a volume they can count.

    values   what is integrated or spread
    shape    (I, J, K) voxels
    """
    import torch

    fits = shape[0] * shape[1] * shape[2] <= MOST_VOXELS
    kind = values.is_cuda and values.dtype == torch.float32 and method == "trilinear"
    return kind and fits and launching.has_triton()


def integrals_torch(
    volumes: torch.Tensor, bundles: torch.Tensor, size_px: tuple[int, int], method: str, step_mm: float | None
) -> torch.Tensor:
    """(N, C, rows, columns): integrals over depth of volumes (C, I, J, K), zero outside, along bundles (N, 4, 3)."""
    if use_triton(volumes, volumes.shape[1:], method):
        return _on_gpu().integrals(volumes, bundles, size_px, checked_step(step_mm))
    return _pictures(volumes, bundles, None, size_px, method, step_mm, 0)[0]


def with_slopes_torch(
    volumes: torch.Tensor, bundles: torch.Tensor, size_px: tuple[int, int], method: str, step_mm: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`integrals_torch`, and (N, C, rows, columns, 6): their slopes for moving the source and the direction."""
    if use_triton(volumes, volumes.shape[1:], method):
        return _on_gpu().with_slopes(volumes, bundles, size_px, checked_step(step_mm))
    values, slopes = _pictures(volumes, bundles, None, size_px, method, step_mm, 1)
    return values, slopes


def with_curvature_torch(
    volumes: torch.Tensor,
    bundles: torch.Tensor,
    tangents: torch.Tensor,
    size_px: tuple[int, int],
    method: str,
    step_mm: float | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`with_slopes_torch`, and how the slopes change, shaped alike, when bundles move along tangents (N, 4, 3)."""
    if use_triton(volumes, volumes.shape[1:], method):
        return _on_gpu().with_curvature(volumes, bundles, tangents, size_px, checked_step(step_mm))
    values, slopes, turned = _pictures(volumes, bundles, tangents, size_px, method, step_mm, 2)
    return values, slopes, turned


def spread_torch(
    weights: torch.Tensor,
    bundles: torch.Tensor,
    shape: tuple[int, int, int],
    method: str,
    step_mm: float | None,
    *,
    tangents: torch.Tensor | None = None,
    tangent_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """(C, I, J, K): the adjoint of `integrals_torch`, the same in whatever order a GPU works.

    weights          (N, C, rows, columns)
    tangents         (N, 4, 3): with them, plus the adjoint of the integrals' derivative along them
    tangent_weights  (N, C, rows, columns), of that derivative
    """
    import torch

    if use_triton(weights, shape, method):
        from homolog.kernels.on_gpu import line_spread

        return line_spread.spread(
            weights, bundles, shape, checked_step(step_mm), tangents=tangents, tangent_weights=tangent_weights
        )
    (sums_of, step), size_px = _sums(method, step_mm), (weights.shape[2], weights.shape[3])
    of_rays = [
        whole.double().transpose(0, 1).reshape(weights.shape[1], -1)
        for whole in (weights, torch.zeros_like(weights) if tangent_weights is None else tangent_weights)
    ]

    def some() -> Any:
        for numbers in pieces(bundles, size_px):
            yield rays_of(bundles, tangents, size_px, numbers), [whole[:, numbers] for whole in of_rays]

    reach = torch.zeros((), dtype=torch.float64, device=weights.device)
    for rays, (own, moved) in some():
        reach += sums_of.reach(rays, shape, own, moved, method, step)
    sums = ScatteredSums(weights.shape[1], shape, reach)
    for rays, (own, moved) in some():
        sums_of.spread(sums, rays, own, moved, method, step)
    return sums.read(weights.dtype)


def _pictures(
    volumes: torch.Tensor,
    bundles: torch.Tensor,
    tangents: torch.Tensor | None,
    size_px: tuple[int, int],
    method: str,
    step_mm: float | None,
    order: int,
) -> list[torch.Tensor]:
    """Values (N, C, rows, columns), from order 1 slopes (N, C, rows, columns, 6), at order 2 their change."""
    import torch

    (sums_of, step), channels, shape = _sums(method, step_mm), len(volumes), tuple(volumes.shape[1:])
    flat = volumes.detach().reshape(channels, -1)
    rays = len(bundles) * size_px[0] * size_px[1]
    out = [flat.new_zeros((channels, rays, *rest)) for rest in ((), (6,), (6,))[: order + 1]]
    for numbers in pieces(bundles, size_px):
        some: Rays = rays_of(bundles, tangents, size_px, numbers)
        for whole, part in zip(out, sums_of.summed(flat, shape, some, method, step, order)):
            whole[:, numbers] = part.to(flat.dtype)
    return [
        torch.transpose(whole.reshape(channels, len(bundles), *size_px, *whole.shape[2:]), 0, 1).contiguous()
        for whole in out
    ]


def _sums(method: str, step_mm: float | None) -> tuple[Any, float]:
    """Where a method's sums are made, and the step of its lattice."""
    rooms = (line_siddon_torch, line_samples_torch, line_samples_torch)
    found = dict(zip(METHODS, rooms, strict=True)).get(method)
    if found is None:
        raise BadInput(f"no line integrals by '{method}'", f"one of: {', '.join(METHODS)}")
    return found, checked_step(step_mm) if method == "trilinear" else 1.0


def _on_gpu() -> Any:
    from homolog.kernels.on_gpu import line_integrals

    return line_integrals
