"""A small HDF5 file, written from its first byte to its last: groups, words, and lists of numbers.

Superblock 2 and what goes with it, which HDF5 reads since 1.8 (2008) and ITK writes itself. Numbers come in slabs, so
there is never a whole copy of them; the superblock comes last: a file whose writing broke off is no HDF5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from homolog.io import hdf5_format as form
from homolog.io.hdf5_format import Messages

SUPERBLOCK_SIZE = 48
# The library takes no heap of strings that is smaller.
SMALLEST_HEAP = 4096
# version 3: space is taken late, and what was never written is filled only if a value was given
NO_FILL_VALUE = b"\x03\x0a"


@dataclass(frozen=True, eq=False)
class Written:
    """A list of numbers to be written.

    count  how many
    code   "<f4" or "<f8"
    slabs  yields them in order, in arrays of any shape
    """

    count: int
    code: str
    slabs: Callable[[], Iterable[np.ndarray]]

    @classmethod
    def of(cls, numbers: Iterable[float] | np.ndarray) -> Written:
        """A short list, as float64."""
        array = np.asarray(numbers, "<f8").ravel()
        return cls(array.size, "<f8", lambda: [array])

    @property
    def size(self) -> int:
        """In bytes."""
        return self.count * np.dtype(self.code).itemsize


Tree = Mapping[str, "Tree | Written | str"]


def write(tree: Tree, file: BinaryIO) -> None:
    """What the tree holds; numbers that it holds under two names are written once and found under both."""
    _Writer(tree, file)


class _Writer:
    def __init__(self, tree: Tree, file: BinaryIO) -> None:
        self.file = file
        self.placed: dict[Written, int] = {}
        file.write(bytes(SUPERBLOCK_SIZE))
        leaves = list(_leaves(tree))
        self.texts = [leaf for leaf in dict.fromkeys(leaves) if isinstance(leaf, str)]
        self.names = Counter(leaves)
        self.heap = self._put(_heap(self.texts))
        root = self._member(tree)
        end = file.tell()
        file.seek(0)
        file.write(_superblock(root, end))

    def _put(self, block: bytes) -> int:
        """The block at the next multiple of 8, and where that is."""
        self.file.write(bytes(-self.file.tell() % 8))
        address = self.file.tell()
        self.file.write(block)
        return address

    def _member(self, thing: Tree | Written | str) -> int:
        if isinstance(thing, str):
            return self._text(thing)
        if not isinstance(thing, Written):
            return self._group(thing)
        if thing not in self.placed:
            self.placed[thing] = self._numbers(thing)
        return self.placed[thing]

    def _group(self, tree: Tree) -> int:
        links = [(form.LINK, _link(name, self._member(thing))) for name, thing in tree.items()]
        # no links elsewhere than here
        compact = b"\0\0" + _number(form.NOWHERE) * 2
        return self._put(_header([(form.LINK_INFO, compact), (form.GROUP_INFO, b"\0\0"), *links]))

    def _text(self, text: str) -> int:
        place = _number(len(text.encode()), 4) + _number(self.heap) + _number(self.texts.index(text) + 1, 4)
        return self._put(_header(_dataset(form.STRING, 1, self._put(place), len(place))))

    def _numbers(self, numbers: Written) -> int:
        address = self._put(b"")
        for slab in numbers.slabs():
            self.file.write(np.ascontiguousarray(slab, numbers.code).data)
        assert self.file.tell() - address == numbers.size, (numbers, self.file.tell() - address)
        dataset = _dataset(form.FLOATS[numbers.code], numbers.count, address, numbers.size)
        return self._put(_header([*dataset, (form.NAMES, b"\0" + _number(self.names[numbers], 4))]))


def _dataset(described: bytes, count: int, address: int, size: int) -> Messages:
    """What is said of `count` elements in one piece."""
    space = b"\x02\x01\0\x01" + _number(count)
    layout = b"\x03\x01" + _number(address if size else form.NOWHERE) + _number(size)
    return [
        (form.DATASPACE, space),
        (form.DATATYPE, described),
        (form.FILL_VALUE, NO_FILL_VALUE),
        (form.LAYOUT, layout),
    ]


def _superblock(root: int, end: int) -> bytes:
    # version 2, sizes and addresses of 8 bytes, nothing special; counted from 0, no extension
    block = form.MAGIC + b"\x02\x08\x08\0" + _number(0) + _number(form.NOWHERE) + _number(end) + _number(root)
    return _summed(block)


def _header(messages: Messages) -> bytes:
    """An object's header, version 2, without times."""
    body = b"".join(_number(kind, 1) + _number(len(message), 2) + b"\0" + message for kind, message in messages)
    return _summed(b"OHDR\x02\x02" + _number(len(body), 4) + body)


def _link(name: str, address: int) -> bytes:
    called = name.encode()
    return b"\x01\0" + _number(len(called), 1) + called + _number(address)


def _heap(texts: list[str]) -> bytes:
    """The strings, numbered from 1, and the space that is free, numbered 0."""
    body = b"".join(_in_heap(n, text.encode()) for n, text in enumerate(texts, 1))
    size = max(SMALLEST_HEAP, 16 + len(body) + 16)
    free = size - 16 - len(body)
    return b"GCOL\x01\0\0\0" + _number(size) + body + bytes(8) + _number(free) + bytes(free - 16)


def _in_heap(index: int, text: bytes) -> bytes:
    return _number(index, 2) + bytes(6) + _number(len(text)) + text + bytes(-len(text) % 8)


def _leaves(tree: Tree) -> Iterator[Written | str]:
    for thing in tree.values():
        if isinstance(thing, (Written, str)):
            yield thing
        else:
            yield from _leaves(thing)


def _summed(block: bytes) -> bytes:
    return block + _number(form.checksum(block), 4)


def _number(value: int, size: int = 8) -> bytes:
    return value.to_bytes(size, "little")
