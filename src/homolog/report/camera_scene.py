"""Where sources, detectors and a volume are: three views of the room, and what falls on each detector, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations

import numpy as np

from homolog.report.page import page, section, table
from homolog.space.camera_poses import PlacedCamera
from homolog.space.camera_sight import letters

# A drawing of more is a tangle.
MOST_CAMERAS = 12
# Told apart by people who see colours otherwise, too (Okabe, Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SIZE, MARGIN, TITLE = 380.0, 34.0, 26.0
PICTURE = 300.0
INK, QUIET, LINE, CARD = "var(--ink, #1c1d1f)", "var(--quiet, #62656b)", "var(--line, #e3e1dc)", "var(--card, #ffffff)"

# Titles, the world's direction to the right and upwards; of patients, and of other worlds.
VIEWS = (
    ("from the front", (1, 0, 0), (0, 0, 1)),
    ("from the patient's left", (0, 1, 0), (0, 0, 1)),
    ("from the feet", (1, 0, 0), (0, -1, 0)),
)
PLAIN_VIEWS = (
    ("x to the right, z up", (1, 0, 0), (0, 0, 1)),
    ("y to the right, z up", (0, 1, 0), (0, 0, 1)),
    ("x to the right, y down", (1, 0, 0), (0, -1, 0)),
)
# Pairs of the eight corners of a box that an edge joins; corners count as Grid.corners has them, the last axis fastest.
EDGES = [(a, b) for a, b in combinations(range(8), 2) if bin(a ^ b).count("1") == 1]


@dataclass(frozen=True, eq=False)
class CameraScene:
    """What is drawn.

    cameras     all in one world
    corners_mm  (8, 3) world: a volume's box, or None
    middle_mm   (3,) world: what the cameras look at, or None
    """

    cameras: Sequence[PlacedCamera]
    corners_mm: np.ndarray | None = None
    middle_mm: np.ndarray | None = None

    @property
    def anatomical(self) -> bool:
        return all(camera.anatomical for camera in self.cameras)

    def points_mm(self) -> np.ndarray:
        """(N, 3): everything that must be in the drawing."""
        parts = [np.concatenate((camera.source_mm[None], detector_corners_mm(camera))) for camera in self.cameras]
        parts += [] if self.corners_mm is None else [self.corners_mm]
        parts += [] if self.middle_mm is None else [self.middle_mm[None]]
        return np.concatenate(parts)


def detector_corners_mm(placed: PlacedCamera) -> np.ndarray:
    """(4, 3) world: the detector's outer corners, that of the first pixel first, then along its first row."""
    rows, columns = placed.camera.size_px
    ends = [(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5), (-0.5, rows - 0.5)]
    return placed.detector_mm(np.array(ends))


def page_of(
    scene: CameraScene,
    told: Sequence[tuple[str, Sequence[tuple[str, str]]]],
    doubts: Sequence[tuple[str, str, str]],
    between: Sequence[str],
) -> str:
    """A page with the drawing, what is wrong, and a table.

    told     a camera's name, and pairs of what is said of it
    doubts   a camera's name, what looks wrong, what would mend it
    between  sentences about pairs
    """
    names = ", ".join(name for name, _ in told)
    keys = list(dict.fromkeys(key for _, pairs in told for key, _ in pairs))
    rows = [[escape(key), *(escape(dict(pairs).get(key, "–")) for _, pairs in told)] for key in keys]
    wrong = [[escape(name), escape(what), escape(hint)] for name, what, hint in doubts]
    sentences = "".join(f"<p>{escape(line)}.</p>" for line in between)
    return page(
        f"Cameras: {names}",
        [
            f"<h1>Cameras <small>{escape(names)}</small></h1>",
            section("To look at", table(["camera", "what", "what would mend it"], wrong)),
            section("Where they are", f'<div class="scroll">{_rooms(scene)}</div>{_legend(scene)}{sentences}'),
            section("What they see", _pictures(scene)),
            section("In numbers", table(["", *(escape(name) for name, _ in told)], rows)),
        ],
    )


def drawing(scene: CameraScene) -> str:
    """The three views of the room alone, as a file of its own."""
    return _rooms(scene, legend=True)


# ---------------------------------------------------------------------------------------------------------------------
# the room


