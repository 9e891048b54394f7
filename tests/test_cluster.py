"""Tasks on workers: nothing is lost and nothing is done twice, whoever is killed."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import cluster_work
import pytest
from cluster_work import Order, orders, same, squares
from test_processes import lives

from gradrtl import cluster, workers
from gradrtl.cluster import Cluster, TasksFailed, run
from gradrtl.errors import UserError
from gradrtl.store import Store

WHOLE = {number: {"square": number**2} for number in range(12)}
HERE = Cluster(1)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def begun(log: Path) -> Counter[int]:
    """How many times each number was begun."""
    return Counter(int(line.split()[0]) for line in log.read_text().splitlines())


def test_here_results_come_one_by_one_and_are_kept(tmp_path):
    path, log = tmp_path / "found.jsonl", tmp_path / "log"
    with Store(path, "number", same()) as store:
        found = run(squares, orders(12, log=log), HERE, store=store)
        assert [next(found), next(found)] == [(0, {"square": 0}), (1, {"square": 1})]
        found.close()
        assert begun(log).total() == len(lines(path)) == 2
        store.lines.clear()
    with Store(path, "number", same()) as store:
        assert dict(run(squares, orders(12, log=log), HERE, store=store, batch=5)) == dict(list(WHOLE.items())[2:])
        assert dict(run(squares, orders(12, log=log), HERE, store=store)) == {}
    assert set(begun(log).values()) == {1}
    assert {line["number"]: {"square": line["square"]} for line in lines(path)} == WHOLE


def test_what_another_process_finds_is_told(tmp_path):
    path, log = tmp_path / "found.jsonl", tmp_path / "log"
    with Store(path, "number", same()) as store, Store(path, "number", same()) as other:
        other.add(1, {"square": 1})
        found = run(squares, orders(4, log=log), HERE, store=store)
        assert next(found) == (0, {"square": 0})  # 1 was there before
        assert other.claim(3)
        other.add(3, {"square": 9})
        other.add(70, {"square": 4900})  # nobody has asked for it
        assert dict(found) == {2: {"square": 4}, 3: {"square": 9}}
        assert begun(log) == {0: 1, 2: 1}


def test_an_error_ends_the_run_and_leaves_what_there_is(tmp_path):
    todo = orders(4) | {4: Order(4, "wrong")} | {5: Order(5)}
    with Store(tmp_path / "found.jsonl", "number", same()) as store:
        with pytest.raises(UserError, match="no such number"):
            list(run(squares, todo, HERE, store=store))
        assert list(store.lines) == [0, 1, 2, 3]
        assert store.claim(5)


def test_nothing_is_begun_after_the_deadline(tmp_path):
    log = tmp_path / "log"
    found = run(squares, orders(50, seconds=0.1, log=log), HERE, deadline=time.monotonic() + 0.35)
    assert 2 <= len(dict(found)) == begun(log).total() <= 5
    assert dict(run(squares, orders(2), HERE, deadline=time.monotonic())) == {}


def test_progress_has_rate_and_time_left(monkeypatch):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(cluster.time, "monotonic", lambda: next(clock))
    said: list[str] = []
    dict(run(squares, orders(8), HERE, say=said.append))
    assert said[0] == "2 of 8 done, 10 a minute, 1 min left, 1 worker"
    assert said[-1].startswith("8 of 8 done, ")
    assert "left" not in said[-1]
    monkeypatch.undo()
    quick: list[str] = []
    dict(run(squares, orders(2), HERE, say=quick.append))
    assert quick == []


def test_a_batch_that_ends_its_workers_is_tried_one_by_one(tmp_path):
    """The dead worker is a result that is None here."""
    with Store(tmp_path / "found.jsonl", "number", same()) as store:
        pending = cluster._Pending(orders(4), store, None, 3, None)
        keys = pending.next()
        assert keys == [0, 1, 2]
        assert pending.end(keys, None) == []
        assert [pending.next() for _ in range(5)] == [[3], [0], [1], [2], []]
        assert pending.end([0], [{"square": 0}]) == [(0, {"square": 0})]
        pending.end([1], None)
        assert pending.failed == [1]
        with Store(tmp_path / "found.jsonl", "number", same()) as other:
            assert other.claim(1)  # it is free for others


def test_without_dask_all_runs_here(monkeypatch, tmp_path):
    program = (
        "import sys, cluster_work as w; from gradrtl.cluster import *; print(len(dict(run(w.squares, w.orders(3), "
        "Cluster(1))))); sys.exit('dask' in sys.modules or 'distributed' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"3\n", 0), done.stderr
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert Cluster().here
    for given, field in (({"jobs": 2}, "jobs is 2"), ({"scheduler": "tcp://a:1"}, "scheduler is tcp://a:1")):
        with pytest.raises(UserError, match=rf"{field}.*expected .*Dask to be installed: pip install 'gradrtl\["):
            Cluster(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"jobs": 0}, "jobs is 0, expected at least 1"),
        ({"jobs": 2, "scheduler": "tcp://a:1"}, "jobs is 2, expected left out beside --scheduler"),
        ({"scheduler": "a machine"}, "scheduler is a machine, expected an address such as tcp://host:8786"),
        ({"jobs": 1, "memory": "4GB"}, "memory is 4GB, expected given with --jobs of 2 or more"),
        ({"jobs": 2, "memory": "much"}, "memory is much, expected at least 500MB, such as 4GB"),
        ({"jobs": 2, "memory": "1MB"}, "memory is 1MB, expected at least 500MB"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        Cluster(**given)


@pytest.mark.slow
def test_two_workers_one_killed_and_tasks_that_end_their_workers(tmp_path):
    """A worker is killed in the middle of a task, which another worker then does; two tasks always end theirs."""
    path, log, victim = tmp_path / "found.jsonl", tmp_path / "log", tmp_path / "victim"
    todo = orders(12, log=log)
    todo[1] = Order(1, seconds=4.0, log=victim)
    todo[5] = Order(5, "dies", log=log)
    found = {}
    with Store(path, "number", same()) as store:

        def go() -> None:
            for key, value in run(squares, todo, Cluster(2), store=store, code=same):
                if not found:
                    while not victim.exists():
                        time.sleep(0.05)
                    os.kill(int(victim.read_text().split()[1]), signal.SIGKILL)
                assert key not in found
                found[key] = value

        with pytest.raises(TasksFailed, match=r"ended their worker each time: 5\. All others"):
            go()
        assert store.claim(5)  # a later run may try it again
    assert found == {key: value for key, value in WHOLE.items() if key != 5}
    assert sorted(line["number"] for line in lines(path)) == sorted(found)
    assert len(victim.read_text().splitlines()) == 2
    assert begun(log)[5] == workers.ATTEMPTS
    # A result is lost with its worker until it has been handed over: it may be made again, but is kept once.
    assert sum(begun(log)[number] - 1 for number in found if number != 1) <= 1


def started(*words: object) -> subprocess.Popen[str]:
    program = Path(cluster_work.__file__)
    return subprocess.Popen(
        [sys.executable, "-W", "error", program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )


def test_an_interruption_waits_until_the_cluster_stands():
    program = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    told = []

    def begin() -> None:
        with workers._interrupted_later():
            os.kill(os.getpid(), signal.SIGINT)
            told.append(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        begin()
    assert told == ["True\n"], "a process that begins there is not interrupted"
    assert signal.getsignal(signal.SIGINT) == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_and_resumed_is_as_uninterrupted(how, tmp_path):
    path, log = tmp_path / "found.jsonl", tmp_path / "log"
    process = started(2, 12, 2, path, log)  # long enough to be interrupted on a busy machine
    first = int(process.stdout.readline())
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does, to the workers as well
    else:
        process.kill()
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 1) or "KeyboardInterrupt" in errors
    of_workers = {int(line.split()[1]) for line in log.read_text().splitlines()}
    end = time.monotonic() + 10
    while any(map(lives, of_workers)):
        assert time.monotonic() < end, "a worker lives on"
        time.sleep(0.05)
    known = {line["number"] for line in lines(path)}
    assert {first, *map(int, rest.split())} <= known
    assert len(known) < 12
    already = begun(log)
    with Store(path, "number", same()) as store:
        again = dict(run(squares, orders(12, log=log), HERE, store=store))
    assert set(again) == set(WHOLE) - known
    assert {line["number"]: {"square": line["square"]} for line in lines(path)} == WHOLE
    assert len(lines(path)) == 12
    assert all((begun(log) - already)[number] == 0 for number in known)


def test_two_processes_on_one_store_do_nothing_twice(tmp_path):
    """Both are told what the others find; one that is killed leaves its task to the other."""
    path, log = tmp_path / "found.jsonl", tmp_path / "log"
    three = [started(1, 30, 0.1, path, log) for _ in range(3)]
    for process in three:
        process.stdout.readline()
    three[2].kill()
    told = [process.communicate(timeout=60) for process in three]
    assert [process.returncode for process in three] == [0, 0, -signal.SIGKILL], told
    assert all(len(set(out.split())) == len(out.split()) > 10 for out, _ in told[:2])
    assert sorted(line["number"] for line in lines(path)) == list(range(30))
    assert begun(log).total() <= 31  # the killed one had begun one
    assert len({line.split()[1] for line in log.read_text().splitlines()}) == 3


@pytest.fixture(scope="module")
def scheduler():
    """Address of a scheduler with two workers, such as others start it."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=50
    ) as made:
        yield made.scheduler_address


