"""VTK's legacy format, POLYDATA only: points and normals are replaced in place, every other byte is kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.mesh_parts import MeshFile, Normals, fans, number_texts, said_frame, saying_lps, truncated

logger = logging.getLogger(__name__)

# Binary data are big endian. VTK stores its ids as 32 bits in versions before 5.
TYPES = {
    "char": ">i1", "unsigned_char": ">u1", "short": ">i2", "unsigned_short": ">u2", "int": ">i4", "unsigned_int": ">u4",
    "long": ">i8", "unsigned_long": ">u8", "vtkidtype": ">i4", "vtktypeint64": ">i8", "vtktypeuint64": ">u8",
    "float": ">f4", "double": ">f8",
}  # fmt: skip
CELLS = ("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS")
# How many numbers a tuple of an attribute has, for those of fixed length.
TUPLE = {"NORMALS": 3, "VECTORS": 3, "TENSORS": 9, "TENSORS6": 6, "GLOBAL_IDS": 1, "PEDIGREE_IDS": 1, "EDGE_FLAGS": 1}
TITLE_CHARACTERS = 255


@dataclass(frozen=True)
class Block:
    """Where an array's numbers lie in the file, and their type."""

    start: int
    end: int
    dtype: str


@dataclass(frozen=True, eq=False)
class VtkRest:
    """The whole file, and the places in it that change: the title, the points, the normals."""

    raw: bytes
    is_ascii: bool
    title: Block
    points: Block
    normals: tuple[Block, ...]


@dataclass
class _Reader:
    """Walks through the sections of a file, noting what it meets."""

    raw: bytes
    path: Path
    is_ascii: bool = False
    at: int = 0
    points: np.ndarray | None = None
    points_block: Block | None = None
    cells: dict[str, list[np.ndarray]] = field(default_factory=dict)
    normals: dict[str, tuple[np.ndarray, Block]] = field(default_factory=dict)
    attributes: tuple[str, int] = ("", 0)

    def line(self) -> str:
        """The next line, its end left out."""
        end = self.raw.find(b"\n", self.at)
        end = len(self.raw) if end < 0 else end
        text = self.raw[self.at : end].decode("latin-1")
        self.at = min(end + 1, len(self.raw))
        return text.strip()

    def words(self) -> list[str]:
        """The words of the next line that has any, or none at the end of the file."""
        while self.at < len(self.raw):
            words = self.line().split()
            if words:
                return words
        return []

    def numbers(self, count: int, type_: str, what: str) -> tuple[np.ndarray, Block]:
        """The next `count` numbers, and where they lie."""
        start = self.at
        if type_.lower() not in TYPES:
            raise UnreadableFile(f"{self.path}: its {what} are of type '{type_}', which is not read here")
        dtype = TYPES[type_.lower()]
        if self.is_ascii:
            values = self._ascii_numbers(count, what)
        else:
            self.at = start + count * np.dtype(dtype).itemsize
            if self.at > len(self.raw):
                raise truncated(self.path, what)
            values = np.frombuffer(self.raw, dtype, count, start)
        return values, Block(start, self.at, dtype)

    def _ascii_numbers(self, count: int, what: str) -> np.ndarray:
        fields: list[str] = []
        while len(fields) < count:
            if self.at >= len(self.raw):
                raise truncated(self.path, what)
            fields += self.line().split()
        if len(fields) > count:
            raise UnreadableFile(f"{self.path}: {count} numbers were announced as {what}, {len(fields)} are there")
        try:
            return np.array(fields, dtype=np.float64)
        except ValueError as error:
            raise UnreadableFile(f"{self.path}: its {what} hold something that is no number ({error})") from None


def parse(raw: bytes, path: Path) -> MeshFile:
    """Points, polygons and strips as triangles, normals of points and of cells."""
    reader = _Reader(raw, path)
    title = _parse_head(reader)
    while words := reader.words():
        if not _take_section(reader, words[0].upper(), words[1:]):
            logger.warning("%s: what follows '%s' is kept as it is, normals included", path, words[0])
            break
    if reader.points is None or reader.points_block is None:
        raise UnreadableFile(f"{path} has no POINTS")
    points = reader.points.astype(np.float64).reshape(-1, 3)
    faces, cell = _faces(reader)
    sets = [
        (Normals(values.astype(np.float64).reshape(-1, 3), faces if of == "POINT_DATA" else cell), block)
        for of, (values, block) in reader.normals.items()
    ]
    rest = VtkRest(raw, reader.is_ascii, title, reader.points_block, tuple(block for _, block in sets))
    said = said_frame(raw[title.start : title.end].decode("latin-1"))
    return MeshFile(points, faces, said, tuple(normals for normals, _ in sets), rest)


