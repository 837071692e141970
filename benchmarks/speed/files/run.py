"""Reading and writing a 256^3 picture or field: peak memory in copies of its float32 data, and user seconds."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, in_child, write_ours, yardstick

import homolog

N = 256
COPY_MB = 4 * N**3 / 2**20
FIELD_MB = 3 * COPY_MB

BASE = (
    "import homolog, numpy as np, sys; from homolog.io import itk_transforms, volumes; "
    "from homolog.space.volume import Volume"
)
IMPORT_ALL = f"{BASE}\nimport nibabel, SimpleITK, scipy.ndimage, numba"
READ = f"{IMPORT_ALL}\nvolume = homolog.read(sys.argv[1])"
MAKE = (
    f"{IMPORT_ALL}\ngrid = homolog.Grid.regular(({N},) * 3, (0.7, 0.7, 1.2))\n"
    f"volume = homolog.Volume(np.zeros(({N},) * 3, np.float32) - 7, grid, 'ct')"
)
WRITE = f"{MAKE}\nhomolog.write(volume, sys.argv[1])"
READ_FIELD = f"{IMPORT_ALL}\nfield = homolog.read_transform(sys.argv[1])"
MAKE_FIELD = (
    f"{IMPORT_ALL}\ngrid = homolog.Grid.regular(({N},) * 3, (0.7, 0.7, 1.2))\n"
    f"field = homolog.Displacement(np.zeros(({N}, {N}, {N}, 3), np.float32) + 1, grid)"
)
WRITE_FIELD = f"{MAKE_FIELD}\nhomolog.write_transform(field, sys.argv[1], like=grid)"


def main() -> None:
    arguments(__doc__)
    unit = yardstick()
    picture = np.random.default_rng(0).integers(-1000, 1500, (N, N, N)).astype(np.float32)
    volume = homolog.Volume(picture, homolog.Grid.regular((N, N, N), (0.7, 0.7, 1.2)), "ct")
    figures: dict[str, object] = {"yardstick_user_s": unit, "bar_copies": 2.0}
    # what the process weighs before it has a picture
    _, *started = in_child(IMPORT_ALL)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, dtype in (
            (".nii", "int16"),
            (".nii.gz", "int16"),
            (".nrrd", "int16"),
            (".mha", None),
            (".nii", None),
        ):
            path = Path(folder) / f"ct{suffix}"
            homolog.write(volume, path, dtype=dtype)
            out = path.with_name(f"out{suffix}")
            figures[f"{suffix[1:]} {dtype or 'float32'}"] = both(READ, path, WRITE, out, COPY_MB, started)
        path = Path(folder) / "field.h5"
        in_child(WRITE_FIELD, str(path))
        figures["h5 field"] = {
            **both(READ_FIELD, path, WRITE_FIELD, path.with_name("out.h5"), FIELD_MB, started),
            "file_mb": path.stat().st_size / 1e6,
        }
    write_ours(Path(__file__).parent, figures)


def both(read: str, path: Path, write: str, out: Path, copy_mb: float, started: list[float]) -> dict[str, float]:
    """User seconds and peaks of reading `path` and of writing `out`, less those of a process that does neither."""
    _, read_s, read_mb = in_child(read, str(path))
    _, write_s, write_mb = in_child(write, str(out))
    return {
        "read_user_s": read_s - started[0],
        "read_copies": (read_mb - started[1]) / copy_mb,
        "write_user_s": write_s - started[0],
        "write_copies": (write_mb - started[1]) / copy_mb,
    }


if __name__ == "__main__":
    main()
