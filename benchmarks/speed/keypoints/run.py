"""3D-SURF, 3D-SIFT and matching: what the published programs find, time and memory, beside theirs.

python benchmarks/speed/keypoints.py --data DIR --golden DIR

Agreement is by the published programs' own behaviour (`compat`); times and memory are of the defaults, and of `compat`
beside them. Every measurement runs in a process of its own: the work once on a small picture, so that kernels are
loaded, then on the volume. Memory is what the process grew by above the volume that it held already.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import SCANS, arguments, in_child, write_ours, yardstick

from homolog import Volume, methods, read
from homolog.space.keypoints import Keypoints

HERE = Path(__file__).parent
NATIVE = "chest-a/lidc-idri-0001_native.nii.gz"
# The bars, user seconds; and MB above the volume, or of the whole process where there is none.
BARS = {
    ("surf3d", "chest-a"): (0.15, 150),
    ("surf3d", "chest-a_0.75mm"): (5.0, 1500),
    ("sift3d", "chest-b"): (7.0, None),
    ("sift3d", "heart-aorta"): (4.0, None),
    ("matching", "20000"): (1.0, 450),
}
COMPAT = {"surf3d": "frog", "sift3d": "sift3d"}

MEASURED = """
import json, resource, sys
def status(word):
    return next(int(l.split()[1]) / 1024 for l in open('/proc/self/status') if l.startswith(word))
def user():
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime
def measured(work, runs):
    held = status('VmRSS')
    open('/proc/self/clear_refs', 'w').write('5')
    times = []
    for _ in range(runs):
        before = user(); found = work(); times.append(user() - before)
    print(json.dumps({'points': len(found), 'user_s': min(times), 'above_mb': status('VmHWM') - held,
                      'peak_mb': status('VmHWM')}))
"""
DETECTING = (
    MEASURED
    + """
import numpy as np
from homolog import Grid, Volume, methods, read
name, path, options, runs = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
detect = methods.resolve(methods.DETECTORS[name])
config = methods.resolve(methods.DETECTOR_OPTIONS[name])(**options)
small = np.random.default_rng(0).normal(0, 300, (64, 64, 64)).astype(np.float32)
detect(Volume(small, Grid.regular((64, 64, 64), 2.0, (0, 0, 0)), 'small'), config)
volume = read(path)
measured(lambda: detect(volume, config), runs)
"""
)
MATCHING = (
    MEASURED
    + """
import numpy as np
from homolog import Keypoints
from homolog.matching.configs import MatchConfig
from homolog.matching.nearest import match
def points(count, seed):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, 48)).astype(np.float32)
    numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
    return Keypoints(rng.uniform(0, 300, (count, 3)), 's', scale=rng.uniform(1, 6, count),
                     sign=rng.choice([-1, 1], count).astype(np.int8), descriptors=numbers)
