"""How a group is asked for: what decides its maps, what cannot work, and whether a folder may take it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homolog import __version__
from homolog.cli import terminal
from homolog.cli.configs import GroupVolumes
from homolog.cli.describing import deciding, descriptor_of
from homolog.cli.group_images import Image, is_detector
from homolog.cli.group_plan import shard_of
from homolog.cli.group_record import MEASURES, RUN
from homolog.cli.group_store import FOLDER
from homolog.cli.inputs import window_of_words
from homolog.cli.resources import claim
from homolog.errors import BadInput
from homolog.groupwise.configs import FrogConfig
from homolog.io.results import LEDGER, Results
from homolog.matching.configs import MatchConfig
from homolog.matching.nearest import match
from homolog.parallel import require_engine
from homolog.space.keypoints import Keypoints

# The stage of the ledger that all others follow from.
MAPS = "maps"


@dataclass(frozen=True)
class Asked:
    """How a group is to be made.

    options  the detector's Config
    """

    config: GroupVolumes
    drawing: FrogConfig
    matching: MatchConfig
    options: Any

    def as_published(self) -> Asked:
        """As FROG does it, if that is asked for: only the later of two images looks for its points in the other."""
        if self.drawing.compat is None:
            return self
        return replace(self, matching=replace(self.matching, mutual=False, either=False))

    def deciding(self) -> dict[str, Any]:
        """All that decides the maps of given images."""
        detector = self.config.keypoints if is_detector(self.config.keypoints) else "files"
        return {
            "version": __version__,
            "keypoints": detector,
            "options": {} if detector == "files" else asdict(self.options),
            "matching": asdict(self.matching),
            "frog": asdict(self.drawing),
            "partners": self.config.partners,
            **({} if detector == "files" else deciding(self.config.describe, self.options)),
        }


def require_sensible(pictures: Sequence[Path], folder: Path | None, asked: Asked) -> None:
    """All that can be seen in the command line alone."""
    config = asked.config
    window_of_words(config.window)
    _require_one_purpose(pictures, folder, config)
    for flag, value, least in (
        ("--jobs", config.jobs, 1),
        ("--partners", config.partners, 2),
        ("--rounds", config.rounds, 1),
    ):
        if value is not None and value < least:
            raise BadInput(f"{flag} is at least {least}, got {value}", f"{flag} {least}")
    if config.spacing is not None and not 0 < config.spacing < np.inf:
        raise BadInput(f"--spacing {config.spacing:g}: voxels of the mean have a size above 0 mm", "--spacing 2")
    shard_of(config)
    _require_described(config)
    require_engine(config.engine, config.jobs)
    # nothing matched with nothing refuses what would be refused after hours of looking for keypoints
    nobody = Keypoints(np.zeros((0, 3)), "nobody", descriptors=np.zeros((0, 1)))
    match(nobody, nobody, asked.matching)


def _require_described(config: GroupVolumes) -> None:
    if config.describe is not None and not is_detector(config.keypoints):
        raise BadInput(
            f"--describe is of points that are looked for, and those in {config.keypoints} are described already",
            "--keypoints surf3d, or leave --describe out",
        )
    descriptor_of(config.describe)


def claimed(folder: Path, images: Sequence[Image], asked: Asked) -> Results:
    """The folder as a place for this group: new, empty, begun, or holding the same group."""
    _require_outside(folder, images)
    ours = [FOLDER, RUN, MEASURES, *(one.name for one in images)]
    claim(folder, LEDGER, f"-o {folder}_2", ours=ours)
    results = Results(folder.absolute())
    # those that cannot be used are not known yet
    if not asked.config.skip:
        require_same(folder, results, images, asked)
    return results


def require_same(folder: Path, results: Results, images: Sequence[Image], asked: Asked) -> None:
    """Refuses to replace another group, unless that is asked for."""
    listed = results.ledger().get(MAPS)
    difference = _difference(listed["facts"], images, asked) if listed else None
    if listed is None or difference is None:
        return
    if not asked.config.force:
        hint = f"-o {folder}_2, or --force to replace it; keypoints and matches that are still right are kept"
        raise BadInput(f"{folder} holds a group {difference}", hint)
    results.forget(list(results.ledger()))
    _remove_empty(folder / name for name in listed["facts"]["names"])


def _require_one_purpose(pictures: Sequence[Path], folder: Path | None, config: GroupVolumes) -> None:
    """Either a group is made, or something is added to one."""
    if bool(config.add) != (config.to is not None):
        flag, line = ("--add", "--add NEW.nii.gz --to GROUP") if config.add else ("--to", "--add NEW.nii.gz --to GROUP")
        raise BadInput(f"{flag} alone: volumes are added to a group", f"homolog group {line}")
    if config.add and (pictures or folder is not None):
        raise BadInput(
            "--add places volumes in a finished group; others, or an -o, make a new one", "leave one of them out"
        )
    if config.add and (config.plan or config.only):
        raise BadInput("--add is done at once: there is nothing to plan or to share out", "leave --plan and --only out")
    if folder is None and not config.add and not config.plan:
        raise BadInput("no folder to write to", "-o GROUP")


def _require_outside(folder: Path, images: Sequence[Image]) -> None:
    """Outputs are called as patients' files are: labels.nii.gz would be written over labels.nii.gz."""
    here = folder.resolve()
    for one in images:
        for path in (one.path, one.landmarks, one.labels, one.mask, one.given):
            if path is not None and here in path.resolve().parents:
                raise BadInput(f"{path} lies in {folder}, where the group is written", "-o ANOTHER_FOLDER")


def _difference(was: dict[str, Any], images: Sequence[Image], asked: Asked) -> str | None:
    """What the group that is there has otherwise, in words."""
    before, now = set(was["names"]), {one.name for one in images}
    for names, said in ((now - before, "without"), (before - now, "with")):
        if names:
            return f"{said} {', '.join(sorted(names)[:5])}"
    flat, old = _flat(terminal.plain(asked.deciding())), _flat(was["asked"])
    name = next((name for name in {**flat, **old} if flat.get(name) != old.get(name)), None)
    if name is not None:
        what = name.rpartition(".")[2].replace("_", "-")
        return f"made with {what} {_word(old.get(name))}, not {_word(flat.get(name))}"
    return None if was["keys"] == [one.key for one in images] else "of other images of these names"


def _flat(asked: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in asked.items():
        out |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return out


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def _remove_empty(folders: Iterable[Path]) -> None:
    for each in folders:
        # what others have put there stays
        with suppress(OSError):
            each.rmdir()
