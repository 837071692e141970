"""`homolog transform info | invert | compose | convert | jacobian`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common, Compose, ConvertMap, Info, Invert, Jacobian, Reading
from homolog.cli.options import FLAGS, CommonFlags, MapFile, Output, ReadingFlags

Maps = Annotated[Path, Parameter(help="Maps in the order of a matrix product: LAST ... FIRST.")]


def info(
    *files: MapFile,
    config: Annotated[Info, FLAGS] = Info(),
    reading: ReadingFlags = Reading(),
    common: CommonFlags = Common(),
) -> None:
    """Says of each map what it carries where, and how far.

    A map carries points of its fixed space to its moving space. Images it brings
    the other way, from moving to fixed.
    """
    from homolog.cli import transforms
    from homolog.errors import BadInput

    if not files:
        raise BadInput("no map to look at", "homolog transform info t.h5")
    known = [transforms.known(path, reading) for path in files]
    if config.json:
        terminal.result_json({"maps": known})
    else:
        for facts in known:
            terminal.result(transforms.sentence(facts))


def invert(
    transform: MapFile,
    /,
    *,
    output: Output,
    config: Annotated[Invert, FLAGS] = Invert(),
    reading: ReadingFlags = Reading(),
    common: CommonFlags = Common(),
) -> None:
    """Writes the map of the other direction, and says how good it is.

    An affine map is inverted in closed form, others are solved at the nodes of a
    grid in the moving patient (--like, or the map's own grid enlarged). The error
    is measured by carrying moving points back and forth. Where the map folds there
    is no inverse; --mask writes where that is.
    """
    from homolog.cli import transforms

    facts = transforms.inverted(transform, output, config.mask, reading)
    terminal.note(transforms.told_of_inverse(facts))
    terminal.result_json(facts) if config.json else terminal.result(output)


def compose(
    *transforms: Maps,
    output: Output,
    config: Annotated[Compose, FLAGS] = Compose(),
    reading: ReadingFlags = Reading(),
    common: CommonFlags = Common(),
) -> None:
    """Joins maps into one; the last one named is applied first.

    That is the order of a product of matrices:

      homolog transform compose c_from_b.h5 b_from_a.h5 -o c_from_a.h5

    carries points of a through b to c. The records beside the maps name their
    spaces, and spaces that do not meet are an error. For maps without records name
    them, target first: --spaces C B A.
    """
    from homolog.cli import transforms as work

    joined = work.composed(transforms, output, config.spaces, reading)
    terminal.note(f"{output}: {joined.describe()}")
    terminal.result(output)


def convert(
    transform: MapFile,
    /,
    *,
    output: Output,
    config: Annotated[ConvertMap, FLAGS] = ConvertMap(),
    reading: ReadingFlags = Reading(),
    common: CommonFlags = Common(),
) -> None:
    """Writes a map in another program's format, and its record beside it.

    The ending of OUTPUT names the format: .h5, .tfm and .txt for ITK, ANTs,
    elastix and 3D Slicer, .mat for ANTs, .nii.gz for a displacement field, .npz for
    Learn2Reg, .dat for deeds, .json for FROG. The images named with --like and
    --moving-like go into the record, so that `homolog apply` knows them.

      homolog transform convert shifts.dat --matrix affine.txt --like f.nii.gz -o t.h5
      homolog transform convert t.h5 --to learn2reg -o disp_0001_0002.nii.gz
    """
    from homolog.cli import transforms

    terminal.note(f"{output}: {transforms.converted(transform, output, config.to, reading).describe()}")
    terminal.result(output)


def jacobian(
    transform: MapFile,
    /,
    *,
    output: Output,
    config: Annotated[Jacobian, FLAGS] = Jacobian(),
    reading: ReadingFlags = Reading(),
    common: CommonFlags = Common(),
) -> None:
    """Writes the Jacobian determinant at every voxel, and counts folds.

    Above 1 the map swells, below 1 it shrinks, at 0 and below it folds. The file
    holds central differences on a fixed grid. A fold one voxel wide lies between
    them, so folds are also counted over the eight one-sided differences at a voxel.
    """
    from homolog.cli import transforms

    facts = transforms.jacobian_map(transform, output, config.mask, reading)
    terminal.note(transforms.told_of_folds(facts))
    terminal.result_json(facts) if config.json else terminal.result(output)
