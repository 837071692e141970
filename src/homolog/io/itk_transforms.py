"""ITK's transform files, which ANTs and 3D Slicer read too: `.h5`, `.tfm`, `.txt`, and ANTs' `.mat`.

All are LPS mm and carry a fixed point to the moving patient, as ours do; a composite's order is that of a matrix
product, as a `Chain`'s. SimpleITK reads text and `.mat`, and of `.h5` what `hdf5` does not: it holds a field six
times. All are written here, because ITK says nothing when the disk is full.

Beyond its lattice ITK leaves a point where it is, and we go on with the nearest edge value: of a file that is read,
only the inside has ITK's meaning; a file that is written is wide enough for the image given as `like` (`itk_steps`).
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk

from homolog.errors import BadInput, HomologError, UnreadableFile, UnwritableFile
from homolog.io import hdf5, itk_blocks
from homolog.io.files import suffix_of
from homolog.io.itk_blocks import Block, numbers_of
from homolog.io.itk_steps import Step, steps_over
from homolog.io.listings import read_lines
from homolog.io.stored import COPY_AGAIN, SLAB_PLANES
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, BSpline, Chain, Displacement, Transform, chain

log = logging.getLogger(__name__)

HDF5, TEXT = (".h5", ".hdf5"), (".tfm", ".txt")
TEXT_HEADER = "#Insight Transform File"
# Parameters of ITK's largest linear class; those with more are lattices, or unknown.
MOST_LINEAR = 15
TO_GRID = "in 3D Slicer: Transforms > Convert > Displacement field (grid transform), then save that as .h5"
_HEARD_ALONE = threading.Lock()


# numbers beyond all measure become inf, which the maps refuse
@np.errstate(over="ignore", invalid="ignore")
def read(path: Path, index: int | None = None) -> Transform:
    """The map in a file; of several that are no composite (a list of motions), the one with this number, from 0."""
    blocks = _blocks(path) if suffix_of(path) in TEXT else []
    if len(blocks) > 1 and not _is_composite(blocks[0]):
        steps = _read_block(_chosen(blocks, index, path), path)
    elif index:
        raise BadInput(f"{path} holds one transform: there is no number {index}", "leave --index out")
    else:
        steps = _read_hdf5(path) if suffix_of(path) in HDF5 else []
    return chain(steps or _read_with_itk(path, path), fixed="fixed", moving="moving")


def writer(transform: Transform, path: Path, like: Grid | None) -> Callable[[Path], None]:
    """What writes the map to a file of this ending; it is prepared, and refused where it cannot be, before that."""
    suffix = suffix_of(path)
    if suffix in HDF5:
        if suffix != path.suffix:
            raise BadInput(f"{path}: ITK writes no {path.suffix}, only {suffix}", f"-o {path.with_suffix(suffix)}")
        steps = steps_over(transform, like)
        return lambda part: _write_hdf5(steps, part, path)
    if suffix in TEXT:
        text = _text(_only(transform, (Affine, BSpline), path, like))
        return lambda part: _write_text(text, part)
    affine = _only(transform, (Affine,), path, like)
    if len(affine) != 1:
        raise _does_not_fit(path)
    return lambda part: _write_mat(affine[0], part)


def _only(transform: Transform, kinds: tuple[type, ...], path: Path, like: Grid | None) -> list[Step]:
    parts = transform.parts if isinstance(transform, Chain) else (transform,)
    if not all(isinstance(part, kinds) for part in parts):
        raise _does_not_fit(path)
    return steps_over(transform, like)


def _does_not_fit(path: Path) -> BadInput:
    what = "one affine map" if suffix_of(path) == ".mat" else "affine maps and B-splines"
    return BadInput(f"{path}: a {suffix_of(path)} file holds {what}, no dense field", f"-o {path.with_suffix('.h5')}")


# --- reading


def _read_hdf5(path: Path) -> list[Transform]:
    """The steps in an HDF5 file; none where only ITK and its library can read them."""
    try:
        with hdf5.opened(path) as file:
            return [step for block in itk_blocks.read_blocks(file, path) for step in _stored_steps(block, path)]
    except hdf5.Unfamiliar as unfamiliar:
        log.debug("%s is left to ITK: %s", path, unfamiliar)
        return []


def _stored_steps(block: Block, path: Path) -> list[Transform]:
    if block.is_one_of(*itk_blocks.FIELDS):
        return [itk_blocks.field(block)]
    if block.is_one_of(itk_blocks.SPLINE):
        return [itk_blocks.spline(block)]
    if block.parameters.count > MOST_LINEAR:
        raise _no_map(block.kind, path)
    parameters = block.parameters.all().astype(np.float64)
    if not np.isfinite([*parameters, *block.fixed]).all():
        raise ValueError(f"the numbers of its {block.kind} are not finite")
    return _read_block(_lines(block.kind, parameters, block.fixed), path)


def _read_with_itk(source: Path, path: Path) -> list[Transform]:
    """What SimpleITK finds in `source`; messages name `path`."""
    with _listening() as heard, _lower_case(source) as named:
        try:
            transform = sitk.ReadTransform(str(named))
        # UnicodeDecodeError: a damaged name, quoted in ITK's complaint
        except (RuntimeError, UnicodeDecodeError) as error:
            raise _refusal(path, str(error)) from error
    if any("more than one transform" in line for line in heard):
        raise itk_blocks.several(path)
    if transform.GetDimension() != 3:
        raise BadInput(f"{path} holds a {transform.GetDimension()}-D transform; a map between volumes is 3-D")
    return _steps(transform, path)


@contextmanager
def _lower_case(source: Path) -> Iterator[Path]:
    """The file under a name that ends in lower case, the only one by which ITK knows a format."""
    ending = source.suffix.lower()
    if ending == source.suffix:
        yield source
        return
    with TemporaryDirectory() as folder:
        yield Path(shutil.copy(source, Path(folder) / f"one{ending}"))


def _refusal(path: Path, said: str) -> HomologError:
    """ITK's complaint in one line; what it cannot make an instance of has a name."""
    named = re.search(r'Could not create an instance of "(\w+?)_', said)
    if named:
        exported = named[1].startswith("Inverse") or "Kernel" in named[1]
        return BadInput(f"{path} holds a {named[1]}, which ITK cannot read", TO_GRID if exported else "")
    reason = next((line.split("): ")[-1] for line in said.splitlines() if "ITK ERROR" in line), said.splitlines()[-1])
    return UnreadableFile(f"{path} cannot be read as a transform ({reason})", COPY_AGAIN)


