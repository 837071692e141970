"""Muscles with planes of fat between them: of the back, the belly, the hips and the thighs."""

from __future__ import annotations

import numpy as np

from homolog.synth.anatomy.shapes import Layer, Point, ellipsoid, inflated, layer, mirrored, tube
from homolog.synth.anatomy.skeleton import spine_y
from homolog.synth.anatomy.structures import NUMBERS

PSOAS = [(27, 26, 165), (36, 34, 110), (45, 30, 50), (58, 12, -8), (70, -26, -70), (80, -34, -105), (104, 16, -158)]
GLUTEUS = [(56, 96, -40), (80, 94, -85), (112, 74, -140)]
_THIGH = (
    ([(100, -30, -150), (108, -40, -250), (104, -36, -460)], (16, 26, 24)),
    ([(130, 0, -170), (140, 0, -260), (132, -4, -460)], (18, 26, 24)),
    ([(50, -20, -150), (54, 0, -250), (66, 10, -460)], (18, 28, 22)),
    ([(62, 40, -180), (80, 50, -280), (80, 46, -460)], (16, 24, 26)),
    ([(100, 44, -180), (112, 46, -280), (108, 40, -460)], (14, 20, 22)),
    ([(88, -46, -110), (72, -50, -250), (54, -44, -460)], (6, 8, 8)),
)


def layers() -> list[Layer]:
    """Outer ones first; each cuts a plane of fat out of what it lies on."""
    return [one for side in (-1, 1) for one in (*_chest(side), *_back(side), *_hip(side), *_thigh(side))]


def deep_layers() -> list[Layer]:
    """Those that lie within the cavity."""
    return [one for side in (-1, 1) for one in _belly(side)]


def _muscle(number: int, shapes: np.ndarray, plane_mm: float = 1.6, kind: str = "muscle") -> list[Layer]:
    style = {"blend_mm": 6.0, "bump_mm": 1.0, "bump_wave_mm": 30.0}
    return [
        layer("fascia fat", NUMBERS["other muscle"], inflated(shapes, plane_mm), **style),
        layer(kind, number, shapes, **style),
    ]


def _name(what: str, side: int) -> int:
    return NUMBERS[f"{'left' if side > 0 else 'right'} {what}"]


def _at(points: list[Point] | list[tuple], side: int) -> np.ndarray:
    return mirrored(points, side)


def _chest(side: int) -> list[Layer]:
    other = NUMBERS["other muscle"]
    pectoral = tube(
        _at([(30, -90, 350), (80, -86, 372), (134, -52, 412)], side), (8, 12, 12), flat=(0, 1, 0.2), flatter=1.4
    )
    lower = tube(_at([(40, -93, 315), (88, -86, 350), (134, -48, 405)], side), (8, 11, 10), flat=(0, 1, 0), flatter=1.3)
    dorsal = tube(
        _at([(70, 96, 180), (112, 80, 280), (144, 54, 380)], side), (7, 12, 15), flat=(0.4, 1, 0), flatter=1.5
    )
    subscapular = tube(_at([(100, 84, 320), (118, 74, 380), (146, 40, 424)], side), (10, 13, 10))
    trapezius = tube(_at([(12, 96, 330), (38, 95, 415), (66, 76, 448), (30, 60, 520)], side), (7, 10, 12, 12))
    neck = [tube(_at([(24, -34, 428), (44, 4, 480), (48, 26, 580)], side), (7, 9, 9)),
            tube(_at([(22, 12, 430), (28, 28, 480), (28, 30, 580)], side), (10, 11, 11))]  # fmt: skip
    return [
        *_muscle(other, np.concatenate((pectoral, lower))),
        *_muscle(other, dorsal),
        *_muscle(other, subscapular),
        *_muscle(other, trapezius),
        *(one for shapes in neck for one in _muscle(other, shapes)),
    ]


def _back(side: int) -> list[Layer]:
    heights = np.array([-95.0, -60, -20, 20, 70, 120, 171, 231, 309, 380, 440, 500, 580])
    out = np.interp(heights, (-95, -20, 70, 171, 309, 440, 580), (18, 31, 37, 35, 27, 21, 19))
    back = np.interp(heights, (-95, -60, -20, 70, 171, 309, 440, 580), (20, 40, 50, 50, 43, 34, 36, 35))
    radius = np.interp(heights, (-95, -20, 35, 100, 171, 309, 440, 580), (6, 20, 27, 27, 21, 13, 14, 15))
    y = np.where(heights > -36, spine_y(np.maximum(heights, -36)), 52 + 0.6 * (-36 - heights)) + back
    way = np.c_[out * side, y, heights]
    return _muscle(_name("back muscle", side), tube(way, radius, step_mm=16), 1.8, "back muscle")


def _belly(side: int) -> list[Layer]:
    lumbar = tube(_at([(54, 66, 155), (66, 64, 90), (78, 56, 30)], side), (8, 12, 10), flat=(0, 1, 0), flatter=1.3)
    iliacus = tube(_at([(112, 10, 8), (98, -8, -40), (86, -28, -90)], side), (9, 13, 12))
    rectus = tube(_at([(40, -92, 240), (36, -86, 120), (34, -86, 0), (16, -70, -118)], side), (24, 29, 27, 12),
                  flat=(0, 1, 0), flatter=4.4)  # fmt: skip
    psoas = tube(_at(PSOAS, side), (7, 14, 20, 21, 17, 14, 9))
    obturator = tube(_at([(66, -20, -120), (58, 10, -135), (62, 40, -125)], side), (9, 10, 9))
    piriformis = tube(_at([(34, 78, -80), (70, 66, -92), (112, 30, -124)], side), (9, 12, 7))
    other = NUMBERS["other muscle"]
    return [
        *_muscle(other, np.concatenate((lumbar, iliacus, obturator, piriformis)), 1.0),
        *_muscle(other, rectus, 1.0),
        *_muscle(_name("psoas", side), psoas, 1.2),
    ]


def _hip(side: int) -> list[Layer]:
    largest = tube(_at(GLUTEUS, side), (24, 31, 24), flat=(-0.3 * side, 1, 0), flatter=1.25)
    largest = np.concatenate((largest, inflated(largest + _shift(largest, (side * 22, -12, 4)), -3)))
    middle = np.concatenate(
        (tube(_at([(134, 20, 6), (134, 16, -50), (136, 12, -118)], side), (12, 19, 9)),
         ellipsoid(_at([(122, 46, -40)], side)[0], (20, 26, 44)))
    )  # fmt: skip
    smallest = tube(_at([(120, 10, -30), (122, 4, -70), (134, 4, -118)], side), (10, 13, 8))
    number = _name("gluteal muscle", side)
    return [*_muscle(number, largest, 2.2), *_muscle(number, middle, 1.8), *_muscle(number, smallest, 1.4)]


def _shift(shapes: np.ndarray, by: tuple[float, float, float]) -> np.ndarray:
    """What to add to cones to move them."""
    move = np.zeros_like(shapes)
    move[:, 1:4], move[:, 4:7] = by, by
    return move


def _thigh(side: int) -> list[Layer]:
    other = NUMBERS["other muscle"]
    return [
        one for points, radii in _THIGH for one in _muscle(other, tube(_at(points, side), radii, step_mm=20), 2.0)
    ]  # fmt: skip
