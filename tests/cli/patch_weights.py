"""Weights of a small network that nobody trained, written as training writes them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from homolog.nets.configs import BEST_PATCH, PatchNetConfig
from homolog.nets.patch import PatchNet

SMALL = replace(
    BEST_PATCH, side=8, reach=8.0, wider=(), channels=(8, 16), strides=(2, 2), padded=True, pooled=(), numbers=32
)


def write_weights(folder: Path, config: PatchNetConfig = SMALL, seed: int = 0) -> PatchNet:
    torch.manual_seed(seed)
    network = PatchNet(config)
    folder.mkdir(exist_ok=True)
    save_file(network.state_dict(), folder / "weights.safetensors")
    (folder / "weights.json").write_text(json.dumps({"network": asdict(config), "recipe": {}}))
    return network.eval()
