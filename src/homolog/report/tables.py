"""The figures of a run as tables."""

from __future__ import annotations

import shlex
from html import escape
from typing import Any

import numpy as np

from homolog.metrics.changes import change
from homolog.report.charts import dumbbell
from homolog.report.page import NONE, figure, folded, number, path_text, section, table
from homolog.report.runs import Run, Side
from homolog.report.runs import number as finite
from homolog.report.scene import Scene
from homolog.space.grid import Grid

# Landmarks named in the text: the ones a reader will go and look at.
WORST = 5
# Letters of a command line that fill more than a few lines: a group may name a thousand files.
LONG_COMMAND = 1000
WORSE = ' <span class="worse" title="worse than before">▼</span>'
AXES = (("L", "R"), ("P", "A"), ("H", "F"))


def ends(run: Run, scene: Scene | None) -> str:
    """Who was registered onto whom, and which way the map goes."""
    rows = [
        _end(run, side, scene.grids.get(side) if scene else None) for side in ("fixed", "moving") if run.section(side)
    ]
    if not rows:
        return ""
    fixed, moving = escape(run.space("fixed")), escape(run.space("moving"))
    sentence = (
        f"<p>The moving image was brought onto the fixed one. The map <code>moving_from_fixed</code> carries points of "
        f"<b>{fixed}</b> to <b>{moving}</b> (LPS mm), and resamples images of <b>{moving}</b> onto the grid of "
        f"<b>{fixed}</b>.</p>"
    )
    head = ["", "space", "file", "voxels", "voxel, mm", "i, j, k run to", "hash"]
    return section("Who was registered onto whom", sentence + table(head, rows, kind="pair"))


def labels(run: Run) -> str:
    """Dice and surface distances of each label, and their means."""
    before, after = run.section("metrics", "dice_before"), run.section("metrics", "dice_after")
    far_before, far = run.section("metrics", "hd95_mm_before"), run.section("metrics", "hd95_mm_after")
    found = list(dict.fromkeys([*after, *before, *far, *far_before]))
    columns = [before, after, far_before, far]
    rows = []
    for label in sorted(found, key=_in_order):
        figures = [finite(column.get(label)) for column in columns]
        rows.append([_label_name(run, label), dumbbell(figures[0], figures[1]), *_label_cells(figures)])
    means = [*means_of(run, "dice"), *means_of(run, "hd95_mm")]
    head = ["label", "Dice, 0 to 1", *map(_column, ("before", "after", "HD95 before, mm", "after, mm"))]
    body = table(head, rows, ["mean", dumbbell(means[0], means[1]), *_label_cells(means)])
    key = (
        '<p class="note">Ring: before. Dot: after. A dashed line is a loss, and so is ▼. '
        "HD95: the distance that 95 % of both surfaces stay within. Means before and after are over the same labels. "
        "Cut: the border of a picture cuts it, so that no map can make it whole.</p>"
    )
    return section("Labels", body + key if body else "")


def landmarks(run: Run) -> str:
    """Distances between landmarks before and after, and the names of the worst."""
    before, after = run.section("metrics", "landmarks", "before"), run.section("metrics", "landmarks", "after")
    if not (before or after):
        return ""
    measures = {"mean_mm": "mean", "median_mm": "median", "p95_mm": "95 %", "max_mm": "largest"}
    rows = [[name, *(number(finite(stage.get(key))) for stage in (before, after))] for key, name in measures.items()]
    body = table(["mm", *map(_column, ("before", "after"))], rows)
    return f"<div><h3>Landmarks</h3>{body}{_worst(after)}</div>"


def the_map(run: Run) -> str:
    """Folding by both definitions, both spreads, and the way there and back."""
    folds = run.section("metrics", "folding")
    rows = []
    if folds:
        rows = [
            ["folded voxels, one-sided differences", _percent(folds.get("fraction"))],
            ["folded voxels, central differences", _percent(folds.get("fraction_central"))],
            ["smallest determinant, one-sided", number(finite(folds.get("least")), ".3f")],
            ["smallest determinant, central", number(finite(folds.get("least_central")), ".3f")],
            ["SDlogJ, of log det", number(finite(folds.get("sdlogj")), ".4f")],
            ["SDlogJ as Learn2Reg counts, of log(det + 3)", number(finite(folds.get("sdlogj_l2r")), ".4f")],
        ]
    return f"<div><h3>Folding and swelling</h3>{table([], rows)}</div>" if rows else ""


def there_and_back(run: Run) -> str:
    """How far points end from where they set out."""
    trips = {side: run.section("metrics", "inverse", side) for side in ("fixed", "moving")}
    rows = [
        [
            f"{side} image, there and back",
            *(number(finite(trip.get(key)), ".3f") for key in ("mean_mm", "p95_mm", "max_mm")),
        ]
        for side, trip in trips.items()
        if trip
    ]
    body = table(["mm", *map(_column, ("mean", "95 %", "largest"))], rows)
    return f"<div><h3>Inverse consistency</h3>{body}</div>" if body else ""


