"""The whole body: which parts are painted before which."""

from __future__ import annotations

from functools import cache

from homolog.synth.anatomy import belly, chest, envelope, muscles, skeleton
from homolog.synth.anatomy.shapes import Layer

# everything lies within this box: neck to mid-thigh, LPS mm
BOUNDS_MM = ((-260.0, -152.0, -440.0), (268.0, 168.0, 552.0))
# where it may be seen: above and below, the body goes on
TOP_MM, BOTTOM_MM = 500.0, -330.0


@cache
def layers() -> tuple[Layer, ...]:
    """In painting order, outer and lower tissues first."""
    return (
        *envelope.layers(),
        *muscles.layers(),
        *envelope.cavities(),
        *chest.lungs(),
        *envelope.domes(),
        *muscles.deep_layers(),
        *chest.heart(),
        *chest.great_vessels(),
        chest.oesophagus(),
        *belly.layers(),
        *skeleton.layers(),
    )
