"""What `homolog apply` does: each input read, found to belong to one of the two patients, and brought to the other."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.cli import inputs
from homolog.cli.configs import Apply, Reading
from homolog.cli.inputs import Kind
from homolog.cli.maps import OTHER, Map, read_map
from homolog.cli.resources import available_memory, require_memory
from homolog.errors import BadInput
from homolog.io import keypoints, meshes, point_checks, volumes
from homolog.io.checks import looks_unrescaled, require_finite
from homolog.io.files import require_file, stem_of
from homolog.io.records import Side, recognise
from homolog.space.grid import Grid
from homolog.space.inversion import invert
from homolog.space.keypoints import Keypoints
from homolog.space.sampling import carry, resample, warp
from homolog.space.transforms import Affine, Transform
from homolog.space.volume import Volume

log = logging.getLogger("homolog")

IDENTITY = "identity"
FOR_VOLUMES = ("from_", "labels", "interpolation", "outside", "spacing", "series", "json")
FOR_POINTS = ("from_", "points_space", "json")


@dataclass(frozen=True, eq=False)
class Step:
    """One input, ready to be brought over.

    map   None for the identity
    side  whose it is; None for the identity
    like  the grid to fill, for the identity
    read  the image, where finding out whose it is has read it already
    """

    path: Path
    target: Path
    kind: Kind
    map: Map | None
    side: Side | None
    like: Grid | None
    config: Apply
    read: Volume | None = None


@dataclass(frozen=True)
class Carried:
    """What was done: a sentence, and the same as facts."""

    sentence: str
    facts: dict[str, Any]


def planned(
    transform: str, paths: tuple[Path, ...], output: Path | None, config: Apply, reading: Reading
) -> list[Step]:
    """A step for each input; whatever can be wrong with the command is found here, before anything is computed."""
    if not paths:
        raise BadInput("nothing to apply the map to", f"homolog apply {transform} INPUT -o OUTPUT")
    kinds = [_known_kind(path, config) for path in paths]
    the_map = None if transform == IDENTITY else read_map(Path(transform), reading)
    like = _like_for_identity(paths, kinds, reading) if the_map is None else None
    owners = [_owner(the_map, path, kind, config) if the_map else Owner(None) for path, kind in zip(paths, kinds)]
    targets = inputs.output_names(paths, output, _ending(owners[0].side, reading))
    # of several, none is kept: they need not all fit into memory
    kept = [owners[0].read] if len(owners) == 1 else [None] * len(owners)
    return [
        Step(path, target, kind, the_map, owner.side, like, config, read)
        for path, target, kind, owner, read in zip(paths, targets, kinds, owners, kept)
    ]


def carried(step: Step) -> Carried:
    """Reads one input, brings it over and writes it."""
    if step.map is None or step.side is None:
        return _identical(step)
    return {"volume": _volume, "points": _points, "mesh": _mesh}[step.kind](step, step.map, step.side)


# ---------------------------------------------------------------------------------------------------------------------
# Before computing


def _known_kind(path: Path, config: Apply) -> Kind:
    kind = inputs.kind_of(path)
    if not path.is_dir():
        require_file(path)
    inputs.refuse_strangers(config, kind, FOR_VOLUMES if kind == "volume" else FOR_POINTS, path)
    return kind


def _like_for_identity(paths: tuple[Path, ...], kinds: list[Kind], reading: Reading) -> Grid:
    for path, kind in zip(paths, kinds):
        if kind != "volume":
            raise BadInput(f"the identity leaves {path} as it is: points lie on no grid", f"homolog convert {path} OUT")
    if reading.like is None:
        raise BadInput(
            "the identity puts a volume on another grid of the same patient, and none was named",
            f"homolog apply identity {paths[0]} --like IMAGE",
        )
    return volumes.read_grid(reading.like)


@dataclass(frozen=True, eq=False)
class Owner:
    """Whose an input is; and the image, where it was read to find that out."""

    side: Side | None
    read: Volume | None = None


def _owner(the_map: Map, path: Path, kind: Kind, config: Apply) -> Owner:
    """Whose input this is: as said, else as the record knows it by its place or, for an image, by its content."""
    record = the_map.record
    by_place = recognise(record, path=path) if record else None
    if config.from_ and by_place not in (None, config.from_):
        said = f"read as {config.from_}, as asked"
        log.warning("%s is the %s image by the record of %s; %s", path, by_place, the_map.path, said)
    found = Owner(config.from_ or by_place)
    if found.side is None and record and kind == "volume" and not config.labels:
        picture = volumes.read(path, series=config.series)
        found = Owner(recognise(record, picture), picture)
    if found.side is None:
        raise _unknown_side(the_map, path, config)
    return found


def _unknown_side(the_map: Map, path: Path, config: Apply) -> BadInput:
    why = (
        f"the record of {the_map.path} does not know it"
        if the_map.record
        else f"{the_map.path} has no record beside it"
    )
    line = f"homolog apply {the_map.path} {path}{' --labels' if config.labels else ''} --from"
    return BadInput(
        f"is {path} of the fixed or of the moving patient? {why}",
        f"{line} moving   (to bring it to the fixed patient), or   {line} fixed   (to the moving patient)",
    )


def _ending(side: Side | None, reading: Reading) -> str:
    """What is added to an input's name where no output was named."""
    if side is not None:
        return f"in_{OTHER[side]}"
    assert reading.like is not None
    return f"on_{stem_of(reading.like)}"


