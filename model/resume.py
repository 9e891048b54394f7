"""The state of an interrupted training or fine-tuning: one file, which belongs to one run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..cache import libraries, sources
from ..errors import UserError, require
from ..files import require_intact, write_bytes
from ..locks import locked

FORMAT, VERSION = "gradrtl state", 1
Result = TypeVar("Result")
MADE_FROM = ("data", "sources", "torch")  # of an identity, beside the settings


class OtherRun(UserError):
    """A saved state belongs to another run, or to another version of this program."""


def of_this_run(work: Callable[[], Result], path: Path) -> Result:
    """`work()`; if the state at `path` belongs to another run, remove it and call `work()` again."""
    try:
        return work()
    except OtherRun:
        path.unlink(missing_ok=True)
        return work()


def identity(config: dict[str, Any], data: str, *packages: str, **more: Any) -> dict[str, Any]:
    """What must be equal in a saved state and in the run that resumes from it: settings, data, sources, libraries.

    `data` is the digest of the data set; `packages` are those whose sources determine the result.
    """
    made_by = {"data": data, "sources": sources(*packages), **libraries()}
    return json.loads(json.dumps({**config, **more, **made_by}))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the state file at `path`, so that no second run uses it. Its folder is made and checked to be writable.

    Raises
    ------
    UserError
        Another run uses it, or the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            ours = stack.enter_context(locked(path.with_name(f".{path.name}.lock"), wait=False))
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
        if not ours:
            raise UserError(f"{path} is in use by another run: wait for it to end, or choose another output")
        yield


def save(path: Path, kind: str, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write the state of a run of `kind`; the file is written completely or not at all.

    `UserError` if it cannot be written.
    """
    content = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION, "kind": kind, "of": identity, "state": state}, content)
    write_bytes(path, content.getbuffer())


def load(path: Path, kind: str, identity: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """The state that `save` has written, with all of `parts`.

    Raises
    ------
    UserError
        It is damaged, of another version or kind, or of a run with another identity.
    """
    advice = f"delete {path.name}, or choose another output"
    require(path.is_file(), str(path), "not a regular file", f"the state of a run: {advice}")  # a pipe would never end
    try:
        require_intact(path)
        kept = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports a damaged file in many ways, with advice that is not for such a file
        reason = f" ({_line(error)})" if isinstance(error, UserError) else ""
        raise UserError(f"{path}: not the state of a run, or damaged{reason}; {advice}") from None
    known = isinstance(kept, dict) and kept.get("format") == FORMAT
    version = kept.get("version") if known else "missing"
    if version != VERSION:
        raise OtherRun.of(f"{path} version", version, f"{VERSION}: {advice}")
    require(kept.get("kind") == kind, f"{path} kind", kept.get("kind"), f"{kind}: {advice}")
    found, state = kept.get("of"), kept.get("state")
    complete = isinstance(found, dict) and isinstance(state, dict) and all(name in state for name in parts)
    require(complete, f"{path} contents", "incomplete", f"{', '.join(parts)}: {advice}")
    for name in [*identity, *(name for name in found if name not in identity)]:
        if found.get(name) != identity.get(name):
            raise OtherRun.of(f"{path} {name}", _short(found.get(name)), f"{_short(identity.get(name))}: {advice}")
    return state


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Around the loading of a state: one line if it does not fit network or optimiser."""
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        advice = f"delete {path.name}, or choose another output"
        raise UserError(f"{path}: its state does not fit this run ({_line(error)}); {advice}") from None


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """`optimizer.load_state_dict` with a check of the shapes of moments; `ValueError` if they differ."""
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                if torch.is_tensor(value) and value.dim() and value.shape != parameter.shape:
                    raise ValueError(f"{name} of shape {tuple(value.shape)} for {tuple(parameter.shape)} parameters")


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(" :.") or type(error).__name__


def _short(value: Any) -> str:
    """A value for a message: a digest by its first digits."""
    return value[:16] if isinstance(value, str) and len(value) == 64 else str(value)
