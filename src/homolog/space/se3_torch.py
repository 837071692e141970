"""Rigid motions in torch: many at once, differentiable twice, and how far two poses are from each other.

The twins of `space.se3`, which says what a twist is. Distances are those of the left-invariant metric that weighs
rotation and translation apart: its geodesics turn and shift at constant rates, so that squared distance and gradient
have closed forms and need no library of manifolds.

A pose here is (..., 4, 4), body to camera. Directions at a pose are those of a motion of the body seen from the camera:
a rotation vector about the camera's axes, rad, that turns the body about its own origin, and a shift along them, mm.
"""

from __future__ import annotations

import torch

# Below this squared angle in rad^2 series stand for the closed forms: what they leave out is below 1e-16 of them, in
# values and in second derivatives.
SMALL2 = 1e-4


def hat(vectors: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3): the matrices of the cross product with vectors (..., 3)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(*vectors.shape[:-1], 3, 3)


def rotation_exp(vectors: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3): the rotations about vectors (..., 3) by their lengths in rad; smooth at 0 too."""
    cross = hat(vectors)
    square = _square(vectors)[..., None, None]
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return eye + _sinc(square) * cross + _versed(square) * cross @ cross


def rotation_log(rotations: torch.Tensor) -> torch.Tensor:
    """(..., 3) rad: the rotation vectors of rotations (..., 3, 3), at most pi long.

    Its value is right at all angles; its derivative is what pose search needs up to a little below pi, where the
    vector itself jumps.
    """
    skew = torch.stack(
        (
            rotations[..., 2, 1] - rotations[..., 1, 2],
            rotations[..., 0, 2] - rotations[..., 2, 0],
            rotations[..., 1, 0] - rotations[..., 0, 1],
        ),
        -1,
    )
    cosine = (rotations.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    sine2 = _square(skew) / 4
    small = (sine2 < SMALL2) & (cosine > 0)
    sine = torch.where(small, torch.ones_like(sine2), sine2).clamp_min(1e-30).sqrt()
    angle = torch.atan2(sine, cosine)
    # arcsin(s) / s, whose series follows from s^2 = sine2
    series = 1 + sine2 / 6 + 3 * sine2**2 / 40 + 15 * sine2**3 / 336
    plain = torch.where(small, series, angle / sine)[..., None] * skew / 2
    opposite = (sine2 < SMALL2) & (cosine < 0)
    return torch.where(opposite[..., None], _log_near_pi(rotations, skew), plain)


def exp(twists: torch.Tensor) -> torch.Tensor:
    """(..., 4, 4): the rigid motions of twists (..., 6)."""
    vectors, shifts = twists[..., :3], twists[..., 3:]
    cross, square = hat(vectors), _square(vectors)[..., None, None]
    eye = torch.eye(3, dtype=twists.dtype, device=twists.device)
    joining = eye + _versed(square) * cross + _rest(square) * cross @ cross
    return _motion(rotation_exp(vectors), (joining @ shifts[..., None])[..., 0])


def moved(poses: torch.Tensor, twists: torch.Tensor) -> torch.Tensor:
    """(..., 4, 4): poses after the body turned about its own origin and was shifted, (..., 6) along the camera's axes.

    Turning and shifting do not mix, as in `space.se3.about` with the body's origin for its pivot.
    """
    turned = rotation_exp(twists[..., :3]) @ poses[..., :3, :3]
    return _motion(turned, poses[..., :3, 3] + twists[..., 3:])


def squared_distance(poses: torch.Tensor, targets: torch.Tensor, mm_per_rad: float) -> torch.Tensor:
    """(...,) mm^2: of the geodesics from poses to targets (..., 4, 4), a rad weighing as much as mm_per_rad."""
    turn, shift = _apart(poses, targets)
    return mm_per_rad**2 * _square(turn) + _square(shift)


def descent_direction(poses: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(..., 6): the way from poses to targets (..., 4, 4) along the geodesic, rad and mm.

    Half the squared distance's gradient is its negative: times mm_per_rad^2 for the rotation, as it is for the shift.
    So whatever a rad weighs, the two directions are the same.
    """
    return torch.cat(_apart(poses, targets), -1)


def _apart(poses: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    turn = rotation_log(targets[..., :3, :3] @ poses[..., :3, :3].transpose(-1, -2))
    return turn, targets[..., :3, 3] - poses[..., :3, 3]


# ---------------------------------------------------------------------------------------------------------------------
# Helpers


def _motion(rotations: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    upper = torch.cat((rotations, shifts[..., None]), -1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=shifts.dtype, device=shifts.device)
    return torch.cat((upper, last.expand(*upper.shape[:-2], 1, 4)), -2)


def _square(vectors: torch.Tensor) -> torch.Tensor:
    return (vectors * vectors).sum(-1)


def _root(square: torch.Tensor) -> torch.Tensor:
    """The angle where it is not small, else 1: so that no derivative is of a root at 0."""
    return torch.where(square < SMALL2, torch.ones_like(square), square).sqrt()


def _sinc(square: torch.Tensor) -> torch.Tensor:
    """sin(a) / a of a^2."""
    angle = _root(square)
    return torch.where(square < SMALL2, _series(square, (1, -6, 120, -5040)), torch.sin(angle) / angle)


def _versed(square: torch.Tensor) -> torch.Tensor:
    """(1 - cos(a)) / a^2 of a^2."""
    angle = _root(square)
    return torch.where(square < SMALL2, _series(square, (2, -24, 720, -40320)), 2 * (torch.sin(angle / 2) / angle) ** 2)


def _rest(square: torch.Tensor) -> torch.Tensor:
    """(a - sin(a)) / a^3 of a^2."""
    angle = _root(square)
    closed = (angle - torch.sin(angle)) / angle**3
    return torch.where(square < SMALL2, _series(square, (6, -120, 5040, -362880)), closed)


def _series(square: torch.Tensor, denominators: tuple[int, ...]) -> torch.Tensor:
    total = torch.zeros_like(square)
    for denominator in reversed(denominators):
        total = total * square + 1 / denominator
    return total


def _log_near_pi(rotations: torch.Tensor, skew: torch.Tensor) -> torch.Tensor:
    """By the largest column of R + R^T + (1 - trace) 1, which is along the axis."""
    trace = rotations.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    columns = rotations + rotations.transpose(-1, -2) + (1 - trace) * eye
    best = columns.diagonal(dim1=-2, dim2=-1).argmax(-1)
    index = best[..., None, None].expand(*best.shape, 3, 1)
    axis = torch.gather(columns, -1, index)[..., 0]
    axis = axis / _square(axis).clamp_min(1e-30).sqrt()[..., None]
    # of the two ends of the axis, the one that the remaining sine points to
    side = torch.where((axis * skew).sum(-1) < 0, -1.0, 1.0).to(axis.dtype)
    sine = _square(skew).clamp_min(1e-60).sqrt() / 2
    return (side * torch.atan2(sine, (trace[..., 0, 0] - 1) / 2))[..., None] * axis
