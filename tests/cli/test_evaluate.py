"""`homolog evaluate`: known answers, before and after, for people and for programs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from surface_distance import compute_robust_hausdorff, compute_surface_distances

from homolog import Affine, Grid, Volume, read_points, write, write_points, write_transform
from tests.cli.conftest import FIXED
from tests.geometry import some_affine

STRAIGHT = Grid.regular((20, 22, 24), (1.5, 2.0, 2.5), (10, -20, 30), np.diag([-1.0, 1, 1]))


def boxes(path, shift=(0, 0, 0), grid=STRAIGHT, absent=()):
    """Two boxes, labels 1 and 4, moved by whole voxels."""
    data = np.zeros(grid.shape, np.uint8)
    for label, (low, high) in {1: (3, 8), 4: (10, 15)}.items():
        if label not in absent:
            data[tuple(slice(low + s, high + s) for s in shift)] = label
    write(Volume(data, grid, "labels", "labels"), path)
    return data


def test_overlap_and_surface_distance_are_those_of_the_outside_programs(study, homolog):
    one, other = boxes("one.nii.gz"), boxes("other.nii.gz", (1, 2, 0))
    facts = homolog("evaluate", "--fixed-labels", "one.nii.gz", "--warped-labels", "other.nii.gz", "--json").json[
        "labels"
    ]
    for label in (1, 4):
        a, b = one == label, other == label
        assert facts["dice"][str(label)] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        theirs = compute_robust_hausdorff(compute_surface_distances(a, b, STRAIGHT.spacing_mm.tolist()), 95)
        assert facts["hd95_mm"][str(label)] == pytest.approx(theirs)
    assert facts["mean"]["dice"] == pytest.approx(np.mean([facts["dice"]["1"], facts["dice"]["4"]]))


def test_a_label_that_is_missing_is_null_and_counts_in_no_mean(study, homolog):
    boxes("one.nii.gz"), boxes("other.nii.gz", absent=(4,))
    facts = homolog("evaluate", "--fixed-labels", "one.nii.gz", "--warped-labels", "other.nii.gz", "--json").json[
        "labels"
    ]
    assert facts["dice"] == {"1": 1.0, "4": None}
    assert facts["mean"] == {"dice": 1.0, "hd95_mm": 0.0}


def test_labels_are_compared_before_the_map_and_after_it(study, homolog):
    boxes("one.nii.gz"), boxes("other.nii.gz", (1, 2, 0))
    shift = np.eye(4)
    shift[:3, 3] = STRAIGHT.world_from_voxel[:3, :3] @ (1, 2, 0)
    write_transform(Affine(shift), "shift.tfm")
    line = ("evaluate", "--transform", "shift.tfm", "--fixed-labels", "one.nii.gz", "--moving-labels", "other.nii.gz")
    facts = homolog(*line, "--json").json["labels"]
    assert facts["mean"]["dice"] == 1
    assert facts["mean"]["dice_before"] < 0.6


def shifted_boxes(shift, **other):
    """Labels that a shift brings onto each other, and the words that evaluate them."""
    boxes("one.nii.gz"), boxes("other.nii.gz", shift, **other)
    matrix = np.eye(4)
    matrix[:3, 3] = STRAIGHT.world_from_voxel[:3, :3] @ shift
    write_transform(Affine(matrix), "shift.tfm")
    words = ("--transform", "shift.tfm", "--fixed-labels", "one.nii.gz", "--moving-labels", "other.nii.gz")
    return ("evaluate", *words)


def test_surfaces_are_measured_before_the_map_and_after_it(study, homolog):
    line = shifted_boxes((1, 2, 0))
    facts = homolog(*line, "--json").json["labels"]
    assert facts["mean"]["hd95_mm"] == 0
    # two voxels of 2 mm, the larger of the two steps
    assert facts["mean"]["hd95_mm_before"] == pytest.approx(4)
    assert facts["worse"] == {"dice": [], "hd95_mm": []}
    assert "worse" not in homolog(*line).out


def test_a_structure_that_got_worse_is_named(study, homolog):
    line = shifted_boxes((1, 2, 0))
    write_transform(Affine(np.eye(4) + np.eye(4, k=3) * 3.0), "shift.tfm")
    (study / "one.json").write_text('{"1": "spleen", "4": "liver"}')
    facts = homolog(*line, "--json").json["labels"]
    assert facts["worse"]["dice"] == [1, 4]
    assert facts["names"] == {"1": "spleen", "4": "liver"}
    ended = homolog(*line)
    assert "worse than before in Dice: 2 of 2 (1 spleen, 4 liver)" in ended.err
    assert ended.out.count("worse") == 2


def test_a_structure_that_one_patient_lacks_counts_in_no_mean(study, homolog):
    line = shifted_boxes((1, 2, 0), absent=(4,))
    facts = homolog(*line, "--json").json["labels"]
    assert facts["dice"] == {"1": 1.0, "4": None}
    assert facts["only_fixed"] == [4]
    assert facts["mean_of"] == {"dice": 1, "hd95_mm": 1}
    assert "only in fixed" in homolog(*line).out


def test_a_structure_carried_out_of_the_picture_is_a_miss_and_not_left_out(study, homolog):
    line = shifted_boxes((1, 2, 0))
    far = np.eye(4)
    far[:3, 3] = (500, 0, 0)
    write_transform(Affine(far), "shift.tfm")
    ended = homolog(*line, "--json")
    facts = ended.json["labels"]
    assert facts["mean"]["dice"] == 0 < facts["mean"]["dice_before"]
    assert facts["hd95_mm"] == {"1": None, "4": None}
    assert "not met at all (Dice 0): 2 of 2" in homolog(*line).err


def test_means_before_and_after_are_over_the_same_structures(study, homolog):
    # the farther box lies beyond the fixed picture where the headers put it
    boxes("one.nii.gz")
    matrix = STRAIGHT.world_from_voxel.copy()
    matrix[:3, 3] = STRAIGHT.world((0, 0, 11))
    data = np.zeros(STRAIGHT.shape, np.uint8)
    data[3:8, 3:8, 3:8], data[10:15, 10:15, 14:19] = 1, 4
    write(Volume(data, Grid(STRAIGHT.shape, matrix), "labels", "labels"), "other.nii.gz")
    shift = np.eye(4)
    shift[:3, 3] = STRAIGHT.world_from_voxel[:3, :3] @ (0, 0, 11)
    write_transform(Affine(shift), "shift.tfm")
    words = ("--transform", "shift.tfm", "--fixed-labels", "one.nii.gz", "--moving-labels", "other.nii.gz", "--json")
    facts = homolog("evaluate", *words).json["labels"]
    assert facts["hd95_mm_before"]["4"] is None and facts["hd95_mm"]["4"] > 5
    assert facts["mean"]["hd95_mm"] == 0
    assert facts["mean_of"] == {"dice": 2, "hd95_mm": 1}


def test_a_structure_that_a_border_cuts_is_told_apart(study, homolog):
    line = shifted_boxes((0, 0, 0))
    data = np.zeros(STRAIGHT.shape, np.uint8)
    data[3:8, 3:8, 3:8], data[10:15, 10:15, 10:15] = 1, 4
    # the moving scan begins in the middle of box 1
    world_from_voxel = STRAIGHT.world_from_voxel.copy()
    world_from_voxel[:3, 3] = STRAIGHT.world((0, 0, 5))
    cut = Volume(data[:, :, 5:], Grid(data[:, :, 5:].shape, world_from_voxel), "labels", "labels")
    write(cut, "other.nii.gz")
    ended = homolog(*line, "--json")
    facts = ended.json["labels"]
    assert facts["cut"] == [1]
    assert facts["mean"]["dice"] == pytest.approx((0.75 + 1) / 2)
    assert facts["mean_whole"]["dice"] == 1
    assert "cut by a picture's border" in homolog(*line).err


def test_names_are_read_from_the_file_that_is_named(study, homolog):
    line = shifted_boxes((0, 0, 0))
    (study / "names.tsv").write_text("index\tname\tcolour\n1\tspleen\tred\n")
    assert homolog(*line, "--label-names", "names.tsv", "--json").json["labels"]["names"] == {"1": "spleen"}
    (study / "names.json").write_text('{"Modality": "CT"}')
    ended = homolog(*line, "--label-names", "names.json")
    assert ended.code == 2
    assert "names.json holds no names of labels" in ended.errors[0]
    # beside the labels the same file is a side-car about something else
    (study / "names.json").rename(study / "one.json")
    assert homolog(*line, "--json").json["labels"]["names"] == {}


def test_landmarks_are_measured_before_the_map_and_after_it(study, homolog):
    fixed, moving = read_points("fixed.mrk.json"), read_points("moving.mrk.json")
    line = ("evaluate", "--transform", "t.h5", "--fixed-points", "fixed.mrk.json", "--moving-points", "moving.mrk.json")
    errors = homolog(*line, "--json").json["target_error_mm"]
    apart = np.linalg.norm(fixed.position - moving.position, axis=1)
    assert errors["before"]["mean"] == pytest.approx(apart.mean(), abs=1e-3)
    assert errors["after"]["max"] < 1e-3
    assert errors["after"]["names"] == list("abcdef")


def test_landmarks_pair_by_name_and_not_by_row(study, homolog):
    points = read_points("moving.mrk.json")
    write_points(points[::-1], "moving.mrk.json")
    line = ("evaluate", "--transform", "t.h5", "--fixed-points", "fixed.mrk.json", "--moving-points", "moving.mrk.json")
    assert homolog(*line, "--json").json["target_error_mm"]["after"]["max"] < 1e-3


def test_map_and_inverse_are_followed_there_and_back(study, homolog):
    affine = some_affine(about_mm=FIXED.points().mean(axis=0))
    write_transform(affine, "a.tfm")
    drift = np.eye(4)
    drift[:3, 3] = (0, 3, 4)
    write_transform(Affine(drift @ affine.inverse().matrix, "moving", "fixed"), "back.tfm")
    line = ("evaluate", "--transform", "a.tfm", "--inverse", "back.tfm", "--like", "fixed.nii.gz", "--json")
    facts = homolog(*line).json
    assert facts["inverse_consistency_mm"]["fixed"]["mean"] == pytest.approx(5, abs=1e-4)
    assert facts["folding"]["fraction"] == 0
    assert facts["folding"]["sdlogj"] == pytest.approx(0, abs=1e-3)


def test_a_table_is_for_people_and_a_file_for_programs(study, homolog):
    ended = homolog(
        *("evaluate", "--transform", "t.h5", "--fixed-labels", "fixed_labels.nii.gz"),
        *("--moving-labels", "moving_labels.nii.gz", "--fixed-points", "fixed.mrk.json"),
        *("--moving-points", "moving.mrk.json", "-o", "metrics.json"),
    )
    assert ended.code == 0
    head, *rows = ended.out.splitlines()
    assert head.split() == ["before", "after"]
    # what it comes to stands first, the structures last
    names = [row.split()[0] for row in rows if row]
    assert names.index("Dice,") < names.index("landmark") < names.index("folds,") < names.index("structure")
    stored = json.loads((study / "metrics.json").read_text())
    assert stored["labels"]["mean"]["dice"] is not None
    assert stored["folding"]["fraction"] == 0
