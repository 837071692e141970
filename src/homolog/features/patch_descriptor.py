"""Keypoints described by a network that looks at the cube round each, cut along the patient's axes.

Loiseau-Witon et al., "Learning 3D medical image patch descriptors with the triplet loss", IPCAI 2021. Departures: cubes
lie along LPS whatever the header's axes are, large ones are cut from a picture that is low-passed to their voxels
(unless the network's Config says otherwise), and each is standardised. docs/methods/patch.md says more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from homolog.errors import BadInput
from homolog.features.given import known, require_inside, require_scales
from homolog.features.torch_threads import torch_threads
from homolog.kernels import along_axes, cubes
from homolog.nets.configs import PatchNetConfig
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.prepared import require_picture, restored
from homolog.space.sampling import low_passed
from homolog.space.volume import Volume

if TYPE_CHECKING:
    from homolog.nets.patch import PatchNet

# Cubes at once: what a network's layers hold of them stays near the processor, and memory is bounded.
BLOCK = 256
# Pictures from one doubling of the voxels to the next: a cube is cut from voxels of 0.7 to 1 of its own.
A_DOUBLING = 2
# mm: sizes of points between a speck and a patient.
SCALES = (1e-3, 1e4)
# Headers round: spacings that differ by less are taken for the same.
SPACING_TOLERANCE = 1e-2


def patches(volume: Volume, keypoints: Keypoints, config: PatchNetConfig) -> np.ndarray:
    """(N, S, S, S) float32: grey values of the cube of `config.reach` scales to each side of a point.

    Axes are x, y, z of LPS, and beyond the picture's rim the rim's values stand. With `config.wider` (N, C, S, S, S),
    the cubes of each reach.
    """
    source = Source.of(volume, keypoints, config)
    found = np.empty((len(keypoints), *_shape(config)), np.float32)
    for start in range(0, len(found), BLOCK):
        found[start : start + BLOCK] = source.cubes(keypoints[start : start + BLOCK])
    return found if config.wider else found[:, 0]


def describe(volume: Volume, keypoints: Keypoints, network: PatchNet) -> Keypoints:
    """The same points with descriptors of the picture round them; their scales say how much of it."""
    import torch

    assert not network.training, "a network that describes is built with `nets.patch.built`, or set to eval()"
    config = network.config
    source = Source.of(volume, keypoints, config)
    device = next(network.parameters()).device
    found = np.empty((len(keypoints), config.numbers), np.float32)
    with torch_threads(), torch.inference_mode():
        for start in range(0, len(found), BLOCK):
            seen = torch.from_numpy(source.cubes(keypoints[start : start + BLOCK])).to(device)
            found[start : start + BLOCK] = network(seen).cpu().numpy()
    return replace(keypoints, descriptors=found)


@dataclass(frozen=True, eq=False)
class Source:
    """A picture that cubes are cut from, on voxels of several sizes.

    levels  finest first, each of larger voxels than the one before, or the same picture where that is as coarse
    """

    levels: tuple[Volume, ...]
    config: PatchNetConfig

    @classmethod
    def of(cls, volume: Volume, keypoints: Keypoints, config: PatchNetConfig) -> Source:
        """As many levels as the points' scales ask for."""
        _require_picture(volume)
        _require_places(keypoints, volume)
        _require_cubes(config)
        picture = _coarser(restored(volume), config.sampling_mm)
        levels = [picture]
        for level in range(1, 1 + _highest(known(keypoints.scale), config)):
            levels.append(_coarser(levels[-1], config.sampling_mm * 2 ** (level / A_DOUBLING)))
        return cls(tuple(levels), config)

    def cubes(self, keypoints: Keypoints) -> np.ndarray:
        """(N, C, S, S, S) float32."""
        found = np.empty((len(keypoints), *_shape(self.config)), np.float32)
        for channel, reach in enumerate(_reaches(self.config)):
            steps_mm = _steps_mm(known(keypoints.scale), reach, self.config)
            level_of = _levels(steps_mm, self.config)
            for level in np.unique(level_of):
                rows = np.flatnonzero(level_of == level)
                found[rows, channel] = self._cut(self.levels[level], keypoints.position[rows], steps_mm[rows])
        return found

    def _cut(self, picture: Volume, position: np.ndarray, steps_mm: np.ndarray) -> np.ndarray:
        grid = picture.grid
        return cubes.sample(
            picture.numpy(), grid.voxel(position), steps_mm, grid.voxel_from_world[:3, :3], self.config.side
        )


