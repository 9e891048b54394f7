"""Checks of arrays from users, files and programs. Each returns a copy that cannot be written to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .errors import UserError, require


def frozen(field: str, value: Any, kind: type[np.generic], dimensions: Iterable[int]) -> np.ndarray:
    """A read-only copy of `value`, an array of the type `kind`."""
    dimensions = tuple(dimensions)
    expected = f"an array of {np.dtype(kind)} of {' or '.join(map(str, dimensions))} dimensions"
    if not isinstance(value, np.ndarray):
        raise UserError.of(field, type(value).__name__, expected)
    require(value.dtype == kind, f"{field} dtype", value.dtype, f"{np.dtype(kind)}")
    require(value.ndim in dimensions, f"{field} dimensions", value.ndim, " or ".join(map(str, dimensions)))
    if value.flags.owndata and not value.flags.writeable and value.flags.c_contiguous and type(value) is np.ndarray:
        return value
    copy = np.array(value, dtype=kind, order="C", subok=False)
    copy.setflags(write=False)
    return copy


def reals(field: str, value: Any, dimensions: Iterable[int]) -> np.ndarray:
    """A read-only float64 copy of `value`: an array, a tensor or nested lists of numbers."""
    dimensions = tuple(dimensions)
    expected = f"an array of finite numbers, of {' or '.join(map(str, dimensions))} dimensions"
    try:
        given = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError.of(field, f"{type(value).__name__} ({error})", expected) from None
    if array.dtype.kind not in "iuf" or array.ndim not in dimensions:
        raise UserError.of(field, f"{type(value).__name__} of {array.dtype} {array.shape}", expected)
    bad = int(np.count_nonzero(~np.isfinite(array)))
    require(bad == 0, field, f"NaN or infinite in {bad} elements", "finite numbers")
    if array.dtype == np.float64 and array.flags.owndata and array.flags.c_contiguous and not array.flags.writeable:
        return array
    copy = np.array(array, dtype=np.float64, order="C", subok=False)
    copy.setflags(write=False)
    return copy


def connectivity(connected: Sequence[int], possible: int) -> float:
    """The fraction of weights that are not zero, of all layers together.

    `connected`: weights that are not zero, by layer; `possible`: all weights, zeros included.
    """
    return sum(connected) / possible
