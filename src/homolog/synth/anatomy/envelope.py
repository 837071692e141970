"""Skin, fat, the wall of muscle and the cavities: what everything else lies in."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from homolog.synth.anatomy.shapes import Layer, ellipsoid, inflated, layer, mirrored, stacked, tube
from homolog.synth.anatomy.structures import NUMBERS

# z, middle x, y front, y back, half width, power
SKIN = np.array(
    [
        (580, 0, -52, 76, 60, 2.0), (500, 0, -48, 80, 62, 2.0), (474, 0, -54, 88, 82, 2.0),
        (455, 0, -62, 97, 128, 2.1), (436, 0, -76, 112, 172, 2.2), (410, 0, -95, 117, 190, 2.3),
        (375, 0, -109, 119, 180, 2.4), (330, 0, -118, 120, 167, 2.45), (280, 0, -117, 119, 162, 2.5),
        (220, 0, -113, 119, 157, 2.45), (150, 0, -109, 118, 149, 2.4), (100, 0, -107, 117, 147, 2.35),
        (50, 0, -110, 116, 154, 2.35), (0, 0, -111, 120, 166, 2.4), (-60, 0, -108, 126, 177, 2.4),
        (-110, 0, -98, 130, 181, 2.5), (-150, 0, -90, 127, 178, 2.6), (-185, 0, -86, 117, 174, 2.8),
    ]
)  # fmt: skip
LEG = np.array(
    [(-150, 90, -88, 120, 86, 2.1), (-200, 92, -84, 108, 84, 2.1), (-280, 92, -78, 90, 78, 2.1),
     (-460, 90, -68, 80, 66, 2.0)]
)  # fmt: skip
WALL = np.array(
    [
        (580, 0, -42, 68, 50, 2.0), (500, 0, -38, 70, 53, 2.0), (474, 0, -42, 78, 70, 2.0),
        (455, 0, -48, 87, 112, 2.1), (436, 0, -60, 97, 158, 2.2), (410, 0, -82, 102, 176, 2.3),
        (375, 0, -96, 106, 166, 2.4), (330, 0, -102, 108, 152, 2.45), (280, 0, -100, 107, 146, 2.5),
        (220, 0, -97, 107, 142, 2.45), (150, 0, -92, 105, 134, 2.4), (100, 0, -89, 104, 130, 2.35),
        (50, 0, -90, 102, 133, 2.35), (0, 0, -90, 101, 140, 2.4), (-60, 0, -84, 100, 146, 2.4),
        (-110, 0, -76, 102, 150, 2.4), (-150, 0, -70, 96, 150, 2.5), (-185, 0, -68, 90, 148, 2.6),
    ]
)  # fmt: skip
LEG_WALL = np.array(
    [(-150, 88, -68, 92, 70, 2.1), (-200, 90, -66, 82, 70, 2.1), (-280, 90, -62, 76, 65, 2.1),
     (-460, 88, -54, 66, 55, 2.0)]
)  # fmt: skip
# the inner side of ribs, belly wall and pelvis
CAVITY = np.array(
    [
        (462, 0, 0, 62, 45, 2.0), (446, 0, -22, 74, 74, 2.1), (415, 0, -54, 86, 112, 2.3),
        (380, 0, -71, 93, 126, 2.4), (330, 0, -82, 97, 132, 2.5), (280, 0, -84, 98, 132, 2.5),
        (220, 0, -82, 95, 128, 2.45), (150, 0, -78, 80, 119, 2.4), (100, 0, -76, 62, 112, 2.4),
        (50, 0, -77, 52, 111, 2.4), (0, 0, -76, 52, 114, 2.3), (-50, 0, -68, 74, 90, 2.2),
        (-100, 0, -58, 76, 50, 1.9), (-140, 0, -34, 60, 29, 1.9), (-160, 0, -20, 50, 24, 2.0),
    ]
)  # fmt: skip
RIGHT_DOME = ellipsoid((-66, 4, 158), (67, 84, 86))
LEFT_DOME = ellipsoid((62, 8, 152), (64, 80, 76))
MIDDLE_DOME = ellipsoid((0, -22, 150), (70, 58, 82))


def outline(knots: np.ndarray, z_mm: float | np.ndarray) -> np.ndarray:
    """(5,) or (N, 5) middle x, y front, y back, half width, power of a stack's cross-sections at heights."""
    ordered = knots[np.argsort(knots[:, 0])]
    return PchipInterpolator(ordered[:, 0], ordered[:, 1:])(np.clip(z_mm, ordered[0, 0], ordered[-1, 0]))


def on_wall(knots: np.ndarray, angle: np.ndarray | float, z_mm: float, beyond_mm: float, side: int) -> np.ndarray:
    """(3,) the point of a cross-section's rim at an angle, from 0 at the back to pi in front."""
    x, front, back, half, power = outline(knots, z_mm)
    round_ = 2 / power
    sine, cosine = np.sin(angle), np.cos(angle)
    across = (half + beyond_mm) * np.abs(sine) ** round_
    along = ((back - front) / 2 + beyond_mm) * np.sign(cosine) * np.abs(cosine) ** round_
    return np.array([x + side * across, (front + back) / 2 + along, z_mm])


def layers() -> list[Layer]:
    """From the skin inwards to the two cavities."""
    return [
        _skin("skin", 0.0),
        _skin("subcutaneous fat", 2.0),
        layer("leg muscle", NUMBERS["other muscle"], *_arms(-20), blend_mm=10),
        stacked("leg muscle", NUMBERS["other muscle"], *_both(LEG_WALL), bump_mm=2.5, bump_wave_mm=45),
        stacked("trunk muscle", NUMBERS["other muscle"], WALL, bump_mm=2.0, bump_wave_mm=50),
    ]


def cavities() -> list[Layer]:
    """The fat of chest and belly, before lungs and organs."""
    return [stacked("visceral fat", NUMBERS["visceral fat"], CAVITY, bump_mm=1.0, bump_wave_mm=60)]


def domes() -> list[Layer]:
    """The diaphragm, and the belly's fat below it, painted over the lungs."""
    shapes = np.concatenate((RIGHT_DOME, LEFT_DOME, MIDDLE_DOME))
    style = {"blend_mm": 16.0, "bump_mm": 1.5, "bump_wave_mm": 60.0}
    return [
        layer("diaphragm", NUMBERS["other muscle"], inflated(shapes, 2.5), **style),
        layer("visceral fat", NUMBERS["visceral fat"], shapes, **style),
    ]


def _skin(name: str, deep_mm: float) -> Layer:
    """Trunk, thighs and the arms, which are held up."""
    stacks = tuple(_narrower(knots, deep_mm) for knots in (SKIN, *_both(LEG)))
    return Layer(name, NUMBERS[name], np.concatenate(_arms(-deep_mm)), stacks, 24.0, 0.8, 60.0)


def _arms(by_mm: float) -> list[np.ndarray]:
    way = np.array([(150, 24, 405), (184, 22, 450), (216, 10, 570)])
    return [inflated(tube(mirrored(way, side), (62, 60, 50)), by_mm) for side in (-1, 1)]


def _narrower(knots: np.ndarray, by_mm: float) -> np.ndarray:
    return knots + np.array([0, 0, by_mm, -by_mm, -by_mm, 0])


def _both(knots: np.ndarray) -> list[np.ndarray]:
    return [np.c_[knots[:, :1], side * knots[:, 1:2], knots[:, 2:]] for side in (-1, 1)]
