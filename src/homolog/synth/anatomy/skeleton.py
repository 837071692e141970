"""Spine, ribs, shoulder, pelvis and thighs."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from homolog.synth.anatomy.envelope import CAVITY, on_wall
from homolog.synth.anatomy.shapes import Layer, box, column, curve, ellipsoid, layer, mirrored, tube
from homolog.synth.anatomy.structures import FIRST_LEFT_RIB, FIRST_RIGHT_RIB, FIRST_VERTEBRA, NUMBERS, VERTEBRAE

# middles of the vertebral bodies, C7 to L5
VERTEBRA_Z = (459, 441, 421, 400, 378, 356, 333, 309, 284, 258, 231, 202, 171, 138, 104, 70, 35, 0)
# the spine's course: z, y of the bodies' middles
_SPINE = np.array(
    [(560, 22), (500, 26), (459, 34), (441, 39), (400, 51), (356, 60), (309, 63), (258, 59), (202, 48), (171, 42),
     (138, 36), (104, 31), (70, 28), (35, 30), (0, 37), (-36, 52)]
)[::-1]  # fmt: skip
RIB_ANGLE = (2.45, 2.5, 2.5, 2.5, 2.48, 2.42, 2.35, 2.2, 2.0, 1.8, 1.35, 0.9)
RIB_DROP_MM = (30, 42, 52, 60, 66, 72, 76, 78, 78, 74, 58, 40)
# how far the middles of ribs lie outside the inner side of the chest
RIB_OUT_MM = 6.5


def spine_y(z_mm: float | np.ndarray) -> np.ndarray:
    return PchipInterpolator(_SPINE[:, 0], _SPINE[:, 1])(z_mm)


def spine_turn(z_mm: float) -> float:
    """Degrees about x by which a vertebra follows the spine's slope."""
    return float(np.degrees(np.arctan2(-(spine_y(z_mm + 5) - spine_y(z_mm - 5)), 10.0)))


def layers() -> list[Layer]:
    both = [one for side in (-1, 1) for one in (*_ribs(side), *_shoulder(side), *_pelvis(side))]
    return [_discs(), *both, *_middle(), *(one for n in range(len(VERTEBRAE)) for one in _vertebra(n)), *_canal()]


# ---------------------------------------------------------------------------------------------------------------------
# The spine


def vertebra_size(n: int) -> np.ndarray:
    """(3,) the body's half width, half depth and half height: lower ones are larger."""
    low = np.clip((n - 1) / 16, 0, 1)
    height = (VERTEBRA_Z[n] - VERTEBRA_Z[n + 1] if n < 17 else 35) * 0.395
    return np.array([14 + 11 * low, 10 + 8 * low, height])


def spinous_tip(n: int) -> np.ndarray:
    """(3,) the middle of the end of a spinous process."""
    z = VERTEBRA_Z[n]
    thoracic = 1 <= n <= 12
    reach, drop = (44.0 if n < 13 else 51.0, 24 * np.sin(np.pi * (n + 1) / 14) if thoracic else 9)
    return np.array([0, spine_y(z) + vertebra_size(n)[1] + reach - 6 * thoracic, z - 4 - drop])


