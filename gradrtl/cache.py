"""The cache of everything that is made once and kept. Its keys are digests of all that an entry depends on.

An entry is a folder. Its file `.contents` holds the SHA-256 of every other file, and is compared whenever the entry is
handed out: a damaged entry is made again. Entries are made in folders `making-*`, locked by the process that fills
them; what a killed process leaves behind is removed by the next one that makes an entry.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import UserError
from .locks import lock_folder, locked

_log = logging.getLogger(__name__)
CACHE = Path("build/cache")
KEPT_ENTRIES = 256  # of a kind; the least recently used are removed
KEPT_VALUES = 4096  # of a kind whose entries are single values
CONTENTS = ".contents"
MAKING = "making-"
VALUE = "value.json"  # file of an entry that is one value
# Modules that results of every package depend on, and libraries that compute them.
FOUNDATIONS = tuple(
    f"gradrtl.{name}" for name in ("archive", "arrays", "bits", "checks", "compiled", "errors", "files", "shapes")
)
LIBRARIES = ("numba", "numpy", "torch")
STORAGE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EIO,
    errno.ENOTDIR,
    errno.EEXIST,
)


class Unusable(UserError):
    """The cache folder cannot be written: full, read-only."""


def cached(
    cache: Path, kind: str, texts: Mapping[str, str], make: Callable[[Path], None], kept: int | None = None
) -> Path:
    """Folder of the entry for `texts`. `make` fills it, unless an undamaged entry exists.

    `texts` must contain all that the entry depends on: inputs, settings, versions, `sources` of packages. Of each
    `kind`, the least recently used entries are removed, all but `kept` (default: KEPT_ENTRIES). Raises `UserError`
    (`Unusable`) if the cache cannot be written: full,
    read-only.
    """
    entry = _entry(cache, kind, texts)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(entry.with_suffix(".lock")):
            if not _undamaged(entry):
                _log.info("makes %s", entry)
                _make(cache, kind, entry, make, kept or KEPT_ENTRIES)
            else:
                _log.info("from the cache: %s", entry)
            os.utime(entry)
    except OSError as error:
        if error.errno not in STORAGE:
            raise
        raise Unusable(f"cache folder {cache} cannot be used: {error.strerror}") from error
    return entry


def remembered(kind: str, texts: Mapping[str, str], make: Callable[[], Any], cache: Path | None = None) -> Any:
    """The value that `make` returns, of JSON's types, from the cache (default `CACHE`) if it was made before.

    `texts` as in `cached`. Where the cache cannot be written, the value is made each time.
    """
    made: list[Any] = []

    def write(folder: Path) -> None:
        made.append(make())
        (folder / VALUE).write_text(json.dumps(made[0]))

    try:
        entry = cached(cache or CACHE, kind, texts, write, KEPT_VALUES)
    except Unusable:
        return made[0] if made else make()
    return json.loads((entry / VALUE).read_text())


def recalled(kind: str, texts: Mapping[str, str], cache: Path | None = None) -> Any:
    """The value that `remembered` has kept; None if there is none, or a damaged one."""
    entry = _entry(cache or CACHE, kind, texts)
    if not _undamaged(entry):
        return None
    with suppress(OSError), locked(entry.with_suffix(".lock")):  # whose file a killed process may have left
        os.utime(entry)
    try:
        found = json.loads((entry / VALUE).read_text())
    except (OSError, ValueError):  # removed by another process
        return None
    _log.info("from the cache: %s", entry)
    return found


def sources(*names: str) -> str:
    """SHA-256, in hexadecimal, of source files: of modules (`gradrtl.host`) and of whole packages (`gradrtl.rtl`).

    The `FOUNDATIONS` always count: every result depends on them.

    A package counts with everything in its folder (templates, sub-packages), compiled bytecode aside. Nothing is
    imported.
    """
    sha = hashlib.sha256()
    for name in (*names, *FOUNDATIONS):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ValueError(f"no module {name}")
        origin = Path(spec.origin)
        whole = spec.submodule_search_locations is not None
        paths = sorted(origin.parent.rglob("*")) if whole else [origin]
        for path in paths:
            if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts:
                content = path.read_bytes()
                sha.update(f"{name} {path.relative_to(origin.parent).as_posix()} {len(content)} ".encode() + content)
    return sha.hexdigest()


def libraries() -> dict[str, str]:
    """The versions of the `LIBRARIES`, which are not imported; "none" of one that is not installed, as torch may be."""
    return {name: _version(name) for name in LIBRARIES}


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"


@contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """An empty folder in `cache`, removed at the end; if this process is killed, by the next that makes one."""
    with locked(cache / ".sweep.lock"):
        for left in cache.glob(f"{MAKING}*"):
            if (found := lock_folder(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(found)
        folder = Path(tempfile.mkdtemp(prefix=MAKING, dir=cache))
        held = lock_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _entry(cache: Path, kind: str, texts: Mapping[str, str]) -> Path:
    digest = hashlib.sha256()
    for name, text in sorted(texts.items()):
        content = text.encode()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return cache / f"{kind}-{digest.hexdigest()[:32]}"


def _make(cache: Path, kind: str, entry: Path, make: Callable[[Path], None], kept: int) -> None:
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
    _remove_oldest(cache, kind, kept)
    with scratch(cache) as folder:
        made = folder / "entry"
        made.mkdir()
        make(made)
        (made / CONTENTS).write_text(json.dumps(_contents(made), indent=1))
        made.rename(entry)


def _undamaged(entry: Path) -> bool:
    try:
        return json.loads((entry / CONTENTS).read_text()) == _contents(entry)
    except (OSError, ValueError):
        return False


def _contents(entry: Path) -> dict[str, str]:
    """SHA-256 of each file of an entry, by name; of those that can be executed, with a mark."""
    found = {}
    for path in sorted(entry.rglob("*")):
        if path.name != CONTENTS and not path.is_dir():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(entry).as_posix()] = digest + " x" * os.access(path, os.X_OK)
    return found


def _remove_oldest(cache: Path, kind: str, kept: int) -> None:
    ages = {}
    for path in cache.glob(f"{kind}-*"):
        with suppress(OSError):  # another process removes as well
            if path.is_dir():
                ages[path] = path.stat().st_mtime
    for entry in sorted(ages, key=ages.__getitem__)[: max(0, len(ages) - kept + 1)]:
        with locked(entry.with_suffix(".lock"), wait=False) as ours, suppress(OSError):
            if ours and entry.stat().st_mtime == ages[entry]:
                shutil.rmtree(entry)
