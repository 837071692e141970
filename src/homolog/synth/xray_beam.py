"""What the tube sends: a spectrum, and the field that the collimator lets through."""

from __future__ import annotations

import numpy as np

from homolog.errors import BadInput
from homolog.space.attenuation import ENERGIES_KEV, linear_attenuation
from homolog.space.camera import Camera
from homolog.synth.xray_config import XrayConfig

# Energies a spectrum is summed over: with sixteen times as many, what passes 300 mm of water changes by 0.04 %.
ENERGIES = 16
# Softness of an edge in which it falls from nearly all to nearly nothing: beyond three of them 95 % has passed.
WITHIN_EDGES = 3.0


def spectrum(config: XrayConfig) -> tuple[np.ndarray, np.ndarray]:
    """(E,) keV, and (E,) of sum 1: the energies, and what each adds to the detector's signal in the open beam.

    Bremsstrahlung of a thick target (Kramers, Phil. Mag. 46:836, 1923), (peak - energy) / energy photons at each
    energy, behind the filter; the detector adds up their energy.
    """
    if config.kilovolts is None:
        return np.array([config.energy_kev]), np.ones(1)
    step = (config.kilovolts - ENERGIES_KEV[0]) / ENERGIES
    energies = ENERGIES_KEV[0] + step * (np.arange(ENERGIES) + 0.5)
    filtered = [np.exp(-config.aluminium_mm * linear_attenuation("aluminium", float(energy))) for energy in energies]
    weights = (config.kilovolts - energies) * np.array(filtered)
    return energies, weights / weights.sum()


def transmitted(
    line_integrals: np.ndarray, bone: np.ndarray | None, steel_mm: np.ndarray | None, config: XrayConfig
) -> np.ndarray:
    """(..., rows, columns) float64: the part of the open beam's signal that passes straight through (Beer, Lambert).

    line_integrals  at config.energy_kev
    bone            the part of them that is bone's; else all of it is hardened as water
    steel_mm        of steel on the way, taken as iron
    """
    energies, weights = spectrum(config)
    out = np.zeros(np.shape(line_integrals))
    for energy, weight in zip(energies.tolist(), weights.tolist()):
        water, iron = _of_reference("water", energy, config), linear_attenuation("iron", energy)
        path = line_integrals * water
        if bone is not None:
            path = path + bone * (_of_reference("bone", energy, config) - water)
        out += weight * np.exp(-(path if steel_mm is None else path + iron * steel_mm))
    return out


def field(camera: Camera, config: XrayConfig) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) float64 and bool: which part of the beam the collimator lets through, and where that is all."""
    if config.collimator == "none":
        return np.ones(camera.size_px), np.ones(camera.size_px, bool)
    beyond_mm = _beyond_edge_mm(camera, config)
    edge_mm = max(config.edge_mm, 1e-6)
    through = 1 / (1 + np.exp(np.clip(beyond_mm / edge_mm, -50, 50)))
    inside = np.asarray(beyond_mm < -WITHIN_EDGES * edge_mm)
    if not inside.any():
        raise BadInput(f"the collimator's opening of {config.opening:g} leaves nothing of {camera!r}", "opening=0.8")
    return through, inside


def places_mm(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(rows, 1) and (1, columns): mm on the detector down and to the right of its middle."""
    down, right = ((np.arange(n) - (n - 1) / 2) * pitch for n, pitch in zip(camera.size_px, camera.pitch_mm))
    return down[:, None], right[None]


def _beyond_edge_mm(camera: Camera, config: XrayConfig) -> np.ndarray:
    down, right = places_mm(camera)
    height, width = (n * pitch for n, pitch in zip(camera.size_px, camera.pitch_mm))
    if config.collimator == "circle":
        return np.asarray(np.hypot(down, right) - config.opening * min(height, width) / 2)
    turn = np.radians(config.turned_degrees)
    along, across = np.cos(turn) * right + np.sin(turn) * down, np.cos(turn) * down - np.sin(turn) * right
    return np.maximum(np.abs(along) - config.opening * width / 2, np.abs(across) - config.opening * height / 2)


def _of_reference(material: str, energy_kev: float, config: XrayConfig) -> float:
    """Attenuation beside that at the energy that the line integrals are of."""
    at_energy, at_reference = (
        linear_attenuation(material, kev)  # type: ignore[arg-type]
        for kev in (energy_kev, config.energy_kev)
    )
    return at_energy / at_reference
