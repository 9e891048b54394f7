"""Results are kept line by line, each once, whoever else writes to the file and however a writer ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradrtl.errors import UserError
from gradrtl.store import Store

ADDS = """import random, sys
from pathlib import Path
from gradrtl.store import Store
numbers = list(range(1000))
random.Random(int(sys.argv[2])).shuffle(numbers)
with Store(Path(sys.argv[1]), "n", "s") as store:
    print("ready", flush=True)
    input()
    print(sum(store.add(n, {"by": sys.argv[2]}) for n in numbers))
"""


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_result_is_kept_once(tmp_path):
    path = tmp_path / "new" / "found.jsonl"
    with Store(path, "seed", "abc") as store:
        assert store.add(3, {"wrong": None})
        assert not store.add(3, {"wrong": "another"})
        assert store.add("x", {"wrong": "all"})
    assert lines(path) == [
        {"seed": 3, "wrong": None, "sources": "abc"},
        {"seed": "x", "wrong": "all", "sources": "abc"},
    ]
    with Store(path, "seed", "abc") as store:
        assert store.lines == {3: lines(path)[0], "x": lines(path)[1]}
        assert store.value(store.lines["x"]) == {"wrong": "all"}
        assert not store.add(3, {"wrong": None})


def test_lines_of_other_sources_stay_and_do_not_count(tmp_path):
    path = tmp_path / "found.jsonl"
    with Store(path, "seed", "old") as store:
        store.add(1, {"figure": 5})
    with Store(path, "seed", "new") as store:
        assert store.lines == {}
        assert [line["figure"] for line in store.others] == [5]
        assert store.add(1, {"figure": 6})
    assert [line["figure"] for line in lines(path)] == [5, 6]


def test_half_a_line_of_a_killed_process_is_removed(tmp_path):
    path = tmp_path / "found.jsonl"
    with Store(path, "seed", "s") as store, Store(path, "seed", "s") as other:
        store.add(1, {})
        with path.open("a") as file:
            file.write('{"seed": 2, "sou')
        assert list(other.news()) == [1]
        assert other.add(2, {})
        assert list(store.news()) == [2]
    assert [line["seed"] for line in lines(path)] == [1, 2]


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "found.jsonl"
    path.write_text("a table\n")
    with pytest.raises(UserError, match=r"line of .*found.jsonl is a table, expected a result"):
        Store(path, "seed", "s")
    path.write_text("[1]\n")
    with pytest.raises(UserError, match="is \\[1\\]"):
        Store(path, "seed", "s")
    path.write_text('{"seed": ["a list"], "sources": "s"}\n')
    with pytest.raises(UserError, match=r"a list.*expected a result"):
        Store(path, "seed", "s")
    with pytest.raises(UserError, match="cannot be written"):
        Store(path / "below", "seed", "s")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe cannot be read"):
        Store(tmp_path / "pipe", "seed", "s")


@pytest.mark.parametrize("content", ['{"passed": true}', "a table\n1", "1"])
def test_a_foreign_file_without_a_newline_at_its_end_is_not_cut(content, tmp_path):
    path = tmp_path / "found.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match="expected a result"):
        Store(path, "seed", "s")
    assert path.read_text() == content


def test_a_full_disk_is_told():
    with (
        Store(Path("/dev/full"), "seed", "s") as store,
        pytest.raises(UserError, match="/dev/full cannot be written: No"),
    ):
        store.add(1, {})


@pytest.mark.parametrize("half", ["{", '{"seed"', '{"seed": 1, "sources"'])
def test_any_beginning_of_a_line_is_half_a_line(half, tmp_path):
    path = tmp_path / "found.jsonl"
    path.write_text(half)
    with Store(path, "seed", "s"):
        assert path.read_text() == ""


def test_a_claim_is_of_one_until_it_is_given_up(tmp_path):
    path = tmp_path / "found.jsonl"
    first, second = Store(path, "seed", "s"), Store(path, "seed", "s")
    assert first.claim(1)
    path.read_text()  # a second opening and closing of the file takes no lock away
    assert not second.claim(1)
    assert second.claim(2)
    first.add(1, {})
    first.release(1)
    assert not second.claim(1)  # it has a result
    assert second.news() == {1: {}}
    second.close()
    assert first.claim(2)  # the other has ended without a result
    first.close()


def test_processes_that_add_the_same_at_once(tmp_path):
    path = tmp_path / "found.jsonl"
    command = [sys.executable, "-c", ADDS, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, str(n)], **pipes) for n in range(3)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 3
    for process in running:  # all are up: they begin together
        process.stdin.write("\n")
        process.stdin.flush()
    added = [int(process.communicate()[0]) for process in running]
    assert sum(added) == 1000
    assert sorted(line["n"] for line in lines(path)) == list(range(1000))
