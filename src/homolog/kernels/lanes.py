"""Four or sixteen float64 in a row, worked on together inside a kernel.

Numba's compiler leaves short sums of neighbours one after the other, though processors add four or eight numbers at
once. Here they are one value; where a processor has no such registers, the compiler takes them apart again.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic as _intrinsic
from numba.extending import register_model

# what is called in a kernel has one argument less than what is written here, which no type says
intrinsic: Any = _intrinsic
_FUSED = ("contract",)


class Lanes(types.Type):
    """The type of `count` float64 that are worked on together."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Lanes({count})")


@register_model(Lanes)
class _Model(PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.DoubleType(), kind.count))


@intrinsic
def nothing(typing):  # type: ignore[no-untyped-def]
    """Sixteen zeros."""
    return Lanes(16)(), lambda context, builder, signature, arguments: _vector([0.0] * 16)


@intrinsic
def four(typing, a, b, c, d):  # type: ignore[no-untyped-def]
    """Four numbers."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out = _vector([0.0] * 4)
        for lane, value in enumerate(arguments):
            out = builder.insert_element(out, value, ir.IntType(32)(lane))
        return out

    return Lanes(4)(*[types.float64] * 4), generate


@intrinsic
def products(typing, first, second):  # type: ignore[no-untyped-def]
    """Sixteen: each of four times each of four others, which run fastest."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        one = _picked(builder, arguments[0], [lane // 4 for lane in range(16)])
        two = _picked(builder, arguments[1], [lane % 4 for lane in range(16)])
        return builder.fmul(one, two, flags=_FUSED)

    return Lanes(16)(first, second), generate


@intrinsic
def added(typing, lanes, factor, others):  # type: ignore[no-untyped-def]
    """lanes + factor * others."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        count = signature.args[0].count
        whole = builder.insert_element(_vector([0.0] * count), arguments[1], ir.IntType(32)(0))
        factors = _picked(builder, whole, [0] * count)
        return builder.fadd(arguments[0], builder.fmul(factors, arguments[2], flags=_FUSED), flags=_FUSED)

    return lanes(lanes, types.float64, others), generate


@intrinsic(prefer_literal=True)
def row(typing, flat, begin, count):  # type: ignore[no-untyped-def]
    """So many numbers of a flat, contiguous float64 array, from one on."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        # align: of one number; arrays may begin anywhere
        return builder.load(_place(context, builder, signature, arguments, count.literal_value), align=8)

    return Lanes(count.literal_value)(flat, types.uintp, count), generate


@intrinsic
def put(typing, flat, begin, lanes):  # type: ignore[no-untyped-def]
    """Writes numbers to a flat, contiguous float64 array, from one on."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place = _place(context, builder, signature, arguments, lanes.count)
        builder.store(arguments[2], place, align=8)
        return context.get_dummy_value()

    return types.void(flat, types.uintp, lanes), generate


def _place(context: Any, builder: Any, signature: Any, arguments: Any, count: int) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    first = builder.gep(array.data, [arguments[1]])
    return builder.bitcast(first, ir.VectorType(ir.DoubleType(), count).as_pointer())


def _picked(builder: Any, vector: Any, lanes: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(vector, vector, mask)


def _vector(values: list[float]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.DoubleType(), len(values)), values)
