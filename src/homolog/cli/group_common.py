"""What is made of the maps of a group: of each, of all together, and what the few have handed on to the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from homolog.cli.group_asked import Asked
from homolog.cli.group_handing import givers, labels_handed_on, landmarks_handed_on
from homolog.cli.group_images import Image
from homolog.cli.group_maps import INVERSE, MAP, fitting, read_map
from homolog.cli.group_mean import PICTURES, REFINED, drawn_mean
from homolog.cli.group_outputs import of_maps
from homolog.cli.group_team import Team
from homolog.io.results import Results, key_of
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Transform

# mm between the nodes that ways back are solved on, and the places of an image that say how far they must reach.
LATTICE_MM, SEEN_MM = 5.0, 25.0


def outputs(
    images: Sequence[Image],
    facts: dict[str, Any],
    results: Results,
    asked: Asked,
    marks: Sequence[Keypoints | None],
    team: Team,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What run.json says of each image, and of all together; every file that it names is there."""
    keys = [key_of(group=facts["key"], name=one.name) for one in images]
    lattices = [lattice_of(one.grid, read_map(results.folder, one.name)) for one in images]
    entries = of_maps(images, keys, lattices, asked.config, results, team)
    inside = [n for n, fits in enumerate(fitting(facts)) if fits]
    whole: dict[str, Any] = {"outputs": {}}
    if inside:
        mean = drawn_mean([images[n] for n in inside], [keys[n] for n in inside], results, asked.config, team.on_step)
        whole |= {"outputs": dict(PICTURES), "mean": mean}
        _tell_refined(mean, [(images[n].name, entries[n]) for n in inside])
    sources = givers(images, inside, asked.config)
    targets = [n for n in inside if n not in sources]
    whole |= labels_handed_on(images, [images[n] for n in sources], targets, facts["key"], entries, results, team)
    without = [n for n in inside if images[n].landmarks is None]
    landmarks_handed_on(images, marks, inside, without, facts["key"], entries, results)
    return entries, whole


def lattice_of(grid: Grid, common_from_image: Transform) -> Grid:
    """Nodes of the common space that hold all that an image shows."""
    seen = np.concatenate((grid.corners(), grid.with_spacing(SEEN_MM).points()))
    common = np.asarray(common_from_image.apply(seen))
    low, high = common.min(axis=0), common.max(axis=0)
    shape = np.ceil((high - low) / LATTICE_MM).astype(int) + 3
    return Grid.regular(shape.tolist(), LATTICE_MM, low - LATTICE_MM)


def _tell_refined(mean: dict[str, Any], entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for name, entry in entries if "refined" in mean else ():
        for file in (MAP, INVERSE):
            entry["outputs"][f"{REFINED}{file.removesuffix('.h5')}"] = f"{name}/{REFINED}{file}"
