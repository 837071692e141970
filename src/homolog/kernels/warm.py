"""Compiles every kernel once, so that the first user does not wait: `python -m homolog.kernels.warm`."""

from __future__ import annotations

import numpy as np

from homolog.kernels import (
    along_axes,
    box_gradients,
    box_hessian,
    box_maxima,
    bspline,
    consensus,
    cubes,
    displacement,
    displacement_cost,
    extrema,
    gradient_histogram,
    half_edges,
    implicit,
    implicit_cells,
    interpolate,
    inversion,
    jacobian,
    label_votes,
    line_integrals,
    mind,
    mixture,
    neighbours,
    noise,
    points,
    scale_space,
    soft_match,
    splatting,
    structure,
)


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
        votes = label_votes.gathered([np.ones((4, 4, 4), dtype)])
        label_votes.elect(votes, np.eye(4)[None], voxels[None], np.ones((1, 5)))
    cubes.sample(image, voxels, np.ones(5), np.eye(3), 2)
    displacement.displace(vectors, np.eye(4), voxels)
    displacement.sample_vectors_and_slopes(vectors, voxels)
    displacement.warp_dense(image, vectors, np.eye(4), np.eye(3), 0.0)
    points.lattice(np.eye(4), (4, 4, 4), 0, 4)
    points.moved(np.eye(4), voxels)
    bspline.evaluate(vectors, voxels)
    bspline.evaluate_gradient(vectors, voxels)
    inversion.invert_points(vectors, voxels, 1e-3)
    jacobian.determinants(vectors, np.eye(3))
    implicit.render(implicit.nothing(), np.zeros((0, 12)), voxels, voxels, 1.0, 0.0)
    none, zero, one = np.zeros((0, implicit.ROW)), np.zeros(0, np.int32), np.ones(3, np.int64)
    implicit_cells.index(
        none, zero, none, np.zeros((0, 2, 3), np.int64), none[:, 0].copy(), none[:, 0].copy(), one * 1.0, 1.0, one
    )
    implicit.distances(np.ones(implicit.ROW), np.zeros((2, 5)), voxels)
    noise.normal(0, 4)
    codes = mind.codes(rng.normal(size=(6, 6, 6)).astype(np.float32), 1)
    mind.descriptors(image, 1)
    mind.hamming(codes, codes)
    corners, known = np.full((1, 3), 2), np.ones(codes.shape, bool)
    costs = displacement_cost.block_costs(codes, codes, known, corners, edge=2, radius=1)
    soft_match.votes(costs, np.zeros((1, 3)), 1, 1.0)
    along_axes.sample(image, [voxels[:, 0]] * 3)
    table = box_hessian.sums(lambda start, stop: np.zeros((stop - start, 50, 50), np.float32), (50, 50, 50))
    layers = [box_hessian.layer(table, width, 2, 1) for width in (9, 15, 21)]
    box_maxima.maxima(layers, 11, 0.0, (True, True, True))
    box_gradients.describe(table, voxels, voxels[:, 0])
    blur = scale_space.table(4, 1.0, 1.0)
    level = scale_space.blur(image, (blur, blur, blur))
    extrema.largest(image, level)
    extrema.extrema([level] * 4, 0.0)
    structure.moments(level, voxels, voxels[:, 0], np.ones(3))
    gradient_histogram.histograms(level, voxels, voxels[:, 0], np.stack([np.eye(3)] * 5), np.ones(3))
    # all alike, so that the products leave doubt
    same, rows, places = np.zeros((4, 3), np.float32), np.arange(4), np.ones((4, 4))
    neighbours.nearest_in_bands(same, same, rows, rows, 0 * rows, 0 * rows + 4)
    for precision in (np.float32, np.float64):
        neighbours.nearest_around(same.astype(precision), same.astype(precision), rows, rows, places, places, 1.0, 1.3)
    likely = np.linspace(0.2, 1.0, 5)
    consensus.draw(voxels, voxels, likely, likely, most_cosine=0.7, most_scale=1.6, seed=0, count=2, keep=1)
    _warm_groups(voxels)
    _warm_rays()


def _warm_groups(position: np.ndarray) -> None:
    """Two images of two and three points, of which two are matched."""
    start, controls = np.array([0, 2, 5]), np.full((5, 3), 1.5)
    edges = half_edges.HalfEdges(
        np.array([[0, 2]], np.int32), np.array([0, 1]), np.array([[0, 1]], np.int32), np.array([0, 1])
    )
    counts = half_edges.histogram(position, edges, 2, 50)
    curves = np.array([mixture.curve(mixture.fit(each)) for each in counts])
    half_edges.moments(position, edges, curves)
    pull = half_edges.pulled(position, edges, curves, 0.5).pull
    points = splatting.placed(controls, start, (4, 4, 4))
    coefficients, free = splatting.unmoved(points), np.ones(2, bool)
    coefficients = splatting.advanced(coefficients, splatting.splatted(pull, points), 0.1, free, True)
    splatting.displaced(coefficients, points, position)
    splatting.farthest(coefficients)


def _warm_rays() -> None:
    """Four rays through a few voxels, by each method."""
    bundle = np.array([[1.0, 1.0, -9.0], [0.0, 0.0, 1.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]])
    for dtype in (np.float32, np.float64):
        volume, picture = np.ones((4, 4, 4), dtype), np.ones((2, 2), dtype)
        for method in line_integrals.METHODS:
            line_integrals.integrals(volume, bundle, (2, 2), method, 1.0)
            line_integrals.spread(picture, bundle, (4, 4, 4), method, 1.0)
    for kind in (np.uint8, np.int16, np.int32):
        labels = np.zeros((4, 4, 4), kind)
        line_integrals.by_label(np.ones((4, 4, 4), np.float32), labels, bundle, (2, 2), 1)


if __name__ == "__main__":
    warm()
