"""conv, conv_transpose and compile: the package's own functions."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _convjit
from ._gradient import WeightGradient
from ._kernel import Kernel, as_array

Sizes = int | Sequence[int]


def compile(problem: str, *, plan: str = "", mask: Any = None) -> Kernel:
    """Compiles a layer for this CPU.

    Args:
      problem: the layer in one line, for example
        `convT3d:in=8x16x16x64,oc=32,k=4,s=2,bias` (docs/semantics.md).
      plan: text of a plan, instead of the cost model's choice.
      mask: factors on the weight, of the weight's shape; a weight whose factor
        is zero is not read and not multiplied. `mask=FILE.npy` in the problem
        says the same.

    Returns:
      A `Kernel`, or, for a problem with `grad=weight`, a `WeightGradient`, which
      is called with the input and the output's gradient. Compiling the same layer again costs nothing.

    Raises:
      ValueError: the problem or the plan is not valid; the text names the
        field, its value and what would be.
    """
    problem, text, mask_file, layer = _convjit.lower(problem)
    if mask_file and mask is not None:
        raise ValueError(f"mask: the problem names {mask_file}; valid: one of the two")
    if mask_file:
        mask = np.load(mask_file)
    if mask is None:
        return _compiled(problem, text, layer, plan)
    mask = np.asarray(mask, np.float64)
    shape = _convjit.shapes(layer or text, 1)[1]
    if mask.shape != shape:
        raise ValueError(f"mask has shape {mask.shape}; valid: {shape}")
    if layer:
        return WeightGradient(problem, text, layer, plan, mask)
    return Kernel(problem, text, plan, mask)


@functools.lru_cache(maxsize=None)
def _compiled(problem: str, text: str, layer: str, plan: str) -> Kernel:
    if layer:
        return WeightGradient(problem, text, layer, plan)
    return Kernel(problem, text, plan)


def _sizes(value: Sizes, rank: int, name: str) -> str:
    if isinstance(value, (int, np.integer)):
        return str(value)
    values = list(value)
    if len(values) not in (1, rank):
        raise ValueError(f"{name}={value!r}: valid: one number, or {rank}")
    return "x".join(str(int(v)) for v in values)


def _padding(value: Any, rank: int) -> str:
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, (int, np.integer)):
        return str(value)
    parts = []
    for part in value:
        parts.append(str(int(part)) if isinstance(part, (int, np.integer))
                     else ":".join(str(int(p)) for p in part))
    if len(parts) not in (1, rank):
        raise ValueError(
            f"padding={value!r}: valid: 'SAME', 'VALID', one number or (low, high)"
            f" pair, or {rank}"
        )
    return "x".join(parts)


def _call(
    operation: str, x: Any, w: Any, problem: str | Kernel | None, bias: Any,
    residual: Any, out: np.ndarray | None, mask: Any, fields: dict[str, Any],
) -> np.ndarray:
    if problem is not None:
        text = problem.problem if isinstance(problem, Kernel) else problem
        if not re.match(rf"{operation}\dd:", text):
            raise ValueError(f"problem={text!r}: valid: {operation}1d, 2d or 3d")
    kernel: Kernel
    if isinstance(problem, Kernel):
        kernel = problem
    elif problem is not None:
        kernel = compile(problem, mask=mask)
    else:
        kernel = compile(
            _problem(operation, as_array(x, "x"), as_array(w, "w"),
                     bias is not None, residual is not None, **fields),
            mask=mask,
        )
    if isinstance(kernel, WeightGradient):
        for value, name in ((bias, "bias"), (residual, "residual")):
            if value is not None:
                raise ValueError(f"{name} is given; valid: None with grad=weight")
        return kernel(x, w, out=out)
    return kernel(x, w, bias, residual, out=out)


def _problem(
    operation: str, x: np.ndarray, w: np.ndarray, bias: bool, residual: bool, *,
    stride: Sizes, padding: Any, dilation: Sizes, input_dilation: Sizes, groups: int,
    layout: str, activation: str | None,
) -> str:
    rank = w.ndim - 2
    if not 1 <= rank <= 3:
        raise ValueError(
            f"w has {w.ndim} axes; valid: 3, 4 or 5 (spatial, then channels)"
        )
    if x.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"x has {x.ndim} axes; valid: {rank + 2}, or {rank + 1} without a batch"
            f" (w has {rank} spatial axes)"
        )
    dtypes = {"float32": "f32", "float64": "f64"}
    if x.dtype.name not in dtypes:
        raise TypeError(f"x has dtype {x.dtype}; valid: float32 or float64")
    outputs = w.shape[-2] if operation == "convT" else w.shape[-1]
    parts = [
        "in=" + "x".join(str(n) for n in x.shape[x.ndim - rank - 1:]),
        f"oc={outputs}",
        "k=" + "x".join(str(n) for n in w.shape[:rank]),
        "s=" + _sizes(stride, rank, "stride"),
        "d=" + _sizes(dilation, rank, "dilation"),
        f"g={int(groups)}",
        "pad=" + _padding(padding, rank),
        f"layout={layout}",
        f"dtype={dtypes[x.dtype.name]}",
    ]
    if operation == "conv":
        parts.append("ld=" + _sizes(input_dilation, rank, "input_dilation"))
    if bias:
        parts.append("bias")
    if residual:
        parts.append("residual")
    if activation:
        parts.append(f"act={activation}")
    return f"{operation}{rank}d:{','.join(parts)}"


def conv(
    x: Any, w: Any, problem: str | Kernel | None = None, *, bias: Any = None,
    residual: Any = None, stride: Sizes = 1, padding: Any = "SAME",
    dilation: Sizes = 1, input_dilation: Sizes = 1, groups: int = 1,
    layout: str = "channels_last", activation: str | None = None, mask: Any = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A 1-D, 2-D or 3-D convolution: activation(conv(x, w) + bias + residual).

    Args:
      x: (batch, spatial..., in) or, with layout="channels_first",
        (batch, in, spatial...); the batch may be left out. float32 or float64,
        NumPy or DLPack on the CPU.
      w: (k..., in/groups, out) in both layouts. Where the problem says
        grad=input, x is the output's gradient; where it says grad=weight, this is,
        x is the input, and the weight's gradient is returned.
      problem: the layer in one line, or a compiled one, instead of the
        arguments below that describe it.
      bias: (out,).
      residual: the output's shape.
      stride, dilation, input_dilation: one number, or one a dimension.
      padding: "SAME", "VALID", one number, one a dimension, or (low, high)
        pairs, which may be negative.
      groups: divides the input and the output channels.
      activation: relu, leaky_relu, sigmoid, tanh, silu, gelu or gelu_tanh.
      mask: factors on the weight, of its shape.
      out: written and returned if given.

    Returns:
      (batch, spatial..., out) or (batch, out, spatial...); without the batch
      where x has none.
    """
    return _call("conv", x, w, problem, bias, residual, out, mask, dict(
        stride=stride, padding=padding, dilation=dilation, groups=groups,
        input_dilation=input_dilation, layout=layout, activation=activation,
    ))


