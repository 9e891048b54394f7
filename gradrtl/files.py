"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError, require


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. It is renamed to `path` if the block ends without an error.

    Folders are made, a link is followed, and leftovers of killed processes are removed. A device or a pipe is written
    directly.

    Raises
    ------
    UserError
        The file cannot be written: full disk, missing permission, a folder of that name.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target  # a device or a pipe cannot be replaced
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        part = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
        try:
            yield part
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, completely or not at all. Signs that UTF-8 does not have are escaped."""
    with whole(path) as part:
        part.write_text(text, encoding="utf8", errors="backslashreplace")


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`, completely or not at all."""
    with whole(path) as part:
        part.write_bytes(content)


def require_intact(path: Path) -> None:
    """`UserError` if a part of a zip file, such as `torch.save` writes, is not what its checksum says.

    `torch.load` compares no checksums.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            require(parts.testzip() is None, "checksum", "another", "that of the contents: the file is damaged")


def check_writable(path: str | Path) -> None:
    """Raise `UserError` if no file can be made at `path`: before a long computation, not after it."""
    target = Path(os.path.realpath(path))
    folder = next(parent for parent in target.parents if parent.exists())
    reason = ""
    if target.is_dir():
        reason = "it is a folder"
    elif not folder.is_dir():
        reason = f"{folder} is no folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = f"no permission to write in {folder}"
    if reason:
        raise UserError(f"{path} cannot be written: {reason}")


def _sweep(target: Path) -> None:
    """Remove temporary files of `target` whose process has ended."""
    for part in target.parent.glob(f".{target.name}.*.part"):
        process = part.name.removeprefix(f".{target.name}.").split(".")[0]
        if process.isdecimal() and not _lives(int(process)):
            part.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, PermissionError):
        pass
    return True
