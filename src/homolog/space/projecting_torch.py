"""Line integrals as a torch function, differentiable twice to the pose, the camera and the volume.

The derivatives are the kernels' own, written out; torch sees a function for each of its inputs apart, all but the first
of which add zero to the value. So torch runs only those that lead to what was asked for: the gradient to a pose spreads
nothing back into the volume, and a loss on that gradient, as ProST's, needs no second derivative by the pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from homolog.errors import BadInput
from homolog.space.camera import Camera

Tensor = torch.Tensor


def project_torch(
    data: Tensor,
    world_from_voxel: Any,
    camera: Camera,
    camera_from_world: Tensor,
    *,
    method: str = "trilinear",
    step_mm: float | None = None,
    intrinsics: Tensor | None = None,
) -> Tensor:
    """(N, C, rows, columns): line integrals of C volumes from N poses.

    data               (C, I, J, K), attenuation in 1/mm or any features; float32 or float64
    world_from_voxel   (4, 4), LPS mm
    camera_from_world  (N, 4, 4), rigid, mm
    step_mm            of trilinear: depth between samples; None: the smallest side of a voxel
    intrinsics         (5,) or (N, 5), not the camera's: focal_mm, pitch_mm (row, column), centre_px (column, row)
    """
    _require(data, camera_from_world)
    affine = torch.as_tensor(np.array(world_from_voxel), dtype=torch.float64, device=data.device)
    poses = camera_from_world.to(torch.float64)
    inner = torch.as_tensor(intrinsics_of(camera), device=data.device) if intrinsics is None else intrinsics
    inner = inner.to(torch.float64).expand(len(poses), 5)
    step_mm = step_mm or float(affine[:3, :3].norm(dim=0).min())
    bundles = bundles_of(inner, torch.linalg.inv(affine) @ torch.linalg.inv(poses))
    values = line_integrals(data, bundles, camera.size_px, method, step_mm)
    return values * _lengths(inner, camera.size_px).to(values.dtype)[:, None]


def intrinsics_of(camera: Camera) -> np.ndarray:
    """(5,) float64: focal_mm, pitch_mm (row, column), centre_px (column, row)."""
    return np.array([camera.focal_mm, *camera.pitch_mm, *camera.centre_px])


def bundles_of(intrinsics: Tensor, voxel_from_camera: Tensor) -> Tensor:
    """(N, 4, 3): source, direction of pixel (0, 0), its change a column and a row, in voxels, a mm of depth."""
    focal, row, column, right, down = intrinsics.unbind(1)
    turned = voxel_from_camera[:, :3, :3]
    across, along = turned[:, :, 0] * (column / focal)[:, None], turned[:, :, 1] * (row / focal)[:, None]
    first = turned[:, :, 2] - right[:, None] * across - down[:, None] * along
    return torch.stack((voxel_from_camera[:, :3, 3], first, across, along), 1)


def line_integrals(data: Tensor, bundles: Tensor, size_px: tuple[int, int], method: str, step_mm: float) -> Tensor:
    """(N, C, rows, columns): integrals over depth of C volumes (C, I, J, K) along N bundles of rays (N, 4, 3)."""
    rays = _Rays(data, bundles, size_px, method, step_mm)
    out = rays.values(bundles.requires_grad and torch.is_grad_enabled())
    if data.requires_grad:
        out = out + _ByVolume.apply(data, rays)
    if bundles.requires_grad:
        out = out + _ByBundle.apply(bundles, rays)
    return out


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Rays:
    """What a projection is of; what is handed to kernels is bare of torch's history."""

    data: Tensor
    bundles: Tensor
    size_px: tuple[int, int]
    method: str
    step_mm: float
    slopes: Tensor | None = None

    def values(self, with_slopes: bool) -> Tensor:
        if with_slopes:
            values, self.slopes = self.sloped(self.data)
            return values
        return _call("integrals", self.data, self.bundles, *self._how)

    def sloped(self, data: Tensor) -> tuple[Tensor, Tensor]:
        return _call("with_slopes", data, self.bundles, *self._how)

    def own_slopes(self) -> Tensor:
        if self.slopes is None:
            self.slopes = self.sloped(self.data)[1]
        return self.slopes

    def turned(self, tangents: Tensor) -> Tensor:
        return _call("with_curvature", self.data, self.bundles, tangents, *self._how)[2]

    def integrals(self, data: Tensor) -> Tensor:
        return _call("integrals", data, self.bundles, *self._how)

    def spread(self, weights: Tensor, **along: Tensor) -> Tensor:
        shape = tuple(self.data.shape[1:])
        return _call("spread", weights, self.bundles, shape, self.method, self.step_mm, **along).to(self.data.dtype)

    @property
    def _how(self) -> tuple[Any, ...]:
        return self.size_px, self.method, self.step_mm

    @property
    def image_shape(self) -> tuple[int, ...]:
        return len(self.bundles), len(self.data), *self.size_px


