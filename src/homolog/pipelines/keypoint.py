"""Two volumes to one map by their keypoints: found, matched, agreed on, and looked for again under that map."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.features import selection, surf_turning
from homolog.methods import DETECTOR_OPTIONS, DETECTORS, resolve
from homolog.pairwise import keypoint
from homolog.pairwise.configs import KeypointConfig
from homolog.pairwise.keypoint import Found
from homolog.pairwise.scales import Agreement, Scale, fine_spacing
from homolog.space import fit
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
# Rounds of drawing for each of 24 orientations, and for a mirrored patient.
FEW_ROUNDS = 2
# Where patients lie alike, matches agree so many times better than chance; else one of them is tried turned as well.
CLEAR = 8.0
# A right map is a peak: with the patient this far away along an axis, the pictures are less alike by this much.
ELSEWHERE_MM, PEAK = 48.0, 0.06
# By how many times mirrored keypoints agree better if left and right were exchanged in a file.
MIRROR_LEAD = 1.2


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
    here, there = prepare(fixed, fixed_mask, "fixed"), prepare(moving, moving_mask, "moving")
    pair = _Pair(here, there, config)
    scale = Scale.of(here, there, 2 * fine_spacing(fixed.grid), coarse=True)
    near = None if start is None else _linearised(start, here, there)
    before = scale.agreement(near or Affine.identity(fixed.space, moving.space))
    if near is not None and not before.overlap > 0:
        raise BadInput(
            "under the start that was given the two images do not overlap", "leave the start out: it is searched for"
        )
    if near is not None:
        found = pair.again(near, on_step)
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
        (*found.doubts, *_doubts(scale, found, after)),
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    """The two pictures, and how keypoints are looked for in them."""

    here: Prepared
    there: Prepared
    config: KeypointConfig

    def found(self, on_step: OnStep | None) -> Found:
        """The map, wherever the patients lie and however they are turned."""
        seen = self.keypoints(self.here.picture, self.here.mask, self.first_mm)
        _tell(on_step, "keypoints", 0.15, 0.0)
        first = self._first(seen)
        _tell(on_step, "agreement", 0.3, 0.0)
        if not first.is_map:
            return first
        matrix = first.moving_from_fixed
        assert isinstance(matrix, Affine)
        again = self.again(matrix, on_step)
        # what the first look says against it the second cannot know: it searched near that map only
        doubts = dict.fromkeys((*(() if first.is_significant else first.doubts), *again.doubts))
        return replace(again, trace=(*first.trace, *again.trace), doubts=(*doubts, *self._mirrored(seen, matrix)))

    def again(self, matrix: Affine, on_step: OnStep | None) -> Found:
        """The map from keypoints of the moving patient as a map near it lays him: upright, and of the same size."""
        seen = self.keypoints(self.here.picture, self.here.mask, self.again_mm)
        laid = self.keypoints(self._laid(matrix, self.again_mm), None, self.again_mm)
        _tell(on_step, "keypoints", 0.5, 0.0)
        back = self._in_moving(laid, matrix)

        def told(stage: str, fraction: float, energy: float) -> None:
            _tell(on_step, stage, 0.5 + 0.45 * fraction, energy)

        box = self.here.picture.grid.bounds()
        return keypoint.register(seen, back, None, self.config, start=matrix, box_mm=box, on_step=told)

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

    def keypoints(self, picture: Volume, mask: Volume | None, spacing_mm: float) -> Keypoints:
        name = self.config.detector
        detect, options = resolve(DETECTORS[name]), resolve(DETECTOR_OPTIONS[name])(most=self.config.most)
        if name == "surf3d":
            found: Keypoints = detect(picture, replace(options, sampling_mm=spacing_mm), mask=mask)
            return found
        cubic = resample(picture, isotropic(picture.grid, spacing_mm), outside=_dark(picture))
        found = detect(cubic, options, mask=mask)
        return found

    def _laid(self, matrix: Affine, spacing_mm: float) -> Volume:
        """The moving picture in the fixed patient's space, on cubic voxels along the axes."""
        picture = self.there.picture
        corners = matrix.inverse().apply(picture.grid.corners())
        low, high = corners.min(axis=0), corners.max(axis=0)
        shape = np.maximum(1, np.ceil((high - low) / spacing_mm)).astype(int)
        grid = Grid.regular(shape.tolist(), spacing_mm, (low + high) / 2 - spacing_mm * (shape - 1) / 2)
        return warp(low_passed(picture, isotropic(picture.grid, spacing_mm)), matrix, grid, outside=_dark(picture))

    def _in_moving(self, laid: Keypoints, matrix: Affine) -> Keypoints:
        """Keypoints of the patient as he was laid, where he lies; those that his picture and its mask show."""
        back = replace(laid, position=matrix.apply(laid.position), space=self.there.space)
        shown = self.there.picture.grid.contains(back.position)
        return back[shown & selection.inside_mask(back.position, self.there.mask, self.there.space)]

    # the first look -------------------------------------------------------------------------------------------------

    def _first(self, seen: Keypoints) -> Found:
        """A linear map: as the patients lie, or with one turned by right angles where that agrees better."""
        other = self.keypoints(self.there.picture, self.there.mask, self.first_mm)
        found = keypoint.linear(seen, other, kind=self.config.linear_kind)
        clear = found.is_map and found.score >= CLEAR * found.chance
        if clear or not self.config.orientations or self.config.detector != "surf3d":
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
        assert isinstance(again.moving_from_fixed, Affine)
        matrix = turn.T @ again.moving_from_fixed.matrix
        return replace(again, moving_from_fixed=Affine(matrix, seen.space, other.space))

    # left and right -------------------------------------------------------------------------------------------------

    def _mirrored(self, seen: Keypoints, matrix: Affine) -> tuple[str, ...]:
        """Whether keypoints of the patient as he is laid agree better with left and right exchanged."""
        laid, scores = self._laid(matrix, self.first_mm), []
        for sign in (1.0, -1.0):
            mirror = np.diag([sign, 1.0, 1.0, 1.0])
            back = Affine(matrix.matrix @ mirror, self.here.space, self.there.space)
            other = self.keypoints(_moved(laid, mirror), None, self.first_mm)
            shown = self.there.picture.grid.contains(back.apply(other.position))
            shown &= selection.inside_mask(back.apply(other.position), self.there.mask, self.there.space)
            scores.append(keypoint.linear(seen, other[shown], kind="similarity", rounds=FEW_ROUNDS))
        as_is, mirrored = scores
        if not (mirrored.is_significant and mirrored.score > MIRROR_LEAD * as_is.score):
            return ()
        return (
            f"the moving patient's keypoints agree better mirrored ({mirrored.score:.0f}) than as they are "
            f"({as_is.score:.0f}): are left and right exchanged in a file?",
        )


