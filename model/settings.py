"""Fields of a configuration: default, meaning and accepted values, stated once for Python, files and the command line.

@dataclass(frozen=True)
class Config:
    batch: int = setting(128, "Images per step.", at_least(1))

    def __post_init__(self) -> None:
        check(self)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_type_hints

from ..checks import flag, is_whole, real
from ..errors import UserError, require


@dataclass(frozen=True)
class Accepted:
    """The values that a field accepts: as text after "expected", and as a test."""

    words: str
    holds: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """A field of a configuration.

    `kind` is int, float, bool, str or another class; `optional` ones accept None too, and `absent` tells what it means.
    """

    name: str
    default: Any
    meaning: str
    accepted: Accepted | None
    kind: type
    optional: bool
    absent: str = ""


def at_least(low: float) -> Accepted:
    return Accepted(f"{low} or above", lambda value: value >= low)


def above(low: float, high: float | None = None) -> Accepted:
    """Above `low`, and at most `high` if there is one."""
    if high is None:
        return Accepted(f"above {low}", lambda value: value > low)
    return Accepted(f"above {low}, at most {high}", lambda value: low < value <= high)


def below(high: float, low: float) -> Accepted:
    """From `low` on, and below `high`."""
    return Accepted(f"at least {low}, below {high}", lambda value: low <= value < high)


def between(low: float, high: float, unit: str = "") -> Accepted:
    return Accepted(f"{low} to {high}{unit}", lambda value: low <= value <= high)


def one_of(choices: Iterable[str]) -> Accepted:
    names = tuple(choices)
    return Accepted(f"one of {', '.join(names)}", lambda value: value in names, names)


def setting(default: Any, meaning: str, accepted: Accepted | None = None, absent: str = "") -> Any:
    """A dataclass field."""
    return field(default=default, metadata={"meaning": meaning, "accepted": accepted, "absent": absent})


def like(config: type, name: str, **changes: Any) -> Any:
    """A dataclass field with all that `setting` was given for `name` in another `config`.

    `changes`: another `default` or `meaning`.
    """
    known = next(known for known in settings(config) if known.name == name)
    given = {name: getattr(known, name) for name in ("default", "meaning", "accepted", "absent")}
    return setting(**given | changes)


def settings(config: type[Any]) -> tuple[Setting, ...]:
    """All fields of a configuration class that `setting` has made."""
    hints = get_type_hints(config)
    found = []
    for entry in fields(config):
        kinds = [kind for kind in get_args(hints[entry.name]) or (hints[entry.name],) if kind is not type(None)]
        optional = len(kinds) < max(1, len(get_args(hints[entry.name])))
        known = entry.metadata
        found.append(Setting(entry.name, entry.default, kind=kinds[0], optional=optional, **known))
    return tuple(found)


def check(config: Any) -> None:
    """`UserError` for the first field with a value that it does not accept; NumPy's numbers become Python's."""
    for known in settings(type(config)):
        value = getattr(config, known.name)
        if value is None and known.optional:
            continue
        if known.kind in (int, float, bool):
            value = _number(value, known)
            object.__setattr__(config, known.name, value)
        if known.accepted is not None:
            require(known.accepted.holds(value), known.name, value, expected(known))


def expected(known: Setting) -> str:
    """The accepted values of a field, as text."""
    words = known.accepted.words if known.accepted is not None else KINDS[known.kind]
    return f"{words}, or None" if known.optional else words


KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}


def _number(value: Any, known: Setting) -> int | float | bool:
    """`value`, NumPy's included, as a number of the field's kind."""
    if known.kind is bool:
        return flag(known.name, value)
    accepted = f"{KINDS[known.kind]}: {expected(known)}"
    if known.kind is float:
        return real(known.name, value, accepted)
    if not is_whole(value):
        raise UserError.of(known.name, value, accepted)
    return int(value)
