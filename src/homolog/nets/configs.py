"""What networks are made of: one frozen Config a network. Only the standard library is imported here.

A file of weights carries its network's Config, so that it can be built again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from homolog.errors import BadInput

Net = TypeVar("Net")


@dataclass(frozen=True)
class ProstNetConfig:
    """The network of the projective spatial transformer, and the size of what it is shown."""

    spacing_mm: float = 2.33203125
    """mm, the voxels of the volume it is shown."""
    pixels: int = 128
    """Pixels along the longer side of the X-ray it is shown."""
    volume_channels: tuple[int, ...] = (4, 8, 16, 8, 3)
    """Channels after each 3x3x3 convolution; the last ones are projected. None: the volume itself is."""
    picture_channels: tuple[int, ...] = (16, 64, 128, 64)
    """Channels after each 3x3 convolution of a picture, which is halved after all but the last; with marks, channels of
    each level of the picture, from squares of four pixels on, each half as fine as the one before."""
    norm: Literal["batch", "group"] = "batch"
    """Group normalisation does not depend on who else is in a batch, so that it is the same in training and after."""
    smooth: bool = False
    """SiLU and means in place of ReLU and maxima: the similarity's gradient is then continuous in the pose."""
    places: bool = False
    """Pictures come with three channels more: where each pixel's ray goes, across and down, and whether it is known.
    With marks they are needed."""
    details_px: int = 0
    """Pixels of the square by whose mean and deviation the X-ray is shown a second time, so that bone stands out
    from the trunk around it; 0: it is shown once."""
    marks: int = 0
    """Places whose positions in the picture are all that is compared; 0: the maps of features are compared."""
    coordinates: int = 6
    """Numbers that are made of those positions, and whose squared differences are the similarity."""
    turn_degrees: float = 13.364
    """Degrees about each axis that the similarity counts as one."""
    shift_mm: float = 31.678
    """mm along each axis that it counts as one."""


@dataclass(frozen=True)
class PointsNetConfig:
    """The network that finds the points of one volume in X-rays of it."""

    points: int = 32
    """Points of the volume."""
    pixels: int = 64
    """Pixels along the longer side of the X-ray it is shown."""
    picture_channels: tuple[int, ...] = (32, 64, 96, 128)
    """Channels of each level of the picture, from squares of four pixels on, each half as fine as the one before."""
    details_px: int = 15
    """Pixels of the square by whose mean and deviation the X-ray is shown a second time; 0: it is shown once."""


# As published, 781,723 parameters.
PAPER = ProstNetConfig()
# To train on a processor: pixels are about as large, where the patient is, as voxels.
LIGHT = ProstNetConfig(
    spacing_mm=4.0,
    pixels=48,
    volume_channels=(),
    picture_channels=(32, 64, 96, 128),
    norm="group",
    smooth=True,
    places=True,
    details_px=11,
    marks=40,
)
PROST_NETS = {"paper": PAPER, "light": LIGHT}


def of_record(kind: type[Net], record: dict[str, Any]) -> Net:
    """The Config that a file of weights carries, from JSON's lists."""
    try:
        return kind(**{name: tuple(one) if isinstance(one, list) else one for name, one in record.items()})
    except TypeError as error:
        raise BadInput(f"these weights are of another network or version ({error})", "train anew") from error
