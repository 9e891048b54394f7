"""Compiled loops: how Numba compiles a function, and when a compiled function may be used again.

Numba's own cache depends on the age of the function's file. It does not notice changes in functions and constants
that come from other files. Here the cache key is the contents of all files that the function can use.
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
    is not compiled: slow, with the same results. Without a writable folder, nothing is kept, and there is a warning.

    borrows
        The function neither makes nor returns arrays; its caller holds them all. Their references are then not counted.
        Counting made a function that is called for each event four times as slow.
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
    """SHA-256, in hexadecimal, of the source `file` of `module` and of all GradRTL modules that it imports, indirectly
    too.
    """
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
