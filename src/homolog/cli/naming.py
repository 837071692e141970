"""Names for what is made of several files, some of which may be called alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from homolog.errors import BadInput
from homolog.io.files import stem_of
from homolog.space.camera_poses import PlacedCamera


@dataclass(frozen=True)
class Named:
    """A file, and how what is made of it is called.

    name   of output files: `ana_ct` for ana/ct.nii.gz where others are called ct too, else `ct`
    space  of the patient space: `ana/ct`, or `ct`
    alike  whether others have the same stem
    """

    path: Path
    name: str
    space: str
    alike: bool

    @property
    def stem(self) -> str:
        return self.space.rpartition("/")[2]


def named_apart(paths: Sequence[Path]) -> list[Named]:
    """A name for each, led by as many folders as it takes to tell all of them apart."""
    for n, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:n]]:
            raise BadInput(f"{path} is named twice", "name each volume once")
    deepest = max(len(path.resolve().parts) for path in paths)
    for depth in range(1, deepest + 1):
        spaces = ["/".join(_tail(path, depth)) for path in paths]
        names = [space.replace("/", "_") for space in spaces]
        # file systems may not tell capitals apart
        if len({name.lower() for name in names}) == len(names):
            return [Named(path, name, space, depth > 1) for path, name, space in zip(paths, names, spaces)]
    raise BadInput(
        f"what is made of these {len(paths)} volumes would be called alike",
        "name them in several commands, each with an -o of its own",
    )


def in_order_of(names: Sequence[str], cameras: Sequence[PlacedCamera]) -> Sequence[PlacedCamera]:
    """Those of the names where every camera has a name of its own and all are there, else as they come."""
    by_name = {camera.name: camera for camera in cameras}
    if len(by_name) == len(cameras) and all(name in by_name for name in names):
        return [by_name[name] for name in names]
    return cameras


def _tail(path: Path, depth: int) -> tuple[str, ...]:
    """The last folders of a file, and its name without its ending; a folder's name is whole."""
    whole = path.resolve()
    last = whole.name if whole.is_dir() else stem_of(whole)
    folders = whole.parts[1:-1]
    return (*folders[max(0, len(folders) + 1 - depth) :], last)
