"""The measures of `similarity` for tensors: many pictures at once, on any device, differentiable twice.

The same equations and options; the gradient is autograd's. In float32 a value has about six digits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import avg_pool2d, conv1d, conv2d, pad

from homolog.errors import GridMismatch
from homolog.kernels.smooth import taps
from homolog.projective.similarity import Options, recipe_of
from homolog.projective.similarity_others import BIN_REACH, PROST_EPSILON


def similarity(
    name: str, moving: torch.Tensor, fixed: torch.Tensor, *, mask: torch.Tensor | None = None, **options: Any
) -> torch.Tensor:
    """(N,): how alike pictures are, larger is better; 0 where one has no content.

    name     of similarity.MEASURES
    moving   (N, rows, columns)
    fixed    (rows, columns), or (N, rows, columns) one each
    mask     bool, or weights 0..1, of fixed's or one picture's shape; None: all of it
    options  fields of similarity.Options
    """
    recipe = recipe_of(name)
    if fixed.shape[-2:] != moving.shape[-2:] or moving.ndim != 3:
        raise GridMismatch(f"fixed pictures are {tuple(fixed.shape)}, moving ones {tuple(moving.shape)}")
    chosen = Options(**options)
    fixed = fixed.to(moving).reshape(-1, *moving.shape[1:])
    weights = torch.ones_like(fixed[:1]) if mask is None else mask.to(moving).reshape(-1, *moving.shape[1:])
    (fixed, known), (moving, seen) = _centred(torch.where(weights > 0, fixed, 0), weights), _centred(moving, weights)
    total = moving.new_zeros(len(moving))
    for part in recipe.parts:
        one, other = (_filtered(each, weights, chosen, part.slopes) for each in (fixed, moving))
        total = total + part.share * _compared(part.how, chosen, one, other, _channel_weights(weights, part.slopes))
    return torch.where(known & seen, total, 0)


def _centred(picture: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (..., rows, columns) without their means, and (...) bool whether anything is left; if not, noise is.

    Noise, because a constant's derivatives are infinite and would reach the others as NaN though nobody reads them.
    """
    deviation = picture - _mean(picture, weights)[..., None, None]
    some = _sum(weights * deviation**2) > _smallest(picture, weights)
    rows, columns = (torch.arange(n, device=picture.device) for n in picture.shape[-2:])
    noise = torch.sin((12.9 * rows[:, None] + 78.2 * columns).to(picture) ** 2 / 7)
    return torch.where(some[..., None, None], deviation, noise), some


