"""HDF5 read and written without its library: against h5py and SimpleITK, in two copies at most, whatever is damaged."""

from __future__ import annotations

import resource
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog import Affine, BSpline, Chain, Displacement, Grid, read_transform, write_transform
from homolog.errors import BadInput, HomologError, UnreadableFile, UnwritableFile
from homolog.io import hdf5, hdf5_writing
from homolog.io.hdf5_writing import Written
from homolog.space.transforms import chain
from tests.geometry import oblique_grid, some_affine, some_displacement, some_spline

GRID = oblique_grid((9, 7, 11))
TEXT = h5py.string_dtype("ascii")
# the ways in which files of transforms are stored, and whether they are read here or by ITK
LIBRARIES = ["earliest", ("v108", "v108"), ("v110", "v110")]
CHUNKS = [{}, {"chunks": True}, {"chunks": (50,)}, {"chunks": (50,), "compression": "gzip"}]


# an affine map after a field after a spline
MAP = chain([some_affine(), some_displacement(GRID), some_spline(around=GRID)], fixed="fixed", moving="moving")
POINTS = GRID.world(np.random.default_rng(5).uniform(0.5, np.array(GRID.shape) - 1.5, (80, 3)))
# a file holds a wider lattice, in which the same place is rounded otherwise
CARRIED, ROUNDING = MAP.apply(POINTS), 1e-9


def by_itk(path, points):
    transform = sitk.ReadTransform(str(path))
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same map as we write it, as SimpleITK does, and as ITK 4 did: superblock 0, names that lack an s."""
    folder = tmp_path_factory.mktemp("hdf5")
    ours, itk, old = (folder / f"{name}.h5" for name in ("ours", "itk", "old"))
    write_transform(MAP, ours)
    sitk.WriteTransform(sitk.ReadTransform(str(ours)), str(itk))
    stored_again(ours, old, misspelled=True)
    return {"ours": ours, "itk": itk, "old": old}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples of a property: making hundreds takes longer than reading."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def structure(files):
    """Where in those files no numbers lie: over numbers HDF5 has no sum, and other numbers are another map."""
    return {name: np.flatnonzero(~where_numbers_lie(path)) for name, path in files.items()}


@pytest.fixture(scope="module")
def carried(files):
    return {name: read_transform(path).apply(POINTS) for name, path in files.items()}


def stored_again(path, other, libver="earliest", dtype="f8", misspelled=False, **chunks):
    """The transforms of a file written by the HDF5 library in another way."""
    with h5py.File(path) as source, h5py.File(other, "w", libver=libver) as target:
        for number, group in source["TransformGroup"].items():
            place = target.create_group(f"TransformGroup/{number}")
            place.create_dataset("TransformType", data=group["TransformType"][:], dtype=TEXT)
            for name in ("TransformFixedParameters", "TransformParameters"):
                if name in group:
                    name_there = name.replace("Transform", "Tranform") if misspelled else name
                    kind = "f8" if "Fixed" in name else dtype
                    place.create_dataset(name_there, data=group[name][:].astype(kind), **how(chunks, group[name].size))


def how(chunks, size):
    """The library's options for `size` numbers, of which a chunk must not be larger."""
    length = chunks.get("chunks")
    return chunks | {"chunks": (min(*length, size),)} if isinstance(length, tuple) else chunks


@pytest.fixture
def without_the_library(monkeypatch):
    """Whatever is read is read without the HDF5 library, which only comes with ITK."""
    whole = sitk.ReadTransform

    def only_text(name):
        assert not name.endswith(("h5", "hdf5"))
        return whole(name)

    monkeypatch.setattr("SimpleITK.ReadTransform", only_text)


words = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/."), min_size=1, max_size=40)
numbers = st.tuples(st.sampled_from(["<f4", "<f8"]), st.integers(0, 3000), st.integers(1, 900))
trees = st.recursive(numbers | words, lambda inner: st.dictionaries(words, inner, max_size=5), max_leaves=20)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(words, trees, max_size=5), st.integers(0, 99))
def test_what_we_write_is_what_the_library_reads(folder, tree, seed):
    path = folder / "t.h5"
    rng = np.random.default_rng(seed)

    def grown(node):
        if isinstance(node, dict):
            return {name: grown(inner) for name, inner in node.items()}
        return node if isinstance(node, str) else rng.normal(size=node[1]).astype(node[0])

    def to_write(node):
        if isinstance(node, dict):
            return {name: to_write(inner) for name, inner in node.items()}
        if isinstance(node, str):
            return node
        return Written(node.size, node.dtype.str, lambda: np.array_split(node, 7))

    def same(node, theirs, file, address):
        if isinstance(node, dict):
            members = file.members(address)
            assert set(node) == set(theirs) == set(members)
            return all(same(inner, theirs[name], file, members[name]) for name, inner in node.items())
        if isinstance(node, str):
            return theirs[0].decode() == node == file.text(address)
        assert theirs.dtype == node.dtype
        ours = np.concatenate([node[:0], *file.numbers(address).arrays(700)])
        return np.array_equal(theirs[:], node) and np.array_equal(ours, node)

    grown_tree = grown(tree)
    with open(path, "wb") as file:
        hdf5_writing.write(to_write(grown_tree), file)
    with h5py.File(path) as theirs, hdf5.opened(path) as ours:
        assert same(grown_tree, theirs, ours, ours.root)


@pytest.mark.parametrize("libver", LIBRARIES)
@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_the_library_writes_is_read_without_it(tmp_path, files, libver, chunks, dtype, without_the_library):
    stored_again(files["ours"], tmp_path / "t.h5", libver, dtype, **chunks)
    if libver == ("v110", "v110") and chunks:
        with pytest.raises(AssertionError):  # chunks are found in another way since 1.10: that is left to ITK
            read_transform(tmp_path / "t.h5")
        return
    read = read_transform(tmp_path / "t.h5")
    # float32 at 300 mm
    np.testing.assert_allclose(read.apply(POINTS), CARRIED, atol=1e-4 if dtype == "f4" else ROUNDING, rtol=0)


def test_what_is_stored_in_rare_ways_is_read_by_itk(tmp_path, files):
    latest = {"libver": ("v110", "v110"), "chunks": (50,), "compression": "gzip"}
    for name, how in {
        "shuffled": {"libver": ("v108", "v108"), "chunks": (50,), "compression": "gzip", "shuffle": True},
        "big endian": {"libver": ("v108", "v108"), "dtype": ">f8"},
        "new index": latest,
    }.items():
        stored_again(files["ours"], tmp_path / f"{name}.h5", **how)
        read = read_transform(tmp_path / f"{name}.h5")
        np.testing.assert_allclose(read.apply(POINTS), CARRIED, atol=ROUNDING, rtol=0)


def test_rare_ways_without_sums_are_refused_with_a_way_out(tmp_path, files):
    """Nothing tells them from damage, over which the library crashes."""
    stored_again(files["ours"], tmp_path / "t.h5", dtype=">f8")
    with pytest.raises(UnreadableFile, match=r"neither float32 nor float64.*\nhint: if ITK reads it: python"):
        read_transform(tmp_path / "t.h5")


def test_a_composite_of_many_parts_is_read(tmp_path):
    parts = [sitk.TranslationTransform(3, (n, 0.5, 0)) for n in range(40)]
    sitk.WriteTransform(sitk.CompositeTransform(parts), str(tmp_path / "t.h5"))
    stored_again(tmp_path / "t.h5", tmp_path / "old.h5")
    for name in ("t.h5", "old.h5"):
        np.testing.assert_allclose(read_transform(tmp_path / name).matrix[:3, 3], [780, 20, 0])


