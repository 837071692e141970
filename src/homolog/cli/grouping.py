"""What `homolog group` does, stage by stage: keypoints, matches, maps, what is made of those; each kept as it comes.

Keypoints and matches are tasks whose results lie in the folder's store, called by what decides them. Maps and outputs
are stages of the folder's ledger, as elsewhere. So a run that was stopped goes on where it was, and a repeated one
does nothing, whoever computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from homolog.cli import terminal
from homolog.cli.configs import GroupVolumes
from homolog.cli.group_adding import added, kept
from homolog.cli.group_asked import MAPS, Asked, claimed, require_same, require_sensible
from homolog.cli.group_common import outputs
from homolog.cli.group_forecast import planned, require_enough, table
from homolog.cli.group_images import Image, Unusable, read_images, read_marks, refuse_unusable, require_apart
from homolog.cli.group_maps import drawn_together
from homolog.cli.group_record import MEASURES, RUN, doubts, record, reported, tables, write_measures
from homolog.cli.group_store import Store, remember_hash
from homolog.cli.group_team import Team
from homolog.cli.group_work import found_keypoints, found_matches
from homolog.cli.recording import write_json
from homolog.io.records import file_hash
from homolog.io.results import Results, key_of
from homolog.space.keypoints import Keypoints

OnStep = Callable[..., None]


def grouped(pictures: Sequence[Path], folder: Path | None, asked: Asked, on_step: OnStep) -> dict[str, Any]:
    """The record of the run, all of whose files are in the folder afterwards; or of the part that was asked for."""
    asked = asked.as_published()
    config = asked.config
    require_sensible(pictures, folder, asked)
    if config.add:
        return added(config.add, asked, on_step)
    began = time.perf_counter()
    store = None if folder is None else Store.of(folder)
    images, unusable = read_images(pictures, config, asked.options, store)
    if config.plan or folder is None or store is None:
        return planned(images, unusable, asked, folder)
    results, team = claimed(folder, images, asked), Team(config.engine, config.jobs, on_step)
    require_enough(images, asked, folder)
    for one in images:
        remember_hash(one.path, one.hash, store)
    known, failed = found_keypoints(images, store, asked, team)
    unusable = [*unusable, *failed]
    if config.only == "keypoints":
        return _stored(known, unusable, len(pictures), config)
    refuse_unusable(unusable, len(pictures), config.skip)
    require_apart(known, "content")
    paths = found_matches(known, store, asked, team)
    if config.only == "matches":
        return _stored(known, unusable, len(pictures), config)
    require_same(folder, results, known, asked)
    marks = [read_marks(one, config) for one in known]
    facts = _maps(known, store, paths, results, asked, marks, on_step)
    made, whole = outputs(known, facts, results, asked, marks, team)
    results.stage(
        MEASURES, key_of(maps=facts["key"]), lambda: write_measures(facts["trace"], results.folder / MEASURES)
    )
    run = record(known, facts, made, whole, asked, unusable, time.perf_counter() - began)
    write_json(folder / RUN, {**kept(folder), **run})
    return reported(folder, on_step)


def show(run: dict[str, Any], config: GroupVolumes) -> None:
    """What was done, for people or for programs."""
    if config.json:
        terminal.result_json(run)
    elif "plan" in run:
        terminal.show_table(*table(run["plan"]))
        for one in run["unusable"]:
            terminal.note(f"{one['path']} cannot be used: {one['why']}")
    elif "stored" in run:
        terminal.result(f"{run['done']} of {run['of']} images have their {run['stored']}")
    else:
        for columns, rows in tables(run, bool(config.add)):
            terminal.show_table(columns, rows)
        for line in doubts([*([] if config.add else run["images"]), *run.get("newcomers", [])]):
            terminal.note(line)


def _stored(known: Sequence[Image], unusable: Sequence[Unusable], of: int, config: GroupVolumes) -> dict[str, Any]:
    """What `--only` has done; images that cannot be used are an error after all others are done."""
    refuse_unusable(unusable, of, config.skip)
    return {"stored": config.only, "done": len(known), "of": of}


def _maps(
    images: Sequence[Image],
    store: Store,
    paths: dict[tuple[int, int], Path],
    results: Results,
    asked: Asked,
    marks: Sequence[Keypoints | None],
    on_step: OnStep,
) -> dict[str, Any]:
    """The stage of the maps."""
    key = key_of(
        images=[(one.name, one.key, one.content) for one in images],
        matches=[path.stem for path in paths.values()],
        landmarks=[one.landmarks and file_hash(one.landmarks) for one in images],
        points_space=asked.config.points_space,
        **asked.deciding(),
    )

    def work() -> tuple[list[Path], dict[str, Any]]:
        files, facts = drawn_together(
            images, store, paths, results.folder, asked.drawing, marks, on_step, asked.config.device
        )
        names = {"names": [one.name for one in images], "keys": [one.key for one in images], "key": key}
        return files, {
            **facts,
            **names,
            "keypoints": [one.count for one in images],
            "asked": terminal.plain(asked.deciding()),
        }

    return results.stage(MAPS, key, work)