def _vertebra(n: int) -> list[Layer]:
    z, (half, deep, high) = VERTEBRA_Z[n], vertebra_size(n)
    y = float(spine_y(z))
    back, turn = y + deep, spine_turn(z)
    arch = back + 19
    lumbar = n > 12
    wing = np.array([(0.62 * half + 9, arch - 5, z + 1), (40 if lumbar else 31, arch - (2 if lumbar else -6), z + 2)])
    parts = [column((0, y, z), (half, deep, high), 2.5, (turn, 0, 0))]
    for side in (-1, 1):
        pedicle = mirrored([(0.62 * half, back - 4, z + 4), (0.62 * half + 2, back + 10, z + 3)], side)
        facet = mirrored(
            [(0.62 * half + 4, arch - 5, z + 0.62 * high + 6), (0.62 * half + 3, arch, z - high - 3)], side
        )
        lamina = mirrored([(0.62 * half + 3, arch - 4, z), (2, arch + 5, z - 4)], side)
        parts += [
            tube(pedicle, (5.0, 5.0)),
            tube(facet, (5.2, 5.6)),
            tube(lamina, (4.2, 4.0)),
            tube(mirrored(wing, side), (4.5, 3.5)),
        ]
    tip = spinous_tip(n)
    parts.append(tube([(0, arch + 4, z - 4), tip], (4.6, 4.4), flat=(1, 0, 0), flatter=1.15))
    number = FIRST_VERTEBRA + n
    vein = tube([(0, y, z), (0, back + 1, z)], (1.5, 2.6))
    return [
        layer("vertebra", number, *parts, blend_mm=4, bump_mm=0.5, bump_wave_mm=14),
        layer("canal", -1, vein),
    ]


def _discs() -> Layer:
    middles = [(a + b) / 2 for a, b in zip(VERTEBRA_Z, (*VERTEBRA_Z[1:], -31))]
    discs = []
    for n, z in enumerate(middles):
        half, deep, _ = vertebra_size(n)
        discs.append(column((0, spine_y(z), z), (half + 0.5, deep + 0.5, 8.5), 2, (spine_turn(z), 0, 0)))
    neck = column((0, 28, 500), (13, 10, 60), 3)
    return layer("disc", NUMBERS["intervertebral discs"], *discs, neck)


