"""Dense displacement fields: NIfTI vector images (ITK, ANTs, greedy), other ITK images of vectors, and Learn2Reg's.

A NIfTI vector image has five dimensions (I, J, K, 1, 3) and intent 1007; its vectors are LPS mm, although its affine
is RAS. Learn2Reg counts in voxels along the axes as stored: fixed voxel p lies at moving voxel p + u(p).
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from homolog.errors import BadInput, GridMismatch, UnreadableFile
from homolog.io.axes import is_sheared, placed
from homolog.io.files import suffix_of
from homolog.io.nifti import LPS_FROM_RAS, VECTOR_INTENT
from homolog.io.stored import COPY_AGAIN, SLAB_PLANES, decompressing
from homolog.space.grid import Grid
from homolog.space.sampling import sampled_displacement
from homolog.space.transforms import Affine, Displacement, Transform, chain

NIFTI = (".nii", ".nii.gz")
# the header's own length, 540, in both byte orders
NIFTI_2 = (b"\x1c\x02\0\0", b"\0\0\x02\x1c")


def read(path: Path) -> Displacement:
    """A field of LPS mm vectors on its own grid; ANTs' `1Warp.nii.gz` is composed with its affine: `affine @ warp`."""
    if suffix_of(path) not in NIFTI:
        return _read_with_itk(path)
    with opened(path) as image:
        _require_vectors(image.header, path)
        grid = placed(image.shape[:3], LPS_FROM_RAS @ image.affine, path)
        return Displacement(_component_last(image), grid)


def writer(transform: Transform, path: Path, like: Grid | None) -> Callable[[Path], None]:
    """What writes the whole map, affine parts and all, as one field over `like`."""
    _require_nifti(path)
    if like is None and isinstance(transform, Displacement):
        like = transform.grid
    if like is None:
        raise BadInput(f"{path} is a field over the fixed image, and none was given", "write_transform(..., like=grid)")
    if is_sheared(like):
        raise GridMismatch(
            f"{path}: readers of NIfTI fields want perpendicular axes, those of {like!r} lean by "
            f"{like.shear_degrees:.3g} degrees",
            f"-o {path.with_name(path.name.removesuffix(suffix_of(path)))}.h5",
        )
    vectors = sampled_displacement(transform, like)
    return lambda part: _write_nifti(vectors[:, :, :, None, :], like, part, "vector")


def read_learn2reg(path: Path, like: Grid, moving_like: Grid | None = None) -> Transform:
    """A field in voxels, at full resolution (I, J, K, 3) or in the old layout (3, I/2, J/2, K/2), over `like`."""
    u = _in_layout(_array(path), like, path)
    vectors = (u.reshape(-1, 3) @ like.world_from_voxel[:3, :3].T.astype(np.float32)).reshape(u.shape)
    bend = Displacement(vectors, like)
    if moving_like is None or moving_like.same_as(like):
        return bend
    # moving voxel p of the one grid is voxel p of the other
    return chain([Affine(moving_like.world_from_voxel @ like.voxel_from_world), bend], fixed="fixed", moving="moving")


def learn2reg_writer(transform: Transform, path: Path, like: Grid, moving_like: Grid | None) -> Callable[[Path], None]:
    """What writes the field at full resolution, float32: `.nii.gz` of four dimensions, or `.npz` of one array."""
    if suffix_of(path) not in (*NIFTI, ".npz"):
        raise BadInput(f"{path}: Learn2Reg's fields end in .nii.gz or .npz", "disp_0001_0002.nii.gz")
    u = _voxel_displacement(transform, like, moving_like or like)
    if suffix_of(path) == ".npz":
        return lambda part: np.savez_compressed(part, disp=u)
    return lambda part: _write_nifti(u, like, part, "none")


# --- NIfTI


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """nibabel's image of a file; its end is read too when the block is left, where gzip compares its checksum."""
    with decompressing(path), open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=file) if packed else file
        kind: Any = nibabel.Nifti2Image if stream.read(4) in NIFTI_2 else nibabel.Nifti1Image
        stream.seek(0)
        try:
            # nibabel says on stderr what is wrong with a header, beside raising it
            with LoggingOutputSuppressor():
                image = kind.from_stream(stream)
            yield image
        except (ImageFileError, HeaderDataError, WrapStructError, ValueError) as error:
            raise UnreadableFile(f"{path} is not a NIfTI file that can be read ({error})", COPY_AGAIN) from error
        while stream.read(1 << 20):
            pass


def _require_vectors(header: Any, path: Path) -> None:
    shape, intent = tuple(header.get_data_shape()), int(header["intent_code"])
    sizes = "x".join(map(str, shape))
    if len(shape) == 5 and shape[3:] == (1, 3) and intent == VECTOR_INTENT:
        return
    if len(shape) == 5 and shape[3:] == (1, 3):
        raise BadInput(
            f"{path} ({sizes}) holds vectors, but its intent is {intent}, where a field has {VECTOR_INTENT}",
            f"coefficients of FROG: give its .json instead; a field in LPS mm: {_marking(path)}",
        )
    if len(shape) == 4 and shape[3] == 3:
        raise BadInput(
            f"{path} ({sizes}) does not say what its three numbers a voxel are",
            f"in voxels: --format learn2reg --like FIXED.nii.gz; in LPS mm: {_marking(path)}",
        )
    if len(shape) == 5 and shape[4] == 2:
        raise BadInput(f"{path} ({sizes}) is a 2-D field; a map between volumes is 3-D")
    raise BadInput(f"{path} ({sizes}) is no displacement field: one is (I, J, K, 1, 3) with intent {VECTOR_INTENT}")


