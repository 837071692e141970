"""What each part of SP3D's recipe brings: short trainings that differ in one thing, and what comes of them.

python benchmarks/papers/sp3d/ablations.py --data DIR --work DIR [--only NAME ...]

Each begins from SP3D-pt and takes 320 steps, some ten minutes, half an hour with both teachers; two go on from SP3D as
it comes along, by the same labels or, as a second round of adaptation, by what it finds again itself too. What --work
has of them is not done again. Two chest CTs under a drawn warp, and two different patients; 1500 points and 5000. One
thread and one seed: differences of 0.01 are nothing. Writes `ablations` of ours.toml.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from itertools import islice
from pathlib import Path

import run
import torch
import ways
from common import write_ours

from homolog.kernels.threads import using_threads

HERE = Path(__file__).parent
STEPS, SEED = 320, 5
ALL = ["--sampling-mm", "0.75", "--points-mm", "2", "--half", "--threads", "1"]
FIRST, AGAIN = ["--begin", "sp3d-pt"], ["--begin", "sp3d", "--between", "0.3"]
BOTH_TEACHERS = ["--teacher", "both", "--warps", "3"]
VARIANTS = {
    "as_shipped": [*FIRST, "--between", "0.3"],
    "no_pairs_of_patients": [*FIRST, "--between", "0"],
    "with_reward": [*FIRST, "--between", "0.3", "--repeat", "0.3"],
    "hinges": [*FIRST, "--between", "0.3", "--likeness", "hinge"],
    "both_teachers": [*FIRST, "--between", "0.3", *BOTH_TEACHERS],
    "shipped_longer": AGAIN,
    "shipped_second_round": [*AGAIN, *BOTH_TEACHERS],
}
BUDGETS, PATIENT_PAIRS = (1500, 5000), 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of real scans (chest-a, chest-b, ...)")
    parser.add_argument("--work", type=Path, required=True, help="keeps the trainings")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=VARIANTS, help="some of them")
    given = parser.parse_args()
    torch.set_num_threads(1)
    known = {"shipped": "sp3d", **{name: trained(name, given.work / f"ablation_{name}") for name in given.only}}
    with using_threads(1):
        scans = list(run.warped_pairs(given.data, run.LOOK_SCANS))
        patients = list(islice(run.patients(), PATIENT_PAIRS))
        rows = {name: scored(which, scans, patients) for name, which in known.items()}
    written = tomllib.loads((HERE / "ours.toml").read_text())
    before = written.get("ablations", {})
    table = {row: {**before.get(row, {}), **{name: rows[name][row] for name in rows}} for row in rows["shipped"]}
    write_ours(HERE, {part: value for part, value in written.items() if isinstance(value, dict)} | {"ablations": table})


def trained(name: str, folder: Path) -> str:
    command = [sys.executable, "-m", "homolog", "train", "sp3d", *ALL, *VARIANTS[name]]
    subprocess.run([*command, "--seed", str(SEED), "--steps", str(STEPS), "--out", str(folder)], check=True)
    return str(folder)


def scored(which: str, scans: list[run.Pair], patients: list[run.Pair]) -> dict[str, float]:
    detect = ways.detectors({"sp3d": which})["sp3d"]
    row: dict[str, float] = {}
    for of, pairs in (("scans", scans), ("patients", patients)):
        for pair in pairs:
            both = pair.points(detect)
            for budget in BUDGETS:
                found = run.found_again(pair, both, budget)
                for what, value in zip(("repeatability", "matching_score"), found, strict=True):
                    name = f"{what}_2mm_{of}_{budget}"
                    row[name] = row.get(name, 0.0) + value / len(pairs)
    print(which, row, file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    main()
