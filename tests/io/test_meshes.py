"""Surfaces of every format, carried to another place with everything that is on them."""

from __future__ import annotations

import logging
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.errors import BadInput, UnknownFrame, UnreadableFile
from homolog.io.meshes import Mesh, read_mesh, write_mesh

# A regular octahedron, turned and off the origin: its vertex normals are the directions from its centre.
CENTRE = np.array([31.0, -112.5, 840.0])
AXES = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
AXES[:, 0] *= np.sign(np.linalg.det(AXES))
OUT = np.concatenate((AXES.T, -AXES.T))
POINTS = (CENTRE + 20 * OUT).astype(np.float32).astype(np.float64)
FACES = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]])
NORMALS = OUT.astype(np.float32)
FACING = OUT[FACES].mean(axis=1) * np.sqrt(3)
TURN = np.array((-1.0, -1.0, 1.0))


def moved(points):
    """A rotation about a slanted axis, and a shift."""
    return points @ AXES.T + (3.0, -40.0, 5.0)


def rows(values, end="\n"):
    return "".join(" ".join(map(str, row)) + end for row in values)


# ---- files, as other programs write them


def ply(order, points=POINTS, comment="comment SPACE=LPS\n"):
    """Points with normals and a quality, triangles with a flag."""
    names = ["x", "y", "z", "nx", "ny", "nz", "quality"]
    header = f"ply\nformat {order} 1.0\n{comment}element vertex 6\n"
    header += "".join(f"property float {name}\n" for name in names)
    header += "element face 8\nproperty list uchar int vertex_indices\nproperty uchar flag\nend_header\n"
    table = np.concatenate((points, NORMALS, np.arange(6)[:, None] / 4), axis=1).astype(np.float32)
    cells = [(3, *face, flag) for flag, face in enumerate(FACES.tolist())]
    if order == "ascii":
        return (header + rows(table) + rows(cells)).encode()
    end = "<" if "little" in order else ">"
    return header.encode() + table.astype(f"{end}f4").tobytes() + b"".join(struct.pack(f"{end}B3iB", *c) for c in cells)


def stl_binary(points=POINTS, comment="SPACE=LPS"):
    facets = [struct.pack("<12fH", *(0, 0, 0), *points[f].ravel(), 7 * n) for n, f in enumerate(FACES)]
    return f"3D Slicer output. {comment}".encode().ljust(80, b"\0") + struct.pack("<I", 8) + b"".join(facets)


def stl_ascii(points=POINTS, comment="SPACE=LPS"):
    text = f"solid liver {comment}\n"
    for face in FACES:
        corners = rows([["vertex", *points[corner]] for corner in face])
        text += f"facet normal 0 0 0\nouter loop\n{corners}endloop\nendfacet\n"
    return f"{text}endsolid liver\n".encode()


def obj(points=POINTS, comment="# SPACE=LPS"):
    text = f"{comment}\nmtllib liver.mtl\no liver\n"
    text += rows([["v", *row, "0.5 0.25 1.0"] for row in points.round(4)])
    text += "vt 0.5 0.25\n" + rows([["vn", *row] for row in OUT.round(4)]) + "usemtl red\n"
    return (text + rows([["f", *(f"{c}/1/{c}" for c in face)] for face in (FACES + 1).tolist()])).encode()