def conv_transpose(
    x: Any, w: Any, problem: str | Kernel | None = None, *, bias: Any = None,
    residual: Any = None, stride: Sizes = 1, padding: Any = "SAME",
    dilation: Sizes = 1, groups: int = 1, layout: str = "channels_last",
    activation: str | None = None, mask: Any = None, out: np.ndarray | None = None,
) -> np.ndarray:
    """A 1-D, 2-D or 3-D transposed convolution, the window flipped.

    Args:
      x: (batch, spatial..., in) or, with layout="channels_first",
        (batch, in, spatial...); the batch may be left out.
      w: (k..., out, in/groups) in both layouts.
      padding: "SAME": n*stride outputs for n inputs; "VALID": n*stride +
        max(k-stride, 0); explicit padding is added to the dilated input.
      others: as those of `conv`.

    Returns:
      (batch, spatial..., out) or (batch, out, spatial...); without the batch
      where x has none.
    """
    return _call("convT", x, w, problem, bias, residual, out, mask, dict(
        stride=stride, padding=padding, dilation=dilation, groups=groups,
        input_dilation=1, layout=layout, activation=activation,
    ))


def set_threads(threads: int) -> None:
    """How many threads a call shares, the caller's among them; 0: one for each
    processor that the process may use. Under JAX, XLA's own threads are used."""
    if threads < 0:
        raise ValueError(f"threads={threads}: valid: 0 or more")
    _convjit.set_threads(threads)


def threads() -> int:
    """How many threads a call shares."""
    return _convjit.threads()
