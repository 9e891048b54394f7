"""The list of mutants fits the sources, and the script catches one. All of them: `make mutants`."""

from __future__ import annotations

import json
import sys
from contextlib import closing

import mutants
import pytest
from mutant_list import MUTANTS, Mutant
from mutants import CATCHERS, HINTS, ROOT, Copy, Report, applied, rungs


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_changes_one_place(mutant):
    assert applied(mutant, (ROOT / mutant.file).read_text()) != (ROOT / mutant.file).read_text()


def test_enough_with_names_of_their_own():
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) >= 40
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    with closing(Copy(tmp_path_factory.mktemp("copy"))) as made:
        yield made


@pytest.fixture
def new_test(copy):
    path = copy.folder / "tests" / "test_new.py"
    yield path
    path.unlink()


def named(name):
    return next(mutant for mutant in MUTANTS if mutant.name == name)


def test_a_fault_is_caught_and_gone_afterwards(copy):
    mutant = named("lightest first")
    with copy.fault(mutant):
        assert copy.failure("test_rtl_assignment.py").startswith("test_rtl_assignment.py::")
    assert copy.failure("test_rtl_assignment.py") is None
    assert (copy.folder / "gradrtl" / mutant.file).read_text() == (ROOT / mutant.file).read_text()


def test_what_is_built_with_a_fault_goes_with_it(copy):
    (copy.kept / "entry").mkdir()
    (copy.kept / "entry" / "model").write_text("without a fault")
    (copy.kernels / "compiled").write_text("without a fault")
    with copy.fault(named("lightest first")):
        assert (copy.kept / "entry" / "model").read_text() == "without a fault"
        (copy.kept / "other").mkdir()
        (copy.kernels / "compiled").write_text("with a fault")
    assert not (copy.kept / "other").exists()
    assert (copy.kernels / "compiled").read_text() == "without a fault"


def test_compiled_functions_are_kept_without_a_fault_and_shared_by_copies(copy, tmp_path):
    rung = "test_sim_timing_fifo.py"
    assert copy.failure(rung) is None
    kept = ages(copy)
    assert kept
    with copy.fault(named("space in the same cycle")):
        assert copy.failure(rung).startswith(f"{rung}::")
    assert copy.failure(rung) is None
    assert ages(copy) == kept
    with closing(Copy(tmp_path / "other")) as other:
        other.share(copy)
        kept = ages(other)
        assert kept
        assert other.failure(rung) is None
        assert ages(other) == kept


def ages(copy):
    return {path.relative_to(copy.kernels): path.stat().st_mtime_ns for path in copy.kernels.rglob("*.nb?")}


def test_a_test_that_hangs_is_named(copy, new_test):
    new_test.write_text(
        "import pytest, time\n"
        "def test_first(): pass\n"
        "@pytest.mark.parametrize('name', ['a b'])\n"
        "def test_second(name): time.sleep(60)\n"
    )
    assert copy.failure("test_new.py", longest=10.0) == "test_new.py::test_second[a b] hangs"
    assert copy.failure("test_new.py::test_first") is None


def test_a_name_with_spaces_is_a_hint(copy, new_test):
    new_test.write_text(
        "import pytest\n@pytest.mark.parametrize('name', ['a - b'])\ndef test_it(name): assert not name, name\n"
    )
    assert copy.failure("test_new.py") == copy.failure("test_new.py::test_it[a - b]") == "test_new.py::test_it[a - b]"


@pytest.mark.parametrize("old", ["no such text", "def "])
def test_refuses_what_is_not_there_once(old):
    with pytest.raises(ValueError, match="must be there once"):
        applied(Mutant("m", "rtl/pe.py", old, "", ""), "def a(): ...\ndef b(): ...\n")


def test_the_test_that_caught_it_before_goes_first():
    mutant = next(mutant for mutant in MUTANTS if mutant.file == "rtl/neuron.py")
    known = "test_rtl_top.py::test_some"
    assert rungs(mutant, known) == (known, *rungs(mutant))
    assert rungs(mutant, "test_gone.py::test_some") == rungs(mutant)


def test_a_test_that_is_gone_catches_nothing(copy):
    assert copy.failure("test_rtl_assignment.py::test_that_was_never_there") is None


def test_hints_name_mutants_and_tests():
    hints = json.loads(HINTS.read_text())
    assert set(hints) <= {mutant.name for mutant in MUTANTS}
    for hint in hints.values():
        file, test = hint.split("::", 1)
        assert f"def {test.partition('[')[0]}(" in (ROOT / "tests" / file).read_text(), hint


def test_the_summary_counts_by_file_and_by_kind_of_test(tmp_path):
    report = Report(tmp_path)
    one, two, three = (mutant for mutant in MUTANTS if mutant.file == "rtl/assignment.py")
    other = next(mutant for mutant in MUTANTS if mutant.file == "rtl/readout.py")
    for mutant, caught_by in (
        (one, "test_rtl_assignment.py::test_by_hand"),
        (two, "test_rtl_top.py::test_some hangs"),
        (three, None),
        (other, "formal/test_readout.py::test_some"),
    ):
        report.add(mutant, caught_by, 1.0)
    assert report.summary(MUTANTS).splitlines() == [
        f"| file | mutants | {' | '.join(CATCHERS)} |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| `rtl/assignment.py` | 3 | 1 | 1 |  | 1 |",
        "| `rtl/readout.py` | 1 |  |  | 1 |  |",
        "| all | 4 | 1 | 1 | 1 | 1 |",
    ]
    assert Report(tmp_path).hints[two.name] == "test_rtl_top.py::test_some"
    assert Report(tmp_path).has(one)


def test_a_campaign_in_small(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(mutants, "FOLDER", tmp_path / "build")
    monkeypatch.setattr(mutants, "HINTS", tmp_path / "hints.json")
    monkeypatch.setattr(mutants, "LADDER", ())
    monkeypatch.setattr(sys, "argv", ["mutants.py", "--only", "rtl/assignment.py", "--jobs", "2", "--keep-hints"])
    assert mutants.main() == 0
    told = capsys.readouterr().out
    assert "| all | 3 | 3 |  |  |  |" in told
    assert "3 mutants, 3 caught" in told
    hints = json.loads((tmp_path / "hints.json").read_text())
    assert hints["lightest first"].startswith("test_rtl_assignment.py::")
    assert list(json.loads((tmp_path / "build/report.json").read_text())["baseline"]) == ["test_rtl_assignment.py"]
    monkeypatch.setattr(mutants, "Copy", None)  # there is nothing left to run
    assert mutants.main() == 0
