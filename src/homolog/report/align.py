"""The report of one alignment: `run.json` and the files it names to one HTML file that needs no network."""

from __future__ import annotations

from html import escape
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from homolog.io.files import writing
from homolog.io.poses import Pose, View, read_pose
from homolog.report import align_views, runs, tables, verdicts
from homolog.report.page import figure, folded, number, page, section, table
from homolog.report.runs import Run, read_run
from homolog.report.verdicts import tile
from homolog.space.camera_poses import carm_angles

DEGREE, PLUS_MINUS = "°", "±\N{NO-BREAK SPACE}"
# Before the page says FAILED in colours, in words.
NEVER = "Do not use this pose."


def write_align_report(run_folder: Path) -> Path:
    """`report.html` in a run's folder, made from its `run.json` and the files named there."""
    run = read_run(run_folder)
    place = run.file("outputs", "pose")
    pose = None if place is None else read_pose(place)
    sections = [
        _top(run, pose),
        align_views.explorer(run),
        errors(run),
        _where(pose) if pose else "",
        _assumed(run),
        align_views.way(run),
        _matrices(pose) if pose else "",
        tables.provenance(run),
    ]
    path = run.folder / "report.html"
    with writing(path) as part:
        part.write_text(page(_title(run), sections), encoding="utf-8")
    return path


def errors(run: Run) -> str:
    """How far the pose is from the true one, where that was measured."""
    found = run.section("metrics", "pose")
    if not found:
        return ""
    head = ["", *(f"\N{ZERO WIDTH SPACE}{name}" for name in ("mean", "median", "largest"))]
    targets = [f"target error at {found.get('points')} points, mm"]
    targets += [number(run.number("metrics", "pose", f"target_{name}_mm")) for name in ("mean", "median", "max")]
    columns = {
        "projection_mm": "projection, mm",
        "projection_px": "px",
        "reprojection_mm": "from the ray, mm",
        "rotation_degrees": "turn, °",
        "in_plane_mm": "in plane, mm",
        "depth_mm": "depth, mm",
        "double_geodesic_mm": "double geodesic, mm",
    }
    views = run.value("metrics", "pose", "views")
    rows = [
        [escape(str(view.get("name"))), *(number(runs.number(view.get(key))) for key in columns)]
        for view in (views if isinstance(views, list) else [])
    ]
    truth = f'<p class="quiet">Against the pose in {escape(str(found.get("truth")))}.</p>'
    each = table(["X-ray", *(f"\N{ZERO WIDTH SPACE}{name}" for name in columns.values())], rows)
    return section("Held against the truth", truth + table(head, [targets]) + each)


def _title(run: Run) -> str:
    return f"{_file(run.value('volume', 'path'))} in {', '.join(_xrays(run))}"


def _xrays(run: Run) -> list[str]:
    return [_file(xray.get("path")) for xray in align_views.xrays(run)]


def _file(path: Any) -> str:
    return PurePath(str(path)).name


def _top(run: Run, pose: Pose | None) -> str:
    """What lies where, how well, and whether to worry."""
    volume, xrays = escape(_file(run.value("volume", "path"))), escape(", ".join(_xrays(run)))
    return f"<header><h1>{volume} <small>in</small> {xrays}</h1>{_verdict(run)}{_tiles(run, pose)}</header>"


def _verdict(run: Run) -> str:
    word, why = run.value("quality", "verdict"), str(run.value("quality", "why") or "")
    if word == "GOOD":
        return verdicts.fine("GOOD", "Nothing measured here speaks against it. Look at the pictures all the same.")
    if word == "FAILED":
        return verdicts.poor("FAILED", f"{NEVER} {why}")
    return verdicts.poor(str(word), why) if word else ""


