#!/usr/bin/env python3
"""Data-parallel training over several processes on one machine, with jax.distributed.

usage: data_parallel.py [--processes N] [--steps N] [--xla]

Each process has one device and holds its part of every batch. The weights are on
all of them. JAX's partitioner is told how a convolution may be split (docs/jax.md),
so that a step moves nothing but one all-reduce for each weight's gradient and one
for the loss; this is counted in the compiled step. The losses are those of one
process with the whole batch, which is computed for comparison.
"""

import argparse
import os
import socket
import subprocess
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

BATCH, SIZE, CHANNELS = 4, 16, 8
AXES = "NDHWC", "DHWIO", "NDHWC"


def network():
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax

    def predict(weights, x):
        down, up, last = weights
        y = jax.nn.relu(lax.conv_general_dilated(x, down, (2, 2, 2), "SAME",
                                                 dimension_numbers=AXES))
        y = jax.nn.relu(lax.conv_transpose(y, up, (2, 2, 2), "SAME",
                                           dimension_numbers=AXES))
        return lax.conv_general_dilated(y, last, (1, 1, 1), "SAME",
                                        dimension_numbers=AXES)

    def step(weights, x, wanted):
        loss = lambda w: jnp.mean((predict(w, x) - wanted) ** 2)
        value, gradients = jax.value_and_grad(loss)(weights)
        return value, [w - 0.05 * g for w, g in zip(weights, gradients)]

    rng = np.random.default_rng(0)
    weights = [
        (rng.standard_normal(shape) * (2 / (27 * shape[3])) ** 0.5).astype(np.float32)
        for shape in ((3, 3, 3, 1, CHANNELS), (3, 3, 3, CHANNELS, CHANNELS),
                      (3, 3, 3, CHANNELS, 1))
    ]

    def batch(number):
        x = np.random.default_rng(number + 1).standard_normal((BATCH, SIZE, SIZE, SIZE, 1))
        # To be learnt: a mean of neighbours.
        return x.astype(np.float32), ((x + np.roll(x, 1, 1)) / 2).astype(np.float32)

    return jax.jit(step), weights, batch


def work(options):
    import jax
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    jax.distributed.initialize(f"127.0.0.1:{options.port}", options.processes, options.rank)
    if not options.xla:
        import convjit.jax
        convjit.jax.install()
    step, weights, batch = network()
    mesh = jax.make_mesh((options.processes,), ("data",),
                         axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    spread = lambda sharding, value: jax.make_array_from_callback(
        value.shape, sharding, lambda index: value[index])

    weights = [spread(whole, w) for w in weights]
    losses = []
    for number in range(options.steps):
        x, wanted = (spread(split, value) for value in batch(number))
        if number == 0:
            text = step.lower(weights, x, wanted).compile().as_text()
            counts = {name: text.count(f" {name}(") + text.count(f" {name}-start(")
                      for name in ("all-reduce", "all-gather", "all-to-all")}
        loss, weights = step(weights, x, wanted)
        losses.append(float(np.asarray(loss.addressable_data(0))))
    if options.rank == 0:
        print(f"{options.processes} processes, {BATCH // options.processes} of {BATCH}"
              f" volumes each; collectives in a step: {counts}")
        if not options.xla:
            report = convjit.jax.report()
            print(f"convolutions taken {sum(entry.taken for entry in report)},"
                  f" left to XLA {sum(not entry.taken for entry in report)}")
        print("losses", *losses)
    jax.distributed.shutdown()


def alone(steps):
    """The same in one process, by XLA."""
    step, weights, batch = network()
    losses = []
    for number in range(steps):
        loss, weights = step(weights, *batch(number))
        losses.append(float(loss))
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--processes", type=int, default=2, choices=[1, 2, 4],
                        help="how many (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20,
                        help="steps of training (default: %(default)s)")
    parser.add_argument("--xla", action="store_true", help="with XLA's kernels alone")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank is not None:
        work(options)
        return

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [
        subprocess.Popen([sys.executable, __file__, "--rank", str(rank), "--port", str(port),
                          "--processes", str(options.processes),
                          "--steps", str(options.steps), *(["--xla"] * options.xla)],
                         stdout=subprocess.PIPE, text=True)
        for rank in range(options.processes)
    ]
    outputs = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        sys.exit("data_parallel.py: a process failed")
    print(outputs[0], end="")
    # Of Gloo's own remarks there may be any number before.
    losses = [float(word) for word in outputs[0].splitlines()[-1].split()[1:]]
    expected = alone(options.steps)
    worst = max(abs(a - b) / b for a, b in zip(losses, expected))
    print(f"one process by XLA: last loss {expected[-1]:.6f}; largest relative"
          f" difference {worst:.2g}")
    if not worst < 1e-4:  # also refuses NaN
        sys.exit("data_parallel.py: losses differ by more than rounding")


if __name__ == "__main__":
    main()