def vtk(encoding, points=POINTS, comment="SPACE=LPS", version="4.2"):
    """Points, a line, polygons, a scalar a point, normals of the points and of the cells."""

    def numbers(values, dtype, width=3):
        values = np.asarray(values)
        return values.astype(dtype).tobytes() if encoding == "BINARY" else rows(values.reshape(-1, width)).encode()

    led = np.concatenate((np.full((8, 1), 3), FACES), axis=1)
    parts = [
        f"# vtk DataFile Version {version}\nliver {comment}\n{encoding}\nDATASET POLYDATA\nPOINTS 6 float\n".encode()
    ]
    parts += [numbers(points.astype(np.float32), ">f4"), b"\nMETADATA\nINFORMATION 0\n\n"]
    if version == "5.1":
        parts += [b"POLYGONS 9 24\nOFFSETS vtktypeint64\n", numbers(np.arange(0, 25, 3), ">i8", 9)]
        parts += [b"\nCONNECTIVITY vtktypeint64\n", numbers(FACES, ">i8")]
    else:
        parts += [b"LINES 1 3\n", numbers([[2, 0, 3]], ">i4"), b"\nPOLYGONS 8 32\n", numbers(led, ">i4", 4)]
    cells = 8 if version == "5.1" else 9
    shown = np.array([[0, 0, 0]] * (cells - 8) + FACING.tolist(), np.float32)
    parts += [f"\nCELL_DATA {cells}\nNORMALS facing float\n".encode(), numbers(shown, ">f4")]
    parts += [b"\nPOINT_DATA 6\nSCALARS quality float 1\nLOOKUP_TABLE default\n", numbers(np.arange(6) / 4, ">f4")]
    parts += [b"\nNORMALS Normals float\n", numbers(NORMALS, ">f4"), b"\nFIELD FieldData 1\nnumber 1 6 int\n"]
    return b"".join([*parts, numbers(np.arange(6), ">i4"), b"\n"])


PLAIN = {"ply": "comment made by hand\n", "obj": "# made by hand", "stl": "by hand", "vtk": "by hand"}
FILES = {
    "ascii.ply": lambda points=POINTS, **c: ply("ascii", points, **c),
    "little.ply": lambda points=POINTS, **c: ply("binary_little_endian", points, **c),
    "big.ply": lambda points=POINTS, **c: ply("binary_big_endian", points, **c),
    "ascii.stl": stl_ascii,
    "binary.stl": stl_binary,
    "liver.obj": obj,
    "ascii.vtk": lambda points=POINTS, **c: vtk("ASCII", points, **c),
    "binary.vtk": lambda points=POINTS, **c: vtk("BINARY", points, **c),
    "five.vtk": lambda points=POINTS, **c: vtk("BINARY", points, version="5.1", **c),
    "five_ascii.vtk": lambda points=POINTS, **c: vtk("ASCII", points, version="5.1", **c),
}
every_file = pytest.mark.parametrize("name", FILES)
files_with_normals = pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("stl")])


def saved(folder, name, content=None):
    path = folder / name
    path.write_bytes(FILES[name]() if content is None else content)
    return path


def in_comment(name, frame):
    """The comment that says nothing, with a frame added."""
    text = PLAIN[name[-3:]]
    return text if frame is None else text.rstrip("\n") + f" SPACE={frame}" + ("\n" if text.endswith("\n") else "")


def assert_surface(mesh, points, atol=1e-3):
    np.testing.assert_allclose(mesh.points[mesh.faces], points[FACES], atol=atol)


# ---- frames


@every_file
def test_the_same_surface_is_read_from_every_format(tmp_path, name):
    mesh = read_mesh(saved(tmp_path, name))
    assert_surface(mesh, POINTS)
    assert mesh.points.shape == (6, 3)
    assert mesh.space == name[:-4]


@every_file
def test_a_mesh_that_says_ras_is_turned(tmp_path, name):
    path = saved(tmp_path, name, FILES[name](POINTS * TURN, comment=in_comment(name, "RAS")))
    assert_surface(read_mesh(path), POINTS)


@every_file
def test_a_mesh_that_does_not_say_its_frame_is_refused_until_it_is_given(tmp_path, name):
    path = saved(tmp_path, name, FILES[name](comment=in_comment(name, None)))
    with pytest.raises(UnknownFrame, match="does not say") as refusal:
        read_mesh(path)
    assert "--points-space LPS" in refusal.value.hint
    assert_surface(read_mesh(path, frame="LPS"), POINTS)
    assert_surface(read_mesh(path, frame="RAS"), POINTS * TURN)


def test_a_given_frame_overrules_the_comment_and_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert_surface(read_mesh(saved(tmp_path, "little.ply"), frame="RAS"), POINTS * TURN)
    assert "LPS" in caplog.text
    assert "RAS" in caplog.text


