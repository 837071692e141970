"""The pictures of a page: rows of three planes that can be printed, and the stacks to look through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from homolog.report import figures, png
from homolog.report.page import figure, image, section
from homolog.report.scene import Greys, Scene
from homolog.report.views import View

# Sides of the checkerboard's squares.
SQUARE_MM = 40.0
RULER_MM = 50.0
NAMES = {"fixed": "fixed", "before": "moving, before", "after": "moving, after"}
OVERLAY_KEY = (
    '<p class="key for-overlay"><span><i class="swatch" style="background:#f0f"></i>brighter in the fixed image</span>'
    '<span><i class="swatch" style="background:#0f0"></i>brighter in the moving image</span>'
    '<span><i class="swatch" style="background:#aaa"></i>grey where they agree</span>'
    "<span>one colour alone also where only one image reaches</span></p>"
)

Layers = Callable[[View, float], str]


def before_and_after(scene: Scene) -> str:
    """The middle slices with both images in one, by the headers alone and under the map."""
    rows = []
    for greys in (each for each in scene.greys if each.at_once):
        if scene.before is not None:
            rows += [
                label("Before", f"both images where their headers put them; {in_words(greys)}"),
                middles(scene.views, _overlay(scene, "before", greys)),
            ]
        if scene.after is not None:
            rows += [
                label("After", f"the moving image brought onto the fixed one; {in_words(greys)}"),
                middles(scene.views, _overlay(scene, "after", greys)),
            ]
    return section("Before and after", "\n".join([*rows, OVERLAY_KEY]) if rows else "")


def in_words(greys: Greys) -> str:
    """Which values are black and white."""
    name = f"{greys.name}, " if greys.name else ""
    said = [f"{figure(low, 'g')} to {figure(high, 'g')}" for low, high in dict.fromkeys((greys.fixed, greys.moving))]
    return f"{name}greys from {' and, of the moving one, from '.join(said)}"


def deformation(scene: Scene) -> str:
    """The map itself: what it does in words, a grid under it, and its Jacobian."""
    if scene.moving_from_fixed is None:
        return ""
    if not scene.bends:
        return section("The deformation", _motion(scene))
    distance = scene.line_distance_mm
    body = [
        _motion(scene),
        label("Grid", f"lines {distance:g} mm apart in the fixed patient, where the map carries them; its affine part "
               "is left out, so what is bent here is bent by the registration"),
        middles(scene.views, lambda view, position: _fixed(scene, view, position) + _lines(scene, view, position)),
        label("Jacobian determinant", "growth of a small piece of the fixed patient on its way to the moving one"),
        middles(scene.views, lambda view, position: _jacobian(scene, view, position), "on-light"),
        _jacobian_key(scene),
    ]  # fmt: skip
    return section("The deformation", "\n".join(body))


def explorer(scene: Scene) -> str:
    """All slices in all ways to look at them, with a slider for each plane."""
    modes = _modes(scene)
    start = "overlay-after" if scene.after is not None else modes[0][0]
    buttons = "".join(button(n, mode, name, mode == start) for n, (mode, name) in enumerate(modes, 1))
    layers = _all_layers(scene)
    planes = "\n".join(stack(view, layers) for view in scene.views)
    keys = OVERLAY_KEY + _checkerboard_key() + (_map_keys(scene) if scene.bends else "")
    both = " Press B, or hold a picture down, to see the other of before and after." if scene.before else ""
    body = (
        f'<p class="quiet">The sliders go through the slices, the numbers on the keys choose the view.{both}</p>'
        f'<div class="modes">{buttons}{ways(scene.greys)}</div>\n'
        f'<div class="planes">{planes}</div>\n<div class="keys">{keys}</div>'
    )
    text = section("Slice by slice", body, "explorer")
    return text.replace('class="explorer"', f'class="explorer" data-mode="{start}" data-greys="0"', 1)


def ways(several: Sequence[Greys]) -> str:
    """Buttons to choose between ways to make greys, where there are several."""
    if len(several) == 1:
        return ""
    buttons = "".join(
        f'<button type="button" value="{n}" aria-pressed="{"false" if n else "true"}" title="{in_words(greys)}">'
        f"{greys.name.capitalize()}</button>"
        for n, greys in enumerate(several)
    )
    return f'<span class="ways">{buttons}<kbd>W</kbd></span>'


def button(key: int, mode: str, name: str, pressed: bool) -> str:
    """One of the ways to look, with its key."""
    return (
        f'<button type="button" value="{mode}" aria-pressed="{"true" if pressed else "false"}">'
        f"{name}<kbd>{key}</kbd></button>"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Frames


def stage(view: View, inside: str, kind: str = "") -> str:
    """Pictures of a slice one over another, with the letters of its edges and a ruler, in the patient's proportions."""
    width, height = view.size_mm
    left, right, top, bottom = view.plane.letters
    letters = "".join(
        f'<span class="side {side}">{letter}</span>'
        for side, letter in zip(("left", "right", "top", "bottom"), (left, right, top, bottom))
    )
    tile = f"{200 * SQUARE_MM / width:.3f}% {200 * SQUARE_MM / height:.3f}%"
    ruler = f'<span class="ruler" style="width:{100 * RULER_MM / width:.3f}%"><i>{RULER_MM:g} mm</i></span>'
    return (
        f'<div class="stage {kind}" style="aspect-ratio:{width:.3f}/{height:.3f};--tile:{tile}">'
        f"{inside}{letters}{ruler if width > 1.5 * RULER_MM else ''}</div>"
    )


