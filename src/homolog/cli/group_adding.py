"""Newcomers placed in a finished group, none of whose own maps change.

A newcomer's keypoints are looked for as the group's were, and matched with those of the images that fit: with all, or
with as many of the nearest by signature as the group's own had partners. Its map is drawn to where their maps put them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from homolog.cli import group_plan, terminal
from homolog.cli.configs import GroupVolumes
from homolog.cli.describing import descriptor_of
from homolog.cli.group_asked import MAPS, Asked
from homolog.cli.group_common import lattice_of
from homolog.cli.group_handing import givers, labels_handed_on, landmarks_handed_on
from homolog.cli.group_images import Image, is_detector, read_marks, read_newcomers, refuse_unusable, require_apart
from homolog.cli.group_maps import fit_of, read_map, whole_matches, write_map
from homolog.cli.group_marks import carried_marks, distances
from homolog.cli.group_outputs import of_maps
from homolog.cli.group_record import RUN, entry, reported
from homolog.cli.group_store import Store, read_stored_keypoints, stored_matches
from homolog.cli.group_tasks import MatchTask, find_matches
from homolog.cli.group_team import Team
from homolog.cli.group_work import found_keypoints
from homolog.cli.recording import write_json
from homolog.errors import BadInput
from homolog.groupwise.configs import FrogConfig
from homolog.io.records import beside
from homolog.io.results import Results, key_of
from homolog.matching.configs import MatchConfig
from homolog.methods import DETECTOR_OPTIONS, resolve
from homolog.report.runs import Run, read_run
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints

OnStep = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished group.

    images  those of its own that fit: none is matched with one that does not
    key     of its maps
    """

    folder: Path
    run: dict[str, Any]
    images: tuple[Image, ...]
    key: str

    @property
    def config(self) -> GroupVolumes:
        """What its own files need to be read."""
        said = self.run["config"]
        return GroupVolumes(points_space=said["points_space"], labels_from=tuple(said["labels_from"]))


def added(pictures: Sequence[Path], asked: Asked, on_step: OnStep) -> dict[str, Any]:
    """The group's record with the newcomers in it."""
    assert asked.config.to is not None
    group = finished(asked.config.to.absolute())
    asked = _as_the_group(group, asked)
    store, results = Store.of(group.folder), Results(group.folder)
    own = {one["name"]: Path(one["path"]) for one in group.run["images"]}
    images, unusable = read_newcomers(pictures, own, asked.config, asked.options, store)
    team = Team(asked.config.engine, asked.config.jobs, on_step)
    require_apart([*group.images, *images], "hash")
    images, failed = found_keypoints(images, store, asked, team)
    refuse_unusable([*unusable, *failed], len(pictures), asked.config.skip)
    require_apart([*group.images, *images], "content")
    facts = [_placed(one, group, store, results, asked, team) for one in images]
    entries = _entries(images, facts, group, results, asked, team)
    kept = [one for one in group.run.get("newcomers", []) if one["name"] not in {each["name"] for each in entries}]
    run = {**group.run, "newcomers": terminal.plain([*kept, *entries])}
    write_json(group.folder / RUN, run)
    return reported(group.folder, on_step)


def finished(folder: Path) -> Finished:
    """A group that was made by this program and is whole."""
    hint = f"homolog group VOLUME... -o {folder}"
    if not (folder / RUN).is_file():
        raise BadInput(f"{folder} holds no group", hint)
    run = read_run(folder)
    listed = Results(folder).ledger().get(MAPS)
    if not isinstance(run.value("images"), list) or not listed:
        raise BadInput(f"{folder} holds no finished group", hint)
    if not Results(folder).is_done(MAPS, listed["key"]):
        raise BadInput(f"maps of the group in {folder} are missing or changed", "the command that made it mends it")
    images = tuple(_image(one, run) for one in run.value("images") if not one["doubts"])
    return Finished(folder, run.facts, images, listed["key"])


def kept(folder: Path) -> dict[str, Any]:
    """What was added to the record of this very group since: newcomers, and the greys of its pictures."""
    if not (folder / RUN).is_file():
        return {}
    run, listed = read_run(folder), Results(folder).ledger().get(MAPS, {})
    newcomers = run.value("newcomers") or []
    here = [one for one in newcomers if one.get("of") == listed.get("key")]
    window = {"window": run.value("window")} if run.value("window") else {}
    return {**window, "newcomers": here} if here else window


# ---------------------------------------------------------------------------------------------------------------------


def _image(said: dict[str, Any], run: Run) -> Image:
    grid = said["grid"]
    lattice = Grid(tuple(grid["shape"]), grid["world_from_voxel_lps"])
    return Image(
        Path(said["path"]), said["name"], lattice, said["bytes"], said["keypoints_key"], said["hash"], said["low"],
        landmarks=_path(said.get("landmarks")), labels=_path(said.get("labels")),
    )  # fmt: skip


def _path(value: Any) -> Path | None:
    return Path(value) if isinstance(value, str) else None


