"""The detectors and the descriptors that are compared, each called as its users call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from homolog import Keypoints, Volume, weights
from homolog.features import sift3d, surf3d
from homolog.features.configs import Sift3dConfig, Sp3dConfig, Surf3dConfig
from homolog.pipelines import describe, sp3d

# FROG's own: voxels in mm, and points at most
SAMPLING_MM, MOST = 0.75, 20_000
# The scale that points without one are described at, and the widest that any are: 3D-SURF's cubes on its fine voxels
# have an end, and some of 3D-SIFT's points are wider.
POINT_SCALE_MM, WIDEST_MM = 3.0, 19.0
# What comes along, by the names that figures have.
SHIPPED = {"sp3d": "sp3d", "sp3d_pt": "sp3d-pt", "patch": "patch", "patch_paper": "patch-paper"}

# A scan and a mask -> points with descriptors; a scan and points -> the same with other descriptors.
Detect = Callable[[Volume, Volume | None], Keypoints]
Describe = Callable[[Volume, Keypoints], Keypoints]


def trained(given: Mapping[str, str]) -> dict[str, str]:
    """Name -> weights: those that are given, and else what comes along."""
    return {
        name: given.get(name, which) for name, which in SHIPPED.items() if name in given or which in weights.names()
    }


def detectors(networks: Mapping[str, str], most: int = MOST, **looked: Any) -> dict[str, Detect]:
    """By name; sp3d_pt has learned no descriptors, so its points get 3D-SURF's.

    looked  more options of SP3D
    """
    kept = {"most": most}
    known: dict[str, Detect] = {
        "surf3d": lambda scan, mask: surf3d.detect(scan, Surf3dConfig(sampling_mm=SAMPLING_MM, **kept), mask=mask),
        "sift3d": lambda scan, mask: sift3d.detect(scan, Sift3dConfig(**kept), mask=mask),
        "surf3d_1mm": lambda scan, mask: surf3d.detect(scan, Surf3dConfig(sampling_mm=1.0, **kept), mask=mask),
        "surf3d_own_voxels": lambda scan, mask: surf3d.detect(scan, Surf3dConfig(**kept), mask=mask),
    }
    if "sp3d_pt" in networks:
        known["sp3d_pt"] = partial(
            _by_shapes, Sp3dConfig(weights=networks["sp3d_pt"], descriptors=False, **kept, **looked)
        )
    if "sp3d" in networks:
        known["sp3d"] = partial(_by_network, Sp3dConfig(weights=networks["sp3d"], **kept, **looked))
    return known


def describers(networks: Mapping[str, str]) -> dict[str, Describe]:
    known: dict[str, Describe] = {
        "surf3d": lambda scan, points: surf3d.describe(scan, points, Surf3dConfig(sampling_mm=SAMPLING_MM)),
        "sift3d": lambda scan, points: sift3d.describe(scan, points),
    }
    for name in ("patch_paper", "patch"):
        if name in networks:
            known[name] = partial(describe.patch, weights=networks[name])
    if "sp3d" in networks:
        config = Sp3dConfig(weights=networks["sp3d"])
        known["sp3d"] = lambda scan, points: sp3d.describe(scan, points, config)
    return {name: partial(_scaled, way) for name, way in known.items()}


def _by_network(config: Sp3dConfig, scan: Volume, mask: Volume | None) -> Keypoints:
    return sp3d.detect(scan, config, mask=mask)


def _by_shapes(config: Sp3dConfig, scan: Volume, mask: Volume | None) -> Keypoints:
    return describers({})["surf3d"](scan, sp3d.detect(scan, config, mask=mask))


def _scaled(way: Describe, scan: Volume, points: Keypoints) -> Keypoints:
    scale = points.scale if points.scale is not None else np.full(len(points), POINT_SCALE_MM)
    return way(scan, replace(points, scale=np.minimum(scale, WIDEST_MM), descriptors=None))
