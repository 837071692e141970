"""HDF5's arrays of any rank, of floats and integers: small matrices and numbers, read whole.

Beside what `hdf5` reads of transforms: arrays that lie in the object's own header, and chunks of several dimensions.
"""

from __future__ import annotations

from math import prod

import numpy as np

from homolog.io import hdf5_format as form
from homolog.io.hdf5 import DEFLATE_RATIO, LARGEST_BLOCK, File, Unfamiliar, _is_deflated, _one
from homolog.io.hdf5_format import Cursor, Messages

# The class of integers (IV.A.2.d).
WHOLE = 0
MOST_DIMENSIONS = 8


class ArrayFile(File):
    """A file whose arrays can be asked for, too."""

    def array(self, address: int) -> np.ndarray:
        """A dataset as it is, one number with shape ()."""
        messages = self._messages(address)
        dtype, shape = _number_type(_one(messages, form.DATATYPE)), _shape(messages)
        if prod(shape) * dtype.itemsize > min(LARGEST_BLOCK, DEFLATE_RATIO * self.size):
            raise Unfamiliar(f"an array of {'x'.join(map(str, shape))} numbers: small ones are read here")
        layout = Cursor(_one(messages, form.LAYOUT))
        version, kind = layout.number(1), layout.number(1)
        size = prod(shape) * dtype.itemsize
        if version in (3, 4) and kind == 0:
            raw = layout.take(layout.number(2))
        elif version in (3, 4) and kind == 1:
            raw = self._bytes(layout.number(), size) if size else b""
        elif version == 3 and kind == 2:
            return self._of_chunks(layout, messages, dtype, shape)
        else:
            raise Unfamiliar(f"numbers laid out in way {kind} of version {version}")
        if len(raw) < size:
            raise ValueError(f"{size} bytes of numbers are wanted, {len(raw)} are there")
        return np.frombuffer(raw[:size], dtype).reshape(shape)

    def at(self, path: str, start: int | None = None) -> int:
        """The address of what lies at a path of names from a group, the outermost unless said."""
        address = self.root if start is None else start
        for name in path.split("/"):
            members = self.members(address)
            if name not in members:
                raise KeyError(name)
            address = members[name]
        return address

    def _of_chunks(self, layout: Cursor, messages: Messages, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """Chunks of the array's rank; those at its end reach beyond it."""
        dimensions, tree = layout.number(1), layout.number()
        if dimensions != len(shape) + 1:
            raise ValueError(f"chunks of {dimensions - 1} dimensions in an array of {len(shape)}")
        chunk = tuple(layout.number(4) for _ in shape)
        size, out, seen = prod(chunk) * dtype.itemsize, np.empty(shape, dtype), 0
        if not 0 < size <= min(LARGEST_BLOCK, DEFLATE_RATIO * self.size):
            raise ValueError(f"chunks of {size} bytes")
        deflated = _is_deflated(messages)
        for key, address in self._leaves(tree, 1, 8 + 8 * dimensions) if tree != form.NOWHERE else ():
            stored, left_out = key.number(4), key.number(4)
            start = [key.number() for _ in shape]
            packed = deflated and not left_out
            raw = b"".join(self._inflated(address, stored, size) if packed else self._raw(address, stored))
            values = np.frombuffer(raw, dtype).reshape(chunk)
            place = tuple(slice(first, first + n) for first, n in zip(start, chunk))
            target = out[place]
            target[...] = values[tuple(slice(0, n) for n in target.shape)]
            seen += target.size
        if seen != out.size:
            raise ValueError("some of an array's chunks were never written")
        return out


def _shape(messages: Messages) -> tuple[int, ...]:
    """The sizes of a dataspace (IV.A.2.b)."""
    message = Cursor(_one(messages, form.DATASPACE))
    version, rank, _, kind = (message.number(1) for _ in range(4))
    if version not in (1, 2) or rank > MOST_DIMENSIONS or (version == 2 and kind == 2):
        raise Unfamiliar(f"{rank} dimensions of version {version}")
    message.take(4 if version == 1 else 0)
    return tuple(message.number() for _ in range(rank))


def _number_type(described: bytes) -> np.dtype:
    """Little-endian floats and integers (IV.A.2.d)."""
    for code, bits in form.FLOATS.items():
        if described[1 : len(bits)] == bits[1:] and described[0] in (0x11, 0x21, 0x31):
            return np.dtype(code)
    message = Cursor(described)
    kind, flags, size = message.number(1), message.number(3), message.number(4)
    offset, precision = message.number(2), message.number(2)
    whole = kind & 15 == WHOLE and not flags & 1 and offset == 0 and precision == 8 * size
    if not whole or size not in (1, 2, 4, 8):
        raise Unfamiliar("numbers that are neither little-endian integers, nor float32 or float64")
    return np.dtype(f"<{'i' if flags & 8 else 'u'}{size}")
