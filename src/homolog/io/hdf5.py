"""As much of HDF5 as files of transforms are made of: groups, words, and lists of numbers that are read in pieces.

The library behind ITK hands a field over whole, and ITK copies it several times; here it comes slab by slab. What is
read: superblocks 0, 2 and 3, groups of both kinds as long as they are small, little-endian float32 and float64 in one
piece or in chunks, deflated or not, and strings of variable length. Anything else is `Unfamiliar`.

No number in a file is believed before it is checked: a block lies within the file, no block is come to twice, a sum
is right where the format has one. Section numbers are those of the HDF5 File Format Specification 3.0.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io import hdf5_format as form
from homolog.io.hdf5_format import Cursor, Messages, Tour
from homolog.io.stored import COPY_AGAIN, decompressing

# Blocks other than numbers are read whole; those of a transform file have a few hundred bytes, a heap 4096.
LARGEST_BLOCK = 2**20
# Numbers are read and inflated in pieces that stay in a processor's cache.
PIECE = 2**18
# A byte of deflate never stands for more than this many: what claims more has a wrong size.
DEFLATE_RATIO = 1032


# The HDF5 library sits for ever over some damaged files and crashes over others. So it is only given what is whole by
# its sums, and if there are none, who has the file is asked to try.
REWRITE = "if ITK reads it: python -c \"import SimpleITK as s; s.WriteTransform(s.ReadTransform('OLD.h5'), 'NEW.h5')\""


class Unfamiliar(Exception):
    """Nothing is wrong as far as was read, but it is of a kind that only the HDF5 library reads."""


@dataclass(frozen=True)
class Numbers:
    """A list of numbers in a file.

    count   how many
    dtype   little-endian float32 or float64
    pieces  yields their bytes in order, and perhaps some more
    """

    count: int
    dtype: np.dtype
    pieces: Callable[[], Iterator[bytes]]

    def arrays(self, length: int) -> Iterator[np.ndarray]:
        """All of them in order, in arrays of `length`; the last holds what is left."""
        left, filled = self.count, 0
        array = np.empty(min(length, left), self.dtype)
        # on to the end, even beyond the last number: a deflated chunk has its sum there
        for piece in self.pieces():
            at = 0
            while left and at < len(piece):
                room = array.view(np.uint8)[filled : filled + len(piece) - at]
                room[:] = np.frombuffer(piece, np.uint8, len(room), at)
                at, filled = at + len(room), filled + len(room)
                if filled == array.nbytes:
                    yield array
                    left, filled = left - len(array), 0
                    array = np.empty(min(length, left), self.dtype)
        if left:
            raise ValueError(f"{left} of {self.count} numbers are missing")

    def all(self) -> np.ndarray:
        """(count,) in the type of the file."""
        return [*self.arrays(self.count), np.empty(0, self.dtype)][0]


class File:
    """The objects of a file by their addresses; `root` is that of the outermost group."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = stream.seek(0, 2)
        self.root = form.NOWHERE
        # whether there was a sum under all that has been read
        self.summed = False

    def members(self, address: int) -> dict[str, int]:
        """The names in a group, and where the objects lie."""
        found: dict[str, int] = {}
        for kind, message in self._messages(address):
            if kind == form.LINK:
                found.update([_link(Cursor(message))])
            elif kind == form.LINK_INFO:
                _require_compact(Cursor(message))
            elif kind == form.SYMBOL_TABLE:
                found |= self._symbols(Cursor(message))
        return found

    def text(self, address: int) -> str:
        """A string of variable length: the dataset says how long it is, in which heap, and which one there."""
        messages = self._messages(address)
        described = Cursor(_one(messages, form.DATATYPE))
        kind, bits, size = described.number(1), described.number(3), described.number(4)
        if (kind & 15, bits & 15, size) != (9, 1, 16) or _count(messages) != 1:
            raise Unfamiliar("words that are not one string of variable length")
        place = Cursor(b"".join(self._pieces(messages, size)))
        length, heap, index = place.number(4), place.number(), place.number(4)
        text = self._in_heap(heap, index)
        if len(text) != length:
            raise ValueError(f"a string of {length} bytes has {len(text)}")
        return text.rstrip(b"\0").decode()

    def numbers(self, address: int) -> Numbers:
        """A list of float32 or float64; read it while the file is open."""
        messages = self._messages(address)
        dtype, count = _float(_one(messages, form.DATATYPE)), _count(messages)
        size = count * dtype.itemsize
        if size > DEFLATE_RATIO * self.size:
            raise ValueError(f"{count} numbers are more than it can hold")
        return Numbers(count, dtype, lambda: self._pieces(messages, size))

    # --- blocks

    def _bytes(self, address: int, size: int) -> bytes:
        if address + size > self.size:
            raise ValueError(f"of {self.size} bytes those from {address} to {address + size} are wanted")
        self.stream.seek(address)
        return self.stream.read(size)

    def _block(self, address: int, size: int) -> Cursor:
        if size > LARGEST_BLOCK:
            raise ValueError(f"a block of {size} bytes is none of a transform")
        return Cursor(self._bytes(address, size))

    def find_root(self, path: Path) -> int:
        """The superblock (II.A): are sizes and addresses of 8 bytes, and where does the outermost group lie?"""
        head = self._bytes(0, min(self.size, 96))
        if not head.startswith(form.MAGIC) or len(head) < 96:
            raise UnreadableFile(f"{path} is not an HDF5 file: it starts with {head[:12]!r}", COPY_AGAIN)
        version = head[8]
        wanted = Cursor(head, form.LENGTH_AT[version]).number() if version in form.LENGTH_AT else 0
        if self.size < wanted:
            raise UnreadableFile(f"{path} is cut off: {self.size} of its {wanted} bytes are there", COPY_AGAIN)
        if version in (2, 3):
            _require_sum(head[:48])
            self.summed = True
        if version == 0 and head[13:15] == b"\x08\x08" and not any(head[24:32]):
            return Cursor(head, 64).number()
        if version in (2, 3) and head[9:11] == b"\x08\x08" and not any(head[12:20]):
            return Cursor(head, 36).number()
        raise Unfamiliar(f"superblock {head[8:16].hex()}")

    # --- the headers of objects (IV.A.1)

    def _messages(self, address: int) -> Messages:
        new = self._bytes(address, 4) == b"OHDR"
        return list(self._new_messages(address) if new else self._old_messages(address))

    def _old_messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        self.summed = False
        head = self._block(address, 16)
        head.expect(b"\x01\0")
        total, _, size = head.number(2), head.number(4), head.number(4)
        tour = Tour((address + 16, size))
        for place in tour:
            block = self._block(*place)
            while total and block.left >= 8:
                kind, length, flags = block.number(2), block.number(2), block.number(4)
                yield _message(kind, flags, block.take(length), tour)
                total -= 1

    def _new_messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        head = self._block(address, min(40, self.size - address))
        head.expect(b"OHDR\x02")
        flags = head.number(1)
        # four times, and two limits for attributes, where they are kept
        head.take(16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1))
        size = head.number(1 << (flags & 3))
        tour = Tour((address, head.at + size + 4))
        for place in tour:
            block = self._block(*place)
            _require_sum(block.block)
            block.take(head.at) if place[0] == address else block.expect(b"OCHK")
            # a message begins with its kind, length, flags, and its number where that is kept; the sum comes last
            own = 6 if flags & 4 else 4
            while block.left >= own + 4:
                kind, length, message_flags, _ = (block.number(n) for n in (1, 2, 1, own - 4))
                yield _message(kind, message_flags, block.take(length), tour)

    # --- groups of the older kind (III.A to III.D)

    def _symbols(self, message: Cursor) -> dict[str, int]:
        tree, heap_at = message.number(), message.number()
        heap = self._block(heap_at, 32)
        heap.expect(b"HEAP\0\0\0\0")
        size, _, names_at = heap.number(), heap.number(), heap.number()
        names = self._block(names_at, size).block
        return {name: at for _, node in self._leaves(tree, 0, 8) for name, at in self._symbol_node(node, names)}

    def _symbol_node(self, address: int, names: bytes) -> Iterator[tuple[str, int]]:
        head = self._block(address, 8)
        head.expect(b"SNOD\x01\0")
        entries = self._block(address + 8, 40 * head.number(2))
        while entries.left:
            start, target, kind, _ = (entries.number(n) for n in (8, 8, 4, 20))
            if kind == 2:
                raise Unfamiliar("a symbolic link")
            yield names[start : names.index(0, start)].decode(), target

    def _leaves(self, address: int, kind: int, key_size: int) -> Iterator[tuple[Cursor, int]]:
        """What a B-tree points to, with the key before each."""
        tour = Tour(address)
        for node in tour:
            head = self._block(node, 24)
            head.expect(b"TREE" + bytes([kind]))
            level, used = head.number(1), head.number(2)
            entries = self._block(node + 24, used * (key_size + 8))
            while entries.left:
                key, child = Cursor(entries.take(key_size)), entries.number()
                tour.add(child, visit=level > 0)
                if level == 0:
                    yield key, child

    # --- strings (III.E)

    def _in_heap(self, address: int, index: int) -> bytes:
        head = self._block(address, 16)
        head.expect(b"GCOL\x01\0\0\0")
        objects, found = self._block(address + 16, max(0, head.number() - 16)), {}
        # all of them: over a heap whose sizes do not add up the HDF5 library, where it has to read on, sits for ever
        while objects.left >= 16:
            own, _, size = objects.number(2), objects.number(6), objects.number()
            # 0 is the space that is free, which comes last and counts these 16 bytes
            if own == 0 and size != objects.left + 16:
                raise ValueError("the sizes in a heap do not add up")
            found[own] = objects.take(size if own else size - 16)
            objects.take(-size % 8)
        if index == 0 or index not in found:
            raise ValueError(f"string {index} is not in its heap")
        return found[index]

    # --- numbers (IV.A.2.i)

    def _pieces(self, messages: Messages, size: int) -> Iterator[bytes]:
        """The `size` bytes of a dataset in order, and perhaps some more."""
        layout = Cursor(_one(messages, form.LAYOUT))
        version, kind = layout.number(1), layout.number(1)
        if not size:
            return
        if version in (3, 4) and kind == 1:
            address, stored = layout.number(), layout.number()
            _require_size(size, min(size, stored))
            yield from self._raw(address, size)
        elif version == 3 and kind == 2:
            yield from self._chunks(layout, messages, size)
        else:
            raise Unfamiliar(f"numbers laid out in way {kind} of version {version}")

    def _chunks(self, layout: Cursor, messages: Messages, size: int) -> Iterator[bytes]:
        dimensions, tree, length, item = (layout.number(n) for n in (1, 8, 4, 4))
        if dimensions != 2:
            raise Unfamiliar("chunks of more than one dimension")
        if not 0 < length * item <= DEFLATE_RATIO * self.size:
            raise ValueError(f"chunks of {length * item} bytes")
        _require_size(size, _count(messages) * item)
        deflated, places = _is_deflated(messages), {}
        for key, address in self._leaves(tree, 1, 24) if tree != form.NOWHERE else ():
            stored, left_out, first = key.number(4), key.number(4), key.number()
            places[first] = address, stored, deflated and not left_out
        for first in range(0, size // item, length):
            # a chunk that was never written is all zeros to HDF5, and to a patient a map with a hole
            if first not in places:
                raise ValueError(f"the numbers from {first} on were never written")
            address, stored, packed = places[first]
            _require_size(length * item, length * item if packed else stored)
            yield from self._inflated(address, stored, length * item) if packed else self._raw(address, stored)

    def _raw(self, address: int, size: int) -> Iterator[bytes]:
        for start in range(0, size, PIECE):
            yield self._bytes(address + start, min(PIECE, size - start))

    def _inflated(self, address: int, size: int, wanted: int) -> Iterator[bytes]:
        unpacker, got = zlib.decompressobj(), 0
        for packed in self._raw(address, size):
            while packed:
                piece = unpacker.decompress(packed, PIECE)
                packed, got = unpacker.unconsumed_tail, got + len(piece)
                _require_size(wanted, max(wanted, got))
                yield piece
        # the few bytes of a copy begun before the limit
        rest = unpacker.flush()
        yield rest
        _require_size(wanted, got + len(rest) if unpacker.eof else 0)


@contextmanager
def opened(path: Path, kind: type[File] = File) -> Iterator[File]:
    """The file; what is found wrong within the block is told as damage to the file."""
    with decompressing(path), open(path, "rb") as stream:
        file = kind(stream)
        try:
            file.root = file.find_root(path)
            yield file
        except Unfamiliar as unfamiliar:
            if file.summed:
                raise
            raise UnreadableFile(f"{path} is damaged, or cannot be read ({unfamiliar})", REWRITE) from unfamiliar


def _message(kind: int, flags: int, body: bytes, tour: Tour[tuple[int, int]]) -> tuple[int, bytes]:
    if flags & 2:
        raise Unfamiliar("a message that lies elsewhere")
    if kind == form.CONTINUATION:
        where = Cursor(body)
        tour.add((where.number(), where.number()))
    return kind, body


def _one(messages: Messages, wanted: int) -> bytes:
    for kind, body in messages:
        if kind == wanted:
            return body
    raise ValueError(f"an object lacks its message {wanted}")


def _link(message: Cursor) -> tuple[str, int]:
    message.expect(b"\x01")
    flags = message.number(1)
    if flags & 8 and message.number(1):
        raise Unfamiliar("a link to another name or file")
    # its number, and the alphabet of its name, where they are kept
    message.take(8 * (flags >> 2 & 1) + (flags >> 4 & 1))
    name = message.take(message.number(1 << (flags & 3)))
    return name.decode(), message.number()


def _require_compact(message: Cursor) -> None:
    """Links in the group's own header, not in a heap of their own."""
    _, flags = message.number(1), message.number(1)
    message.take(8 * (flags & 1))
    if message.number() != form.NOWHERE:
        raise Unfamiliar("a group of many members")


def _count(messages: Messages) -> int:
    """How many elements a dataspace has (IV.A.2.b)."""
    message = Cursor(_one(messages, form.DATASPACE))
    version, rank, _, kind = (message.number(1) for _ in range(4))
    if version not in (1, 2) or rank > 1:
        raise Unfamiliar(f"{rank} dimensions of version {version}")
    message.take(4 if version == 1 else 0)
    nothing = version == 2 and kind == 2
    return message.number() if rank else 0 if nothing else 1


def _float(described: bytes) -> np.dtype:
    for code, bits in form.FLOATS.items():
        # versions 1 to 3 say the same of plain numbers
        if described[1 : len(bits)] == bits[1:] and described[0] in (0x11, 0x21, 0x31):
            return np.dtype(code)
    raise Unfamiliar("numbers that are neither float32 nor float64")


def _is_deflated(messages: Messages) -> bool:
    """Whether chunks are deflated (IV.A.2.l); by anything else they are not read."""
    if form.FILTERS not in dict(messages):
        return False
    message = Cursor(_one(messages, form.FILTERS))
    version, filters = message.number(1), message.number(1)
    message.take(6 if version == 1 else 0)
    if version not in (1, 2) or filters != 1 or message.number(2) != 1:
        raise Unfamiliar("numbers that are filtered otherwise than by deflate")
    return True


def _require_size(wanted: int, got: int) -> None:
    if got != wanted:
        raise ValueError(f"{wanted} bytes of numbers are wanted, {got} are there")


def _require_sum(block: bytes) -> None:
    if form.checksum(block[:-4]) != int.from_bytes(block[-4:], "little"):
        raise ValueError("the sum of a block is wrong")
