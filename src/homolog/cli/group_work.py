"""The tasks of a group that are still to be done, handed out; what is in the store afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from homolog.cli import group_plan
from homolog.cli.group_asked import Asked
from homolog.cli.group_images import Image, Unusable, keypoint_task
from homolog.cli.group_store import Store, is_stored, stored_facts
from homolog.cli.group_tasks import find_keypoints, find_matches, match_tasks
from homolog.cli.group_team import Team
from homolog.errors import BadInput, HomologError, NotEnoughMemory, UnwritableFile

# Errors of the machine: other images will meet them too.
NOT_THE_IMAGES = (UnwritableFile, NotEnoughMemory)


def found_keypoints(
    images: Sequence[Image], store: Store, asked: Asked, team: Team
) -> tuple[list[Image], list[Unusable]]:
    """Stores the keypoints of all images; those whose are there, with what is known of them, and the unusable ones."""
    facts = {one.key: stored_facts(store.keypoints(one.key)) for one in images}
    mine = group_plan.part(images, asked.config, "keypoints")
    _require_keypoints([one for one in images if facts[one.key] is None], len(images), asked)
    left = {one.key: one for one in mine if facts[one.key] is None}
    tasks = [keypoint_task(one, asked.config, asked.options, store.keypoints(one.key)) for one in left.values()]
    unusable = []
    for task, error in team.tried(find_keypoints, tasks, "keypoints"):
        if isinstance(error, NOT_THE_IMAGES):
            raise error
        if isinstance(error, HomologError):
            unusable.append(Unusable(left[task.target.stem].path, error.message))
    for key in left:
        facts[key] = stored_facts(store.keypoints(key))
    known = [(one, facts[one.key]) for one in images]
    return [
        replace(one, content=said["content_hash"], low=said["low"], count=said["keypoints"])
        for one, said in known
        if said is not None
    ], unusable


def found_matches(images: Sequence[Image], store: Store, asked: Asked, team: Team) -> dict[tuple[int, int], Path]:
    """Stores the matches of all pairs, or of each image with its partners; where they are."""
    pairs = group_plan.pairs_of(images, store, asked.config)
    paths = {pair: group_plan.match_path(images, pair, store, asked.matching) for pair in pairs}
    keypoints = [store.keypoints(one.key) for one in images]
    tasks = group_plan.part(match_tasks(pairs, keypoints, paths, asked.matching), asked.config, "matches")
    left = [task for task in tasks if not all(map(is_stored, task.targets))]
    for _ in team.each(find_matches, left, "matches"):
        pass
    return paths


def _require_keypoints(missing: Sequence[Image], of: int, asked: Asked) -> None:
    """A share of the matches is made of all images' keypoints: who has to find them first could be any of several."""
    if missing and asked.config.only == "matches" and asked.config.shard is not None:
        raise BadInput(
            f"keypoints of {len(missing)} of {of} images are not there yet: {', '.join(o.name for o in missing[:5])}",
            "--only keypoints first, all shares of it",
        )
