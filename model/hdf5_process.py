"""HDF5 files are read in processes of their own, for the HDF5 library may crash on damaged files.

Such a process, `python -m MODULE FILE ...` within `confined`, reads the file as it stands: `member` refuses links and
data that are stored elsewhere, plug-ins are not loaded. It refuses a file by its exit code and the last line of its
stderr.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import UserError, one_line, require

MEMORY = 1 << 32  # bytes of address space
REFUSED = 3  # exit code: the last line of stderr says why
DAMAGED = "not an HDF5 file, or damaged"


def command(module: str, path: Path, *words: str) -> list[str]:
    """The command that reads `path`.

    Raises
    ------
    ModuleNotFoundError
        `h5py` is not installed.
    """
    if find_spec("h5py") is None:
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")
    return [sys.executable, "-m", module, os.path.realpath(path), *words]


def environment() -> dict[str, str]:
    """The environment variables of the process."""
    return {**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def require_read(code: int, stderr: bytes) -> None:
    """`UserError` unless the process ended with exit code 0."""
    if code == REFUSED:
        raise UserError(stderr.decode(errors="replace").strip().splitlines()[-1])
    if code:
        raise UserError(f"{DAMAGED} (its reader ended)")


@contextmanager
def confined(seconds: int) -> Iterator[None]:
    """In the process: limits of memory and processor time; whatever is raised becomes a refusal."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        yield
    except UserError as error:
        why = str(error)
    except Exception as error:  # h5py raises many kinds on damaged bytes
        told = " ".join(str(error).split()) or type(error).__name__
        why = f"{DAMAGED} ({told[:200]})"
    else:
        return
    print(one_line(why), file=sys.stderr)
    sys.exit(REFUSED)


def member(group: Any, name: str, label: str) -> Any:
    """`group[name]`, which exists, if it is stored in this file; `label` is what a message calls it."""
    import h5py

    require(isinstance(group.get(name, getlink=True), h5py.HardLink), label, "a link", "data of this file")
    found = group[name]
    if isinstance(found, h5py.Dataset):
        require(found.external is None and not found.is_virtual, label, "stored in another file", "data of this file")
    return found
