"""How an X-ray is exposed: each field with its unit. Only the standard library is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Opening = Literal["none", "rectangle", "circle"]


@dataclass(frozen=True)
class XrayConfig:
    """What stands between line integrals and a picture. As it is given here nothing does: they come back unchanged."""

    photons: float = 0.0
    """Photons that a pixel counts in the open beam, whose number is left to chance (Poisson); 0: no noise. A trunk lets
    a hundredth to a thousandth of them pass."""
    electronic: float = 0.0
    """Photons, the standard deviation of the detector's own noise."""
    blur_mm: float = 0.0
    """mm on the detector, the standard deviation of how far it spreads light: its sharpness."""
    scatter: float = 0.0
    """0 to 0.9, the part of what arrives that was scattered on the way, on average over the patient's shadow."""
    scatter_mm: float = 60.0
    """mm on the detector, the standard deviation of how far scatter spreads."""
    vignetting: float = 0.0
    """0 to 0.9, how much darker the corners are than the middle."""
    kilovolts: float | None = None
    """kV of the tube, 40 to 150: a spectrum, whose soft part is lost first; None: all photons have the energy that
    the line integrals are of."""
    aluminium_mm: float = 2.5
    """mm of aluminium that the spectrum has passed."""
    energy_kev: float = 70.0
    """keV, the energy that the line integrals were made for."""
    collimator: Opening = "none"
    """"rectangle" or "circle": nothing arrives outside of it; "none": it is open."""
    opening: float = 0.8
    """0.05 to 1, the collimator's width and height, or its diameter, as a part of the detector's."""
    turned_degrees: float = 0.0
    """degrees, how far the rectangle is turned, clockwise in the picture."""
    edge_mm: float = 0.7
    """mm on the detector, how soft the collimator's edge is."""
    screws: int = 0
    """Screws of steel, 3 to 6 mm thick, in drawn places; as seen on the detector."""
    wires: int = 0
    """Wires of steel, 1 to 2 mm thick, likewise."""
