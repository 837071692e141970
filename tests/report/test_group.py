"""The page of a group: who does not fit, what its mean shows, and figures drawn where they are."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from homolog import Affine, Grid, Volume, warp, write, write_transform
from homolog.cli.main import main
from homolog.errors import BadInput
from homolog.report.group import write_group_report
from tests.geometry import blob, oblique_grid, some_affine
from tests.report.reading import Reading

GRID = oblique_grid((44, 40, 18), (2.2, 2.6, 5.5))
CENTRE = GRID.world((np.array(GRID.shape) - 1) / 2)
BODY_MM = 28.0
NAMES = ("anna", "ben", "cleo")
# the right and the wrong matches of the drawn mixtures
SHARE, SCATTER_MM, ASTRAY_MM = 0.4, 3.0, 60.0


def ball(centre_mm, radius_mm, grid=GRID):
    return (np.linalg.norm(grid.points() - centre_mm, axis=1) < radius_mm).reshape(grid.shape)


def body(space="common", marker_mm=None, grid=GRID):
    """A ball, and a brighter one in it."""
    data = 40.0 * ball(CENTRE, BODY_MM, grid)
    if marker_mm is not None:
        data[ball(marker_mm, 7, grid)] = 100
    return Volume(data, grid, space)


def mixture_counts(rng, count=40_000, bins=300):
    """Matches by distance, in bins of 1 mm: the lengths of normal vectors are Maxwell's."""
    scale = np.where(rng.random(count) < SHARE, SCATTER_MM, ASTRAY_MM)
    distance = scale * np.linalg.norm(rng.normal(size=(count, 3)), axis=1)
    return np.histogram(distance, np.arange(bins + 1))[0].tolist()


def said_of(name, residual_mm, **more):
    return {
        "name": name, "space": name, "keypoints": 1000, "matches": 800, "inliers": 320, "residual_mm": residual_mm,
        "scatter_mm": SCATTER_MM, "astray_mm": ASTRAY_MM, "share": SHARE, "doubts": [],
        "folding": {"fraction": 0.0, "least": 0.5}, "inverse": {"mean_mm": 0.01, "p95_mm": 0.02, "max_mm": 0.03},
        "landmarks_mm": 2.5, **more,
    }  # fmt: skip


def numbers():
    """A record of a group of which no file is left."""
    rng = np.random.default_rng(2)
    spread = {"median_mm": 1, "max_mm": 30, "landmarks": 9, "images": 3, "left_out": []}
    steps = [("linear", 40), ("100 mm", 60), ("50 mm", 60)]
    stages = [(stage, step) for stage, count in steps for step in range(count)]
    return {
        "command": ["homolog", "group", "a b.nii.gz"], "version": "1.2.3", "device": "cpu", "seconds": 75.0,
        "config": {"frog": {"rate": 0.125}}, "software": {"numpy": "9.9"}, "stopped": "converged",
        "images": [said_of(name, 2.0 + n) for n, name in enumerate(NAMES)],
        "trace": [
            {"stage": stage, "step": step, "energy_mm": 40 * 0.98**n, "spread_mm": 20 * 0.99**n}
            for n, (stage, step) in enumerate(stages)
        ],
        "histograms": {
            "bin_mm": 1.0, "linear": [mixture_counts(rng, 4000) for _ in NAMES],
            "end": [mixture_counts(rng) for _ in NAMES],
        },
        "landmarks": {
            "before": {"centroid_mm": 44.25, "pairwise_mm": 66.5, **spread},
            "linear": {"centroid_mm": 12.75, "pairwise_mm": 18.5, **spread},
            "end": {"centroid_mm": 3.5, "pairwise_mm": 5.25, **spread},
            "by_landmark": {"carina": 1.5, "left hip": 9.75, "L1": 4.0},
        },
        "overlap": {"from": ["anna"], "dice": {"liver": 0.91, "spleen": 0.625}, "mean_dice": 0.7725},
        "regions": [{"centre_mm": [1.0, -22.0, 333.0], "residual_mm": 6.5, "matches": 77}],
    }  # fmt: skip


def page_of(folder, facts):
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(facts))
    return Reading(write_group_report(folder).read_text(encoding="utf-8"), folder)


