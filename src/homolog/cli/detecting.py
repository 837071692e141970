"""What `homolog keypoints` does: each volume read, its points found, and all that is written of them.

Volumes are worked on in processes, which write files; the folder's ledger is written by the first process alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from homolog import __version__
from homolog.cli import terminal
from homolog.cli.configs import FindKeypoints
from homolog.cli.describing import deciding, recorded, require_described
from homolog.cli.inputs import window_of_words
from homolog.cli.naming import Named, named_apart
from homolog.cli.recording import circumstances, texts, write_json
from homolog.cli.resources import claim, require_memory
from homolog.errors import BadInput, GridMismatch, UnreadableFile
from homolog.io import keypoints as files
from homolog.io import volumes
from homolog.io.checks import require_contrast, require_finite
from homolog.io.files import content_hash, require_file, stem_of
from homolog.io.records import file_hash
from homolog.io.results import LEDGER, Results, key_of
from homolog.parallel import map_cases
from homolog.pipelines.detect import describe, detect
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume

OnStep = Callable[[str, float], None]

# Bytes at the peak: of a voxel of the image, and of a voxel of what the detector looks at, where it was measured.
IMAGE_BYTES, USUAL_BYTES = 8, 37
DETECTOR_BYTES = {"surf3d": 11, "sift3d": 37, "sp3d": 60}
STORE, MARKS = ".npz", ".mrk.json"
# All that may be made of a volume.
ENDINGS = (STORE, MARKS, ".csv.gz", ".csv", ".bin", ".html")


@dataclass(frozen=True)
class Case:
    """A volume to look at, by its name in the folder, and its mask."""

    volume: Named
    mask: Path | None


@dataclass(frozen=True)
class Made:
    """A stage of a volume, called as its file.

    fresh  whether it was made now; else it was there already
    facts  as the ledger has, or will have, them
    """

    path: Path
    key: str
    fresh: bool
    facts: dict[str, Any]


def detected(
    pictures: Sequence[Path], folder: Path, config: FindKeypoints, method_config: Any, on_step: OnStep
) -> dict[str, Any]:
    """The record of the run, all of whose files are in the folder afterwards."""
    began = time.perf_counter()
    cases = _cases(pictures, config)
    _require_sensible(cases, config, method_config)
    asked = _asked(config, method_config)
    results = _claimed(folder, cases, asked, config)
    said = partial(_told, len(cases), time.monotonic())
    on_step("keypoints", 0.0)
    with closing(map_cases(partial(_worked, folder, config, method_config), cases, processes=config.jobs)) as done:
        for count, (case, stages) in enumerate(done, 1):
            for one in (stage for stage in stages if stage.fresh):
                results.stage(one.path.name, one.key, partial(lambda made: ([made.path], made.facts), one))
            _write_run(folder, config, asked, time.perf_counter() - began)
            on_step("keypoints", count / len(cases))
            said(count, case, stages[0])
    return _write_run(folder, config, asked, time.perf_counter() - began)


def row(facts: dict[str, Any]) -> list[object]:
    """A line of the table: what was found in a volume."""
    scales = facts["scale_mm"]
    told = "-" if scales is None else f"{scales[0]:.3g} to {scales[2]:.3g}"
    dark, bright = ("-" if facts[name] is None else facts[name] for name in ("dark", "bright"))
    return [facts["name"], facts["keypoints"], dark, bright, told, f"{facts['seconds']:.1f}"]


def summary(found: Keypoints) -> dict[str, Any]:
    """Counts, and the least, the middle and the largest scale."""
    scale = None
    if found.scale is not None and len(found):
        scale = [float(value) for value in np.quantile(found.scale, (0, 0.5, 1))]
    signs = (None, None) if found.sign is None else (int((found.sign < 0).sum()), int((found.sign > 0).sum()))
    length = None if found.descriptors is None else int(found.descriptors.shape[1])
    return {"keypoints": len(found), "dark": signs[0], "bright": signs[1], "scale_mm": scale, "descriptor": length}


# ---------------------------------------------------------------------------------------------------------------------
# Before


def _cases(pictures: Sequence[Path], config: FindKeypoints) -> list[Case]:
    if not pictures:
        raise BadInput("no volume to find keypoints in", "homolog keypoints ct.nii.gz -o keys")
    for flag, value in (("--mask", config.mask), ("--points", config.points)):
        if value is not None and len(pictures) > 1:
            hint = "--masks FOLDER, with a mask for each" if flag == "--mask" else "one volume at a time"
            raise BadInput(f"{flag} is of one volume, and {len(pictures)} are named", hint)
    if config.mask is not None and config.masks is not None:
        raise BadInput("--mask and --masks both say where to look", "leave one of them out")
    named = named_apart(pictures)
    return [Case(one, config.mask if config.masks is None else _mask_of(one, config.masks)) for one in named]


def _mask_of(one: Named, folder: Path) -> Path:
    """The mask of a volume, by its file's name or by its name in the output; either may have another ending."""
    if not folder.is_dir():
        raise UnreadableFile(f"{folder}: no such folder of masks", "--mask FILE for a single volume")
    wanted = (one.path.name, one.name, one.stem)
    fitting = [path for path in sorted(folder.iterdir()) if path.name == wanted[0] or stem_of(path) in wanted[1:]]
    # where volumes are called alike, their masks would be mistaken for one another
    exact = [path for path in fitting if stem_of(path) == one.name] or ([] if one.alike else fitting)
    if not exact:
        raise UnreadableFile(f"{folder} holds no mask of {one.path}", f"it would be called {folder / one.name}.nii.gz")
    return exact[0]


