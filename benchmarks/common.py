"""What every benchmark shares: arguments, clocks, and the file its numbers go to.

A benchmark is a folder with a run.py, the rivals' numbers in paper.toml where there are any, and ours in ours.toml.
Run one with `python benchmarks/speed/warping/run.py`, all with `make bench DATA=DIR GOLDEN=DIR`.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Real CTs under --data.
SCANS = {
    "chest-a": "chest-a/lidc-idri-0001_2mm.nii.gz",
    "chest-b": "chest-b/cmb-crc-msb-01068_2mm.nii.gz",
    "abdomen-pelvis": "abdomen-pelvis/example_ct.nii.gz",
    "heart-aorta": "heart-aorta/ct_cropped.nii.gz",
}


def arguments(description: str | None, *needs: str, **more: str) -> argparse.Namespace:
    """--data and --golden; ends the run without touching its figures if one that it needs is missing.

    more  further folders that may be named, and what each is
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="folder of real scans (chest-a, abdomen-pelvis, ...)")
    parser.add_argument("--golden", type=Path, help="folder of rival programs' outputs (deeds, frog, ...)")
    for name, what in more.items():
        parser.add_argument(f"--{name}", type=Path, help=what)
    given = parser.parse_args()
    missing = [name for name in needs if getattr(given, name) is None]
    if missing:
        print(f"left out, its figures stay as committed: needs --{' --'.join(missing)}", file=sys.stderr)
        sys.exit(0)
    return given


def user_seconds(work: Callable[[], Any], runs: int = 5) -> float:
    """The smallest user CPU time of several calls, all threads together; one call first to warm caches."""
    work()
    return min(_user_seconds_once(work) for _ in range(runs))


def yardstick(runs: int = 3) -> float:
    """User seconds of scipy's gaussian_filter(256^3 float32, sigma=2): the unit in which machines can be compared."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    volume = np.random.default_rng(0).normal(size=(256, 256, 256)).astype(np.float32)
    return user_seconds(lambda: gaussian_filter(volume, 2), runs)


@dataclass
class Spent:
    """What a block of work took: user seconds of all threads, and its peak of memory in MB, the process's whole."""

    user_s: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def spending() -> Iterator[Spent]:
    """Measures the block."""
    spent, before = Spent(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    # where the kernel allows it, the high-water mark begins anew
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    yield spent
    spent.user_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    spent.peak_mb = _high_water_mb()


def _high_water_mb() -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_child(code: str, *argv: str) -> tuple[str, float, float]:
    """Runs Python code in a process of its own: what it printed, its user seconds, its peak memory in MB."""
    measured = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-c', *sys.argv[1:]], capture_output=True, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(done.returncode, used.ru_utime, used.ru_maxrss / 1024)\n"
        "print(done.stdout + (done.stderr if done.returncode else ''), end='')"
    )
    told = subprocess.run([sys.executable, "-c", measured, code, *argv], capture_output=True, text=True, check=True)
    first, _, rest = told.stdout.partition("\n")
    code_, user, peak = first.split()
    if code_ != "0":
        raise RuntimeError(rest)
    return rest, float(user), float(peak)


def write_ours(folder: Path, figures: dict[str, Any], *, shown: bool = True) -> None:
    """ours.toml beside the run: date, commit and machine, then the figures, tables of tables.

    shown  on the screen too
    """
    head = {
        "date": datetime.date.today().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+changes" if _changed() else ""),
        "machine": f"{_processor()}, {platform.system()}, Python {platform.python_version()}",
    }
    path = folder / "ours.toml"
    path.write_text("\n".join(_toml({**head, **figures})) + "\n")
    if shown:
        print(path.read_text())


def _user_seconds_once(work: Callable[[], Any]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before


def _toml(table: dict[str, Any], prefix: str = "") -> list[str]:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            name = f"{prefix}{_key(key)}"
            lines += ["", f"[{name}]", *_toml(value, f"{name}.")]
    return lines


def _key(key: Any) -> str:
    text = str(key)
    plain = text.replace("_", "").replace("-", "").isalnum() and text.isascii()
    return text if plain else f'"{text}"'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(v) for v in value)}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{float(value):.4g}" if isinstance(value, float) or hasattr(value, "dtype") else str(value)


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _changed() -> str:
    """What differs from the commit, the figures and their pictures aside."""
    return _git("status", "--porcelain", "--", ".", ":!*ours.toml", ":!benchmarks/*.svg")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
