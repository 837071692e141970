"""`homolog camera info | convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from homolog.cli import terminal
from homolog.cli.camera_configs import CameraConvert, CameraFile, CameraInfo
from homolog.cli.configs import Common
from homolog.cli.options import FLAGS, CommonFlags, OptionalOutput, Output

Files = Annotated[Path, Parameter(help="Files of cameras: .json, .txt, .yml, .xml, .h5, .npy, DICOM.")]
FileFlags = Annotated[CameraFile, Parameter(name="*", group=Group("The cameras' file", sort_key=8))]


def info(
    *files: Files,
    output: OptionalOutput = None,
    config: Annotated[CameraInfo, FLAGS] = CameraInfo(),
    reading: FileFlags = CameraFile(),
    common: CommonFlags = Common(),
) -> None:
    """Says where cameras stand, what they see, and what cannot be right.

    With a volume it says what of it falls on the detector, and how large. What looks
    mirrored, or scaled wrongly, or turned round is named, with the flags that would
    mend it. -o draws where source, detector and volume are.

      homolog camera info calibration.txt --volume ct.nii.gz -o cameras.html
      homolog camera info P.txt --size-px 1536 1536 --pitch-mm 0.194
    """
    from homolog.cli import cameras
    from homolog.errors import BadInput

    if not files:
        raise BadInput("no camera to look at", "homolog camera info camera.json")
    looked = cameras.looked_at(files, config, reading)
    if config.json:
        terminal.result_json(cameras.as_facts(looked))
    else:
        for title, columns, rows in cameras.tables(looked):
            terminal.show_table(columns, rows, title)
        for line in cameras.between(looked):
            terminal.result(line)
        for doubt in cameras.told_doubts(looked):
            terminal.result(f"{doubt.name}: {doubt.what}\n  hint: {doubt.hint}")
    if output is not None:
        cameras.draw(looked, output)
        terminal.note(f"drawn: {output}")


def convert(
    file: Annotated[Path, Parameter(help="A file of cameras.")],
    /,
    *,
    output: Output,
    config: Annotated[CameraConvert, FLAGS] = CameraConvert(),
    reading: FileFlags = CameraFile(),
    common: CommonFlags = Common(),
) -> None:
    """Writes cameras in another program's format.

    The ending of OUTPUT names the format: .json for our own, which spells its
    conventions out, .xml for RTK, .yml for OpenCV; else --to says it. What a format
    cannot say is told.

      homolog camera convert geometry.xml --size-px 512 512 --pitch-mm 0.8 -o cameras.json
      homolog camera convert pose.json -o P.txt --to matrix
    """
    from homolog.cli import cameras

    terminal.note(cameras.converted(file, output, config, reading))
    terminal.result(output)