def framed(view: View, caption: str, body: str) -> str:
    """A stage with what it shows written above it."""
    # the same millimetres to a pixel of the screen in all three planes
    return (
        f'<figure class="plane {view.plane.name}" style="flex-grow:{view.size_mm[0]:.3f}">'
        f"<figcaption>{caption}</figcaption>{body}</figure>"
    )


def middles(views: Sequence[View], layers: Layers, kind: str = "") -> str:
    """A row of the three planes through the middle of the foreground."""
    parts = []
    for view in views:
        position = view.positions_mm[view.middle]
        caption = f"<b>{view.plane.name.capitalize()}</b><span>{place_of(view, position)}</span>"
        parts.append(framed(view, caption, stage(view, layers(view, position), kind)))
    return '<div class="planes">' + "\n".join(parts) + "</div>"


def stack(view: View, layers: Layers) -> str:
    """All slices of a view, the middle one on top, and the slider."""
    slices = []
    for n, position in enumerate(view.positions_mm):
        hidden = "" if n == view.middle else " hidden"
        says = place_of(view, position)
        slices.append(f'<div class="slice" data-position="{says}"{hidden}>{layers(view, position)}</div>')
    name, last = view.plane.name, len(view.positions_mm) - 1
    middle = place_of(view, view.positions_mm[view.middle])
    slider = f'<input type="range" min="0" max="{last}" value="{view.middle}" aria-label="{name} slice">'
    caption = f"<b>{name.capitalize()}</b><output>{middle}</output>"
    return framed(view, caption, stage(view, "\n".join(slices)) + slider)


def place_of(view: View, position_mm: float) -> str:
    """Where a slice lies, LPS."""
    axis = "xyz"[view.plane.through]
    return f"{axis} = {figure(position_mm, '.1f', 'mm')}"


def label(name: str, says: str) -> str:
    """The line above a row of pictures."""
    return f'<p class="rowlabel"><b>{escape(name)}</b> <span class="quiet">{escape(says)}</span></p>'


# ---------------------------------------------------------------------------------------------------------------------
# Layers


def _fixed(scene: Scene, view: View, position_mm: float) -> str:
    return _grey(scene, "fixed", view, position_mm, 0)


def _grey(scene: Scene, which: str, view: View, position_mm: float, number: int) -> str:
    """A slice in one of the ways to make greys."""
    pixels = scene.grey(which, view, position_mm, scene.greys[number])
    kind = f"{which} greys-{number}"
    return "" if pixels is None else image(pixels, kind, f"{NAMES[which]}, {view.plane.name} slice")


def _overlay(scene: Scene, which: str, greys: Greys) -> Layers:
    def layer(view: View, position_mm: float) -> str:
        fixed, moving = (scene.grey(each, view, position_mm, greys) for each in ("fixed", which))
        assert fixed is not None and moving is not None
        return image(
            png.overlay(fixed, moving), f"overlay-{which}", f"fixed and {NAMES[which]}, {view.plane.name} slice"
        )

    return layer


