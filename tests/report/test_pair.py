from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from homolog import Affine, Displacement, Grid, Volume, draw_warp, warp, write, write_transform
from homolog.errors import BadInput
from homolog.metrics.consistency import inverse_consistency
from homolog.metrics.folding import folding
from homolog.report.pair import write_report
from homolog.space.transforms import chain
from homolog.synth.configs import WarpConfig
from tests.geometry import oblique_grid, some_affine
from tests.report.reading import bend_mm, report_of

GRID = oblique_grid((52, 40, 16), (2.0, 2.6, 6.5))
CENTRE = GRID.world((np.array(GRID.shape) - 1) / 2)
BODY_MM = 30.0
WINDOW = {"fixed": [0, 100], "moving": [0, 100]}


def ball(centre_mm, radius_mm, grid=GRID):
    return (np.linalg.norm(grid.points() - centre_mm, axis=1) < radius_mm).reshape(grid.shape)


def patient(marker_mm=None, grid=GRID):
    """A ball, and a brighter one in it."""
    data = 40.0 * ball(CENTRE, BODY_MM, grid)
    if marker_mm is not None:
        data[ball(marker_mm, 6, grid)] = 100
    return Volume(data, grid, "fixed")


def record(folder, volume, **facts):
    folder.mkdir(exist_ok=True)
    write(volume, folder / "fixed.nii.gz")
    return {"fixed": {"path": "fixed.nii.gz", "space": "fixed"}, "window": WINDOW, **facts}


def bending(affine):
    """The same map told in a way that could bend, though it does not."""
    still = Displacement(np.zeros((*GRID.shape, 3), np.float32), GRID)
    return chain([affine, still.renamed(fixed="fixed", moving="fixed")], fixed="fixed", moving="moving")