def _tiles(run: Run, pose: Pose | None) -> str:
    deviations = pose.deviations if pose else None
    turned, shifted = deviations if deviations else (None, None)
    across = None if shifted is None else float(np.hypot(shifted[0], shifted[1]))
    named = "one standard deviation"
    moved, turned_by = run.number("moved", "mm"), run.number("moved", "degrees")
    target = run.number("metrics", "pose", "target_mean_mm")
    return verdicts.tiles([
        tile("likeness", _known(run.number("quality", "score"), ".3f"), "at the pose"),
        tile("turn", _spread(None if turned is None else float(turned.max()), "°"), named),
        tile("along the detector", _spread(across, " mm"), named),
        tile("in depth", _spread(None if shifted is None else float(shifted[2]), " mm"), named),
        tile("moved", None if moved is None else f"{figure(moved, '.1f')} mm", _turned(turned_by)),
        tile("target error", None if target is None else f"{figure(target, '.2f')} mm", "mean"),
        tile("time", tables.duration(run), escape(str(run.value("device") or ""))),
    ])  # fmt: skip


def _turned(degrees: float | None) -> str:
    return "" if degrees is None else f"and turned by {figure(degrees, '.1f')}{DEGREE} since the start"


def _known(value: float | None, pattern: str) -> str | None:
    return None if value is None else figure(value, pattern)


def _spread(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{PLUS_MINUS}{value:.2g}{unit}"


# ---------------------------------------------------------------------------------------------------------------------
# The pose in figures


def _where(pose: Pose) -> str:
    """Each X-ray's camera, in the patient."""
    head = ["X-ray", "source, LPS mm", "primary, secondary angle", "focal length", "pixels", "principal point", ""]
    rows = [_view(view) for view in pose.views]
    words = (
        '<p class="quiet">Angles are those of a C-arm: positive with the detector to the patient’s left, to the head. '
        f"The volume is <b>{escape(pose.patient.space)}</b>; turns and shifts are about {_point(pose.pivot_mm)}.</p>"
    )
    return section("Where the cameras are in the patient", words + table(head, rows))


def _view(view: View) -> list[str]:
    source = np.linalg.inv(view.camera_from_patient)[:3, 3]
    primary, secondary = carm_angles(view.camera_from_patient)
    camera = view.camera
    rows, columns = camera.size_px
    row, column = camera.pitch_mm
    mirrored = np.linalg.det(view.camera_from_patient[:3, :3]) < 0
    return [
        escape(view.name),
        _point(source),
        f"{figure(primary, '.1f')}{DEGREE}, {figure(secondary, '.1f')}{DEGREE}",
        figure(camera.focal_mm, ".1f", "mm"),
        f"{columns} × {rows} of {column:.4g} × {row:.4g} mm",
        f"{figure(camera.centre_px[0], '.1f')}, {figure(camera.centre_px[1], '.1f')} px",
        "seen from the detector" if mirrored else "seen from the source",
    ]


def _point(point: np.ndarray) -> str:
    return ", ".join(figure(float(value), ".1f") for value in point)


def _matrices(pose: Pose) -> str:
    """Of each X-ray the matrix that other programs ask for first."""
    parts = []
    for view in pose.views:
        matrix = view.camera.pixels_from_camera @ view.camera_from_patient[:3]
        lines = "\n".join(" ".join(f"{value:14.6f}" for value in row) for row in matrix)
        says = "patient LPS mm to (column, row, 1) times the depth"
        parts.append(f"<h3>{escape(view.name)} <span class='quiet'>{says}</span></h3><pre>{lines}</pre>")
    return section("Matrices", folded("3x4 matrices; all others are in pose.json", "".join(parts)))


def _assumed(run: Run) -> str:
    """What was taken for granted."""
    rows = []
    for said in (run.section("volume"), *align_views.xrays(run)):
        sentences = said.get("assumed")
        name = escape(_file(said.get("path")))
        rows += [[name, escape(str(each))] for each in (sentences if isinstance(sentences, list) else [])]
    rows.append(["start", escape(str(run.value("start") or ""))])
    return section("What was taken for granted", table([], rows))
