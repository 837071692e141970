"""Virtual patients: that what is called known is known, and that they are built like people."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from homolog import write
from homolog.errors import BadInput
from homolog.space.grid import Grid
from homolog.synth.anatomy.landmarks import landmarks as canonical_landmarks
from homolog.synth.anatomy.structures import NUMBERS
from homolog.synth.configs import PatientConfig
from homolog.synth.patients import BTCV, STRUCTURES, between, draw_patient

SEEDS = (0, 1, 2)
QUIET = PatientConfig(noise_hu=0.0, slice_mm=2.0)
EVERYWHERE = np.random.default_rng(0).uniform((-190, -120, -320), (190, 125, 480), (3000, 3))
# millilitres that adults have, by docs/methods/patients.md; coarse voxels, so large organs only
VOLUMES_ML = {
    1: (105, 320), 2: (105, 230), 3: (105, 230), 6: (1000, 1900), 7: (200, 800), 11: (45, 130), 14: (450, 800),
    15: (1500, 3500), 16: (1300, 3400),
}  # fmt: skip


@cache
def patient(seed, config=QUIET):
    return draw_patient(seed, config)


@cache
def whole(seed):
    return patient(seed).both(patient(seed).grid(5.0))


def crop_at(one, name, size_mm=60.0):
    middle = one.landmarks().by_name([name]).position[0]
    return np.stack((middle - size_mm / 2, middle + size_mm / 2))


def left_handed(one, name):
    """A small oblique, anisotropic, left-handed grid around a landmark."""
    middle = one.landmarks().by_name([name]).position[0]
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
    turn[:, 2] *= -np.sign(np.linalg.det(turn))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array([2.0, 2.5, 3.0])
    matrix[:3, 3] = middle - matrix[:3, :3] @ np.array([9, 8, 7])
    return Grid((19, 17, 15), matrix)


@pytest.mark.parametrize("seed", SEEDS)
def test_there_and_back_is_where_one_was(seed):
    one = patient(seed)
    there = one.patient_from_canonical.apply(EVERYWHERE)
    back = one.canonical_from_patient.apply(there)
    assert np.linalg.norm(back - EVERYWHERE, axis=1).max() < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_no_patient_is_folded(seed):
    one = patient(seed)
    lattice = one.grid(10.0).points()[::5]
    assert np.linalg.det(one.canonical_from_patient.jacobian(lattice)).min() > 0


@pytest.mark.parametrize("seed", range(5))
def test_a_landmark_lies_in_its_structure(seed):
    one = patient(seed)
    points = one.landmarks()
    for row, (name, (number, _)) in enumerate(canonical_landmarks().items()):
        voxel = Grid.regular((1, 1, 1), 1.0, points.position[row])
        assert one.labels(voxel).numpy().item() == number, f"{name} lies outside {STRUCTURES[number]}"


def test_the_map_between_two_carries_landmarks_onto_landmarks():
    a, b = patient(0), patient(1)
    moved = between(a, b).apply(a.landmarks().position)
    assert np.linalg.norm(moved - b.landmarks().position, axis=1).max() < 0.1
    assert (between(a, b).fixed, between(a, b).moving) == (a.name, b.name)


def test_corresponding_voxels_have_one_label():
    a, b = patient(0), patient(2)
    grid = left_handed(a, "portal confluence")
    mapped = between(a, b).apply(grid.points())
    ours = a.labels(grid).numpy().ravel()
    # each mapped point is a voxel of its own in the other patient
    some = np.random.default_rng(1).choice(len(mapped), 150, replace=False)
    theirs = [b.labels(Grid.regular((1, 1, 1), 1.0, mapped[n])).numpy().item() for n in some]
    # the maps agree to 0.1 mm, so only voxels within that of a border may differ
    assert (ours[some] == theirs).mean() > 0.95


def test_the_same_seed_gives_the_same_bytes():
    config = PatientConfig()
    one, again = draw_patient(4, config), draw_patient(4, config)
    grid = left_handed(one, "liver centre")
    for first, second in zip(one.both(grid), again.both(grid)):
        np.testing.assert_array_equal(first.numpy(), second.numpy())
    assert (draw_patient(5).landmarks().position != one.landmarks().position).any()


def test_a_crop_is_cut_from_the_whole():
    one = draw_patient(3, replace(QUIET, slice_mm=5.0))
    grid = left_handed(one, "T12 body")
    part = grid.cropped((4, 3, 5), (15, 14, 12))
    scan, labels = one.both(grid)
    small_scan, small_labels = one.both(part)
    inside = (slice(4, 15), slice(3, 14), slice(5, 12))
    np.testing.assert_allclose(small_scan.numpy(), scan.numpy()[inside], atol=0.05)
    assert (small_labels.numpy() == labels.numpy()[inside]).mean() > 0.999
    np.testing.assert_array_equal(one.labels(part).numpy(), small_labels.numpy())


def test_the_liver_is_on_the_right_and_the_head_above(tmp_path):
    _, labels = whole(0)
    write(labels, tmp_path / "labels.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "labels.nii.gz"))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(image, sitk.sitkUInt8))
    centre = {name: np.array(shape.GetCentroid(number)) for name, number in NUMBERS.items() if shape.HasLabel(number)}
    assert centre["liver"][0] < centre["spleen"][0] - 80
    assert centre["right kidney"][0] < centre["inferior vena cava"][0] < centre["aorta"][0] < centre["left kidney"][0]
    assert centre["vertebra T8"][1] > centre["sternum"][1] + 60
    assert centre["heart"][2] > centre["liver"][2] > centre["urinary bladder"][2] + 100
    assert centre["right lung"][0] < centre["heart"][0] < centre["left lung"][0]


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_have_the_volumes_of_adults(seed):
    _, labels = whole(seed)
    for number, (low, high) in VOLUMES_ML.items():
        millilitres = (labels.numpy() == number).sum() * labels.grid.voxel_volume_mm3 / 1000
        # a cell of 5 mm at the surface may fall to either side
        assert 0.97 * low < millilitres < 1.03 * high, STRUCTURES[number]


@pytest.mark.parametrize("seed", range(40, 52))
def test_the_left_lung_is_the_smaller_one(seed):
    one = draw_patient(seed)
    labels = one.labels(one.grid(8.0, region="chest")).numpy()
    right, left = ((labels == NUMBERS[f"{side} lung"]).sum() for side in ("right", "left"))
    assert 0.65 * right < left < right


def test_organs_lie_in_other_places_however_alike_their_volumes_are():
    """Volumes are drawn from a narrow range; nobody's liver may lie where another's does for that."""
    a, b = patient(0), patient(1)
    places = [
        one.landmarks().by_name(["liver dome", "left kidney upper pole", "spleen centre"]).position for one in (a, b)
    ]
    apart = [np.linalg.norm(np.diff(one, axis=0), axis=1) for one in places]
    assert np.abs(apart[0] - apart[1]).max() > 8


@pytest.mark.parametrize("seed", SEEDS)
def test_every_patient_has_every_organ(seed):
    # coarse voxels may miss an adrenal gland; the skeleton and the rest are all there
    found = set(np.unique(whole(seed)[1].numpy()).tolist())
    assert not {STRUCTURES[number] for number in (set(BTCV) | set(range(60, 78))) - found}


def test_contrast_goes_where_its_phase_says():
    one = {phase: patient(1, replace(QUIET, phase=phase)) for phase in ("native", "arterial", "portal")}

    def hu(phase, name):
        middle = crop_at(one[phase], name, 4.0)
        return float(np.median(one[phase].scan(one[phase].grid(1.0, middle)).numpy()))

    assert hu("arterial", "aorta at the diaphragm") > hu("portal", "aorta at the diaphragm") + 60
    assert hu("portal", "aorta at the diaphragm") > hu("native", "aorta at the diaphragm") + 60
    assert hu("portal", "liver centre") > hu("native", "liver centre") + 20


def test_scattered_headers_only_shift():
    near, far = patient(0), patient(0, replace(QUIET, headers="scattered"))
    shift = far.landmarks().position - near.landmarks().position
    assert np.ptp(shift, axis=0).max() < 1e-6 and np.linalg.norm(shift[0]) > 300
    grid = left_handed(near, "carina")
    matrix = grid.world_from_voxel.copy()
    matrix[:3, 3] += shift[0]
    moved = far.both(Grid(grid.shape, matrix))
    for here, there in zip(near.both(grid), moved):
        np.testing.assert_array_equal(here.numpy(), there.numpy())


def test_a_scattered_header_leaves_every_voxel_as_it_was_and_its_noise():
    near, far = draw_patient(3), draw_patient(3, PatientConfig(headers="scattered"))
    scans = [p.scan(p.grid(6.0, region="abdomen")) for p in (near, far)]
    assert not scans[0].grid.same_as(scans[1].grid)
    np.testing.assert_array_equal(scans[0].numpy(), scans[1].numpy())


def test_mr_shows_the_same_body_otherwise():
    ct, mr = patient(1), patient(1, replace(QUIET, modality="mr"))
    grid = left_handed(ct, "L3 body")
    (ct_scan, ct_labels), (mr_scan, mr_labels) = ct.both(grid), mr.both(grid)
    np.testing.assert_array_equal(ct_labels.numpy(), mr_labels.numpy())
    assert mr_scan.numpy().min() >= 0
    assert np.corrcoef(ct_scan.numpy().ravel(), mr_scan.numpy().ravel())[0, 1] < 0.9


def test_metal_is_bright_and_only_in_its_own_patient():
    plain, metal = (patient(2, replace(QUIET, implant=kind)) for kind in ("none", "hip"))
    heads = ("right femoral head", "left femoral head")
    brightest = [
        max(float(one.scan(one.grid(2.0, crop_at(one, name, 40))).numpy().max()) for name in heads)
        for one in (plain, metal)
    ]
    assert brightest[0] < 2000 < brightest[1]


def test_streaks_are_level_with_the_metal_alone():
    plain, metal = (patient(2, replace(QUIET, implant=kind)) for kind in ("none", "screws"))
    changed = []
    for name in ("L4 body", "T8 body"):
        grid = plain.grid(3.0, crop_at(plain, name, 90))
        changed.append(np.abs(metal.scan(grid).numpy() - plain.scan(grid).numpy()).max())
    assert changed[0] > 100 and changed[1] == 0


def test_noise_is_as_strong_as_it_was_asked_to_be():
    quiet, noisy = patient(1), patient(1, replace(QUIET, noise_hu=30.0, sharpness=0.0))
    quiet = patient(1, replace(QUIET, sharpness=0.0))
    grid = quiet.grid(2.0, crop_at(quiet, "liver centre", 50))
    difference = noisy.scan(grid).numpy() - quiet.scan(grid).numpy()
    assert abs(difference.std() - 30) < 1.5 and abs(difference.mean()) < 1


@pytest.mark.parametrize("spacing_mm", [0.1, 20.0, float("nan")])
def test_voxels_that_show_nothing_are_refused(spacing_mm):
    with pytest.raises(BadInput, match=r"0\.4 to 10"):
        patient(0).grid(spacing_mm)


def test_a_crop_outside_the_body_is_refused():
    with pytest.raises(BadInput, match="outside the body"):
        patient(0).grid(2.0, crop=[[5000, 0, 0], [5100, 100, 100]])
    with pytest.raises(BadInput, match="lowest and its highest"):
        patient(0).grid(2.0, crop=[[10, 10, 10], [0, 0, 0]])


@pytest.mark.parametrize("wrong", [{"headers": "lost"}, {"phase": "late"}, {"variability": 3.0}, {"noise_hu": -1.0}])
def test_configurations_that_mean_nothing_are_refused(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        draw_patient(0, PatientConfig(**wrong))
