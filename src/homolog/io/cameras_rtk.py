"""RTK's geometry files: XML with nine parameters a projection, those that all share written once."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io.cameras_told import Unsaid, named, numbers
from homolog.io.files import require_file
from homolog.space.camera_poses import PlacedCamera
from homolog.space.camera_scanners import RtkView, from_rtk, to_rtk

ROOT = "RTKThreeDCircularGeometry"
PARAMETERS = tuple(field.name for field in fields(RtkView))
# The matrix beside the parameters is theirs to this share of its size; files keep six digits and more.
SAME = 1e-3


def read_rtk(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """The cameras of a geometry; the picture's size and pitch are the caller's, its middle is at 0 mm."""
    root = _root(path)
    shared = _parameters(root, path)
    views = []
    for projection in root.iter("Projection"):
        view = _view(shared | _parameters(projection, path), path)
        _require_matrix(projection, view, path)
        views.append(view)
    if not views:
        raise UnreadableFile(f"{path} holds no projection")
    return [
        from_rtk(view, unsaid.pixels(path), unsaid.pitch_mm, **unsaid.about(named(path, n, len(views)), "patient"))
        for n, view in enumerate(views)
    ]


def rtk_text(cameras: list[PlacedCamera]) -> str:
    """The geometry's XML, with a word on how the pictures must lie for it."""
    root = ElementTree.Element(ROOT, version="3")
    for camera in cameras:
        root.append(ElementTree.Comment(_lies(camera)))
        projection, view = ElementTree.SubElement(root, "Projection"), to_rtk(camera)
        for name, value in asdict(view).items():
            ElementTree.SubElement(projection, name).text = repr(value)
        rows = ("  ".join(repr(float(value)) for value in row) for row in view.mm_from_world)
        ElementTree.SubElement(projection, "Matrix").text = "\n".join(rows)
    ElementTree.indent(root)
    head = '<?xml version="1.0"?>\n<!DOCTYPE RTKGEOMETRY>\n'
    return head + ElementTree.tostring(root, encoding="unicode") + "\n"


def _lies(camera: PlacedCamera) -> str:
    (rows, columns), (down, across) = camera.camera.size_px, camera.camera.pitch_mm
    order = "as they are" if camera.mirrored else "in reverse order, the last one first"
    return (
        f" {columns} x {rows} pixels of {across:.9g} x {down:.9g} mm, origin {-(columns - 1) / 2 * across:.9g} "
        f"{-(rows - 1) / 2 * down:.9g}, rows {order} "
    )


def _root(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(require_file(path).read_bytes())
    except ElementTree.ParseError as error:
        raise UnreadableFile(f"{path} is not XML: {error}") from None
    if root.tag != ROOT:
        raise UnreadableFile(f"{path} is no geometry of RTK: it begins with <{root.tag}>, not <{ROOT}>")
    if float(root.findtext("RadiusCylindricalDetector") or 0) != 0:
        raise BadInput(f"{path} has a cylindrical detector; flat ones are read")
    return root


def _parameters(element: ElementTree.Element, path: Path) -> dict[str, float]:
    """Those that are children of this very element."""
    found = {child.tag: child.text or "" for child in element if child.tag in PARAMETERS}
    return {name: numbers([text.strip()], f"{path}, {name}")[0] for name, text in found.items()}


def _view(parameters: dict[str, float], path: Path) -> RtkView:
    try:
        return RtkView(**parameters)
    except TypeError:
        missing = [name for name in PARAMETERS[:2] if name not in parameters]
        raise UnreadableFile(f"{path}: a projection has no {' and no '.join(missing)}") from None


def _require_matrix(projection: ElementTree.Element, view: RtkView, path: Path) -> None:
    """The matrix beside the parameters, where there is one, must be theirs: else who knows which is right?"""
    text = projection.findtext("Matrix")
    if text is None:
        return
    stored = np.array(numbers(text.split(), f"{path}, Matrix"))
    wanted = view.mm_from_world.ravel()
    if stored.size != 12 or np.abs(stored - wanted).max() > SAME * np.abs(wanted).max():
        raise UnreadableFile(
            f"{path}: a projection's matrix is not that of its parameters",
            "write the file again with RTK, or convert its matrices alone: --format matrix",
        )
