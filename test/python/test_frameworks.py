"""Libraries on top of JAX run convjit without knowing of it."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp

RUN_TESTS = """
import sys, pytest, convjit.jax
convjit.jax.install()
status = pytest.main(["-q", "-p", "no:cacheprovider", "-W", "ignore", sys.argv[1]])
report = convjit.jax.report()
left = [entry for entry in report if not entry.taken]
print("taken", len(report) - len(left), "left", left)
sys.exit(status or bool(left) or not report)
"""


def test_brainstates_own_convolution_tests():
    pytest.importorskip("brainstate")
    pytest.importorskip("braintools")
    folder = importlib.util.find_spec("brainstate").submodule_search_locations[0]
    file = pathlib.Path(folder) / "nn" / "_conv_test.py"
    if not file.is_file():
        pytest.skip("this brainstate comes without its tests")
    # They make hundreds of small XLA programs; ours are not XLA's to optimize.
    done = subprocess.run(
        [sys.executable, "-c", RUN_TESTS, str(file)], capture_output=True, text=True,
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def training_step(convjit_jax, step, *arguments):
    """Value and gradients agree with XLA's within rounding; all is taken."""
    expected = step(*arguments)
    with convjit_jax.enabled():
        found = step(*arguments)
    report = convjit_jax.report()
    assert report and all(entry.taken for entry in report), str(report)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        found, expected,
    )


X = np.random.default_rng(0).standard_normal((2, 6, 5, 3)).astype(np.float32)


def test_brainstate_transposed_layer(convjit_jax):
    brainstate = pytest.importorskip("brainstate")
    layer = brainstate.nn.ConvTranspose2d((6, 5, 3), 4, 3, stride=2)

    @brainstate.transform.jit
    def step(x):
        loss = lambda: jnp.sum(layer(x) ** 2)
        weights = layer.states(brainstate.ParamState)
        return brainstate.transform.grad(loss, weights, return_value=True)()

    training_step(convjit_jax, step, X)


def test_equinox(convjit_jax):
    equinox = pytest.importorskip("equinox")
    layer = equinox.nn.ConvTranspose2d(3, 4, 3, 2, key=jax.random.key(0))
    arrays, rest = equinox.partition(layer, equinox.is_array)
    loss = lambda arrays, x: jnp.sum(jax.vmap(equinox.combine(arrays, rest))(x) ** 2)
    training_step(convjit_jax, jax.jit(jax.value_and_grad(loss)), arrays, np.moveaxis(X, -1, 1))


def test_flax(convjit_jax):
    linen = pytest.importorskip("flax.linen")
    layer = linen.ConvTranspose(4, (3, 2), (2, 2))
    parameters = layer.init(jax.random.key(0), X)
    loss = lambda p, x: jnp.sum(layer.apply(p, x) ** 2)
    training_step(convjit_jax, jax.jit(jax.value_and_grad(loss)), parameters, X)
