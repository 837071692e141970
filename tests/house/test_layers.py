"""Who may import whom. The table is the rule; docs/architecture.md draws it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "homolog"

METHOD_ROOMS = {"features", "pairwise", "groupwise", "projective"}
BELOW_METHODS = {"kernels", "space", "nets"}
ALLOWED = {
    "kernels": set(),
    "space": {"kernels"},
    "nets": set(),
    "weights": set(),
    "methods": set(),
    "matching": {"kernels", "space"},
    "metrics": {"kernels", "space"},
    "io": {"kernels", "space"},
    "synth": {"kernels", "space"},
    "features": BELOW_METHODS,
    "pairwise": BELOW_METHODS | {"matching"},
    "groupwise": BELOW_METHODS | {"matching"},
    "projective": BELOW_METHODS | {"matching"},
    "parallel": {"kernels", "space", "parallel_dask"},
    "parallel_dask": set(),
    "pipelines": METHOD_ROOMS | BELOW_METHODS | {"matching", "weights", "parallel", "methods"},
    "report": {"space", "metrics", "io", "kernels"},
    "train": METHOD_ROOMS
    | BELOW_METHODS
    | {"pipelines", "matching", "synth", "metrics", "io", "parallel", "weights", "methods"},
}
EVERYTHING = set(ALLOWED) | {"cli"}
ALLOWED["cli"] = EVERYTHING - {"cli"}
# the package's own front door names public things lazily; running the package is running the command line
ALLOWED["__init__"] = EVERYTHING
ALLOWED["__main__"] = {"cli"}

FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else path.stem


def rooms_imported(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room they go to"
            module = node.module or ""
            names = [f"{module}.{alias.name}" if module == "homolog" else module for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("homolog.")}
    return rooms - {"errors", "__version__"}


def wrong_imports(room: str, imported: set[str]) -> set[str]:
    return imported - ALLOWED[room] - {room}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_room_imports_only_from_below(path):
    room = room_of(path)
    if room == "errors":
        assert not rooms_imported(path)
        return
    assert not wrong_imports(room, rooms_imported(path))


def test_a_wrong_import_would_be_seen(tmp_path):
    wrong = tmp_path / "kernel.py"
    wrong.write_text("def f():\n    from homolog.space.grid import Grid\n")
    assert wrong_imports("kernels", rooms_imported(wrong)) == {"space"}
    wrong.write_text("from homolog import io\n")
    assert wrong_imports("space", rooms_imported(wrong)) == {"io"}
