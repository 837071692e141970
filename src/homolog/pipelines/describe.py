"""Keypoints described by a trained network, whoever found them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from homolog import weights as trained
from homolog.errors import BadInput
from homolog.methods import DESCRIPTORS, resolve
from homolog.nets.configs import PatchNetConfig, of_record
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume

if TYPE_CHECKING:
    from homolog.nets.patch import PatchNet

# In a folder that training wrote.
WEIGHTS = "weights.safetensors"


def describe(volume: Volume, keypoints: Keypoints, descriptor: str | Path) -> Keypoints:
    """The same points with descriptors of the picture round them; they need scales.

    descriptor  a name in `methods.DESCRIPTORS`, or the file or the folder of weights that training wrote
    """
    if str(descriptor) in DESCRIPTORS:
        found: Keypoints = resolve(DESCRIPTORS[str(descriptor)])(volume, keypoints)
        return found
    return patch(volume, keypoints, descriptor)


def patch(volume: Volume, keypoints: Keypoints, weights: str | Path = "patch") -> Keypoints:
    """By the cube round each point (`features.patch_descriptor`).

    weights  the name of some that come along, or the file or the folder that `homolog train triplet` wrote
    """
    from homolog.features import patch_descriptor

    return patch_descriptor.describe(volume, keypoints, network_of(weights))


def patch_paper(volume: Volume, keypoints: Keypoints) -> Keypoints:
    """By the published network."""
    return patch(volume, keypoints, "patch-paper")


def network_of(weights: str | Path) -> PatchNet:
    """The network of these weights, ready to describe where `kernels.devices` puts it."""
    from homolog.kernels.devices import placed
    from homolog.nets.patch import built

    path = weights_file(weights)
    return placed(built(network_config(path), trained.load(path)))


def network_config(weights: str | Path) -> PatchNetConfig:
    """What the card of these weights says of their network."""
    path = weights_file(weights)
    said: dict[str, Any] | None = trained.card(path).get("network")
    if not said:
        raise BadInput(f"the card beside {path} does not say what network it is of", "train anew")
    return of_record(PatchNetConfig, said)


def known_file(weights: str | Path) -> Path | None:
    """The file of weights of any network, by the name of some that come along, or by its own or its folder's name."""
    if str(weights) in trained.names():
        return trained.FOLDER / f"{weights}.safetensors"
    path = Path(weights)
    path = path / WEIGHTS if path.is_dir() else path
    return path if path.is_file() else None


def weights_file(descriptor: str | Path) -> Path:
    """The file of the weights that a name stands for: descriptors are called as theirs are."""
    found = known_file(descriptor)
    if found is not None:
        return found
    if str(descriptor) in DESCRIPTORS:
        raise BadInput(
            f"no weights of the descriptor {str(descriptor)!r} come along",
            "homolog train triplet --minutes 60 --out trained, then --describe trained",
        )
    raise BadInput(
        f"no descriptor is called {str(descriptor)!r}, and no file or folder of weights either",
        f"--describe {' or '.join(DESCRIPTORS)}, or a folder of homolog train triplet",
    )
