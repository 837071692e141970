"""Whatever is wrong with a command: one line that says so, one that helps, exit code 2, and nothing left behind."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from homolog import Affine, Volume, write, write_points, write_transform
from homolog.io.points import read_points
from homolog.io.volumes import read
from tests.cli.conftest import in_a_process, listing

HALF_TURN = (-1, -1, 1)
ROWS: list[tuple[str, Callable[[Path], str], str, str]] = []


def row(said: str, hint: str):
    """A row of the table: what the error must say and what the hint, the function's name being the sentence.

    The function makes the bad thing in the study's folder and returns the command line.
    """

    def add(make: Callable[[Path], str]):
        ROWS.append((make.__name__, make, said, hint))
        return make

    return add


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel.Nifti1Image(data, np.diag([-1.3, -2.1, 1.7, 1.0]) if affine is None else affine).to_filename(path)


# ---------------------------------------------------------------------------------------------------------------------
# Files


@row("movng.nii.gz: no such file", "did you mean moving.nii.gz?")
def an_input_is_missing(study):
    return "apply t.h5 movng.nii.gz --from moving"


@row("tt.h5: no such file", "did you mean t.h5?")
def the_map_is_missing(study):
    return "apply tt.h5 moving.nii.gz --from moving"


@row("cut.nii.gz", "copy or download it again")
def a_volume_was_cut_off(study):
    whole = (study / "moving.nii.gz").read_bytes()
    (study / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    return "apply t.h5 cut.nii.gz --from moving"


@row("text.nii.gz", "")
def a_text_was_renamed_to_nii_gz(study):
    (study / "text.nii.gz").write_text("this is no volume\n" * 50)
    return "apply t.h5 text.nii.gz --from moving"


@row("text.nii.gz", "")
def a_compressed_text_was_renamed_to_nii_gz(study):
    (study / "text.nii.gz").write_bytes(gzip.compress(b"this is no volume\n" * 50))
    return "apply t.h5 text.nii.gz --from moving"


@row("empty.nii.gz is empty", "copy it again")
def a_volume_has_no_bytes(study):
    (study / "empty.nii.gz").touch()
    return "apply t.h5 empty.nii.gz --from moving"


@row("series.nii.gz", "")
def a_volume_has_four_dimensions(study):
    write_nifti(study / "series.nii.gz", np.zeros((5, 6, 7, 3), np.float32))
    return "apply t.h5 series.nii.gz --from moving"


@row("colours.nii.gz", "")
def a_volume_is_in_colours(study):
    colours = np.zeros((5, 6, 7), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    write_nifti(study / "colours.nii.gz", colours)
    return "apply t.h5 colours.nii.gz --from moving"


@row("colours.mha", "")
def a_meta_image_is_in_colours(study):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True), "colours.mha")
    return "apply t.h5 colours.mha --from moving"


@row("flat.nii.gz", "")
def a_volumes_axes_are_singular(study):
    flat = np.diag([1.0, 2.0, 3.0, 1.0])
    flat[:3, 2] = flat[:3, 1]
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.float32), None)
    image.header.set_sform(flat, code=1)
    image.header.set_qform(None, code=0)
    nibabel.Nifti1Image(np.zeros((5, 6, 7), np.float32), flat, image.header).to_filename(study / "flat.nii.gz")
    return "apply t.h5 flat.nii.gz --from moving"


@row("nan.nii.gz: 2 of", "--replace-nan")
def a_volume_holds_nan(study):
    moving = read("moving.nii.gz")
    data = moving.numpy().copy()
    data[2, 3, 4:6] = np.nan
    write(moving.with_data(data), "nan.nii.gz")
    return "apply t.h5 nan.nii.gz --from moving"


@row("same.nii.gz is the same everywhere (7)", "--outside")
def a_volume_is_the_same_everywhere(study):
    write(read("moving.nii.gz").with_data(np.full((15, 16, 13), 7.0, np.float32)), "same.nii.gz")
    return "apply t.h5 same.nii.gz --from moving"


@row("look like a CT that was never rescaled to HU", "--rescale 1 -1024")
def a_ct_was_never_rescaled(study):
    rng = np.random.default_rng(0)
    stored = np.where(
        rng.random((30, 31, 32)) < 0.4, rng.normal(24, 8, (30, 31, 32)), rng.normal(1064, 40, (30, 31, 32))
    )
    stored[10:12, 10:12] = 2600
    write_nifti(study / "stored.nii.gz", np.clip(stored, 0, 4095).astype(np.int16))
    return "apply t.h5 stored.nii.gz --from moving"


@row("halves.nii.gz", "")
def labels_are_fractions(study):
    write(read("moving.nii.gz").with_data(np.full((15, 16, 13), 0.5, np.float32)), "halves.nii.gz")
    return "apply t.h5 halves.nii.gz --labels --from moving"


# ---------------------------------------------------------------------------------------------------------------------
# Grids and points


@row("moving_labels.nii.gz is on 15x16x13 voxels, fixed_labels.nii.gz on 17x14x12", "homolog apply identity")
def labels_lie_on_another_grid(study):
    return "evaluate --fixed-labels fixed_labels.nii.gz --warped-labels moving_labels.nii.gz"


@row("fall outside", "check that the points were placed on this image")
def points_lie_outside_the_image(study):
    points = read_points("moving.mrk.json")
    write_points(points.moved_to(points.position + (5000, 0, 0), "moving"), "far.mrk.json")
    return "apply t.h5 far.mrk.json --from moving"


@row("as LPS and inside as RAS", "--points-space RAS")
def points_say_the_wrong_frame(study):
    points = read_points("moving.mrk.json")
    write_points(points.moved_to(points.position * HALF_TURN, "moving"), "turned.mrk.json")
    return "apply t.h5 turned.mrk.json --from moving"


@row("bare.csv does not say in which frame", "--points-space LPS")
def points_do_not_say_their_frame(study):
    (study / "bare.csv").write_text("x,y,z\n1,2,3\n")
    return "apply t.h5 bare.csv --from moving"


@row("--points-space does not fit moving.nii.gz", "leave --points-space out")
def a_flag_does_not_fit_the_file(study):
    return "apply t.h5 moving.nii.gz --from moving --points-space RAS"


# ---------------------------------------------------------------------------------------------------------------------
# Maps


@row("starts from 'fixed', but t.h5, applied before it, arrives in 'moving'", "homolog transform invert")
def composed_maps_do_not_meet(study):
    return "transform compose t.h5 t.h5 -o out.h5"


@row("c.h5 starts from 'b', but", "homolog transform compose b.h5 c.h5 -o OUT")
def composed_maps_are_named_in_the_wrong_order(study):
    for fixed, moving in (("b", "c"), ("c", "d")):
        write_transform(Affine(np.diag([1, 1, 2, 1.0]), fixed, moving), f"{fixed}.h5")
    (study / "b.h5").rename("c.h5.new"), (study / "c.h5").rename("b.h5")
    (study / "b.h5.json").rename("c.h5.json.new"), (study / "c.h5.json").rename("b.h5.json")
    (study / "c.h5.new").rename("c.h5"), (study / "c.h5.json.new").rename("c.h5.json")
    return "transform compose c.h5 b.h5 -o out.h5"


@row("bare.tfm has no record beside it", "--spaces C B A")
def composed_maps_have_no_names(study):
    write_transform(Affine(np.diag([1, 1, 2, 1.0])), "bare.tfm")
    (study / "bare.tfm.json").unlink()
    return "transform compose bare.tfm t.h5 -o out.h5"


@row("2 maps join 3 spaces, --spaces names 2", "--spaces C B A")
def too_few_spaces_are_named(study):
    return "transform compose t.h5 t.h5 -o out.h5 --spaces b a"


@row("the fixed or of the moving patient?", "homolog apply bare.tfm moving.nii.gz --from moving")
def nothing_tells_whose_image_it_is(study):
    write_transform(Affine(np.diag([1, 1, 2, 1.0])), "bare.tfm")
    (study / "bare.tfm.json").unlink()
    return "apply bare.tfm moving.nii.gz --like fixed.nii.gz"


@row("the record of t.h5 does not know it", "apply t.h5 moving_labels.nii.gz --labels --from fixed")
def nothing_tells_whose_labels_they_are(study):
    return "apply t.h5 moving_labels.nii.gz --labels"


@row("does not say on which grid of the fixed patient", "--like fixed.nii.gz")
def nothing_tells_on_which_grid(study):
    write_transform(Affine(np.diag([1, 1, 2, 1.0])), "bare.tfm")
    (study / "bare.tfm.json").unlink()
    return "apply bare.tfm moving.nii.gz --from moving"


@row("none was named", "--like")
def the_identity_has_no_grid(study):
    return "apply identity moving.nii.gz"


@row("no.h5", "")
def a_text_was_renamed_to_h5(study):
    (study / "no.h5").write_text("this is no transform\n" * 50)
    return "apply no.h5 moving.nii.gz --from moving --like fixed.nii.gz"


@row("t.zip is no transform", "")
def the_map_has_an_unknown_ending(study):
    (study / "t.zip").write_text("this is no transform\n" * 50)
    return "transform info t.zip"


@row("flat.tfm", "")
def a_map_is_singular(study):
    numbers = "1 0 0 0 1 0 0 1 0 0 0 0"
    block = f"Transform: AffineTransform_double_3_3\nParameters: {numbers}\nFixedParameters: 0 0 0\n"
    (study / "flat.tfm").write_text(f"#Insight Transform File V1.0\n#Transform 0\n{block}")
    return "transform invert flat.tfm -o out.tfm"


# ---------------------------------------------------------------------------------------------------------------------
# Where to write, and with what


@row("is a file, a folder is needed", "-o")
def a_file_lies_where_the_folder_should_be(study):
    return "apply t.h5 moving.nii.gz -o fixed.nii.gz/out.nii.gz"


@row("moving.nii.gz would be written over", "-o")
def the_output_is_the_input(study):
    return "apply t.h5 moving.nii.gz -o ./moving.nii.gz"


@row("would be written over", "-o")
def two_inputs_have_one_name(study):
    (study / "other").mkdir()
    write(read("moving.nii.gz"), "other/moving.nii.gz")
    return "apply t.h5 moving.nii.gz other/moving.nii.gz -o out"


@row("only as .nii.gz", "did you mean out.ni.nii.gz?")
def the_output_has_an_unknown_ending(study):
    return "convert moving.nii.gz out.ni.gz"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that nobody can write to")
@row("/proc", "-o")
def the_folder_cannot_be_written_to(study):
    return "apply t.h5 moving.nii.gz -o /proc/out.nii.gz"


@row("free", "--spacing 0.0")
def there_is_too_little_memory(study):
    return "apply t.h5 moving.nii.gz --spacing 0.01"


@row("do not fit in uint8", "write it as float32")
def numbers_do_not_fit_the_type(study):
    return "convert moving.nii.gz out.nii.gz --dtype uint8"


# ---------------------------------------------------------------------------------------------------------------------
# The command line itself


@row("unknown option: --fromm", "homolog apply t.h5 moving.nii.gz --from moving")
def a_flag_is_misspelt(study):
    return "apply t.h5 moving.nii.gz --fromm moving"


@row('unknown command "aply"', "homolog apply t.h5 moving.nii.gz")
def a_command_is_misspelt(study):
    return "aply t.h5 moving.nii.gz"


@row('unknown command "inver"', "homolog transform invert t.h5")
def a_command_of_two_words_is_misspelt(study):
    return "transform inver t.h5"


@row('invalid value "movin" for --from', "homolog apply t.h5 moving.nii.gz --from moving")
def a_choice_is_misspelt(study):
    return "apply t.h5 moving.nii.gz --from movin"


@row("TRANSFORM requires an argument", "homolog apply --help")
def nothing_is_said_at_all(study):
    return "apply"


@row("nothing to apply the map to", "homolog apply t.h5 INPUT -o OUTPUT")
def no_input_is_named(study):
    return "apply t.h5"


@row("--threads is at least 1", "--threads 1")
def there_are_no_threads(study):
    return "apply t.h5 moving.nii.gz --threads 0"


@row("nothing to evaluate", "homolog evaluate")
def there_is_nothing_to_evaluate(study):
    return "evaluate"


@row("labels are compared in pairs", "--warped-labels")
def labels_stand_alone(study):
    return "evaluate --fixed-labels fixed_labels.nii.gz"


@row("none was given", "--transform")
def moving_labels_have_no_map(study):
    return "evaluate --fixed-labels fixed_labels.nii.gz --moving-labels moving_labels.nii.gz"


# ---------------------------------------------------------------------------------------------------------------------


def require_refused(ended, folder, before, said, hint):
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert len(ended.errors) == len(ended.hints) == 1, ended.err
    assert said in ended.errors[0]
    assert hint in ended.hints[0]
    assert len(ended.hints[0]) > len("hint:  ")
    assert listing(folder) == before


@pytest.mark.parametrize(("make", "said", "hint"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_it_is_refused_in_two_lines_and_nothing_is_left(make, said, hint, study, homolog):
    line = make(study).split()
    before = listing(study)
    require_refused(homolog(*line), study, before, said, hint)


@pytest.mark.parametrize("make", [a_volume_was_cut_off, points_do_not_say_their_frame, a_flag_is_misspelt])
def test_a_real_process_says_the_same(make, study):
    said, hint = next(row[2:] for row in ROWS if row[1] is make)
    line = make(study).split()
    before = listing(study)
    require_refused(in_a_process(*line), study, before, said, hint)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("name", ["out.nii.gz", "out.nii", "out.nrrd", "out.mha"])
def test_a_full_disk_leaves_no_half_of_a_volume(name, study):
    import resource

    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    grid = read("moving.nii.gz").grid.with_spacing(0.7)
    write(Volume(noise, type(grid)((40, 40, 40), grid.world_from_voxel), "noise"), "noise.nii")
    before = listing(study)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    ended = in_a_process("convert", "noise.nii", name, preexec_fn=fill)
    require_refused(ended, study, before, "no room left", "free some space")
