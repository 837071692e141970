"""SP3D on pictures of any size: layer after layer in tiles, in blocks where features would fill the memory.

Each two convolutions look two voxels around, so that tiles need two more at each side and not what the whole network
looks at. What lies beyond the picture is zero to every convolution, as if there were one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from homolog.errors import BadInput
from homolog.features.configs import Sp3dConfig
from homolog.features.sp3d_picture import Picture
from homolog.kernels.threads import over_planes
from homolog.nets.configs import Sp3dNetConfig
from homolog.nets.sp3d import CELL, DESCRIPTOR_REACH, Levels, Sp3dNet, log_shuffled

# Cells that neighbouring blocks share at each side.
HALO = -(-DESCRIPTOR_REACH // CELL)
# Cells along a block's side at the least: with fewer, all but a little would be worked out many times.
LEAST_CELLS = 8
# How many times fewer cells than voxels there are along a tile's side: 513 answers take the room of eight layers.
TILE_OF_CELLS = 4
# Voxels round a tile that two convolutions look at.
PAIR = 2


Slices = tuple[slice, ...]
Shift = tuple[int, int, int]
Thing = TypeVar("Thing")


class Tile(NamedTuple):
    """Its voxels, those and a halo where the picture has one, and its voxels counted in the latter."""

    inner: Slices
    outer: Slices
    within: Slices


@dataclass(frozen=True)
class Block:
    """A part of a picture, in cells: what it answers for, and what has to be seen for that."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    seen_start: tuple[int, ...]
    seen_stop: tuple[int, ...]

    @property
    def origin(self) -> np.ndarray:
        """(3,) int64: the first voxel that is seen."""
        return CELL * np.array(self.seen_start)

    def holds(self, voxels: np.ndarray) -> np.ndarray:
        """(N,) bool: for which voxels (N, 3) of the picture it answers; those beyond a face belong to the last cell."""
        return np.asarray(((voxels >= CELL * np.array(self.start)) & (voxels < CELL * np.array(self.stop))).all(axis=1))


