"""Tries of methods on cases, each a row of a CSV file, so that a run that was ended goes on where it was."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from baselines import NUMBERS, Method, Puzzle, Trial, settings_of, tried

from homolog.metrics.poses import rates
from homolog.parallel import map_cases

HEAD = ("setting", "case", "seed", "made", *(field.name for field in fields(Trial)))
PERCENTILES = (25, 50, 75, 95)


@dataclass(frozen=True)
class Asked:
    """A case of a setting, and the methods that are still to be tried on it.

    made  by the method's name: what its answer depends on, in short
    """

    setting: str
    number: int
    seed: int
    made: tuple[tuple[str, str], ...]


Maker = Callable[[Asked], Puzzle]


def run(
    setting: str,
    numbers: Sequence[int],
    seed: int,
    make: Maker,
    methods: dict[str, Method],
    *,
    weights: str | None,
    path: Path,
    processes: int,
    anew: Collection[str] = (),
) -> dict[str, list[Trial]]:
    """Every method's tries, in the order of the numbers; those of the file are not made again.

    make  a function of a module, or a `partial` of one: it is called where the case is worked on
    anew  methods that are tried again all the same
    """
    made = {name: short(told) for name, told in settings_of(list(methods), weights, methods).items()}
    known = {key: trial for key, trial in _read(path).items() if trial.method not in anew}
    lacking = []
    for number in numbers:
        names = [name for name in methods if (setting, number, seed, made[name], name) not in known]
        if names:
            lacking.append(Asked(setting, number, seed, tuple((name, made[name]) for name in names)))
    work = partial(_tried, make, methods, weights)
    for done, (asked, rows) in enumerate(map_cases(work, lacking, processes=processes), 1):
        for row in rows:
            _write(path, asked, made[row.method], row)
            known[setting, asked.number, seed, made[row.method], row.method] = row
        _say(done, len(lacking), asked, rows)
    return {name: [known[setting, number, seed, made[name], name] for number in numbers] for name in methods}


def _tried(make: Maker, methods: dict[str, Method], weights: str | None, asked: Asked) -> list[Trial]:
    puzzle = make(asked)
    return [tried(name, puzzle, weights, methods) for name, _ in asked.made]


def _say(done: int, many: int, asked: Asked, rows: Sequence[Trial]) -> None:
    told = ", ".join(f"{row.method} {row.target_mm:.2f} mm {row.judgement} {row.user_s:.1f} s" for row in rows)
    print(f"{asked.setting} {asked.number} ({done} of {many}), from {rows[0].start_mm:.0f} mm: {told}", flush=True)


def short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:10]


# ---------------------------------------------------------------------------------------------------------------------
# The file


def _read(path: Path) -> dict[tuple[str, int, int, str, str], Trial]:
    if not path.exists():
        return {}
    if not path.read_bytes().endswith(b"\n"):
        # a row that was half written when a run was ended: the next one begins a line of its own
        with path.open("a") as file:
            file.write("\n")
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row.get(name) is not None for name in HEAD)]
    return {(r["setting"], int(r["case"]), int(r["seed"]), r["made"], r["method"]): _trial(r) for r in rows}


def _trial(row: dict[str, str]) -> Trial:
    return Trial(**{f.name: float(row[f.name]) if f.name in NUMBERS else row[f.name] for f in fields(Trial)})


def _write(path: Path, asked: Asked, made: str, trial: Trial) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(HEAD)
        values = (f"{value:.6g}" if isinstance(value, float) else value for value in asdict(trial).values())
        writer.writerow((asked.setting, asked.number, asked.seed, made, *values))


# ---------------------------------------------------------------------------------------------------------------------
# What they come to


def summary(found: Sequence[Trial]) -> dict[str, Any]:
    """The figures of one method's tries; verdicts only where it gave any."""
    judged = [trial.judgement for trial in found] if any(trial.judgement for trial in found) else None
    many = rates([trial.target_mm for trial in found], judged, within_mm=(1.0, 10.0))
    figures: dict[str, Any] = {
        "cases": many.count,
        "start_mm": float(np.median([trial.start_mm for trial in found])),
        **{f"p{percent}_mm": mm for percent, mm in many.percentiles},
        **{f"below_{limit:g}_mm": share for limit, share in many.within},
        "below_10_mm_interval": interval(dict(many.within)[10.0], many.count),
        "turn_degrees": _median([trial.turn_degrees for trial in found]),
        "in_plane_mm": _median([trial.in_plane_mm for trial in found]),
        "depth_mm": _median([abs(trial.depth_mm) for trial in found]),
        "user_s": _median([trial.user_s for trial in found]),
    }
    if judged is not None and many.trusted is not None:
        figures["called_good"] = judged.count("GOOD") / many.count
        figures["good_but_wrong"] = many.trusted / many.count
    return figures


def interval(share: float, count: int) -> list[float]:
    """Where the true share lies with 95 % (Wilson, 1927)."""
    z2 = 1.96**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return [float(middle - half), float(middle + half)]


def table(methods: dict[str, Method], figures: dict[str, dict[str, Any]]) -> str:
    """A line a method."""
    head = ("25 %", "50 %", "75 %", "95 %", "< 10 mm", "< 1 mm", "GOOD", "wrong GOOD", "user s")
    lines = [f"{'':52}" + "".join(f"{word:>11}" for word in head)]
    for name, row in figures.items():
        errors = "".join(f"{row[f'p{percent}_mm']:11.2f}" for percent in PERCENTILES)
        shares = "".join(
            _percent(row.get(key)) for key in ("below_10_mm", "below_1_mm", "called_good", "good_but_wrong")
        )
        lines.append(f"{methods[name].says[:51]:52}{errors}{shares}{row['user_s']:11.1f}")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return f"{'-':>11}" if share is None else f"{100 * share:9.0f} %"


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
