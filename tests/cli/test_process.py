"""How the command behaves among other programs: exit codes, streams, signals, speed."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import homolog as package
from homolog import Grid, Volume, write
from homolog.cli import main as module
from homolog.cli import terminal
from homolog.cli.main import COMMANDS, main
from homolog.kernels.threads import thread_count
from tests.cli.conftest import in_a_process, listing

HEAVY = "{'numpy', 'torch', 'numba', 'scipy', 'SimpleITK', 'nibabel', 'pydicom'}"


def lines_of(table, above=()):
    """Every command, as the words that name it; and the lists of commands themselves."""
    yield above
    for word, target in table.items():
        yield from lines_of(target, (*above, word)) if isinstance(target, dict) else [(*above, word)]


EVERY_COMMAND = list(lines_of(COMMANDS))


def test_no_help_page_imports_anything_heavy():
    pages = [[*words, "--help"] for words in EVERY_COMMAND]
    check = f"""
import sys
from homolog.cli.main import main
codes = [main(line) for line in {pages!r}]
print(set(codes), sorted({HEAVY} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "{0} []"


@pytest.mark.parametrize("line", [("apply", "t.h5", "moving.nii.gz"), ("transform", "info", "t.h5")])
def test_bringing_files_over_needs_no_torch(line, study):
    check = f"import sys; from homolog.cli.main import main; print(main({list(line)!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_every_command_explains_itself(words, homolog):
    ended = homolog(*words, "-h")
    assert ended.code == 0
    assert ended.err == ""
    usage, _, summary = ended.out.splitlines()[:3]
    assert usage.startswith(" ".join(("Usage: homolog", *words)))
    assert summary.endswith(".")


@pytest.mark.parametrize(
    "words",
    [words for words in EVERY_COMMAND if words not in ((), ("transform",), ("camera",), ("train",))],
    ids=" ".join,
)
def test_every_flag_says_what_it_does(words, homolog):
    lines = homolog(*words, "-h").out.splitlines()
    flags = [number for number, line in enumerate(lines) if line.startswith("  --")]
    assert flags
    assert all(lines[number + 1].startswith("      ") for number in flags)


def test_help_pages_fit_a_terminal(homolog):
    for words in EVERY_COMMAND:
        assert max(map(len, homolog(*words, "--help").out.splitlines())) <= 100, words


def test_the_direction_rule_stands_in_the_help(homolog):
    page = " ".join(homolog("apply", "--help").out.split())
    assert "A map carries a point of the fixed patient to the moving patient. An image goes the other way round" in page


def test_the_version_is_the_packages(homolog):
    assert homolog("--version").out.strip() == package.__version__


def test_the_package_runs_as_a_module():
    ended = in_a_process("--version")
    assert (ended.code, ended.out.strip(), ended.err) == (0, package.__version__, "")


def test_stdout_holds_paths_only_and_each_is_there(study, homolog):
    ended = homolog("apply", "t.h5", "moving.nii.gz", "moving.mrk.json", "--from", "moving", "-o", "out")
    assert all((study / line).is_file() for line in ended.out.splitlines())
    assert len(ended.err.splitlines()) == 2


@pytest.fixture
def broken(monkeypatch):
    """A command that fails in the way it is given."""

    def with_error(error):
        def fails(words):
            raise error

        monkeypatch.setattr(module, "_run", fails)

    return with_error


def test_our_own_bugs_are_called_that_and_end_with_1(broken, homolog, monkeypatch):
    monkeypatch.delenv("HOMOLOG_DEBUG", raising=False)
    broken(ZeroDivisionError("division by zero"))
    ended = homolog("doctor")
    assert ended.code == 1
    assert ended.errors == ["error: internal error: ZeroDivisionError: division by zero"]
    assert "homolog doctor --debug" in ended.hints[0]
    assert "Traceback" not in ended.err


def test_debug_shows_where(broken, homolog, monkeypatch):
    broken(ZeroDivisionError("division by zero"))
    assert "Traceback" in homolog("doctor", "--debug").err
    monkeypatch.setenv("HOMOLOG_DEBUG", "1")
    assert "Traceback" in homolog("doctor").err


def test_memory_that_runs_out_is_no_bug(broken, homolog):
    broken(np.exceptions.AxisError("no"))
    assert homolog("doctor").code == 1
    broken(MemoryError("Unable to allocate 11 GiB"))
    ended = homolog("doctor")
    assert ended.code == 2
    assert "not enough memory (Unable to allocate 11 GiB)" in ended.errors[0]


def test_work_that_fails_ends_with_1(broken, homolog):
    broken(package.HomologError("it did not work"))
    ended = homolog("apply", "t.h5")
    assert (ended.code, ended.errors) == (1, ["error: it did not work"])
    # an error that knows no way out names the command's own help
    assert ended.hints == ["hint:  homolog apply --help"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_stopping_in_the_middle_leaves_nothing_behind(number, code, said, tmp_path):
    noise = np.random.default_rng(0).normal(size=(200, 200, 200)).astype(np.float32)
    write(Volume(noise, Grid.regular((200, 200, 200)), "noise"), tmp_path / "noise.nii")
    before = listing(tmp_path)
    line = ["apply", "identity", "noise.nii", "--like", "noise.nii", "-o", "out/noise.nii.gz"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # a shell's background jobs ignore Ctrl-C, and so would what they start
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen([sys.executable, "-m", "homolog", *line], cwd=tmp_path, **pipes, **heeding)
    while not (written := list(tmp_path.glob("out/*"))) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert [path.name for path in written] == ["noise.part.nii.gz"]
    assert (process.returncode, out, err) == (code, "", f"{said}\n")
    assert listing(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Unix")
def test_a_reader_who_has_seen_enough_is_no_error(study):
    line = f"{sys.executable} -m homolog transform info t.h5 | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_warnings_of_libraries_are_lines(homolog, monkeypatch):
    def warns(words):
        logging.getLogger("homolog.anything").warning("the %s is odd", "grid")
        warnings.warn("so is the picture", stacklevel=1)

    monkeypatch.setattr(module, "_run", warns)
    assert homolog("doctor").err == "warning: the grid is odd\nwarning: so is the picture\n"


def test_threads_are_those_asked_for_while_the_command_runs(study, homolog, monkeypatch):
    seen = []
    monkeypatch.setattr(terminal, "result", lambda text: seen.append(thread_count()))
    homolog("transform", "info", "t.h5", "--threads", "3")
    assert seen
    assert set(seen) == {3}


def test_no_colour_where_nobody_looks_or_nobody_wants_it(broken, homolog, monkeypatch):
    broken(package.HomologError("it did not work"))
    assert "\x1b" not in homolog("doctor").err
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31merror:" in homolog("doctor").err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in homolog("doctor").err


def test_progress_is_a_line_now_and_then_where_nobody_looks(monkeypatch, capsys):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    with terminal.Progress() as progress:
        for step in range(12):
            progress.on_step("search", step / 12, 0.5)
    said = capsys.readouterr().err.splitlines()
    assert 3 <= len(said) <= 6
    assert all(re.fullmatch(r"search: \d+ %, about \d+ (s|min) left", line) for line in said)


def test_what_was_done_before_does_not_make_the_rest_look_quick(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    with terminal.Progress() as progress:
        for share in (0.5, 0.55, 0.6):
            progress.on_step("training", share)
            clock[0] += 20
    assert capsys.readouterr().err.splitlines() == [
        "training: 55 %, about 3 min left",
        "training: 60 %, about 3 min left",
    ]


def test_progress_is_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with terminal.Progress() as progress:
        progress.on_step("search", 0.5)
        progress._bar.refresh()
    said = capsys.readouterr()
    assert "search" in said.err
    assert said.out == ""


def test_a_bar_on_the_terminal_leaves_stdout_to_the_file_it_goes_to(study, homolog, monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: stream is sys.stderr)
    monkeypatch.setenv("FORCE_COLOR", "1")
    ended = homolog("apply", "t.h5", "moving.nii.gz", "-o", "out.nii.gz")
    assert ended.out == "out.nii.gz\n"
    assert "apply" in ended.err


def test_doctor_says_what_it_runs_on_and_what_files_are(study, homolog):
    facts = homolog("doctor", "t.h5", "moving.nii.gz", "moving.mrk.json", "--json").json
    assert facts["homolog"] == package.__version__
    assert facts["packages"]["numpy"] == np.__version__
    kinds = {name: what["kind"] for name, what in facts["files"].items()}
    assert kinds == {"t.h5": "map", "moving.nii.gz": "volume", "moving.mrk.json": "points"}


def test_doctor_names_the_files_that_cannot_be_read(study, homolog):
    (study / "bad.nii.gz").write_text("nothing")
    ended = homolog("doctor", "moving.nii.gz", "bad.nii.gz")
    assert ended.code == 2
    assert "1 of 2 files cannot be read: bad.nii.gz" in ended.errors[0]
    assert "moving.nii.gz: volume on Grid(15x16x13" in ended.out


def test_json_has_no_words_that_json_lacks():
    facts = {"a": float("nan"), "b": [np.float64("inf"), np.arange(2)], 3: (np.bool_(True), np.int16(7))}
    assert json.loads(terminal.as_json(facts)) == {"a": None, "b": [None, [0, 1]], "3": [True, 7]}


def test_main_returns_instead_of_ending_the_interpreter(capsys):
    assert main(["--nonsense"]) == 2
    assert main([]) == 0