def with_pictures(folder, maps, facts, brightness=1.0):
    """The same record with a mean, and images that lie where their maps (common_from_image) say, or not."""
    folder.mkdir(exist_ok=True)
    mean = body(marker_mm=CENTRE + (9, 5, 7))
    write(mean, folder / "mean.nii.gz")
    write(mean.with_data(np.abs(np.gradient(mean.numpy(), axis=0))), folder / "deviation.nii.gz")
    for said, (where, told) in zip(facts["images"], maps):
        name = said["name"]
        shown = warp(mean, where.renamed(fixed=name, moving="common"), GRID, outside=0)
        write(shown.with_data(brightness * shown.numpy()), folder / f"{name}.nii.gz")
        back = told.inverse().renamed(fixed="common", moving=name)
        write_transform(back, folder / name / "patient_from_common.h5", like=GRID)
        said |= {"path": f"{name}.nii.gz", "outputs": {"patient_from_common": f"{name}/patient_from_common.h5"}}
    return {**facts, "outputs": {"mean": "mean.nii.gz", "deviation": "deviation.nii.gz"}}


def shifted(x_mm):
    matrix = np.eye(4)
    matrix[0, 3] = x_mm
    return Affine(matrix)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("group")


@pytest.fixture(scope="module")
def whole(folder):
    """Maps that are right, but for the last image's, which lies 20 mm beside where it is said to lie."""
    facts = numbers()
    maps = [some_affine(n, 0.06, 3.0, CENTRE) for n in range(3)]
    told = [(each, each) for each in maps[:2]] + [(shifted(-20.0), Affine.identity())]
    return with_pictures(folder, told, facts)


@pytest.fixture(scope="module")
def page(folder, whole):
    return page_of(folder, whole)


@pytest.fixture(scope="module")
def html(folder, page):
    return (folder / "report.html").read_text(encoding="utf-8")


def section_of(html, title):
    return html.split(f"<h2>{title}")[1].split("</section>")[0]


# ---------------------------------------------------------------------------------------------------------------------
# Who does not fit


def test_who_does_not_fit_is_said_first_and_why(tmp_path):
    facts = numbers()
    facts["images"][1]["doubts"] = ["only 3 of its matches are right", "upside down"]
    text = page_of(tmp_path, facts).text
    assert text.index("2 of 3 images fit ben does not fit") < text.index("keypoints")
    assert "only 3 of its matches are right; upside down" in text
    assert "▲ does not fit" in text and "No warning" not in text


def test_a_group_in_which_all_fit_is_not_warned_of(page, html):
    assert "3 of 3 images fit" in page.text
    assert 'role="alert"' not in html and "▲" not in page.text


def test_a_map_that_folds_is_warned_of_though_its_image_fits(tmp_path):
    facts = numbers()
    facts["images"][2]["folding"]["fraction"] = 1e-6
    page = page_of(tmp_path, facts)
    assert "the map of cleo folds" in page.text and "its map folds at < 0.01 % of the voxels" in page.text


def test_landmarks_farther_apart_than_before_are_warned_of(tmp_path):
    facts = numbers()
    facts["landmarks"]["end"]["centroid_mm"] = 44.5
    assert "landmarks lie farther apart than before" in page_of(tmp_path, facts).text


def test_the_worst_come_first_and_those_with_doubts_before_all(tmp_path):
    facts = numbers()
    facts["images"] += [said_of("dora", 0.1, doubts=["a stranger"]), said_of("emil", None, doubts=["no match"])]
    page_of(tmp_path, facts)
    listed = section_of((tmp_path / "report.html").read_text(), "All images")
    assert re.findall(r"<tr><th>(\w+)", listed)[1:] == ["emil", "dora", "cleo", "ben", "anna"]


def test_what_was_left_out_is_told(tmp_path):
    facts = numbers() | {"left_out": [{"path": "/data/knee.nii.gz", "why": "it is empty"}]}
    text = page_of(tmp_path, facts).text
    assert "/data/knee.nii.gz left out: it is empty" in text


def test_an_image_placed_later_is_told_apart_and_its_matches_are_not_counted_twice(tmp_path):
    late = said_of("zoe", 9.0, matches=10_000, inliers=9_000)
    page = page_of(tmp_path, numbers() | {"newcomers": [late]})
    assert "zoe placed later" in page.text
    # 3 images of 800 matches, each of which has two ends
    assert "matches 1\N{NARROW NO-BREAK SPACE}200".replace("\N{NARROW NO-BREAK SPACE}", " ") in page.text


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def colours(page, plane, n):
    return page.pictures[plane, "over"][n].astype(int)


def test_an_image_that_its_map_brings_to_the_mean_is_grey_over_it(page):
    # cleo comes first, being worst
    for plane in ("axial", "coronal", "sagittal"):
        seen = colours(page, plane, 1)
        assert seen.max() > 80
        assert (np.abs(seen[..., 0] - seen[..., 1]) > 60).mean() < 0.02


