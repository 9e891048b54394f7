"""The cache hands out what it was given, undamaged, and keeps nothing of a killed process."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numba
import numpy as np
import pytest
import torch

from gradrtl import cache as module
from gradrtl.cache import cached, libraries, recalled, remembered, scratch, sources
from gradrtl.errors import UserError


class Maker:
    """Counts its calls, and fills an entry with a text, a program and a folder."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "text").write_text("content")
        (folder / "program").write_text("#!/bin/sh\necho made\n")
        (folder / "program").chmod(0o755)
        (folder / "inner").mkdir()
        (folder / "inner" / "text").write_text("more")


@pytest.fixture
def maker():
    return Maker()


def test_made_once_for_the_same_texts(maker, tmp_path):
    entries = {cached(tmp_path, "kind", {"b": "2", "a": "1"}, maker) for _ in range(3)}
    entries.add(cached(tmp_path, "kind", {"a": "1", "b": "2"}, maker))
    assert len(entries) == maker.calls == 1
    assert (entries.pop() / "text").read_text() == "content"


def test_names_and_texts_do_not_run_together(maker, tmp_path):
    entries = {cached(tmp_path, "kind", texts, maker) for texts in ({"a": "12"}, {"a1": "2"}, {"a": "1", "2": ""})}
    assert len(entries) == 3


@pytest.mark.parametrize("texts", [{"a": "12"}, {"a1": "2"}, {"b": "1", "a": "2"}, {"a": "1", "b": ""}])
def test_made_anew_for_other_texts(texts, maker, tmp_path):
    cached(tmp_path, "kind", {"a": "1"}, maker)
    cached(tmp_path, "kind", texts, maker)
    assert maker.calls == 2


def emptied(entry):
    (entry / "program").write_text("")


def altered(entry):
    (entry / "inner" / "text").write_text("mere")


def deleted(entry):
    (entry / "text").unlink()


def added(entry):
    (entry / "extra").write_text("")


def not_executable(entry):
    (entry / "program").chmod(0o644)


def without_list(entry):
    (entry / module.CONTENTS).unlink()


def damaged_list(entry):
    (entry / module.CONTENTS).write_text("{")


def a_file(entry):
    shutil.rmtree(entry)
    entry.write_text("")


@pytest.mark.parametrize(
    "damage", [emptied, altered, deleted, added, not_executable, without_list, damaged_list, a_file]
)
def test_a_damaged_entry_is_made_again(damage, maker, tmp_path):
    entry = cached(tmp_path, "kind", {"a": "1"}, maker)
    damage(entry)
    assert cached(tmp_path, "kind", {"a": "1"}, maker) == entry
    assert subprocess.run([entry / "program"], capture_output=True, check=True).stdout == b"made\n"
    assert maker.calls == 2
    cached(tmp_path, "kind", {"a": "1"}, maker)
    assert maker.calls == 2


def test_nothing_stays_but_the_entry(maker, tmp_path):
    entry = cached(tmp_path, "kind", {}, maker)
    assert list(tmp_path.iterdir()) == [entry]


def test_a_failure_leaves_nothing(tmp_path):
    def fails(folder):
        (folder / "text").write_text("half")
        raise UserError("refused")

    with pytest.raises(UserError, match=r"^refused$"):
        cached(tmp_path, "kind", {}, fails)
    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_are_removed(maker, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "KEPT_ENTRIES", 2)
    other = cached(tmp_path, "other", {}, maker)
    first, second = (cached(tmp_path, "kind", {"a": text}, maker) for text in "12")
    for entry, age in ((other, 300), (first, 100), (second, 200)):
        os.utime(entry, (time.time() - age, time.time() - age))
    third = cached(tmp_path, "kind", {"a": "3"}, maker)
    assert sorted(tmp_path.iterdir()) == sorted([other, first, third])


def test_use_keeps_an_entry(maker, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "KEPT_ENTRIES", 2)
    first, second = (cached(tmp_path, "kind", {"a": text}, maker) for text in "12")
    for entry in (first, second):
        os.utime(entry, (1, 1))
    cached(tmp_path, "kind", {"a": "1"}, maker)
    cached(tmp_path, "kind", {"a": "3"}, maker)
    assert first.is_dir()
    assert not second.exists()


def test_what_a_killed_process_leaves_is_removed(maker, tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from gradrtl.cache import cached\n"
        "def make(folder):\n"
        "    (folder / 'half').write_text('')\n"
        "    print('making', flush=True); time.sleep(60)\n"
        "cached(Path(sys.argv[1]), 'kind', {'a': '1'}, make)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"making\n"
    other = cached(tmp_path, "kind", {"a": "2"}, maker)  # the folder of a living process stays
    assert len(list(tmp_path.glob("making-*/entry/half"))) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(tmp_path.glob("making-*"))) == 1
    entry = cached(tmp_path, "kind", {"a": "1"}, maker)
    assert sorted(tmp_path.iterdir()) == sorted([entry, other])


