"""The numbers and names of the labelled structures, and how each tissue looks.

Sources of the attenuations are in docs/methods/patients.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from homolog.kernels import implicit

VERTEBRAE = ("C7", *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6)))
FIRST_VERTEBRA, FIRST_RIGHT_RIB, FIRST_LEFT_RIB = 60, 80, 92
BTCV = tuple(range(1, 14))


@dataclass(frozen=True)
class Tissue:
    """How a tissue looks, in four pictures: CT native, arterial and portal in HU, and MR in its own units.

    core, shell  what it is inside, and within `shell_mm` of its surface
    texture      HU, of a grain of waves `texture_mm` long, of which `looks.SHARED` is the same in all patients
    own          HU, of a grain of the patient's own besides, of waves `own_mm` long
    stretch      below 1 the shared grain is drawn out along the body
    mode, a, b, c  see `kernels/implicit`: gas in guts, fat in muscles, the slope in lungs
    spread       how far the core differs between patients, as a share of it, at least 2 HU
    may_fill     whether cells may be filled by it alone
    """

    core: tuple[float, float, float, float]
    texture: float = 4.0
    texture_mm: float = 8.0
    own: float = 3.0
    own_mm: float = 9.0
    shell: tuple[float, float, float, float] | None = None
    shell_mm: float = 0.0
    mode: float = implicit.PLAIN
    a: float = 0.0
    b: float = 0.0
    c: float = 0.0
    stretch: float = 1.0
    spread: float = 0.06
    may_fill: bool = True

    @property
    def skin_deep_mm(self) -> float:
        """How deep below its surface a place still looks different from the middle."""
        return max(self.shell_mm, 2.5 * self.c if self.mode == implicit.MUSCLE else 0.0) + 1.0


FAT = (-103.0, -103.0, -102.0, 420.0)


def _fat(texture: float, wave_mm: float, own: float = 6.0) -> Tissue:
    return Tissue(FAT, texture, wave_mm, own, 14.0, spread=0.04)


def _muscle(marbling: float, fascia_mm: float = 0.0, stretch: float = 0.35) -> Tissue:
    return Tissue(
        (54, 58, 63, 190), 5, 9, 4, 7, mode=implicit.MUSCLE, a=marbling, b=-65.0, c=fascia_mm, stretch=stretch
    )


def _bone(core: float, cortex: float, cortex_mm: float, trabeculae: float = 17.0, mr: float = 300.0) -> Tissue:
    return Tissue(
        (core, core, core + 5, mr), trabeculae, 5.5, 12, 8, (cortex, cortex, cortex, 25), cortex_mm, spread=0.15
    )


def _blood(native: float, arterial: float, portal: float, own: float = 4.0) -> Tissue:
    return Tissue((native, arterial, portal, 300), 0, 8, own, 12, spread=0.1)


def _gut(content: float, bias: float, spread: float, own: float, own_mm: float, wall_mm: float) -> Tissue:
    return Tissue(
        (content, content, content, 110), 6, 7, own, own_mm, (42, 68, 84, 190), wall_mm,
        implicit.GUT, bias, spread, -960.0, spread=0.2, may_fill=False,
    )  # fmt: skip


# Names are looked up by the body's layers.
TISSUES: dict[str, Tissue] = {
    "skin": Tissue((5, 8, 10, 150), 10, 6, 8, 5, may_fill=False),
    "subcutaneous fat": _fat(7, 11, 10),
    "visceral fat": _fat(12, 8, 35),
    "mediastinal fat": _fat(9, 8, 20),
    "fascia fat": Tissue(FAT, 14, 7, may_fill=False),
    "trunk muscle": _muscle(1.55, 7.5),
    "leg muscle": _muscle(1.6),
    "muscle": _muscle(1.75),
    "back muscle": _muscle(1.25, stretch=0.25),
    "diaphragm": Tissue((50, 58, 62, 190), 4, 8, may_fill=False),
    "liver": Tissue((57, 68, 108, 260), 5, 9, 4, 14, spread=0.09),
    "spleen": Tissue((48, 118, 122, 170), 4, 8, 4, 10, spread=0.08),
    "kidney": Tissue((31, 70, 150, 170), 8, 9, 4, 8, (35, 165, 178, 230), 7.0, spread=0.1),
    "renal sinus": Tissue((-70, -65, -55, 350), 30, 7, may_fill=False),
    "gallbladder": Tissue((9, 9, 9, 90), 1, 9, 3, 12, (30, 40, 50, 180), 1.2, spread=0.3),
    "bile duct": Tissue((12, 14, 16, 100), 0, may_fill=False),
    "oesophagus": _gut(30, 1.3, 0.5, 6, 7, 3.0),
    "stomach": _gut(22, 0.6, 0.4, 42, 25, 4.0),
    "duodenum": _gut(18, 1.0, 0.5, 42, 20, 2.6),
    "small bowel": _gut(22, 1.15, 0.5, 50, 22, 2.4),
    "colon": _gut(5, 0.5, 0.75, 75, 7.5, 2.4),
    "rectum": _gut(10, 0.75, 0.6, 60, 8, 3.5),
    "pancreas": Tissue((40, 96, 88, 230), 14, 7, 5, 6, spread=0.08, may_fill=False),
    "adrenal": Tissue((22, 58, 62, 190), 3, 7, may_fill=False),
    "artery": _blood(42, 310, 150),
    "vein": _blood(40, 55, 140, 8),
    "portal vein": _blood(40, 85, 165),
    "hepatic artery": _blood(48, 190, 150),
    "hepatic vein": _blood(44, 62, 148),
    "renal vein": _blood(42, 150, 150),
    "right blood": _blood(41, 210, 145, 14),
    "myocardium": Tissue((46, 98, 112, 200), 4, 8, spread=0.06),
    "pulmonary vessel": _blood(42, 230, 145),
    "lung": Tissue((-858, -856, -856, 22), 13, 6, 9, 7, mode=implicit.LUNG, a=0.32, spread=0.03),
    "fissure": Tissue((-740, -740, -740, 40), 0, may_fill=False),
    "airway": Tissue((-990, -990, -990, 5), 0, 8, 2, 8, spread=0.0),
    "airway wall": Tissue((-60, -50, -50, 120), 10, 6, may_fill=False),
    "urine": Tissue((5, 5, 7, 70), 0, 9, 2, 15, (35, 42, 50, 190), 3.0, spread=0.2),
    "prostate": Tissue((40, 52, 62, 190), 5, 7),
    "thyroid": Tissue((105, 170, 165, 230), 6, 6, may_fill=False),
    "cord": Tissue((36, 38, 40, 170), 2, 6, may_fill=False),
    "canal": Tissue((14, 14, 16, 80), 3, 6, may_fill=False),
    "disc": Tissue((82, 84, 86, 130), 7, 6, may_fill=False),
    "cartilage": Tissue((92, 94, 96, 130), 24, 6, 18, 7, may_fill=False),
    "vertebra": _bone(165, 480, 1.7),
    "rib": _bone(150, 680, 1.6),
    "flat bone": _bone(190, 760, 1.9),
    "pelvis": _bone(115, 800, 2.2),
    "sacrum": _bone(130, 520, 1.7),
    "long bone": _bone(190, 1000, 2.6),
    "shaft": _bone(-30, 1450, 6.5, 25, 400),
}


def _structures() -> dict[int, str]:
    names = {
        1: "spleen", 2: "right kidney", 3: "left kidney", 4: "gallbladder", 5: "oesophagus", 6: "liver",
        7: "stomach", 8: "aorta", 9: "inferior vena cava", 10: "portal and splenic vein", 11: "pancreas",
        12: "right adrenal gland", 13: "left adrenal gland", 14: "heart", 15: "right lung", 16: "left lung",
        17: "trachea and bronchi", 18: "pulmonary vessels", 19: "iliac vessels", 20: "urinary bladder",
        21: "small bowel", 22: "colon", 23: "rectum", 24: "sternum", 25: "right clavicle", 26: "left clavicle",
        27: "right scapula", 28: "left scapula", 29: "right humerus", 30: "left humerus", 31: "sacrum",
        32: "right hip", 33: "left hip", 34: "right femur", 35: "left femur", 36: "right psoas", 37: "left psoas",
        38: "right back muscle", 39: "left back muscle", 40: "right gluteal muscle", 41: "left gluteal muscle",
        42: "other muscle", 43: "subcutaneous fat", 44: "skin", 45: "visceral fat", 46: "mediastinal fat",
        47: "thyroid gland", 48: "spinal canal", 49: "prostate", 50: "superior vena cava and brachiocephalic veins",
        51: "carotid, subclavian and jugular vessels", 52: "intervertebral discs", 53: "costal cartilage",
        54: "visceral arteries and veins",
    }  # fmt: skip
    names |= {FIRST_VERTEBRA + n: f"vertebra {name}" for n, name in enumerate(VERTEBRAE)}
    for first, side in ((FIRST_RIGHT_RIB, "right"), (FIRST_LEFT_RIB, "left")):
        names |= {first + n: f"{side} rib {n + 1}" for n in range(12)}
    return names


# number -> name; the first thirteen are BTCV's
STRUCTURES: dict[int, str] = _structures()
NUMBERS: dict[str, int] = {name: number for number, name in STRUCTURES.items()}
