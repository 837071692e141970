"""FROG's pairs.bin: what its readers and writers agree on, and files that are something else."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from homolog.errors import HomologError
from homolog.io.frog_pairs import read_frog_pairs

RNG = np.random.default_rng(5)
POINTS = [
    np.c_[RNG.normal(size=(n, 3)) * 90, RNG.uniform(2, 9, n), RNG.integers(0, 2, n), RNG.random(n)] for n in (4, 6, 5)
]
PAIRS = {(0, 1): [[0, 5], [3, 2]], (1, 2): [[4, 4]], (0, 2): [[1, 0], [2, 1], [3, 3]]}


def written(folder, pairs=PAIRS, shift=(0.0, 0.0, 0.0)):
    """The bytes, put together as the format's own text says."""
    raw = struct.pack("<H", len(POINTS))
    for n, points in enumerate(POINTS):
        name = f"scan_{n}.csv.gz".encode()
        raw += struct.pack("<H", len(name)) + name + struct.pack("<3d", *shift)
        raw += struct.pack("<I", len(points)) + points.astype("<f4").tobytes()
    for (one, two), rows in pairs.items():
        raw += struct.pack("<HHI", one, two, len(rows)) + np.array(rows, "<u4").tobytes()
    path = folder / "pairs.bin"
    path.write_bytes(raw)
    return path


def test_points_come_in_the_patients_frame_and_matches_by_their_rows(tmp_path):
    images, matches = read_frog_pairs(written(tmp_path))
    assert [image.space for image in images] == ["scan_0.csv.gz", "scan_1.csv.gz", "scan_2.csv.gz"]
    for image, points in zip(images, POINTS):
        np.testing.assert_allclose(image.position, points[:, :3] * [-1, -1, 1], rtol=1e-6)
        assert (image.sign == np.where(points[:, 4] == 1, -1, 1)).all()
    assert {pair: found.pairs.tolist() for pair, found in matches.items()} == PAIRS


def test_points_that_were_lps_stay_as_they_are(tmp_path):
    images, _ = read_frog_pairs(written(tmp_path), frame="LPS")
    np.testing.assert_allclose(images[1].position, POINTS[1][:, :3], rtol=1e-6)


def test_a_shift_of_an_image_is_added_to_its_points(tmp_path):
    images, _ = read_frog_pairs(written(tmp_path, shift=(5.0, -7.0, 11.0)), frame="LPS")
    np.testing.assert_allclose(images[0].position, POINTS[0][:, :3] + [5, -7, 11], rtol=1e-5)


def test_matches_of_the_later_image_with_the_earlier_are_turned_round(tmp_path):
    _, matches = read_frog_pairs(written(tmp_path, {(2, 0): [[4, 1], [0, 3]]}))
    assert matches[0, 2].pairs.tolist() == [[1, 4], [3, 0]]


@pytest.mark.parametrize("cut", [1, 3, 40, 400, -1, -6])
def test_a_file_that_is_cut_off_is_refused(tmp_path, cut):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(HomologError, match=r"pairs\.bin"):
        read_frog_pairs(path)


@pytest.mark.parametrize("pairs", [{(0, 0): [[0, 1]]}, {(0, 3): [[0, 0]]}, {(0, 1): [[4, 0]]}])
def test_matches_of_what_is_not_there_are_refused(tmp_path, pairs):
    with pytest.raises(HomologError, match="matches"):
        read_frog_pairs(written(tmp_path, pairs))
