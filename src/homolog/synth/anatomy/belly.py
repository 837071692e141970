"""The organs of belly and pelvis, and their vessels."""

from __future__ import annotations

import numpy as np

from homolog.synth.anatomy.shapes import Layer, ellipsoid, inflated, layer, mirrored, tube
from homolog.synth.anatomy.structures import NUMBERS
from homolog.synth.anatomy.trees import Inside, Tree, branches, inside_any, inside_ellipsoid

RIGHT_LOBE = ((-71, 2, 164), (59, 75, 74), (0, 0, 0))
LEFT_LOBE = ((0, -44, 186), (54, 29, 36), (0, 14, 8))
LOWER_LOBE = ((-92, 4, 118), (32, 44, 44), (0, 8, 0))
SPLEEN = ((92, 44, 186), (26, 40, 56), (-28, -10, 0))
# middles of the kidneys: the right one lies lower
KIDNEYS = {-1: np.array([-60.0, 44.0, 102.0]), 1: np.array([61.0, 45.0, 118.0])}
PANCREAS = [
    (-30, -10, 106),
    (-29, -16, 124),
    (-10, -26, 138),
    (14, -24, 146),
    (38, -4, 154),
    (62, 18, 162),
    (78, 30, 168),
]
STOMACH = [(52, 22, 222), (66, 6, 204), (74, -22, 176), (66, -46, 148), (40, -62, 132), (8, -62, 130), (-18, -50, 134)]
GALLBLADDER = [(-36, -34, 140), (-44, -50, 124), (-52, -62, 106)]
COLON = [(-84, -22, -24), (-88, -16, 0), (-93, 6, 44), (-94, 12, 76), (-84, -18, 96), (-58, -58, 92), (-10, -66, 76),
         (38, -64, 92), (74, -34, 130), (92, 8, 150), (100, 36, 122), (98, 36, 72), (97, 26, 16), (86, 2, -22),
         (56, -14, -48), (28, -6, -30), (6, 10, -44), (-6, 40, -52), (2, 58, -72)]  # fmt: skip
COLON_RADII = (26, 26, 24, 22, 20, 19, 19, 18, 18, 17, 16, 15.5, 15, 15, 14, 14, 14, 14, 15)
RECTUM = [(2, 58, -72), (0, 68, -96), (0, 58, -126), (0, 48, -150), (0, 52, -172)]
BLADDER = ((0, -28, -100), (41, 32, 29), (0, 0, 0))
BIFURCATION = np.array([6.0, 2.0, 36.0])
CAVA = [(-18, 8, 26), (-19, 6, 70), (-20, 4, 120), (-22, 0, 170), (-24, -8, 214), (-26, -16, 248), (-28, -26, 272)]
CONFLUENCE = np.array([-8.0, -12.0, 138.0])
PORTA = np.array([-40.0, -14.0, 164.0])


def _liver() -> list[np.ndarray]:
    return [ellipsoid(*RIGHT_LOBE), ellipsoid(*LEFT_LOBE), ellipsoid(*LOWER_LOBE)]


def _in_liver() -> Inside:
    return inside_any(
        *(inside_ellipsoid(np.array(c), np.array(r) - 6.0) for c, r, _ in (RIGHT_LOBE, LEFT_LOBE, LOWER_LOBE))
    )


def layers() -> list[Layer]:
    """From behind and above to what lies on it."""
    return [
        *_liver_layers(),
        *perirenal(),
        layer("spleen", NUMBERS["spleen"], ellipsoid(*SPLEEN), bump_mm=2.2, bump_wave_mm=34),
        *_kidneys(),
        *_adrenals(),
        *_pelvis_organs(),
        *_bowels(),
        *_vessels(),
        *_upper(),
    ]