class _ByVolume(torch.autograd.Function):
    """Zero, whose gradient by the volume is the projection's."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, rays: _Rays) -> Tensor:
        ctx.rays = rays
        return data.new_zeros(()).expand(rays.image_shape)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> Any:
        rays = ctx.rays
        out = rays.spread(weights)
        if torch.is_grad_enabled():
            if weights.requires_grad:
                out = out + _SpreadByWeights.apply(weights, rays)
            if rays.bundles.requires_grad:
                out = out + _SpreadByBundle.apply(rays.bundles, weights.detach(), rays)
        return out, None


class _ByBundle(torch.autograd.Function):
    """Zero, whose gradient by the bundles is the projection's."""

    @staticmethod
    def forward(ctx: Any, bundles: Tensor, rays: _Rays) -> Tensor:
        ctx.rays = rays
        return rays.data.new_zeros(()).expand(rays.image_shape)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> Any:
        rays = ctx.rays
        out = _gathered(weights.detach(), rays.own_slopes())
        if torch.is_grad_enabled():
            bare = weights.detach()
            if weights.requires_grad:
                out = out + _PullByWeights.apply(weights, rays)
            if rays.data.requires_grad:
                out = out + _PullByVolume.apply(rays.data, bare, rays)
            if rays.bundles.requires_grad:
                out = out + _PullByBundle.apply(rays.bundles, bare, rays)
        return out, None