config = MatchConfig(**json.loads(sys.argv[1]))
match(points(300, 0), points(300, 1), config)
here, there = points(20000, 2), points(20000, 3)
measured(lambda: match(here, there, config), 3)
"""
)


def main() -> None:
    given = arguments(__doc__, "data", "golden")
    theirs = tomllib.loads((HERE / "paper.toml").read_text())
    unit = yardstick()
    figures: dict[str, Any] = {"yardstick_user_s": unit, "agreement": _agreements(given.data, given.golden)}
    for method in ("surf3d", "sift3d"):
        for name in theirs[method]:
            path = given.data / SCANS.get(name, NATIVE)
            more = {"sampling_mm": 0.75, "most": 20000} if name == "chest-a_0.75mm" else {}
            runs = 1 if more else 3
            default = _measured(DETECTING, method, str(path), json.dumps(more), str(runs))
            row = _row(default, theirs[method][name], unit, BARS.get((method, name)))
            # the published program's resampling is not described well enough to be told apart from ours
            if not more:
                options = json.dumps({"compat": COMPAT[method]})
                compat = _measured(DETECTING, method, str(path), options, str(runs))
                row |= {"compat_user_s": compat["user_s"], "compat_points": compat["points"]}
            figures[f"{method}_{name}"] = row
    for name, options in {"20000": {"scale_ratio": None}, "20000_scale_ratio_1.3": {}}.items():
        done = _measured(MATCHING, json.dumps(options))
        figures[f"matching_{name}"] = _row(done, theirs["matching"]["20000"], unit, BARS.get(("matching", name)))
    write_ours(HERE, figures)
    _print_table(figures)


def _print_table(figures: dict[str, Any]) -> None:
    print(
        "against the published programs, compat: found of theirs, extra; default: user s (yardsticks), MB; times faster"
    )
    for name, row in figures["agreement"].items():
        print(f"{name:24} {row['found']} of {row['theirs']}, {row['extra']} extra")
    for name, row in figures.items():
        if isinstance(row, dict) and "user_s" in row:
            bar = f"bar {row['bar_user_s']} s" if "bar_user_s" in row else ""
            print(
                f"{name:24} {row['user_s']:6.2f} s ({row['yardsticks']:.2f} yardsticks), {row['above_mb']:5.0f} MB "
                f"above the input, {row['peak_mb']:5.0f} in all; {row['times_faster_in_yardsticks']:5.1f} x; "
                f"{row['points']} found  {bar}"
            )


def _measured(code: str, *argv: str) -> dict[str, float]:
    return dict(json.loads(in_child(code, *argv)[0]))


def _row(ours: dict[str, float], theirs: dict[str, float], unit: float, bar: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        **ours,
        "yardsticks": ours["user_s"] / unit,
        "their_user_s": theirs["user_s"],
        "their_peak_mb": theirs["peak_mb"],
        "times_faster_in_yardsticks": (theirs["user_s"] / 0.55) / (ours["user_s"] / unit),
    }
    if bar:
        row |= {"bar_user_s": bar[0]} | ({"bar_mb": bar[1]} if bar[1] else {})
    return row


# ---------------------------------------------------------------------------------------------------------------------
# Agreement with what the published programs found


def _agreements(data: Path, golden: Path) -> dict[str, Any]:
    found = {f"surf3d_{name}": _surf_agreement(data / SCANS[name], golden, name) for name in SCANS}
    names = ("chest-b", "heart-aorta", "abdomen-pelvis")
    return found | {f"sift3d_{name}": _sift_agreement(data / SCANS[name], golden, name) for name in names}


def _surf_agreement(path: Path, golden: Path, name: str) -> dict[str, Any]:
    theirs = np.loadtxt(golden / "surf3d" / f"surf3d_{name}.csv.gz", delimiter=",")
    ours = _detected("surf3d", read(path))
    # theirs are written in the frame whose x and y run the other way, and 1 is a dark blob
    positions = theirs[:, :3] * (-1, -1, 1)
    rows = _paired(positions, theirs[:, 3], ours)
    apart = np.linalg.norm(ours.position[rows] - positions, axis=1)
    assert ours.scale is not None and ours.sign is not None and ours.descriptors is not None
    same = (apart < 1e-3) & (np.abs(ours.scale[rows] - theirs[:, 3]) < 1e-3)
    same &= (ours.sign[rows] < 0) == (theirs[:, 4] == 1)
    return {
        "theirs": len(theirs),
        "ours": len(ours),
        "found": int(same.sum()),
        "extra": len(ours) - len(np.unique(rows[same])),
        "position_mm": float(apart.max()),
        "descriptor": float(np.abs(ours.descriptors[rows] - theirs[:, 6:]).max()),
    }


def _sift_agreement(path: Path, golden: Path, name: str) -> dict[str, Any]:
    theirs = np.loadtxt(golden / "sift3d" / f"sift3d_{name}.keys.csv", delimiter=",")
    volume = read(path)
    ours = _detected("sift3d", volume)
    voxels = theirs[:, :3] * 2 ** theirs[:, 3:4]
    grid = _grid_as_stored(path)
    positions = grid.world(voxels)
    rows = _paired(positions, theirs[:, 4], ours)
    apart = np.linalg.norm(ours.position[rows] - positions, axis=1)
    assert ours.scale is not None and ours.frame is not None and ours.descriptors is not None
    turned = np.abs(ours.frame[rows] - grid.axes @ theirs[:, 5:].reshape(-1, 3, 3)).max(axis=(1, 2))
    same = (apart < 1e-3) & (np.abs(ours.scale[rows] - theirs[:, 4]) < 1e-3) & (turned < 1e-3)
    row = {
        "theirs": len(theirs),
        "ours": len(ours),
        "found": int(same.sum()),
        "extra": len(ours) - len(np.unique(rows[same])),
        "orientation": float(turned.max()),
    }
    numbers = golden / "sift3d" / f"sift3d_{name}.desc.csv.gz"
    if numbers.exists():
        described = np.loadtxt(numbers, delimiter=",")[:, 3:]
        cosine = (described * ours.descriptors[rows]).sum(axis=1)
        cosine /= np.linalg.norm(described, axis=1) * np.linalg.norm(ours.descriptors[rows], axis=1)
        row["least_cosine"] = float(cosine.min())
    return row


def _detected(method: str, volume: Volume) -> Keypoints:
    config = methods.resolve(methods.DETECTOR_OPTIONS[method])(compat=COMPAT[method])
    found: Keypoints = methods.resolve(methods.DETECTORS[method])(volume, config)
    return found


def _grid_as_stored(path: Path) -> Any:
    """Their voxels are counted as the file stores them, and so is our grid's matrix."""
    return read(path).grid


def _paired(positions: np.ndarray, scales: np.ndarray, ours: Keypoints) -> np.ndarray:
    """For each of theirs, the row of ours nearest in place and scale."""
    from scipy.spatial import cKDTree

    assert ours.scale is not None
    return np.asarray(cKDTree(np.c_[ours.position, ours.scale]).query(np.c_[positions, scales])[1])


if __name__ == "__main__":
    main()