# ---------------------------------------------------------------------------------------------------------------------
# Volumes


def _volume(step: Step, the_map: Map, side: Side) -> Carried:
    grid = _with_spacing(the_map.grid_to_fill(OTHER[side]), step.config)
    _require_memory(step, grid, solved=side == "fixed" and not isinstance(the_map.transform, Affine))
    volume, outside, why = _read(step)
    volume = volume.in_space(the_map.space(side))
    moving_from_fixed, how = _towards(the_map.transform, side, grid)
    result = warp(volume, moving_from_fixed, grid, outside=outside, interpolation=step.config.interpolation)
    if (result.numpy() == outside).all():
        log.warning("%s does not reach the grid of %s: the result is all outside", step.path, result.space)
    volumes.write(result, step.target)
    ends = f"from '{volume.space}' ({side}) to '{result.space}'{how}"
    return _told(step, ends, result, outside, why)


def _identical(step: Step) -> Carried:
    assert step.like is not None
    grid = _with_spacing(step.like, step.config)
    _require_memory(step, grid, solved=False)
    volume, outside, why = _read(step)
    result = resample(volume, grid, outside=outside, interpolation=step.config.interpolation)
    volumes.write(result, step.target)
    return _told(step, "the same patient on another grid", result, outside, why)


def _towards(transform: Transform, side: Side, grid: Grid) -> tuple[Transform, str]:
    """The map that an image of that side is looked up through, and what to say of it."""
    if side == "moving":
        return transform, ""
    inversion = invert(transform, grid)
    return (
        inversion.transform,
        f", through the inverse ({inversion.mean_mm:.2g} mm off, {inversion.max_mm:.2g} at most)",
    )


def _with_spacing(grid: Grid, config: Apply) -> Grid:
    return grid if config.spacing is None else grid.with_spacing(config.spacing)


def _require_memory(step: Step, grid: Grid, *, solved: bool) -> None:
    """Measured peaks, in bytes a voxel: a cubic spline's coefficients and a low-passed copy are held beside the input,
    a solved inverse is a field, its errors and its determinants."""
    beside = step.config.interpolation == "cubic" or step.map is None
    needed = (9 + 5 * beside) * volumes.read_grid(step.path, series=step.config.series).size + (
        4 + 66 * solved
    ) * grid.size
    # half of what is free, so that the hint holds when it is followed
    coarser = float(grid.spacing_mm.max()) * max(1.0, 2 * needed / (available_memory() or needed)) ** (1 / 3)
    require_memory(needed, f"{step.target} ({'x'.join(map(str, grid.shape))} voxels)", f"--spacing {coarser:.2g}")


