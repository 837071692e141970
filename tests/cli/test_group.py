"""`homolog group`: maps of many to one space, from wherever a run stopped, whoever computes, and what it says."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from homolog import Volume, read, read_labels, read_points, read_transform, write, write_points
from homolog.cli.group_companions import KEYPOINTS, LABELS, LANDMARKS, companions, named_patients
from homolog.cli.main import main
from homolog.errors import BadInput
from homolog.io import keypoints as keypoint_files
from homolog.metrics.overlap import dice
from homolog.metrics.regions import worst_regions
from homolog.space.sampling import warp
from tests.cli.conftest import listing

pytestmark = pytest.mark.slow

PATIENTS = 4
# few and coarse: what is tested is what the command does, not how well
FLAGS = ("--sampling-mm", 2.5, "-n", 600, "--levels", 1, "--spacing", 6)
MAPS = ("common_from_patient.h5", "patient_from_common.h5")


@pytest.fixture(scope="module")
def cohort_once(tmp_path_factory) -> Path:
    """cohort/patient_000 to 004 and, without the last of them, the group of all in group/."""
    folder = tmp_path_factory.mktemp("cohorts")
    drawn = ("patients", "-n", PATIENTS + 1, "--spacing", 4.5, "--region", "abdomen", "-o", folder / "cohort")
    assert main([str(word) for word in drawn]) == 0
    line = ("group", *images(folder), "-o", folder / "group", "--landmarks", folder / "cohort", *FLAGS)
    assert main([str(word) for word in line]) == 0
    return folder


@pytest.fixture
def cohort(cohort_once, tmp_path, monkeypatch) -> Path:
    shutil.copytree(cohort_once, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def images(folder=Path(), count=PATIENTS):
    return [folder / f"cohort/patient_{n:03d}/ct.nii.gz" for n in range(count)]


NEWCOMER = Path("cohort/patient_004/ct.nii.gz")
LANDMARKED = ("--landmarks", "cohort", *FLAGS)


def body_points(path, every=50):
    """Some of the places that labels know."""
    labels = read_labels(path)
    return labels.grid.points()[labels.numpy().ravel() > 0][::every]


def run_of(folder):
    return json.loads(Path(folder, "run.json").read_text())


def maps_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(Path(folder).glob("*/*.h5"))}


def lasting(folder):
    """What is in a folder but what tells the time."""
    return {
        name: state
        for name, state in listing(folder).items()
        if "hashes" not in name and name not in ("run.json", "report.html")
    }


# ---- what it makes


def test_every_image_gets_its_map_and_the_way_back(cohort):
    for n in range(PATIENTS):
        name = f"patient_{n:03d}"
        there, back = (read_transform(cohort / "group" / name / file) for file in MAPS)
        assert (there.fixed, there.moving, back.fixed, back.moving) == (name, "common", "common", name)
        points = body_points(Path(f"cohort/{name}/labels.nii.gz"))
        apart = np.linalg.norm(back.apply(there.apply(points)) - points, axis=1)
        assert apart.mean() < 0.1


def test_maps_bring_the_same_places_together_and_the_record_says_how_near(cohort):
    sets = [read_points(f"cohort/patient_{n:03d}/landmarks.mrk.json") for n in range(PATIENTS)]
    maps = [read_transform(f"group/patient_{n:03d}/{MAPS[0]}") for n in range(PATIENTS)]
    shared = sorted(set.intersection(*(set(points.name) for points in sets)))

    def spread(places):
        return np.linalg.norm(places - places.mean(axis=0), axis=2).mean()

    before = np.stack([points.by_name(shared).position for points in sets])
    after = np.stack([the_map.apply(points) for the_map, points in zip(maps, before)])
    assert spread(after) < 0.5 * spread(before)
    said = run_of("group")["landmarks"]
    assert said["end"]["centroid_mm"] < 0.5 * said["before"]["centroid_mm"]
    by_landmark = np.linalg.norm(after - after.mean(axis=0), axis=2).mean(axis=0)
    for name, mm in zip(shared, by_landmark):
        assert said["by_landmark"][name] == pytest.approx(mm, abs=0.01)


def test_the_mean_is_where_the_maps_say(cohort):
    run = run_of("group")
    mean, count = read("group/mean.nii.gz"), read("group/count.nii.gz")
    carried = [
        warp(read(path, space=one["name"]), read_transform(f"group/{one['name']}/{MAPS[1]}"), mean.grid, outside=np.nan)
        for path, one in zip(images(), run["images"])
    ]
    everywhere = np.stack([each.numpy() for each in carried])
    whole = np.isfinite(everywhere).all(axis=0)
    assert whole.mean() > 0.2 and (count.numpy()[whole] == PATIENTS).all()
    np.testing.assert_allclose(mean.numpy()[whole], everywhere.mean(axis=0)[whole], atol=0.5)


def test_the_record_lists_what_lies_in_the_folder(cohort):
    run = run_of("group")
    assert [one["name"] for one in run["images"]] == [f"patient_{n:03d}" for n in range(PATIENTS)]
    for one in run["images"]:
        assert one["doubts"] == [] and one["inliers"] <= one["matches"]
        assert one["folding"]["fraction"] == 0 and one["inverse"]["mean_mm"] < 0.1
        assert set(one["outputs"]) >= {"common_from_patient", "patient_from_common"}
        assert all(Path("group", path).is_file() for path in one["outputs"].values())
    assert all(Path("group", path).is_file() for path in run["outputs"].values())
    assert run["config"]["frog"]["levels"] == 1 and run["config"]["surf3d"]["most"] == 600
    assert Path("group/report.html").is_file()


def test_measures_are_the_trace_line_by_line(cohort):
    rows = list(csv.DictReader(Path("group/measures.csv").read_text().splitlines()))
    trace = run_of("group")["trace"]
    assert [int(row["iteration"]) for row in rows] == list(range(len(trace)))
    assert [float(row["energy_mm"]) for row in rows] == pytest.approx([step["energy_mm"] for step in trace], rel=1e-5)
    assert [row["stage"] for row in rows] == [step["stage"] for step in trace]
    assert len({row["stage"] for row in rows}) == 2


def test_the_table_says_how_near_landmarks_came_and_json_is_the_record(homolog, cohort):
    told = homolog("group", *images(), "-o", "group", *LANDMARKED)
    assert told.code == 0 and told.out.splitlines()[0].split() == ["landmarks,", "mm", "before", "linear", "end"]
    said = homolog("group", *images(), "-o", "group", *LANDMARKED, "--json").json
    assert said == run_of("group")


def test_further_outputs_are_made_without_drawing_again(homolog, cohort):
    before = maps_of("group")
    line = ("group", *images(), "-o", "group", *LANDMARKED, "--formats", "frog", "--jacobians")
    assert homolog(*line).code == 0
    assert maps_of("group") == before
    for n in range(PATIENTS):
        folder, scan = Path(f"group/patient_{n:03d}"), read(f"cohort/patient_{n:03d}/ct.nii.gz")
        points = scan.grid.with_spacing(20.0).points()
        as_frog, ours = read_transform(folder / "frog.json"), read_transform(folder / MAPS[0])
        np.testing.assert_allclose(as_frog.apply(points), ours.apply(points), atol=0.01)
        jacobian = read(folder / "jacobian.nii.gz")
        assert jacobian.grid.same_as(scan.grid) and (jacobian.numpy() > 0).all()


# ---- again, and from the middle


def test_a_repeated_command_does_nothing(homolog, cohort):
    before = lasting(cohort / "group")
    assert homolog("group", *images(), "-o", "group", *LANDMARKED).code == 0
    assert lasting(cohort / "group") == before


def test_a_damaged_result_is_made_anew(homolog, cohort):
    stored = sorted(Path("group/store/matches").glob("*.npz"))
    whole = stored[0].read_bytes()
    stored[0].write_bytes(whole[: len(whole) // 2])
    Path("group/patient_001", MAPS[1]).write_bytes(b"broken")
    maps, kept = maps_of("group"), stored[1].stat().st_mtime_ns
    assert homolog("group", *images(), "-o", "group", *LANDMARKED).code == 0
    assert stored[0].read_bytes() == whole and stored[1].stat().st_mtime_ns == kept
    assert maps_of("group") != maps
    assert homolog("group", *images(), "-o", "other", *LANDMARKED).code == 0
    assert maps_of("group") == maps_of("other")


def test_a_killed_command_goes_on_from_there_with_the_same_result(homolog, cohort):
    line = [sys.executable, "-m", "homolog", "group", *images(), "-o", "again", *LANDMARKED]
    running = subprocess.Popen(list(map(str, line)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for(lambda: len(list(Path("again/store/keypoints").glob("*.npz"))) >= 2)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert not Path("again/run.json").exists()
    found = {
        path: path.stat().st_mtime_ns
        for path in Path("again/store/keypoints").glob("*.npz")
        if ".part" not in path.name
    }
    assert homolog("group", *images(), "-o", "again", *LANDMARKED).code == 0
    assert all(path.stat().st_mtime_ns == when for path, when in found.items())
    assert maps_of("again") == maps_of("group")


def test_a_dead_worker_costs_only_its_task(homolog, cohort):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        workers = [worker.pid for worker in cluster.workers.values()]
        stored = Path("by_dask/store/keypoints").absolute()
        killed = []

        def kill() -> None:
            _wait_for(lambda: any(stored.glob("*.npz")))
            killed.append(len(list(stored.glob("*.npz"))))
            os.kill(workers[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        ended = homolog("group", *images(), "-o", "by_dask", *LANDMARKED, "--engine", cluster.scheduler_address)
        killer.join()
    assert ended.code == 0, ended.err
    assert killed[0] < PATIENTS
    assert maps_of("by_dask") == maps_of("group")


def test_shards_on_several_machines_make_what_one_makes(homolog, cohort):
    for stage in ("keypoints", "matches"):
        for shard in ("2/3", "1/3", "3/3"):
            assert homolog("group", *images(), "-o", "parts", *LANDMARKED, "--only", stage, "--shard", shard).code == 0
    stored = listing(Path("parts/store"))
    assert not Path("parts/run.json").exists()
    assert homolog("group", *images(), "-o", "parts", *LANDMARKED).code == 0
    assert listing(Path("parts/store")) == stored
    assert maps_of("parts") == maps_of("group")


def test_matches_cannot_come_before_their_keypoints(homolog, cohort):
    ended = homolog("group", *images(), "-o", "parts", *LANDMARKED, "--only", "matches", "--shard", "1/2")
    assert ended.code == 2 and "keypoints" in ended.errors[0] and "--only keypoints" in ended.hints[0]


def test_a_plan_computes_and_writes_nothing(homolog, cohort):
    ended = homolog("group", *images(), "-o", "planned", *LANDMARKED, "--plan")
    assert ended.code == 0 and "keypoints" in ended.out and "matches" in ended.out
    assert not Path("planned").exists()
    plan = homolog("group", *images(), "-o", "group", *LANDMARKED, "--plan", "--json").json["plan"]
    assert plan


def test_fewer_partners_are_fewer_matches(homolog, cohort):
    assert homolog("group", *images(), "-o", "few", *LANDMARKED, "--partners", 2).code == 0
    pairs = len(list(Path("few/store/matches").glob("*.npz")))
    assert PATIENTS - 1 <= pairs < PATIENTS * (PATIENTS - 1) / 2


def test_a_folder_keeps_to_one_group_until_it_is_forced(homolog, cohort):
    before = listing(cohort / "group")
    refused = [
        homolog("group", *images(), "-o", "group", *FLAGS[:4], "--levels", 2),
        homolog("group", *images(count=3), "-o", "group", *LANDMARKED),
    ]
    assert [ended.code for ended in refused] == [2, 2]
    assert "levels 1, not 2" in refused[0].errors[0] and "patient_003" in refused[1].errors[0]
    assert all("--force" in ended.hints[0] for ended in refused)
    assert listing(cohort / "group") == before
    stored = listing(cohort / "group/store/matches")
    assert homolog("group", *images(count=3), "-o", "group", *LANDMARKED, "--force").code == 0
    assert listing(cohort / "group/store/matches") == stored and not Path("group/patient_003").exists()
    assert len(run_of("group")["images"]) == 3


# ---- images that do not belong


def test_a_stranger_is_flagged_and_leaves_the_others_alone(homolog, cohort):
    grid = read(images()[0]).grid
    noise = np.random.default_rng(0).normal(0, 200, grid.shape).astype(np.float32)
    write(Volume(noise, grid, "noise"), "cohort/stranger/ct.nii.gz")
    line = ("group", *images(), "cohort/stranger/ct.nii.gz", "-o", "mixed", *LANDMARKED)
    ended = homolog(*line)
    assert ended.code == 0 and "stranger does not fit" in ended.err
    run = run_of("mixed")
    assert [bool(one["doubts"]) for one in run["images"]] == [False] * PATIENTS + [True]
    assert read("mixed/count.nii.gz").numpy().max() == PATIENTS
    assert run["landmarks"]["end"]["centroid_mm"] < 1.2 * run_of("group")["landmarks"]["end"]["centroid_mm"]


def test_all_images_are_tried_before_those_that_cannot_be_used_are_listed(homolog, cohort):
    scan = read(images()[0])
    data = scan.numpy().copy()
    data[3, 4, 5] = np.nan
    write(scan.with_data(data), "cohort/nan/ct.nii.gz")
    write(scan.with_data(np.full(scan.grid.shape, 7, np.float32)), "cohort/flat/ct.nii.gz")
    Path("cohort/text").mkdir()
    Path("cohort/text/ct.nii.gz").write_text("no volume\n")
    bad = [Path(f"cohort/{name}/ct.nii.gz") for name in ("nan", "flat", "text")]
    line = ("group", *images()[:2], *bad, *images()[2:], "-o", "mixed", *LANDMARKED)
    ended = homolog(*line)
    assert ended.code == 2 and "3 of 7 images cannot be used" in ended.errors[0]
    assert all(f"  {path}: " in ended.err for path in bad)
    assert len(list(Path("mixed/store/keypoints").glob("*.npz"))) == PATIENTS
    assert "--skip" in ended.hints[0] and " ".join(map(str, images())) in ended.hints[0]
    assert homolog(*line, "--skip").code == 0
    assert maps_of("mixed") == maps_of("group")
    assert [Path(one["path"]).parent.name for one in run_of("mixed")["left_out"]] == ["text", "flat", "nan"]


# ---- labels and landmarks


def test_labels_of_a_few_are_handed_on_and_compared_with_the_truth(homolog, cohort):
    few = ("patient_000", "patient_001")
    line = ("group", *images(), "-o", "group", *LANDMARKED, "--labels", "cohort", "--labels-from", *few)
    ended = homolog(*line)
    assert ended.code == 0, ended.err
    run = run_of("group")
    assert run["overlap"]["from"] == list(few)
    scores = []
    for name in ("patient_002", "patient_003"):
        truth = read_labels(f"cohort/{name}/labels.nii.gz")
        handed = read_labels(f"group/{name}/labels.nii.gz", space=truth.space)
        found = dice(truth, handed)
        scores.append(np.nanmean([found[label] for label in (6, 7)]))
        sure = read(f"group/{name}/confidence.nii.gz").numpy()
        assert sure.min() >= 0 and sure.max() <= 1
    assert min(scores) > 0.4
    assert not any(Path("group", name, "labels.nii.gz").exists() for name in few)
    assert 0 < run["overlap"]["mean_dice"] < 1 and "liver" in run["overlap"]["dice"]


def test_those_without_labels_and_landmarks_get_them(homolog, cohort):
    Path("marks").mkdir()
    shutil.copy("cohort/patient_001/landmarks.mrk.json", "marks/patient_001.mrk.json")
    shutil.copy("cohort/patient_003/landmarks.mrk.json", "marks/patient_003.mrk.json")
    ended = homolog("group", *images(), "-o", "group", "--landmarks", "marks", *FLAGS)
    assert ended.code == 0 and "no landmarks of patient_000, patient_002" in ended.err
    handed = read_points("group/patient_000/landmarks.mrk.json")
    truth = read_points("cohort/patient_000/landmarks.mrk.json")
    shared = sorted(set(handed.name) & set(truth.name))
    apart = np.linalg.norm(handed.by_name(shared).position - truth.by_name(shared).position, axis=1)
    assert len(shared) > 8 and np.median(apart) < 40
    assert not Path("group/patient_001/landmarks.mrk.json").exists()


def test_landmarks_pair_with_images_by_name_whatever_the_order_of_their_files(cohort):
    Path("marks").mkdir()
    scans = [Path(f"scans/{name}.nii.gz") for name in ("b", "a", "c10", "c9")]
    for name in ("c9", "c10", "a"):
        Path(f"marks/{name}.mrk.json").touch()
    found = companions(named_patients(scans), Path("marks"), LANDMARKS)
    assert found == {name: Path(f"marks/{name}.mrk.json") for name in ("a", "c10", "c9")}


def test_landmarks_are_found_by_the_patients_folder(cohort):
    found = companions(named_patients(images()), Path("cohort"), LANDMARKS)
    assert found["patient_003"] == Path("cohort/patient_003/landmarks.mrk.json")
    found = companions(named_patients(images()), Path("cohort"), LABELS)
    assert found["patient_002"] == Path("cohort/patient_002/labels.nii.gz")


def test_a_file_that_fits_two_images_is_refused_with_their_names(cohort):
    Path("marks").mkdir()
    Path("marks/ct.mrk.json").touch()
    with pytest.raises(BadInput, match=r"ct.mrk.json fits 4 images: patient_000, patient_001"):
        companions(named_patients(images()), Path("marks"), LANDMARKS)


def test_two_files_for_one_image_are_refused_but_keypoints_have_an_order(cohort):
    Path("marks").mkdir()
    for ending in (".mrk.json", ".csv", ".npz"):
        Path(f"marks/patient_001{ending}").touch()
    with pytest.raises(BadInput, match=r"2 files in marks may be the landmarks of patient_001"):
        companions(named_patients(images()), Path("marks"), LANDMARKS)
    assert companions(named_patients(images()), Path("marks"), KEYPOINTS) == {
        "patient_001": Path("marks/patient_001.npz")
    }


# ---- keypoints that are there


def test_keypoints_of_files_make_the_maps_that_keypoints_looked_for_make(homolog, cohort):
    assert homolog("keypoints", *images(), "-o", "keys", "--sampling-mm", 2.5, "-n", 600, "--no-pictures").code == 0
    ended = homolog("group", *images(), "-o", "given", "--keypoints", "keys", "--levels", 1, "--spacing", 6)
    assert ended.code == 0, ended.err
    assert maps_of("given") == maps_of("group")
    Path("keys/patient_002_ct.npz").unlink()
    ended = homolog("group", *images(), "-o", "other", "--keypoints", "keys")
    assert ended.code == 2 and "no keypoints of patient_002" in ended.errors[0]


# ---- newcomers


def test_a_newcomer_is_placed_and_nobody_else_moves(homolog, cohort):
    before = maps_of("group")
    kept = {name: state for name, state in lasting(cohort / "group").items() if name.startswith(("patient_", "mean"))}
    ended = homolog("group", "--add", NEWCOMER, "--to", "group", "--landmarks", "cohort")
    assert ended.code == 0, ended.err
    run = run_of("group")
    (newcomer,) = run["newcomers"]
    assert newcomer["name"] == "patient_004" and newcomer["doubts"] == []
    after = maps_of("group")
    assert before.items() <= after.items() and len(after) == len(before) + 2
    assert kept.items() <= lasting(cohort / "group").items()
    there, back = (read_transform(f"group/patient_004/{file}") for file in MAPS)
    points = body_points(NEWCOMER.with_name("labels.nii.gz"))
    assert np.linalg.norm(back.apply(there.apply(points)) - points, axis=1).mean() < 0.1
    # as near to the others' landmarks as they are to each other, about
    assert newcomer["landmarks_mm"] < 2 * run["landmarks"]["end"]["centroid_mm"]
    again = lasting(cohort / "group")
    assert homolog("group", "--add", NEWCOMER, "--to", "group", "--landmarks", "cohort").code == 0
    assert lasting(cohort / "group") == again
    # the group's own command knows it still
    assert homolog("group", *images(), "-o", "group", *LANDMARKED).code == 0
    assert [one["name"] for one in run_of("group")["newcomers"]] == ["patient_004"]


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("--add cohort/patient_004/ct.nii.gz", "--add alone", "--to GROUP"),
        ("--to group", "--to alone", "--add NEW.nii.gz"),
        ("--add cohort/patient_004/ct.nii.gz --to cohort", "cohort holds no group", "homolog group VOLUME"),
        ("--add cohort/patient_002/ct.nii.gz --to group", "are the same image", "leave one of them out"),
        ("--add twin/ct.nii.gz --to group", "are the same image", "leave one of them out"),
        ("--add cohort/patient_004/ct.nii.gz --to group -o new", "--add places volumes in a finished", "leave one"),
        ("--add cohort/patient_009/ct.nii.gz --to group", "no such file", "check the path"),
    ],
)
def test_a_newcomer_that_cannot_be_placed_is_refused(homolog, cohort, words, said, hint):
    Path("twin").mkdir()
    shutil.copy(images()[1], "twin/ct.nii.gz")
    before = listing(cohort)
    ended = homolog("group", *words.split())
    assert ended.code == 2 and said in ended.errors[0] and hint in ended.hints[0]
    assert listing(cohort) == before


# ---- bad input

TWO = "cohort/patient_000/ct.nii.gz cohort/patient_001/ct.nii.gz"


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("-o new", "two volumes at least, 0 given", "homolog group scans"),
        ("cohort/patient_000/ct.nii.gz -o new", "two volumes at least, 1 given", "homolog group scans"),
        (f"{TWO} twin/ct.nii.gz -o new", "are the same image", "leave one of them out"),
        ("cohort/patient_000/ct.nii.gz cohort/patient_000/ct.nii.gz -o new", "is named twice", "name each volume once"),
        (f"{TWO} cohort/patient_00/ct.nii.gz -o new", "no such file", "check the path"),
        (f"{TWO} -o new --landmarks empty", "no file in empty is called as one of the images", "patient_000.mrk.json"),
        (f"{TWO} -o new --landmarks nowhere", "nowhere: no such folder", "patient_000.mrk.json"),
        (f"{TWO} -o new --masks some", "some holds no mask of patient_001", "some/patient_001.nii.gz"),
        (f"{TWO} -o new --labels cohort --labels-from patient_9", "no image is called patient_9", "patient_000"),
        (f"{TWO} -o new --engine dusk", "--engine dusk", "--engine tcp://"),
        (f"{TWO} -o new --shard 5/4 --only keypoints", "--shard 5/4", "--shard 1/4"),
        (f"{TWO} -o new --shard 1/4", "--shard is a part", "--only keypoints"),
        (f"{TWO} -o new --jobs 0", "--jobs is at least 1", "--jobs 1"),
        (f"{TWO} -o new --partners 1", "--partners is at least 2", "--partners 2"),
        (f"{TWO} -o new --spacing 0", "--spacing 0", "--spacing 2"),
        (f"{TWO} -o new --ratio 2", "2.0 times as far", ""),
        (f"{TWO} -o new --keypoints surf", "no method is called 'surf'", "--keypoints surf3d"),
        (f"{TWO} -o new --peak-threshold 0.2", "--peak-threshold is no option", "--keypoints sift3d"),
        (f"{TWO}", "no folder to write to", "-o"),
        (f"{TWO} -o cohort", "lies in cohort, where the group is written", "-o ANOTHER"),
        (f"{TWO} -o twin", "twin holds other files", "-o twin_2"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(homolog, cohort, words, said, hint):
    Path("twin").mkdir()
    shutil.copy(images()[1], "twin/ct.nii.gz")
    Path("empty").mkdir()
    Path("some").mkdir()
    shutil.copy("cohort/patient_000/labels.nii.gz", "some/patient_000.nii.gz")
    before = listing(cohort)
    ended = homolog("group", *words.split())
    assert (ended.code, len(ended.errors), len(ended.hints)) == (2, 1, 1)
    assert said in ended.errors[0] and hint in ended.hints[0]
    assert listing(cohort) == before


def test_a_volume_in_two_formats_is_the_same_image(homolog, cohort):
    Path("twin").mkdir()
    write(read(images()[1]), "twin/ct.nrrd")
    ended = homolog("group", *images(), "twin/ct.nrrd", "-o", "new", *LANDMARKED)
    assert ended.code == 2 and "patient_001" in ended.errors[0] and "twin/ct.nrrd are the same image" in ended.errors[0]


def test_landmarks_in_the_wrong_frame_are_refused_before_anything_is_computed(homolog, cohort):
    Path("marks").mkdir()
    points = read_points("cohort/patient_001/landmarks.mrk.json")
    turned = points.position * (-1, -1, 1) + (500, 0, 0)
    write_points(points.moved_to(turned, points.space), "marks/patient_001.mrk.json")
    ended = homolog("group", *images(), "-o", "new", "--landmarks", "marks", *FLAGS)
    assert ended.code == 2 and "fall outside" in ended.errors[0]
    assert not Path("new").exists()


# ---- regions


def test_the_region_whose_matches_lie_farthest_apart_is_the_worst():
    rng = np.random.default_rng(1)
    places = rng.uniform((-200, -100, 0), (200, 100, 300), (5000, 3))
    bad = np.linalg.norm(places - (100, 0, 200), axis=1) < 60
    found = worst_regions(places, np.where(bad, 9.0, 2.0))
    assert np.linalg.norm(np.array(found[0].centre_mm) - (100, 0, 200)) < 60
    assert found[0].residual_mm > found[-1].residual_mm >= 2.0
    assert worst_regions(places[:0], np.zeros(0)) == ()


def _wait_for(there, seconds=60.0):
    began = time.monotonic()
    while not there():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)


def test_a_full_disk_is_not_blamed_on_an_image(homolog, cohort, monkeypatch):
    kept = keypoint_files.write_keypoints
    written = []

    def fills_up(points, path):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "no space")
        written.append(path)
        kept(points, path)

    monkeypatch.setattr("homolog.io.keypoints.write_keypoints", fills_up)
    ended = homolog("group", *images(), "-o", "again", *LANDMARKED)
    assert ended.code == 2 and "no room left" in ended.errors[0] and "--skip" not in ended.err
    assert len(list(Path("again/store/keypoints").glob("*.npz"))) == 2 and not list(Path("again").rglob("*.part*"))
    monkeypatch.undo()
    monkeypatch.chdir(cohort)
    assert homolog("group", *images(), "-o", "again", *LANDMARKED).code == 0
    assert maps_of("again") == maps_of("group")
