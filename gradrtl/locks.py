"""File locks among processes and threads. A lock ends with its process, so a killed run never leaves one behind."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError

NAME = ".lock"  # of the file inside a folder that is held
_held: dict[tuple[Path, int], int] = {}  # folders that a thread of this process holds: how many times


@contextmanager
def hold(folder: str | Path) -> Iterator[None]:
    """Hold the folder of a run, made if missing, so that no second run uses it.

    A thread may hold a folder several times. Raises `UserError` in one line: the folder is in use by another process
    (whose number the message gives) or by another thread, or it cannot be written.
    """
    folder = Path(folder)
    key = (folder.absolute(), threading.get_ident())
    if key in _held:
        _held[key] += 1
        try:
            yield
        finally:
            _held[key] -= 1
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        locked = _acquire(folder / NAME, wait=False)
    except OSError as error:
        raise UserError(f"folder {folder} cannot be used: {error.strerror}") from error
    if isinstance(locked, str):
        by = f"process {locked}" if locked != str(os.getpid()) else "another run of this process"
        raise UserError(f"folder {folder} is in use by {by}: wait for it to end, or choose another folder")
    try:
        with suppress(OSError):  # a full disk: the lock holds, its owner stays unnamed
            os.ftruncate(locked, 0)
            os.write(locked, str(os.getpid()).encode())
        _held[key] = 1
        yield
    finally:
        _held.pop(key, None)
        _release(folder / NAME, locked)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of the file at `path`, and remove the file at the end. Raises `OSError`.

    Yields True. Without `wait`, yields False at once if the lock is held elsewhere.
    """
    file = _acquire(path, wait)
    if isinstance(file, str):
        yield False
        return
    try:
        yield True
    finally:
        _release(path, file)


def lock_folder(folder: Path) -> int | None:
    """Descriptor that holds a lock on the folder until it is closed; None if it is held elsewhere or the folder is
    missing.
    """
    try:
        found = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(found)
        return None
    return found


def _acquire(path: Path, wait: bool) -> int | str:
    """Descriptor of the locked file at `path`; without `wait`, the number of the process that has it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            owner = os.pread(file, 32, 0).decode(errors="replace").strip()
            os.close(file)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return owner or "unknown"
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        os.close(file)  # its last owner removed it while we waited


def _release(path: Path, file: int) -> None:
    with suppress(OSError):
        path.unlink()
    os.close(file)
