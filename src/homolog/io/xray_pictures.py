"""Flat grey pictures from files without an X-ray's header: PNG, TIFF, JPEG, and NIfTI, NRRD, MetaImage of one plane."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io import tiff, volumes
from homolog.io.files import require_file, suffix_of, writing
from homolog.io.stored import COPY_AGAIN

PLANES = (*volumes.NIFTI, *volumes.ITK)
JPEGS = (".jpg", ".jpeg")
SUFFIXES = (".png", *tiff.SUFFIXES, *JPEGS, *PLANES)
PNG_START = b"\x89PNG\r\n\x1a\n"
# A chunk of our own in a PNG, which programs that change the picture leave out: line integrals behind greys for eyes.
KEPT = b"inTG"
# Where NIfTI, MetaImage and NRRD keep that line.
NOTES = ("descrip", "note")
# The line that goes with a picture of ours: line integrals are `step` times its numbers, plus `start`.
OURS = "homolog line integrals: step {step:.9g} start {start:.9g}"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as stored.

    values         (rows, columns)
    white_is_zero  whether the file says that low numbers are shown white
    integrals      (step, start) where it says that step * values + start are line integrals
    pitch_mm       (row, column), where the file knows it
    pages          how many the file holds
    """

    values: np.ndarray
    white_is_zero: bool = False
    integrals: tuple[float, float] | None = None
    pitch_mm: tuple[float, float] | None = None
    pages: int = 1


def opened(path: Path, frame: int | None = None) -> Picture:
    """A picture, or the page (from 1) of several that is asked for."""
    require_file(path)
    suffix = suffix_of(path)
    if suffix not in tiff.SUFFIXES:
        chosen(path, frame, 1)
    if suffix in PLANES:
        return _plane(path)
    if suffix in tiff.SUFFIXES:
        return _tiff(path, frame)
    return _png(path) if suffix == ".png" else _decoded(path, "JPEGImageIO")


def chosen(path: Path, frame: int | None, count: int, what: str = "frames") -> int:
    """The frame from 0, of one that is counted from 1; of several, one has to be said."""
    if frame is None and count > 1:
        raise BadInput(
            f"{path} holds {count} {what}; an X-ray is one",
            f"--frame 1 to --frame {count} takes one; a stack of slices is a volume and comes before the X-rays",
        )
    if frame is not None and not 1 <= frame <= count:
        raise BadInput(f"{path} has no frame {frame}: it holds {count} {what}", "frames count from 1")
    return (frame or 1) - 1


def write_png(values: np.ndarray, path: Path, text: str, integrals: np.ndarray | None = None) -> None:
    """(rows, columns) uint8 or uint16, and a line of text.

    integrals  (rows, columns) the line integrals that greys for eyes were made of, to be kept in the file
    """
    rows, columns = values.shape
    # each line starts with the number of its filter; 0 is none
    lines = np.hstack((np.zeros((rows, 1), np.uint8), _big_endian(values).reshape(rows, -1))).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, 8 * values.dtype.itemsize, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tEXt", b"Description\0" + text.encode()), (b"IDAT", zlib.compress(lines, 6))]
    if integrals is not None:
        chunks.insert(2, (KEPT, _kept(values, integrals)))
    with writing(path) as part, open(part, "wb") as file:
        file.write(PNG_START)
        for kind, content in (*chunks, (b"IEND", b"")):
            checksum = zlib.crc32(kind + content)
            file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))


def _png(path: Path) -> Picture:
    chunks = _png_chunks(path)
    columns, rows = struct.unpack(">II", chunks[b"IHDR"][:8])
    if not rows or not columns:
        raise BadInput(f"{path} is {columns}x{rows} pixels, there is nothing in it")
    values = _decoded(path, "PNGImageIO").values
    if (kept := _unpacked(chunks.get(KEPT, b""), values)) is not None:
        return kept
    return Picture(values, integrals=_integrals(chunks.get(b"tEXt", b"").decode("latin-1")))


def as_integers(data: np.ndarray, bits: int) -> tuple[np.ndarray, float, float]:
    """Numbers, and the step and start that make them line integrals again."""
    low, high = float(data.min()), float(data.max())
    step = (high - low) / (2**bits - 1) or 1.0
    numbers = np.rint((data.astype(np.float64) - low) / step)
    return numbers.astype(np.uint8 if bits == 8 else np.uint16), step, low


def _kept(greys: np.ndarray, integrals: np.ndarray) -> bytes:
    """Our line, which picture it is of, and the line integrals with 16 bits, each line less the one above."""
    numbers, step, start = as_integers(integrals, 16)
    lines = np.diff(numbers, axis=0, prepend=np.zeros((1, numbers.shape[1]), np.uint16))
    text = f"{OURS.format(step=step, start=start)} of {_name_of(greys)}"
    return text.encode() + b"\0" + zlib.compress(_big_endian(lines).tobytes(), 6)


