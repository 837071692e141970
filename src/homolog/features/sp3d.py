"""SP3D: keypoints where a network finds them, and its descriptors of them.

After Loiseau-Witon, Kechichian, Valette and Bartoli, "SP3D: learning keypoint detection and description in 3D medical
images". docs/methods/sp3d.md has what is done, and where it departs from what was published. The network comes with its
weights; the work is done on its device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from homolog.errors import BadInput
from homolog.features import sp3d_tiles
from homolog.features.configs import Sp3dConfig
from homolog.features.given import known, require_inside, require_space
from homolog.features.selection import inside_mask, strongest
from homolog.features.sp3d_peaks import apart, peaks
from homolog.features.sp3d_picture import Picture, picture_of, require_room
from homolog.features.sp3d_tiles import Block, blocks
from homolog.features.torch_threads import torch_threads
from homolog.nets.sp3d import CELL, Levels, Sp3dNet
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume

# Of the range from black to white: cells that differ by less from all next to them show nothing.
FLAT = 1e-4
# Points described at once: each needs 64 places of all channels, some 30 kB.
AT_ONCE = 1024

# A probability that is as good as none.
LEAST = 1e-30

LevelsOf = Callable[[Block], Levels]


@torch_threads(1)
def detect(
    volume: Volume, config: Sp3dConfig = Sp3dConfig(), *, network: Sp3dNet, mask: Volume | None = None
) -> Keypoints:
    """The points of a picture, likeliest first; their responses are probabilities.

    mask  labels in the picture's space on any grid, 0 where no point is wanted
    """
    _require_options(config)
    picture = picture_of(volume, config, network.config.window_hu)
    require_room(picture, config, volume.space)
    levels_of = _remembered(picture, network, config)
    found = _detected(picture, levels_of, network, config, volume.space)
    found = found[inside_mask(found.position, mask, volume.space)]
    found = found[strongest(found.position, known(found.response), config.most, config.spread_mm)]
    if config.descriptors and found.descriptors is None:
        return _described(found, picture, levels_of, network, config)
    return found


@torch_threads(1)
def describe(volume: Volume, keypoints: Keypoints, config: Sp3dConfig = Sp3dConfig(), *, network: Sp3dNet) -> Keypoints:
    """The same points with descriptors, which do not depend on their scales."""
    _require_options(config)
    require_space(keypoints, volume)
    require_inside(keypoints, volume)
    picture = picture_of(volume, config, network.config.window_hu)
    return _described(keypoints, picture, _remembered(picture, network, config), network, config)


def _remembered(picture: Picture, network: Sp3dNet, config: Sp3dConfig) -> LevelsOf:
    """Features of a block; those of the last one are kept, since most pictures have no other."""
    held: dict[Block, Levels] = {}

    def levels_of(block: Block) -> Levels:
        if block not in held:
            # first, or two blocks' features would lie side by side
            held.clear()
            held[block] = sp3d_tiles.levels(network, picture, block, config.tile_vox)
        return held[block]

    return levels_of


# ---------------------------------------------------------------------------------------------------------------------
# Detection


def _detected(picture: Picture, levels_of: LevelsOf, network: Sp3dNet, config: Sp3dConfig, space: str) -> Keypoints:
    """All points, in no order that means anything.

    Of several blocks they are described, since features of one are gone with the next: all peaks, more than will be
    left, are less work than features again.
    """
    cut = blocks(picture, network.config, config)
    now = config.descriptors and len(cut) > 1
    parts, described = [], []
    for one in cut:
        parts.append(_peaks(one, picture, levels_of, network, config))
        if now:
            described.append(_descriptors(parts[-1][0] - one.origin, levels_of(one), network))
    places, voxels, likely = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = apart(voxels, likely, config.apart_mm / picture.spacing_mm)
    return Keypoints(
        picture.grid.world(places[kept]),
        space,
        scale=None if config.point_scale_mm is None else np.full(int(kept.sum()), config.point_scale_mm),
        response=likely[kept],
        descriptors=np.concatenate(described)[kept] if now else None,
    )


def _peaks(
    block: Block, picture: Picture, levels_of: LevelsOf, network: Sp3dNet, config: Sp3dConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a block: places (N, 3) in voxels of the picture, their voxels int64, and probabilities (N,)."""
    log_likely = _log_likely(block, levels_of, network, config)
    inside, offsets, likely = peaks(log_likely, config.threshold)
    voxels = inside + block.origin
    places = voxels + offsets
    good = block.holds(voxels) & _shows(picture, block)[tuple(inside.T // CELL)]
    good &= picture.beneath(picture.grid.world(places)) >= config.border_mm
    return places[good], voxels[good], likely[good]


def _log_likely(block: Block, levels_of: LevelsOf, network: Sp3dNet, config: Sp3dConfig) -> torch.Tensor:
    """(D, H, W) of a block: logarithms of the mean probability over the looks that show a voxel."""
    levels = levels_of(block)
    if config.looks == 1:
        return sp3d_tiles.log_likely(network, levels, config.tile_vox)
    size = (CELL * (np.array(block.seen_stop) - block.seen_start)).tolist()
    total, shown = (torch.zeros(size, device=levels.half.device) for _ in range(2))
    for shift in sp3d_tiles.shifts(config.looks):
        if any(a and n == CELL for a, n in zip(shift, size)):
            continue
        inner = tuple(slice(a, n - -a % CELL) for a, n in zip(shift, size))
        there = sp3d_tiles.moved(network, levels, shift, config.tile_vox)
        total[inner] += sp3d_tiles.log_likely(network, there, config.tile_vox).exp_()
        shown[inner] += 1
    return total.div_(shown).clamp_min_(LEAST).log_()


def _shows(picture: Picture, block: Block) -> np.ndarray:
    """Bool for each cell that is seen: whether it and those next to it are more than one even grey."""
    part = torch.from_numpy(picture.part(block.origin, CELL * np.array(block.seen_stop)))[None, None]
    high, low = (functional.max_pool3d(one, CELL) for one in (part, -part))
    high, low = (functional.max_pool3d(one, 3, 1, 1) for one in (high, low))
    return (high + low > FLAT)[0, 0].numpy()


# ---------------------------------------------------------------------------------------------------------------------
# Description


def _described(
    keypoints: Keypoints, picture: Picture, levels_of: LevelsOf, network: Sp3dNet, config: Sp3dConfig
) -> Keypoints:
    voxels = picture.grid.voxel(keypoints.position)
    found = np.zeros((len(keypoints), network.config.descriptor), np.float32)
    # points on a face may lie half a voxel beyond the lattice
    home = voxels.clip(0, np.array(picture.grid.shape) - 1)
    # backwards: the last block's features are still there
    for block in reversed(blocks(picture, network.config, config)):
        rows = np.flatnonzero(block.holds(home))
        if len(rows):
            found[rows] = _descriptors(voxels[rows] - block.origin, levels_of(block), network)
    return replace(keypoints, descriptors=found)


def _descriptors(places: np.ndarray, levels: Levels, network: Sp3dNet) -> np.ndarray:
    """(N, C) float32 of unit length, at voxels (N, 3) of a block."""
    with torch.inference_mode():
        quarter = network.descriptor.quartered(levels)
    found = np.empty((len(places), network.config.descriptor), np.float32)

    def fill(start: int) -> None:
        some = torch.from_numpy(places[start : start + AT_ONCE]).to(quarter)
        found[start : start + AT_ONCE] = network.descriptor.at(quarter, levels.half, some).cpu().numpy()

    sp3d_tiles.over(range(0, len(places), AT_ONCE), fill)
    return found


def _require_options(config: Sp3dConfig) -> None:
    if not 0 < config.threshold < 1:
        raise BadInput(f"the threshold is {config.threshold}, a probability is wanted", "--threshold 0.05")
    if not (0 <= config.apart_mm < np.inf and 0 <= config.border_mm < np.inf):
        raise BadInput(
            f"points are to be {config.apart_mm} mm apart and {config.border_mm} mm from faces",
            "--apart-mm 4.5 --border-mm 6",
        )
    if config.point_scale_mm is not None and not 0 < config.point_scale_mm < np.inf:
        raise BadInput(f"points are to have scales of {config.point_scale_mm} mm", "--point-scale-mm 3")
    if config.looks not in (1, 2, 4, 8):
        raise BadInput(f"{config.looks} looks at a picture; 1, 2, 4 and 8 are possible", "--looks 4")
    if config.tile_vox < CELL or not config.memory_gb > 0:
        raise BadInput(f"tiles of {config.tile_vox} voxels in {config.memory_gb} GB", "--tile-vox 64 --memory-gb 2")