def _rooms(scene: CameraScene, legend: bool = False) -> str:
    points = scene.points_mm()
    views = VIEWS if scene.anatomical else PLAIN_VIEWS
    # one scale for all three, so that lengths compare
    spans = [np.ptp(points @ _axes(right, up), axis=0).max() for _, right, up in views]
    scale = (SIZE - 2 * MARGIN) / max(spans)
    wide, high = 3 * SIZE, SIZE + TITLE + (26 if legend else 0)
    body = "".join(
        f'<g transform="translate({n * SIZE:.0f} {TITLE:.0f})">{_room(scene, view, points, scale)}</g>'
        for n, view in enumerate(views)
    )
    if legend:
        body += "".join(
            _text((MARGIN + 170 * n + 16, SIZE + TITLE + 12), camera.name, anchor="start")
            + f'<circle cx="{MARGIN + 170 * n + 6:.1f}" cy="{SIZE + TITLE + 8:.1f}" r="5" fill="{_colour(n)}"/>'
            for n, camera in enumerate(scene.cameras)
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="100%" role="img" '
        f'aria-label="sources, detectors and the volume from three sides" '
        f'font-family="system-ui, sans-serif" font-size="12">{body}</svg>'
    )


def _room(
    scene: CameraScene, view: tuple[str, tuple[int, ...], tuple[int, ...]], points: np.ndarray, scale: float
) -> str:
    title, right, up = view
    axes = _axes(right, up)
    flat = points @ axes
    middle = (flat.min(axis=0) + flat.max(axis=0)) / 2

    def placed(world: np.ndarray) -> np.ndarray:
        return scale * (np.atleast_2d(world) @ axes - middle) + SIZE / 2

    frame = f'<rect x="4" y="0" width="{SIZE - 8:.0f}" height="{SIZE:.0f}" rx="6" fill="{CARD}" stroke="{LINE}"/>'
    parts = [frame, _text((SIZE / 2, -8), title, weight=600)]
    if scene.anatomical:
        parts += _sides(right, up)
    if scene.corners_mm is not None:
        corners = placed(scene.corners_mm)
        parts += [_line(corners[a], corners[b], QUIET, 1.2) for a, b in EDGES]
    parts += [_camera(camera, placed, _colour(n)) for n, camera in enumerate(scene.cameras)]
    if scene.middle_mm is not None:
        x, y = placed(scene.middle_mm)[0]
        parts.append(f'<path d="M{x - 5:.1f} {y:.1f}h10M{x:.1f} {y - 5:.1f}v10" stroke="{INK}" fill="none"/>')
    return "".join([*parts, _ruler(scale)])


def _camera(placed: PlacedCamera, flat: Callable[[np.ndarray], np.ndarray], colour: str) -> str:
    """The source, the beam's edges and axis, the detector; a filled corner marks its first pixel."""
    source = flat(placed.source_mm)[0]
    corners = flat(detector_corners_mm(placed))
    axis = flat(placed.source_mm + placed.camera.focal_mm * placed.axis)[0]
    edges = "".join(_line(source, corner, colour, 0.8, opacity=0.45) for corner in corners)
    # a triangle, a sixth of the way along both edges
    mark = np.stack(
        (corners[0], corners[0] + (corners[1] - corners[0]) / 6, corners[0] + (corners[3] - corners[0]) / 6)
    )
    return (
        edges
        + _line(source, axis, colour, 1.0, dashes="5 4")
        + _polygon(corners, colour, 0.14, 2.0)
        + _polygon(mark, colour, 1.0, 0.5)
        + f'<circle cx="{source[0]:.1f}" cy="{source[1]:.1f}" r="5" fill="{colour}"/>'
    )


def _sides(right: Sequence[int], up: Sequence[int]) -> Iterator[str]:
    """The patient's directions at the edges of a view."""
    across, upwards = np.array(right, float), np.array(up, float)
    yield _text((SIZE - 16, SIZE / 2), letters(across), weight=600)
    yield _text((16, SIZE / 2), letters(-across), weight=600)
    yield _text((SIZE / 2, 18), letters(upwards), weight=600)
    yield _text((SIZE / 2, SIZE - 8), letters(-upwards), weight=600)


