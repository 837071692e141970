"""Screws and wires, as a detector sees them: how much steel is on each ray's way."""

from __future__ import annotations

import numpy as np

from homolog.space.camera import Camera
from homolog.synth.xray_beam import places_mm
from homolog.synth.xray_config import XrayConfig

# mm on the detector: least and greatest length and radius
SCREW_MM = ((20.0, 60.0), (1.5, 3.0))
WIRE_MM = ((40.0, 160.0), (0.5, 1.0))
# A thread's pitch, and how deep it is, beside the screw's radius.
THREAD_PITCH, THREAD_DEPTH = 0.9, 0.25


def steel_mm(camera: Camera, config: XrayConfig, count: int, generator: np.random.Generator) -> np.ndarray | None:
    """(count, rows, columns) float64 mm of steel, drawn anew for each picture; None where none is wanted."""
    if not (config.screws or config.wires):
        return None
    out = np.zeros((count, *camera.size_px))
    for picture in out:
        for sizes, number, threaded in ((SCREW_MM, config.screws, True), (WIRE_MM, config.wires, False)):
            for _ in range(number):
                picture += _rod(camera, sizes, threaded, generator)
    return out


def _rod(
    camera: Camera,
    sizes: tuple[tuple[float, float], tuple[float, float]],
    threaded: bool,
    generator: np.random.Generator,
) -> np.ndarray:
    """(rows, columns) mm: a cylinder across the beam; a ray at distance d from its axis meets 2 sqrt(r^2 - d^2)."""
    down, right = places_mm(camera)
    length, radius = (generator.uniform(*size) for size in sizes)
    turn = generator.uniform(0, 2 * np.pi)
    reach = [n * pitch / 2 for n, pitch in zip(camera.size_px, camera.pitch_mm)]
    middle = [generator.uniform(-0.7, 0.7) * half for half in reach]
    along = np.cos(turn) * (right - middle[1]) + np.sin(turn) * (down - middle[0])
    across = np.cos(turn) * (down - middle[0]) - np.sin(turn) * (right - middle[1])
    if threaded:
        phase = along / (THREAD_PITCH * radius) % 1.0
        radius = radius * (1 - THREAD_DEPTH * np.abs(2 * phase - 1))
    chord = 2 * np.sqrt(np.maximum(radius**2 - across**2, 0))
    return np.asarray(np.where(np.abs(along) < length / 2, chord, 0.0))
