"""Compiles every kernel of `kernels/on_gpu` for two generations of GPUs, as launching it there would; needs none."""

from __future__ import annotations

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from homolog.kernels.on_gpu import bspline, displacement, implicit, line_integrals, line_spread, noise

POINTS = ("points", "own", "values", "vectors", "carried", "place", "out")
PICTURES = ("volumes", "slopes", "turned", "weights", "tangent_weights")
TABLES = ("shapes", "layers", "stacks", "tile", "looks")
INTEGERS = ("layer", "stops", "starts", "entries", "filled")
COUNTS = ("ci", "cj", "ck", "ni", "nj", "nk", "fi", "fj", "fk", "first", "last", "count")
COUNTS += ("channels", "rows", "columns")
TYPES = {
    **dict.fromkeys(POINTS + PICTURES + TABLES, "*fp32"), **dict.fromkeys(INTEGERS, "*i32"),
    **dict.fromkeys(COUNTS, "i32"),
    **dict.fromkeys(("coefficients", "matrix", "matrices", "bundles", "tangents"), "*fp64"),
    **dict.fromkeys(("x0", "y0", "z0", "cell", "width", "outside", "step_high", "step_low"), "fp32"),
    "labels": "*u8", "key": "i64",
}  # fmt: skip
BLOCK = {"BLOCK": 128}
BRICK = dict(zip(("BI", "BJ", "BK"), implicit.BRICK))
TILE = {"BR": line_integrals.TILE[0], "BC": line_integrals.TILE[1]}
TILE |= {"LANES": line_integrals.LANES, "AHEAD": line_integrals.AHEAD}
VOXELS = dict(zip(("BI", "BJ", "BK"), line_spread.BRICK))
KERNELS = (
    (implicit._render, {"WANTS_VALUES": True, **BRICK}, {}, 1),
    (implicit._render, {"WANTS_VALUES": False, **BRICK}, {}, 1),
    (implicit._least, BLOCK, {}, 4),
    (bspline._carry, BLOCK, {"points": "*fp64", "out": "*fp64"}, 4),
    (displacement._place, BLOCK, {}, 4),
    (noise._fill, BLOCK, {}, 4),
    *((line_integrals._integrate, {"ORDER": order, **TILE}, {}, line_integrals.LANES) for order in range(3)),
    *((line_spread._gather, {"MOVES": moves, **VOXELS}, {}, 4) for moves in (False, True)),
)


def main() -> None:
    for capability in (80, 90):
        for kernel, constants, types, warps in KERNELS:
            given = {**TYPES, **types, **dict.fromkeys(constants, "constexpr")}
            signature = {name: given[name] for name in kernel.arg_names}
            source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
            triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
        sys.stdout.write(f"{capability}\n")


if __name__ == "__main__":
    main()
