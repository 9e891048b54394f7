"""What a command prints: lines for people, or with --json one object for programs."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import require

KEY = "gradrtl.commands.output"  # in the context's meta
LOG = logging.getLogger("gradrtl")
FILE_OR_STDOUT = click.Path(path_type=Path)  # of the options for which - is stdout; elsewhere it is a name
UPDATED = click.Path(path_type=Path)  # the same, but the file may be one that the command reads
WRITTEN = ("log", "output", "out", "report", "wave", "header", "drawn")  # parameters that name what is written


class Command(click.Command):
    """A command with --json, --quiet and --verbose.

    `--json`: lines go to stderr, and stdout gets one JSON object, the command's `figures`. `--quiet`: errors alone are
    printed, and that object if it is asked for. `--verbose`: programs that are run and use of the cache, on stderr.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for words, told in (
            (("--json",), "Print the figures as one JSON object; lines for people go to stderr."),
            (("-q", "--quiet"), "Print errors alone."),
            (("-v", "--verbose"), "Also print which programs are run and what comes from the cache."),
        ):
            name = words[-1].lstrip("-")
            keep = partial(_keep, name)
            self.params.append(click.Option(words, is_flag=True, expose_value=False, callback=keep, help=told))

    def invoke(self, ctx: click.Context) -> Any:
        asked = ctx.meta.get(KEY, {})
        files = [ctx.params[str(one.name)] for one in self.params if one.type in (FILE_OR_STDOUT, UPDATED)]
        on_stdout = any(str(path) == "-" for path in files)
        _require_apart(ctx)
        if asked.get("json") and on_stdout:
            raise click.UsageError("output is -, expected a file beside --json, which prints on stdout", ctx)
        stdout = sys.stdout
        with ExitStack() as stack:
            if asked.get("verbose"):
                handler = logging.StreamHandler()
                handler.setFormatter(logging.Formatter("%(message)s"))
                LOG.addHandler(handler)
                stack.callback(LOG.removeHandler, handler)
                stack.callback(LOG.setLevel, LOG.level)
                LOG.setLevel(logging.INFO)
            if asked.get("quiet"):
                if not on_stdout:  # a file there is no line
                    stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            elif asked.get("json"):
                stack.enter_context(redirect_stdout(sys.stderr))
            try:
                return super().invoke(ctx)
            finally:
                found = ctx.meta.get(KEY, {}).get("figures")
                if asked.get("json") and found is not None:
                    print(as_json(found), end="", file=stdout, flush=True)


def _require_apart(ctx: click.Context) -> None:
    """`UserError` if a file would be written that is read, or that is written already."""
    paths = [
        (parameter, path)
        for parameter in ctx.command.params
        for path in _paths(ctx.params.get(str(parameter.name)))
        if str(path) != "-" and not (parameter.name == "output" and ctx.params.get("check"))  # which writes nothing
    ]
    written = sorted((one for one in paths if one[0].name in WRITTEN), key=lambda one: WRITTEN.index(str(one[0].name)))
    for number, (parameter, path) in enumerate(written):
        others = [*written[number + 1 :], *(one for one in paths if one[0].name not in WRITTEN and one[1].is_file())]
        for other, known in others:
            same = os.path.realpath(path) == os.path.realpath(known)  # unlike Path.resolve, also of a loop of links
            same = same and not (parameter.type is UPDATED and other.name == "network")
            require(not same, _title(parameter).lstrip("-"), path, f"another file than {_title(other)}")


def _paths(value: Any) -> list[Path]:
    return [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, Path)]


def _title(parameter: click.Parameter) -> str:
    """What a parameter is called on the command line."""
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else str(parameter.name).upper()


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """`click.command` of the class `Command`."""
    return click.command(name, cls=Command)


def figures(**values: Any) -> None:
    """Add figures of the running command to what --json prints. NumPy's numbers, arrays and paths are fine."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None:
        ctx.meta.setdefault(KEY, {}).setdefault("figures", {}).update(values)


def as_json(values: dict[str, Any]) -> str:
    """Figures as text in JSON, with a line end."""
    return json.dumps(values, indent=1, default=_plain) + "\n"


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Figures as --json prints them, read again: numbers, text, lists and dicts."""
    found: dict[str, Any] = json.loads(as_json(values))
    return found


def is_quiet() -> bool:
    """Whether the running command has --quiet: no lines, no progress bars."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(KEY, {}).get("quiet"))


def remark(line: str) -> None:
    """Print a line that is no result, on stderr; none with --quiet."""
    if not is_quiet():
        click.echo(line, err=True)


def _keep(name: str, ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    ctx.meta.setdefault(KEY, {})[name] = value


def _plain(value: Any) -> Any:
    """A value that JSON does not know, as one that it does."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
