"""Results of tasks, called by what decides them: keypoints of an image, matches of two.

A file is done when it is there and whole. Nothing lists them, so that any number of processes and machines can fill one
folder, and whoever comes second finds the work done. They are as good for another group of some of the same images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from homolog import __version__
from homolog.errors import UnreadableFile
from homolog.io import keypoints as files
from homolog.io.files import writing
from homolog.io.records import file_hash
from homolog.io.results import key_of
from homolog.matching.configs import MatchConfig
from homolog.space.keypoints import Keypoints, Matches

FOLDER = "store"
# What a broken disk or a full one left is made anew, like what is not there.
DAMAGED = (UnreadableFile, FileNotFoundError, ValueError, KeyError)


@dataclass(frozen=True)
class Store:
    """The folder of stored results."""

    folder: Path

    @classmethod
    def of(cls, group: Path) -> Store:
        """The store of a group's folder; tasks find it from wherever they run."""
        return cls(group.absolute() / FOLDER)

    def keypoints(self, key: str) -> Path:
        return self.folder / "keypoints" / f"{key}.npz"

    def matches(self, key: str) -> Path:
        return self.folder / "matches" / f"{key}.npz"


def bytes_hash(path: Path, store: Store | None = None) -> str:
    """A name for the bytes of a file, or of all files of a folder of slices.

    store  may remember it: of a thousand images, every machine would read all of them only to know their names
    """
    if not path.is_dir():
        return _remembered(path, store) or file_hash(path)
    inside = sorted(each for each in path.rglob("*") if each.is_file())
    return key_of(files=[(each.relative_to(path).as_posix(), file_hash(each)) for each in inside])


def keypoints_key(
    image: str, mask: str | None, given: str | None, method: str, options: Any, described: Mapping[str, Any]
) -> str:
    """What decides an image's keypoints: hashes of the files, and how they are looked for where they are not given.

    described  by which network, if any
    """
    looked = {"given": given} if given else {"mask": mask, "method": method, "options": asdict(options), **described}
    return key_of(of="keypoints", image=image, version=__version__, **looked)


def matches_key(one: str, other: str, matching: MatchConfig) -> str:
    """What decides the matches of two images: their keypoints, and what counts as a match."""
    return key_of(of="matches", keypoints=(one, other), matching=asdict(matching), version=__version__)


def remember_hash(path: Path, found: str, store: Store) -> None:
    """Keeps the hash of a file's bytes for as long as its size and its time stay what they are."""
    if not path.is_dir() and _remembered(path, store) is None:
        with writing(_hash_path(path, store), shared=True) as part:
            part.write_text(json.dumps({"path": str(path.resolve()), "hash": found}))


def _remembered(path: Path, store: Store | None) -> str | None:
    with suppress(*DAMAGED):
        return None if store is None else str(json.loads(_hash_path(path, store).read_text())["hash"])
    return None


def _hash_path(path: Path, store: Store) -> Path:
    state = path.stat()
    name = key_of(path=path.resolve(), size=state.st_size, time=state.st_mtime_ns)
    return store.folder / "hashes" / f"{name}.json"


# ---------------------------------------------------------------------------------------------------------------------
# Keypoints, and what is known of their image


def write_stored_keypoints(found: Keypoints, facts: dict[str, Any], path: Path) -> None:
    """The facts first: whoever sees the keypoints finds them too."""
    with writing(_facts_path(path), shared=True) as part:
        part.write_text(json.dumps(facts))
    with writing(path, shared=True) as part:
        files.write_keypoints(found, part)


def read_stored_keypoints(path: Path, space: str, *, descriptors: bool = True) -> Keypoints:
    """Keypoints of an image that is called this in the group."""
    found = files.read_keypoints(path, space=space)
    return found if descriptors else replace(found, descriptors=None, frame=None)


def stored_facts(path: Path) -> dict[str, Any] | None:
    """What is known of the image of stored keypoints; None where they are not there, or damaged."""
    with suppress(*DAMAGED):
        files.read_keypoints(path)
        found: dict[str, Any] = json.loads(_facts_path(path).read_text())
        return found
    return None


def _facts_path(path: Path) -> Path:
    return path.with_suffix(".json")


# ---------------------------------------------------------------------------------------------------------------------
# Matches


def write_stored_matches(found: Matches, path: Path, one: Keypoints, other: Keypoints) -> None:
    with writing(path, shared=True) as part:
        files.write_matches(found, part, one, other)


def is_stored(path: Path) -> bool:
    """Whether matches are there and whole."""
    return stored_matches(path) is not None


def stored_matches(path: Path) -> Matches | None:
    """Matches of two images; None where they are not there, or damaged."""
    with suppress(*DAMAGED):
        return files.read_matches(path)
    return None