def test_an_image_that_lies_beside_the_mean_is_coloured_on_that_side(page):
    seen = colours(page, "axial", 0)
    magenta, green = seen[..., 0] - seen[..., 1] > 60, seen[..., 1] - seen[..., 0] > 60
    # it lies 20 mm to the patient's left, which is on the viewer's right
    assert np.argwhere(green)[:, 1].mean() > np.argwhere(magenta)[:, 1].mean() + 10
    assert (seen[magenta][:, 2] == seen[magenta][:, 0]).all()


def test_the_explorer_shows_the_mean_the_deviation_and_the_worst_images(page):
    for kind in ("deviation", "worst-0", "worst-1", "worst-2"):
        assert len(page.pictures["coronal", kind]) >= 9
    mean, worst, fitting = (page.middle("axial", kind) for kind in ("fixed", "worst-0", "worst-1"))
    assert np.abs(fitting - mean).mean() < 0.4 * np.abs(worst - mean).mean()


def test_scanners_with_no_common_scale_are_compared_all_the_same(tmp_path):
    facts = numbers()
    facts["images"] = facts["images"][:1]
    seen = colours(page_of(tmp_path, with_pictures(tmp_path, [(Affine.identity(),) * 2], facts, 700.0)), "axial", 0)
    assert seen.max() > 80
    assert (np.abs(seen[..., 0] - seen[..., 1]) > 30).mean() < 0.02


def test_a_ring_lies_round_its_region(tmp_path, whole):
    """In all three planes, at what shines there."""
    at = CENTRE + (14, -9, 16)
    write(blob(GRID, at, 12, "common"), tmp_path / "mean.nii.gz")
    facts = numbers() | {"outputs": {"mean": "mean.nii.gz"}}
    facts["regions"] = [{"centre_mm": at.tolist(), "residual_mm": 5.0, "matches": 40}]
    page = page_of(tmp_path, facts)
    drawn = re.findall(
        r'viewBox="0 0 ([\d.]+) ([\d.]+)" aria-hidden="true"><circle cx="([\d.]+)" cy="([\d.]+)"',
        section_of((tmp_path / "report.html").read_text(), "Where images meet worst"),
    )
    for plane, ring in zip(("axial", "coronal", "sagittal"), drawn, strict=True):
        width, height, x, y = map(float, ring)
        seen = page.pictures[plane, "through"][0]
        row, column = np.argwhere(seen > 0.6 * seen.max()).mean(axis=0)
        pixel_mm = width / seen.shape[1]
        assert height / seen.shape[0] == pytest.approx(pixel_mm, rel=1e-3)
        assert (column + 0.5) * pixel_mm == pytest.approx(x, abs=4)
        assert (row + 0.5) * pixel_mm == pytest.approx(y, abs=4)


def test_an_original_that_is_gone_costs_its_picture_only(tmp_path):
    facts = with_pictures(tmp_path, [(Affine.identity(),) * 2] * 3, numbers())
    (tmp_path / "ben.nii.gz").unlink()
    page = page_of(tmp_path, facts)
    assert re.search(r"ben is not shown: \S*ben.nii.gz is gone", page.text)
    assert len(page.pictures["axial", "over"]) == 2


@pytest.mark.parametrize("lost", ["mean.nii.gz", "anna/patient_from_common.h5"])
def test_a_file_of_the_group_that_is_gone_is_named(tmp_path, lost):
    facts = with_pictures(tmp_path, [(Affine.identity(),) * 2] * 3, numbers())
    (tmp_path / lost).unlink()
    with pytest.raises(BadInput, match=lost):
        page_of(tmp_path, facts)
    assert not (tmp_path / "report.html").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Charts


def knots(path):
    return np.array([[float(n) for n in pair.split()] for pair in re.split("[ML]", path) if pair])


@pytest.fixture(scope="module")
def mixture(html):
    """kind -> (n, 2) knots in the chart of the worst image, heights upwards."""
    chart = section_of(html, "Right and wrong matches").split('<div class="chart">')[1]
    drawn = {kind: knots(path) for kind, path in re.findall(r'<path class="(\w+)" d="([^"]+)"', chart)}
    ground = drawn["end"][0, 1]
    return {kind: np.stack((points[:, 0], ground - points[:, 1]), axis=1) for kind, points in drawn.items()}


def area(points):
    return np.trapezoid(points[:, 1], points[:, 0])


