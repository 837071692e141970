"""`homolog report` and `homolog rerun`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common, Report
from homolog.cli.options import FLAGS, CommonFlags

RunFolder = Annotated[Path, Parameter(help="The folder of a run, with its run.json.")]
RunFile = Annotated[Path, Parameter(help="The run.json of a run, or its folder.")]
Elsewhere = Annotated[
    Path | None, Parameter(name=("--output", "-o"), help="Another folder, to compare the two; default the same.")
]


def report(run: RunFolder, /, *, config: Annotated[Report, FLAGS] = Report(), common: CommonFlags = Common()) -> None:
    """Makes the report of a finished run, of a pair, a group or X-rays: one offline page.

    It is made from run.json and the files named there, so it can be made again,
    later and elsewhere. A CT is shown in a window for soft tissue, and where there
    are lungs in one for them too; --window asks for another, and is remembered.

      homolog report run --window bone
      homolog report run --window -200 300
    """
    from homolog.cli.inputs import window_of_words
    from homolog.cli.scoring import remembered
    from homolog.errors import BadInput
    from homolog.report.align import write_align_report
    from homolog.report.group import write_group_report
    from homolog.report.pair import write_report
    from homolog.report.runs import read_run

    window = window_of_words(config.window)
    if read_run(run).value("xrays") is not None:
        if window:
            raise BadInput(f"--window is of volumes, {run} shows X-rays", f"homolog report {run}")
        terminal.result(write_align_report(run))
        return
    write = write_group_report if _is_group(run) else write_report
    if window:
        remembered(run, {"window": {"fixed": window, "moving": window}})
    terminal.result(write(run))


def rerun(run: RunFile, /, *, output: Elsewhere = None, common: CommonFlags = Common()) -> None:
    """Runs what run.json records once more, with the same inputs and options.

    Into the same folder it redoes what is missing. With -o it is done afresh, and
    the same program gives the same bytes.
    """
    from homolog.cli import rerunning

    rerunning.rerun(run, output)


def _is_group(folder: Path) -> bool:
    """Whether it is a group's run, or a pair's; any other is refused."""
    from homolog.errors import BadInput
    from homolog.report.runs import read_run

    found = read_run(folder)
    if found.value("images") is not None:
        return True
    for key, what in (("volumes", "keypoints"), ("matches", "matches")):
        if found.value(key) is not None:
            pages = ", ".join(sorted(path.name for path in folder.glob("*.html"))[:3]) or "none was asked for"
            raise BadInput(f"{folder} holds {what}, no registration; its pages: {pages}", f"homolog rerun {folder}")
    return False
