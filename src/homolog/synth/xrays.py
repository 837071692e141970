"""From line integrals to a picture as a detector takes it: scatter, blur, noise, collimator, metal, and back.

The order is the beam's: the spectrum is weakened (Beer and Lambert), scatter is added, the detector blurs, photons are
counted. The logarithm of what arrived gives line integrals again, with all that has happened to them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from homolog.errors import BadInput, GridMismatch
from homolog.kernels import noise
from homolog.kernels.smooth import smooth
from homolog.space.camera import Camera
from homolog.synth.xray_beam import field, places_mm, transmitted
from homolog.synth.xray_config import XrayConfig
from homolog.synth.xray_metal import steel_mm

# Below it a Poisson variable is drawn exactly; above, the normal one with its skewness has chances right to 0.001.
FEW_PHOTONS = 30.0
# A Poisson variable of mean 30 reaches it less than once in 1e9 draws.
MOST_OF_FEW = 70
# The least part of the beam that a logarithm is taken of, where there is no noise: 0.8 m of water leave it.
LEAST_PART = 1e-7
# Scatter is spread on pixels of at least this part of its width: it has no detail.
SCATTER_PIXEL = 0.25
# Steps to the logarithm of a strength: an interval of 32, as wide as it can be, is then less than 1e-6.
HALVINGS = 26
LIMITS = {
    "photons": (0, 1e12), "electronic": (0, 1e6), "blur_mm": (0, 50), "scatter": (0, 0.9), "scatter_mm": (1, 500),
    "vignetting": (0, 0.9), "kilovolts": (40, 150), "aluminium_mm": (0, 50), "energy_kev": (20, 150),
    "opening": (0.05, 1), "turned_degrees": (-360, 360), "edge_mm": (0, 50), "screws": (0, 50), "wires": (0, 50),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Exposure:
    """An X-ray as it was taken, or N of them.

    data      (rows, columns) or (N, rows, columns) float32: line integrals again, as what arrived says
    detector  the same shape, float32: what arrived, as a part of what arrives in the middle of the open beam
    mask      (rows, columns) bool: where the collimator lets the beam through
    """

    data: np.ndarray
    detector: np.ndarray
    mask: np.ndarray


def expose(
    line_integrals: np.ndarray,
    camera: Camera,
    config: XrayConfig = XrayConfig(),
    generator: np.random.Generator | None = None,
    *,
    bone: np.ndarray | None = None,
) -> Exposure:
    """Takes X-rays of what has these line integrals.

    line_integrals  (rows, columns) or (N, rows, columns), at config.energy_kev
    generator       what is left to chance: noise and where metal lies; a new one of seed 0 where none is given
    bone            the same shape: the part of the line integrals that is bone's, for spectra
    """
    paths = np.asarray(line_integrals, float)
    require_sensible(config)
    _require_fitting(paths, bone, camera)
    generator = generator or np.random.default_rng(0)
    pictures = paths.reshape(-1, *camera.size_px)
    bones = None if bone is None else np.asarray(bone, float).reshape(pictures.shape)
    steel = steel_mm(camera, config, len(pictures), generator)
    through, inside = field(camera, config)
    arrived = transmitted(pictures, bones, steel, config) * through
    arrived = _sensed(arrived + _scattered(arrived, inside, camera, config), camera, config)
    counted = _counted(arrived, config, generator)
    least = 0.5 / config.photons if config.photons else LEAST_PART
    data = -np.log(np.maximum(counted, least))
    return Exposure(
        data.reshape(paths.shape).astype(np.float32), counted.reshape(paths.shape).astype(np.float32), inside
    )


def stored(exposure: Exposure, bits: int = 16) -> np.ndarray:
    """uint8 or uint16, as a detector's file holds it: linear, the open beam at 9 tenths of the largest number."""
    if not 8 <= bits <= 16:
        raise BadInput(f"a detector stores 8 to 16 bits, not {bits}", "bits=16")
    most = 2**bits - 1
    numbers = np.rint(np.clip(exposure.detector * (0.9 * most), 0, most))
    return np.asarray(numbers.astype(np.uint8 if bits == 8 else np.uint16))


def drawn(generator: np.random.Generator, *, energy_kev: float = 70.0) -> XrayConfig:
    """An exposure as it may happen in a theatre: each part as likely weak as strong, some left out; to train on."""
    photons = float(np.exp(generator.uniform(np.log(1e4), np.log(1e6))))
    return XrayConfig(
        photons=photons,
        electronic=float(generator.uniform(0, 0.02) * np.sqrt(photons)),
        blur_mm=float(generator.uniform(0, 0.6)),
        scatter=float(generator.uniform(0, 0.5)),
        scatter_mm=float(generator.uniform(30, 90)),
        vignetting=float(generator.uniform(0, 0.3)),
        kilovolts=float(generator.uniform(60, 120)),
        energy_kev=energy_kev,
        collimator=("none", "rectangle", "circle")[generator.integers(3)],
        opening=float(generator.uniform(0.7, 1.0)),
        turned_degrees=float(generator.uniform(-20, 20)),
        screws=int(generator.integers(3)) if generator.random() < 0.25 else 0,
        wires=int(generator.integers(3)) if generator.random() < 0.25 else 0,
    )


