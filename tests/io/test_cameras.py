"""Files of cameras: what is written is read back, and what other programs write means what they mean by it."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from homolog.errors import BadInput, UnreadableFile
from homolog.io.cameras import read_cameras, write_cameras
from homolog.space import camera_poses
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera
from tests.frames.test_camera_matrices import same, through
from tests.frames.test_camera_poses import some_placed, some_points

SIZE = (300, 400)
K = np.array(((2000.0, 0, 170.5), (0, 2010.0, 160.25), (0, 0, 1)))


def text(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("c.json", None),
        ("c.yml", None),
        ("c.txt", "matrix"),
        ("c.txt", "calibration"),
        ("c.txt", "astra"),
        ("c.xml", None),
        ("c.txt", "plastimatch"),
    ],
)
def test_what_is_written_is_read_back(tmp_path, name, format, mirrored):
    placed = some_placed(1, mirrored)
    # RTK's pictures are always mirrored, plastimatch's never are
    if (format == "plastimatch" and mirrored) or (name == "c.xml" and not mirrored):
        placed = placed.flipped()
    write_cameras(tmp_path / name, [placed], format)
    front = some_points(placed, 1)[0]
    (found,) = read_cameras(
        tmp_path / name, format=format, size_px=SIZE, pitch_mm=placed.camera.pitch_mm, front_mm=front
    )
    assert same(placed, found)
    assert found.camera.pitch_mm == pytest.approx(placed.camera.pitch_mm)
    assert found.camera.focal_mm == pytest.approx(placed.camera.focal_mm)


@pytest.mark.parametrize("name", ["c.json", "c.txt", "c.xml"])
def test_files_hold_many(tmp_path, name):
    many = [some_placed(seed, mirrored=True).replaced(name=f"c/{seed}") for seed in range(3)]
    write_cameras(tmp_path / name, many, "matrix" if name == "c.txt" else None)
    found = read_cameras(tmp_path / name, size_px=SIZE, pitch_mm=(0.5, 0.8))
    assert [each.name for each in found] == ["c/0", "c/1", "c/2"]
    for one, other in zip(many, found):
        assert other.source_mm == pytest.approx(one.source_mm)


def test_our_own_file_keeps_everything_and_says_what_it_means(tmp_path):
    placed = some_placed(2).replaced(name="side", world="calibration", pitch_known=False)
    write_cameras(tmp_path / "c.json", [placed])
    (found,) = read_cameras(tmp_path / "c.json")
    assert (found.name, found.world, found.pitch_known) == ("side", "calibration", False)
    assert found.camera.centre_px == placed.camera.centre_px
    assert found.camera_from_world == pytest.approx(placed.camera_from_world, abs=1e-12)
    stored = json.loads((tmp_path / "c.json").read_text())
    assert "LPS" in stored["conventions"]["world"]
    assert np.array(stored["views"][0]["pixels_from_world"]) == pytest.approx(placed.pixels_from_world)


def test_a_pose_is_a_file_of_cameras_in_the_patient(tmp_path):
    placed = some_placed(3)
    view = {
        "name": "ap",
        "camera": {"focal_mm": 1020.0, "size_px": [300, 400], "pitch_mm": [0.5, 0.8], "centre_px": [170.0, 160.0]},
        "camera_from_rig": np.eye(4).tolist(),
        "camera_from_patient": placed.camera_from_world.tolist(),
    }
    (tmp_path / "pose.json").write_text(json.dumps({"views": [view]}))
    (found,) = read_cameras(tmp_path / "pose.json")
    assert same(placed, found)
    assert (found.name, found.world) == ("ap", "patient")


def test_a_newer_version_of_our_file_is_refused(tmp_path):
    write_cameras(tmp_path / "c.json", [some_placed()])
    stored = json.loads((tmp_path / "c.json").read_text()) | {"version": 99}
    (tmp_path / "c.json").write_text(json.dumps(stored))
    with pytest.raises(UnreadableFile, match="version 99"):
        read_cameras(tmp_path / "c.json")


def two_calibrated(tmp_path):
    """Texts under headings, of two cameras that look at one point, and that point."""
    target = np.array((110.0, 70.0, 120.0))
    for name, source in (("cam01", (-530.0, 90.0, -730.0)), ("cam02", (1140.0, 75.0, -200.0))):
        pose = camera_poses.from_look_at(source, target, up=(0, -1, 0))
        text(
            tmp_path / f"{name}.txt",
            "image size",
            "400,300",
            "",
            "camera matrix",
            *(",".join(map(repr, row)) for row in K.tolist()),
            "",
            "rotation",
            *(",".join(map(repr, row)) for row in pose[:3, :3].tolist()),
            "",
            "translation",
            *map(repr, pose[:3, 3].tolist()),
        )
    return target


def test_a_calibration_under_headings_is_k_r_t(tmp_path):
    target = two_calibrated(tmp_path)
    (first,), (second,) = (read_cameras(tmp_path / f"cam0{n}.txt") for n in (1, 2))
    assert first.camera.size_px == SIZE
    assert not first.pitch_known
    assert first.world == "calibration"
    point, miss = camera_poses.meeting(first, second)
    assert point == pytest.approx(target)
    assert miss == pytest.approx(0, abs=1e-9)
    assert first.depth_mm(point[None])[0] > 0
    assert first.project(target[None])[0] == pytest.approx((170.5, 160.25))


def test_a_calibration_that_lacks_a_number_says_where(tmp_path):
    two_calibrated(tmp_path)
    whole = (tmp_path / "cam01.txt").read_text().splitlines()
    with pytest.raises(UnreadableFile, match="below 'translation' 3 numbers"):
        read_cameras(text(tmp_path / "short.txt", *whole[:-1]))


def test_centres_of_a_file_that_begin_at_one_half_are_shifted(tmp_path):
    placed = some_placed(4)
    shifted = np.array(((1, 0, 0.5), (0, 1, 0.5), (0, 0, 1))) @ placed.pixels_from_world
    np.savetxt(tmp_path / "P.txt", shifted)
    (found,) = read_cameras(tmp_path / "P.txt", size_px=SIZE, first_pixel=0.5)
    assert same(placed, found)


def test_arrays_of_numpy_are_matrices_or_astras_vectors(tmp_path):
    placed = some_placed(5)
    np.save(tmp_path / "P.npy", np.stack([placed.pixels_from_world] * 2))
    assert all(same(placed, found) for found in read_cameras(tmp_path / "P.npy", size_px=SIZE))
    write_cameras(tmp_path / "v.txt", [placed], "astra")
    np.save(tmp_path / "v.npy", np.loadtxt(tmp_path / "v.txt")[None])
    (found,) = read_cameras(tmp_path / "v.npy", size_px=SIZE)
    assert same(placed, found)


def test_twelve_numbers_a_line_are_not_guessed_at(tmp_path):
    np.savetxt(tmp_path / "v.txt", np.arange(12.0)[None])
    with pytest.raises(BadInput, match="ASTRA") as caught:
        read_cameras(tmp_path / "v.txt", size_px=SIZE)
    assert "--format astra" in caught.value.hint


def test_a_size_that_the_file_does_not_say_is_asked_for(tmp_path):
    write_cameras(tmp_path / "P.txt", [some_placed()], "matrix")
    with pytest.raises(BadInput, match="how many pixels") as caught:
        read_cameras(tmp_path / "P.txt")
    assert "--size-px" in caught.value.hint


OPENCV = """%YAML:1.0
---
calibration_time: "then"
image_width: 400
image_height: 300
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 2000., 0., 170.5, 0., 2010.,
       160.25, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ DISTORTION, 0., 0., 0., 0. ]
