"""Two volumes to one map by their keypoints: found, matched, agreed on, and looked for again under that map."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from homolog.features import selection, surf_turning
from homolog.pairwise import keypoint
from homolog.pairwise.believing import elsewhere, linearised, no_peak, require_overlap
from homolog.pairwise.configs import KeypointConfig
from homolog.pairwise.keypoint import Found
from homolog.pairwise.scales import Agreement, Scale, fine_spacing
from homolog.pipelines.describe import network_config
from homolog.pipelines.detect import detect, options_of
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints
from homolog.space.prepared import Prepared, isotropic, prepare
from homolog.space.registration import Registration
from homolog.space.sampling import low_passed, resample, warp
from homolog.space.transforms import Affine, Transform
from homolog.space.volume import Volume

OnStep = Callable[[str, float, float], None]

# Voxels that keypoints are looked for on, in mm, where none are asked for: at first, and when a map is known.
FIRST_MM, AGAIN_MM = (2.0, 4.0), (1.3, 3.0)
# Of the first look's voxels, those of the second.
FINER = 0.65
# Voxels along the shortest axis at least, or there is no room for keypoints' surroundings: a small picture is looked at
# more finely than it is. Within bounds of memory: voxels at most.
ROOM_VOX, MOST_VOXELS = (90, 120), (3e7, 6e7)
# mm beyond the fixed picture where keypoints may still be matched, with what is round them; voxels that detectors need.
BEYOND_MM, LEAST_VOX = 110.0, 60
# Rounds of drawing for each of 24 orientations, and for a mirrored patient.
FEW_ROUNDS = 2
# Where patients lie alike, matches agree so many times better than chance; else one of them is tried turned as well.
CLEAR = 8.0
# Mirrored keypoints agree by this share of what they do as they are, and more, if left and right were exchanged in a
# file; right patients reached 0.72, mirrored ones 1.03 and more.
MIRRORED = 0.87
# With the laid patient turned half round about an axis, keypoints agree by less than this share of what they do as he
# is laid; under right maps it was 0.3 at most, under wrong ones 0.5 and more.
RIVAL = 0.4
HALF_TURNS = [np.diag(signs) for signs in ((1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))]


def register(
    fixed: Volume,
    moving: Volume,
    config: KeypointConfig = KeypointConfig(),
    *,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    start: Transform | None = None,
    on_step: OnStep | None = None,
) -> Registration:
    """The map that lays the moving patient on the fixed one.

    fixed_mask, moving_mask  labels in the picture's space, 0 where it is not to be looked at
    start    where to look for matches; else anywhere, whatever the headers say
    on_step  called with the stage's name, how far the work is (0 to 1), and how far off matches lie
    """
    began = time.perf_counter()
    _require_keypoints(config)
    here, there = prepare(fixed, fixed_mask, "fixed"), prepare(moving, moving_mask, "moving")
    pair = _Pair(here, there, config)
    scale = Scale.of(here, there, 2 * fine_spacing(fixed.grid), coarse=True)
    near = None if start is None else linearised(start, here, there)
    before = scale.agreement(near or Affine.identity(fixed.space, moving.space))
    if near is not None:
        require_overlap(before)
        found = pair.again(near, pair.again_mm, config, on_step)
    else:
        found = pair.found(on_step)
    after = scale.agreement(found.moving_from_fixed)
    return Registration(
        found.moving_from_fixed,
        found.trace,
        time.perf_counter() - began,
        found.stopped,
        before.similarity,
        after.similarity,
        after.overlap,
        (*found.doubts, *_no_peak(scale, found, after)),
    )


def _require_keypoints(config: KeypointConfig) -> None:
    """Before minutes are spent on the pictures."""
    options_of(config.detector)
    if config.describe is not None:
        network_config(config.describe)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The two pictures, and how keypoints are looked for in them."""

    here: Prepared
    there: Prepared
    config: KeypointConfig

    def found(self, on_step: OnStep | None) -> Found:
        """The map, wherever the patients lie and however they are turned."""
        seen = self._seen
        _tell(on_step, "keypoints", 0.15, 0.0)
        first = self._first(seen)
        _tell(on_step, "agreement", 0.3, 0.0)
        if not first.is_map:
            return first
        matrix = _affine(first)
        if not first.is_clear(CLEAR):
            # few descriptors are alike from so far: what a middle look finds is nearer
            middle = self.again(matrix, self.first_mm, replace(self.config, kind=self.config.linear_kind), None)
            matrix = _affine(middle) if middle.is_significant else matrix
        again = self.again(matrix, self.again_mm, self.config, on_step)
        doubts = self._doubts(seen, matrix) or again.doubts
        return replace(again, trace=(*first.trace, *again.trace), doubts=doubts)

    def again(self, matrix: Affine, spacing_mm: float, config: KeypointConfig, on_step: OnStep | None) -> Found:
        """The map from keypoints of the moving patient as a map near it lays him: upright, and of the same size."""
        if spacing_mm == self.first_mm:
            seen = self._seen
        else:
            seen = self.keypoints(self.here.picture, self.here.mask, spacing_mm)
        back = self._keypoints_laid(matrix, np.eye(4), spacing_mm)
        back = replace(back, position=matrix.apply(back.position), space=self.there.space)
        _tell(on_step, "keypoints", 0.5, 0.0)

        def told(stage: str, fraction: float, energy: float) -> None:
            _tell(on_step, stage, 0.5 + 0.45 * fraction, energy)

        box = self.here.picture.grid.bounds()
        return keypoint.register(seen, back, None, config, start=matrix, box_mm=box, on_step=told)

    # how finely -----------------------------------------------------------------------------------------------------

    @property
    def first_mm(self) -> float:
        """mm: as fine as the coarser picture."""
        coarser = max(float(np.cbrt(grid.spacing_mm.prod())) for grid in self._grids)
        return self.config.sampling_mm or self._fitting(float(np.clip(coarser, *FIRST_MM)), 0)

    @property
    def again_mm(self) -> float:
        """mm: finer where the map bends, as more keypoints hold a finer map."""
        if self.config.again_mm is not None or not self.config.bends:
            return self.config.again_mm or self.first_mm
        return min(self.first_mm, self._fitting(float(np.clip(FINER * self.first_mm, *AGAIN_MM)), 1))

    def _fitting(self, spacing_mm: float, look: int) -> float:
        """mm: fine enough for the smallest picture's shortest axis, coarse enough for the largest picture."""
        boxes = [np.ptp(grid.bounds(), axis=0) for grid in self._grids]
        fine = min(float(box.min()) for box in boxes) / ROOM_VOX[look]
        coarse = max(float(np.cbrt(box.prod() / MOST_VOXELS[look])) for box in boxes)
        return max(min(spacing_mm, fine), coarse)

    @property
    def _grids(self) -> list[Grid]:
        return [side.picture.grid for side in (self.here, self.there)]

    # keypoints ------------------------------------------------------------------------------------------------------

    @cached_property
    def _seen(self) -> Keypoints:
        """Those of the fixed picture, of the first look."""
        return self.keypoints(self.here.picture, self.here.mask, self.first_mm)

    def keypoints(self, picture: Volume, mask: Volume | None, spacing_mm: float) -> Keypoints:
        name = self.config.detector
        options = options_of(name)(most=self.config.most)
        if name == "surf3d":
            options = replace(options, sampling_mm=spacing_mm)
        elif name == "sift3d":
            picture = resample(picture, isotropic(picture.grid, spacing_mm), outside=_dark(picture))
        return detect(picture, method=name, config=options, mask=mask, descriptor=self.config.describe)

    def _laid(self, matrix: Affine, spacing_mm: float) -> Volume:
        """The moving picture in the fixed patient's space, on cubic voxels along the axes, as far as he is shown."""
        picture = self.there.picture
        corners, shown = matrix.inverse().apply(picture.grid.corners()), self.here.picture.grid.bounds()
        # matches lie near what the fixed picture shows; a map that is wrong may lay the other one anywhere, at any size
        low = np.clip(corners.min(axis=0), shown[0] - BEYOND_MM, shown[1] + BEYOND_MM)
        high = np.clip(corners.max(axis=0), shown[0] - BEYOND_MM, shown[1] + BEYOND_MM)
        shape = np.maximum(LEAST_VOX, np.ceil((high - low) / spacing_mm)).astype(int)
        grid = Grid.regular(shape.tolist(), spacing_mm, (low + high) / 2 - spacing_mm * (shape - 1) / 2)
        return warp(low_passed(picture, isotropic(picture.grid, spacing_mm)), matrix, grid, outside=_dark(picture))

    def _keypoints_laid(self, matrix: Affine, turn: np.ndarray, spacing_mm: float) -> Keypoints:
        """Keypoints of the moving patient as a map lays him, turned or mirrored by (4, 4) after that.

        Where that puts him; only those that his picture and its mask show.
        """
        laid = _moved(self._laid(matrix, spacing_mm), turn)
        found = self.keypoints(laid, None, spacing_mm)
        there = matrix.apply(Affine(np.linalg.inv(turn)).apply(found.position))
        shown = self.there.picture.grid.contains(there)
        return found[shown & selection.inside_mask(there, self.there.mask, self.there.space)]

    # the first look -------------------------------------------------------------------------------------------------

    def _first(self, seen: Keypoints) -> Found:
        """A linear map: as the patients lie, or with one turned by right angles where that agrees better."""
        other = self.keypoints(self.there.picture, self.there.mask, self.first_mm)
        found = keypoint.linear(seen, other, kind=self.config.linear_kind)
        if found.is_clear(CLEAR) or not (self.config.orientations and self.config.turns):
            return found
        turns = surf_turning.right_angles()[1:]
        scores = [
            keypoint.linear(seen, surf_turning.turned(other, turn), kind="similarity", rounds=FEW_ROUNDS).score
            for turn in turns
        ]
        # looked for anew as he would lie: descriptors that are turned are not quite those of a turned patient
        turn = np.eye(4)
        turn[:3, :3] = turns[int(np.argmax(scores))]
        mask = None if self.there.mask is None else _moved(self.there.mask, turn)
        lying = self.keypoints(_moved(self.there.picture, turn), mask, self.first_mm)
        again = keypoint.linear(seen, lying, kind=self.config.linear_kind)
        if not (again.is_significant and again.score > found.score):
            return found
        matrix = turn.T @ _affine(again).matrix
        return replace(again, moving_from_fixed=Affine(matrix, seen.space, other.space))

    # believing it ---------------------------------------------------------------------------------------------------

    def _doubts(self, seen: Keypoints, matrix: Affine) -> tuple[str, ...]:
        """What keypoints say against a map when they are matched all over, with the moving patient as it lays him.

        Whether they agree no better than by chance, better mirrored, or nearly as well turned round.
        """
        laid, mirrored = (
            self._keypoints_laid(matrix, np.diag([sign, 1.0, 1.0, 1.0]), self.first_mm) for sign in (1.0, -1.0)
        )
        as_is, exchanged = _agreeing(seen, laid), _agreeing(seen, mirrored)
        if exchanged.is_significant and exchanged.score > MIRRORED * as_is.score:
            return (
                f"keypoints agree by {exchanged.score:.0f} mirrored and by {as_is.score:.0f} as they are: "
                "are left and right exchanged in a file?",
            )
        if not as_is.is_significant:
            return as_is.doubts
        if not self.config.turns:
            return ()
        rival = max(_agreeing(seen, surf_turning.turned(laid, turn)).score for turn in HALF_TURNS)
        if rival < RIVAL * as_is.score:
            return ()
        return (
            f"the moving patient's keypoints agree nearly as well turned round ({rival:.0f}) as they do by the map "
            f"({as_is.score:.0f}): is it more than their outlines that agrees?",
        )


def _agreeing(seen: Keypoints, other: Keypoints) -> Found:
    return keypoint.linear(seen, other, kind="similarity", rounds=FEW_ROUNDS)


def _affine(found: Found) -> Affine:
    assert isinstance(found.moving_from_fixed, Affine)
    return found.moving_from_fixed


def _moved(volume: Volume, matrix: np.ndarray) -> Volume:
    return replace(volume, grid=Grid(volume.grid.shape, matrix @ volume.grid.world_from_voxel))


def _dark(picture: Volume) -> float:
    return float(picture.numpy().min())


def _no_peak(scale: Scale, found: Found, after: Agreement) -> tuple[str, ...]:
    """What the pictures say against a map of their keypoints."""
    if not found.is_map:
        return ()
    if not after.overlap > 0:
        return ("under the map the two images do not overlap",)
    said = no_peak(after.similarity, elsewhere(scale, found.moving_from_fixed))
    return (said,) if said else ()


def _tell(on_step: OnStep | None, stage: str, fraction: float, energy: float) -> None:
    if on_step is not None:
        on_step(stage, fraction, energy)
