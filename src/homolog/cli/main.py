"""The command `homolog`: finds the command, runs it, and turns every way it can end into an exit code.

0 done · 1 the work failed · 2 wrong use or bad input · 130 on Ctrl-C · 143 on SIGTERM
"""

from __future__ import annotations

import inspect
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from homolog import __version__
from homolog.cli import invocation, terminal
from homolog.errors import BadInput, HomologError, NotEnoughMemory

if TYPE_CHECKING:
    from cyclopts import App

# command -> where it lives; a command of several words is a table of its own. Only the one that runs is computed with.
COMMANDS: dict[str, Any] = {
    "register": "homolog.cli.register:register",
    "keypoints": "homolog.cli.keypoints:keypoints",
    "match": "homolog.cli.match:match",
    "group": "homolog.cli.group:group",
    "align": "homolog.cli.align:align",
    "drr": "homolog.cli.drr:drr",
    "camera": {
        "info": "homolog.cli.camera:info",
        "convert": "homolog.cli.camera:convert",
    },
    "train": {
        "prost": "homolog.cli.train:prost",
        "pose": "homolog.cli.train_pose:pose",
        "triplet": "homolog.cli.train_triplet:triplet",
        "sp3d": "homolog.cli.train_sp3d:sp3d",
    },
    "apply": "homolog.cli.apply:apply",
    "transform": {
        "info": "homolog.cli.transform:info",
        "invert": "homolog.cli.transform:invert",
        "compose": "homolog.cli.transform:compose",
        "convert": "homolog.cli.transform:convert",
        "jacobian": "homolog.cli.transform:jacobian",
    },
    "evaluate": "homolog.cli.evaluate:evaluate",
    "patients": "homolog.cli.patients:patients",
    "demo": "homolog.cli.demo:demo",
    "report": "homolog.cli.report:report",
    "rerun": "homolog.cli.report:rerun",
    "convert": "homolog.cli.convert:convert",
    "doctor": "homolog.cli.doctor:doctor",
}
# Commands some of whose flags depend on others: made anew for each line that names them.
MADE_FOR_LINE = {
    "register": "homolog.cli.register:for_line",
    "keypoints": "homolog.cli.keypoints:for_line",
    "match": "homolog.cli.match:for_line",
    "group": "homolog.cli.group:for_line",
    "align": "homolog.cli.align:for_line",
}
SUMMARIES = {
    "homolog": "Finds the same anatomical place in medical volumes and X-rays, and aligns the pictures by it.",
    "transform": "Says what a map does, inverts, joins and converts maps, and looks for folds in them.",
    "camera": "Says where an X-ray's source, detector and volume are, and converts cameras between programs' files.",
    "train": "Trains the networks of the methods that learn, on virtual patients or on your own volumes.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or bool(os.environ.get("HOMOLOG_DEBUG"))
    with terminal.warnings_as_lines(), _sigterm_raises(), invocation.running(words):
        try:
            _run(words)
            return 0
        except KeyboardInterrupt:
            terminal.note("interrupted")
            return 130
        except _Terminated:
            terminal.note("terminated")
            return 143
        except BrokenPipeError:
            # whoever read our stdout has seen enough; the interpreter's last flush must not complain either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            if debug:
                traceback.print_exc()
            return _fail(_explained(error, words), words)


def run_within(words: Sequence[str]) -> None:
    """Runs a command line as part of another: what goes wrong in it ends the other in the same way."""
    line = list(words)
    with invocation.running(line):
        try:
            _run(line)
        except Exception as error:
            raise _explained(error, line) from error


def application(words: Sequence[str] = ()) -> App:
    """The parser of a command line, which imports the command that the line names, and the others only to list them."""
    from homolog.cli import options, pages

    pages_by = "default" if terminal.is_terminal(sys.stdout) else pages.PlainPages()
    looks = {"version": __version__, "help_formatter": pages_by}
    named = _command(words)

    def hung(above: list[str], table: dict[str, Any]) -> App:
        name = above[-1] if above else "homolog"
        app = options.application(name, SUMMARIES[name], **looks)
        for word, target in table.items():
            app.command(_target([*above, word], target, words) or hung([*above, word], target), name=word)
            if above == named:
                # asking for it imports it: its first line is shown in the list
                _ = app[word]
        return app

    return hung([], COMMANDS)


def _target(named: list[str], target: Any, words: Sequence[str]) -> Any:
    """What is run for a command: where it lives, or what was made for this line; None for a table of commands."""
    if named == _command(words) and " ".join(named) in MADE_FOR_LINE:
        from homolog.methods import resolve

        return resolve(MADE_FOR_LINE[" ".join(named)])(words)
    return target if isinstance(target, str) else None


def _run(words: list[str]) -> None:
    command, bound, _ = application(words).parse_args(words)
    if "common" not in inspect.signature(command).parameters:
        # it prints the help or the version
        command(*bound.args, **bound.kwargs)
        return
    from homolog.cli.configs import Common

    with _threads(bound.arguments.get("common", Common()).threads):
        command(*bound.args, **bound.kwargs)


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    from homolog.cli.resources import thread_limit
    from homolog.kernels.threads import using_threads

    if wanted is not None and wanted < 1:
        raise BadInput(f"--threads is at least 1, got {wanted}", "--threads 1")
    with using_threads(wanted or thread_limit()):
        yield


def _fail(error: HomologError, words: list[str]) -> int:
    terminal.show_error(error, shlex.join(["homolog", *_command(words), "--help"]))
    return error.exit_code


def _explained(error: Exception, words: list[str]) -> HomologError:
    """The error in our own words: the thing, and a way out."""
    if isinstance(error, HomologError):
        return error
    if isinstance(error, MemoryError):
        return NotEnoughMemory(f"not enough memory ({error or 'the system refused more'})", "--spacing 2 needs less")
    if type(error).__module__.startswith("cyclopts"):
        return _usage(error, words)
    again = shlex.join(["homolog", *words, "--debug"])
    hint = "report it with the lines above" if "--debug" in words else f"{again}   (shows where; please report it)"
    return HomologError(f"internal error: {type(error).__name__}: {error}", hint)


def _usage(error: Any, words: list[str]) -> BadInput:
    """The parser's complaint, with the command line as it was probably meant for a hint."""
    error.verbose = False
    said = str(error).partition(" Available commands")[0]
    message, _, suggestion = said.partition(" Did you mean ")
    token, right = getattr(error, "token", None), suggestion.rstrip("?").strip('"')
    wrong = [token.value, token.keyword] if token else (error.unused_tokens or [])[:1]
    place = next((words.index(word) for word in wrong if word in words), None)
    made = MADE_FOR_LINE.get(" ".join(_command(words)))
    if place is not None and made and "unknown option" in message.lower():
        from homolog.methods import resolve

        choice: Any = resolve(made.replace(":for_line", ":METHODS"))
        if found := choice.owners(words[place]):
            return BadInput(
                f"{words[place]} is no option of this method", f"it is one of {choice.flag} {' and '.join(found)}"
            )
    meant = (
        [*words[:place], right, *words[place + 1 :]] if right and place is not None else [*_command(words), "--help"]
    )
    return BadInput(message[:1].lower() + message[1:].rstrip("."), shlex.join(["homolog", *meant]))


def _command(words: Sequence[str]) -> list[str]:
    """The words of the command that a line begins with, as far as there is such a one."""
    table: Any = COMMANDS
    found: list[str] = []
    for word in words:
        if not isinstance(table, dict) or word not in table:
            break
        found.append(word)
        table = table[word]
    return found


class _Terminated(BaseException):
    """SIGTERM, as an exception, so that half-written files are removed on the way out."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
