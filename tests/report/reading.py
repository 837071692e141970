"""What tests see of a report: its text, its tags, its pictures as arrays and its grids as lines."""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from homolog.report.pair import write_report


class Reading(HTMLParser):
    """A page as a reader gets it.

    pictures  (plane, kind) -> the arrays of that kind of picture, in the order of the slices
    grids     plane -> for each slice its lines, (n, 2) mm
    """

    def __init__(self, html: str, folder: Path) -> None:
        super().__init__()
        self.folder, self.plane, self.kind_of_svg = folder, "", ""
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.pictures: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
        self.grids: dict[str, list[list[np.ndarray]]] = defaultdict(list)
        self.aspects: dict[str, float] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        kinds = found.get("class", "").split()
        self.tags.add(tag)
        if tag == "figure":
            self.plane = kinds[1]
        elif tag == "img":
            self.pictures[self.plane, kinds[0]].append(self._decoded(found["src"]))
        elif tag == "svg":
            self.kind_of_svg = kinds[0] if kinds else ""
        elif tag == "path" and self.kind_of_svg == "grid":
            self.grids[self.plane].append(lines_of(found["d"]))
        elif "stage" in kinds:
            width, height = re.search(r"aspect-ratio:([\d.]+)/([\d.]+)", found["style"]).groups()
            self.aspects[self.plane] = float(width) / float(height)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def middle(self, plane: str, kind: str) -> np.ndarray:
        """The slice through the middle of the foreground."""
        stack = self.pictures[plane, kind][-9:]
        return stack[4].astype(int)

    def _decoded(self, source: str) -> np.ndarray:
        head, data = source.split(",")
        assert head == "data:image/png;base64"
        path = self.folder / "picture.png"
        path.write_bytes(base64.b64decode(data, validate=True))
        return sitk.GetArrayFromImage(sitk.ReadImage(path))


def lines_of(path: str) -> list[np.ndarray]:
    """The lines of an SVG path of the form M x y l dx dy dx dy ..."""
    lines = []
    for part in path.split("M")[1:]:
        numbers = np.array([float(word) for word in re.split(r"[l ]+", part.strip())]).reshape(-1, 2)
        lines.append(np.cumsum(numbers, axis=0))
    return lines


def bend_mm(line: np.ndarray) -> float:
    """How far a line strays from the chord between its ends."""
    along = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    offset = line - line[0]
    return float(np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0]).max())


def report_of(folder: Path, facts: dict) -> Reading:
    """The page made of a record."""
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(facts))
    return Reading(write_report(folder).read_text(encoding="utf-8"), folder)
