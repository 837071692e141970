"""Which landmarks, labels, masks and keypoints belong to which image: by name, never by the order of a listing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from homolog.cli.naming import Named, named_apart
from homolog.errors import BadInput, UnreadableFile
from homolog.io.files import stem_of, suffix_of

VOLUMES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
MARKS = (".mrk.json", ".fcsv", ".csv", ".tsv", ".txt", ".pts", ".json")
POINTS = (".npz", ".bin", ".csv.gz", ".csv")


@dataclass(frozen=True)
class Kind:
    """What a folder is asked for.

    word     what such files are called that lie in a folder called as the image
    endings  that they may have
    several  whether the first of these endings is taken where an image has files of several; else they are refused
    """

    word: str
    endings: tuple[str, ...]
    several: bool = False


LANDMARKS, LABELS, MASKS = Kind("landmarks", MARKS), Kind("labels", VOLUMES), Kind("mask", VOLUMES)
KEYPOINTS = Kind("keypoints", POINTS, several=True)


def named_patients(paths: Sequence[Path]) -> list[Named]:
    """A name for each image, led by as many folders as tell them apart; these alone where all files are called alike.

    patient_003 for cohort/patient_003/ct.nii.gz, where the others are called ct too.
    """
    found = named_apart(paths)
    if len({one.stem.lower() for one in found}) > 1 or not all(one.alike for one in found):
        return found
    spaces = [one.space.rpartition("/")[0] for one in found]
    return [replace(one, name=space.replace("/", "_"), space=space) for one, space in zip(found, spaces)]


def companions(images: Sequence[Named], folder: Path, kind: Kind) -> dict[str, Path]:
    """The name of each image that has such a file -> the file; at least one has.

    A file belongs to an image by its own name, or by that of the folder below `folder` in which it lies: the image's
    name in the group, or else the name of the image's file or of the folder around it.
    """
    if not folder.is_dir():
        raise UnreadableFile(f"{folder}: no such folder of {kind.word}", f"a folder with {_example(images[0], kind)}")
    pictures = {one.path.resolve() for one in images}
    exact = {one.name: _files(folder, _exact_names(one), kind, pictures) for one in images}
    # a file that is called as one image is that one's, even if another lies in a folder of that name
    taken = pictures | {path.resolve() for files in exact.values() for path in files}
    loose = {one.name: _files(folder, _other_names(one), kind, taken) for one in images if not exact[one.name]}
    found = {name: files for name, files in {**exact, **loose}.items() if files}
    _require_clear(found, folder, kind)
    if not found:
        raise _nobodys(images, folder, kind)
    return {name: files[0] for name, files in found.items()}


def _exact_names(one: Named) -> list[str]:
    return [one.name, one.space]


def _other_names(one: Named) -> list[str]:
    """What an image is called by itself and by its folder; both may be others' names too."""
    whole = one.path.resolve()
    last = whole.name if whole.is_dir() else stem_of(whole)
    folder = whole.parent.name
    return [f"{folder}_{last}", f"{folder}/{last}", last, folder]


def _files(folder: Path, names: list[str], kind: Kind, others: set[Path]) -> list[Path]:
    """Those of the first name for which there are any."""
    for name in dict.fromkeys(names):
        found = [path for path in _places(folder, name, kind) if path.is_file() and path.resolve() not in others]
        if found:
            return found
    return []


def _places(folder: Path, name: str, kind: Kind) -> Iterator[Path]:
    for ending in kind.endings:
        yield folder / f"{name}{ending}"
        yield folder / name / f"{kind.word}{ending}"


def _require_clear(found: dict[str, list[Path]], folder: Path, kind: Kind) -> None:
    owners: dict[Path, list[str]] = {}
    for name, files in found.items():
        if len(files) > 1 and not kind.several:
            listed = ", ".join(map(str, files))
            raise BadInput(f"{len(files)} files in {folder} may be the {kind.word} of {name}: {listed}", "leave one")
        owners.setdefault(files[0].resolve(), []).append(name)
    for path, names in owners.items():
        if len(names) > 1:
            raise BadInput(
                f"{path} fits {len(names)} images: {', '.join(names)}",
                f"call it as the one it belongs to: {path.with_name(names[0] + suffix_of(path))}",
            )


def _nobodys(images: Sequence[Named], folder: Path, kind: Kind) -> BadInput:
    there = sorted(path.name for path in folder.iterdir())
    return BadInput(
        f"no file in {folder} is called as one of the images: there are {_few(there) or 'none'}; "
        f"the images are {_few([one.name for one in images])}",
        f"it would be called {folder / _example(images[0], kind)}",
    )


def _example(one: Named, kind: Kind) -> str:
    return f"{one.name}{kind.endings[0]}"


def _few(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
