"""ITK's transform files against SimpleITK: one map, whoever evaluates it, wherever the fixed image reaches."""

from __future__ import annotations

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from homolog import Affine, BSpline, Displacement, Grid, ThinPlate, read_transform, warp, write_transform
from homolog.errors import BadInput, GridMismatch, UnreadableFile, UnwritableFile
from homolog.space.transforms import Chain, chain
from tests.geometry import oblique_grid, sheared_grid, smooth_volume, some_affine, some_displacement

LIKE = oblique_grid()
CENTRE = LIKE.points().mean(axis=0)


def lattice(seed, leaning=False):
    """A small oblique, anisotropic, left-handed lattice near the middle of the fixed image, which it does not cover."""
    rng = np.random.default_rng(seed)
    maker = sheared_grid(tuple(rng.integers(2, 6, 3).tolist())) if leaning else None
    grid = maker or oblique_grid(tuple(rng.integers(2, 6, 3).tolist()), tuple(rng.uniform(2, 6, 3)), seed)
    shift = np.eye(4)
    shift[:3, 3] = CENTRE - grid.points().mean(axis=0) + rng.uniform(-4, 4, 3)
    return Grid(grid.shape, shift @ grid.world_from_voxel)


def part(kind, seed, leaning=False):
    rng, grid = np.random.default_rng(seed), lattice(seed, leaning)
    if kind == "affine":
        return some_affine(seed, about_mm=CENTRE)
    if kind == "spline":
        return BSpline(rng.uniform(-2, 2, (*grid.shape, 3)), grid)
    return Displacement(rng.uniform(-2, 2, (*grid.shape, 3)).astype(np.float32), grid)


def joined(parts):
    return chain(parts, fixed="fixed", moving="moving")


def in_the_image(n=60, margin=0.5):
    """Points of the fixed image and the corners of its box, half a voxel out."""
    inside = np.random.default_rng(9).uniform(-margin, np.array(LIKE.shape) - 1 + margin, (n, 3))
    return np.concatenate((LIKE.world(inside), LIKE.corners(margin)))


def by_itk(path, points):
    transform = sitk.ReadTransform(str(path))
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


def write_text(path, *transforms):
    """ITK's text, by hand: (class, parameters, fixed parameters) of each."""
    blocks = [
        f"#Transform {n}\nTransform: {kind}\nParameters: {numbers}\nFixedParameters: {fixed}\n"
        for n, (kind, numbers, fixed) in enumerate(transforms)
    ]
    path.write_text("#Insight Transform File V1.0\n" + "".join(blocks))


kinds = st.lists(st.sampled_from(["affine", "displacement", "spline"]), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(kinds, st.integers(0, 999), st.booleans())
def test_simpleitk_carries_every_point_of_the_image_where_we_do(tmp_path_factory, names, seed, leaning):
    transform = joined([part(name, seed + n, leaning) for n, name in enumerate(names)])
    path = tmp_path_factory.mktemp("itk") / "t.h5"
    write_transform(transform, path, like=LIKE)
    points = in_the_image()
    carried = transform.apply(points)
    # each field is rounded to float32 after a matrix where its lattice leans: 2 mm * 2^-23, with room
    tolerance = 1e-6 * names.count("displacement") or 1e-9
    np.testing.assert_allclose(by_itk(path, points), carried, atol=tolerance, rtol=0)
    # what is read is the same map beyond the image too: it was padded by what it is out there
    far = LIKE.world(np.random.default_rng(seed).uniform(-3, 4, (50, 3)) * LIKE.shape)
    np.testing.assert_allclose(read_transform(path).apply(far), transform.apply(far), atol=tolerance, rtol=0)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["affine", "spline"]), min_size=1, max_size=3), st.integers(0, 999), st.booleans())
def test_text_holds_what_hdf5_holds(tmp_path_factory, names, seed, leaning):
    transform = joined([part(name, seed + n, leaning) for n, name in enumerate(names)])
    path = tmp_path_factory.mktemp("itk") / "t.tfm"
    write_transform(transform, path, like=LIKE)
    points = in_the_image()
    np.testing.assert_allclose(by_itk(path, points), transform.apply(points), atol=1e-9, rtol=0)
    np.testing.assert_allclose(read_transform(path).apply(points), transform.apply(points), atol=1e-9, rtol=0)


@pytest.mark.parametrize("ending", [".h5", ".hdf5", ".tfm", ".txt", ".mat"])
def test_an_affine_map_loses_no_digit(tmp_path, ending):
    transform = some_affine(about_mm=CENTRE)
    write_transform(transform, tmp_path / f"t{ending}")
    np.testing.assert_array_equal(read_transform(tmp_path / f"t{ending}").matrix, transform.matrix)
    assert sitk.ReadTransform(str(tmp_path / f"t{ending}")).GetName() == "AffineTransform"


