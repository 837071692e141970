"""Point lists in plain text, and what all formats share: frames, names, refusals."""

from __future__ import annotations

import logging
import re
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.errors import BadInput, UnknownFrame, UnreadableFile
from homolog.io.points import frame_said, read_points, write_points
from homolog.space.keypoints import Keypoints
from tests.geometry import oblique_grid

# One place in the patient, in both frames: 12.25 mm to the left, 40.5 mm to the back, 7 mm below the origin.
LPS, RAS = "12.25,40.5,-7", "-12.25,-40.5,-7"
PLACE = [12.25, 40.5, -7.0]

names = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), min_size=1).filter(str.strip)
millimetres = st.floats(-1e6, 1e6, allow_subnormal=False)
landmarks = st.lists(st.tuples(names, st.tuples(millimetres, millimetres, millimetres)), min_size=1, max_size=6)


def saved(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def as_keypoints(rows, space="ct"):
    return Keypoints(np.array([position for _, position in rows]), space, tuple(name for name, _ in rows))


# ---- frames


@pytest.mark.parametrize("text", [f"{LPS}\n", f"x,y,z\n{LPS}\n", f"name,x,y,z\nfoo,{LPS}\n"])
def test_a_table_that_does_not_say_its_frame_is_refused_until_it_is_given(tmp_path, text):
    path = saved(tmp_path, "points.csv", text)
    with pytest.raises(UnknownFrame, match=re.escape(str(path))) as refusal:
        read_points(path)
    assert "--points-space LPS" in refusal.value.hint
    assert "--points-space RAS" in refusal.value.hint
    assert frame_said(path) is None
    assert read_points(path, frame="LPS").position.tolist() == [PLACE]


def test_the_same_place_in_both_frames_is_the_same_point(tmp_path):
    as_lps = read_points(saved(tmp_path, "lps.csv", LPS), frame="LPS")
    as_ras = read_points(saved(tmp_path, "ras.csv", RAS), frame="ras")
    np.testing.assert_array_equal(as_lps.position, as_ras.position)


def test_voxels_are_counted_on_the_image_they_were_placed_on(tmp_path):
    # Learn2Reg's landmarks: no header, three voxel coordinates
    grid = oblique_grid()
    voxels = np.random.default_rng(0).uniform(0, 10, (5, 3))
    path = saved(tmp_path, "case.csv", "\n".join(",".join(map(repr, row)) for row in voxels.tolist()))
    np.testing.assert_allclose(read_points(path, frame="voxel", grid=grid).position, grid.world(voxels), atol=1e-9)
    with pytest.raises(BadInput, match="voxels"):
        read_points(path, frame="voxel")


def test_a_given_frame_overrules_the_file_and_says_so(tmp_path, caplog):
    path = saved(tmp_path, "ants.csv", f"x,y,z,t\n{RAS},0\n")
    assert frame_said(path) == "LPS"
    with caplog.at_level(logging.WARNING):
        points = read_points(path, frame="RAS")
    assert points.position.tolist() == [PLACE]
    assert "LPS" in caplog.text
    assert "RAS" in caplog.text


def test_a_given_frame_that_agrees_is_not_worth_a_word(tmp_path, caplog):
    read_points(saved(tmp_path, "ants.csv", f"x,y,z,t\n{LPS},0\n"), frame="LPS")
    assert not caplog.records


def test_a_frame_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(BadInput, match="'LPI'"):
        read_points(saved(tmp_path, "points.csv", LPS), frame="LPI")


# ---- forms


@pytest.mark.parametrize(
    "text",
    [
        "L 1,12.25,40.5,-7\nR,1,2,3\n",
        "L 1; 12.25; 40.5; -7\nR;1;2;3\n",
        "L 1\t12.25\t40.5\t-7\nR\t1\t2\t3\n",
        "12.25,40.5,-7,L 1\n1,2,3,R\n",
        "# placed on Monday\n\nL 1,12.25,40.5,-7\n\nR,1,2,3\n",
        "id,z,y,x,name\n7,-7,40.5,12.25,L 1\n8,3,2,1,R\n",
        "Label, X, Y, Z\nL 1, 12.25, 40.5, -7\nR, 1, 2, 3\n",
        "# name,x,y,z\nL 1,12.25,40.5,-7\nR,1,2,3",
        "name,x,y,z\r\nL 1,12.25,40.5,-7\r\nR,1,2,3\r\n",
        b"\xef\xbb\xbfname,x,y,z\nL 1,12.25,40.5,-7\nR,1,2,3\n",
        'name,x,y,z\n"L 1",12.25,40.5,-7\n"R",1,2,3\n',
    ],
)
def test_tables_come_in_many_forms(tmp_path, text):
    points = read_points(saved(tmp_path, "table.csv", text), frame="LPS")
    assert points.name == ("L 1", "R")
    assert points.position.tolist() == [PLACE, [1, 2, 3]]
    assert points.space == "table"


def test_blanks_may_stand_between_the_numbers(tmp_path):
    points = read_points(saved(tmp_path, "points.txt", "12.25 40.5   -7\n 1 2 3\n"), frame="LPS")
    assert points.name is None
    assert points.position.tolist() == [PLACE, [1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"x,y,z,t,label,comment\n{LPS},0,1,tip\n1,2,3,0,2,base\n", ("tip", "base")),
        (f"x,y,z,t,label\n{LPS},0,1\n1,2,3,0,2\n", ("1", "2")),
        (f"# x,y,z,t,label,comment\n{LPS},0,0,0\n1,2,3,0,0,0\n", None),
    ],
)
def test_ants_tables_are_lps_by_definition(tmp_path, text, expected):
    points = read_points(saved(tmp_path, "ants.csv", text))
    assert points.position.tolist() == [PLACE, [1, 2, 3]]
    assert points.name == expected


