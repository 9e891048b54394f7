"""The command line. A user's mistake ends in one line on stderr and exit code 2."""

from __future__ import annotations

import click

from . import __version__, hardware_commands, training_commands
from .flow import demo, report
from .model.errors import UserError
from .sim.verilated import RtlFault


class Face(click.Group):
    """A group of commands that turns the errors of the packages into one line."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except (UserError, RtlFault) as error:
            raise Failure(str(error)) from None
        except ModuleNotFoundError as error:
            raise Failure(f"{error.name} is not installed: pip install 'gradrtl[train,verify]'") from None
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None


class Failure(click.ClickException):
    """Shown as `error: ...`."""

    exit_code = 2

    def show(self, file=None) -> None:
        click.echo(f"error: {self.format_message()}", err=True)


@click.group(cls=Face, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="gradrtl")
def main() -> None:
    """Sparse spiking neural networks, from Grad R training to proven Verilog."""


for command in (*training_commands.COMMANDS, *hardware_commands.COMMANDS, report, demo):
    main.add_command(command)