def _parse_head(reader: _Reader) -> Block:
    """Version, title, ASCII or BINARY, and the kind of data; returns where the title lies."""
    if not reader.line().startswith("# vtk DataFile Version"):
        raise UnreadableFile(f"{reader.path} is no legacy VTK file: it does not begin with '# vtk DataFile Version'")
    start = reader.at
    reader.line()
    title = Block(start, reader.at, "")
    encoding = (reader.words() or [""])[0].upper()
    if encoding not in ("ASCII", "BINARY"):
        raise UnreadableFile(f"{reader.path}, line 3: ASCII or BINARY was wanted, got '{encoding}'")
    reader.is_ascii = encoding == "ASCII"
    kind = " ".join(reader.words()).upper()
    if kind != "DATASET POLYDATA":
        raise UnreadableFile(
            f"{reader.path} holds '{kind or 'nothing'}', DATASET POLYDATA (a surface) was wanted",
            "in ParaView: Extract Surface, then save as legacy VTK; in 3D Slicer: save the model as .ply",
        )
    return title


def _take_section(reader: _Reader, keyword: str, words: list[str]) -> bool:
    """Reads past a section; False for one that is not known, whose length cannot be told."""
    try:
        if keyword == "POINTS":
            values, block = reader.numbers(3 * int(words[0]), words[1], "points")
            reader.points, reader.points_block = values, block
        elif keyword in CELLS:
            reader.cells[keyword] = _take_cells(reader, int(words[0]), int(words[1]), keyword)
        elif keyword in ("POINT_DATA", "CELL_DATA"):
            reader.attributes = (keyword, int(words[0]))
        elif keyword == "METADATA":
            while reader.at < len(reader.raw) and reader.line():
                pass
        else:
            return _take_attribute(reader, keyword, words)
    except (ValueError, IndexError):
        raise UnreadableFile(f"{reader.path}: the line '{keyword} {' '.join(words)}' is not understood") from None
    return True


