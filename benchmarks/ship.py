"""Puts a training's weights where they come along: half precision, and a card that says how they were made.

python benchmarks/ship.py trained patch --hardware "one core of an AMD EPYC" \\
    --numbers benchmarks/papers/triplet/ours.toml:warped.best

--numbers names tables of figures that benchmarks have written, as FILE:TABLE; --note adds to what a reader is to know.
Figures are to be measured with what is shipped: ship first, run the benchmark, and ship again with its numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from homolog import weights
from homolog.errors import BadInput
from homolog.io.files import writing

# MB, of all weights that come along.
MOST_MB = 18.0


def main() -> None:
    given = arguments()
    state = {name: halved(value) for name, value in weights.load(given.trained).items()}
    record = {
        **weights.card(given.trained),
        "hardware": given.hardware,
        "stored": "float16",
        "notes": given.note,
        "numbers": dict(map(table, given.numbers)),
    }
    with writing(weights.FOLDER / f"{given.name}.safetensors") as part:
        part.write_bytes(save(state))
    with writing(weights.FOLDER / f"{given.name}.json") as part:
        part.write_text(json.dumps(record, indent=2) + "\n")
    told = sum(path.stat().st_size for path in weights.FOLDER.glob("*.safetensors")) / 1e6
    print(f"{given.name}: all weights that come along are {told:.1f} MB")
    if told > MOST_MB:
        sys.exit(f"that is more than {MOST_MB:g} MB")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", help="folder of a training")
    parser.add_argument("name", help="what they are to be called")
    parser.add_argument("--hardware", required=True, help="what they were trained on")
    parser.add_argument("--numbers", nargs="*", default=[], metavar="FILE:TABLE", help="figures of them")
    parser.add_argument("--note", nargs="*", default=[], help="what a reader is to know besides")
    return parser.parse_args()


def halved(value: torch.Tensor) -> torch.Tensor:
    """In half precision, where it is a number with a fraction."""
    if not value.is_floating_point():
        return value.contiguous()
    half = value.half()
    if not torch.isfinite(half).all():
        raise BadInput("a weight does not fit half precision")
    return half.contiguous()


def table(named: str) -> tuple[str, Any]:
    """Its name, and the figures of a table of a TOML file."""
    path, _, keys = named.partition(":")
    found: Any = tomllib.loads(Path(path).read_text())
    for key in keys.split("."):
        found = found[key]
    return f"{Path(path).parent.name}.{keys}", found


if __name__ == "__main__":
    main()
