"""What matches do to their ends, against the twins, by laws, and by torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from homolog.kernels import half_edges, mixture
from homolog.kernels.half_edges import HalfEdges
from homolog.kernels.threads import using_threads

CURVES = np.array([mixture.curve(each) for each in ((8.0, 60.0, 0.3), (12.0, 80.0, 0.5), (5.0, 50.0, 0.2))])


def case(matches=400, points=120, seed=0, spread_mm=25.0):
    """Three images, of which the first two are matched in one round, the third with each of them in its own."""
    rng = np.random.default_rng(seed)
    position = rng.normal(0, spread_mm, (3 * points, 3)) + (300.0, -200.0, 900.0)
    images = np.array([[0, 1], [0, 2], [1, 2]], np.int32)
    sizes = [matches, matches // 2, matches // 3]
    rows = [rng.integers(0, points, (size, 2)) + points * ends for size, ends in zip(sizes, images)]
    start = np.concatenate(([0], np.cumsum(sizes)))
    return position, HalfEdges(np.concatenate(rows).astype(np.int32), start, images, np.arange(4))


def crowd(matches=130_000, points=500):
    """Four images in two rounds of two pairs, with enough matches for threads to share them."""
    rng = np.random.default_rng(1)
    images = np.array([[0, 1], [2, 3], [0, 2], [1, 3]], np.int32)
    rows = np.concatenate([rng.integers(0, points, (matches, 2)) + points * ends for ends in images])
    edges = HalfEdges(rows.astype(np.int32), np.arange(5) * matches, images, np.array([0, 2, 4]))
    return rng.normal(0, 25, (4 * points, 3)), edges


def none():
    return HalfEdges(np.zeros((0, 2), np.int32), np.array([0]), np.zeros((0, 2), np.int32), np.array([0]))


def near(position, edges):
    """The same with some ends that lie on each other."""
    position = position.copy()
    position[edges.rows[:5, 1]] = position[edges.rows[:5, 0]]
    return position


CASES = {
    "random": lambda: case(),
    "on each other": lambda: (near(*case()), case()[1]),
    "one pair only": lambda: case(matches=1),
    "none": lambda: (case()[0], none()),
    "no image has two": lambda: case(points=1, matches=6),
}


@pytest.fixture(params=CASES)
def drawn(request):
    return CASES[request.param]()


@pytest.mark.parametrize("least", [0.5, 0.05, 0.0])
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_pulls_are_those_of_the_twin(drawn, least, device):
    position, edges = drawn
    expected = half_edges.pulled_reference(position, edges, CURVES, least)
    place = position if device == "cpu" else torch.from_numpy(position)
    found = half_edges.pulled(place, edges.on(device), CURVES, least)
    # sums of at most 800 products of numbers below 200 mm: 800 * 200 * 2^-53 is 2e-11
    np.testing.assert_allclose(np.asarray(found.pull), expected.pull, rtol=0, atol=2e-11)
    assert found.energy == pytest.approx(expected.energy, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_moments_are_those_of_the_twin(drawn, device):
    position, edges = drawn
    expected = half_edges.moments_reference(position, edges, CURVES)
    found = half_edges.moments(position, edges.on(device), CURVES)
    # 400 terms below 1000 mm squared, each off by some roundings
    for one, other in ((found.own, expected.own), (found.cross, expected.cross)):
        np.testing.assert_allclose(one, other, rtol=0, atol=400 * 1e6 * 2.0**-50)
    assert found.energy == pytest.approx(expected.energy, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_distances_are_counted_as_by_the_twin(drawn, device):
    position, edges = drawn
    found = half_edges.histogram(position, edges.on(device), 3, 400)
    np.testing.assert_array_equal(found, half_edges.histogram_reference(position, edges, 3, 400))
    assert found.sum() == 2 * len(edges)


def test_what_pulls_one_end_pulls_the_other_back():
    position, edges = case()
    pull = half_edges.pulled(position, edges, CURVES, 0.1).pull
    assert np.abs(pull[:, :3]).max() > 1
    # as between kernel and twin, for 360 points
    np.testing.assert_allclose(pull[:, :3].sum(axis=0), 0, atol=1e-10)


def test_the_pull_is_how_the_energy_falls():
    """At weights that stay, sum w^2 d^2 changes by -2 pull with each end."""
    position, edges = case(matches=30)
    right, _ = half_edges.weights_reference(position, edges, CURVES)
    kept = np.where(right >= 0.1, right**2, 0.0)

    def energy(place):
        return kept @ ((place[edges.rows[:, 1]] - place[edges.rows[:, 0]]) ** 2).sum(axis=1)

    pull = half_edges.pulled(position, edges, CURVES, 0.1).pull
    for row, axis in ((edges.rows[0, 0], 0), (edges.rows[-1, 1], 2), (edges.rows[20, 1], 1)):
        step = np.zeros_like(position)
        step[row, axis] = 1e-3
        # of a parabola, the difference over two steps is exact but for the rounding of a sum near 1e4
        slope = (energy(position + step) - energy(position - step)) / 2e-3
        assert slope == pytest.approx(-2 * pull[row, axis], abs=1e-6)


def test_one_match_pulls_each_end_to_the_other():
    position = np.array([[0.0, 0, 0], [3.0, 4.0, 0], [9.0, 9.0, 9.0]])
    edges = HalfEdges(np.array([[0, 1]], np.int32), np.array([0, 1]), np.array([[0, 1]], np.int32), np.array([0, 1]))
    found = half_edges.pulled(position, edges, CURVES, 0.0)
    likely = min(mixture.probability(np.array([5.0]), each)[0] for each in ((8.0, 60.0, 0.3), (12.0, 80.0, 0.5)))
    weight = likely**2
    expected = weight * np.array([[3, 4, 0, 1], [-3, -4, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(found.pull, expected, rtol=1e-12)
    assert found.energy == pytest.approx(5.0, rel=1e-12)


def test_the_order_of_images_in_a_pair_does_not_matter():
    position, edges = case()
    turned = replace(edges, rows=edges.rows[:, ::-1], images=edges.images[:, ::-1])
    one, other = (half_edges.pulled(position, each, CURVES, 0.1) for each in (edges, turned))
    np.testing.assert_allclose(one.pull, other.pull, atol=2e-11)
    moments = [half_edges.moments(position, each, CURVES) for each in (edges, turned)]
    np.testing.assert_allclose(moments[0].own, moments[1].own[:, ::-1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(moments[0].cross, moments[1].cross.transpose(0, 2, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("what", ["pulled", "moments", "histogram"])
def test_any_number_of_threads_gives_the_same_bytes(what):
    position, edges = crowd()
    curves = CURVES[[0, 1, 2, 0]]
    calls = {
        "pulled": lambda: half_edges.pulled(position, edges, curves, 0.1).pull,
        "moments": lambda: half_edges.moments(position, edges, curves).own,
        "histogram": lambda: half_edges.histogram(position, edges, 4, 400),
    }
    found = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            found.append(calls[what]().tobytes())
    assert len(edges) > 2 * half_edges.LEAST
    assert found[0] == found[1] == found[2]


def test_any_layout_of_the_arrays_gives_the_same():
    position, edges = case()
    strided = replace(edges, rows=np.asfortranarray(np.repeat(edges.rows, 2, axis=0)[::2]))
    one = half_edges.pulled(position, edges, CURVES, 0.1)
    other = half_edges.pulled(np.asfortranarray(position), strided, np.asfortranarray(CURVES), 0.1)
    assert one.pull.tobytes() == other.pull.tobytes()
