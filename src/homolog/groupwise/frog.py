"""Many images drawn together by their keypoints, none of them the template: FROG.

Agier, Valette, Kéchichian, Fanton and Prost, "Hubless keypoint-based 3D deformable groupwise registration", Med. Image
Anal. 59:101564, 2020. Every match of two images has two half-edges, one at each end; what is made small is the
weighted mean square distance between the ends in a common space, E = sqrt(sum w^2 |T_a a - T_b b|^2 / sum w^2), where
w follows from a mixture of right and wrong matches, one for each image. First linear maps, then splines on finer and
finer lattices.

`compat="frog"` is the published program. The default departs from it, and docs/methods/frog.md says by how much: points
that stand in many matches lose them, patients are first put where their matches agree, the linear maps may turn and
shear, steps are longer, and a level ends when nothing is gained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.groupwise import fitting, linear, splines, starting
from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.edges import Cloud, Pairs, cloud, without
from homolog.groupwise.group import COMMON, Group
from homolog.groupwise.splines import Drawn
from homolog.groupwise.state import Marks, Mixtures, Trace, counted
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Affine, BSpline, Transform, chain

OnStep = Callable[[str, float, float], None]


def register(
    keypoints: Sequence[Keypoints],
    matches: Pairs,
    config: FrogConfig = FrogConfig(),
    *,
    landmarks: Sequence[Keypoints | None] | None = None,
    on_step: OnStep | None = None,
    device: str = "cpu",
) -> Group:
    """Maps of all images to their common space.

    keypoints  one set an image
    matches    (i, j) with i < j -> rows of the i-th and the j-th keypoints
    landmarks  one set an image, or None: only for the trace, which says how near they come to each other
    on_step    called with the stage's name, how far the work is (0 to 1), and the energy in mm
    device     "cpu", or what torch calls the one to work on: "cuda"
    """
    began = time.perf_counter()
    _require_sensible(keypoints, matches, config, landmarks)
    config = config.chosen()
    whole = cloud(keypoints, matches, config.most_matches)
    marks = None if landmarks is None else Marks.of(landmarks)
    trace = Trace(marks, on_step, config.linear_steps + config.levels * config.steps)
    mixtures = Mixtures.of(len(whole))
    boxes = linear.boxes(whole)
    start, astray = boxes, dict[int, str]()
    if config.compat is None:
        found = starting.agreed(whole, matches, config.most_matches, boxes)
        start = found.matrices if config.start == "agreement" else boxes
        astray = dict.fromkeys(np.flatnonzero(~found.belongs).tolist(), fitting.STRANGE)
    used = without(whole, list(astray))
    there = used.on(device)
    matrices, settled = linear.settled(there, start, mixtures, config, trace)
    if config.compat is None and (lost := fitting.lost(matrices, mixtures, astray)):
        # they pulled at the others as long as they were among them
        astray |= lost
        used = without(whole, list(astray))
        there = used.on(device)
        matrices[list(lost)] = start[list(lost)]
        matrices, settled = linear.settled(there, matrices, mixtures, config, trace)
    position = linear.carried(matrices, whole.position, whole.start)
    carried = None if marks is None else linear.carried(matrices, marks.position, marks.start)
    after_linear = counted(there, position)
    free = ~np.isin(np.arange(len(whole)), list(astray))
    drawn = splines.drawn(there, position, carried, mixtures, config, trace, free=free, centred=True)
    mixtures.refresh(there, drawn.position)
    weight, fits = fitting.judged(keypoints, whole, used, drawn.position, mixtures, astray)
    return Group(
        common_from_image=tuple(whole_map(n, points.space, matrices, drawn) for n, points in enumerate(keypoints)),
        linear=tuple(Affine(matrix, points.space, COMMON) for matrix, points in zip(matrices, keypoints)),
        fits=fits,
        trace=tuple(trace.steps),
        histograms={"linear": fitting.by_millimetre(after_linear), "end": fitting.by_millimetre(mixtures.counts)},
        weights=_given(matches, used, weight),
        seconds=time.perf_counter() - began,
        stopped="converged" if settled and drawn.converged else "max_steps",
    )


def _require_sensible(
    keypoints: Sequence[Keypoints], matches: Pairs, config: FrogConfig, landmarks: Sequence[Keypoints | None] | None
) -> None:
    if len(keypoints) < 2:
        raise BadInput(f"a group has at least two images, got {len(keypoints)}", "name more volumes")
    spaces = [points.space for points in keypoints]
    double = next((space for space in spaces if spaces.count(space) > 1), None)
    if double is not None:
        raise BadInput(f"two images are both called '{double}'", "renamed spaces: replace(points, space=...)")
    for points in keypoints:
        if not len(points):
            raise BadInput(f"'{points.space}' has no keypoints", "leave it out, or look for them at a finer sampling")
        if not np.isfinite(points.position).all():
            raise BadInput(f"keypoints of '{points.space}' lie at NaN or infinite places")
    if landmarks is not None and len(landmarks) != len(keypoints):
        raise BadInput(f"landmarks are of {len(landmarks)} images, keypoints of {len(keypoints)}", "None where missing")
    for points, marks in zip(keypoints, landmarks or ()):
        if marks is not None and marks.space != points.space:
            raise SpaceMismatch(f"landmarks in '{marks.space}', keypoints in '{points.space}'", "bring them in order")
        if marks is not None and not np.isfinite(marks.position).all():
            raise BadInput(f"landmarks of '{points.space}' lie at NaN or infinite places", "leave these out")
    if not any(len(pair) for pair in matches.values()):
        raise BadInput("no two images have any match", "are they of the same part of the body?")
    if not (config.spacing_mm > 0 and config.levels >= 0 and config.rate > 0 and config.steps > 0):
        raise BadInput(
            f"splines want a spacing, steps and a rate above 0, got {config.spacing_mm}, {config.steps}, {config.rate}"
        )


def whole_map(image: int, space: str, matrices: np.ndarray, drawn: Drawn) -> Transform:
    """The affine map first, then each layer of splines."""
    layers = [BSpline(layer.coefficients[image], layer.grid) for layer in drawn.layers]
    return chain([*reversed(layers), Affine(matrices[image])], fixed=space, moving=COMMON)


def _given(matches: Pairs, used: Cloud, weight: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """By the pairs and rows as they were given; 0 for those that were left out."""
    out = {pair: np.zeros(len(each)) for pair, each in matches.items()}
    for block, (kept, pair) in enumerate(zip(used.kept, used.edges.images.tolist())):
        out[pair[0], pair[1]][kept] = weight[used.edges.start[block] : used.edges.start[block + 1]]
    return out
