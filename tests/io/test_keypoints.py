"""Files of keypoints: our own, which keep everything, and FROG's and SIFT3D's, which say nothing about themselves."""

from __future__ import annotations

import gzip
import re
import struct

import numpy as np
import pytest

from homolog import Keypoints, Matches, read_keypoints, write_keypoints
from homolog.errors import BadInput, UnknownFrame, UnreadableFile
from homolog.io.keypoints import frame_said, read_matches, write_matches
from tests.geometry import oblique_grid

COLUMNS = ("position", "scale", "response", "sign", "frame", "descriptors")


def some_keypoints(count=7, length=48, seed=0, space="ana/ct"):
    rng = np.random.default_rng(seed)
    turns = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    descriptors = rng.normal(size=(count, length)).astype(np.float32)
    return Keypoints(
        rng.uniform(-300, 300, (count, 3)),
        space,
        name=tuple(f"Stelle {n} ☞" for n in range(count)),
        scale=rng.uniform(1, 9, count),
        response=np.sort(rng.uniform(1, 1e6, count))[::-1],
        sign=rng.choice(np.array([-1, 1], np.int8), count),
        frame=turns,
        descriptors=descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
    )


def saved(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- our own


@pytest.mark.parametrize("count", [7, 1, 0])
def test_every_column_comes_back_as_it_was(tmp_path, count):
    points = some_keypoints(count)
    write_keypoints(points, tmp_path / "keys.npz")
    read = read_keypoints(tmp_path / "keys.npz")
    assert (read.space, read.name) == (points.space, points.name)
    for column in COLUMNS:
        was, now = getattr(points, column), getattr(read, column)
        assert now.dtype == was.dtype
        np.testing.assert_array_equal(now, was)


def test_what_is_not_known_is_not_made_up(tmp_path):
    write_keypoints(Keypoints(np.ones((2, 3)), "ct"), tmp_path / "keys.npz")
    read = read_keypoints(tmp_path / "keys.npz", space="other")
    assert read.space == "other"
    assert all(getattr(read, column) is None for column in ("name", *COLUMNS[1:]))


def test_the_same_points_are_the_same_bytes_and_numpy_reads_them_alone(tmp_path):
    points = some_keypoints()
    for name in ("a.npz", "b.npz", "a.csv.gz", "b.csv.gz"):
        write_keypoints(points, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as columns:
        np.testing.assert_array_equal(columns["position"], points.position)
        assert columns["name"].tolist() == list(points.name)


def test_a_later_version_and_a_strangers_npz_are_refused(tmp_path):
    write_keypoints(some_keypoints(), tmp_path / "keys.npz")
    with np.load(tmp_path / "keys.npz") as columns:
        np.savez(tmp_path / "later.npz", **{**columns, "version": np.array(99)})
        np.savez(tmp_path / "flat.npz", **{**columns, "position": np.ones(3)})
        np.savez(tmp_path / "uneven.npz", **{**columns, "scale": np.ones(3)})
        np.savez(tmp_path / "lost.npz", **{**columns, "position": np.full((7, 3), np.nan)})
    np.savez(tmp_path / "displacement.npz", np.zeros((3, 4, 5, 6)))
    np.savez(tmp_path / "pickled.npz", position=np.array([object()]))
    for name, said in (
        ("later.npz", "later version"),
        ("flat.npz", "position"),
        ("uneven.npz", "scale"),
        ("lost.npz", "NaN"),
        ("displacement.npz", "not of homolog keypoints"),
        ("pickled.npz", "plain arrays"),
    ):
        with pytest.raises(UnreadableFile, match=said) as refusal:
            read_keypoints(tmp_path / name)
        assert name in refusal.value.message


@pytest.mark.parametrize("name", ["keys.npz", "keys.csv.gz", "keys.csv", "keys.bin"])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_an_error_and_not_fewer_points(tmp_path, name, share):
    path = tmp_path / name
    write_keypoints(some_keypoints(23), path, format="frog" if name.endswith(".csv") else None)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableFile, match=re.escape(str(path))) as refusal:
        read_keypoints(path, format="frog" if name.endswith((".csv", ".csv.gz")) else None)
    assert refusal.value.hint


# ---- FROG


def test_frogs_places_are_turned_and_its_signs_are_named(tmp_path):
    described = [n / 100 for n in range(48)]
    rows = [[12.25, -40.5, 7.0, 3.5, 1, 250.0, *described], [-1.0, 2.0, 3.0, 4.0, 0, 90.0, *described]]
    text = "".join(",".join(f"{value:f}" for value in row) + "\n" for row in rows)
    paths = [
        saved(tmp_path, "a.csv", text),
        saved(tmp_path, "b.csv.gz", gzip.compress(text.encode())),
        saved(tmp_path, "c.bin", b"".join(struct.pack("<54f", *row) for row in rows)),
        saved(tmp_path, "d.csv", text.replace("\n", ",\r\n")),
    ]
    for path in paths:
        points = read_keypoints(path)
        assert frame_said(path) == "RAS"
        assert points.position.tolist() == [[-12.25, 40.5, 7.0], [1.0, -2.0, 3.0]]
        assert points.sign.tolist() == [-1, 1]
        assert (points.scale.tolist(), points.response.tolist()) == ([3.5, 4.0], [250.0, 90.0])
        np.testing.assert_allclose(points.descriptors, [described] * 2, atol=1e-6)
        assert points.space == path.name[0]
    # as of images that were in LPS when FROG saw them
    assert read_keypoints(paths[0], frame="LPS").position[0].tolist() == [12.25, -40.5, 7.0]


@pytest.mark.parametrize("name", ["keys.csv", "keys.csv.gz", "keys.bin"])
def test_what_frog_reads_keeps_places_signs_and_descriptors(tmp_path, name):
    points = some_keypoints(11)
    write_keypoints(points, tmp_path / name, format="frog")
    read = read_keypoints(tmp_path / name)
    np.testing.assert_allclose(read.position, points.position, atol=2e-5)
    np.testing.assert_array_equal(read.sign, points.sign)
    np.testing.assert_allclose(read.scale, points.scale, rtol=1e-6)
    np.testing.assert_allclose(read.response, points.response, rtol=1e-6)
    np.testing.assert_allclose(read.descriptors, points.descriptors, atol=1e-7)


def test_what_frog_could_not_read_is_not_written(tmp_path):
    points = some_keypoints()
    lacking = Keypoints(points.position, "ct", scale=points.scale, response=points.response)
    broken = Keypoints(
        points.position, "ct", None, points.scale * np.nan, points.response, points.sign, None, points.descriptors
    )
    for which, name, said in (
        (lacking, "a.csv.gz", "no sign and no descriptors"),
        (broken, "a.csv.gz", "scale holds NaN"),
        (some_keypoints(length=768), "a.bin", "48 numbers a descriptor"),
        (points, "a.vtk", "not to '.vtk'"),
    ):
        with pytest.raises(BadInput, match=said):
            write_keypoints(which, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_frogs_json_is_refused_for_its_scales(tmp_path):
    path = saved(tmp_path, "points.json", '{"origin": [0, 0, 0], "spacing": [1, 1, 1], "points": []}')
    with pytest.raises(UnreadableFile, match="scales") as refusal:
        read_keypoints(path)
    assert ".csv.gz" in refusal.value.hint


# ---- SIFT3D


def keys_text(voxels, octaves, scales, turns):
    rows = (
        [*voxel, octave, scale, *turn.ravel()] for voxel, octave, scale, turn in zip(voxels, octaves, scales, turns)
    )
    return "".join(",".join(f"{value:f}" for value in row) + "\n" for row in rows)


def sift3d_files(folder, grid, seed=4):
    """Keys in octaves 0 and 1 and their descriptors, as kpSift3D prints them."""
    rng = np.random.default_rng(seed)
    voxels, octaves = np.array([(2, 3, 4), (5, 1, 2), (3, 4, 5)]), np.array([0, 1, 1])
    turns = np.linalg.qr(rng.normal(size=(3, 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    keys = saved(folder, "k.csv", keys_text(voxels, octaves, (1.6, 3.2, 4.0), turns))
    described = np.abs(rng.normal(size=(3, 768)))
    described /= np.linalg.norm(described, axis=1, keepdims=True)
    whole = voxels * 2 ** octaves[:, None]
    text = "".join(",".join(f"{v:f}" for v in (*at, *row)) + "\n" for at, row in zip(whole, described))
    desc = saved(folder, "d.csv.gz", gzip.compress(text.encode()))
    return keys, desc, grid.world(whole), turns, described


def test_sift3ds_octaves_are_counted_out_and_its_axes_turned_into_the_patient(tmp_path):
    grid = oblique_grid()
    keys, desc, places, turns, described = sift3d_files(tmp_path, grid)
    points = read_keypoints(keys, grid=grid, descriptors=desc)
    np.testing.assert_allclose(points.position, places, atol=1e-9)
    assert points.scale.tolist() == [1.6, 3.2, 4.0]
    np.testing.assert_allclose(points.descriptors, described, atol=1e-6)
    # a millimetre along a key's axis, counted in the image's voxels, is a millimetre along it in the patient
    for place, frame, turn in zip(points.position, points.frame, turns):
        for axis in range(3):
            there = grid.world(grid.voxel(place) + turn[:, axis] / grid.spacing_mm)
            np.testing.assert_allclose(frame[:, axis], there - place, atol=1e-5)
    alone = read_keypoints(desc, grid=grid)
    np.testing.assert_allclose(alone.position, places, atol=1e-9)
    assert alone.scale is None and frame_said(desc) == "voxel"


def test_sift3ds_voxels_need_their_own_image(tmp_path):
    grid = oblique_grid()
    keys, desc, *_ = sift3d_files(tmp_path, grid)
    with pytest.raises(BadInput, match="voxels of the image") as refusal:
        read_keypoints(keys)
    assert "--like" in refusal.value.hint
    with pytest.raises(BadInput, match="beyond the 5x5x5 voxels"):
        read_keypoints(keys, grid=oblique_grid((5, 5, 5)))
    rows = gzip.decompress(desc.read_bytes()).splitlines(keepends=True)
    other = saved(tmp_path, "other.csv", b"".join(rows[::-1]))
    with pytest.raises(BadInput, match="not those of the 3 keys"):
        read_keypoints(keys, grid=grid, descriptors=other)
    frogs = tmp_path / "frog.csv.gz"
    write_keypoints(some_keypoints(), frogs)
    with pytest.raises(BadInput, match="no file of SIFT3D's keys"):
        read_keypoints(frogs, descriptors=desc)


# ---- telling them apart


def test_six_numbers_a_row_are_not_guessed_at(tmp_path):
    path = saved(tmp_path, "six.csv", "1,2,3,4,1,6\n-2,1,3,2,0,9\n")
    with pytest.raises(UnreadableFile, match="six numbers") as refusal:
        read_keypoints(path)
    assert "--format frog" in refusal.value.hint
    points = read_keypoints(path, format="frog")
    assert points.descriptors is None and points.sign.tolist() == [-1, 1]


def test_rows_that_could_be_of_both_programs_are_refused_until_one_is_named(tmp_path):
    # a key of scale 1 in the first octave is a bright point of FROG's with a descriptor of eight numbers
    path = saved(tmp_path, "both.csv", keys_text([(2, 3, 4)], [1], [1.0], [np.eye(3)]))
    with pytest.raises(UnreadableFile, match="FROG or of SIFT3D") as refusal:
        read_keypoints(path)
    assert "--format sift3d" in refusal.value.hint
    assert read_keypoints(path, format="frog").descriptors.shape == (1, 8)
    assert read_keypoints(path, format="sift3d", grid=oblique_grid()).frame.shape == (1, 3, 3)


@pytest.mark.parametrize("format", [None, "frog"])
def test_rows_of_numbers_that_are_no_keypoints_are_refused(tmp_path, format):
    path = saved(tmp_path, "series.csv", "\n".join(",".join(map(str, range(n, n + 10))) for n in range(4)) + "\n")
    with pytest.raises(UnreadableFile, match=re.escape(str(path))):
        read_keypoints(path, format=format)


def test_plain_lists_of_points_are_read_as_ever(tmp_path):
    for name in ("marks.mrk.json", "marks.fcsv", "marks.csv"):
        write_keypoints(some_keypoints(), tmp_path / name)
        read = read_keypoints(tmp_path / name)
        np.testing.assert_array_equal(read.position, some_keypoints().position)
        assert read.name == some_keypoints().name and read.scale is None
    bare = saved(tmp_path, "bare.csv", "1,2,3\n4,5,6\n")
    with pytest.raises(UnknownFrame):
        read_keypoints(bare)
    assert read_keypoints(bare, frame="RAS").position[0].tolist() == [-1, -2, 3]


# ---- matches


def test_matches_come_back_and_people_can_read_them(tmp_path):
    fixed, moving = some_keypoints(5, seed=1, space="a"), some_keypoints(4, seed=2, space="b")
    matches = Matches(np.array([(0, 3), (4, 1)]), distance=np.array([0.25, 0.5]))
    for name in ("m.npz", "m.csv"):
        write_matches(matches, tmp_path / name, fixed, moving)
    read = read_matches(tmp_path / "m.npz")
    np.testing.assert_array_equal(read.pairs, matches.pairs)
    np.testing.assert_array_equal(read.distance, matches.distance)
    head, *rows = (tmp_path / "m.csv").read_text().splitlines()
    assert head == "index_fixed,index_moving,x_fixed,y_fixed,z_fixed,x_moving,y_moving,z_moving,distance"
    for row, (a, b), far in zip(rows, matches.pairs, matches.distance, strict=True):
        values = [float(word) for word in row.split(",")]
        assert values[:2] == [a, b] and values[8] == far
        np.testing.assert_allclose(values[2:8], [*fixed.position[a], *moving.position[b]], atol=1e-4)
    with pytest.raises(UnreadableFile, match="homolog matches"):
        read_keypoints(tmp_path / "m.npz")
