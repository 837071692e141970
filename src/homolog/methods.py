"""Every method by its name: where its function lives, and its options. A new method is one line in each table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

PAIRWISE = {
    "linear": "homolog.pairwise.linear:register",
    "keypoint": "homolog.pipelines.keypoint:register",
}
# The frozen Config of each, whose fields are its flags; it lies where nothing heavy is imported.
PAIRWISE_OPTIONS = {
    "linear": "homolog.pairwise.configs:LinearConfig",
    "keypoint": "homolog.pairwise.configs:KeypointConfig",
}

# From a volume to its keypoints.
DETECTORS = {
    "surf3d": "homolog.features.surf3d:detect",
    "sift3d": "homolog.features.sift3d:detect",
}
DETECTOR_OPTIONS = {
    "surf3d": "homolog.features.configs:Surf3dConfig",
    "sift3d": "homolog.features.configs:Sift3dConfig",
}

# From the keypoints and matches of many volumes to a map of each to their common space.
GROUPWISE = {
    "frog": "homolog.groupwise.frog:register",
}
GROUPWISE_OPTIONS = {
    "frog": "homolog.groupwise.configs:FrogConfig",
}


def resolve(name: str) -> Callable[..., Any]:
    """The function or class that a table names, as "module:function"."""
    module, function = name.split(":")
    return getattr(import_module(module), function)
