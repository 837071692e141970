from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from homolog.report import png


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (1, 1)])
def test_another_program_reads_the_same_pixels(shape, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    path = tmp_path / "picture.png"
    path.write_bytes(png.encode(pixels))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path)), pixels)


def test_a_window_runs_from_black_to_white():
    greys = png.window(np.array([-2000.0, -160.0, 40.0, 240.0, 3000.0]), -160, 240)
    np.testing.assert_array_equal(greys, [0, 0, 127, 255, 255])


def test_where_two_pictures_agree_the_overlay_is_grey():
    picture = np.random.default_rng(0).integers(0, 256, (4, 4)).astype(np.uint8)
    coloured = png.overlay(picture, picture)
    assert (coloured == picture[..., None]).all()
    assert (png.overlay(picture, 255 - picture).std(axis=-1) > 0).any()
