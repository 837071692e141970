"""3D-SURF: blobs found by box filters, and upright descriptors of them.

The detector and descriptor of Agier et al., "Hubless keypoint-based 3D deformable groupwise registration", Med. Image
Anal. 59:101564, 2020, after Bay et al., "Speeded-up robust features", CVIU 110:346, 2008. Departures, unless
`compat="frog"`: two mixed derivatives are not exchanged, neighbours along the third axis are compared as all others
are, and headers are honoured whatever their axes. docs/methods/surf3d.md has the equations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from homolog.errors import BadInput
from homolog.features.configs import Surf3dConfig
from homolog.features.differences import derivatives
from homolog.features.given import known, require_inside, require_scales
from homolog.features.selection import inside_mask, ranked, strongest
from homolog.features.surf_lattice import Lattice, lattice_of, source_of
from homolog.kernels import box_gradients, box_hessian, box_maxima, interpolate
from homolog.kernels.box_hessian import Layer
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume

# Voxels: each filter's width, and how far apart it is evaluated.
WIDTHS = (9, 15, 21, 27, 39, 51, 75, 99, 147, 195)
STEPS = (2, 2, 2, 2, 4, 4, 8, 8, 16, 16)
# The filters of each octave; two of the four have one finer and one coarser beside them.
OCTAVES = ((0, 1, 2, 3), (1, 3, 4, 5), (3, 5, 6, 7), (5, 7, 8, 9))
# Voxels that the shortest axis must have for a second, third and fourth octave.
ROOM = (102, 198, 390)
# A Gaussian's standard deviation for a filter's width: 1.2 voxels for 9.
SCALE = 0.1333
# Singular values below this share of the largest are taken for none.
FLAT = 1e-3
# Of a patch: how many scales to each side, and values along a side.
PATCH_REACH, PATCH_SIDE = 5, 10


def detect(volume: Volume, config: Surf3dConfig = Surf3dConfig(), *, mask: Volume | None = None) -> Keypoints:
    """The blobs of a picture, strongest first.

    mask  labels in the picture's space on any grid, 0 where no point is wanted
    """
    _require_options(config)
    lattice = lattice_of(volume, config)
    _require_room(lattice, volume)
    found = _detected(lattice, config, volume.space)
    found = found[inside_mask(found.position, mask, volume.space) & lattice.holds(found.position, known(found.scale))]
    found = found[strongest(found.position, known(found.response), config.most, config.spread_mm)]
    return _described(found, lattice, config) if config.descriptors else found


def describe(volume: Volume, keypoints: Keypoints, config: Surf3dConfig = Surf3dConfig()) -> Keypoints:
    """The same points with descriptors; their scales say how much of the picture each is described by."""
    _require_places(keypoints, volume)
    lattice = lattice_of(volume, config)
    _require_narrow(keypoints, lattice)
    return _described(keypoints, lattice, config)


def patches(volume: Volume, keypoints: Keypoints, config: Surf3dConfig = Surf3dConfig()) -> np.ndarray:
    """(N, 10, 10, 10) float32: intensities of the cube of five scales to each side of a point, one a scale.

    The cube lies along the lattice: its first two axes run against x and y, its third along z.
    """
    _require_places(keypoints, volume)
    source = source_of(volume, config)
    data = source.planes(0, source.grid.shape[0])
    last = np.array(data.shape) - 1
    places = np.arange(PATCH_SIDE) - PATCH_REACH + 0.5
    offsets = np.stack(np.meshgrid(places, places, places, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = source.grid.voxel(keypoints.position)
    scales = known(keypoints.scale) / float(source.grid.spacing_mm[0])
    found = np.empty((len(keypoints), len(offsets)), np.float32)
    for row, (centre, scale) in enumerate(zip(centres, scales)):
        found[row] = interpolate.sample(data, np.clip(centre + scale * offsets, 0, last), "linear", 0.0)
    return found.reshape(-1, *3 * (PATCH_SIDE,))


# ---------------------------------------------------------------------------------------------------------------------
# Detection


def _detected(lattice: Lattice, config: Surf3dConfig, space: str) -> Keypoints:
    """All blobs, in no order that means anything."""
    voxels, scale, response, sign = (np.concatenate(c) for c in zip(*_blobs(lattice, config), strict=True))
    return Keypoints(
        lattice.grid.world(voxels),
        space,
        scale=scale * lattice.spacing_mm,
        response=response / lattice.levels**3,
        sign=sign,
    )


def _blobs(lattice: Lattice, config: Surf3dConfig) -> Iterator[tuple[np.ndarray, ...]]:
    """`_refined` of each three neighbouring filters, finer ones first."""
    octaves = min(config.octaves, 1 + sum(min(lattice.grid.shape) >= room for room in ROOM))
    least = config.threshold * lattice.levels**3
    layers: dict[int, Layer] = {}
    for number, (octave, first) in enumerate(product(OCTAVES[:octaves], range(2))):
        chosen = octave[first : first + 3]
        # no filter is asked for again once it was left out, and at most three are held
        layers = {n: layers[n] for n in chosen if n in layers}
        for n in chosen:
            if n not in layers:
                layers[n] = box_hessian.layer(lattice.table, WIDTHS[n], STEPS[n], lattice.largest)
        # the finest filter of all is not compared with, nor the coarsest of a single octave
        use = (number > 0, True, octaves > 1 or first == 0)
        yield _strongest_places([layers[n] for n in chosen], least, use, config)


def _strongest_places(
    layers: list[Layer], least: float, use: tuple[bool, ...], config: Surf3dConfig
) -> tuple[np.ndarray, ...]:
    places = box_maxima.maxima(layers, _margin(*layers), least, use, skip=config.compat == "frog")
    return _refined(layers, places, config)


def _margin(below: Layer, middle: Layer, above: Layer) -> int:
    """Places at each end of an axis where a filter or a descriptor would reach beyond the picture."""

    def fits(layer: Layer) -> int:
        return int(np.ceil(box_hessian.rim(layer.width, layer.step) * layer.step / above.step))

    described = int((0.6666 * above.width + 2.5 * middle.step) / middle.step + 2)
    return max(fits(below), fits(middle), fits(above), described)


def _refined(layers: list[Layer], places: np.ndarray, config: Surf3dConfig) -> tuple[np.ndarray, ...]:
    """Voxels (N, 3), scales (N,) in voxels, responses and signs of the maxima of a parabola through the answers.

    Offsets of a place or a filter and more are none of this maximum.
    """
    below, middle, above = layers
    around = box_maxima.neighbourhoods(layers, places)
    offset = _offsets(around, exchanged=config.compat == "frog")
    good = (np.abs(offset) < 1).all(axis=1)
    places, offset, response = places[good], offset[good], around[good, 1, 1, 1, 1]
    voxels = (places + offset[:, :3]) * above.step
    scale = SCALE * (middle.width + offset[:, 3] * (middle.width - below.width))
    blob = middle.blob[tuple((places * (above.step // middle.step)).T)]
    return voxels, scale, response, np.where(blob == box_hessian.DARK, -1, 1).astype(np.int8)


def _offsets(around: np.ndarray, *, exchanged: bool) -> np.ndarray:
    """(N, 4) along x, y, z and scale: -H^+ g from central differences; `around` (N, 3, 3, 3, 3), scale first."""
    gradient, hessian = derivatives(np.moveaxis(around, 1, -1))
    if exchanged:
        xz, yz = hessian[:, 0, 2].copy(), hessian[:, 1, 2].copy()
        hessian[:, 0, 2] = hessian[:, 2, 0] = yz
        hessian[:, 1, 2] = hessian[:, 2, 1] = xz
    return -np.einsum("nab,nb->na", np.linalg.pinv(hessian, rcond=FLAT, hermitian=True), gradient)


# ---------------------------------------------------------------------------------------------------------------------
# Description


def _described(keypoints: Keypoints, lattice: Lattice, config: Surf3dConfig) -> Keypoints:
    voxels = lattice.grid.voxel(keypoints.position)
    found = box_gradients.describe(lattice.table, voxels, known(keypoints.scale) / lattice.spacing_mm)
    return replace(keypoints, descriptors=ranked(found) if config.rank else found)


def _require_options(config: Surf3dConfig) -> None:
    if config.octaves < 1:
        raise BadInput(f"{config.octaves} octaves find nothing", "--octaves 4")
    if np.isnan(config.threshold):
        raise BadInput("the threshold is no number", "--threshold 0")


def _require_room(lattice: Lattice, volume: Volume) -> None:
    least = 2 * (2 * _margin(*(Layer(w, 2, np.empty(0), np.empty(0)) for w in WIDTHS[:3])) + 1)
    if min(lattice.grid.shape) < least:
        size = " x ".join(map(str, lattice.grid.shape))
        finer = min(lattice.grid.shape) * lattice.spacing_mm / least
        raise BadInput(
            f"'{volume.space}' has {size} voxels of {lattice.spacing_mm:.3g} mm: the smallest filter and its "
            f"descriptor need {least} along each axis",
            f"--sampling-mm {np.floor(finer * 100) / 100:g}",
        )


def _require_places(keypoints: Keypoints, volume: Volume) -> None:
    require_scales(keypoints, volume)
    scale = known(keypoints.scale)
    if not (np.isfinite(keypoints.position).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise BadInput("points to be described need finite positions, and scales above 0 mm")
    require_inside(keypoints, volume)


def _require_narrow(keypoints: Keypoints, lattice: Lattice) -> None:
    """Raises where a descriptor's boxes would sum to more than 32 bits hold."""
    most_mm = box_gradients.widest(lattice.largest) * lattice.spacing_mm
    wide = known(keypoints.scale) > most_mm
    if wide.any():
        raise BadInput(
            f"{int(wide.sum())} of {len(keypoints)} points have scales above {most_mm:.3g} mm, the most that can be "
            f"described on voxels of {lattice.spacing_mm:.3g} mm",
            f"--sampling-mm {np.ceil(known(keypoints.scale).max() / most_mm * lattice.spacing_mm * 100) / 100:g}",
        )