def test_two_threads_make_an_entry_once(maker, tmp_path):
    def slow(folder):
        time.sleep(0.1)
        maker(folder)

    threads = [threading.Thread(target=cached, args=(tmp_path, "kind", {}, slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert maker.calls == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_storage_that_refuses_is_told_in_a_line(number, tmp_path):
    def refused(folder):
        raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match=f"^cache folder {tmp_path} cannot be used: {os.strerror(number)}$"):
        cached(tmp_path, "kind", {}, refused)


def test_a_file_in_place_of_the_cache_is_told(maker, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cache folder .* cannot be used"):
        cached(tmp_path / "file" / "cache", "kind", {}, maker)


def test_scratch_folders_are_empty_and_removed(tmp_path):
    with scratch(tmp_path) as folder, scratch(tmp_path) as other:
        assert folder != other
        assert list(folder.iterdir()) == []
        (folder / "file").write_text("")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package outside the project, on the path."""
    (tmp_path / "sourced" / "inner").mkdir(parents=True)
    (tmp_path / "sourced" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "sourced"


def test_every_source_of_a_package_counts(package):
    found = [sources("sourced")]
    for name in ("a.py", "b.py", "inner/a.py", "template.cpp"):
        (package / name).write_text("1")
        found.append(sources("sourced"))
    (package / "a.py").write_text("2")
    found.append(sources("sourced"))
    assert len(set(found)) == len(found)


def test_foundations_count_for_all(package, monkeypatch):
    """Results of every package depend on widths, checks and files: who names a package does not have to name them."""
    monkeypatch.setattr(module, "FOUNDATIONS", ("sourced",))
    found = [sources("gradrtl.host")]
    (package / "__init__.py").write_text("edited")
    found.append(sources("gradrtl.host"))
    assert len(set(found)) == 2


def test_versions_of_libraries(monkeypatch):
    """What simulates and generates has no torch."""
    assert libraries() == {"numba": numba.__version__, "numpy": np.__version__, "torch": torch.__version__}
    monkeypatch.setattr(module, "LIBRARIES", ("numpy", "not-installed"))
    assert libraries() == {"numpy": np.__version__, "not-installed": "none"}


def test_bytecode_does_not_count(package):
    before = sources("sourced")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.cpython-311.pyc").write_text("")
    assert sources("sourced") == before


def test_a_module_counts_alone():
    assert sources("gradrtl.bits") != sources("gradrtl.errors") != sources("gradrtl.bits", "gradrtl.errors")
    with pytest.raises(ValueError, match="no module"):
        sources("gradrtl.nothing")


def test_values_are_remembered(tmp_path, caplog):
    value, made = {"pes": [16, 10], "cost": 0.1 + 0.2}, []

    def make():
        made.append(1)
        return value

    assert recalled("plan", {"a": "1"}, tmp_path) is None
    assert [remembered("plan", {"a": "1"}, make, tmp_path) for _ in range(3)] == [value] * 3
    assert len(made) == 1
    [entry] = tmp_path.iterdir()
    entry.with_suffix(".lock").touch()  # left by a process that was killed after it made the entry
    os.utime(entry, (1, 1))
    caplog.set_level("INFO", "gradrtl")
    assert recalled("plan", {"a": "1"}, tmp_path) == value
    assert caplog.messages == [f"from the cache: {entry}"]
    assert list(tmp_path.iterdir()) == [entry]
    assert entry.stat().st_mtime > 1, "an entry that is used is kept"
    assert recalled("plan", {"a": "2"}, tmp_path) is None
    assert len(caplog.messages) == 1


def test_a_damaged_value_is_not_recalled(tmp_path):
    remembered("plan", {}, lambda: 1, tmp_path)
    [path] = tmp_path.glob("plan-*/value.json")
    path.write_text("2")
    assert recalled("plan", {}, tmp_path) is None
    assert remembered("plan", {}, lambda: 1, tmp_path) == 1


def test_values_are_made_each_time_where_nothing_can_be_kept(tmp_path):
    cache = tmp_path / "file"
    cache.touch()
    made = []
    for _ in range(2):
        assert remembered("plan", {}, lambda: made.append(1) or len(made), cache) == len(made)
    assert len(made) == 2
    assert recalled("plan", {}, cache) is None