def provenance(run: Run) -> str:
    """All that is needed to do it again."""
    command = run.value("command")
    line = shlex.join(map(str, command)) if isinstance(command, list) and command else ""
    facts = {
        "homolog": run.value("version"),
        "device": run.value("device"),
        "seed": run.value("seed"),
        "time": _duration(run.number("seconds")),
        "finished": run.value("finished"),
    }
    made = [[escape(name), escape(str(value))] for name, value in facts.items() if value is not None]
    tables = [
        ("This run", table([], made)),
        ("Options", table([], _flat(run.section("config")))),
        ("Software", table([], _flat(run.section("software")))),
        (
            "Files",
            table([], [[escape(name), path_text(value)] for name, value in run.section("outputs").items() if value]),
        ),
    ]
    parts = "".join(f"<div><h3>{title}</h3>{body}</div>" for title, body in tables if body)
    pre = f"<pre>{escape(line)}</pre>" if line else ""
    if len(line) > LONG_COMMAND:
        pre = folded("The command", pre)
    return section("How it was made", pre + (f'<div class="columns">{parts}</div>' if parts else ""))


def means_of(run: Run, name: str) -> tuple[float | None, float | None]:
    """The means before and after of the figures under one of the metrics; None where there is none."""
    before, after = (
        {label: finite(figure) for label, figure in run.section("metrics", f"{name}_{stage}").items()}
        for stage in ("before", "after")
    )
    # figures after alone are means of their own, figures before alone too
    means = change(before, after)
    return finite(means.before), finite(means.after)


def percent(fraction: float | None) -> str:
    """A share that is never rounded to none: one folded voxel is a fold."""
    if fraction is not None and 0 < fraction < 1e-4:
        return "< 0.01\N{NO-BREAK SPACE}%"
    return NONE if fraction is None else figure(100 * fraction, ".2f" if fraction else "g", "%")


def duration(run: Run) -> str | None:
    return _duration(run.number("seconds"))


# ---------------------------------------------------------------------------------------------------------------------
# Cells


def _end(run: Run, side: Side, grid: Grid | None) -> list[str]:
    said = run.section(side)
    path, found = said.get("path"), said.get("hash")
    cells = [side, escape(run.space(side)), path_text(path) if path else NONE]
    if grid is None:
        cells += [NONE, NONE, NONE]
    else:
        spacing = " × ".join(f"{size:.4g}" for size in grid.spacing_mm)
        cells += [" × ".join(map(str, grid.shape)), spacing, _axes(grid)]
    return [*cells, f"<code>{escape(str(found))[:12]}</code>" if found else NONE]


def _axes(grid: Grid) -> str:
    """Which way i, j, k run, by the nearest of the patient's directions, and how far off the farthest of them is."""
    names, worst = "", 0.0
    for axis in grid.axes.T:
        main = int(np.argmax(np.abs(axis)))
        names += AXES[main][0 if axis[main] > 0 else 1]
        worst = max(worst, float(np.degrees(np.arccos(min(1.0, abs(axis[main]))))))
    return names + (f" <span class='quiet'>{worst:.0f}° oblique</span>" if worst >= 0.5 else "")


def _label_name(run: Run, label: str) -> str:
    said = [str(run.value("label_names", label) or "")]
    cut = run.value("metrics", "cut")
    if isinstance(cut, list) and label in map(str, cut):
        said.append("(cut)")
    told = " ".join(word for word in said if word)
    return escape(label) + (f" <span class='quiet'>{escape(told)}</span>" if told else "")


def _label_cells(figures: list[float | None]) -> list[str]:
    before, after, far_before, far = figures
    cells = [number(before, ".3f"), number(after, ".3f"), number(far_before), number(far)]
    if before is not None and after is not None and after < before:
        cells[1] += WORSE
    if far_before is not None and far is not None and far > far_before:
        cells[3] += WORSE
    return cells


def _column(name: str) -> str:
    return f"\N{ZERO WIDTH SPACE}{name}"


def _percent(value: Any) -> str:
    return f"\N{ZERO WIDTH SPACE}{percent(finite(value))}"


def _worst(stage: dict[str, Any]) -> str:
    """The landmarks farthest off after registration."""
    names, errors = stage.get("names"), stage.get("error_mm")
    if not (isinstance(names, list) and isinstance(errors, list) and len(names) == len(errors)):
        return ""
    pairs = [(error, str(name)) for name, value in zip(names, errors) if (error := finite(value)) is not None]
    told = ", ".join(f"{escape(name)} {figure(error, '.1f')}" for error, name in sorted(pairs, reverse=True)[:WORST])
    return f'<p class="note">{len(pairs)} landmarks; the farthest after: {told} mm.</p>' if pairs else ""


def _in_order(label: str) -> tuple[int, int, str]:
    """Numbers by their size, then words."""
    return (0, int(label), "") if label.lstrip("-").isdigit() else (1, 0, label)


def _flat(section: dict[str, Any], above: str = "") -> list[list[str]]:
    """Rows of a table, those of an inner table under their joint name."""
    rows: list[list[str]] = []
    for key, value in section.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{above}{key}.")
        else:
            rows.append([f"<code>{escape(above + str(key))}</code>", escape(_plain(value))])
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
