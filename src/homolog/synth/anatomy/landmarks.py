"""Named points of the canonical body, LPS mm, each with the structure it lies in."""

from __future__ import annotations

from functools import cache

import numpy as np

from homolog.synth.anatomy import belly, chest, muscles, skeleton
from homolog.synth.anatomy.structures import FIRST_LEFT_RIB, FIRST_RIGHT_RIB, FIRST_VERTEBRA, NUMBERS, VERTEBRAE


@cache
def landmarks() -> dict[str, tuple[int, tuple[float, float, float]]]:
    """name -> the number of its structure, its place."""
    found: dict[str, tuple[int, np.ndarray]] = {}
    for part in (_spine(), _ribs(), _chest(), _belly(), _limbs()):
        for name, (number, place) in part.items():
            found[name] = number, np.asarray(place, float)
    return {name: (number, tuple(place.tolist())) for name, (number, place) in found.items()}


def _spine() -> dict:
    points: dict = {}
    for n, name in enumerate(VERTEBRAE):
        z = skeleton.VERTEBRA_Z[n]
        points[f"{name} body"] = FIRST_VERTEBRA + n, (0, skeleton.spine_y(z) - 3, z)
        points[f"{name} spinous tip"] = FIRST_VERTEBRA + n, skeleton.spinous_tip(n)
    points["sacral promontory"] = NUMBERS["sacrum"], (0, 46, -32)
    return points


def _ribs() -> dict:
    points = {}
    for side, first, name in ((-1, FIRST_RIGHT_RIB, "right"), (1, FIRST_LEFT_RIB, "left")):
        for n in range(12):
            way = skeleton.rib_way(n, side)
            points[f"{name} rib {n + 1} end"] = first + n, 0.35 * way[-1] + 0.65 * way[-2]
            points[f"{name} rib {n + 1} side"] = first + n, way[len(way) // 2]
    return points


def _chest() -> dict:
    bone = NUMBERS["sternum"]
    return {
        "carina": (NUMBERS["trachea and bronchi"], chest.CARINA),
        "aortic arch": (NUMBERS["aorta"], chest.AORTA[3]),
        "aortic root": (NUMBERS["aorta"], chest.AORTA[1]),
        "aorta at the diaphragm": (NUMBERS["aorta"], chest.AORTA[8]),
        "left ventricle": (NUMBERS["heart"], chest.LEFT_VENTRICLE[0]),
        "right atrium": (NUMBERS["heart"], chest.RIGHT_ATRIUM[0]),
        "heart apex": (NUMBERS["heart"], (53, -52, 258)),
        "pulmonary trunk": (NUMBERS["pulmonary vessels"], (14, -44, 344)),
        "manubrium": (bone, skeleton.STERNUM[1]),
        "sternal body": (bone, skeleton.STERNUM[4]),
        "right lung apex": (NUMBERS["right lung"], (-36, 32, 448)),
        "left lung apex": (NUMBERS["left lung"], (36, 32, 448)),
    }


def _belly() -> dict:
    points = {
        "liver centre": (NUMBERS["liver"], (-80, 8, 176)),
        "liver dome": (NUMBERS["liver"], (-71, 2, 228)),
        "liver lower tip": (NUMBERS["liver"], (-108, 22, 112)),
        "liver left tip": (NUMBERS["liver"], (34, -46, 190)),
        "spleen centre": (NUMBERS["spleen"], belly.SPLEEN[0]),
        "gallbladder fundus": (NUMBERS["gallbladder"], belly.GALLBLADDER[-1]),
        "stomach fundus": (NUMBERS["stomach"], belly.STOMACH[0]),
        "stomach antrum": (NUMBERS["stomach"], belly.STOMACH[4]),
        "pancreas head": (NUMBERS["pancreas"], belly.PANCREAS[1]),
        "pancreas tail": (NUMBERS["pancreas"], (50, 6, 158)),
        "portal confluence": (NUMBERS["portal and splenic vein"], belly.CONFLUENCE),
        "right adrenal": (NUMBERS["right adrenal gland"], (-31, 22, 166)),
        "left adrenal": (NUMBERS["left adrenal gland"], (33, 20, 162)),
        "aortic bifurcation": (NUMBERS["aorta"], (6.5, 1, 48)),
        "cava at the kidneys": (NUMBERS["inferior vena cava"], belly.CAVA[2]),
        "bladder": (NUMBERS["urinary bladder"], belly.BLADDER[0]),
        "caecum": (NUMBERS["colon"], belly.COLON[1]),
        "splenic flexure": (NUMBERS["colon"], (97, 22, 140)),
        "rectum": (NUMBERS["rectum"], belly.RECTUM[1]),
        "prostate": (NUMBERS["prostate"], (0, -16, -142)),
    }
    for side, name in ((-1, "right"), (1, "left")):
        middle, number = belly.KIDNEYS[side], NUMBERS[f"{name} kidney"]
        points[f"{name} kidney upper pole"] = number, middle + (-side * 7, 8, 38)
        points[f"{name} kidney lower pole"] = number, middle + (side * 6, -5, -38)
        points[f"{name} renal hilum"] = number, middle + (side * 15, 6, 0)
    return points


def _limbs() -> dict:
    points = {}
    for side, name in ((-1, "right"), (1, "left")):
        mirror = np.array([side, 1, 1])
        points[f"{name} femoral head"] = NUMBERS[f"{name} femur"], mirror * skeleton.HIP_JOINT
        points[f"{name} greater trochanter"] = NUMBERS[f"{name} femur"], mirror * (132, 12, -134)
        points[f"{name} anterior superior iliac spine"] = NUMBERS[f"{name} hip"], mirror * skeleton.ASIS
        points[f"{name} pubic tubercle"] = NUMBERS[f"{name} hip"], mirror * (13, -60, -126)
        points[f"{name} ischium"] = NUMBERS[f"{name} hip"], mirror * (60, 32, -160)
        points[f"{name} humeral head"] = NUMBERS[f"{name} humerus"], mirror * (170, 26, 422)
        points[f"{name} clavicle"] = NUMBERS[f"{name} clavicle"], mirror * (60, -54, 432)
        points[f"{name} scapular tip"] = NUMBERS[f"{name} scapula"], mirror * (92, 96, 303)
        points[f"{name} psoas"] = NUMBERS[f"{name} psoas"], mirror * np.array(muscles.PSOAS[2])
    return points