def _liver_layers() -> list[Layer]:
    portal = branches(Tree(PORTA, np.array([-1, 0.15, 0.2]), 30, 6), 7, _in_liver(), 3)
    left = branches(Tree(PORTA, np.array([0.75, -0.6, 0.5]), 28, 4.6), 6, _in_liver(), 4)
    top = np.array([-25.0, -6.0, 212.0])
    veins = [
        branches(Tree(top, np.array(direction), 34, 4.6), 6, _in_liver(), 20 + n)
        for n, direction in enumerate([(-1.0, 0.25, -0.45), (-0.6, -0.6, -0.75), (0.8, -0.7, -0.2)])
    ]
    slits = [
        ellipsoid((-2, -54, 170), (2.5, 26, 26), (0, 10, -12)),
        ellipsoid((-24, -18, 168), (24, 3, 10), (0, -20, 20)),
    ]
    return [
        layer("liver", NUMBERS["liver"], *_liver(), blend_mm=20, bump_mm=2.0, bump_wave_mm=44),
        layer("fascia fat", NUMBERS["visceral fat"], *slits, bump_mm=1.0, bump_wave_mm=16),
        layer("hepatic vein", -1, *veins),
        layer("portal vein", -1, portal, left),
    ]


def _kidneys() -> list[Layer]:
    found = []
    for side, middle in KIDNEYS.items():
        number = NUMBERS["left kidney" if side > 0 else "right kidney"]
        upper, lower = middle + (-side * 6, 7, 20), middle + (side * 5, -4, -20)
        body = tube([upper, middle + (side * 3, 1, 0), lower], (25.2, 24.8, 25.2), flat=(side, -0.6, 0), flatter=1.08)
        inner = side * -1.0
        sinus = tube(
            [middle + (inner * 26, -8, 12), middle + (inner * 6, -1, 0), middle + (inner * 24, -8, -14)], (7, 9, 7)
        )
        cups = [
            tube([middle + (inner * 8, -2, 0), middle + (side * d, e, dz)], (3.5, 4.5))
            for d, e, dz in ((7, 4, 22), (9, 8, 9), (9, 6, -6), (6, 0, -22), (6, -9, 8), (6, -9, -12))
        ]
        found += [
            layer("kidney", number, body, blend_mm=10, bump_mm=1.0, bump_wave_mm=22),
            layer("renal sinus", NUMBERS["visceral fat"], sinus, blend_mm=6, bump_mm=1.0, bump_wave_mm=10),
            layer("renal sinus", -1, *cups, blend_mm=4),
        ]
    return found


def _adrenals() -> list[Layer]:
    right = [(-32, 26, 152), (-31, 22, 166), (-29, 18, 180)]
    left = [(34, 26, 150), (33, 20, 162), (32, 14, 172)]
    limbs = {
        "right": [tube(right, (3.8, 5.4, 3.6), flat=(1, 0, 0), flatter=1.3),
                  tube([right[1], (-37, 36, 156)], (4.2, 3.2)),
                  tube([right[1], (-28, 36, 155)], (4.0, 3.2))],
        "left": [tube(left, (3.8, 5.6, 3.8), flat=(1, 0, 0), flatter=1.3), tube([left[1], (42, 32, 152)], (4.2, 3.2)),
                 tube([left[1], (31, 34, 152)], (4.0, 3.2))],
    }  # fmt: skip
    return [layer("adrenal", NUMBERS[f"{side} adrenal gland"], *parts, blend_mm=4) for side, parts in limbs.items()]


def _pelvis_organs() -> list[Layer]:
    seminal = [tube(mirrored([(4, 6, -124), (24, 12, -114)], side), (5, 4)) for side in (-1, 1)]
    return [
        layer("urine", NUMBERS["urinary bladder"], ellipsoid(*BLADDER), bump_mm=2.0, bump_wave_mm=40),
        layer("prostate", NUMBERS["prostate"], ellipsoid((0, -16, -142), (22, 17, 17)), bump_mm=0.8, bump_wave_mm=15),
        layer("prostate", -1, *seminal),
    ]


def small_bowel_way() -> np.ndarray:
    """(N, 3): loops to and fro in the belly's middle, uneven as they are."""
    rng = np.random.default_rng(11)
    points: list[np.ndarray] = [np.array([16.0, -22.0, 92.0])]
    for level, z in enumerate(np.arange(66.0, -66.0, -25.0)):
        half = np.interp(z, (-62, -20, 40, 80), (46, 70, 72, 60))
        depths = [-56.0, -24.0] if level % 2 else [-24.0, -56.0]
        for row, y in enumerate(depths):
            reach = half * (1 if y < -40 else 0.72)
            steps = np.linspace(-reach, reach, 6) * (-1) ** (level + row)
            wave = 11 * np.sin(np.arange(6) * np.pi * 0.9 + level)
            depth = np.maximum(y + 5 * rng.normal(size=6), -61)
            points += list(np.c_[steps, depth, z + wave + 3 * rng.normal(size=6)])
    return np.array([*points, (-50, -20, -30), (-72, -18, -18)])


