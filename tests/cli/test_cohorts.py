"""`homolog patients`: whole patients or none, from wherever a drawing stopped, however many draw."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from homolog import read, read_points
from homolog.cli import cohorts
from homolog.cli.main import main
from homolog.io.files import writing
from tests.cli.conftest import listing

pytestmark = pytest.mark.slow

LINE = ("patients", "--spacing", 8, "--region", "abdomen")
FILES = {
    "ct.nii.gz", "labels.nii.gz", "labels.json", "landmarks.mrk.json", "canonical_from_patient.h5",
    "canonical_from_patient.h5.json", "made.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cohorts") / "two"
    assert main([str(word) for word in (*LINE, "-n", 2, "-o", folder)]) == 0
    return folder


@pytest.fixture
def cohort(two, tmp_path) -> Path:
    return Path(shutil.copytree(two, tmp_path / "cohort"))


def names(folder):
    return [one["name"] for one in json.loads((folder / "cohort.json").read_text())["patients"]]


def test_a_patient_is_all_its_files_and_the_labels_have_names(two):
    for name in names(two):
        assert {path.name for path in (two / name).iterdir()} == FILES
    assert json.loads((two / "patient_000" / "labels.json").read_text())["6"] == "liver"


def test_more_patients_are_added_and_those_that_are_there_stay(homolog, cohort):
    before = {name: state for name, state in listing(cohort).items() if name.startswith("patient_")}
    ended = homolog(*LINE, "-n", 1, "--first", 7, "-o", cohort)
    assert ended.code == 0
    assert names(cohort) == ["patient_000", "patient_001", "patient_007"]
    assert before.items() <= listing(cohort).items()
    again = homolog(*LINE, "-n", 2, "-o", cohort)
    assert "2 of 2 were there already" in again.err
    assert names(cohort) == ["patient_000", "patient_001", "patient_007"]


def test_several_processes_draw_the_same_patients(homolog, two, tmp_path):
    ended = homolog(*LINE, "-n", 2, "--jobs", 2, "-o", tmp_path / "both")
    assert ended.code == 0, ended.err
    assert names(tmp_path / "both") == names(two)
    for name in names(two):
        for file in ("ct.nii.gz", "labels.nii.gz"):
            np.testing.assert_array_equal(
                read(tmp_path / "both" / name / file).numpy(), read(two / name / file).numpy()
            )


def test_what_is_left_is_said_with_the_time_it_takes(homolog, cohort):
    shutil.rmtree(cohort / "patient_001")
    shutil.rmtree(cohort / "patient_000")
    lines = homolog(*LINE, "-n", 2, "-o", cohort).err.splitlines()
    drew = [line for line in lines if line.startswith("drew")]
    assert "(1 of 2, about " in drew[0] and drew[0].endswith(" s left)")
    assert drew[1].endswith("(2 of 2)")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(OSError(errno.ENOSPC, "no space"), 2, "no room left"), (KeyboardInterrupt(), 130, "interrupted")],
    ids=["a full disk", "an interrupt"],
)
def test_stopping_in_the_middle_of_a_patient_keeps_the_others_and_leaves_nothing_of_it(
    homolog, cohort, monkeypatch, error, code, said
):
    whole = {name: state for name, state in listing(cohort).items() if name.startswith("patient_")}
    write = cohorts.volumes.write

    def fails(volume, path, **options):
        if path.name != "labels.nii.gz":
            write(volume, path, **options)
            return
        with writing(path) as part:
            part.write_bytes(b"half")
            raise error

    with monkeypatch.context() as patched:
        patched.setattr(cohorts.volumes, "write", fails)
        ended = homolog(*LINE, "-n", 3, "-o", cohort)
    assert ended.code == code
    assert said in ended.err
    left = {name: state for name, state in listing(cohort).items() if name != "cohort.json"}
    assert left == whole
    assert not (cohort / "patient_002").exists()
    assert names(cohort) == ["patient_000", "patient_001"]
    # the same command goes on
    assert homolog(*LINE, "-n", 3, "-o", cohort).code == 0
    assert whole.items() <= listing(cohort).items()
    assert names(cohort) == ["patient_000", "patient_001", "patient_002"]


def test_a_crop_is_the_box_that_was_named(homolog, tmp_path):
    ended = homolog("patients", "-n", 1, "--spacing", 6, "--crop", -60, -60, 0, 60, 60, 90, "-o", tmp_path / "c")
    assert ended.code == 0, ended.err
    grid = read(tmp_path / "c" / "patient_000" / "ct.nii.gz").grid
    np.testing.assert_allclose(grid.bounds(0.5), [(-60, -60, 0), (60, 60, 90)], atol=1e-3)
    assert grid.contains(read_points(tmp_path / "c" / "patient_000" / "landmarks.mrk.json").position, 0.5).all()


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("-n", 0), "-n 0: at least one patient is wanted", "-n 3"),
        (("-n", -2), "-n -2", "-n 3"),
        (("--spacing", 0.1), "--spacing 0.1: patients are drawn on voxels from 0.4 to 10 mm", "--spacing 2.5"),
        (("--spacing", 20), "--spacing 20", "--spacing 2.5"),
        (("--spacing", "nan"), "--spacing nan", "--spacing 2.5"),
        (("--first", -1), "--first -1", "--first 0"),
        (("--jobs", 0), "--jobs is at least 1", "--jobs 1"),
        (("--region", "leg"), 'invalid value "leg"', "homolog patients --help"),
        (("--crop", 5000, 0, 0, 5100, 90, 90), "outside the body of 'patient_000'", "--region"),
        (("--crop", 60, 0, 0, -60, 90, 90), "the lowest corner comes first", "--crop"),
        (("--crop", 1, 2, 3), "--crop", "homolog patients --help"),
        (("--crop", -60, -60, 0, 60, 60, 90, "--region", "chest"), "--crop and --region", "leave one"),
        (("--tumours", -1), "tumours", "homolog patients --help"),
        (("-n", 100, "--spacing", 0.4, "--jobs", 100), "free", "--jobs 1"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(homolog, tmp_path, words, said, hint):
    ended = homolog("patients", *words, "-o", tmp_path / "new")
    assert ended.code == 2
    assert said in ended.errors[0]
    assert hint in ended.hints[0]
    assert not list(tmp_path.iterdir())


def test_a_folder_of_other_things_is_left_alone(homolog, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("all of it")
    before = listing(tmp_path)
    ended = homolog(*LINE, "-n", 1, "-o", tmp_path / "full")
    assert (ended.code, listing(tmp_path)) == (2, before)
    assert "holds other files (thesis.txt)" in ended.errors[0]
    ended = homolog(*LINE, "-n", 1, "-o", tmp_path / "full" / "thesis.txt")
    assert (ended.code, listing(tmp_path)) == (2, before)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--spacing", 4, "--region", "abdomen"), "spacing 8.0, not 4.0"),
        (("--spacing", 8, "--region", "chest"), "region abdomen, not chest"),
        ((*LINE[1:], "--modality", "mr"), "modality ct, not mr"),
    ],
    ids=["spacing", "region", "modality"],
)
def test_patients_of_another_kind_are_not_drawn_over_these(homolog, cohort, words, said):
    before = listing(cohort)
    ended = homolog("patients", *words, "-n", 2, "-o", cohort)
    assert (ended.code, listing(cohort)) == (2, before)
    assert said in ended.errors[0]
    assert f"-o {cohort}_2" in ended.hints[0]
