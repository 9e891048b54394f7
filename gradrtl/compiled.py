"""Compiled loops: the one place that says how Numba compiles a function, and when what it compiled is still good.

Numba keeps compiled functions on disk under the age of the file they stand in, and does not see an edit of a function
or constant that they use from another file. Here they are kept under the contents of every file they can see.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import logging
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from numba import config, njit

NO_FOLDER = (
    "compiled functions are not kept, and every run compiles them again: no folder for them can be written; "
    "set NUMBA_CACHE_DIR to one that can"
)
COMPILES = not config.DISABLE_JIT  # type: ignore[attr-defined]
_log = logging.getLogger(__name__)


def kernel(function: Callable | None = None, *, borrows: bool = False, **options: Any) -> Any:
    """Decorator: compile `function` with Numba at its first call, and keep the result for later processes.

    `options` are those of `numba.njit`. The interpreter's lock is released. With `NUMBA_DISABLE_JIT=1` the function
    stays as it is, slow and right. Where no folder can be written, nothing is kept, and one warning says so.

    borrows
        The function makes no arrays and returns none: all are held by its caller. References to them are not counted
        then, which took a function called once for each event four times as long.
    """
    if function is None:
        return partial(kernel, borrows=borrows, **options)
    if borrows:
        options["_nrt"] = False
    made = njit(nogil=True, **options)(function)
    if COMPILES:
        _keep(made, function)
    return made


def _keep(made: Any, function: Callable) -> None:
    try:
        made.enable_caching()
    except RuntimeError:  # "no locator available"
        _warn_once()
        return
    file = made._cache._cache_file
    file._source_stamp = (file._source_stamp, digest(function.__code__.co_filename, function.__module__))


@cache
def _warn_once() -> None:
    _log.warning(NO_FOLDER)


@cache
def digest(file: str, module: str) -> str:
    """SHA-256, in hexadecimal, of the source `file` of `module` and of all of GradRTL that it imports, however far."""
    files = {module: Path(file)}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for other in _imports(files[name], name):
            if other not in files and (path := _file(other)) is not None:
                files[other] = path
                waiting.append(other)
    sha = hashlib.sha256()
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        sha.update(f"{name} {len(content)} ".encode() + content)
    return sha.hexdigest()


def _imports(path: Path, module: str) -> Iterator[str]:
    """Names in GradRTL that the source at `path` imports: modules, and what may be one or a member of one."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.startswith(f"{__package__}."))


@cache
def _file(name: str) -> Path | None:
    """The source of module `name`; None if there is no such module."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # its parent is a module, not a package
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None
