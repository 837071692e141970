"""Reading and writing a 256^3 picture: peak memory in copies of its float32 data, and user seconds, per format."""

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

BASE = "import homolog, numpy as np, sys; from homolog.io import volumes; from homolog.space.volume import Volume"
IMPORT_ALL = f"{BASE}\nimport nibabel, SimpleITK, scipy.ndimage, numba"
READ = f"{IMPORT_ALL}\nvolume = homolog.read(sys.argv[1])"
MAKE = (
    f"{IMPORT_ALL}\ngrid = homolog.Grid.regular(({N},) * 3, (0.7, 0.7, 1.2))\n"
    f"volume = homolog.Volume(np.zeros(({N},) * 3, np.float32) - 7, grid, 'ct')"
)
WRITE = f"{MAKE}\nhomolog.write(volume, sys.argv[1])"


def main() -> None:
    arguments(__doc__)
    unit = yardstick()
    picture = np.random.default_rng(0).integers(-1000, 1500, (N, N, N)).astype(np.float32)
    volume = homolog.Volume(picture, homolog.Grid.regular((N, N, N), (0.7, 0.7, 1.2)), "ct")
    figures: dict[str, object] = {"yardstick_user_s": unit, "bar_copies": 2.0}
    # what the process weighs before it has a picture
    _, started_s, started_mb = in_child(IMPORT_ALL)
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
            _, read_s, read_mb = in_child(READ, str(path))
            _, write_s, write_mb = in_child(WRITE, str(path.with_name(f"out{suffix}")))
            figures[f"{suffix[1:]} {dtype or 'float32'}"] = {
                "read_user_s": read_s - started_s,
                "read_copies": (read_mb - started_mb) / COPY_MB,
                "write_user_s": write_s - started_s,
                "write_copies": (write_mb - started_mb) / COPY_MB,
            }
    write_ours(Path(__file__).parent, figures)


if __name__ == "__main__":
    main()
