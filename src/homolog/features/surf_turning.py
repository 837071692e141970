"""3D-SURF's keypoints as they are of a patient who lies otherwise: turned by right angles, or mirrored."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np

from homolog.features.surf_lattice import ORDER
from homolog.kernels.box_gradients import SUMS
from homolog.space.keypoints import Keypoints


def right_angles() -> list[np.ndarray]:
    """The 24 rotations (3, 3) that lay axes on axes; the identity comes first."""
    found = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        turn = np.zeros((3, 3))
        turn[range(3), order] = signs
        if np.linalg.det(turn) > 0:
            found.append(turn)
    return found


def turned(keypoints: Keypoints, turn: np.ndarray) -> Keypoints:
    """The keypoints of the turned patient, about the space's origin; turn (3, 3) lays axes on axes, and may mirror.

    The 48 numbers change places and signs. They would be exactly those of the turned picture if the places that a
    point is looked at from lay evenly round it; they lie from five scales on one side to four on the other.
    """
    numbers = keypoints.descriptors
    if numbers is not None and numbers.size:
        columns, signs = _places(turn)
        numbers = np.ascontiguousarray(numbers[:, columns] * signs)
    return replace(keypoints, position=keypoints.position @ turn.T, descriptors=numbers)


def _places(turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(48,) which of the old numbers each new one is, and (48,) its sign."""
    # the lattice counts x and y the other way
    of_lattice = turn * ORDER[:, None] * ORDER
    source = np.abs(of_lattice).argmax(axis=1)
    sign = of_lattice[range(3), source]
    columns, signs = [], []
    for cube in product((0, 1), repeat=3):
        old = [0, 0, 0]
        for axis in range(3):
            old[source[axis]] = cube[axis] if sign[axis] > 0 else 1 - cube[axis]
        first = SUMS * (4 * old[0] + 2 * old[1] + old[2])
        columns += [first + source[axis] for axis in range(3)] + [first + 3 + source[axis] for axis in range(3)]
        signs += [*sign, 1.0, 1.0, 1.0]
    return np.array(columns), np.array(signs, np.float32)