def _canal() -> list[Layer]:
    heights = np.arange(570.0, -70.0, -12.0)
    low = np.clip((459 - heights) / 459, 0, 1)
    y = np.where(heights > -36, spine_y(np.maximum(heights, -36)), 52 + 0.75 * (-36 - heights)) + 10 + 8 * low + 10.5
    way = np.c_[np.zeros_like(heights), y, heights]
    number = NUMBERS["spinal canal"]
    cord = way[heights > 125]
    return [
        layer("canal", number, tube(way, 8.2, smooth=False)),
        layer("cord", number, tube(cord + np.array([0, -0.5, 0]), 5.2, smooth=False)),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# The chest


def rib_way(n: int, side: int) -> np.ndarray:
    """(M, 3): the middles of a rib from its head to where its cartilage begins; n from 0."""
    z = VERTEBRA_Z[n + 1]
    half, deep, _ = vertebra_size(n + 1)
    y = float(spine_y(z))
    near = mirrored([(half + 1, y + 0.4 * deep, z + 5), (half + 17, y + deep + 12, z + 3)], side)
    angles = np.linspace(0.42, RIB_ANGLE[n], 14)
    drops = RIB_DROP_MM[n] * (angles / RIB_ANGLE[n]) ** 1.15
    ring = [on_wall(CAVITY, angle, z - drop, RIB_OUT_MM, side) for angle, drop in zip(angles, drops)]
    return np.vstack((near, ring))


def _ribs(side: int) -> list[Layer]:
    first = FIRST_RIGHT_RIB if side < 0 else FIRST_LEFT_RIB
    ribs = []
    for n in range(12):
        way = rib_way(n, side)
        thick = np.interp(np.arange(len(way)), (0, 3, len(way) - 1), (5.5, 6.2, 6.6)) * (0.85 if n > 9 else 1.0)
        # a rib is a band: thin from within to without; both run level, so "thin" is across the band's height
        shapes = [tube(way + np.array([0, 0, dz]), 0.66 * thick, step_mm=11) for dz in (-2.6, 2.6)]
        ribs.append(layer("rib", first + n, *shapes, blend_mm=2.5))
    return [*ribs, _cartilages(side)]


def _cartilages(side: int) -> Layer:
    shapes = []
    for n in range(10):
        end = rib_way(n, side)[-1]
        height = np.interp(n, (0, 1, 6, 7, 9), (412, 398, 278, 270, 262))
        inner = np.array([side * 19.0, _sternum_y(height) + 4, height])
        if n > 6:
            inner = on_wall(CAVITY, 2.55, 258 - 26 * (n - 6), RIB_OUT_MM, side)
        middle = 0.55 * end + 0.45 * inner
        middle[1:] = on_wall(CAVITY, 2.72 if n < 7 else 2.3, middle[2] - 6, RIB_OUT_MM, side)[1], middle[2] - 6
        shapes.append(tube([end, middle, inner], 5.6, step_mm=11))
    return layer("cartilage", NUMBERS["costal cartilage"], *shapes)


def _sternum_y(z_mm: float) -> float:
    return float(on_wall(CAVITY, np.pi, z_mm, RIB_OUT_MM + 1, 1)[1])


STERNUM = [(0, _sternum_y(z), z) for z in (414, 392, 380, 340, 300, 268, 248)]


def _middle() -> list[Layer]:
    sternum = [
        tube([np.add(point, (dx * wide, 0, 0)) for point, wide in zip(STERNUM, (26, 24, 15, 16, 19, 12, 3))], 4.9)
        for dx in (-0.7, 0, 0.7)
    ]
    sacrum = [
        box((0, 60, -38), (25, 15, 15), 10, (32, 0, 0)), box((0, 76, -64), (40, 11, 15), 8, (30, 0, 0)),
        *(tube(mirrored([(14, 66, -44), (34, 72, -50), (52, 80, -58)], side), (13, 13, 9)) for side in (-1, 1)),
        box((0, 88, -88), (31, 10, 15), 7, (18, 0, 0)), box((0, 92, -114), (21, 8, 16), 6, (-4, 0, 0)),
        tube([(0, 92, -124), (0, 82, -146), (0, 70, -156)], (8, 6, 4)),
        tube([(0, 88, -34), (0, 104, -66), (0, 108, -96)], (6, 6, 5)),
    ]  # fmt: skip
    holes = [
        tube([(side * x, 52 + d, z), (side * (x + 3), 92 + d, z - 14)], 3.6)
        for side in (-1, 1)
        for x, d, z in ((20, 0, -52), (17, 16, -78))
    ]
    return [
        layer("flat bone", NUMBERS["sternum"], *sternum, blend_mm=9),
        layer("sacrum", NUMBERS["sacrum"], *sacrum, blend_mm=10, bump_mm=1.0, bump_wave_mm=20),
        layer("fascia fat", -1, *holes),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Shoulder, pelvis, thigh: given for the left, mirrored for the right


def _shoulder(side: int) -> list[Layer]:
    name = "left" if side > 0 else "right"
    clavicle = [(22, -50, 419), (60, -54, 432), (105, -26, 446), (150, 8, 450)]
    edge = [(92, 96, 300), (116, 88, 345), (146, 56, 410), (152, 38, 425)]
    inner = [(92, 96, 300), (82, 98, 350), (76, 91, 405), (90, 76, 438)]
    plate = [tube(mirrored([edge[k], inner[k]], side), 3.2, smooth=False) for k in range(4)]
    plate += [
        tube(mirrored([np.mean((edge[k], edge[k + 1]), axis=0), np.mean((inner[k], inner[k + 1]), axis=0)], side), 3)
        for k in range(3)
    ]
    spine = tube(mirrored([(78, 98, 415), (116, 88, 430), (152, 56, 446), (164, 28, 448)], side), (3.5, 4.5, 5.5, 5))
    coracoid = tube(mirrored([(146, 40, 432), (138, 12, 438)], side), (7, 5))
    humerus = [
        ellipsoid(mirrored([(170, 26, 422)], side)[0], (22, 22, 23)),
        tube(mirrored([(174, 26, 424), (196, 20, 470), (222, 8, 570)], side), (19, 13, 11.5)),
    ]
    return [
        layer("flat bone", NUMBERS[f"{name} clavicle"], tube(mirrored(clavicle, side), (9, 6.2, 6, 7))),
        layer(
            "flat bone",
            NUMBERS[f"{name} scapula"],
            tube(mirrored(edge, side), (4, 5, 6.5, 11)),
            tube(mirrored(inner, side), 3.8),
            *plate,
            spine,
            coracoid,
            blend_mm=7,
        ),
        layer("long bone", NUMBERS[f"{name} humerus"], *humerus, blend_mm=8),
    ]


HIP_JOINT = np.array([88.0, -2.0, -112.0])
ASIS: Any = np.array([122.0, -56.0, -32.0])
WING_RAYS = 24
SYMPHYSIS = np.array([0.0, -62.0, -130.0])


def _pelvis(side: int) -> list[Layer]:
    name = "left" if side > 0 else "right"
    crest: list[Any] = [ASIS, (134, -20, 10), (128, 20, 24), (106, 56, 20), (78, 84, 2), (56, 98, -22), (54, 96, -52)]
    root: list[Any] = [
        (98, -38, -80),
        (98, -18, -78),
        (94, 4, -76),
        (86, 26, -72),
        (76, 46, -66),
        (64, 68, -60),
        (56, 88, -58),
    ]
    # a fan so dense that no slice shows its rays one by one
    wing = [
        tube(mirrored([a, b], side), (4.8, 4.0), smooth=False)
        for a, b in zip(curve(root, WING_RAYS), curve(crest, WING_RAYS))
    ]
    rim = tube(mirrored(crest, side), (6.5, 5.5, 6, 5.5, 5.5, 6.5, 6))
    base = tube(mirrored(root, side), (9, 9, 9, 8, 7, 7, 7))
    socket = ellipsoid(mirrored([HIP_JOINT], side)[0] + (-side * 3, 2, 3), (30, 32, 33))
    pubis = [
        tube(mirrored([(78, -28, -104), (40, -56, -112), (12, -60, -124)], side), (11, 8, 9)),
        tube(mirrored([(10, -58, -132), (28, -34, -160), (52, 14, -170)], side), (8, 6, 9)),
        tube(mirrored([(84, 22, -116), (70, 38, -142), (58, 32, -166)], side), (18, 15, 15)),
    ]
    joint = ellipsoid(mirrored([HIP_JOINT + (9, 0, -8)], side)[0], (33, 29, 29))
    return [
        layer(
            "pelvis", NUMBERS[f"{name} hip"], *wing, rim, base, socket, *pubis,
            blend_mm=8, bump_mm=0.7, bump_wave_mm=22,
        ),
        layer("muscle", NUMBERS["other muscle"], joint, ellipsoid(mirrored([HIP_JOINT], side)[0], (26, 26, 26))),
        *_femur(side, name),
        layer("cartilage", -1, box(SYMPHYSIS, (3.5, 9, 18), 2)),
    ]  # fmt: skip


def _femur(side: int, name: str) -> list[Layer]:
    number = NUMBERS[f"{name} femur"]
    head = mirrored([HIP_JOINT], side)[0]
    upper = [
        ellipsoid(head, (23.5, 23.5, 23.5)),
        tube(mirrored([HIP_JOINT, (112, 2, -126), (128, 8, -140)], side), (17, 15, 19)),
        ellipsoid(mirrored([(132, 12, -134)], side)[0], (15, 20, 24)),
        tube(mirrored([(128, 8, -140), (120, 10, -180), (116, 6, -230)], side), (20, 17, 14.5)),
        ellipsoid(mirrored([(108, 24, -172)], side)[0], (10, 9, 13)),
    ]
    shaft = tube(mirrored([(118, 8, -205), (115, 4, -280), (108, 4, -460)], side), (15.5, 14, 14))
    return [
        layer("long bone", number, *upper, blend_mm=9),
        layer("shaft", number, shaft),
    ]
