"""Trained networks that come along: small safetensors files, each with a card that says how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homolog.errors import BadInput, UnreadableFile

if TYPE_CHECKING:
    import torch

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """What `load` knows by name."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def load(name: str | Path) -> dict[str, torch.Tensor]:
    """The weights of a name, or of a file that training wrote."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = _found(name)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UnreadableFile(f"{path}: no whole safetensors file ({error})", "copy it again, or train anew") from error


def card(name: str | Path) -> dict[str, Any]:
    """What is known of the weights: "network" (its Config), data, recipe, minutes, numbers."""
    path = _found(name).with_suffix(".json")
    if not path.exists():
        raise UnreadableFile(f"{path}: no such file; weights need the card that was written beside them")
    held = json.loads(path.read_text())
    return dict(held)


def _found(name: str | Path) -> Path:
    shipped = FOLDER / f"{name}.safetensors"
    if str(name) in names():
        return shipped
    path = Path(name)
    if path.is_dir():
        path = path / "weights.safetensors"
    if path.exists():
        return path
    known = ", ".join(names()) or "none"
    raise BadInput(
        f"no weights are called {str(name)!r} (known: {known}), and no such file lies there",
        "homolog train --help lists what writes some",
    )
