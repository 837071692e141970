"""Two images to be registered, with all that was said about them, read and checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homolog.cli.configs import Register
from homolog.errors import GridMismatch
from homolog.io import keypoints, point_checks, transforms, volumes
from homolog.io.checks import require_contrast, require_finite
from homolog.io.files import content_hash, stem_of
from homolog.io.records import End, Record
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Transform
from homolog.space.volume import Volume


@dataclass(frozen=True, eq=False)
class Pair:
    """The two images with what was said about them."""

    fixed: Volume
    moving: Volume
    fixed_path: Path
    moving_path: Path
    hashes: tuple[str, str]

    @property
    def record(self) -> Record:
        ends = zip((self.fixed, self.moving), (self.fixed_path, self.moving_path), self.hashes)
        fixed, moving = (End(volume.space, volume.grid, path.resolve(), found) for volume, path, found in ends)
        return Record(fixed, moving)


def read_pair(fixed: Path, moving: Path) -> Pair:
    pictures = []
    for path in (fixed, moving):
        picture = volumes.read(path)
        require_finite(picture, str(path))
        require_contrast(picture, str(path))
        pictures.append(picture)
    first, second = pictures
    if first.space == second.space:
        # two patients' files are often called the same: their folders tell them apart
        names = [f"{path.resolve().parent.name}/{p.space}" for path, p in zip((fixed, moving), pictures)]
        first, second = (p.in_space(name) for p, name in zip(pictures, names))
    if first.space == second.space:
        first, second = first.in_space(f"{first.space} (fixed)"), second.in_space(f"{second.space} (moving)")
    return Pair(first, second, fixed, moving, (content_hash(first), content_hash(second)))


def require_companions(pair: Pair, config: Register) -> None:
    """Labels, masks, points and start are there, and belong to the images as far as that can be seen."""
    for flag, path, picture, image in (
        ("--labels", config.labels, pair.moving, pair.moving_path),
        ("--mask-fixed", config.mask_fixed, pair.fixed, pair.fixed_path),
        ("--mask-moving", config.mask_moving, pair.moving, pair.moving_path),
    ):
        if path is not None:
            _require_on(path, picture.grid, flag, image)
    if config.points is not None:
        read_marks(pair, config)
    read_start(config.start, pair)


def read_marks(pair: Pair, config: Register) -> Keypoints:
    """The moving patient's points, most of which must lie in the moving image."""
    path, grid, frame = config.points, pair.moving.grid, config.points_space
    assert path is not None
    read = keypoints.read_keypoints(path, space=pair.moving.space, frame=frame, grid=grid)
    read_as = frame or keypoints.frame_said(path)
    point_checks.require_inside(read, grid, points_name=str(path), image_name=str(pair.moving_path), read_as=read_as)
    return read


def read_mask(path: Path | None, picture: Volume) -> Volume | None:
    return None if path is None else volumes.read_labels(path, space=picture.space)


def read_start(path: Path | Literal["keypoint"] | None, pair: Pair) -> Transform | Literal["keypoint"] | None:
    """The map of a file; None and the word stay what they are."""
    if path is None or path == "keypoint":
        return path
    return transforms.read_transform(
        path, like=pair.fixed.grid, moving_like=pair.moving.grid, fixed=pair.fixed.space, moving=pair.moving.space
    )


def _require_on(path: Path, grid: Grid, flag: str, image: Path) -> None:
    labels = volumes.read_grid(path)
    if not labels.same_as(grid):
        what = "" if labels.shape != grid.shape else ", elsewhere"
        output = f"{stem_of(path)}_on_{stem_of(image)}.nii.gz"
        raise GridMismatch(
            f"{flag} {path} is on {_shape(labels)} voxels, {image} on {_shape(grid)}{what}: is it of that image?",
            f"if so: homolog apply identity {path} --labels --like {image} -o {output}",
        )


def _shape(grid: Grid) -> str:
    return "x".join(map(str, grid.shape))
