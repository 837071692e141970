"""What the numbers of a label map stand for: a small file of names, found beside the label map.

labels.json   {"1": "spleen", "2": "right kidney"}
labels.tsv    the columns `index` and `name`, as BIDS has them
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from homolog.errors import UnreadableFile
from homolog.io.files import require_file, stem_of, writing

ENDINGS = (".json", ".tsv")


def read_label_names(path: Path | str) -> dict[int, str]:
    """Number -> name."""
    path = require_file(Path(path))
    try:
        text = path.read_text(encoding="utf-8")
        return _from_table(text) if path.suffix.lower() == ".tsv" else _from_json(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableFile(
            f"{path} holds no names of labels", 'a .json such as {"1": "spleen"}, or a .tsv with columns index and name'
        ) from error


def names_beside(labels_path: Path | str) -> dict[int, str]:
    """The names in a file that is called as the label map is; empty where there is none, or where it is about
    something else."""
    labels_path = Path(labels_path)
    for ending in ENDINGS:
        path = labels_path.with_name(stem_of(labels_path) + ending)
        if path.is_file():
            try:
                return read_label_names(path)
            except UnreadableFile:
                # a BIDS side-car of the same name tells of the scanner
                continue
    return {}


def write_label_names(names: dict[int, str], path: Path | str) -> None:
    """A .json of them."""
    with writing(Path(path)) as part:
        part.write_text(json.dumps({str(number): name for number, name in names.items()}, indent=1) + "\n")


def _from_json(text: str) -> dict[int, str]:
    return {int(number): str(name) for number, name in json.loads(text).items()}


def _from_table(text: str) -> dict[int, str]:
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    return {int(row["index"]): row["name"] for row in rows}
