"""Where the patients of a group lie to begin with: by the agreement of matches, pair by pair, joined to a tree.

The published start lays the middles of the images' boxes of keypoints on each other, which holds where all scans show
the same part of people who lie alike. Here each image is laid on a partner by the similarity that most of their
matches agree on (`matching.consensus`), along the tree of the pairs that agree best. An image that agrees with no
other any better than chance lets it has no place in the group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from homolog.groupwise.edges import Cloud, Pairs, surest
from homolog.matching import consensus
from homolog.space import fit

# Pairs looked at for each image, those with the most matches left; how often chance is tried.
PARTNERS, CHANCES = 6, 2
# A pair is believed whose matches agree so many times better than re-paired ones.
LEAD = 3.0


class Look(NamedTuple):
    """How matches are looked at.

    most      matches, evenly drawn
    rounds    of drawing triples, of each of which
    improved  so many maps are improved on all matches
    degrees   by which a patient may lie turned
    """

    most: int
    rounds: int
    improved: int
    degrees: float


# Most pairs are told at a glance. The others are looked at longer, and then in any position, as descriptors that turn
# with the patient match in any: among all turns it takes more to beat chance.
LOOKS = (
    Look(1500, 8, 1, consensus.MOST_DEGREES),
    Look(6000, 24, 3, consensus.MOST_DEGREES),
    Look(1500, 8, 1, 180.0),
)


@dataclass(frozen=True, eq=False)
class Start:
    """First maps.

    matrices  (N, 4, 4) common from image, LPS mm
    belongs   (N,) bool: whether an image is joined to the largest part of the group
    """

    matrices: np.ndarray
    belongs: np.ndarray


@dataclass(frozen=True, eq=False)
class Agreement:
    """What the matches of two images agree on.

    matrix       (4, 4) second from first, LPS mm
    score, lead  the sum of agreements, and how many times more that is than by chance
    """

    matrix: np.ndarray
    score: float
    lead: float


Ends = tuple[int, int]


def agreed(cloud: Cloud, matches: Pairs, most_matches: int | None, boxes: np.ndarray) -> Start:
    """Maps of all images into one frame, as upright as they lie on average.

    cloud    where the points are
    matches, most_matches  as `edges.cloud` was given them
    boxes    (N, 4, 4): the published start, which images that belong nowhere keep
    """
    pairs = {ends: surest(each, most_matches) for ends, each in matches.items()}
    found = {ends: agreement(*_ends(cloud, ends, pairs[ends])) for ends in _looked_at(pairs, len(cloud))}
    sound = {ends: each for ends, each in found.items() if each.lead >= LEAD}
    matrices, belongs = _joined(sound, boxes)
    if not belongs.any():
        return Start(boxes, belongs)
    # where the boxes' middles meet is for those who belong to say
    boxes = boxes.copy()
    boxes[:, :3, 3] -= boxes[belongs, :3, 3].mean(axis=0)
    matrices[~belongs] = boxes[~belongs]
    matrices[belongs] = _upright(matrices[belongs], boxes[belongs], [cloud.of(int(n)) for n in np.flatnonzero(belongs)])
    return Start(matrices, belongs)


def _looked_at(pairs: Mapping[Ends, np.ndarray], count: int) -> list[Ends]:
    """Pairs to look at: of each image those with the most matches."""
    ends = sorted(each for each in pairs if len(pairs[each]) >= consensus.FEWEST)
    images, sizes = np.array(ends).reshape(-1, 2), np.array([len(pairs[each]) for each in ends])
    chosen: set[int] = set()
    for image in range(count):
        mine = np.flatnonzero((images == image).any(axis=1))
        chosen |= set(mine[np.argsort(-sizes[mine], kind="stable")[:PARTNERS]].tolist())
        # the most alike may be a knot of twins: some others join the knots
        chosen |= set(mine[:: max(1, len(mine) // PARTNERS)][:PARTNERS].tolist())
    return [ends[n] for n in sorted(chosen)]


def _ends(cloud: Cloud, ends: Ends, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, 3), (M, 3) mm: the places of two images' matches in each."""
    return cloud.of(ends[0])[pairs[:, 0]], cloud.of(ends[1])[pairs[:, 1]]


