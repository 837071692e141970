"""One HTML file from parts: text made safe, tables, pictures in the page itself; nothing is fetched from anywhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from homolog.report import png

HERE = Path(__file__).parent
# What stands where there is no number.
NONE = "–"


def page(title: str, sections: Sequence[str]) -> str:
    """A whole HTML file; empty sections are left out.

    title     plain text
    sections  HTML
    """
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        style=(HERE / "style.css").read_text(encoding="utf-8").strip(),
        script=(HERE / "view.js").read_text(encoding="utf-8").strip(),
        body="\n".join(section for section in sections if section),
    )


def section(title: str, body: str, kind: str = "") -> str:
    """A heading and what stands below it; nothing where there is nothing."""
    return f'<section class="{kind}">\n<h2>{escape(title)}</h2>\n{body}\n</section>' if body else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str] = (), kind: str = "") -> str:
    """A table whose first column names the rows; cells are HTML, and those that hold numbers line up on the right.

    head  the columns' names, none for a table of two columns that needs none
    """
    if not rows:
        return ""
    top = f"<thead>{_row(head, heading=True)}</thead>" if any(head) else ""
    bottom = f"<tfoot>{_row(foot)}</tfoot>" if foot else ""
    body = "".join(_row(row) for row in rows)
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>{body}</tbody>{bottom}</table></div>'


def folded(summary: str, body: str) -> str:
    """What most readers need not see: behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>\n{body}\n</details>"


def number(value: float | None, pattern: str = ".2f", unit: str = "") -> str:
    """A cell that lines up with others of its kind."""
    return f"\N{ZERO WIDTH SPACE}{figure(value, pattern, unit)}"


def figure(value: float | None, pattern: str = ".2f", unit: str = "") -> str:
    """A number in words of a page: a true minus, and a dash where there is none."""
    if value is None:
        return NONE
    return f"{value:{pattern}}".replace("-", "−") + (f"\N{NO-BREAK SPACE}{unit}" if unit else "")


def image(pixels: np.ndarray, kind: str, says: str) -> str:
    """A picture inside the page.

    pixels  as `png.encode` takes them
    says    what is seen, for those who do not see it
    """
    data = b64encode(png.encode(pixels)).decode("ascii")
    return f'<img class="{kind}" alt="{escape(says)}" src="data:image/png;base64,{data}">'


def path_text(path: Any) -> str:
    """A file's name, to be told apart from prose."""
    return f'<span class="path">{escape(str(path))}</span>'


def _row(cells: Sequence[str], heading: bool = False) -> str:
    tags = ["th" if heading or n == 0 else "td" for n in range(len(cells))]
    return "<tr>" + "".join(_cell(cell, tag) for cell, tag in zip(cells, tags)) + "</tr>"


def _cell(cell: str, tag: str) -> str:
    kind = ' class="number"' if cell.startswith("\N{ZERO WIDTH SPACE}") else ""
    return f"<{tag}{kind}>{cell.lstrip(chr(0x200B))}</{tag}>"