def test_workers_of_a_scheduler(scheduler, tmp_path):
    """The results of one process; results without a store are kept by a function."""
    kept: dict[int, dict] = {}
    log = tmp_path / "log"
    todo = orders(12, log=log)
    found = dict(run(squares, todo, Cluster(scheduler=scheduler), code=same, keep=kept.__setitem__, batch=2))
    assert found == kept == WHOLE
    assert set(begun(log).values()) == {1}
    assert len({line.split()[1] for line in log.read_text().splitlines()}) == 2


def test_an_error_names_the_worker_of_a_scheduler(scheduler):
    todo = {0: Order(0, "wrong")}
    with pytest.raises(UserError, match=r"^worker tcp://127\.0\.0\.1:\d+: no such number$"):
        dict(run(squares, todo, Cluster(scheduler=scheduler), code=same))


def test_a_worker_that_lacks_a_module_is_told(scheduler, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def work(numbers): return numbers\n")
    monkeypatch.syspath_prepend(tmp_path)
    work = importlib.import_module("only_here").work
    with pytest.raises(UserError, match=r"a worker of tcp://127\.0\.0\.1:\d+ cannot import only_here: install there"):
        dict(run(work, {1: 1}, Cluster(scheduler=scheduler), code=same))


def test_a_worker_with_other_sources_is_refused(scheduler):
    message = r"^sources or data of worker tcp://127\.0\.0\.1:\d+ is \d+, expected \d+: install the same version there"
    with pytest.raises(UserError, match=message):
        dict(run(squares, orders(2), Cluster(scheduler=scheduler), code=cluster_work.of_each_process_another))


def test_a_worker_with_several_threads_is_refused():
    from distributed import LocalCluster

    kind = {
        "n_workers": 1,
        "threads_per_worker": 2,
        "processes": False,
        "dashboard_address": "127.0.0.1:0",
        "host": "127.0.0.1",
    }
    message = r"threads of worker tcp.* is 2, expected 1: start workers with --nthreads"
    with LocalCluster(**kind, silence_logs=50, protocol="tcp") as made, pytest.raises(UserError, match=message):
        dict(run(squares, orders(2), Cluster(scheduler=made.scheduler_address), code=same))


def test_a_scheduler_that_is_not_there(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    with pytest.raises(UserError, match=r"scheduler is tcp://127.0.0.1:9, expected the address of a running scheduler"):
        dict(run(squares, orders(2), Cluster(scheduler="tcp://127.0.0.1:9")))


def test_a_scheduler_without_workers(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    kind = {"n_workers": 0, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "silence_logs": 50}
    message = r"expected one with workers: dask worker tcp://"
    with LocalCluster(**kind) as made, pytest.raises(UserError, match=message):
        dict(run(squares, orders(2), Cluster(scheduler=made.scheduler_address), code=same))


@pytest.mark.slow
def test_a_worker_that_takes_too_much_memory_is_ended(tmp_path):
    todo = orders(4) | {4: Order(4, "large")}
    with Store(tmp_path / "found.jsonl", "number", same()) as store:
        with pytest.raises(TasksFailed, match="each time: 4"):
            list(run(squares, todo, Cluster(2, memory="500MB"), store=store, code=same))
        assert sorted(store.lines) == [0, 1, 2, 3]
