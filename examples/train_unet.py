#!/usr/bin/env python3
"""Trains a small 3-D U-Net on the CPU, with XLA's kernels and with convjit's.

usage: train_unet.py [--brainstate] [--control] [--steps N] [--size N] [--out DIRECTORY]

The same network, data and first weights twice: as JAX does it, then after
`convjit.jax.install()`. Nine convolutions and two transposed ones (k = 4, s = 2), 8 to
32 channels, learn to find balls in noise, by gradient descent with momentum. Prints
the time of a step of each and how far the losses are apart, and draws them. With
--brainstate the network is made of brainstate's layers and states. With --control it
is trained a third time, by XLA in double precision: how far XLA's own rounding takes a
curve from that one says how far convjit's may.
"""

import argparse
import functools
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tqdm import tqdm

import convjit.jax

BATCH, CHANNELS, RATE, MOMENTUM = 2, 8, 0.05, 0.9
AXES = "NDHWC", "DHWIO", "NDHWC"
# name: input and output channels, kernel, stride, how much smaller the input is
LAYERS = {
    "full": (1, CHANNELS, 3, 1, 1),
    "full2": (CHANNELS, CHANNELS, 3, 1, 1),
    "half": (CHANNELS, 2 * CHANNELS, 3, 2, 1),
    "half2": (2 * CHANNELS, 2 * CHANNELS, 3, 1, 2),
    "quarter": (2 * CHANNELS, 4 * CHANNELS, 3, 2, 2),
    "quarter2": (4 * CHANNELS, 4 * CHANNELS, 3, 1, 4),
    "up": (4 * CHANNELS, 2 * CHANNELS, 4, 2, 4),
    "half3": (4 * CHANNELS, 2 * CHANNELS, 3, 1, 2),
    "up2": (2 * CHANNELS, CHANNELS, 4, 2, 2),
    "full3": (2 * CHANNELS, CHANNELS, 3, 1, 1),
    "last": (CHANNELS, 1, 1, 1, 1),
}


def loss_of(layer, x, wanted):
    """The network, whatever its layers are made of: layer(name, x)."""
    block = lambda x, *names: x if not names else block(
        jax.nn.relu(layer(names[0], x)), *names[1:])
    full = block(x, "full", "full2")
    half = block(full, "half", "half2")
    quarter = block(half, "quarter", "quarter2")
    x = block(jnp.concatenate([layer("up", quarter), half], -1), "half3")
    x = block(jnp.concatenate([layer("up2", x), full], -1), "full3")
    score = layer("last", x)
    # Cross entropy of the logistic function.
    return jnp.mean(jnp.logaddexp(0, score) - wanted * score)


def initial_weights(dtype=np.float32):
    rng = np.random.default_rng(0)
    for name, (inputs, outputs, k, _, _) in LAYERS.items():
        # Transposed layers are stored (k, k, k, out, in), as brainstate does.
        channels = (outputs, inputs) if name.startswith("up") else (inputs, outputs)
        weight = rng.standard_normal((k, k, k, *channels)) * (2 / (k**3 * inputs)) ** 0.5
        # The same numbers in either precision.
        yield name, weight.astype(np.float32).astype(dtype), np.zeros(outputs, dtype)


def descend(weight, speed, gradient):
    speed = jax.tree.map(lambda s, g: MOMENTUM * s + g, speed, gradient)
    return jax.tree.map(lambda w, s: w - RATE * s, weight, speed), speed


def in_jax(size, dtype=np.float32):
    """step(x, wanted) -> loss, with the weights kept between calls."""
    weights = {name: (w, b) for name, w, b in initial_weights(dtype)}
    state = [weights, jax.tree.map(np.zeros_like, weights)]

    def apply(weights, name, x):
        (w, b), stride = weights[name], (LAYERS[name][3],) * 3
        if name.startswith("up"):
            w = jnp.swapaxes(jnp.flip(w, (0, 1, 2)), 3, 4)
            return lax.conv_transpose(x, w, stride, "SAME", dimension_numbers=AXES) + b
        return lax.conv_general_dilated(x, w, stride, "SAME", dimension_numbers=AXES) + b

    @jax.jit
    def update(weights, speed, x, wanted):
        loss = lambda w: loss_of(lambda name, x: apply(w, name, x), x, wanted)
        value, gradient = jax.value_and_grad(loss)(weights)
        return value, *descend(weights, speed, gradient)

    def step(x, wanted):
        value, *state[:] = update(*state, x, wanted)
        return value

    return step