def _marking(path: Path) -> str:
    """A line that marks a file as a vector image."""
    return (
        f"python -c \"import nibabel as n; i = n.load({str(path)!r}); d = i.get_fdata(dtype='f4'); "
        "o = n.Nifti1Image(d.reshape(*d.shape[:3], 1, 3), i.affine); o.header.set_intent('vector'); "
        "n.save(o, 'field.nii.gz')\""
    )


def _component_last(image: Any) -> np.ndarray:
    """(I, J, K, 3) float32, k and the component running fastest."""
    stored = np.asanyarray(image.dataobj).reshape((*image.shape[:3], 3), order="F")
    vectors = np.empty(stored.shape, np.float32)
    for k in range(0, stored.shape[2], SLAB_PLANES):
        vectors[:, :, k : k + SLAB_PLANES] = stored[:, :, k : k + SLAB_PLANES]
    return vectors


def _require_nifti(path: Path) -> None:
    if suffix_of(path) not in NIFTI:
        raise BadInput(f"{path}: fields are written as .nii.gz", f"-o {path.with_suffix('.nii.gz')}")


def _write_nifti(numbers: np.ndarray, grid: Grid, part: Path, intent: str) -> None:
    image: Any = nibabel.Nifti1Image(numbers, None)
    ras_from_voxel = LPS_FROM_RAS @ grid.world_from_voxel
    image.set_qform(ras_from_voxel, code=0 if is_sheared(grid) else 1)
    image.set_sform(ras_from_voxel, code=1)
    image.header.set_intent(intent)
    image.header.set_xyzt_units("mm", "sec")
    image.to_filename(part)


def _read_with_itk(path: Path) -> Displacement:
    import SimpleITK as sitk

    from homolog.io.itk_transforms import displacement

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UnreadableFile(f"{path} cannot be read ({str(error).splitlines()[-1]})", COPY_AGAIN) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 3:
        raise BadInput(f"{path} is no displacement field: one has three dimensions and three numbers a voxel")
    return displacement(image)


# --- Learn2Reg


def _array(path: Path) -> np.ndarray:
    """The one array of an `.npz` under whatever key, or the voxels of a NIfTI file."""
    if suffix_of(path) != ".npz":
        with opened(path) as image:
            return np.asanyarray(image.dataobj)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays.files
            if len(names) != 1:
                raise BadInput(f"{path}: Learn2Reg's files hold one array, this one {len(names)}: {', '.join(names)}")
            return arrays[names[0]]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UnreadableFile(f"{path} is not an .npz file that can be read ({error})", COPY_AGAIN) from error


def _in_layout(stored: np.ndarray, like: Grid, path: Path) -> np.ndarray:
    """(I, J, K, 3) float32 in voxels, from whichever layout the shape is."""
    full, halves = like.shape, tuple(n // 2 for n in like.shape)
    layouts: list[tuple[tuple[int, ...], Callable[[], np.ndarray]]] = [
        ((*full, 3), lambda: stored.astype(np.float32)),
        ((3, *halves), lambda: _doubled(stored)),
        # small images were stored so at full resolution
        ((3, *full), lambda: np.moveaxis(stored, 0, -1).astype(np.float32)),
    ]
    fitting = [layout for shape, layout in layouts if shape == stored.shape]
    if len(fitting) != 1 or (stored.shape[1:] == halves and any(n % 2 for n in full)):
        raise GridMismatch(
            f"{path} holds {stored.shape}; over {like!r} a field of Learn2Reg is {(*full, 3)}"
            + (
                ", one axis first or last: both fit"
                if len(fitting) > 1
                else f", or {(3, *halves)} where sizes are even"
            ),
            "give the fixed image, as it was when the field was made, as --like",
        )
    return fitting[0]()


def _doubled(stored: np.ndarray) -> np.ndarray:
    """From half resolution as Learn2Reg's evaluation does it; the values are voxels of full resolution already."""
    from scipy.ndimage import zoom

    return np.stack([zoom(component.astype(np.float32), 2, order=2) for component in stored], axis=-1)


def _voxel_displacement(transform: Transform, like: Grid, moving: Grid) -> np.ndarray:
    """(I, J, K, 3) float32: how many moving voxels the map carries each fixed voxel on."""
    u = np.empty((*like.shape, 3), np.float32)
    i, j, k = like.shape
    plane = np.stack(np.meshgrid([0], np.arange(j), np.arange(k), indexing="ij"), axis=-1).reshape(-1, 3)
    for n in range(i):
        voxels = plane + (n, 0, 0)
        u[n] = (moving.voxel(transform.apply(like.world(voxels))) - voxels).reshape(j, k, 3)
    return u
