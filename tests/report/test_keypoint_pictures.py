"""The pages of keypoints and of matches: a circle lies where its point is, and a line goes from place to place."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from homolog import Keypoints, Matches, Volume
from homolog.report import keypoint_pictures, match_pictures
from homolog.report.match_pictures import Judged, Pair
from tests.geometry import blob, oblique_grid, smooth_volume
from tests.report.reading import Reading

GRID = oblique_grid((41, 44, 38), (2.1, 1.6, 2.4))
# Of each plane: which of x, y, z runs across, down and through, and where that way begins.
WAYS = {"axial": (0, 1, 2, 0), "coronal": (0, 2, 1, 1), "sagittal": (1, 2, 0, 1)}
LINE = re.compile(r'<line x1="([-\d.]+)" y1="([-\d.]+)" x2="([-\d.]+)" y2="([-\d.]+)"/>')


def circles_in(text):
    """(N, 3): x, y and radius."""
    found = re.findall(r'<circle(?: class="\w+")? cx="([-\d.]+)" cy="([-\d.]+)" r="([-\d.]+)"', text)
    return np.array(found, float).reshape(-1, 3)


def slices_of(html, plane):
    """(position in mm, text) of each slice of a plane."""
    figure = re.split(r'<figure class="plane ', html.split('class="explorer"')[1])
    text = next(part for part in figure if part.startswith(plane))
    parts = re.split(r'data-position="[xyz] = ([^"]+?)\N{NO-BREAK SPACE}mm"', text)
    return [(float(at.replace("−", "-")), inside) for at, inside in zip(parts[1::2], parts[2::2])]


def drawn(part, kind):
    return circles_in("".join(re.findall(rf'<svg class="points {kind}".*?</svg>', part)))


def seen(points_mm, plane, bounds):
    """Millimetres right of and below the upper left corner of the patient's box."""
    across, down, _, upwards = WAYS[plane]
    x = points_mm[:, across] - bounds[0][across]
    y = bounds[1][down] - points_mm[:, down] if upwards else points_mm[:, down] - bounds[0][down]
    return np.stack((x, y), axis=1)


def some_points(count=60, space="ct"):
    rng = np.random.default_rng(1)
    places = GRID.world(rng.uniform(4, np.array(GRID.shape) - 5, (count, 3)))
    sign = np.where(np.arange(count) % 3, 1, -1).astype(np.int8)
    return Keypoints(places, space, scale=rng.uniform(3, 9, count), response=np.arange(count, 0, -1.0), sign=sign)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "ct.html"
    keypoint_pictures.write_page(smooth_volume(GRID, "ct"), some_points(), path, "surf3d")
    return path.read_text()


@pytest.mark.parametrize("plane", WAYS)
def test_a_slice_shows_the_balls_it_cuts_each_as_wide_as_it_is_there(page, plane):
    points, through = some_points(), WAYS[plane][2]
    shown = 0
    for position, text in slices_of(page, plane):
        for kind, chosen in (("dark", points.sign < 0), ("bright", points.sign > 0)):
            far = np.abs(points.position[:, through] - position)
            cut = chosen & (far < points.scale - 0.1)
            expected = np.c_[
                seen(points.position[cut], plane, GRID.bounds()), np.sqrt(points.scale[cut] ** 2 - far[cut] ** 2)
            ]
            found = drawn(text, kind)
            apart = np.abs(found[None] - expected[:, None]).max(axis=2) if len(found) else np.ones((len(expected), 1))
            # both the slice's place and the circles are written to a tenth of a millimetre
            assert (apart[:, :, None].min(axis=(1, 2)) < 0.6).all()
            assert len(expected) <= len(found) <= (chosen & (far < points.scale + 0.1)).sum()
            shown += len(found)
    assert shown > 20


def test_letters_and_proportions_are_the_patients(page, tmp_path):
    reading = Reading(page, tmp_path)
    size = np.diff(GRID.bounds(), axis=0)[0]
    for plane, (across, down, *_) in WAYS.items():
        assert reading.aspects[plane] == pytest.approx(size[across] / size[down], rel=0.03)
    # each letter stands in two planes, once where all points are shown and once over the slices
    assert all(reading.words.count(letter) == 4 for letter in "RLAPHF")
    assert "http:" not in page and "https:" not in page


