"""Volumes in memory to a group: the same as its steps one by one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import homolog
from homolog.errors import BadInput
from homolog.features.configs import Surf3dConfig
from homolog.groupwise import frog
from homolog.groupwise.configs import FrogConfig
from homolog.matching.configs import MatchConfig

FEW = FrogConfig(levels=1, steps=30)
POINTS = Surf3dConfig(sampling_mm=3.0, most=600)


@pytest.fixture(scope="module")
def scans():
    patients = [homolog.draw_patient(seed) for seed in (70, 71, 72, 73)]
    return [patient.scan(patient.grid(5.0, region="abdomen")) for patient in patients]


def places(group, scans):
    return [common.apply(scan.grid.corners()) for common, scan in zip(group.common_from_image, scans)]


def test_a_group_of_volumes_is_its_keypoints_matches_and_maps(scans):
    points = [homolog.detect(scan, config=POINTS) for scan in scans]
    either = MatchConfig(mutual=False, either=True)
    matches = {(i, j): homolog.match(points[i], points[j], either) for i, j in combinations(range(len(scans)), 2)}
    group = homolog.group(scans, config=FEW, detector_config=POINTS)
    assert [common.fixed for common in group.common_from_image] == [scan.space for scan in scans]
    np.testing.assert_array_equal(places(group, scans), places(frog.register(points, matches, FEW), scans))
    assert set(group.weights) == set(matches)


def test_few_partners_leave_pairs_out_and_nobody_alone(scans):
    group = homolog.group(scans, config=FEW, detector_config=POINTS, partners=2)
    assert len(group.weights) < 6
    assert {image for pair in group.weights for image in pair} == set(range(len(scans)))


def test_a_method_or_a_detector_that_there_is_not_is_refused(scans):
    with pytest.raises(BadInput, match="toad"):
        homolog.group(scans, method="toad")
    with pytest.raises(BadInput, match="orb"):
        homolog.group(scans, detector="orb")
