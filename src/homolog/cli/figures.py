"""What `homolog evaluate` measures."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from homolog.cli.configs import Evaluate, Reading
from homolog.cli.maps import Map, read_map
from homolog.cli.overlaps import overlaps
from homolog.errors import BadInput
from homolog.io import keypoints, point_checks, volumes
from homolog.io.records import Side
from homolog.metrics import consistency, folding, landmarks
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Chain, Displacement


def measured(config: Evaluate, reading: Reading) -> dict[str, Any]:
    """Everything that the files at hand allow, as JSON takes it."""
    _require_pairs(config)
    the_map = read_map(config.transform, reading) if config.transform else None
    facts: dict[str, Any] = {"transform": config.transform}
    if config.fixed_labels:
        facts["labels"] = overlaps(config, the_map)
    if config.fixed_points:
        facts["target_error_mm"] = _target_errors(config, the_map)
    if the_map is not None:
        facts |= _of_the_map(the_map, config, reading)
    return facts


def _require_pairs(config: Evaluate) -> None:
    if config.moving_labels and not config.transform:
        raise BadInput(
            "--moving-labels are brought to the fixed grid with a map, and none was given",
            f"--transform T, or --warped-labels {config.moving_labels} if they are on the fixed grid already",
        )
    others = [config.moving_labels, config.warped_labels]
    if bool(config.fixed_labels) != any(others) or all(others):
        raise BadInput(
            "labels are compared in pairs: --fixed-labels with either --moving-labels or --warped-labels",
            "homolog evaluate --fixed-labels F.nii.gz --warped-labels W.nii.gz",
        )
    if bool(config.fixed_points) != bool(config.moving_points):
        raise BadInput(
            "landmarks are compared in pairs: --fixed-points with --moving-points",
            "homolog evaluate --fixed-points P.mrk.json --moving-points Q.mrk.json --transform T",
        )
    if config.inverse and not config.transform:
        raise BadInput("--inverse is held against the map it inverts, and none was given", "--transform T")
    if not any((config.fixed_labels, config.fixed_points, config.transform)):
        raise BadInput(
            "nothing to evaluate: neither labels nor landmarks nor a map were given",
            "homolog evaluate --transform T --fixed-labels F.nii.gz --moving-labels M.nii.gz",
        )


# ---------------------------------------------------------------------------------------------------------------------
# Landmarks


def _target_errors(config: Evaluate, the_map: Map | None) -> dict[str, Any]:
    fixed = _landmarks(_path(config.fixed_points), "fixed", the_map, config)
    moving = _landmarks(_path(config.moving_points), "moving", the_map, config)
    before = landmarks.target_error(fixed, moving, None)
    if the_map is None:
        return {"before": _plain(before)}
    return {"before": _plain(before), "after": _plain(landmarks.target_error(fixed, moving, the_map.transform))}


def _landmarks(path: Path, side: Side, the_map: Map | None, config: Evaluate) -> Keypoints:
    grid = the_map.image_grid(side) if the_map else None
    space = the_map.space(side) if the_map else side
    found = keypoints.read_keypoints(path, space=space, frame=config.points_space, grid=grid)
    if grid is not None:
        frame = config.points_space or keypoints.frame_said(path)
        image = f"the {side} image"
        point_checks.require_inside(found, grid, points_name=str(path), image_name=image, read_as=frame)
    return found


def _plain(figure: Any) -> dict[str, Any]:
    """A result's fields, without the unit that the key above them has already."""
    return {field.name.removesuffix("_mm"): getattr(figure, field.name) for field in fields(figure)}


# ---------------------------------------------------------------------------------------------------------------------
# The map


def _of_the_map(the_map: Map, config: Evaluate, reading: Reading) -> dict[str, Any]:
    grid = _fixed_grid(the_map, config)
    if grid is None:
        if config.inverse or not (config.fixed_labels or config.fixed_points):
            raise BadInput(f"{the_map.path} is measured on the grid of its fixed image", "--like FIXED.nii.gz")
        return {}
    found: dict[str, Any] = {"folding": asdict(folding.folding(the_map.transform, grid))}
    if config.inverse:
        back = read_map(config.inverse, reading).transform.renamed(
            fixed=the_map.space("moving"), moving=the_map.space("fixed")
        )
        trips = consistency.inverse_consistency(the_map.transform, back, grid, the_map.image_grid("moving"))
        both = {"fixed": trips.fixed, "moving": trips.moving}
        found["inverse_consistency_mm"] = {side: _plain(trip) for side, trip in both.items() if trip}
    return found


def _fixed_grid(the_map: Map, config: Evaluate) -> Grid | None:
    known = the_map.image_grid("fixed")
    if known is None and config.fixed_labels:
        known = volumes.read_grid(config.fixed_labels)
    if known is None:
        first = the_map.transform.parts[-1] if isinstance(the_map.transform, Chain) else the_map.transform
        known = first.grid if isinstance(first, Displacement) else None
    return known


def _path(path: Path | None) -> Path:
    assert path is not None
    return path
