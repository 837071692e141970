"""`homolog drr`: where things appear in the picture, how large line integrals are, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from homolog import Grid, Volume, write
from homolog.io.cameras import read_cameras, write_cameras
from homolog.io.xrays import read_xray
from homolog.space.attenuation import linear_attenuation
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera, from_look_at
from tests.geometry import oblique_grid

BALL_MM, BALL_RADIUS_MM = np.array([14.0, -5.0, 152.0]), 9.0
BODY_MM, BODY_RADII_MM = np.array([2.0, 8.0, 140.0]), np.array([36.0, 22.0, 33.0])
WATER, BONE = (linear_attenuation(material, 70.0) for material in ("water", "bone"))
BONE_HU = 1500.0


def scanned(grid: Grid, flesh_hu: float = 0.0) -> np.ndarray:
    """A body of water with a ball of bone in its left, upper, front part, voxels at the rim mixed."""
    points = grid.points()
    inside = 1 - np.linalg.norm((points - BODY_MM) / BODY_RADII_MM, axis=1)
    near = BALL_RADIUS_MM - np.linalg.norm(points - BALL_MM, axis=1)
    hu = -1000 + (1000 + flesh_hu) * np.clip(0.5 + inside * BODY_RADII_MM.min() / 2, 0, 1)
    return np.where(near > -1, hu + (BONE_HU - hu) * np.clip(0.5 + near / 2, 0, 1), hu).reshape(grid.shape)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CT, oblique and left-handed, and labels of the body (4) and the ball (9)."""
    folder = tmp_path_factory.mktemp("drr")
    grid = oblique_grid((62, 46, 54), (1.9, 2.6, 2.2), seed=3, origin_mm=(0, 0, 0))
    shift = np.array([2.0, 8.0, 140.0]) - grid.bounds().mean(axis=0)
    grid = Grid.regular(grid.shape, grid.spacing_mm, shift, grid.axes)
    hu = scanned(grid)
    ball = np.linalg.norm(grid.points() - BALL_MM, axis=1).reshape(grid.shape) < BALL_RADIUS_MM
    write(Volume(hu.astype(np.float32), grid, "ct"), folder / "ct.nii.gz")
    write(
        Volume(np.where(ball, 9, np.where(hu > -500, 4, 0)).astype(np.uint8), grid, "ct", "labels"),
        folder / "parts.nii.gz",
    )
    return folder


@pytest.fixture
def drr(homolog, folder, tmp_path):
    """Runs it on the CT, or another volume, with a small detector; what is written goes to tmp_path."""

    def run(name: str, *words: object, size: int | None = 64, source: object = None):
        small = () if size is None else ("--size", size)
        return homolog("drr", source or folder / "ct.nii.gz", "-o", tmp_path / name, *small, *words)

    return run


def taken(path) -> tuple[np.ndarray, PlacedCamera]:
    """Line integrals as stored, and the camera beside them."""
    (placed,) = read_cameras(path.with_name(path.name.split(".")[0] + ".json"))
    return read_xray(path, camera=placed.camera).data, placed


def brightest(data: np.ndarray, share: float = 0.985) -> np.ndarray:
    """(column, row): the middle of what attenuates most."""
    rows, columns = np.nonzero(data > share * data.max())
    return np.array([columns.mean(), rows.mean()])


def test_the_patients_left_is_on_the_right_and_his_head_is_up(drr, tmp_path):
    assert drr("front.nii.gz", "--look", "integral").code == 0
    data, _ = taken(tmp_path / "front.nii.gz")
    column, row = brightest(data)
    assert column > data.shape[1] / 2 + 3
    assert row < data.shape[0] / 2 - 3


@pytest.mark.parametrize(
    "preset", ["ap", "pa", "lateral-left", "lateral-right", "oblique-left", "oblique-right", "axial"]
)
def test_every_view_shows_the_ball_where_its_camera_says(drr, tmp_path, preset):
    assert drr("view.nii.gz", "--preset", preset).code == 0
    data, placed = taken(tmp_path / "view.nii.gz")
    (expected,) = placed.project(BALL_MM[None])
    # a pixel is nearly a voxel wide here, and flesh behind the ball draws its middle by as much
    np.testing.assert_allclose(brightest(data), expected, atol=2.5)


