"""Vectors of `LANES` integers as a type of Numba: whole vector instructions, in the width of their elements.

Left to itself Numba widens integers to 64 bits, checks at run time whether arrays overlap, and keeps sums in memory.
Here every operation is one instruction of LLVM on a value: `a + b`, `a - b`, `a * b`, `a >> b`, `a & b`, `a | b` and
`a >= b`, with a vector of the same elements or a number on the right, which is cut to them. Sums wrap; `>>` is
arithmetic for signed elements; `>=` gives a vector of booleans. Any machine can run them: LLVM cuts vectors to the
registers it has.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

LANES = 64

instruction: Callable[[Callable], Any] = intrinsic  # callers leave the typing context out


class Vector(types.Type):
    """`LANES` elements of the Numba type `dtype`, an integer or a boolean."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """LLVM's own vectors."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(_bits(kind.dtype)), LANES))


def _bits(dtype: Any) -> int:
    return 1 if dtype == types.boolean else dtype.bitwidth


def _spread(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """A vector of equal elements."""
    index = ir.IntType(32)
    first = builder.insert_element(ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined), number, index(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(index, LANES), [0] * LANES))


def _define(function: Callable, emit: Callable, comparison: bool = False) -> None:
    """Let `function` of a vector and a vector or number be what `emit(builder, dtype, a, b)` makes."""

    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            left, right = args
            if isinstance(left, Vector) and (right == left or isinstance(right, types.Integer)):
                result = Vector(types.boolean) if comparison else left
                return signature(result, left, left if right == left else left.dtype)
            return None

    def generate(context, builder, made, arguments):
        left, right = arguments
        if not isinstance(made.args[1], Vector):
            right = _spread(builder, right)
        return emit(builder, made.args[0].dtype, left, right)

    lower_builtin(function, Vector, Vector)(generate)
    lower_builtin(function, Vector, types.Integer)(generate)


_define(operator.add, lambda builder, dtype, a, b: builder.add(a, b))
_define(operator.sub, lambda builder, dtype, a, b: builder.sub(a, b))
_define(operator.mul, lambda builder, dtype, a, b: builder.mul(a, b))
_define(operator.and_, lambda builder, dtype, a, b: builder.and_(a, b))
_define(operator.or_, lambda builder, dtype, a, b: builder.or_(a, b))
_define(operator.rshift, lambda builder, dtype, a, b: (builder.ashr if dtype.signed else builder.lshr)(a, b))
_define(
    operator.ge,
    lambda builder, dtype, a, b: (builder.icmp_signed if dtype.signed else builder.icmp_unsigned)(">=", a, b),
    comparison=True,
)


@instruction
def fill(typingctx, number, dtype):
    """A vector of `dtype` (a type, as `array.dtype.type`) whose elements are all `number`, cut to it."""
    element = dtype.dtype

    def generate(context, builder, made, arguments):
        return _spread(builder, context.cast(builder, arguments[0], number, element))

    return Vector(element)(number, dtype), generate


@instruction
def cast(typingctx, vector, dtype):
    """The same numbers as elements of `dtype`, cut if it is narrower."""
    old, new = vector.dtype, dtype.dtype

    def generate(context, builder, made, arguments):
        to = ir.VectorType(ir.IntType(_bits(new)), LANES)
        if _bits(new) < _bits(old):
            return builder.trunc(arguments[0], to)
        is_signed = old != types.boolean and old.signed
        return (builder.sext if is_signed else builder.zext)(arguments[0], to)

    return Vector(new)(vector, dtype), generate


@instruction
def select(typingctx, mask, yes, no):
    """Elements of `yes` where `mask` is true, else of `no`; one of them may be a number, cut to the other's type."""
    result = yes if isinstance(yes, Vector) else no

    def generate(context, builder, made, arguments):
        chosen = (
            value if isinstance(kind, Vector) else _spread(builder, value)
            for kind, value in zip(made.args[1:], arguments[1:], strict=True)
        )
        return builder.select(arguments[0], *chosen)

    taken = (kind if isinstance(kind, Vector) else result.dtype for kind in (yes, no))
    return result(mask, *taken), generate


def _row(context: Any, builder: ir.IRBuilder, kind: types.Array, array: ir.Value, row: ir.Value) -> ir.Value:
    """Pointer to row `row` of a contiguous `array` `[rows, LANES]`."""
    data = context.make_array(kind)(context, builder, array).data
    at = builder.mul(row, row.type(LANES))
    return builder.bitcast(builder.gep(data, [at]), context.get_value_type(Vector(kind.dtype)).as_pointer())


@instruction
def load(typingctx, array, row):
    """Row `row`, not negative, of a contiguous array `[rows, LANES]`; nothing is checked."""
    _check(array)

    def generate(context, builder, made, arguments):
        place = _row(context, builder, array, *arguments)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, types.intp), generate


@instruction
def store(typingctx, array, row, vector):
    """Write row `row`, not negative, of a contiguous array `[rows, LANES]`; nothing is checked."""
    _check(array)
    assert vector == Vector(array.dtype), f"{vector} does not go into rows of {array.dtype}"

    def generate(context, builder, made, arguments):
        place = _row(context, builder, array, *arguments[:2])
        builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _check(array: types.Array) -> None:
    assert array.ndim == 2, f"{array.ndim} dimensions, expected 2"
    assert array.layout == "C", f"layout {array.layout}, expected C"
