"""The mean picture of a group: of the maps as drawn, or sharpened by registering each image to it in turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli.configs import GroupVolumes
from homolog.cli.group_images import Image
from homolog.cli.group_maps import INVERSE, MAP, read_inverse, read_map
from homolog.cli.group_outputs import Made
from homolog.cli.group_team import OnStep
from homolog.cli.inputs import AIR_BELOW_HU, AIR_HU
from homolog.cli.resources import require_memory
from homolog.cli.terminal import plain
from homolog.groupwise.group import COMMON
from homolog.io import transforms, volumes
from homolog.io.records import End, Record, beside
from homolog.io.results import Results, key_of
from homolog.methods import PAIRWISE_OPTIONS, resolve
from homolog.space.grid import Grid
from homolog.space.transforms import Transform
from homolog.space.volume import Volume

# Voxels of the mean at most, unless --spacing says how large they are; and bytes a voxel while it is drawn or refined.
MOST_VOXELS, DRAWING_BYTES, REFINING_BYTES = 50_000_000, 40, 120
# Of the mean, where no image shows anything: about the background of pictures whose patient has mean 0, deviation 1.
NOTHING = -2.0
PICTURES = {"mean": "mean.nii.gz", "deviation": "deviation.nii.gz", "count": "count.nii.gz"}
REFINED = "refined_"


def drawn_mean(
    images: Sequence[Image], keys: Sequence[str], results: Results, config: GroupVolumes, on_step: OnStep
) -> dict[str, Any]:
    """Writes mean, deviation and count of images that fit; what there is to know of them.

    keys  of the images' maps
    """
    grid = _grid([(one.grid, read_map(results.folder, one.name)) for one in images], config.spacing)
    options = None if config.refine is None else resolve(PAIRWISE_OPTIONS[config.refine])()
    refining = {} if options is None else {"method": config.refine, "rounds": config.rounds, "options": asdict(options)}
    key = key_of(maps=list(keys), grid=[grid.shape, grid.world_from_voxel.tolist()], refining=refining)
    work = partial(_mean, images, grid, results.folder, on_step)
    if options is not None:
        work = partial(_refined, images, grid, results.folder, config, options, on_step)
    on_step("mean", 0.0)
    return results.stage("mean", key, work)


def _grid(boxes: Sequence[tuple[Grid, Transform]], spacing_mm: float | None) -> Grid:
    """The grid of the mean, with voxels of that size, or else of about the images' own."""
    from homolog.groupwise.atlas import common_grid

    if spacing_mm is not None:
        return common_grid(boxes, spacing_mm)
    usual_mm = float(np.median([grid.voxel_volume_mm3 ** (1 / 3) for grid, _ in boxes]))
    grid = common_grid(boxes, usual_mm)
    if grid.size > MOST_VOXELS:
        grid = common_grid(boxes, usual_mm * (grid.size / MOST_VOXELS) ** (1 / 3))
    return grid


def _mean(images: Sequence[Image], grid: Grid, folder: Path, on_step: OnStep) -> Made:
    """The images are read one by one."""
    from homolog.groupwise.atlas import mean

    _require_memory(images, grid, DRAWING_BYTES)
    is_ct, outside = _outside(images)
    drawn = mean(_shown(images, folder, on_step), grid, outside=outside, normalise=not is_ct)
    return _written(drawn, folder), {"normalised": not is_ct, "of": len(images)}


def _refined(
    images: Sequence[Image], grid: Grid, folder: Path, config: GroupVolumes, options: Any, on_step: OnStep
) -> Made:
    """The maps that make the sharper mean are written beside those that were drawn."""
    from homolog.pipelines.template import refined

    _require_memory(images, grid, REFINING_BYTES)
    done = refined(
        lambda n: volumes.read(images[n].path, space=images[n].name),
        [read_map(folder, one.name) for one in images],
        [read_inverse(folder, one.name) for one in images],
        grid,
        method=str(config.refine),
        config=options,
        rounds=config.rounds,
        outside=_outside(images)[1],
        on_step=on_step,
    )
    files = _written(done.atlas, folder)
    for one, there, back in zip(images, done.common_from_image, done.image_from_common):
        common = End(COMMON, grid)
        for path, the_map, record in (
            (folder / one.name / f"{REFINED}{MAP}", there, Record(one.end, common)),
            (folder / one.name / f"{REFINED}{INVERSE}", back, Record(common, one.end)),
        ):
            transforms.write_transform(the_map, path, record=record)
            files += [path, beside(path)]
    facts = {"method": config.refine, "rounds": config.rounds, "sharpness": done.sharpness, "doubts": done.doubts}
    return files, {"normalised": False, "of": len(images), "refined": plain(facts)}


def _shown(images: Sequence[Image], folder: Path, on_step: OnStep) -> Iterator[tuple[Volume, Transform]]:
    for count, one in enumerate(images, 1):
        yield volumes.read(one.path, space=one.name), read_inverse(folder, one.name)
        on_step("mean", count / len(images))


def _written(drawn: Any, folder: Path) -> list[Path]:
    paths = [folder / path for path in PICTURES.values()]
    for name, path in zip(PICTURES, paths):
        volumes.write(getattr(drawn, name), path)
    return paths


def _outside(images: Sequence[Image]) -> tuple[bool, float]:
    """Whether all are CTs, whose numbers mean the same in each; and what stands where no image shows anything."""
    is_ct = all(one.low <= AIR_BELOW_HU for one in images)
    return is_ct, AIR_HU if is_ct else NOTHING


def _require_memory(images: Sequence[Image], grid: Grid, bytes_per_voxel: int) -> None:
    largest = max(one.grid.size for one in images)
    sizes = "x".join(map(str, grid.shape))
    require_memory(bytes_per_voxel * grid.size + 8 * largest, f"the mean ({sizes} voxels)", "--spacing 4")
