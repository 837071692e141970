"""Which tasks a group has: shares of them for several machines, pairs of images, and what all of it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from homolog.cli.configs import GroupVolumes
from homolog.cli.group_images import Image
from homolog.cli.group_store import Store, matches_key, read_stored_keypoints
from homolog.errors import BadInput
from homolog.matching.configs import MatchConfig

Task = TypeVar("Task")
# Images that words are drawn from: all of a thousand would not fit in memory, and say no more.
WORDS_FROM = 64


def shard_of(config: GroupVolumes) -> tuple[int, int] | None:
    """Which part of how many `--shard` asks for."""
    if config.shard is None:
        return None
    if config.only is None:
        raise BadInput(
            "--shard is a part of the keypoints or of the matches", f"--shard {config.shard} --only keypoints"
        )
    number, _, of = config.shard.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise BadInput(f"--shard {config.shard}: the part I of N is wanted, from 1/N to N/N", "--shard 1/4")
    return int(number), int(of)


def part(tasks: Sequence[Task], config: GroupVolumes, stage: str) -> Sequence[Task]:
    """The tasks that are this machine's, of the stage that is shared; all of any other."""
    shard = shard_of(config)
    if shard is None or config.only != stage:
        return tasks
    number, of = shard
    return tasks[number - 1 :: of]


def match_path(images: Sequence[Image], pair: tuple[int, int], store: Store, matching: MatchConfig) -> Path:
    one, other = (images[n].key for n in pair)
    return store.matches(matches_key(one, other, matching))


def pairs_of(images: Sequence[Image], store: Store, config: GroupVolumes) -> list[tuple[int, int]]:
    """(i, j) with i < j of the images to be matched: all, or each with its partners."""
    from homolog.matching import partners, signature

    count = len(images)
    if config.partners is None or config.partners >= count - 1:
        return _as_pairs(partners.all_pairs(count))
    alike = signature.likeness(np.stack(_signatures(images, images, store)))
    return _as_pairs(partners.chosen(count, config.partners, alike))


def nearest(image: Image, others: Sequence[Image], store: Store, config: GroupVolumes) -> list[Image]:
    """The images of a finished group that a newcomer is matched with: the most alike, as many as partners."""
    from homolog.matching import signature

    if config.partners is None or config.partners >= len(others):
        return list(others)
    signatures = np.stack(_signatures([image, *others], others, store))
    alike = signature.likeness(signatures)[0, 1:]
    chosen = np.sort(np.argsort(-alike, kind="stable")[: config.partners])
    return [others[n] for n in chosen.tolist()]


def _signatures(images: Sequence[Image], of_words: Sequence[Image], store: Store) -> list[np.ndarray]:
    """Of each image what its keypoints are like as a whole, in words drawn from some of the group."""
    from homolog.matching import signature

    some = of_words[:: -(-len(of_words) // WORDS_FROM)]
    words = signature.words([read_stored_keypoints(store.keypoints(one.key), one.name) for one in some])
    return [signature.of(read_stored_keypoints(store.keypoints(one.key), one.name), words) for one in images]


def _as_pairs(rows: np.ndarray) -> list[tuple[int, int]]:
    return [(int(i), int(j)) for i, j in rows.tolist()]