def test_the_image_itk_resamples_is_the_image_we_warp(tmp_path):
    grid = oblique_grid((19, 16, 15), (1.5, 1.9, 1.8), seed=8, origin_mm=(0, 0, 0))
    moving = smooth_volume(Grid(grid.shape, _moved(grid, CENTRE)))
    transform = joined([some_affine(about_mm=CENTRE), some_displacement(LIKE), part("spline", 5)])
    write_transform(transform, tmp_path / "t.h5", like=LIKE)
    ours = warp(moving, transform, LIKE, outside=-1000).numpy()
    theirs = sitk.Resample(
        _image(moving.numpy(), moving.grid),
        _image(ours, LIKE),
        sitk.ReadTransform(str(tmp_path / "t.h5")),
        sitk.sitkLinear,
        -1000,
    )
    apart = np.abs(ours - sitk.GetArrayFromImage(theirs).transpose(2, 1, 0))
    assert 0.1 < (ours == -1000).mean() < 0.9
    # at the very rim rounding decides whether a voxel is outside
    assert (apart > 1).sum() <= 2


@pytest.mark.parametrize("ending", [".h5", ".tfm", ".mat"])
def test_a_name_in_capitals_is_read_too(tmp_path, ending):
    write_transform(some_affine(), tmp_path / f"t{ending}")
    (tmp_path / f"t{ending}").rename(tmp_path / f"T{ending.upper()}")
    np.testing.assert_array_equal(read_transform(tmp_path / f"T{ending.upper()}").matrix, some_affine().matrix)


def test_a_linear_map_of_any_class_is_read_with_its_centre(tmp_path):
    centre, move, scale = (3.0, -40.0, 17.0), (4.0, 5.0, -6.0), (1.1, 0.9, 1.2)
    turn = (*np.sin(0.2) * np.array((2, 1, -2)) / 3, np.cos(0.2))
    classes = {
        "euler": sitk.Euler3DTransform(centre, 0.1, -0.2, 0.3, move),
        "versor": sitk.VersorRigid3DTransform(turn, move, centre),
        "similarity": sitk.Similarity3DTransform(1.1, turn, move, centre),
        "scale versor": sitk.ScaleVersor3DTransform(scale, turn, move, centre),
        "skew": sitk.ScaleSkewVersor3DTransform(scale, (0.1, 0, 0, 0.2, 0, 0), turn, move, centre),
        "rotation": sitk.VersorTransform(turn, centre),
        "scale": sitk.ScaleTransform(3, scale),
        "translation": sitk.TranslationTransform(3, move),
        "affine": sitk.AffineTransform(np.array([[1.1, 0.1, 0], [0, 1, 0.2], [-0.1, 0, 0.9]]).ravel(), move, centre),
    }
    points = in_the_image(10)
    for name, itk in classes.items():
        for ending in ("h5", "tfm", "mat"):
            sitk.WriteTransform(itk, str(tmp_path / f"{name}.{ending}"))
            read = read_transform(tmp_path / f"{name}.{ending}")
            assert isinstance(read, Affine)
            np.testing.assert_allclose(read.apply(points), by_itk(tmp_path / f"{name}.{ending}", points), atol=1e-9)


@pytest.mark.parametrize(
    "kind", ["AffineTransform_float", "MatrixOffsetTransformBase_double", "IdentityTransform_float"]
)
def test_classes_that_python_cannot_make_are_read(tmp_path, kind):
    numbers = "" if "Identity" in kind else "1.1 0.1 0 0 1 0.2 -0.1 0 0.9 4 5 -6"
    centre = "" if "Identity" in kind else "3 -40 17"
    write_text(tmp_path / "t.tfm", (f"{kind}_3_3", numbers, centre))
    points = in_the_image(10)
    np.testing.assert_allclose(
        read_transform(tmp_path / "t.tfm").apply(points), by_itk(tmp_path / "t.tfm", points), atol=1e-9
    )


def test_composites_within_composites_are_one_chain(tmp_path):
    first, second = (sitk.Euler3DTransform((1, 2, 3), 0.1 * n, 0.2, 0.3, (4, 5, 6)) for n in (1, 2))
    field = sitk.DisplacementFieldTransform(_image(part("displacement", 4).vectors, part("displacement", 4).grid, True))
    inner = sitk.CompositeTransform([first, field])
    outer = sitk.CompositeTransform([second, inner])
    outer.FlattenTransform()
    sitk.WriteTransform(outer, str(tmp_path / "t.h5"))
    read, points = read_transform(tmp_path / "t.h5"), in_the_image(40, margin=-5)
    inside = part("displacement", 4).grid.contains(points)
    assert isinstance(read, Chain) and inside.any()
    np.testing.assert_allclose(read.apply(points[inside]), by_itk(tmp_path / "t.h5", points[inside]), atol=1e-6)


