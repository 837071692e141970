"""A page of one volume's keypoints: seen through the patient, slice by slice, and in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from homolog.io.files import writing
from homolog.report import charts, figures, views
from homolog.report.page import figure, image, number, page, section, table
from homolog.report.pictures import button, framed, label, stack, stage, ways
from homolog.report.projections import seen_through
from homolog.report.scene import Greys, Window, greys_of
from homolog.report.views import View
from homolog.space.keypoints import Keypoints
from homolog.space.sampling import warp
from homolog.space.transforms import Affine
from homolog.space.volume import Volume

# Points of the picture that shows all at once: more hide the patient.
MOST_DOTS = 3000
DOT_MM = 1.5
# Rows of the table.
STRONGEST = 10
# What points without a scale are drawn as.
USUAL_SCALE_MM = 3.0
KEY = (
    '<p class="key"><span><i class="swatch dark-blob"></i>dark, on brighter ground</span>'
    '<span><i class="swatch bright-blob"></i>bright, on darker ground</span></p>'
)

Pixels = Callable[[View, float], list[np.ndarray]]


def write_page(volume: Volume, keypoints: Keypoints, path: Path, method: str, *, window: Window | None = None) -> Path:
    """One HTML file that needs no network.

    keypoints  in the volume's space, strongest first
    method     what they were found by
    window     black and white of the slices; else what suits the picture
    """
    small = views.reduced(volume, views.finest_pixel_mm(volume.grid))
    stacks, greys = views.views_of(small), greys_of(small, small, window, window)
    sections = [
        _top(keypoints, method),
        section("All at once", _all_at_once(small, keypoints, stacks)),
        _explorer(small, keypoints, stacks, greys),
        _scales_told(keypoints),
        section("The strongest", _strongest(keypoints)),
    ]
    with writing(path) as part:
        part.write_text(page(f"{len(keypoints)} keypoints of {volume.space}", sections), encoding="utf-8")
    return path


def _top(keypoints: Keypoints, method: str) -> str:
    tiles = {"keypoints": str(len(keypoints))}
    if keypoints.sign is not None:
        tiles |= {"dark": str(int((keypoints.sign < 0).sum())), "bright": str(int((keypoints.sign > 0).sum()))}
    if keypoints.scale is not None and len(keypoints):
        least, middle, most = (figure(float(of(keypoints.scale)), ".3g") for of in (np.min, np.median, np.max))
        tiles |= {"scale, least to largest": f"{least} to {most} mm", "scale, half below": f"{middle} mm"}
    if keypoints.descriptors is not None:
        tiles |= {"numbers a descriptor": str(keypoints.descriptors.shape[1])}
    told = "".join(f'<div class="tile"><dt>{escape(name)}</dt><dd>{value}</dd></div>' for name, value in tiles.items())
    title = f"<h1>{escape(keypoints.space)} <small>keypoints by {escape(method)}</small></h1>"
    return f'<header>{title}<dl class="tiles">{told}</dl></header>'


def _all_at_once(volume: Volume, keypoints: Keypoints, stacks: Sequence[View]) -> str:
    shown = keypoints[:MOST_DOTS]
    figures_ = []
    for view in stacks:
        dots = circles(view, view.seen(shown.position), np.full(len(shown), DOT_MM), shown.sign)
        body = image(seen_through(volume, view), "through", f"the patient looked through, {view.plane.name}") + dots
        figures_.append(framed(view, f"<b>{view.plane.name.capitalize()}</b>", stage(view, body, "dots")))
    all_of = "all points" if len(shown) == len(keypoints) else f"the {MOST_DOTS} strongest of {len(keypoints)} points"
    row = '<div class="planes">' + "\n".join(figures_) + "</div>"
    said = label("Looked through", f"the mean along the line of sight, as in a radiograph, and {all_of}")
    return said + row + _key(keypoints)


def _scales_told(keypoints: Keypoints) -> str:
    if keypoints.scale is None or not len(keypoints):
        return ""
    title = "Scales" if keypoints.sign is None else "Scales and signs"
    return section(title, charts.signed_counts(keypoints.scale, keypoints.sign) + _key(keypoints))


def _key(keypoints: Keypoints) -> str:
    """What colours mean, where they mean anything."""
    return "" if keypoints.sign is None else KEY


# ---------------------------------------------------------------------------------------------------------------------
# Slices


def _explorer(volume: Volume, keypoints: Keypoints, stacks: Sequence[View], greys: Sequence[Greys]) -> str:
    modes = [("points", "Keypoints"), ("bare", "Picture alone")]
    if keypoints.sign is not None:
        modes[1:1] = [("dark", "Dark ones"), ("bright", "Bright ones")]
    buttons = "".join(button(n, mode, name, n == 1) for n, (mode, name) in enumerate(modes, 1))

    def layers(view: View, position_mm: float) -> str:
        shown = [_slice(volume, view, position_mm, each, n) for n, each in enumerate(greys)]
        return "".join(shown) + _cut(view, position_mm, keypoints)

    size = f"of {USUAL_SCALE_MM:g} mm" if keypoints.scale is None else "as large as its scale"
    body = (
        f'<p class="quiet">A point is a ball {size}; where a slice cuts it, a circle shows the cut. '
        "The sliders go through the slices, the numbers on the keys choose what is shown.</p>"
        f'<div class="modes">{buttons}{ways(greys)}</div>\n'
        '<div class="planes">' + "\n".join(stack(view, layers) for view in stacks) + f"</div>\n{_key(keypoints)}"
    )
    text = section("Slice by slice", body, "explorer")
    return text.replace('class="explorer"', 'class="explorer" data-mode="points" data-greys="0"', 1)


def _slice(volume: Volume, view: View, position_mm: float, greys: Greys, n: int) -> str:
    way = Affine.identity(volume.space, volume.space)
    values = warp(volume, way, view.grid(position_mm), outside=greys.fixed[0]).numpy()[:, :, 0]
    return image(figures.grey(values, greys.fixed), f"picture greys-{n}", f"{view.plane.name} slice")


def _cut(view: View, position_mm: float, keypoints: Keypoints) -> str:
    """The circles in which a slice cuts the points' balls."""
    above = keypoints.position[:, view.plane.through] - position_mm
    inside = np.abs(above) < _scales(keypoints)
    radius = np.sqrt(_scales(keypoints)[inside] ** 2 - above[inside] ** 2)
    sign = None if keypoints.sign is None else keypoints.sign[inside]
    return circles(view, view.seen(keypoints.position[inside]), radius, sign)


