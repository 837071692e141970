"""The tasks of a group, which may run in other processes and on other machines: each reads files and leaves files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli.group_store import is_stored, read_stored_keypoints, write_stored_keypoints, write_stored_matches
from homolog.errors import BadInput
from homolog.io import keypoints as files
from homolog.io import volumes
from homolog.io.checks import require_contrast, require_finite
from homolog.io.files import content_hash
from homolog.matching.configs import MatchConfig
from homolog.matching.nearest import match
from homolog.pipelines.detect import detect
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.volume import Volume

# An image with fewer keypoints has too few to be placed by: a few matches agree on anything.
LEAST_KEYPOINTS = 20
# Matches of so many pairs are one task: a worker reads the keypoints of the image that they share once.
PAIRS_A_TASK = 16


@dataclass(frozen=True)
class KeypointTask:
    """An image to look at.

    given     a file of its keypoints, to be taken instead of looking for any
    method    the detector, whose Config `options` is
    describe  the weights of the network that describes them in its place
    target    where they are stored
    """

    path: Path
    space: str
    mask: Path | None
    given: Path | None
    method: str
    options: Any
    describe: str | None
    target: Path


@dataclass(frozen=True)
class MatchTask:
    """An image to be matched with several later ones.

    one, others    their stored keypoints
    targets        where the matches of each pair are stored
    """

    one: Path
    others: tuple[Path, ...]
    targets: tuple[Path, ...]
    matching: MatchConfig


def find_keypoints(task: KeypointTask) -> None:
    """Stores an image's keypoints; an image that nothing can be made of is an error that says why."""
    began = time.perf_counter()
    volume = volumes.read(task.path, space=task.space)
    require_finite(volume, str(task.path))
    require_contrast(volume, str(task.path))
    found = _given(task, volume) if task.given else _looked_for(task, volume)
    if len(found) < LEAST_KEYPOINTS:
        raise BadInput(
            f"{task.given or task.path} has {len(found)} keypoints, {LEAST_KEYPOINTS} at least are wanted",
            "is it an image of a body? smaller --sampling-mm finds more",
        )
    facts = {
        "content_hash": content_hash(volume),
        "low": float(volume.numpy().min()),
        "keypoints": len(found),
        "seconds": time.perf_counter() - began,
    }
    write_stored_keypoints(found, facts, task.target)


def find_matches(task: MatchTask) -> None:
    """Stores the matches of an image with each of several others, of those that are not there yet."""
    one = read_stored_keypoints(task.one, "one")
    left = [pair for pair in zip(task.others, task.targets, strict=True) if not is_stored(pair[1])]
    for path, target in left:
        other = read_stored_keypoints(path, "other")
        write_stored_matches(matched(one, other, task.matching), target, one, other)


def matched(one: Keypoints, other: Keypoints, matching: MatchConfig) -> Matches:
    """Rows of the one and of the other; where only one of two looks for its nearest, it is the other, as in FROG."""
    found = match(other, one, matching)
    pairs = found.pairs[:, ::-1]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    distance, weight = (None if column is None else column[order] for column in (found.distance, found.weight))
    return Matches(pairs[order], distance, weight)


def match_tasks(
    pairs: Sequence[tuple[int, int]],
    keypoints: Sequence[Path],
    targets: dict[tuple[int, int], Path],
    config: MatchConfig,
) -> list[MatchTask]:
    """The pairs in tasks, each about one image; the same tasks whatever is done already, so that shards stay apart."""
    tasks = []
    for image in sorted({pair[0] for pair in pairs}):
        others = sorted(second for first, second in pairs if first == image)
        for start in range(0, len(others), PAIRS_A_TASK):
            some = others[start : start + PAIRS_A_TASK]
            tasks.append(
                MatchTask(
                    keypoints[image],
                    tuple(keypoints[other] for other in some),
                    tuple(targets[image, other] for other in some),
                    config,
                )
            )
    return tasks


def _looked_for(task: KeypointTask, volume: Volume) -> Keypoints:
    mask = None if task.mask is None else volumes.read_labels(task.mask, space=volume.space)
    if mask is not None and not mask.numpy().any():
        raise BadInput(f"{task.mask} is 0 everywhere: it leaves nowhere to look", "is it the mask, or its complement?")
    return detect(volume, method=task.method, config=task.options, mask=mask, descriptor=task.describe)


def _given(task: KeypointTask, volume: Volume) -> Keypoints:
    assert task.given is not None
    found = files.read_keypoints(task.given, space=volume.space, grid=volume.grid)
    if found.descriptors is None:
        raise BadInput(
            f"{task.given} has no descriptors to match by",
            f"homolog keypoints {task.path} --points {task.given} --scale-mm 3 -o described",
        )
    inside = int(volume.grid.contains(found.position, 1.0).sum())
    if 2 * inside < len(found):
        raise BadInput(f"{len(found) - inside} of {len(found)} points of {task.given} lie outside {task.path}")
    return found
