#!/usr/bin/env python3
"""Writes golden/*.npz: what JAX and brainstate give, for the tests beside this.

usage: make_golden.py [DIRECTORY]

Needs jax==0.10.2, brainstate==0.5.4 and onnx==1.23.2, and a CPU with fused
multiply-add, as XLA contracts there. The files are kept in the repository; run this to add a
case. Integers are stored as float64, which holds them exactly, so that a reader
of float arrays is enough. Layers have small integers as data, so that
every sum is exact and answers can be compared bit for bit.
"""

import os
import sys

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnx.helper
import onnx.reference

init = brainstate.nn.init
nn = brainstate.nn


def integers(*arrays):
    return np.array(arrays, dtype=np.float64)


def key_data(key):
    return np.asarray(jax.random.key_data(key), dtype=np.float64)


def pattern(array):
    """Sum and exclusive or of the bit patterns of a large draw."""
    words = np.asarray(array).view(np.uint32)
    return integers(int(words.astype(np.uint64).sum()), int(np.bitwise_xor.reduce(words)))


def random_arrays():
    seeds = [0, 1, 42, -1, 2**31 - 1, 2**40 + 5, -(2**35)]
    key = jax.random.key(42)
    out = {
        "seeds": integers(*seeds),
        "keys": np.stack([key_data(jax.random.key(seed)) for seed in seeds]),
        "split": key_data(jax.random.split(key, 5)),
        "fold_in": np.stack([key_data(jax.random.fold_in(key, n)) for n in (0, 1, 7, 2**32 - 1)]),
        "bits32": np.asarray(jax.random.bits(key, (3, 5)), dtype=np.float64),
    }
    for name, low, high in [("unit", 0, 1), ("sym", -1, 1), ("ten", 10, 20), ("odd", -0.3, 0.7)]:
        draw = jax.random.uniform(jax.random.key(3), (1000,), minval=low, maxval=high)
        out["uniform_" + name] = np.asarray(draw)
    out["normal"] = np.asarray(jax.random.normal(jax.random.key(4), (7, 11, 13)))
    out["uniform_pattern"] = pattern(jax.random.uniform(jax.random.key(5), (10**6,), minval=10, maxval=20))
    out["normal_pattern"] = pattern(jax.random.normal(jax.random.key(6), (10**6,)))
    cuts = [(-2, 2, 0, 1), (-1, 1, 0, 1), (-1, 3, 0.5, 2), (-0.3, 0.1, 0, 0.1)]
    out["cuts"] = integers(*cuts)
    for i, (lower, upper, loc, scale) in enumerate(cuts):
        state = brainstate.random.RandomState(5)
        out[f"truncated_{i}"] = np.asarray(state.truncated_normal(lower, upper, (500,), loc=loc, scale=scale))
    with jax.enable_x64(True):
        out["keys_wide"] = np.stack([key_data(jax.random.key(seed)) for seed in seeds])
        bits = np.asarray(jax.random.bits(key, (9,), dtype=np.uint64))
        out["bits64"] = np.stack([bits >> 32, bits & 0xFFFFFFFF]).astype(np.float64)
        out["uniform64"] = np.asarray(jax.random.uniform(key, (100,), np.float64, 10, 20))
        out["normal64"] = np.asarray(jax.random.normal(key, (100,), np.float64))
    return out


