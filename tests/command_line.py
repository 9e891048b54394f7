"""Commands of `gradrtl` in this process."""

from __future__ import annotations

from click.testing import CliRunner

from gradrtl import cli


def run(*words: object, code: int = 0) -> str:
    """What `gradrtl WORDS` prints; its exit status has to be `code`."""
    result = CliRunner().invoke(cli.main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output
