"""The script for SLURM hands in what one machine would do, in the right order, and stops where it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from homolog.cli.main import main

SCRIPT = Path(__file__).parents[2] / "examples" / "group_slurm.sh"
# few and coarse: what is tested is who does what
FLAGS = ("--sampling-mm", "2.5", "-n", "600", "--levels", "1", "--spacing", "8")

# Does at once, one after the other, what SLURM would do on many machines: a copy of the script for every task of an
# array, with its number, in the folder of submission; nothing where a job that it depends on has failed.
SBATCH = """#!/usr/bin/env bash
set -u
range="" needed="" name=""
while [[ $1 == --* ]]; do
  case $1 in
    --parsable | --*=*) shift; continue ;;
    --array) range=$2 ;;
    --dependency) needed=${2#afterok:} ;;
    --job-name) name=$2 ;;
  esac
  shift 2
done
cd "$SLURM"
number=$((100 + $(ls | grep -c script)))
cp "$1" "$number.script"
cd - > /dev/null
echo "$number $name ${needed:-none}" >> "$SLURM/jobs"
echo "$number;cluster"
[[ -z $needed || -e $SLURM/$needed.ok ]] || exit 0
if [[ -z $range ]]; then
  bash "$SLURM/$number.script" "${@:2}" > "$SLURM/$number.out" 2>&1 || exit 0
else
  export SLURM_ARRAY_TASK_COUNT=$((${range#*-} - ${range%-*} + 1))
  for SLURM_ARRAY_TASK_ID in $(seq "${range%-*}" "${range#*-}"); do
    export SLURM_ARRAY_TASK_ID
    bash "$SLURM/$number.script" "${@:2}" > "$SLURM/$number.$SLURM_ARRAY_TASK_ID.out" 2>&1 || exit 0
  done
fi
touch "$SLURM/$number.ok"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A machine with `sbatch` and `homolog`, and the folder of what SLURM did."""
    for folder in ("bin", "slurm"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin" / "sbatch").write_text(SBATCH)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    (tmp_path / "bin" / "homolog").write_text(
        f'#!/bin/sh\necho "$@" >> "$SLURM/lines"\n{sys.executable} -m homolog "$@"\n'
    )
    (tmp_path / "bin" / "homolog").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM", str(tmp_path / "slurm"))
    monkeypatch.setenv("SHARDS", "2")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "slurm"


def handed_in(*words):
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_arrays_of_jobs_make_the_group_that_one_command_makes(cluster):
    assert main(["patients", "-n", "2", "--spacing", "4.5", "--region", "abdomen", "-o", "the cohort"]) == 0
    images = [f"the cohort/patient_{n:03d}/ct.nii.gz" for n in range(2)]
    ended = handed_in(*images, "-o", "by jobs", "--landmarks", "the cohort", *FLAGS)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "keypoints 100, then matches 101, then the rest 102\n"
    assert (cluster / "jobs").read_text().splitlines() == [
        "100 homolog-keypoints none",
        "101 homolog-matches 100",
        "102 homolog-rest 101",
    ]
    said = "\n".join(path.read_text() for path in sorted(cluster.glob("*.out")))
    assert sorted(path.name for path in cluster.glob("*.ok")) == ["100.ok", "101.ok", "102.ok"], said
    parts = [line.split(" --only ")[1:] for line in (cluster / "lines").read_text().splitlines()]
    assert parts == [[f"{stage} --shard {part}/2"] for stage in ("keypoints", "matches") for part in (1, 2)] + [[]]
    assert main(["group", *images, "-o", "at once", "--landmarks", "the cohort", *FLAGS]) == 0
    assert maps_of(Path("by jobs")) == maps_of(Path("at once"))
    assert len(maps_of(Path("by jobs"))) == 4
    assert [one["doubts"] for one in json.loads(Path("by jobs/run.json").read_text())["images"]] == [[], []]


def test_what_comes_after_a_failed_job_is_not_begun(cluster):
    ended = handed_in("missing.nii.gz", "lost.nii.gz", "-o", "group")
    assert ended.returncode == 0
    assert len((cluster / "jobs").read_text().splitlines()) == 3
    assert not list(cluster.glob("*.ok"))
    assert "missing.nii.gz" in (cluster / "100.1.out").read_text()
    assert len((cluster / "lines").read_text().splitlines()) == 1


def test_a_refused_job_ends_the_script(cluster):
    (cluster.parent / "bin" / "sbatch").write_text("#!/bin/sh\necho no such partition >&2; exit 1\n")
    ended = handed_in("one.nii.gz", "other.nii.gz", "-o", "group")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "no such partition\n")


def maps_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("*/*.h5"))}