@pytest.mark.parametrize("method", ["siddon", "joseph", "trilinear"])
def test_line_integrals_are_thickness_times_attenuation(drr, tmp_path, method):
    assert drr("depth.nii.gz", "--method", method, "--isocentre", *BODY_MM, size=33).code == 0
    data, placed = taken(tmp_path / "depth.nii.gz")
    pixels = np.array([[6.0, 10.0], [10.0, 25.0], [24.0, 26.0], [12.0, 12.0]])
    directions = placed.detector_mm(pixels) - placed.source_mm
    found = [data[int(row), int(column)] for column, row in pixels]
    expected = [WATER * chord(placed.source_mm, direction) for direction in directions]
    # boundaries are known to a part of a voxel of 2 mm, at both ends
    np.testing.assert_allclose(found, expected, atol=1.0 * WATER)


def chord(source: np.ndarray, direction: np.ndarray) -> float:
    """mm of a ray within the ellipsoid."""
    unit = direction / np.linalg.norm(direction)
    near, along = (source - BODY_MM) / BODY_RADII_MM, unit / BODY_RADII_MM
    a, b, c = along @ along, near @ along, near @ near - 1
    return 2 * np.sqrt(max(b * b - a * c, 0)) / a


def test_the_default_picture_shows_all_of_the_patient(drr, tmp_path):
    assert drr("all.tif", size=None).code == 0
    data, placed = taken(tmp_path / "all.tif")
    assert max(data.shape) == 512
    ends = BODY_MM + np.concatenate([np.diag(BODY_RADII_MM), -np.diag(BODY_RADII_MM)])
    pixels = placed.project(ends)
    assert (pixels > 0).all()
    assert (pixels < np.array(data.shape[::-1]) - 1).all()


def test_several_angles_make_several_pictures(drr, tmp_path):
    done = drr("arm.mha", "--primary", 0, -35, "--secondary", 10)
    assert done.out.split() == [str(tmp_path / f"arm_{n}.mha") for n in (1, 2)]
    for n, angles in ((1, (0, 10)), (2, (-35, 10))):
        data, placed = taken(tmp_path / f"arm_{n}.mha")
        (expected,) = placed.project(BALL_MM[None])
        np.testing.assert_allclose(brightest(data), expected, atol=2.5)
        primary, secondary = np.radians(angles)
        # DICOM: the detector goes to the left with the first angle and to the head with the second
        towards = (np.sin(primary) * np.cos(secondary), -np.cos(primary) * np.cos(secondary), np.sin(secondary))
        np.testing.assert_allclose(placed.axis, towards, atol=1e-9)


def test_a_picture_seen_from_the_detector_is_the_mirror_image(drr, tmp_path):
    drr("source.mha", "--primary", 20, "--secondary", -5)
    drr("detector.mha", "--primary", 20, "--secondary", -5, "--seen-from", "detector")
    source, detector = (taken(tmp_path / f"{name}.mha")[0] for name in ("source", "detector"))
    np.testing.assert_allclose(detector, source[:, ::-1], rtol=1e-4, atol=1e-5)


def test_cameras_of_a_file_are_used_as_they_are(drr, tmp_path):
    slanted = from_look_at(BODY_MM + (300.0, -500.0, 80.0), BALL_MM)
    behind = from_look_at(BODY_MM + (0.0, 400.0, 0.0), BODY_MM)
    wanted = [
        PlacedCamera(Camera(900.0, (40, 50), (1.5, 1.2), (20.0, 25.5)), slanted, "one"),
        PlacedCamera(Camera.centred(700.0, (70, 80), 2.0), behind, "two"),
    ]
    write_cameras(tmp_path / "cameras.json", wanted)
    assert drr("c.nrrd", "--camera", tmp_path / "cameras.json", size=None).code == 0
    for n, camera in enumerate(wanted):
        data, placed = taken(tmp_path / f"c_{n + 1}.nrrd")
        assert data.shape == camera.camera.size_px
        np.testing.assert_allclose(placed.camera_from_world, camera.camera_from_world, atol=1e-9)
        (expected,) = camera.project(BALL_MM[None])
        np.testing.assert_allclose(brightest(data), expected, atol=3)


