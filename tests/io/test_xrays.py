"""X-rays through every format: whatever is stored, bone comes out larger than air, and what was assumed is said."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from homolog.errors import BadInput, UnreadableFile
from homolog.io import tiff
from homolog.io.xrays import read_xray, write_xray
from homolog.space.camera import Camera
from homolog.space.camera_poses import from_carm, from_look_at
from tests.io.xray_files import DX, PITCH_MM, SIZE, body, carm, counts, rt_image, saved, xray_header

BEAM = 4000.0
GREYS = {".png": (np.uint8, np.uint16), ".tif": (np.uint8, np.uint16, np.float32), ".mha": (np.uint16, np.float32)}
FORMATS = [(suffix, dtype) for suffix, dtypes in GREYS.items() for dtype in dtypes]


def as_seen(what, dtype):
    """The body as one of four kinds of picture, over the whole range of a type."""
    integrals = body() / body().max()
    pictures = {
        "linear": np.exp(-body()), "linear-inverted": 1 - np.exp(-body()), "log": integrals, "inverted": 1 - integrals,
    }  # fmt: skip
    top = 1000.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (pictures[what] * top).astype(dtype)


def put(path, picture):
    sitk.WriteImage(sitk.GetImageFromArray(picture), str(path))
    return path


def likeness(data):
    return np.corrcoef(data.ravel(), body().ravel())[0, 1]


@pytest.mark.parametrize("what", ["linear", "linear-inverted", "log", "inverted"])
@pytest.mark.parametrize(("suffix", "dtype"), FORMATS)
def test_numbers_taken_as_said_give_the_bodys_line_integrals(tmp_path, what, suffix, dtype):
    xray = read_xray(put(tmp_path / f"x{suffix}", as_seen(what, dtype)), intensity=what)
    assert xray.data.dtype == np.float32
    assert xray.intensity == what
    assert likeness(xray.data) > (0.98 if what == "linear-inverted" else 0.9999 if dtype != np.uint8 else 0.998)


@pytest.mark.parametrize(("what", "looks"), [("linear", "linear"), ("log", "log")])
@pytest.mark.parametrize(("suffix", "dtype"), FORMATS)
def test_what_bright_means_is_seen_and_said(tmp_path, what, looks, suffix, dtype):
    xray = read_xray(put(tmp_path / f"x{suffix}", as_seen(what, dtype)))
    assert xray.intensity == looks
    assert likeness(xray.data) > 0.99
    assert any("bone looks" in said for said in xray.assumed)
    assert not xray.warnings


def test_linear_counts_give_the_integrals_themselves(tmp_path):
    xray = read_xray(put(tmp_path / "x.tif", counts(beam=60000.0)))
    np.testing.assert_allclose(xray.data, body(), atol=2e-3)
    assert any("I0 = 60000" in said for said in xray.assumed)


def test_the_open_beam_can_be_said(tmp_path):
    path = put(tmp_path / "x.png", counts())
    np.testing.assert_allclose(
        read_xray(path, unattenuated=2 * BEAM).data - read_xray(path, unattenuated=BEAM).data, np.log(2), rtol=1e-3
    )
    with pytest.raises(BadInput, match="open beam"):
        read_xray(path, unattenuated=-1.0)


def test_a_picture_without_air_is_not_guessed_silently(tmp_path):
    noise = np.random.default_rng(0).integers(100, 200, SIZE).astype(np.uint8)
    xray = read_xray(put(tmp_path / "x.png", noise))
    assert any("--intensity" in said for said in xray.warnings)


def test_a_tiff_whose_white_is_zero_keeps_its_numbers(tmp_path):
    path = tmp_path / "x.tif"
    tiff.write(as_seen("inverted", np.uint16), path)
    content = bytearray(path.read_bytes())
    content[content.find(struct.pack("<HHI", 262, 3, 1)) + 8] = 0
    path.write_bytes(content)
    assert read_xray(path).intensity == "inverted"
    assert likeness(read_xray(path).data) > 0.999


@pytest.mark.parametrize(("sign", "photometric", "what"), [
    (1, "MONOCHROME1", "linear"), (1, "MONOCHROME2", "linear"), (-1, "MONOCHROME2", "linear-inverted"),
    (-1, "MONOCHROME1", "linear-inverted"),
])  # fmt: skip
def test_the_sign_tells_bone_whatever_it_is_shown_as(tmp_path, sign, photometric, what):
    header = xray_header(
        as_seen(what, np.uint16), DX, "DX", PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=sign,
        PhotometricInterpretation=photometric,
    )  # fmt: skip
    xray = read_xray(saved(header, tmp_path))
    assert (xray.intensity, xray.photometric) == (what, photometric)
    assert likeness(xray.data) > 0.97


@pytest.mark.parametrize(("photometric", "what"), [("MONOCHROME1", "inverted"), ("MONOCHROME2", "log")])
def test_a_radiograph_without_a_sign_shows_bone_white(tmp_path, photometric, what):
    header = xray_header(as_seen(what, np.uint16), DX, "CR", PhotometricInterpretation=photometric)
    xray = read_xray(saved(header, tmp_path))
    assert xray.intensity == what
    assert likeness(xray.data) > 0.999


def test_a_wrong_photometric_interpretation_is_noticed(tmp_path):
    right = xray_header(as_seen("log", np.uint16), DX, "DX", PhotometricInterpretation="MONOCHROME2")
    wrong = xray_header(as_seen("log", np.uint16), DX, "DX", PhotometricInterpretation="MONOCHROME1")
    assert not any("other way round" in said for said in read_xray(saved(right, tmp_path)).warnings)
    assert any("other way round" in said for said in read_xray(saved(wrong, tmp_path)).warnings)


def test_a_header_that_contradicts_itself_is_warned_of(tmp_path):
    header = xray_header(as_seen("log", np.uint16), DX, "DX", PresentationLUTShape="INVERSE")
    assert any("contradicts itself" in said for said in read_xray(saved(header, tmp_path)).warnings)


def test_no_logarithm_is_taken_of_what_was_processed_for_a_screen(tmp_path):
    tags = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}
    header = xray_header(as_seen("inverted", np.uint16), DX, "DX", PresentationIntentType="FOR PRESENTATION", **tags)
    xray = read_xray(saved(header, tmp_path))
    assert xray.intensity == "inverted"
    assert any("processed for presentation" in said for said in xray.assumed)


@pytest.mark.parametrize(("relation", "what"), [("LIN", "linear"), ("LOG", "inverted")])
def test_fluoroscopy_counts_rise_with_the_beam(tmp_path, relation, what):
    xray = read_xray(saved(carm(as_seen(what, np.uint16), PixelIntensityRelationship=relation), tmp_path))
    assert xray.intensity == what
    assert likeness(xray.turn.back.data(xray.data)) > 0.999


@pytest.mark.parametrize("shape", ["rectangle", "circle", "polygon"])
def test_a_shutter_in_the_header_is_left_out(tmp_path, shape):
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    tags = {
        "rectangle": {
            "ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": "11", "ShutterRightVerticalEdge": "71",
            "ShutterUpperHorizontalEdge": "6", "ShutterLowerHorizontalEdge": "51",
        },
        "circle": {
            "CollimatorShape": "CIRCULAR", "CenterOfCircularCollimator": ["31", "41"],
            "RadiusOfCircularCollimator": "25",
        },
        "polygon": {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": ["1", "1", "1", "61", "61", "1"]},
    }  # fmt: skip
    free = {
        "rectangle": (column >= 10) & (column <= 70) & (row >= 5) & (row <= 50),
        "circle": (row - 30) ** 2 + (column - 40) ** 2 <= 25**2, "polygon": row + column < 60,
    }  # fmt: skip
    xray = read_xray(saved(rt_image(counts(), **tags[shape]), tmp_path))
    np.testing.assert_array_equal(xray.mask, free[shape])
    assert any("left out" in said for said in xray.assumed)


@pytest.mark.parametrize("shape", ["disc", "rectangle"])
def test_a_field_painted_black_around_is_found(tmp_path, shape):
    size = (300, 400)
    row, column = np.mgrid[: size[0], : size[1]]
    free = (
        np.hypot(row - 150, column - 190) < 140
        if shape == "disc"
        else (abs(row - 150) < 120) & (abs(column - 200) < 160)
    )
    for picture in (60000 * np.exp(-body(size)), 20000 + 6000 * body(size)):
        xray = read_xray(put(tmp_path / "x.png", np.where(free, picture, 0).astype(np.uint16)))
        assert not xray.mask[~free].any()
        assert xray.mask[free].mean() > 0.9
        assert np.corrcoef(xray.data[xray.mask], body(size)[xray.mask])[0, 1] > 0.99


@pytest.mark.parametrize("shape", ["disc", "leaves", "turned leaves"])
@pytest.mark.parametrize("what", ["linear", "log"])
def test_what_scatter_fills_behind_a_collimator_is_left_out(tmp_path, shape, what):
    size = (300, 400)
    row, column = np.mgrid[: size[0], : size[1]] - np.array((150, 200))[:, None, None]
    turn = np.radians(12 if shape == "turned leaves" else 0)
    along, across = np.cos(turn) * column + np.sin(turn) * row, np.cos(turn) * row - np.sin(turn) * column
    free = np.hypot(row, column) < 170 if shape == "disc" else (abs(along) < 150) & (abs(across) < 110)
    scatter = 60 + 40 * np.exp(-((np.hypot(row, column) / 120) ** 2))
    photons = np.random.default_rng(8).poisson(5000 * np.exp(-body(size)) * free + scatter).astype(np.uint16)
    picture = photons if what == "linear" else np.rint(5000 * (9 - np.log(photons + 1.0))).astype(np.uint16)
    xray = read_xray(put(tmp_path / "x.png", picture), intensity=what)
    assert xray.mask[~free].mean() < 0.25
    assert xray.mask[free].mean() > 0.9


def test_a_body_in_open_air_is_not_taken_for_a_collimated_field(tmp_path):
    for beam in (60000 * np.exp(-body((300, 400))), 10000 * body((300, 400))):
        assert read_xray(put(tmp_path / "x.png", beam.astype(np.uint16))).mask is None


ISOCENTRE_MM = (11.5, -20, 300)
POSES = {
    "source": from_carm(-25, 10, source_isocentre_mm=780, isocentre_mm=ISOCENTRE_MM),
    "detector": from_carm(40, -20, source_isocentre_mm=700, isocentre_mm=ISOCENTRE_MM, seen_from="detector"),
}


@pytest.mark.parametrize("seen_from", POSES)
def test_a_picture_written_as_dicom_comes_back_with_its_geometry(tmp_path, seen_from):
    camera, pose = Camera(1234.5, SIZE, PITCH_MM, (33.25, 71.5)), POSES[seen_from]
    write_xray(tmp_path / "drr.dcm", body(), camera, pose)
    xray = read_xray(tmp_path / "drr.dcm")
    np.testing.assert_allclose(xray.turn.back.data(xray.data), body(), atol=body().max() / 65535)
    points = np.random.default_rng(2).normal(ISOCENTRE_MM, 40, (20, 3))
    wanted = camera.project(points, pose)
    seen = xray.turn.back.camera(xray.camera).project(points, xray.turn.back.pose(xray.camera_from_world))
    np.testing.assert_allclose(seen, wanted, atol=1e-4)
    assert not xray.warnings


def test_a_pose_that_angles_cannot_say_is_left_out_aloud(tmp_path, caplog):
    pose = from_look_at((100, 700, 20), (0, 0, 0), up=(1, 0, 2))
    write_xray(tmp_path / "drr.dcm", body(), Camera.centred(1000, SIZE), pose)
    assert "cannot say this pose" in caplog.text
    assert read_xray(tmp_path / "drr.dcm").camera_from_world is None


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nii.gz", ".nrrd", ".mha", ".dcm"])
def test_line_integrals_come_back_as_they_were_written(tmp_path, suffix):
    data = (body() - 0.7).astype(np.float32)
    write_xray(tmp_path / f"drr{suffix}", data, Camera(1000, SIZE, PITCH_MM, (3.0, 4.0)))
    xray = read_xray(tmp_path / f"drr{suffix}")
    np.testing.assert_allclose(xray.data, data, atol=np.ptp(data) / 65535 if suffix in (".png", ".dcm") else 0)
    if suffix in (".nii.gz", ".nrrd", ".mha", ".dcm"):
        np.testing.assert_allclose(xray.pitch_mm, PITCH_MM, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".dcm"])
def test_what_we_wrote_is_never_taken_for_the_other_way_round(tmp_path, suffix):
    # as a limb that fills the picture's rim, or a body in the middle that lets more through than what is around it
    data = (body().max() - body()).astype(np.float32)
    write_xray(tmp_path / f"x{suffix}", data, Camera(1000, SIZE, PITCH_MM, (3.0, 4.0)))
    xray = read_xray(tmp_path / f"x{suffix}")
    assert np.corrcoef(xray.data.ravel(), data.ravel())[0, 1] > 0.9999
    assert xray.greys_known


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".tif"])
def test_fractions_as_large_as_line_integrals_are_taken_for_them_whoever_wrote_them(tmp_path, suffix):
    # noise in air reaches below 0, which no count does; its dark border is no collimator's
    data = (body() + np.random.default_rng(4).normal(0, 0.02, SIZE)).astype(np.float32)
    xray = read_xray(put(tmp_path / f"x{suffix}", data))
    np.testing.assert_array_equal(xray.data, data)
    assert "as large as line integrals" in " ".join(xray.assumed)
    below = read_xray(put(tmp_path / f"y{suffix}", -data))
    assert below.intensity == "inverted"
    assert likeness(below.data) > 0.99


def test_it_is_known_of_which_greys_nothing_says_how_they_follow_attenuation(tmp_path):
    greys = put(tmp_path / "x.png", as_seen("log", np.uint8))
    assert not read_xray(greys).greys_known
    assert read_xray(greys, intensity="log").greys_known
    tags = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}
    raw = xray_header(as_seen("linear", np.uint16), DX, "DX", **tags)
    assert read_xray(saved(raw, tmp_path)).greys_known
    shown = xray_header(as_seen("inverted", np.uint16), DX, "DX", PresentationIntentType="FOR PRESENTATION", **tags)
    assert not read_xray(saved(shown, tmp_path)).greys_known


@pytest.mark.parametrize("name", ["x.png", "x.mha", "x.tif"])
def test_a_frame_that_a_picture_does_not_have_is_refused(tmp_path, name):
    path = put(tmp_path / name, as_seen("log", np.uint16))
    assert read_xray(path, frame=1).frames == 1
    with pytest.raises(BadInput, match="no frame 7"):
        read_xray(path, frame=7)


def test_eight_bits_are_enough_for_a_look(tmp_path):
    write_xray(tmp_path / "drr.png", body(), bits=8)
    assert sitk.ReadImage(str(tmp_path / "drr.png")).GetPixelID() == sitk.sitkUInt8
    np.testing.assert_allclose(read_xray(tmp_path / "drr.png").data, body(), atol=body().max() / 255)


@pytest.mark.parametrize(("name", "bits", "why"), [("x.bmp", None, "cannot be written as"), ("x.png", 12, "8 or 16")])
def test_what_cannot_be_written_is_refused_before(tmp_path, name, bits, why):
    with pytest.raises(BadInput, match=why):
        write_xray(tmp_path / name, body(), bits=bits)
    assert not list(tmp_path.iterdir())


def test_flat_nifti_of_other_programs_is_read(tmp_path):
    image = sitk.GetImageFromArray(body().astype(np.float32))
    image.SetSpacing((PITCH_MM[1], PITCH_MM[0]))
    for name in ("x.nii.gz", "x.mha", "x.nrrd"):
        sitk.WriteImage(image, str(tmp_path / name))
        xray = read_xray(tmp_path / name, focal_mm=1000)
        np.testing.assert_array_equal(xray.data, body().astype(np.float32))
        np.testing.assert_allclose(xray.camera.pitch_mm, PITCH_MM, rtol=1e-6)


def test_equal_channels_are_grey_and_others_are_a_colour_picture(tmp_path):
    grey = as_seen("linear", np.uint8)
    three = np.stack([grey] * 3, axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(three, isVector=True), str(tmp_path / "grey.png"))
    np.testing.assert_array_equal(read_xray(tmp_path / "grey.png").data, read_xray(put(tmp_path / "x.png", grey)).data)
    three[3, 4] = (250, 20, 20)
    sitk.WriteImage(sitk.GetImageFromArray(three, isVector=True), str(tmp_path / "colour.png"))
    with pytest.raises(BadInput, match="colour picture: 1 of 4800"):
        read_xray(tmp_path / "colour.png")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".mha", ".dcm"])
@pytest.mark.parametrize("part", [0.1, 0.6, 0.98])
def test_a_file_that_was_cut_off_is_told(tmp_path, suffix, part):
    path = tmp_path / f"x{suffix}"
    write_xray(path, body() + np.random.default_rng(1).normal(0, 0.1, SIZE), Camera.centred(1000, SIZE))
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises((UnreadableFile, BadInput)):
        read_xray(path)


def test_a_picture_with_the_same_number_everywhere_shows_nothing(tmp_path):
    with pytest.raises(BadInput, match="same everywhere"):
        read_xray(put(tmp_path / "x.png", np.full(SIZE, 7, np.uint8)))


def test_numbers_that_are_none_are_counted(tmp_path):
    broken = body().astype(np.float32)
    broken[5, 6] = np.nan
    with pytest.raises(BadInput, match="1 of 4800 pixels are not numbers; the first is at row 5, column 6"):
        read_xray(put(tmp_path / "x.mha", broken))


def test_a_picture_without_pixels_is_refused(tmp_path):
    path = put(tmp_path / "x.png", counts())
    content = bytearray(path.read_bytes())
    content[16:20] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(BadInput, match="nothing in it"):
        read_xray(path)


def test_a_stack_needs_a_page_and_volumes_are_refused_for_what_they_are(tmp_path):
    stack = np.stack([counts(), counts()[::-1], counts()[:, ::-1]])
    tiff.write(stack, tmp_path / "stack.tif")
    with pytest.raises(BadInput, match="3 pages") as refused:
        read_xray(tmp_path / "stack.tif")
    assert "--frame 1" in refused.value.hint
    np.testing.assert_array_equal(
        read_xray(tmp_path / "stack.tif", frame=2).data, read_xray(tmp_path / "stack.tif", frame=1).data[::-1]
    )
    with pytest.raises(BadInput, match="holds a volume"):
        read_xray(put(tmp_path / "ct.nii.gz", stack))
    slice_ = xray_header(
        counts(), "1.2.840.10008.5.1.4.1.1.2", "CT", ImageOrientationPatient=["1", "0", "0", "0", "1", "0"]
    )
    with pytest.raises(BadInput, match="slice of a volume"):
        read_xray(saved(slice_, tmp_path, "ct.dcm"))
    with pytest.raises(BadInput, match="is a folder"):
        read_xray(tmp_path)


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("an X-ray")
    with pytest.raises(BadInput, match="no X-ray that can be read"):
        read_xray(tmp_path / "notes.txt")
    (tmp_path / "fake.png").write_text("an X-ray")
    with pytest.raises(UnreadableFile, match="not a PNG"):
        read_xray(tmp_path / "fake.png")
    with pytest.raises(UnreadableFile, match="no such file"):
        read_xray(tmp_path / "none.png")
    with pytest.raises(BadInput, match="intensity is one of"):
        read_xray(put(tmp_path / "x.png", counts()), intensity="bright")
