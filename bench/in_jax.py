#!/usr/bin/env python3
"""JAX's convolutions and their gradients, by XLA and by convjit.

    taskset -c 1 build/venv/bin/python bench/in_jax.py [--layers FILTER] [--seconds S]

Prints one line for each layer and operator: milliseconds of the fastest call of
a jitted function that holds nothing else, and what share of convjit's the
packing of the weights takes. XLA is called as often as fits into its seconds,
once at least.
"""

import argparse
import functools
import os
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from jax import lax

import convjit.jax

# name: batch, input spatial + channels, output channels, kernel, stride, transposed
LAYERS = {
    "doc example": (4, (8, 16, 16, 64), 32, 4, 2, True),
    "convT 128>64 16^3 k4 s2": (1, (16, 16, 16, 128), 64, 4, 2, True),
    "nnU-Net convT 320>320 4^3 k2 s2": (2, (4, 4, 4, 320), 320, 2, 2, True),
    "convT 64>32 32^3 k2 s2": (1, (32, 32, 32, 64), 32, 2, 2, True),
    "MONAI convT 128>32 12^3 k3 s2": (1, (12, 12, 12, 128), 32, 3, 2, True),
    "conv 32>32 32^3 k3": (1, (32, 32, 32, 32), 32, 3, 1, False),
    "conv 64>64 16^3 k3": (2, (16, 16, 16, 64), 64, 3, 1, False),
    "conv 32>64 32^3 k3 s2": (1, (32, 32, 32, 32), 64, 3, 2, False),
    "conv 1>16 32^3 k3": (2, (32, 32, 32, 1), 16, 3, 1, False),
    "conv2d 64>64 56^2 k3": (8, (56, 56, 64), 64, 3, 1, False),
    "conv2d 128>256 28^2 k3 s2": (8, (28, 28, 128), 256, 3, 2, False),
}


def layer(name):
    batch, shape, outputs, k, s, transposed = LAYERS[name]
    rank = len(shape) - 1
    digits = "DHW"[3 - rank:]
    numbers = (f"N{digits}C", f"{digits}IO", f"N{digits}C")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *shape)).astype(np.float32)
    w = rng.standard_normal((k,) * rank + (shape[-1], outputs)).astype(np.float32)
    function = lax.conv_transpose if transposed else lax.conv_general_dilated
    forward = functools.partial(
        lambda x, w: function(x, w, (s,) * rank, "SAME", dimension_numbers=numbers))
    g = rng.standard_normal(jax.eval_shape(forward, x, w).shape).astype(np.float32)
    return {
        "y": (jax.jit(forward), (x, w)),
        "dx": (jax.jit(lambda x, w, g: jax.vjp(lambda x: forward(x, w), x)[1](g)), (x, w, g)),
        "dw": (jax.jit(lambda x, w, g: jax.vjp(lambda w: forward(x, w), w)[1](g)), (x, w, g)),
    }


def fastest(function, arguments, seconds):
    arguments = jax.device_put(arguments)
    jax.block_until_ready(function(*arguments))
    best, until = np.inf, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        end = time.perf_counter()
        best = min(best, end - start)
        if end > until:
            return 1e3 * best


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", default="", help="only those whose name has this")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each timing")
    options = parser.parse_args()
    print(f"{'layer':<33}{'':<4}{'XLA ms':>10}{'convjit ms':>12}{'faster':>9}"
          f"{'GFLOP/s':>9}{'pack':>6}{'compile ms':>12}")
    for name in LAYERS:
        if options.layers not in name:
            continue
        for operator, (function, arguments) in layer(name).items():
            xla = fastest(function, arguments, options.seconds)
            convjit.jax.clear_report()
            with convjit.jax.enabled():
                ours = fastest(function, arguments, options.seconds)
            (entry,) = convjit.jax.report()
            print(f"{name:<33}{operator:<4}{xla:10.2f}{ours:12.2f}{xla / ours:8.1f}x"
                  f"{entry.gflops:9.1f}{entry.pack_share:6.0%}{entry.compile_ms:12.0f}",
                  flush=True)


if __name__ == "__main__":
    main()