class _SpreadByWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, rays: _Rays) -> Tensor:
        ctx.rays = rays
        return weights.new_zeros(()).expand(rays.data.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        return ctx.rays.integrals(cotangent), None


class _SpreadByBundle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bundles: Tensor, weights: Tensor, rays: _Rays) -> Tensor:
        ctx.rays, ctx.weights = rays, weights
        return weights.new_zeros(()).expand(rays.data.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        return _gathered(ctx.weights, ctx.rays.sloped(cotangent)[1]), None, None


class _PullByWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, rays: _Rays) -> Tensor:
        ctx.rays = rays
        return rays.bundles.new_zeros(()).expand(rays.bundles.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        return _along(ctx.rays.own_slopes(), cotangent), None


class _PullByVolume(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, data: Tensor, weights: Tensor, rays: _Rays) -> Tensor:
        ctx.rays, ctx.weights = rays, weights
        return rays.bundles.new_zeros(()).expand(rays.bundles.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        nothing = torch.zeros_like(ctx.weights)
        return ctx.rays.spread(nothing, tangents=cotangent, tangent_weights=ctx.weights), None, None


class _PullByBundle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bundles: Tensor, weights: Tensor, rays: _Rays) -> Tensor:
        ctx.rays, ctx.weights = rays, weights
        return bundles.new_zeros(()).expand(bundles.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        return _gathered(ctx.weights, ctx.rays.turned(cotangent)), None, None


# ---------------------------------------------------------------------------------------------------------------------


def _gathered(weights: Tensor, slopes: Tensor) -> Tensor:
    """(N, 4, 3) float64: what weights (N, C, rows, columns) pull at the bundles, by slopes (N, C, rows, columns, 6)."""
    pulls = (weights[..., None] * slopes).sum(1).to(torch.float64)
    rows, columns = (torch.arange(n, dtype=pulls.dtype, device=pulls.device) for n in pulls.shape[1:3])
    by_source, by_direction = pulls[..., :3], pulls[..., 3:]
    return torch.stack(
        (
            by_source.sum((1, 2)),
            by_direction.sum((1, 2)),
            (by_direction * columns[None, None, :, None]).sum((1, 2)),
            (by_direction * rows[None, :, None, None]).sum((1, 2)),
        ),
        1,
    )


def _along(slopes: Tensor, tangents: Tensor) -> Tensor:
    """(N, C, rows, columns): how much the integrals change as the bundles move along tangents (N, 4, 3)."""
    rows, columns = (torch.arange(n, dtype=slopes.dtype, device=slopes.device) for n in slopes.shape[2:4])
    source, first, across, down = tangents.to(slopes.dtype)[:, :, None, None, :].unbind(1)
    direction = first + columns[None, None, :, None] * across + rows[None, :, None, None] * down
    return (slopes[..., :3] * source[:, None]).sum(-1) + (slopes[..., 3:] * direction[:, None]).sum(-1)


def _lengths(intrinsics: Tensor, size_px: tuple[int, int]) -> Tensor:
    """(N, rows, columns): mm along each ray for a mm of depth."""
    focal, row, column, right, down = (each[:, None, None] for each in intrinsics.unbind(1))
    rows, columns = (torch.arange(n, dtype=intrinsics.dtype, device=intrinsics.device) for n in size_px)
    x = (columns[None, None] - right) * column / focal
    y = (rows[None, :, None] - down) * row / focal
    return torch.sqrt(1 + x**2 + y**2)


def _call(name: str, first: Tensor, bundles: Tensor, *rest: Any, **named: Any) -> Any:
    """A kernel of this device, given bare tensors: Numba's on the CPU, torch's or Triton's elsewhere."""
    first, bundles = first.detach(), bundles.detach()
    rest = tuple(each.detach() if isinstance(each, Tensor) else each for each in rest)
    named = {key: each.detach() for key, each in named.items()}
    if first.device.type == "cpu":
        return _on_cpu(name, first, bundles, *rest, **named)
    from homolog.kernels import line_integrals_torch

    return getattr(line_integrals_torch, f"{name}_torch")(first, bundles, *rest, **named)


def _on_cpu(name: str, first: Tensor, bundles: Tensor, *rest: Any, **named: Any) -> Any:
    from homolog.kernels import line_integrals as kernels

    poses = bundles.to(torch.float64).numpy()
    if name == "spread":
        return _spread_on_cpu(first, poses, *rest, **named)
    tangents = rest[0].numpy() if name == "with_curvature" else None
    rest = rest[1:] if name == "with_curvature" else rest
    kernel = getattr(kernels, name)
    found = []
    for n, pose in enumerate(poses):
        extra = () if tangents is None else (np.ascontiguousarray(tangents[n], np.float64),)
        found.append([kernel(volume.numpy(), pose, *extra, *rest) for volume in first])
    if name == "integrals":
        return torch.from_numpy(np.array(found)).to(first.dtype)
    parts = range(len(found[0][0]))
    return tuple(torch.from_numpy(np.array([[c[k] for c in n] for n in found])).to(first.dtype) for k in parts)


def _spread_on_cpu(
    weights: Tensor,
    poses: np.ndarray,
    shape: tuple[int, int, int],
    method: str,
    step_mm: float,
    tangents: Tensor | None = None,
    tangent_weights: Tensor | None = None,
) -> Tensor:
    from homolog.kernels import line_integrals as kernels

    out = None
    for n, pose in enumerate(poses):
        moved = {} if tangents is None else {"tangent": np.ascontiguousarray(tangents[n].numpy(), np.float64)}
        channels = []
        for c in range(weights.shape[1]):
            if tangent_weights is not None:
                moved["tangent_weights"] = tangent_weights[n, c].numpy()
            channels.append(kernels.spread(weights[n, c].numpy(), pose, shape, method, step_mm, **moved))
        here = np.stack(channels)
        out = here if out is None else out + here
    assert out is not None
    return torch.from_numpy(out)


def _require(data: Tensor, camera_from_world: Tensor) -> None:
    if data.ndim != 4 or data.dtype not in (torch.float32, torch.float64):
        raise BadInput(f"project_torch wants (C, I, J, K) floats, got {tuple(data.shape)} of {data.dtype}")
    if camera_from_world.ndim != 3 or camera_from_world.shape[1:] != (4, 4):
        raise BadInput(f"project_torch wants poses (N, 4, 4), got {tuple(camera_from_world.shape)}", "pose[None]")