def _ruler(scale: float) -> str:
    length = next(mm for mm in (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e9) if mm * scale > 40)
    x, y = 16.0, SIZE - 14
    bar = _line(np.array((x, y)), np.array((x + length * scale, y)), INK, 2)
    return bar + _text((x, y - 6), f"{length:g} mm", anchor="start")


def _legend(scene: CameraScene) -> str:
    names = "".join(
        f'<span><i class="swatch" style="background:{_colour(n)}"></i>{escape(camera.name)}</span>'
        for n, camera in enumerate(scene.cameras)
    )
    volume = "" if scene.corners_mm is None else "<span>grey box: the volume</span>"
    return (
        f'<p class="key">{names}<span>dot: source</span><span>rectangle: detector, its filled corner the first pixel'
        f"</span><span>dashes: optical axis</span>{volume}</p>"
    )


# ---------------------------------------------------------------------------------------------------------------------
# the pictures


def _pictures(scene: CameraScene) -> str:
    drawn = "".join(_picture(camera, scene, _colour(n)) for n, camera in enumerate(scene.cameras))
    return f'<div style="display:flex;flex-wrap:wrap;gap:24px">{drawn}</div>'


def _picture(placed: PlacedCamera, scene: CameraScene, colour: str) -> str:
    """A detector as its picture is shown, with the volume's box on it and the patient's sides around it."""
    rows, columns = placed.camera.size_px
    scale = PICTURE / max(rows, columns)
    wide, high, room = columns * scale, rows * scale, 44.0
    parts = [
        f'<rect x="0" y="0" width="{wide:.1f}" height="{high:.1f}" fill="{colour}" fill-opacity="0.1" '
        f'stroke="{colour}" stroke-width="2"/>',
        _polygon(np.array(((0, 0), (wide / 6, 0), (0, high / 6))), colour, 1.0, 0.5),
    ]
    if scene.corners_mm is not None:
        corners = (placed.project(scene.corners_mm) + 0.5) * scale
        parts += [_line(corners[a], corners[b], QUIET, 1.2) for a, b in EDGES if np.isfinite(corners[[a, b]]).all()]
    x, y = (np.array(placed.camera.centre_px) + 0.5) * scale
    parts.append(f'<path d="M{x - 7:.1f} {y:.1f}h14M{x:.1f} {y - 7:.1f}v14" stroke="{INK}" fill="none"/>')
    if placed.anatomical:
        right, down = placed.camera_from_world[:2, :3]
        for (left, top), direction in (
            ((wide + 16, high / 2), right),
            ((-16, high / 2), -right),
            ((wide / 2, high + 20), down),
            ((wide / 2, -10), -down),
        ):
            parts.append(_text((left, top), letters(direction), weight=600))
    seen = "seen from the detector's side" if placed.mirrored else "seen from the source"
    box = f"{-room} {-room} {wide + 2 * room:.0f} {high + 2 * room:.0f}"
    return (
        f'<figure style="margin:0;width:min(420px,100%)"><figcaption><b>{escape(placed.name)}</b><span>{seen}</span>'
        f'</figcaption><svg viewBox="{box}" width="100%" role="img" aria-label="the detector of {escape(placed.name)}" '
        f'font-family="system-ui, sans-serif" font-size="13">{"".join(parts)}</svg></figure>'
    )


# ---------------------------------------------------------------------------------------------------------------------
# pieces


def _axes(right: Sequence[int], up: Sequence[int]) -> np.ndarray:
    """(3, 2): from world to drawing, whose y runs down."""
    return np.stack((np.array(right, float), -np.array(up, float)), axis=1)


def _colour(n: int) -> str:
    return COLOURS[n % len(COLOURS)]


def _line(
    start: np.ndarray, end: np.ndarray, colour: str, width: float, *, opacity: float = 1.0, dashes: str = ""
) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}"{dashed}/>'
    )


def _polygon(corners: np.ndarray, colour: str, fill: float, width: float) -> str:
    listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return (
        f'<polygon points="{listed}" fill="{colour}" fill-opacity="{fill}" stroke="{colour}" stroke-width="{width}"/>'
    )


def _text(place: tuple[float, float], words: str, *, anchor: str = "middle", weight: int = 400) -> str:
    return (
        f'<text x="{place[0]:.1f}" y="{place[1]:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{INK}">{escape(words)}</text>'
    )
