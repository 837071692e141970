"""What a group is said to take, before it is made: as much as it has tasks left, and as much as files then hold."""

from __future__ import annotations

import time
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from homolog.errors import BadInput
from homolog.features.configs import Sift3dConfig, Surf3dConfig
from homolog.io.keypoints import write_keypoints, write_matches
from homolog.matching import partners
from homolog.matching.configs import MatchConfig
from homolog.pipelines.detect import detect
from homolog.pipelines.planning import partners_after, plan, yardstick_seconds
from homolog.pipelines.planning_facts import Described, Done, Wanted
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.volume import Volume

CHEST = Described((250, 210, 160), (1.4, 1.4, 2.5))
WANTED = Wanted(sampling_mm=1.0, most=10_000)


def planned(count, wanted=WANTED, **options):
    options = {"threads": 2, "yardstick_s": 0.5} | options
    return plan([CHEST] * count, wanted, **options)


def stage(plan_, name):
    return next(one for one in plan_.stages if one.name == name)


def test_keypoints_take_as_long_as_there_are_images_and_matches_as_there_are_pairs():
    few, many = planned(10), planned(20)
    minutes = {name: stage(many, name).cpu_minutes / stage(few, name).cpu_minutes for name in ("keypoints", "matches")}
    assert minutes == {"keypoints": pytest.approx(2), "matches": pytest.approx(190 / 45)}
    assert stage(many, "keypoints").tasks == 20
    assert stage(many, "matches").tasks == 190


def test_finer_voxels_and_more_keypoints_take_longer():
    finer = planned(5, replace(WANTED, sampling_mm=0.5))
    fewer = planned(5, replace(WANTED, most=5000))
    # eight times the voxels; each image is read and each keypoint described only once
    ratio = stage(finer, "keypoints").cpu_minutes / stage(planned(5), "keypoints").cpu_minutes
    assert 5 < ratio < 8
    assert 2 < stage(planned(5), "matches").cpu_minutes / stage(fewer, "matches").cpu_minutes <= 4
    assert stage(finer, "keypoints").task_bytes > 3 * stage(planned(5), "keypoints").task_bytes


@pytest.mark.parametrize(("count", "wanted"), [(50, 6), (100, 20), (300, 20), (15, 20)])
def test_pairs_of_chosen_partners_are_about_as_many_as_are_chosen_then(count, wanted):
    signatures = np.random.default_rng(0).normal(size=(count, 5))
    signatures /= np.linalg.norm(signatures, axis=1, keepdims=True)
    likeness = signatures @ signatures.T
    chosen = len(partners.chosen(count, wanted, likeness))
    assert planned(count, replace(WANTED, partners=wanted)).pairs == pytest.approx(chosen, rel=0.2)


def test_with_partners_a_large_group_takes_as_long_as_it_has_images():
    few = replace(WANTED, partners=20)
    hundred, thousand = planned(100, few), planned(1000, few)
    assert 9 < stage(thousand, "matches").cpu_minutes / stage(hundred, "matches").cpu_minutes < 11
    assert planned(1000).cpu_minutes > 10 * thousand.cpu_minutes


def test_pairs_of_one_image_come_in_tasks_of_so_many():
    count, most = 40, 16
    pairs = partners.all_pairs(count)
    expected = sum(ceil((pairs[:, 0] == image).sum() / most) for image in range(count))
    assert stage(planned(count, pairs_a_task=most), "matches").tasks == expected
    assert partners_after(count, None).sum() == len(pairs)


def test_what_is_done_takes_no_time():
    count = 12
    images = [replace(CHEST, keypoints=9000)] * 5 + [CHEST] * 7
    half = plan(images, WANTED, done=Done(pairs=33, tasks=33, backs=4), threads=2, yardstick_s=0.5)
    whole = planned(count)
    assert stage(half, "keypoints").done == 5
    assert stage(half, "keypoints").cpu_minutes == pytest.approx(7 / 12 * stage(whole, "keypoints").cpu_minutes)
    assert stage(half, "matches").done == 33
    assert stage(half, "matches").cpu_minutes == pytest.approx(0.5 * stage(whole, "matches").cpu_minutes, rel=0.1)
    assert stage(half, "ways back").cpu_minutes == pytest.approx(8 / 12 * stage(whole, "ways back").cpu_minutes)
    done = Done(pairs=66, tasks=66, maps=True, backs=count, pictures=True)
    nothing = plan([replace(CHEST, keypoints=9000)] * count, WANTED, done=done, threads=2, yardstick_s=0.5)
    assert nothing.cpu_minutes == nothing.wall_minutes == 0
    assert all(one.done == one.tasks for one in nothing.stages)
    # what is there still takes its room
    assert nothing.disk_bytes > 0.8 * whole.disk_bytes


