"""What `homolog match` does: two lists of keypoints, read or found; their matches, judged by a map; a page of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from homolog import __version__
from homolog.cli import terminal
from homolog.cli.configs import MatchPoints
from homolog.cli.describing import deciding, recorded, require_described
from homolog.cli.detecting import require_memory_for, summary
from homolog.cli.inputs import kind_of
from homolog.cli.recording import circumstances, texts, write_json
from homolog.cli.resources import claim
from homolog.errors import BadInput, SpaceMismatch
from homolog.io import keypoints as files
from homolog.io import transforms, volumes
from homolog.io.checks import require_contrast, require_finite
from homolog.io.files import content_hash
from homolog.io.records import file_hash, read_record
from homolog.io.results import LEDGER, Results, key_of
from homolog.matching.configs import MatchConfig
from homolog.matching.nearest import match
from homolog.matching.truth import correspondences
from homolog.pipelines.detect import detect
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.transforms import Affine, Transform
from homolog.space.volume import Volume

OnStep = Callable[[str, float], None]

CSV, NPZ, PAGE = "matches.csv", "matches.npz", "matches.html"
# mm, how far a right match may lie from where a known map puts it.
RIGHT_MM = (2.0, 4.0, 8.0)
# mm: what one linear map leaves between the same places of two patients, mostly.
AGREES_MM = 15.0
# As many matches, and as large a share of them, as do not agree by chance.
LEAST_AGREEING, LEAST_SHARE = 12, 0.03


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two patients.

    given   its file of keypoints or its volume
    points  None where they are still to be found in `volume`
    volume  its picture, if there is one: what points are found in, or shown on
    """

    which: str
    given: Path
    points: Keypoints | None
    volume: Volume | None
    hash: str

    @property
    def space(self) -> str:
        found = self.volume if self.points is None else self.points
        assert found is not None
        return found.space

    def named(self, space: str) -> Side:
        """The same patient under another name."""
        points = None if self.points is None else replace(self.points, space=space)
        volume = None if self.volume is None else self.volume.in_space(space)
        return replace(self, points=points, volume=volume)


def matched(
    fixed: Path,
    moving: Path,
    folder: Path,
    config: MatchPoints,
    matching: MatchConfig,
    method_config: Any,
    on_step: OnStep,
) -> dict[str, Any]:
    """The record of the run, all of whose files are in the folder afterwards."""
    began = time.perf_counter()
    _require_sensible((fixed, moving), config, matching, method_config)
    sides = _apart([_read(which, path, config) for which, path in (("fixed", fixed), ("moving", moving))])
    known = _known_map(config.transform, *sides)
    key = _key(sides, config, matching, method_config)
    results = _claimed(folder, key, config.force)
    on_step("match", 0.1)
    points = [_points(side, folder, results, config, method_config) for side in sides]
    on_step("match", 0.6)
    paths = [folder / CSV, folder / NPZ]
    facts = results.stage("matches", key, partial(_match, points[0], points[1], matching, known, paths))
    found = files.read_matches(folder / NPZ)
    if not config.no_pictures:
        shown = key_of(of=key, pictures=[side.volume and content_hash(side.volume) for side in sides])
        on_step("page", 0.7)
        results.stage("page", shown, lambda: _page(sides, points, found, facts, known, folder / PAGE))
    run = _run(sides, points, folder, config, matching, method_config, facts, time.perf_counter() - began)
    write_json(folder / "run.json", run)
    return run


def table(run: dict[str, Any]) -> tuple[list[str], list[list[object]]]:
    """What it came to: counts, and how many are right or agree."""
    facts = run["matches"]
    rows: list[list[object]] = [[f"{side} keypoints", run[side]["keypoints"], ""] for side in ("fixed", "moving")]
    rows.append(["matches", facts["count"], ""])
    for row in facts["judged"]:
        rows.append([row["what"], row["count"], _percent(row["count"], row["of"])])
    return ["", "number", "share"], rows


# ---------------------------------------------------------------------------------------------------------------------
# Before


def _require_sensible(paths: tuple[Path, Path], config: MatchPoints, matching: MatchConfig, method_config: Any) -> None:
    if matching.within_mm is not None and config.transform is None:
        raise BadInput("--within-mm is how near to where a map puts a point, and no map is named", "--transform MAP.h5")
    pictures = [path for path in paths if kind_of(path) == "volume"]
    if not pictures:
        strange = [f for f in fields(method_config) if getattr(method_config, f.name) != f.default]
        if strange:
            _refuse_unused("--" + strange[0].name.replace("_", "-"))
        if config.describe is not None:
            _refuse_unused("--describe")
    if not method_config.descriptors:
        raise BadInput("points are matched by their descriptors, and --no-descriptors", "leave --no-descriptors out")
    require_described(config.describe, method_config)
    for flag, path, image in zip(("--fixed-image", "--moving-image"), paths, (config.fixed_image, config.moving_image)):
        if image is not None and path in pictures:
            raise BadInput(
                f"{flag} shows points that are read from a file, and {path} is an image", f"leave {flag} out"
            )
    for path in pictures:
        require_memory_for(path, config.method, method_config)


