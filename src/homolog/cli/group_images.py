"""The images of a group with all that was said about them, found and checked before anything is computed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.cli import invocation, terminal
from homolog.cli.configs import GroupVolumes
from homolog.cli.describing import deciding, descriptor_of
from homolog.cli.detecting import require_meeting, require_memory_for
from homolog.cli.group_companions import KEYPOINTS, LABELS, LANDMARKS, MASKS, Kind, companions, named_patients
from homolog.cli.group_store import FOLDER, Store, bytes_hash, keypoints_key
from homolog.cli.group_tasks import KeypointTask
from homolog.cli.naming import Named
from homolog.errors import BadInput, HomologError
from homolog.io import keypoints as files
from homolog.io import point_checks, volumes
from homolog.io.files import require_file
from homolog.io.records import End
from homolog.methods import DETECTORS
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints


@dataclass(frozen=True, eq=False)
class Image:
    """One image of a group.

    name       of its folder, and of its space
    grid       where its voxels lie, LPS mm
    hash       of its file's bytes
    key        of its keypoints in the store
    content    of its numbers and grid (`io.files.content_hash`), where it is known
    low        its least number, likewise: a CT's is air's
    count      of its keypoints, likewise
    mask, landmarks, labels, given   files that belong to it; `given` are its keypoints
    """

    path: Path
    name: str
    grid: Grid
    hash: str
    key: str
    content: str = ""
    low: float = 0.0
    count: int | None = None
    mask: Path | None = None
    landmarks: Path | None = None
    labels: Path | None = None
    given: Path | None = None

    @property
    def end(self) -> End:
        """What the record of its map says of it."""
        return End(self.name, self.grid, self.path.resolve(), self.content or None)


@dataclass(frozen=True)
class Unusable:
    """An image that nothing can be made of, and why."""

    path: Path
    why: str


def read_images(
    pictures: Sequence[Path], config: GroupVolumes, options: Any, store: Store | None
) -> tuple[list[Image], list[Unusable]]:
    """The images, in the order of their names, and those whose files cannot be read."""
    if len(pictures) < 2:
        raise BadInput(
            f"a group has two volumes at least, {len(pictures)} given", "homolog group scans/*.nii.gz -o group"
        )
    for path in pictures:
        _require_there(path)
    named = sorted(named_patients(pictures), key=lambda one: one.name)
    _require_free_names(named)
    return _described(named, config, options, store)


def read_newcomers(
    pictures: Sequence[Path], own: Mapping[str, Path], config: GroupVolumes, options: Any, store: Store
) -> tuple[list[Image], list[Unusable]]:
    """Images that come to a finished group, called as its own are.

    own  the group's images by name
    """
    for path in pictures:
        _require_there(path)
    here = {path.resolve() for path in own.values()}
    for path in pictures:
        if path.resolve() in here:
            raise BadInput(f"{path} is in the group already", "leave it out of --add")
    named = named_patients([*own.values(), *pictures])[len(own) :]
    taken = {name.lower() for name in own}
    for one in named:
        if one.name.lower() in taken:
            raise BadInput(f"{one.path} would be called {one.name}, as an image of the group is", "rename its folder")
    _require_free_names(named)
    return _described(named, config, options, store)


def is_detector(name: str) -> bool:
    """Whether `--keypoints` names how to look for them, not where they are."""
    return name in DETECTORS


def keypoint_task(image: Image, config: GroupVolumes, options: Any, target: Path) -> KeypointTask:
    found = descriptor_of(config.describe)
    describe = None if found is None else found.weights
    return KeypointTask(image.path, image.name, image.mask, image.given, config.keypoints, options, describe, target)


def read_marks(image: Image, config: GroupVolumes) -> Keypoints | None:
    """The landmarks of an image, most of which must lie in it."""
    path = image.landmarks
    if path is None:
        return None
    read = files.read_keypoints(path, space=image.name, frame=config.points_space, grid=image.grid)
    read_as = config.points_space or files.frame_said(path)
    point_checks.require_inside(read, image.grid, points_name=str(path), image_name=str(image.path), read_as=read_as)
    return read


def require_apart(images: Sequence[Image], known: str) -> None:
    """Refuses two identical images: they agree on everything, and draw the others to them.

    known  the field by which they are told apart
    """
    seen: dict[str, Image] = {}
    for image in images:
        other = seen.setdefault(getattr(image, known), image)
        if other is not image:
            raise BadInput(
                f"{other.path} and {image.path} are the same image",
                "leave one of them out",
            )


def refuse_unusable(unusable: Sequence[Unusable], total: int, skip: bool) -> None:
    """One error for all images that cannot be used; or, if they may be left out, a line for each."""
    if not unusable:
        return
    listed = [f"  {_from_here(one.path)}: {_without_name(one)}" for one in unusable]
    if skip and total - len(unusable) >= 2:
        terminal.note("\n".join([f"left out {len(unusable)} of {total} images:", *listed]))
        return
    left = "no group is left without them" if total - len(unusable) < 2 else ""
    hint = left or f"--skip goes on without them, or: {_line_without([one.path for one in unusable])}"
    raise BadInput("\n".join([f"{len(unusable)} of {total} images cannot be used:", *listed]), hint)


# ---------------------------------------------------------------------------------------------------------------------


def _described(
    named: Sequence[Named], config: GroupVolumes, options: Any, store: Store | None
) -> tuple[list[Image], list[Unusable]]:
    found = {kind.word: _asked_for(named, folder, kind) for kind, folder in _folders(config)}
    _require_all(named, found, config)
    images, unusable = [], []
    for one in named:
        try:
            images.append(_image(one, found, config, options, store))
        except HomologError as error:
            unusable.append(Unusable(one.path, error.message))
    require_apart(images, "hash")
    _say_missing(named, found["landmarks"], config)
    for image in images:
        read_marks(image, config)
        for path in (image.mask, image.labels):
            if path is not None:
                require_meeting(path, image.path)
        if image.given is None:
            require_memory_for(image.path, config.keypoints, options, config.jobs)
    return images, unusable


def _folders(config: GroupVolumes) -> list[tuple[Kind, Path | None]]:
    given = None if is_detector(config.keypoints) else Path(config.keypoints)
    return [(LANDMARKS, config.landmarks), (LABELS, config.labels), (MASKS, config.masks), (KEYPOINTS, given)]


def _asked_for(named: Sequence[Named], folder: Path | None, kind: Kind) -> dict[str, Path]:
    return {} if folder is None else companions(named, folder, kind)


def _require_all(named: Sequence[Named], found: dict[str, dict[str, Path]], config: GroupVolumes) -> None:
    """Without its mask an image would be looked at everywhere, and without its keypoints it has none."""
    for kind, folder in _folders(config)[2:]:
        missing = [one.name for one in named if folder is not None and one.name not in found[kind.word]]
        if missing:
            raise BadInput(
                f"{folder} holds no {kind.word} of {', '.join(missing[:8])}"
                + (f" and {len(missing) - 8} more" if len(missing) > 8 else ""),
                f"it would be called {folder / missing[0]}{kind.endings[0]}",  # type: ignore[operator]
            )
    strangers = [name for name in config.labels_from if name not in {one.name for one in named}]
    if strangers:
        raise BadInput(
            f"--labels-from: no image is called {strangers[0]}",
            f"they are called {', '.join(one.name for one in named)}",
        )


def _image(
    one: Named, found: dict[str, dict[str, Path]], config: GroupVolumes, options: Any, store: Store | None
) -> Image:
    grid = volumes.read_grid(one.path)
    # whole names: tasks may run in another folder
    of = {word: path and path.absolute() for word in found for path in (found[word].get(one.name),)}
    hash_ = bytes_hash(one.path, store)
    mask, given = (None if path is None else bytes_hash(path) for path in (of["mask"], of["keypoints"]))
    key = keypoints_key(hash_, mask, given, config.keypoints, options, deciding(config.describe, options))
    return Image(
        one.path.absolute(), one.name, grid, hash_, key,
        mask=of["mask"], landmarks=of["landmarks"], labels=of["labels"], given=of["keypoints"],
    )  # fmt: skip


def _say_missing(named: Sequence[Named], marks: dict[str, Path], config: GroupVolumes) -> None:
    missing = [one.name for one in named if one.name not in marks]
    if config.landmarks is not None and missing:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        terminal.note(f"no landmarks of {', '.join(missing[:8])}{more} in {config.landmarks}")


def _require_there(path: Path) -> None:
    if not path.is_dir():
        require_file(path)


def _require_free_names(named: Sequence[Named]) -> None:
    for one in named:
        if one.name.lower() == FOLDER:
            raise BadInput(f"{one.path} would be called {one.name}, as the folder of stored results is", "rename it")


def _from_here(path: Path) -> Path:
    """A file's name as short as it can be said."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _without_name(one: Unusable) -> str:
    """Why, without the name with which most errors begin."""
    for name in (one.path.absolute(), one.path):
        one = Unusable(one.path, one.why.removeprefix(f"{name}: ").removeprefix(f"{name} "))
    return one.why


def _line_without(paths: Sequence[Path]) -> str:
    """The command that is running, without some of its images."""
    gone = {path.absolute() for path in paths}
    return shlex.join(["homolog", *(word for word in invocation.words() if Path(word).absolute() not in gone)])
