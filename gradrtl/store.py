"""Results of a long run, one JSON object a line, each kept as soon as it is known and exactly once.

Several processes may work on one file. Locks on ranges of the file, far behind its end, say which of them writes a
line and which results are in the making (claims). They end with their process, so a killed run leaves none behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError

Key = str | int
Line = dict[str, Any]
SOURCES = "sources"  # field of every line: digest of what its result depends on
WRITING = 1 << 62  # the byte whose lock a process holds while it reads or writes
CLAIMS = 1 << 61  # where the bytes of claims begin, one for each key


class Store:
    """The results in the file at `path`, which is made if it is missing.

    `by` is the field that names a result, `sources` the digest of what results depend on. Lines of other sources stay
    in the file and do not count. Close it at the end, which gives up all claims.

    Raises
    ------
    UserError
        The file cannot be opened, or a line of it is no result.
    """

    def __init__(self, path: Path, by: str, sources: str) -> None:
        self.path, self.by, self.sources = path, by, sources
        self.lines: dict[Key, Line] = {}
        self.others: list[Line] = []  # of other sources
        self._news: list[Line] = []
        self._end = 0  # bytes read
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        try:
            self.refresh()
        except OSError as error:  # a pipe
            self.close()
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def refresh(self) -> None:
        """Read what other processes have added."""
        with self._writing():
            self._read()

    def news(self) -> dict[Key, Line]:
        """The results, without their keys, that other processes have added since this was asked last."""
        self.refresh()
        new, self._news = self._news, []
        return {line[self.by]: self.value(line) for line in new}

    def value(self, line: Line) -> Line:
        """What `add` was given."""
        return {name: value for name, value in line.items() if name not in (self.by, SOURCES)}

    def add(self, key: Key, value: Line) -> bool:
        """Keep the result `value` of `key`, unless there is one already: then False. `UserError`: a full disk."""
        with self._writing():
            self._read()
            if key in self.lines:
                return False
            line = {self.by: key, **value, SOURCES: self.sources}
            content = (json.dumps(line) + "\n").encode()
            try:
                while content:
                    content = content[os.write(self._file, content) :]
            except OSError as error:
                raise UserError(f"{self.path} cannot be written: {error.strerror}") from error
            self._end = os.fstat(self._file).st_size
            self.lines[key] = line
            return True

    def claim(self, key: Key) -> bool:
        """Whether this process is to work on `key` now: no other does, and there is no result yet."""
        if not _lock(self._file, _place(key), wait=False):
            return False
        self.refresh()
        if key in self.lines:
            self.release(key)
            return False
        return True

    def release(self, key: Key) -> None:
        """Give up a claim."""
        _unlock(self._file, _place(key))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        _lock(self._file, WRITING, wait=True)
        try:
            yield
        finally:
            _unlock(self._file, WRITING)

    def _read(self) -> None:
        size = os.fstat(self._file).st_size
        text = os.pread(self._file, max(0, size - self._end), self._end)
        whole = text[: text.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                found = json.loads(line)
                key, sources = found[self.by], found[SOURCES]
                is_known = key in self.lines
            except (ValueError, KeyError, TypeError):
                raise self._foreign(line) from None
            if sources != self.sources:
                self.others.append(found)
            elif not is_known:
                self.lines[key] = found
                self._news.append(found)
        if half := text[len(whole) :]:  # of a process that was killed while it wrote, or no line of ours
            begins = f"{{{json.dumps(self.by)}: ".encode()
            if half[: len(begins)] != begins[: len(half)]:
                raise self._foreign(half)
            os.ftruncate(self._file, self._end + len(whole))
        self._end += len(whole)

    def _foreign(self, line: bytes) -> UserError:
        return UserError.of(f"line of {self.path}", line.decode(errors="replace"), "a result")


def _place(key: Key) -> int:
    """The byte whose lock is the claim on `key`."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return CLAIMS + int.from_bytes(digest[:7])


def _lock(file: int, byte: int, *, wait: bool) -> bool:
    # Locks of the open file, not of the process: they stay when the process closes the same file elsewhere.
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, _range(fcntl.F_WRLCK, byte))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(file: int, byte: int) -> None:
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _range(fcntl.F_UNLCK, byte))


def _range(kind: int, byte: int) -> bytes:
    """A `struct flock` of one byte."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0)
