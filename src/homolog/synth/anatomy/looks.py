"""How a tissue looks in one patient: the kernel's row of numbers."""

from __future__ import annotations

import numpy as np

from homolog.kernels import implicit
from homolog.synth.anatomy.structures import Tissue
from homolog.synth.configs import PatientConfig

# How much of a tissue's grain all patients share: with all of it, a rival found each place of the liver again.
SHARED = 0.3


def look(tissue: Tissue, picture: int, drawn: tuple[float, float, float], config: PatientConfig) -> list[float]:
    """A row of the kernel's looks; on MR textures and fat are of its own scale."""
    mr = picture == 3
    shift = max(tissue.spread * abs(tissue.core[picture]), 2.0 if tissue.spread else 0.0) * np.clip(drawn[0], -2, 2)
    shell = 0.0 if tissue.shell is None else tissue.shell[picture] * (1 + 0.08 * np.clip(drawn[1], -2, 2))
    own_hu = np.hypot(tissue.own, (1 - SHARED**2) ** 0.5 * tissue.texture) if config.own_texture else 0.0
    a, b, c = tissue.a, tissue.b, tissue.c
    if tissue.mode == implicit.GUT:
        a, c = (a + 0.25 * drawn[2] if config.gas else 9.0), (5.0 if mr else c)
    elif tissue.mode == implicit.MUSCLE:
        a, b = a - 0.2 * drawn[2], (400.0 if mr else b)
    elif tissue.mode == implicit.LUNG and mr:
        a = 0.0
    scale = 0.5 if mr else 1.0
    return [
        tissue.core[picture] + shift, shell, tissue.shell_mm, scale * SHARED * tissue.texture, tissue.texture_mm,
        scale * own_hu, tissue.own_mm, tissue.mode, a, b, c, tissue.stretch,
    ]  # fmt: skip