def initializer_arrays():
    shape = (3, 2, 5, 4)
    out = {}
    for name in ["KaimingUniform", "KaimingNormal", "XavierUniform", "XavierNormal",
                 "LecunUniform", "LecunNormal", "Normal", "TruncatedNormal", "Uniform"]:
        out[name] = getattr(init, name)(seed=11)(shape)
    for mode in ["fan_in", "fan_out", "fan_avg"]:
        for distribution in ["truncated_normal", "normal", "uniform"]:
            scaling = init.VarianceScaling(0.7, mode, distribution, in_axis=0, out_axis=-2, seed=12)
            out[f"VarianceScaling_{mode}_{distribution}"] = scaling(shape)
    out["Normal_scaled"] = init.Normal(mean=0.1, scale=0.5, seed=13)(shape)
    out["Uniform_10_20"] = init.Uniform(min_val=10, max_val=20, seed=14)(shape)
    out["TruncatedNormal_cut"] = init.TruncatedNormal(loc=0.2, scale=0.5, lower=-1, upper=1, seed=15)(shape)
    stream = init.XavierNormal(seed=16)
    out["stream_first"], out["stream_second"] = stream(shape), stream(shape)
    out["Orthogonal_wide"] = init.Orthogonal(seed=17)((3, 2, 5, 7))
    out["Orthogonal_tall"] = init.Orthogonal(scale=2.0, axis=0, seed=18)((40, 3, 5))
    out["Orthogonal_square"] = init.Orthogonal(axis=1, seed=19)((3, 6, 2))
    out["DeltaOrthogonal_1"] = init.DeltaOrthogonal(seed=20)((4, 3, 5))
    out["DeltaOrthogonal_2"] = init.DeltaOrthogonal(scale=0.5, seed=21)((3, 4, 4, 6))
    out["DeltaOrthogonal_3"] = init.DeltaOrthogonal(seed=22)((2, 3, 1, 5, 5))
    brainstate.random.seed(23)
    layer = nn.ConvTranspose2d((5, 4, 6), 4, (3, 2), groups=2, b_init=init.Uniform(),
                               w_mask=init.Uniform())
    out["layer_mask"] = layer.w_mask
    out["layer_weight"] = layer.weight.value["weight"]
    out["layer_bias"] = layer.weight.value["bias"]
    return {name: np.asarray(value, dtype=np.float32) for name, value in out.items()}


# name, class, positional arguments, keyword arguments, has a mask, batch (0: none).
# LayerGoldenTest.cpp has the same list.
LAYERS = [
    ("doc", "ConvTranspose3d", ((3, 4, 5, 6), 4, 4), dict(stride=2), 0, 2),
    ("same_odd", "ConvTranspose2d", ((5, 4, 3), 2, (3, 4)), dict(stride=(2, 3)), 0, 2),
    ("valid_k_below_s", "ConvTranspose1d", ((5, 3), 4, 2), dict(stride=3, padding="VALID"), 0, 1),
    ("pairs", "ConvTranspose2d", ((4, 5, 3), 2, (3, 2)),
     dict(stride=2, padding=[(1, 2), (0, 3)], rhs_dilation=(2, 1)), 0, 1),
    ("cropped", "ConvTranspose1d", ((6, 2), 3, 3), dict(stride=2, padding=(-1, 0)), 0, 2),
    ("groups", "ConvTranspose2d", ((6, 4, 3), 4, (2, 3)),
     dict(stride=2, groups=2, channel_first=True), 0, 2),
    ("masked", "ConvTranspose2d", ((4, 3, 4), 3, 3), dict(stride=2), 1, 2),
    ("dilated", "ConvTranspose3d", ((2, 3, 2, 2), 2, (1, 2, 3)),
     dict(stride=2, rhs_dilation=2, padding="VALID"), 0, 1),
    ("unbatched", "ConvTranspose3d", ((2, 2, 3, 4), 3, 2), dict(stride=2), 0, 0),
    ("conv_same", "Conv2d", ((7, 6, 3), 4, (3, 4)), dict(stride=2), 0, 2),
    ("conv_valid", "Conv1d", ((11, 2), 3, 4), dict(stride=3, padding="VALID"), 0, 2),
    ("conv_pairs", "Conv3d", ((4, 5, 3, 2), 3, (2, 3, 1)),
     dict(padding=[(1, 0), (0, 2), (1, 1)], stride=(1, 2, 1)), 0, 1),
    ("conv_lhs", "Conv2d", ((4, 3, 2), 2, 3), dict(lhs_dilation=(2, 3), rhs_dilation=2, padding=(2, 1)), 0, 1),
    ("conv_groups", "Conv2d", ((4, 5, 6), 6, 3),
     dict(groups=2, channel_first=True, padding=1), 1, 2),
    ("ws", "ScaledWSConv2d", ((5, 4, 3), 4, (3, 2)), dict(eps=1e-3), 1, 2),
    ("ws_no_gain", "ScaledWSConv1d", ((9, 4), 4, 3), dict(ws_gain=False, groups=2), 0, 1),
]


