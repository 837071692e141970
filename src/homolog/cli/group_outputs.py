"""What is made of each image's map: the way back, how well both do, pictures; a task an image, for whoever computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from homolog.cli.configs import GroupVolumes
from homolog.cli.group_images import Image
from homolog.cli.group_maps import INVERSE, MAP, read_map
from homolog.cli.group_team import Team
from homolog.cli.terminal import plain
from homolog.groupwise.group import COMMON
from homolog.io import transforms, volumes
from homolog.io.records import End, Record, beside
from homolog.io.results import Results, key_of
from homolog.metrics.folding import folding
from homolog.space.grid import Grid

JACOBIAN, FROG = "jacobian.nii.gz", "frog.json"
# mm: folds are looked for this close; the splines' controls are many times farther apart.
LOOKED_AT_MM = 4.0

Made = tuple[list[Path], dict[str, Any]]


@dataclass(frozen=True)
class Output:
    """A stage of the folder's ledger that any worker can do.

    work  writes files; which, and what there is to know
    """

    stage: str
    key: str
    work: Callable[[], Made]


def made(wanted: Sequence[Output], results: Results, team: Team, label: str) -> list[dict[str, Any]]:
    """The facts of each, of those that are done and of those that are done now."""
    left = [one for one in wanted if not results.is_done(one.stage, one.key)]
    for one, done in team.each(_work, left, label):
        results.stage(one.stage, one.key, partial(_same, done))
    ledger = results.ledger()
    return [dict(ledger[one.stage]["facts"]) for one in wanted]


def of_maps(
    images: Sequence[Image],
    keys: Sequence[str],
    lattices: Sequence[Grid],
    config: GroupVolumes,
    results: Results,
    team: Team,
) -> list[dict[str, Any]]:
    """For each image what run.json says of its map, and the files that were made of it.

    keys      of the images' maps
    lattices  of the common space, on which the ways back are solved
    """
    folder = results.folder
    back = [
        Output(f"{one.name}/back", key_of(map=key, lattice=_told(lattice)), partial(turned_round, folder, one, lattice))
        for one, key, lattice in zip(images, keys, lattices)
    ]
    entries = made(back, results, team, "ways back")
    for entry, one in zip(entries, images):
        entry["outputs"] = {"common_from_patient": f"{one.name}/{MAP}", "patient_from_common": f"{one.name}/{INVERSE}"}
    for is_wanted, name, file, work in (
        (config.jacobians, "jacobian", JACOBIAN, swelling),
        ("frog" in config.formats, "frog", FROG, as_frogs),
    ):
        if is_wanted:
            more = [
                Output(f"{one.name}/{name}", key_of(map=key), partial(work, folder, one))
                for one, key in zip(images, keys)
            ]
            made(more, results, team, name)
            for entry, one in zip(entries, images):
                entry["outputs"][name] = f"{one.name}/{file}"
    return entries


# ---------------------------------------------------------------------------------------------------------------------
# Tasks


def turned_round(folder: Path, image: Image, lattice: Grid) -> Made:
    """Writes the way back of an image's map, and measures both."""
    from homolog.groupwise.carrying import inverse_on, merged_on

    the_map = read_map(folder, image.name)
    inversion = inverse_on(the_map, lattice)
    path = folder / image.name / INVERSE
    record = Record(End(COMMON, lattice), image.end, inversion.mean_mm, inversion.p95_mm)
    transforms.write_transform(inversion.transform, path, record=record)
    seen = coarse(image.grid)
    facts = {
        "folding": asdict(folding(merged_on(the_map, seen), seen)),
        "inverse": {"mean_mm": inversion.mean_mm, "p95_mm": inversion.p95_mm, "max_mm": inversion.max_mm},
    }
    return [path, beside(path)], plain(facts)


def swelling(folder: Path, image: Image) -> Made:
    """Writes how many times its volume each voxel of an image takes in the common space."""
    from homolog.groupwise.carrying import jacobian_map

    path = folder / image.name / JACOBIAN
    volumes.write(jacobian_map(read_map(folder, image.name), image.grid), path)
    return [path], {}


def as_frogs(folder: Path, image: Image) -> Made:
    """Writes an image's map as FROG does, for keypoints in LPS mm."""
    path = folder / image.name / FROG
    the_map = read_map(folder, image.name)
    transforms.write_transform(the_map, path, record=Record(image.end, End(COMMON)), format="frog", frame="LPS")
    return [path, beside(path), *sorted(path.parent.glob(f"{path.name}.*.nii.gz"))], {}


def _work(output: Output) -> Made:
    return output.work()


def _same(done: Made) -> Made:
    return done


def coarse(grid: Grid) -> Grid:
    """The same box, seen no closer than folds can be small."""
    return grid.with_spacing([max(LOOKED_AT_MM, spacing) for spacing in grid.spacing_mm.tolist()])


def _told(grid: Grid) -> list[Any]:
    return [list(grid.shape), grid.world_from_voxel.tolist()]
