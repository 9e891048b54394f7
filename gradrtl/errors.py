"""The errors that end a command in one line."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave: one line that names the field, the value and what was expected."""


class RtlFault(Exception):
    """The compiled accelerator breaks its protocol or stands still; the message tells how and where."""


def require(condition: bool, field: str, value: object, accepted: str) -> None:
    """Raise `UserError` for `field` unless `condition` holds."""
    if not condition:
        raise UserError(f"{field} is {value}, expected {accepted}")
