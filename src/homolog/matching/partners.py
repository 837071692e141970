"""Which pictures of a large group are matched with which, and in what turns.

All pairs of N pictures are N (N - 1) / 2. In a group without a template every picture is placed by all it has matches
with, and errors cancel along the many ways from one to another; a few partners each are enough for that, if there is a
way from every picture to every other one: else parts of the group would drift apart, and nothing would say so.
"""

from __future__ import annotations

import numpy as np

from homolog.errors import BadInput

# Two matchings of all pictures at least are drawn: one alone joins nobody but pairs.
FEWEST_DRAWN = 2
# No picture has more than this many times the partners that were asked for, however like all others it is.
MOST_TIMES = 2
# Of each picture, so many times the partners it may get are looked at, the most alike first.
LOOKED_AT = 4


def all_pairs(count: int) -> np.ndarray:
    """(P, 2) int64: every two of so many pictures, i < j, in order."""
    _require_count(count)
    return np.stack(np.triu_indices(count, 1), axis=1).astype(np.int64)


def chosen(count: int, partners: int, likeness: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """(P, 2) int64, i < j, in order: about so many partners of each picture, by which every two are connected.

    likeness  (N, N), how alike two pictures are: half of the partners are then those most like it. The other half is
              drawn at random, and is the same whatever the likeness
    """
    _require_count(count)
    if partners < FEWEST_DRAWN:
        raise BadInput(
            f"{partners} partners of each picture leave a group in pieces, {FEWEST_DRAWN} at least are wanted",
            "20 are nearly as good as all",
        )
    if partners >= count - 1:
        return all_pairs(count)
    if likeness is None:
        return _in_order(_drawn(count, partners, seed), count)
    likeness = _sensible(likeness, count)
    drawn = _in_order(_drawn(count, max(FEWEST_DRAWN, partners // 2), seed), count)
    return _in_order(np.concatenate((drawn, _alike(likeness, drawn, partners))), count)


def rounds(pairs: np.ndarray, count: int) -> list[np.ndarray]:
    """Rows of the pairs in turns, none of which has a picture twice: what threads do at once never meets.

    As few turns as there can be for all pairs, count - 1 or count of them; for others at most twice the partners that
    a picture has, less one.

    pairs  (P, 2) of pictures 0 to count - 1
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    _require_pairs(pairs, count)
    turn = np.zeros(len(pairs), np.int64)
    # a bit for each turn in which a picture is busy
    busy = [0] * count
    # in the order of a tournament's rounds: where all pairs are there, each falls into its own
    for row in np.argsort(_day(pairs, count), kind="stable").tolist():
        i, j = pairs[row].tolist()
        free = ~(busy[i] | busy[j])
        first = free & -free
        busy[i] |= first
        busy[j] |= first
        turn[row] = first.bit_length() - 1
    order = np.argsort(turn, kind="stable")
    return np.split(order, np.cumsum(np.bincount(turn))[:-1]) if len(pairs) else []


# ---------------------------------------------------------------------------------------------------------------------
# A tournament: each picture meets each other one on one of so many days, and nobody twice on a day


def _days(count: int) -> int:
    """As many as an odd number of pictures; of an even number, the last one meets whoever is left over."""
    return count - 1 + count % 2


def _day(pairs: np.ndarray, count: int) -> np.ndarray:
    """(P,) the day on which two meet: the sum of their numbers, modulo the days."""
    days = _days(count)
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    return np.where(high == days, 2 * low, low + high) % max(1, days)


def _meetings(day: int, count: int) -> np.ndarray:
    """(P, 2): who meets on a day."""
    days = _days(count)
    one = np.arange(days)
    other = (day - one) % days
    # who would meet himself meets the last one, or rests
    met = np.where(one == other, days, other)
    return np.stack((one, met), axis=1)[(one < met) & (met < count)]


def _drawn(count: int, days: int, seed: int) -> np.ndarray:
    """(P, 2): a random graph in which every picture has as many partners as days; some have one fewer if N is odd.

    Two days that follow each other make one ring through all pictures, so the graph is connected; others are drawn.
    From 6 days on, the mean resistance between two of 100 or 1000 pictures is that of a graph drawn among all regular
    ones, 2 (k - 1) / (k (k - 2)), to 4 %; with 4 of 1000 it is 1.1 to 1.5 times as much.
    """
    generator = np.random.default_rng([seed, count])
    name, order = generator.permutation(count), generator.permutation(_days(count))
    second = (order[0] + 1) % _days(count)
    taken = np.concatenate((order[:1], [second], order[1:][order[1:] != second]))[:days]
    return name[np.concatenate([_meetings(int(day), count) for day in taken])]


# ---------------------------------------------------------------------------------------------------------------------
# The most alike


def _alike(likeness: np.ndarray, drawn: np.ndarray, partners: int) -> np.ndarray:
    """(P, 2): the most alike first, pairs of which one still wants partners and neither has too many."""
    count = len(likeness)
    wanted = _wanted(likeness, drawn, min(count - 1, LOOKED_AT * partners))
    has = np.bincount(drawn.ravel(), minlength=count).tolist()
    out = []
    for i, j in wanted.tolist():
        if min(has[i], has[j]) < partners and max(has[i], has[j]) < MOST_TIMES * partners:
            has[i] += 1
            has[j] += 1
            out.append((i, j))
    return np.array(out, np.int64).reshape(-1, 2)


def _wanted(likeness: np.ndarray, drawn: np.ndarray, each: int) -> np.ndarray:
    """(P, 2): of each picture those most like it, without the pairs that are drawn already; most alike first."""
    count = len(likeness)
    left = -likeness
    np.fill_diagonal(left, np.inf)
    left[drawn[:, 0], drawn[:, 1]] = left[drawn[:, 1], drawn[:, 0]] = np.inf
    nearest = np.argsort(left, axis=1, kind="stable")[:, :each]
    pairs = np.stack((np.repeat(np.arange(count), each), nearest.ravel()), axis=1)
    pairs = _in_order(pairs[np.isfinite(left[pairs[:, 0], pairs[:, 1]])], count)
    return pairs[np.argsort(left[pairs[:, 0], pairs[:, 1]], kind="stable")]


def _in_order(pairs: np.ndarray, count: int) -> np.ndarray:
    """(P, 2) int64, i < j: each pair once, sorted."""
    numbers = np.unique(pairs.min(axis=1) * count + pairs.max(axis=1))
    return np.stack((numbers // count, numbers % count), axis=1).astype(np.int64)


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def _sensible(likeness: np.ndarray, count: int) -> np.ndarray:
    """(N, N) float64, symmetric: as alike as the mean of both ways."""
    likeness = np.asarray(likeness, np.float64)
    if likeness.shape != (count, count):
        raise BadInput(f"likeness is {likeness.shape}, of {count} pictures it would be {(count, count)}")
    if not np.isfinite(likeness).all():
        raise BadInput("the likeness of pictures holds NaN or infinite values")
    return (likeness + likeness.T) / 2


def _require_count(count: int) -> None:
    if count < 2:
        raise BadInput(f"a group has two pictures at least, got {count}", "name more volumes")


def _require_pairs(pairs: np.ndarray, count: int) -> None:
    if len(pairs) and not (pairs.min() >= 0 and pairs.max() < count):
        raise BadInput(
            f"pairs name picture {pairs.max() if pairs.min() >= 0 else pairs.min()} of {count}, counted from 0"
        )
    alone = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(alone):
        raise BadInput(f"picture {pairs[alone[0], 0]} is paired with itself")
