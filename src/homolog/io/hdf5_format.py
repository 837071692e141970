"""What reading and writing HDF5 both know: numbers that stand for something, and the sum under a block.

Section numbers are those of the HDF5 File Format Specification 3.0, here and in `hdf5`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

import numpy as np

MAGIC = b"\x89HDF\r\n\x1a\n"
# an address that points nowhere
NOWHERE = 2**64 - 1
# by superblock version: where the length of the file is noted (II.A)
LENGTH_AT = {0: 40, 1: 44, 2: 28, 3: 28}
# the messages in an object's header that say something here (IV.A.2)
DATASPACE, LINK_INFO, DATATYPE, FILL_VALUE, LINK = 0x01, 0x02, 0x03, 0x05, 0x06
LAYOUT, GROUP_INFO, FILTERS, CONTINUATION, SYMBOL_TABLE, NAMES = 0x08, 0x0A, 0x0B, 0x10, 0x11, 0x16
# how IEEE numbers are described (IV.A.2.d): class and version, bits, size, then where sign, exponent, mantissa lie
FLOATS = {
    "<f4": bytes.fromhex("11 201f00 04000000 0000 2000 17 08 00 17 7f000000"),
    "<f8": bytes.fromhex("11 203f00 08000000 0000 4000 34 0b 00 34 ff030000"),
}
# strings of variable length, as C has them: 16 bytes to find one by, made of single bytes
STRING = bytes.fromhex("19 010000 10000000 10000000 01000000 00000800")
ALL_32 = 0xFFFFFFFF

# what an object's header says: kinds, and their words
Messages = list[tuple[int, bytes]]
Place = TypeVar("Place", bound=Hashable)


class Cursor:
    """The numbers in a block one after another, little-endian; beyond its end is an error."""

    def __init__(self, block: bytes, at: int = 0) -> None:
        self.block, self.at = block, at

    @property
    def left(self) -> int:
        return len(self.block) - self.at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise ValueError(f"a block ends {size - self.left} bytes too early")
        self.at += size
        return self.block[self.at - size : self.at]

    def number(self, size: int = 8) -> int:
        return int.from_bytes(self.take(size), "little")

    def expect(self, wanted: bytes) -> None:
        if (got := self.take(len(wanted))) != wanted:
            raise ValueError(f"{wanted!r} was wanted in a block, {got!r} came")


class Tour(Generic[Place]):
    """Places to visit, each named once: blocks that point in a circle would be read for ever."""

    def __init__(self, first: Place) -> None:
        self.named, self.todo = {first}, [first]

    def __iter__(self) -> Iterator[Place]:
        return iter(self.todo)

    def add(self, place: Place, visit: bool = True) -> None:
        if place in self.named:
            raise ValueError("its blocks point in a circle")
        self.named.add(place)
        self.todo += [place] if visit else []


def checksum(block: bytes) -> int:
    """Bob Jenkins' lookup3 (2006) of little-endian words from 0: the sum under blocks of the newer kind."""
    a = b = c = 0xDEADBEEF + len(block) & ALL_32
    words = np.frombuffer(block + bytes(-len(block) % 12), "<u4").tolist()
    for n in range(0, len(words) - 3, 3):
        a, b, c = a + words[n], b + words[n + 1], c + words[n + 2]
        # each step changes one word and hands the roles on, so that after six they are where they were
        for bits in (4, 6, 8, 16, 19, 4):
            a, b, c = b, b + c & ALL_32, (a - c ^ _rolled(c, bits)) & ALL_32
    a, b, c = (start + word for start, word in zip((a, b, c), words[-3:]))
    for bits in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, (c ^ b) - _rolled(b, bits) & ALL_32, a
    return b


def _rolled(word: int, bits: int) -> int:
    """The lower 32 bits, rolled to the left."""
    word &= ALL_32
    return (word << bits | word >> 32 - bits) & ALL_32
