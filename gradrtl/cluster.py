"""Many tasks, in this process or on the workers of a Dask cluster; their results as they come, none twice.

A task is a key and its argument. Workers are processes of one thread each: those of a local cluster, which ends with
this process, or those of a scheduler on any machine. A task whose worker dies is run again, a few times; one that ends
its workers each time is named at the end. A worker with other sources than this process is refused.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from .errors import UserError, require
from .store import Store
from .workers import DaskWorkers, Work, own_sources, size_of

EXTRA = "pip install 'gradrtl[cluster]'"
TOLD = 10.0  # seconds from one line of progress to the next
LOOK = 0.5  # seconds between two looks at the store, at the clock, at what other processes work on


class TasksFailed(UserError):
    """Some tasks have no result: each has ended its worker every time. All other tasks have theirs."""


@dataclass(frozen=True)
class Cluster:
    """Where tasks run.

    `jobs`: processes on this machine; 1: this process alone, without Dask; None: one per core if Dask is installed.
    `scheduler`: address of a Dask scheduler whose workers are used instead, such as `tcp://host:8786`. `memory`: limit
    of each local worker, such as `4GB`; one that exceeds it is ended, which counts as a death.
    """

    jobs: int | None = None
    scheduler: str | None = None
    memory: str | None = None

    def __post_init__(self) -> None:
        installed = find_spec("distributed") is not None
        require(self.jobs is None or self.jobs >= 1, "jobs", self.jobs, "at least 1")
        alone = self.scheduler is None or self.jobs is None
        require(alone, "jobs", self.jobs, "left out beside --scheduler, whose workers are used")
        require(self.scheduler is None or installed, "scheduler", self.scheduler, f"Dask to be installed: {EXTRA}")
        more = (self.jobs or 1) > 1
        require(not more or installed, "jobs", self.jobs, f"1, or Dask to be installed: {EXTRA}")
        if self.scheduler is not None:
            known = self.scheduler.partition("://")[0] in ("tcp", "tls", "ws", "wss")
            require(known, "scheduler", self.scheduler, "an address such as tcp://host:8786")
        if self.memory is not None:
            require(self.is_local and not self.here, "memory", self.memory, "given with --jobs of 2 or more")
            size_of(self.memory)

    @property
    def is_local(self) -> bool:
        return self.scheduler is None

    @property
    def here(self) -> bool:
        """Whether tasks run in this process, one after another."""
        return self.is_local and self.processes == 1

    @property
    def processes(self) -> int:
        """Local processes."""
        if self.jobs is not None:
            return self.jobs
        return len(os.sched_getaffinity(0)) if find_spec("distributed") is not None else 1

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """The options of a script."""
        parser.add_argument("--jobs", type=int, help="processes; 1: this one alone [default: one per core]")
        parser.add_argument("--scheduler", help="address of a Dask scheduler whose workers are used, tcp://host:8786")
        parser.add_argument("--memory", help="limit of each local worker, such as 4GB")

    @staticmethod
    def of(given: argparse.Namespace) -> Cluster:
        return Cluster(given.jobs, given.scheduler, given.memory)


def run(
    work: Work,
    todo: Mapping[Any, Any],
    cluster: Cluster,
    *,
    store: Store | None = None,
    keep: Callable[[Any, Any], None] | None = None,
    code: Callable[[], str] = own_sources,
    batch: int = 1,
    deadline: float | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """The keys of `todo` and their results, as they come.

    Parameters
    ----------
    work
        A function of a module that workers can import. It takes the arguments of up to `batch` keys and returns their
        results in the same order.
    store
        Keeps the results, which are objects of JSON then. What it holds is skipped. What another process adds is
        handed out as well, and no two processes work on one key.
    keep
        Called with each key and result before it is handed out, and with those that are known when the run ends early.
    code
        A function of the same kind: the digest of what results depend on. It must be equal in each worker.
    deadline
        `time.monotonic()` after which nothing is begun.
    say
        Is told now and then how far it is.

    An error of `work` ends the run, as do Ctrl-C and the end of the iterator; results so far are kept.

    Raises
    ------
    UserError
        The scheduler does not answer, or a worker has other sources or versions.
    TasksFailed
        At the end: keys that have ended their workers each time.
    """
    pending = _Pending(todo, store, keep, batch, deadline)
    if not pending.waiting:
        return
    pace = Pace(len(pending.waiting), say)
    running = 0
    with ExitStack() as stack:
        workers: _Workers = _Here(work) if cluster.here else stack.enter_context(_dask(work, cluster, code))
        try:
            while True:
                while running < workers.size and (keys := pending.next()):
                    workers.begin(keys, [todo[key] for key in keys])
                    running += 1
                if not running and not pending.waiting:
                    break
                if not running:
                    time.sleep(LOOK)  # all else is claimed by other processes, or there is no worker
                elif (ended := workers.ended(LOOK)) is not None:
                    running -= 1
                    for result in pending.end(*ended):
                        pace.add()
                        yield result
                for result in pending.news():
                    pace.add()
                    yield result
                pace.tell(workers.size)
        finally:
            pending.end_all(workers)
    pace.tell(0, at_once=True)
    if pending.failed:
        named = ", ".join(map(str, pending.failed))
        raise TasksFailed(f"tasks that ended their worker each time: {named}. All others have their results.")


class _Pending:
    """The keys that are still to be begun, and what becomes of those that were."""

    def __init__(
        self,
        todo: Mapping[Any, Any],
        store: Store | None,
        keep: Callable[[Any, Any], None] | None,
        batch: int,
        deadline: float | None,
    ) -> None:
        self.store, self.keep, self.batch, self.deadline = store, keep, batch, deadline
        if store is not None:
            store.news()  # what was there before is not handed out
        known = {} if store is None else store.lines
        self.waiting = deque(key for key in todo if key not in known)
        self.failed: list[Any] = []
        self._wanted = set(self.waiting)
        self._alone: set[Any] = set()  # keys whose batch has ended its workers

    def next(self) -> list[Any]:
        """Keys to begin together; none if there is none now. With a store, they are claimed."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.waiting.clear()
        keys: list[Any] = []
        elsewhere = []
        while self.waiting and len(keys) < self.batch:
            if self.waiting[0] in self._alone and keys:
                break
            key = self.waiting.popleft()
            if self.store is not None and not self.store.claim(key):
                if key not in self.store.lines:
                    elsewhere.append(key)
                continue
            keys.append(key)
            if key in self._alone:
                break
        self.waiting.extend(elsewhere)
        return keys

    def end(self, keys: list[Any], values: Sequence[Any] | None) -> list[tuple[Any, Any]]:
        """Keep the `values` of `keys`, and return what is new. None: their worker has died each time."""
        new = [] if values is None else list(zip(keys, values, strict=True))
        if self.store is not None:
            new = [pair for pair in new if self.store.add(*pair)]
            for key in keys:
                self.store.release(key)
        if self.keep is not None:
            for pair in new:
                self.keep(*pair)
        if values is None and len(keys) > 1:
            self._alone.update(keys)  # to find out which of them it was
            self.waiting.extend(keys)
        elif values is None:
            self.failed += keys
        self._wanted.difference_update(key for key, _ in new)
        return new

    def end_all(self, workers: _Workers) -> None:
        """Keep what has ended meanwhile, without waiting for anything."""
        while True:
            try:
                ended = workers.ended(0)
            except Exception:  # another error than the one that ends the run
                continue
            if ended is None:
                return
            self.end(*ended)

    def news(self) -> list[tuple[Any, Any]]:
        """Results that other processes have added."""
        if self.store is None:
            return []
        new = [(key, value) for key, value in self.store.news().items() if key in self._wanted]
        self._wanted.difference_update(key for key, _ in new)
        return new


