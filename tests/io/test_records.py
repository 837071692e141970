"""What lies beside a transform: which patients it joins, and that it is this transform's."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from homolog import Affine, Volume, read_transform, write, write_transform
from homolog.errors import SpaceMismatch, UnreadableFile, UnwritableFile
from homolog.io.records import End, Record, beside, read_record, recognise, write_record
from tests.geometry import oblique_grid, smooth_volume, some_affine, some_displacement

GRID = oblique_grid()
MOVING_GRID = oblique_grid((9, 8, 10), seed=8)


def study(folder):
    """Two pictures, a map between them, and its record."""
    fixed, moving = smooth_volume(GRID, "monday", seed=0), smooth_volume(MOVING_GRID, "friday", seed=1)
    folder.mkdir(exist_ok=True)
    write(fixed, folder / "monday.nii.gz")
    write(moving, folder / "friday.nii.gz")
    ends = End.of(fixed, folder / "monday.nii.gz"), End.of(moving, folder / "friday.nii.gz")
    record = Record(*ends, inverse_mean_mm=0.02, inverse_p95_mm=0.11)
    transform = Affine(some_affine().matrix, "monday", "friday")
    write_transform(transform, folder / "out" / "t.h5", record=record)
    return folder / "out" / "t.h5", record, fixed, moving


def test_a_record_is_read_as_it_was_written(tmp_path):
    path, record, *_ = study(tmp_path)
    read = read_record(path)
    for ours, theirs in ((record.fixed, read.fixed), (record.moving, read.moving)):
        assert (ours.space, ours.path, ours.content_hash) == (theirs.space, theirs.path, theirs.content_hash)
        np.testing.assert_array_equal(ours.grid.world_from_voxel, theirs.grid.world_from_voxel)
        assert ours.grid.shape == theirs.grid.shape
    assert (read.inverse_mean_mm, read.inverse_p95_mm) == (0.02, 0.11)
    assert read.software.startswith("homolog ")
    assert "points of 'monday' (monday.nii.gz) to 'friday'" in json.loads(beside(path).read_text())["meaning"]


def test_every_transform_that_is_written_has_a_record(tmp_path):
    for name in ("t.h5", "t.tfm", "t.mat", "t.nii.gz", "t.npz", "t.json"):
        write_transform(some_affine(), tmp_path / name, like=GRID, moving_like=MOVING_GRID, frame="LPS")
        record = read_record(tmp_path / name)
        assert (record.fixed.space, record.moving.space) == ("fixed", "moving")
        assert record.fixed.grid.same_as(GRID) and record.moving.grid.same_as(MOVING_GRID)


def test_a_picture_is_recognised_by_what_it_holds_wherever_it_lies(tmp_path):
    path, _, fixed, moving = study(tmp_path)
    record = read_record(path)
    assert recognise(record, fixed.in_space("renamed")) == "fixed"
    assert recognise(record, moving, "elsewhere.nii.gz") == "moving"
    other = Volume(fixed.numpy() + 1, GRID, "monday")
    assert recognise(record, other) is None


def test_a_file_is_recognised_by_where_it_lies_however_it_is_named(tmp_path, monkeypatch):
    path, _, fixed, _ = study(tmp_path)
    record = read_record(path)
    monkeypatch.chdir(tmp_path / "out")
    assert recognise(record, path=Path("../friday.nii.gz")) == "moving"
    assert recognise(record, Volume(fixed.numpy() + 1, GRID, "x"), tmp_path / "monday.nii.gz") == "fixed"
    assert recognise(record, path="friday.nii.gz") is None
    assert recognise(record) is None


def test_what_it_holds_counts_before_where_it_lies(tmp_path):
    path, _, fixed, _ = study(tmp_path)
    assert recognise(read_record(path), fixed, tmp_path / "friday.nii.gz") == "fixed"


def test_a_picture_that_is_both_ends_is_neither(tmp_path):
    picture = smooth_volume(GRID, "one")
    ends = End.of(picture, tmp_path / "ct.nii.gz"), End.of(picture.in_space("two"), tmp_path / "copy.nii.gz")
    write_transform(Affine(np.eye(4), "one", "two"), tmp_path / "t.h5", record=Record(*ends))
    assert recognise(read_record(tmp_path / "t.h5"), picture, tmp_path / "ct.nii.gz") is None


def test_a_study_that_moves_keeps_its_paths(tmp_path):
    study(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    record = read_record(tmp_path / "there/out/t.h5")
    assert recognise(record, path=tmp_path / "there/monday.nii.gz") == "fixed"


def test_a_record_that_moves_keeps_its_pictures(tmp_path):
    path, *_ = study(tmp_path)
    (tmp_path / "far/away").mkdir(parents=True)
    for each in (path, beside(path)):
        shutil.move(each, tmp_path / "far/away")
    assert read_record(tmp_path / "far/away/t.h5").fixed.path == (tmp_path / "monday.nii.gz").resolve()


def test_the_record_of_another_transform_is_passed_over(tmp_path, caplog):
    path, *_ = study(tmp_path)
    record = beside(path).read_text()
    write_transform(some_displacement(GRID), path)
    beside(path).write_text(record)
    assert read_record(path) is None
    assert "belongs to another transform" in caplog.text
    assert read_transform(path).fixed == "fixed"


def test_a_record_can_be_added_to_a_transform_of_another_program(tmp_path):
    path, record, *_ = study(tmp_path)
    beside(path).unlink()
    assert read_record(path) is None
    write_record(record, path)
    assert read_transform(path).moving == "friday"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": "homolog transform record", "version": 1}'])
def test_a_damaged_record_is_told_and_not_passed_over(tmp_path, text):
    path, *_ = study(tmp_path)
    beside(path).write_text(text)
    with pytest.raises(UnreadableFile, match=r"t\.h5\.json is damaged"):
        read_transform(path)


def test_a_record_of_a_later_version_is_not_half_understood(tmp_path):
    path, *_ = study(tmp_path)
    stored = json.loads(beside(path).read_text())
    beside(path).write_text(json.dumps({**stored, "version": 99}))
    with pytest.raises(UnreadableFile, match=r"version 99.*\nhint: pip install -U"):
        read_record(path)


def test_a_record_for_other_spaces_is_refused_before_anything_is_written(tmp_path):
    _, record, *_ = study(tmp_path)
    with pytest.raises(SpaceMismatch, match="'friday' from 'monday', the map is 'moving' from 'fixed'"):
        write_transform(some_affine(), tmp_path / "u.h5", record=record)
    assert not (tmp_path / "u.h5").exists()


def test_an_interrupted_write_leaves_no_transform_without_its_record(tmp_path, monkeypatch):
    renamed, rename = [], os.replace

    def one_only(source, target):
        if renamed:
            raise KeyboardInterrupt
        renamed.append(Path(target).name)
        rename(source, target)

    monkeypatch.setattr(os, "replace", one_only)
    with pytest.raises(KeyboardInterrupt):
        write_transform(some_affine(), tmp_path / "t.h5")
    assert [path.name for path in tmp_path.iterdir()] == renamed == ["t.h5.json"]


def test_a_record_that_cannot_be_written_keeps_the_transform_back(tmp_path):
    beside(tmp_path / "t.h5").mkdir()
    with pytest.raises(UnwritableFile, match=r"t\.h5\.json is a folder"):
        write_transform(some_affine(), tmp_path / "t.h5")
    assert not (tmp_path / "t.h5").exists()
