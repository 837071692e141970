"""The whole walk: patients drawn, two of them registered, evaluated, reported, run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from homolog import Volume, read, read_labels, read_points, read_transform, write, write_points
from homolog.cli import cohorts
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
    means = found["labels"]["mean"]
    assert means["dice"] > means["dice_before"]
    assert means["hd95_mm"] < means["hd95_mm_before"]
    assert found["labels"]["names"]["6"] == "liver"
    metrics = json.loads((run / "run.json").read_text())["metrics"]
    assert metrics["landmarks"]["after"]["mean_mm"] == pytest.approx(found["target_error_mm"]["after"]["mean"])
    page = (run / "report.html").read_text()
    assert "Dice" in page
    assert "liver" in page


def test_the_same_command_again_makes_nothing_anew(homolog, run_once, cohort):
    before = {p.name: p.stat().st_mtime_ns for p in run_once.iterdir() if p.suffix in (".h5", ".gz")}
    words = json.loads((run_once / "run.json").read_text())["command"][1:]
    assert homolog(*words).code == 0
    assert {name: (run_once / name).stat().st_mtime_ns for name in before} == before


def test_the_same_command_again_keeps_what_was_evaluated(homolog, cohort, run):
    homolog("evaluate", run, "--fixed-labels", cohort / "patient_000" / "labels.nii.gz")
    evaluated = json.loads((run / "run.json").read_text())
    words = [str(run) if Path(word).name == "run" else word for word in evaluated["command"][1:]]
    assert homolog(*words).code == 0
    again = json.loads((run / "run.json").read_text())
    assert "dice_after" in again["metrics"] and again["metrics"] == evaluated["metrics"]
    assert again["label_names"] == evaluated["label_names"]


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


def test_a_patient_registered_with_itself_stays_where_it_is(homolog, cohort, tmp_path):
    scan = cohort / "patient_000" / "ct.nii.gz"
    assert homolog("register", scan, scan, "-o", tmp_path / "run").code == 0
    found = read_transform(tmp_path / "run" / "moving_from_fixed.h5")
    corners = read(scan).grid.corners()
    # a fiftieth of a voxel
    assert np.abs(found.apply(corners) - corners).max() < 0.1


def test_a_window_is_asked_for_and_remembered(homolog, run, cohort):
    assert homolog("report", run, "--window", "bone").code == 0
    assert json.loads((run / "run.json").read_text())["window"]["fixed"] == [-450, 1050]
    homolog("evaluate", run, "--fixed-labels", cohort / "patient_000" / "labels.nii.gz")
    assert "greys from −450 to 1050" in (run / "report.html").read_text()
    assert homolog("report", run, "--window", "-200", "300").code == 0
    assert "greys from −200 to 300" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "hint"),
    [(("bonn",), "--window bone"), (("300", "200"), "--window -160 240"), (("1",), "--window"), (("1", "nan"), "")],
    ids=" ".join,
)
def test_a_window_that_is_none_is_refused(homolog, run, words, hint):
    before = listing(run)
    ended = homolog("report", run, "--window", *words)
    assert (ended.code, listing(run)) == (2, before)
    assert "--window" in ended.errors[0]
    assert hint in ended.hints[0]


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("{fixed} {folder}", "holds no DICOM file", "give the file:"),
        ("{fixed} {cohort}", "holds no DICOM file", "give the folder"),
        ("{fixed} {folder}/cd.nii.gz", "no such file", "did you mean"),
        ("{fixed} text.nii.gz", "is not a NIfTI file", "saved as NIfTI"),
        ("{fixed} {folder}/landmarks.mrk.json", "is no volume that can be read", ""),
        ("{fixed} {moving} --labels nowhere.nii.gz", "nowhere.nii.gz: no such file", ""),
        ("{fixed} {moving} --labels {other}/labels.nii.gz", "is it of that image?", "homolog apply identity"),
        ("{fixed} {moving} --mask-moving {other}/labels.nii.gz", "is it of that image?", "homolog apply identity"),
        ("{fixed} {moving} --points far.mrk.json", "fall outside", "check that the points"),
        ("{fixed} {moving} --points nowhere.csv", "nowhere.csv: no such file", ""),
        ("{fixed} {moving} --window bonn", "--window bonn", "--window bone"),
        ("{fixed} {moving} --method nonsense", "no method is called 'nonsense'", "--method linear"),
        ("{fixed} {moving} --start nowhere.h5", "nowhere.h5: no such file", ""),
        ("{fixed} {moving} --config nowhere.toml", "nowhere.toml: no such file", ""),
        ("{fixed}", "MOVING requires an argument", "homolog register --help"),
    ],
)
def test_a_registration_of_bad_input_is_refused_before_anything_is_written(
    homolog, cohort, tmp_path, monkeypatch, words, said, hint
):
    monkeypatch.chdir(tmp_path)
    other, folder = cohort / "patient_000", cohort / "patient_001"
    (tmp_path / "text.nii.gz").write_text("this is no volume\n")
    marks = read_points(folder / "landmarks.mrk.json")
    write_points(marks.moved_to(marks.position + (0, 0, 900), "far"), tmp_path / "far.mrk.json")
    places = {"fixed": other / "ct.nii.gz", "moving": folder / "ct.nii.gz", "cohort": cohort}
    before = listing(tmp_path)
    line = words.format(**places, folder=folder, other=other).split()
    ended = homolog("register", *line, "-o", "run")
    assert ended.code == 2, ended.err
    assert len(ended.errors) == len(ended.hints) == 1
    assert said in ended.errors[0]
    assert hint in ended.hints[0]
    assert listing(tmp_path) == before
    assert not (tmp_path / "run").exists()


def test_a_registration_stopped_before_its_first_note_goes_on(homolog, run_once, cohort, tmp_path):
    # the map is there, the ledger is not yet: as if the power had failed between the two
    begun = tmp_path / "run"
    begun.mkdir()
    shutil.copy(run_once / "moving_from_fixed.h5", begun)
    (begun / "fixed_from_moving.part.h5").write_bytes(b"half")
    pair = cohort / "patient_000" / "ct.nii.gz", cohort / "patient_001" / "ct.nii.gz"
    assert homolog("register", *pair, "-o", begun).code == 0
    assert (begun / "report.html").exists()


def test_a_demonstration_ends_as_its_commands_do(homolog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo" / "cohort").mkdir(parents=True)
    (tmp_path / "demo" / "cohort" / "thesis.txt").touch()
    ended = homolog("demo")
    assert ended.code == 2
    assert len(ended.errors) == 1
    assert "holds other files (thesis.txt)" in ended.errors[0]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cohorts, "drawn", interrupted)
    ended = homolog("demo", "-o", "other")
    assert (ended.code, ended.err.splitlines()[-1]) == (130, "interrupted")


def test_an_empty_mask_is_refused(homolog, cohort, tmp_path):
    labels = read_labels(cohort / "patient_000" / "labels.nii.gz")
    write(labels.with_data(np.zeros_like(labels.numpy())), tmp_path / "empty.nii.gz")
    pair = cohort / "patient_000" / "ct.nii.gz", cohort / "patient_001" / "ct.nii.gz"
    done = homolog("register", *pair, "--mask-fixed", tmp_path / "empty.nii.gz", "-o", tmp_path / "run")
    assert done.code == 2
    assert "mask" in done.errors[0]
