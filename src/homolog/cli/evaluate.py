"""`homolog evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from homolog.cli import terminal
from homolog.cli.align_config import EvaluatePoses
from homolog.cli.configs import Common, Evaluate, Reading
from homolog.cli.options import FLAGS, CommonFlags, OptionalOutput, ReadingFlags

RunFolders = Annotated[
    Path,
    Parameter(
        help="The folder of a run, whose maps and inputs are used where none is named; of homolog align any number."
    ),
]
PoseFlags = Annotated[EvaluatePoses, Parameter(name="*", group=Group("The pose of X-rays", sort_key=7))]


def evaluate(
    *runs: RunFolders,
    output: OptionalOutput = None,
    config: Annotated[Evaluate, FLAGS] = Evaluate(),
    poses: PoseFlags = EvaluatePoses(),
    reading: ReadingFlags = Reading(),
    common: CommonFlags = Common(),
) -> None:
    """Measures how good a registration is, with whatever is at hand.

    Labels give Dice and the 95th percentile of the distance between surfaces in mm,
    landmarks the target registration error in mm, the map its folds and how
    unevenly it swells, map and inverse how far from itself a point comes back, in
    mm. Labels and landmarks are measured before the map too, where the headers put
    the two patients; a mean before and the mean after it are over the same
    structures. Structures that a picture's border cuts are marked.

    Given the folder of a run, the figures are added to its run.json and report too.

    Runs of homolog align are held against true poses: how far points of the patient
    are off in mm (target error), how far their projections, and by how many degrees
    and mm the pose. Several runs get their success rates.

      homolog evaluate run --fixed-labels f.nii.gz --fixed-points f.mrk.json
      homolog evaluate --transform t.h5 --fixed-labels f.nii.gz --moving-labels m.nii.gz
      homolog evaluate --transform t.h5 --fixed-points f.fcsv --moving-points m.fcsv
      homolog evaluate --transform t.h5 --inverse back.h5 --like f.nii.gz
      homolog evaluate --fixed-labels f.nii.gz --warped-labels w.nii.gz -o metrics.json
      homolog evaluate run --truth pose.json --landmarks ct.mrk.json
    """
    from homolog.cli import align_scoring, figures, scoring, summary
    from homolog.cli.resources import require_room
    from homolog.errors import BadInput
    from homolog.io.files import writing

    if output is not None:
        require_room(output)
    told: tuple[list[summary.Table], list[str]]
    if poses != EvaluatePoses() or len(runs) > 1 or any(map(align_scoring.is_alignment, runs)):
        if not runs:
            raise BadInput("--truth and --landmarks are of runs of homolog align", "homolog evaluate RUN --truth POSE")
        facts = align_scoring.measured(runs, poses, config.points_space)
        told = (align_scoring.tables(facts), [])
    else:
        if runs:
            config = scoring.of_run(runs[0], config)
        facts = figures.measured(config, reading)
        if runs:
            scoring.written_back(runs[0], facts)
        told = (summary.tables(facts), summary.notes(facts))
    if output is not None:
        with writing(output) as part:
            part.write_text(terminal.as_json(facts) + "\n")
        terminal.note(f"wrote {output}")
    if config.json:
        terminal.result_json(facts)
        return
    for number, (columns, rows) in enumerate(told[0]):
        if number:
            terminal.result("")
        terminal.show_table(columns, rows)
    for line in told[1]:
        terminal.note(line)
