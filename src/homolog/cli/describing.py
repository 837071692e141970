"""What `--describe` names: a trained network in place of the detector's own descriptors, known by its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.errors import BadInput
from homolog.io.records import file_hash
from homolog.pipelines.describe import known_file, network_config, weights_file


@dataclass(frozen=True)
class Descriptor:
    """A network that describes points, as a record names it.

    weights  a name, or the whole name of a file or folder
    hash     of the file
    numbers  of a descriptor
    """

    weights: str
    hash: str
    numbers: int

    @property
    def said(self) -> str:
        """In a word; another network of the same name is another word."""
        return f"{Path(self.weights).name} ({self.hash[:12]})"


def descriptor_of(name: str | None) -> Descriptor | None:
    """What a line asks for, or an error where it cannot describe anything."""
    if name is None:
        return None
    path, numbers = weights_file(name), network_config(name).numbers
    whole = str(Path(name).resolve()) if Path(name).exists() else name
    return Descriptor(whole, file_hash(path), numbers)


def deciding(name: str | None, options: Any = None) -> dict[str, Any]:
    """What of networks decides results: nothing where there are none, so that what was found before is still right.

    options  of the detector, which may be a network too: other weights of the same name are another one
    """
    found = descriptor_of(name)
    described = {} if found is None else {"describe": found.said}
    weights = getattr(options, "weights", None)
    path = None if weights is None else known_file(weights)
    return described if path is None else {**described, "weights_hash": file_hash(path)}


def recorded(name: str | None) -> dict[str, Any]:
    """What a record says of it."""
    found = descriptor_of(name)
    return {} if found is None else {"descriptor": {"weights": found.weights, "hash": found.hash}}


def require_described(name: str | None, method_config: Any) -> None:
    """Refuses a descriptor that cannot describe, or that is named beside --no-descriptors."""
    if name is not None and not method_config.descriptors:
        raise BadInput("--describe, and --no-descriptors", "leave one of them out")
    descriptor_of(name)