def _unpacked(kept: bytes, greys: np.ndarray) -> Picture | None:
    """The line integrals behind a picture's greys; None if these were changed since."""
    text, _, packed = kept.partition(b"\0")
    integrals = _integrals(text.decode("latin-1"))
    if integrals is None or not text.decode("latin-1").endswith(f" of {_name_of(greys)}"):
        return None
    lines = np.frombuffer(zlib.decompress(packed), ">u2").reshape(greys.shape)
    return Picture(np.add.accumulate(lines, axis=0, dtype=np.uint16), integrals=integrals)


def _name_of(greys: np.ndarray) -> str:
    return f"{zlib.crc32(_big_endian(greys).tobytes()):08x}"


def _big_endian(values: np.ndarray) -> np.ndarray:
    """The bytes (N,) of integers."""
    return np.ascontiguousarray(values, values.dtype.newbyteorder(">")).ravel().view(np.uint8)


def _png_chunks(path: Path) -> dict[bytes, bytes]:
    """The first chunk of each kind; a file that ends before its end says so is cut off."""
    content, at = path.read_bytes(), len(PNG_START)
    chunks: dict[bytes, bytes] = {}
    if not content.startswith(PNG_START):
        raise UnreadableFile(f"{path} is not a PNG file: it starts with {content[:8]!r}", COPY_AGAIN)
    while at + 12 <= len(content) and b"IEND" not in chunks:
        size, kind = struct.unpack_from(">I4s", content, at)
        chunks.setdefault(kind, content[at + 8 : at + 8 + size] if kind != b"IDAT" else b"")
        at += 12 + size
    if b"IEND" not in chunks or b"IHDR" not in chunks or at > len(content):
        raise UnreadableFile(f"{path} is cut off: a PNG's end is not there", COPY_AGAIN)
    return chunks


def _decoded(path: Path, reader: str) -> Picture:
    import SimpleITK as sitk

    try:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO=reader))
    except RuntimeError as error:
        raise UnreadableFile(f"{path} cannot be decoded as {suffix_of(path)[1:].upper()}", COPY_AGAIN) from error
    return Picture(_grey(pixels, path))


def _tiff(path: Path, frame: int | None) -> Picture:
    pages = tiff.pages_of(path)
    here = chosen(path, frame, len(pages), "pages")
    pixels = tiff.pixels_of(path, pages)[here]
    return Picture(_grey(pixels, path), pages[here].white_is_zero, _integrals(pages[0].description), pages=len(pages))


def _grey(pixels: np.ndarray, path: Path) -> np.ndarray:
    """(rows, columns) of pixels that may have channels, if those say all the same; the last of 2 or 4 is opacity."""
    if pixels.ndim == 2:
        return pixels
    channels = pixels.shape[-1]
    colours, opacity = (pixels[..., :-1], pixels[..., -1]) if channels in (2, 4) else (pixels, pixels[..., :1])
    if channels in (2, 4) and opacity.min() != opacity.max():
        raise BadInput(f"{path} is partly transparent; an X-ray is grey everywhere", "save it without transparency")
    if not (colours == colours[..., :1]).all():
        different = int((colours != colours[..., :1]).any(axis=-1).sum())
        raise BadInput(
            f"{path} is a colour picture: {different} of {different and colours[..., 0].size} pixels are not grey",
            "save the X-ray itself as grey, without drawings on it",
        )
    return np.ascontiguousarray(colours[..., 0])


def _plane(path: Path) -> Picture:
    """A plane in a file for volumes: i along columns, j down rows."""
    import SimpleITK as sitk

    size, integrals = _header(path)
    flat = [n for n in size if n != 1]
    if len(flat) > 2 or len(size) < 2:
        sizes = "x".join(map(str, size))
        raise BadInput(
            f"{path} holds a volume ({sizes}), an X-ray is one plane",
            f"the volume comes first: homolog align {path} XRAY -o DIR",
        )
    if len(size) > 2 and size[2] == 1:
        return _plane_of_volume(path, integrals)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UnreadableFile(f"{path} cannot be read as {suffix_of(path)}", COPY_AGAIN) from error
    spacing = image.GetSpacing()
    pixels = sitk.GetArrayFromImage(image)
    return Picture(_grey(pixels, path), integrals=integrals, pitch_mm=(float(spacing[1]), float(spacing[0])))


def _plane_of_volume(path: Path, integrals: tuple[float, float] | None) -> Picture:
    volume = volumes.read(path)
    i, j, _ = volume.grid.spacing_mm
    return Picture(volume.numpy()[:, :, 0].T, integrals=integrals, pitch_mm=(float(j), float(i)))


def _header(path: Path) -> tuple[tuple[int, ...], tuple[float, float] | None]:
    """The sizes, and what a note of ours says of the numbers."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UnreadableFile(f"{path} cannot be read as {suffix_of(path)}", COPY_AGAIN) from error
    notes = "".join(reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.lower() in NOTES)
    return tuple(int(n) for n in reader.GetSize()), _integrals(notes)


def _integrals(text: str) -> tuple[float, float] | None:
    """What our own line in a file says."""
    words = text.rsplit("homolog line integrals:", 1)[-1].split()
    try:
        step, start = float(words[words.index("step") + 1]), float(words[words.index("start") + 1])
    except (ValueError, IndexError):
        return None
    return (step, start) if "homolog line integrals:" in text else None
