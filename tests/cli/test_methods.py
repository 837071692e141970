"""Several methods in the table: each with flags of its own, which may be called as another's are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Literal

import pytest

from homolog import methods
from homolog.cli.configs import Common, Register
from homolog.space.registration import Registration
from homolog.space.transforms import Affine
from tests.cli.conftest import listing


@dataclass(frozen=True)
class OtherConfig:
    """One option that is the linear method's own too, another of the same name and another kind, and one more."""

    max_steps: int = 2
    """Steps."""
    kind: Literal["stiff", "soft"] = "soft"
    """What it is like."""
    sweetness: float = 0.25
    """No unit."""


SEEN = []


def other(fixed, moving, config=OtherConfig(), **options):
    SEEN.append(config)
    return Registration(Affine.identity(fixed.space, moving.space), (), 0.1, "converged", 0.0, 1.0, 1.0)


@pytest.fixture
def two_methods(monkeypatch):
    monkeypatch.setitem(methods.PAIRWISE, "other", f"{__name__}:other")
    monkeypatch.setitem(methods.PAIRWISE_OPTIONS, "other", f"{__name__}:OtherConfig")
    SEEN.clear()


def test_both_tables_name_the_same_methods():
    assert list(methods.PAIRWISE) == list(methods.PAIRWISE_OPTIONS)
    for place in (*methods.PAIRWISE.values(), *methods.PAIRWISE_OPTIONS.values()):
        assert callable(methods.resolve(place))


@pytest.mark.parametrize("name", methods.PAIRWISE_OPTIONS)
def test_no_methods_option_takes_the_name_of_a_common_one(name):
    common = {field.name for config in (Register, Common) for field in fields(config)} | {"output"}
    assert not common & {field.name for field in fields(methods.resolve(methods.PAIRWISE_OPTIONS[name]))}


@pytest.mark.usefixtures("two_methods")
def test_the_help_shows_the_options_of_the_method_that_is_named(homolog):
    usual, named = homolog("register", "--help").out, homolog("register", "--method", "other", "--help").out
    assert "other]" in usual and "other]" in named
    assert "--method linear --help" in " ".join(usual.split())
    assert "--lattice-vox" in usual and "--sweetness" not in usual
    assert "--sweetness" in named and "--lattice-vox" not in named
    assert "[stiff, soft]" in named and "[default soft]" in named
    assert homolog("register", "--method=other", "-h").out == named


def test_naming_a_method_for_its_help_imports_nothing_heavy():
    heavy = "{'numpy', 'torch', 'numba', 'scipy', 'SimpleITK', 'nibabel', 'pydicom'}"
    lines = [["register", "--method", name, "--help"] for name in methods.PAIRWISE]
    check = f"""
import sys
from homolog.cli.main import main
codes = [main(line) for line in {lines!r}]
print(set(codes), sorted({heavy} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "{0} []"


@pytest.mark.usefixtures("two_methods")
def test_a_methods_flags_reach_it_and_its_record(study, homolog):
    line = ("register", "fixed.nii.gz", "moving.nii.gz", "-o", "run", "--method", "other", "--json")
    ended = homolog(*line, "--kind", "stiff", "--max-steps", 7)
    (seen,) = SEEN
    assert seen == OtherConfig(kind="stiff", max_steps=7)
    assert ended.json["config"]["other"] == {"kind": "stiff", "max_steps": 7, "sweetness": 0.25}


@pytest.mark.usefixtures("two_methods")
def test_a_method_without_flags_has_its_defaults(study, homolog):
    assert homolog("register", "fixed.nii.gz", "moving.nii.gz", "-o", "run", "--method", "other").code == 0
    (seen,) = SEEN
    assert seen == OtherConfig()


@pytest.mark.usefixtures("two_methods")
def test_a_file_of_options_holds_those_of_its_method(study, homolog):
    (study / "options.toml").write_text('[other]\nsweetness = 0.5\n[linear]\nkind = "rigid"\n')
    line = ("register", "fixed.nii.gz", "moving.nii.gz", "-o", "run", "--config", "options.toml")
    assert homolog(*line, "--method", "other", "--max-steps", 7).code == 0
    (seen,) = SEEN
    assert seen == OtherConfig(sweetness=0.5, max_steps=7)


@pytest.mark.usefixtures("two_methods")
@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("--method linear --sweetness 1", "--sweetness is no option of this method", "--method other"),
        ("--method other --lattice-vox 2", "--lattice-vox is no option of this method", "--method linear"),
        ("--method other --kind rigid", 'invalid value "rigid"', "homolog register"),
        ("--method othr", "no method is called 'othr'", "did you mean --method other?"),
        ("--method other --swetness 1", "unknown option: --swetness", "--sweetness 1"),
    ],
)
def test_what_a_method_does_not_know_is_refused(study, homolog, words, said, hint):
    before = listing(study)
    ended = homolog("register", "fixed.nii.gz", "moving.nii.gz", "-o", "run", *words.split())
    assert ended.code == 2
    assert said in ended.errors[0]
    assert hint in ended.hints[0]
    assert listing(study) == before
