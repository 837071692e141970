"""X-rays of a chest, their derivatives, alignments and a training step: time and memory, beside DiffDRR and nanodrr.

python benchmarks/speed/projection.py --data DIR [--peers VENV]

Times are user seconds of one thread, the mean over four views of a C-arm; MB are above what was held before the call,
in a process of its own. The rivals run in an environment of their own on the same chest, from the same poses, on the
same detector, and their pictures are compared with ours. Without --data the chest is a virtual patient's. Without their
environment the rivals' figures stay as committed, beside the yardstick of their own run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))
import aligning
import projectors
from chest import Chest, camera, chest, saved
from common import ROOT, arguments, user_seconds, write_ours, yardstick

from homolog.kernels.threads import using_threads
from homolog.space.projecting import METHODS, Projector

HERE = Path(__file__).parent
ENVIRONMENT = ROOT / ".venv-peers-drr"
# Where user seconds come in steps of 4 ms, so many calls are timed together.
CALLS = 5
# Starts of the alignments at 64^2/128^3 and up to 128^2/256^3, and of the rivals'.
STARTS = {64: 60, 128: 12}
RIVAL_STARTS = 4
# Rivals: samples a ray, and the figures' name.
RIVALS = {
    "diffdrr_siddon": ("diffdrr_siddon", 0),
    "diffdrr_trilinear_500": ("diffdrr_trilinear", 500),
    "nanodrr_256": ("nanodrr", 256),
    "nanodrr_500": ("nanodrr", 500),
}
ALIGNED_SAMPLES = 160
# The bars: user seconds, and MB.
BARS_S = {
    ("siddon", "value"): 0.045,
    ("joseph", "value"): 0.035,
    ("trilinear", "value"): 0.035,
    **{(method, "gradient"): 0.055 for method in METHODS},
    **{(method, "curvature"): 0.09 for method in METHODS},
}
BAR_MB = 20
BAR_ALIGNED_S = {64: 1.5, 128: 8.0}
BAR_STEP = (15.0, 1000)


def main() -> None:
    given = arguments(__doc__, peers="environment in which DiffDRR and nanodrr are installed")
    theirs = tomllib.loads((HERE / "paper.toml").read_text())
    one, unit = chest(given.data), yardstick()
    figures: dict[str, Any] = {"yardstick_user_s": unit, "chest": "real" if given.data else "virtual"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = saved(one, Path(temporary))
        figures["agreement"] = projectors.agreement(one)
        for method in METHODS:
            figures[method] = projected(one, folder, method, unit)
        for pixels, number in STARTS.items():
            figures[f"alignment_{pixels}"] = aligned(one, pixels, number, unit)
        figures["prost_step"] = prost_step(unit)
        figures["peers"] = rivals(one, folder, given.peers or ENVIRONMENT, unit)
    write_ours(HERE, figures)
    print_table(figures, theirs)


# ---------------------------------------------------------------------------------------------------------------------
# Ours


def projected(one: Chest, folder: Path, method: str, unit: float) -> dict[str, Any]:
    """What a method costs at 128^2 and 256^2 pixels."""
    row: dict[str, Any] = {}
    larger = projectors.works(one.volume, method, 256)
    for kind, work in projectors.works(one.volume, method, 128).items():
        quick = kind in projectors.QUICK
        row[f"{kind}_user_s"] = spent = seconds_a_view(work, one.poses, CALLS if quick else 1)
        row[f"{kind}_yardsticks"] = spent / unit
        row[f"{kind}_mb"] = float(told([sys.executable, "projectors.py", str(folder), method, kind, "128"]))
        if (method, kind) in BARS_S:
            row[f"{kind}_bar_user_s"] = BARS_S[method, kind]
        if quick:
            row[f"{kind}_at_256_px_times"] = seconds_a_view(larger[kind], one.poses, 2) / spent
    return row


def seconds_a_view(work: Callable[[np.ndarray], object], poses: np.ndarray, calls: int) -> float:
    """User seconds of one call, the mean over views of each one's least."""

    def often(pose: np.ndarray) -> None:
        for _ in range(calls):
            work(pose)

    with using_threads(1):
        return float(np.mean([user_seconds(lambda p=pose: often(p), runs=3) for pose in poses])) / calls


def aligned(one: Chest, pixels: int, number: int, unit: float) -> dict[str, Any]:
    """From starts within 20 degrees and 30 mm."""
    row = aligning.costs(one, pixels, number, threads=1)
    row |= {"yardsticks": row["user_s"] / unit, "bar_user_s": BAR_ALIGNED_S[pixels]}
    if pixels == 128:
        row["two_threads_user_s"] = aligning.costs(one, pixels, len(one.poses), threads=2)["user_s"]
    return row


def prost_step(unit: float) -> dict[str, float]:
    row: dict[str, float] = json.loads(told([sys.executable, "prost_step.py"]))
    return {**row, "yardsticks": row["user_s"] / unit, "bar_user_s": BAR_STEP[0], "bar_mb": BAR_STEP[1]}


# ---------------------------------------------------------------------------------------------------------------------
# Rivals


