"""The report of one pairwise run: `run.json` and the files it names to one HTML file that needs no network."""

from __future__ import annotations

from html import escape
from pathlib import Path, PurePath

from homolog.io.files import writing
from homolog.report import charts, pictures, tables
from homolog.report.page import figure, page, section
from homolog.report.runs import Run, Side, read_run
from homolog.report.scene import read_scene

# Different in shape and in words: colour alone is lost on one reader in twelve.
POOR_SIGN = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><path fill="currentColor" fill-rule="evenodd" d="M8 .9 16 15H0z'
    'M7.2 5.6h1.6v4.6H7.2zM7.2 11.4h1.6V13H7.2z"/></svg>'
)
FINE_SIGN = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7" fill="none" stroke="currentColor" '
    'stroke-width="1.6"/><path d="M4.6 8.3 7 10.6l4.5-5" fill="none" stroke="currentColor" stroke-width="1.6"/></svg>'
)


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
    said = escape(str(why)) if why else ""
    if poor:
        return f'<p class="verdict poor" role="alert">{POOR_SIGN}<b>POOR</b> <span>{said}</span></p>'
    said = said or "Nothing measured here speaks against it. Look at the pictures before you rely on it."
    return f'<p class="verdict fine">{FINE_SIGN}<b>No warning</b> <span class="quiet">{said}</span></p>'


def _tiles(run: Run) -> str:
    name = str(run.value("quality", "similarity_name") or "similarity")
    trip = run.section("metrics", "inverse", "fixed")
    folds = run.number("metrics", "folding", "fraction")
    least = figure(run.number("metrics", "folding", "least"), ".2f")
    tiles = [
        _change(name, run.number("quality", "similarity_before"), run.number("quality", "similarity_after"), ".3f"),
        _change("mean Dice", *tables.means_of(run, "dice"), ".3f"),
        _change("mean HD95", *tables.means_of(run, "hd95_mm"), ".2f", "mm"),
        _change("landmark error", _landmarks(run, "before"), _landmarks(run, "after"), ".2f", "mm"),
        _tile("folded voxels", None if folds is None else tables.percent(folds), f"smallest determinant {least}"),
        _tile("inverse error", _mm(run, "mean_mm"), f"95 % {_mm(run, 'p95_mm') or '–'}" if trip else ""),
        _tile("time", tables.duration(run), escape(str(run.value("device") or ""))),
    ]
    shown = "".join(tile for tile in tiles if tile)
    return f'<dl class="tiles">{shown}</dl>' if shown else ""


def _landmarks(run: Run, stage: str) -> float | None:
    return run.number("metrics", "landmarks", stage, "mean_mm")


def _mm(run: Run, key: str) -> str | None:
    found = run.number("metrics", "inverse", "fixed", key)
    if found is None:
        return None
    return "< 0.001\N{NO-BREAK SPACE}mm" if 0 < found < 0.0005 else figure(found, ".3f", "mm")


def _change(name: str, before: float | None, after: float | None, pattern: str, unit: str = "") -> str:
    """A figure before and after."""
    if after is None:
        return ""
    was = "" if before is None else f'<span class="was">{figure(before, pattern)} →</span> '
    said = "before → after" if was else "after"
    return _tile(escape(name), was + figure(after, pattern), f"{unit}, {said}" if unit else said)


def _tile(name: str, value: str | None, below: str) -> str:
    return f"<div class='tile'><dt>{name}</dt><dd>{value}</dd><dd>{below}</dd></div>" if value else ""