def circles(view: View, at_mm: np.ndarray, radius_mm: np.ndarray, sign: np.ndarray | None) -> str:
    """Circles in a slice, those of dark and of bright points as drawings of their own.

    at_mm      (N, 2) right of and below the slice's corner
    radius_mm  (N,)
    """
    sign = np.ones(len(at_mm)) if sign is None else sign
    return "".join(
        _drawing(view, name, at_mm[of], radius_mm[of]) for name, of in (("dark", sign < 0), ("bright", sign > 0))
    )


def _drawing(view: View, kind: str, at_mm: np.ndarray, radius_mm: np.ndarray) -> str:
    width, height = view.size_mm
    drawn = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>' for (x, y), r in zip(at_mm.tolist(), radius_mm.tolist())
    )
    return f'<svg class="points {kind}" viewBox="0 0 {width:.3f} {height:.3f}" preserveAspectRatio="none">{drawn}</svg>'


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def _strongest(keypoints: Keypoints) -> str:
    if keypoints.response is None:
        return ""
    rows = []
    for n in range(min(STRONGEST, len(keypoints))):
        sign = "" if keypoints.sign is None else ("dark" if keypoints.sign[n] < 0 else "bright")
        place = [number(float(value), ".1f") for value in keypoints.position[n]]
        scale = number(None if keypoints.scale is None else float(keypoints.scale[n]), ".2f")
        rows.append([str(n + 1), *place, scale, number(float(keypoints.response[n]), ".4g"), sign])
    heads = [f"\N{ZERO WIDTH SPACE}{name}" for name in ("x, LPS mm", "y", "z", "scale, mm", "response")]
    return table(["", *heads, ""], rows)


def _scales(keypoints: Keypoints) -> np.ndarray:
    return np.full(len(keypoints), USUAL_SCALE_MM) if keypoints.scale is None else keypoints.scale