def test_the_parts_of_all_labels_make_up_the_picture(drr, folder, tmp_path):
    (folder / "parts.json").write_text('{"9": "the ball"}')
    done = drr(
        "sum.nii.gz", "--labels", folder / "parts.nii.gz", "--mask", folder / "parts.nii.gz", "--method", "siddon"
    )
    assert done.code == 0, done.err
    names = ["sum.nii.gz", "sum_label4.nii.gz", "sum_the_ball.nii.gz"]
    assert done.out.split() == [str(tmp_path / name) for name in names]
    whole, body, ball = (taken(tmp_path / name)[0] for name in names)
    np.testing.assert_allclose(body + ball, whole, atol=1e-4 * whole.max())
    assert ball.max() == pytest.approx(2 * BALL_RADIUS_MM * linear_attenuation("water", 70.0) * 2.5, rel=0.15)


def test_a_floor_leaves_bone_alone(drr, tmp_path):
    drr("bone.nii.gz", "--floor", 400)
    data, placed = taken(tmp_path / "bone.nii.gz")
    rows, columns = np.nonzero(data > 0)
    (middle,) = placed.project(BALL_MM[None])
    # trilinear samples fade over a voxel, whose diagonal is 3.9 mm; flesh reaches 36 mm
    radius_mm = (BALL_RADIUS_MM + 0.5 + 3.9) * placed.camera.focal_mm / placed.depth_mm(BALL_MM[None])[0]
    assert np.hypot(columns - middle[0], rows - middle[1]).max() < radius_mm / placed.camera.pitch_mm[0]
    assert len(rows) > 20


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.nii.gz", "x.mha", "x.nrrd", "x.dcm"])
def test_every_format_gives_the_same_line_integrals_back(drr, tmp_path, name):
    drr("truth.nii.gz", "--primary", 15)
    assert drr(name, "--primary", 15, "--look", "integral").code == 0
    truth, _ = taken(tmp_path / "truth.nii.gz")
    # 16 bits for the whole range where there are only integers
    np.testing.assert_allclose(taken(tmp_path / name)[0], truth, atol=truth.max() / 65000)


def test_a_png_is_a_radiograph_bone_white_air_black(drr, tmp_path):
    import SimpleITK as sitk

    drr("truth.nii.gz")
    assert drr("look.png").code == 0
    greys = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "look.png"))
    truth, _ = taken(tmp_path / "truth.nii.gz")
    assert greys.dtype == np.uint8
    assert (greys[truth == 0] == 0).mean() > 0.99
    assert greys[truth > 0.95 * truth.max()].min() > 240
    assert drr("deep.png", "--bits", 16).code == 0
    deep = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "deep.png"))
    np.testing.assert_allclose(deep / 257, greys, atol=0.51)


def test_a_radiograph_as_png_keeps_its_line_integrals_while_its_greys_are_unchanged(drr, tmp_path):
    import SimpleITK as sitk

    drr("truth.nii.gz")
    drr("look.png")
    truth, _ = taken(tmp_path / "truth.nii.gz")
    np.testing.assert_allclose(read_xray(tmp_path / "look.png").data, truth, atol=truth.max() / 65000)
    # the chunk that keeps them, in a picture that somebody turned over
    content, image = (tmp_path / "look.png").read_bytes(), sitk.ReadImage(tmp_path / "look.png")
    start = content.index(b"inTG") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4], "big")]
    sitk.WriteImage(image[::-1, :], tmp_path / "over.png")
    over = (tmp_path / "over.png").read_bytes()
    (tmp_path / "over.png").write_bytes(over[:33] + chunk + over[33:])
    xray = read_xray(tmp_path / "over.png")
    assert np.corrcoef(xray.data.ravel(), truth[:, ::-1].ravel())[0, 1] > 0.8
    assert not xray.greys_known


def test_noise_is_the_same_with_the_same_seed(drr, tmp_path):
    words = ("--photons", 800, "--scatter", 0.2, "--kilovolts", 90, "--blur-mm", 0.5, "--collimator", "circle")
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        assert drr(f"{name}.mha", *words, "--seed", seed).code == 0
    one, again, other = ((tmp_path / f"{name}.mha").read_bytes() for name in ("one", "again", "other"))
    assert one == again
    assert one != other


def test_numbers_without_a_unit_are_said_to_be_so(drr, tmp_path):
    grid = Grid.regular((30, 30, 30), 2.0, BODY_MM - 29)
    near = np.linalg.norm(grid.points() - BODY_MM, axis=1).reshape(grid.shape) < 20
    write(Volume(np.where(near, 2000, 0).astype(np.float32), grid, "bone"), tmp_path / "bone.nii.gz")
    done = drr("r.nii.gz", source=tmp_path / "bone.nii.gz")
    assert done.code == 0, done.err
    assert "no CT in Hounsfield units" in " ".join(done.warnings)
    data, _ = taken(tmp_path / "r.nii.gz")
    assert data.max() == pytest.approx(40 * BONE, rel=0.08)
    done = drr("h.nii.gz", "--values", "hu", source=tmp_path / "bone.nii.gz")
    assert done.code == 2
    assert not (tmp_path / "h.nii.gz").exists()


