"""Many volumes to a map each: their keypoints, the matches of all pairs or of some, and all of them drawn together.

`homolog group` does the same by tasks whose results are files. This is for volumes that are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from homolog.errors import BadInput
from homolog.groupwise.configs import MOST_KEYPOINTS, SAMPLING_MM
from homolog.groupwise.group import Group
from homolog.matching import partners as graphs
from homolog.matching import signature
from homolog.matching.configs import EITHER, MatchConfig
from homolog.matching.nearest import match
from homolog.methods import DETECTOR_OPTIONS, GROUPWISE, resolve
from homolog.pipelines.detect import detect
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume


def group(
    volumes: Sequence[Volume],
    *,
    method: str = "frog",
    config: Any = None,
    detector: str = "surf3d",
    detector_config: Any = None,
    descriptor: str | None = None,
    matching: MatchConfig = EITHER,
    partners: int | None = None,
    masks: Sequence[Volume | None] | None = None,
    landmarks: Sequence[Keypoints | None] | None = None,
    on_step: Callable[[str, float, float], None] | None = None,
) -> Group:
    """The maps of volumes, each in a space of its own, to their common space.

    method, config             a name in `methods.GROUPWISE`, and its Config
    detector, detector_config  a name in `methods.DETECTORS`, and its Config; default a millimetre, 10 000 points
    descriptor  what keypoints are described by in place of the detector: a name in `methods.DESCRIPTORS`, or weights
    partners   with how many others each is matched; default all
    masks      one a volume or None: labels, 0 where no keypoint is wanted
    landmarks  one set a volume or None: they are looked at, and decide nothing
    on_step    called with the stage's name, how far the drawing together is (0 to 1), and the energy in mm
    """
    if method not in GROUPWISE:
        raise BadInput(f"no groupwise method is called {method!r}", " or ".join(sorted(GROUPWISE)))
    chosen = _detector_config(detector) if detector_config is None else detector_config
    found = [
        detect(volume, method=detector, config=chosen, mask=mask, descriptor=descriptor)
        for volume, mask in zip(volumes, masks or [None] * len(volumes), strict=True)
    ]
    matches = {(i, j): match(found[i], found[j], matching) for i, j in _pairs(found, partners)}
    options = {} if config is None else {"config": config}
    done: Group = resolve(GROUPWISE[method])(found, matches, **options, landmarks=landmarks, on_step=on_step)
    return done


def _detector_config(detector: str) -> Any:
    if detector not in DETECTOR_OPTIONS:
        raise BadInput(f"no detector is called {detector!r}", " or ".join(sorted(DETECTOR_OPTIONS)))
    plain = resolve(DETECTOR_OPTIONS[detector])()
    # a network has voxels of its own, which it was trained on
    sampling = {"sampling_mm": SAMPLING_MM} if getattr(plain, "sampling_mm", 0.0) is None else {}
    return replace(plain, most=MOST_KEYPOINTS, **sampling)


def _pairs(found: Sequence[Keypoints], partners: int | None) -> list[tuple[int, int]]:
    if partners is None:
        return list(combinations(range(len(found)), 2))
    vocabulary = signature.words(found)
    alike = signature.likeness(np.array([signature.of(points, vocabulary) for points in found]))
    return [(int(i), int(j)) for i, j in graphs.chosen(len(found), partners, alike)]