def agreement(here: np.ndarray, there: np.ndarray) -> Agreement:
    """Of matches (M, 3), (M, 3) mm, or of some of them."""
    best = Agreement(np.eye(4), 0.0, 0.0)
    for look in LOOKS:
        best = max(best, _agreement(here, there, look), key=lambda each: each.lead)
        if best.lead >= LEAD:
            break
    return best


def _agreement(here: np.ndarray, there: np.ndarray, look: Look) -> Agreement:
    each = max(1, -(-len(here) // look.most))
    here, there = here[::each], there[::each]
    agreed = partial(consensus.agreed, kind="similarity", improved=look.improved, most_degrees=look.degrees)
    best = agreed(here, there, rounds=look.rounds)
    rng = np.random.default_rng(0)
    chance = max(agreed(here, there[rng.permutation(len(there))], rounds=1).score for _ in range(CHANCES))
    thin = best.spread[1] < consensus.THIN * best.spread[0]
    return Agreement(best.matrix, best.score, 0.0 if thin else best.score / max(chance, 1e-9))


def _joined(sound: dict[Ends, Agreement], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps into the frame of one image of the largest part, along the tree that agrees best; who is in that part."""
    count = len(boxes)
    matrices, belongs = boxes.copy(), np.zeros(count, bool)
    if not sound:
        return matrices, belongs
    ends = np.array(list(sound)).T
    # the least tree of what is less, the more two agree
    cost = [1 / each.score for each in sound.values()]
    tree = minimum_spanning_tree(coo_array((cost, tuple(ends)), shape=(count, count)).tocsr())
    part = connected_components(tree, directed=False)[1]
    belongs = part == np.bincount(part).argmax()
    if belongs.sum() < 2:
        return matrices, np.zeros(count, bool)
    root = int(np.flatnonzero(belongs)[np.argmax(_degrees(tree, count)[belongs])])
    order, before = breadth_first_order(tree, root, directed=False)
    matrices[root] = np.eye(4)
    for image in order[1:]:
        parent = int(before[image])
        matrices[image] = matrices[parent] @ _from(sound, parent, int(image))
    return matrices, belongs


def _degrees(tree: object, count: int) -> np.ndarray:
    whole = coo_array(tree)
    return np.bincount(whole.row, minlength=count) + np.bincount(whole.col, minlength=count)


def _from(sound: dict[Ends, Agreement], target: int, source: int) -> np.ndarray:
    """(4, 4): what carries points of the source to the target."""
    if (source, target) in sound:
        return sound[source, target].matrix
    return np.linalg.inv(sound[target, source].matrix)


def _upright(matrices: np.ndarray, boxes: np.ndarray, points: list[np.ndarray]) -> np.ndarray:
    """The same maps turned and shifted together to lie as the images' own frames do on average, at their mean size.

    A rotation is told by where it puts the corners of each image's box.
    """
    steps = np.array(list(np.ndindex(2, 2, 2)), float)
    here, there = [], []
    for matrix, box, own in zip(matrices, boxes, points):
        low, high = own.min(axis=0), own.max(axis=0)
        corners = np.c_[low + steps * (high - low), np.ones(8)]
        here.append((corners @ matrix.T)[:, :3])
        there.append((corners @ box.T)[:, :3])
    turned = _rotation(np.concatenate(here), np.concatenate(there))
    growth = np.exp(-np.log(np.abs(np.linalg.det(matrices[:, :3, :3]))).mean() / 3)
    sized = np.diag([growth, growth, growth, 1.0])
    whole = sized @ turned
    middle_here, middle_there = np.concatenate(here).mean(axis=0), np.concatenate(there).mean(axis=0)
    whole[:3, 3] = middle_there - whole[:3, :3] @ middle_here
    return np.asarray(whole @ matrices)


def _rotation(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = fit.rigid(here, there).matrix[:3, :3]
    return matrix
