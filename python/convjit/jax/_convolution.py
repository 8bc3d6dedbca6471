"""JAX's convolution parameters as the text of a general convolution."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

# As jaxlib names them, whatever the array's class.
_DTYPES = {"float32": "f32", "float64": "f64"}
#: GPUs' kernels, which sum in float32.
_CUDA_DTYPES = {**_DTYPES, "float16": "f16", "bfloat16": "bf16"}


class NotTaken(Exception):
    """Why a convolution is left to XLA; the message is for the report."""


def _axes(spec: Sequence[int], first: str, second: str) -> str:
    """The letters of a tensor's axes; `spec` is (first, second, spatial...)."""
    letters = [""] * len(spec)
    letters[spec[0]], letters[spec[1]] = first, second
    for i, axis in enumerate(spec[2:]):
        letters[axis] = str(i)
    return "".join(letters)


def _x(values: Sequence[int]) -> str:
    return "x".join(str(operator.index(v)) for v in values)


def text_of(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    out_dtype: Any,
    *,
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    **_: Any,
) -> str:
    """The text of `conv_general_dilated` with these parameters, whatever the dtype.

    The batch is not part of it. Raises NotTaken where there is no such text.
    """
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    rank = len(lhs_spec) - 2
    if not 1 <= rank <= 3:
        raise NotTaken(f"{rank} spatial dimensions; taken: 1, 2 or 3")
    try:
        lhs, rhs = map(operator.index, lhs_shape), map(operator.index, rhs_shape)
        lhs_shape, rhs_shape = list(lhs), list(rhs)
        pads = [(operator.index(lo), operator.index(hi)) for lo, hi in padding]
    except Exception:
        raise NotTaken("symbolic shapes; taken: sizes known when lowering") from None
    text = (
        "convolution:n="
        + _x([lhs_shape[a] for a in lhs_spec[2:]])
        + ",k="
        + _x([rhs_shape[a] for a in rhs_spec[2:]])
        + f",ws={_x(window_strides)},ld={_x(lhs_dilation)},rd={_x(rhs_dilation)}"
        + ",pad="
        + "x".join(f"{lo}:{hi}" for lo, hi in pads)
        + ",rev="
        + "x".join("0" * rank)
        + f",ic={lhs_shape[lhs_spec[1]]},oc={rhs_shape[rhs_spec[0]]}"
    )
    if feature_group_count != 1:
        text += f",g={feature_group_count}"
    if batch_group_count != 1:
        text += f",bg={batch_group_count}"
    text += (
        f",x={_axes(lhs_spec, 'b', 'f')},w={_axes(rhs_spec, 'o', 'i')}"
        f",y={_axes(out_spec, 'b', 'f')}"
    )
    if str(out_dtype) != "float32":
        text += f",dtype={_CUDA_DTYPES.get(str(out_dtype), out_dtype)}"
    return text


def describe(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    lhs_dtype: Any,
    rhs_dtype: Any,
    out_dtype: Any,
    out_shape: Sequence[int],
    *,
    platform: str = "cpu",
    **params: Any,
) -> str:
    """The text of what convjit has kernels for; raises NotTaken, with the reason, for
    the rest: such a convolution is XLA's."""
    names = {str(d) for d in (lhs_dtype, rhs_dtype, out_dtype)}
    dtypes = _DTYPES if platform == "cpu" else _CUDA_DTYPES
    if len(names) != 1 or not names <= dtypes.keys():
        *others, last = dtypes
        raise NotTaken(
            f"dtypes {lhs_dtype}, {rhs_dtype} -> {out_dtype}; taken:"
            f" {', '.join(others)} or {last} throughout"
        )
    text = text_of(lhs_shape, rhs_shape, out_dtype, **params)
    if not math.prod((*lhs_shape, *rhs_shape, *out_shape)):
        raise NotTaken("an array without elements; nothing to compute")
    return text
