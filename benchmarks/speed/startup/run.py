"""How long it takes until something happens: `import homolog`, and every command's --help, in user seconds."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, in_child, write_ours

COMMANDS = ("", "apply", "transform", "transform info", "transform compose", "evaluate", "convert", "doctor")


def median_user_s(code: str, *argv: str, runs: int = 7) -> float:
    return statistics.median(in_child(code, *argv)[1] for _ in range(runs))


def main() -> None:
    arguments(__doc__)
    figures: dict[str, object] = {
        "bar_help_user_s": 0.3,
        "bar_import_user_s": 0.15,
        "python_itself_user_s": median_user_s("pass"),
        "import_homolog_user_s": median_user_s("import homolog"),
    }
    run = "import sys; from homolog.cli.main import main; sys.exit(main(sys.argv[1:]))"
    figures["help_user_s"] = {
        f"homolog {command} --help".replace("  ", " "): median_user_s(run, *command.split(), "--help")
        for command in COMMANDS
    }
    write_ours(Path(__file__).parent, figures)


if __name__ == "__main__":
    main()
