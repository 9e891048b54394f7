"""Vectors of integers as a type of Numba: whole vector instructions, in the width of their elements.

By itself, Numba widens integers to 64 bits, checks at run time whether arrays overlap, and keeps sums in memory. Here
every operation is one LLVM instruction: `a + b`, `a - b`, `a * b`, `a >> b`, `a & b`, `a | b`, `a >= b`, `larger(a, b)`
and `smaller(a, b)`, with a vector of the same elements or a number on the right, which is truncated to them. Sums wrap;
`>>` is arithmetic for signed elements; `>=` gives a vector of booleans. They run on any machine: LLVM splits vectors to
fit its registers.

Without compilation (`NUMBA_DISABLE_JIT`), a vector is a NumPy array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from ..compiled import COMPILES


def instruction(plain: Callable) -> Callable[[Callable], Any]:
    """Decorator of a function that emits LLVM instructions; callers omit the typing context.

    `plain` is the same function for NumPy arrays.
    """
    return intrinsic if COMPILES else lambda function: plain


def record(fields: list[tuple[str, Any]]) -> np.dtype:
    """Structured type whose fields are attributes, compiled or not."""
    return np.dtype((np.record, fields))


def larger(a: Any, b: Any) -> Any:
    """The larger of each pair of elements."""
    return np.maximum(a, b)


def smaller(a: Any, b: Any) -> Any:
    """The smaller of each pair of elements."""
    return np.minimum(a, b)


class Vector(types.Type):
    """`lanes` elements of the Numba type `dtype`, an integer or a boolean."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(f"Vector({dtype}, {lanes})")

    def of(self, dtype: Any) -> Vector:
        """As many elements of another type."""
        return Vector(dtype, self.lanes)

    @property
    def register(self) -> ir.VectorType:
        """LLVM's type for it."""
        return ir.VectorType(ir.IntType(_bits(self.dtype)), self.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """LLVM's own vectors."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.register)


def _bits(dtype: Any) -> int:
    return 1 if dtype == types.boolean else dtype.bitwidth


def _spread(builder: ir.IRBuilder, kind: Vector, number: ir.Value) -> ir.Value:
    """A vector of equal elements."""
    index = ir.IntType(32)
    first = builder.insert_element(ir.Constant(kind.register, ir.Undefined), number, index(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(index, kind.lanes), [0] * kind.lanes))


def _define(function: Callable, emit: Callable, comparison: bool = False) -> None:
    """Implement `function` of a vector and a vector or number by `emit(builder, dtype, a, b)`."""

    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            left, right = args
            if isinstance(left, Vector) and (right == left or isinstance(right, types.Integer)):
                result = left.of(types.boolean) if comparison else left
                return signature(result, left, left if right == left else left.dtype)
            return None

    def generate(context, builder, made, arguments):
        left, right = arguments
        if not isinstance(made.args[1], Vector):
            right = _spread(builder, made.args[0], right)
        return emit(builder, made.args[0].dtype, left, right)

    lower_builtin(function, Vector, Vector)(generate)
    lower_builtin(function, Vector, types.Integer)(generate)


_define(operator.add, lambda builder, dtype, a, b: builder.add(a, b))
_define(operator.sub, lambda builder, dtype, a, b: builder.sub(a, b))
_define(operator.mul, lambda builder, dtype, a, b: builder.mul(a, b))
_define(operator.and_, lambda builder, dtype, a, b: builder.and_(a, b))
_define(operator.or_, lambda builder, dtype, a, b: builder.or_(a, b))
_define(operator.rshift, lambda builder, dtype, a, b: (builder.ashr if dtype.signed else builder.lshr)(a, b))


def _at_least(builder: ir.IRBuilder, dtype: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    return (builder.icmp_signed if dtype.signed else builder.icmp_unsigned)(">=", a, b)


_define(operator.ge, _at_least, comparison=True)
_define(larger, lambda builder, dtype, a, b: builder.select(_at_least(builder, dtype, a, b), a, b))
_define(smaller, lambda builder, dtype, a, b: builder.select(_at_least(builder, dtype, a, b), b, a))


@instruction(lambda vector, dtype: vector.astype(dtype))
def cast(typingctx, vector, dtype):
    """The same numbers as elements of `dtype` (as `array.dtype`), truncated if it is narrower."""
    old, new = vector.dtype, dtype.dtype

    def generate(context, builder, made, arguments):
        to = made.return_type.register
        if _bits(new) < _bits(old):
            return builder.trunc(arguments[0], to)
        is_signed = old != types.boolean and old.signed
        return (builder.sext if is_signed else builder.zext)(arguments[0], to)

    return vector.of(new)(vector, dtype), generate


@instruction(np.where)
def select(typingctx, mask, yes, no):
    """Elements of `yes` where `mask` is true, else of `no`; one may be a number, truncated to the other's type."""
    result = yes if isinstance(yes, Vector) else no

    def generate(context, builder, made, arguments):
        chosen = (
            value if isinstance(kind, Vector) else _spread(builder, result, value)
            for kind, value in zip(made.args[1:], arguments[1:], strict=True)
        )
        return builder.select(arguments[0], *chosen)

    taken = (kind if isinstance(kind, Vector) else result.dtype for kind in (yes, no))
    return result(mask, *taken), generate


@instruction(lambda vector: int(vector.max()))
def largest(typingctx, vector):
    """The largest element, signed."""

    def generate(context, builder, made, arguments):
        kind = ir.FunctionType(vector.register.element, [vector.register])
        name = f"llvm.vector.reduce.smax.v{vector.lanes}i{_bits(vector.dtype)}"
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(reduce, arguments)

    assert vector.dtype.signed, f"{vector} is not signed"
    return vector.dtype(vector), generate


def rows(lanes: int) -> tuple[Any, Any, Any]:
    """`load`, `store` and `fill` for vectors of `lanes` elements, which are rows of contiguous arrays `[n, lanes]`.

    `load(array, row)` and `store(array, row, vector)`: indices must not be negative and are not checked.
    `fill(number, dtype)`: all elements are `number`, truncated to `dtype` (as `array.dtype`).
    """

    def pointer(context, builder, array, value, row):
        data = context.make_array(array)(context, builder, value).data
        at = builder.gep(data, [builder.mul(row, row.type(lanes))])
        return builder.bitcast(at, Vector(array.dtype, lanes).register.as_pointer())

    @instruction(lambda array, row: array[row].copy())
    def load(typingctx, array, row):
        _check(array)

        def generate(context, builder, made, arguments):
            return builder.load(pointer(context, builder, array, *arguments), align=array.dtype.bitwidth // 8)

        return Vector(array.dtype, lanes)(array, types.intp), generate

    @instruction(lambda array, row, vector: array.__setitem__(row, vector))
    def store(typingctx, array, row, vector):
        _check(array)
        assert vector == Vector(array.dtype, lanes), f"{vector} does not go into rows of {array.dtype}"

        def generate(context, builder, made, arguments):
            place = pointer(context, builder, array, *arguments[:2])
            builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(array, types.intp, vector), generate

    @instruction(lambda number, dtype: np.full(lanes, number).astype(dtype))
    def fill(typingctx, number, dtype):
        kind = Vector(dtype.dtype, lanes)

        def generate(context, builder, made, arguments):
            return _spread(builder, kind, arguments[0])

        return kind(kind.dtype, dtype), generate

    return load, store, fill


def _check(array: types.Array) -> None:
    assert array.ndim == 2, f"{array.ndim} dimensions, expected 2"
    assert array.layout == "C", f"layout {array.layout}, expected C"
