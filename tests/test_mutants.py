"""The list of mutants fits the sources, and the script catches one. All of them: `make mutants`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mutants
import pytest
from mutant import Mutant, applied
from mutant_copy import HINTS, ROOT, Copy, clear, fingerprint
from mutant_list import MUTANTS
from mutants import CATCHERS, Results, campaign, key_of, rungs
from test_processes import lives

from gradrtl.cluster import Cluster
from gradrtl.errors import UserError

RUNG = "test_rtl_assignment.py"
HERE = Cluster(1)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_changes_one_place(mutant):
    assert applied(mutant, (ROOT / mutant.file).read_text()) != (ROOT / mutant.file).read_text()


def test_enough_with_names_of_their_own():
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) >= 40
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    with closing(Copy(tmp_path_factory.mktemp("copies"), fingerprint())) as made:
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


def test_compiled_functions_are_kept_without_a_fault_and_shared_by_copies(copy):
    rung = "test_sim_timing_fifo.py"
    assert copy.failure(rung) is None
    kept = ages(copy)
    assert kept
    with copy.fault(named("space in the same cycle")):
        assert copy.failure(rung).startswith(f"{rung}::")
    assert copy.failure(rung) is None
    assert ages(copy) == kept
    copy.share()
    copy.share()  # what is there already
    with closing(Copy(copy.folder.parent, fingerprint())) as other:
        kept = ages(other)
        assert kept
        assert other.failure(rung) is None
        assert ages(other) == kept


def test_builds_are_shared_by_copies_of_the_same_sources(copy):
    folder = copy.folder.parent
    (copy.kept / "built").mkdir()
    (copy.kept / "built" / "model").write_text("once")
    copy.share()
    with closing(Copy(folder, fingerprint())) as other:
        assert (other.kept / "built" / "model").read_text() == "once"
    (folder / "shared-of-others").mkdir()
    with closing(Copy(folder, fingerprint())):
        assert [path.name for path in folder.glob("shared-*")] == [f"shared-{fingerprint()[:16]}"]


def test_what_killed_processes_have_left_is_removed_and_nothing_else(copy):
    folder = copy.folder.parent
    (folder / "copy-left" / "tests").mkdir(parents=True)
    clear(folder)
    assert list(folder.glob("copy-*")) == [copy.folder]


def test_refuses_other_sources_than_those_of_the_campaign(tmp_path):
    with pytest.raises(UserError, match="sources have changed since the campaign began: start it again"):
        Copy(tmp_path, "0" * 64)


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


def test_what_a_test_has_started_ends_with_it(copy, new_test):
    new_test.write_text(
        "import pathlib, subprocess\n"
        "def test_it(): pathlib.Path('pid').write_text(str(subprocess.Popen(['sleep', '600']).pid))\n"
    )
    copy.failure("test_new.py")
    wait_for_end(int((copy.folder / "pid").read_text()))


def wait_for_end(process):
    end = time.monotonic() + 30
    while lives(process):
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.05)


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
    one, two, three = (mutant for mutant in MUTANTS if mutant.file == "rtl/assignment.py")
    other = next(mutant for mutant in MUTANTS if mutant.file == "rtl/readout.py")
    with Results(tmp_path) as results:
        for mutant, caught_by in (
            (one, "test_rtl_assignment.py::test_by_hand"),
            (two, "test_rtl_top.py::test_some hangs"),
            (three, None),
            (other, "formal/test_readout.py::test_some"),
        ):
            results.add(key_of(mutant), {"caught by": caught_by, "seconds": 1.0})
        assert results.summary(MUTANTS).splitlines() == [
            f"| file | mutants | {' | '.join(CATCHERS)} |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            "| `rtl/assignment.py` | 3 | 1 | 1 |  | 1 |",
            "| `rtl/readout.py` | 1 |  |  | 1 |  |",
            "| all | 4 | 1 | 1 | 1 | 1 |",
        ]
    with Results(tmp_path) as results:
        assert results.of(one)["caught by"] == "test_rtl_assignment.py::test_by_hand"
        assert results.of(replace(one, new="another fault")) is None


def test_results_of_other_sources_are_hints(tmp_path, monkeypatch):
    one = next(mutant for mutant in MUTANTS if mutant.file == "rtl/assignment.py")
    with Results(tmp_path) as results:
        results.add(key_of(one), {"caught by": "test_rtl_top.py::test_some[a b] hangs", "seconds": 1.0})
    monkeypatch.setattr(mutants, "fingerprint", lambda: "of other sources")
    with Results(tmp_path) as results:
        assert results.of(one) is None
        assert results.rungs(one)[0] == "test_rtl_top.py::test_some[a b]"


def test_a_campaign_in_small(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(mutants, "FOLDER", tmp_path / "build")
    monkeypatch.setattr(mutants, "HINTS", tmp_path / "hints.json")
    monkeypatch.setattr(mutants, "LADDER", ())
    monkeypatch.setattr(sys, "argv", ["mutants.py", "--only", "rtl/assignment.py", "--jobs", "1", "--keep-hints"])
    assert mutants.main() == 0
    told = capsys.readouterr().out
    assert "| all | 3 | 3 |  |  |  |" in told
    assert "3 mutants, 3 caught\n" in told
    assert f"{RUNG} passes without a fault in " in told
    hints = json.loads((tmp_path / "hints.json").read_text())
    assert hints["lightest first"].startswith(f"{RUNG}::")
    assert "| all | 3 | 3 |" in (tmp_path / "build" / "report.md").read_text()
    assert not list((tmp_path / "build").glob("copy-*"))
    monkeypatch.setattr(mutants, "Copy", None)  # there is nothing left to run
    assert mutants.main() == 0


LOGS = """
import os, pathlib, time
with open({log!r}, "a") as file:
    file.write(f"{name} {{os.getppid()}}\\n")
