"""How alike an X-ray and a projection are: measures by name, prepared once for the X-ray, asked thousands of times.

Larger is better everywhere. What has no content, an empty mask or a projection that misses the detector, has value 0
and no gradient. `similarity_torch` has the same measures for tensors. Equations: docs/methods/similarity.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from homolog.errors import BadInput, GridMismatch
from homolog.kernels.picture_filters import SCHARR, SOBEL
from homolog.projective.similarity_correlation import GlobalCorrelation, LocalCorrelation, Quadratic
from homolog.projective.similarity_filters import ROUNDING, Smoothing, channel_weights, channels, channels_adjoint
from homolog.projective.similarity_others import GradientDifference, MutualInformation, ProstCorrelation

Comparison = Literal["global", "patches", "directions", "difference", "prost", "information"]


@dataclass(frozen=True)
class Part:
    """A comparison of filtered pictures.

    share   of the measure
    slopes  which slopes are compared (`kernels.picture_filters`); None: the pictures themselves
    how     which comparison
    """

    share: float
    slopes: float | None
    how: Comparison


@dataclass(frozen=True)
class Recipe:
    """A measure and what holds for it.

    parts      whose weighted sum it is
    symmetric  whether fixed and moving can change places
    one        whether a picture has 1 with itself
    second     whether it has Gauss and Newton's curvature
    """

    parts: tuple[Part, ...]
    symmetric: bool = True
    one: bool = True
    second: bool = True


MEASURES: dict[str, Recipe] = {
    "ncc": Recipe((Part(1, None, "global"),)),
    "patch_ncc": Recipe((Part(1, None, "patches"),)),
    "mncc": Recipe((Part(0.5, None, "global"), Part(0.5, None, "patches"))),
    "gradient_ncc": Recipe((Part(1, SCHARR, "global"),)),
    "patch_gradient_ncc": Recipe((Part(1, SCHARR, "patches"),)),
    "mgradient_ncc": Recipe((Part(0.5, SCHARR, "global"), Part(0.5, SCHARR, "patches"))),
    "mixed": Recipe((Part(0.25, None, "global"), Part(0.25, None, "patches"), Part(0.5, SCHARR, "patches"))),
    "gradient_orientation": Recipe((Part(1, SCHARR, "directions"),)),
    "gradient_difference": Recipe((Part(1, SCHARR, "difference"),), symmetric=False, second=False),
    "prost_gradient_ncc": Recipe((Part(1, SOBEL, "prost"),), one=False, second=False),
    "mi": Recipe((Part(1, None, "information"),), one=False, second=False),
}


@dataclass(frozen=True)
class Options:
    """What measures are given; each takes what it knows.

    sigma_px   standard deviation by which both pictures are smoothed first
    radius_px  half a patch, without its middle
    share      of the mean contrast, which a patch must have to count half
    bins       of a picture in the joint histogram
    """

    sigma_px: float = 0.0
    radius_px: int = 6
    share: float = 0.05
    bins: int = 32


@dataclass(frozen=True, eq=False)
class Measure:
    """A measure prepared for a fixed picture; `prepare` makes it.

    smoothing  what both pictures undergo first; its weights are the pixels'
    parts      what is compared, and the comparison with the fixed picture; none where there is nothing to compare with
    """

    name: str
    smoothing: Smoothing
    parts: tuple[tuple[Part, Any], ...]

    def value(self, moving: np.ndarray) -> float:
        """How alike a picture (rows, columns) is."""
        pictures = self._pictures(moving)
        if pictures is None:
            return 0.0
        seen = self._channels(pictures)
        return float(sum(part.share * compared.value(seen[part.slopes][0]) for part, compared in self.parts))

    def value_and_gradient(self, moving: np.ndarray) -> tuple[float, np.ndarray]:
        """How alike a picture is, and the derivative to each of its pixels, both (rows, columns)."""
        pictures = self._pictures(moving)
        if pictures is None:
            return 0.0, np.zeros(np.shape(moving))
        seen = self._channels(pictures)
        value, back = 0.0, np.zeros(np.shape(moving))
        for part, compared in self.parts:
            one, gradient = compared.value_and_gradient(seen[part.slopes][0])
            value += part.share * one
            back += part.share * channels_adjoint(gradient, part.slopes)
        return value, self.smoothing.adjoint(back)

    def gauss_newton(self, moving: np.ndarray, jacobian: np.ndarray) -> Quadratic:
        """The value, gradient and curvature in n parameters of the picture.

        moving    (rows, columns)
        jacobian  (rows, columns, n): the picture's change per unit of each parameter
        """
        if not MEASURES[self.name].second:
            having = ", ".join(name for name, recipe in MEASURES.items() if recipe.second)
            raise BadInput(f"'{self.name}' has no second-order steps", f"take one that has: {having}")
        count = jacobian.shape[2]
        total = Quadratic(0.0, np.zeros(count), np.zeros((count, count)))
        pictures = self._pictures(moving)
        if pictures is None:
            return total
        seen = self._channels(np.concatenate((pictures, np.moveaxis(jacobian, 2, 0))))
        for part, compared in self.parts:
            near = compared.gauss_newton(seen[part.slopes][0], seen[part.slopes][1:])
            total = Quadratic(
                total.value + part.share * near.value,
                total.gradient + part.share * near.gradient,
                total.curvature + part.share * near.curvature,
            )
        return total

    def _channels(self, stack: np.ndarray) -> dict[float | None, np.ndarray]:
        """(N, C, rows, columns) of pictures (N, rows, columns), by the slopes."""
        smooth = self.smoothing.apply(stack)
        return {middle: channels(smooth, middle) for middle in {part.slopes for part, _ in self.parts}}

    def _pictures(self, moving: np.ndarray) -> np.ndarray | None:
        """(1, rows, columns) float64 without its mean, which would cost digits; None where nothing is compared."""
        weights = self.smoothing.weights
        if np.shape(moving) != weights.shape:
            raise GridMismatch(f"the fixed picture has {weights.shape} pixels, the moving {np.shape(moving)}")
        deviation = centred(np.asarray(moving, np.float64), weights) if self.parts else None
        return None if deviation is None else deviation[None]


def recipe_of(name: str) -> Recipe:
    """What a measure is, by its name."""
    if name not in MEASURES:
        raise BadInput(f"no measure is called '{name}'", f"one of {', '.join(MEASURES)}")
    return MEASURES[name]


def prepare(name: str, fixed: np.ndarray, *, mask: np.ndarray | None = None, **options: Any) -> Measure:
    """A measure of likeness with a fixed picture.

    name     of MEASURES
    fixed    (rows, columns), finite where the mask is not 0
    mask     (rows, columns) bool, or weights 0..1; None: all of it
    options  fields of Options
    """
    chosen = Options(**options)
    recipe = recipe_of(name)
    weights = weights_of(mask, np.shape(fixed))
    smoothing = Smoothing.of(weights, chosen.sigma_px)
    picture = centred(finite(fixed, weights), weights)
    if picture is None:
        return Measure(name, smoothing, ())
    smooth = smoothing.apply(picture[None])
    parts = []
    for part in recipe.parts:
        comparison = _COMPARISONS[part.how](chosen)
        seen = channels(smooth, part.slopes)[0]
        parts.append((part, comparison(seen, channel_weights(weights, part.slopes))))
    return Measure(name, smoothing, tuple(parts))


def weights_of(mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """(rows, columns) float64 of a mask, ones where there is none."""
    if mask is None:
        return np.ones(shape)
    if np.shape(mask) != shape:
        raise GridMismatch(f"the mask has {np.shape(mask)} pixels, the picture {shape}")
    weights = np.asarray(mask, np.float64)
    if not ((weights >= 0) & (weights <= 1)).all():
        raise BadInput(f"a mask's weights are 0 to 1, got {np.nanmin(weights):.4g} to {np.nanmax(weights):.4g}")
    return weights


def finite(picture: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64, zero where it has no weight."""
    picture = np.where(weights > 0, np.asarray(picture, np.float64), 0.0)
    if not np.isfinite(picture).all():
        bad = int((~np.isfinite(picture)).sum())
        raise BadInput(f"the fixed picture has {bad} pixels that are no number", "mask them: mask=np.isfinite(picture)")
    return picture


def centred(picture: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """The picture without its mean; None where it is constant but for rounding, or has no weight."""
    total = float(weights.sum())
    if total <= 0:
        return None
    deviation = picture - float((weights * picture).sum()) / total
    varied = float((weights * deviation**2).sum()) > ROUNDING**2 * float((weights * picture**2).sum())
    return deviation if varied else None


_COMPARISONS: dict[Comparison, Callable[[Options], Callable[..., Any]]] = {
    "global": lambda options: GlobalCorrelation,
    "patches": lambda options: partial(LocalCorrelation, radius_px=options.radius_px, share=options.share),
    "directions": lambda options: partial(LocalCorrelation, radius_px=0, share=options.share, centred=False),
    "difference": lambda options: GradientDifference,
    "prost": lambda options: ProstCorrelation,
    "information": lambda options: partial(MutualInformation, bins=options.bins),
}
