"""`homolog match`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from homolog import methods
from homolog.cli import terminal
from homolog.cli.configs import Common, MatchPoints
from homolog.cli.method_flags import MethodFlags, as_flags, without_flags
from homolog.cli.options import FLAGS, CommonFlags
from homolog.matching.configs import MatchConfig

Fixed = Annotated[
    Path, Parameter(help="Keypoints in a file (.npz, FROG's .csv.gz or .bin), or a volume to find them in.")
]
Moving = Annotated[Path, Parameter(help="The same of the other patient.")]
Folder = Annotated[Path, Parameter(name=("--output", "-o"), help="The folder to write to.")]
MatchFlags: Any = Annotated[
    as_flags(MatchConfig), Parameter(name="*", group=Group("What counts as a match", sort_key=7))
]


def match(
    fixed: Fixed,
    moving: Moving,
    /,
    *,
    output: Folder,
    config: Annotated[MatchPoints, FLAGS] = MatchPoints(),
    matching: MatchFlags = as_flags(MatchConfig)(),
    options: Any = None,
    common: CommonFlags = Common(),
) -> None:
    """Finds which keypoints of two patients show the same place.

    The folder gets matches.csv and matches.npz (rows of both lists, counted from 0),
    matches.html that shows them, and run.json; of volumes the keypoints as well,
    fixed.npz and moving.npz. Where a map is known, --transform says how many matches
    are right; where none is, those are told apart that agree on one.

      homolog match keys/march.npz keys/june.npz -o matched --ratio 0.9
      homolog match march.nii.gz june.nii.gz -o matched --method sift3d
      homolog match a.npz b.npz -o near --transform b_from_a.h5 --within-mm 20

    The flags of a detector, which count for volumes alone, are shown by naming it:

      homolog match --method sift3d --help
    """
    from homolog.cli import matching as work
    from homolog.cli.resources import working_on

    with working_on(config.device), terminal.Progress() as progress:
        run = work.matched(
            fixed, moving, output, config, without_flags(matching, MatchConfig), options, progress.on_step
        )
    if config.json:
        terminal.result_json(run)
    else:
        terminal.show_table(*work.table(run))


METHODS = MethodFlags(methods.DETECTOR_OPTIONS, MatchPoints.method, "The method {}, of volumes")


def for_line(words: Sequence[str]) -> Callable[..., None]:
    """The command with the flags of the detector that a line names."""
    return METHODS.for_line(match, words)
