"""Commands of `gradrtl` in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from gradrtl import cli


def gradrtl(*words: object, code: int = 0) -> Result:
    """The result of `gradrtl WORDS`; its exit status has to be `code`."""
    result = CliRunner().invoke(cli.main, [str(word) for word in words], prog_name="gradrtl")
    assert result.exit_code == code, result.output
    return result


def run(*words: object, code: int = 0) -> str:
    """What it prints."""
    return gradrtl(*words, code=code).output