@pytest.mark.parametrize("plane", WAYS)
def test_looked_through_a_point_lies_on_what_it_was_found_on(tmp_path, plane):
    centre = GRID.world(np.array([28.0, 12.0, 25.0]))
    path = tmp_path / "ct.html"
    point = Keypoints(centre[None], "ct", scale=np.array([6.0]), sign=np.array([1], np.int8))
    keypoint_pictures.write_page(blob(GRID, centre, 6.0, "ct"), point, path, "surf3d")
    html = path.read_text()
    picture = Reading(html, tmp_path).pictures[plane, "through"][0].astype(float)
    rows, columns = np.nonzero(picture > 0.7 * picture.max())
    first = next(part for part in html.split('<figure class="plane ') if part.startswith(plane))
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', first).groups())
    bright = (columns.mean() + 0.5) * width / picture.shape[1], (rows.mean() + 0.5) * height / picture.shape[0]
    np.testing.assert_allclose(drawn(first, "bright")[0][:2], bright, atol=2.0)


def test_a_picture_without_points_and_points_without_signs_have_pages_too(tmp_path):
    volume = smooth_volume(GRID, "ct <1>")
    nothing = Keypoints(np.zeros((0, 3)), "ct <1>", scale=np.zeros(0), response=np.zeros(0), sign=np.zeros(0, np.int8))
    bare = Keypoints(some_points().position, "ct <1>")
    for points in (nothing, bare):
        text = keypoint_pictures.write_page(volume, points, tmp_path / "x.html", "surf3d").read_text()
        assert "ct &lt;1&gt;" in text and "ct <1>" not in text
    assert len(circles_in(text)) > len(bare)
    # colours and scales mean nothing where there are none
    assert "brighter ground" not in text and "Scales" not in text and "a ball of 3 mm" in text


# ---- matches


def some_pair(pictures=True):
    rng = np.random.default_rng(2)
    fixed = some_points(40, "ana")
    shift = np.array([30.0, -20.0, 12.0])
    moving = Keypoints(fixed.position[::-1] + shift, "ben")
    pairs = np.stack((np.arange(40), 39 - np.arange(40)), axis=1)
    volumes = [None, None]
    if pictures:
        moved = GRID.world_from_voxel.copy()
        moved[:3, 3] += shift
        volumes = [
            smooth_volume(GRID, "ana"),
            Volume(smooth_volume(GRID).numpy(), type(GRID)(GRID.shape, moved), "ben"),
        ]
    return Pair(fixed, moving, Matches(pairs, distance=rng.uniform(0, 1, 40)), *volumes)


def lines_of(html, plane, kind):
    figure = re.search(rf'<figure class="match {plane}">.*?</figure>', html, re.DOTALL)[0]
    group = re.search(rf'<g class="{kind}">(.*?)</g>', figure, re.DOTALL)
    return np.array(LINE.findall(group[1]), float).reshape(-1, 4)


@pytest.mark.parametrize("plane", WAYS)
def test_a_line_goes_from_a_fixed_point_to_its_match(tmp_path, plane):
    pair = some_pair()
    agrees = np.arange(40) % 4 == 0
    judged = Judged(agrees, "the known map", "4 mm")
    html = match_pictures.write_page(
        pair, tmp_path / "m.html", judged, [("right", "10", "25 %")], "A word."
    ).read_text()
    for kind, chosen in (("agreeing", agrees), ("others", ~agrees)):
        lines = lines_of(html, plane, kind)
        order = np.argsort(pair.matches.distance, kind="stable")
        rows, columns = pair.matches.pairs[order[chosen[order]]].T
        fixed = seen(pair.fixed.position[rows], plane, GRID.bounds())
        moving = seen(pair.moving.position[columns], plane, pair.moving_picture.grid.bounds())
        np.testing.assert_allclose(lines[:, :2], fixed, atol=0.06)
        # the moving patient stands as far to the right for all of them
        np.testing.assert_allclose(np.ptp(lines[:, 2] - moving[:, 0]), 0, atol=0.2)
        assert lines[0, 2] - moving[0, 0] > seen(GRID.bounds()[1:], plane, GRID.bounds())[0, 0]
        np.testing.assert_allclose(lines[:, 3], moving[:, 1], atol=0.06)
    assert "A word." in html and html.count("data:image/png") == 6


def test_without_pictures_points_are_shown_and_no_more_lines_than_can_be_followed(tmp_path):
    pair = some_pair(pictures=False)
    many = np.tile(pair.matches.pairs, (20, 1))
    crowded = Pair(pair.fixed, pair.moving, Matches(many, distance=np.linspace(1, 0, len(many))))
    html = match_pictures.write_page(crowded, tmp_path / "m.html").read_text()
    assert "data:image" not in html
    for plane in WAYS:
        assert len(lines_of(html, plane, "unjudged")) == match_pictures.MOST_LINES
    assert html.count('class="point"') == 3 * 80
    for n, none in enumerate((Keypoints(np.zeros((0, 3)), "a"), pair.fixed)):
        empty = Pair(none, pair.moving, Matches(np.zeros((0, 2))))
        assert Path(match_pictures.write_page(empty, tmp_path / f"{n}.html")).stat().st_size > 1000
