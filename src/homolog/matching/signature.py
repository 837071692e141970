"""What a picture's keypoints are like as a whole, in a few numbers: enough to tell which pictures show the same.

Descriptors are sorted into a small vocabulary, and counted; so are their signs and sizes. Two chests count alike, a
chest and a pelvis do not. Which patient it is, or how he lies, cannot be told from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from homolog.errors import BadInput
from homolog.kernels import neighbours
from homolog.matching.nearest import require_finite
from homolog.space.keypoints import Keypoints

# Descriptors that a vocabulary is drawn from, of all pictures together. A quarter or twice as many change likenesses of
# real CTs by 0.012, as another seed does.
SAMPLE = 20_000
# Rounds of Lloyd's k-means; twice as many change likenesses by 0.007.
ROUNDS = 8
# 64 to 256 words tell five virtual chests from five pelves, of 200 keypoints each and more; 32 mistake some.
WORDS = 128
# Doublings of the scale, from below 2 mm on; larger ones count as the last.
OCTAVES = 8


def words(keypoints: Sequence[Keypoints], count: int = WORDS, seed: int = 0) -> np.ndarray:
    """(W, D) float32: descriptors that stand for all others, at most `count` of them.

    The same ones whoever computes and with however many threads: no sum depends on them.
    """
    if count < 1:
        raise BadInput(f"a vocabulary has at least one word, {count} wanted", f"count={WORDS}")
    generator = np.random.default_rng(seed)
    sample = _sample(keypoints, generator)
    found = sample[_some(len(sample), count, generator)]
    for _ in range(ROUNDS if len(found) else 0):
        found = _middles(sample, _nearest_word(sample, found), found)
    return found


def of(keypoints: Keypoints, vocabulary: np.ndarray) -> np.ndarray:
    """(F,) float64 of length 1: square roots of the shares of words, and of signs and sizes; 0 without keypoints.

    vocabulary  (W, D), from `words`
    """
    described = _descriptors(keypoints)
    if len(described) and described.shape[1] != vocabulary.shape[1]:
        raise BadInput(
            f"descriptors of '{keypoints.space}' have {described.shape[1]} numbers, words {vocabulary.shape[1]}",
            "detect all with the same method",
        )
    spoken = _nearest_word(described, vocabulary) if len(described) else np.zeros(0, np.int64)
    # two histograms, not a joint one: a few hundred keypoints would leave most of its bins empty
    roots = _roots(spoken, len(vocabulary)), _roots(_kinds(keypoints), 2 * OCTAVES)
    return np.concatenate(roots) / np.sqrt(2)


def likeness(signatures: np.ndarray) -> np.ndarray:
    """(N, N) float64, 0 to 1: the overlap of the shares (Bhattacharyya's coefficient) of pictures (N, F)."""
    signatures = np.asarray(signatures, np.float64)
    # einsum, not a product of matrices: whose sums may differ in their last digit with the number of threads
    found = (
        np.stack([np.einsum("nf,f->n", signatures, one) for one in signatures]) if len(signatures) else np.zeros((0, 0))
    )
    return np.clip(found, 0.0, 1.0)


# ---------------------------------------------------------------------------------------------------------------------


def _descriptors(keypoints: Keypoints) -> np.ndarray:
    """(N, D) float32."""
    if keypoints.descriptors is None:
        raise BadInput(f"the points of '{keypoints.space}' have no descriptors", "detect them with descriptors")
    require_finite(keypoints, "descriptors", "scale")
    return np.asarray(keypoints.descriptors, np.float32)


def _sample(keypoints: Sequence[Keypoints], generator: np.random.Generator) -> np.ndarray:
    """(n, D): as many of each picture, so that none is heard above the others."""
    described = [found for found in map(_descriptors, keypoints) if len(found)]
    widths = sorted({found.shape[1] for found in described})
    if not widths:
        raise BadInput("no picture has keypoints to draw a vocabulary from", "smaller --sampling-mm finds more")
    if len(widths) > 1:
        raise BadInput(f"descriptors have {widths[0]} numbers and {widths[-1]}", "detect all with the same method")
    each = max(1, SAMPLE // len(described))
    return np.concatenate([found[_some(len(found), each, generator)] for found in described])


def _some(count: int, most: int, generator: np.random.Generator) -> np.ndarray:
    """Rows drawn without replacement, in their order."""
    return np.sort(generator.choice(count, min(most, count), replace=False))


def _nearest_word(described: np.ndarray, vocabulary: np.ndarray) -> np.ndarray:
    rows, columns = np.arange(len(described)), np.arange(len(vocabulary))
    start = np.zeros(len(described), np.int64)
    found, _ = neighbours.nearest_in_bands(described, vocabulary, rows, columns, start, start + len(vocabulary))
    return found.index[:, 0]


def _middles(sample: np.ndarray, word: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The mean of each word's descriptors; a word that nobody speaks stays."""
    counts = np.bincount(word, minlength=len(before))[:, None]
    sums = np.stack([np.bincount(word, column, len(before)) for column in sample.T], axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), before).astype(np.float32)


def _kinds(keypoints: Keypoints) -> np.ndarray:
    """(N,) each point's sign and octave as one number; those that are not known count as one kind."""
    bright = np.zeros(len(keypoints), np.int64) if keypoints.sign is None else np.asarray(keypoints.sign) > 0
    if keypoints.scale is None:
        return OCTAVES * np.asarray(bright, np.int64)
    octave = np.floor(np.log2(np.maximum(keypoints.scale, 1.0))).astype(np.int64)
    return OCTAVES * np.asarray(bright, np.int64) + np.minimum(octave, OCTAVES - 1)


def _roots(kind: np.ndarray, kinds: int) -> np.ndarray:
    counts = np.bincount(kind, minlength=kinds)
    return np.sqrt(counts / max(1, counts.sum()))
