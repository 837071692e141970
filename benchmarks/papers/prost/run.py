"""What ProST's papers claim, and how far each way of searching brings a bone home into an X-ray of the whole patient.

python benchmarks/papers/prost/run.py [--data DIR] [--work DIR] [--number 100] [--methods cmaes auto ...]

Three parts. convexity: each similarity along the six degrees of freedom and along random geodesics from the true pose;
curves in convexity.svg. capture: starts drawn as the paper draws them, the pelvis of virtual patients (and bone of the
real CTs of --data) against X-rays of all of the patient, noisy, scattered, collimated; errors in capture.svg. easy: a
whole chest from a start that is near (needs --data).

DIR of --work keeps the patients (about 40 s each to draw) and every try, a row of tries.csv, so that a run that was
ended goes on; after --anew name methods whose code has changed since. With fewer cases, methods or parts than all,
without --data or without weights, tables are printed, and ours.toml and the pictures are left alone. One thread a case;
user seconds. About two hours and a half of them for all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

# one thread a case: the libraries under NumPy have to be asked before they are loaded, here and in the other processes
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))
import convexity
import curves
import easy
import scenes
import trials
from baselines import METHODS, Method, Puzzle
from common import write_ours

from homolog import weights
from homolog.parallel import map_cases

HERE = Path(__file__).parent
PARTS = ("convexity", "capture", "easy")
# Cases: of virtual patients, of each real CT, of the easy setting, and those whose similarities are looked at.
NUMBER, REAL_SHARE, EASY, LOOKED_AT = 100, 0.2, 60, 10
# What is projected where similarities are looked at; the network was shown the first.
VOLUMES = ("excess", "masked")
SHIPPED = "prost"


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.work or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        trained = {None: "none", SHIPPED: "shipped"}.get(given.weights, "of a file")
        figures: dict[str, Any] = {"seed": given.seed, "weights": trained}
        for part in given.parts:
            figures |= WORK[part](given, folder)
    published()
    if whole(given):
        write_ours(HERE, figures)
    else:
        print("not all was asked for: ours.toml is as it was", file=sys.stderr)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real scans (chest-a, abdomen-pelvis, ...)")
    parser.add_argument("--golden", type=Path, help="not used here; all benchmarks are given it")
    parser.add_argument("--work", type=Path, help="keeps patients and tries, so that a run can be ended and go on")
    parser.add_argument("--number", type=int, default=NUMBER, help=f"cases of virtual patients [{NUMBER}]")
    parser.add_argument("--seed", type=int, default=0, help="of poses and X-rays [0]")
    parser.add_argument("--methods", nargs="+", choices=[*METHODS, *easy.METHODS], help="only these")
    parser.add_argument("--anew", nargs="+", default=[], help="methods whose code has changed: tried again")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these")
    parser.add_argument("--weights", help="of ProST: a file or folder of a training [those shipped]")
    parser.add_argument("--processes", type=int, default=2, help="cases at once [2]")
    given = parser.parse_args()
    given.weights = known_weights(given.weights)
    return given


def known_weights(which: str | None) -> str | None:
    """The weights' name or file; None, and a word about it, where none are given and none are shipped."""
    if which is None and SHIPPED not in weights.names():
        print("no weights of ProST: what needs them is left out (--weights FILE)", file=sys.stderr)
        return None
    return which or SHIPPED


def whole(given: argparse.Namespace) -> bool:
    """Whether what was asked for is what is committed."""
    everything = given.methods is None and set(given.parts) == set(PARTS) and given.number >= NUMBER
    return everything and given.data is not None and given.weights is not None


def published() -> None:
    theirs = tomllib.loads((HERE / "paper.toml").read_text())
    print("published", *(f"{name}: {row}" for name, row in theirs.items()), sep="\n")


# ---------------------------------------------------------------------------------------------------------------------
# Capture


