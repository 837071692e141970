"""What is done to a picture before it is compared: smoothing that looks past a mask, slopes, and both turned round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homolog.kernels import picture_filters
from homolog.kernels.smooth import taps

# What is below this share of a picture's size is what float64 rounds: filters leave it where there is nothing.
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Smoothing:
    """A Gaussian that sees only what has weight: Knutsson and Westin's normalised convolution, linear in the picture.

    weights  (rows, columns) float64, 0..1, of the pixels
    taps     (2 r + 1,); None: nothing is smoothed
    around   (rows, columns) 1 / smoothed weights, 0 where there are none; None: nothing is smoothed
    """

    weights: np.ndarray
    taps: np.ndarray | None
    around: np.ndarray | None

    @classmethod
    def of(cls, weights: np.ndarray, sigma_px: float) -> Smoothing:
        """By a standard deviation in px, 0: not at all."""
        if sigma_px <= 0:
            return cls(weights, None, None)
        gaussian = taps(sigma_px)
        return cls(weights, gaussian, inverse(picture_filters.smooth(weights[None], gaussian)[0]))

    def apply(self, stack: np.ndarray) -> np.ndarray:
        """(N, rows, columns) float64 of pictures (N, rows, columns)."""
        if self.taps is None:
            return stack
        return self.around * picture_filters.smooth(self.weights * stack, self.taps)

    def adjoint(self, picture: np.ndarray) -> np.ndarray:
        """(rows, columns) float64: what a smoothed picture gives back."""
        if self.taps is None:
            return picture
        return self.weights * picture_filters.smooth((self.around * picture)[None], self.taps)[0]


def channels(stack: np.ndarray, middle: float | None) -> np.ndarray:
    """(N, C, rows, columns): the slopes of pictures (`picture_filters.SCHARR`, `SOBEL`); None: they themselves."""
    return stack[:, None] if middle is None else picture_filters.slopes(stack, middle)


def channels_adjoint(gradient: np.ndarray, middle: float | None) -> np.ndarray:
    """(rows, columns): what channels (C, rows, columns) give back to their picture."""
    return gradient[0] if middle is None else picture_filters.slopes_adjoint(gradient[None], middle)[0]


def channel_weights(weights: np.ndarray, middle: float | None) -> np.ndarray:
    """(rows, columns): zero too where a slope would see a pixel without weight."""
    return weights if middle is None else least_around(weights)


def least_around(weights: np.ndarray) -> np.ndarray:
    """(rows, columns): the least weight of the nine pixels around each; what lies outside has none."""
    rows, columns = weights.shape
    padded = np.pad(weights, 1)
    return np.min([padded[r : r + rows, c : c + columns] for r in range(3) for c in range(3)], axis=0)


def smallest(channels: np.ndarray, weights: np.ndarray) -> float:
    """The root of the sum of squares at or below which one of the channels (C, rows, columns) is but rounding."""
    return ROUNDING * float(np.sqrt((weights * channels**2).sum(axis=(1, 2)).max()))


def inverse(amounts: np.ndarray) -> np.ndarray:
    """1 / amounts, and 0 where there is none: 1e-9 is below any weight that matters, above rounding of sums."""
    some = amounts > 1e-9
    return np.where(some, 1 / np.where(some, amounts, 1.0), 0.0)