def _jacobian(scene: Scene, view: View, position_mm: float) -> str:
    pixels = figures.jacobian(*scene.determinants(view, position_mm), scene.reach)
    return image(pixels, "jacobian", f"Jacobian determinant, {view.plane.name} slice")


def _lines(scene: Scene, view: View, position_mm: float) -> str:
    width, height = view.size_mm
    lines = figures.grid_lines(view, position_mm, scene.bent, scene.line_distance_mm)
    drawn = "".join(_polyline(line) for line in lines)
    return (
        f'<svg class="grid" viewBox="0 0 {width:.3f} {height:.3f}" preserveAspectRatio="none"><path d="{drawn}"/></svg>'
    )


def _polyline(line: np.ndarray) -> str:
    """Knots to a tenth of a millimetre, each told from the one before: half the letters."""
    tenths = np.rint(10 * line).astype(int)
    steps = "".join(f"{x / 10:g} {y / 10:g} " for x, y in np.diff(tenths, axis=0))
    return f"M{tenths[0, 0] / 10:g} {tenths[0, 1] / 10:g}l{steps.strip()}"


def _all_layers(scene: Scene) -> Layers:
    def layers(view: View, position_mm: float) -> str:
        numbers = range(len(scene.greys))
        shown = [(which, n) for n in numbers for which in ("fixed", "before", "after")]
        parts = [_grey(scene, which, view, position_mm, n) for which, n in shown]
        if scene.bends:
            parts += [_lines(scene, view, position_mm), _jacobian(scene, view, position_mm)]
        return "".join(parts)

    return layers


def _modes(scene: Scene) -> Sequence[tuple[str, str]]:
    """The ways to look that the run has pictures for."""
    before, after, the_map = scene.before is not None, scene.after is not None, scene.bends
    modes = [
        (True, "fixed", "Fixed"),
        (before, "before", "Moving, before"),
        (after, "after", "Moving, after"),
        (before, "overlay-before", "Both, before"),
        (after, "overlay-after", "Both, after"),
        (after, "checkerboard", "Checkerboard"),
        (the_map, "grid", "Grid"),
        (the_map, "jacobian", "Jacobian"),
    ]
    return [(mode, name) for there, mode, name in modes if there]


# ---------------------------------------------------------------------------------------------------------------------
# Keys


def _jacobian_key(scene: Scene) -> str:
    ticks = [2.0 ** (scene.reach * place) for place in (-1, -0.5, 0, 0.5, 1)]
    numbers = "".join(f"<span>{tick:.2g}</span>" for tick in ticks)
    colours = ",".join(figures.COLOURS)
    return (
        f'<p class="key for-jacobian"><span class="scale"><i style="background:linear-gradient(90deg,{colours})"></i>'
        f"<span>{numbers}</span></span><span>blue shrinks, orange grows; the scale is logarithmic</span>"
        '<span><i class="swatch" style="background:#000"></i>black: folded (determinant zero or less)</span></p>'
    )


def _checkerboard_key() -> str:
    return f'<p class="key for-checkerboard"><span>squares of {SQUARE_MM:g} mm, fixed and moving by turns</span></p>'


def _map_keys(scene: Scene) -> str:
    grid = f"lines {scene.line_distance_mm:g} mm apart before the map bent them"
    return f'<p class="key for-grid"><span>{grid}</span></p>{_jacobian_key(scene)}'


def _motion(scene: Scene) -> str:
    motion = scene.motion
    shift = figure(float(np.linalg.norm(motion.shift_mm)), ".1f", "mm")
    turn, factor = figure(motion.turn_degrees, ".1f"), figure(motion.volume_factor, ".3f")
    affine = (
        f"Over the foreground of the fixed image, the map shifts by {shift}, turns by {turn}° and "
        f"multiplies volumes by {factor}"
    )
    if not scene.bends:
        return f'<p class="quiet">{affine}. It is affine: it bends nothing, and does the same everywhere.</p>'
    rest, most = figure(motion.rest_mm, ".2f", "mm"), figure(motion.rest_max_mm, ".1f", "mm")
    return (
        f'<p class="quiet">{affine} (its affine part); beyond that it moves points by {rest} '
        f"(root mean square, at most {most}).</p>"
    )