@pytest.mark.parametrize("which", ["ours", "itk", "old"])
def test_one_map_whoever_wrote_it(files, which, without_the_library):
    read = read_transform(files[which])
    assert [type(part) for part in read.parts] == [Affine, Displacement, BSpline]
    np.testing.assert_allclose(read.apply(POINTS), CARRIED, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("kind", ["affine", "spline", "field"])
def test_simpleitk_reads_each_kind_as_it_was(tmp_path, kind):
    made = {"affine": some_affine(), "spline": some_spline(around=GRID), "field": some_displacement(GRID)}[kind]
    write_transform(made, tmp_path / "t.h5")
    tolerance = 1e-5 if kind == "field" else 1e-9
    np.testing.assert_allclose(by_itk(tmp_path / "t.h5", POINTS), made.apply(POINTS), atol=tolerance, rtol=0)


def test_what_itk_before_5_looks_for_is_there_and_costs_nothing(tmp_path):
    write_transform(some_displacement(GRID), tmp_path / "t.h5")
    with h5py.File(tmp_path / "t.h5") as file:
        group = file["TransformGroup/0"]
        assert group["TranformParameters"] == group["TransformParameters"]
        assert group["TranformFixedParameters"] == group["TransformFixedParameters"]
        size = group["TransformParameters"].size
    assert (tmp_path / "t.h5").stat().st_size < 4 * size + 8192


def test_a_linear_class_beside_a_field_keeps_the_field_from_itk(tmp_path, without_the_library):
    turn, field = sitk.Euler3DTransform((1, 2, 3), 0.1, -0.2, 0.3, (4, 5, 6)), some_displacement(GRID)
    write_transform(field, tmp_path / "field.h5")
    with h5py.File(tmp_path / "field.h5") as source, h5py.File(tmp_path / "t.h5", "w") as target:
        kinds = ["CompositeTransform_double_3_3", "Euler3DTransform_double_3_3", "DisplacementFieldTransform_float_3_3"]
        for number, kind in enumerate(kinds):
            place = target.create_group(f"TransformGroup/{number}")
            place.create_dataset("TransformType", data=[kind], dtype=TEXT)
        for name, numbers in (("Parameters", turn.GetParameters()), ("FixedParameters", turn.GetFixedParameters())):
            target[f"TransformGroup/1/Transform{name}"] = np.array(numbers)
            target[f"TransformGroup/2/Transform{name}"] = source[f"TransformGroup/0/Transform{name}"][:]
    expected = np.array([turn.TransformPoint(point) for point in field.apply(POINTS).tolist()])
    np.testing.assert_allclose(read_transform(tmp_path / "t.h5").apply(POINTS), expected, atol=1e-9)


def test_the_same_map_is_the_same_bytes(tmp_path):
    for name in ("one.h5", "two.h5"):
        write_transform(MAP, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_no_more_than_two_copies_are_held(tmp_path):
    grid = Grid.regular((90, 80, 100), (0.7, 0.9, 1.1))
    field = Displacement(np.random.default_rng(0).normal(size=(*grid.shape, 3)).astype(np.float32), grid)
    copy = field.vectors.nbytes
    peaks = []
    for work in (lambda: write_transform(field, tmp_path / "t.h5"), lambda: read_transform(tmp_path / "t.h5")):
        tracemalloc.start()
        work()
        peaks.append(tracemalloc.get_traced_memory()[1] / copy)
        tracemalloc.stop()
    # beside the field that is written, and with the field that is read
    assert 0 < peaks[0] < 1 and 1 <= peaks[1] < 2


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_chunk_that_was_never_written_is_not_taken_for_zeros(tmp_path, compression):
    write_transform(some_displacement(GRID), tmp_path / "whole.h5")
    stored_again(tmp_path / "whole.h5", tmp_path / "t.h5", chunks=(500,), compression=compression)
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        group = file["TransformGroup/0"]
        vectors = group["TransformParameters"][:]
        del group["TransformParameters"]
        kept = group.create_dataset("TransformParameters", vectors.shape, "f8", chunks=(500,), compression=compression)
        kept[500:] = vectors[500:]
    with pytest.raises(UnreadableFile, match="never written"):
        read_transform(tmp_path / "t.h5")


def test_a_file_of_something_else_is_told_from_a_damaged_one(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layer/kernel"] = np.ones((3, 3))
    with pytest.raises(BadInput, match="holds no transform of ITK's"):
        read_transform(tmp_path / "weights.h5")


@pytest.mark.parametrize("kind", ["VelocityFieldTransform_double_3_3", "BSplineTransform_double_3_3_2"])
def test_lattices_that_are_no_map_of_ours_are_named(tmp_path, kind):
    write_transform(some_displacement(GRID), tmp_path / "t.h5")
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        del file["TransformGroup/0/TransformType"]
        file["TransformGroup/0"].create_dataset("TransformType", data=[kind], dtype=TEXT)
    with pytest.raises(BadInput, match=rf"holds a {kind}.*\nhint: in 3D Slicer"):
        read_transform(tmp_path / "t.h5")


@pytest.mark.parametrize(
    "fixed",
    [(8, 7, 11), (9.5, 7, 11), (9, 7, -11), (np.nan, 7, 11), (2.0**40, 2.0**40, 1)],
)
def test_a_lattice_that_does_not_fit_its_numbers_is_refused(tmp_path, fixed):
    write_transform(some_displacement(GRID), tmp_path / "t.h5")
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        file["TransformGroup/0/TransformFixedParameters"][:3] = fixed
    with pytest.raises(UnreadableFile, match="lattice"):
        read_transform(tmp_path / "t.h5")


@pytest.mark.parametrize("which", ["ours", "itk", "old"])
def test_blocks_that_point_in_a_circle_are_not_read_for_ever(tmp_path, files, which, without_the_library):
    """Every 8 bytes that look like an address point, one after another, back to the outermost group."""
    whole = files[which].read_bytes()
    with hdf5.opened(files[which]) as file:
        root = file.root
    addresses = [at for at in range(64, 4096) if 0 < int.from_bytes(whole[at : at + 8], "little") < len(whole)]
    for at in addresses[:: max(1, len(addresses) // 60)]:
        assert outcome(tmp_path, whole[:at] + root.to_bytes(8, "little") + whole[at + 8 :]) is not None


def outcome(folder: Path, content: bytes):
    """The points as the map in these bytes carries them; an empty list if it is refused."""
    path = folder / "damaged.h5"
    path.write_bytes(content)
    try:
        transform = read_transform(path)
    except HomologError:
        return []
    assert isinstance(transform, Affine | Displacement | BSpline | Chain)
    with np.errstate(all="ignore"):
        return transform.apply(POINTS)


def where_numbers_lie(path):
    found = np.zeros(path.stat().st_size, bool)

    def mark(_, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.id.get_offset():
            found[item.id.get_offset() :][: item.id.get_storage_size()] = True

    with h5py.File(path) as file:
        file.visititems(mark)
    return found


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["ours", "itk", "old"]), st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(folder, files, which, share):
    whole = files[which].read_bytes()
    assert len(outcome(folder, whole[: int(share * len(whole))])) == 0


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["ours", "itk"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_a_file_damaged_anywhere_is_the_same_map_or_is_refused(folder, files, structure, carried, which, damage):
    whole = bytearray(files[which].read_bytes())
    for share, change in damage:
        whole[structure[which][int(share * len(structure[which]))]] ^= change
    after = outcome(folder, bytes(whole))
    assert len(after) == 0 or np.array_equal(after, carried[which])


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["ours", "itk", "old"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_nothing_but_our_errors_comes_of_damage(folder, files, which, damage):
    whole = bytearray(files[which].read_bytes())
    for share, change in damage:
        whole[int(share * len(whole))] ^= change
    assert outcome(folder, bytes(whole)) is not None


def test_a_deflated_field_damaged_anywhere_is_the_same_map_or_is_refused(tmp_path, files):
    stored_again(files["ours"], tmp_path / "t.h5", chunks=(300,), compression="gzip")
    whole, truth = (tmp_path / "t.h5").read_bytes(), read_transform(tmp_path / "t.h5").apply(POINTS)
    with h5py.File(tmp_path / "t.h5") as file:
        place = file["TransformGroup/2/TransformParameters"].id.get_chunk_info(3)
    for at in np.linspace(place.byte_offset, place.byte_offset + place.size - 1, 60).astype(int):
        after = outcome(tmp_path, whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        assert len(after) == 0 or np.array_equal(after, truth)


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, limits[1]))
    try:
        with pytest.raises(UnwritableFile, match="no room left"):
            write_transform(some_displacement(GRID), tmp_path / "t.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_is_interrupted_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("homolog.io.itk_steps.Padded.planes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_transform(some_displacement(GRID), tmp_path / "t.h5")
    assert list(tmp_path.iterdir()) == []