def _require_sensible(cases: Sequence[Case], config: FindKeypoints, method_config: Any) -> None:
    """All that can be seen without computing."""
    window_of_words(config.window)
    if config.jobs < 1:
        raise BadInput(f"--jobs is at least 1, got {config.jobs}", "--jobs 1")
    if config.points is None and (config.scale_mm is not None or config.points_space is not None):
        flag = "--scale-mm" if config.scale_mm is not None else "--points-space"
        raise BadInput(f"{flag} is about given points, and none are", "--points FILE")
    if config.points is not None:
        _require_describing(config, method_config)
    require_described(config.describe, method_config)
    if config.formats and not method_config.descriptors:
        raise BadInput("FROG's files hold descriptors, and none are asked for", "leave --no-descriptors out")
    for case in cases:
        if case.mask is not None:
            require_meeting(case.mask, case.volume.path)
        require_memory_for(case.volume.path, config.method, method_config, min(config.jobs, len(cases)))


def require_memory_for(path: Path, method: str, method_config: Any, jobs: int = 1) -> None:
    """Refuses a volume whose points cannot be found in the memory that is free; several such are found at once."""
    grid = volumes.read_grid(path)
    sampling = getattr(method_config, "sampling_mm", None)
    looked_at = grid.size * grid.voxel_volume_mm3 / sampling**3 if sampling and sampling > 0 else grid.size
    needed = jobs * (IMAGE_BYTES * grid.size + DETECTOR_BYTES.get(method, USUAL_BYTES) * looked_at)
    smaller = f"--sampling-mm {2 * sampling:g}" if sampling else f"homolog convert {path} OUT.nii.gz --spacing 2"
    require_memory(needed, f"finding keypoints in {path}", "--jobs 1" if jobs > 1 else smaller)


def _require_describing(config: FindKeypoints, method_config: Any) -> None:
    assert config.points is not None
    require_file(config.points)
    if config.mask is not None or config.masks is not None:
        raise BadInput("given points are all described: a mask says where to look for others", "leave the mask out")
    if not method_config.descriptors:
        raise BadInput("--points are given to be described, and --no-descriptors", "leave one of them out")
    if method_config.most is not None:
        raise BadInput("given points are all described, none is left out", "leave -n out")
    if config.scale_mm is not None and not 0 < config.scale_mm < np.inf:
        raise BadInput(f"--scale-mm {config.scale_mm:g}: a size above 0 is wanted", "--scale-mm 3")


