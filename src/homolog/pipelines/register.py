"""Two volumes: the engine that a name stands for, run on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homolog.errors import BadInput
from homolog.methods import PAIRWISE, resolve
from homolog.space.registration import Registration
from homolog.space.transforms import Transform
from homolog.space.volume import Volume


def register(
    fixed: Volume,
    moving: Volume,
    *,
    method: str = "linear",
    config: Any = None,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    start: Transform | None = None,
    on_step: Callable[[str, float, float], None] | None = None,
) -> Registration:
    """The map that lays the moving patient on the fixed one.

    method                   a name in `methods.PAIRWISE`
    config                   the method's own Config; its defaults where none is given
    fixed_mask, moving_mask  labels in the picture's space, 0 where it is not to be looked at
    start                    a map to begin from, moving from fixed
    on_step                  called with the stage's name, how far it is (0 to 1), and what the method makes small
    """
    if method not in PAIRWISE:
        raise BadInput(f"no method is called {method!r}", f"--method {' or '.join(sorted(PAIRWISE))}")
    engine = resolve(PAIRWISE[method])
    chosen = {} if config is None else {"config": config}
    return engine(fixed, moving, **chosen, fixed_mask=fixed_mask, moving_mask=moving_mask, start=start, on_step=on_step)
