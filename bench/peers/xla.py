"""XLA, through JAX: the general convolution and its epilogue in one jit. Weights are
flipped beforehand where the layer flips them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from compare_lib import arrays
from compare_lib.convolution import convolution_of

from .prepared import Prepared

jax.config.update("jax_enable_x64", True)  # for dtype=f64; nothing becomes double by itself

ACTIVATIONS = {
    "none": lambda y: y,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": lambda y: jax.nn.gelu(y, approximate=False),
    "gelu_tanh": lambda y: jax.nn.gelu(y, approximate=True),
}


def version(threads):
    return jax.__version__


def convolution(problem, conv):
    """A function of the input and of the weight as (taps..., ic/g, oc)."""
    space = "DHW"[3 - problem.rank:]
    data = f"N{space}C" if problem.channels_last else f"NC{space}"

    def apply(x, weight):
        return lax.conv_general_dilated(
            x, weight, window_strides=[dim.ws for dim in conv.dims],
            padding=[(dim.lo, dim.hi) for dim in conv.dims],
            lhs_dilation=[dim.ld for dim in conv.dims], rhs_dilation=[dim.rd for dim in conv.dims],
            dimension_numbers=(data, f"{space}IO", data), feature_group_count=conv.groups,
            batch_group_count=problem.batch_groups)

    return apply


class XlaLayer(Prepared):
    def __init__(self, problem, operands):
        self.problem = problem
        conv = convolution_of(problem)
        apply = convolution(problem, conv)
        if problem.gradient == "weight":
            shape = (*problem.kernel, conv.in_channels // conv.groups, conv.out_channels)
            zero = jnp.zeros(shape, arrays.DTYPES[problem.dtype])

            def function(x, gradient):
                return jax.vjp(lambda weight: apply(x, weight), zero)[1](gradient)[0]

            values = [operands["input"], operands["grad_output"]]
        else:
            function, values = self.layer(apply, operands)
        self.values = [jax.device_put(np.ascontiguousarray(value)) for value in values]
        self.function = jax.jit(function).lower(*self.values).compile()

    def layer(self, apply, operands):
        problem = self.problem
        activation = ACTIVATIONS.get(problem.activation,
                                     lambda y: jax.nn.leaky_relu(y, problem.slope))
        weight = np.moveaxis(arrays.window_weight(problem, operands["weight"]), (0, 1), (-1, -2))
        values = [operands["input"], weight]
        if problem.bias:
            shape = [1] * (problem.rank + 2)
            shape[-1 if problem.channels_last else 1] = -1
            values.append(operands["bias"].reshape(shape))
        if problem.residual:
            values.append(operands["residual"])

        def function(x, weight, *addends):
            y = apply(x, weight)
            for addend in addends:
                y = y + addend
            return activation(y)

        return function, values

    def call(self):
        self.y = self.function(*self.values)

    def finish(self):
        self.y.block_until_ready()

    def run(self, count):
        # One call at a time: calls in flight together would keep all their results.
        return sum(Prepared.run(self, 1) for _ in range(count))

    def output(self):
        y = np.asarray(self.y)
        if self.problem.gradient != "weight":
            return y
        return arrays.weight_from_window(self.problem, np.moveaxis(y, (-1, -2), (0, 1)))


def prepare(problem, batch, operands, variant, threads):
    return XlaLayer(problem, operands)
