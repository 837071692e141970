"""What `homolog transform` does."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli.configs import Reading
from homolog.cli.maps import Map, read_map
from homolog.cli.resources import require_memory, require_room
from homolog.errors import BadInput, WorkFailed
from homolog.io import volumes
from homolog.io.records import End, Record
from homolog.io.transforms import dispatch, write_transform
from homolog.kernels.jacobian import determinants
from homolog.metrics.folding import folding
from homolog.space.grid import Grid
from homolog.space.inversion import invert
from homolog.space.sampling import sampled_displacement
from homolog.space.transforms import Affine, BSpline, Chain, Displacement, ThinPlate, Transform, chain
from homolog.space.volume import Volume

# Formats whose numbers are voxels of the fixed image, so that `--like` is spent on reading them.
COUNT_IN_VOXELS = ("learn2reg", "deeds")


# ---------------------------------------------------------------------------------------------------------------------
# info


def known(path: Path, reading: Reading) -> dict[str, Any]:
    """What there is to say of a map."""
    the_map = read_map(path, reading)
    parts = the_map.transform.parts if isinstance(the_map.transform, Chain) else (the_map.transform,)
    record = the_map.record
    return {
        "path": path,
        "fixed": the_map.transform.fixed,
        "moving": the_map.transform.moving,
        "meaning": record.describe() if record else the_map.transform.describe(),
        "recorded": record is not None,
        "inverse_error_mm": {"mean": record.inverse_mean_mm, "p95": record.inverse_p95_mm} if record else None,
        "parts": [_part(part) for part in parts],
        **_reach(the_map),
    }


def sentence(facts: dict[str, Any]) -> str:
    """The facts in a line."""
    parts = " after ".join(_in_words(part) for part in facts["parts"])
    reach = f"; moves points by up to {facts['largest_mm']:.4g} mm" if facts["largest_mm"] is not None else ""
    unsaid = "" if facts["recorded"] else " (no record beside it: which patient is which is not known)"
    return f"{facts['path']} {facts['meaning']}; {parts}{reach}{unsaid}"


def _part(part: Transform) -> dict[str, Any]:
    if isinstance(part, Affine):
        left, scales, right = np.linalg.svd(part.matrix[:3, :3])
        hand = np.sign(np.linalg.det(left @ right))
        # the nearest rotation; of a map that mirrors, what is left of it after the mirror through the origin
        cosine = (hand * np.trace(left @ right) - 1) / 2
        degrees = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        facts = {"kind": "affine", "matrix": part.matrix, "degrees": degrees, "scales": scales}
        return {**facts, "mirrors": bool(hand < 0)}
    if isinstance(part, ThinPlate):
        return {"kind": "thin plate", "landmarks": len(part.centres)}
    assert isinstance(part, (Displacement, BSpline))
    kind = "displacement" if isinstance(part, Displacement) else "B-spline"
    return {"kind": kind, "shape": part.grid.shape, "spacing_mm": part.grid.spacing_mm}


def _in_words(part: dict[str, Any]) -> str:
    if part["kind"] == "affine":
        low, high = min(part["scales"]), max(part["scales"])
        turn = "mirrors" if part["mirrors"] else f"turns {part['degrees']:.3g} degrees"
        return f"affine ({turn}, scales by {low:.3f} to {high:.3f})"
    if part["kind"] == "thin plate":
        return f"thin plate through {part['landmarks']} landmarks"
    spacing = "x".join(f"{s:.3g}" for s in part["spacing_mm"])
    return f"{part['kind']} on {'x'.join(map(str, part['shape']))} nodes, {spacing} mm apart"


def _reach(the_map: Map) -> dict[str, Any]:
    """How far the nodes of its finest lattice, or of its image, are moved."""
    grid = the_map.image_grid("fixed") or _own_grid(the_map.transform)
    if grid is None:
        return {"largest_mm": None, "mean_mm": None}
    # a hundred thousand points tell how far a smooth map goes
    points = grid.points()[:: max(1, grid.size // 100_000)]
    moved_mm = np.linalg.norm(the_map.transform.apply(points) - points, axis=1)
    return {"largest_mm": float(moved_mm.max()), "mean_mm": float(moved_mm.mean())}


def _own_grid(transform: Transform) -> Grid | None:
    """The finest lattice on which a map, or the part of it applied first, lies in the fixed patient."""
    first = transform.parts[-1] if isinstance(transform, Chain) else transform
    return first.grid if isinstance(first, (Displacement, BSpline)) else None


# ---------------------------------------------------------------------------------------------------------------------
# invert


def inverted(path: Path, output: Path, mask: Path | None, reading: Reading) -> dict[str, Any]:
    """Writes the inverse, and how good it is."""
    for target in (output, *([mask] if mask else [])):
        require_room(target)
    the_map = read_map(path, reading)
    lattice = the_map.moving_like or (None if dispatch(path, reading.format) in COUNT_IN_VOXELS else the_map.like)
    if lattice is not None and not isinstance(the_map.transform, Affine):
        coarser = 2 * float(lattice.spacing_mm.max())
        require_memory(70 * lattice.size, f"{output} on {lattice!r}", f"--like an image of {coarser:.2g} mm")
    inversion = invert(the_map.transform, lattice)
    if not np.isfinite(inversion.mean_mm):
        raise WorkFailed(
            f"{path} folds everywhere: it has no inverse", f"homolog transform jacobian {path} -o jac.nii.gz"
        )
    missing = _missing(inversion.missing_mask, the_map, lattice, mask) if mask else None
    record = the_map.record or Record(End(the_map.space("fixed")), End(the_map.space("moving")))
    turned = Record(record.moving, record.fixed, inversion.mean_mm, inversion.p95_mm)
    write_transform(inversion.transform, output, record=turned)
    if missing is not None and mask is not None:
        volumes.write(missing, mask)
    return {
        "output": output,
        "mean_mm": inversion.mean_mm,
        "p95_mm": inversion.p95_mm,
        "max_mm": inversion.max_mm,
        "missing": inversion.missing,
        "mask": mask,
    }


def told_of_inverse(facts: dict[str, Any]) -> str:
    error = f"error {facts['mean_mm']:.3g} mm in the mean, {facts['p95_mm']:.3g} at 95 %, {facts['max_mm']:.3g} at most"
    missing = f"no inverse at {100 * facts['missing']:.3g} % of it" if facts["missing"] else "defined everywhere"
    return f"{facts['output']}: inverse, {error}; {missing}"


def _missing(missing: Volume | None, the_map: Map, lattice: Grid | None, path: Path) -> Volume:
    if missing is not None:
        return missing
    grid = lattice or the_map.image_grid("moving")
    if grid is None:
        raise BadInput(f"{path}: this inverse is made of several, and has no one grid to mark", "--like MOVING.nii.gz")
    # an affine map has an inverse everywhere
    return Volume(np.zeros(grid.shape, np.uint8), grid, the_map.transform.moving, "labels")


# ---------------------------------------------------------------------------------------------------------------------
# compose and convert


def composed(paths: tuple[Path, ...], output: Path, spaces: tuple[str, ...], reading: Reading) -> Transform:
    """Writes the product of several maps."""
    if len(paths) < 2:
        raise BadInput(
            f"two maps or more can be composed, got {len(paths)}",
            "homolog transform compose c_from_b.h5 b_from_a.h5 -o c_from_a.h5",
        )
    require_room(output)
    maps = [read_map(path, reading) for path in paths]
    if spaces:
        maps = _renamed(maps, spaces)
    else:
        _require_recorded(maps)
    _require_meeting(maps)
    joined = chain([each.transform for each in maps])
    first, last = maps[-1].record, maps[0].record
    fixed, moving = first.fixed if first else End(joined.fixed), last.moving if last else End(joined.moving)
    record = Record(replace(fixed, space=joined.fixed), replace(moving, space=joined.moving))
    write_transform(joined, output, like=maps[-1].like, record=record)
    return joined


def _renamed(maps: list[Map], spaces: tuple[str, ...]) -> list[Map]:
    if len(spaces) != len(maps) + 1:
        raise BadInput(
            f"{len(maps)} maps join {len(maps) + 1} spaces, --spaces names {len(spaces)}",
            f"--spaces {' '.join('ABCDEFGHIJKLMNOPQRSTUVWXYZ'[: len(maps) + 1][::-1])}",
        )
    return [
        replace(each, transform=each.transform.renamed(moving=target, fixed=source))
        for each, (target, source) in zip(maps, pairwise(spaces))
    ]


def _require_recorded(maps: list[Map]) -> None:
    for each in maps:
        if each.record is None:
            raise BadInput(
                f"{each.path} has no record beside it: it cannot be told which spaces it joins",
                f"--spaces {' '.join('ABCDEFGHIJKLMNOPQRSTUVWXYZ'[: len(maps) + 1][::-1])}   (target first)",
            )


def _require_meeting(maps: list[Map]) -> None:
    for after, before in pairwise(maps):
        if after.transform.fixed != before.transform.moving:
            raise BadInput(
                f"{after.path} starts from '{after.transform.fixed}', but {before.path}, applied before it, arrives in "
                f"'{before.transform.moving}'",
                _order_hint(maps),
            )


def _order_hint(maps: list[Map]) -> str:
    backwards = maps[::-1]
    if all(after.transform.fixed == before.transform.moving for after, before in pairwise(backwards)):
        return (
            f"homolog transform compose {' '.join(str(each.path) for each in backwards)} -o OUT   (the last is first)"
        )
    return (
        f"homolog transform invert {maps[0].path} -o inverse.h5   turns a map round; `transform info` says what meets"
    )


def converted(path: Path, output: Path, to: str | None, reading: Reading) -> Transform:
    """Writes a map in another format."""
    require_room(output)
    the_map = read_map(path, reading)
    record = _record(the_map, reading)
    transform = the_map.transform.renamed(fixed=record.fixed.space, moving=record.moving.space)
    write_transform(transform, output, like=the_map.like, record=record, format=to, frame=reading.frame)
    return transform


def _record(the_map: Map, reading: Reading) -> Record:
    """The record beside the map; where there is none, one made of the images named on the command line."""
    if the_map.record is not None:
        return the_map.record
    fixed, moving = _end(reading.like, "fixed"), _end(reading.moving_like, "moving")
    if fixed.space == moving.space:
        fixed, moving = replace(fixed, space="fixed"), replace(moving, space="moving")
    return Record(fixed, moving)


def _end(image: Path | None, side: str) -> End:
    return End(side) if image is None else End.of(volumes.read(image), image)


# ---------------------------------------------------------------------------------------------------------------------
# jacobian


def jacobian_map(path: Path, output: Path, mask: Path | None, reading: Reading) -> dict[str, Any]:
    """Writes determinants, and counts folds."""
    require_room(output)
    the_map = read_map(path, reading)
    grid = the_map.image_grid("fixed") or _own_grid(the_map.transform)
    if grid is None:
        raise BadInput(f"{path} has no grid of its own to be looked at on", "--like FIXED.nii.gz")
    require_memory(40 * grid.size, f"the Jacobian on {grid!r}", "--like an image with fewer voxels")
    counted = None if mask is None else volumes.read_labels(mask, space=the_map.transform.fixed)
    # sampled once, for the count and for the picture
    dense = Displacement(
        sampled_displacement(the_map.transform, grid), grid, the_map.space("fixed"), the_map.space("moving")
    )
    figures = folding(dense, grid, mask=counted)
    central, _ = determinants(dense.vectors, grid.world_from_voxel[:3, :3])
    volumes.write(Volume(central, grid, dense.fixed), output)
    return {"output": output, **asdict(figures)}


def told_of_folds(facts: dict[str, Any]) -> str:
    return (
        f"{facts['output']}: folds at {100 * facts['fraction']:.3g} % of {facts['voxels']} voxels "
        f"({100 * facts['fraction_central']:.3g} % by central differences), smallest determinant {facts['least']:.3g}, "
        f"sdlogj {facts['sdlogj']:.4g} ({facts['sdlogj_l2r']:.4g} as Learn2Reg counts)"
    )
