"""What `homolog doctor` finds out: about this machine and this installation, and about files."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from homolog import __version__, kernels
from homolog.cli import transforms
from homolog.cli.configs import Reading
from homolog.cli.inputs import kind_of
from homolog.cli.resources import available_memory, gigabytes, require_folder, thread_limit
from homolog.errors import HomologError, UnknownFrame
from homolog.io import keypoints, meshes, volumes
from homolog.io.files import suffix_of
from homolog.io.transforms import FORMATS

Reader = Callable[[Path], dict[str, Any]]
PACKAGES = ("numpy", "scipy", "numba", "torch", "nibabel", "SimpleITK", "pydicom", "safetensors", "rich", "cyclopts")


def facts() -> dict[str, Any]:
    memory = available_memory()
    return {
        "homolog": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "threads": thread_limit(),
        "memory": None if memory is None else gigabytes(memory),
        "kernels": _kernels(),
        "cache": _cache(),
    }


def what_is(path: Path) -> dict[str, Any]:
    """A file's kind, and what it says of itself; kind "unreadable" and the reason, where that fails."""
    try:
        return _what_is(path)
    except HomologError as error:
        return {"kind": "unreadable", "says": f"cannot be read: {error.message}", "hint": error.hint}


def as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {as_text(entry)}" for name, entry in value.items() if entry not in (None, ""))
    if isinstance(value, list):
        return ", ".join(map(as_text, value))
    return "unknown" if value is None else str(value)


def _what_is(path: Path) -> dict[str, Any]:
    kind, suffix = kind_of(path), suffix_of(path)
    if kind == "mesh":
        return _mesh(path)
    if kind == "volume" and (suffix not in FORMATS or suffix in (*volumes.NIFTI, *volumes.ITK)):
        return _one_of(path, _volume, _map)
    if kind == "points":
        return _one_of(path, _map, _points) if suffix in FORMATS else _points(path)
    return _map(path)


def _one_of(path: Path, first: Reader, second: Reader) -> dict[str, Any]:
    """As what it probably is, or else as what its ending may mean too; the complaint is the first one's."""
    try:
        return first(path)
    except HomologError as error:
        try:
            return second(path)
        except HomologError:
            raise error from None


def _volume(path: Path) -> dict[str, Any]:
    return {"kind": "volume", "says": f"volume on {volumes.read_grid(path)!r}"}


def _mesh(path: Path) -> dict[str, Any]:
    try:
        mesh, frame = meshes.read_mesh(path), "the frame it says"
    except UnknownFrame:
        mesh, frame = meshes.read_mesh(path, frame="LPS"), "a frame it does not say"
    return {"kind": "mesh", "says": f"mesh of {len(mesh.points)} points, {len(mesh.faces)} triangles, in {frame}"}


def _points(path: Path) -> dict[str, Any]:
    frame = keypoints.frame_said(path)
    found = keypoints.read_keypoints(path, frame=frame or "LPS")
    return {"kind": "points", "says": f"{len(found)} points in {frame or 'a frame it does not say'}"}


def _map(path: Path) -> dict[str, Any]:
    return {"kind": "map", "says": transforms.sentence(transforms.known(path, Reading())).removeprefix(f"{path} ")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _devices() -> list[str]:
    import torch

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [*gpus, *(["Apple GPU"] if torch.backends.mps.is_available() else []), f"CPU ({platform.machine()})"]


def _kernels() -> str:
    """Whether the compiled kernels lie ready; the first call compiles what does not, which takes a minute."""
    modules = [import_module(f"{kernels.__name__}.{module.name}") for module in iter_modules(kernels.__path__)]
    functions = {function for module in modules for function in vars(module).values() if _is_kernel(function)}
    ready = sum(map(_lies_ready, functions))
    hint = "" if ready == len(functions) else " (python -m homolog.kernels.warm compiles them)"
    return f"{ready} of {len(functions)} compiled{hint}"


def _is_kernel(function: Any) -> bool:
    """Compiled on its own; those that are inlined are compiled with their callers."""
    return hasattr(function, "py_func") and function.targetoptions.get("inline") != "always"


def _lies_ready(function: Any) -> bool:
    source = Path(function.py_func.__code__.co_filename).stat().st_mtime
    compiled = Path(function.stats.cache_path).glob(f"*.{function.py_func.__qualname__}-*.nbi")
    return any(path.stat().st_mtime > source for path in compiled)


def _cache() -> str:
    from platformdirs import user_cache_path

    folder = Path(os.environ.get("HOMOLOG_CACHE") or user_cache_path("homolog"))
    try:
        return f"{require_folder(folder)} (writable)"
    except HomologError as error:
        return f"{folder} ({error.message})"
