"""All patients' matched keypoints on flat arrays, as the kernels take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from homolog.errors import BadInput
from homolog.kernels.half_edges import HalfEdges
from homolog.matching.partners import rounds
from homolog.space.keypoints import Keypoints, Matches

# Fewer mutual matches than this are not enough to go by.
LEAST_SURE = 100
Pairs = Mapping[tuple[int, int], Matches]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points of several images, and which of them are thought to be the same place.

    position  (P, 3) float64 mm, image after image
    start     (N + 1,) int64, the rows of each image
    edges     the matches
    kept      for each block, which of the matches given are in it
    """

    position: np.ndarray
    start: np.ndarray
    edges: HalfEdges
    kept: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.start) - 1

    def of(self, image: int) -> np.ndarray:
        """(n, 3): the points of an image."""
        return self.position[self.start[image] : self.start[image + 1]]

    def on(self, device: str) -> Cloud:
        """The same with its matches where the work is to be done: "cpu", by Numba, or as torch calls a device."""
        return replace(self, edges=self.edges.on(device))

    def image_of_rows(self) -> np.ndarray:
        """(P,) the image of each point."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))


def cloud(keypoints: Sequence[Keypoints], matches: Pairs, most_matches: int | None) -> Cloud:
    """All points of all images, matched or not, and the matches in rounds of blocks.

    most_matches  between two images, points that more points found lose all their matches; None: no limit
    """
    start = np.concatenate(([0], np.cumsum([len(points) for points in keypoints]))).astype(np.int64)
    order = sorted(pair for pair in matches if len(matches[pair]))
    for pair in order:
        _require_pair(pair, matches[pair], keypoints)
    images = np.array(order, np.int32).reshape(-1, 2)
    turns = rounds(images.astype(np.int64), len(keypoints)) if len(images) else []
    placed = [block for turn in turns for block in turn]
    kept = [uncrowded(matches[order[block]].pairs, most_matches) for block in placed]
    rows = [
        (matches[order[block]].pairs[chosen] + start[images[block]]).astype(np.int32)
        for block, chosen in zip(placed, kept)
    ]
    edges = HalfEdges(
        np.concatenate(rows) if rows else np.zeros((0, 2), np.int32),
        np.concatenate(([0], np.cumsum([len(block) for block in rows]))).astype(np.int64),
        images[placed] if placed else images,
        np.concatenate(([0], np.cumsum([len(turn) for turn in turns]))).astype(np.int64),
    )
    position = np.concatenate([np.asarray(points.position, np.float64) for points in keypoints])
    return Cloud(position, start, edges, tuple(kept))


def without(whole: Cloud, images: Sequence[int]) -> Cloud:
    """The same points, without the matches of these images."""
    if not images:
        return whole
    lost = np.asarray(np.isin(whole.edges.images, images).any(axis=1))
    gone = np.repeat(lost, np.diff(whole.edges.start))
    sizes = np.where(lost, 0, np.diff(whole.edges.start))
    edges = replace(
        whole.edges,
        rows=whole.edges.rows[~gone],
        start=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
    )
    kept = tuple(chosen[:0] if away else chosen for chosen, away in zip(whole.kept, lost))
    return replace(whole, edges=edges, kept=kept)


def surest(matches: Matches, most_matches: int | None) -> np.ndarray:
    """(M', 2) the pairs that are likelier right than the others: mutual ones, where the matches say which are."""
    if matches.weight is not None:
        mutual = np.asarray(matches.weight) >= 1
        if mutual.sum() >= LEAST_SURE:
            return matches.pairs[mutual]
    return matches.pairs[uncrowded(matches.pairs, most_matches)]


def uncrowded(pairs: np.ndarray, most_matches: int | None) -> np.ndarray:
    """(M',) the rows of matches (M, 2) neither of whose ends is what more than so many points of the other image found.

    Where every point of an image looks for its nearest in another, a point that resembles nothing in particular is the
    nearest of many; all of its matches are then wrong. Where both images' points looked, each has the match that it
    found itself besides.
    """
    if most_matches is None or not len(pairs):
        return np.arange(len(pairs))
    counts = [np.bincount(pairs[:, end])[pairs[:, end]] for end in range(2)]
    own = [int(counts[1 - end].max() > 1) for end in range(2)]
    kept = [counts[end] <= most_matches + own[end] for end in range(2)]
    return np.flatnonzero(kept[0] & kept[1])


def _require_pair(pair: tuple[int, int], matches: Matches, keypoints: Sequence[Keypoints]) -> None:
    if not 0 <= pair[0] < pair[1] < len(keypoints):
        raise BadInput(
            f"matches are of images {pair}, of {len(keypoints)}", "name a pair (i, j) with i < j, counted from 0"
        )
    for end, image in enumerate(pair):
        rows, points = matches.pairs[:, end], keypoints[image]
        if rows.min() < 0 or rows.max() >= len(points):
            raise BadInput(
                f"matches name row {rows.min() if rows.min() < 0 else rows.max()} of the points of '{points.space}', "
                f"which has {len(points)}",
                "match these very points",
            )
