"""Lungs, airways, mediastinum and heart."""

from __future__ import annotations

import numpy as np

from homolog.synth.anatomy.shapes import Layer, column, ellipsoid, inflated, layer, stacked, tube
from homolog.synth.anatomy.structures import NUMBERS
from homolog.synth.anatomy.trees import Tree, branches, inside_ellipsoid

# z, middle x, y front, y back, half width, power: for the left; the right lung is the wider one
_LUNG = np.array(
    [
        (460, 32, 14, 56, 18, 2.0), (446, 38, -8, 70, 30, 2.0), (415, 58, -44, 83, 50, 2.2),
        (380, 66, -64, 90, 58, 2.5), (330, 68, -76, 94, 62, 2.7), (280, 68, -79, 95, 62, 2.8),
        (230, 66, -74, 93, 60, 2.8), (205, 66, -44, 90, 60, 2.8), (186, 66, 8, 86, 58, 2.6), (172, 66, 40, 84, 50, 2.2),
    ]
)  # fmt: skip
# where the lungs' vessels set out to, for the left, and how thick
_LOBES = (((0.5, -0.2, 1.0), 4.8),
          ((0.5, 0.7, 0.5), 4.4), ((0.7, -0.9, 0.1), 4.6), ((0.8, -0.6, -0.7), 4.8),
          ((0.7, 0.2, -0.8), 5.6), ((0.6, 0.7, -0.6), 5.4), ((1.0, 0.2, 0.2), 4.4),
          ((0.4, 0.4, -1.0), 5.0))  # fmt: skip
CARINA = np.array([-2.0, 22.0, 378.0])
AORTA = [(-6, -18, 336), (-22, -32, 362), (-18, -26, 396), (2, -2, 414), (20, 26, 402), (26, 40, 372),
         (24, 42, 310), (17, 30, 250), (10, 18, 205), (7, 8, 160), (7, 0, 110), (7, -1, 70), (6, 2, 38)]  # fmt: skip
AORTA_RADII = (15, 15.5, 14.5, 13, 12.5, 12, 11.8, 11.2, 10.8, 10, 9.2, 8.8, 8.4)
LEFT_VENTRICLE = ((40, -32, 288), (36, 35, 52), (-32, 38, 0))
BASE = ((12, -30, 304), (28, 26, 32), (0, 0, 0))
RIGHT_VENTRICLE = ((6, -58, 288), (42, 27, 42), (-14, 22, 0))
RIGHT_ATRIUM = ((-34, -34, 296), (25, 30, 38), (0, 0, 0))
LEFT_ATRIUM = ((4, 4, 318), (36, 21, 27), (0, 0, 0))


def lungs() -> list[Layer]:
    """Lung tissue, its fissures and trees; what lies between the lungs is painted over their inner sides."""
    style = {"bump_mm": 1.0, "bump_wave_mm": 45.0}
    return [
        stacked("lung", NUMBERS["right lung"], _sided(_LUNG, -1), **style),
        stacked("lung", NUMBERS["left lung"], _sided(_LUNG, 1), **style),
        *_fissures(),
        *_trees(),
    ]


def _sided(knots: np.ndarray, side: int) -> np.ndarray:
    wider = np.array([1, side, 1, 1, 1, 1])
    return knots * wider


def _fissures() -> list[Layer]:
    oblique = [column((side * 70, 12, 312), (50, 96, 0.8), 0.4, (52, 0, side * 6)) for side in (-1, 1)]
    level = column((-76, -32, 334), (42, 36, 0.7), 0.3, (-4, 6, 0))
    return [layer("fissure", -1, *oblique, level, bump_mm=1.5, bump_wave_mm=40)]


