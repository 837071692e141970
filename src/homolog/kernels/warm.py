"""Compiles every kernel once, so that the first user does not wait: `python -m homolog.kernels.warm`."""

from __future__ import annotations

import numpy as np

from homolog.kernels import bspline, displacement, interpolate, inversion, jacobian, points


def warm() -> None:
    """Calls each kernel with a few voxels of every dtype it is compiled for."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, 4, 4, 3)).astype(np.float32)
    voxels = rng.uniform(0, 3, (5, 3))
    image = vectors[..., 0].copy()
    for mode in ("linear", "cubic", "nearest"):
        interpolate.sample(image, voxels, mode, 0.0)
    for dtype in (np.uint8, np.int16, np.int32):
        for mode in ("nearest", "vote"):
            interpolate.sample(np.ones((4, 4, 4), dtype), voxels, mode, 0)
    displacement.displace(vectors, np.eye(4), voxels)
    displacement.sample_vectors_and_slopes(vectors, voxels)
    displacement.warp_dense(image, vectors, np.eye(4), np.eye(3), 0.0)
    points.lattice(np.eye(4), (4, 4, 4), 0, 4)
    points.moved(np.eye(4), voxels)
    bspline.evaluate(vectors, voxels)
    bspline.evaluate_gradient(vectors, voxels)
    inversion.invert_points(vectors, voxels, 1e-3)
    jacobian.determinants(vectors, np.eye(3))


if __name__ == "__main__":
    warm()
