"""What `homolog align` does, stage by stage: the pose, its pictures, the record, the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from homolog import __version__
from homolog.cli import terminal
from homolog.cli.align_config import Align
from homolog.cli.align_inputs import Case, hashes, read_case
from homolog.cli.align_pictures import Poses, write_pictures
from homolog.cli.align_start import near_of, start_of
from homolog.cli.recording import circumstances, texts, write_json
from homolog.cli.registering import with_file
from homolog.cli.resources import claim, require_memory, require_room
from homolog.errors import BadInput
from homolog.io import volumes
from homolog.io.files import writing
from homolog.io.poses import Pose, read_pose, write_pose
from homolog.io.records import file_hash
from homolog.io.results import LEDGER, Results, key_of
from homolog.report.runs import read_run
from homolog.space import se3
from homolog.space.alignment import Alignment, AlignStep

OnStep = Callable[[str, float, float], None]

POSE, TRAJECTORY = "pose.json", "trajectory.csv"
# What a run may have left that was stopped before it left a ledger.
OURS = (POSE, TRAJECTORY)
# Bytes a voxel at the peak: the picture as read, its attenuation, and copies at other sizes.
BYTES_PER_VOXEL = 24
COLUMNS = ("stage", "step", "score", "turn_x_deg", "turn_y_deg", "turn_z_deg", "x_mm", "y_mm", "z_mm")


def aligned(
    ct: Path, xrays: Sequence[Path], folder: Path, config: Align, method_config: Any, on_step: OnStep
) -> dict[str, Any]:
    """The record of the run, all of whose files are in the folder afterwards."""
    began = time.perf_counter()
    method_config = with_file(method_config, config.config, config.method)
    _require_place(ct, folder, config)
    case = read_case(ct, xrays, config)
    start, said = start_of(case, config)
    near = near_of(case, config)
    said += f", near {config.near_mm}" if near is not None and start is None else ""
    key = key_of(
        **hashes(case, config), method=config.method, options=asdict(method_config), pose=said, version=__version__
    )
    results = _claimed(folder, key, config.force)

    kept = _evaluated(folder) if results.is_done("pose", key) else {}
    facts = results.stage("pose", key, lambda: _found(case, start, near, folder, method_config, on_step))
    pose = read_pose(folder / POSE)
    on_step("pictures", 0.95, 0.0)
    pictures = results.stage("pictures", key_of(pose=key), lambda: _pictured(case, pose, start, folder))
    run = _run(case, pose, said, config, method_config, facts, pictures, time.perf_counter() - began)
    run |= {"moved": _moved(start, pose)} if start is not None else {}
    write_json(folder / "run.json", {**run, **kept})
    from homolog.report.align import write_align_report

    write_align_report(folder)
    return {**run, **kept}


def verdict_line(run: dict[str, Any]) -> str:
    """Whether to believe the pose, and why not."""
    quality = run["quality"]
    word, why = quality["verdict"], quality["why"]
    if word == "FAILED":
        return f"verdict  FAILED: do not use this pose: {why}"
    if word == "CHECK":
        return f"verdict  CHECK: look at the pictures before you use this pose: {why}"
    return f"verdict  GOOD: {uncertainty_words(quality)}"


def uncertainty_words(quality: dict[str, Any]) -> str:
    """One standard deviation of a pose, in words."""
    turned, shifted = quality["turn_degrees"], quality["shift_mm"]
    if turned is None or shifted is None:
        return "how uncertain it is could not be estimated"
    across = float(np.hypot(shifted[0], shifted[1]))
    largest = max(turned)
    return f"turns within {largest:.2g} degrees, {across:.2g} mm along the detector, {shifted[2]:.2g} mm in depth"


def assumptions(run: dict[str, Any]) -> list[str]:
    """What was taken for granted, a line each."""
    lines = [f"{run['volume']['space']}: {sentence}" for sentence in run["volume"]["assumed"]]
    lines += [f"{xray['name']}: {sentence}" for xray in run["xrays"] for sentence in xray["assumed"]]
    return [*lines, f"start: {run['start']}"]


# ---------------------------------------------------------------------------------------------------------------------
# Before


def _require_place(ct: Path, folder: Path, config: Align) -> None:
    # a stack of TIFF pages is small, and would warn of what it does not say a second time
    if config.spacing_mm is None:
        hint = f"homolog convert {ct} coarser.nii.gz --spacing 2"
        require_memory(BYTES_PER_VOXEL * volumes.read_grid(ct).size, f"aligning {ct}", hint)
    require_room(folder / "run.json")


def _claimed(folder: Path, key: str, force: bool) -> Results:
    """The folder as a place for this run: new, empty, or holding the same run already."""
    if not force:
        claim(folder, LEDGER, f"-o {folder}_2, or --force", ours=OURS)
    results = Results(folder)
    listed = results.ledger()
    if not force and listed and listed.get("pose", {}).get("key") != key:
        raise BadInput(f"{folder} holds another run", f"-o {folder}_2, or --force to replace it")
    return results


def _evaluated(folder: Path) -> dict[str, Any]:
    """What `homolog evaluate` added to the record of this very run."""
    if not (folder / "run.json").exists():
        return {}
    run = read_run(folder)
    return {name: run.facts[name] for name in ("metrics",) if name in run.facts}


# ---------------------------------------------------------------------------------------------------------------------
# Stages: each writes its files, and says which, and what there is to know


def _found(
    case: Case,
    start: np.ndarray | None,
    near: np.ndarray | None,
    folder: Path,
    method_config: Any,
    on_step: OnStep,
) -> tuple[list[Path], dict[str, Any]]:
    from homolog.pipelines.align import align

    found = align(case.volume, case.projections, start, method_config, near=near, on_step=on_step)
    found = _doubted(found, case.doubts)
    write_pose(_as_stored(case, found), folder / POSE)
    _write_trajectory(found, folder / TRAJECTORY)
    facts = {
        "score": found.score,
        "stopped": found.stopped,
        "seconds": found.seconds,
        "steps": len(found.trace),
    }
    return [folder / POSE, folder / TRAJECTORY], terminal.plain(facts)


def _doubted(found: Alignment, doubts: tuple[str, ...]) -> Alignment:
    """With what speaks against the X-rays themselves."""
    judged = "CHECK" if doubts and found.judgement == "GOOD" else found.judgement
    return replace(found, judgement=judged, doubts=(*found.doubts, *doubts))


def _as_stored(case: Case, found: Alignment) -> Pose:
    """The pose, of the pictures as their files show them."""
    names = tuple(shot.name for shot in case.shots)
    pose = Pose.of(found, names, case.body_mm, case.patient)
    return pose.with_views([shot.stored for shot in case.shots])


def _write_trajectory(found: Alignment, path: Path) -> None:
    """A line a step, in the first camera's frame: the body's turn as a rotation vector, and where its pivot is."""
    lines, counts = [",".join(COLUMNS)], dict[str, int]()
    for step in found.trace:
        counts[step.stage] = counts.get(step.stage, -1) + 1
        numbers = ",".join(f"{number:.6f}" for number in _numbers(step, found))
        stage = step.stage.replace('"', "'")
        lines.append(f'"{stage}",{counts[step.stage]},{step.score:.8g},{numbers}')
    with writing(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _numbers(step: AlignStep, found: Alignment) -> list[float]:
    pose = found.camera_from_rig[0] @ step.rig_from_patient
    turn = np.degrees(se3.rotation_log(pose[:3, :3]))
    return [*turn, *(pose @ (*found.pivot_mm, 1.0))[:3]]


def _pictured(case: Case, pose: Pose, start: np.ndarray | None, folder: Path) -> tuple[list[Path], dict[str, Any]]:
    found: Poses = [shot.seen(view.camera, view.camera_from_patient) for shot, view in zip(case.shots, pose.views)]
    begun: Poses | None = None
    if start is not None:
        begun = [(p.camera, p.camera_from_rig @ start) for p in case.projections]
    files = write_pictures(case, folder, found, begun)
    return [folder / name for each in files.values() for name in each.values()], {"files": files}


# ---------------------------------------------------------------------------------------------------------------------
# The record


def _run(
    case: Case,
    pose: Pose,
    start: str,
    config: Align,
    method_config: Any,
    facts: dict[str, Any],
    pictures: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    given = {k: v for k, v in asdict(config).items() if k not in ("json", "force", "config")}
    return {
        **circumstances(seconds),
        "config": {**texts(given), config.method: asdict(method_config)},
        "volume": {
            "path": str(case.patient.path),
            "space": case.patient.space,
            "hash": case.patient.content_hash,
            "file_hash": file_hash(case.patient.path) if case.patient.path and case.patient.path.is_file() else None,
            "assumed": list(case.assumed),
        },
        "xrays": [_xray(case, n, pictures["files"]) for n in range(len(case.shots))],
        "start": start,
        "outputs": {"pose": POSE, "trajectory": TRAJECTORY},
        "search": facts,
        "quality": _quality(pose, facts),
    }


def _xray(case: Case, number: int, pictures: dict[str, dict[str, str]]) -> dict[str, Any]:
    shot = case.shots[number]
    return {
        "name": shot.name,
        "path": str(shot.path.resolve()),
        "file_hash": file_hash(shot.path),
        "assumed": list(shot.assumed),
        "compared": 1.0 if shot.mask is None else float(shot.mask.mean()),
        "outputs": pictures[shot.name],
    }


def _moved(start: np.ndarray, pose: Pose) -> dict[str, float]:
    """How far the pivot went, and how far the body turned."""
    way = (pose.rig_from_patient - start) @ (*pose.pivot_mm, 1.0)
    turn = float(np.degrees(se3.angle(start, pose.rig_from_patient)))
    return {"mm": float(np.linalg.norm(way[:3])), "degrees": turn}


def _quality(pose: Pose, facts: dict[str, Any]) -> dict[str, Any]:
    deviations = pose.deviations
    return {
        "verdict": pose.judgement,
        "why": "; ".join(pose.doubts),
        "score": facts["score"],
        "turn_degrees": None if deviations is None else deviations[0].tolist(),
        "shift_mm": None if deviations is None else deviations[1].tolist(),
    }