def layer_arrays():
    rng = np.random.default_rng(0)
    small = lambda shape: rng.integers(-4, 5, shape).astype(np.float32)
    out = {}
    for name, kind, args, kwargs, masked, batch in LAYERS:
        kernel = getattr(nn, kind)(*args, **kwargs).kernel_shape
        weight = small(kernel)
        if kind.startswith("ScaledWS"):
            weight *= 0.1
            weight[..., 1] = 0.001 * weight[..., 1] + 0.25  # eps stands for the variance
        mask = rng.integers(0, 3, kernel).astype(np.float32) if masked else None
        layer = getattr(nn, kind)(*args, **kwargs, w_init=jnp.asarray(weight), w_mask=mask,
                                  b_init=lambda shape: jnp.asarray(small(shape)))
        x = small(((batch,) if batch else ()) + tuple(layer.in_size))
        params = dict(layer.weight.value)
        if "gain" in params:
            params["gain"] = jnp.asarray(rng.uniform(0.5, 2, params["gain"].shape).astype(np.float32))

        def apply(x, params):
            y = layer._conv_op(x if batch else x[None], params)
            return y if batch else y[0]

        y, backward = jax.vjp(apply, jnp.asarray(x), params)
        g = small(y.shape)
        dx, dparams = backward(jnp.asarray(g))
        arrays = dict(x=x, weight=weight, bias=params["bias"], y=y, g=g, dx=dx,
                      dweight=dparams["weight"], dbias=dparams["bias"])
        if masked:
            arrays["mask"] = mask
        if "gain" in params:
            arrays.update(gain=params["gain"], dgain=dparams["gain"])
        for part, array in arrays.items():
            out[f"{name}.{part}"] = np.asarray(array, dtype=np.float32)
    return out


# name, operator, shapes of X and W, attributes; LayerGoldenTest.cpp has the same.
# PyTorch's weights have ONNX's layout and its padding p is ONNX's (p, p).
ONNX = [
    ("transposed", "ConvTranspose", (1, 3, 5, 4), (3, 2, 4, 3),
     dict(strides=[2, 3], pads=[1, 0, 1, 2], output_padding=[1, 0])),
    ("transposed_groups", "ConvTranspose", (2, 4, 4, 3), (4, 3, 2, 3),
     dict(strides=[1, 2], group=2)),
    ("plain_groups", "Conv", (2, 4, 5, 6), (6, 2, 3, 2),
     dict(strides=[2, 1], pads=[1, 0, 0, 1], group=2)),
]


def evaluate(operator, inputs, attributes):
    """One node by ONNX's reference evaluator, of a transposed layer one group
    at a time: the evaluator (1.23.2) fails on several."""
    groups = attributes.get("group", 1)
    if operator == "ConvTranspose" and groups > 1:
        alone = {key: value for key, value in attributes.items() if key != "group"}
        parts = zip(np.split(inputs["X"], groups, axis=1), np.split(inputs["W"], groups),
                    np.split(inputs["B"], groups))
        return np.concatenate([evaluate(operator, dict(X=x, W=w, B=b), alone)
                               for x, w, b in parts], axis=1)
    node = onnx.helper.make_node(operator, list(inputs), ["Y"], **attributes)
    tensor = lambda name, shape: onnx.helper.make_tensor_value_info(
        name, onnx.TensorProto.FLOAT, shape)
    values = [tensor(key, value.shape) for key, value in inputs.items()]
    graph = onnx.helper.make_graph([node], "layer", values, [tensor("Y", None)])
    evaluator = onnx.reference.ReferenceEvaluator(onnx.helper.make_model(graph))
    return evaluator.run(None, inputs)[0]


def onnx_arrays():
    rng = np.random.default_rng(1)
    small = lambda shape: rng.integers(-4, 5, shape).astype(np.float32)
    out = {}
    for name, operator, x_shape, w_shape, attributes in ONNX:
        transposed = operator == "ConvTranspose"
        channels = w_shape[1] * attributes.get("group", 1) if transposed else w_shape[0]
        inputs = dict(X=small(x_shape), W=small(w_shape), B=small((channels,)))
        for key, value in dict(inputs, Y=evaluate(operator, inputs, attributes)).items():
            out[f"{name}.{key}"] = np.asarray(value, dtype=np.float32)
    return out


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "golden")
    os.makedirs(folder, exist_ok=True)
    np.savez_compressed(os.path.join(folder, "random.npz"), **random_arrays())
    np.savez_compressed(os.path.join(folder, "initializers.npz"), **initializer_arrays())
    np.savez_compressed(os.path.join(folder, "layers.npz"), **layer_arrays())
    np.savez_compressed(os.path.join(folder, "onnx.npz"), **onnx_arrays())


if __name__ == "__main__":
    main()
