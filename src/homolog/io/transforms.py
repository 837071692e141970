"""Maps from files and to files, whichever program wrote them or is to read them.

A map that is read carries points of its `fixed` space to its `moving` one, which is how ITK, ANTs, deeds and Learn2Reg
store theirs. FROG's go from an image to the common space, so there the image is `fixed` and the common space `moving`.
The names come from the record beside the file (see `records`), where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, get_args

from homolog.errors import BadInput, SpaceMismatch
from homolog.io.files import require_file, suffix_of, writing
from homolog.io.records import End, Record, beside, file_hash, read_record, record_text
from homolog.space.grid import Grid
from homolog.space.transforms import Transform

Format = Literal["itk", "field", "learn2reg", "deeds", "frog", "greedy"]

FORMATS: dict[str, Format] = {
    ".h5": "itk", ".hdf5": "itk", ".tfm": "itk", ".txt": "itk", ".mat": "itk", ".nii.gz": "field", ".nii": "field",
    ".nrrd": "field", ".nhdr": "field", ".mha": "field", ".mhd": "field", ".npz": "learn2reg", ".dat": "deeds",
    ".json": "frog",
}  # fmt: skip


def read_transform(
    path: Path | str,
    *,
    like: Grid | None = None,
    moving_like: Grid | None = None,
    format: str | None = None,
    matrix: Path | str | None = None,
    grid_spacing_vox: int | None = None,
    frame: str | None = None,
    index: int | None = None,
    fixed: str | None = None,
    moving: str | None = None,
) -> Transform:
    """The map in a file, LPS mm, carrying points of the fixed patient to the moving one.

    like              the fixed image's grid, for files that count in its voxels (Learn2Reg, deeds)
    moving_like       the moving image's grid, for the same files; the fixed one's where none is given
    format            "itk", "field", "learn2reg", "deeds", "frog" or "greedy", where the name does not tell
    matrix            of deeds: the affine text it started from, or "none" if it started from nothing
    grid_spacing_vox  of deeds: its last grid spacing, to be checked against the file's size
    frame             of FROG: "LPS" or "RAS", the frame of the images it was run on
    index             of an ITK text file that lists several transforms: which one, from 0
    fixed, moving     names of the two spaces; those of the record beside the file, or these very words, otherwise
    """
    path = require_file(Path(path))
    form = dispatch(path, format)
    match form:
        case "itk":
            from homolog.io import itk_transforms

            transform = itk_transforms.read(path, index)
        case "field":
            from homolog.io import fields

            transform = fields.read(path)
        case "learn2reg":
            from homolog.io import fields

            transform = fields.read_learn2reg(path, _needed(like, path, form), moving_like)
        case "deeds":
            from homolog.io import deeds

            transform = deeds.read(path, _needed(like, path, form), moving_like, matrix, grid_spacing_vox)
        case "frog":
            from homolog.io import frog

            transform = frog.read(path, frame)
        case "greedy":
            from homolog.io import matrices

            transform = matrices.read_greedy(path)
    record = read_record(path)
    return transform.renamed(
        fixed=fixed or (record.fixed.space if record else None),
        moving=moving or (record.moving.space if record else None),
    )


def write_transform(
    transform: Transform,
    path: Path | str,
    *,
    like: Grid | None = None,
    moving_like: Grid | None = None,
    record: Record | None = None,
    format: str | None = None,
    frame: str | None = None,
) -> None:
    """The map to a file whose ending names the format, and its record beside it; all files are whole or not there.

    like         the fixed image's grid, the record's where none is given: `.h5` and text are padded until they hold it,
                 a field is dense over it, and Learn2Reg and deeds count in its voxels
    moving_like  the moving image's grid (Learn2Reg, deeds); the record's, or the fixed one's, where none is given
    record       what is known of both images; their names and grids alone where none is given
    format       as in `read_transform`
    frame        of FROG: "LPS" or "RAS", the frame its tools will use
    """
    path = Path(path)
    record = record or Record(End(transform.fixed, like), End(transform.moving, moving_like))
    _require_same_ends(record, transform)
    like, moving_like = like or record.fixed.grid, moving_like or record.moving.grid
    writers = _writers(transform, path, dispatch(path, format, reading=False), like, moving_like, frame)
    with ExitStack() as stack:
        # left in reverse order: the record gets its name first, then what the transform points to, then the transform
        parts = {name: stack.enter_context(writing(name)) for name in (*writers, beside(path))}
        for name, write in writers.items():
            write(parts[name])
        parts[beside(path)].write_text(record_text(record, path, file_hash(parts[path])))


def dispatch(path: Path, format: str | None = None, *, reading: bool = True) -> Format:
    """The format of a transform file: as the caller says, else by its ending, else by its first line."""
    if format is not None:
        if format not in get_args(Format):
            raise BadInput(f"a transform's format is one of {', '.join(get_args(Format))}, not {format!r}")
        return format  # type: ignore[return-value]
    form = FORMATS.get(suffix_of(path))
    if form is None and path.with_suffix("").suffix in FORMATS and path.suffix == ".json":
        raise BadInput(f"{path} is the record of a transform, not the transform", f"{path.with_suffix('')}")
    if form is None:
        raise BadInput(
            f"{path} is no transform by its name: one ends in {', '.join(FORMATS)}",
            f"if it is one all the same, say of which kind: --format {' or '.join(get_args(Format))}",
        )
    if reading and suffix_of(path) == ".txt":
        from homolog.io.matrices import refuse_bare_matrix

        refuse_bare_matrix(path)
    return form


def _writers(
    transform: Transform, path: Path, form: Format, like: Grid | None, moving_like: Grid | None, frame: str | None
) -> dict[Path, Callable[[Path], None]]:
    """For each file that makes up the transform, what writes it; the file that is read first stands first."""
    match form:
        case "itk":
            from homolog.io import itk_transforms

            return {path: itk_transforms.writer(transform, path, like)}
        case "field":
            from homolog.io import fields

            return {path: fields.writer(transform, path, like)}
        case "learn2reg":
            from homolog.io import fields

            return {path: fields.learn2reg_writer(transform, path, _needed(like, path, form), moving_like)}
        case "deeds":
            from homolog.io import deeds

            return deeds.writers(transform, path, _needed(like, path, form), moving_like)
        case "frog":
            from homolog.io import frog

            return frog.writers(transform, path, frame)
        case "greedy":
            raise BadInput(f"{path}: greedy's matrices are read, not written", f"-o {path.with_suffix('.tfm')}")


def _needed(like: Grid | None, path: Path, form: Format) -> Grid:
    if like is None:
        raise BadInput(f"{path}: {form} counts in voxels of the fixed image, and none was given", "--like FIXED.nii.gz")
    return like


def _require_same_ends(record: Record, transform: Transform) -> None:
    said, is_so = (record.fixed.space, record.moving.space), (transform.fixed, transform.moving)
    if said != is_so:
        raise SpaceMismatch(
            f"the record says '{said[1]}' from '{said[0]}', the map is '{is_so[1]}' from '{is_so[0]}'",
            "swap the record's ends, or rename the map with renamed()",
        )
