from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from homolog import Volume, write
from homolog.report import views
from tests.geometry import blob, centroid_mm, oblique_grid
from tests.report.reading import report_of


def test_a_reduced_picture_stays_where_it_was():
    grid = oblique_grid((61, 50, 23), (0.7, 0.9, 3.0))
    centre = grid.world((np.array(grid.shape) - 1) / 2)
    picture = blob(grid, centre, 6.0)
    small = views.reduced(picture, 2.2)
    assert small.grid.size < picture.grid.size / 5
    np.testing.assert_allclose(centroid_mm(small), centroid_mm(picture), atol=0.02)


def test_blocks_that_are_cut_off_are_means_of_what_is_there():
    grid = oblique_grid((7, 5, 4), (1.0, 1.0, 5.0))
    small = views.reduced(Volume(np.full(grid.shape, 3.5, np.float32), grid, "a"), 3.0)
    np.testing.assert_allclose(small.numpy(), 3.5)


def test_reducing_takes_no_room_of_the_originals_size():
    volume = Volume(np.zeros((160, 160, 160), np.float32), oblique_grid((160, 160, 160), (0.5, 0.6, 0.7)), "a")
    tracemalloc.start()
    views.reduced(volume, 2.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * volume.numpy().nbytes


def test_otsu_parts_two_heaps():
    rng = np.random.default_rng(0)
    values = np.concatenate((rng.normal(-900, 40, 4000), rng.normal(50, 60, 2500)))
    assert -780 < views.otsu(values) < -130


def test_a_ct_is_shown_in_a_soft_tissue_window_and_others_in_their_own():
    grid, rng = oblique_grid((20, 20, 20)), np.random.default_rng(0)
    tissue = rng.normal(40, 30, grid.shape)
    body = Volume(np.where(np.arange(20)[:, None, None] < 8, -1000, tissue), grid, "ct")
    assert views.window_of(body) == (-160, 240)
    low, high = views.window_of(body.with_data(5000 + tissue))
    assert 4900 < low < 5000 and 5080 < high < 5200


def test_pictures_of_noise_stay_below_eight_megabytes(tmp_path):
    grid = oblique_grid((150, 140, 130), (0.9, 0.8, 1.0))
    noise = np.random.default_rng(0).integers(0, 1000, grid.shape)
    write(Volume(noise, grid, "a"), tmp_path / "a.nii", dtype="int16")
    end = {"path": "a.nii", "space": "a"}
    page = report_of(tmp_path, {"fixed": end, "moving": end, "outputs": {"warped": "a.nii"}})
    assert max(max(picture.shape[:2]) for stack in page.pictures.values() for picture in stack) == views.MOST_PIXELS
    assert (tmp_path / "report.html").stat().st_size < 8e6


@pytest.mark.parametrize("shape", [(1, 30, 40), (1, 1, 1)])
def test_a_single_slice_makes_a_report(tmp_path, shape):
    grid = oblique_grid(shape)
    write(Volume(np.random.default_rng(0).random(shape), grid, "a"), tmp_path / "a.nii.gz")
    assert report_of(tmp_path, {"fixed": {"path": "a.nii.gz"}}).middle("coronal", "fixed").size


@pytest.mark.parametrize("axis", range(3))
def test_the_middle_slices_go_through_what_both_images_show(axis):
    grid = oblique_grid((30, 28, 26), (4.0, 4.4, 5.0))
    volume = Volume(np.full(grid.shape, 50.0, np.float32), grid, "fixed")
    along = grid.points()[:, axis]
    limit = np.quantile(along, 0.8)
    seen = views.views_of(volume, lambda points: points[:, axis] > limit)
    alone = views.views_of(volume, lambda points: np.zeros(len(points), bool))
    position, without = (
        next(view.positions_mm[view.middle] for view in found if view.plane.through == axis) for found in (seen, alone)
    )
    assert limit < position < along.max()
    assert without < limit