rvec: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0., 0., 1.5707963267948966 ]
tvec: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 1., 2., 700. ]
"""
QUARTER = np.array(((0.0, -1, 0, 1), (1, 0, 0, 2), (0, 0, 1, 700)))


def test_opencvs_yaml_is_read(tmp_path):
    (found,) = read_cameras(text(tmp_path / "c.yml", OPENCV.replace("DISTORTION", "0.")))
    assert found.camera.size_px == SIZE
    points = some_points(found)
    assert found.project(points) == pytest.approx(through(K @ QUARTER, points))


def test_lens_distortion_is_told(tmp_path, caplog):
    read_cameras(text(tmp_path / "c.yml", OPENCV.replace("DISTORTION", "-0.21")))
    assert "undistort" in caplog.text


def test_opencvs_numbers_in_json_are_read(tmp_path):
    stored = {"camera_matrix": K.tolist(), "R": QUARTER[:, :3].tolist(), "T": [[1], [2], [700]]}
    (found,) = read_cameras(text(tmp_path / "c.json", json.dumps(stored)), size_px=SIZE)
    points = some_points(found)
    assert found.project(points) == pytest.approx(through(K @ QUARTER, points))


RTK = """<?xml version="1.0"?>
<!DOCTYPE RTKGEOMETRY>
<RTKThreeDCircularGeometry version="3">
  <SourceToIsocenterDistance>700</SourceToIsocenterDistance>
  <SourceToDetectorDistance>1000</SourceToDetectorDistance>
  <Projection><GantryAngle>0</GantryAngle><Matrix>
    -1000 0 0 0
    0 -1000 0 0
    0 0 1 -700</Matrix></Projection>
  <Projection><GantryAngle>90</GantryAngle><ProjectionOffsetX>5</ProjectionOffsetX></Projection>