def in_brainstate(size):
    import brainstate

    layers = {}
    for name, w, b in initial_weights():
        inputs, outputs, k, stride, smaller = LAYERS[name]
        kind = brainstate.nn.ConvTranspose3d if name.startswith("up") else \
            brainstate.nn.Conv3d
        layers[name] = kind((size // smaller,) * 3 + (inputs,), outputs, k, stride,
                               w_init=jnp.asarray(w), b_init=jnp.asarray(b)[None, None, None])
    weights = {name: layer.weight for name, layer in layers.items()}
    speeds = {name: brainstate.ShortTermState(jax.tree.map(jnp.zeros_like, w.value))
              for name, w in weights.items()}

    @brainstate.transform.jit
    def step(x, wanted):
        loss = lambda: loss_of(lambda name, x: layers[name](x), x, wanted)
        gradients, value = brainstate.transform.grad(loss, weights, return_value=True)()
        for name, weight in weights.items():
            weight.value, speeds[name].value = descend(
                weight.value, speeds[name].value, gradients[name])
        return value

    return step


def batch(number, size):
    """Balls in noise, and where they are."""
    rng = np.random.default_rng(number + 1)
    place = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1)
    centre = rng.uniform(0, size, (BATCH, 1, 1, 1, 3))
    radius = rng.uniform(size / 6, size / 3, (BATCH, 1, 1, 1))
    inside = (((place - centre) ** 2).sum(-1) < radius**2)[..., None].astype(np.float32)
    return inside + rng.standard_normal(inside.shape).astype(np.float32), inside


def train(make, options, what, dtype=np.float32):
    step, losses, times = make(options.size), [], []
    for number in (bar := tqdm(range(options.steps), what, disable=None)):
        x, wanted = (a.astype(dtype) for a in batch(number, options.size))
        start = time.perf_counter()
        losses.append(float(step(x, wanted)))
        times.append(time.perf_counter() - start)
        bar.set_postfix(loss=f"{losses[-1]:.4f}")
    return np.array(losses), statistics.median(times[1:])


def draw(path, curves):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for (name, (losses, seconds)), style in zip(curves.items(), ("-", "--", ":")):
        axes.plot(losses, style, label=f"{name}, {1e3 * seconds:.1f} ms a step")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def distance(found, expected):
    """The largest relative difference of two curves."""
    return float(np.max(np.abs(found - expected) / expected))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--brainstate", action="store_true", help="of brainstate's layers")
    parser.add_argument("--control", action="store_true",
                        help="also in double precision, by XLA")
    parser.add_argument("--steps", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=32,
                        help="voxels along each axis, divisible by 4 (default: %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/example"),
                        help="where training.png goes (default: %(default)s)")
    options = parser.parse_args()
    if options.size < 4 or options.size % 4:
        parser.error(f"--size {options.size}: expected a multiple of 4")
    if options.steps < 2:
        parser.error(f"--steps {options.steps}: expected 2 or more")

    make = in_brainstate if options.brainstate else in_jax
    curves = {"XLA": train(make, options, "XLA")}
    convjit.jax.install()
    curves["convjit"] = train(make, options, "convjit")
    report = convjit.jax.report()
    if not report or not all(entry.taken for entry in report):
        sys.exit(f"train_unet.py: left to XLA: {report}")
    (expected, slow), (found, fast) = curves.values()
    apart = distance(found, expected)
    if options.control:
        convjit.jax.uninstall()
        with jax.enable_x64(True):
            double = functools.partial(in_jax, dtype=np.float64)
            curves["XLA, float64"] = train(double, options, "float64", np.float64)
    draw(options.out / "training.png", curves)
    print(f"{'brainstate' if options.brainstate else 'JAX'}, {options.size}^3, batch {BATCH},"
          f" {len(os.sched_getaffinity(0))} cores: {1e3 * slow:.1f} ms a step with XLA,"
          f" {1e3 * fast:.1f} ms with convjit, {slow / fast:.1f} x faster")
    print(f"loss {expected[0]:.4f} to {expected[-1]:.4f}; largest relative difference"
          f" over {options.steps} steps {apart:.2g}")
    print(options.out / "training.png")
    if options.control:
        exact = curves["XLA, float64"][0]
        theirs, ours = distance(expected, exact), distance(found, exact)
        print(f"from the curve in double precision: XLA {theirs:.2g}, convjit {ours:.2g}")
        # Two curves that rounding alone takes apart: neither is nearer but by chance.
        if not ours <= 4 * max(theirs, 1e-6):
            sys.exit("train_unet.py: convjit's losses differ by more than XLA's rounding")
    if not apart < 1e-3:  # also refuses NaN
        sys.exit("train_unet.py: losses differ by more than rounding")


if __name__ == "__main__":
    main()
