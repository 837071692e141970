"""What the house has promised itself, looked for in its own text."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "homolog"
FILES = sorted(SOURCE.rglob("*.py"))


def calls(path: Path, name: str) -> list[int]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [node.lineno for node in nodes if isinstance(node.func, ast.Name) and node.func.id == name]


def test_torchs_own_frame_lives_in_one_file():
    torch_frame = re.compile(r"grid_sample|affine_grid|align_corners")
    homes = [path.relative_to(SOURCE).as_posix() for path in FILES if torch_frame.search(path.read_text())]
    assert homes == ["kernels/interpolate.py"]


def test_only_io_knows_ras():
    # `cli` takes the word as a flag's value, `errors` and docstrings may say it; nothing else computes with it
    knows = re.compile(r"""["']RAS["']|ras_from|from_ras|RAS_FROM|_ras\b""")
    rooms = {path.relative_to(SOURCE).parts[0] for path in FILES if knows.search(path.read_text())}
    assert rooms <= {"io", "cli"}


@pytest.mark.parametrize("path", [p for p in FILES if p.relative_to(SOURCE).parts[0] != "cli"], ids=lambda p: p.name)
def test_nothing_but_the_command_line_prints(path):
    assert not calls(path, "print")


@pytest.mark.parametrize("room", ["kernels", "space", "metrics", "synth", "pairwise", "pipelines"])
def test_rooms_of_mathematics_open_no_file_and_read_no_environment(room):
    for path in (SOURCE / room).rglob("*.py"):
        assert not calls(path, "open"), path
        assert "os.environ" not in path.read_text(), path


def test_every_public_name_is_there():
    import homolog

    for name in homolog.__all__:
        assert getattr(homolog, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        homolog.nonsense  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'numpy', 'torch', 'numba', 'scipy', 'SimpleITK', 'nibabel', 'pydicom', 'rich', 'cyclopts'}"
    check = f"import sys, homolog; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("peer", ["torchvision", "timm", "kornia", "monai", "itk", "ants", "h5py", "skimage"])
def test_no_rival_and_no_heavy_thing_is_imported(peer):
    wrong = re.compile(rf"^\s*(import|from) {peer}\b", re.MULTILINE)
    assert not [path for path in FILES if wrong.search(path.read_text())]


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_every_example_runs(example, tmp_path):
    done = subprocess.run([sys.executable, str(example), "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert any(tmp_path.iterdir())