def _read(step: Step) -> tuple[Volume, float, str]:
    """The volume, the value beyond it, and why that value."""
    if step.config.labels:
        volume = volumes.read_labels(step.path, series=step.config.series)
    else:
        volume = step.read or volumes.read(step.path, series=step.config.series)
        require_finite(volume, str(step.path))
    return volume, *_outside(step, volume)


def _outside(step: Step, volume: Volume) -> tuple[float, str]:
    if step.config.outside is not None:
        return step.config.outside, "as asked"
    if volume.kind == "labels":
        return 0.0, "background"
    low, high = float(volume.numpy().min()), float(volume.numpy().max())
    if looks_unrescaled(volume):
        raise BadInput(
            f"{step.path}: values {low:g}..{high:g} look like a CT that was never rescaled to HU",
            f"homolog convert {step.path} rescaled.nii.gz --rescale 1 -1024   (or --outside {low:g} if it is none)",
        )
    if low == high:
        raise BadInput(
            f"{step.path} is the same everywhere ({low:g}), and so would be the result",
            "--outside 0 shows how far it reaches; or check that it is the right file",
        )
    return inputs.outside_of(volume)


def _told(step: Step, ends: str, result: Volume, outside: float, why: str) -> Carried:
    mode = step.config.interpolation or ("nearest" if result.kind == "labels" else "linear")
    shape = "x".join(map(str, result.grid.shape))
    facts = {
        "input": step.path,
        "output": step.target,
        "space": result.space,
        "shape": result.grid.shape,
        "interpolation": mode,
        "outside": outside,
    }
    spacing = "x".join(f"{s:.4g}" for s in result.grid.spacing_mm)
    return Carried(f"{step.path}: {ends}; {shape} voxels, {spacing} mm, {mode}, outside {outside:g} ({why})", facts)


# ---------------------------------------------------------------------------------------------------------------------
# Points and meshes


def _points(step: Step, the_map: Map, side: Side) -> Carried:
    grid = the_map.image_grid(side) or the_map.like
    frame = step.config.points_space
    read = keypoints.read_keypoints(step.path, space=the_map.space(side), frame=frame, grid=grid)
    _require_inside(step, the_map, side, read, frame or keypoints.frame_said(step.path))
    moved = carry(read, the_map.transform)
    keypoints.write_keypoints(moved, step.target)
    return _told_of_points(step, side, read, moved.space)


def _mesh(step: Step, the_map: Map, side: Side) -> Carried:
    mesh = meshes.read_mesh(step.path, space=the_map.space(side), frame=step.config.points_space)
    corners = Keypoints(mesh.points, mesh.space)
    _require_inside(step, the_map, side, corners, step.config.points_space)
    moved = carry(corners, the_map.transform)
    meshes.write_mesh(mesh.moved_to(moved.position, moved.space), step.target)
    return _told_of_points(step, side, corners, moved.space)


def _require_inside(step: Step, the_map: Map, side: Side, read: Keypoints, frame: str | None) -> None:
    grid = the_map.image_grid(side)
    if grid is not None:
        image = f"the {side} image of {the_map.path}"
        point_checks.require_inside(read, grid, points_name=str(step.path), image_name=image, read_as=frame)


def _told_of_points(step: Step, side: Side, read: Keypoints, space: str) -> Carried:
    way = "along the map" if side == "fixed" else "back, solved at each point"
    sentence = f"{step.path}: {len(read)} points from '{read.space}' ({side}) to '{space}', {way}, written in LPS mm"
    return Carried(sentence, {"input": step.path, "output": step.target, "space": space, "points": len(read)})
