"""`homolog align`: the pose and its files, what is refused, and what is said."""

from __future__ import annotations

import csv
import json
from shutil import copytree

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from homolog import read, write, write_points
from homolog.cli import terminal
from homolog.cli.aligning import verdict_line
from homolog.io.cameras import read_cameras, write_cameras
from homolog.io.poses import read_pose
from homolog.io.xrays import write_xray
from homolog.space import se3
from homolog.space.camera_poses import PlacedCamera, from_carm
from homolog.space.keypoints import Keypoints
from homolog.synth.xray_film import film
from tests.cli.conftest import listing
from tests.xray_scenes import CAMERA, GRID, MIDDLE, SIDE, body, moved, placed, taken, write_study

LEVELS = ("--method", "gradient", "--sizes-px", "40", "80", "--spacings-mm", "5", "3")
LINE = ("align", "ct.nii.gz", "front.nii.gz", "--camera", "front_truth.json", "--start", "start.json", *LEVELS)


@pytest.fixture(scope="session")
def xray_study_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xrays")
    write_study(folder)
    return folder


@pytest.fixture
def xray_study(xray_study_once, tmp_path, monkeypatch):
    """A folder, which is also the current one: a body, two X-rays of it, and their cameras."""
    copytree(xray_study_once, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def run(xray_study, homolog):
    """A finished run of one X-ray."""
    ended = homolog(*LINE, "-o", "run")
    assert ended.code == 0, ended.err
    return ended


def target_mm(homolog, folder, truth):
    """The mean target error, as the command says it."""
    found = homolog("evaluate", folder, "--truth", truth, "--json")
    assert found.code == 0, found.err
    return found.json["runs"][0]["pose"]["target_mean_mm"]


# ---------------------------------------------------------------------------------------------------------------------
# The pose and its files


def test_the_pose_is_found_from_a_start_that_is_off(xray_study, homolog, run):
    assert target_mm(homolog, "run", "front_truth.json") < 1.5
    # the start is far outside of that
    assert np.linalg.norm(moved(placed()).camera_from_world - placed().camera_from_world) > 5


def test_the_matrices_in_the_file_mean_the_same(xray_study, run):
    stored = json.loads((xray_study / "run/pose.json").read_text())
    view = stored["views"][0]
    point = np.array((*MIDDLE + (12, -7, 20), 1.0))
    column, row, depth = np.array(view["pixels_from_patient"]) @ point
    whole = np.array(view["pixels_from_camera"]) @ (np.array(view["camera_from_patient"]) @ point)[:3]
    assert (column, row, depth) == pytest.approx(tuple(whole))
    pose = read_pose("run/pose.json")
    seen = pose.views[0].camera.project(point[None, :3], pose.views[0].camera_from_patient)[0]
    assert (column / depth, row / depth) == pytest.approx(tuple(seen))
    assert np.array(view["source_mm"]) == pytest.approx(se3.inverse(pose.views[0].camera_from_patient)[:3, 3])
    assert np.array(view["camera_from_rig"]) == pytest.approx(np.eye(4))
    assert "LPS" in stored["conventions"]["world"]


def test_other_commands_read_the_pose_as_cameras_in_the_patient(xray_study, run):
    placed_again = read_cameras("run/pose.json")
    assert [each.world for each in placed_again] == ["patient"]
    assert placed_again[0].camera_from_world == pytest.approx(read_pose("run/pose.json").views[0].camera_from_patient)


def test_every_file_that_the_record_names_is_there_and_can_be_read(xray_study, run):
    record = json.loads((xray_study / "run/run.json").read_text())
    assert run.out.strip() == "run/run.json"
    for name in record["outputs"].values():
        assert (xray_study / "run" / name).is_file()
    pictures = record["xrays"][0]["outputs"]
    assert set(pictures) == {"xray", "projection", "checkerboard", "edges", "start"}
    for name in pictures.values():
        shown = sitk.GetArrayFromImage(sitk.ReadImage(str(xray_study / "run" / name)))
        # small pictures are enlarged, by a whole number
        assert shown.shape[0] % 72 == 0
        assert shown.shape[:2] == tuple(shown.shape[0] // 72 * np.array(CAMERA.size_px))
        assert shown.std() > 5
    assert "http" not in (xray_study / "run/report.html").read_text().replace("http-equiv", "")


def test_the_trajectory_leads_from_the_start_to_the_pose(xray_study, run):
    with open("run/trajectory.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pose = read_pose("run/pose.json")

    def numbers(camera_from_patient):
        turn = np.degrees(se3.rotation_log(camera_from_patient[:3, :3]))
        return [*turn, *(camera_from_patient @ (*pose.pivot_mm, 1))[:3]]

    names = ("turn_x_deg", "turn_y_deg", "turn_z_deg", "x_mm", "y_mm", "z_mm")
    told = [[float(row[name]) for name in names] for row in rows]
    assert told[0] == pytest.approx(numbers(moved(placed()).camera_from_world), abs=1e-4)
    assert told[-1] == pytest.approx(numbers(pose.views[0].camera_from_patient), abs=1e-4)


def test_the_last_line_is_the_verdict(run):
    assert run.err.splitlines()[-1].startswith(("verdict  GOOD", "verdict  CHECK"))


def test_what_was_taken_for_granted_is_said(run):
    assert "ct: the volume's values are Hounsfield units" in run.err
    assert "start: from start.json" in run.err
    assert any(line.startswith("front: ") for line in run.err.splitlines())


def test_a_failed_pose_says_so_loudly_and_why():
    quality = {"verdict": "FAILED", "why": "nothing is seen", "turn_degrees": None, "shift_mm": None}
    assert verdict_line({"quality": quality}) == "verdict  FAILED: do not use this pose: nothing is seen"
    assert "CHECK" in verdict_line({"quality": {**quality, "verdict": "CHECK"}})


# ---------------------------------------------------------------------------------------------------------------------
# Again


def test_the_same_command_again_redoes_only_what_is_missing(xray_study, homolog, run):
    before = listing(xray_study / "run")
    (xray_study / "run/front_edges.png").unlink()
    assert homolog(*LINE, "-o", "run").code == 0
    after = listing(xray_study / "run")
    assert set(after) == set(before)
    assert all(after[name] == before[name] for name in ("pose.json", "trajectory.csv"))


def test_the_page_is_made_anew_and_the_run_done_again(xray_study, homolog, run):
    page = (xray_study / "run/report.html").read_text()
    (xray_study / "run/report.html").unlink()
    assert homolog("report", "run").out.strip() == "run/report.html"
    assert (xray_study / "run/report.html").read_text() == page
    assert homolog("rerun", "run", "-o", "again").code == 0
    assert (xray_study / "again/pose.json").read_bytes() == (xray_study / "run/pose.json").read_bytes()
    write_xray(xray_study / "front.nii.gz", taken(placed(), seed=1))
    ended = homolog("rerun", "run", "-o", "third")
    assert ended.code == 2
    assert "is not an X-ray of the run: it has changed" in ended.errors[0]


def test_other_options_are_refused_in_the_folder_until_they_are_forced(xray_study, homolog, run):
    before = listing(xray_study)
    other = [word if word != "80" else "60" for word in LINE]
    ended = homolog(*other, "-o", "run")
    assert (ended.code, listing(xray_study)) == (2, before)
    assert "run holds another run" in ended.errors[0]
    assert "--force" in ended.hints[0]
    assert homolog(*other, "-o", "run", "--force").code == 0
    assert listing(xray_study)["run/pose.json"] != before["run/pose.json"]


def test_what_is_interrupted_goes_on_where_it_stopped(xray_study, homolog, monkeypatch):
    told = terminal.Progress.on_step

    def interrupted(self, stage, fraction, energy=None):
        if stage == "pictures":
            raise KeyboardInterrupt
        told(self, stage, fraction, energy)

    with monkeypatch.context() as patch:
        patch.setattr(terminal.Progress, "on_step", interrupted)
        assert homolog(*LINE, "-o", "run").code == 130
    left = listing(xray_study / "run")
    assert set(left) == {"made.json", "pose.json", "trajectory.csv"}
    assert homolog(*LINE, "-o", "run").code == 0
    assert listing(xray_study / "run")["pose.json"] == left["pose.json"]


# ---------------------------------------------------------------------------------------------------------------------
# X-rays as they come


def test_a_picture_seen_from_the_detector_gives_the_mirrored_pose(xray_study, homolog, run):
    write_xray(xray_study / "mirrored.nii.gz", np.ascontiguousarray(taken(placed())[:, ::-1]))
    write_cameras("mirrored.json", [placed("mirrored").flipped()])
    write_cameras("mirrored_start.json", [moved(placed("mirrored")).flipped()])
    line = ("align", "ct.nii.gz", "mirrored.nii.gz", "--camera", "mirrored.json", "--start", "mirrored_start.json")
    ended = homolog(*line, *LEVELS, "-o", "other")
    assert ended.code == 0, ended.err
    one, other = read_pose("run/pose.json"), read_pose("other/pose.json")
    assert other.rig_from_patient == pytest.approx(one.rig_from_patient, abs=1e-6)
    assert np.linalg.det(other.views[0].camera_from_patient[:3, :3]) == pytest.approx(-1)
    assert target_mm(homolog, "other", "mirrored.json") == pytest.approx(target_mm(homolog, "run", "front_truth.json"))
    # its pictures are shown as the file shows them
    names = ("run/front_projection.png", "other/mirrored_projection.png")
    first, second = (sitk.GetArrayFromImage(sitk.ReadImage(name)) for name in names)
    assert np.array_equal(first[:, ::-1], second)


def test_two_x_rays_are_aligned_as_one_body(xray_study, homolog):
    rig_from_patient = se3.inverse(placed().camera_from_world) @ moved(placed()).camera_from_world
    both = [view.replaced(camera_from_world=view.camera_from_world @ rig_from_patient) for view in (placed(), SIDE)]
    write_cameras("both_start.json", both)
    line = ("align", "ct.nii.gz", "front.nii.gz", "side.nii.gz", "--camera", "truth.json", "--start", "both_start.json")
    ended = homolog(*line, *LEVELS, "-o", "both")
    assert ended.code == 0, ended.err
    assert target_mm(homolog, "both", "truth.json") < 0.5
    pose = read_pose("both/pose.json")
    assert [view.name for view in pose.views] == ["front", "side"]
    assert pose.views[1].camera_from_rig == pytest.approx(SIDE.camera_from_world)


def test_greys_for_eyes_are_never_good_from_one_side(xray_study, homolog):
    for view in (placed(), SIDE):
        greys = np.rint(255 * film(taken(view))).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(greys), f"{view.name}.png")
    line = ("align", "ct.nii.gz", "front.png", "--camera", "front_truth.json", "--start", "start.json", *LEVELS)
    ended = homolog(*line, "-o", "greys")
    assert ended.code == 0, ended.err
    assert "verdict  CHECK" in ended.err
    assert "nothing says how its greys follow attenuation" in ended.err
    ended = homolog("align", "ct.nii.gz", "front.png", "side.png", "--camera", "truth.json", *LEVELS, "-o", "both")
    assert ended.code == 0, ended.err
    # another X-ray from the side sees the depth
    assert "nothing says how its greys follow attenuation" not in ended.err


def test_a_wrong_photometric_interpretation_is_never_good(xray_study, homolog):
    write_xray(xray_study / "front.dcm", taken(placed()), CAMERA)
    header = pydicom.dcmread("front.dcm")
    header.PixelIntensityRelationshipSign = 1
    header.save_as("front.dcm")
    line = ("align", "ct.nii.gz", "front.dcm", "--camera", "front_truth.json", "--start", "start.json", *LEVELS)
    ended = homolog(*line, "-o", "wrong")
    assert ended.code == 0, ended.err
    assert "PixelIntensityRelationshipSign is +1" in ended.err
    assert "verdict  GOOD" not in ended.err


def test_numbers_that_may_be_no_attenuation_are_never_good_from_one_side(xray_study, homolog):
    ct = read("ct.nii.gz")
    write(ct.with_data(np.maximum(ct.numpy() + 1000, 0)), "mr.nii.gz")
    line = ("mr.nii.gz" if word == "ct.nii.gz" else word for word in LINE)
    ended = homolog(*line, "-o", "guessed")
    assert "nothing says that the volume's numbers grow with attenuation" in ended.err.splitlines()[-1]


def test_landmarks_in_both_are_a_start(xray_study, homolog):
    marks = MIDDLE + np.random.default_rng(2).uniform(-35, 35, (7, 3))
    write_points(Keypoints(marks, "ct", name=tuple("abcdefg")), "marks.mrk.json")
    view = read_cameras("rig.json")[0]
    pixels = placed().project(marks)
    lines = [f"{name},{column:.3f},{row:.3f}" for name, (column, row) in zip("abcdefg", pixels)]
    (xray_study / "marks.csv").write_text("\n".join(["name,column,row", *lines]))
    write_cameras("alone.json", [view])
    line = ("align", "ct.nii.gz", "front.nii.gz", "--camera", "alone.json", *LEVELS)
    ended = homolog(*line, "--landmarks", "marks.mrk.json", "--landmarks-px", "marks.csv", "-o", "marked")
    assert ended.code == 0, ended.err
    assert "start: from landmarks" in ended.err
    assert target_mm(homolog, "marked", "front_truth.json") < 1.5


def test_a_c_arms_header_is_camera_and_start(xray_study, homolog):
    # the arm turns about a point some mm beside the body's middle, which no header says
    carm = from_carm(25.0, -10.0, source_isocentre_mm=675.0, isocentre_mm=MIDDLE + (6, -4, 5))
    camera = PlacedCamera(CAMERA, carm, "carm")
    write_cameras("carm_truth.json", [camera])
    write_xray(xray_study / "carm.dcm", taken(camera), CAMERA, carm)
    ended = homolog("align", "ct.nii.gz", "carm.dcm", *LEVELS, "-o", "carm")
    assert ended.code == 0, ended.err
    assert "start: from the cameras' own poses" in ended.err
    assert target_mm(homolog, "carm", "carm_truth.json") < 1.5


def test_a_mask_says_what_is_looked_for(xray_study, homolog):
    line = [word if word != "start.json" else "front_truth.json" for word in LINE]
    ended = homolog(*line, "--volume-mask", "mask.nii.gz", "--labels", "1", "-o", "bone")
    assert ended.code == 0, ended.err
    inside = np.argwhere(body().numpy() > 200)
    box = GRID.cropped(inside.min(axis=0), inside.max(axis=0) + 1).corners()
    assert read_pose("bone/pose.json").body_mm == pytest.approx(box, abs=1e-3)
    # what is not the bone is not projected
    shown = [sitk.GetArrayFromImage(sitk.ReadImage(f"bone/front_{kind}.png")) > 20 for kind in ("xray", "projection")]
    assert shown[1].sum() < shown[0].sum() / 2


# ---------------------------------------------------------------------------------------------------------------------
# Measuring


def test_the_true_poses_figures_are_shown_and_kept(xray_study, homolog, run):
    ended = homolog("evaluate", "run", "--truth", "front_truth.json", "-o", "errors.json")
    assert ended.code == 0
    assert "target error, mean, mm" in ended.out
    assert "double geodesic, mm" in ended.out
    kept = json.loads((xray_study / "run/run.json").read_text())["metrics"]["pose"]
    assert json.loads((xray_study / "errors.json").read_text())["runs"][0]["pose"] == kept
    assert "Held against the truth" in (xray_study / "run/report.html").read_text()
    # another look at the same run keeps them
    assert homolog(*LINE, "-o", "run").code == 0
    assert json.loads((xray_study / "run/run.json").read_text())["metrics"]["pose"] == kept


def test_many_runs_have_rates(xray_study, homolog, run):
    copytree("run", "lost")
    stored = json.loads((xray_study / "lost/pose.json").read_text())
    stored["views"][0]["camera_from_patient"][2][3] += 40
    (xray_study / "lost/pose.json").write_text(json.dumps(stored))
    facts = homolog("evaluate", "run", "lost", "--truth", "front_truth.json", "--json").json
    assert facts["rates"]["count"] == 2
    assert facts["rates"]["within_mm"]["10"] == 0.5
    assert facts["rates"]["gross"] == 1
    table = homolog("evaluate", "run", "lost").out
    assert "target error within 1 mm" in table
    assert "beyond 10 mm and called GOOD" in table


def test_landmarks_are_where_errors_are_measured_if_they_are_named(xray_study, homolog, run):
    write_points(Keypoints(MIDDLE[None], "ct", name=("middle",)), "middle.mrk.json")
    line = ("evaluate", "run", "--truth", "front_truth.json", "--landmarks", "middle.mrk.json", "--json")
    found = homolog(*line).json["runs"][0]["pose"]
    assert found["points"] == 1
    assert found["target_mean_mm"] == found["target_max_mm"]


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def refused(homolog, study, *words):
    before = listing(study)
    ended = homolog(*words)
    assert ended.code == 2, ended.err
    assert len(ended.errors) == len(ended.hints) == 1, ended.err
    assert listing(study) == before
    return ended.errors[0], ended.hints[0]


PLAIN = ("align", "ct.nii.gz", "front.nii.gz")


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("align", "ct.nii.gz"), "no X-ray is named", "homolog align CT XRAY"),
        (PLAIN, "nothing says with which camera", "--focal-mm 1000"),
        ((*PLAIN, "--pitch-mm", "2"), "how far the source was from the detector", "--focal-mm 1000 --pitch-mm 2"),
        ((*PLAIN, "--focal-mm", "0", "--pitch-mm", "2"), "--focal-mm is positive, got 0", "--focal-mm 1000"),
        ((*PLAIN, "front.nii.gz", "--camera", "truth.json"), "front.nii.gz is named twice", "each X-ray once"),
        ((*PLAIN, "--camera", "front_truth.json", "--frame", "7"), "no frame 7", ""),
        (("align", "cc.nii.gz", "front.nii.gz"), "cc.nii.gz: no such file", "did you mean ct.nii.gz?"),
        (("align", "ct.nii.gz", "frnt.nii.gz"), "frnt.nii.gz: no such file", "did you mean front.nii.gz?"),
        ((*PLAIN, "--camera", "truth.json", "front_truth.json"), "3 cameras for 1 X-rays", "in the order"),
        ((*PLAIN, "--camera", "rig.json", "--start", "header"), "'calibration'", "--start grid"),
        ((*PLAIN, "--camera", "front_truth.json", "--start", "rig.json"), "not in the patient", "--start grid"),
        ((*PLAIN, "--camera", "front_truth.json", "--start", "landmarks"), "needs those of the volume", "--landmarks"),
        ((*PLAIN, "--camera", "front_truth.json", "--labels", "1"), "--labels are of --volume-mask", "--volume-mask"),
        (
            (*PLAIN, "--camera", "front_truth.json", "--volume-mask", "mask.nii.gz", "--labels", "7"),
            "has nothing of labels (7,)",
            "",
        ),
        ((*PLAIN, "--camera", "front_truth.json", "--floor", "3000"), "attenuates", ""),
        ((*PLAIN, "--camera", "front_truth.json", "--mask", "a.png", "b.png"), "2 masks are named for 1", "--mask"),
        (
            ("align", "ct.nii.gz", "front.nii.gz", "side.nii.gz", "--focal-mm", "900", "--pitch-mm", "2"),
            "where the camera of",
            "align each X-ray alone",
        ),
    ],
    ids=lambda value: " ".join(value[3:]) if isinstance(value, tuple) else "",
)
def test_what_cannot_work_is_refused_before_anything_is_written(words, said, hint, xray_study, homolog):
    error, way_out = refused(homolog, xray_study, *words, "-o", "out")
    assert said in error
    assert hint in way_out