def _take_cells(reader: _Reader, count: int, size: int, keyword: str) -> list[np.ndarray]:
    """The corners of each cell: version 5 keeps offsets and corners apart, older ones lead each cell with its size."""
    begin = reader.at
    words = reader.words()
    if words[:1] == ["OFFSETS"]:
        ends, _ = reader.numbers(count, words[1], keyword)
        words = reader.words()
        corners, _ = reader.numbers(size, words[1], keyword)
        return np.split(corners.astype(np.int64), ends.astype(np.int64)[1:-1]) if count > 1 else []
    reader.at = begin
    values = reader.numbers(size, "int", keyword)[0].astype(np.int64)
    if count and size % count == 0 and (values.reshape(count, -1)[:, 0] == size // count - 1).all():
        return list(values.reshape(count, -1)[:, 1:])
    cells, at = [], 0
    for _ in range(count):
        cells.append(values[at + 1 : at + 1 + values[at]])
        at += 1 + int(values[at])
    return cells


def _take_attribute(reader: _Reader, keyword: str, words: list[str]) -> bool:
    of, count = reader.attributes
    if keyword == "FIELD":
        return _take_field(reader, int(words[1]))
    if keyword == "SCALARS":
        begin = reader.at
        if reader.words()[:1] != ["LOOKUP_TABLE"]:
            reader.at = begin
        reader.numbers(count * int(words[2] if len(words) > 2 else 1), words[1], "scalars")
    elif keyword == "COLOR_SCALARS":
        reader.numbers(count * int(words[1]), "unsigned_char", "colours")
    elif keyword == "LOOKUP_TABLE":
        reader.numbers(4 * int(words[1]), "unsigned_char", "lookup table")
    elif keyword == "TEXTURE_COORDINATES":
        reader.numbers(count * int(words[1]), words[2], "texture coordinates")
    elif keyword in TUPLE:
        values, block = reader.numbers(count * TUPLE[keyword], words[1], keyword.lower())
        if keyword == "NORMALS":
            reader.normals[of] = (values, block)
        elif keyword in ("VECTORS", "TENSORS", "TENSORS6"):
            logger.warning(
                "%s: the %s '%s' are kept as they are; they do not turn with the points",
                reader.path,
                keyword.lower(),
                words[0],
            )
    else:
        return False
    return True


def _take_field(reader: _Reader, arrays: int) -> bool:
    for _ in range(arrays):
        words = reader.words()
        while words[:1] == ["METADATA"]:
            _take_section(reader, "METADATA", [])
            words = reader.words()
        name, components, tuples, type_ = words
        if type_.lower() not in TYPES:
            return False
        reader.numbers(int(components) * int(tuples), type_, f"array '{name}'")
    return True


def _faces(reader: _Reader) -> tuple[np.ndarray, np.ndarray]:
    """The triangles' points, and for each of their corners the cell it is in, both (M, 3)."""
    before = sum(len(reader.cells.get(kind, ())) for kind in ("VERTICES", "LINES"))
    polygons = reader.cells.get("POLYGONS", [])
    strips = reader.cells.get("TRIANGLE_STRIPS", [])
    triangles = [fans(_even(polygons)), *map(_strip, strips)]
    sizes = [len(p) - 2 for p in polygons] + [len(s) - 2 for s in strips]
    cell = np.repeat(np.arange(len(sizes)) + before, np.maximum(sizes, 0)) if sizes else np.empty(0, np.int64)
    return np.concatenate(triangles), np.repeat(cell[:, None], 3, axis=1)


def _even(polygons: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    return np.stack(polygons) if len({len(p) for p in polygons}) == 1 else polygons


def _strip(corners: np.ndarray) -> np.ndarray:
    """(L - 2, 3): a strip's triangles, every second one turned so that all face the same side."""
    triangles = np.stack((corners[:-2], corners[1:-1], corners[2:]), axis=1)
    triangles[1::2] = triangles[1::2, [1, 0, 2]]
    return triangles


def compose(points: np.ndarray, faces: np.ndarray, normals: tuple[Normals, ...], rest: VtkRest | None) -> bytes:
    """The file's bytes; `points` (N, 3) in LPS mm."""
    if rest is None:
        return _bare(points, faces)
    title = saying_lps(rest.raw[rest.title.start : rest.title.end].decode("latin-1").strip())
    title = title if len(title) <= TITLE_CHARACTERS else "homolog SPACE=LPS"
    edits = [(rest.title, f"{title}\n".encode("latin-1")), (rest.points, _numbers(points, rest.points, rest))]
    edits += [(block, _numbers(n.vectors, block, rest)) for n, block in zip(normals, rest.normals, strict=True)]
    return _spliced(rest.raw, edits)


def _spliced(raw: bytes, edits: list[tuple[Block, bytes]]) -> bytes:
    parts, at = [], 0
    for block, new in sorted(edits, key=lambda edit: edit[0].start):
        parts += [raw[at : block.start], new]
        at = block.end
    return b"".join([*parts, raw[at:]])


def _numbers(vectors: np.ndarray, block: Block, rest: VtkRest) -> bytes:
    values = vectors.astype(block.dtype)
    if not rest.is_ascii:
        return values.tobytes()
    numbers = iter(number_texts(values))
    return "".join(f"{x} {y} {z}\n" for x, y, z in zip(numbers, numbers, numbers, strict=True)).encode()


def _bare(points: np.ndarray, faces: np.ndarray) -> bytes:
    rows = np.concatenate((np.full((len(faces), 1), 3), faces), axis=1)
    return (
        b"# vtk DataFile Version 3.0\nhomolog SPACE=LPS\nBINARY\nDATASET POLYDATA\n"
        + f"POINTS {len(points)} float\n".encode()
        + points.astype(">f4").tobytes()
        + f"\nPOLYGONS {len(faces)} {rows.size}\n".encode()
        + rows.astype(">i4").tobytes()
        + b"\n"
    )
