"""A finished run put to the test: what `homolog evaluate RUN` reads from the run, and what it writes back into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from homolog.cli import terminal
from homolog.cli.configs import Evaluate
from homolog.errors import BadInput
from homolog.io.files import writing
from homolog.report.runs import Run, read_run

# The fields of a target error that are distances.
IN_MM = ("error", "mean", "median", "p95", "max")


def of_run(folder: Path, config: Evaluate) -> Evaluate:
    """The files of a run put where none was named: its maps, and the moving patient's labels and points."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder of a run", "homolog register FIXED MOVING -o RUN makes one")
    run = read_run(folder)
    filled = replace(
        config,
        transform=config.transform or run.file("outputs", "moving_from_fixed"),
        inverse=config.inverse or run.file("outputs", "fixed_from_moving"),
    )
    if config.fixed_labels and not (config.moving_labels or config.warped_labels):
        filled = replace(filled, moving_labels=_input(run, "labels", "--moving-labels"))
    if config.fixed_points and not config.moving_points:
        filled = replace(filled, moving_points=_input(run, "points", "--moving-points"))
    return filled


def written_back(folder: Path, facts: dict[str, Any]) -> None:
    """The figures added to the run's record, and its report made anew."""
    from homolog.report.pair import write_report

    metrics = {**read_run(folder).section("metrics"), **_labels(facts), **_landmarks(facts)}
    remembered(folder, {**_names(facts), "metrics": metrics})
    write_report(folder)


def remembered(folder: Path, facts: dict[str, Any]) -> None:
    """Some facts put into a run's record, in place of what it held under these names."""
    run = read_run(folder)
    with writing(folder / "run.json") as part:
        part.write_text(terminal.as_json({**run.facts, **facts}) + "\n")


def _input(run: Run, name: str, flag: str) -> Path:
    named = run.value("config", name)
    if not named:
        raise BadInput(
            f"{run.folder} was run without {name} of the moving patient, so there is nothing to compare",
            f"name them: {flag} FILE",
        )
    return Path(named)


def _names(facts: dict[str, Any]) -> dict[str, Any]:
    names = facts.get("labels", {}).get("names")
    return {"label_names": names} if names else {}


def _labels(facts: dict[str, Any]) -> dict[str, Any]:
    found = facts.get("labels", {})
    named = {
        "dice_before": "dice_before",
        "dice": "dice_after",
        "hd95_mm_before": "hd95_mm_before",
        "hd95_mm": "hd95_mm_after",
        "cut": "cut",
    }
    return {to: terminal.plain(found[name]) for name, to in named.items() if name in found}


def _landmarks(facts: dict[str, Any]) -> dict[str, Any]:
    stages = facts.get("target_error_mm", {})
    if not stages:
        return {}
    return {
        "landmarks": {
            stage: {f"{key}_mm" if key in IN_MM else key: value for key, value in error.items()}
            for stage, error in stages.items()
        }
    }