def rivals(one: Chest, folder: Path, environment: Path, unit: float) -> dict[str, Any]:
    """Theirs on the same chest; as committed where their environment is not there."""
    python = environment / "bin" / "python"
    if not python.exists():
        print(f"peers not measured, their figures stay as committed: no {python}; `make peers-drr`", file=sys.stderr)
        committed = HERE / "ours.toml"
        return tomllib.loads(committed.read_text()).get("peers", {}) if committed.exists() else {}
    found: dict[str, Any] = {"yardstick_user_s": unit}
    for name, (renderer, samples) in RIVALS.items():
        found[name] = rival(one, folder, python, renderer, samples)
    all_tasks = aligning.tasks(one, 64, RIVAL_STARTS)
    aligning.saved(all_tasks, one, folder)
    for renderer in ("diffdrr_trilinear", "nanodrr"):
        found[f"alignment_{renderer}"] = rival_aligned(one, folder, python, renderer, all_tasks)
    return found


def rival(one: Chest, folder: Path, python: Path, renderer: str, samples: int) -> dict[str, float]:
    """Time and memory at 128^2 pixels, time at 256^2, and how alike its pictures are to ours."""
    row = json.loads(told([str(python), "rivals.py", str(folder), renderer, "128", str(samples), "4", "2"]))
    method = "siddon" if "siddon" in renderer else "trilinear"
    own = [Projector(one.volume, method).image(camera(128), pose) for pose in one.poses]
    pictures = np.load(folder / f"{renderer}.npy")
    row["r_with_ours"] = min(map(projectors.correlation, own, pictures))
    row["largest_difference"] = float(np.abs(pictures - own).max() / np.max(own))
    larger = json.loads(told([str(python), "rivals.py", str(folder), renderer, "256", str(samples), "1", "1"]))
    return row | {f"{key}_256_px": value for key, value in larger.items()}


def rival_aligned(
    one: Chest, folder: Path, python: Path, renderer: str, all_tasks: list[aligning.Task]
) -> dict[str, Any]:
    asked = [str(python), "rivals.py", str(folder), "align", renderer, str(ALIGNED_SAMPLES)]
    times = json.loads(told(asked))["user_s"]
    found = np.load(folder / f"{renderer}_found.npy")
    return {**aligning.errors(one, all_tasks, found), **aligning.seconds(times)}


def told(command: list[str]) -> str:
    """The last line that a script beside this one prints, in a process of its own."""
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


# ---------------------------------------------------------------------------------------------------------------------


def print_table(figures: dict[str, Any], theirs: dict[str, Any]) -> None:
    print("user s of one thread a picture of 128^2 pixels, 256^3 voxels (yardsticks); MB above; bar")
    for method in METHODS:
        row = figures[method]
        for kind in projectors.KINDS:
            more = ""
            if kind in projectors.QUICK:
                more = (
                    f"; bar {row[f'{kind}_bar_user_s']} s, {BAR_MB} MB; x {row[f'{kind}_at_256_px_times']:.1f} at 256^2"
                )
            print(
                f"{method + ' ' + kind:34} {row[f'{kind}_user_s']:7.3f} s ({row[f'{kind}_yardsticks']:.3f}), "
                f"{row[f'{kind}_mb']:6.1f} MB{more}"
            )
    peers = figures["peers"]
    for name in RIVALS:
        _print_rival(name, peers)
    print(f"{'RTK Joseph (C++), reported':34} {theirs['rtk_joseph']['value_user_s']:7.3f} s")
    print("agreement: " + ", ".join(f"{name} {value:.6g}" for name, value in figures["agreement"].items()))
    for name, row in _alignments(figures).items():
        bar = f"bar {row['bar_user_s']} s" if "bar_user_s" in row else ""
        print(
            f"{name:34} {row['user_s']:7.2f} s (most {row['most_user_s']:.2f}); {row['below_1_mm']} of {row['starts']} "
            f"below 1 mm, median {row['start_mm']:.1f} -> {row['end_mm']:.2f} mm  {bar}"
        )
    low, high = theirs["diffdrr_alignment"]["user_s"]
    print(f"{'DiffDRR alignments, reported':34} {low} to {high} s")
    row = figures["prost_step"]
    print(
        f"{'ProST training step, 128^3, 128^2':34} {row['user_s']:7.2f} s, {row['above_mb']:.0f} MB above, "
        f"{row['peak_mb']:.0f} in all; bar {BAR_STEP[0]} s, {BAR_STEP[1]} MB; theirs at an eighth of the size, "
        f"reported: {theirs['prost_step']['user_s']} s, {theirs['prost_step']['above_mb']} MB"
    )


def _print_rival(name: str, peers: dict[str, Any]) -> None:
    if name not in peers:
        print(f"{name:34} not measured: make peers-drr")
        return
    row = peers[name]
    print(
        f"{name:34} value {row['value_user_s']:.2f} s, {row['value_mb']:.0f} MB; with gradient "
        f"{row['gradient_user_s']:.2f} s, {row['gradient_mb']:.0f} MB; at 256^2 {row['value_user_s_256_px']:.2f} and "
        f"{row['gradient_user_s_256_px']:.2f} s; r with ours {row['r_with_ours']:.6f}"
    )


def _alignments(figures: dict[str, Any]) -> dict[str, Any]:
    named = {
        "alignment, 64^2, 128^3": figures["alignment_64"],
        "alignment up to 128^2, 256^3": figures["alignment_128"],
    }
    for renderer in ("diffdrr_trilinear", "nanodrr"):
        if f"alignment_{renderer}" in figures["peers"]:
            named[f"{renderer}, Adam, 64^2, 128^3"] = figures["peers"][f"alignment_{renderer}"]
    return named


if __name__ == "__main__":
    main()