def _refuse_unused(flag: str) -> None:
    raise BadInput(f"{flag} is how points are found, and both lists are given", f"leave {flag} out")


def _read(which: str, path: Path, config: MatchPoints) -> Side:
    if kind_of(path) == "volume":
        volume = volumes.read(path)
        require_finite(volume, str(path))
        require_contrast(volume, str(path))
        return Side(which, path, None, volume, content_hash(volume))
    image = config.fixed_image if which == "fixed" else config.moving_image
    grid = None if image is None else volumes.read_grid(image)
    points = files.read_keypoints(path, grid=grid)
    if points.descriptors is None:
        raise BadInput(
            f"{path} has no descriptors to match by",
            f"homolog keypoints IMAGE --points {path} --scale-mm 3 -o described",
        )
    if image is None:
        return Side(which, path, points, None, file_hash(path))
    volume = volumes.read(image, space=points.space)
    inside = int(volume.grid.contains(points.position, 1.0).sum())
    if 2 * inside < len(points):
        raise BadInput(f"{len(points) - inside} of {len(points)} points of {path} lie outside {image}: is it theirs?")
    return Side(which, path, points, volume, file_hash(path))


def _apart(sides: list[Side]) -> list[Side]:
    """Two patients' files are often called the same: their folders tell them apart, or else their parts."""
    if sides[0].space == sides[1].space:
        sides = [side.named(f"{side.given.resolve().parent.name}/{side.space}") for side in sides]
    if sides[0].space == sides[1].space:
        sides = [side.named(f"{side.space} ({side.which})") for side in sides]
    return sides


def _known_map(path: Path | None, fixed: Side, moving: Side) -> Transform | None:
    if path is None:
        return None
    record = read_record(path)
    if record is not None and (record.fixed.space, record.moving.space) == (moving.space, fixed.space):
        raise SpaceMismatch(
            f"{path} carries '{moving.space}' to '{fixed.space}', and is wanted the other way round",
            f"homolog transform invert {path} -o back.h5, and --transform back.h5",
        )
    grids = [side.volume.grid if side.volume is not None else None for side in (fixed, moving)]
    return transforms.read_transform(path, like=grids[0], moving_like=grids[1], fixed=fixed.space, moving=moving.space)


def _key(sides: list[Side], config: MatchPoints, matching: MatchConfig, method_config: Any) -> str:
    return key_of(
        sides=[(side.hash, side.space) for side in sides],
        method=config.method,
        options=asdict(method_config),
        matching=asdict(matching),
        transform=None if config.transform is None else file_hash(config.transform),
        version=__version__,
        **deciding(config.describe, method_config),
    )


def _claimed(folder: Path, key: str, force: bool) -> Results:
    claim(folder, LEDGER, f"-o {folder}_2", ours=("fixed.npz", "moving.npz", CSV, NPZ, PAGE))
    results = Results(folder)
    listed = results.ledger()
    if listed and listed.get("matches", {}).get("key", key) != key:
        if not force:
            raise BadInput(f"{folder} holds another matching", f"-o {folder}_2, or --force to replace it")
        results.forget(list(listed))
    return results


# ---------------------------------------------------------------------------------------------------------------------
# Stages


def _points(side: Side, folder: Path, results: Results, config: MatchPoints, method_config: Any) -> Keypoints:
    """Those that were given; or those of the volume, which are kept, since matches are rows of them."""
    if side.points is not None:
        return side.points
    store, volume = folder / f"{side.which}.npz", side.volume
    assert volume is not None

    def work() -> tuple[list[Path], dict[str, Any]]:
        found = detect(volume, method=config.method, config=method_config, descriptor=config.describe)
        files.write_keypoints(found, store)
        return [store], {}

    key = key_of(
        of=side.hash,
        space=side.space,
        method=config.method,
        options=asdict(method_config),
        version=__version__,
        **deciding(config.describe, method_config),
    )
    results.stage(side.which, key, work)
    return files.read_keypoints(store)


def _match(
    fixed: Keypoints, moving: Keypoints, matching: MatchConfig, known: Transform | None, paths: list[Path]
) -> tuple[list[Path], dict[str, Any]]:
    found = match(fixed, moving, matching, moving_from_fixed=known)
    judged = _judged(fixed, moving, found, known)
    for path in paths:
        files.write_matches(found, path, fixed, moving)
    return paths, terminal.plain({"count": len(found), **judged})


