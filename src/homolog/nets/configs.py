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


@dataclass(frozen=True)
class PatchNetConfig:
    """The network that describes the cube round a keypoint, and how the cube is cut out."""

    side: int = 10
    """Voxels along the cube's side."""
    reach: float = 5.0
    """Scales of the point from it to each side of the cube."""
    wider: tuple[float, ...] = ()
    """Scales to each side of further cubes round the same point, of as many voxels; each is a channel more."""
    sampling_mm: float = 1.0
    """mm, the least voxels of the picture that cubes are cut from; finer pictures are low-passed to it."""
    low_passed: bool = True
    """Cubes whose voxels are larger are cut from a picture that is low-passed to theirs; else from the same as all."""
    channels: tuple[int, ...] = (32, 64)
    """Channels after each 3x3x3 convolution."""
    strides: tuple[int, ...] = (1, 1)
    """Voxels from one place of each convolution to the next."""
    padded: bool = False
    """Zeros round each convolution's cube, so that only strides make it smaller."""
    pooled: tuple[int, ...] = (0,)
    """The convolutions, counted from 0, after which the largest of each 2x2x2 values is kept."""
    activation: Literal["tanh", "relu"] = "tanh"
    """What follows each convolution."""
    norm: Literal["none", "batch", "group"] = "none"
    """The normalisation of channels, without weights of its own."""
    dropout: float = 0.0
    """The share of features that is left out of each patch in training."""
    numbers: int = 48
    """Numbers of a descriptor."""


# As published, 80,880 parameters; its cubes were cut from the picture as it was.
PAPER_PATCH = PatchNetConfig(low_passed=False)
# Normalised, and shown twice as much of what is around besides, half as sharply.
BEST_PATCH = PatchNetConfig(
    side=12,
    reach=6.0,
    wider=(12.0,),
    channels=(32, 64, 128),
    strides=(1, 1, 1),
    activation="relu",
    norm="batch",
    numbers=128,
)
PATCH_NETS = {"paper": PAPER_PATCH, "best": BEST_PATCH}


@dataclass(frozen=True)
class Sp3dNetConfig:
    """The network that finds and describes keypoints at once."""

    widths: tuple[int, ...] = (64, 64, 64, 64, 128, 128, 128, 128)
    """Channels after each of the encoder's eight 3x3x3 convolutions; voxels are twice as wide after every second one,
    but the last."""
    detector: int = 256
    """Channels in the middle of the detector head."""
    finer: bool = False
    """Whether features at 1/2 and 1/4 say as well in which voxel of its cell a point is; published: those at 1/8 do."""
    descriptor_middle: tuple[int, int, int] = (64, 64, 64)
    """Channels of the descriptor head at 1/8, 1/4 and 1/2 of the resolution."""
    descriptor: int = 128
    """Numbers of a descriptor."""
    norm: Literal["none", "batch", "layer"] = "none"
    """What follows each 3x3x3 convolution: nothing, as published; batch normalisation; or normalisation of the channels
    of each place. None of them looks at other places when points are looked for, so that tiles do not matter."""
    window_hu: tuple[float, float] = (-1000.0, 600.0)
    """HU that are shown as 0 and 1."""


# Widths as SuperPoint has them, 3.6 million parameters.
SP3D_FULL = Sp3dNetConfig()
# For processors.
SP3D_LIGHT = Sp3dNetConfig(
    widths=(16, 16, 32, 32, 64, 64, 128, 128),
    detector=128,
    finer=True,
    descriptor_middle=(64, 32, 64),
    norm="batch",
)
SP3D_NETS = {"full": SP3D_FULL, "light": SP3D_LIGHT}
