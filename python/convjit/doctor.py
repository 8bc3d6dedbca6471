"""`python -m convjit.doctor`: versions, the CPU, and whether kernels are right.

Exit status 0 when every check passed, 1 when one failed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable

import numpy as np


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _check_numpy() -> str:
    """Small integers: every sum is exact, so the answer must be too."""
    import convjit

    rng = np.random.default_rng(1)
    x = rng.integers(-4, 5, (2, 5, 6, 3)).astype(np.float32)
    w = rng.integers(-4, 5, (3, 2, 4, 3)).astype(np.float32)
    y = convjit.conv_transpose(x, w, stride=2, padding=((2, 1), (0, 3)))
    dilated = np.zeros((2, 2 * 5 - 1 + 3, 2 * 6 - 1 + 3, 3))
    dilated[:, 2:11:2, 0:11:2] = x
    expected = np.zeros(y.shape)
    for i in range(3):
        for j in range(2):
            window = dilated[:, i:i + y.shape[1], j:j + y.shape[2]]
            expected += window @ w[2 - i, 1 - j].T.astype(float)
    if not np.array_equal(y, expected):
        raise AssertionError(f"largest difference {abs(y - expected).max()}")
    return f"{y.size} values exact"


def _check_speed() -> str:
    import convjit

    kernel = convjit.compile("convT3d:in=8x16x16x64,oc=32,k=4,s=2")
    x = np.ones(kernel.input_shape(1), np.float32)
    w = kernel.pack(np.ones(kernel.weight_shape, np.float32))
    out = np.empty(kernel.output_shape(1), np.float32)
    fastest = np.inf
    for _ in range(5):
        start = time.perf_counter()
        kernel(x, w, out=out)
        fastest = min(fastest, time.perf_counter() - start)
    return (
        f"{kernel.flops(1) / fastest / 1e9:.0f} GFLOP/s with {convjit.threads()}"
        f" threads, compiled in {kernel.compile_ms:.0f} ms"
    )


def _check_jax() -> str:
    try:
        import jax
    except ImportError:
        return "skipped, JAX is not installed"
    import jax.numpy as jnp

    import convjit.jax

    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.integers(-4, 5, (2, 7, 5, 3)), jnp.float32)
    w = jnp.asarray(rng.integers(-4, 5, (3, 2, 3, 4)), jnp.float32)
    cpu = jax.devices("cpu")[0]
    x, w = jax.device_put(x, cpu), jax.device_put(w, cpu)

    def loss(x, w):
        y = jax.lax.conv_general_dilated(
            x, w, (2, 1), ((1, 0), (2, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.sum(y * y), y

    step = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    expected = step(x, w)
    before = sum(e.calls for e in convjit.jax.report())
    with convjit.jax.enabled():
        results = jax.block_until_ready(step(x, w))
    ran = sum(e.calls for e in convjit.jax.report()) - before
    same = jax.tree.map(np.array_equal, results, expected)
    if not all(jax.tree.leaves(same)):
        raise AssertionError(f"results differ from XLA's: {same}")
    if ran < 3:
        raise AssertionError(f"{ran} calls of convjit; expected 3")
    return f"forward and both gradients exact, {ran} calls"


def main(arguments: list[str] | None = None) -> int:
    argparse.ArgumentParser(
        prog="python -m convjit.doctor", description=__doc__.split("\n")[0]
    ).parse_args(arguments)

    def line(name: str, text: str) -> None:
        print(f"{name:<12} {text}", flush=True)

    line("convjit", _version("convjit"))
    line("python", f"{platform.python_version()}, {platform.platform()}")
    for package in ("numpy", "jax", "jaxlib", "brainstate", "torch"):
        line(package, _version(package))

    from . import _convjit

    line("extension", _convjit.__file__)
    line("threads", str(_convjit.threads()))
    report = _convjit.plan_report(
        "convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=1:1,rev=0,ic=8,oc=8,x=b0f,w=0io,y=b0f"
    )
    line("target", report["target"])
    line("cache", _convjit.cache_place())

    failed = 0
    checks: list[tuple[str, Callable[[], str]]] = [
        ("numpy", _check_numpy), ("speed", _check_speed), ("jax", _check_jax),
    ]
    for name, check in checks:
        try:
            line(f"check {name}", check())
        except Exception as error:  # a doctor reports whatever it finds
            failed += 1
            line(f"check {name}", f"FAILED: {type(error).__name__}: {error}")
    print("all is well" if not failed else f"{failed} checks failed")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
