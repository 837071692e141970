"""The pictures of a group: its mean and deviation, and the worst fitting images laid over the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from html import escape

import numpy as np

from homolog.errors import BadInput
from homolog.io import transforms, volumes
from homolog.report import figures, png, views
from homolog.report.group_members import Member
from homolog.report.page import figure, image, section
from homolog.report.pictures import button, framed, in_words, label, middles, stack, stage, ways
from homolog.report.projections import seen_through
from homolog.report.runs import Run, number
from homolog.report.scene import Greys, Window, asked_window, greys_of, small
from homolog.report.views import View
from homolog.space.sampling import warp
from homolog.space.transforms import Affine, Transform
from homolog.space.volume import Volume

COMMON = "common"
# Images that are laid over the mean: as many as a reader will look at, and a page can hold.
MOST_SHOWN = 4
# Share of the deviations, where there are any, that are darker than white.
WHITE = 0.98
# mm, a ring round a region.
RING_MM = 30.0
OVER_KEY = (
    '<p class="key for-overlay"><span><i class="swatch" style="background:#f0f"></i>brighter in the mean</span>'
    '<span><i class="swatch" style="background:#0f0"></i>brighter in the image</span>'
    '<span><i class="swatch" style="background:#aaa"></i>grey where they agree</span>'
    "<span>magenta alone also where the image does not reach</span></p>"
)


@dataclass(frozen=True, eq=False)
class Laid:
    """An image that can be laid over the mean.

    picture  as small as it is shown, in its own space
    back     from the common space to its own
    window   its black and white
    """

    name: str
    picture: Volume
    back: Transform
    window: Window


@dataclass(frozen=True, eq=False)
class Common:
    """What there is to look at in the common space.

    greys  the ways to make greys of the mean
    laid   images to be laid over it, the worst first
    lost   why others could not be, in words
    """

    mean: Volume
    deviation: Volume | None
    greys: tuple[Greys, ...]
    laid: tuple[Laid, ...]
    lost: tuple[str, ...]

    @cached_property
    def views(self) -> list[View]:
        return views.views_of(self.mean)

    @cached_property
    def white(self) -> float:
        """The deviation that is white."""
        assert self.deviation is not None
        values = self.deviation.numpy()
        some = values[np.isfinite(values) & (values > 0)]
        return float(np.quantile(some, WHITE)) if some.size else 1.0


def read_common(run: Run, members: Sequence[Member]) -> Common | None:
    """The pictures that a record names; None where it names no mean.

    members  the worst first
    """
    mean_path, deviation_path = (run.file("outputs", name) for name in ("mean", "deviation"))
    if mean_path is None:
        return None
    pixel_mm = views.finest_pixel_mm(volumes.read_grid(mean_path))
    mean = small(mean_path, COMMON, pixel_mm)
    deviation = None if deviation_path is None else small(deviation_path, COMMON, pixel_mm)
    asked = asked_window(run, "fixed")
    found = [_laid(run, each, pixel_mm, asked) for each in members[:MOST_SHOWN]]
    return Common(
        mean,
        deviation,
        greys_of(mean, mean, asked, asked),
        tuple(each for each in found if isinstance(each, Laid)),
        tuple(each for each in found if isinstance(each, str)),
    )


def _laid(run: Run, member: Member, pixel_mm: float, asked: Window | None) -> Laid | str | None:
    """The image, or a sentence why it cannot be shown; None where the record does not say where it lies."""
    path, map_path = member.said.value("path"), member.said.file("outputs", "patient_from_common")
    if not isinstance(path, str) or map_path is None:
        return None
    space = str(member.said.value("space") or member.name)
    original = run.folder / path
    # it lies outside the group's folder, where it may have been moved since
    if not original.exists():
        return f"{member.name} is not shown: {original} is gone."
    try:
        picture = small(original, space, pixel_mm)
    except BadInput as error:
        return f"{member.name} is not shown: {error}"
    back = transforms.read_transform(map_path, fixed=COMMON, moving=space)
    return Laid(member.name, picture, back, asked or views.window_of(picture))


# ---------------------------------------------------------------------------------------------------------------------
# Sections


def the_mean(common: Common, count: int) -> str:
    """The mean and the deviation through the middle.

    count  of the images, to be told
    """
    rows = []
    for n, greys in enumerate(common.greys):
        if greys.at_once:
            rows += [
                label("Mean", f"of {count} images in their common space; {in_words(greys)}"),
                middles(common.views, partial(_mean, common, way=n)),
            ]
    if common.deviation is not None:
        rows += [
            label("Standard deviation", f"between the images; black is 0, white is {_white(common)} and more. "
                  "Bright bands along an organ's edge say that it was not brought together"),
            middles(common.views, partial(_deviation, common)),
        ]  # fmt: skip
    return section("The mean image", "\n".join(rows))


def worst(common: Common) -> str:
    """The worst fitting images over the mean."""
    rows = []
    for n, each in enumerate(common.laid):
        rows += [
            label(
                each.name,
                f"brought to the common space, over the mean; {in_words(_greys_of(common.greys[0], each, 0))}",
            ),
            middles(common.views, partial(_over, common, n=n)),
        ]
    lost = "".join(f'<p class="quiet">{escape(said)}</p>' for said in common.lost)
    key = OVER_KEY if rows else ""
    return section("The worst fitting images", "\n".join(rows) + key + lost)


def explorer(common: Common) -> str:
    """All slices of the mean and of what can be laid over it, with a slider for each plane."""
    # every way to make greys has pictures of its own: twice the ways, half the images
    laid = common.laid[: MOST_SHOWN // len(common.greys)]
    modes = [("fixed", "Mean")] + ([("deviation", "Deviation")] if common.deviation is not None else [])
    modes += [(f"overlay-{n}", f"{escape(each.name)} over it") for n, each in enumerate(laid)]
    buttons = "".join(button(n, mode, name, n == 1) for n, (mode, name) in enumerate(modes, 1))

    def layers(view: View, at_mm: float) -> str:
        ways_ = range(len(common.greys))
        parts = [_mean(common, view, at_mm, way) for way in ways_]
        parts += [_alone(common, view, at_mm, n, way) for n in range(len(laid)) for way in ways_]
        return "".join(parts) + (_deviation(common, view, at_mm) if common.deviation is not None else "")

    back = " Press B, or hold a picture down, to see the mean alone." if len(modes) > 1 else ""
    white = f"black is 0, white is {_white(common)} and more" if common.deviation is not None else ""
    body = (
        f'<p class="quiet">The sliders go through the slices, the numbers on the keys choose the view.{back}</p>'
        f'<div class="modes">{buttons}{ways(common.greys)}</div>\n'
        '<div class="planes">' + "\n".join(stack(view, layers) for view in common.views) + "</div>\n"
        f'<div class="keys">{OVER_KEY}<p class="key for-deviation"><span>{white}</span></p></div>'
    )
    text = section("Slice by slice", body, "explorer")
    return text.replace('class="explorer"', 'class="explorer" data-mode="fixed" data-greys="0"', 1)


def rings(common: Common, centres_mm: np.ndarray) -> str:
    """Numbered rings round places (N, 3) LPS mm in the common space, the mean looked through.

    The first is drawn last: it lies on top.
    """
    parts = []
    for view in common.views:
        width, height = view.size_mm
        drawn = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RING_MM:g}"/><text x="{x:.1f}" y="{y + 5:.1f}">{n}</text>'
            for n, (x, y) in reversed(list(enumerate(view.seen(centres_mm).tolist(), 1)))
        )
        shown = image(seen_through(common.mean, view), "through", f"the mean looked through, {view.plane.name}")
        svg = f'<svg class="points bright" viewBox="0 0 {width:.3f} {height:.3f}" aria-hidden="true">{drawn}</svg>'
        parts.append(framed(view, f"<b>{view.plane.name.capitalize()}</b>", stage(view, shown + svg)))
    return '<div class="planes">' + "\n".join(parts) + "</div>"


# ---------------------------------------------------------------------------------------------------------------------
# Layers


def _mean(common: Common, view: View, at_mm: float, way: int) -> str:
    pixels = _grey(common.mean, None, view, at_mm, common.greys[way].fixed)
    return image(pixels, f"fixed greys-{way}", f"mean, {view.plane.name} slice")


def _deviation(common: Common, view: View, at_mm: float) -> str:
    assert common.deviation is not None
    pixels = _grey(common.deviation, None, view, at_mm, (0.0, common.white))
    return image(pixels, "deviation", f"standard deviation, {view.plane.name} slice")


def _alone(common: Common, view: View, at_mm: float, n: int, way: int) -> str:
    laid = common.laid[n]
    pixels = _grey(laid.picture, laid.back, view, at_mm, _greys_of(common.greys[way], laid, way).moving)
    return image(pixels, f"worst-{n} greys-{way}", f"{laid.name}, {view.plane.name} slice")


def _over(common: Common, view: View, at_mm: float, n: int) -> str:
    """Both in one picture, for paper too."""
    laid, greys = common.laid[n], common.greys[0]
    pixels = png.overlay(
        _grey(common.mean, None, view, at_mm, greys.fixed),
        _grey(laid.picture, laid.back, view, at_mm, _greys_of(greys, laid, 0).moving),
    )
    return image(pixels, "over", f"{laid.name} and the mean, {view.plane.name} slice")


def _grey(volume: Volume, way: Transform | None, view: View, at_mm: float, window: Window) -> np.ndarray:
    """(rows, columns) uint8 of a slice of the common space."""
    way = way or Affine.identity(volume.space, volume.space)
    return figures.grey(warp(volume, way, view.grid(at_mm), outside=window[0]).numpy()[:, :, 0], window)


def _greys_of(greys: Greys, laid: Laid, way: int) -> Greys:
    """The mean's greys, and the image's own: scanners other than CTs know no common scale."""
    return replace(greys, moving=laid.window) if way == 0 else greys


def _white(common: Common) -> str:
    return figure(number(common.white), ".3g")