def require_meeting(mask: Path, picture: Path) -> None:
    """A mask may lie on voxels of its own, but in the same place."""
    (low, high), (least, most) = volumes.read_grid(mask).bounds(), volumes.read_grid(picture).bounds()
    if not ((low < most) & (least < high)).all():
        raise GridMismatch(f"{mask} lies nowhere in {picture}: is it of that image?", "--mask of the same patient")


def _asked(config: FindKeypoints, method_config: Any) -> dict[str, Any]:
    """All that decides the points of a volume, but the volume itself and its mask."""
    points = None if config.points is None else file_hash(config.points)
    return {
        "version": __version__,
        "method": config.method,
        "options": asdict(method_config),
        "points": points,
        "points_space": config.points_space,
        "scale_mm": config.scale_mm,
        **deciding(config.describe, method_config),
    }


def _claimed(folder: Path, cases: Sequence[Case], asked: dict[str, Any], config: FindKeypoints) -> Results:
    """The folder as a place for these points: new, empty, or holding others that were found in the same way."""
    ours = [f"{case.volume.name}{ending}" for case in cases for ending in ENDINGS]
    claim(folder, LEDGER, f"-o {folder}_2", ours=ours)
    results, now = Results(folder), _flat(json.loads(json.dumps(asked)))
    found = {stage: entry["facts"]["asked"] for stage, entry in results.ledger().items() if "asked" in entry["facts"]}
    others = {stage: _flat(before) for stage, before in found.items() if _flat(before) != now}
    if others and not config.force:
        was = next(iter(others.values()))
        name = next(name for name in {**now, **was} if was.get(name) != now.get(name))
        raise BadInput(
            f"{folder} holds keypoints found with {name.replace('_', '-')} {_word(was.get(name))}, "
            f"not {_word(now.get(name))}",
            f"-o {folder}_2, or --force to replace them",
        )
    results.forget([f"{stage.removesuffix(STORE)}{ending}" for stage in others for ending in ENDINGS])
    return results


def _flat(asked: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in asked.items() if k != "options"}, **asked.get("options", {})}


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


# ---------------------------------------------------------------------------------------------------------------------
# A volume's stages, maybe in another process


def _worked(folder: Path, config: FindKeypoints, method_config: Any, case: Case) -> list[Made]:
    """The points first, then whatever is made of them."""
    results = Results(folder)
    volume, mask = _read(case)
    key = _key(volume, mask, config, method_config)
    name = case.volume.name
    store = folder / f"{name}{STORE}"
    _require_same(results, store.name, key, folder, config)
    wanted: dict[Path, Callable[[], None]] = {
        folder / f"{name}{ending}": partial(_write_as, store, folder / f"{name}{ending}")
        for ending in (MARKS, *(f".{form}" for form in config.formats))
    }
    keys = dict.fromkeys(wanted, key_of(of=key))
    if not config.no_pictures:
        page = folder / f"{name}.html"
        wanted[page] = partial(_write_page, store, page, volume, config)
        keys[page] = key_of(of=key, window=config.window)
    with _nothing_left() as written:
        find = partial(_find, volume, mask, case, store, config, method_config)
        stages = [_stage(results, key, written, store, find)]
        for path, write in wanted.items():
            stages.append(_stage(results, keys[path], written, path, partial(_without_facts, write)))
    return stages


def _read(case: Case) -> tuple[Volume, Volume | None]:
    path = case.volume.path
    volume = volumes.read(path, space=case.volume.space)
    require_finite(volume, str(path))
    require_contrast(volume, str(path))
    if case.mask is None:
        return volume, None
    mask = volumes.read_labels(case.mask, space=volume.space)
    if not mask.numpy().any():
        raise BadInput(f"{case.mask} is 0 everywhere: it leaves nowhere to look", "is it the mask, or its complement?")
    return volume, mask


def _key(volume: Volume, mask: Volume | None, config: FindKeypoints, method_config: Any) -> str:
    masked = None if mask is None else content_hash(mask)
    return key_of(volume=content_hash(volume), space=volume.space, mask=masked, **_asked(config, method_config))


