"""A command line run in this process, and a small study to run it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from homolog import Keypoints, Volume, write, write_points, write_transform
from homolog.cli.main import main
from homolog.io.records import End, Record
from homolog.space.transforms import chain
from tests.geometry import oblique_grid, smooth_volume, some_affine, some_displacement

FIXED = oblique_grid((17, 14, 12), (1.3, 2.1, 1.7), seed=3)
MOVING = oblique_grid((15, 16, 13), (1.6, 1.9, 1.8), seed=5, origin_mm=(-30.0, 2.0, 236.0))


@dataclass(frozen=True)
class Ended:
    """How a command line ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return self.lines("error:")

    @property
    def hints(self) -> list[str]:
        return self.lines("hint:")

    @property
    def warnings(self) -> list[str]:
        return self.lines("warning:")

    @property
    def json(self):
        return json.loads(self.out)

    def lines(self, mark: str) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith(mark)]


@pytest.fixture
def homolog(capfd):
    """Runs a command line in this process: homolog("apply", path, ...)."""

    def run(*words: object) -> Ended:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Ended(code, *capfd.readouterr())

    return run


def in_a_process(*words: object, **options) -> Ended:
    """The same through the operating system."""
    line = [sys.executable, "-m", "homolog", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, **options)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def study(study_once, tmp_path, monkeypatch) -> Path:
    """A folder, which is also the current one: two patients, labels and landmarks of both, and the map between them.

    fixed.nii.gz, moving.nii.gz              intensities; moving's least value is no CT's
    fixed_labels.nii.gz, moving_labels.nii.gz
    fixed.mrk.json, moving.mrk.json          the same six landmarks, exactly under the map
    t.h5, t.h5.json                          moving from fixed: an affine after a displacement
    """
    copytree(study_once, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture(scope="session")
def study_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    fixed, moving = smooth_volume(FIXED, "fixed", 1), smooth_volume(MOVING, "moving", 2)
    write(fixed, folder / "fixed.nii.gz")
    write(moving, folder / "moving.nii.gz")
    for volume in (fixed, moving):
        labels = np.digitize(volume.numpy(), (-60, 0, 60)).astype(np.uint8)
        write(Volume(labels, volume.grid, volume.space, "labels"), folder / f"{volume.space}_labels.nii.gz")
    transform = the_map()
    record = Record(End.of(fixed, folder / "fixed.nii.gz"), End.of(moving, folder / "moving.nii.gz"))
    write_transform(transform, folder / "t.h5", record=record)
    points = Keypoints(FIXED.world(np.array(LANDMARKS_VOX)), "fixed", name=tuple("abcdef"))
    write_points(points, folder / "fixed.mrk.json")
    write_points(points.moved_to(transform.apply(points.position), "moving"), folder / "moving.mrk.json")
    return folder


LANDMARKS_VOX = [(4, 4, 4), (11, 5, 6), (8, 9, 3), (5, 8, 8), (12, 10, 7), (9, 6, 5)]


def the_map():
    """moving from fixed, which brings the middle of the one to the middle of the other."""
    middle, other = FIXED.points().mean(axis=0), MOVING.points().mean(axis=0)
    shift = np.eye(4)
    shift[:3, 3] = other - middle
    affine = type(some_affine())(shift @ some_affine(about_mm=middle, shift_mm=1.0).matrix)
    return chain([affine, some_displacement(FIXED, height_mm=1.5)], fixed="fixed", moving="moving")


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything in a folder, with what shows that it was touched."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {os.fspath(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}
