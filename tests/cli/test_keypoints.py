"""`homolog keypoints` and `homolog match`: whole results or none, from wherever a run stopped, and what they say."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from homolog import (
    Affine,
    Keypoints,
    Volume,
    detect,
    match,
    methods,
    read,
    read_keypoints,
    read_points,
    write,
    write_keypoints,
    write_transform,
)
from homolog.cli import detecting
from homolog.cli.main import main
from homolog.errors import BadInput
from homolog.io.files import writing
from homolog.io.records import End, Record
from homolog.space.grid import Grid
from tests.cli.conftest import listing
from tests.geometry import oblique_grid, smooth_volume

GRID = oblique_grid((56, 54, 60), (1.3, 1.2, 1.5))
# the same voxels elsewhere, and each of them a little larger
SHIFT = Affine(np.array([(1, 0, 0, 21.0), (0, 1, 0, -4.0), (0, 0, 1, 7.5), (0, 0, 0, 1.0)]))
MADE = {".npz", ".mrk.json", ".html"}


@pytest.fixture(scope="module")
def scans_once(tmp_path_factory) -> Path:
    """ana/ct.nii.gz and ben/ct.nii.gz, who is ana elsewhere in the scanner; and what was found in both, in keys/."""
    folder = tmp_path_factory.mktemp("scans")
    ana = smooth_volume(GRID, "ct", seed=1)
    moved = Grid(GRID.shape, SHIFT.matrix @ GRID.world_from_voxel)
    for name, volume in (("ana", ana), ("ben", Volume(ana.numpy(), moved, "ct"))):
        (folder / name).mkdir()
        write(volume, folder / name / "ct.nii.gz")
    assert main([str(word) for word in ("keypoints", *both(folder), "-o", folder / "keys")]) == 0
    return folder


@pytest.fixture
def scans(scans_once, tmp_path, monkeypatch) -> Path:
    shutil.copytree(scans_once, tmp_path / "scans")
    monkeypatch.chdir(tmp_path / "scans")
    return tmp_path / "scans"


def both(folder=Path()):
    return folder / "ana/ct.nii.gz", folder / "ben/ct.nii.gz"


def names(folder):
    return {path.name for path in folder.iterdir()}


def results(folder):
    """What is in a folder but the record of the run, which tells the time."""
    return {name: state for name, state in listing(folder).items() if name != "run.json"}


# ---- keypoints


def test_volumes_called_alike_are_told_apart_and_each_gets_all_its_files(scans):
    made = {f"{name}_ct{ending}" for name in ("ana", "ben") for ending in MADE}
    assert names(scans / "keys") == made | {"run.json", "made.json"}
    record = json.loads((scans / "keys/run.json").read_text())
    assert [one["space"] for one in record["volumes"]] == ["ana/ct", "ben/ct"]
    for one in record["volumes"]:
        points = read_keypoints(scans / "keys" / one["files"][0])
        assert (one["keypoints"], one["dark"]) == (len(points), (points.sign < 0).sum())
        np.testing.assert_array_equal(read_points(scans / "keys" / one["files"][1]).position, points.position)
    assert record["config"]["surf3d"]["octaves"] == 4


def test_the_command_finds_what_the_library_finds(scans):
    found, stored = detect(read("ana/ct.nii.gz")), read_keypoints("keys/ana_ct.npz")
    assert len(found) > 20
    for column in ("position", "scale", "response", "sign", "descriptors"):
        np.testing.assert_array_equal(getattr(stored, column), getattr(found, column))


def test_a_detector_that_nobody_knows_is_refused_in_the_library_too(scans):
    with pytest.raises(BadInput, match="no detector is called 'surf'"):
        detect(read("ana/ct.nii.gz"), method="surf")


def test_what_is_on_by_itself_can_be_turned_off(homolog, scans):
    assert homolog("keypoints", "ana/ct.nii.gz", "-o", "places", "--no-descriptors", "-n", 3).code == 0
    assert read_keypoints("places/ct.npz").descriptors is None
    one_way = homolog("match", "keys/ana_ct.npz", "keys/ben_ct.npz", "-o", "m", "--no-mutual", "--scale-ratio", "none")
    assert one_way.code == 0
    matching = json.loads(Path("m/run.json").read_text())["config"]["matching"]
    assert (matching["mutual"], matching["same_sign"], matching["scale_ratio"]) == (False, True, None)


def test_the_table_counts_and_json_is_the_record(homolog, scans):
    told = homolog("keypoints", *both(), "-o", "keys").out.splitlines()
    points = read_keypoints("keys/ana_ct.npz")
    assert told[0].split()[:4] == ["volume", "keypoints", "dark", "bright"]
    assert told[1].split()[:2] == ["ana_ct", str(len(points))]
    said = homolog("keypoints", *both(), "-o", "keys", "--json").json
    assert said == json.loads(Path("keys/run.json").read_text())


def test_a_repeated_command_does_nothing_and_a_lost_file_is_made_again(homolog, scans):
    before = results(scans / "keys")
    ended = homolog("keypoints", *both(), "-o", "keys")
    assert ended.code == 0 and ended.err.count("were there already") == 2
    assert results(scans / "keys") == before
    whole = Path("keys/ben_ct.npz").read_bytes()
    Path("keys/ben_ct.npz").unlink()
    ended = homolog("keypoints", *both(), "-o", "keys")
    assert "ana/ct.nii.gz: " in ended.err and "were there already" in ended.err
    assert Path("keys/ben_ct.npz").read_bytes() == whole
    assert {k: v for k, v in results(scans / "keys").items() if "ana" in k} == {
        k: v for k, v in before.items() if "ana" in k
    }


def test_further_formats_are_added_without_looking_again(homolog, scans):
    before = results(scans / "keys")
    ended = homolog("keypoints", *both(), "-o", "keys", "--formats", "csv.gz", "bin", "csv")
    assert ended.code == 0 and ended.err.count("were there already") == 2
    after = results(scans / "keys")
    assert {k: v for k, v in after.items() if k in before and k != "made.json"} == {
        k: v for k, v in before.items() if k != "made.json"
    }
    points = read_keypoints("keys/ana_ct.npz")
    for ending in ("csv.gz", "bin", "csv"):
        again = read_keypoints(f"keys/ana_ct.{ending}")
        np.testing.assert_allclose(again.position, points.position, atol=1e-4)
        np.testing.assert_array_equal(again.sign, points.sign)
    record = json.loads(Path("keys/run.json").read_text())
    assert set(record["volumes"][0]["files"]) == {name for name in names(scans / "keys") if name.startswith("ana")}


def test_a_folder_keeps_to_one_way_of_finding_until_it_is_forced(homolog, scans):
    before = listing(scans / "keys")
    refused = (
        homolog("keypoints", "ana/ct.nii.gz", "-o", "other", "-n", 5),
        homolog("keypoints", *both(), "-o", "keys", "-n", 5),
    )
    assert [ended.code for ended in refused] == [0, 2]
    assert "found with most none, not 5" in refused[1].errors[0] and "--force" in refused[1].hints[0]
    assert listing(scans / "keys") == before
    assert homolog("keypoints", both()[0], "-o", "keys", "-n", 5, "--force", "--no-pictures").code == 0
    # nothing of the other way is left
    assert names(scans / "keys") == {"ct.npz", "ct.mrk.json", "run.json", "made.json"}
    assert len(read_keypoints("keys/ct.npz")) == 5
    strongest = read_keypoints("other/ct.npz")
    np.testing.assert_array_equal(strongest.position, detect(read("ana/ct.nii.gz")).position[:5])


def test_several_processes_find_the_same(homolog, scans):
    assert homolog("keypoints", *both(), "-o", "two", "--jobs", 2).code == 0
    for name in names(scans / "keys") - {"run.json", "made.json"}:
        assert Path("two", name).read_bytes() == Path("keys", name).read_bytes()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(OSError(errno.ENOSPC, "no space"), 2, "no room left"), (KeyboardInterrupt(), 130, "interrupted")],
    ids=["a full disk", "an interrupt"],
)
def test_stopping_in_the_middle_of_a_volume_keeps_the_others_and_leaves_nothing_of_it(
    homolog, scans, monkeypatch, error, code, said
):
    whole = detecting.files.write_keypoints

    def fails(points, path, **options):
        if path.name == "ben_ct.mrk.json":
            with writing(path) as part:
                part.write_bytes(b"half")
                raise error
        whole(points, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(detecting.files, "write_keypoints", fails)
        ended = homolog("keypoints", *both(), "-o", "new")
    assert ended.code == code and said in ended.err
    assert names(scans / "new") == {f"ana_ct{ending}" for ending in MADE} | {"run.json", "made.json"}
    before = results(scans / "new")
    assert homolog("keypoints", *both(), "-o", "new").code == 0
    assert {k: v for k, v in before.items() if k != "made.json"}.items() <= results(scans / "new").items()
    assert Path("new/ben_ct.npz").read_bytes() == Path("keys/ben_ct.npz").read_bytes()


def half_mask(volume, space="ct"):
    """The half of the patient that lies to the left, on coarser voxels."""
    grid = volume.grid.with_spacing(3.0)
    left = (grid.points()[:, 0] > volume.grid.world(np.array(volume.grid.shape) / 2)[0]).reshape(grid.shape)
    return Volume(left.astype(np.uint8), grid, space, "labels")


def test_points_lie_in_the_mask_whether_it_is_named_or_found_in_a_folder(homolog, scans):
    volume = read("ana/ct.nii.gz")
    write(half_mask(volume), "masks/ana_ct.nii.gz")
    write(half_mask(read("ben/ct.nii.gz")), "masks/ben_ct.nii.gz")
    assert homolog("keypoints", *both(), "-o", "halves", "--masks", "masks").code == 0
    assert homolog("keypoints", both()[0], "-o", "half", "--mask", "masks/ana_ct.nii.gz").code == 0
    every, left = read_keypoints("keys/ana_ct.npz"), read_keypoints("halves/ana_ct.npz")
    middle = volume.grid.world(np.array(volume.grid.shape) / 2)[0]
    assert 0 < len(left) < len(every)
    assert (left.position[:, 0] > middle - 3.0).all()
    np.testing.assert_array_equal(read_keypoints("half/ct.npz").position, left.position)


def test_given_points_are_described_as_found_ones_are(homolog, scans):
    found = read_keypoints("keys/ana_ct.npz")
    write_keypoints(Keypoints(found.position[::-1], "x", scale=found.scale[::-1]), "some.npz")
    assert homolog("keypoints", "ana/ct.nii.gz", "-o", "given", "--points", "some.npz").code == 0
    described = read_keypoints("given/ct.npz")
    np.testing.assert_array_equal(described.position, found.position[::-1])
    np.testing.assert_allclose(described.descriptors, found.descriptors[::-1], atol=1e-5)
    write_keypoints(found, "marks.mrk.json")
    refused = homolog("keypoints", "ana/ct.nii.gz", "-o", "other", "--points", "marks.mrk.json")
    assert refused.code == 2 and "--scale-mm" in refused.hints[0]
    assert homolog("keypoints", "ana/ct.nii.gz", "-o", "other", "--points", "marks.mrk.json", "--scale-mm", 4).code == 0
    assert (read_keypoints("other/ct.npz").scale == 4).all()


def bad_volume(name, data=None, grid=GRID):
    data = np.zeros(grid.shape, np.float32) if data is None else data
    write(Volume(data, grid, "x"), name)
    return name


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ((), "no volume to find keypoints in", "homolog keypoints"),
        (("gone.nii.gz",), "gone.nii.gz", ""),
        (("ana/ct.nii.gz", "ana/../ana/ct.nii.gz"), "named twice", ""),
        (("ana/ct.nii.gz", "ben/ct.nii.gz", "--mask", "m.nii.gz"), "--mask is of one volume", "--masks"),
        (("ana/ct.nii.gz", "--masks", "gone"), "no such folder of masks", "--mask"),
        (("ana/ct.nii.gz", "--masks", "keys"), "no mask of ana/ct.nii.gz", "keys/ct.nii.gz"),
        (("ana/ct.nii.gz", "--mask", "away.nii.gz"), "lies nowhere in", "same patient"),
        (("ana/ct.nii.gz", "--mask", "empty.nii.gz"), "0 everywhere", ""),
        (("nan.nii.gz",), "nan.nii.gz", ""),
        (("flat.nii.gz",), "flat.nii.gz", ""),
        (("tiny.nii.gz",), "voxels", "--sampling-mm"),
        (("ana/ct.nii.gz", "--jobs", 0), "--jobs is at least 1", "--jobs 1"),
        (("ana/ct.nii.gz", "--window", "lnug"), "--window lnug", "lung"),
        (("ana/ct.nii.gz", "--scale-mm", 3), "--scale-mm", "--points"),
        (("ana/ct.nii.gz", "--points", "gone.npz"), "gone.npz", ""),
        (("ana/ct.nii.gz", "--points", "ana/ct.nii.gz"), "keypoints are read from", ""),
        (("ana/ct.nii.gz", "--method", "surf"), "no method is called 'surf'", "surf3d"),
        (("ana/ct.nii.gz", "--peak-threshold", 0.2), "no option of this method", "--method sift3d"),
        (("ana/ct.nii.gz", "--formats", "bin", "--no-descriptors"), "descriptors", "--no-descriptors"),
        (("ana/ct.nii.gz", "--describe", "pacth"), "no descriptor is called 'pacth'", "--describe patch"),
        (("ana/ct.nii.gz", "--describe", "keys"), "no descriptor is called 'keys'", "homolog train triplet"),
        (("ana/ct.nii.gz", "--octaves", 0), "octaves", ""),
        (("ana/ct.nii.gz", "--sampling-mm", 0.001), "free", "--sampling-mm"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_looked_through_is_refused_and_leaves_nothing(homolog, scans, words, said, hint):
    volume = read("ana/ct.nii.gz").numpy().copy()
    bad_volume("flat.nii.gz")
    volume[3, 4, 5] = np.nan
    bad_volume("nan.nii.gz", volume)
    small = oblique_grid((9, 8, 7))
    bad_volume("tiny.nii.gz", smooth_volume(small, "tiny").numpy(), small)
    far = Grid.regular((4, 4, 4), 5.0, (4000.0, 0, 0))
    write(Volume(np.ones(far.shape, np.uint8), far, "m", "labels"), "away.nii.gz")
    write(Volume(np.zeros(GRID.shape, np.uint8), GRID, "m", "labels"), "empty.nii.gz")
    ended = homolog("keypoints", *words, "-o", "new")
    assert ended.code == 2
    assert said in ended.errors[0]
    assert hint in ended.hints[0]
    assert not Path("new").exists()


def test_a_folder_of_other_things_is_left_alone(homolog, scans):
    before = listing(scans / "ana")
    ended = homolog("keypoints", "ana/ct.nii.gz", "-o", "ana")
    assert ended.code == 2 and "holds other files" in ended.errors[0]
    assert listing(scans / "ana") == before


def test_a_changed_volume_is_not_taken_for_what_was_found_in_it(homolog, scans):
    write(smooth_volume(GRID, "ct", seed=9), "ana/ct.nii.gz")
    before = results(scans / "keys")
    ended = homolog("keypoints", *both(), "-o", "keys")
    assert ended.code == 2 and "of another volume" in ended.errors[0]
    assert results(scans / "keys") == before


@pytest.mark.parametrize("command", ["keypoints", "match"])
def test_the_help_shows_the_named_detectors_options_and_imports_nothing_heavy(command):
    heavy = "{'numpy', 'torch', 'numba', 'scipy', 'SimpleITK', 'nibabel', 'pydicom'}"
    lines = [[command, "--method", name, "--help"] for name in methods.DETECTORS]
    check = f"""
