"""A GPU draws the same patients, only faster."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from homolog.errors import BadInput
from homolog.space.dense import sampled_displacement, sampled_on
from homolog.space.grid import Grid
from homolog.space.transforms import BSpline
from homolog.synth import patients
from homolog.synth.configs import PatientConfig
from homolog.synth.patients import between, draw_patient
from tests import on_gpu

# oblique, left-handed, of three spacings
AXES = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0] * np.array([1, 1, -1.0])


@pytest.fixture(autouse=True)
def _the_device_is_the_one_there_is(monkeypatch):
    monkeypatch.setattr(patients, "sensible_device", lambda name: on_gpu.DEVICE)
    if on_gpu.INTERPRETED:
        # the interpreter takes as long for one point as for a thousand
        monkeypatch.setattr(on_gpu.implicit, "BRICK", (8, 8, 8))


def crop(patient, name, shape=(6, 5, 7), spacing_mm=(1.2, 1.5, 2.0)):
    middle = patient.landmarks().by_name([name]).position[0]
    grid = Grid.regular(shape, spacing_mm, middle, AXES)
    return Grid.regular(shape, spacing_mm, 2 * middle - grid.world((np.array(shape) - 1) / 2), AXES)


def found_within(reach_mm, patient, grid, labels):
    """Whether the CPU has these labels at voxels a little to one of six sides: they lie on a surface."""
    found = np.zeros(grid.shape, bool)
    for shift_mm in reach_mm * np.concatenate((np.eye(3), -np.eye(3))):
        moved = grid.world_from_voxel.copy()
        moved[:3, 3] += shift_mm
        found |= patient.labels(Grid(grid.shape, moved)).numpy() == labels
    return found


@pytest.mark.parametrize(
    ("place", "config"),
    [
        ("L4 body", PatientConfig(implant="screws", slice_mm=2.0)),
        ("T8 spinous tip", PatientConfig(modality="mr", headers="scattered", slice_mm=2.0)),
        ("liver centre", PatientConfig(tumours=9, slice_mm=5.0, noise_hu=0.0)),
    ],
    ids=["screws", "scattered mr", "tumours in thick slices"],
)
def test_scan_and_labels_are_those_of_the_cpu(place, config):
    patient = draw_patient(3, config)
    grid = crop(patient, place)
    expected, numbers = patient.both(grid)
    scan, labels = patient.both(grid, "cuda")
    assert isinstance(scan.data, torch.Tensor) and scan.data.device.type == on_gpu.DEVICE.type
    assert scan.space == labels.space == patient.name and labels.kind == "labels"
    differ = labels.numpy() != numbers.numpy()
    assert differ.mean() < 0.01 and (differ <= found_within(1e-3, patient, grid, labels.numpy())).all()
    # a place in float32 is off by 6e-5 mm, and an edge of 3000 HU may be 1 mm wide
    np.testing.assert_allclose(scan.numpy(), expected.numpy(), atol=0.2)
    assert np.ptp(expected.numpy()) > 20


def test_the_same_bytes_come_again_and_labels_alone_are_the_labels():
    patient = draw_patient(3, PatientConfig(slice_mm=1.0))
    grid = crop(patient, "L1 body", (4, 4, 4))
    first, labels = patient.both(grid, "cuda")
    again = patient.scan(grid, "cuda")
    assert first.numpy().tobytes() == again.numpy().tobytes()
    np.testing.assert_array_equal(patient.labels(grid, "cuda").numpy(), labels.numpy())


def test_beside_the_body_lie_the_table_and_air():
    patient = draw_patient(4, PatientConfig(slice_mm=1.0, noise_hu=0.0))
    box = patient.grid(5.0).bounds()
    behind = Grid.regular((3, 6, 3), (10, 5, 10), (box[:, 0].mean() - 10, box[1, 1] - 28, box[:, 2].mean()))
    expected = patient.scan(behind).numpy()
    assert expected.max() > -950 and expected.min() == -1000
    np.testing.assert_allclose(patient.scan(behind, "cuda").numpy(), expected, atol=0.05)


def test_noise_is_the_same_on_both_also_where_the_grid_is_smaller_than_its_blur():
    patient = draw_patient(4, PatientConfig(slice_mm=1.0, sharpness=-1.0, noise_hu=50.0))
    beyond = patient.grid(2.0).bounds()[1] + 50
    grid = Grid.regular((2, 9, 1), (0.5, 1.0, 2.0), beyond, AXES)
    expected = patient.scan(grid).numpy()
    assert expected.std() > 1
    # noise of 100 HU in float32, blurred by sums of a dozen
    np.testing.assert_allclose(patient.scan(grid, "cuda").numpy(), expected, atol=1e-3)


def test_the_map_between_patients_is_the_same_by_every_way():
    one, other = draw_patient(3), draw_patient(4)
    other_from_one = between(one, other)
    grid = crop(one, "L2 body", (5, 4, 6), (20.0, 25, 30))
    expected = other_from_one.apply(grid.points())
    by_torch = other_from_one.apply(torch.tensor(grid.points(), device=on_gpu.DEVICE, requires_grad=True))
    np.testing.assert_allclose(by_torch.detach().cpu().numpy(), expected, atol=1e-9)
    moved = torch.tensor(grid.points(), dtype=torch.float32, device=on_gpu.DEVICE)
    for part in reversed(other_from_one.parts):
        if isinstance(part, BSpline):
            controls = on_gpu.tensor(part.coefficients, torch.float64)
            moved = on_gpu.bspline.carried(controls, part.grid.voxel_from_world, moved, block=128)
        else:
            moved = part._apply_torch(moved)
    # ten roundings to float32, 6e-5 mm each at half a metre
    np.testing.assert_allclose(moved.cpu().numpy(), expected, atol=1e-3)
    on_device = sampled_on(other_from_one, grid, on_gpu.DEVICE)
    np.testing.assert_allclose(on_device.cpu().numpy(), sampled_displacement(other_from_one, grid), atol=1e-4)


def test_without_a_gpu_one_is_told_so(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    patient = draw_patient(3)
    with pytest.raises(BadInput, match="no GPU that torch can use") as told:
        patient.both(patient.grid(10.0), device="cuda")
    assert told.value.hint == "device='cpu'"
    with pytest.raises(BadInput, match="'cpu' or 'cuda', not on 'meta'"):
        patient.labels(patient.grid(10.0), device="meta")


def test_without_triton_one_is_told_so_and_the_cpu_does_without():
    # what is None cannot be imported
    script = """
import sys
sys.modules["triton"] = None
from homolog.kernels import launching
launching.find_spec = lambda name: None
import torch
torch.cuda.is_available = lambda: True
import numpy as np
from homolog.space.grid import Grid
from homolog.space.transforms import BSpline
from homolog.synth.patients import draw_patient
grid = Grid.regular((4, 4, 4), 5.0)
BSpline(np.zeros((4, 4, 4, 3)), grid).apply(torch.from_numpy(grid.points()))
try:
    draw_patient(3).both(grid, "cuda:0")
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Triton, which is not installed" in done.stdout and "pip install triton" in done.stdout
