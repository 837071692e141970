"""3D Slicer's point lists of every generation."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from homolog.errors import BadInput, UnknownFrame, UnreadableFile
from homolog.io.points import frame_said, read_points, write_points
from homolog.space.keypoints import Keypoints
from tests.geometry import oblique_grid

# One place in the patient, as each generation writes it.
PLACE = [12.25, 40.5, -7.0]
COLUMNS = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
SLICER_5 = f"""# Markups fiducial file version = 5.6
# CoordinateSystem = LPS
{COLUMNS}1,12.25,40.5,-7,0,0,0,1,1,1,0,tip,,,2,0
2,0,0,0,0,0,0,1,1,1,0,to do,,,0,0
"""
SLICER_411 = f"""# Markups fiducial file version = 4.11
# CoordinateSystem = LPS
{COLUMNS}vtkMRMLMarkupsFiducialNode_0,12.25,40.5,-7,0,0,0,1,1,1,0,tip,,
"""
SLICER_410 = f"""# Markups fiducial file version = 4.10
# CoordinateSystem = 0
{COLUMNS}vtkMRMLMarkupsFiducialNode_0,-12.25,-40.5,-7,0,0,0,1,1,1,0,tip,,vtkMRMLScalarVolumeNode1
"""
SLICER_410_LPS = SLICER_410.replace("= 0", "= 1").replace("-12.25,-40.5", "12.25,40.5")
SLICER_3 = """# Fiducial List file /home/me/F.fcsv
# version = 2
# name = F
# numPoints = 1
# symbolScale = 5
# symbolType = 11
# visibility = 1
# textScale = 4.5
# color = 0.4,1,1
# selectedColor = 1,0.5,0.5
# opacity = 1
# columns = label,x,y,z,sel,vis
tip,-12.25,-40.5,-7,1,1
"""


def saved(folder, name, text):
    path = folder / name
    path.write_bytes(text.encode())
    return path


def markup(*points, **more):
    return {"type": "Fiducial", "name": "F", "controlPoints": list(points), **more}


def point(label="tip", position=(12.25, 40.5, -7), **more):
    return {"id": "1", "label": label, "position": list(position), **more}


def saved_markups(folder, *markups, name="points.mrk.json"):
    return saved(folder, name, json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": list(markups)}))


# ---- fcsv


@pytest.mark.parametrize("text", [SLICER_5, SLICER_411, SLICER_410, SLICER_410_LPS, SLICER_3])
def test_every_generation_of_fcsv_puts_the_point_at_the_same_place(tmp_path, text):
    points = read_points(saved(tmp_path, "F.fcsv", text))
    assert points.position.tolist() == [PLACE]
    assert points.name == ("tip",)
    assert points.space == "F"


@pytest.mark.parametrize(("text", "frame"), [(SLICER_5, "LPS"), (SLICER_410, "RAS"), (SLICER_3, "RAS")])
def test_the_frame_an_fcsv_says_can_be_asked_for(tmp_path, text, frame):
    assert frame_said(saved(tmp_path, "F.fcsv", text)) == frame


@pytest.mark.parametrize(
    "text",
    [
        "# name,x,y,z\ntip,12.25,40.5,-7\n",
        "tip,12.25,40.5,-7,1,1\n",
        SLICER_5.replace("# CoordinateSystem = LPS\n", ""),
        SLICER_5.replace("= LPS", "= scanner"),
    ],
    ids=["bare", "no header", "no system", "unknown system"],
)
def test_an_fcsv_that_does_not_say_its_frame_is_refused_until_it_is_given(tmp_path, text):
    path = saved(tmp_path, "F.fcsv", text)
    with pytest.raises(UnknownFrame):
        read_points(path)
    assert read_points(path, frame="LPS").position.tolist() == [PLACE]
    np.testing.assert_array_equal(read_points(path, frame="RAS").position, [[-12.25, -40.5, -7]])


def test_an_fcsv_in_voxels_needs_its_image(tmp_path):
    grid = oblique_grid()
    path = saved(tmp_path, "F.fcsv", SLICER_410.replace("= 0", "= 2").replace("-12.25,-40.5,-7", "3,4.5,6"))
    with pytest.raises(BadInput, match="voxels"):
        read_points(path)
    np.testing.assert_allclose(read_points(path, grid=grid).position, grid.world(np.array([[3, 4.5, 6]])), atol=1e-9)


def test_a_given_frame_overrules_the_header_of_an_fcsv_with_a_warning(tmp_path, caplog):
    path = saved(tmp_path, "F.fcsv", SLICER_410)
    with caplog.at_level(logging.WARNING):
        assert read_points(path, frame="LPS").position.tolist() == [[-12.25, -40.5, -7]]
    assert "RAS" in caplog.text
    assert "LPS" in caplog.text


def test_an_fcsv_label_with_commas_and_quotes_is_read_as_slicer_writes_it(tmp_path):
    path = saved(tmp_path, "F.fcsv", SLICER_5.replace("tip", '"the ""tip"", left"'))
    assert read_points(path).name == ('the "tip", left',)


def test_an_fcsv_point_without_a_label_is_called_by_its_id(tmp_path):
    path = saved(tmp_path, "F.fcsv", SLICER_411.replace("tip", ""))
    assert read_points(path).name == ("vtkMRMLMarkupsFiducialNode_0",)


def test_windows_line_ends_and_byte_order_marks_change_nothing(tmp_path):
    path = saved(tmp_path, "F.fcsv", "\ufeff" + SLICER_411.replace("\n", "\r\n"))
    assert read_points(path).position.tolist() == [PLACE]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (SLICER_411.replace("40.5", "nan"), "line 4.*finite"),
        (SLICER_411.replace("40.5", "forty"), "line 4.*forty"),
        (SLICER_411 + "2,1,2\n", "line 5.*columns"),
        (SLICER_411[: SLICER_411.index("vtk")], "no points"),
    ],
)
def test_a_broken_fcsv_is_refused_in_words(tmp_path, text, complaint):
    with pytest.raises(UnreadableFile, match=complaint):
        read_points(saved(tmp_path, "F.fcsv", text))


# ---- mrk.json


@pytest.mark.parametrize("more", [{}, {"coordinateSystem": "LPS"}, {"coordinateUnits": ["mm", "UCUM", "millimeter"]}])
def test_a_markup_is_lps_unless_it_says_otherwise(tmp_path, more):
    points = read_points(saved_markups(tmp_path, markup(point(), **more)))
    assert points.position.tolist() == [PLACE]
    assert points.name == ("tip",)


def test_a_markup_in_ras_is_the_same_place(tmp_path):
    path = saved_markups(tmp_path, markup(point(position=(-12.25, -40.5, -7)), coordinateSystem="RAS"))
    assert frame_said(path) == "RAS"
    assert read_points(path).position.tolist() == [PLACE]


def test_a_markup_in_an_unknown_system_is_refused_until_a_frame_is_given(tmp_path):
    path = saved_markups(tmp_path, markup(point(), coordinateSystem="IJK"))
    with pytest.raises(UnknownFrame):
        read_points(path)
    assert read_points(path, frame="LPS").position.tolist() == [PLACE]


def test_all_markups_of_a_file_are_read_each_in_its_own_frame(tmp_path):
    ras = markup(point("a", (-12.25, -40.5, -7)), name="ribs", coordinateSystem="RAS")
    line = markup(point("a"), point("b", (1, 2, 3)), name="spine", type="Line")
    points = read_points(saved_markups(tmp_path, ras, markup(name="empty"), line))
    assert points.name == ("ribs/a", "spine/a", "spine/b")
    assert points.position.tolist() == [PLACE, PLACE, [1, 2, 3]]


def test_control_points_that_are_not_placed_are_left_out(tmp_path):
    undefined = point("later", (0, 0, 0), positionStatus="undefined")
    preview = {"label": "moving", "positionStatus": "preview"}
    points = read_points(saved_markups(tmp_path, markup(undefined, point(positionStatus="defined"), preview)))
    assert points.name == ("tip",)


def test_a_control_point_without_a_label_is_called_by_its_id(tmp_path):
    assert read_points(saved_markups(tmp_path, markup(point("", id="17")))).name == ("17",)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"markups": [', "line 1.*not JSON"),
        ("tip,1,2,3", "not JSON"),
        ("[1, 2]", "not 3D Slicer markups"),
        ('{"points": []}', "not 3D Slicer markups"),
        ('{"markups": ["a"]}', "not 3D Slicer markups"),
        ('{"markups": []}', "no points"),
        (json.dumps({"markups": [markup()]}), "no points"),
        (json.dumps({"markups": [markup(point(), coordinateUnits="um")]}), "'F'.*um"),
        (json.dumps({"markups": [markup(point(), point(position=(1, 2)))]}), "control point 2.*three numbers"),
        (json.dumps({"markups": [markup(point(position=(1, None, 3)))]}), "control point 1.*None"),
        (json.dumps({"markups": [markup(point(position=(1, float("nan"), 3)))]}), "control point 1.*finite"),
        (json.dumps({"markups": [markup(point(position=(1, "2", 3)))]}), "control point 1.*'2'"),
        (json.dumps({"markups": [markup({"label": "a"})]}), "control point 1.*position"),
        (json.dumps({"markups": [{"type": "Fiducial", "controlPoints": 3}]}), "controlPoints"),
    ],
)
def test_json_that_is_no_point_list_is_refused_in_words(tmp_path, content, complaint):
    with pytest.raises(UnreadableFile, match=complaint):
        read_points(saved(tmp_path, "points.mrk.json", content))


def test_what_is_written_keeps_to_the_schema_of_slicer(tmp_path):
    path = tmp_path / "points.mrk.json"
    write_points(Keypoints(np.array([PLACE, [1, 2, 3]]), "ct", ("tip", "Spitze, ß")), path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["@schema"].lower().endswith("markups-schema-v1.0.3.json#")
    (written,) = content["markups"]
    strings, flags = {"type", "name", "labelFormat"}, {"locked", "fixedNumberOfControlPoints"}
    assert all(isinstance(written[key], str) for key in strings)
    assert all(isinstance(written[key], bool) for key in flags)
    assert (written["type"], written["coordinateSystem"], written["coordinateUnits"]) == ("Fiducial", "LPS", "mm")
    for control, position in zip(written["controlPoints"], [PLACE, [1, 2, 3]], strict=True):
        assert control["position"] == position
        assert control["positionStatus"] == "defined"
        assert all(isinstance(control[key], str) for key in ("id", "label", "description", "associatedNodeID"))
        assert all(isinstance(control[key], bool) for key in ("selected", "locked", "visibility"))


def test_an_fcsv_that_is_written_has_the_columns_slicer_counts_on(tmp_path):
    path = tmp_path / "F.fcsv"
    write_points(Keypoints(np.array([PLACE]), "ct", ("tip",)), path)
    version, system, columns, row = path.read_text().splitlines()
    assert version.startswith("# Markups fiducial file version = 5.")
    assert system == "# CoordinateSystem = LPS"
    assert f"{columns}\n" == COLUMNS
    fields = row.split(",")
    assert [float(field) for field in fields[1:4]] == PLACE
    assert fields[11] == "tip"
    assert len(fields) == 16
