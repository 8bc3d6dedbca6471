"""lax.conv_general_dilated over its whole space, and both its gradients, bit for
bit by the definition on small integers."""

import random

import numpy as np
import pytest

jax = pytest.importorskip("jax")
from convolutions import Call, random_call  # noqa: F401  (Call: for reproducers)


def failures(call, convjit_jax):
    """What differs from the definition: names of results, or an error."""

    def results(x, w, g):
        forward = lambda x, w: jax.lax.conv_general_dilated(x, w, **call.arguments())
        y, gradients = jax.vjp(forward, x, w)
        return dict(zip(("y", "dx", "dw"), (y, *gradients(g))))

    x, w = call.arrays()
    y = jax.eval_shape(
        lambda x, w: jax.lax.conv_general_dilated(x, w, **call.arguments()), x, w
    )
    g = np.random.default_rng(call.seed).integers(-2, 3, y.shape).astype(call.dtype)
    expected = call.defined(x, w, g)
    convjit_jax.clear_report()
    with convjit_jax.enabled():
        found = jax.jit(results)(x, w, g)
    wrong = [n for n in expected if not np.array_equal(expected[n], found[n])]
    return wrong + [e.reason for e in convjit_jax.report() if not e.taken]


def test_random_calls_are_as_defined(request, convjit_jax):
    cases = request.config.getoption("--random-cases")
    seed = request.config.getoption("--random-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(10**9)
    jax.config.update("jax_enable_x64", True)
    bad = []
    for i in range(cases):
        call = random_call(seed + i, dtypes=("float32", "float32", "float64"))
        wrong = failures(call, convjit_jax)
        if wrong:
            bad.append(f"failures({call!r}, convjit.jax)  # {wrong}")
    assert not bad, f"{len(bad)} of {cases} from seed {seed}:\n" + "\n".join(bad)


# One call for each form that gradients come in, always run.
NAMED = {
    "batch and feature axes swapped": Call(
        lhs=(2, 9, 7, 3), rhs=(2, 5, 4, 6), strides=(1, 1), padding=((1, 0), (0, 2)),
        lhs_dilation=(1, 2), rhs_dilation=(2, 1), specs=("CHWN", "IHWO", "HWNC"),
    ),
    "batch groups, a kernel as large as the input": Call(
        lhs=(6, 8, 8, 2), rhs=(2, 8, 8, 12), strides=(1, 1), padding=((1, 1), (1, 2)),
        lhs_dilation=(1, 1), rhs_dilation=(1, 1), specs=("NHWC", "IHWO", "HWNC"),
        batch_groups=3,
    ),
    "an input's gradient with negative low padding": Call(
        lhs=(3, 2, 6), rhs=(51, 2, 3), strides=(1,), padding=((2, 0),),
        lhs_dilation=(1,), rhs_dilation=(1,), specs=("C0N", "O0I", "NC0"),
        batch_groups=3,
    ),
    "depthwise": Call(
        lhs=(2, 6, 9, 5), rhs=(1, 3, 2, 10), strides=(2, 1), padding=((1, 0), (0, 1)),
        lhs_dilation=(1, 1), rhs_dilation=(1, 2), specs=("NHWC", "IHWO", "NCHW"),
        groups=5,
    ),
    "phases without taps": Call(
        lhs=(1, 5, 4, 3), rhs=(2, 2, 3, 4), strides=(1, 1), padding=((2, 3), (2, 1)),
        lhs_dilation=(2, 4), rhs_dilation=(2, 2), specs=("NHWC", "HWIO", "NHWC"),
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_calls_are_as_defined(name, convjit_jax):
    assert failures(NAMED[name], convjit_jax) == []