"""
FAILS = "raise RuntimeError"
WAITS = """
victim = pathlib.Path({victim!r})
if not victim.exists():
    victim.write_text(str(os.getpid()))
    time.sleep(600)
raise RuntimeError
"""


def logging(name, log, then=FAILS):
    """A fault that adds its name to the file `log`, a line for each time that the sources with it are imported."""
    old = "from __future__ import annotations\n"
    code = LOGS.format(log=str(log), name=name)
    return Mutant(name, "rtl/assignment.py", old, f"{old}{code}{then}\n", "a line in a file")


def begun(log):
    return Counter(line.split()[0] for line in log.read_text().splitlines())


def test_a_survivor_and_a_campaign_that_is_interrupted(monkeypatch, tmp_path):
    monkeypatch.setattr(mutants, "LADDER", ())
    log = tmp_path / "log"
    faults = [logging("one", log), logging("two", log, then=""), logging("three", log)]

    def interrupt(line):
        if line.startswith("one "):
            raise KeyboardInterrupt

    with Results(tmp_path / "results") as results:
        with pytest.raises(KeyboardInterrupt):
            campaign(faults, results, HERE, interrupt)
        assert begun(log) == {"one": 1}
        assert not list((tmp_path / "results").glob("copy-*"))
    said = []
    with Results(tmp_path / "results") as results:
        campaign(faults, results, HERE, said.append)
        assert [results.of(fault)["caught by"] for fault in faults] == [RUNG, None, RUNG]
    told = [line for line in said if "rtl/assignment.py" in line]
    assert told == ["two (rtl/assignment.py): SURVIVES", f"three (rtl/assignment.py): {RUNG}"]
    assert begun(log) == {"one": 1, "two": 1, "three": 1}


def test_tests_that_fail_without_a_fault_end_the_campaign(monkeypatch, tmp_path):
    monkeypatch.setattr(mutants, "LADDER", ("test_gone.py",))
    with Results(tmp_path) as results:
        monkeypatch.setattr(Copy, "failure", lambda self, rung, longest: f"{rung}::test_it")
        with pytest.raises(UserError, match=r"::test_it fails without any fault"):
            campaign([named("lightest first")], results, HERE)
        assert not results.lines
        assert not results.whole.lines


@pytest.mark.slow
def test_two_workers_one_killed_in_the_middle_of_a_fault(monkeypatch, tmp_path):
    """Another worker tries that fault again; each of the others is tried once; what the dead one ran ends with it."""
    monkeypatch.setattr(mutants, "LADDER", ())
    log, victim = tmp_path / "log", tmp_path / "victim"
    faults = [logging(name, log) for name in ("one", "two", "three", "four")]
    faults.insert(1, logging("waits", log, WAITS.format(victim=str(victim))))
    said = []

    def kill(line):
        if line.startswith("one "):
            while not (victim.exists() and victim.read_text()):
                time.sleep(0.05)
            server = next(line for line in log.read_text().splitlines() if line.startswith("waits ")).split()[1]
            os.kill(int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
            wait_for_end(int(victim.read_text()))
        said.append(line)

    with Results(tmp_path / "results") as results:
        results.whole.add(RUNG, {"caught by": None, "seconds": 150.0})  # the wait is no hang
        campaign(faults, results, Cluster(2), kill)
        assert {results.of(fault)["caught by"] for fault in faults} == {RUNG}
    assert sorted(line for line in said if "rtl/assignment.py" in line) == sorted(
        f"{fault.name} ({fault.file}): {RUNG}" for fault in faults
    )
    lines = (tmp_path / "results" / "found.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["fault"] for line in lines}) == 5
    assert begun(log) == {"one": 1, "two": 1, "three": 1, "four": 1, "waits": 2}
    assert not list((tmp_path / "results").glob("copy-*"))
