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
    assert "dice before" in ended.out
    assert "target error after" in ended.out
    stored = json.loads((study / "metrics.json").read_text())
    assert stored["labels"]["mean"]["dice"] is not None
    assert stored["folding"]["fraction"] == 0
