"""The X-rays of an alignment to look through, and the way to the pose."""

from __future__ import annotations

import csv
from base64 import b64encode
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from homolog.report import align_pictures, charts
from homolog.report.page import section
from homolog.report.pictures import OVERLAY_KEY, button
from homolog.report.runs import Run

# How a picture's file is called in the record -> the class by which it is shown.
LAYERS = {"xray": "fixed", "projection": "after", "start": "before", "edges": "edges"}
MODES = (
    ("edges", "Edges", "edges"),
    ("fixed", "X-ray", "xray"),
    ("after", "Projection", "projection"),
    ("overlay-after", "Both", "projection"),
    ("checkerboard", "Checkerboard", "projection"),
    ("before", "Projection at the start", "start"),
    ("overlay-before", "Both, at the start", "start"),
)
SAYS = {"xray": "X-ray", "projection": "projection at the pose", "start": "projection at the start", "edges": "edges"}
# Charts of a search from many starts would fill pages: those of the last stages tell how it ended.
MOST_CHARTS = 12


def xrays(run: Run) -> list[dict[str, Any]]:
    """What the record says of each X-ray."""
    found = run.value("xrays")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def explorer(run: Run) -> str:
    """Every X-ray with its projection, in all ways to look at them."""
    several = [(each, _layers(run, each)) for each in xrays(run)]
    there = {kind for _, layers in several for kind in layers}
    modes = [(mode, name) for mode, name, kind in MODES if kind in there]
    if not modes:
        return ""
    buttons = "".join(button(n, mode, name, n == 1) for n, (mode, name) in enumerate(modes, 1))
    views = "\n".join(_view(n, str(each.get("name")), layers) for n, (each, layers) in enumerate(several, 1) if layers)
    keys = (
        f"{OVERLAY_KEY.replace('fixed image', 'X-ray').replace('moving image', 'projection')}"
        '<p class="key for-edges"><span><i class="swatch" style="background:#ffb000"></i>edges of the projection: at a '
        "right pose they lie on those of the X-ray</span></p>"
    )
    body = (
        '<p class="quiet">The numbers on the keys choose the view; hold a picture down, or press B, to see the other '
        "one. What is dimmed was not compared.</p>"
        f'<div class="modes">{buttons}</div>\n<div class="planes">{views}</div>\n<div class="keys">{keys}</div>'
    )
    text = section("The X-rays", body, "explorer xrays")
    return text.replace('class="explorer', f'data-mode="{modes[0][0]}" data-greys="0" class="explorer', 1)


def way(run: Run) -> str:
    """The likeness step by step, a chart a stage."""
    rows = [{"stage": row["stage"], "step": n, "energy": float(row["score"])} for n, row in enumerate(_steps(run))]
    stages = [list(group) for _, group in groupby(rows, lambda row: row["stage"])]
    shown = [row for group in stages[-MOST_CHARTS:] for row in group]
    left = len(stages) - MOST_CHARTS
    said = f"the last {MOST_CHARTS} of {len(stages)} stages; " if left > 0 else ""
    note = (
        f'<p class="quiet">How alike projection and X-ray are, larger is better: {said}all are in trajectory.csv.</p>'
    )
    return section("The way to the pose", note + charts.traces(shown) if shown else "")


def _steps(run: Run) -> list[dict[str, str]]:
    path = run.file("outputs", "trajectory")
    if path is None:
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _layers(run: Run, xray: dict[str, Any]) -> dict[str, Path]:
    """The pictures that the record names: what they show -> where they lie."""
    record = Run(run.folder, xray)
    return {kind: path for kind in LAYERS if (path := record.file("outputs", kind)) is not None}


def _view(number: int, name: str, layers: dict[str, Path]) -> str:
    """One X-ray's pictures, one over another."""
    width, height = _size(next(iter(layers.values())))
    images = "".join(_image(kind, path, name) for kind, path in layers.items())
    square = align_pictures.square_px((height, width))
    tile = f"{200 * square / width:.3f}% {200 * square / height:.3f}%"
    return (
        f'<figure class="view xray-{number}"><figcaption><b>{escape(name)}</b></figcaption>'
        f'<div class="stage" style="aspect-ratio:{width}/{height};--tile:{tile}">'
        f'<div class="slice">{images}</div></div></figure>'
    )


def _image(kind: str, path: Path, name: str) -> str:
    data = b64encode(path.read_bytes()).decode("ascii")
    says = escape(f"{name}, {SAYS[kind]}")
    return f'<img class="{LAYERS[kind]}" alt="{says}" src="data:image/png;base64,{data}">'


def _size(path: Path) -> tuple[int, int]:
    """(width, height) of a PNG, from its header."""
    header = path.read_bytes()[16:24]
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
