"""Cameras from X-rays' headers: a bead in the patient is found where the header's camera projects it."""

from __future__ import annotations

import numpy as np
import pytest

from homolog.errors import BadInput
from homolog.io.xray_turns import EVERY_TURN
from homolog.io.xrays import camera_of_dicom, read_xray
from homolog.space.camera import Camera
from tests.io import xray_files
from tests.io.xray_files import PITCH_MM, SIZE, carm, enhanced_carm, rt_image, saved, xray_header

BEAD_MM = np.array((6.0, -9.0, 7.0))
FOCAL_MM, DEPTH_MM = 1200.0, 780.0


def detector_side(primary_degrees, secondary_degrees):
    """Unit, LPS: from the isocentre to the detector, by the words of the standard: + is left, + is to the head."""
    primary, secondary = np.radians((primary_degrees, secondary_degrees))
    return np.array((np.sin(primary) * np.cos(secondary), -np.cos(primary) * np.cos(secondary), np.sin(secondary)))


def with_bead(column, row):
    """Counts with one dark pixel where the bead throws its shadow."""
    stored = np.full(SIZE, 3000, np.uint16)
    stored[round(row), round(column)] = 30
    return stored


def facing_the_patient(primary_degrees, secondary_degrees):
    """(column, row) of the bead as an observer at the detector sees it, the head up, worked out by hand."""
    towards = detector_side(primary_degrees, secondary_degrees)
    right = np.cross(-towards, (0, 0, 1))
    right /= np.linalg.norm(right)
    down = np.cross(-towards, right)
    scale = FOCAL_MM / (DEPTH_MM + BEAD_MM @ towards)
    column = (SIZE[1] - 1) / 2 + scale * (BEAD_MM @ right) / PITCH_MM[1]
    row = (SIZE[0] - 1) / 2 + scale * (BEAD_MM @ down) / PITCH_MM[0]
    return column, row


def assert_bead_is_where_it_is_projected(xray, bead_mm=BEAD_MM):
    column, row = xray.camera.project(bead_mm[None], xray.camera_from_world)[0]
    seen_row, seen_column = np.unravel_index(np.argmax(xray.data), xray.data.shape)
    assert (seen_column, seen_row) == (round(column), round(row))


@pytest.mark.parametrize(("primary", "secondary", "letters"), [
    (0, 0, ["L", "F"]), (-25, 10, ["LA", "FA"]), (40, -20, ["LP", "FP"]), (90, 0, ["P", "F"]), (-88, 25, ["A", "FR"]),
])  # fmt: skip
def test_a_picture_seen_from_the_detector_is_mirrored_to_the_sources_side(tmp_path, primary, secondary, letters):
    stored = with_bead(*facing_the_patient(primary, secondary))
    header = carm(
        stored, PositionerPrimaryAngle=primary, PositionerSecondaryAngle=secondary, PatientOrientation=letters
    )
    xray = read_xray(saved(header, tmp_path))
    assert np.linalg.det(xray.camera_from_world[:3, :3]) == pytest.approx(1)
    assert xray.turned == "mirrored left-right"
    assert any("mirrored left-right" in said for said in xray.assumed)
    assert_bead_is_where_it_is_projected(xray)


def test_a_picture_that_says_it_is_seen_from_the_source_is_left_as_it_is(tmp_path):
    stored = with_bead(*facing_the_patient(-25, 10))[:, ::-1]
    xray = read_xray(saved(carm(stored, PatientOrientation=["RP", "FA"]), tmp_path))
    assert xray.turned == ""
    assert_bead_is_where_it_is_projected(xray)


def test_a_picture_turned_on_its_side_is_turned_back(tmp_path):
    stored = np.rot90(with_bead(*facing_the_patient(0, 0))).copy()
    header = carm(
        stored, PositionerPrimaryAngle=0, PositionerSecondaryAngle=0, PatientOrientation=["F", "R"],
        ImagerPixelSpacing=[str(p) for p in PITCH_MM[::-1]],
    )  # fmt: skip
    xray = read_xray(saved(header, tmp_path))
    assert xray.data.shape == SIZE
    assert_bead_is_where_it_is_projected(xray)


