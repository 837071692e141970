"""What each part of a group costs, in yardsticks, beside the figures that `homolog group --plan` goes by.

python benchmarks/speed/group_plan/run.py

On virtual patients, one thread, user seconds. Then a group that none of the costs was measured on, planned and made:
how many times as long each stage took as was said.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import user_seconds, write_ours, yardstick

from homolog import Grid, Volume
from homolog.features.configs import Sift3dConfig, Sp3dConfig, Surf3dConfig
from homolog.groupwise import atlas, carrying, frog
from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.propagation import Source, likeness, propagated_labels
from homolog.io import volumes
from homolog.kernels.threads import using_threads
from homolog.matching.configs import MatchConfig
from homolog.matching.nearest import match
from homolog.metrics.folding import folding
from homolog.pipelines import planning, planning_costs
from homolog.pipelines.detect import detect
from homolog.pipelines.planning_facts import Described, Wanted
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.sampling import low_passed
from homolog.space.transforms import Transform, chain
from homolog.synth.patients import draw_patient

SEEDS, SPACING_MM = (900, 901, 902), 2.5
# The group that is planned and made: of other people, finer pictures, and other settings.
OTHERS, FINER_MM = (910, 911, 912, 913), 2.0
WANTED = Wanted(sampling_mm=1.5, most=6000)
Pairs = dict[tuple[int, int], Matches]


class Clock:
    """Seconds of single calls, in yardsticks; what they gave is kept."""

    def __init__(self, unit_s: float) -> None:
        self.unit_s = unit_s

    def __call__(self, work: Callable[[], Any], per: float = 1.0) -> tuple[Any, float]:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        made = work()
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        return made, seconds / self.unit_s / per


def main() -> None:
    with using_threads(1):
        unit_s = yardstick()
        clock = Clock(unit_s)
        _warm()
        measured = _measured(clock)
        figures: dict[str, Any] = {"yardstick_user_s": unit_s, "yardstick_told_s": planning.yardstick_seconds()}
        figures["times_of_planned"] = {name: value / _planned(name) for name, value in measured.items()}
        figures["whole"] = _whole(clock)
    write_ours(Path(__file__).parent, {**figures, "yardsticks": {n: f"{v:.2e}" for n, v in measured.items()}})


# ---------------------------------------------------------------------------------------------------------------------
# Each cost


def _measured(clock: Clock) -> dict[str, float]:
    scans, labels = zip(*(_drawn(seed, SPACING_MM) for seed in SEEDS))
    found, costs = _of_finding(scans, clock)
    pairs = _matched(found)
    costs |= _of_matching(found, pairs, clock) | _of_drawing(found, pairs, clock)
    maps = frog.register(found, pairs).common_from_image
    layers = np.mean([len(chain([one]).parts) - 1 for one in maps])  # type: ignore[attr-defined]
    return {
        **costs,
        "LAYERS": float(layers) / FrogConfig().levels,
        **_of_outputs(scans, labels, maps, float(layers), clock),
    }


def _of_finding(scans: Sequence[Volume], clock: Clock) -> tuple[list[Keypoints], dict[str, float]]:
    """Keypoints at 1 mm, and what they cost: more voxels and more keypoints each by themselves."""
    scan = scans[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.nii.gz"
        volumes.write(scan, path, dtype="int16")
        _, read = clock(lambda: volumes.read(path), per=scan.grid.size)
        _, write = clock(lambda: volumes.write(scan, path), per=scan.grid.size)
    wanted = scan.grid.with_spacing(2 * SPACING_MM)
    smooth = user_seconds(lambda: low_passed(scan, wanted), runs=3) / clock.unit_s / scan.grid.size
    found, none = [], Surf3dConfig(sampling_mm=1.0, most=20_000, descriptors=False)
    looked = scan.grid.size * SPACING_MM**3
    _, look = clock(lambda: detect(scan, config=none), per=looked)
    many, whole = clock(lambda: detect(scan, config=Surf3dConfig(sampling_mm=1.0, most=20_000)))
    # the 10 000 strongest are what a group goes by
    found = [many[:10_000], *(detect(one, config=Surf3dConfig(sampling_mm=1.0, most=10_000)) for one in scans[1:])]
    coarse = detect(scan, config=Surf3dConfig(sampling_mm=2.0, descriptors=False))
    few, sift_few = clock(lambda: detect(scan, method="sift3d", config=Sift3dConfig(most=1000)))
    more, sift_more = clock(lambda: detect(scan, method="sift3d", config=Sift3dConfig(most=5000)))
    describe = (sift_more - sift_few) / (len(more) - len(few))
    by_network = Sp3dConfig(descriptors=False)
    shown = looked / by_network.sampling_mm**3
    bare, bare_look = clock(lambda: detect(scan, method="sp3d", config=by_network))
    _, network_whole = clock(lambda: detect(scan, method="sp3d", config=replace(by_network, descriptors=True)))
    return found, {
        "READ": read,
        "WRITE": write,
        "SMOOTH": smooth,
        "LOOK.surf3d": look,
        "DESCRIBE.surf3d": (whole - look * looked) / len(many),
        "LOOK.sift3d": (sift_few - describe * len(few)) / scan.grid.size,
        "DESCRIBE.sift3d": describe,
        "FOUND.surf3d": len(coarse) / (looked / 2**3),
        "LOOK.sp3d": bare_look / shown,
        "DESCRIBE.sp3d": (network_whole - bare_look) / len(bare),
        "FOUND.sp3d": len(bare) / shown,
    }


def _of_matching(found: Sequence[Keypoints], pairs: Pairs, clock: Clock) -> dict[str, float]:
    one, two = found[:2]
    assert one.descriptors is not None
    compared = len(one) * len(two) * one.descriptors.shape[1]
    _, all_of_them = clock(lambda: match(one, two, MatchConfig(scale_ratio=None)), per=compared)
    _, alike = clock(lambda: match(one, two), per=compared)
    share = np.mean([len(matches) / len(found[0]) for matches in pairs.values()])
    return {"COMPARE": all_of_them, "ALIKE": alike / all_of_them, "MATCHED": float(share)}


def _of_drawing(found: Sequence[Keypoints], pairs: Pairs, clock: Clock) -> dict[str, float]:
    """The start alone; and steps of a crowd of twelve, all of whose pairs are matched, or only neighbours in a ring."""
    never = FrogConfig(levels=0, linear_steps=1)
    _, agreed = clock(lambda: frog.register(found, pairs, never))
    _, boxes = clock(lambda: frog.register(found, pairs, replace(never, start="boxes")))
    crowd = _crowd(12, 4000)
    rows = np.repeat(np.arange(len(crowd[0]))[:, None], 2, axis=1)
    ring = [(n, n + 1) for n in range(len(crowd) - 1)]
    whole = list(combinations(range(len(crowd)), 2))
    fixed = FrogConfig(steps=50, tolerance=0.0, linear_steps=1, start="boxes")
    steps = fixed.levels * fixed.steps
    all_of_them, few = ({pair: Matches(rows) for pair in some} for some in (whole, ring))
    costs = [clock(partial(frog.register, crowd, some, fixed), per=steps)[1] for some in (all_of_them, few)]
    of_match = (costs[0] - costs[1]) / len(rows) / (len(whole) - len(ring))
    of_point = (costs[1] - of_match * len(rows) * len(ring)) / len(rows) / len(crowd)
    return {"AGREE": (agreed - boxes) / len(pairs), "STEP_OF_POINT": of_point, "STEP_OF_MATCH": of_match}


def _crowd(count: int, points: int) -> list[Keypoints]:
    """The same places in all, but for some millimetres."""
    rng = np.random.default_rng(0)
    places = rng.uniform((-200, -150, -400), (200, 150, 400), (points, 3))
    return [Keypoints(places + rng.normal(0, 4, places.shape), str(n)) for n in range(count)]


def _of_outputs(
    scans: Sequence[Volume], labels: Sequence[Volume], maps: Sequence[Transform], layers: float, clock: Clock
) -> dict[str, float]:
    lattices = [_lattice(scan, the_map) for scan, the_map in zip(scans, maps)]
    inverse, back = clock(lambda: carrying.inverse_on(maps[0], lattices[0]), per=lattices[0].size * layers)
    other = carrying.inverse_on(maps[1], lattices[1]).transform
    coarse = scans[0].grid.with_spacing(planning_costs.FOLDS_MM)
    _, fold = clock(lambda: folding(carrying.merged_on(maps[0], coarse), coarse), per=coarse.size)
    grid = atlas.common_grid([(scan.grid, one) for scan, one in zip(scans, maps)], SPACING_MM)
    _, mean = clock(
        lambda: atlas.mean([(scans[0], inverse.transform), (scans[1], other)], grid, outside=-1000.0),
        per=2 * grid.size,
    )

    def voted() -> None:
        second_from_first = chain([other, carrying.merged_on(maps[0], scans[0].grid)])
        weights = likeness(scans[0], scans[1], second_from_first)
        propagated_labels(scans[0].grid, [Source(labels[1], second_from_first, weights)])

    voted()
    _, vote = clock(voted, per=scans[0].grid.size)
    return {"BACK": back, "FOLD": fold, "MEAN": mean, "VOTE": vote}


# ---------------------------------------------------------------------------------------------------------------------
# A whole group, planned and made


def _whole(clock: Clock) -> dict[str, dict[str, float]]:
    """Of each stage the yardsticks that were planned and those that it took; small files are in neither."""
    kept = tempfile.TemporaryDirectory()
    scans = [_drawn(seed, FINER_MM)[0] for seed in OTHERS]
    folder = Path(kept.name)
    paths = [folder / f"{scan.space}.nii.gz" for scan in scans]
    for scan, path in zip(scans, paths):
        volumes.write(scan, path, dtype="int16")
    images = [Described(scan.grid.shape, tuple(scan.grid.spacing_mm.tolist())) for scan in scans]
    planned = planning.plan(images, WANTED, threads=1, yardstick_s=1.0)
    config = Surf3dConfig(sampling_mm=WANTED.sampling_mm, most=WANTED.most)
    took: Counter[str] = Counter()
    found, took["keypoints"] = clock(
        lambda: [detect(volumes.read(path, space=scan.space), config=config) for path, scan in zip(paths, scans)]
    )
    pairs, took["matches"] = clock(lambda: _matched(found))
    group, took["maps"] = clock(lambda: frog.register(found, pairs))
    maps = group.common_from_image

    def backs() -> list[Transform]:
        for scan, one in zip(scans, maps):
            coarse = scan.grid.with_spacing(planning_costs.FOLDS_MM)
            folding(carrying.merged_on(one, coarse), coarse)
        return [carrying.inverse_on(one, _lattice(scan, one)).transform for scan, one in zip(scans, maps)]

    inverses, took["ways back"] = clock(backs)
    grid = atlas.common_grid([(scan.grid, one) for scan, one in zip(scans, maps)], FINER_MM)

    def pictures() -> None:
        read = ((volumes.read(path, space=scan.space), one) for path, scan, one in zip(paths, scans, inverses))
        drawn = atlas.mean(read, grid, outside=-1000.0)
        for name in ("mean", "deviation", "count"):
            volumes.write(getattr(drawn, name), folder / f"{name}.nii.gz")

    _, took["pictures"] = clock(pictures)
    kept.cleanup()
    stages = {stage.name: 60 * stage.cpu_minutes for stage in planned.stages}
    return {
        name.replace(" ", "_"): {"planned": said, "took": took[name], "times": took[name] / said}
        for name, said in stages.items()
    }


# ---------------------------------------------------------------------------------------------------------------------


def _matched(found: Sequence[Keypoints]) -> Pairs:
    return {(i, j): match(found[i], found[j]) for i, j in combinations(range(len(found)), 2)}


def _drawn(seed: int, spacing_mm: float) -> tuple[Volume, Volume]:
    patient = draw_patient(seed)
    return patient.both(patient.grid(spacing_mm))


def _lattice(scan: Volume, common_from_image: Transform) -> Grid:
    """Nodes over all that an image shows, as the command lays them."""
    corners = np.asarray(common_from_image.apply(scan.grid.with_spacing(25.0).points()))
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = np.ceil((high - low) / planning_costs.LATTICE_MM).astype(int) + 3
    return Grid.regular(shape.tolist(), planning_costs.LATTICE_MM, low - planning_costs.LATTICE_MM)


def _planned(name: str) -> float:
    table, _, key = name.partition(".")
    value = getattr(planning_costs, table)
    return float(value[key] if key else value)


def _warm() -> None:
    """Everything once on a little, so that no kernel is compiled while the clock runs."""
    scans, labels = zip(*(_drawn(seed, 6.0) for seed in SEEDS))
    found = [detect(scan, config=Surf3dConfig(sampling_mm=3.0)) for scan in scans]
    detect(scans[0], method="sift3d", config=Sift3dConfig(most=100))
    pairs = _matched(found)
    maps = frog.register(found, pairs, FrogConfig(steps=20)).common_from_image
    clock = Clock(1.0)
    _of_drawing(found, pairs, clock)
    _of_outputs(scans, labels, maps, 1.0, clock)


if __name__ == "__main__":
    main()
