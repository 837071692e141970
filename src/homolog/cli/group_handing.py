"""Labels and landmarks of a few images handed on to the others, and held against the truth where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli import terminal
from homolog.cli.configs import GroupVolumes
from homolog.cli.group_images import Image
from homolog.cli.group_maps import read_inverse, read_map
from homolog.cli.group_outputs import Made, Output, coarse, made
from homolog.cli.group_team import Team
from homolog.groupwise.group import COMMON
from homolog.io import points, volumes
from homolog.io.files import stem_of
from homolog.io.label_names import ENDINGS, names_beside, write_label_names
from homolog.io.records import file_hash
from homolog.io.results import Results, key_of
from homolog.metrics import overlap
from homolog.space.keypoints import Keypoints
from homolog.space.sampling import resample
from homolog.space.transforms import Transform, chain
from homolog.space.volume import Volume

LABELS, CONFIDENCE, MARKS = "labels.nii.gz", "confidence.nii.gz", "landmarks.mrk.json"


def givers(images: Sequence[Image], inside: Sequence[int], config: GroupVolumes) -> list[int]:
    """Which of the images that fit hand on their labels."""
    named = config.labels_from
    return [n for n in inside if images[n].labels is not None and (not named or images[n].name in named)]


def labels_handed_on(
    images: Sequence[Image],
    sources: Sequence[Image],
    targets: Sequence[int],
    key: str,
    entries: Sequence[dict[str, Any]],
    results: Results,
    team: Team,
) -> dict[str, Any]:
    """Writes labels of the sources for each target; how well they overlap with those that targets have themselves.

    key      of the group's maps, all of which decide what is handed on
    targets  rows of `images` and `entries`, whose outputs are told there
    """
    if not sources or not targets:
        return {}
    of_sources = [(one.name, file_hash(one.labels)) for one in sources if one.labels]
    wanted = [
        Output(
            f"{images[n].name}/labels",
            key_of(group=key, sources=of_sources, target=_told(images[n]), truth=_hash(images[n].labels)),
            partial(vote, results.folder, images[n], tuple(sources)),
        )
        for n in targets
    ]
    found = made(wanted, results, team, "labels")
    for n in targets:
        entries[n]["outputs"] |= {
            "labels": f"{images[n].name}/{LABELS}",
            "confidence": f"{images[n].name}/{CONFIDENCE}",
        }
    names = next((told for one in sources if one.labels and (told := names_beside(one.labels))), {})
    return _overlap([one.name for one in sources], [each["dice"] for each in found if "dice" in each], names)


def landmarks_handed_on(
    images: Sequence[Image],
    marks: Sequence[Keypoints | None],
    sources: Sequence[int],
    targets: Sequence[int],
    key: str,
    entries: Sequence[dict[str, Any]],
    results: Results,
) -> None:
    """Writes the mean places of the sources' landmarks for each target, as far as it shows them."""
    given = [(n, found) for n in sources if (found := marks[n]) is not None and found.name is not None]
    if not given or not targets:
        return
    hashes = [file_hash(path) for n, _ in given if (path := images[n].landmarks)]
    common: list[Keypoints] = []
    for n in targets:
        one = images[n]

        def work(one: Image = one) -> Made:
            if not common:
                common.extend(_in_common(images[m], found, results.folder) for m, found in given)
            return _placed_marks(one, common, results.folder)

        facts = results.stage(f"{one.name}/landmarks", key_of(group=key, target=_told(one), landmarks=hashes), work)
        if facts["landmarks"]:
            entries[n]["outputs"]["landmarks"] = f"{one.name}/{MARKS}"
            entries[n]["handed_landmarks"] = facts


# ---------------------------------------------------------------------------------------------------------------------
# Tasks


def vote(folder: Path, target: Image, sources: tuple[Image, ...]) -> Made:
    """Writes the labels that the sources vote for in a target, and how sure that is; Dice with its own, if any."""
    from homolog.groupwise.carrying import merged_on
    from homolog.groupwise.propagation import propagated_labels

    common_from_target = merged_on(read_map(folder, target.name), coarse(target.grid))
    found = propagated_labels(target.grid, list(_sources(folder, target, sources, common_from_target)))
    paths = [folder / target.name / LABELS, folder / target.name / CONFIDENCE]
    volumes.write(found.labels, paths[0])
    volumes.write(found.confidence, paths[1])
    names = next((told for one in sources if one.labels and (told := names_beside(one.labels))), {})
    if names:
        paths.append(paths[0].with_name(stem_of(paths[0]) + ENDINGS[0]))
        write_label_names(names, paths[-1])
    facts = {} if target.labels is None else {"dice": _dice(target, found.labels)}
    return paths, terminal.plain(facts)


def _sources(folder: Path, target: Image, sources: Sequence[Image], common_from_target: Transform) -> Iterator[Any]:
    """Each source's labels, its map, and how alike the two pictures are from place to place."""
    from homolog.groupwise.propagation import Source, likeness

    picture = volumes.read(target.path, space=target.name)
    for one in sources:
        assert one.labels is not None
        source_from_target = chain([read_inverse(folder, one.name), common_from_target])
        weights = likeness(picture, volumes.read(one.path, space=one.name), source_from_target)
        yield Source(volumes.read_labels(one.labels, space=one.name), source_from_target, weights)


def _dice(target: Image, handed: Volume) -> dict[str, float]:
    """Dice with a target's own labels, of the structures that it has and that could be handed on."""
    assert target.labels is not None
    truth = resample(volumes.read_labels(target.labels, space=target.name), handed.grid, outside=0)
    found = overlap.counts(truth, handed)
    return {
        str(label): 2 * count.shared / (count.fixed + count.warped) for label, count in found.items() if count.fixed
    }


def _in_common(image: Image, marks: Keypoints, folder: Path) -> Keypoints:
    return marks.moved_to(np.asarray(read_map(folder, image.name).apply(marks.position)), COMMON)


def _placed_marks(target: Image, common: Sequence[Keypoints], folder: Path) -> Made:
    from homolog.groupwise.propagation import propagated_points

    found = propagated_points(common)
    placed = found.points.moved_to(
        np.asarray(read_inverse(folder, target.name).apply(found.points.position)), target.name
    )
    shown = target.grid.contains(placed.position)
    facts = {"landmarks": int(shown.sum()), "spread_mm": _mean(found.spread_mm[shown])}
    if not shown.any():
        return [], facts
    path = folder / target.name / MARKS
    points.write_points(placed[shown], path)
    return [path], facts


# ---------------------------------------------------------------------------------------------------------------------


def _overlap(sources: list[str], dice: Sequence[dict[str, float]], names: dict[int, str]) -> dict[str, Any]:
    """Dice of each structure, over the targets that have it, and the mean of those."""
    if not dice:
        return {}
    listed: dict[str, list[float]] = {}
    for each in dice:
        for label, value in each.items():
            listed.setdefault(label, []).append(value)
    means = {names.get(int(label), label): float(np.mean(values)) for label, values in listed.items()}
    whole = _mean(np.array(list(means.values())))
    return {"overlap": {"from": sources, "dice": means, "mean_dice": whole, "images": len(dice)}}


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _told(target: Image) -> list[str]:
    return [target.name, target.key, target.content]


def _hash(path: Path | None) -> str | None:
    return None if path is None else file_hash(path)