def test_a_c_arm_that_does_not_say_its_sides_is_taken_as_shown_and_warned_of(tmp_path):
    stored = with_bead(*facing_the_patient(-25, 10))
    xray = read_xray(saved(carm(stored, PatientOrientation=None), tmp_path))
    assert_bead_is_where_it_is_projected(xray)
    assert any("where its edges lie" in said for said in xray.warnings)


def test_mirroring_can_be_overruled(tmp_path):
    path = saved(carm(with_bead(*facing_the_patient(-25, 10))), tmp_path)
    by_header, as_stored = read_xray(path), read_xray(path, mirror=False)
    assert as_stored.turned == ""
    np.testing.assert_array_equal(as_stored.data[:, ::-1], by_header.data)
    np.testing.assert_array_equal(read_xray(path, mirror=True).data, by_header.data)


def test_the_camera_of_the_stored_picture_projects_into_the_stored_picture():
    column, row = facing_the_patient(-25, 10)
    placed = camera_of_dicom(carm(with_bead(column, row)))
    np.testing.assert_allclose(placed.camera.project(BEAD_MM[None], placed.camera_from_world)[0], (column, row))
    assert np.linalg.det(placed.camera_from_world[:3, :3]) == pytest.approx(-1)


def test_frames_of_an_enhanced_run_each_have_their_angle(tmp_path):
    angles = (-30.0, 0.0, 20.0)
    stored = np.stack([with_bead(*facing_the_patient(angle, 10)) for angle in angles])
    header = enhanced_carm(stored, angles)
    header.PatientOrientation = ["L", "F"]
    path = saved(header, tmp_path)
    for number in (1, 2, 3):
        xray = read_xray(path, frame=number)
        assert xray.frames == 3
        assert_bead_is_where_it_is_projected(xray)


@pytest.mark.parametrize("increment", ["20", ["0", "20", "40"]])
def test_increments_are_a_step_or_each_frames_offset(tmp_path, increment):
    stored = np.stack([with_bead(*facing_the_patient(angle, 10)) for angle in (-20, 0, 20)])
    header = carm(
        stored, PositionerPrimaryAngle="-20", PositionerPrimaryAngleIncrement=increment, PositionerMotion="DYNAMIC",
        PatientOrientation=["L", "F"],
    )  # fmt: skip
    assert_bead_is_where_it_is_projected(read_xray(saved(header, tmp_path), frame=3))


@pytest.mark.parametrize("frame", [None, 0, 4])
def test_a_frame_must_be_said_and_must_be_there(tmp_path, frame):
    path = saved(carm(np.stack([with_bead(9, 9)] * 3)), tmp_path)
    with pytest.raises(BadInput, match="3 frames"):
        read_xray(path, frame=frame)


def test_the_detectors_pitch_is_taken_and_not_the_patients(tmp_path):
    xray = read_xray(saved(carm(with_bead(9, 9), PixelSpacing=["0.455", "0.26"]), tmp_path))
    assert xray.camera.pitch_mm == PITCH_MM
    assert any("not PixelSpacing" in said for said in xray.assumed)


@pytest.mark.parametrize("tags", [
    {"EstimatedRadiographicMagnificationFactor": f"{1200 / 780:.12f}"}, {"PixelSpacingCalibrationType": "GEOMETRY"},
])  # fmt: skip
def test_a_pitch_in_the_patients_plane_is_magnified_to_the_detector(tmp_path, tags):
    at_patient = [f"{pitch * 780 / 1200:.6f}" for pitch in PITCH_MM]
    xray = read_xray(saved(carm(with_bead(9, 9), ImagerPixelSpacing=None, PixelSpacing=at_patient, **tags), tmp_path))
    np.testing.assert_allclose(xray.camera.pitch_mm, PITCH_MM, rtol=1e-6)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["NO", "YES"])
