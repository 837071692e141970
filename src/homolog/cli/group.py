"""`homolog group`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from homolog import methods
from homolog.cli import terminal
from homolog.cli.configs import Common, GroupVolumes
from homolog.cli.method_flags import MethodFlags, as_flags, without_flags
from homolog.cli.options import FLAGS, CommonFlags
from homolog.groupwise.configs import MOST_KEYPOINTS, SAMPLING_MM, FrogConfig
from homolog.matching.configs import EITHER, MatchConfig

Pictures = Annotated[Path, Parameter(help="The images: files, DICOM folders or zips; two at least.")]
Folder = Annotated[Path | None, Parameter(name=("--output", "-o"), help="The folder to write to.")]

# matches are looked for before there is a map to say where
MATCHING = as_flags(MatchConfig, hidden=("within_mm",), usual=(("mutual", EITHER.mutual), ("either", EITHER.either)))
# --spacing is the mean image's
DRAWING = as_flags(FrogConfig, called=(("spacing_mm", "control_spacing_mm"),))
MatchFlags: Any = Annotated[MATCHING, Parameter(name="*", group=Group("What counts as a match", sort_key=7))]
FrogFlags: Any = Annotated[DRAWING, Parameter(name="*", group=Group("How patients are drawn together", sort_key=6))]


def group(
    *pictures: Pictures,
    output: Folder = None,
    config: Annotated[GroupVolumes, FLAGS] = GroupVolumes(),
    drawing: FrogFlags = DRAWING(),
    matching: MatchFlags = MATCHING(),
    options: Any = None,
    common: CommonFlags = Common(),
) -> None:
    """Brings many volumes to a space common to all, none of them the template.

    For every volume NAME the folder gets NAME/common_from_patient.h5 and its inverse
    NAME/patient_from_common.h5; of all of them mean.nii.gz, deviation.nii.gz,
    count.nii.gz, measures.csv, run.json and report.html. Labels and landmarks of a
    few are handed on to the others.

    The same command again redoes only what is missing, wherever it was stopped.

      homolog group cohort/*/ct.nii.gz --landmarks cohort -o group --jobs 4
      homolog group scans/*.nii.gz --labels organs -o group --plan
      homolog group --add new.nii.gz --to group

    The flags of a detector are shown by naming it:

      homolog group --keypoints sift3d --help
    """
    from homolog.cli import grouping
    from homolog.cli.group_asked import Asked
    from homolog.cli.resources import working_on

    asked = Asked(config, without_flags(drawing, FrogConfig), without_flags(matching, MatchConfig), options)
    with working_on(config.device), terminal.Progress() as progress:
        told = grouping.grouped(pictures, output, asked, progress.on_step)
    grouping.show(told, config)


def _is_folder(name: str) -> bool:
    return Path(name).is_dir()


def _detector_flags(plain: Any) -> Any:
    usual: tuple[tuple[str, Any], ...] = (("most", MOST_KEYPOINTS),)
    # a network has voxels of its own, which it was trained on
    if getattr(plain, "sampling_mm", 0.0) is None:
        usual += (("sampling_mm", SAMPLING_MM),)
    # --compat is of the drawing; descriptors are what points are matched by
    return as_flags(plain, hidden=("compat", "descriptors"), usual=usual)


METHODS = MethodFlags(
    methods.DETECTOR_OPTIONS,
    GroupVolumes.keypoints,
    "The detector {}",
    flag="--keypoints",
    other=_is_folder,
    dress=_detector_flags,
)


def for_line(words: Sequence[str]) -> Callable[..., None]:
    """The command with the flags of the detector that a line names."""
    return METHODS.for_line(group, words)
