"""Two volumes: the engine that a name stands for, run on them, from their keypoints if that is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from homolog.errors import BadInput
from homolog.methods import PAIRWISE, resolve
from homolog.pairwise.configs import KeypointConfig
from homolog.space.registration import Registration
from homolog.space.transforms import Transform
from homolog.space.volume import Volume

log = logging.getLogger("homolog")

OnStep = Callable[[str, float, float], None]
# Of the whole work, what keypoints take where another method goes on from them.
SHARE_OF_KEYPOINTS = 0.3


def register(
    fixed: Volume,
    moving: Volume,
    *,
    method: str = "linear",
    config: Any = None,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    start: Transform | Literal["keypoint"] | None = None,
    on_step: OnStep | None = None,
) -> Registration:
    """The map that lays the moving patient on the fixed one.

    method                   a name in `methods.PAIRWISE`
    config                   the method's own Config; its defaults where none is given
    fixed_mask, moving_mask  labels in the picture's space, 0 where it is not to be looked at
    start                    a map to begin from, moving from fixed; "keypoint": the affine map of keypoints, or the
                             method's own search where that map is in doubt
    on_step                  called with the stage's name, how far it is (0 to 1), and what the method makes small
    """
    if method not in PAIRWISE:
        raise BadInput(f"no method is called {method!r}", f"--method {' or '.join(sorted(PAIRWISE))}")
    masks = {"fixed_mask": fixed_mask, "moving_mask": moving_mask}
    chosen = {} if config is None else {"config": config}
    engine = resolve(PAIRWISE[method])
    if start != "keypoint":
        done: Registration = engine(fixed, moving, **chosen, **masks, start=start, on_step=on_step)
        return done
    if method == "keypoint":
        raise BadInput("keypoints cannot begin from themselves", "--method linear --start keypoint, or no --start")
    begun = _by_keypoints(fixed, moving, masks, _part(on_step, 0.0, SHARE_OF_KEYPOINTS))
    last = _part(on_step, SHARE_OF_KEYPOINTS, 1.0)
    near = None if begun.is_poor else begun.moving_from_fixed
    done = engine(fixed, moving, **chosen, **masks, start=near, on_step=last)
    trace = done.trace if begun.is_poor else (*begun.trace, *done.trace)
    return replace(done, trace=trace, seconds=begun.seconds + done.seconds)


def _by_keypoints(fixed: Volume, moving: Volume, masks: dict[str, Any], on_step: OnStep | None) -> Registration:
    found: Registration = resolve(PAIRWISE["keypoint"])(
        fixed, moving, KeypointConfig(kind="affine"), **masks, on_step=on_step
    )
    if found.is_poor:
        log.warning("no start from keypoints, the method searches for its own: %s", "; ".join(found.doubts))
    return found


def _part(on_step: OnStep | None, low: float, high: float) -> OnStep | None:
    """Tells of a part of the work as of that much of the whole."""
    if on_step is None:
        return None
    return lambda stage, fraction, energy: on_step(stage, low + (high - low) * fraction, energy)