def blocks(picture: Picture, network: Sp3dNetConfig, config: Sp3dConfig) -> list[Block]:
    """The blocks of a picture, as many as their features need to fit; each voxel is answered for by one."""
    cells, parts = picture.cells, np.ones(3, np.int64)
    most = config.memory_gb * 1e9 / (CELL**3 * bytes_of(network))
    while (needed := np.minimum(-(-cells // parts) + 2 * HALO * (parts > 1), cells).prod()) > most:
        side = -(-cells // parts)
        if side.max() <= LEAST_CELLS:
            _refuse(needed * CELL**3 * bytes_of(network), config)
        parts[side.argmax()] += 1
    edges = [np.linspace(0, n, count + 1).astype(int) for n, count in zip(cells, parts)]
    starts = product(*(one[:-1].tolist() for one in edges))
    stops = product(*(one[1:].tolist() for one in edges))
    return [_with_halo(start, stop, cells) for start, stop in zip(starts, stops)]


def bytes_of(network: Sp3dNetConfig) -> float:
    """Bytes that a voxel takes: the picture, features of each resolution, and what is looked for peaks in."""
    widths = network.widths
    return 4 * (2 + (widths[1] + widths[3]) / 8 + 2 * widths[5] / 64 + 2 * widths[7] / 512 + 5)


def levels(network: Sp3dNet, picture: Picture, block: Block, tile_vox: int) -> Levels:
    """`network.levels` of a block."""
    part = picture.part(block.origin, CELL * np.array(block.seen_stop))
    given = torch.from_numpy(part)[None, None].to(next(network.parameters()).device)
    with torch.inference_mode():
        pooled = nn.Sequential(network.pairs[0], nn.MaxPool3d(2))
        return _from_half(network, tiled(network.pairs[1], tiled(pooled, given, tile_vox, 2), tile_vox), tile_vox)


def moved(network: Sp3dNet, levels: Levels, shift: Shift, tile_vox: int) -> Levels:
    """The features where cells begin later by so many voxels, which are even; there is one less of them then.

    Those at half resolution, which are most of the work, are the same.
    """
    if not any(shift):
        return levels
    kept = (slice(a // 2, n - (-a % CELL) // 2) for a, n in zip(shift, levels.half.shape[2:], strict=True))
    return _from_half(network, levels.half[(slice(None), slice(None), *kept)], tile_vox)


def shifts(looks: int) -> list[Shift]:
    """By how many voxels cells begin later in each of 1, 2, 4 or 8 looks, evenly over a cell; in the first by none."""
    along = [(n * CELL // min(looks, 4) * np.array((1, 1, 3))) % CELL for n in range(min(looks, 4))]
    besides = [np.array((0, CELL // 2, CELL // 2))] if looks == 8 else []
    spread = along + [(one + more) % CELL for more in besides for one in along]
    return [(int(i), int(j), int(k)) for i, j, k in spread]


def log_likely(network: Sp3dNet, levels: Levels, tile_vox: int) -> torch.Tensor:
    """(D, H, W) logarithms of how likely a point is in each voxel."""
    shape = levels.eighth.shape[2:]
    out = torch.empty([CELL * n for n in shape], device=levels.eighth.device)

    def fill(tile: Tile) -> None:
        parts = [_cut(one, _scaled(tile.outer, by)) for one, by in zip(levels, (4, 2, 1), strict=True)]
        found = log_shuffled(network.detector(Levels(*parts)))[0]
        out[_scaled(tile.inner, CELL)] = found[_scaled(tile.within, CELL)]

    over(_tiles(shape, max(1, tile_vox // TILE_OF_CELLS), 1), fill)
    return out


def tiled(layers: nn.Module, given: torch.Tensor, side: int, shrink: int = 1) -> torch.Tensor:
    """(1, C, D / shrink, ...): what two convolutions make of (1, C, D, H, W), worked out in tiles.

    shrink  voxels along a side that become one; sides are multiples of it
    """
    shape = given.shape[2:]
    channels = max(one.out_channels for one in layers.modules() if isinstance(one, nn.Conv3d))
    size = (1, channels, *(n // shrink for n in shape))
    out = torch.empty(size, device=given.device, memory_format=torch.channels_last_3d)

    def fill(tile: Tile) -> None:
        found = layers(_cut(given, tile.outer))[0]
        out[0][(slice(None), *_divided(tile.inner, shrink))] = found[(slice(None), *_divided(tile.within, shrink))]

    over(_tiles(shape, max(shrink, side - side % shrink), PAIR), fill)
    return out


def over(things: Sequence[Thing], work: Callable[[Thing], Any]) -> None:
    """Calls `work` with each of some things, from several threads, in inference mode.

    Each thread leaves torch one of its own: torch's would spin while they wait, and results would depend on their
    number.
    """

    def some(start: int, stop: int) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            for thing in things[start:stop]:
                work(thing)

    over_planes(some, len(things))


def _tiles(shape: torch.Size, side: int, halo: int) -> list[Tile]:
    found = []
    for start in product(*(range(0, n, side) for n in shape)):
        stop = [min(a + side, n) for a, n in zip(start, shape)]
        low = [max(0, a - halo) for a in start]
        high = [min(n, b + halo) for b, n in zip(stop, shape)]
        within = tuple(slice(a - c, b - c) for a, b, c in zip(start, stop, low))
        found.append(Tile(tuple(map(slice, start, stop)), tuple(map(slice, low, high)), within))
    return found


def _from_half(network: Sp3dNet, half: torch.Tensor, tile_vox: int) -> Levels:
    with torch.inference_mode():
        quarter = tiled(network.pairs[2], functional.max_pool3d(half, 2), tile_vox)
        return Levels(half, quarter, tiled(network.pairs[3], functional.max_pool3d(quarter, 2), tile_vox))


def _cut(given: torch.Tensor, voxels: Slices) -> torch.Tensor:
    return given[(slice(None), slice(None), *voxels)].contiguous(memory_format=torch.channels_last_3d)


def _scaled(voxels: Slices, by: int) -> Slices:
    return tuple(slice(by * one.start, by * one.stop) for one in voxels)


def _divided(voxels: Slices, by: int) -> Slices:
    return tuple(slice(one.start // by, one.stop // by) for one in voxels)


def _refuse(needed: float, config: Sp3dConfig) -> NoReturn:
    raise BadInput(
        f"{config.memory_gb:g} GB do not hold the features of a block and what it depends on",
        f"--memory-gb {np.ceil(needed / 1e7) / 100:g}",
    )


def _with_halo(start: tuple[int, ...], stop: tuple[int, ...], cells: np.ndarray) -> Block:
    seen_start = tuple(max(0, a - HALO) for a in start)
    return Block(start, stop, seen_start, tuple(min(int(n), b + HALO) for b, n in zip(stop, cells)))
