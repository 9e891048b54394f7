"""Checks of single values from users, files and programs: first the type, then the range. No NumPy.

Each returns the value as a plain Python object, or raises `UserError` with one line that names the field. NumPy's
scalars are accepted like Python's. Booleans are not numbers, and floats are not whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from .errors import UserError, require

LONGEST_NAME = 256  # characters


def is_whole(value: Any) -> bool:
    """Whether `value` is an integer, one of NumPy's included."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def whole(field: str, value: Any, low: int, high: int, accepted: str = "") -> int:
    """`value` as an int of `low..high`. `accepted` describes what is expected if the range alone does not."""
    accepted = accepted or f"{low} to {high}"
    if not is_whole(value):
        raise UserError.of(field, value, f"a whole number, {accepted}")
    require(low <= value <= high, field, value, accepted)
    return int(value)


def wholes(field: str, values: Any, low: int, high: int, count: int | None = None) -> tuple[int, ...]:
    """`values`, a tuple, a list or a vector of NumPy's integers, as ints of `low..high`, `count` of them if given."""
    if getattr(values, "ndim", 0) == 1:
        values = list(values)
    number = "whole numbers" if count is None else f"{count} whole numbers"
    if not isinstance(values, tuple | list):
        raise UserError.of(field, values, f"a list of {number}, each {low} to {high}")
    if not all(map(is_whole, values)) or count not in (None, len(values)):
        raise UserError.of(field, values, f"{number}, each {low} to {high}")
    numbers = tuple(map(int, values))
    require(all(low <= number <= high for number in numbers), field, numbers, f"numbers from {low} to {high}")
    return numbers


def real(field: str, value: Any, accepted: str = "a finite number") -> float:
    """`value`, a number of Python or NumPy, as a finite float."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or (is_whole(value) and abs(value) > 1e308) or not math.isfinite(value):
        raise UserError.of(field, value, accepted)
    return float(value)


def flag(field: str, value: Any) -> bool:
    """`value` as a bool."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):  # NumPy 2 and 1
        raise UserError.of(field, value, "True or False")
    return bool(value)


def choice(field: str, value: Any, options: Iterable[str]) -> str:
    """`value`, one of `options`."""
    options = tuple(options)
    if not isinstance(value, str) or value not in options:
        raise UserError.of(field, value, " or ".join(options))
    return value


def name(field: str, value: Any, least: int = 1) -> str:
    """`value`, a text of `least` to 256 printable characters."""
    if not isinstance(value, str) or not value.isprintable() or not least <= len(value) <= LONGEST_NAME:
        raise UserError.of(field, value, f"a name of {least} to {LONGEST_NAME} printable characters")
    return str(value)


def fields(field: str, value: Any, needed: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    """`value`, a JSON object that has the fields `needed`, and no others but those `optional`."""
    needed, optional = tuple(needed), tuple(optional)
    if not isinstance(value, dict):
        raise UserError.of(field, value, f"an object with the fields {', '.join(needed)}")
    for missing in needed:
        require(missing in value, field, f"incomplete: {missing} is missing", f"the fields {', '.join(needed)}")
    unknown = [key for key in value if key not in needed and key not in optional]
    require(not unknown, f"{field} field", unknown[:1], f"one of {', '.join((*needed, *optional))}")
    return value


def items(field: str, value: Any, most: int) -> list[Any]:
    """`value`, a JSON array of at most `most` items."""
    if not isinstance(value, list | tuple):
        raise UserError.of(field, value, "a list")
    require(len(value) <= most, field, len(value), f"at most {most}")
    return list(value)
