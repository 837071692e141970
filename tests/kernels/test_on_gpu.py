"""Kernels for GPUs against the CPU's, which have been held to their twins."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from homolog.kernels import bspline, displacement, implicit, noise
from homolog.kernels import points as positions
from tests import on_gpu
from tests.kernels import test_implicit
from tests.on_gpu import DEVICE, tensor

# oblique, sheared, left-handed
SLANTED = np.array([(0.9, 0.4, -0.1, 3), (-0.3, 1.1, 0.2, -5), (0.2, 0.1, -1.3, 8), (0, 0, 0, 1)], float)


def rendered(body, points, own, width_mm, **options):
    tables = on_gpu.implicit.on_device(body, DEVICE)
    looks = tensor(test_implicit.LOOKS)
    values, labels = on_gpu.implicit.render(tables, looks, tensor(points), tensor(own), width_mm, -1000.0, **options)
    return values.cpu().numpy(), labels.cpu().numpy()


def scattered(count, seed=2):
    rng = np.random.default_rng(seed)
    return rng.uniform(-20, 20, (count, 3)), rng.uniform(-200, 200, (count, 3))


@pytest.mark.parametrize("width_mm", [0.8, 5.0])
def test_a_body_of_every_shape_and_look_is_painted_as_on_the_cpu(width_mm):
    points, own = scattered(600)
    body = test_implicit.tables((4, 4, 4))
    expected, numbers = implicit.render(body, test_implicit.LOOKS, points, own, width_mm, -1000.0)
    found, labels = rendered(body, points, own, width_mm, brick=(1, 1, 1024))
    # places are float32, 2e-6 mm here; a noise's slope is about 5 HU in 2 mm, an edge's 1300 in 0.8 mm
    np.testing.assert_allclose(found, expected, atol=1e-2)
    np.testing.assert_array_equal(labels, numbers)


def test_a_cell_that_is_filled_is_painted_by_what_fills_it():
    points, own = scattered(300)
    body = test_implicit.tables((4, 4, 4))
    # every second cell is filled by one of two layers and lists the last shape alone
    filled = np.resize(np.array([-1, 0, -1, 1], np.int32), 64)
    count = np.where(filled < 0, len(body.shapes), 1)
    entries = np.concatenate([np.arange(len(body.shapes))[-n:] for n in count]).astype(np.int32)
    body = replace(body, filled=filled, entries=entries, starts=np.r_[0, np.cumsum(count)].astype(np.int32))
    expected, numbers = implicit.render(body, test_implicit.LOOKS, points, own, 2.0, -1000.0)
    found, labels = rendered(body, points, own, 2.0, brick=(1, 1, 512))
    np.testing.assert_allclose(found, expected, atol=1e-2)
    np.testing.assert_array_equal(labels, numbers)


def test_the_brick_does_not_matter():
    points, own = scattered(60)
    points, own = points.reshape(3, 4, 5, 3), own.reshape(3, 4, 5, 3)
    body = test_implicit.tables((4, 4, 4))
    whole = rendered(body, points, own, 2.0, brick=(4, 4, 8))
    parts = rendered(body, points, own, 2.0, brick=(2, 4, 4))
    flat = rendered(body, points.reshape(-1, 3), own.reshape(-1, 3), 2.0)
    for n in (0, 1):
        np.testing.assert_array_equal(whole[n], parts[n])
        np.testing.assert_array_equal(whole[n].ravel(), flat[n])


def test_a_far_point_and_no_point_are_outside_and_nothing():
    points = np.array([[0.0, 0, 0], [-33.0, 0, 0], [0, 0, 1e7]])
    values, labels = rendered(test_implicit.tables((4, 4, 4)), points, points, 1.0)
    assert values[0] != -1000 and list(values[1:]) == [-1000, -1000] and list(labels[1:]) == [0, 0]
    values, labels = rendered(test_implicit.tables((4, 4, 4)), points[:0], points[:0], 1.0)
    assert len(values) == 0 and len(labels) == 0


def test_labels_alone_are_the_labels():
    points, own = scattered(100)
    body = test_implicit.tables((4, 4, 4))
    values, labels = rendered(body, points, own, 1.0, values=False, brick=(1, 1, 128))
    assert values.size == 0
    np.testing.assert_array_equal(labels, rendered(body, points, own, 1.0, brick=(1, 1, 128))[1])


def test_the_nearest_of_several_shapes_is_as_far_as_on_the_cpu():
    shapes = test_implicit.SHAPES[1:]
    points = scattered(200)[0].reshape(2, 100, 3)
    expected = np.min([implicit.distances(s, test_implicit.STACKS, points.reshape(-1, 3)) for s in shapes], axis=0)
    found = on_gpu.implicit.least_distance(tensor(shapes), tensor(points), block=256).cpu().numpy()
    assert found.shape == (2, 100)
    # float32 of lengths to 60 mm, and the column's powers
    np.testing.assert_allclose(found.ravel(), expected, atol=3e-5)


@pytest.mark.parametrize("shape", [(5, 6, 7), (4, 1, 3)])
def test_a_spline_carries_points_as_on_the_cpu(shape):
    rng = np.random.default_rng(0)
    coefficients, matrix = rng.normal(size=(*shape, 3)), np.linalg.inv(SLANTED * [[3], [3], [3], [1]])
    points = rng.uniform(-40, 40, (200, 3))
    expected = points + bspline.evaluate(coefficients, positions.moved(matrix, points))
    doubles = tensor(coefficients, torch.float64)
    found = on_gpu.bspline.carried(doubles, matrix, tensor(points, torch.float64), block=256)
    np.testing.assert_allclose(found.cpu().numpy(), expected, atol=1e-11)
    found = on_gpu.bspline.carried(doubles, matrix, tensor(points), block=256)
    assert found.dtype == torch.float32
    # the points themselves are rounded, to 2e-6 mm at 40 mm, and so is what comes
    np.testing.assert_allclose(found.cpu().numpy(), expected, atol=1e-5)
    assert on_gpu.bspline.carried(doubles, matrix, tensor(points[:0])).shape == (0, 3)


def test_a_lattice_is_carried_by_a_field_as_on_the_cpu():
    rng = np.random.default_rng(1)
    vectors, shape = rng.normal(size=(4, 5, 6, 3)).astype(np.float32), (5, 4, 6)
    node_from_world = np.linalg.inv(SLANTED * [[2], [2], [2], [1]])
    world_from_voxel = SLANTED[[1, 2, 0, 3]]
    points = positions.lattice(world_from_voxel, shape, 1, 4)
    expected = displacement.displace(vectors, node_from_world, points)
    matrices = [(node_from_world @ world_from_voxel)[:3].ravel(), world_from_voxel[:3].ravel()]
    carried, place = on_gpu.displacement.placed(
        tensor(vectors), tensor(np.concatenate(matrices), torch.float64), shape, 1, 4, block=64
    )
    assert carried.shape == place.shape == (3, 4, 6, 3)
    np.testing.assert_allclose(carried.cpu().numpy().reshape(-1, 3), expected, atol=5e-6)
    np.testing.assert_allclose(place.cpu().numpy().reshape(-1, 3), points, atol=1e-5)


@pytest.mark.parametrize("key", [3, 2**63 + 12345])
def test_noise_is_the_cpus(key):
    found = on_gpu.noise.normal(key, 1003, DEVICE).cpu().numpy()
    # up to 6.8, by a logarithm and a cosine of float32, each good to an ulp or two
    np.testing.assert_allclose(found, noise.normal(key, 1003), atol=4e-6)


@pytest.mark.slow
def test_every_kernel_compiles_for_gpus_that_are_not_here():
    # the compiler refuses some of what the interpreter takes
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compiled_for_gpus.py")
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["80", "90"]