def _trees() -> list[Layer]:
    vessels, airways, walls = [], [], []
    for side in (-1, 1):
        lung = inside_ellipsoid(np.array([side * 72, 10, 318]), np.array([55, 80, 125]))
        hilum = np.array([side * 36, 6, 346])
        for seed, (way, radius) in enumerate(_LOBES):
            root = Tree(hilum, np.array(way) * (side, 1, 1), 27, radius)
            vessels.append(branches(root, 7, lung, 10 * side + seed + 50))
        air = branches(Tree(hilum + (0, 16, 2), np.array([side, 0.1, -0.3]), 27, 5.5), 4, lung, 10 * side + 77)
        airways.append(air)
        walls.append(inflated(air, 1.0))
    main = [
        tube([CARINA, (-20, 22, 366), (-38, 20, 348)], (7.5, 7, 6)),
        tube([CARINA, (22, 24, 362), (46, 22, 348)], (7, 6.5, 6)),
    ]
    trachea = tube([(0, -2, 580), (0, 2, 500), (0, 10, 440), CARINA], (9, 9, 9, 8.5))
    number = NUMBERS["trachea and bronchi"]
    return [
        layer("pulmonary vessel", NUMBERS["pulmonary vessels"], *vessels),
        layer("airway wall", -1, *walls),
        layer("airway", number, *airways),
        layer("mediastinal fat", NUMBERS["mediastinal fat"], *_mediastinum(), blend_mm=14, bump_mm=1.5,
              bump_wave_mm=30),
        *_behind_the_breastbone(),
        layer("airway wall", NUMBERS["mediastinal fat"], inflated(np.concatenate((*main, trachea)), 1.6)),
        layer("airway", number, *main, trachea),
    ]  # fmt: skip


def _mediastinum() -> list[np.ndarray]:
    upper = tube([(0, 20, 470), (0, 14, 430), (0, 8, 400), (2, 0, 360)], (20, 25, 31, 35), flat=(0, 1, 0), flatter=0.75)
    front = tube([(0, -52, 400), (2, -62, 350), (12, -62, 300), (10, -60, 262)], (13, 15, 30, 34))
    back = tube([(12, 30, 400), (14, 32, 330), (12, 26, 260), (10, 24, 220)], (21, 20, 19, 19))
    heart = ellipsoid((8, -34, 296), (66, 48, 56), (-12, 14, 0))
    hila = [tube([(0, 8, 352), (side * 42, 10, 350)], (20, 13)) for side in (-1, 1)]
    return [upper, front, back, heart, *hila]


def _behind_the_breastbone() -> list[Layer]:
    nodes = [ellipsoid(place, size) for place, size in (
        ((-16, 8, 386), (5, 4, 7)), ((2, 16, 362), (8, 4, 6)), ((22, 6, 384), (5, 4, 5)), ((-26, 14, 352), (5, 4, 6)),
        ((-8, -40, 410), (3, 3, 5)),
    )]  # fmt: skip
    thymus = tube([(4, -56, 400), (4, -62, 365)], (7, 9), flat=(0, 1, 0), flatter=2)
    return [layer("muscle", -1, *nodes), layer("fascia fat", -1, thymus)]


def heart() -> list[Layer]:
    """Muscle with its blood, and the great vessels at its base."""
    number = NUMBERS["heart"]
    parts = [ellipsoid(*one) for one in (LEFT_VENTRICLE, RIGHT_VENTRICLE, RIGHT_ATRIUM, LEFT_ATRIUM, BASE)]
    trunk = tube([(6, -56, 318), (14, -44, 344), (12, -22, 362)], (14, 13.5, 13))
    arteries = [
        tube([(12, -22, 362), (-14, -4, 356), (-38, 2, 350)], (12, 10.5, 8)),
        tube([(12, -22, 362), (28, 4, 364), (44, 8, 356)], (12, 10.5, 8)),
    ]
    veins = [tube([(side * 26, 8, 320 + dz), (side * 44, 8, 326 + dz)], (7, 5.5)) for side in (-1, 1) for dz in (0, 14)]
    style = {"blend_mm": 9.0, "bump_mm": 1.2, "bump_wave_mm": 25.0}
    return [
        layer("myocardium", number, *parts, **style),
        layer("right blood", -1, _hollow(RIGHT_VENTRICLE, 5), _hollow(RIGHT_ATRIUM, 3.5), **style),
        layer("artery", -1, _hollow(LEFT_ATRIUM, 3), **style),
        layer("artery", -1, _hollow(LEFT_VENTRICLE, 11), bump_mm=2.0, bump_wave_mm=14),
        layer("fascia fat", -1, tube([(-12, -62, 326), (-20, -56, 290), (4, -34, 262)], 3.0),
              tube([(26, -68, 318), (34, -68, 286), (42, -62, 258)], 2.6)),
        layer("right blood", NUMBERS["pulmonary vessels"], trunk, *arteries, blend_mm=4),
        layer("pulmonary vessel", NUMBERS["pulmonary vessels"], *veins),
    ]  # fmt: skip