def test_a_mesh_is_never_in_voxels(tmp_path):
    with pytest.raises(BadInput, match="voxels"):
        read_mesh(saved(tmp_path, "little.ply"), frame="voxel")


# ---- carrying


@every_file
@pytest.mark.parametrize("frame", ["LPS", "RAS", None])
def test_a_mesh_is_carried_and_says_lps(tmp_path, name, frame):
    path = saved(tmp_path, name, FILES[name](comment=in_comment(name, frame)))
    mesh = read_mesh(path, frame="LPS")
    write_mesh(mesh.moved_to(moved(mesh.points), "moving"), tmp_path / "out" / name)
    carried = read_mesh(tmp_path / "out" / name)
    assert_surface(carried, moved(POINTS))
    content = (tmp_path / "out" / name).read_bytes()
    assert b"SPACE=LPS" in content
    assert b"SPACE=RAS" not in content


@files_with_normals
@pytest.mark.parametrize(("frame", "turn"), [("LPS", 1), ("RAS", TURN)])
def test_normals_turn_with_the_surface(tmp_path, name, frame, turn):
    mesh = read_mesh(saved(tmp_path, name, FILES[name](comment=in_comment(name, frame))))
    assert mesh.normals
    write_mesh(mesh.moved_to(moved(mesh.points), "moving"), tmp_path / f"out_{name}")
    for normals in read_mesh(tmp_path / f"out_{name}").normals:
        of_corners = normals.vectors[normals.corner]
        is_flat = np.ptp(of_corners, axis=1).max() < 0.1
        outwards = FACING[:, None] if is_flat else OUT[FACES]
        np.testing.assert_allclose(of_corners - (outwards * turn) @ AXES.T, 0, atol=1e-4)


def test_normals_that_pointed_inwards_still_do(tmp_path):
    path = saved(tmp_path, "in.ply", ply("ascii").replace(rows(NORMALS).encode(), b""))
    mesh = read_mesh(saved(tmp_path, "ascii.ply"))
    inwards = Mesh(mesh.points, "a", mesh.faces, (type(mesh.normals[0])(-OUT, mesh.faces),), mesh.rest)
    write_mesh(inwards.moved_to(moved(mesh.points), "b"), path)
    np.testing.assert_allclose(read_mesh(path).normals[0].vectors, -OUT @ AXES.T, atol=1e-4)


@pytest.mark.parametrize("name", ["ascii.stl", "binary.stl"])
def test_facet_normals_point_out_of_the_carried_solid(tmp_path, name):
    mesh = read_mesh(saved(tmp_path, name))
    write_mesh(mesh.moved_to(moved(mesh.points), "moving"), tmp_path / f"out_{name}")
    content = (tmp_path / f"out_{name}").read_bytes()
    if name == "binary.stl":
        found = [struct.unpack_from("<3f", content, 84 + 50 * n) for n in range(8)]
    else:
        found = [line.split()[2:] for line in content.decode().splitlines() if line.startswith("facet")]
    np.testing.assert_allclose(np.array(found, float), FACING @ AXES.T, atol=1e-5)


@files_with_normals
def test_a_mesh_that_stays_is_written_byte_for_byte(tmp_path, name):
    path = saved(tmp_path, name)
    write_mesh(read_mesh(path), tmp_path / f"out_{name}")
    assert (tmp_path / f"out_{name}").read_bytes() == path.read_bytes()


def test_the_two_bytes_a_facet_that_hold_colours_in_stl_are_kept(tmp_path):
    mesh = read_mesh(saved(tmp_path, "binary.stl"))
    write_mesh(mesh.moved_to(moved(mesh.points), "b"), tmp_path / "out.stl")
    content = (tmp_path / "out.stl").read_bytes()
    assert content.startswith(b"3D Slicer output. SPACE=LPS")
    assert [struct.unpack_from("<H", content, 84 + 50 * n + 48)[0] for n in range(8)] == [7 * n for n in range(8)]


