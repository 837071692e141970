"""What a group will take: said before it begins (`--plan`), and held against what this machine has left."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from homolog.cli.describing import descriptor_of
from homolog.cli.group_asked import MAPS, Asked
from homolog.cli.group_images import Image, Unusable, is_detector
from homolog.cli.group_plan import match_path, pairs_of
from homolog.cli.group_store import Store, is_stored, stored_facts
from homolog.cli.group_tasks import PAIRS_A_TASK, match_tasks
from homolog.cli.resources import gigabytes, require_memory
from homolog.errors import UnwritableFile
from homolog.io.results import Results
from homolog.pipelines.planning import Plan, Stage, plan
from homolog.pipelines.planning_facts import Described, Done, Wanted

# What files of keypoints hold, mostly.
USUAL_METHOD = "surf3d"
# Work of one process of this machine, whoever does the rest.
OWN_STAGES = ("maps", "pictures")


def planned(images: Sequence[Image], unusable: Sequence[Unusable], asked: Asked, folder: Path | None) -> dict[str, Any]:
    """The plan as numbers; nothing is computed or written."""
    found = _plan(images, asked, folder, yardstick_s=None)
    sums = {
        "cpu_minutes": found.cpu_minutes,
        "wall_minutes": found.wall_minutes,
        "disk_bytes": found.disk_bytes,
        "memory_bytes": found.memory_bytes,
    }
    gone = [{"path": str(one.path), "why": one.why} for one in unusable]
    return {"plan": {**asdict(found), **sums}, "unusable": gone}


def table(numbers: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The same for people."""
    stages = tuple(Stage(**stage) for stage in numbers["stages"])
    rest = {name: numbers[name] for name in ("images", "pairs", "jobs", "threads", "yardstick_s")}
    return Plan(stages, **rest).table()


def require_enough(images: Sequence[Image], asked: Asked, folder: Path) -> None:
    """Refuses a group for which this machine has not enough memory or room left."""
    if len(images) < 2:
        return
    # how fast the machine is does not matter here
    found = _plan(images, asked, folder, yardstick_s=1.0)
    left = [stage for stage in found.stages if stage.done < stage.tasks and asked.config.only in (None, stage.name)]
    jobs = asked.config.jobs
    for stage in left:
        here = asked.config.engine in ("local", "dask") or stage.name in OWN_STAGES
        at_once = 1 if stage.name == MAPS else min(jobs, stage.tasks - stage.done)
        hint = "--jobs 1" if at_once > 1 else "-n 5000, or --sampling-mm 2"
        require_memory(here * at_once * stage.task_bytes, f"the stage of the {stage.name}", hint)
    needed = sum(stage.disk_bytes for stage in left)
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(nearest).free
    if needed > free:
        raise UnwritableFile(
            f"{folder}: the group needs ~{gigabytes(needed)}, {gigabytes(free)} are free there",
            "free some space, or write to another disk with -o",
        )


def _plan(images: Sequence[Image], asked: Asked, folder: Path | None, yardstick_s: float | None) -> Plan:
    config = asked.config
    store = None if folder is None else Store.of(folder)
    facts = [None if store is None else stored_facts(store.keypoints(one.key)) for one in images]
    described = [
        Described(one.grid.shape, tuple(one.grid.spacing_mm.tolist()), said["keypoints"] if said else None)
        for one, said in zip(images, facts)
    ]
    annotated = [one for one in images if one.labels and (not config.labels_from or one.name in config.labels_from)]
    described_by = descriptor_of(config.describe)
    wanted = Wanted(
        config.keypoints if is_detector(config.keypoints) else USUAL_METHOD,
        getattr(asked.options, "sampling_mm", None),
        asked.options.most,
        config.partners,
        asked.matching,
        asked.drawing,
        config.spacing,
        len(annotated),
        None if described_by is None else described_by.numbers,
    )
    done = Done() if store is None or folder is None or None in facts else _done(images, asked, store, folder)
    return plan(described, wanted, done=done, pairs_a_task=PAIRS_A_TASK, jobs=config.jobs, yardstick_s=yardstick_s)


def _done(images: Sequence[Image], asked: Asked, store: Store, folder: Path) -> Done:
    """What is there, once all keypoints are: before that nobody knows who is whose partner."""
    pairs = pairs_of(images, store, asked.config)
    paths = {pair: match_path(images, pair, store, asked.matching) for pair in pairs}
    there = {path for path in paths.values() if is_stored(path)}
    tasks = match_tasks(pairs, [store.keypoints(one.key) for one in images], paths, asked.matching)
    ledger = Results(folder.absolute()).ledger()
    names = {one.name for one in images}
    return Done(
        len(there),
        sum(all(target in there for target in task.targets) for task in tasks),
        MAPS in ledger,
        sum(stage.removesuffix("/back") in names for stage in ledger if stage.endswith("/back")),
        "mean" in ledger,
    )