def _require_same(results: Results, stage: str, key: str, folder: Path, config: FindKeypoints) -> None:
    listed = results.ledger().get(stage)
    if listed and listed["key"] != key and not config.force:
        raise BadInput(
            f"{folder} holds {stage} of another volume, or of the same with another mask",
            f"-o {folder}_2, or --force to replace them",
        )


def _stage(results: Results, key: str, written: list[Path], path: Path, work: Callable[[], dict[str, Any]]) -> Made:
    if results.is_done(path.name, key):
        return Made(path, key, False, results.ledger()[path.name]["facts"])
    written.append(path)
    return Made(path, key, True, work())


@contextmanager
def _nothing_left() -> Iterator[list[Path]]:
    """Half of a volume's files are not left behind, though each of them be whole."""
    written: list[Path] = []
    try:
        yield written
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _find(
    volume: Volume, mask: Volume | None, case: Case, store: Path, config: FindKeypoints, method_config: Any
) -> dict[str, Any]:
    began = time.perf_counter()
    if config.points is None:
        found = detect(volume, method=config.method, config=method_config, mask=mask, descriptor=config.describe)
    else:
        given = given_points(volume, config)
        found = describe(volume, given, method=config.method, config=method_config, descriptor=config.describe)
    files.write_keypoints(found, store)
    return {
        "name": case.volume.name,
        "space": volume.space,
        "path": str(case.volume.path.resolve()),
        "hash": content_hash(volume),
        "mask": case.mask and str(case.mask.resolve()),
        **summary(found),
        "seconds": time.perf_counter() - began,
        "asked": _asked(config, method_config),
    }


def given_points(volume: Volume, config: FindKeypoints) -> Keypoints:
    """The points of `--points`, each with a scale."""
    assert config.points is not None
    points = files.read_keypoints(config.points, space=volume.space, frame=config.points_space, grid=volume.grid)
    if config.scale_mm is not None:
        return replace(points, scale=np.full(len(points), config.scale_mm))
    if points.scale is None:
        raise BadInput(f"{config.points} does not say how large its points are", "--scale-mm 3")
    return points


def _write_as(store: Path, path: Path) -> None:
    form = "frog" if path.name.endswith(".csv") else None
    files.write_keypoints(files.read_keypoints(store), path, format=form)


def _write_page(store: Path, page: Path, volume: Volume, config: FindKeypoints) -> None:
    from homolog.report.keypoint_pictures import write_page

    write_page(volume, files.read_keypoints(store), page, config.method, window=window_of_words(config.window))


def _without_facts(work: Callable[[], None]) -> dict[str, Any]:
    work()
    return {}


# ---------------------------------------------------------------------------------------------------------------------
# The record


def _write_run(folder: Path, config: FindKeypoints, asked: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The record of all volumes whose points are in the folder."""
    ledger = Results(folder).ledger()
    listed = [entry["facts"] for entry in ledger.values() if "keypoints" in entry["facts"]]
    given = {k: v for k, v in asdict(config).items() if k not in ("json", "force")}
    run = {
        **circumstances(seconds),
        "config": {**texts(given), config.method: asked["options"]},
        **recorded(config.describe),
        "volumes": [
            {**{k: v for k, v in facts.items() if k != "asked"}, "files": _files_of(ledger, facts["name"])}
            for facts in sorted(listed, key=lambda one: one["name"])
        ],
    }
    write_json(folder / "run.json", run)
    return run


def _files_of(ledger: dict[str, Any], name: str) -> list[str]:
    return [file for file in (f"{name}{ending}" for ending in ENDINGS) if file in ledger]


def _told(of: int, began: float, count: int, case: Case, found: Made) -> None:
    if not found.fresh:
        terminal.note(f"{case.volume.path}: {found.facts['keypoints']} keypoints were there already")
        return
    left = (time.monotonic() - began) / count * (of - count)
    more = f", about {terminal.duration(left)} left" if count < of else ""
    done = "described" if found.facts["asked"]["points"] else "found"
    terminal.note(f"{case.volume.path}: {done} {found.facts['keypoints']} keypoints ({count} of {of}{more})")
