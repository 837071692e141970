"""What `homolog apply` does: each input read, found to belong to one of the two patients, and brought to the other."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homolog.cli import inputs
from homolog.cli.configs import Apply, Reading
from homolog.cli.inputs import Kind
from homolog.cli.maps import OTHER, Map, read_map
from homolog.cli.resources import require_memory
from homolog.errors import BadInput
from homolog.io import meshes, point_checks, points, volumes
from homolog.io.checks import looks_unrescaled, require_finite
from homolog.io.files import require_file, stem_of
from homolog.io.records import Side, recognise
from homolog.space.grid import Grid
from homolog.space.inversion import invert
from homolog.space.keypoints import Keypoints
from homolog.space.sampling import carry, resample, warp
from homolog.space.transforms import Affine
from homolog.space.volume import Volume

log = logging.getLogger("homolog")

IDENTITY = "identity"
# Below this there is air in the picture as a CT shows it: no other modality has such numbers.
AIR_BELOW_HU, AIR_HU = -500.0, -1000.0
FOR_VOLUMES = ("from_", "labels", "interpolation", "outside", "spacing", "json")
FOR_POINTS = ("from_", "points_space", "json")


@dataclass(frozen=True, eq=False)
class Step:
    """One input, ready to be brought over.

    map   None for the identity
    side  whose it is, if that is known before it is read
    like  the grid to fill, for the identity
    """

    path: Path
    target: Path
    kind: Kind
    map: Map | None
    side: Side | None
    like: Grid | None
    config: Apply


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
    sides = [_side_by_place(the_map, path, kind, config) for path, kind in zip(paths, kinds)]
    targets = inputs.output_names(paths, output, _ending(the_map, sides[0], reading))
    return [
        Step(path, target, kind, the_map, side, like, config)
        for path, target, kind, side in zip(paths, targets, kinds, sides)
    ]


def carried(step: Step) -> Carried:
    """Reads one input, brings it over and writes it."""
    if step.kind == "volume":
        return _identical(step) if step.map is None else _volume(step, step.map)
    assert step.map is not None and step.side is not None
    return _points(step, step.map, step.side) if step.kind == "points" else _mesh(step, step.map, step.side)


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


def _side_by_place(the_map: Map | None, path: Path, kind: Kind, config: Apply) -> Side | None:
    """Whose input this is, if that can be told without reading it; what only reading tells is left open."""
    if the_map is None:
        return None
    by_place = recognise(the_map.record, path=path) if the_map.record else None
    if config.from_ and by_place not in (None, config.from_):
        log.warning("%s is the %s image by the record of %s; read as %s, as asked", path, by_place, the_map.path, config.from_)
    side = config.from_ or by_place
    # an image's content may still be in the record; what else there is was never recorded
    if side is None and (the_map.record is None or kind != "volume" or config.labels):
        raise _unknown_side(the_map, path)
    return side


def _unknown_side(the_map: Map, path: Path) -> BadInput:
    why = f"the record of {the_map.path} does not know it" if the_map.record else f"{the_map.path} has no record beside it"
    line = f"homolog apply {the_map.path} {path} --from"
    return BadInput(
        f"is {path} of the fixed or of the moving patient? {why}",
        f"{line} moving   (to bring it to the fixed patient), or   {line} fixed   (to the moving patient)",
    )


def _ending(the_map: Map | None, side: Side | None, reading: Reading) -> str:
    """What is added to an input's name where no output was named."""
    if the_map is None:
        assert reading.like is not None
        return f"on_{stem_of(reading.like)}"
    return "in_" + (OTHER[side] if side else "other")


# ---------------------------------------------------------------------------------------------------------------------
# Volumes


def _volume(step: Step, the_map: Map) -> Carried:
    grid = _grid_to_fill(step, the_map)
    _require_memory(step, grid, solved=step.side == "fixed" and not isinstance(the_map.transform, Affine))
    volume, outside, why = _read(step)
    side = step.side or recognise(the_map.record, volume)
    if side is None:
        raise _unknown_side(the_map, step.path)
    volume = volume.in_space(the_map.space(side))
    through, moving_from_fixed = "", the_map.transform
    if side == "fixed":
        inversion = invert(the_map.transform, grid)
        moving_from_fixed = inversion.transform
        through = f", through the inverse (error {inversion.mean_mm:.2g} mm, at most {inversion.max_mm:.2g})"
    warped = warp(volume, moving_from_fixed, grid, outside=outside, interpolation=step.config.interpolation)
    volumes.write(warped, step.target)
    return _told(step, f"image of '{volume.space}' ({side}) put on the grid of '{warped.space}'{through}", warped, outside, why)


def _identical(step: Step) -> Carried:
    assert step.like is not None
    grid = _with_spacing(step.like, step.config)
    _require_memory(step, grid, solved=False)
    volume, outside, why = _read(step)
    result = resample(volume, grid, outside=outside, interpolation=step.config.interpolation)
    volumes.write(result, step.target)
    return _told(step, "same patient, put on another grid", result, outside, why)
