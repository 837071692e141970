"""`homolog keypoints`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from homolog import methods
from homolog.cli import terminal
from homolog.cli.configs import Common, FindKeypoints
from homolog.cli.method_flags import MethodFlags
from homolog.cli.options import FLAGS, CommonFlags

Pictures = Annotated[Path, Parameter(help="Images to find points in: files, DICOM folders or zips.")]
Folder = Annotated[Path, Parameter(name=("--output", "-o"), help="The folder to write to.")]
COLUMNS = ("volume", "keypoints", "dark", "bright", "scale, mm", "seconds")


def keypoints(
    *pictures: Pictures,
    output: Folder,
    config: Annotated[FindKeypoints, FLAGS] = FindKeypoints(),
    options: Any = None,
    common: CommonFlags = Common(),
) -> None:
    """Finds and describes the places of each volume that can be found again.

    For every volume NAME the folder gets NAME.npz with all that is known of its
    points, NAME.mrk.json for 3D Slicer and NAME.html that shows them; run.json says
    how they were found. Volumes that are called alike are told apart by their
    folders: ana_ct.npz for ana/ct.nii.gz.

    The same command again redoes only what is missing, and more volumes may be
    added to a folder with the same options.

      homolog keypoints scans/*.nii.gz -o keys -n 5000 --jobs 4
      homolog keypoints ct.nii.gz -o keys --formats csv.gz --compat frog
      homolog keypoints ct.nii.gz -o keys --points marks.mrk.json --scale-mm 3

      homolog keypoints ct.nii.gz -o keys --describe patch

    Each method has options of its own, shown by naming it:

      homolog keypoints --method sift3d --help
    """
    from homolog.cli import detecting
    from homolog.cli.resources import working_on

    with working_on(config.device), terminal.Progress() as progress:
        run = detecting.detected(pictures, output, config, options, progress.on_step)
    if config.json:
        terminal.result_json(run)
    else:
        terminal.show_table(COLUMNS, [detecting.row(one) for one in run["volumes"]])


METHODS = MethodFlags(methods.DETECTOR_OPTIONS, FindKeypoints.method)


def for_line(words: Sequence[str]) -> Callable[..., None]:
    """The command with the flags of the detector that a line names."""
    return METHODS.for_line(keypoints, words)
