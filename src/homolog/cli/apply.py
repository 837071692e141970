"""`homolog apply`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli import terminal
from homolog.cli.configs import Apply, Common, Reading
from homolog.cli.options import FLAGS, CommonFlags, ReadingFlags

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
    reading: ReadingFlags = Reading(),
    common: CommonFlags = Common(),
) -> None:
    """Brings images, labels, points and meshes to the other patient.

    A map carries a point of the fixed patient to the moving patient. An image
    goes the other way round: each voxel of the fixed grid looks up where the map
    carries it to, so the same map brings the MOVING image to the FIXED grid.

    What an input belongs to decides all the rest:

      image of moving    looked up through the map, lands on the fixed grid
      image of fixed     through the inverse (solved), lands on the moving grid
      points of fixed    carried by the map, land in the moving patient
      points of moving   carried back (solved at each), land in the fixed patient

    The record beside the map (t.h5.json) knows both images. For whatever it does
    not know, say --from fixed or --from moving: that is never guessed.

      homolog apply t.h5 moving.nii.gz -o moved.nii.gz
      homolog apply t.h5 organs.nii.gz --labels --from moving -o organs_moved.nii.gz
      homolog apply t.h5 landmarks.mrk.json --from fixed -o landmarks_moved.mrk.json
      homolog apply identity organs.nii.gz --labels --like ct.nii.gz -o out.nii.gz
    """
    from homolog.cli import carrying

    steps = carrying.planned(transform, inputs, output, config, reading)
    written = []
    with terminal.Progress() as progress:
        for number, step in enumerate(steps):
            progress.on_step("apply", number / len(steps))
            carried = carrying.carried(step)
            terminal.note(carried.sentence)
            written.append(carried.facts)
            if not config.json:
                terminal.result(step.target)
    if config.json:
        terminal.result_json({"written": written})