def test_everything_but_points_and_normals_is_kept_in_obj(tmp_path):
    mesh = read_mesh(saved(tmp_path, "liver.obj"))
    write_mesh(mesh.moved_to(moved(mesh.points), "b"), tmp_path / "out.obj")
    before, after = (folder.read_text().splitlines() for folder in (tmp_path / "liver.obj", tmp_path / "out.obj"))
    kept = [line for line in before if not line.startswith(("v ", "vn "))]
    assert [line for line in after if not line.startswith(("v ", "vn "))] == kept
    assert all(line.endswith("0.5 0.25 1.0") for line in after if line.startswith("v "))


def test_polygons_and_mixed_faces_are_kept_in_ply(tmp_path):
    header = b"ply\nformat binary_little_endian 1.0\nelement camera 1\nproperty int number\nelement vertex 4\n"
    header += b"property double x\nproperty double y\nproperty double z\nproperty uchar red\n"
    header += b"element face 2\nproperty list uchar uint vertex_index\nend_header\n"
    corners = POINTS[:4]
    vertices = b"".join(struct.pack("<3dB", *row, 9) for row in corners)
    faces = struct.pack("<B4I", 4, 0, 1, 2, 3) + struct.pack("<B3I", 3, 0, 2, 3)
    path = saved(tmp_path, "quad.ply", header + struct.pack("<i", 42) + vertices + faces)
    mesh = read_mesh(path, frame="LPS")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 2, 3]]
    write_mesh(mesh.moved_to(moved(corners), "b"), tmp_path / "out.ply")
    body = (tmp_path / "out.ply").read_bytes().partition(b"end_header\n")[2]
    assert body.startswith(struct.pack("<i", 42))
    assert body.endswith(faces)
    np.testing.assert_array_equal(read_mesh(tmp_path / "out.ply").points, moved(corners))


def test_mixed_faces_are_read_from_ascii_ply(tmp_path):
    header = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    path = saved(tmp_path, "quad.ply", (header + rows(POINTS[:4]) + "4 0 1 2 3\n3 0 2 3\n").encode())
    mesh = read_mesh(path, frame="LPS")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 2, 3]]
    write_mesh(mesh, tmp_path / "out.ply")
    assert (tmp_path / "out.ply").read_text().endswith("4 0 1 2 3\n3 0 2 3\n")


def test_obj_faces_may_count_backwards(tmp_path):
    text = rows([["v", *row] for row in POINTS]) + rows([["f", *(face - 6)] for face in FACES])
    assert_surface(read_mesh(saved(tmp_path, "back.obj", text.encode()), frame="LPS"), POINTS)


def test_the_triangles_of_a_strip_all_face_the_same_side(tmp_path):
    flat = "0 0 0\n0 1 0\n1 0 0\n1 1 0\n2 0 0\n"
    strip = "TRIANGLE_STRIPS 1 6\n5 0 1 2 3 4\n"
    text = f"# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\nPOINTS 5 float\n{flat}{strip}"
    mesh = read_mesh(saved(tmp_path, "strip.vtk", text.encode()), frame="LPS")
    a, b, c = (mesh.points[mesh.faces[:, corner]] for corner in range(3))
    assert np.cross(b - a, c - a).tolist() == [[0, 0, -1]] * 3


def test_a_map_that_mirrors_is_told(caplog):
    mesh = Mesh(POINTS, "a", FACES)
    mesh.moved_to(moved(POINTS), "b")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        mesh.moved_to(POINTS * (-1, 1, 1), "b")
    assert "mirrors" in caplog.text


def test_a_mesh_keeps_its_points_count_when_it_moves():
    with pytest.raises(BadInput, match="6 points"):
        Mesh(POINTS, "a", FACES).moved_to(POINTS[:5], "b")


@pytest.mark.parametrize("ending", [".ply", ".stl", ".obj", ".vtk"])
@pytest.mark.parametrize("origin", [*FILES, None])
def test_a_surface_is_written_to_any_format(tmp_path, caplog, origin, ending):
    mesh = Mesh(POINTS, "a", FACES) if origin is None else read_mesh(saved(tmp_path, origin))
    write_mesh(mesh, tmp_path / f"out{ending}")
    assert_surface(read_mesh(tmp_path / f"out{ending}"), POINTS)
    assert bool(caplog.records) == (origin is not None and not origin.endswith(ending))


