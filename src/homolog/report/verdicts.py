"""The head of a page: whether to worry, and the figures that are looked for first."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from homolog.report.page import figure

# Different in shape and in words: colour alone is lost on one reader in twelve.
POOR_SIGN = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><path fill="currentColor" fill-rule="evenodd" d="M8 .9 16 15H0z'
    'M7.2 5.6h1.6v4.6H7.2zM7.2 11.4h1.6V13H7.2z"/></svg>'
)
FINE_SIGN = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7" fill="none" stroke="currentColor" '
    'stroke-width="1.6"/><path d="M4.6 8.3 7 10.6l4.5-5" fill="none" stroke="currentColor" stroke-width="1.6"/></svg>'
)


def poor(word: str, said: str) -> str:
    """A warning: a word on what is wrong, and what it is; plain text."""
    return f'<p class="verdict poor" role="alert">{POOR_SIGN}<b>{escape(word)}</b> <span>{escape(said)}</span></p>'


def fine(word: str, said: str) -> str:
    """That nothing measured speaks against it; plain text."""
    return f'<p class="verdict fine">{FINE_SIGN}<b>{escape(word)}</b> <span class="quiet">{escape(said)}</span></p>'


def tiles(several: Sequence[str]) -> str:
    """A row of those that there are."""
    shown = "".join(each for each in several if each)
    return f'<dl class="tiles">{shown}</dl>' if shown else ""


def tile(name: str, value: str | None, below: str) -> str:
    """A figure with its name above it and a remark below, HTML; nothing where there is none."""
    return f"<div class='tile'><dt>{name}</dt><dd>{value}</dd><dd>{below}</dd></div>" if value else ""


def change(name: str, before: float | None, after: float | None, pattern: str, unit: str = "") -> str:
    """A figure before and after."""
    if after is None:
        return ""
    was = "" if before is None else f'<span class="was">{figure(before, pattern)} →</span> '
    said = "before → after" if was else "after"
    return tile(escape(name), was + figure(after, pattern), f"{unit}, {said}" if unit else said)