def _blocks(path: Path) -> list[list[str]]:
    """The lines of each transform in a text file.

    ITK takes a transform whose FixedParameters line is missing, as in a file cut short, for the identity.
    """
    lines = [line.strip() for line in read_lines(path)]
    if not lines[0].startswith(TEXT_HEADER):
        raise _not_itk_text(path, lines)
    starts = [n for n, line in enumerate(lines) if line.startswith("Transform:")]
    blocks = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)])]
    for number, block in enumerate(blocks):
        whole = any(line.startswith("FixedParameters:") for line in block)
        if not whole and not _is_composite(block):
            raise UnreadableFile(f"{path} is cut off: transform {number} has no FixedParameters line", COPY_AGAIN)
    return blocks


def _not_itk_text(path: Path, lines: list[str]) -> HomologError:
    if any(line.startswith("(Transform ") for line in lines):
        return BadInput(
            f"{path} is an elastix parameter file",
            "transformix -def all -tp TransformParameters.txt -out . writes deformationField, which can be read",
        )
    return UnreadableFile(f"{path} is no ITK transform: its first line is not '{TEXT_HEADER} V1.0'")


def _is_composite(block: list[str]) -> bool:
    return block[0].split(":")[1].strip().startswith("CompositeTransform")


def _chosen(blocks: list[list[str]], index: int | None, path: Path) -> list[str]:
    last = len(blocks) - 1
    if index is None or not 0 <= index <= last:
        raise BadInput(
            f"{path} holds {len(blocks)} transforms that are not one composite, as a list of motions does"
            + ("" if index is None else f"; there is no number {index}"),
            f"choose one of them: --index 0 to --index {last}",
        )
    return blocks[index]


def _read_block(block: list[str], path: Path) -> list[Transform]:
    """One transform, handed to ITK as a text of its own."""
    with TemporaryDirectory() as folder:
        alone = Path(folder) / "one.tfm"
        alone.write_text("\n".join([f"{TEXT_HEADER} V1.0", "#Transform 0", *block, ""]))
        return _read_with_itk(alone, path)


def _steps(transform: Any, path: Path) -> list[Transform]:
    """The steps of an ITK transform in the order of a matrix product."""
    # first: some linear classes come as a composite that holds itself
    if transform.IsLinear():
        return [_affine(transform)]
    kind = transform.Downcast()
    if isinstance(kind, sitk.CompositeTransform):
        parts = (kind.GetNthTransform(n) for n in range(kind.GetNumberOfTransforms()))
        return [step for part in parts for step in _steps(part, path)]
    if isinstance(kind, sitk.DisplacementFieldTransform):
        return [displacement(kind.GetDisplacementField())]
    if isinstance(kind, sitk.BSplineTransform) and kind.GetOrder() == 3:
        return [_spline(kind)]
    order = f" of order {kind.GetOrder()}" if isinstance(kind, sitk.BSplineTransform) else ""
    raise _no_map(f"{transform.GetName()}{order}", path)


