"""Help as plain text: a flag, and below it what it does; for pipes, pagers and screen readers."""

from __future__ import annotations

import textwrap
from typing import Any

WIDTH = 80


class PlainPages:
    """What cyclopts calls to lay out a help page; on a terminal its own coloured panels take this place."""

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        if panel.entries:
            entries = [_command(entry) if panel.format == "command" else _flag(entry) for entry in panel.entries]
            _print(console, f"{panel.title}:\n" + "\n".join(entries) + "\n")

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        if usage:
            _print(console, f"Usage: {_words(usage).removeprefix('Usage: ')}\n")

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        if _words(description):
            _print(console, f"{_words(description)}\n")


def _command(entry: Any) -> str:
    names = ", ".join((*entry.positive_names, *entry.positive_shorts))
    return textwrap.fill(
        f"{names:14}{_words(entry.description)}", WIDTH, initial_indent="  ", subsequent_indent=16 * " "
    )


def _flag(entry: Any) -> str:
    # a text of several lines keeps their indents
    said = [" ".join(_words(entry.description).split())]
    if entry.choices:
        said.append(f"[{', '.join(entry.choices)}]")
    if entry.default:
        said.append(f"[default {entry.default}]")
    if entry.required:
        said.append("[required]")
    indent = 6 * " "
    text = textwrap.fill(" ".join(said), WIDTH, initial_indent=indent, subsequent_indent=indent)
    return f"  {', '.join(entry.display_labels_with_metavar)}\n{text}"


def _words(text: Any) -> str:
    """What a description says, as the parser wraps it more than once."""
    text = getattr(text, "primary_renderable", text)
    return str(getattr(text, "plain", text) or "").rstrip()


def _print(console: Any, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
