"""What learned keypoints take: describing, finding, and an epoch of training.

python benchmarks/speed/learned/run.py --data DIR

One chest CT of 180x180x166 voxels of 2 mm, one thread; 20 000 points of 3D-SURF are described, and SP3D finds 5000. An
epoch is 10^6 patches, as published: 1000 steps of `homolog train triplet`, on two threads, of which 120 are timed with
the volumes that are drawn meanwhile. Every measurement runs in a process of its own, whose peak of memory it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import SCANS, arguments, in_child, write_ours, yardstick

HERE = Path(__file__).parent
POINTS = 20_000
# Patches of an epoch and of a step, and the steps that are timed.
EPOCH, BATCH, FIRST, LAST = 1_000_000, 1000, 80, 200
# User seconds and GB; of an epoch, seconds on the wall.
BARS = {
    "describe_patch_paper": (6.0, None),
    "describe_patch": (20.0, None),
    "sp3d": (25.0, 1.5),
    "triplet_epoch": (480.0, 3.0),
}

ONE_THREAD = """
import json, resource, sys, torch
torch.set_num_threads(1)
from homolog import read
from homolog.kernels.threads import using_threads
def user():
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime
volume = read(sys.argv[1])
"""
DESCRIBING = (
    ONE_THREAD
    + """
from homolog.features import surf3d
from homolog.features.configs import Surf3dConfig
from homolog.pipelines.describe import patch
with using_threads(1):
    points = surf3d.detect(volume, Surf3dConfig(sampling_mm=0.75, most=int(sys.argv[3]), descriptors=False))
    patch(volume, points[:50], weights=sys.argv[2])
    before = user(); found = patch(volume, points, weights=sys.argv[2])
print(json.dumps({'points': len(found), 'user_s': user() - before}))
"""
)
FINDING = (
    ONE_THREAD
    + """
from homolog.features.configs import Sp3dConfig
from homolog.pipelines.sp3d import detect, network_of
network_of('sp3d')
with using_threads(1):
    before = user(); found = detect(volume, Sp3dConfig(most=5000, looks=int(sys.argv[2])))
print(json.dumps({'points': len(found), 'user_s': user() - before}))
"""
)
TRAINING = """
import json, sys, tempfile
from pathlib import Path
from homolog.kernels.threads import using_threads
from homolog.train import triplet
from homolog.train.configs import TripletConfig
from homolog.train.loop import Plan, rows
first, last = map(int, sys.argv[1:])
with tempfile.TemporaryDirectory() as folder, using_threads(2):
    triplet.train(Path(folder), Plan(steps=last, minutes=None), TripletConfig(net='paper'))
    log = {int(row['step']): row['seconds'] for row in rows(Path(folder) / 'log.csv')}
print(json.dumps({'s_a_step': (log[last] - log[first]) / (last - first)}))
"""


def main() -> None:
    given = arguments(__doc__, "data")
    unit, scan = yardstick(), str(given.data / SCANS["chest-a"])
    figures: dict[str, Any] = {"yardstick_user_s": unit}
    for name, which in {"describe_patch_paper": "patch-paper", "describe_patch": "patch"}.items():
        figures[name] = _row(name, unit, DESCRIBING, scan, which, str(POINTS))
    for looks in (1, 2, 4, 8):
        name = "sp3d" if looks == 4 else f"sp3d_looks_{looks}"
        figures[name] = _row(name, unit, FINDING, scan, str(looks))
    figures["triplet_epoch"] = _row("triplet_epoch", unit, TRAINING, str(FIRST), str(LAST))
    write_ours(HERE, figures)


def _row(name: str, unit: float, code: str, *argv: str) -> dict[str, Any]:
    printed, _, peak_mb = in_child(code, *argv)
    row = json.loads(printed)
    if "s_a_step" in row:
        row["wall_s"] = row.pop("s_a_step") * EPOCH / BATCH
    else:
        row["yardsticks"] = row["user_s"] / unit
    row["peak_gb"] = peak_mb / 1000
    seconds, gb = BARS.get(name, (None, None))
    row |= {"bar_s": seconds} if seconds else {}
    row |= {"bar_gb": gb} if gb else {}
    print(name, row, file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    main()
