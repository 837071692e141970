"""What a file holds, by its name; and where what is made of it goes."""

from __future__ import annotations

import os
from dataclasses import fields
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from homolog.cli.resources import require_room
from homolog.errors import BadInput
from homolog.io.files import stem_of, suffix_of
from homolog.report.views import WINDOWS
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume

Kind = Literal["volume", "points", "mesh"]

# Below this there is air in the picture as a CT shows it: no other modality has such numbers.
AIR_BELOW_HU, AIR_HU = -500.0, -1000.0

POINTS = (".npz", ".csv.gz", ".bin", ".mrk.json", ".json", ".fcsv", ".csv", ".tsv", ".txt", ".pts")
MESHES = (".ply", ".stl", ".obj", ".vtk", ".vtp", ".vtu", ".gii")
# What may be known of a point, beside its place.
KNOWN = ("name", "scale", "response", "sign", "frame", "descriptors")
# What can be read can mostly be written too; the rest is written as its nearest kin.
WRITTEN_AS = {".nhdr": ".nrrd", ".json": ".mrk.json", ".tsv": ".csv", ".pts": ".csv"}
WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", *POINTS[:4], ".fcsv", ".csv", ".txt", *MESHES[:4])


def kind_of(path: Path) -> Kind:
    """By the ending; what is neither points nor a mesh is left to the reader of volumes, which looks inside."""
    suffix = suffix_of(path)
    if path.is_dir() or suffix not in (*POINTS, *MESHES):
        return "volume"
    return "points" if suffix in POINTS else "mesh"


def refuse_strangers(config: Any, kind: Kind, meant: tuple[str, ...], path: Path) -> None:
    """Flags that mean nothing for this kind of file were meant for another file: better said than passed over."""
    for field in fields(config):
        if field.name not in meant and getattr(config, field.name) != field.default:
            flag = "--" + field.name.strip("_").replace("_", "-")
            what = {"volume": "a volume", "points": "a list of points", "mesh": "a mesh"}[kind]
            raise BadInput(f"{flag} does not fit {path}, which is {what}", f"leave {flag} out, or give it another file")


def output_names(inputs: tuple[Path, ...], output: Path | None, ending: str) -> list[Path]:
    """One name to write to for each input, all of which could be made.

    output  a file for one input, a folder for several (names kept); else `<input>_<ending>` beside each input
    """
    if output is None:
        names = [path.with_name(f"{stem_of(path)}_{ending}{_written(path)}") for path in inputs]
    elif len(inputs) == 1 and not _is_folder(output):
        names = [output]
    else:
        names = [output / f"{stem_of(path)}{_written(path)}" for path in inputs]
    require_apart(inputs, names)
    return names


def columns_lost(points: Keypoints, target: Path, style: str | None) -> str:
    """What a format of points leaves out, in words to end a line with."""
    if suffix_of(target) == ".npz":
        return ""
    kept = {"name"}
    if style == "frog" or suffix_of(target) in (".csv.gz", ".bin"):
        kept = {"scale", "response", "sign", "descriptors"}
    lost = [name for name in KNOWN if name not in kept and getattr(points, name) is not None]
    return f" without their {' and '.join(lost)}" if lost else ""


def window_of_words(words: tuple[str, ...]) -> tuple[float, float] | None:
    """Black and white, as `--window` says them: a name, or two numbers; None where it says nothing."""
    if not words:
        return None
    if words[0] in WINDOWS and len(words) == 1:
        return WINDOWS[words[0]]
    try:
        low, high = map(float, words)
    except ValueError as error:
        near = get_close_matches(words[0], WINDOWS, n=1)
        hint = f"did you mean --window {near[0]}?" if near else "--window -160 240"
        names = ", ".join(WINDOWS)
        raise BadInput(f"--window {' '.join(words)} is neither one of {names} nor two numbers", hint) from error
    if not low < high or not all(map(isfinite, (low, high))):
        raise BadInput(f"--window {low:g} {high:g}: black comes first and is less than white", "--window -160 240")
    return low, high


def require_apart(inputs: tuple[Path, ...], names: list[Path]) -> None:
    """Every output can be made, and takes the place of no input and of no other output."""
    taken = {path.absolute(): path for path in inputs}
    for path, name in zip(inputs, names):
        if name.absolute() in taken:
            other = taken[name.absolute()]
            message = f"{path} would be written over {other}" if other != path else f"{path} would be written over"
            raise BadInput(message, "-o ANOTHER_FOLDER")
        taken[name.absolute()] = path
        require_room(name)


def _written(path: Path) -> str:
    """The ending of what is written for a file or a folder of slices."""
    suffix = "" if path.is_dir() else suffix_of(path)
    suffix = WRITTEN_AS.get(suffix, suffix)
    return suffix if suffix in WRITTEN else ".nii.gz"


def _is_folder(output: Path) -> bool:
    return output.is_dir() or str(output).endswith(("/", os.sep)) or not suffix_of(output)


def outside_of(volume: Volume) -> tuple[float, str]:
    """The value for where an image does not reach, unless the user says one, and why that value."""
    low = float(volume.numpy().min())
    return (AIR_HU, "air of a CT") if low <= AIR_BELOW_HU else (low, "its minimum")
