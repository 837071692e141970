"""From stored numbers to line integrals of attenuation, in which bone is larger than air.

A detector counts photons: I = I0 exp(-integral) (Beer and Lambert), so the integral is -log(I / I0), with I0 read from
where nothing lies in the beam. Many pictures had their logarithm taken, or were processed for a screen, before they
were stored; then only what is bright matters. Four readings:

linear           proportional to photons: air is bright; the logarithm is taken
linear-inverted  the same, stored the other way round
log              the logarithm was taken, or the picture was processed: bone is bright
inverted         the same, with bone dark
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from pydicom import Dataset

from homolog.errors import BadInput
from homolog.io.xray_headers import FLUOROSCOPY, RADIOGRAPHS, number, value, word

Intensity = Literal["auto", "linear", "linear-inverted", "log", "inverted"]
READINGS: dict[tuple[bool, bool], Intensity] = {
    (True, True): "linear", (True, False): "inverted", (False, False): "log", (False, True): "linear-inverted",
}  # fmt: skip
# Part of the pixels that may be brighter than the open beam: hot pixels, markers' edges.
HOT = 0.1
# The open beam is not searched in what is darker than this part of it: eight half-value layers are black.
BLACK = 1 / 256
# Evidence below the first says nothing, above the second it may doubt a header; rim and middle are alike below the
# third. Projections of chests, abdomens and heads give 0.04 (all field is body) to 0.67, median 0.4.
UNCLEAR, STRONG, ALIKE = 0.03, 0.25, 0.1
WORKING_PX = 256
# Line integrals where a patient is thickest: a fifth of the beam gets through, to next to nothing. The second is a part
# of that, below 0, which noise reaches in air.
THICK, NOUGHT = (1.6, 20.0), 0.15


@dataclass(frozen=True)
class Reading:
    """How numbers are to be taken, why, and what to warn of.

    known  whether it is also known how they grow with attenuation: greys that were processed for eyes, or that nothing
           is said of, move edges, and with them the depth of what is found in one X-ray
    """

    kind: Intensity
    why: str
    warnings: tuple[str, ...] = ()
    known: bool = True

    @property
    def bone_is_dark(self) -> bool:
        return self.kind in ("linear", "inverted")


def reading_of(
    asked: Intensity, header: Dataset | None, frame: int | None, values: np.ndarray, field: np.ndarray,
    *, white_is_zero: bool = False, collimated: str = "",
) -> Reading:  # fmt: skip
    """How a picture's numbers are to be taken: as asked, as its header says, or as it looks.

    values  (rows, columns) as stored
    field   (rows, columns) bool, what the beam reached
    collimated  "dark", "bright" or "drawn" where the border may be a collimator's leaves
    """
    if asked not in get_args(Intensity):
        raise BadInput(f"an X-ray's intensity is one of {', '.join(get_args(Intensity))}, not '{asked}'")
    if asked != "auto":
        return Reading(asked, "as asked")
    air_bright = brightness_of_air(values, field)
    declared = None if header is None else _declared(header, frame)
    if declared is None and (signed := _sized_as_integrals(values)):
        return _integrals_by_size(signed, air_bright, sure=not collimated)
    if declared is None and collimated == "dark":
        why = "bone is taken as dark, as what lies around the beam's field"
        return Reading("linear", why, (_other_way("log"),), known=False)
    if declared is None:
        return _by_looks(air_bright, values, white_is_zero, unsure=bool(collimated))
    # a collimator's border looks like air
    return declared if collimated else _doubted(declared, air_bright)


def brightness_of_air(values: np.ndarray, field: np.ndarray) -> float:
    """From -1 (air is dark) to 1 (air is bright): by the field's rim against its middle, where the body is thickest.

    Compared by rank, so that it does not matter whether a logarithm was taken. Where a limb crosses the field both are
    alike; then the end that more pixels have reached is air, which saturates before bone does.
    """
    step = max(1, max(values.shape) // WORKING_PX)
    small, inside = values[::step, ::step], field[::step, ::step]
    rim, middle = _rim_and_middle(inside)
    if not rim.any() or not middle.any():
        return 0.0
    order = _ranks(small[inside])
    ranks = np.zeros(small.shape)
    ranks[inside] = order
    difference = float(ranks[rim].mean() - ranks[middle].mean())
    if abs(difference) > ALIKE:
        return difference
    numbers = small[inside]
    return difference + float(np.mean(numbers == numbers.max()) - np.mean(numbers == numbers.min()))


def line_integrals(
    values: np.ndarray, reading: Reading, field: np.ndarray, unattenuated: float | None
) -> tuple[np.ndarray, str]:
    """(rows, columns) float32 and a sentence that says what was done.

    unattenuated  the number of the open beam; from the picture where None
    """
    numbers = values.astype(np.float64)
    if reading.kind in ("linear-inverted", "inverted"):
        numbers = float(numbers[field].max() if reading.kind == "inverted" else _largest(values)) - numbers
    if not reading.kind.startswith("linear"):
        said = "turned round, bone was dark" if reading.kind == "inverted" else "taken as they are, bone is bright"
        return numbers.astype(np.float32), f"its numbers are {said} ({reading.why})"
    beam = _open_beam(numbers, field) if unattenuated is None else float(unattenuated)
    if not np.isfinite(beam) or beam <= 0:
        raise BadInput(f"the open beam's number must be positive, got {beam:g}", "leave it out, or say --intensity log")
    # half a step: a pixel that counted nothing is not infinitely thick
    least = 0.5 if values.dtype.kind in "iu" else beam / 65536
    integrals = -np.log((np.maximum(numbers, 0) + least) / (beam + least))
    how = "given" if unattenuated is not None else "read from the brightest part"
    return integrals.astype(np.float32), f"the logarithm was taken, with I0 = {beam:.6g}, {how} ({reading.why})"


def _declared(header: Dataset, frame: int | None) -> Reading | None:
    """What a DICOM header says; None where it does not say which end is bone."""
    relation = word(header, frame, "PixelIntensityRelationship")
    photometric, modality = str(header.get("PhotometricInterpretation")), str(header.get("Modality"))
    shown = word(header, frame, "PresentationIntentType") == "FOR PRESENTATION"
    sign = number(header, frame, "PixelIntensityRelationshipSign")
    if sign in (1, -1):
        dark, why = sign == 1, f"PixelIntensityRelationshipSign is {sign:+g}"
    elif modality in FLUOROSCOPY and relation in ("LIN", "LOG"):
        dark, why = True, f"{modality} numbers rise with the beam"
    elif modality in RADIOGRAPHS:
        dark, why = photometric == "MONOCHROME1", f"{modality} shows bone white, and it is {photometric}"
    else:
        return None
    linear = relation == "LIN" and not shown
    if relation == "LIN":
        why += ", LIN" + (" but processed for presentation, so no logarithm is taken" if shown else "")
    elif relation:
        why += f", {relation}"
    known = relation in ("LIN", "LOG") and not shown
    return Reading(READINGS[dark, linear], why, _conflicts(header, frame, photometric), known)


def _conflicts(header: Dataset, frame: int | None, photometric: str) -> tuple[str, ...]:
    shape = word(header, frame, "PresentationLUTShape")
    said = []
    if (photometric, shape) in (("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")):
        said.append(f"its header contradicts itself: {photometric} with PresentationLUTShape {shape}")
    if value(header, frame, "ModalityLUTSequence") is not None:
        said.append("its ModalityLUTSequence is not applied")
    return tuple(said)


def _by_looks(air_bright: float, values: np.ndarray, white_is_zero: bool, *, unsure: bool) -> Reading:
    dark = air_bright > 0
    why = f"bone looks {'dark' if dark else 'bright'}: air is {'bright' if dark else 'dark'} around it"
    if abs(air_bright) < UNCLEAR:
        # a picture that says low numbers are white was scanned from film, on which bone is white
        dark = white_is_zero
        why = f"bone is taken as {'dark' if dark else 'bright'}, which cannot be seen for sure"
    kind: Intensity = "linear" if dark and not white_is_zero else READINGS[dark, False]
    said = (_other_way("log" if dark else "linear"),) if unsure or abs(air_bright) < UNCLEAR else ()
    return Reading(kind, why, said, known=False)


def _sized_as_integrals(values: np.ndarray) -> int:
    """1 or -1 where fractions reach from 0 as far up, or down, as line integrals do and photons do not; else 0."""
    if values.dtype.kind != "f":
        return 0
    low, high = np.percentile(values, (HOT, 100 - HOT)).astype(float)
    for sign, near, far in ((1, low, high), (-1, -high, -low)):
        if THICK[0] < far < THICK[1] and -NOUGHT * far < near < far / 2:
            return sign
    return 0


def _integrals_by_size(sign: int, air_bright: float, *, sure: bool) -> Reading:
    kind: Intensity = "log" if sign > 0 else "inverted"
    other_way = sure and sign * air_bright > STRONG
    said = (_other_way("linear" if sign > 0 else "log"),) if other_way else ()
    return Reading(kind, "they are as large as line integrals are", said, known=not other_way)


def _other_way(kind: str) -> str:
    return f"whether bone is bright or dark is not clear; --intensity {kind} is the other way"


def _doubted(declared: Reading, air_bright: float) -> Reading:
    """The header's word, with a warning where the picture looks the other way round."""
    if (air_bright > 0) == declared.bone_is_dark or abs(air_bright) < STRONG:
        return declared
    other, bone = ("log", "dark") if declared.bone_is_dark else ("linear", "bright")
    said = (
        f"its header makes bone {bone} ({declared.why}), but the picture looks the other way round; if so, "
        f"--intensity {other}"
    )
    return Reading(declared.kind, declared.why, (*declared.warnings, said), declared.known)


def _rim_and_middle(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) bool: the outer part of the field without its blurred edge, and the part around its middle."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(field, 1))[1:-1, 1:-1]
    depth /= depth.max() or 1.0
    return field & (depth > 0.03) & (depth < 0.18), field & (depth > 0.5)


def _ranks(numbers: np.ndarray) -> np.ndarray:
    """From 0 to 1; equal numbers share a rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(numbers) / len(numbers))


def _open_beam(numbers: np.ndarray, field: np.ndarray) -> float:
    inside = numbers[field]
    return float(np.percentile(inside[inside > inside.max() * BLACK], 100 - HOT))


def _largest(values: np.ndarray) -> float:
    """The largest number that can be stored, which stands for no photons where a picture was turned round."""
    if values.dtype.kind not in "iu":
        return float(values.max())
    # 12 bits in 16 are common: the next power of two
    return float(2 ** int(np.ceil(np.log2(float(values.max()) + 1))) - 1)
