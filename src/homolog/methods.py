"""Every method by its name: where its function lives. A new method is one line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

PAIRWISE = {
    "linear": "homolog.pairwise.linear:register",
}


def resolve(name: str) -> Callable[..., Any]:
    """The function that a table names, as "module:function"."""
    module, function = name.split(":")
    return getattr(import_module(module), function)