</RTKThreeDCircularGeometry>
"""


def test_rtks_shared_parameters_hold_for_all_projections(tmp_path):
    first, second = read_cameras(text(tmp_path / "g.xml", RTK), size_px=SIZE, pitch_mm=0.8)
    assert first.source_mm == pytest.approx((0, 0, 700))
    assert second.source_mm == pytest.approx((700, 0, 0))
    # the detector's middle is 5 mm along u, so the axis meets it 5 mm before
    assert second.camera.centre_px == pytest.approx((199.5 - 5 / 0.8, 149.5))


def test_a_matrix_of_rtk_that_belies_its_parameters_is_refused(tmp_path):
    with pytest.raises(UnreadableFile, match="not that of its parameters"):
        read_cameras(text(tmp_path / "g.xml", RTK.replace("0 0 1 -700", "0 0 1 -750")), size_px=SIZE, pitch_mm=0.8)


def test_plastimatchs_call_is_read(tmp_path):
    call = 'plastimatch drr -t raw -nrm "1 0 0" -vup "0 0 1" -g "1000 1500" -r "300 400" -z "150 320" -o "1 2 3" ct.mha'
    (found,) = read_cameras(text(tmp_path / "drr.txt", "#!/bin/sh", call))
    assert found.source_mm == pytest.approx((1001, 2, 3))
    assert found.camera.pitch_mm == pytest.approx((0.5, 0.8))


# --- DeepFluoro


def deepfluoro(path, poses, **options):
    """A file of the layout of DeepFluoro's full-resolution one."""
    k = np.array(((-5257.73, 0, 767.5), (0, -5257.73, 760.0), (0, 0, 1)))
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = camera_poses.from_look_at((3, 2, 1), (0, 0, 0))[:3, :3]
    extrinsic[:3, 3] = (1, 2, -5)
    with h5py.File(path, "w", **options) as file:
        shared = file.create_group("proj-params")
        shared["intrinsic"], shared["extrinsic"] = k, extrinsic
        shared["num-rows"], shared["num-cols"] = np.uint64(1536), np.uint64(1400)
        shared["pixel-row-spacing"], shared["pixel-col-spacing"] = np.float32(0.194), np.float32(0.194)
        for specimen, listed in poses.items():
            file[f"{specimen}/vol/pixels"] = np.zeros((2, 2, 2), np.float32)
            for n, pose in enumerate(listed):
                group = file.create_group(f"{specimen}/projections/{n:03d}")
                group["rot-180-for-up"] = np.uint8(n % 2)
                if pose is not None:
                    group.create_dataset("gt-poses/cam-to-pelvis-vol", data=pose, compression="gzip", chunks=(3, 4))
    return k, extrinsic


def pelvis_from_camera(seed):
    pose = np.array(some_placed(seed).camera_from_world)
    return pose


