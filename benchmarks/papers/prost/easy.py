"""The easy setting: a whole chest in an X-ray of the same chest at another resolution, noisy, from a near start.

The X-ray is of the scan's own voxels, the volume has 2 mm. A start is turned by up to 20 degrees about each axis and
shifted by up to 30 mm along each. Errors are over 27 points up to 75 mm from the middle along each axis.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from baselines import Method, Puzzle
from scenes import FROM_THE_FRONT, xray
from trials import Asked

from homolog.io import volumes
from homolog.projective.configs import AutoConfig, CmaesConfig, GradientConfig
from homolog.space import se3
from homolog.space.attenuation import attenuation
from homolog.space.camera import Camera
from homolog.space.volume import Volume
from homolog.synth.xray_config import XrayConfig

CAMERA, SOURCE_CENTRE_MM = Camera.centred(1020.0, (128, 128), 3.125), 850.0
NATIVE, COARSE = "chest-a/lidc-idri-0001_native.nii.gz", "chest-a/lidc-idri-0001_2mm.nii.gz"
# The view: one standard deviation about each axis, degrees, and mm along each.
VIEW_DEGREES, VIEW_MM = 15.0, 15.0
FAR_DEGREES, FAR_MM = 20.0, 30.0
# About 1 % of a line integral through the trunk.
EXPOSURE = XrayConfig(photons=2e6, blur_mm=0.5, scatter=0.1)
POINT_MM = 75.0
METHODS = {
    "gradient": Method("`--method gradient`", "whole", GradientConfig()),
    "gradient_mncc": Method("`--method gradient --similarity mncc`", "whole", GradientConfig(similarity="mncc")),
    "cmaes": Method("gradient NCC by CMA-ES", "whole", CmaesConfig()),
    "auto": Method("`--method auto`", "whole", AutoConfig()),
}


def puzzle(data: Path, asked: Asked) -> Puzzle:
    whole, volume = chest(data)
    centre = whole.grid.bounds().mean(axis=0)
    rng = np.random.default_rng([asked.seed, asked.number])
    truth = np.eye(4)
    turned = se3.rotation_exp(np.radians(VIEW_DEGREES) * rng.normal(size=3))
    truth[:3, :3] = turned @ FROM_THE_FRONT
    place = np.array([0.0, 0.0, SOURCE_CENTRE_MM]) + VIEW_MM * rng.normal(size=3)
    truth[:3, 3] = place - truth[:3, :3] @ centre
    far = rng.uniform(-1, 1, 6) * np.repeat((np.radians(FAR_DEGREES), FAR_MM), 3)
    start = se3.about(place, far) @ truth
    steps = np.array((-POINT_MM, 0.0, POINT_MM))
    points = centre + np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    picture = xray(whole, None, CAMERA, truth, EXPOSURE, rng)
    return Puzzle(asked.number, {"whole": volume}, picture, truth, start, points)


@lru_cache(maxsize=1)
def chest(data: Path) -> tuple[Volume, Volume]:
    """Attenuation that the X-ray is made of, and the volume that is looked for."""
    return tuple(attenuation(volumes.read(data / name, space="chest-a")) for name in (NATIVE, COARSE))
