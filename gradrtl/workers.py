"""Worker processes under Dask: started here, or those of a scheduler; what must be equal in each of them."""

from __future__ import annotations

import logging
import os
import pickle
import platform
import queue
import signal
import tempfile
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from importlib import metadata
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from .cache import LIBRARIES, sources
from .errors import UserError, require, within

if TYPE_CHECKING:
    from distributed import Client, Future

Work = Callable[[Sequence[Any]], Sequence[Any]]  # the results of some arguments, in their order

ATTEMPTS = 3  # times that a task is begun whose worker dies
PATIENCE = 30.0  # seconds in which a scheduler must answer, and have a worker
FRESH = 0.5  # seconds for which the number of workers is not asked again
SMALLEST_MEMORY = 500_000_000  # bytes
PACKAGES = ("gradrtl", "gradrtl.model", "gradrtl.quantize", "gradrtl.rtl", "gradrtl.sim")
THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def own_sources() -> str:
    """SHA-256, in hexadecimal, of the whole package: what results depend on if nothing else is said."""
    return sources(*PACKAGES)


class DaskWorkers:
    """Workers of a Dask cluster. As many batches are begun as there are workers, so that a death has one reason."""

    def __init__(
        self, work: Work, code: Callable[[], str], scheduler: str | None, processes: int, memory: str | None
    ) -> None:
        self._work, self._code, self._scheduler = work, code, scheduler
        self._processes, self._memory = processes, memory
        self._about = about(code)
        self._keys: dict[Any, list[Any]] = {}
        self._futures: dict[Any, Future[Any]] = {}
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._looked = 0.0
        self._size = 0
        self._stack = ExitStack()

    def __enter__(self) -> DaskWorkers:
        with ExitStack() as stack:
            if self._scheduler is None:
                self._client = _local(stack, self._processes, self._memory)
            else:
                self._client = _remote(stack, self._scheduler)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel(list(self._futures.values()), force=True)
        self._stack.close()

    @property
    def size(self) -> int:
        if self._scheduler is None:
            return self._processes
        if time.monotonic() - self._looked > FRESH:
            self._size, self._looked = len(self._client.nthreads()), time.monotonic()
        return self._size

    def begin(self, keys: list[Any], arguments: list[Any]) -> None:
        named = self._scheduler is not None
        # Pickled here: Dask gives a worker up that cannot import the function of a task, and tries the next.
        content = pickle.dumps((self._work, self._code, arguments))
        future = self._client.submit(_task, content, self._about, named, pure=False)
        self._keys[future.key], self._futures[future.key] = keys, future
        future.add_done_callback(self._ended.put)

    def ended(self, seconds: float) -> tuple[list[Any], Sequence[Any] | None] | None:
        from distributed import KilledWorker

        try:
            future = self._ended.get(timeout=seconds) if seconds else self._ended.get_nowait()
        except queue.Empty:
            return None
        keys = self._keys.pop(future.key)
        del self._futures[future.key]
        try:
            return keys, future.result()
        except KilledWorker:
            return keys, None
        except ModuleNotFoundError as error:
            if self._scheduler is None:
                raise
            raise _lacks(f"a worker of {self._scheduler}", error) from None
        except CancelledError:
            raise UserError(f"scheduler {self._scheduler} has gone: start it again, then this command") from None


def _local(stack: ExitStack, processes: int, memory: str | None) -> Client:
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "temporary-directory": f"{tempfile.gettempdir()}/gradrtl-{os.getuid()}",  # which Dask clears of what is left
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        "distributed.scheduler.worker-saturation": 1.0,  # a task waits at the scheduler, not at a worker that may die
        "distributed.scheduler.worker-ttl": None,  # a compiled loop may keep a worker from answering for minutes
        "distributed.worker.preload": [__name__],
        "distributed.worker.memory.target": False,  # nothing is kept in workers that could be written to disk
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.profile.enabled": False,
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(THREADS, "1"),
    }
    stack.enter_context(dask.config.set(settings))
    with _interrupted_later():
        workers = stack.enter_context(
            LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                memory_limit=0 if memory is None else size_of(memory),
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                silence_logs=logging.CRITICAL,
            )
        )
        return stack.enter_context(Client(workers))


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Ctrl-C takes effect at the end of the block: Dask cannot end a cluster that has half begun.

    Processes that begin in the block inherit that the signal is blocked: in a terminal it reaches them as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # to begin it unblocks the signal
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _remote(stack: ExitStack, scheduler: str) -> Client:
    from distributed import Client

    expected = "the address of a running scheduler"
    try:
        client = stack.enter_context(Client(scheduler, timeout=PATIENCE))
    except (OSError, ValueError) as error:  # a timeout is an OSError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError.of("scheduler", scheduler, f"{expected} ({reason})") from None
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except OSError:
        raise UserError.of("scheduler", scheduler, f"one with workers: dask worker {scheduler}") from None
    for worker, found in client.run(metadata.version, "gradrtl", on_error="return").items():
        if isinstance(found, ModuleNotFoundError):
            raise _lacks(f"worker {worker}", found)
    return client


def _lacks(worker: str, error: ModuleNotFoundError) -> UserError:
    return UserError(f"{worker} cannot import {error.name}: install there what is installed here")


def dask_setup(worker: Any) -> None:
    """Dask calls this in each local worker as it starts: Ctrl-C is for the process that has the results."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


_digests: dict[bytes, str] = {}


def about(code: Callable[[], str], dask_worker: Any = None) -> dict[str, str]:
    """What must be equal in a worker and in the process that has the results.

    Digests are of the files as they were when this process was asked first, for that is what it has loaded.
    """
    found = {
        "sources of gradrtl": _digest(own_sources),
        "sources or data": _digest(code),
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }
    for name in (*LIBRARIES, "distributed"):  # which must be of one version on all machines
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    found["threads"] = "1" if dask_worker is None else str(dask_worker.state.nthreads)
    return found


def _digest(code: Callable[[], str]) -> str:
    key = pickle.dumps(code)
    if key not in _digests:
        _digests[key] = code()
    return _digests[key]


def _compare(worker: str, theirs: dict[str, str], ours: dict[str, str]) -> None:
    for name in ours:
        value = theirs.get(name, "not there")
        expected = f"{ours[name][:16]}: install the same version there, and start the worker again"
        if name == "threads":
            expected = "1: start workers with --nthreads 1"
        require(value == ours[name], f"{name} of worker {worker}", value[:16], expected)


def _task(content: bytes, expected: dict[str, str], named: bool) -> Sequence[Any]:
    """What runs in a worker, which may have joined after the others."""
    from distributed import get_worker

    worker = get_worker()
    work, code, arguments = pickle.loads(content)
    _compare(worker.address, about(code, worker), expected)
    with within(f"worker {worker.address}") if named else nullcontext():
        return work(arguments)


def size_of(text: str) -> int:
    """Bytes of a memory limit such as `4GB`."""
    from dask.utils import parse_bytes

    try:
        found = parse_bytes(text)
    except ValueError:
        found = 0
    require(found >= SMALLEST_MEMORY, "memory", text, "at least 500MB, such as 4GB")
    return int(found)
