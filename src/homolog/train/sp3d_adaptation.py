"""Which points a network finds again under many warps: homographic adaptation (DeTone et al., 2018) in 3D.

Points of the volume itself are scored by how likely they are in its warps, on average over those that show them;
published is the mean of whole maps of probabilities, of which these are the peaks.
"""

from __future__ import annotations

import copy
import zlib

import numpy as np
from scipy.spatial import cKDTree

from homolog.features import sp3d
from homolog.features.configs import Sp3dConfig as LookConfig
from homolog.nets.sp3d import Sp3dNet, built
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume
from homolog.synth.pairs import semi_synthetic
from homolog.train.configs import Sp3dConfig
from homolog.train.sp3d_data import Teacher

# A point of a warp is the volume's own where it comes back within this of it, in voxels.
SAME_VOX = 2.0
# Points that fewer of the warps show than this share are not judged.
LEAST_SHOWN = 0.3


def adapting(network: Sp3dNet, config: Sp3dConfig) -> Teacher:
    """A teacher that knows what a network finds again, as it is now."""
    kept = built(network.config, copy.deepcopy(network.state_dict()))
    look = LookConfig(sampling_mm=config.voxel_mm, descriptors=False, border_mm=0.0)
    return lambda volume: adapted(kept, volume, config, look)


def adapted(network: Sp3dNet, volume: Volume, config: Sp3dConfig, look: LookConfig) -> Keypoints:
    """Points of a volume with the mean of their probabilities over its warps as response, likeliest first."""
    # the same points whenever a volume is looked at
    rng = np.random.default_rng(zlib.crc32(volume.numpy().tobytes()))
    found = sp3d.detect(volume, look, network=network)
    assert found.response is not None
    total, shown = found.response.copy(), np.ones(len(found))
    for _ in range(config.warps):
        drawn = semi_synthetic(volume, rng)
        there = sp3d.detect(drawn.moving, look, network=network)
        inside = drawn.moving.grid.contains(np.asarray(drawn.moving_from_fixed.apply(found.position)))
        total += inside * _likely(found.position, drawn.fixed_from_moving.apply(there.position), there, config)
        shown += inside
    judged = shown >= LEAST_SHOWN * (1 + config.warps)
    order = np.argsort(-np.where(judged, total / shown, 0.0), kind="stable")[: min(config.keypoints, int(judged.sum()))]
    return Keypoints(found.position[order], volume.space, response=(total / shown)[order])


def _likely(places: np.ndarray, back: np.ndarray, there: Keypoints, config: Sp3dConfig) -> np.ndarray:
    """(N,): how likely what came back to each place is; 0 where nothing did."""
    assert there.response is not None
    if not len(back):
        return np.zeros(len(places))
    distance, row = cKDTree(back).query(places)
    return np.where(distance <= SAME_VOX * config.voxel_mm, there.response[row], 0.0)
