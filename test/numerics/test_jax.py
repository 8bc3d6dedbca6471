"""The same layers in JAX: values, gradients and epilogues.

JAX gets the same float32 numbers and computes in float64, so that a difference is
convjit's rounding alone, which layers.rounding bounds; gradients are taken of small
integers, where both must agree exactly. Padding modes are resolved by JAX.
"""

import itertools
import random

import jax
import numpy as np
import pytest
from jax import lax

from layers import (Layer, assert_close, assert_equal, floats, integers, rounding,
                    SINGLE_PRECISION)

jax.config.update("jax_enable_x64", True)

SPATIAL = "WHD"


def make_layers():
    """Every combination of rank, kind, padding and layout, four times with other
    sizes. The generator's seed is fixed: the same layers in each run."""
    choose = random.Random(20240611)
    made = []
    for rank, transposed, pad, channels_first, _ in itertools.product(
            (1, 2, 3), (True, False), ("same", "valid", "explicit"), (False, True), range(4)):
        while True:
            def draw(low, high):
                return tuple(choose.randint(low, high) for _ in range(rank))
            g = choose.choice((1, 1, 2, 3))
            layer = Layer(
                transposed=transposed,
                size=draw(1, 7),
                ic=g * choose.randint(1, 3),
                oc=g * choose.randint(1, 5),
                k=draw(1, 5 if rank < 3 else 4),
                s=draw(1, 3),
                d=draw(1, 3) if choose.random() < 0.4 else (),
                # With a mode by name, JAX refuses or ignores an input dilation.
                ld=(draw(1, 3) if not transposed and pad == "explicit" and
                    choose.random() < 0.4 else ()),
                g=g,
                pad=pad if pad != "explicit" else tuple(
                    (choose.randint(-1, 4), choose.randint(-1, 4)) for _ in range(rank)),
                channels_first=channels_first,
                batch=choose.choice((None, 1, 2, 3)))
            # An empty output would test nothing; test_empty_output has one.
            if min(output_shape(layer)) > 0:
                made.append(layer)
                break
    return made


def numbers(layer):
    space = SPATIAL[:layer.rank]
    data = f"NC{space}" if layer.channels_first else f"N{space}C"
    return data, f"{space}IO", data


def apply(layer, x, w):
    """The layer in JAX, for a batched x and the weight as convjit stores it."""
    pad = layer.pad.upper() if isinstance(layer.pad, str) else layer.pad
    if not layer.transposed:
        return lax.conv_general_dilated(
            x, w, layer.s, pad, lhs_dilation=layer.input_dilation,
            rhs_dilation=layer.dilation, dimension_numbers=numbers(layer),
            feature_group_count=layer.g)
    # lax.conv_transpose has no groups: one call a group.
    axis = 1 if layer.channels_first else x.ndim - 1
    parts = []
    for part in range(layer.g):
        ic, oc = layer.ic // layer.g, layer.oc // layer.g
        parts.append(lax.conv_transpose(
            lax.slice_in_dim(x, part * ic, (part + 1) * ic, axis=axis),
            lax.slice_in_dim(w, part * oc, (part + 1) * oc, axis=layer.rank),
            layer.s, pad, rhs_dilation=layer.dilation, dimension_numbers=numbers(layer),
            transpose_kernel=True))
    return lax.concatenate(parts, axis)


def output_shape(layer):
    return jax.eval_shape(
        lambda x, w: apply(layer, x, w),
        jax.ShapeDtypeStruct(layer.input_shape(1), np.float64),
        jax.ShapeDtypeStruct(layer.weight_shape(), np.float64)).shape


def double(array):
    return np.asarray(array, np.float64)


def drawn(layer, draw):
    """Data for a layer; the seed is the layer's name, so that one case can be run
    alone."""
    rng = np.random.default_rng(list(layer.problem().encode()))
    return rng, draw(rng, layer.input_shape(layer.batch or 1)), draw(rng, layer.weight_shape())


LAYERS = make_layers()


@pytest.mark.parametrize("layer", LAYERS, ids=Layer.problem)
def test_values(layer, convjit):
    _, x, w = drawn(layer, floats)
    expected = np.asarray(apply(layer, double(x), double(w)))
    sizes = np.asarray(apply(layer, np.abs(double(x)), np.abs(double(w))))
    if layer.batch is None:
        x, expected, sizes = x[0], expected[0], sizes[0]
    got = convjit(layer.problem(), input=x, weight=w)
    assert_close(got, expected, rounding(layer.terms(), sizes), layer.problem())