def test_the_matlab_file_is_laid_out_as_ants_lays_it_out(tmp_path):
    transform = some_affine(about_mm=CENTRE)
    write_transform(transform, tmp_path / "t.mat")
    stored = loadmat(tmp_path / "t.mat")
    assert stored["AffineTransform_double_3_3"].shape == (12, 1) and stored["fixed"].shape == (3, 1)
    savemat(
        tmp_path / "float.mat",
        {
            "AffineTransform_float_3_3": stored["AffineTransform_double_3_3"].astype("f4"),
            "fixed": stored["fixed"].astype("f4"),
        },
        format="4",
    )
    np.testing.assert_allclose(read_transform(tmp_path / "float.mat").matrix, transform.matrix, rtol=1e-6, atol=1e-6)


def test_the_hdf5_file_is_laid_out_as_ants_lays_it_out(tmp_path):
    write_transform(joined([some_affine(), some_displacement(LIKE)]), tmp_path / "t.h5", like=LIKE)
    with h5py.File(tmp_path / "t.h5") as file:
        group = file["TransformGroup"]
        names = [group[str(n)]["TransformType"][0].decode() for n in range(3)]
        sizes = group["2/TransformFixedParameters"][:3]
    assert names == [
        "CompositeTransform_double_3_3",
        "AffineTransform_double_3_3",
        "DisplacementFieldTransform_float_3_3",
    ]
    # one node around the image, so that half a voxel beyond it is inside
    assert sizes.tolist() == [n + 2 for n in LIKE.shape]


@pytest.mark.parametrize("kind", ["displacement", "spline"])
def test_a_lattice_that_leans_is_written_upright_and_is_the_same_map(tmp_path, kind):
    leaning = part(kind, 3, leaning=True)
    write_transform(leaning, tmp_path / "t.h5", like=LIKE)
    first, lattice, last = read_transform(tmp_path / "t.h5").parts
    assert leaning.grid.shear_degrees > 10 and lattice.grid.shear_degrees < 1e-6
    np.testing.assert_allclose(first.matrix @ last.matrix, np.eye(4), atol=1e-9)
    points = in_the_image()
    np.testing.assert_allclose(by_itk(tmp_path / "t.h5", points), leaning.apply(points), atol=1e-6)


def test_without_padding_itk_would_tear_the_map_where_we_do_not(tmp_path):
    transform = part("displacement", 1)
    write_transform(transform, tmp_path / "own.h5")
    write_transform(transform, tmp_path / "wide.h5", like=LIKE)
    points = in_the_image()
    torn = np.linalg.norm(by_itk(tmp_path / "own.h5", points) - transform.apply(points), axis=1) > 0.1
    assert torn.any()
    np.testing.assert_allclose(by_itk(tmp_path / "wide.h5", points), transform.apply(points), atol=1e-6)


def test_a_thin_plate_is_written_as_its_affine_part_and_what_bends(tmp_path):
    rng = np.random.default_rng(0)
    centres, weights = CENTRE + rng.uniform(-10, 10, (6, 3)), rng.normal(scale=0.01, size=(6, 3))
    plate = ThinPlate(centres, weights - weights.mean(axis=0), some_affine(about_mm=CENTRE).matrix)
    write_transform(plate, tmp_path / "t.h5", like=LIKE)
    # at voxel centres nothing is interpolated
    nodes = LIKE.points()[::37]
    np.testing.assert_allclose(by_itk(tmp_path / "t.h5", nodes), plate.apply(nodes), atol=1e-5)
    with pytest.raises(BadInput, match="over which voxels"):
        write_transform(plate, tmp_path / "u.h5")


@pytest.mark.parametrize("name", ["t.tfm", "t.txt", "t.mat"])
def test_a_dense_field_is_not_written_as_text(tmp_path, name):
    with pytest.raises(BadInput, match=r"no dense field\nhint: -o .*t\.h5"):
        write_transform(some_displacement(LIKE), tmp_path / name, like=LIKE)
    assert list(tmp_path.iterdir()) == []


