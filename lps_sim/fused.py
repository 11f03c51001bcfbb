"""Fused multiply-add for compiled loops: a b + c rounded once, and sums of products in a fixed order.

Left to choose (``fastmath``), the compiler fuses some products and not others, and splits sums as it likes: otherwise
in code that was just compiled than in the same code from the cache, and otherwise on another processor. Written out,
the speed of both comes with one result everywhere.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_LANES = 8
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, _LANES)


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c`` of three float32, rounded once (IEEE 754 fusedMultiplyAdd)."""
    if not all(kind == types.float32 for kind in (a, b, c)):
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), code


@intrinsic
def dot(context: Any, a: Any, b: Any) -> Any:
    """Sum of products of two contiguous float32 arrays (K,) of one length, which is not checked.

    Term k goes to the running sum k mod 8; the eight are added in pairs, and the last K mod 8 terms after them.
    """
    if not all(isinstance(kind, types.Array) and kind.dtype == types.float32 and kind.layout == "C" for kind in (a, b)):
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (
            context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args, arguments)
        )
        count = builder.extract_value(left.shape, 0)
        whole = builder.and_(count, ir.Constant(count.type, -_LANES))
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{_LANES}f32"
        )
        sums = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * _LANES))
        with cgutils.for_range_slice(builder, count.type(0), whole, count.type(_LANES)) as (k, _):
            terms = []
            for array in (left, right):
                place = builder.bitcast(builder.gep(array.data, [k]), _VECTOR.as_pointer())
                terms.append(builder.load(place, align=4))
            builder.store(builder.call(fused, [*terms, builder.load(sums)]), sums)
        lanes = [builder.extract_element(builder.load(sums), ir.IntType(32)(k)) for k in range(_LANES)]
        while len(lanes) > 1:
            lanes = [builder.fadd(*lanes[k : k + 2]) for k in range(0, len(lanes), 2)]
        total = cgutils.alloca_once_value(builder, lanes[0])
        with cgutils.for_range_slice(builder, whole, count, count.type(1)) as (k, _):
            factors = [builder.load(builder.gep(array.data, [k])) for array in (left, right)]
            builder.store(builder.fma(*factors, builder.load(total)), total)
        return builder.load(total)

    return types.float32(a, b), code