def _no_map(kind: str, path: Path) -> BadInput:
    return BadInput(f"{path} holds a {kind}: affine maps, displacements and cubic splines can be read", TO_GRID)


def _affine(transform: Any) -> Affine:
    kind, matrix = transform.Downcast(), np.eye(4)
    if isinstance(kind, sitk.AffineTransform):
        centre = np.array(kind.GetCenter())
        matrix[:3, :3] = np.reshape(kind.GetMatrix(), (3, 3))
        matrix[:3, 3] = kind.GetTranslation() + centre - matrix[:3, :3] @ centre
        return Affine(matrix)
    # every other class (rotations, versors, similarities, scales, ...) shows its matrix by what it does to four points
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - matrix[:3, 3]
    return Affine(matrix)


def displacement(field: Any) -> Displacement:
    """The displacement in a SimpleITK image of three components, LPS mm."""
    stored, grid = sitk.GetArrayViewFromImage(field), _grid(field)
    vectors = np.empty((*grid.shape, 3), np.float32)
    for k in range(0, grid.shape[2], SLAB_PLANES):
        vectors[:, :, k : k + SLAB_PLANES] = stored[k : k + SLAB_PLANES].transpose(2, 1, 0, 3)
    return Displacement(vectors, grid)


def _spline(transform: Any) -> BSpline:
    images = transform.GetCoefficientImages()
    coefficients = np.stack([sitk.GetArrayViewFromImage(image).transpose(2, 1, 0) for image in images], axis=-1)
    return BSpline(coefficients, _grid(images[0]))


def _grid(image: Any) -> Grid:
    axes = np.reshape(image.GetDirection(), (3, 3))
    return Grid.regular(image.GetSize(), image.GetSpacing(), image.GetOrigin(), axes)


# --- writing


def _write_hdf5(steps: list[Step], part: Path, path: Path) -> None:
    _require_room(sum(map(itk_blocks.stored_bytes, steps)), part, path)
    with open(part, "wb") as file:
        itk_blocks.write_hdf5(steps, file)


def _require_room(wanted: int, part: Path, path: Path) -> None:
    free = shutil.disk_usage(part.parent).free
    if wanted > free:
        raise UnwritableFile(
            f"{path} needs {wanted / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free there",
            "free some, or choose another -o",
        )


def _text(steps: list[Any]) -> str:
    blocks = [_lines(*numbers_of(step)) for step in steps]
    if len(blocks) > 1:
        blocks.insert(0, [f"Transform: {itk_blocks.COMPOSITE}_double_3_3"])
    lines = [f"{TEXT_HEADER} V1.0"]
    for number, block in enumerate(blocks):
        lines += [f"#Transform {number}", *block]
    return "\n".join([*lines, ""])


def _lines(name: str, parameters: np.ndarray, fixed: np.ndarray) -> list[str]:
    return [f"Transform: {name}", f"Parameters: {_words(parameters)}", f"FixedParameters: {_words(fixed)}"]


def _words(numbers: np.ndarray) -> str:
    """Numbers with all the digits that they have."""
    return " ".join(map(repr, numbers.tolist()))


def _write_text(text: str, part: Path) -> None:
    part.write_text(text)


def _write_mat(step: Any, part: Path) -> None:
    from scipy.io import savemat

    name, parameters, fixed = numbers_of(step)
    with open(part, "wb") as file:
        savemat(file, {name: parameters[:, None], "fixed": fixed[:, None]}, format="4")
        file.flush()
        os.fsync(file.fileno())


class _Listener(sitk.LoggerBase):
    """Hears what ITK would print to stderr."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def DisplayText(self, text: str) -> None:
        self.heard.append(text)
        log.debug("ITK: %s", text.strip())

    DisplayErrorText = DisplayWarningText = DisplayGenericOutputText = DisplayDebugText = DisplayText


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What ITK says within the block; its logger is one for the whole process, so one block at a time."""
    with _HEARD_ALONE:
        listener = _Listener()
        before = listener.SetAsGlobalITKLogger()
        try:
            yield listener.heard
        finally:
            before.SetAsGlobalITKLogger()
