"""Rival programs in an environment of their own (`make peers` builds it), given two patients and asked for the map.

What they are told to do is in peers_inside.py, which runs in that environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import homolog
from homolog.errors import HomologError

INSIDE = Path(__file__).with_name("peers_inside.py")
ENVIRONMENT = Path(__file__).parents[1] / ".venv-peers"
# how the affine files of each are to be read: greedy's say nothing of their frame
AFFINE_FORMATS = {"greedy": "greedy", "syn": "itk"}


@dataclass(frozen=True)
class Moved:
    """A map a rival found, and the moving labels on the fixed grid as it resampled them itself."""

    labels: homolog.Volume
    moving_from_fixed: homolog.Transform


@dataclass(frozen=True)
class Found:
    """What a rival found: with its affine stage alone, and at the end."""

    affine: Moved
    end: Moved
    user_s: float


def python(environment: Path) -> Path:
    """The environment's own Python; ends the run without touching its figures if it is not there."""
    found = environment / "bin" / "python"
    if not found.exists():
        print(f"left out, its figures stay as committed: no {found}; `make peers` builds it", file=sys.stderr)
        sys.exit(0)
    return found


def register(python: Path, peer: str, fixed: homolog.Volume, moving: homolog.Volume, labels: homolog.Volume) -> Found:
    """Runs a rival on two pictures; `labels` are the moving patient's."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for volume, name in ((fixed, "fixed"), (moving, "moving"), (labels, "moving_labels")):
            homolog.write(volume, folder / f"{name}.nii.gz", None if volume is labels else "int16")
        _run([str(python), str(INSIDE), peer, str(folder)])
        read_affine = {"format": AFFINE_FORMATS[peer], "moving": moving.space}
        affine = homolog.read_transform(folder / "affine.mat", fixed=fixed.space, **read_affine)
        warp = homolog.read_transform(folder / "warp.nii.gz", fixed=fixed.space, moving="halfway")
        carried = {
            name: homolog.read_labels(folder / f"{name}.nii.gz", space=fixed.space)
            for name in ("affine_labels", "labels")
        }
        return Found(
            Moved(carried["affine_labels"], affine),
            Moved(carried["labels"], affine.renamed(fixed="halfway") @ warp),
            json.loads((folder / "user_s.json").read_text()),
        )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise HomologError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