def test_an_x_ray_of_another_size_than_its_camera_is_refused(xray_study, homolog):
    write_cameras("large.json", [placed().replaced(camera=CAMERA.resized((144, 160)))])
    error, hint = refused(homolog, xray_study, *PLAIN, "--camera", "large.json", "-o", "out")
    assert "(72, 80)" in error
    assert "(144, 160)" in error
    assert "camera" in hint


@pytest.mark.parametrize(
    ("shift", "where"), [((0, 0, -2000), "behind the source"), ((3000, 0, 0), "in front of the source, beside it")]
)
def test_a_start_at_which_nothing_is_seen_is_refused(shift, where, xray_study, homolog):
    write_cameras("far.json", [moved(placed(), (0, 0, 0, *shift))])
    words = (*PLAIN, "--camera", "front_truth.json", "--start", "far.json", "-o", "out")
    error, hint = refused(homolog, xray_study, *words)
    assert where in error
    assert "--start grid" in hint


def test_a_scan_is_not_taken_for_a_label_map(xray_study, homolog):
    write(read("ct.nii.gz"), "rounded.nii.gz", "int16")
    for name, said in (("ct.nii.gz", "labels are whole numbers"), ("rounded.nii.gz", "so it is no label map")):
        words = (*PLAIN, "--camera", "front_truth.json", "--volume-mask", name, "-o", "out")
        assert said in refused(homolog, xray_study, *words)[0]


