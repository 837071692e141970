"""Are virtual patients as hard as people are? What an affine map, greedy and ANTs' SyN make of their organs' overlap.

Ten pairs, each patient with the next, as they come: phases, noise, slices, implants. Seeds 0 to 9 are those the body
was shaped on; the figures are of seeds 10 to 19. A pair takes about two minutes. What the rivals did is kept in the
work folder for as long as the patients, and what a program is told to do, stay the same.

make peers && python benchmarks/patients/difficulty/run.py
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
import peers
from common import ROOT, write_ours

import homolog
from homolog.io.results import Results, key_of
from homolog.metrics.landmarks import target_error
from homolog.metrics.overlap import dice
from homolog.pairwise import linear
from homolog.space import fit
from homolog.synth.patients import BTCV, STRUCTURES, Patient, between, draw_patient

# coarser than patients are usually drawn, for the rivals' sake: with 2.5 mm SyN took 100 s a pair
REGION, SPACING_MM = "abdomen-pelvis", 3.0
BONES = {"vertebrae": range(60, 78), "ribs": range(80, 104), "pelvis": range(31, 34), "femora": range(34, 36)}
# the organs whose overlap in people is published, see paper.toml
PUBLISHED = (1, 3, 6, 7, 9, 11)
# a structure of which less than this is seen in either patient is cut off by the picture's end
LEAST_ML = 0.5
COLUMNS = ("as_stored", "best_affine", "homolog_linear", "greedy_affine", "greedy", "syn_affine", "syn")
RIVALS = ("greedy", "syn")
REPORTED = (10, 19)

Scores = dict[str, dict[str, Any]]


def main() -> None:
    given = options()
    python = peers.python(given.peers)
    seeds = range(given.seeds[0], given.seeds[1] + 1)
    pairs = [(seed, seeds[(n + 1) % len(seeds)]) for n, seed in enumerate(seeds)][: given.pairs]
    given.work.mkdir(parents=True, exist_ok=True)
    found = [scored(Pair(drawn(a), drawn(b)), python, Results(given.work)) for a, b in pairs]
    figures = summary(found)
    print(table(figures["dice"]), table(figures["landmarks_mm"]), sep="\n\n")
    if given.seeds == REPORTED and len(pairs) == len(seeds):
        write_ours(Path(__file__).parent, figures)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=ends, default=REPORTED, help="first-last; ours.toml is written of 10-19 only")
    parser.add_argument("--pairs", type=int, help="the first few only, written nowhere")
    parser.add_argument("--peers", type=Path, default=peers.ENVIRONMENT, help="the rivals' environment")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "difficulty", help="where results are kept")
    # run_all gives these to every benchmark
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--golden", help=argparse.SUPPRESS)
    return parser.parse_args()


def ends(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


# ---------------------------------------------------------------------------------------------------------------------
# One pair


@dataclass(frozen=True, eq=False)
class Drawn:
    patient: Patient
    scan: homolog.Volume
    labels: homolog.Volume

    @cached_property
    def key(self) -> str:
        """Of all that a rival sees, and where the landmarks lie."""
        numbers = (self.scan.numpy(), self.labels.numpy(), self.labels.grid.world_from_voxel, self.marks.position)
        return hashlib.blake2b(b"".join(map(np.ndarray.tobytes, numbers)), digest_size=16).hexdigest()

    @cached_property
    def marks(self) -> homolog.Keypoints:
        return self.patient.landmarks()

    @cached_property
    def seen(self) -> set[int]:
        """The labels of which enough is shown."""
        volumes_ml = np.bincount(self.labels.numpy().ravel(), minlength=256) * self.labels.grid.voxel_volume_mm3 / 1000
        return set(np.flatnonzero(volumes_ml > LEAST_ML).tolist())


@lru_cache(maxsize=3)
def drawn(seed: int) -> Drawn:
    patient = draw_patient(seed)
    return Drawn(patient, *patient.both(patient.grid(SPACING_MM, region=REGION)))


@dataclass(frozen=True, eq=False)
class Pair:
    """The other patient is to be brought to the one."""

    one: Drawn
    other: Drawn

    def score(self, moving_from_fixed: homolog.Transform, carried: homolog.Volume | None = None) -> dict[str, Any]:
        """Of a map; `carried` are the labels as a rival resampled them."""
        if carried is None:
            carried = homolog.warp(self.other.labels, moving_from_fixed, self.one.labels.grid, outside=0)
        return {"dice": self.overlap(carried), "landmarks_mm": self.left_mm(moving_from_fixed)}

    def overlap(self, carried: homolog.Volume) -> dict[str, float]:
        """Dice by name, of all that both patients show; what was carried out of the picture counts 0."""
        wanted = [*BTCV, *(number for group in BONES.values() for number in group)]
        both = self.one.seen & self.other.seen
        found = dice(self.one.labels, carried, [number for number in wanted if number in both])
        return {STRUCTURES[number]: float(np.nan_to_num(value)) for number, value in found.items()}

    def left_mm(self, moving_from_fixed: homolog.Transform) -> list[float]:
        """How far from its place each landmark ends that both pictures show."""
        here, there = self.one.marks, self.other.marks
        seen = self.one.scan.grid.contains(here.position) & self.other.scan.grid.contains(there.position)
        return list(target_error(here[seen], there[seen], moving_from_fixed).error_mm)

    def best_affine(self) -> homolog.Affine:
        """The least squares fit to the truth itself, at every hundredth voxel of the fixed patient."""
        here, there = self.one.patient, self.other.patient
        places = self.one.labels.grid.points()[self.one.labels.numpy().ravel() > 0][::100]
        return fit.affine(places, between(here, there).apply(places), fixed=here.name, moving=there.name)


def scored(pair: Pair, python: Path, results: Results) -> Scores:
    """Column -> its figures; the rivals' as they were kept, where nothing has changed."""
    name = f"{pair.one.patient.name} {pair.other.patient.name}"
    key = key_of(patients=(pair.one.key, pair.other.key), recipe=peers.INSIDE.read_text())
    found = without_rivals(pair)
    for peer in RIVALS:
        found |= results.stage(f"{name} {peer}", key, lambda peer=peer: ([], rival(pair, peer, python)))
    means = ", ".join(f"{column} {mean(found[column], BTCV):.3f}" for column in COLUMNS)
    print(f"{name}: {means}", file=sys.stderr, flush=True)
    return found