def test_elastix_points_are_lps_and_indices_are_voxels(tmp_path):
    grid = oblique_grid()
    world = saved(tmp_path, "world.txt", "point\n2\n12.25 40.5 -7\n1 2 3\n")
    index = saved(tmp_path, "index.txt", "index\n1\n4 5 6\n")
    assert read_points(world).position.tolist() == [PLACE, [1, 2, 3]]
    np.testing.assert_allclose(read_points(index, grid=grid).position, grid.world(np.array([[4, 5, 6]])), atol=1e-9)
    with pytest.raises(BadInput, match="voxels"):
        read_points(index)


def test_elastix_points_without_their_first_word_do_not_say_their_frame(tmp_path):
    path = saved(tmp_path, "points.txt", "1\n12.25 40.5 -7\n")
    with pytest.raises(UnknownFrame):
        read_points(path)
    assert read_points(path, frame="LPS").position.tolist() == [PLACE]


def test_transformix_output_is_read_where_the_points_went(tmp_path):
    line = "Point\t0\t; InputIndex = [ 1 2 3 ]\t; InputPoint = [ 1.0 2.0 3.0 ]\t; OutputPoint = [ 12.25 40.5 -7 ]\t; "
    path = saved(tmp_path, "outputpoints.txt", f"{line}Deformation = [ 11.25 38.5 -10 ]\n")
    assert read_points(path).position.tolist() == [PLACE]


# ---- round trips


@settings(max_examples=60, deadline=None)
@given(rows=landmarks, ending=st.sampled_from([".csv", ".fcsv", ".mrk.json"]))
def test_names_and_positions_survive_being_written(tmp_path_factory, rows, ending):
    path = tmp_path_factory.mktemp("round") / f"points{ending}"
    points = as_keypoints(rows)
    write_points(points, path)
    back = read_points(path)
    assert back.name == points.name
    np.testing.assert_array_equal(back.position, points.position)


def test_our_csv_says_its_frame_and_its_space(tmp_path):
    path = tmp_path / "file.csv"
    write_points(Keypoints(np.array([PLACE]), "patient 1, baseline"), path)
    back = read_points(path)
    assert (back.space, back.name) == ("patient 1, baseline", None)
    assert read_points(path, space="other").space == "other"


def test_our_csv_keeps_names_that_look_like_comments(tmp_path):
    write_points(as_keypoints([("#1", PLACE), ('say "ah"', PLACE)]), tmp_path / "p.csv")
    assert read_points(tmp_path / "p.csv").name == ("#1", 'say "ah"')


@pytest.mark.parametrize(("name", "style"), [("p.csv", "ants"), ("p.txt", "elastix"), ("p.txt", None)])
def test_other_programs_forms_come_back_in_place(tmp_path, name, style):
    points = as_keypoints([("tip", PLACE), ("base, left", [0.1, 1e-7, -1234.5678901234567])])
    write_points(points, tmp_path / name, style=style)
    back = read_points(tmp_path / name)
    np.testing.assert_array_equal(back.position, points.position)
    assert back.name == (points.name if style == "ants" else None)


