"""Vectors do what NumPy does with arrays of the same type."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import NumbaError

from gradrtl.sim.vectors import cast, larger, largest, rows, select, smaller

LANES = 16
load, store, fill = rows(LANES)


@njit
def every_operation(a, b, number, wide, out):
    x, y = load(a, 1), load(b, 0)
    store(out, 0, x + y)
    store(out, 1, x - number)
    store(out, 2, x * y)
    store(out, 3, x >> number)
    store(out, 4, (x & y) | number)
    store(out, 5, select(x >= y, x, number))
    store(out, 6, select(x >= number, number, y))
    store(out, 7, fill(number, out.dtype) + cast(x >= y, out.dtype))
    store(wide, 0, cast(x, wide.dtype) * 3)
    store(out, 8, cast(load(wide, 0) + 1000, out.dtype))
    store(out, 9, larger(x, y))
    store(out, 10, smaller(x, number))
    return largest(cast(x, wide.dtype))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int32])
def test_every_operation(kind):
    random = np.random.default_rng(0)
    limits = np.iinfo(kind)
    a, b = (random.integers(limits.min, limits.max, (2, LANES), dtype=kind, endpoint=True) for _ in range(2))
    b[0, ::5] = a[1, ::5]
    out, wide, number = np.zeros((11, LANES), kind), np.zeros((1, LANES), np.int64), 5
    top = every_operation(a, b, number, wide, out)
    x, y, same = a[1], b[0], kind(number)
    expected = [
        x + y,
        x - same,
        x * y,
        x >> same,
        x & y | same,
        np.where(x >= y, x, same),
        np.where(x >= same, same, y),
        same + (x >= y),
        (x.astype(np.int64) * 3 + 1000).astype(kind),
        np.maximum(x, y),
        np.minimum(x, same),
    ]
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(wide[0], x.astype(np.int64) * 3)
    assert top == x.max()


def test_refuses_rows_of_another_type_or_shape():
    @njit
    def copy(a, b):
        store(b, 0, load(a, 0))

    a = np.zeros((1, LANES), np.uint8)
    with pytest.raises((NumbaError, AssertionError), match="does not go into rows of int16"):
        copy(a, np.zeros((1, LANES), np.int16))
    with pytest.raises((NumbaError, AssertionError), match="1 dimensions, expected 2"):
        copy(a, a[0])
    with pytest.raises((NumbaError, AssertionError), match="layout F, expected C"):
        copy(a, np.asfortranarray(np.zeros((2, LANES), np.uint8)))