def with_map(folder, transform, **facts):
    """A record of a run that found this map between a patient and itself."""
    write_transform(transform, folder / "map.h5", like=GRID)
    moving = {"path": "fixed.nii.gz", "space": "moving"}
    return {**record(folder, patient()), "moving": moving, "outputs": {"moving_from_fixed": "map.h5"}, **facts}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of which everything is recorded: a textured patient, a second one, the map between them."""
    folder = tmp_path_factory.mktemp("run")
    fixed = patient(CENTRE + (12, 5, 8))
    drawn = draw_warp(GRID, np.random.default_rng(5), WarpConfig(strength_mm=5))
    moving = warp(fixed, drawn.fixed_from_moving.renamed(fixed="moving", moving="fixed"), GRID, outside=0)
    write(moving, folder / "moving.nii.gz")
    write(warp(moving, drawn.moving_from_fixed, GRID, outside=0), folder / "warped.nii.gz")
    write_transform(drawn.moving_from_fixed, folder / "map.h5", like=GRID)
    trip = inverse_consistency(drawn.moving_from_fixed, drawn.fixed_from_moving, GRID)
    distances = {
        "names": ["apex", "base"],
        "error_mm": [1, 2],
        "mean_mm": 1.5,
        "median_mm": 1.5,
        "p95_mm": 2,
        "max_mm": 2,
    }
    facts = record(folder, fixed) | {
        "command": ["homolog", "register", "a b.nii.gz"],
        "version": "1.2.3",
        "device": "cpu",
        "seconds": 75.0,
        "seed": 7,
        "software": {"numpy": "2.0"},
        "config": {"method": "deeds", "levels": [8, 6], "refine": {"steps": 20}},
        "moving": {"path": "moving.nii.gz", "space": "moving", "hash": "abc"},
        "outputs": {"moving_from_fixed": "map.h5", "warped": "warped.nii.gz"},
        "trace": [{"stage": "affine", "step": n, "energy": 1 / (n + 1)} for n in range(300)],
        "quality": {
            "similarity_name": "NCC", "similarity_before": 0.25, "similarity_after": 0.75, "poor": True,
            "why": "too little",
        },
        "label_names": {"1": "liver"},
        "metrics": {
            "dice_before": {"1": 0.5, "2": 0.4}, "dice_after": {"1": 0.9, "2": 0.3}, "hd95_mm_after": {"1": 3.25},
            "landmarks": {"before": distances, "after": distances},
            "folding": asdict(folding(drawn.moving_from_fixed, GRID)), "inverse": asdict(trip),
        },
    }  # fmt: skip
    return folder, facts


@pytest.fixture(scope="module")
def page(whole):
    return report_of(*whole)


# ---------------------------------------------------------------------------------------------------------------------
# Where things are seen


@pytest.mark.parametrize(
    ("plane", "toward_mm", "axis", "sign"),
    [
        ("axial", (18, 0, 0), 1, 1),
        ("axial", (0, -18, 0), 0, -1),
        ("coronal", (18, 0, 0), 1, 1),
        ("coronal", (0, 0, 18), 0, -1),
        ("sagittal", (0, -18, 0), 1, -1),
        ("sagittal", (0, 0, 18), 0, -1),
    ],
    ids=["left-is-right", "front-is-up", "left-is-right-coronal", "head-is-up", "front-is-left", "head-is-up-sagittal"],
)
def test_a_marker_is_seen_where_radiologists_look_for_it(tmp_path, plane, toward_mm, axis, sign):
    seen = report_of(tmp_path, record(tmp_path, patient(CENTRE + toward_mm))).middle(plane, "fixed")
    body, marker = (np.argwhere(part).mean(axis=0) for part in (seen > 60, seen > 180))
    away = marker - body
    assert sign * away[axis] > 5
    assert abs(away[1 - axis]) < 2


def test_the_letters_say_so(page):
    assert page.text.count("R L A P") == page.text.count("R L H F") == page.text.count("A P H F") == 5


def test_a_ball_on_anisotropic_voxels_is_round(tmp_path):
    page = report_of(tmp_path, record(tmp_path, patient()))
    for plane in ("axial", "coronal", "sagittal"):
        seen = page.middle(plane, "fixed")
        rows, columns = (np.ptp(places) + 1 for places in np.nonzero(seen > 100))
        pixel_mm = 2.0
        assert rows * pixel_mm == pytest.approx(2 * BODY_MM, abs=8)
        assert columns * pixel_mm == pytest.approx(2 * BODY_MM, abs=8)
        assert page.aspects[plane] == pytest.approx(seen.shape[1] / seen.shape[0], abs=1e-3)


def test_the_storage_order_of_the_voxels_is_not_seen(tmp_path):
    volume = patient(CENTRE + (10, 8, -9))
    matrix = GRID.world_from_voxel @ np.array([[0, -1, 0, 51], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    turned = Volume(volume.data.transpose(2, 0, 1)[:, ::-1], Grid((16, 52, 40), matrix), "fixed")
    one, other = (
        report_of(tmp_path / name, record(tmp_path / name, each)) for name, each in (("a", volume), ("b", turned))
    )
    for plane in ("axial", "coronal", "sagittal"):
        difference = np.abs(one.middle(plane, "fixed") - other.middle(plane, "fixed"))
        assert (difference > 4).mean() < 0.005


# ---------------------------------------------------------------------------------------------------------------------
# Two images


def test_what_is_brighter_in_one_image_has_its_colour(tmp_path):
    facts = record(tmp_path, patient())
    write(patient().with_data(40.0 * ball(CENTRE + (40, 0, 0), BODY_MM)), tmp_path / "moving.nii.gz")
    facts |= {"moving": {"path": "moving.nii.gz", "space": "moving"}}
    seen = report_of(tmp_path, facts).pictures["axial", "overlay-before"][0].astype(int)
    magenta, green = seen[..., 0] - seen[..., 1] > 60, seen[..., 1] - seen[..., 0] > 60
    assert (seen[magenta][:, 2] == seen[magenta][:, 0]).all()
    # the moving ball lies to the patient's left
    assert np.argwhere(green).mean(axis=0)[1] > np.argwhere(magenta).mean(axis=0)[1] + 20


def test_after_registration_the_images_agree(page):
    for plane in ("axial", "coronal", "sagittal"):
        before, after = (page.middle(plane, name) - page.middle(plane, "fixed") for name in ("before", "after"))
        assert (after**2).mean() < 0.3 * (before**2).mean()


def test_the_map_alone_shows_what_the_written_image_shows(whole, page):
    folder, facts = whole
    without = report_of(folder, facts | {"outputs": {"moving_from_fixed": "map.h5"}})
    for plane in ("axial", "coronal", "sagittal"):
        difference = np.abs(page.middle(plane, "after") - without.middle(plane, "after"))
        assert difference.mean() < 3


def test_images_that_do_not_meet_are_shown_apart(tmp_path):
    facts = record(tmp_path, patient())
    far = Grid(GRID.shape, np.vstack((GRID.world_from_voxel[:3] + [[0, 0, 0, 900]] * 3, [0, 0, 0, 1])))
    write(Volume(patient().data, far, "moving"), tmp_path / "moving.nii.gz")
    page = report_of(tmp_path, facts | {"moving": {"path": "moving.nii.gz", "space": "moving"}})
    assert not page.middle("axial", "before").any()
    assert page.middle("axial", "fixed").any()


def test_two_ends_of_one_name_are_no_trouble(whole, page):
    folder, facts = whole
    one_name = {**facts, "fixed": facts["fixed"] | {"space": "ct"}, "moving": facts["moving"] | {"space": "ct"}}
    again = report_of(folder, one_name)
    np.testing.assert_array_equal(again.middle("axial", "after"), page.middle("axial", "after"))


def chest(folder, window=None):
    """A run of a body with a lung in it, whose left half is a tenth denser."""
    distance = np.linalg.norm(GRID.points() - CENTRE, axis=1).reshape(GRID.shape)
    left = (GRID.points()[:, 0] > CENTRE[0]).reshape(GRID.shape)
    lung = np.where(left, -760.0, -840.0)
    data = np.where(distance < 18, lung, np.where(distance < BODY_MM, 40.0, -1000.0))
    facts = record(folder, Volume(data, GRID, "fixed"), window=window)
    return report_of(folder, {k: v for k, v in facts.items() if v is not None})


def test_lungs_are_shown_in_their_own_window_too(tmp_path):
    page = chest(tmp_path)
    # nine slices, each in both ways
    slices = page.pictures["axial", "fixed"][-18:]
    soft, lung = (each[tuple(np.array(each.shape) // 2)] for each in slices[8:10])
    assert soft == 0
    assert 80 < lung < 120
    assert "Soft tissue" in page.text and "Lung" in page.text


def test_a_window_that_is_asked_for_is_the_only_one(tmp_path):
    page = chest(tmp_path, window={"fixed": [-1000, -500]})
    assert len(page.pictures["axial", "fixed"]) == 9
    assert "Soft tissue" not in page.text
    seen = page.middle("axial", "fixed")
    half = seen.shape[1] // 2
    assert 75 < seen[seen.shape[0] // 2, half - 4] < 90 < 110 < seen[seen.shape[0] // 2, half + 4] < 130


def test_two_files_of_one_name_are_told_apart_by_their_patients(tmp_path, whole):
    facts = {side: {"path": f"{side}/ct.nii.gz", "space": f"{side} one"} for side in ("fixed", "moving")}
    write(patient(), tmp_path / "fixed" / "ct.nii.gz"), write(patient(), tmp_path / "moving" / "ct.nii.gz")
    assert report_of(tmp_path, facts).text.startswith("moving one onto fixed one")
    assert report_of(*whole).text.startswith("moving.nii.gz onto fixed.nii.gz")


# ---------------------------------------------------------------------------------------------------------------------
# The map


@pytest.mark.parametrize("transform", [Affine.identity(), some_affine(about_mm=CENTRE)], ids=["identity", "affine"])
def test_straight_lines_stay_straight_under_an_affine_map(tmp_path, transform):
    page = report_of(tmp_path, with_map(tmp_path, bending(transform)))
    for plane in ("axial", "coronal", "sagittal"):
        # told to a tenth of a millimetre
        assert max(bend_mm(line) for line in page.grids[plane][0]) < 0.15


def test_an_affine_map_is_told_in_words_and_not_drawn(tmp_path):
    scaled = Affine(np.diag([1.25, 1.0, 1.0, 1.0]))
    page = report_of(tmp_path, with_map(tmp_path, scaled))
    assert "multiplies volumes by 1.250. It is affine: it bends nothing" in page.text
    assert not page.grids
    assert not any(kind == "jacobian" for _, kind in page.pictures)


def test_a_shift_of_the_scanners_frame_leaves_the_grid_in_the_picture(tmp_path):
    far = np.eye(4)
    far[:3, 3] = 700, -900, 400
    pages = [report_of(tmp_path, with_map(tmp_path, bending(each))) for each in (Affine.identity(), Affine(far))]
    for lines, shifted in zip(*(page.grids["axial"][0] for page in pages)):
        np.testing.assert_allclose(shifted, lines, atol=0.2)


def test_lines_bend_under_a_warp(page):
    for plane in ("axial", "coronal", "sagittal"):
        assert max(bend_mm(line) for line in page.grids[plane][0]) > 1


def folding_map(strength):
    """x is pulled towards the centre, too far where 1 < strength."""
    grid = Grid.regular((81, 61, 61), 2.0, CENTRE - (80, 60, 60))
    offset = grid.points() - CENTRE
    vectors = np.zeros((grid.size, 3), np.float32)
    vectors[:, 0] = -strength * offset[:, 0] * np.exp(-(offset**2).sum(axis=1) / (2 * 12.0**2))
    return Displacement(vectors.reshape(*grid.shape, 3), grid)


def test_folded_places_are_black_and_no_others(tmp_path):
    folded = (report_of(tmp_path, with_map(tmp_path, folding_map(1.8))).middle("axial", "jacobian") == 0).all(axis=-1)
    assert folded[tuple(np.array(folded.shape) // 2)]
    far = np.linalg.norm(np.argwhere(folded) - np.array(folded.shape) / 2, axis=1).max()
    # det = 1 - s (1 - x^2 / w^2) exp(-r^2 / 2 w^2) < 0 within w sqrt(2 ln s) = 13 mm
    assert 3 < far * 2.0 < 17


def test_a_map_without_folds_shows_none(tmp_path):
    page = report_of(tmp_path, with_map(tmp_path, folding_map(0.8)))
    for plane in ("axial", "coronal", "sagittal"):
        assert not (page.middle(plane, "jacobian") == 0).all(axis=-1).any()


@pytest.mark.parametrize(("factor", "more", "less"), [(1.2, 0, 2), (0.8, 2, 0)], ids=["orange", "blue"])
def test_swelling_and_shrinking_have_their_colours(tmp_path, factor, more, less):
    scaled = Affine(np.diag([factor, factor, factor, 1.0]))
    seen = report_of(tmp_path, with_map(tmp_path, bending(scaled))).middle("coronal", "jacobian")
    assert (seen[..., more] > seen[..., less] + 60).all()


# ---------------------------------------------------------------------------------------------------------------------
# The page


def test_nothing_is_fetched_from_anywhere(whole, page):
    text = (whole[0] / "report.html").read_text()
    assert not re.search(r"https?:|//[a-z]|url\((?!#)|@import|srcset", re.sub(r"base64,[\w+/=]+", "", text))
    assert not page.tags & {"link", "iframe", "object", "embed"}
    assert "default-src 'none'" in text


def test_the_figures_are_there(page):
    for said in ("NCC", "0.250 →", "0.750", "POOR too little", "1 min 15 s", "liver", "0.900", "3.25", "base 2.0",
                 "homolog register 'a b.nii.gz'", "refine.steps", "SDlogJ", "1.2.3", "300 steps"):  # fmt: skip
        assert said in page.text, said


def test_a_good_run_is_not_called_poor(page, tmp_path):
    fine = report_of(tmp_path, {"quality": {"poor": False}})
    assert "POOR" in page.text and "POOR" not in fine.text and "No warning" in fine.text


def test_a_falling_energy_is_drawn_falling(whole):
    text = (whole[0] / "report.html").read_text()
    heights = [float(knot.split(",")[1]) for knot in re.search(r'polyline points="([^"]+)"', text)[1].split()]
    assert 50 < len(heights) <= 200
    assert (np.diff(heights) >= 0).all() and heights[-1] > heights[0] + 50


@pytest.mark.parametrize("key", ["command", "version", "seconds", "config", "fixed", "moving", "window", "outputs",
                                 "trace", "quality", "label_names", "metrics"])  # fmt: skip
def test_what_is_not_recorded_is_left_out(whole, key):
    folder, facts = whole
    if key not in ("moving", "outputs"):
        # no pictures: they do not ask for it, and take time
        facts = {k: v for k, v in facts.items() if k not in ("fixed", "outputs")}
    assert "html" in report_of(folder, {k: v for k, v in facts.items() if k != key}).tags


@pytest.mark.parametrize("name", ["dice_before", "dice_after", "hd95_mm_after", "landmarks", "folding", "inverse"])
def test_a_figure_that_was_not_measured_is_left_out(tmp_path, whole, name):
    metrics = whole[1]["metrics"]
    report_of(tmp_path, {"metrics": {name: metrics[name]}})
    report_of(tmp_path, {"metrics": {k: v for k, v in metrics.items() if k != name}})


def test_an_empty_record_makes_a_page(tmp_path):
    assert report_of(tmp_path, {}).tags >= {"html", "h1"}


def test_not_a_number_breaks_nothing(tmp_path):
    data = patient().numpy().copy()
    data[ball(CENTRE, 8)] = np.nan
    data[0] = np.inf
    nothing = float("nan")
    facts = record(tmp_path, patient().with_data(data)) | {
        "seconds": nothing,
        "trace": [{"stage": "a", "step": 0, "energy": nothing}, {"stage": "a", "step": 1, "energy": 2.0}, None],
        "quality": {"similarity_after": nothing, "poor": True, "why": None},
        "metrics": {
            "dice_before": {"1": nothing}, "dice_after": {"1": None, "2": 0.5}, "folding": {"fraction": nothing},
            "inverse": {"fixed": {"mean_mm": nothing}, "moving": None}, "landmarks": {"after": {"mean_mm": nothing}},
        },
    }  # fmt: skip
    page = report_of(tmp_path, facts)
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    seen = page.middle("axial", "fixed")
    assert seen[tuple(np.array(seen.shape) // 2)] == 0 and seen.max() > 90


def test_names_are_text_and_never_markup(tmp_path):
    name = "<b>&\"'.nii.gz"
    facts = record(tmp_path, patient())
    (tmp_path / "fixed.nii.gz").rename(tmp_path / name)
    facts |= {
        "fixed": {"path": name, "space": "<i>", "hash": "<u>"}, "command": ["<marquee>"], "config": {"<s>": "<s>"},
        "quality": {"poor": True, "why": "<blink>", "similarity_name": "<em>", "similarity_after": 1},
        "trace": [{"stage": "<q>", "step": 0, "energy": 1}], "software": {"<a>": "<a>"},
        "label_names": {"<p1>": "<p2>"},
        "metrics": {"dice_after": {"<p1>": 0.5}, "landmarks": {"after": {"names": ["<var>"], "error_mm": [1.0]}}},
    }  # fmt: skip
    page = report_of(tmp_path, facts)
    assert not page.tags & {"b\"'", "u", "marquee", "s", "blink", "em", "q", "a", "p1", "p2", "var"}
    for said in (name, "<blink>", "<var>", "<p2>", "<marquee>"):
        assert said in page.text


@pytest.mark.parametrize("keys", [("fixed", "path"), ("outputs", "moving_from_fixed")])
def test_a_file_that_is_gone_is_named(tmp_path, whole, keys):
    facts = json.loads(json.dumps(whole[1]))
    facts[keys[0]][keys[1]] = "lost.nii.gz"
    for name in ("fixed.nii.gz", "moving.nii.gz", "warped.nii.gz"):
        (tmp_path / name).write_bytes((whole[0] / name).read_bytes())
    with pytest.raises(BadInput, match=r"lost\.nii\.gz"):
        report_of(tmp_path, facts)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("text", [None, "", "{", "[1]"], ids=["none", "empty", "cut", "list"])
def test_a_record_that_is_none_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadInput, match=r"run\.json"):
        write_report(tmp_path)