def capture(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    methods = chosen(METHODS, given)
    patients = drawn_patients(folder, min(given.number, scenes.PATIENTS))
    tried = partial(trials.run, methods=methods, weights=given.weights, path=folder / "tries.csv")
    tried = partial(tried, seed=given.seed, processes=given.processes, anew=given.anew)
    found = {"virtual": tried("virtual", in_order(given.number), make=partial(virtual_puzzle, patients))}
    if given.data:
        few = range(max(1, round(REAL_SHARE * given.number)))
        for place in scenes.REAL:
            found[place] = tried(place, few, make=partial(real_puzzle, given.data))
    figures = {}
    for setting, rows in found.items():
        figures[setting] = {name: trials.summary(each) for name, each in rows.items()}
        print(f"\n{setting}, {len(next(iter(rows.values())))} cases", trials.table(methods, figures[setting]), sep="\n")
    if whole(given):
        by_name = {methods[name].says: [one.target_mm for one in each] for name, each in found["virtual"].items()}
        curves.errors(by_name, HERE / "capture.svg")
    return {"capture": figures}


def in_order(number: int) -> list[int]:
    """The cases patient by patient, so that each is read once; whose a case is does not depend on how many are run."""
    return sorted(range(number), key=lambda case: (case % scenes.PATIENTS, case))


def virtual_puzzle(patients: Path, asked: trials.Asked) -> Puzzle:
    place = f"patient_{scenes.FIRST + asked.number % scenes.PATIENTS}"
    return puzzle_of(scenes.case(scenes.body(place, patients), asked.number, asked.seed))


def real_puzzle(data: Path, asked: trials.Asked) -> Puzzle:
    return puzzle_of(scenes.case(scenes.body(asked.setting, data), asked.number, asked.seed))


def puzzle_of(case: scenes.Case) -> Puzzle:
    shown = {"masked": case.body.masked, "excess": case.body.excess}
    return Puzzle(case.number, shown, case.projection, case.truth, case.start, case.body.points_mm)


def drawn_patients(folder: Path, count: int) -> Path:
    """The folder of the virtual patients; those that are there already are kept."""
    patients = folder / "patients"
    command = [sys.executable, "-m", "homolog", "patients", "-n", str(count), "--first", str(scenes.FIRST), "-o",
               str(patients), "--spacing", str(scenes.SPACING_MM), "--region", scenes.REGION]  # fmt: skip
    subprocess.run(command, check=True)
    return patients


def chosen(methods: dict[str, Method], given: argparse.Namespace) -> dict[str, Method]:
    """Those asked for, without those whose weights there are not."""
    asked = methods if given.methods is None else given.methods
    return {name: each for name, each in methods.items() if name in asked and (given.weights or not each.needs_weights)}


# ---------------------------------------------------------------------------------------------------------------------
# The easy setting


def near(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    methods = chosen(easy.METHODS, given)
    if not given.data or not methods:
        print("left out: the easy setting needs --data, and one of its methods", file=sys.stderr)
        return {}
    number = range(min(EASY, given.number))
    found = trials.run(
        "easy", number, given.seed, partial(easy.puzzle, given.data), methods,
        weights=given.weights, path=folder / "tries.csv", processes=given.processes,
        anew=given.anew,
    )  # fmt: skip
    figures = {name: trials.summary(each) for name, each in found.items()}
    print(f"\nwhole chest-a, a near start, {len(number)} cases", trials.table(methods, figures), sep="\n")
    return {"easy": figures}


# ---------------------------------------------------------------------------------------------------------------------
# Convexity


def convex(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    numbers = range(min(LOOKED_AT, given.number))
    patients = drawn_patients(folder, len(numbers))
    work = partial(looked_at, patients, given.seed, given.weights)
    profiles: dict[str, dict[str, list[convexity.Profile]]] = {volume: {} for volume in VOLUMES}
    for number, found in sorted(map_cases(work, numbers, processes=given.processes)):
        print(f"similarities of case {number}", flush=True)
        for volume, by_name in found.items():
            for name, profile in by_name.items():
                profiles[volume].setdefault(name, []).append(profile)
    figures = {volume: {name: convexity.figures(f) for name, f in profiles[volume].items()} for volume in VOLUMES}
    for volume, rows in figures.items():
        print(f"\nsimilarities, {volume}", shape_table(rows), sep="\n")
    if whole(given):
        curves.similarities(profiles[VOLUMES[0]], HERE / "convexity.svg")
    return {"convexity": figures}


def looked_at(patients: Path, seed: int, which: str | None, number: int) -> dict[str, dict[str, convexity.Profile]]:
    case = scenes.case(scenes.body(f"patient_{scenes.FIRST + number % scenes.PATIENTS}", patients), number, seed)
    shown, other = VOLUMES
    return {shown: convexity.profiles(case, shown, which, seed), other: convexity.profiles(case, other, None, seed)}


def shape_table(rows: dict[str, dict[str, Any]]) -> str:
    columns = ("rising_freedoms", "rising_geodesics", "unbroken_geodesics", "peak_right", "cosine_turn", "cosine_shift")
    head = f"{'':28}" + "".join(f"{name.replace('_', ' '):>20}" for name in columns)
    lines = [f"{name:28}" + "".join(f"{row[column]:20.3f}" for column in columns) for name, row in rows.items()]
    return "\n".join([head, *lines])


WORK = {"convexity": convex, "capture": capture, "easy": near}

if __name__ == "__main__":
    main()
