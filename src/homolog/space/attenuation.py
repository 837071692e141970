"""From Hounsfield units to what X-rays see: linear attenuation in 1/mm, at any energy that radiographs are taken with.

Mass attenuation coefficients: Hubbell and Seltzer, Tables of X-Ray Mass Attenuation Coefficients, NIST Standard
Reference Database 126 (2004), with its densities; between the tabulated energies straight in both logarithms.

A CT number says how strongly a voxel attenuates at the CT's own energy: HU = 1000 (mu - water) / (water - air). What it
is made of is taken from there: below 0 HU a mixture of air and water, above it of water and cortical bone, in such
parts by volume that the definition holds exactly. At another energy the mixture stays, and its attenuation changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from homolog.errors import BadInput, GridMismatch
from homolog.space.volume import Volume

Material = Literal["air", "water", "bone", "iron", "aluminium"]

ENERGIES_KEV = np.array((20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0))
# cm^2/g at those energies; air is dry, bone the cortical bone of ICRU report 44
MASS_ATTENUATION = {
    "air": (0.7779, 0.3538, 0.2485, 0.2080, 0.1875, 0.1662, 0.1541, 0.1356),
    "water": (0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505),
    "bone": (4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480),
    "iron": (25.68, 8.176, 3.629, 1.958, 1.205, 0.5952, 0.3717, 0.1964),
    "aluminium": (3.441, 1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378),
}
DENSITY_G_CM3 = {"air": 1.205e-3, "water": 1.0, "bone": 1.92, "iron": 7.874, "aluminium": 2.699}
# The effective energy of a CT of 120 kV.
CT_KEV = 70.0
# Muscle, which bones lie in; what is a little denser is marrow, whose edge no X-ray shows either.
SOFT_HU = 80.0
# At or below it there is nothing: air attenuates a thousandth of water, and would show the edges of the volume's box.
AIR_HU = -1000.0
# Fat is below it. Filters leave a few numbers below 0 in an MR, so a thousandth of all have to be.
FAT_HU, LEAST_SHARE = -50.0, 0.1
# Voxels looked at for that.
SAMPLE = 1_000_000
# Metal ends near 30 000 HU in scanners that can say so; what is beyond is no CT, or a broken one.
MOST_HU = 70000.0
# What is converted at a time: the temporaries stay below a few MB.
PART_VOXELS = 1 << 20


def linear_attenuation(material: Material, energy_kev: float) -> float:
    """1/mm of a material at a photon energy from 20 to 150 keV."""
    if material not in MASS_ATTENUATION:
        raise BadInput(f"attenuation is known of {', '.join(MASS_ATTENUATION)}, not of '{material}'")
    if not ENERGIES_KEV[0] <= energy_kev <= ENERGIES_KEV[-1]:
        raise BadInput(
            f"an energy of {energy_kev:g} keV is outside of what the tables cover, 20 to 150 keV",
            "70 keV is usual; a radiograph of 120 kV has a mean near 60 keV",
        )
    mass = np.interp(np.log(energy_kev), np.log(ENERGIES_KEV), np.log(MASS_ATTENUATION[material]))
    return float(np.exp(mass) * DENSITY_G_CM3[material] / 10)


def attenuation(
    volume: Volume,
    *,
    energy_kev: float = CT_KEV,
    ct_energy_kev: float = CT_KEV,
    floor_hu: float = AIR_HU,
    mask: Volume | np.ndarray | None = None,
) -> Volume:
    """A CT as linear attenuation, float32 1/mm, what line integrals are taken of.

    energy_kev     of the X-ray's photons
    ct_energy_kev  the CT's effective energy, at which its Hounsfield units hold
    floor_hu       voxels at or below it attenuate nothing: 200 leaves bone only
    mask           labels, or an array (I, J, K), not 0 where voxels are kept; the others attenuate nothing
    """
    _require_hu(volume)
    return _converted(volume, _of_hounsfield(energy_kev, ct_energy_kev, floor_hu), mask)


def bone_attenuation(
    volume: Volume,
    *,
    energy_kev: float = CT_KEV,
    ct_energy_kev: float = CT_KEV,
    floor_hu: float = AIR_HU,
    mask: Volume | np.ndarray | None = None,
) -> Volume:
    """The bone's share of `attenuation`, 1/mm: what hardens a beam otherwise than water does."""
    above = _bone_a_hu(ct_energy_kev) * linear_attenuation("bone", energy_kev)
    _require_hu(volume)
    return _converted(volume, _Bent(at_zero=0.0, below=0.0, above=above, floor=max(floor_hu, AIR_HU)), mask)


def excess_attenuation(
    volume: Volume,
    *,
    energy_kev: float = CT_KEV,
    ct_energy_kev: float = CT_KEV,
    above_hu: float = SOFT_HU,
    mask: Volume | np.ndarray | None = None,
) -> Volume:
    """What a masked body attenuates beyond the soft tissue that it lies in, 1/mm: what of it an X-ray shows.

    A bone cut out of its surroundings casts a shadow as if it lay in air, and its marrow's edge is as dark as its
    cortex; within the patient only the difference to muscle is seen.

    above_hu  the soft tissue around it; what is less attenuates nothing
    """
    whole = attenuation(volume, energy_kev=energy_kev, ct_energy_kev=ct_energy_kev, mask=mask)
    line = _of_hounsfield(energy_kev, ct_energy_kev)
    data = whole.numpy()
    np.subtract(data, np.float32(line.at_zero + max(above_hu, 0.0) * line.above), out=data)
    return whole.with_data(np.maximum(data, 0, out=data))