def without_rivals(pair: Pair) -> Scores:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    ours = linear.register(pair.one.scan, pair.other.scan).moving_from_fixed
    user_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    return {
        "as_stored": pair.score(homolog.Affine.identity(pair.one.patient.name, pair.other.patient.name)),
        "best_affine": pair.score(pair.best_affine()),
        "homolog_linear": {**pair.score(ours), "user_s": user_s},
    }


def rival(pair: Pair, peer: str, python: Path) -> Scores:
    found = peers.register(python, peer, pair.one.scan, pair.other.scan, pair.other.labels)
    return {
        f"{peer}_affine": pair.score(found.affine.moving_from_fixed, found.affine.labels),
        peer: {**pair.score(found.end.moving_from_fixed, found.end.labels), "user_s": found.user_s},
    }


# ---------------------------------------------------------------------------------------------------------------------
# All pairs


def summary(found: list[Scores]) -> dict[str, Any]:
    """Dice from 0 to 1, means over pairs; landmarks of all pairs together."""
    bones = [number for group in BONES.values() for number in group]
    organs = {STRUCTURES[number]: (number,) for number in BTCV}
    rows = {"mean of 13": BTCV, "mean of 6 published": PUBLISHED, **organs, "bones": bones, **BONES}
    marks = {column: np.concatenate([one[column]["landmarks_mm"] for one in found]) for column in COLUMNS}
    percentiles = {"median": 50, "95th percentile": 95}
    return {
        "pairs": len(found),
        "spacing_mm": SPACING_MM,
        "dice": {row: across(found, lambda one, numbers=numbers: mean(one, numbers)) for row, numbers in rows.items()},
        "mean_of_13_of_pairs": {column: [mean(one[column], BTCV) for one in found] for column in COLUMNS},
        "bones_below_one_half": across(found, lambda one: share_below(one, bones, 0.5)),
        "landmarks_mm": {
            "mean": {column: marks[column].mean() for column in COLUMNS},
            **{name: {c: np.percentile(marks[c], share) for c in COLUMNS} for name, share in percentiles.items()},
        },
        "user_s": {c: np.mean([one[c]["user_s"] for one in found]) for c in COLUMNS if "user_s" in found[0][c]},
    }


def across(found: list[Scores], figure: Callable[[dict[str, Any]], float]) -> dict[str, float]:
    """Column -> a figure's mean over pairs."""
    return {column: float(np.nanmean([figure(one[column]) for one in found])) for column in COLUMNS}


def mean(score: dict[str, Any], numbers: Sequence[int]) -> float:
    """The mean Dice of those structures that both patients show."""
    names = [STRUCTURES[number] for number in numbers if STRUCTURES[number] in score["dice"]]
    return float(np.mean([score["dice"][name] for name in names])) if names else float("nan")


def share_below(score: dict[str, Any], numbers: Sequence[int], least: float) -> float:
    values = [score["dice"][STRUCTURES[number]] for number in numbers if STRUCTURES[number] in score["dice"]]
    return float(np.mean(np.array(values) < least))


def table(rows: dict[str, dict[str, float]]) -> str:
    head = f"{'':26}" + "".join(f"{column:>15}" for column in COLUMNS)
    lines = [f"{name:26}" + "".join(f"{row[column]:15.3f}" for column in COLUMNS) for name, row in rows.items()]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    main()
