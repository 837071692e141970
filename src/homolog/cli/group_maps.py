"""The maps of a group: made from its stored keypoints and matches, and what they say of each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli import terminal
from homolog.cli.group_images import Image
from homolog.cli.group_marks import by_landmark, carried_marks, distances, shared_marks, spread_of
from homolog.cli.group_store import Store, read_stored_keypoints, stored_matches
from homolog.errors import UnreadableFile
from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.group import COMMON, Fit, Group
from homolog.io import transforms
from homolog.io.records import End, Record, beside
from homolog.metrics.regions import worst_regions
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.transforms import Transform

OnStep = Callable[..., None]
MAP, INVERSE = "common_from_patient.h5", "patient_from_common.h5"
BIN_MM = 1.0
# A match counts as right from this probability.
RIGHT = 0.5


def drawn_together(
    images: Sequence[Image],
    store: Store,
    match_paths: Mapping[tuple[int, int], Path],
    folder: Path,
    config: FrogConfig,
    marks: Sequence[Keypoints | None],
    on_step: OnStep,
    device: str = "cpu",
) -> tuple[list[Path], dict[str, Any]]:
    """Registers the group and writes each image's map; the files, and all that is to be told of them."""
    from homolog.groupwise import frog

    keypoints = [read_stored_keypoints(store.keypoints(one.key), one.name, descriptors=False) for one in images]
    matches = {pair: whole_matches(path) for pair, path in match_paths.items()}
    marks = shared_marks(marks)
    given = marks if any(each is not None for each in marks) else None
    group = frog.register(keypoints, matches, config, landmarks=given, on_step=on_step, device=device)
    paths = [write_map(one, the_map, folder) for one, the_map in zip(images, group.common_from_image)]
    facts = {**told(group), "regions": _regions(keypoints, matches, group), **_landmarks(group, marks)}
    return [file for path in paths for file in (path, beside(path))], terminal.plain(facts)


def write_map(image: Image, common_from_image: Transform, folder: Path) -> Path:
    """The map of an image, with its record."""
    path = folder / image.name / MAP
    transforms.write_transform(common_from_image, path, record=Record(image.end, End(COMMON)))
    return path


def read_map(folder: Path, name: str) -> Transform:
    """The map of an image: from its own space to the common one."""
    return transforms.read_transform(folder / name / MAP, fixed=name, moving=COMMON)


def read_inverse(folder: Path, name: str) -> Transform:
    return transforms.read_transform(folder / name / INVERSE, fixed=COMMON, moving=name)


def told(group: Group) -> dict[str, Any]:
    """What is known of a group beside its maps."""
    return {
        "fits": [fit_of(fit) for fit in group.fits],
        "trace": [asdict(step) for step in group.trace],
        "histograms": {"bin_mm": BIN_MM, **{when: counts.tolist() for when, counts in group.histograms.items()}},
        "stopped": group.stopped,
        "seconds": group.seconds,
    }


def fit_of(fit: Fit) -> dict[str, Any]:
    return {name: value for name, value in asdict(fit).items() if name != "space"}


def fitting(facts: Mapping[str, Any]) -> list[bool]:
    """Which images nothing speaks against."""
    return [not fit["doubts"] for fit in facts["fits"]]


def whole_matches(path: Path) -> Matches:
    """Stored matches that were whole a moment ago."""
    found = stored_matches(path)
    if found is None:
        raise UnreadableFile(f"{path} was damaged while this command ran", "the same command again makes it anew")
    return found


def _regions(
    keypoints: Sequence[Keypoints], matches: Mapping[tuple[int, int], Matches], group: Group
) -> list[dict[str, Any]]:
    """Where right matches meet badly, the worst first."""
    common = [np.asarray(t.apply(points.position)) for t, points in zip(group.common_from_image, keypoints)]
    middles, apart = [np.zeros((0, 3))], [np.zeros(0)]
    for (one, other), found in matches.items():
        rows = found.pairs[group.weights[one, other] > RIGHT]
        here, there = common[one][rows[:, 0]], common[other][rows[:, 1]]
        middles.append((here + there) / 2)
        apart.append(np.linalg.norm(here - there, axis=1))
    return [asdict(region) for region in worst_regions(np.concatenate(middles), np.concatenate(apart))]


def _landmarks(group: Group, marks: Sequence[Keypoints | None]) -> dict[str, Any]:
    """The spread before, after the linear maps and at the end, over the images that fit."""
    if not any(each is not None for each in marks):
        return {"landmarks_mm": [None] * len(marks)}
    fits = [not fit.doubts for fit in group.fits]
    stages = {"before": None, "linear": group.linear, "end": group.common_from_image}
    common = {name: carried_marks(marks, maps) for name, maps in stages.items()}
    of_images = distances(common["end"], fits)
    return {
        "landmarks": {
            **{name: spread_of(each, fits) for name, each in common.items()},
            "by_landmark": by_landmark(of_images, fits),
        },
        "landmarks_mm": [float(np.mean(list(each.values()))) if each else None for each in of_images],
    }
