"""`homolog apply`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli import terminal
from homolog.cli.configs import Apply, Common, Reading
from homolog.cli.options import FLAGS, CommonFlags

Map = Annotated[str, Parameter(help="The map's file; or the word `identity`: same patient, another grid (--like).")]
Inputs = Annotated[Path, Parameter(help="Volumes, label maps (--labels), point lists, meshes.")]
Where = Annotated[
    Path | None,
    Parameter(
        name=("--output", "-o"),
        help="The file to write; a folder for several inputs, whose names are kept. Default: beside each input.",
    ),
]


def apply(
    transform: Map,
    /,
    *inputs: Inputs,
    output: Where = None,
    config: Annotated[Apply, FLAGS] = Apply(),
    reading: Annotated[Reading, FLAGS] = Reading(),
    common: CommonFlags = Common(),
) -> None:
    """Brings images, labels, points and meshes to the other patient, along a map or against it.

    A map carries a point of the fixed patient to the moving patient. An image goes the other way round: each voxel of
    the fixed grid looks up where the map carries it to, so the same map brings the MOVING image to the FIXED grid.

    What an input belongs to decides the rest, and nothing else does:

      an image of the moving patient    looked up through the map, lands on the fixed grid
      an image of the fixed patient     through the inverse, which is solved, lands on the moving grid
      points of the fixed patient       carried by the map, land in the moving patient
      points of the moving patient      carried back, solved at each point, land in the fixed patient

    The record beside the map (t.h5.json) knows both images. For what it does not know, say --from fixed or
    --from moving: that is never guessed.

      homolog apply t.h5 moving.nii.gz -o moved.nii.gz
      homolog apply t.h5 moving_labels.nii.gz --labels --from moving -o labels_on_fixed.nii.gz
      homolog apply t.h5 landmarks.mrk.json --from fixed -o landmarks_in_moving.mrk.json
      homolog apply identity labels.nii.gz --labels --like ct.nii.gz -o labels_on_ct.nii.gz
    """
    from homolog.cli import carrying

    steps = carrying.planned(transform, inputs, output, config, reading)
    with terminal.Progress() as progress:
        for number, step in enumerate(steps):
            progress.on_step("apply", number / len(steps))
            terminal.note(step.carry())
            if not config.json:
                terminal.result(step.target)
    if config.json:
        terminal.result_json({"written": [step.facts() for step in steps]})