# loops beside the left kidney, and those that hang into the pelvis
JEJUNUM = [(26, -22, 94), (48, -36, 108), (76, -32, 112), (82, -6, 102), (56, -4, 98), (42, -42, 88), (70, -50, 88),
           (84, -24, 80), (56, -14, 76), (38, -30, 70)]  # fmt: skip
ILEUM = [(-62, -16, -48), (-44, 4, -68), (-22, 26, -62), (-36, 40, -80), (-8, 30, -84), (26, 38, -88), (40, 20, -72),
         (22, 12, -58), (-12, 4, -56), (-48, -18, -34)]  # fmt: skip


def _bowels() -> list[Layer]:
    bowel, colon = small_bowel_way(), tube(COLON, COLON_RADII, step_mm=11)
    duodenum = tube([(-22, -46, 134), (-44, -26, 128), (-50, -4, 108), (-44, 2, 84), (-10, -8, 74),
                     (24, -6, 84), (26, -22, 94)],
                    (13, 13, 12.5, 12, 11, 11, 11))  # fmt: skip
    radii = 11.5 + 1.8 * np.sin(np.arange(len(bowel)) * 1.7)
    mesentery = branches(Tree(np.array([2, -14, 84]), np.array([-0.1, -0.5, -1]), 26, 4.5), 8,
                         inside_ellipsoid(np.array([0, -38, 14]), np.array([92, 34, 84])), 5)  # fmt: skip
    omentum = branches(Tree(np.array([0, -70, 100]), np.array([0.4, 0, -1]), 24, 1.8), 6,
                       inside_ellipsoid(np.array([0, -72, 40]), np.array([80, 7, 80])), 6)  # fmt: skip
    return [
        layer("hepatic vein", -1, mesentery, omentum, *_to_the_left()),
        layer(
            "small bowel",
            NUMBERS["small bowel"],
            tube(bowel, radii, step_mm=9),
            tube(JEJUNUM, 13.5, step_mm=9),
            tube(ILEUM, 11.5, step_mm=9),
            bump_mm=1.8,
            bump_wave_mm=17,
        ),
        layer("duodenum", NUMBERS["small bowel"], duodenum, bump_mm=1.2, bump_wave_mm=14),
        layer("colon", NUMBERS["colon"], colon, bump_mm=2.6, bump_wave_mm=24),
        layer("rectum", NUMBERS["rectum"], tube(RECTUM, (15, 18, 18, 12, 9)), bump_mm=1.5, bump_wave_mm=25),
    ]


def _to_the_left() -> list[np.ndarray]:
    """Vessels of the jejunum and of the sigmoid colon, in their fat."""
    upper = Tree(np.array([10, -18, 92]), np.array([1, -0.3, 0.2]), 22, 3.6)
    lower = Tree(np.array([10, 0, 44]), np.array([0.5, 0.1, -1]), 30, 2.8)
    return [
        branches(upper, 7, inside_ellipsoid(np.array([52, -26, 92]), np.array([42, 32, 36])), 8),
        branches(lower, 7, inside_ellipsoid(np.array([16, 14, -36]), np.array([58, 34, 66])), 9),
    ]


