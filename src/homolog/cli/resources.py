"""What this process may use of the machine: memory, processors, and a place to write to; known before computing starts.

A batch system's share is often far below what the machine has, and passing it ends the process without a word. So the
limits of control groups and of the batch system are read too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from homolog.errors import BadInput, NotEnoughMemory, UnwritableFile
from homolog.io.files import unwritable
from homolog.kernels.devices import Device, require_device, using_device

ROOT = Path("/")
# A limit this large is how the first kind of control group says "none".
NO_LIMIT = 1 << 60


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes this process can still take, or None where the system does not say.

    root  where /proc and /sys are looked for
    """
    known = [amount for amount in (_free_in_system(root), *_free_in_groups(root), _free_by_limit(root)) if amount]
    return min(known) if known else None


def require_memory(needed: float, what: str, hint: str) -> None:
    """Refuses work whose estimate exceeds what is free.

    needed  bytes at the peak, estimated
    what    what needs them, to begin the message with
    hint    a command line, or part of one, that needs less
    """
    free = available_memory()
    if free is not None and needed > free:
        raise NotEnoughMemory(f"{what} needs ~{gigabytes(needed)}, {gigabytes(free)} free", hint)


def gigabytes(amount: float) -> str:
    return f"{amount / 1e9:.3g} GB"


def thread_limit(environment: Mapping[str, str] = os.environ, root: Path = ROOT) -> int:
    """How many threads to start unless told: the least of what the environment, the group and the system allow."""
    wanted = [_count(environment.get(name, "")) for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")]
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [count for count in (*wanted, *_processors_in_groups(root), affinity) if count]
    return max(1, min(limits, default=1))


@contextmanager
def working_on(device: Device) -> Iterator[None]:
    """Within the block networks work there; refused where there is no such thing."""
    require_device(device)
    with using_device(device):
        yield


def require_room(path: Path) -> Path:
    """The path, if a file could be made there: found out by making one without a name."""
    if path.is_dir():
        raise UnwritableFile(f"{path} is a folder, a file name was wanted", f"-o {path / 'NAME'}")
    require_folder(path.parent)
    return path


def require_folder(folder: Path) -> Path:
    """The folder, if it can be written to, or can be made."""
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not nearest.is_dir():
        raise UnwritableFile(f"{nearest} is a file, a folder is needed to write to", "choose another place with -o")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return folder
    except OSError as error:
        raise unwritable(folder, error) from error


def claim(folder: Path, mark: str, hint: str, *, ours: Collection[str] = ()) -> None:
    """Refuses a folder to write to that holds what is not ours; a new one, an empty one and an earlier one will do.

    mark  the file by which a folder that was begun earlier is known
    hint  the way out
    ours  further names that may be there: an earlier work may have ended before it left its mark
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file, a folder was wanted", "-o ANOTHER_FOLDER")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    # what a killed process left half written, and what file managers put everywhere
    strangers = [name for name in there if name not in ours and ".part" not in name and not name.startswith(".")]
    if strangers and mark not in there:
        raise BadInput(f"{folder} holds other files ({', '.join(strangers[:3])})", hint)
    require_folder(folder)


def _free_in_system(root: Path) -> int | None:
    lines = _text(root / "proc/meminfo").splitlines()
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return _free_on_windows()
    if sys.platform == "darwin":
        return _free_on_macos()
    return None


def _free_in_groups(root: Path) -> Iterator[int | None]:
    """What each control group around this process has left; pages of files can be given back and count as free."""
    for group in _groups(root, "memory"):
        for limit, usage, given_back in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most = _count(_text(group / limit))
            if most and most < NO_LIMIT:
                used = _count(_text(group / usage)) or 0
                files = dict(line.split()[:2] for line in _text(group / "memory.stat").splitlines() if " " in line)
                yield max(1, most - used + int(files.get(given_back, 0)))


def _free_by_limit(root: Path) -> int | None:
    """What `ulimit -v` leaves."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _text(root / "proc/self/statm").split()
    if most == resource.RLIM_INFINITY or not pages:
        return None
    return max(1, most - int(pages[0]) * resource.getpagesize())


def _processors_in_groups(root: Path) -> Iterator[int | None]:
    """The quota of processor time, in whole processors."""
    for group in _groups(root, "cpu"):
        quota, period = [*_text(group / "cpu.max").split(), "", ""][:2]
        if not quota:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        share, each = _count(quota), _count(period)
        if share and each:
            yield max(1, round(share / each))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The control group this process is in, and those around it."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mounted / controller if controllers else mounted
        group = top / name.strip("/")
        # in a container the name may be the host's, of which only the top is to be seen
        yield from [place for place in (group, *group.parents) if place == top or top in place.parents]


def _count(text: str) -> int | None:
    """The number at the start of "4" or "4,2"; None for "max", "-1" and nothing."""
    first = text.strip().split(",")[0].strip()
    return int(first) or None if first.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _free_on_macos() -> int | None:
    """Free and inactive pages, as `vm_stat` counts them."""
    said = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, check=False).stdout
    pages = {}
    for line in said.splitlines()[1:]:
        name, _, amount = line.partition(":")
        pages[name] = _count(amount.strip().rstrip(".")) or 0
    free = sum(pages.get(f"Pages {kind}", 0) for kind in ("free", "inactive", "speculative", "purgeable"))
    return free * os.sysconf("SC_PAGE_SIZE") if free else None


def _free_on_windows() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ulong), ("load", ctypes.c_ulong)) + tuple(
            (name, ctypes.c_ulonglong)
            for name in ("total", "free", "total_file", "free_file", "total_virtual", "free_virtual", "extended")
        )

    status = Status(length=ctypes.sizeof(Status))
    asked = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined,unused-ignore]
    return int(status.free) if asked else None