def _moved(volume: Volume, matrix: np.ndarray) -> Volume:
    return replace(volume, grid=Grid(volume.grid.shape, matrix @ volume.grid.world_from_voxel))


def _dark(picture: Volume) -> float:
    return float(picture.numpy().min())


# ---------------------------------------------------------------------------------------------------------------------
# Believing it


def _doubts(scale: Scale, found: Found, after: Agreement) -> tuple[str, ...]:
    """What the pictures say against a map of their keypoints."""
    if not found.is_map:
        return ()
    if not after.overlap > 0:
        return ("under the map the two images do not overlap",)
    ways = ELSEWHERE_MM * np.vstack((np.eye(3), -np.eye(3)))
    moved = [
        scale.agreement(found.moving_from_fixed @ _shift(way, found.moving_from_fixed.fixed)).similarity for way in ways
    ]
    elsewhere = float(np.nan_to_num(np.fmax.reduce(moved)))
    if after.similarity - elsewhere >= PEAK:
        return ()
    return (
        f"the pictures are hardly more alike ({after.similarity:.2f}) than with one patient "
        f"{ELSEWHERE_MM / 10:.0f} cm away ({elsewhere:.2f}): wrong anatomy, or too little in common?",
    )


def _shift(way_mm: np.ndarray, space: str) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = way_mm
    return Affine(matrix, space, space)


# ---------------------------------------------------------------------------------------------------------------------
# The start that a caller gives


def _linearised(start: Transform, fixed: Prepared, moving: Prepared) -> Affine:
    """The affine map nearest to a map over the fixed patient."""
    if (start.fixed, start.moving) != (fixed.space, moving.space):
        raise SpaceMismatch(
            f"the start {start.describe()}, but the images are '{fixed.space}' (fixed) and '{moving.space}' (moving)",
            "invert it, or name the images' spaces: read(path, space=...)",
        )
    if isinstance(start, Affine):
        return start
    points = fixed.body_points()
    return fit.affine(points, start.apply(points), fixed=fixed.space, moving=moving.space)


def _tell(on_step: OnStep | None, stage: str, fraction: float, energy: float) -> None:
    if on_step is not None:
        on_step(stage, fraction, energy)