def _judged(fixed: Keypoints, moving: Keypoints, found: Matches, known: Transform | None) -> dict[str, Any]:
    """How many are right under the known map, or agree on one; and that one."""
    ends = fixed.position[found.pairs[:, 0]], moving.position[found.pairs[:, 1]]
    if known is not None:
        return {"judged": _rights(fixed, moving, found, known, _apart_mm(known, *ends))}
    agreed = _agreed(*ends, found)
    if agreed is None:
        return {"judged": []}
    count = int((_apart_mm(agreed, *ends) <= AGREES_MM).sum())
    what = f"agree on one linear map, within {AGREES_MM:g} mm"
    return {"judged": [{"what": what, "count": count, "of": len(found)}], "map": agreed.matrix.tolist()}


def _rights(
    fixed: Keypoints, moving: Keypoints, found: Matches, known: Transform, apart_mm: np.ndarray
) -> list[dict[str, Any]]:
    rows = [
        {"what": f"right within {reach:g} mm", "count": int((apart_mm <= reach).sum()), "of": len(found)}
        for reach in RIGHT_MM
    ]
    for reach in RIGHT_MM:
        possible = correspondences(fixed, moving, known, within_mm=reach)
        same = set(map(tuple, possible.pairs.tolist())) & set(map(tuple, found.pairs.tolist()))
        rows.append(
            {"what": f"found of the {len(possible)} within {reach:g} mm", "count": len(same), "of": len(possible)}
        )
    return rows


def _agreed(fixed_mm: np.ndarray, moving_mm: np.ndarray, found: Matches) -> Affine | None:
    """The linear map that the most matches agree on, if more agree than would by chance."""
    from homolog.matching.consensus import agreed

    if len(found) < LEAST_AGREEING:
        return None
    the_map = Affine(agreed(fixed_mm, moving_mm, found.distance).matrix)
    count = int((_apart_mm(the_map, fixed_mm, moving_mm) <= AGREES_MM).sum())
    return the_map if count >= max(LEAST_AGREEING, LEAST_SHARE * len(found)) else None


def _apart_mm(the_map: Transform, fixed_mm: np.ndarray, moving_mm: np.ndarray) -> np.ndarray:
    """(M,) how far the moving ends lie from where a map puts the fixed ones."""
    return np.asarray(np.linalg.norm(np.asarray(the_map.apply(fixed_mm)) - moving_mm, axis=1))


def _page(
    sides: list[Side],
    points: list[Keypoints],
    found: Matches,
    facts: dict[str, Any],
    known: Transform | None,
    page: Path,
) -> tuple[list[Path], dict[str, Any]]:
    from homolog.report import views
    from homolog.report.match_pictures import Judged, Pair, motion_in_words, write_page

    pictures = [
        None if side.volume is None else views.reduced(side.volume, views.finest_pixel_mm(side.volume.grid))
        for side in sides
    ]
    pair = Pair(points[0], points[1], found, *pictures)
    judged, says = None, ""
    if known is not None:
        judged = Judged(_apart_mm(known, *pair.places_mm) <= RIGHT_MM[1], "the known map", f"{RIGHT_MM[1]:g} mm")
    elif "map" in facts:
        agrees = _apart_mm(Affine(np.array(facts["map"])), *pair.places_mm) <= AGREES_MM
        judged = Judged(agrees, "the map that most agree on", f"{AGREES_MM:g} mm")
    if judged is not None:
        says = motion_in_words(pair, judged)
    rows = [(row["what"], str(row["count"]), _percent(row["count"], row["of"])) for row in facts["judged"]]
    write_page(pair, page, judged, rows, says)
    return [page], {}


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.0f} %" if of else "-"


# ---------------------------------------------------------------------------------------------------------------------
# The record


def _run(
    sides: list[Side],
    points: list[Keypoints],
    folder: Path,
    config: MatchPoints,
    matching: MatchConfig,
    method_config: Any,
    facts: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    given = {k: v for k, v in asdict(config).items() if k not in ("json", "force")}
    detecting = {config.method: asdict(method_config)} if any(side.points is None for side in sides) else {}
    ends = {
        side.which: {"path": str(side.given.resolve()), "space": side.space, "hash": side.hash, **summary(each)}
        for side, each in zip(sides, points)
    }
    return {
        **circumstances(seconds),
        "config": {**texts(given), "matching": asdict(matching), **detecting},
        **recorded(config.describe),
        **ends,
        "files": [file for entry in Results(folder).ledger().values() for file in entry["files"]],
        "matches": facts,
    }