def test_areas_are_numbers_of_matches(mixture):
    right, astray, all_ = (area(mixture[kind]) for kind in ("right", "astray", "end"))
    assert right + astray == pytest.approx(all_, rel=0.03)
    assert right / all_ == pytest.approx(SHARE, rel=0.05)
    assert area(mixture["linear"]) == pytest.approx(all_ / 10, rel=0.1)


@pytest.mark.parametrize(("kind", "scale_mm"), [("right", SCATTER_MM), ("astray", ASTRAY_MM)])
def test_curves_stand_where_maxwell_has_them(mixture, html, kind, scale_mm):
    """d f(d) is highest at sqrt(3) c; the chart's own ticks say where that is."""
    ticks = re.findall(r'<text x="([\d.]+)" y="\d+" text-anchor="middle">(\d+)', section_of(html, "Right and wrong"))
    (x1, mm1), (x2, mm2) = ((float(x), np.log(float(mm))) for x, mm in (ticks[0], ticks[4]))
    top = mixture[kind][np.argmax(mixture[kind][:, 1]), 0]
    assert np.exp(mm1 + (top - x1) * (mm2 - mm1) / (x2 - x1)) == pytest.approx(np.sqrt(3) * scale_mm, rel=0.08)


def test_the_bars_follow_the_curves_that_they_were_drawn_from(mixture):
    """Beyond 5 mm, where bins are narrow on the axis."""
    x = np.linspace(90, 215, 40)
    curve = sum(np.interp(x, *mixture[kind].T) for kind in ("right", "astray"))
    bars = np.interp(x, *mixture["end"].T)
    assert np.abs(bars - curve).mean() < 0.06 * curve.max()


def lines(html, kind):
    chart = section_of(html, "Convergence")
    return [
        np.array([[float(n) for n in knot.split(",")] for knot in found.split()])
        for found in re.findall(rf'polyline class="{kind}" points="([^"]+)"', chart)
    ]


def test_each_stage_has_a_line_of_its_own_and_they_fall(html):
    energy = lines(html, "energy")
    assert len(energy) == len(re.findall('class="begins"', html)) == 3
    heights = np.concatenate([line[:, 1] for line in energy])
    assert (np.diff(heights) >= 0).all() and heights[-1] > heights[0] + 100


def test_energy_and_landmarks_share_one_axis(html):
    """The spread is half the energy at first."""
    ground = lines_of_axis(html)
    energy, spread = (lines(html, kind)[0][0, 1] for kind in ("energy", "landmarks"))
    assert ground - spread == pytest.approx((ground - energy) / 2, abs=0.2)


def lines_of_axis(html):
    """Where 0 mm is."""
    return max(float(y) for y in re.findall(r'<line x1="40" y1="([\d.]+)"', section_of(html, "Convergence")))


# ---------------------------------------------------------------------------------------------------------------------
# The page


def test_nothing_is_fetched_from_anywhere(html, page):
    assert not re.search(r"https?:|//[a-z]|url\((?!#)|@import|srcset", re.sub(r"base64,[\w+/=]+", "", html))
    assert not page.tags & {"link", "iframe", "object", "embed"}
    assert "default-src 'none'" in html


def test_the_figures_are_there(page):
    for said in ("44.25 →", "12.75 →", "3.50", "66.50", "5.25", "left hip 9.75", "0.772", "spleen", "0.625", "6.50",
                 "333", "77", "homolog group 'a b.nii.gz'", "frog.rate", "0.125", "1.2.3", "160 steps", "stood still",
                 "40.0 % of them right", "1 min 15 s"):  # fmt: skip
        assert said in page.text, said


def test_the_farthest_landmark_and_the_worst_structure_come_first(page):
    assert page.text.index("left hip") < page.text.index("L1") < page.text.index("carina")
    assert page.text.index("spleen") < page.text.index("liver")


def test_every_picture_and_chart_says_what_it_is(html):
    assert not re.search(r"<img(?![^>]* alt=\"[^\"]+\")", html)
    assert not re.search(r'<svg(?![^>]*(?:aria-hidden="true"|aria-label="[^"]+"|class="filters"))', html)


@pytest.mark.parametrize("key", [*numbers(), "outputs"])
def test_what_is_not_recorded_is_left_out(tmp_path, key):
    assert "html" in page_of(tmp_path, {k: v for k, v in numbers().items() if k != key}).tags


@pytest.mark.parametrize("key", [*said_of("a", 1.0)])
def test_what_is_not_known_of_an_image_is_left_out(tmp_path, key):
    facts = numbers()
    for said in facts["images"]:
        del said[key]
    assert "html" in page_of(tmp_path, facts).tags


