"""Poses of `homolog align` held against true ones: one run, or many with how often they are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli import terminal
from homolog.cli.align_config import EvaluatePoses
from homolog.cli.naming import in_order_of
from homolog.cli.scoring import remembered
from homolog.errors import BadInput
from homolog.io import keypoints, point_checks
from homolog.io.cameras import read_cameras
from homolog.io.poses import Pose, read_pose
from homolog.metrics.poses import PoseError, Rates, pose_error, rates
from homolog.report.align import write_align_report
from homolog.report.runs import Run, read_run
from homolog.space.camera_poses import PlacedCamera

Table = tuple[list[str], list[list[object]]]


def is_alignment(folder: Path) -> bool:
    """Whether a folder holds a run of `homolog align`."""
    return (folder / "run.json").is_file() and read_run(folder).value("xrays") is not None


def measured(folders: Sequence[Path], config: EvaluatePoses, points_space: str | None) -> dict[str, Any]:
    """Every run's errors, as JSON takes them, added to its record and report; of several, how often they are small."""
    truths = _truths(folders, config)
    found = [_one(*each, config, points_space) for each in zip(folders, truths)]
    facts: dict[str, Any] = {"runs": found}
    if len(found) > 1:
        targets = [one["pose"]["target_mean_mm"] for one in found]
        known = [np.nan if target is None else target for target in targets]
        facts["rates"] = _rates(rates(known, [str(one["verdict"]) for one in found]))
    return facts


def tables(facts: dict[str, Any]) -> list[Table]:
    """For people: of one run everything, of several a row each and the rates."""
    several = facts["runs"]
    if len(several) == 1:
        return [_targets(several[0]["pose"]), _views(several[0]["pose"])]
    return [_rows(several), _rates_table(facts["rates"])]


# ---------------------------------------------------------------------------------------------------------------------
# One run


def _truths(folders: Sequence[Path], config: EvaluatePoses) -> Sequence[Path | None]:
    for folder in folders:
        if not is_alignment(folder):
            raise BadInput(f"{folder} holds no run of homolog align", "homolog align CT XRAY -o RUN makes one")
    if not config.truth:
        return [None] * len(folders)
    if len(config.truth) == 1:
        return list(config.truth) * len(folders)
    if len(config.truth) != len(folders):
        raise BadInput(
            f"{len(config.truth)} true poses are named for {len(folders)} runs", "--truth with one file, or one a run"
        )
    return config.truth


def _one(folder: Path, truth: Path | None, config: EvaluatePoses, points_space: str | None) -> dict[str, Any]:
    run = read_run(folder)
    about = {"run": str(folder), "verdict": run.value("quality", "verdict")}
    if truth is None:
        known = run.section("metrics", "pose")
        if not known:
            raise BadInput(f"{folder} was held against no true pose yet", "--truth pose.json")
        return {**about, "pose": known}
    place = run.file("outputs", "pose")
    if place is None:
        raise BadInput(f"{folder} has no pose", "run homolog align again: it goes on from where it stopped")
    pose = read_pose(place)
    true = _true_cameras(truth, pose)
    error = pose_error(_points(pose, config, points_space), pose.views, true, pivot_mm=pose.pivot_mm)
    facts = _told(error, pose, truth)
    _write_back(run, facts)
    return {**about, "pose": facts}


def _true_cameras(path: Path, pose: Pose) -> Sequence[PlacedCamera]:
    """In the order of the pose's X-rays."""
    size = pose.views[0].camera.size_px
    found = read_cameras(path, size_px=size)
    strangers = {placed.world for placed in found} - {"patient"}
    if strangers:
        raise BadInput(
            f"{path} says where cameras stand in '{strangers.pop()}', not in the patient", "--truth with patient LPS mm"
        )
    ordered = in_order_of([view.name for view in pose.views], found)
    if len(ordered) != len(pose.views):
        raise BadInput(f"{path} holds {len(found)} cameras, the run has {len(pose.views)} X-rays", "--truth POSE.json")
    return ordered


def _points(pose: Pose, config: EvaluatePoses, points_space: str | None) -> np.ndarray:
    if config.landmarks is None:
        return pose.body_mm
    grid = pose.patient.grid
    marks = keypoints.read_keypoints(config.landmarks, space=pose.patient.space, frame=points_space, grid=grid)
    if grid is not None:
        frame = points_space or keypoints.frame_said(config.landmarks)
        image = str(pose.patient.path or pose.patient.space)
        point_checks.require_inside(marks, grid, points_name=str(config.landmarks), image_name=image, read_as=frame)
    return marks.position


def _told(error: PoseError, pose: Pose, truth: Path) -> dict[str, Any]:
    facts = asdict(error)
    facts["views"] = [{"name": view.name, **asdict(each)} for view, each in zip(pose.views, error.views)]
    told: dict[str, Any] = terminal.plain({"truth": str(truth.resolve()), **facts})
    return told


def _write_back(run: Run, facts: dict[str, Any]) -> None:
    remembered(run.folder, {"metrics": {**run.section("metrics"), "pose": facts}})
    write_align_report(run.folder)


def _rates(found: Rates) -> dict[str, Any]:
    told: dict[str, Any] = terminal.plain({
        "count": found.count,
        "within_mm": {f"{limit:g}": share for limit, share in found.within},
        "percentiles_mm": {str(percent): value for percent, value in found.percentiles},
        "gross_mm": found.gross_mm,
        "gross": found.gross,
        "gross_called_good": found.trusted,
    })  # fmt: skip
    return told


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def _targets(pose: dict[str, Any]) -> Table:
    names = {"mean": "mean", "median": "median", "max": "largest"}
    rows: list[list[object]] = [
        [f"target error, {said}, mm", _mm(pose[f"target_{key}_mm"])] for key, said in names.items()
    ]
    return [f"at {pose['points']} points", ""], rows


def _views(pose: dict[str, Any]) -> Table:
    columns = {
        "projection_mm": "projection, mm",
        "projection_px": "px",
        "reprojection_mm": "from the ray, mm",
        "rotation_degrees": "turn, degrees",
        "in_plane_mm": "in plane, mm",
        "depth_mm": "depth, mm",
        "double_geodesic_mm": "double geodesic, mm",
    }
    rows: list[list[object]] = [[view["name"], *(_mm(view[key]) for key in columns)] for view in pose["views"]]
    return ["X-ray", *columns.values()], rows


def _rows(several: Sequence[dict[str, Any]]) -> Table:
    rows: list[list[object]] = []
    for one in several:
        pose = one["pose"]
        view = pose["views"][0]
        figures = (pose["target_mean_mm"], view["projection_mm"], view["rotation_degrees"], view["depth_mm"])
        rows.append([one["run"], str(one["verdict"]), *map(_mm, figures)])
    return ["run", "verdict", "target, mm", "projection, mm", "turn, degrees", "depth, mm"], rows


def _rates_table(found: dict[str, Any]) -> Table:
    rows: list[list[object]] = [
        [f"target error within {limit} mm", _percent(share)] for limit, share in found["within_mm"].items()
    ]
    rows += [[f"{percent} % of them within, mm", _mm(value)] for percent, value in found["percentiles_mm"].items()]
    rows.append([f"beyond {found['gross_mm']:g} mm", str(found["gross"])])
    rows.append([f"beyond {found['gross_mm']:g} mm and called GOOD", str(found["gross_called_good"])])
    return [f"{found['count']} poses", ""], rows


def _mm(value: float | None) -> str:
    """What is infinitely far off is no number in JSON."""
    return "-" if value is None else f"{value:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
