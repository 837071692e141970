"""`homolog evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common, Evaluate, Reading
from homolog.cli.options import FLAGS, CommonFlags, OptionalOutput, ReadingFlags

RunFolder = Annotated[
    Path | None, Parameter(help="The folder of a run, whose maps and inputs are used where none is named.")
]


def evaluate(
    run: RunFolder = None,
    /,
    *,
    output: OptionalOutput = None,
    config: Annotated[Evaluate, FLAGS] = Evaluate(),
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

      homolog evaluate run --fixed-labels f.nii.gz --fixed-points f.mrk.json
      homolog evaluate --transform t.h5 --fixed-labels f.nii.gz --moving-labels m.nii.gz
      homolog evaluate --transform t.h5 --fixed-points f.fcsv --moving-points m.fcsv
      homolog evaluate --transform t.h5 --inverse back.h5 --like f.nii.gz
      homolog evaluate --fixed-labels f.nii.gz --warped-labels w.nii.gz -o metrics.json
    """
    from homolog.cli import figures, scoring, summary
    from homolog.cli.resources import require_room
    from homolog.io.files import writing

    if output is not None:
        require_room(output)
    if run is not None:
        config = scoring.of_run(run, config)
    facts = figures.measured(config, reading)
    if run is not None:
        scoring.written_back(run, facts)
    if output is not None:
        with writing(output) as part:
            part.write_text(terminal.as_json(facts) + "\n")
        terminal.note(f"wrote {output}")
    if config.json:
        terminal.result_json(facts)
        return
    for number, (columns, rows) in enumerate(summary.tables(facts)):
        if number:
            terminal.result("")
        terminal.show_table(columns, rows)
    for line in summary.notes(facts):
        terminal.note(line)