@pytest.mark.parametrize("layer", LAYERS[::3], ids=Layer.problem)
def test_gradients(layer, convjit):
    rng, x, w = drawn(layer, integers)
    y, pull_back = jax.vjp(lambda x, w: apply(layer, x, w), double(x), double(w))
    g = integers(rng, y.shape)
    dx, dw = map(np.asarray, pull_back(double(g)))
    problem = layer.problem("grad=input")
    assert_equal(convjit(problem, input=g, weight=w), dx, problem)
    problem = layer.problem("grad=weight")
    assert_equal(convjit(problem, input=x, grad_output=g), dw, problem)


@pytest.mark.parametrize("layer", LAYERS[1::6], ids=Layer.problem)
def test_masked_gradients(layer, convjit, tmp_path):
    """A mask is a factor on the weight, which a gradient goes through as well."""
    rng, x, w = drawn(layer, integers)
    masks = [rng.integers(0, 2, w.shape).astype(bool),
             rng.integers(0, 4, w.shape).astype(np.float32) / 2]
    for mask in masks:
        path = tmp_path / "mask.npy"
        np.save(path, mask)
        y, pull_back = jax.vjp(lambda x, w: apply(layer, x, w * double(mask)),
                               double(x), double(w))
        g = integers(rng, y.shape)
        dx, dw = map(np.asarray, pull_back(double(g)))
        problem = layer.problem("grad=input", f"mask={path}")
        absent = np.where(mask == 0, np.float32(np.nan), w)
        assert_equal(convjit(problem, input=g, weight=absent), dx, problem)
        problem = layer.problem("grad=weight", f"mask={path}")
        assert_equal(convjit(problem, input=x, grad_output=g), dw, problem)


ACTIVATIONS = {
    "none": lambda y: y,
    "relu": jax.nn.relu,
    "leaky_relu": lambda y: jax.nn.leaky_relu(y, 0.01),
    "sigmoid": jax.nn.sigmoid,
    "tanh": jax.numpy.tanh,
    "silu": jax.nn.silu,
    "gelu": lambda y: jax.nn.gelu(y, approximate=False),
    "gelu_tanh": lambda y: jax.nn.gelu(y, approximate=True),
}


@pytest.mark.parametrize("transposed", (True, False), ids=("convT", "conv"))
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_bias_and_activation(name, transposed, convjit):
    layer = Layer(transposed, (5, 4), 3, 7, (3, 2), (2, 1), channels_first=transposed, batch=2)
    rng, x, w = drawn(layer, floats)
    bias = 3 * floats(rng, (layer.oc,))
    shape = (1, -1, 1, 1) if layer.channels_first else (1, 1, 1, -1)
    linear = apply(layer, double(x), double(w)) + double(bias).reshape(shape)
    expected = np.asarray(ACTIVATIONS[name](linear))
    sizes = (np.asarray(apply(layer, np.abs(double(x)), np.abs(double(w))))
             + np.abs(double(bias)).reshape(shape))
    # None of these functions is steeper than 1.13 (gelu's maximum). Beyond the sum's
    # rounding we allow 16 units in the last place of the value or of the argument's
    # scale, 1: exp, tanh and erf are approximated.
    bound = 1.13 * rounding(layer.terms() + 1, sizes)
    if name not in ("none", "relu", "leaky_relu"):
        bound = bound + 16 * SINGLE_PRECISION * np.maximum(1, np.abs(expected))
    elif name == "leaky_relu":
        bound = bound + 2 * SINGLE_PRECISION * np.abs(expected)
    problem = layer.problem("bias", f"act={name}")
    assert_close(convjit(problem, input=x, weight=w, bias=bias), expected, bound, problem)


def test_documented_layer(convjit):
    """The example of brainstate.nn.ConvTranspose3d: (4, 8, 16, 16, 64) becomes
    (4, 16, 32, 32, 32)."""
    layer = Layer(True, (8, 16, 16), 64, 32, (4, 4, 4), (2, 2, 2), batch=4)
    _, x, w = drawn(layer, integers)
    got = convjit("convT3d:in=8x16x16x64,oc=32,k=4,s=2", input=x, weight=w)
    assert got.shape == (4, 16, 32, 32, 32)
    assert_equal(got, np.asarray(apply(layer, double(x), double(w))), layer.problem())


def test_empty_output(convjit):
    layer = Layer(False, (2, 5), 1, 3, (3, 1), (1, 1), pad="valid", batch=2)
    _, x, w = drawn(layer, integers)
    got = convjit(layer.problem(), input=x, weight=w)
    assert got.shape == np.shape(apply(layer, x, w)) == (2, 0, 5, 3)
