"""How a radiograph is shown: broad differences held back, edges of bones and vessels drawn out, as viewers are used to.

Line integrals of a chest span from lung to spine what a screen has greys for, so ribs have few of them. Digital
radiography shows a broad average weakly and what is finer than it strongly, then bends the scale's ends as film does.
"""

from __future__ import annotations

import numpy as np

from homolog.kernels.smooth import smooth

# Standard deviations of the two averages, as parts of the picture's longer side: an organ, and a rib's edge.
BROAD, FINE = 0.06, 0.006
# How strongly the broad average is shown, and how much of what is finer is added.
BROAD_GAIN, FINE_GAIN = 0.55, 2.0
# Less than this part of the strongest attenuation is beside the patient, or his skin: it needs no greys of its own.
PATIENT = 0.15
# Percentiles of the patient that become black and white.
BLACK, WHITE = 3.0, 99.7
# How far film bends: at the ends a third of the middle's contrast is left.
BEND = 1.1


def film(line_integrals: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """(rows, columns) float32 from 0, black, to 1, white: bone is white.

    line_integrals  (rows, columns)
    mask            (rows, columns) bool: where the picture is to be seen; black elsewhere
    """
    shown = np.ones(line_integrals.shape, bool) if mask is None else np.asarray(mask, bool)
    # behind a collimator's blades there is noise alone, which must not lend its greys to what is beside it
    values = np.where(shown, line_integrals, np.median(line_integrals[shown])).astype(np.float32)
    drawn = values - (1 - BROAD_GAIN) * _average(values, BROAD) + FINE_GAIN * (values - _average(values, FINE))
    patient = shown & (values > PATIENT * np.percentile(values[shown], WHITE))
    low, high = np.percentile(drawn[patient if patient.any() else shown], (BLACK, WHITE))
    greys = np.clip((drawn - low) / max(float(high - low), 1e-6), 0, 1)
    bent = 0.5 + np.tanh(BEND * (2 * greys - 1)) / (2 * np.tanh(BEND))
    return np.asarray(np.where(shown, bent, 0), np.float32)


def _average(values: np.ndarray, part: float) -> np.ndarray:
    sigma = part * max(values.shape)
    return smooth(values[None], (0.0, sigma, sigma))[0]