def test_an_empty_record_makes_a_page(tmp_path):
    assert page_of(tmp_path, {"images": []}).tags >= {"html", "h1"}


def test_not_a_number_breaks_nothing(tmp_path):
    nothing = float("nan")
    facts = numbers()
    facts["images"][0] |= {"residual_mm": nothing, "share": nothing, "inverse": None, "landmarks_mm": nothing}
    facts["images"][1] |= {"scatter_mm": nothing, "folding": {"fraction": nothing, "least": nothing}, "doubts": None}
    facts["images"].append(None)
    facts["trace"] = [{"stage": "a", "energy_mm": nothing}, None, {"energy_mm": 2.0, "spread_mm": nothing}]
    facts["histograms"]["end"][1:] = [[nothing, 3], None]
    facts["landmarks"]["end"]["centroid_mm"] = nothing
    facts["landmarks"]["by_landmark"] = {"carina": nothing}
    facts["overlap"] |= {"dice": {"liver": nothing}, "mean_dice": nothing}
    facts["regions"] = [{"centre_mm": [nothing, 1, 2]}, None, {"centre_mm": [1, 2, 3], "residual_mm": nothing}]
    assert not re.search(r"\b(nan|inf)\b", page_of(tmp_path, facts).text, re.IGNORECASE)


def test_names_are_text_and_never_markup(tmp_path):
    facts = numbers()
    facts["images"] = [said_of("<b>&\"'", 1.0, doubts=["<i>"])]
    facts["trace"] = [{"stage": "<q>", "energy_mm": 2.0}] * 50
    facts["landmarks"]["by_landmark"] = {"<var>": 1.0}
    facts["overlap"] = {"from": ["<u>"], "dice": {"<s>": 0.5}, "mean_dice": 0.5}
    facts |= {"left_out": [{"path": "<em>", "why": "<blink>"}], "newcomers": [said_of("<p1>", 1.0)]}
    page = page_of(tmp_path, with_pictures(tmp_path, [], facts))
    assert not page.tags & {"q", "var", "u", "s", "em", "blink", "p1"}
    for said in ("<b>&\"'", "<i>", "<q>", "<var>", "<u>", "<s>", "<em>", "<blink>", "<p1>"):
        assert said in page.text


def test_a_thousand_images_make_a_page_of_bounded_size(tmp_path):
    facts = numbers()
    counts = facts["histograms"]["end"][0]
    facts["images"] = [said_of(f"patient_{n:04d}", 1 + n / 1000) for n in range(1000)]
    facts["histograms"] = {"bin_mm": 1.0, "linear": [counts] * 1000, "end": [counts] * 1000}
    facts["command"] = ["homolog", "group", *(f"patient_{n:04d}/ct.nii.gz" for n in range(1000))]
    facts["landmarks"]["by_landmark"] = {f"landmark {n}": 1.0 for n in range(500)}
    page_of(tmp_path, facts)
    html = (tmp_path / "report.html").read_text()
    assert len(html) < 6e6
    seen = re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)
    assert seen.count("patient_") < 60 and seen.count("<tr>") < 100
    assert all(f"patient_{n:04d}" in html for n in range(1000))


def test_the_command_makes_it_too_and_remembers_the_window(tmp_path):
    page_of(tmp_path, with_pictures(tmp_path, [(Affine.identity(),) * 2] * 3, numbers()))
    (tmp_path / "report.html").unlink()
    assert main(["report", str(tmp_path), "--window", "bone"]) == 0
    assert "greys from −450 to 1050" in (tmp_path / "report.html").read_text()
    assert main(["report", str(tmp_path)]) == 0
    assert "greys from −450 to 1050" in (tmp_path / "report.html").read_text()


def test_voxels_stored_in_another_order_are_seen_alike(tmp_path, page, whole):
    matrix = GRID.world_from_voxel @ np.array([[0, -1, 0, 43], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    mean = body(marker_mm=CENTRE + (9, 5, 7))
    turned = Volume(mean.numpy().transpose(2, 0, 1)[:, ::-1], Grid((18, 44, 40), matrix), "common")
    write(turned, tmp_path / "mean.nii.gz")
    other = page_of(tmp_path, numbers() | {"outputs": {"mean": "mean.nii.gz"}})
    for plane in ("axial", "coronal", "sagittal"):
        assert (np.abs(other.middle(plane, "fixed") - page.middle(plane, "fixed")) > 4).mean() < 0.005
