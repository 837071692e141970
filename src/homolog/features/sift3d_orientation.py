"""3D-SIFT's orientations: the axes along which the gradients round a point vary most, or that there are none."""

from __future__ import annotations

import numpy as np

# Squared sums of gradients below this are taken for none, and neighbouring eigenvalues above this ratio for equal.
LEAST_GRADIENT2, MOST_ALIKE = 1e-10, 0.90


def frames(sums: np.ndarray, products: np.ndarray, corner_threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The axes of each point in the columns of (N, 3, 3), and (N,) bool: whether they are certain.

    The first two are the eigenvectors of the largest eigenvalues, on the side of the summed gradient; the third
    completes them to a right-handed frame. Certain are eigenvalues that tell the axes apart, and a sum that tells their
    sides.

    sums              (N, 3) of weighted gradients, in shares of the picture's strength a mm
    products          (N, 3, 3) of their outer products
    corner_threshold  the least of the sum's share along either of the first two axes
    """
    values, vectors = np.linalg.eigh(products)
    first, second = _towards(vectors[:, :, 2], sums), _towards(vectors[:, :, 1], sums)
    axes = np.stack((first, second, np.cross(first, second)), axis=-1)
    apart = (values[:, 1] <= MOST_ALIKE * values[:, 2]) & (values[:, 0] <= MOST_ALIKE * values[:, 1])
    length = np.linalg.norm(sums, axis=1)
    along = np.minimum((first * sums).sum(axis=1), (second * sums).sum(axis=1))
    return axes, (length**2 >= LEAST_GRADIENT2) & apart & (along >= corner_threshold * length)


def _towards(vectors: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return np.where((vectors * sums).sum(axis=1, keepdims=True) > 0, vectors, -vectors)