def test_jobs_save_minutes_but_no_work_and_take_memory():
    alone, four = planned(16, threads=8), planned(16, threads=8, jobs=4)
    assert four.cpu_minutes == pytest.approx(alone.cpu_minutes)
    assert four.wall_minutes < alone.wall_minutes
    assert four.memory_bytes > 3 * alone.memory_bytes
    for one in (alone, four):
        assert one.wall_minutes >= one.cpu_minutes / 8


def test_more_jobs_than_processors_save_nothing_and_no_stage_ends_before_its_longest_task():
    fitting, crowded = planned(16, threads=2, jobs=2), planned(16, threads=2, jobs=8)
    assert crowded.wall_minutes >= 0.99 * fitting.wall_minutes
    large = replace(CHEST, shape=(500, 500, 500))
    uneven = plan([large, CHEST, CHEST], WANTED, jobs=3, threads=3, yardstick_s=0.5)
    largest = plan([large, large], WANTED, threads=1, yardstick_s=0.5)
    assert stage(uneven, "keypoints").wall_minutes >= stage(largest, "keypoints").cpu_minutes / 2 * 0.999


def test_a_machine_half_as_fast_takes_twice_as_long():
    slow, fast = planned(6, yardstick_s=1.0), planned(6, yardstick_s=0.5)
    assert slow.cpu_minutes == pytest.approx(2 * fast.cpu_minutes)
    assert slow.disk_bytes == fast.disk_bytes


def test_a_short_run_tells_how_long_a_yardstick_takes():
    volume = np.random.default_rng(0).normal(size=(256, 256, 256)).astype(np.float32)
    began = time.thread_time()
    gaussian_filter(volume, 2)
    seconds = time.thread_time() - began
    # others at work on the machine disturb the one more than the other
    assert 0.4 < yardstick_seconds() / seconds < 2


@pytest.mark.parametrize(("method", "config"), [("surf3d", Surf3dConfig(sampling_mm=1.0)), ("sift3d", Sift3dConfig())])
def test_files_of_keypoints_are_as_large_as_planned(tmp_path, method, config):
    shape, spacing = (70, 64, 66), (2.0, 2.2, 1.9)
    data = gaussian_filter(np.random.default_rng(0).normal(0, 900, shape), 1.2).astype(np.float32)
    found = detect(Volume(data, Grid.regular(shape, spacing, (3.0, -9.0, 4.0)), "noise"), method=method, config=config)
    path = tmp_path / "found.npz"
    write_keypoints(found, path)
    images = [Described(shape, spacing, len(found))] * 2
    expected = (
        stage(plan(images, Wanted(method, sampling_mm=1.0), threads=1, yardstick_s=0.5), "keypoints").disk_bytes / 2
    )
    assert len(found) > 50
    assert path.stat().st_size == pytest.approx(expected, rel=0.2)


def test_files_of_matches_are_as_large_as_planned_if_as_many_match(tmp_path):
    points = Keypoints(np.zeros((5000, 3)), "points")
    rows = np.stack((np.arange(5000), np.arange(5000)), axis=1)
    path = tmp_path / "matches.npz"
    write_matches(Matches(rows, np.zeros(5000)), path, points, points)
    # where one side alone looks, each of its points has a match
    wanted = Wanted(matching=MatchConfig(mutual=False))
    known = [replace(CHEST, keypoints=5000)] * 2
    expected = stage(plan(known, wanted, threads=1, yardstick_s=0.5), "matches").disk_bytes
    assert path.stat().st_size == pytest.approx(expected, rel=0.05)


def test_a_table_has_a_row_a_stage_and_one_for_all():
    columns, rows = planned(8, replace(WANTED, annotated=3)).table()
    assert [row[0] for row in rows] == ["keypoints", "matches", "maps", "ways back", "pictures", "all"]
    assert {len(row) for row in rows} == {len(columns)}
    minutes = [float(row[columns.index("CPU min")]) for row in rows]
    assert minutes[-1] == pytest.approx(sum(minutes[:-1]), rel=0.1)


def test_a_group_of_one_or_without_connection_or_of_an_unknown_detector_is_refused():
    with pytest.raises(BadInput, match="at least two"):
        planned(1)
    with pytest.raises(BadInput, match="in pieces"):
        planned(9, Wanted(partners=1))
    with pytest.raises(BadInput, match="'orb'"):
        planned(9, Wanted("orb"))
    with pytest.raises(BadInput, match="--jobs"):
        planned(9, jobs=0)
