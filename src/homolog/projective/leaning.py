"""Pixels as networks know them: by how far their rays lean, so that a detector's own size and pixels do not matter."""

from __future__ import annotations

import numpy as np
import torch

from homolog.space.camera import Camera

# How far a ray leans is shown to the networks times this: a C-arm's outermost rays lean by about 0.2.
LEANING = 5.0


def places_of(camera: Camera, mask: np.ndarray | None = None) -> torch.Tensor:
    """(3, rows, columns) float32: how far each pixel's ray leans across and down, and whether it is known."""
    down = (np.arange(camera.size_px[0]) - camera.centre_px[1]) * camera.pitch_mm[0] / camera.focal_mm
    across = (np.arange(camera.size_px[1]) - camera.centre_px[0]) * camera.pitch_mm[1] / camera.focal_mm
    known = np.ones(camera.size_px) if mask is None else np.asarray(mask, float)
    leaning = LEANING * np.stack(np.broadcast_arrays(across[None], down[:, None])) * known
    return torch.from_numpy(np.concatenate((leaning, known[None])).astype(np.float32))


def points_in(
    points_mm: torch.Tensor, poses: torch.Tensor, camera: Camera, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where points (E, 3) lie in pictures from poses camera_from_world (N, 4, 4): as `places_of` gives places
    (N, E, 2), and whether that pixel is known (N, E).

    known  (rows, columns), 1 or 0
    """
    rows, columns = camera.size_px
    seen = points_mm @ poses[:, :3, :3].transpose(1, 2) + poses[:, None, :3, 3]
    lean = seen[..., :2] / seen[..., 2:]
    pixels = lean * camera.focal_mm / torch.tensor(camera.pitch_mm[::-1]) + torch.tensor(camera.centre_px)
    column, row = pixels.round().long().unbind(-1)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows) & (seen[..., 2] > 0)
    return LEANING * lean.float(), inside * known[row.clamp(0, rows - 1), column.clamp(0, columns - 1)]


def width_of(places: torch.Tensor) -> float:
    """How far the rays of a picture lean from its one side to the other, the longer way; places (3, rows, columns)."""
    lean = places[:2].flatten(1)
    return float((lean.max(1).values - lean.min(1).values).max())


def pixels_of(where: np.ndarray, camera: Camera) -> np.ndarray:
    """(..., 2) pixels, (column, row), of places as `places_of` gives them."""
    return np.asarray(where / LEANING * camera.focal_mm / np.array(camera.pitch_mm[::-1]) + np.array(camera.centre_px))
