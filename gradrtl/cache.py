"""One cache for everything that is made once and kept: keyed by the content of all that an entry depends on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError

CACHE = Path("build/cache")
KEPT_ENTRIES = 256  # of a kind; those that were used longest ago are forgotten


def cached(cache: Path, kind: str, texts: Mapping[str, str], make: Callable[[Path], None]) -> Path:
    """Folder of the entry for `texts`, made by `make` in a temporary folder if it is not there.

    `texts` must hold all that the entry depends on. Of each `kind`, those used longest ago are forgotten.
    """
    digest = hashlib.sha256()
    for name, text in sorted(texts.items()):
        digest.update(f"{name} {len(text)} ".encode() + text.encode())
    entry = cache / f"{kind}-{digest.hexdigest()[:32]}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cache folder {cache} cannot be made: {error.strerror}") from error
    with _lock(entry.with_suffix(".lock")):
        if not entry.is_dir():
            _forget_oldest(cache, kind)
            with tempfile.TemporaryDirectory(prefix="making-", dir=cache) as folder:
                made = Path(folder) / "entry"
                made.mkdir()
                make(made)
                made.rename(entry)
        os.utime(entry)
    return entry


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the file lock at `path`: among processes and among threads."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_oldest(cache: Path, kind: str) -> None:
    entries = sorted(cache.glob(f"{kind}-*[!k]"), key=lambda path: path.stat().st_mtime)
    for entry in entries[: max(0, len(entries) - KEPT_ENTRIES + 1)]:
        shutil.rmtree(entry, ignore_errors=True)
        entry.with_suffix(".lock").unlink(missing_ok=True)
