"""Results that last: a folder remembers what each of its files was made from, so that nothing is made twice.

`made.json` lists the stages of a work by name. A stage's key is a hash of all that decides its outcome (hashes of
its inputs, its options, the program's version); a stage is done when it is listed with that key and its files are
there with the very bytes that were written. An interrupted work goes on where it stopped, a repeated one does nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.errors import UnreadableFile
from homolog.io.files import writing
from homolog.io.records import file_hash

LEDGER = "made.json"


def key_of(**facts: Any) -> str:
    """A name for everything that decides an outcome: JSON values, the same whatever their order."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Results:
    """A folder and its ledger."""

    folder: Path

    def stage(self, name: str, key: str, work: Callable[[], tuple[Sequence[Path], dict[str, Any]]]) -> dict[str, Any]:
        """The facts of a stage: as listed if it is done, else of `work`, which writes files and says which and what."""
        listed = self.ledger().get(name)
        if listed and listed["key"] == key and self._are_there(listed["files"]):
            return dict(listed["facts"])
        files, facts = work()
        hashes = {str(path.relative_to(self.folder)): file_hash(path) for path in files}
        self._write({**self.ledger(), name: {"key": key, "files": hashes, "facts": facts}})
        return facts

    def is_done(self, name: str, key: str) -> bool:
        """Whether `stage` would have nothing to do."""
        listed = self.ledger().get(name)
        return bool(listed and listed["key"] == key and self._are_there(listed["files"]))

    def forget(self, names: Sequence[str]) -> None:
        """Strikes stages off the list, and removes their files."""
        listed = self.ledger()
        struck = [listed.pop(name) for name in names if name in listed]
        if struck:
            self._write(listed)
        for path in (self.folder / name for entry in struck for name in entry["files"]):
            path.unlink(missing_ok=True)

    def ledger(self) -> dict[str, Any]:
        """Name -> {key, files, facts}."""
        path = self.folder / LEDGER
        if not path.exists():
            return {}
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise UnreadableFile(f"{path} is damaged ({error})", f"remove {path}: everything is made again") from error
        return found

    def _are_there(self, hashes: dict[str, str]) -> bool:
        paths = {self.folder / name: found for name, found in hashes.items()}
        return all(path.is_file() and file_hash(path) == found for path, found in paths.items())

    def _write(self, ledger: dict[str, Any]) -> None:
        with writing(self.folder / LEDGER) as part:
            part.write_text(json.dumps(ledger, indent=1))
