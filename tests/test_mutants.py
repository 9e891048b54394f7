"""The list of mutants fits the sources, and the script catches one. All of them: `make mutants`."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutant_list import MUTANTS, Mutant
from mutants import ROOT, Copy, applied, rungs


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_changes_one_place(mutant):
    assert applied(mutant, (ROOT / mutant.file).read_text()) != (ROOT / mutant.file).read_text()


def test_enough_with_names_of_their_own():
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) >= 40
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


def test_a_fault_is_caught_and_gone_afterwards(tmp_path):
    copy = Copy(tmp_path)
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "lightest first")
    with copy.fault(mutant):
        assert copy.failure("test_rtl_assignment.py").startswith("test_rtl_assignment.py::")
    assert copy.failure("test_rtl_assignment.py") is None
    assert (Path(tmp_path) / "gradrtl" / mutant.file).read_text() == (ROOT / mutant.file).read_text()


@pytest.mark.parametrize("old", ["no such text", "def "])
def test_refuses_what_is_not_there_once(old):
    with pytest.raises(ValueError, match="must be there once"):
        applied(Mutant("m", "rtl/pe.py", old, "", ""), "def a(): ...\ndef b(): ...\n")


def test_the_test_that_caught_it_before_goes_first():
    mutant = next(mutant for mutant in MUTANTS if mutant.file == "rtl/neuron.py")
    known = "test_rtl_top.py::test_some"
    assert rungs(mutant, known) == (known, *rungs(mutant))
    assert rungs(mutant, "test_gone.py::test_some") == rungs(mutant)


def test_a_test_that_is_gone_catches_nothing(tmp_path):
    assert Copy(tmp_path).failure("test_rtl_assignment.py::test_that_was_never_there") is None
