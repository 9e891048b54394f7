"""Checks of single values that users, files and programs give: their type first, then their range.

Each returns the value as a plain Python object, or raises `UserError` with one line that names the field. NumPy's
integers count as whole numbers; booleans, floats and text do not.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .errors import UserError, require


def whole(field: str, value: Any, low: int, high: int) -> int:
    """`value` as an int of `low..high`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise UserError.of(field, value, f"a whole number, {low} to {high}")
    number = operator.index(value)
    require(low <= number <= high, field, number, f"{low} to {high}")
    return number


def wholes(field: str, values: Any, low: int, high: int) -> tuple[int, ...]:
    """`values`, a tuple, a list or a vector of NumPy's integers, as a tuple of ints of `low..high`."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = list(values)
    if not isinstance(values, tuple | list):
        raise UserError.of(field, values, f"a list of whole numbers, each {low} to {high}")
    for value in values:
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
            raise UserError.of(field, values, f"whole numbers, each {low} to {high}")
    numbers = tuple(map(operator.index, values))
    require(all(low <= number <= high for number in numbers), field, numbers, f"numbers from {low} to {high}")
    return numbers
