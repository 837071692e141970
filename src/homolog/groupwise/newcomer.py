"""One more patient in a finished group, whose maps stay as they are.

The group's keypoints lie in the common space already. The newcomer is laid on all of them at once: by the similarity
that most matches agree on, then by the stages of FROG in which only the newcomer moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.groupwise import fitting, linear, splines, starting
from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.edges import Cloud, cloud, surest
from homolog.groupwise.frog import whole_map
from homolog.groupwise.group import COMMON, Group
from homolog.groupwise.state import Mixtures, Trace, counted
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.transforms import Affine, Transform

OnStep = Callable[[str, float, float], None]


def place(
    newcomer: Keypoints,
    group_keypoints: Sequence[Keypoints],
    common_from_image: Sequence[Transform],
    matches: Sequence[Matches],
    config: FrogConfig = FrogConfig(),
    *,
    on_step: OnStep | None = None,
    device: str = "cpu",
) -> Group:
    """The newcomer's map to the common space, as a group of one image.

    group_keypoints, common_from_image   of the images of the group that it is matched with
    matches  with each of them: rows of the newcomer, and of that image
    on_step  called with the stage's name, how far the work is (0 to 1), and the energy in mm
    device   "cpu", or what torch calls the one to work on: "cuda"
    """
    began = time.perf_counter()
    _require_sensible(newcomer, group_keypoints, common_from_image, matches)
    config = config.chosen()
    carried = [
        points.moved_to(common.apply(points.position), points.space)
        for points, common in zip(group_keypoints, common_from_image)
    ]
    last = len(carried)
    pairs = {(n, last): replace(each, pairs=each.pairs[:, ::-1]) for n, each in enumerate(matches) if len(each)}
    whole = cloud([*carried, newcomer], pairs, config.most_matches)
    free = np.arange(last + 1) == last
    start, is_stranger = _start(whole, {ends: surest(each, config.most_matches) for ends, each in pairs.items()}, last)
    trace = Trace(None, on_step, config.linear_steps + config.levels * config.steps)
    mixtures = Mixtures.of(len(whole))
    there = whole.on(device)
    matrices, settled = linear.settled(there, start, mixtures, config, trace, held=~free)
    position = linear.carried(matrices, whole.position, whole.start)
    after_linear = counted(there, position)
    drawn = splines.drawn(there, position, None, mixtures, config, trace, free=free, centred=False)
    mixtures.refresh(there, drawn.position)
    said = fitting.STRANGE if is_stranger else fitting.stretched(matrices[last])
    astray = {last: said} if said else {}
    _, fits = fitting.judged([*carried, newcomer], whole, whole, drawn.position, mixtures, astray)
    space = newcomer.space
    straight = Affine(start[last] if said else matrices[last], space, COMMON)
    return Group(
        common_from_image=(straight if said else whole_map(last, space, matrices, drawn),),
        linear=(straight,),
        fits=(fits[last],),
        trace=tuple(trace.steps),
        histograms={
            "linear": fitting.by_millimetre(after_linear[last:]),
            "end": fitting.by_millimetre(mixtures.counts[last:]),
        },
        weights={},
        seconds=time.perf_counter() - began,
        stopped="converged" if settled and drawn.converged else "max_steps",
    )


def _start(whole: Cloud, sure: dict[tuple[int, int], np.ndarray], last: int) -> tuple[np.ndarray, bool]:
    """(N + 1, 4, 4): where matches with all images agree that the newcomer lies; and whether they do not agree."""
    here = np.concatenate([whole.of(last)[each[:, 1]] for each in sure.values()])
    there = np.concatenate([whole.of(ends[0])[each[:, 0]] for ends, each in sure.items()])
    found = starting.agreement(here, there)
    matrices = np.tile(np.eye(4), (last + 1, 1, 1))
    is_stranger = found.lead < starting.LEAD
    if is_stranger:
        own, others = whole.of(last), whole.position[: whole.start[last]]
        matrices[last, :3, 3] = others.mean(axis=0) - own.mean(axis=0)
    else:
        matrices[last] = found.matrix
    return matrices, is_stranger


def _require_sensible(
    newcomer: Keypoints,
    group_keypoints: Sequence[Keypoints],
    common_from_image: Sequence[Transform],
    matches: Sequence[Matches],
) -> None:
    if not len(group_keypoints) == len(common_from_image) == len(matches) > 0:
        raise BadInput(
            f"a newcomer needs keypoints, a map and matches of each image of the group, got {len(group_keypoints)}, "
            f"{len(common_from_image)} and {len(matches)}"
        )
    for points, common in zip(group_keypoints, common_from_image):
        if common.fixed != points.space:
            raise SpaceMismatch(
                f"keypoints of '{points.space}', but the map {common.describe()}", "bring them in order"
            )
    if not len(newcomer):
        raise BadInput(f"'{newcomer.space}' has no keypoints", "look for them at a finer sampling")
    for points in (newcomer, *group_keypoints):
        if not np.isfinite(points.position).all():
            raise BadInput(f"keypoints of '{points.space}' lie at NaN or infinite places", "leave these out")
    if not any(len(each) for each in matches):
        raise BadInput(f"'{newcomer.space}' has no match with any image of the group", "is it of the same body part?")