def _shape(config: PatchNetConfig) -> tuple[int, ...]:
    return (1 + len(config.wider), *3 * (config.side,))


def _reaches(config: PatchNetConfig) -> tuple[float, ...]:
    return (config.reach, *config.wider)


def _steps_mm(scale: np.ndarray, reach: float, config: PatchNetConfig) -> np.ndarray:
    """(N,) mm: the voxels of cubes, the outermost of which end where the cube does."""
    return 2 * reach * scale / config.side


def _levels(steps_mm: np.ndarray, config: PatchNetConfig) -> np.ndarray:
    """(N,) which level cubes of these voxels are cut from: the coarsest whose own are no larger."""
    if not config.low_passed:
        return np.zeros(len(steps_mm), int)
    doublings = np.log2(steps_mm / config.sampling_mm)
    return np.maximum(0, np.floor(A_DOUBLING * doublings + 1e-9)).astype(int)


def _highest(scale: np.ndarray, config: PatchNetConfig) -> int:
    """The coarsest level that is asked for."""
    if not len(scale):
        return 0
    return int(_levels(_steps_mm(scale.max(keepdims=True), max(_reaches(config)), config), config)[0])


def _coarser(picture: Volume, spacing_mm: float) -> Volume:
    """The picture with voxels of at least this size along each of its axes, low-passed to them; centred as it was."""
    grid = picture.grid
    ratio = np.maximum(spacing_mm / grid.spacing_mm, 1.0)
    ratio[ratio < 1 + SPACING_TOLERANCE] = 1.0
    if (ratio == 1).all():
        return picture
    before = np.array(grid.shape)
    # two at least, to look between
    shape = np.maximum(2, np.ceil(before / ratio - 1e-6)).astype(int)
    # the middle stays, so that it does not matter from which end voxels are counted
    first = (before - 1) / 2 - ratio * (shape - 1) / 2
    step = np.diag([*ratio, 1.0])
    step[:3, 3] = first
    coarse = Grid((shape[0], shape[1], shape[2]), grid.world_from_voxel @ step)
    smooth = low_passed(picture, coarse).numpy()
    places = [start + by * np.arange(n) for start, by, n in zip(first, ratio, shape, strict=True)]
    return Volume(along_axes.sample(smooth, places), coarse, picture.space)


# ---------------------------------------------------------------------------------------------------------------------
# What cannot work


def _require_picture(volume: Volume) -> None:
    require_picture(volume, "given")
    if np.ptp(volume.numpy()) == 0:
        raise BadInput(f"'{volume.space}' is constant: nothing in it can be described", "is it the right file?")


def _require_places(keypoints: Keypoints, volume: Volume) -> None:
    require_scales(keypoints, volume)
    scale = known(keypoints.scale)
    # NaN is neither above nor below
    good = np.isfinite(keypoints.position).all(axis=1) & (scale >= SCALES[0]) & (scale <= SCALES[1])
    if not good.all():
        raise BadInput(
            f"{int((~good).sum())} of {len(keypoints)} points to be described have no finite position, or a scale that "
            f"is not between {SCALES[0]:g} and {SCALES[1]:g} mm"
        )
    require_inside(keypoints, volume)


def _require_cubes(config: PatchNetConfig) -> None:
    sizes = (config.sampling_mm, *_reaches(config))
    if config.side < 1 or not all(np.isfinite(size) and size > 0 for size in sizes):
        raise BadInput(f"cubes cannot be cut by sampling_mm, reach and wider of {sizes}, and a side of {config.side}")