def test_the_field_of_views_place_on_the_detector_moves_the_principal_point(tmp_path, degrees, flip):
    # a detector of 200 x 300 elements whose middle a field of SIZE off the middle shows, turned and mirrored after
    element_mm, origin = 0.5, (61, 97)
    field = np.zeros(SIZE)
    field[100 - origin[0], 150 - origin[1]] = 1
    stored = np.rot90(field, -degrees // 90)
    stored = stored[:, ::-1] if flip == "YES" else stored
    header = xray_header(
        np.rint(1000 + stored).astype(np.uint16), DistanceSourceToDetector="1100", ImagerPixelSpacing=["0.5", "0.5"],
        DetectorElementSpacing=[str(element_mm)] * 2, PhysicalDetectorSize=[100.5, 150.5],
        FieldOfViewOrigin=[str(n) for n in origin], FieldOfViewRotation=str(degrees), FieldOfViewHorizontalFlip=flip,
    )  # fmt: skip
    xray = read_xray(saved(header, tmp_path), mirror=False, intensity="log")
    row, column = np.unravel_index(np.argmax(xray.data), xray.data.shape)
    np.testing.assert_allclose(xray.camera.centre_px, (column, row), atol=1e-9)


@pytest.mark.parametrize(("gantry", "couch"), [(0, 0), (30, 0), (90, 0), (200, 0), (0, 12), (30, 12)])
def test_an_rt_image_shows_the_beams_eye_view(tmp_path, gantry, couch):
    isocentre = np.array((11.5, -20.0, 300.0))
    # by IEC 61217's words, for a patient head first and supine: the gantry turns clockwise for who faces it, the couch
    # counter-clockwise seen from above; the picture's right is the gantry's x, its upper edge is at the gantry
    turn, lies = np.radians(gantry), np.radians(couch)
    x, y, z = BEAD_MM[0], BEAD_MM[2], -BEAD_MM[1]
    x, y = x * np.cos(lies) - y * np.sin(lies), x * np.sin(lies) + y * np.cos(lies)
    across, up = x * np.cos(turn) - z * np.sin(turn), x * np.sin(turn) + z * np.cos(turn)
    scale = 1500 / (1000 - up)
    first_mm = np.array((-14.1, 22.3))
    column, row = (across * scale - first_mm[0]) / PITCH_MM[1], (first_mm[1] - y * scale) / PITCH_MM[0]
    header = rt_image(
        with_bead(column, row), GantryAngle=str(gantry), PatientSupportAngle=str(couch),
        RTImagePosition=[str(one) for one in first_mm],
    )  # fmt: skip
    xray = read_xray(saved(header, tmp_path))
    assert xray.world == "the patient's LPS mm"
    assert_bead_is_where_it_is_projected(xray, BEAD_MM + isocentre)


def test_a_receptor_that_was_shifted_and_turned_moves_the_principal_point():
    plain = camera_of_dicom(rt_image(with_bead(9, 9), RTImagePosition=["-14", "20"]))
    moved = rt_image(
        with_bead(9, 9), RTImagePosition=["-14", "20"], XRayImageReceptorTranslation=["3.2", "-1.4", "-500"],
    )  # fmt: skip
    shift = np.subtract(camera_of_dicom(moved).camera.centre_px, plain.camera.centre_px)
    # the receptor's origin lies right of the beam, so the beam lies left in the picture; y is up, rows run down
    np.testing.assert_allclose(shift, (-3.2 / PITCH_MM[1], -1.4 / PITCH_MM[0]))


def test_a_corner_position_and_a_pixel_position_of_the_same_picture_agree():
    corner = [str(-SIZE[1] * PITCH_MM[1] / 2), str(SIZE[0] * PITCH_MM[0] / 2)]
    centre = [str(-(SIZE[1] - 1) * PITCH_MM[1] / 2), str((SIZE[0] - 1) * PITCH_MM[0] / 2)]
    cameras = [camera_of_dicom(rt_image(with_bead(9, 9), RTImagePosition=place)).camera for place in (corner, centre)]
    np.testing.assert_allclose(cameras[0].centre_px, cameras[1].centre_px)


@pytest.mark.parametrize(("view", "letters", "turned"), [
    ("AP", ["L", "F"], ""), ("PA", ["L", "F"], "mirrored left-right"), ("LL", ["A", "F"], ""),
    ("LL", ["P", "F"], "mirrored left-right"),
])  # fmt: skip
def test_a_radiographs_view_says_from_which_side_it_is_seen(tmp_path, view, letters, turned):
    header = xray_header(
        xray_files.counts(), xray_files.DX, "DX", ViewPosition=view, PatientOrientation=letters,
        DistanceSourceToDetector="1800", ImagerPixelSpacing=["0.2", "0.2"], PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=1,
    )  # fmt: skip
    xray = read_xray(saved(header, tmp_path))
    assert xray.turned == turned
    assert xray.camera_from_world[2, :3].round(6).tolist() == {"AP": [0, 1, 0], "PA": [0, -1, 0], "LL": [1, 0, 0]}[view]


def test_without_angles_there_is_a_camera_and_no_pose_and_it_says_so(tmp_path):
    header = carm(xray_files.counts(), PositionerPrimaryAngle=None, PositionerSecondaryAngle=None)
    xray = read_xray(saved(header, tmp_path))
    assert xray.camera is not None
    assert xray.camera_from_world is None
    assert any("no angles" in said for said in xray.assumed)
    with pytest.raises(BadInput, match="no angles"):
        camera_of_dicom(header)


def test_without_a_distance_only_what_needs_it_fails_and_two_numbers_help(tmp_path):
    header = carm(xray_files.counts(), DistanceSourceToDetector=None, ImagerPixelSpacing=None)
    path = saved(header, tmp_path)
    with pytest.raises(BadInput, match="DistanceSourceToDetector and ImagerPixelSpacing") as refused:
        read_xray(path).projection()
    assert "--focal-mm" in refused.value.hint
    mended = read_xray(path, focal_mm=1200, pitch_mm=PITCH_MM)
    whole = read_xray(saved(carm(xray_files.counts()), tmp_path, "whole.dcm"))
    assert repr(mended.camera) == repr(whole.camera)
    np.testing.assert_allclose(mended.camera_from_world, whole.camera_from_world)


def test_a_camera_that_was_given_is_of_the_picture_as_stored(tmp_path):
    camera = Camera(1000, SIZE, (0.3, 0.3), (30.0, 22.0))
    xray = read_xray(saved(carm(xray_files.counts()), tmp_path), camera=camera)
    assert xray.turned == ""
    assert repr(xray.camera) == repr(camera)
    assert xray.projection().data.shape == camera.size_px
    with pytest.raises(BadInput, match="its camera"):
        read_xray(tmp_path / "xray.dcm", camera=camera.resized((30, 40)))


@pytest.mark.parametrize("turn", EVERY_TURN, ids=lambda turn: turn.words or "as stored")
def test_a_turned_picture_with_its_turned_camera_shows_the_same(turn):
    camera = Camera(900, SIZE, PITCH_MM, (31.0, 25.5))
    pose = np.eye(4)
    pose[:3, 3] = (0, 0, 800)
    column, row = camera.project(BEAD_MM[None], pose)[0]
    picture = np.zeros(SIZE)
    picture[round(row), round(column)] = 1
    seen = turn.camera(camera).project(BEAD_MM[None], turn.pose(pose))[0]
    turned = turn.data(picture)
    assert np.unravel_index(turned.argmax(), turned.shape) == (round(seen[1]), round(seen[0]))
    np.testing.assert_array_equal(turn.back.data(turned), picture)
    assert np.linalg.det(turn.pose(pose)) == pytest.approx(-1 if turn.mirrors else 1)