# ---- refusals


@pytest.mark.parametrize("name", [n for n in FILES if n not in ("liver.obj", "five_ascii.vtk")])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_file_that_was_cut_off_is_refused_in_words(tmp_path_factory, name, data):
    whole = FILES[name]()
    # a VTK file announces each section by itself: without the last ones it is whole; and a number in ascii that
    # lost its last digits is still a number
    most = whole.index(b"METADATA") - 60 if name.endswith("vtk") else len(whole.rstrip()) - 6
    path = saved(tmp_path_factory.mktemp("cut"), name, whole[: data.draw(st.integers(0, most - 1))])
    with pytest.raises(UnreadableFile):
        read_mesh(path, frame="LPS")


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("ascii.ply", b"3 0 1 2 0", b"3 0 1 6 0", "point 6"),
        ("ascii.ply", b"3 0 1 2 0", b"3 0 one 2 0", "line 22.*face"),
        ("ascii.ply", b"property float y\n", b"property half y\n", "line 6.*half"),
        ("ascii.ply", b"property float z\n", b"property float w\n", "x, y and z"),
        ("ascii.ply", b"ascii 1.0", b"gzip 1.0", "gzip"),
        ("liver.obj", b"f 1/1/1", b"f 9/1/1", "point 8"),
        ("liver.obj", b"f 1/1/1", b"f 1/1/9", "normal"),
        ("liver.obj", b"f 1/1/1", b"f a/1/1", "line 18.*a/1/1"),
        ("liver.obj", b"v ", b"v nan ", "line 4.*finite"),
        ("ascii.stl", b"vertex ", b"vertex x", "line 4.*x"),
        ("ascii.vtk", b"POLYDATA", b"STRUCTURED_GRID", "STRUCTURED_GRID"),
        ("ascii.vtk", b"ASCII", b"XML", "XML"),
        ("ascii.vtk", b"POINTS 6 float", b"POINTS six float", "POINTS six"),
        ("ascii.vtk", b"POINTS 6 float", b"POINTS 6 half", "half"),
        ("ascii.vtk", b"POINTS 6 float\n", b"POINTS 6 float\nx", "no number"),
        ("ascii.vtk", b"# vtk", b"# VTX", "no legacy VTK"),
    ],
)
def test_a_broken_mesh_is_refused_in_words(tmp_path, name, old, new, complaint):
    content = FILES[name]()
    assert old in content
    with pytest.raises(UnreadableFile, match=complaint):
        read_mesh(saved(tmp_path, name, content.replace(old, new, 1)), frame="LPS")


def test_points_that_are_not_finite_are_refused_both_ways(tmp_path):
    points = POINTS.copy()
    points[2, 1] = np.nan
    with pytest.raises(UnreadableFile, match="point 3 of 6 is not finite"):
        read_mesh(saved(tmp_path, "little.ply", FILES["little.ply"](points)))
    with pytest.raises(BadInput, match="not finite"):
        write_mesh(Mesh(points, "a", FACES), tmp_path / "out.ply")


@pytest.mark.parametrize(("name", "way_out"), [("a.vtp", "ply"), ("a.gii", "mris_convert"), ("a.step", "")])
def test_other_formats_are_refused_with_a_way_out(tmp_path, name, way_out):
    with pytest.raises(UnreadableFile) as refusal:
        read_mesh(saved(tmp_path, name, b"something"))
    assert way_out in refusal.value.hint
    with pytest.raises(BadInput):
        write_mesh(Mesh(POINTS, "a", FACES), tmp_path / name)


def test_points_without_triangles_do_not_go_into_stl(tmp_path):
    cloud = Mesh(POINTS, "a", np.empty((0, 3)))
    with pytest.raises(BadInput, match="STL"):
        write_mesh(cloud, tmp_path / "cloud.stl")
    write_mesh(cloud, tmp_path / "cloud.ply")
    np.testing.assert_allclose(read_mesh(tmp_path / "cloud.ply").points, POINTS)
