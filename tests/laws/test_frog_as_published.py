"""`compat="frog"` beside the published equations, written once more with dense matrices and SciPy's distributions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.interpolate import BSpline as Basis
from scipy.stats import maxwell

from homolog.groupwise import frog
from homolog.groupwise.configs import FrogConfig
from tests.groups import PUBLISHED, Cohort, cohort


def test_compat_means_the_published_options():
    said = FrogConfig(compat="frog", levels=7, rate=3.0, hold=1.0).chosen()
    assert (said.spacing_mm, said.levels, said.steps, said.rate, said.linear_steps) == (100.0, 3, 200, 0.02, 50)
    quick = ("spacing_mm", "levels", "steps", "linear_steps", "compat")
    assert replace(said, **{name: getattr(PUBLISHED, name) for name in quick}) == PUBLISHED


def test_published_options_do_as_the_equations_say():
    drawn = cohort()
    config = replace(PUBLISHED, rate=0.1, most_coefficient=0.05)
    expected, energies = as_published(drawn, config)
    group = frog.register(drawn.keypoints, drawn.matches, config)
    # small bounds, so that steps are cancelled and lattices laid on one another
    assert len(group.common_from_image[0].parts) > 1 + config.levels
    np.testing.assert_allclose([step.energy_mm for step in group.trace], energies, rtol=1e-9)
    at = np.concatenate([common.apply(k.position) for common, k in zip(group.common_from_image, drawn.keypoints)])
    np.testing.assert_allclose(at, expected, atol=1e-6)


class Half:
    """Half-edges of all images: the rows of each match's ends, both ways round, and the mixtures of images."""

    def __init__(self, drawn: Cohort) -> None:
        sizes = [len(points) for points in drawn.keypoints]
        start = np.cumsum([0, *sizes])
        rows = np.vstack([each.pairs + start[list(pair)] for pair, each in drawn.matches.items()])
        self.a, self.b = np.vstack((rows, rows[:, ::-1])).T
        self.image = np.repeat(np.arange(len(sizes)), sizes)
        self.mixtures = [(10.0, 300.0, 0.5)] * len(sizes)

    def distances(self, x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[self.b] - x[self.a], axis=1)

    def refresh(self, x: np.ndarray) -> None:
        # in the middles of bins of 0.1 mm
        binned = (np.floor(self.distances(x) / 0.1) + 0.5) * 0.1
        for n, (c1, c2, r) in enumerate(self.mixtures):
            d, before = binned[self.image[self.a] == n], np.zeros(3)
            while not (np.abs((c1, c2, r) - before) < 1e-3 * np.array((c1, c2, r))).all():
                before = np.array((c1, c2, r))
                right, wrong = r * maxwell.pdf(d, scale=c1), (1 - r) * maxwell.pdf(d, scale=c2)
                t = right / (right + wrong)
                c1, c2, r = t @ d / t.sum() / maxwell.mean(), (1 - t) @ d / (1 - t).sum() / maxwell.mean(), t.mean()
            self.mixtures[n] = c1, c2, r

    def weights(self, x: np.ndarray) -> np.ndarray:
        d = self.distances(x)
        c1, c2, r = (np.array(self.mixtures)[self.image].T[n] for n in range(3))
        of_end = []
        for end in (self.a, self.b):
            right, wrong = r[end] * maxwell.pdf(d, scale=c1[end]), (1 - r[end]) * maxwell.pdf(d, scale=c2[end])
            of_end.append(np.where(d < 0.1, 1, right / (right + wrong)))
        return np.minimum(*of_end)

    def energy(self, x: np.ndarray, w: np.ndarray) -> float:
        return float(np.sqrt((w**2 @ self.distances(x) ** 2) / (w**2).sum()))


def as_published(drawn: Cohort, config: FrogConfig) -> tuple[np.ndarray, list[float]]:
    half, energies = Half(drawn), []
    x = np.concatenate([points.position for points in drawn.keypoints])
    x = _linear(half, x, config, energies)
    for level in range(config.levels):
        x = _level(half, x, config.spacing_mm / 2**level, config, energies)
    return x, energies


def _linear(half: Half, x: np.ndarray, config: FrogConfig, energies: list[float]) -> np.ndarray:
    images = range(len(half.mixtures))
    boxes = np.array([(x[half.image == n].min(axis=0) + x[half.image == n].max(axis=0)) / 2 for n in images])
    s, t = np.ones_like(boxes), boxes.mean(axis=0) - boxes
    for step in range(config.linear_steps):
        now = s[half.image] * x + t[half.image]
        if step % 10 == 0:
            half.refresh(now)
        w = half.weights(now)
        energies.append(half.energy(now, w))
        for n in images:
            mine = half.image[half.a] == n
            (a, b), v = (now[half.a[mine]], now[half.b[mine]]), w[mine] / w[mine].sum()
            var_a, var_b = v @ (a - v @ a) ** 2, v @ (b - v @ b) ** 2
            q = (var_b / var_a) ** (config.linear_rate / 2)
            s[n], t[n] = s[n] * q, t[n] + config.linear_rate * (v @ b - v @ a) + (1 - q) * (v @ a)
    return s[half.image] * x + t[half.image]


def _level(half: Half, x: np.ndarray, g: float, config: FrogConfig, energies: list[float]) -> np.ndarray:
    rate, step = config.rate, 0
    while step < config.steps:
        low, high = x.min(axis=0), x.max(axis=0)
        origin, size = (low + high) / 2 - 0.6 * (high - low), 1.2 * (high - low)
        m = np.maximum(1, np.round(size / g)).astype(int)
        h = size / m
        beta = Basis.basis_element(np.arange(-2, 3), extrapolate=False)
        along = [np.nan_to_num(beta((x[:, [c]] - origin[c]) / h[c] + 1 - np.arange(m[c] + 3))) for c in range(3)]
        taps = np.einsum("pi,pj,pk->pijk", *along).reshape(len(x), -1)
        c, first = np.zeros((len(half.mixtures), taps.shape[1], 3)), True
        while step < config.steps:
            now = x + np.einsum("pt,ptc->pc", taps, c[half.image])
            if step % 10 == 0:
                half.refresh(now)
            w = half.weights(now)
            w2 = np.where(w >= 0.5, w**2, 0)
            pull = np.zeros((len(x), 4))
            np.add.at(pull, half.a, w2[:, None] * np.c_[now[half.b] - now[half.a], np.ones(len(w))])
            sums = np.stack([taps[half.image == n].T @ pull[half.image == n] for n in range(len(c))])
            move = np.divide(sums[..., :3], sums[..., 3:], out=np.zeros_like(c), where=sums[..., 3:] > 0)
            further = c + rate * move
            further -= further.mean(axis=0)
            if (np.abs(further) > config.most_coefficient * h).any():
                rate = rate / 2 if first else rate
                break
            energies.append(half.energy(now, np.sqrt(w2)))
            c, first, step = further, False, step + 1
        x = x + np.einsum("pt,ptc->pc", taps, c[half.image])
    return x