def _as_the_group(group: Finished, asked: Asked) -> Asked:
    """The group's own options; of the command line only what is about the newcomers' files and who computes."""
    said = group.run["config"]
    config = replace(
        asked.config,
        partners=said["partners"],
        jacobians=asked.config.jacobians or said["jacobians"],
        formats=asked.config.formats or tuple(said["formats"]),
    )
    if is_detector(said["keypoints"]):
        config = replace(config, keypoints=said["keypoints"], describe=_descriptor(group))
        plain = resolve(DETECTOR_OPTIONS[said["keypoints"]])
        options = _config(plain, said[said["keypoints"]])
    elif is_detector(config.keypoints):
        raise BadInput(
            f"keypoints of the group in {group.folder} came from files", "--keypoints FOLDER, with the newcomers' own"
        )
    else:
        options = asked.options
    return replace(
        asked, config=config, options=options, drawing=_config(FrogConfig, said["frog"]),
        matching=_config(MatchConfig, said["matching"]),
    )  # fmt: skip


def _descriptor(group: Finished) -> str | None:
    """The weights that the group's keypoints were described by, which must be there still."""
    said = group.run.get("descriptor")
    if said is None:
        return None
    found = descriptor_of(said["weights"])
    if found is None or found.hash != said["hash"]:
        raise BadInput(
            f"the weights {said['weights']} are not those any more that the group in {group.folder} was described by",
            "put the old ones back, or make the group anew",
        )
    return found.weights


def _config(plain: Any, values: dict[str, Any]) -> Any:
    known = {field.name for field in fields(plain)}
    return plain(**{name: value for name, value in values.items() if name in known})


def _placed(image: Image, group: Finished, store: Store, results: Results, asked: Asked, team: Team) -> dict[str, Any]:
    """The newcomer's map, and how it fits."""
    from homolog.groupwise.newcomer import place

    key = key_of(group=group.key, keypoints=image.key, content=image.content, name=image.name)

    def work() -> tuple[list[Path], dict[str, Any]]:
        with_ = group_plan.nearest(image, group.images, store, asked.config)
        paths = _matches(image, with_, store, asked.matching, team)
        found = place(
            read_stored_keypoints(store.keypoints(image.key), image.name, descriptors=False),
            [read_stored_keypoints(store.keypoints(one.key), one.name, descriptors=False) for one in with_],
            [read_map(group.folder, one.name) for one in with_],
            [whole_matches(path) for path in paths],
            asked.drawing,
            on_step=team.on_step,
            device=asked.config.device,
        )
        path = write_map(image, found.common_from_image[0], group.folder)
        facts = {"fits": [fit_of(found.fits[0])], "keypoints": [image.count], "partners": [one.name for one in with_]}
        return [path, beside(path)], terminal.plain(facts)

    return results.stage(f"{image.name}/map", key, work)


def _entries(
    images: Sequence[Image],
    facts: Sequence[dict[str, Any]],
    group: Finished,
    results: Results,
    asked: Asked,
    team: Team,
) -> list[dict[str, Any]]:
    """What run.json says of the newcomers; every file that it names is there."""
    keys = [key_of(group=group.key, name=one.name, keypoints=one.key) for one in images]
    lattices = [lattice_of(one.grid, read_map(results.folder, one.name)) for one in images]
    made = of_maps(images, keys, lattices, asked.config, results, team)
    everyone = [*group.images, *images]
    own, new = list(range(len(group.images))), range(len(group.images), len(everyone))
    marks = [_marks(one, group, asked) for one in everyone]
    told = [*({} for _ in own), *made]
    fitting = [n for n, said in zip(new, facts) if not said["fits"][0]["doubts"]]
    sources = [everyone[n] for n in givers(everyone, own, group.config)]
    labels_handed_on(everyone, sources, fitting, group.key, told, results, team)
    without = [n for n in fitting if everyone[n].landmarks is None]
    landmarks_handed_on(everyone, marks, own, without, group.key, told, results)
    far = _far(everyone, marks, own, results.folder)
    return [
        {**entry(one, 0, {**said, "landmarks_mm": [far[n]]}, told[n]), "of": group.key}
        for n, one, said in zip(new, images, facts)
    ]


def _marks(image: Image, group: Finished, asked: Asked) -> Keypoints | None:
    """Landmarks of an image; those of the group's own may be gone since."""
    is_own = image in group.images
    if image.landmarks is None or (is_own and not image.landmarks.exists()):
        return None
    return read_marks(image, group.config if is_own else asked.config)


def _far(
    images: Sequence[Image], marks: Sequence[Keypoints | None], own: Sequence[int], folder: Path
) -> list[float | None]:
    """mm, of each image the mean distance of its landmarks to the centroids of the group's own."""
    common = carried_marks(marks, [read_map(folder, one.name) for one in images])
    found = distances(common, [n in own for n in range(len(images))])
    return [sum(each.values()) / len(each) if each else None for each in found]


def _matches(image: Image, others: Sequence[Image], store: Store, matching: MatchConfig, team: Team) -> list[Path]:
    """Stored matches of the newcomer with each of some images."""
    paths = [group_plan.match_path([image, one], (0, 1), store, matching) for one in others]
    left = [(one, path) for one, path in zip(others, paths) if stored_matches(path) is None]
    tasks = [
        MatchTask(store.keypoints(image.key), (store.keypoints(one.key),), (path,), matching) for one, path in left
    ]
    for _ in team.each(find_matches, tasks, f"{image.name}: matches"):
        pass
    return paths