def _hollow(part: tuple, wall_mm: float) -> np.ndarray:
    centre, radii, turn = part
    return ellipsoid(centre, np.array(radii) - wall_mm, turn)


def great_vessels() -> list[Layer]:
    """Aorta, its branches to head and arms, and the veins beside them."""
    arteries = [tube([(-10, -10, 408), (-16, 0, 432), (-26, 4, 460), (-28, 10, 580)], (6.5, 6, 4, 3.5)),
                tube([(2, 0, 412), (14, 6, 440), (26, 8, 470), (28, 10, 580)], (5, 4, 3.6, 3.5)),
                tube([(14, 12, 410), (24, 20, 436), (60, 10, 446), (130, 10, 438)], (5.5, 5, 4.5, 4)),
                tube([(-18, 4, 436), (-40, 16, 446), (-70, 8, 446), (-130, 10, 438)], (5, 4.5, 4.5, 4))]  # fmt: skip
    necks = [tube([(side * 30, -18, 434), (side * 36, 0, 470), (side * 37, 6, 580)], (6.5, 6, 6)) for side in (-1, 1)]
    arms = [
        tube([(side * 32, -24, 430), (side * 70, -18, 436), (side * 130, 2, 430)], (6.5, 5.5, 5)) for side in (-1, 1)
    ]
    cava = tube([(-31, -24, 318), (-33, -18, 360), (-33, -20, 400), (-30, -22, 428)], (10, 9.5, 9, 7))
    crossing = tube([(-30, -24, 408), (0, -34, 418), (32, -24, 430)], (7, 6.5, 6.5))
    azygos = tube([(-6, 38, 200), (-5, 48, 300), (-8, 40, 372), (-26, 6, 384)], (2.5, 3, 3.5, 4))
    number = NUMBERS["carotid, subclavian and jugular vessels"]
    thyroid = [tube([(side * 15, -6, 452), (side * 19, -4, 468), (side * 18, 0, 488)], (7, 8.5, 5)) for side in (-1, 1)]
    aorta = tube(AORTA, AORTA_RADII)
    return [
        layer("vein", number, *necks, *arms),
        layer("artery", number, *arteries),
        layer("vein", NUMBERS["superior vena cava and brachiocephalic veins"], cava, crossing, azygos),
        layer("thyroid", NUMBERS["thyroid gland"], *thyroid, tube([(-14, -13, 460), (14, -13, 460)], 4)),
        layer("muscle", NUMBERS["mediastinal fat"], inflated(aorta, 1.3)),
        layer("artery", NUMBERS["aorta"], aorta),
    ]


OESOPHAGUS = [(0, 16, 580), (2, 22, 500), (5, 28, 440), (6, 36, 390), (4, 34, 340), (8, 26, 290), (15, 16, 248),
              (22, 6, 224), (36, 2, 214)]  # fmt: skip


def oesophagus() -> Layer:
    return layer("oesophagus", NUMBERS["oesophagus"], tube(OESOPHAGUS, (6.5, 6.5, 7, 7.5, 7.5, 8, 8.5, 9, 10)))