def relative_attenuation(
    volume: Volume,
    *,
    energy_kev: float = CT_KEV,
    floor: float = 0.0,
    mask: Volume | np.ndarray | None = None,
) -> Volume:
    """A volume whose numbers grow with attenuation from 0, in a unit that nobody knows, as float32 1/mm.

    Its largest value stands for cortical bone, so that line integrals are about as large as of a CT.

    floor  in the volume's own numbers: voxels at or below it attenuate nothing
    """
    highest = _range(volume)[1]
    if not highest > max(floor, 0.0):
        raise BadInput(f"'{volume.space}' has no value above {max(floor, 0.0):g}: nothing attenuates")
    slope = linear_attenuation("bone", energy_kev) / highest
    return _converted(volume, _Bent(at_zero=0.0, below=0.0, above=slope, floor=max(floor, 0.0)), mask)


@dataclass(frozen=True)
class _Bent:
    """Attenuation by value: two straight lines that meet at 0; slopes in 1/mm a unit; nothing at or below the floor."""

    at_zero: float
    below: float
    above: float
    floor: float

    def of(self, values: np.ndarray, out: np.ndarray) -> None:
        np.multiply(values, np.float32(self.below), out=out)
        np.multiply(values, np.float32(self.above), out=out, where=values > 0)
        out += np.float32(self.at_zero)
        out[values <= self.floor] = 0.0


def _of_hounsfield(energy_kev: float, ct_energy_kev: float, floor_hu: float = AIR_HU) -> _Bent:
    water, air, bone = (linear_attenuation(material, energy_kev) for material in ("water", "air", "bone"))
    above = _bone_a_hu(ct_energy_kev) * (bone - water)
    return _Bent(at_zero=water, below=(water - air) / 1000, above=above, floor=max(floor_hu, AIR_HU))


def _converted(volume: Volume, line: _Bent, mask: Volume | np.ndarray | None) -> Volume:
    source, kept = volume.numpy(), _kept(mask, volume)
    out = np.empty(source.shape, np.float32)
    step = max(1, PART_VOXELS // (source.shape[1] * source.shape[2]))
    for start in range(0, len(source), step):
        part = slice(start, start + step)
        line.of(source[part], out[part])
        if kept is not None:
            out[part] *= kept[part] != 0
    return volume.with_data(out)


def _bone_a_hu(ct_energy_kev: float) -> float:
    """The part of bone in a voxel for each HU above 0."""
    air, water, bone = (linear_attenuation(material, ct_energy_kev) for material in ("air", "water", "bone"))
    return (water - air) / 1000 / (bone - water)


def _kept(mask: Volume | np.ndarray | None, volume: Volume) -> np.ndarray | None:
    if mask is None:
        return None
    if isinstance(mask, Volume) and not mask.grid.same_as(volume.grid):
        raise GridMismatch(
            f"the mask '{mask.space}' is on {mask.grid!r}, '{volume.space}' on {volume.grid!r}",
            f"homolog apply identity {mask.space}.nii.gz --labels --like {volume.space}.nii.gz -o mask_there.nii.gz",
        )
    kept = mask.numpy() if isinstance(mask, Volume) else np.asarray(mask)
    if kept.shape != volume.grid.shape:
        raise GridMismatch(f"the mask has {kept.shape} voxels, '{volume.space}' {volume.grid.shape}")
    if not kept.any():
        raise BadInput(f"the mask of '{volume.space}' is 0 everywhere: nothing would be left")
    return kept


def looks_hounsfield(volume: Volume) -> bool:
    """Whether there is fat or air in it, as in every CT in Hounsfield units: an MR begins at 0, or hardly below."""
    numbers = volume.numpy().reshape(-1)
    return bool(np.percentile(numbers[:: max(1, len(numbers) // SAMPLE)], LEAST_SHARE) < FAT_HU)


def _require_hu(volume: Volume) -> None:
    """Refuses what cannot be Hounsfield units: MR, or a CT that was never rescaled."""
    low, high = _range(volume)
    hint = f"a CT stored 1024 too high: homolog convert {volume.space}.nii.gz ct.nii.gz --rescale 1 -1024"
    if not looks_hounsfield(volume):
        raise BadInput(
            f"'{volume.space}' holds values from {low:g} to {high:g}, which are no Hounsfield units (air is -1000)",
            hint,
        )
    if high > MOST_HU:
        raise BadInput(f"'{volume.space}' reaches {high:g}, more than any CT: its values are no Hounsfield units", hint)


def _range(volume: Volume) -> tuple[float, float]:
    """The smallest and the largest value, all of them finite."""
    if volume.kind == "labels":
        raise BadInput(f"'{volume.space}' is a label map: it attenuates nothing", "give the CT, and its labels apart")
    data = volume.numpy()
    low, high = float(data.min()), float(data.max())
    if not np.isfinite((low, high)).all():
        raise BadInput(
            f"'{volume.space}' has voxels that are not numbers (NaN or infinite)",
            f"homolog convert {volume.space}.nii.gz cleaned.nii.gz --replace-nan -1000",
        )
    return low, high