def test_elastix_files_have_the_three_parts_that_transformix_reads(tmp_path):
    write_points(as_keypoints([("a", PLACE)]), tmp_path / "p.txt")
    assert (tmp_path / "p.txt").read_text().split() == ["point", "1", "12.25", "40.5", "-7.0"]


def test_a_name_of_two_lines_goes_only_into_json(tmp_path):
    points = as_keypoints([("two\nlines", PLACE)])
    for ending in (".csv", ".fcsv"):
        with pytest.raises(BadInput, match="line break"):
            write_points(points, tmp_path / f"p{ending}")
    write_points(points, tmp_path / "p.mrk.json")
    assert read_points(tmp_path / "p.mrk.json").name == ("two\nlines",)


def test_a_point_that_is_nowhere_is_not_written(tmp_path):
    path = tmp_path / "p.csv"
    with pytest.raises(BadInput, match="point 2 of 2"):
        write_points(Keypoints(np.array([[1, 2, 3], [1, np.nan, 3]]), "ct"), path)
    assert not list(tmp_path.iterdir())


# ---- refusals


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,x,y,z\na,1,2,3\nb,1,nan,3\n", "line 3.*finite"),
        ("name,x,y,z\na,1,2,3\nb,1,two,3\n", "line 3.*two"),
        ("name,x,y,z\na,1,2,3\nb,1,2\n", "line 3.*4 columns, got 3"),
        ("# only a comment\n", "no points"),
        ("name,x,y,z\n", "no points"),
        ("a,b,c\n1,2,3\n", "x, y and z"),
        ("x,y,z,x\n1,2,3,4\n", "x, y and z"),
        ("1,2\n", "wanted rows"),
        ("1,2,3,4\n", "wanted rows"),
        ("point\n3\n1 2 3\n", "3 points, and lists 1"),
        ("point\n1 2 3\n", "number of points"),
        ("index\n1\n1 2\n", "line 3.*3 columns"),
        ("# frame: LPS, unit: um, space: ct\nx,y,z\n1,2,3\n", "um"),
        ("Point 0 ; OutputPoint = [ 1 2 ]\n", "line 1.*three numbers"),
        (b"\xff\xfe1\0,\x002\0", "UTF-16"),
        (b"name,x,y,z\n\xe4,1,2,3\n", "UTF-8"),
        (b"\x89PNG\0\0", "not text"),
        (b"", "empty"),
    ],
)
def test_text_that_is_no_point_list_is_refused_in_words(tmp_path, text, complaint):
    path = saved(tmp_path, "points.csv", text)
    with pytest.raises(UnreadableFile, match=f"(?s){re.escape(str(path))}.*{complaint}"):
        read_points(path, frame="LPS")


def test_two_lists_side_by_side_are_refused_with_the_command_that_splits_them(tmp_path):
    path = saved(tmp_path, "pairs.csv", f"# baseline x,y,z, follow-up x,y,z\n{LPS},1,2,3\n{RAS},4,5,6\n")
    with pytest.raises(UnreadableFile) as refusal:
        read_points(path, frame="LPS")
    subprocess.run(["sh", "-c", refusal.value.hint.split(": ", 1)[1]], cwd=tmp_path, check=True)
    assert read_points(tmp_path / "a.csv", frame="LPS").position[0].tolist() == PLACE
    assert read_points(tmp_path / "b.csv", frame="LPS").position.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path):
    saved(tmp_path, "landmarks.csv", LPS)
    with pytest.raises(UnreadableFile) as refusal:
        read_points(tmp_path / "landmark.csv", frame="LPS")
    assert "landmarks.csv" in refusal.value.hint


@pytest.mark.parametrize(("name", "style"), [("p.xlsx", None), ("p.csv", "itk"), ("p.fcsv", "ants")])
def test_what_cannot_be_written_is_refused(tmp_path, name, style):
    with pytest.raises(BadInput):
        write_points(as_keypoints([("a", PLACE)]), tmp_path / name, style=style)
    with pytest.raises(UnreadableFile, match=r"\.xlsx"):
        read_points(saved(tmp_path, "q.xlsx", "PK"))