class _Workers(Protocol):
    """What runs batches: `ended` returns the keys of one and its results, or None after so many seconds."""

    @property
    def size(self) -> int: ...

    def begin(self, keys: list[Any], arguments: list[Any]) -> None: ...

    def ended(self, seconds: float) -> tuple[list[Any], Sequence[Any] | None] | None: ...


def _dask(work: Work, cluster: Cluster, code: Callable[[], str]) -> DaskWorkers:
    return DaskWorkers(work, code, cluster.scheduler, cluster.processes, cluster.memory)


class _Here:
    """This process."""

    size = 1

    def __init__(self, work: Work) -> None:
        self._work = work
        self._begun: tuple[list[Any], list[Any]] | None = None

    def begin(self, keys: list[Any], arguments: list[Any]) -> None:
        self._begun = keys, arguments

    def ended(self, seconds: float) -> tuple[list[Any], Sequence[Any] | None] | None:
        if self._begun is None or seconds == 0:
            return None
        (keys, arguments), self._begun = self._begun, None
        return keys, self._work(arguments)


class Pace:
    """How far a run is: done of all, how many a minute, minutes left. `say` is told now and then."""

    def __init__(self, total: int, say: Callable[[str], None] | None) -> None:
        self.total, self.say = total, say
        self.done = 0
        self.began = self.told = time.monotonic()

    def add(self, count: int = 1) -> None:
        self.done += count

    def tell(self, workers: int = 0, at_once: bool = False) -> None:
        now = time.monotonic()
        if self.say is None or now - (self.began if at_once else self.told) < TOLD:
            return
        self.told = now
        rate = self.done / max(now - self.began, 1e-9)
        left = f", {_minutes((self.total - self.done) / rate)} left" if self.done and self.done < self.total else ""
        on = "" if not workers else f", {workers} worker{'s' * (workers > 1)}"
        self.say(f"{self.done} of {self.total} done, {60 * rate:.3g} a minute{left}{on}")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