@pytest.mark.parametrize("options", [{}, {"libver": ("earliest", "v108")}])
def test_deepfluoros_poses_project_by_its_own_formula(tmp_path, options):
    poses = {f"17-{n}": [pelvis_from_camera(10 * n + m) for m in range(12)] for n in (1, 2)}
    k, extrinsic = deepfluoro(tmp_path / "d.h5", poses, **options)
    found = read_cameras(tmp_path / "d.h5")
    assert [each.name for each in found][:2] == ["17-1/000", "17-1/001"]
    assert len(found) == 24
    for placed, pose in zip(found, [pose for listed in poses.values() for pose in listed]):
        points = some_points(placed, 5)
        # x ~ K E inv(cam-to-pelvis-vol) X, with z < 0 in front of the source
        theirs = extrinsic @ np.linalg.inv(pose)
        assert placed.project(points) == pytest.approx(through(k @ theirs[:3], points), abs=1e-6)
        assert ((points @ theirs[2, :3] + theirs[2, 3]) < 0).all()
        assert (placed.camera.size_px, placed.world, placed.mirrored) == ((1536, 1400), "patient", True)
        assert placed.camera.focal_mm == pytest.approx(5257.73 * 0.194)


def test_a_projection_without_a_pose_is_passed_over_and_told(tmp_path, caplog):
    deepfluoro(tmp_path / "d.h5", {"18-1": [None, pelvis_from_camera(1)]})
    assert [each.name for each in read_cameras(tmp_path / "d.h5")] == ["18-1/001"]
    assert "projection 000 of 18-1 has no pose" in caplog.text


def test_another_hdf5_is_no_deepfluoro(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["land-names"] = np.zeros(3)
    with pytest.raises(UnreadableFile, match="proj-params"):
        read_cameras(tmp_path / "x.h5")


# --- DICOM


def test_a_dicom_header_has_a_camera(tmp_path):
    from homolog.io.xrays import write_xray

    camera = Camera.centred(1020.0, (30, 40), (0.5, 0.8))
    pose = camera_poses.from_carm(30, 10, source_isocentre_mm=700)
    picture = np.random.default_rng(0).uniform(0, 3, (30, 40)).astype(np.float32)
    write_xray(tmp_path / "x.dcm", picture, camera, pose)
    (found,) = read_cameras(tmp_path / "x.dcm")
    assert found.name == "x"
    assert found.anatomical
    assert camera_poses.carm_angles(found.camera_from_world) == pytest.approx((30, 10), abs=0.01)
    placed = PlacedCamera(camera, pose)
    points = some_points(placed)
    assert found.project(points - placed.source_mm + found.source_mm) == pytest.approx(placed.project(points), abs=0.1)


# --- what is no camera


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("c.txt", "hello", "no file of cameras"),
        ("c.txt", "1 2 3 4\n5 6 7 8\n", "2 lines of four"),
        ("c.txt", "1 2 3 x\n5 6 7 8\n5 6 7 8", "a number was wanted"),
        ("c.json", "{", "damaged"),
        ("c.json", "[1, 2]", "damaged"),
        ("c.json", '{"views": []}', "no camera"),
        ("c.json", '{"camera_matrix": [1, 2]}', "nine numbers"),
        ("c.yml", "a: 1\n", "nine numbers"),
        ("c.xml", "<a/>", "no geometry of RTK"),
        ("c.xml", "<a", "not XML"),
        ("c.h5", "nothing of the kind", "not an HDF5"),
        ("c.npy", "nothing of the kind", "no array"),
        ("c.txt", "image size\n1,2\n", "below 'camera matrix'"),
        ("c.txt", "drr -nrm '1 0 0'", "lacks -g and -r and -z"),
    ],
)
def test_what_is_no_camera_is_said_to_be_none(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=says):
        read_cameras(tmp_path / name, size_px=SIZE, pitch_mm=0.5)


def test_an_ending_that_says_no_format_is_refused(tmp_path):
    with pytest.raises(BadInput, match="format"):
        write_cameras(tmp_path / "c.txt", [some_placed()])
    assert not list(tmp_path.iterdir())