def require_sensible(config: XrayConfig) -> None:
    """Refuses what no tube and no detector does."""
    for option in fields(config):
        value = getattr(config, option.name)
        low, high = LIMITS.get(option.name, (None, None))
        if low is not None and value is not None and not low <= value <= high:
            flag = option.name.replace("_", "-")
            raise BadInput(
                f"XrayConfig.{option.name} lies between {low:g} and {high:g}, got {value}", f"--{flag} {high:g}"
            )
    if config.collimator not in ("none", "rectangle", "circle"):
        raise BadInput(f"a collimator is none, a rectangle or a circle, got '{config.collimator}'")


def _require_fitting(paths: np.ndarray, bone: np.ndarray | None, camera: Camera) -> None:
    if paths.ndim not in (2, 3) or paths.shape[-2:] != camera.size_px:
        raise GridMismatch(f"line integrals of shape {paths.shape} are not of {camera!r}")
    if bone is not None and np.shape(bone) != paths.shape:
        raise GridMismatch(f"line integrals of bone have shape {np.shape(bone)}, those of everything {paths.shape}")
    if not np.isfinite(paths).all():
        raise BadInput("line integrals must be finite", "a volume with NaN: homolog convert IN OUT --replace-nan -1000")


def _scattered(primary: np.ndarray, inside: np.ndarray, camera: Camera, config: XrayConfig) -> np.ndarray | float:
    """(N, rows, columns): smooth, strongest where much of the beam was lost and much is left (the first collision)."""
    if not config.scatter:
        return 0.0
    source = primary * -np.log(np.maximum(primary, LEAST_PART))
    spread = np.stack([_spread(picture, camera, config.scatter_mm) for picture in source])
    return spread * np.stack([_strength(*pictures, inside, config.scatter) for pictures in zip(primary, spread)])


def _strength(primary: np.ndarray, spread: np.ndarray, inside: np.ndarray, share: float) -> np.ndarray:
    """(1, 1): by what `spread` is multiplied to be this share of what arrives, on average over the patient's shadow."""
    # weighted by what was lost: beside the patient the open beam outweighs all scatter
    shadow = (1 - primary) * inside
    there = (shadow > 0) & (spread > 0)
    if not there.any():
        return np.zeros((1, 1))
    weights, ratio = shadow[there] / shadow[there].sum(), np.maximum(primary[there], LEAST_PART) / spread[there]
    # the share grows with the strength: halve the interval of its logarithm
    low, high = np.log(ratio.min()) + np.log(share / (1 - share)), np.log(ratio.max()) + np.log(share / (1 - share))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if weights @ (1 / (1 + ratio * np.exp(-middle))) < share else (low, middle)
    return np.full((1, 1), np.exp(low))


def _spread(picture: np.ndarray, camera: Camera, width_mm: float) -> np.ndarray:
    """A wide blur, done on fewer pixels; beyond the detector its edge goes on."""
    from scipy.ndimage import zoom

    steps = [max(1, min(n, int(SCATTER_PIXEL * width_mm / pitch))) for n, pitch in zip(picture.shape, camera.pitch_mm)]
    beyond = [(0, -n % step) for n, step in zip(picture.shape, steps)]
    rows, columns = (n + more for n, (_, more) in zip(picture.shape, beyond))
    blocks = np.pad(picture, beyond, mode="edge").reshape(rows // steps[0], steps[0], columns // steps[1], steps[1])
    sigmas = [width_mm / (pitch * step) for pitch, step in zip(camera.pitch_mm, steps)]
    coarse = smooth(blocks.mean(axis=(1, 3))[None].astype(np.float32), (0.0, *sigmas))[0]
    fine = zoom(coarse, steps, order=1, mode="nearest", grid_mode=True)
    return np.asarray(fine[: picture.shape[0], : picture.shape[1]], float)


def _sensed(arrived: np.ndarray, camera: Camera, config: XrayConfig) -> np.ndarray:
    """What the detector makes of it: blurred, and darker towards the corners."""
    if config.blur_mm:
        sigmas = [config.blur_mm / pitch for pitch in camera.pitch_mm]
        arrived = smooth(arrived.astype(np.float32), (0.0, *sigmas)).astype(float)
    if config.vignetting:
        down, right = places_mm(camera)
        squared = down**2 + right**2
        arrived = arrived * (1 - config.vignetting * squared / max(squared.max(), LEAST_PART))
    return arrived


def _counted(arrived: np.ndarray, config: XrayConfig, generator: np.random.Generator) -> np.ndarray:
    counted = arrived
    if config.photons:
        counted = poisson(arrived * config.photons, generator) / config.photons
    if config.electronic:
        scale = config.electronic / (config.photons or 1.0)
        counted = counted + scale * _normal(arrived.shape, generator)
    return np.maximum(counted, 0.0)


def poisson(mean: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """float64 whole numbers of these means, the same on every machine for the same generator."""
    from scipy.special import ndtr

    normal = _normal(mean.shape, generator)
    # the first two terms of Cornish and Fisher's expansion: a Poisson variable's skewness is 1 / sqrt(mean)
    out = np.maximum(np.rint(mean + np.sqrt(mean) * normal + (normal**2 - 1) / 6), 0.0)
    few = mean < FEW_PHOTONS
    out[few] = _few(mean[few], ndtr(normal[few]))
    return np.asarray(out)


def _few(mean: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The number at which the distribution of each mean passes a chance of 0 to 1."""
    term = np.exp(-mean)
    passed, out = term.copy(), np.zeros(mean.shape)
    for number in range(1, MOST_OF_FEW):
        out += chance > passed
        term *= mean / number
        passed += term
    return out


def _normal(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    key = int(generator.integers(2**63))
    return noise.normal(key, int(np.prod(shape))).reshape(shape).astype(float)