def _vessels() -> list[Layer]:
    """Cava and iliacs, then the arteries to the gut and the kidneys."""
    iliac_veins = [tube(mirrored([(24, 22, -10), (50, 24, -52), (62, -18, -92), (70, -50, -128),
                                  (72, -50, -250)], side),
                        (8, 7.5, 7, 6.5, 6)) for side in (-1, 1)]  # fmt: skip
    joins = [
        tube([(-18, 8, 26), (-22, 20, -10)], (8.5, 8)),
        tube([(-18, 8, 26), (6, 14, 10), (24, 22, -10)], (8, 8, 8)),
    ]
    iliac_arteries = [
        tube(
            [
                BIFURCATION,
                *mirrored([(26, 8, -2), (50, 12, -44), (64, -28, -90), (76, -56, -126), (78, -58, -250)], side),
            ],
            (6.5, 6, 5.5, 5, 4.8, 4.2),
        )
        for side in (-1, 1)
    ]
    renal_veins = [tube([(-20, 4, 112), (-36, 22, 108), (-46, 34, 103)], (6, 5.5, 5)),
                   tube([(-16, 0, 120), (6, -12, 121), (30, 14, 120), (46, 36, 118)], (5.5, 4, 5.5, 5))]  # fmt: skip
    renal_arteries = [
        tube([(8, 2, 116), (-20, 20, 112), (-44, 36, 104)], 2.9),
        tube([(8, 2, 118), (28, 24, 118), (46, 36, 119)], 2.9),
    ]
    mesenteric = [tube([(7, -6, 126), (6, -20, 112), (2, -22, 84), (-4, -24, 40)], (4, 3.8, 3.2, 2.2)),
                  tube([(7, 0, 144), (6, -14, 146)], 3.6)]  # fmt: skip
    coeliac = [
        tube([(6, -14, 146), (-18, -20, 148), (-34, -20, 158)], (3, 2.8, 2.4)),
        tube([(6, -14, 146), (34, 2, 160), (70, 28, 176)], 2.8),
        tube([(6, -14, 146), (20, -16, 176), (30, -8, 200)], 2),
    ]
    cava = tube(CAVA, (10.5, 10.8, 11, 11.5, 12, 12, 12), flat=(0, 1, 0), flatter=1.12)
    other = NUMBERS["visceral arteries and veins"]
    return [
        layer("vein", NUMBERS["iliac vessels"], *iliac_veins, *joins),
        layer("artery", NUMBERS["iliac vessels"], *iliac_arteries),
        layer("renal vein", NUMBERS["inferior vena cava"], cava),
        layer("renal vein", other, *renal_veins),
        layer("artery", other, *renal_arteries, *mesenteric, *coeliac),
    ]  # fmt: skip


def _upper() -> list[Layer]:
    """Pancreas, portal vein, gallbladder and stomach lie on top of what they cross."""
    mesenteric = tube([(-6, -28, 64), (-8, -22, 100), CONFLUENCE], (4.5, 5.5, 6.5))
    trunk = tube([CONFLUENCE, (-24, -15, 152), PORTA], (7, 7, 6.5))
    splenic = tube([CONFLUENCE, (14, -12, 147), (40, 8, 156), (64, 28, 166), (76, 36, 176)], (5.5, 4.8, 4.5, 4.2, 3.6))
    duct = tube([(-36, -20, 162), (-30, -14, 138), (-34, -8, 110)], 2.6)
    stomach = tube(STOMACH, (25, 27, 26, 24, 21, 18, 12))
    return [
        layer("pancreas", NUMBERS["pancreas"], tube(PANCREAS, (11, 14.5, 10, 10.5, 10.5, 10.5, 8)), blend_mm=8,
              bump_mm=2.0, bump_wave_mm=11),
        layer("bile duct", -1, duct),
        layer("portal vein", NUMBERS["portal and splenic vein"], mesenteric, trunk, splenic),
        layer("stomach", NUMBERS["stomach"], stomach, blend_mm=12, bump_mm=2.5, bump_wave_mm=34),
        layer("gallbladder", NUMBERS["gallbladder"], tube(GALLBLADDER, (7, 12, 14.5)), bump_mm=0.8, bump_wave_mm=24),
    ]  # fmt: skip


def perirenal() -> list[Layer]:
    """The fat that kidneys lie in, cut out of liver and muscle; before the kidneys are painted."""
    shapes = [inflated(tube([middle + (0, 4, 24), middle + (0, 0, -26)], 31.0), 0) for middle in KIDNEYS.values()]
    return [layer("visceral fat", NUMBERS["visceral fat"], *shapes, bump_mm=2.0, bump_wave_mm=35)]
