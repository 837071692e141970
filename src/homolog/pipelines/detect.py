"""A volume to its keypoints, by the detector that a name stands for."""

from __future__ import annotations

from typing import Any

from homolog.errors import BadInput
from homolog.methods import DETECTORS, resolve
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume


def detect(volume: Volume, *, method: str = "surf3d", config: Any = None, mask: Volume | None = None) -> Keypoints:
    """The keypoints of a picture, strongest first.

    method  a name in `methods.DETECTORS`
    config  the method's own Config; its defaults where none is given
    mask    labels in the picture's space, 0 where no point is wanted
    """
    found: Keypoints = _function(method, "detect")(volume, **_chosen(config), mask=mask)
    return found


def describe(volume: Volume, keypoints: Keypoints, *, method: str = "surf3d", config: Any = None) -> Keypoints:
    """Given points with descriptors of the picture around them, row by row; they need scales."""
    found: Keypoints = _function(method, "describe")(volume, keypoints, **_chosen(config))
    return found


def _function(method: str, name: str) -> Any:
    if method not in DETECTORS:
        raise BadInput(f"no detector is called {method!r}", f"--method {' or '.join(sorted(DETECTORS))}")
    # both functions of a detector live in one module; the table names the first
    return resolve(f"{DETECTORS[method].partition(':')[0]}:{name}")


def _chosen(config: Any) -> dict[str, Any]:
    return {} if config is None else {"config": config}