def _smallest(picture: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The sum of squares at or below which a channel is but rounding, by the largest of its picture."""
    sizes = _sum(weights * picture**2)
    largest = sizes if picture.ndim == 3 else sizes.amax(1, keepdim=True)
    return (100 * torch.finfo(picture.dtype).eps) ** 2 * largest


def _mean(picture: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (weights * picture).sum((-2, -1)) / weights.sum((-2, -1)).clamp_min(1e-30)


def _filtered(picture: torch.Tensor, weights: torch.Tensor, options: Options, middle: float | None) -> torch.Tensor:
    """(N, C, rows, columns): smoothed past the mask, and its slopes."""
    if options.sigma_px > 0:
        gaussian = torch.as_tensor(taps(options.sigma_px)).to(picture)
        amount = _smoothed(weights, gaussian)
        picture = torch.where(amount > 1e-9, _smoothed(weights * picture, gaussian) / amount.clamp_min(1e-9), 0)
    if middle is None:
        return picture[:, None]
    lines = torch.tensor([(1 - middle) / 2, middle, (1 - middle) / 2], dtype=picture.dtype, device=picture.device)
    across = lines[:, None] * torch.tensor([-0.5, 0.0, 0.5]).to(lines)
    return pad(conv2d(picture[:, None], torch.stack((across, across.T))[:, None]), (1, 1, 1, 1))


def _smoothed(picture: torch.Tensor, gaussian: torch.Tensor) -> torch.Tensor:
    for _ in range(2):
        lines = picture.reshape(-1, 1, picture.shape[-1])
        lines = conv1d(lines, gaussian[None, None], padding=len(gaussian) // 2)
        picture = lines.reshape(picture.shape).transpose(-2, -1)
    return picture


def _channel_weights(weights: torch.Tensor, middle: float | None) -> torch.Tensor:
    """(1 or N, rows, columns): the least of the nine around each where slopes are taken."""
    if middle is None:
        return weights
    return -torch.nn.functional.max_pool2d(-pad(weights, (1, 1, 1, 1))[:, None], 3, stride=1)[:, 0]


def _compared(
    how: str, options: Options, fixed: torch.Tensor, moving: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """(N,) of channels (1 or N, C, rows, columns) and weights (1 or N, rows, columns)."""
    weights = weights[:, None]
    if how == "global":
        (fixed, there), (moving, seen) = _centred(fixed, weights), _centred(moving, weights)
        return _over_channels(_cosine(fixed, moving, weights), there, seen)
    if how == "patches":
        return _local(fixed, moving, weights, options.radius_px, options.share, centred=True)
    if how == "directions":
        return _local(fixed, moving, weights, 0, options.share, centred=False)
    if how == "prost":
        there, seen = (_sum(weights * each**2) > _smallest(each, weights) for each in (fixed, moving))
        return _over_channels(_prost(fixed, moving, weights), there, seen)
    if how == "difference":
        return _difference(fixed, moving, weights)
    return _information(fixed[:, 0], moving[:, 0], weights[:, 0], options.bins)


def _over_channels(values: torch.Tensor, there: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """(N,): the mean of values (N, C) over the channels that hold anything in the fixed picture, bool (1 or N, C)."""
    return torch.where(there & seen, values, 0).sum(1) / there.sum(1).clamp_min(1)


def _sum(channels: torch.Tensor) -> torch.Tensor:
    return channels.sum((-2, -1))


def _tiny(tensor: torch.Tensor) -> float:
    return torch.finfo(tensor.dtype).tiny ** 0.5


def _cosine(fixed: torch.Tensor, moving: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    one, other = (_sum(weights * each**2).clamp_min(_tiny(each)).sqrt() for each in (fixed, moving))
    return _sum(weights * fixed * moving) / (one * other)


def _prost(fixed: torch.Tensor, moving: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    def scaled(each: torch.Tensor) -> torch.Tensor:
        return each / _mean(each**2, weights).clamp_min(_tiny(each)).sqrt()[..., None, None]

    products = scaled(fixed) * scaled(moving)
    return _sum(weights * products) / _sum(weights * (products**2 + PROST_EPSILON**2).sqrt()).clamp_min(_tiny(moving))


def _local(
    fixed: torch.Tensor, moving: torch.Tensor, weights: torch.Tensor, radius_px: int, share: float, *, centred: bool
) -> torch.Tensor:
    """(N,): similarity_correlation.LocalCorrelation."""
    amount = _boxed(weights, radius_px)
    some = amount > 1e-9
    amount = torch.where(some, amount, 0)
    per_amount = torch.where(some, 1 / amount.clamp_min(1e-9), 0)

    def mean(channels: torch.Tensor) -> torch.Tensor:
        return _boxed(weights * channels, radius_px) * per_amount if centred else torch.zeros_like(channels)

    def covariance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        products = _boxed((weights * one * other).sum(1, keepdim=True), radius_px) * per_amount
        return products - (mean(one) * mean(other)).sum(1, keepdim=True)

    def scales(channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        variance = covariance(channels, channels).clamp_min(0)
        floor = share * _sum(amount * variance) / _sum(amount).clamp_min(1e-9)
        return (variance + floor[..., None, None]).clamp_min(_tiny(variance)).rsqrt(), variance

    (one, one_variance), (other, other_variance) = scales(fixed), scales(moving)
    contents = (_sum(amount * one_variance * one**2), _sum(amount * other_variance * other**2))
    both = contents[0] * contents[1]
    value = _sum(amount * covariance(fixed, moving) * one * other) / both.clamp_min(_tiny(both)).sqrt()
    return torch.where(both > 0, value, 0)[:, 0]


def _boxed(channels: torch.Tensor, radius_px: int) -> torch.Tensor:
    """Sums over (2 r + 1)^2 pixels, along one axis after the other; no differences of long sums, which cost digits."""
    for kernel, padding in (((2 * radius_px + 1, 1), (radius_px, 0)), ((1, 2 * radius_px + 1), (0, radius_px))):
        wide = pad(channels, (padding[1], padding[1], padding[0], padding[0]))
        channels = avg_pool2d(wide, kernel, stride=1, divisor_override=1)
    return channels


def _difference(fixed: torch.Tensor, moving: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(N,): similarity_others.GradientDifference."""
    centred = fixed - _mean(fixed, weights)[..., None, None]
    variance = _mean(centred**2, weights)[..., None, None]
    some = (_sum(weights * centred**2) > _smallest(fixed, weights))[..., None, None]

    def total(left: torch.Tensor) -> torch.Tensor:
        return _sum(torch.where(some, weights * variance / torch.where(some, variance + left**2, 1), 0)).sum(1)

    size = (weights * moving**2).sum((1, 2, 3)).clamp_min(_tiny(moving))
    multiple = ((weights * fixed * moving).sum((1, 2, 3)) / size).clamp_min(0)
    nothing = total(fixed)
    span = (_sum(weights * some).sum(1) - nothing).clamp_min(_tiny(moving))
    return (total(fixed - multiple[:, None, None, None] * moving) - nothing) / span


def _information(fixed: torch.Tensor, moving: torch.Tensor, weights: torch.Tensor, bins: int) -> torch.Tensor:
    """(N,): similarity_others.MutualInformation."""
    weights = (weights / _sum(weights).clamp_min(1e-30)[:, None, None]).flatten(1)
    one, other = (_shares(each.flatten(1), weights, bins) for each in (fixed, moving))
    one, other, shares = torch.broadcast_tensors(one, other, weights[..., None])
    joint = (shares * one).transpose(1, 2) @ other
    apart = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    some = joint > 0
    return torch.where(some, joint * (torch.where(some, joint, 1) / torch.where(some, apart, 1)).log(), 0).sum((1, 2))


def _shares(flat: torch.Tensor, weights: torch.Tensor, bins: int) -> torch.Tensor:
    """(N, P, bins): how much of each value falls into each bin."""
    flat = flat - (weights * flat).sum(1, keepdim=True)
    scores = flat / (weights * flat**2).sum(1, keepdim=True).clamp_min(_tiny(flat)).sqrt()
    places = 1 + (bins - 3) / 2 * (1 + scores / (scores**2 + BIN_REACH**2).sqrt())
    away = (places[..., None] - torch.arange(bins, device=flat.device)).abs()
    return ((2 - away).clamp_min(0) ** 3 - 4 * (1 - away).clamp_min(0) ** 3) / 6
