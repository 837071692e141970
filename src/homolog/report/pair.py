"""The report of one pairwise run: `run.json` and the files it names to one HTML file that needs no network."""

from __future__ import annotations

from html import escape
from pathlib import Path, PurePath

from homolog.io.files import writing
from homolog.report import charts, pictures, tables, verdicts
from homolog.report.page import figure, page, section
from homolog.report.runs import Run, Side, read_run
from homolog.report.scene import read_scene
from homolog.report.verdicts import change, tile


def write_report(run_folder: Path) -> Path:
    """`report.html` in a run's folder, made from its `run.json` and the files named there.

    What the record does not hold is left out; a file that it names and that is gone is an error.
    """
    run = read_run(run_folder)
    scene = read_scene(run)
    figures = "".join((tables.the_map(run), tables.there_and_back(run), tables.landmarks(run)))
    sections = [
        _top(run),
        tables.ends(run, scene),
        pictures.before_and_after(scene) if scene else "",
        section("The map in numbers", f'<div class="columns">{figures}</div>' if figures else ""),
        pictures.deformation(scene) if scene else "",
        pictures.explorer(scene) if scene else "",
        # they may be a hundred: what fits a screen comes first
        tables.labels(run),
        section("Optimisation", charts.traces(run.value("trace"))),
        tables.provenance(run),
    ]
    path = run.folder / "report.html"
    with writing(path) as part:
        part.write_text(page(_title(run), sections), encoding="utf-8")
    return path


def _title(run: Run) -> str:
    return f"{_name(run, 'moving')} onto {_name(run, 'fixed')}"


def _name(run: Run, side: Side) -> str:
    """A file's name; where both files are called the same, the name of the space."""
    paths = [run.value(each, "path") for each in (side, "moving" if side == "fixed" else "fixed")]
    name, other = (PurePath(str(path)).name if path else "" for path in paths)
    return name if name and name != other else run.space(side)


def _top(run: Run) -> str:
    """Who, how well, and whether to worry."""
    moving, fixed = escape(_name(run, "moving")), escape(_name(run, "fixed"))
    heading = f"<h1>{moving} <small>onto</small> {fixed}</h1>"
    return f"<header>{heading}{_verdict(run)}{_tiles(run)}</header>"


def _verdict(run: Run) -> str:
    poor, why = run.value("quality", "poor"), run.value("quality", "why")
    if not isinstance(poor, bool):
        return ""
    said = str(why) if why else ""
    if poor:
        return verdicts.poor("POOR", said)
    return verdicts.fine(
        "No warning", said or "Nothing measured here speaks against it. Look at the pictures before you rely on it."
    )


def _tiles(run: Run) -> str:
    name = str(run.value("quality", "similarity_name") or "similarity")
    trip = run.section("metrics", "inverse", "fixed")
    folds = run.number("metrics", "folding", "fraction")
    least = figure(run.number("metrics", "folding", "least"), ".2f")
    return verdicts.tiles([
        change(name, run.number("quality", "similarity_before"), run.number("quality", "similarity_after"), ".3f"),
        change("mean Dice", *tables.means_of(run, "dice"), ".3f"),
        change("mean HD95", *tables.means_of(run, "hd95_mm"), ".2f", "mm"),
        change("landmark error", _landmarks(run, "before"), _landmarks(run, "after"), ".2f", "mm"),
        tile("folded voxels", None if folds is None else tables.percent(folds), f"smallest determinant {least}"),
        tile("inverse error", _mm(run, "mean_mm"), f"95 % {_mm(run, 'p95_mm') or '–'}" if trip else ""),
        tile("time", tables.duration(run), escape(str(run.value("device") or ""))),
    ])  # fmt: skip


def _landmarks(run: Run, stage: str) -> float | None:
    return run.number("metrics", "landmarks", stage, "mean_mm")


def _mm(run: Run, key: str) -> str | None:
    found = run.number("metrics", "inverse", "fixed", key)
    if found is None:
        return None
    return "< 0.001\N{NO-BREAK SPACE}mm" if 0 < found < 0.0005 else figure(found, ".3f", "mm")