def test_of_several_transforms_in_a_text_none_is_taken_in_silence(tmp_path, capfd):
    write_text(tmp_path / "motion.tfm", *(("TranslationTransform_double_3_3", f"{n} 0 0", "") for n in range(3)))
    with pytest.raises(BadInput, match=r"3 transforms .*\nhint: .*--index 0 to --index 2"):
        read_transform(tmp_path / "motion.tfm")
    with pytest.raises(BadInput, match="no number 3"):
        read_transform(tmp_path / "motion.tfm", index=3)
    assert [read_transform(tmp_path / "motion.tfm", index=n).matrix[0, 3] for n in range(3)] == [0, 1, 2]
    assert capfd.readouterr() == ("", "")


def test_of_several_transforms_in_hdf5_none_is_taken_in_silence(tmp_path, capfd):
    sitk.WriteTransform(sitk.TranslationTransform(3, (1, 2, 3)), str(tmp_path / "t.h5"))
    with h5py.File(tmp_path / "t.h5", "a") as file:
        file.copy("TransformGroup/0", "TransformGroup/1")
    with pytest.raises(BadInput, match="several transforms"):
        read_transform(tmp_path / "t.h5")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("InverseDisplacementFieldTransform_double_3_3", r"InverseDisplacementFieldTransform.*\nhint: in 3D Slicer"),
        ("ThinPlateSplineKernelTransform_double_3_3", r"ThinPlateSplineKernelTransform.*\nhint: in 3D Slicer"),
        ("AffineTransform_double_2_2", "2-D"),
        ("BSplineTransform_double_3_3_2", "order 2"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, kind, said):
    sizes = {"A": ("1 0 0 1 3 4", "0 0"), "B": ("0 " * 375, "5 5 5 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1")}
    numbers, fixed = sizes.get(kind[0], ("0 0 0", "1 1 1"))
    write_text(tmp_path / "t.tfm", (kind, numbers, fixed))
    with pytest.raises(BadInput, match=said):
        read_transform(tmp_path / "t.tfm")


def test_a_text_cut_short_is_not_taken_for_the_identity(tmp_path):
    write_transform(some_affine(), tmp_path / "t.tfm")
    text = (tmp_path / "t.tfm").read_text()
    (tmp_path / "cut.tfm").write_text(text[: text.index("FixedParameters")])
    assert np.allclose(by_itk(tmp_path / "cut.tfm", CENTRE[None]), CENTRE)
    with pytest.raises(UnreadableFile, match="cut off"):
        read_transform(tmp_path / "cut.tfm")


@pytest.mark.parametrize("kept", [3, 60, 2000])
def test_an_hdf5_file_cut_short_is_told_in_one_line(tmp_path, capfd, kept):
    write_transform(some_affine(), tmp_path / "t.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "t.h5").read_bytes()[:kept])
    with pytest.raises(UnreadableFile, match=r"cut\.h5 is (cut off|not an HDF5 file)"):
        read_transform(tmp_path / "cut.h5")
    assert capfd.readouterr() == ("", "")


def test_elastix_parameters_are_told_from_itk_text(tmp_path):
    (tmp_path / "TransformParameters.0.txt").write_text('(Transform "EulerTransform")\n(NumberOfParameters 6)\n')
    with pytest.raises(BadInput, match=r"elastix.*\nhint: transformix -def all"):
        read_transform(tmp_path / "TransformParameters.0.txt")


def test_a_lattice_far_from_the_image_is_not_padded_until_the_memory_is_full():
    far = Grid(LIKE.shape, _moved(LIKE, CENTRE + 3e4))
    with pytest.raises(GridMismatch, match="far from the fixed image"):
        write_transform(some_displacement(far), "never.h5", like=LIKE)


def test_a_disk_too_full_is_told_before_itk_meets_it(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5000))
    with pytest.raises(UnwritableFile, match=r"t\.h5 needs .* MB, and 0.0 MB are free"):
        write_transform(some_displacement(LIKE), tmp_path / "t.h5")
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "t.h5").mkdir()
    with pytest.raises(UnwritableFile):
        write_transform(some_affine(), tmp_path / "t.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["t.h5"]


def _moved(grid, centre):
    matrix = grid.world_from_voxel.copy()
    matrix[:3, 3] += centre - grid.points().mean(axis=0)
    return matrix


def _image(numbers, grid, vectors=False):
    order = (2, 1, 0, 3) if vectors else (2, 1, 0)
    image = sitk.GetImageFromArray(
        numbers.transpose(order).astype(np.float64 if vectors else np.float32), isVector=vectors
    )
    image.SetOrigin(grid.origin_mm.tolist())
    image.SetSpacing(grid.spacing_mm.tolist())
    image.SetDirection(grid.axes.ravel().tolist())
    return image
