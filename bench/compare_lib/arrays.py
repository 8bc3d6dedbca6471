"""Operands of a layer as NumPy arrays, and the same in the libraries' layouts."""

from __future__ import annotations

import math

import numpy as np

from .convolution import convolution_of, layer_of

DTYPES = {"f32": np.float32, "f64": np.float64}


def make_operands(problem, batch, seed=None):
    """The arrays that `convjit run` takes, by its option: input, weight, bias,
    residual, grad_output. Without a seed, positive values that are neither zero nor
    subnormal, for timing; with one, normally distributed, for checking: sums are
    then about 1, so that a saturating activation does not magnify their rounding."""
    rng = np.random.default_rng(seed or 7)
    dtype = DTYPES[problem.dtype]

    def values(shape):
        if seed is not None:
            return rng.standard_normal(shape, dtype=dtype)
        return rng.random(shape, dtype=dtype) * dtype(0.25) + dtype(0.5)

    conv = convolution_of(problem)
    operands = {"input": values(conv.input_shape(batch))}
    if problem.gradient == "weight":
        operands["grad_output"] = values(conv.output_shape(batch))
        return operands
    operands["weight"] = values(problem.weight_shape())
    if seed is not None:
        terms = conv.in_channels // conv.groups * math.prod(problem.kernel)
        operands["weight"] *= dtype(1 / math.sqrt(terms))
    if problem.bias:
        operands["bias"] = values((problem.out_channels,))
    if problem.residual:
        operands["residual"] = values(conv.output_shape(batch))
    return operands


def to_channels_first(problem, data):
    """(N, C, space...) of data in the problem's layout; a view."""
    return np.moveaxis(data, -1, 1) if problem.channels_last else data


def from_channels_first(problem, data):
    """The reverse of to_channels_first; a view."""
    return np.moveaxis(data, 1, -1) if problem.channels_last else data


def window_weight(problem, weight):
    """The weight as (oc, ic/g, taps...) of the convolution that is computed, taps in
    the order in which its window meets the input."""
    if problem.transposed:
        taps = np.moveaxis(weight, (-2, -1), (0, 1))
        taps = _flip(taps)
    else:
        taps = np.moveaxis(weight, (-1, -2), (0, 1))
    if problem.gradient != "input":
        return taps
    return _flip(_swap_channels(taps, problem.groups))


def transposed_weight(problem, weight):
    """The weight as (ic, oc/g, taps...) of a transposed convolution, applied as
    PyTorch and ONNX do: input element q and tap t meet at output q*s + t*d - p."""
    return _flip(_swap_channels(window_weight(problem, weight), problem.groups))


def weight_from_window(problem, taps):
    """The layer's weight of (oc, ic/g, taps...) in the order of the window: undoes
    window_weight. For the gradient with respect to the weight."""
    if problem.transposed:
        return np.moveaxis(_flip(taps), (0, 1), (-2, -1))
    return np.moveaxis(taps, (0, 1), (-1, -2))


def weight_from_transposed(problem, taps):
    """Undoes transposed_weight, for the gradient with respect to the weight."""
    return weight_from_window(problem, _flip(_swap_channels(taps, problem.groups)))


def _flip(taps):
    return np.flip(taps, tuple(range(2, taps.ndim)))


def _swap_channels(taps, groups):
    """(a, b/g, ...) to (b, a/g, ...), group by group."""
    a, per_group, *space = taps.shape
    grouped = taps.reshape(groups, a // groups, per_group, *space)
    return np.swapaxes(grouped, 1, 2).reshape(groups * per_group, a // groups, *space)


def reference(problem, batch, operands):
    """The layer's result by its definition, in double precision and without any
    library: slow, for small layers in tests."""
    layer = layer_of(problem) if problem.gradient == "weight" else convolution_of(problem)
    x = to_channels_first(problem, operands["input"]).astype(np.float64)
    if problem.gradient == "weight":
        return _reference_weight_gradient(problem, layer, x, operands)
    taps = window_weight(problem, operands["weight"]).astype(np.float64)
    y = np.zeros((batch, layer.out_channels, *layer.out_size))
    for out_index, tap_index, in_index in _meetings(layer):
        for group in range(layer.groups):
            outs, ins = _channels(layer, group)
            y[(slice(None), outs, *out_index)] += (
                x[(slice(None), ins, *in_index)] @ taps[(outs, slice(None), *tap_index)].T)
    if problem.bias:
        y += operands["bias"].reshape(-1, *(1,) * problem.rank)
    if problem.residual:
        y += to_channels_first(problem, operands["residual"])
    return from_channels_first(problem, activate(problem, y))


def _reference_weight_gradient(problem, layer, x, operands):
    g = to_channels_first(problem, operands["grad_output"]).astype(np.float64)
    taps = np.zeros((layer.out_channels, layer.in_channels // layer.groups, *problem.kernel))
    for out_index, tap_index, in_index in _meetings(layer):
        for group in range(layer.groups):
            outs, ins = _channels(layer, group)
            taps[(outs, slice(None), *tap_index)] += (
                g[(slice(None), outs, *out_index)].T @ x[(slice(None), ins, *in_index)])
    return weight_from_window(problem, taps)


def _channels(layer, group):
    outs, ins = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    return slice(group * outs, (group + 1) * outs), slice(group * ins, (group + 1) * ins)


def _meetings(layer):
    """Triples of positions (output, tap, input) that belong together."""
    for out_index in np.ndindex(*layer.out_size):
        for tap_index in np.ndindex(*(dim.k for dim in layer.dims)):
            at = [o * dim.ws + t * dim.rd - dim.lo
                  for o, t, dim in zip(out_index, tap_index, layer.dims)]
            if all(p >= 0 and p % dim.ld == 0 and p // dim.ld < dim.n
                   for p, dim in zip(at, layer.dims)):
                yield out_index, tap_index, tuple(
                    p // dim.ld for p, dim in zip(at, layer.dims))


def activate(problem, x):
    """The problem's activation; gelu's erf by the C library, element by element."""
    return {
        "none": lambda: x,
        "relu": lambda: np.where(x < 0, 0, x),
        "leaky_relu": lambda: np.where(x < 0, problem.slope * x, x),
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "tanh": lambda: np.tanh(x),
        "silu": lambda: x / (1 + np.exp(-x)),
        "gelu": lambda: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
        "gelu_tanh": lambda: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi)
                                                  * (x + 0.044715 * x**3))),
    }[problem.activation]()
