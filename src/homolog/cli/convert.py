"""`homolog convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common, Convert
from homolog.cli.options import FLAGS, CommonFlags

if TYPE_CHECKING:
    from homolog.space.volume import Volume

Source = Annotated[
    Path, Parameter(help="A volume (file, or folder of DICOM slices), a point list, keypoints or a mesh.")
]
Target = Annotated[Path, Parameter(help="The file to write; its ending names the format.")]


def convert(
    source: Source,
    target: Target,
    /,
    *,
    config: Annotated[Convert, FLAGS] = Convert(),
    common: CommonFlags = Common(),
) -> None:
    """Writes a volume, points or a mesh in another format.

    Whatever frame the formats are in, places stay where they are.

      homolog convert dicom_folder ct.nii.gz
      homolog convert stored.nii.gz ct.nii.gz --rescale 1 -1024 --dtype int16
      homolog convert landmarks.csv landmarks.mrk.json --points-space RAS
      homolog convert keys.csv.gz keys.npz
    """
    from homolog.cli import inputs

    inputs.require_apart((source,), [target])
    kind = inputs.kind_of(source)
    {"volume": _volume, "points": _points, "mesh": _mesh}[kind](source, target, config)
    terminal.result(target)


def _volume(source: Path, target: Path, config: Convert) -> None:
    from homolog.cli import inputs
    from homolog.io import volumes

    meant = ("labels", "dtype", "series") if config.labels else ("dtype", "rescale", "replace_nan", "spacing", "series")
    inputs.refuse_strangers(config, "volume", (*meant, "spacing"), source)
    reader = volumes.read_labels if config.labels else volumes.read
    volume = _resampled(_changed(reader(source, series=config.series), config), config, source)
    volumes.write(volume, target, dtype=config.dtype)
    terminal.note(f"{source}: {volume!r}, written as {config.dtype or volume.numpy().dtype}")


def _changed(volume: Volume, config: Convert) -> Volume:
    """Other values in the same voxels."""
    import numpy as np

    data = volume.numpy()
    if config.replace_nan is not None:
        data = np.where(np.isfinite(data), data, np.float32(config.replace_nan))
    if config.rescale is not None:
        slope, intercept = config.rescale
        data = data * np.float32(slope) + np.float32(intercept)
    return volume.with_data(data)


def _resampled(volume: Volume, config: Convert, source: Path) -> Volume:
    if config.spacing is None:
        return volume
    from homolog.cli.resources import require_memory
    from homolog.io.checks import require_finite
    from homolog.space.sampling import resample

    grid = volume.grid.with_spacing(config.spacing)
    require_memory(8 * volume.grid.size + 8 * grid.size, f"{source} at {config.spacing:g} mm", "--spacing 2")
    if volume.kind == "intensity":
        require_finite(volume, str(source))
    outside = 0.0 if volume.kind == "labels" else float(volume.numpy().min())
    return resample(volume, grid, outside=outside)


def _points(source: Path, target: Path, config: Convert) -> None:
    from homolog.cli import inputs
    from homolog.io import keypoints, point_checks, points, volumes

    meant = ("points_space", "like", "style", "format", "descriptors")
    inputs.refuse_strangers(config, "points", meant, source)
    grid = None if config.like is None else volumes.read_grid(config.like)
    read = keypoints.read_keypoints(
        source, frame=config.points_space, grid=grid, format=config.format, descriptors=config.descriptors
    )
    if grid is not None:
        frame = config.points_space or keypoints.frame_said(source, config.format)
        point_checks.require_inside(read, grid, points_name=str(source), image_name=str(config.like), read_as=frame)
    if config.style in (None, "frog"):
        keypoints.write_keypoints(read, target, format=config.style)
    else:
        points.write_points(read, target, style=config.style)
    lost = inputs.columns_lost(read, target, config.style)
    terminal.note(f"{source}: {len(read)} points, written in {'RAS' if _is_frogs(target, config) else 'LPS'} mm{lost}")


def _is_frogs(target: Path, config: Convert) -> bool:
    from homolog.io.files import suffix_of

    return config.style == "frog" or suffix_of(target) in (".csv.gz", ".bin")


def _mesh(source: Path, target: Path, config: Convert) -> None:
    from homolog.cli import inputs
    from homolog.io import meshes

    inputs.refuse_strangers(config, "mesh", ("points_space",), source)
    mesh = meshes.read_mesh(source, frame=config.points_space)
    meshes.write_mesh(mesh, target)
    terminal.note(f"{source}: {len(mesh.points)} points, {len(mesh.faces)} triangles, written in LPS mm")
