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
    "sp3d": "homolog.pipelines.sp3d:detect",
}
DETECTOR_OPTIONS = {
    "surf3d": "homolog.features.configs:Surf3dConfig",
    "sift3d": "homolog.features.configs:Sift3dConfig",
    "sp3d": "homolog.features.configs:Sp3dConfig",
}

# From a volume and keypoints of it to what they are described by, in place of the detector's own descriptors. Each is
# called as its weights are.
DESCRIPTORS = {
    "patch": "homolog.pipelines.describe:patch",
    "patch-paper": "homolog.pipelines.describe:patch_paper",
}

# From the keypoints and matches of many volumes to a map of each to their common space.
GROUPWISE = {
    "frog": "homolog.groupwise.frog:register",
}
GROUPWISE_OPTIONS = {
    "frog": "homolog.groupwise.configs:FrogConfig",
}

# From a volume and X-rays of it to where it lies in them.
PROJECTIVE = {
    "auto": "homolog.pipelines.align:auto",
    "gradient": "homolog.projective.climbing:align",
    "cmaes": "homolog.projective.evolution:align",
    "prost": "homolog.pipelines.align:prost",
}
PROJECTIVE_OPTIONS = {
    "auto": "homolog.projective.configs:AutoConfig",
    "gradient": "homolog.projective.configs:GradientConfig",
    "cmaes": "homolog.projective.configs:CmaesConfig",
    "prost": "homolog.projective.configs:ProstConfig",
}


def resolve(name: str) -> Callable[..., Any]:
    """The function or class that a table names, as "module:function"."""
    module, function = name.split(":")
    return getattr(import_module(module), function)