def test_what_is_no_x_ray_is_refused(xray_study, homolog):
    (xray_study / "empty.png").touch()
    sitk.WriteImage(
        sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 255, (72, 80, 3), np.uint8), True), "c.png"
    )
    for name in ("empty.png", "c.png", "ct.nii.gz"):
        error, _ = refused(homolog, xray_study, "align", "ct.nii.gz", name, "--camera", "front_truth.json", "-o", "out")
        assert name in error


def test_a_start_of_the_mirrored_picture_is_noticed(xray_study, homolog):
    write_cameras("flipped.json", [moved(placed()).flipped()])
    words = (*PLAIN, "--camera", "front_truth.json", "--start", "flipped.json", "-o", "out")
    error, _ = refused(homolog, xray_study, *words)
    assert "mirrored" in error


def test_a_folder_of_something_else_and_a_file_in_the_way_are_refused(xray_study, homolog):
    (xray_study / "mine").mkdir()
    (xray_study / "mine/diary.txt").write_text("dear diary")
    assert "diary.txt" in refused(homolog, xray_study, *LINE, "-o", "mine")[0]
    assert "is a file" in refused(homolog, xray_study, *LINE, "-o", "ct.nii.gz")[0]


def test_poses_are_not_held_against_what_is_none(xray_study, homolog, run):
    assert "held against no true pose yet" in refused(homolog, xray_study, "evaluate", "run")[0]
    assert "not in the patient" in refused(homolog, xray_study, "evaluate", "run", "--truth", "rig.json")[0]
    assert "holds no run of homolog align" in refused(homolog, xray_study, "evaluate", "run", "ct.nii.gz")[0]
