"""Keypoints by SP3D with the weights that its Config names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homolog.errors import BadInput, UnreadableFile
from homolog.features.configs import Sp3dConfig
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume

if TYPE_CHECKING:
    from homolog.nets.sp3d import Sp3dNet


def detect(volume: Volume, config: Sp3dConfig = Sp3dConfig(), *, mask: Volume | None = None) -> Keypoints:
    """The points of a picture, likeliest first.

    mask  labels in the picture's space on any grid, 0 where no point is wanted
    """
    from homolog.features import sp3d

    return sp3d.detect(volume, config, network=network_of(config.weights), mask=mask)


def describe(volume: Volume, keypoints: Keypoints, config: Sp3dConfig = Sp3dConfig()) -> Keypoints:
    """The same points with descriptors."""
    from homolog.features import sp3d

    return sp3d.describe(volume, keypoints, config, network=network_of(config.weights))


def network_of(name: str) -> Sp3dNet:
    """The network of these weights, where `kernels.devices` puts it: a name, a file, or the folder of a training."""
    from homolog import weights
    from homolog.kernels.devices import placed
    from homolog.nets.configs import Sp3dNetConfig, of_record
    from homolog.nets.sp3d import built

    record: Any = _card(name).get("network")
    if not isinstance(record, dict):
        raise BadInput(f"the card of weights {name!r} does not say which network they are of", _TRAIN)
    return placed(built(of_record(Sp3dNetConfig, record), weights.load(name)))


_TRAIN = "homolog train sp3d --minutes 120 --out DIR, then --weights DIR"


def _card(name: str) -> dict[str, Any]:
    from homolog import weights

    try:
        return weights.card(name)
    except UnreadableFile:
        raise
    except BadInput as error:
        raise BadInput(error.message, _TRAIN) from error
