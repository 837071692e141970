"""What is written of a group beside its pictures: run.json, measures.csv, and what the terminal shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homolog.cli.describing import recorded
from homolog.cli.group_images import Image, Unusable, is_detector
from homolog.cli.inputs import window_of_words
from homolog.cli.recording import circumstances, texts
from homolog.cli.terminal import plain
from homolog.io.files import writing
from homolog.report.runs import read_run

if TYPE_CHECKING:
    from homolog.cli.group_asked import Asked

RUN, MEASURES = "run.json", "measures.csv"
# What the command was asked for that says nothing of the group.
NOT_RECORDED = ("json", "force", "plan", "add", "to", "only", "shard")
# Structures that the terminal shows; run.json has all.
SHOWN = 10
COLUMNS = ("iteration", "stage", "step", "energy_mm", "spread_mm")


def record(
    images: Sequence[Image],
    facts: Mapping[str, Any],
    made: Sequence[Mapping[str, Any]],
    whole: Mapping[str, Any],
    asked: Asked,
    left_out: Sequence[Unusable],
    seconds: float,
) -> dict[str, Any]:
    """run.json: the circumstances, the options, every image, and what was measured of all.

    facts  of the maps (`group_maps.drawn_together`)
    made   of each image's outputs
    whole  of the outputs that are of all images: mean, overlap
    """
    config = asked.config
    given = {k: v for k, v in asdict(config).items() if k not in NOT_RECORDED}
    detecting = {config.keypoints: asdict(asked.options)} if is_detector(config.keypoints) else {}
    entries = [entry(one, n, facts, made[n]) for n, one in enumerate(images)]
    window = window_of_words(config.window)
    return plain(
        {
            **circumstances(seconds),
            "config": {**texts(given), "frog": asdict(asked.drawing), "matching": asdict(asked.matching), **detecting},
            **recorded(config.describe),
            "images": entries,
            "left_out": [{"path": str(one.path.resolve()), "why": one.why} for one in left_out],
            **{
                name: facts[name]
                for name in ("trace", "histograms", "landmarks", "regions", "stopped")
                if name in facts
            },
            **({"window": {"fixed": window, "moving": window}} if window else {}),
            **{name: whole[name] for name in ("overlap", "mean") if name in whole},
            "outputs": {**whole.get("outputs", {}), "measures": MEASURES},
        }
    )


def entry(one: Image, n: int, facts: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json says of an image; `n` is its place among those the facts are of."""
    return {
        "name": one.name,
        "path": str(one.path.resolve()),
        "space": one.name,
        "hash": one.content,
        "bytes": one.hash,
        "keypoints_key": one.key,
        "low": one.low,
        "grid": {"shape": list(one.grid.shape), "world_from_voxel_lps": one.grid.world_from_voxel.tolist()},
        "labels": one.labels and str(one.labels.resolve()),
        "landmarks": one.landmarks and str(one.landmarks.resolve()),
        "keypoints": facts["keypoints"][n],
        **facts["fits"][n],
        "landmarks_mm": facts["landmarks_mm"][n],
        **made,
    }


def reported(folder: Path, on_step: Callable[..., None]) -> dict[str, Any]:
    """The record as it was written, and the page that is made from it."""
    from homolog.report.group import write_group_report

    on_step("report", 0.5)
    write_group_report(folder)
    on_step("report", 1.0)
    return read_run(folder).facts


def write_measures(trace: Sequence[Mapping[str, Any]], path: Path) -> tuple[list[Path], dict[str, Any]]:
    """A line a step: its number, its stage and its number there, the energy and the landmarks' spread before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for n, step in enumerate(trace):
        spread = step["spread_mm"]
        told = "" if spread is None else f"{spread:.6g}"
        writer.writerow([n, step["stage"], step["step"], f"{step['energy_mm']:.6g}", told])
    with writing(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8")
    return [path], {}


# ---------------------------------------------------------------------------------------------------------------------
# The terminal


def tables(run: Mapping[str, Any], newcomers: bool = False) -> list[tuple[list[str], list[list[object]]]]:
    """What was found, as tables: landmarks, overlap, and the images; or the newcomers alone."""
    if newcomers:
        return [_images(run["newcomers"])]
    found = []
    if "landmarks" in run:
        found.append(_landmarks(run["landmarks"]))
    if "overlap" in run:
        found.append(_overlap(run["overlap"]))
    found.append(_images(run["images"]))
    return found


def doubts(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each image that should not be believed to fit."""
    return [f"{one['name']} does not fit: {'; '.join(one['doubts'])}" for one in entries if one["doubts"]]


def _landmarks(spread: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    figures = (("to their centroid, mean", "centroid_mm"), ("to their centroid, largest", "max_mm"),
               ("between two patients, mean", "pairwise_mm"))  # fmt: skip
    rows: list[list[object]] = [
        [label, *(_mm(spread[stage][name]) for stage in ("before", "linear", "end"))] for label, name in figures
    ]
    return ["landmarks, mm", "before", "linear", "end"], rows


def _overlap(overlap: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    known = sorted((value, name) for name, value in overlap["dice"].items() if value is not None)
    rows: list[list[object]] = [[name, f"{value:.3f}"] for value, name in known[:SHOWN]]
    more = f", of which the lowest {SHOWN} below" if len(known) > SHOWN else ""
    return ["structure", "Dice"], [[f"mean of {len(known)}{more}", f"{overlap['mean_dice']:.3f}"], *rows]


def _images(entries: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = [
        [one["name"], one["keypoints"], one["matches"], one["inliers"], _mm(one["residual_mm"]),
         _mm(one["landmarks_mm"]), "no" if one["doubts"] else "yes"]
        for one in entries
    ]  # fmt: skip
    return ["image", "keypoints", "matches", "right", "residual, mm", "landmarks, mm", "fits"], rows


def _mm(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
