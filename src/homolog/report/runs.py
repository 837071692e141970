"""`run.json` and the files it names: all that a report knows of a run. The keys are in docs/methods/report.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from homolog.errors import UnreadableFile
from homolog.io.files import require_file

Side = Literal["fixed", "moving"]


@dataclass(frozen=True, eq=False)
class Run:
    """What was written about one run; whatever is not there reads as None or as an empty section.

    folder  where `run.json` lies; relative paths in it start here
    facts   its contents
    """

    folder: Path
    facts: dict[str, Any]

    def section(self, *keys: str) -> dict[str, Any]:
        """A table of the record, empty where there is none."""
        found = self.value(*keys)
        return found if isinstance(found, dict) else {}

    def value(self, *keys: str) -> Any:
        """Whatever lies under the keys, one below the other; None where one of them is missing."""
        found: Any = self.facts
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def number(self, *keys: str) -> float | None:
        """A finite number, else None: JSON has no NaN, and some writers write it all the same."""
        return number(self.value(*keys))

    def file(self, *keys: str) -> Path | None:
        """A file or a folder that the record names, None where it names none; one that is gone is an error."""
        named = self.value(*keys)
        if not isinstance(named, str) or not named:
            return None
        path = self.folder / named
        if not path.exists():
            raise UnreadableFile(
                f"{self.folder / 'run.json'} names {path} as its {'.'.join(keys)}, and nothing lies there",
                "bring the file back, or mend its path in run.json (a relative one starts from the run's folder)",
            )
        return path

    def space(self, side: Side) -> str:
        """The name of a patient space, the side's own where none was recorded."""
        return str(self.value(side, "space") or side)


def read_run(folder: Path) -> Run:
    """The record of a run in its folder."""
    path = require_file(Path(folder) / "run.json")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableFile(f"{path} is damaged: it is no JSON ({error})", "run the registration again") from error
    if not isinstance(facts, dict):
        raise UnreadableFile(f"{path} is no record of a run: a JSON object was wanted, a {type(facts).__name__} came")
    return Run(Path(folder), facts)


def number(value: Any) -> float | None:
    """A finite number, else None; true and false are no numbers here."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
