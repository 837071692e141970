"""What `homolog register` does, stage by stage: the map, its inverse, the warped things, the numbers, the report."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from homolog import __version__
from homolog.cli import terminal
from homolog.cli.configs import Register
from homolog.cli.describing import deciding, recorded
from homolog.cli.inputs import outside_of, window_of_words
from homolog.cli.pairs import Pair, read_marks, read_mask, read_pair, read_start, require_companions
from homolog.cli.recording import circumstances, texts, write_json
from homolog.cli.resources import claim, require_memory, require_room
from homolog.errors import BadInput
from homolog.io import points, transforms, volumes
from homolog.io.records import file_hash
from homolog.io.results import LEDGER, Results, key_of
from homolog.metrics.consistency import inverse_consistency
from homolog.metrics.folding import folding
from homolog.report.runs import read_run
from homolog.space.inversion import invert
from homolog.space.sampling import carry, warp
from homolog.space.transforms import Transform
from homolog.space.volume import Volume

OnStep = Callable[[str, float, float], None]

MAP, INVERSE = "moving_from_fixed.h5", "fixed_from_moving.h5"
WARPED, LABELS, POINTS = "warped.nii.gz", "labels_warped.nii.gz", "points_on_fixed.mrk.json"
# What a run may have left that was stopped before it left a ledger.
OURS = (MAP, f"{MAP}.json", INVERSE, f"{INVERSE}.json")
# Bytes a voxel of each image that a registration holds at its peak: the picture, its resampled copies, their codes.
BYTES_PER_VOXEL = 20


def registered(
    fixed: Path, moving: Path, folder: Path, config: Register, method_config: Any, on_step: OnStep
) -> dict[str, Any]:
    """The record of the run, all of whose files are in the folder afterwards."""
    began = time.perf_counter()
    method_config = with_file(method_config, config.config, config.method)
    window = window_of_words(config.window)
    for path in (fixed, moving):
        require_memory(BYTES_PER_VOXEL * volumes.read_grid(path).size, f"registering {path}", "--spacing-mm 6")
    require_room(folder / "run.json")
    pair = read_pair(fixed, moving)
    require_companions(pair, config)
    key = _key(pair, config, method_config)
    results = _claimed(folder, key, config.force)

    kept = _evaluated(folder, config) if results.is_done("map", key) else {}
    facts = results.stage("map", key, lambda: _map(pair, folder, config, method_config, on_step))
    forward = transforms.read_transform(folder / MAP)
    on_step("warp", 0.5, 0.0)
    outside = outside_of(pair.moving)[0] if config.outside is None else config.outside
    results.stage("warped", key_of(map=key, outside=outside), lambda: _warped(pair, folder, forward, outside))
    _carry_labels(pair, folder, config, forward, results, key)
    _carry_points(pair, folder, config, forward, results, key)
    metrics = results.stage("metrics", key_of(map=key), lambda: ((), _metrics(pair, folder, forward)))

    run = _run(pair, folder, config, method_config, facts, metrics, time.perf_counter() - began)
    run |= {**kept, "metrics": {**kept.get("metrics", {}), **metrics}}
    run |= {"window": {"fixed": window, "moving": window}} if window else {}
    write_json(folder / "run.json", run)
    from homolog.report.pair import write_report

    on_step("report", 0.9, 0.0)
    write_report(folder)
    return run


def quality_line(run: dict[str, Any]) -> str:
    """How good the run is, in a line; POOR if it should not be believed."""
    quality, metrics = run["quality"], run["metrics"]
    before, after = (_number(quality[f"similarity_{when}"]) for when in ("before", "after"))
    trip = metrics["inverse"]["fixed"]
    line = (
        f"quality  {'POOR  ' if quality['poor'] else ''}similarity {before} -> {after}   "
        f"folding {100 * metrics['folding']['fraction']:.2g} %   "
        f"inverse error {trip['mean_mm']:.2g} mm (95 %: {trip['p95_mm']:.2g})"
    )
    return f"{line}\n         {quality['why']}" if quality["poor"] else line


# ---------------------------------------------------------------------------------------------------------------------
# Before


def with_file(method_config: Any, path: Path | None, method: str) -> Any:
    """The method's options with those of a TOML file put where no flag was given."""
    if path is None:
        return method_config
    from homolog.io.files import require_file

    try:
        table = tomllib.loads(require_file(path).read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no TOML: {error}", 'lines like  kind = "rigid"') from error
    said = table.get(method, {k: v for k, v in table.items() if not isinstance(v, dict)})
    names = {field.name: field.default for field in fields(method_config)}
    strangers = [name for name in said if name not in names]
    if strangers:
        raise BadInput(f"{path}: {method} has no option {strangers[0]!r}", f"it has {', '.join(names)}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}
    return replace(method_config, **{k: v for k, v in values.items() if getattr(method_config, k) == names[k]})


def _key(pair: Pair, config: Register, method_config: Any) -> str:
    named = {name: getattr(config, name) for name in ("mask_fixed", "mask_moving")}
    start = config.start
    return key_of(
        images=pair.hashes,
        method=config.method,
        options=asdict(method_config),
        seed=config.seed,
        version=__version__,
        start=file_hash(start) if isinstance(start, Path) else start,
        **{name: file_hash(path) if path else None for name, path in named.items()},
        **deciding(getattr(method_config, "describe", None)),
    )


def _claimed(folder: Path, key: str, force: bool) -> Results:
    """The folder as a place for this run: new, empty, or holding the same run already."""
    if not force:
        claim(folder, LEDGER, f"-o {folder}_2, or --force", ours=OURS)
    results = Results(folder)
    listed = results.ledger().get("map")
    if listed and listed["key"] != key and not force:
        raise BadInput(f"{folder} holds another registration", f"-o {folder}_2, or --force to replace it")
    return results


def _evaluated(folder: Path, config: Register) -> dict[str, Any]:
    """What was added to the record of this very run since: figures of `homolog evaluate`, the pictures' window."""
    if not (folder / "run.json").exists():
        return {}
    run = read_run(folder)
    inputs = {
        name: value and str(value.resolve()) for name, value in (("labels", config.labels), ("points", config.points))
    }
    # other labels or landmarks have other figures
    names = ("metrics", "label_names", "window") if inputs.items() <= run.section("config").items() else ("window",)
    return {name: run.facts[name] for name in names if name in run.facts}


# ---------------------------------------------------------------------------------------------------------------------
# Stages: each writes its files, and says which, and what there is to know


def _map(
    pair: Pair, folder: Path, config: Register, method_config: Any, on_step: OnStep
) -> tuple[list[Path], dict[str, Any]]:
    from homolog.pipelines.register import register

    done = register(
        pair.fixed,
        pair.moving,
        method=config.method,
        config=method_config,
        fixed_mask=read_mask(config.mask_fixed, pair.fixed),
        moving_mask=read_mask(config.mask_moving, pair.moving),
        start=read_start(config.start, pair),
        on_step=on_step,
    )
    inversion = invert(done.moving_from_fixed)
    record = replace(pair.record, inverse_mean_mm=inversion.mean_mm, inverse_p95_mm=inversion.p95_mm)
    back = replace(record, fixed=record.moving, moving=record.fixed)
    transforms.write_transform(done.moving_from_fixed, folder / MAP, record=record)
    transforms.write_transform(inversion.transform, folder / INVERSE, record=back)
    facts = {
        "trace": [{"stage": s.stage, "step": n, "energy": s.energy} for n, s in enumerate(done.trace)],
        "seconds": done.seconds,
        "stopped": done.stopped,
        "similarity_before": done.similarity_before,
        "similarity_after": done.similarity_after,
        "overlap": done.overlap,
        "doubts": list(done.doubts),
    }
    return [folder / MAP, folder / INVERSE], terminal.plain(facts)


def _warped(pair: Pair, folder: Path, forward: Transform, outside: float) -> tuple[list[Path], dict[str, Any]]:
    volumes.write(warp(pair.moving, forward, pair.fixed.grid, outside=outside), folder / WARPED)
    return [folder / WARPED], {"outside": outside}


def _carry_labels(pair: Pair, folder: Path, config: Register, forward: Transform, results: Results, key: str) -> None:
    path = config.labels
    if path is None:
        return

    def work() -> tuple[list[Path], dict[str, Any]]:
        labels = volumes.read_labels(path, space=pair.moving.space)
        volumes.write(warp(labels, forward, pair.fixed.grid, outside=0), folder / LABELS)
        return [folder / LABELS], {"labels": str(path.resolve())}

    results.stage("labels", key_of(map=key, labels=file_hash(path)), work)


def _carry_points(pair: Pair, folder: Path, config: Register, forward: Transform, results: Results, key: str) -> None:
    path = config.points
    if path is None:
        return

    def work() -> tuple[list[Path], dict[str, Any]]:
        points.write_points(carry(read_marks(pair, config), forward), folder / POINTS)
        return [folder / POINTS], {"points": str(path.resolve())}

    results.stage("points", key_of(map=key, points=file_hash(path), frame=config.points_space), work)


def _metrics(pair: Pair, folder: Path, forward: Transform) -> dict[str, Any]:
    back = transforms.read_transform(folder / INVERSE)
    trips = inverse_consistency(forward, back, pair.fixed.grid, pair.moving.grid)
    return terminal.plain({"folding": asdict(folding(forward, pair.fixed.grid)), "inverse": asdict(trips)})


# ---------------------------------------------------------------------------------------------------------------------
# The record


def _run(
    pair: Pair,
    folder: Path,
    config: Register,
    method_config: Any,
    facts: dict[str, Any],
    metrics: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    given = {k: v for k, v in asdict(config).items() if k not in ("json", "force", "config")}
    named = {"moving_from_fixed": MAP, "fixed_from_moving": INVERSE, "warped": WARPED}
    named |= {"labels_warped": LABELS} if config.labels else {}
    named |= {"points_on_fixed": POINTS} if config.points else {}
    return {
        **circumstances(seconds),
        "seed": config.seed,
        "config": {**texts(given), config.method: asdict(method_config)},
        **recorded(getattr(method_config, "describe", None)),
        "fixed": _end(pair.fixed, pair.fixed_path, pair.hashes[0]),
        "moving": _end(pair.moving, pair.moving_path, pair.hashes[1]),
        "outputs": named,
        "trace": facts["trace"],
        "stopped": facts["stopped"],
        "quality": _quality(facts),
        "metrics": metrics,
    }


def _quality(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "similarity_name": "MIND agreement",
        "similarity_before": facts["similarity_before"],
        "similarity_after": facts["similarity_after"],
        "overlap": facts["overlap"],
        "poor": bool(facts["doubts"]),
        "why": "; ".join(facts["doubts"]),
    }


def _end(volume: Volume, path: Path, found: str) -> dict[str, Any]:
    return {"path": str(path.resolve()), "space": volume.space, "hash": found}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