import sys
from homolog.cli.main import main
from homolog.errors import BadInput
codes = [main(line) for line in {lines!r}]
print(set(codes), sorted({heavy} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "{0} []"
    surf3d, sift3d, *_ = done.stdout.split(f"Usage: homolog {command}")[1:]
    assert "--octaves" in surf3d and "--corner-threshold" not in surf3d
    assert "--corner-threshold" in sift3d and "--octaves" not in sift3d
    assert "--most, -n" in surf3d and "--no-descriptors" in surf3d
    assert all("--describe" in each for each in (surf3d, sift3d))


@pytest.mark.parametrize("name", methods.DETECTOR_OPTIONS)
def test_no_detectors_option_takes_the_name_of_a_common_one(name):
    from dataclasses import fields

    from homolog.cli.configs import Common, FindKeypoints, MatchPoints
    from homolog.matching.configs import MatchConfig

    common = {field.name for config in (FindKeypoints, MatchPoints, MatchConfig, Common) for field in fields(config)}
    own = {field.name for field in fields(methods.resolve(methods.DETECTOR_OPTIONS[name]))}
    assert not (common | {"output"}) & own


# ---- match


@pytest.fixture
def the_map(scans):
    """ben from ana, in a file with its record."""
    ends = [End.of(read(path, space=f"{path.parent.name}/ct"), path) for path in both()]
    write_transform(SHIFT.renamed(fixed="ana/ct", moving="ben/ct"), "t.h5", record=Record(*ends))
    return "t.h5"


def test_the_same_patient_elsewhere_is_matched_point_for_point(homolog, scans, the_map):
    ended = homolog("match", "keys/ana_ct.npz", "keys/ben_ct.npz", "-o", "m", "--transform", the_map)
    assert ended.code == 0
    fixed, moving = read_keypoints("keys/ana_ct.npz"), read_keypoints("keys/ben_ct.npz")
    expected = match(fixed, moving)
    row = next(line for line in ended.out.splitlines() if "right within 2 mm" in line)
    assert row.split()[-3:] == [str(len(expected)), "100", "%"]
    rows = np.loadtxt("m/matches.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(rows[:, :2], expected.pairs)
    np.testing.assert_allclose(rows[:, 2:5] + SHIFT.matrix[:3, 3], rows[:, 5:8], atol=1e-2)
    assert names(scans / "m") == {"matches.csv", "matches.npz", "matches.html", "run.json", "made.json"}


def test_volumes_are_looked_through_first_and_their_points_are_kept(homolog, scans):
    ended = homolog("match", *both(), "-o", "m", "-n", 25, "--ratio", 0.95)
    assert ended.code == 0
    for side, name in (("fixed", "ana"), ("moving", "ben")):
        kept = read_keypoints(f"m/{side}.npz")
        assert kept.space == f"{name}/ct"
        np.testing.assert_array_equal(kept.position, read_keypoints(f"keys/{name}_ct.npz").position[:25])
    record = json.loads(Path("m/run.json").read_text())
    assert record["config"]["surf3d"]["most"] == 25 and record["config"]["matching"]["ratio"] == 0.95
    before = results(scans / "m")
    assert homolog("match", *both(), "-o", "m", "-n", 25, "--ratio", 0.95).code == 0
    assert results(scans / "m") == before
    refused = homolog("match", *both(), "-o", "m", "-n", 25)
    assert refused.code == 2 and "--force" in refused.hints[0]
    assert results(scans / "m") == before
    assert homolog("match", *both(), "-o", "m", "-n", 25, "--force").code == 0


def test_where_no_map_is_known_those_that_agree_on_one_are_counted(homolog, scans):
    told = homolog("match", "keys/ana_ct.npz", "keys/ben_ct.npz", "-o", "m").out
    row = next(line for line in told.splitlines() if "agree on one linear map" in line)
    assert row.split()[-2] == "100"
    found = np.array(json.loads(Path("m/run.json").read_text())["matches"]["map"])
    corners = GRID.corners()
    np.testing.assert_allclose(Affine(found).apply(corners), SHIFT.apply(corners), atol=0.5)


def test_only_what_lies_near_the_known_place_is_searched(homolog, scans, the_map):
    """Under a map that is wrong by more than the gate, nothing is near enough."""
    line = ("match", "keys/ana_ct.npz", "keys/ben_ct.npz", "--within-mm", 3)
    assert homolog(*line, "--transform", the_map, "-o", "near").code == 0
    wrong = SHIFT.matrix.copy()
    wrong[:3, 3] += 400.0
    write_transform(Affine(wrong, "ana/ct", "ben/ct"), "wrong.h5")
    assert homolog(*line, "--transform", "wrong.h5", "-o", "far").code == 0
    near, far = (json.loads(Path(name, "run.json").read_text())["matches"] for name in ("near", "far"))
    assert near["count"] > 20 and far["count"] == 0


def test_a_map_the_other_way_round_is_noticed(homolog, scans, the_map):
    ended = homolog("match", "keys/ben_ct.npz", "keys/ana_ct.npz", "-o", "m", "--transform", the_map)
    assert ended.code == 2 and "other way round" in ended.errors[0] and "transform invert" in ended.hints[0]
    assert not Path("m").exists()


def test_a_run_is_repeated_from_its_record(homolog, scans):
    assert homolog("match", "keys/ana_ct.npz", "keys/ben_ct.npz", "-o", "m").code == 0
    assert homolog("rerun", "m", "-o", "again").code == 0
    assert homolog("rerun", "keys", "-o", "keys_again").code == 0
    for one, other in (("m", "again"), ("keys", "keys_again")):
        for name in names(Path(one)) - {"run.json", "made.json"}:
            assert Path(one, name).read_bytes() == Path(other, name).read_bytes()
    refused = homolog("report", "keys")
    assert refused.code == 2 and "ana_ct.html" in refused.errors[0]
    write_keypoints(read_keypoints("keys/ana_ct.npz")[:5], "keys/ana_ct.npz")
    assert homolog("rerun", "m", "-o", "third").code == 2


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("keys/ana_ct.npz", "gone.npz"), "gone.npz", "check the path"),
        (("keys/ana_ct.npz", "keys/ben_ct.mrk.json"), "no descriptors to match by", "--points"),
        (("keys/ana_ct.npz", "sift.npz"), "48 numbers", "same method"),
        (("keys/ana_ct.npz", "keys/ben_ct.npz", "--within-mm", 5), "--within-mm", "--transform"),
        (("keys/ana_ct.npz", "keys/ben_ct.npz", "--octaves", 2), "--octaves", "leave --octaves out"),
        (("keys/ana_ct.npz", "keys/ben_ct.npz", "--describe", "patch"), "--describe", "leave --describe out"),
        (("ana/ct.nii.gz", "ben/ct.nii.gz", "--describe", "pacth"), "'pacth'", "--describe patch"),
        (("ana/ct.nii.gz", "ben/ct.nii.gz", "--no-descriptors"), "descriptors", "--no-descriptors"),
        (("ana/ct.nii.gz", "keys/ben_ct.npz", "--fixed-image", "ben/ct.nii.gz"), "--fixed-image", "leave"),
        (("keys/ana_ct.npz", "keys/ben_ct.npz", "--fixed-image", "away.nii.gz"), "lie outside", ""),
        (("keys/ana_ct.npz", "keys/ben_ct.npz", "--ratio", 3), "3.0 times as far", "0.9"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_matched_is_refused_and_leaves_nothing(homolog, scans, words, said, hint):
    points = read_keypoints("keys/ana_ct.npz")
    write_keypoints(Keypoints(points.position, "s", descriptors=np.ones((len(points), 768), np.float32)), "sift.npz")
    far = Grid.regular((4, 4, 4), 5.0, (4000.0, 0, 0))
    bad_volume("away.nii.gz", np.arange(64, dtype=np.float32).reshape(4, 4, 4), far)
    ended = homolog("match", *words, "-o", "new")
    assert ended.code == 2
    assert said in ended.errors[0]
    assert hint in ended.hints[0]
    assert not list(Path().glob("new/*"))


def test_keypoints_are_converted_and_carried_like_points(homolog, scans, the_map):
    assert homolog("convert", "keys/ana_ct.npz", "a.csv.gz").code == 0
    assert homolog("convert", "a.csv.gz", "a.mrk.json").code == 0
    assert homolog("convert", "keys/ana_ct.npz", "a.csv", "--style", "frog").code == 0
    points = read_keypoints("keys/ana_ct.npz")
    np.testing.assert_allclose(read_points("a.mrk.json").position, points.position, atol=1e-5)
    np.testing.assert_allclose(read_keypoints("a.csv").descriptors, points.descriptors, atol=1e-6)
    assert homolog("apply", the_map, "keys/ana_ct.npz", "--from", "fixed", "-o", "moved.npz").code == 0
    moved = read_keypoints("moved.npz")
    assert moved.space == "ben/ct"
    np.testing.assert_allclose(moved.position, points.position + SHIFT.matrix[:3, 3], atol=1e-4)
    np.testing.assert_array_equal(moved.descriptors, points.descriptors)
    said = homolog("doctor", "keys/ana_ct.npz", "a.csv.gz").out
    assert f"{len(points)} points in LPS" in said and f"{len(points)} points in RAS" in said
