"""The whole walk: patients drawn, two of them registered, evaluated, reported, run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from homolog import Volume, read, read_labels, read_points, read_transform, write
from homolog.cli.main import main
from tests.cli.conftest import listing

pytestmark = pytest.mark.slow

SPACING = "5"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("walk") / "cohort"
    assert main(["patients", "-n", "2", "--spacing", SPACING, "--region", "abdomen", "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def run_once(cohort) -> Path:
    folder = cohort.parent / "run"
    fixed, moving = cohort / "patient_000", cohort / "patient_001"
    words = ["register", fixed / "ct.nii.gz", moving / "ct.nii.gz", "--labels", moving / "labels.nii.gz"]
    words += ["--points", moving / "landmarks.mrk.json", "-o", folder]
    assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def run(run_once, tmp_path) -> Path:
    return Path(shutil.copytree(run_once, tmp_path / "run"))


def test_a_cohort_is_listed_with_its_truth(cohort):
    listed = json.loads((cohort / "cohort.json").read_text())
    assert [p["name"] for p in listed["patients"]] == ["patient_000", "patient_001"]
    folder = cohort / "patient_000"
    scan, labels = read(folder / "ct.nii.gz"), read_labels(folder / "labels.nii.gz")
    assert scan.grid.same_as(labels.grid)
    assert {str(n) for n in np.unique(labels.numpy()) if n} <= set(listed["structures"])
    canonical = [read_transform(cohort / p / "canonical_from_patient.h5") for p in ("patient_000", "patient_001")]
    marks = [read_points(cohort / p / "landmarks.mrk.json") for p in ("patient_000", "patient_001")]
    shared = [name for name in marks[0].name if name in marks[1].name]
    assert len(shared) > 20
    there = [t.apply(m.by_name(shared).position) for t, m in zip(canonical, marks)]
    np.testing.assert_allclose(there[0], there[1], atol=0.2)
    assert canonical[0].fixed == "patient_000"
    assert canonical[0].moving == "canonical"


def test_an_interrupted_cohort_goes_on(homolog, cohort, tmp_path):
    part = Path(shutil.copytree(cohort, tmp_path / "cohort"))
    shutil.rmtree(part / "patient_001")
    whole = (part / "patient_000" / "ct.nii.gz").stat().st_mtime_ns
    done = homolog("patients", "-n", 2, "--spacing", SPACING, "--region", "abdomen", "-o", part)
    assert done.code == 0
    assert "patient_001" in done.err
    assert "drew" not in done.err.replace("patient_001", "", 1) or "patient_000" not in done.err
    assert (part / "patient_000" / "ct.nii.gz").stat().st_mtime_ns == whole
    for name in ("ct.nii.gz", "labels.nii.gz"):
        again, before = (folder / "patient_001" / name for folder in (part, cohort))
        np.testing.assert_array_equal(read(again).numpy(), read(before).numpy())


def test_a_run_leaves_all_that_it_promised(run):
    for name in ("moving_from_fixed.h5", "fixed_from_moving.h5"):
        assert (run / name).exists()
        assert (run / f"{name}.json").exists()
    record = json.loads((run / "run.json").read_text())
    assert record["quality"]["similarity_after"] > record["quality"]["similarity_before"]
    assert not record["quality"]["poor"]
    assert "<html" in (run / "report.html").read_text().lower()
    fixed = read(record["fixed"]["path"])
    for name in ("warped.nii.gz", "labels_warped.nii.gz"):
        assert read(run / name).grid.same_as(fixed.grid)


def test_evaluating_a_run_finds_it_better_than_before(homolog, run, cohort):
    fixed = cohort / "patient_000"
    labels, points = fixed / "labels.nii.gz", fixed / "landmarks.mrk.json"
    done = homolog("evaluate", run, "--fixed-labels", labels, "--fixed-points", points, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["target_error_mm"]["after"]["mean"] < 0.7 * found["target_error_mm"]["before"]["mean"]
    assert found["labels"]["mean"]["dice"] > found["labels"]["mean"]["dice_before"]
    metrics = json.loads((run / "run.json").read_text())["metrics"]
    assert metrics["landmarks"]["after"]["mean_mm"] == pytest.approx(found["target_error_mm"]["after"]["mean"])
    assert "Dice" in (run / "report.html").read_text()


def test_the_same_command_again_makes_nothing_anew(homolog, run_once, cohort):
    before = {p.name: p.stat().st_mtime_ns for p in run_once.iterdir() if p.suffix in (".h5", ".gz")}
    words = json.loads((run_once / "run.json").read_text())["command"][1:]
    assert homolog(*words).code == 0
    assert {name: (run_once / name).stat().st_mtime_ns for name in before} == before


def test_what_is_missing_is_made_again_with_the_same_bytes(homolog, run_once):
    words = json.loads((run_once / "run.json").read_text())["command"][1:]
    kept = (run_once / "warped.nii.gz").read_bytes()
    (run_once / "warped.nii.gz").unlink()
    assert homolog(*words).code == 0
    assert (run_once / "warped.nii.gz").read_bytes() == kept


def test_a_rerun_elsewhere_gives_the_same_bytes(homolog, run_once, tmp_path):
    done = homolog("rerun", run_once / "run.json", "-o", tmp_path / "again")
    assert done.code == 0, done.err
    for name in ("moving_from_fixed.h5", "warped.nii.gz", "labels_warped.nii.gz"):
        assert (tmp_path / "again" / name).read_bytes() == (run_once / name).read_bytes()


def test_another_registration_does_not_overwrite_this_one(homolog, run, cohort):
    before = listing(run)
    pair = cohort / "patient_001" / "ct.nii.gz", cohort / "patient_000" / "ct.nii.gz"
    done = homolog("register", *pair, "-o", run)
    assert done.code == 2
    assert "holds another registration" in done.errors[0]
    assert "--force" in done.hints[0]
    assert listing(run) == before


def test_the_wrong_anatomy_is_called_poor_and_not_passed_over(homolog, cohort, tmp_path):
    scan = read(cohort / "patient_000" / "ct.nii.gz")
    noise = np.random.default_rng(0).normal(0, 200, scan.grid.shape).astype(np.float32)
    write(Volume(noise, scan.grid, "noise"), tmp_path / "noise.nii.gz")
    done = homolog("register", cohort / "patient_000" / "ct.nii.gz", tmp_path / "noise.nii.gz", "-o", tmp_path / "out")
    assert done.code in (0, 2)
    assert "POOR" in done.err or done.errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["patients", "-n", "0", "-o", "new"], "at least one patient"),
        (["patients", "--spacing", "0.1", "-o", "new"], "0.1"),
        (["patients", "--spacing", "20", "-o", "new"], "20"),
        (["report", "nowhere"], "nowhere"),
        (["rerun", "nowhere"], "nowhere"),
        (["evaluate", "nowhere", "--fixed-labels", "x.nii.gz"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(homolog, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    done = homolog(*words)
    assert done.code == 2
    assert said in done.errors[0]
    assert len(done.hints) == 1
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_an_empty_mask_is_refused(homolog, cohort, tmp_path):
    labels = read_labels(cohort / "patient_000" / "labels.nii.gz")
    write(labels.with_data(np.zeros_like(labels.numpy())), tmp_path / "empty.nii.gz")
    pair = cohort / "patient_000" / "ct.nii.gz", cohort / "patient_001" / "ct.nii.gz"
    done = homolog("register", *pair, "--mask-fixed", tmp_path / "empty.nii.gz", "-o", tmp_path / "run")
    assert done.code == 2
    assert "mask" in done.errors[0]
