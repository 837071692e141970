"""A volume to its keypoints, by the detector that a name stands for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from homolog.errors import BadInput
from homolog.features.selection import ranked
from homolog.methods import DETECTOR_OPTIONS, DETECTORS, resolve
from homolog.pipelines import describe as learned
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume


def detect(
    volume: Volume,
    *,
    method: str = "surf3d",
    config: Any = None,
    mask: Volume | None = None,
    descriptor: str | None = None,
) -> Keypoints:
    """The keypoints of a picture, strongest first.

    method      a name in `methods.DETECTORS`
    config      the method's own Config; its defaults where none is given
    mask        labels in the picture's space, 0 where no point is wanted
    descriptor  what points are described by in place of the method: a name in `methods.DESCRIPTORS`, or weights
    """
    work = _function(method, "detect")
    if descriptor is None:
        found: Keypoints = work(volume, **_chosen(config), mask=mask)
        return found
    chosen = options_of(method)() if config is None else config
    return _learned(volume, work(volume, config=replace(chosen, descriptors=False), mask=mask), descriptor, chosen)


def describe(
    volume: Volume,
    keypoints: Keypoints,
    *,
    method: str = "surf3d",
    config: Any = None,
    descriptor: str | None = None,
) -> Keypoints:
    """Given points with descriptors of the picture around them, row by row; they need scales."""
    work = _function(method, "describe")
    if descriptor is not None:
        return _learned(volume, keypoints, descriptor, config)
    found: Keypoints = work(volume, keypoints, **_chosen(config))
    return found


def _learned(volume: Volume, keypoints: Keypoints, descriptor: str, config: Any) -> Keypoints:
    found = learned.describe(volume, keypoints, descriptor)
    if not getattr(config, "rank", False):
        return found
    assert found.descriptors is not None
    return replace(found, descriptors=ranked(found.descriptors))


def options_of(method: str) -> Any:
    """The Config of a detector."""
    _require_known(method)
    return resolve(DETECTOR_OPTIONS[method])


def _require_known(method: str) -> None:
    if method not in DETECTORS:
        raise BadInput(f"no detector is called {method!r}", " or ".join(sorted(DETECTORS)))


def _function(method: str, name: str) -> Any:
    _require_known(method)
    # both functions of a detector live in one module; the table names the first
    return resolve(f"{DETECTORS[method].partition(':')[0]}:{name}")


def _chosen(config: Any) -> dict[str, Any]:
    return {} if config is None else {"config": config}
