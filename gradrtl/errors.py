"""The errors that end a command in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

LONGEST_VALUE = 200  # characters of a value that a message shows


def one_line(text: str) -> str:
    """`text` with spaces in place of ends of lines and tabs, and a `?` for other signs that are not printable."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


class UserError(ValueError):
    """A mistake in what the user gave: one line that names the field, the value and what was expected.

    Names of files, and messages of others, may have several lines: the error's text is one nevertheless.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))

    @classmethod
    def of(cls, field: str, value: object, accepted: str) -> UserError:
        """The error for `field`. The value is shown on one line, shortened if it is long."""
        text = one_line(" ".join(str(value).split()))
        if len(text) > LONGEST_VALUE:
            text = text[: LONGEST_VALUE - 3] + "..."
        return cls(f"{field} is {text}, expected {accepted}")


class RtlFault(Exception):
    """The compiled accelerator violates its protocol or hangs; the message says how and where."""


def require(condition: bool, field: str, value: object, accepted: str) -> None:
    """Raise `UserError` for `field` unless `condition` holds."""
    if not condition:
        raise UserError.of(field, value, accepted)


def require_not_given(options: Mapping[str, object], accepted: str) -> None:
    """`UserError` if one of `options` is not None: it would change nothing; `accepted` tells where it does."""
    given = {name: value for name, value in options.items() if value is not None}
    require(not given, ", ".join(given), ", ".join(map(str, given.values())), accepted)


@contextmanager
def within(what: str) -> Iterator[None]:
    """Prefixes every `UserError` of the block with `what`: the file, or the part of it, that is wrong."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from None
