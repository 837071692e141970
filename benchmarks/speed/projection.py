"""The same as projection/run.py, under a shorter name."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).with_suffix("") / "run.py"), run_name="__main__")
