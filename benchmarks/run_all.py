"""Runs every benchmark there is, each in a process of its own: `make bench DATA=DIR GOLDEN=DIR`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    failed = []
    for run in sorted(HERE.rglob("run.py")):
        print(f"== {run.parent.relative_to(HERE)}", flush=True)
        if subprocess.run([sys.executable, str(run), *sys.argv[1:]]).returncode != 0:
            failed.append(str(run.parent.relative_to(HERE)))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
