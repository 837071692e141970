"""The mean of a group made sharper: every picture laid on it anew by an engine for two pictures, round after round.

In a round each picture, as its map lays it in the common space, is registered onto the mean. What all of them agree on
moving is no sharpening but a drift of the common space, so their mean displacement is taken away: with U_n the maps
found, template to picture, and M their mean, the maps used are U_n of M's inverse, whose mean moves nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from homolog.errors import BadInput
from homolog.groupwise import atlas, carrying
from homolog.groupwise.atlas import Atlas, Shown
from homolog.kernels import foreground
from homolog.pipelines.register import register
from homolog.space.grid import Grid
from homolog.space.sampling import sampled_displacement
from homolog.space.transforms import Affine, Transform, chain
from homolog.space.volume import Volume

log = logging.getLogger("homolog")

OnStep = Callable[[str, float, float], None]


@dataclass(frozen=True, eq=False)
class Refined:
    """A sharper mean, and the maps that make it.

    common_from_image, image_from_common  one of each an image
    atlas      of these maps
    sharpness  the mean gradient of the mean picture in the patient, per mm: before, and after each round
    doubts     for each image, how many rounds left it where it was, as its registration was not to be believed
    """

    common_from_image: tuple[Transform, ...]
    image_from_common: tuple[Transform, ...]
    atlas: Atlas
    sharpness: tuple[float, ...]
    doubts: tuple[int, ...]


def refined(
    read: Callable[[int], Volume],
    common_from_image: Sequence[Transform],
    image_from_common: Sequence[Transform],
    grid: Grid,
    *,
    method: str,
    config: Any = None,
    rounds: int = 1,
    outside: float,
    on_step: OnStep | None = None,
) -> Refined:
    """Rounds of registering every picture of a group onto their mean.

    read     gives the n-th picture; one is in memory at a time
    grid     of the mean, in the common space
    method   a name in `methods.PAIRWISE`, its Config in `config`
    outside  stands where a picture shows nothing, as -1000 for CT
    on_step  called with the round, how far the work is (0 to 1), and the sharpness so far
    """
    if rounds < 0 or not image_from_common or len(image_from_common) != len(common_from_image):
        raise BadInput(
            f"refining wants pictures, a map there and back for each, and no fewer than 0 rounds, got "
            f"{len(common_from_image)} and {len(image_from_common)} maps, {rounds} rounds"
        )
    template = _Template(read, image_from_common, grid, outside)
    moved: list[Transform] = [Affine.identity(template.space, template.space) for _ in image_from_common]
    doubts = np.zeros(len(moved), int)
    mean = template.mean(moved)
    body = template.body(mean)
    sharpness = [_sharpness(mean, body)]
    for turn in range(rounds):
        found = []
        for n in range(len(moved)):
            if on_step is not None:
                on_step(f"round {turn + 1}", (turn + n / len(moved)) / rounds, sharpness[-1])
            found.append(template.laid(n, moved[n], mean, method, config))
        doubts += [one is None for one in found]
        moved = template.held(moved, found)
        mean = template.mean(moved)
        sharpness.append(_sharpness(mean, body))
    back = [carrying.inverse_on(one, template.lattice).transform for one in moved]
    return Refined(
        tuple(chain([after, before]) for after, before in zip(back, common_from_image)),
        tuple(chain([before, after]) for before, after in zip(image_from_common, moved)),
        mean,
        tuple(sharpness),
        tuple(doubts.tolist()),
    )


@dataclass(frozen=True, eq=False)
class _Template:
    """The pictures, and where their mean lies."""

    read: Callable[[int], Volume]
    image_from_common: Sequence[Transform]
    grid: Grid
    outside: float

    @property
    def space(self) -> str:
        return self.image_from_common[0].fixed

    @property
    def lattice(self) -> Grid:
        return self.grid.with_spacing(np.maximum(self.grid.spacing_mm, carrying.LATTICE_MM))

    def mean(self, moved: Sequence[Transform]) -> Atlas:
        return atlas.mean(self._shown(moved), self.grid, outside=self.outside)

    def body(self, mean: Atlas) -> np.ndarray:
        """(I, J, K) bool: where the patient is in the mean."""
        known = mean.count.numpy() > 0
        return foreground.body_mask(mean.mean.numpy(), known) if known.any() else known

    def laid(self, n: int, moved: Transform, mean: Atlas, method: str, config: Any) -> Transform | None:
        """The map from the mean to a picture as it lies in the common space; none if it is not to be believed."""
        data = atlas.warped(self._one(n, moved), self.grid)
        seen = np.isfinite(data)
        own = f"{self.space}~{self.image_from_common[n].moving}"
        picture = Volume(np.where(seen, data, np.float32(self.outside)), self.grid, own)
        done = register(
            mean.mean,
            picture,
            method=method,
            config=config,
            fixed_mask=_mask(mean.count.numpy() > 0, mean.mean),
            moving_mask=_mask(seen, picture),
            start=Affine.identity(self.space, own),
        )
        if not done.is_poor:
            return done.moving_from_fixed
        log.warning("'%s' stays where it was: %s", picture.space, "; ".join(done.doubts))
        return None

    def held(self, moved: Sequence[Transform], found: Sequence[Transform | None]) -> list[Transform]:
        """What the rounds so far moved, and this one, without what all pictures were moved by alike."""
        maps = [one or Affine.identity(self.space, self.space) for one in found]
        maps = [one.renamed(fixed=self.space, moving=self.space) for one in maps]
        drift = carrying.inverse_on(_mean_map(maps, self.lattice), self.lattice).transform
        return [carrying.merged_on(chain([before, one, drift]), self.lattice) for before, one in zip(moved, maps)]

    def _shown(self, moved: Sequence[Transform]) -> Iterator[Shown]:
        return (self._one(n, one) for n, one in enumerate(moved))

    def _one(self, n: int, moved: Transform) -> Shown:
        return Shown(self.read(n), chain([self.image_from_common[n], moved]))


def _mean_map(maps: Sequence[Transform], lattice: Grid) -> Transform:
    """The map that carries each place to the mean of where they carry it."""
    space = maps[0].fixed
    if all(isinstance(one, Affine) for one in maps):
        return Affine(np.mean([one.matrix for one in maps if isinstance(one, Affine)], axis=0), space, space)
    total = np.zeros((*lattice.shape, 3))
    for one in maps:
        total += sampled_displacement(one, lattice)
    return carrying.through(total / len(maps), lattice, space, space)


def _mask(seen: np.ndarray, picture: Volume) -> Volume | None:
    return None if seen.all() else picture.with_data(seen.astype(np.uint8), "labels")


def _sharpness(made: Atlas, body: np.ndarray) -> float:
    """The mean length of the mean picture's gradient over the patient, per mm."""
    data, steps = made.mean.numpy(), made.mean.grid.voxel_from_world[:3, :3]
    slopes = [np.gradient(data, axis=axis)[body] for axis in range(3)]
    lengths = np.linalg.norm(np.stack(slopes, axis=1) @ steps, axis=1)
    return float(lengths.mean(dtype=np.float64)) if len(lengths) else float("nan")