def test_json_says_what_was_written(drr, tmp_path):
    done = drr("j.dcm", "--json")
    (written,) = done.json["written"]
    assert written["picture"] == str(tmp_path / "j.dcm")
    assert written["camera"] == str(tmp_path / "j.json")
    assert written["largest"] == pytest.approx(taken(tmp_path / "j.dcm")[0].max(), rel=1e-4)


REFUSED = {
    "an ending that is no picture's": ("x.gif", (), "-o"),
    "no ending": ("x", (), ".png"),
    "a detector without pixels": ("x.png", ("--size", 0), "--size"),
    "three sizes": ("x.png", ("--size", 4, 5, 6), "--size"),
    "more pixels than memory": ("x.png", ("--size", 10**6), "--size 512"),
    "pixels of no size": ("x.png", ("--pitch-mm", 0), "--pitch-mm"),
    "a detector at the source": ("x.png", ("--focal-mm", 0), "--focal-mm"),
    "a source within the patient": ("x.png", ("--source-isocentre-mm", 10), "--source-isocentre-mm"),
    "a patient behind the source": ("x.png", ("--isocentre", 2, 5000, 140), "homolog camera info"),
    "a beam beside the patient": ("x.png", ("--isocentre", 3000, 8, 140, "--pitch-mm", 1), "--isocentre"),
    "angles of different number": ("x.png", ("--primary", 0, 10, 20, "--secondary", 0, 5), "--primary"),
    "a pair of angles twice": ("x.png", ("--primary", 10, 10), "--primary"),
    "no such preset": ("x.png", ("--preset", "front"), "--preset"),
    "no such energy": ("x.png", ("--energy-kev", 5), "--energy-kev"),
    "a collimator that is shut": ("x.png", ("--collimator", "circle", "--opening", 0), "--opening"),
    "greys where numbers belong": ("x.dcm", ("--look", "xray"), ".png"),
    "no such camera file": ("x.png", ("--camera", "nowhere.json"), "nowhere.json"),
    "a negative step": ("x.png", ("--step-mm", -1), "--step-mm"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_and_nothing_is_written(drr, tmp_path, case):
    name, words, hint = REFUSED[case]
    done = drr(name, *words, size=None if "--size" in words else 32)
    assert done.code == 2, done.err
    assert len(done.errors) == 1
    assert hint in done.errors[0] + done.hints[0]
    assert not list(tmp_path.iterdir())


def test_a_mask_or_labels_on_another_grid_are_refused(drr, tmp_path):
    other = oblique_grid((20, 20, 20), (4.0, 4.0, 4.0), origin_mm=(0, 0, 100))
    write(Volume(np.ones(other.shape, np.uint8), other, "ct", "labels"), tmp_path / "other.nii.gz")
    for flag in ("--mask", "--labels"):
        done = drr("x.png", flag, tmp_path / "other.nii.gz")
        assert done.code == 2
        assert "20x20x20" in done.errors[0]
        assert "homolog apply identity" in done.hints[0]


def test_what_holds_no_hounsfield_units_is_refused(drr, folder, tmp_path):
    from homolog import read

    ct = read(folder / "ct.nii.gz")
    noisy = ct.numpy() + np.random.default_rng(0).normal(0, 12, ct.grid.shape).astype(np.float32)
    broken = noisy.copy()
    broken[3, 4, 5] = np.nan
    for name, data, hint in (("high", np.maximum(noisy + 1024, 0), "--rescale"), ("nan", broken, "--replace-nan")):
        write(ct.with_data(data), tmp_path / f"{name}.nii.gz")
        done = drr("x.png", source=tmp_path / f"{name}.nii.gz")
        assert done.code == 2, done.err
        assert hint in done.hints[0]


def test_a_picture_never_replaces_what_it_is_made_of(drr, folder):
    done = drr("unused.nii.gz", "-o", folder / "ct.nii.gz")
    assert done.code == 2
    assert (folder / "ct.nii.gz").stat().st_size > 1000
