"""What a process may use: the least of what the machine, its control groups and its batch system leave it."""

from __future__ import annotations

import os

import pytest

from homolog.cli.resources import available_memory, require_memory, require_room, thread_limit
from homolog.errors import NotEnoughMemory, UnwritableFile

GIB = 1024**3


def machine(root, files):
    """A machine's /proc and /sys, in files."""
    for name, text in {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {64 * GIB // 1024} kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_system_says_what_is_free(tmp_path):
    assert available_memory(machine(tmp_path, {})) == 64 * GIB


def test_a_group_around_ours_limits_us_too(tmp_path):
    files = {
        "proc/self/cgroup": "0::/slice/job/step\n",
        "sys/fs/cgroup/slice/job/step/memory.max": "max\n",
        "sys/fs/cgroup/slice/job/step/memory.current": f"{GIB}\n",
        "sys/fs/cgroup/slice/job/memory.max": f"{8 * GIB}\n",
        "sys/fs/cgroup/slice/job/memory.current": f"{5 * GIB}\n",
        "sys/fs/cgroup/slice/job/memory.stat": f"anon 17\ninactive_file {2 * GIB}\n",
    }
    # pages of files can be given back
    assert available_memory(machine(tmp_path, files)) == 5 * GIB


def test_groups_of_the_first_kind_are_read(tmp_path):
    files = {
        "proc/self/cgroup": "9:cpu,cpuacct:/\n4:memory:/job\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{4 * GIB}\n",
        "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 0\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert available_memory(machine(tmp_path, files)) == 3 * GIB


def test_a_group_named_by_the_host_is_looked_for_at_the_top(tmp_path):
    files = {
        "proc/self/cgroup": "0::/kubepods/pod1234\n",
        "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory.current": "0\n",
    }
    assert available_memory(machine(tmp_path, files)) == 2 * GIB


def test_too_much_is_refused_with_both_numbers_and_a_way_out():
    free = available_memory()
    if free is None:
        pytest.skip("this system does not say what is free")
    require_memory(free / 2, "out.nii.gz", "--spacing 2")
    with pytest.raises(NotEnoughMemory, match=r"out.nii.gz needs ~.* GB, .* GB free") as caught:
        require_memory(free * 2, "out.nii.gz", "--spacing 2")
    assert caught.value.hint == "--spacing 2"


@pytest.mark.parametrize(
    ("environment", "files", "expected"),
    [
        ({}, {}, None),
        ({"OMP_NUM_THREADS": "1"}, {}, 1),
        ({"OMP_NUM_THREADS": "1,4"}, {}, 1),
        ({"SLURM_CPUS_PER_TASK": "1"}, {}, 1),
        ({"OMP_NUM_THREADS": "nonsense"}, {}, None),
        ({"OMP_NUM_THREADS": "10000"}, {}, None),
        ({}, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({}, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (
            {},
            {
                "proc/self/cgroup": "1:cpu,cpuacct:/job\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
    ],
)
def test_threads_are_the_least_that_anybody_allows(environment, files, expected, tmp_path):
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert thread_limit(environment, machine(tmp_path, files)) == (expected or ours)


def test_room_is_found_out_without_leaving_anything(tmp_path):
    require_room(tmp_path / "new" / "deeper" / "out.nii.gz")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableFile, match="is a file, a folder is needed"):
        require_room(tmp_path / "file" / "out.nii.gz")
    with pytest.raises(UnwritableFile, match="is a folder"):
        require_room(tmp_path)
