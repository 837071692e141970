"""Pictures to compare, not square, and a mask."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE = (26, 33)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)


def picture(seed=0, sigma=2.0):
    return 3 + 20 * gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), sigma)


def blobs(right_px=0.0, down_px=0.0):
    """A smooth picture, drawn so many pixels further on."""
    rng = np.random.default_rng(3)
    out = np.zeros(SHAPE)
    for row, column, width, height in rng.uniform((6, 8, 2.5, 0.4), (20, 25, 4, 1.0), (6, 4)):
        away = (ROWS - row - down_px) ** 2 + (COLUMNS - column - right_px) ** 2
        out += height * np.exp(-away / (2 * width**2))
    return out


def mask(soft=True):
    weights = np.random.default_rng(9).uniform(0.2, 1, SHAPE) if soft else np.ones(SHAPE)
    weights[5:11, 8:16] = 0
    return weights


def like(fixed, seed=1):
    return 0.7 * fixed + 0.5 * picture(seed)
