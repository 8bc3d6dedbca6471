"""Run by test_jax_devices.py in a process of its own: NAME [ARGUMENTS...]."""

import functools
import os
import pathlib
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={4 if sys.argv[1].startswith('partial') else 2}"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec as P

import convjit.jax

rng = np.random.default_rng(0)
integers = lambda *shape: rng.integers(-3, 4, shape).astype(np.float32)
X, W = integers(4, 7, 6, 4), integers(3, 2, 4, 6)
NHWC = ("NHWC", "HWIO", "NHWC")


def conv(x, w, **options):
    options = {"dimension_numbers": NHWC, **options}
    return lax.conv_general_dilated(x, w, (2, 1), ((1, 0), (0, 2)), **options)


def conv_of_w_and_x(w, x):
    return conv(x, w)


def loss(w, x):
    return jnp.sum(conv(x, w) ** 2)


def mesh():
    return jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def calls():
    return sum(entry.calls for entry in convjit.jax.report())


def check(step, *arguments, gathers=None):
    """The same bits as XLA, by convjit alone; `gathers` counts collectives."""
    convjit.jax.uninstall()
    expected = step(*arguments)
    convjit.jax.install()
    found = step(*arguments)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    left = [entry for entry in convjit.jax.report() if not entry.taken]
    assert not left and calls(), str(convjit.jax.report())
    if gathers is not None:
        text = step.lower(*arguments).compile().as_text()
        count = {name: text.count(f" {name}(") + text.count(f" {name}-start(")
                 for name in ("all-gather", "all-reduce", "all-to-all")}
        assert count == {"all-gather": 0, "all-to-all": 0, **gathers}, (count, text)
    return found


def pmap():
    step = jax.pmap(jax.value_and_grad(loss), in_axes=(None, 0))
    check(step, W, X.reshape(2, 2, *X.shape[1:]))


def shard_map():
    step = jax.shard_map(
        lambda w, x: jax.tree.map(lambda v: lax.psum(v, "data"),
                                  jax.value_and_grad(loss)(w, x)),
        mesh=mesh(), in_specs=(P(), P("data")), out_specs=P(), check_vma=False,
    )
    check(jax.jit(step), W, X)


def shard_map_checked():
    step = jax.shard_map(lambda w, x: conv(x, w), mesh=mesh(),
                         in_specs=(P(), P("data")), out_specs=P("data"))
    check(jax.jit(step), W, X)


def sharded(w, x, w_spec=P(), x_spec=P("data")):
    m = mesh()
    return (jax.device_put(w, NamedSharding(m, w_spec)),
            jax.device_put(x, NamedSharding(m, x_spec)))


def jit_forward():
    w, x = sharded(W, X)
    y = check(jax.jit(lambda w, x: conv(x, w)), w, x, gathers={"all-reduce": 0})
    assert y.sharding.spec[0] == "data", y.sharding


def jit_gradients():
    w, x = sharded(W, X)
    step = jax.jit(jax.grad(loss, (0, 1)))
    # One all-reduce: the weight's gradient.
    dw, dx = check(step, w, x, gathers={"all-reduce": 1})
    assert dx.sharding.spec[0] == "data" and dw.sharding.is_fully_replicated


def jit_output_channels():
    w, x = sharded(W, X, P(None, None, None, "data"), P())
    y = check(jax.jit(lambda w, x: conv(x, w)), w, x, gathers={"all-reduce": 0})
    assert y.sharding.spec[3] == "data", y.sharding


def jit_groups():
    w, x = sharded(integers(3, 2, 2, 6), X)
    step = jax.jit(lambda w, x: conv(x, w, feature_group_count=2))
    check(step, w, x, gathers={"all-reduce": 0})


def jit_groups_gradients():
    w, x = sharded(integers(3, 2, 2, 6), X)
    grouped = lambda w, x: jnp.sum(conv(x, w, feature_group_count=2) ** 2)
    check(jax.jit(jax.grad(grouped, (0, 1))), w, x, gathers={"all-reduce": 1})


def jit_space():
    """Space is not split by us: the rows are gathered, and the result right."""
    w, x = sharded(W, integers(4, 8, 6, 4), P(), P(None, "data"))
    check(jax.jit(lambda w, x: conv(x, w)), w, x)


def jit_odd_batch():
    w, x = sharded(W, integers(3, 7, 6, 4), P(), P())
    check(jax.jit(lambda w, x: conv(x, w)), w, x)


def jit_channels_first():
    """Axes in any order, and the gradients' forms of them."""
    w, x = sharded(integers(6, 4, 3, 2), integers(4, 4, 7, 6))
    loss = lambda w, x: jnp.sum(lax.conv_general_dilated(
        x, w, (2, 1), ((1, 0), (0, 2)), dimension_numbers=("NCWH", "OIWH", "NCWH")) ** 2)
    check(jax.jit(jax.grad(loss, (0, 1))), w, x, gathers={"all-reduce": 1})


def explicit_mesh():
    m = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(m):
        w, x = jax.device_put(W, P()), jax.device_put(X, P("data"))
        step = jax.jit(lambda w, x: conv(x, w, out_sharding=P("data")))
        y = check(step, w, x)
        assert y.sharding.spec[0] == "data", y.sharding


def partial(step_of, w_spec, x_spec, in_specs, out_specs, gathers, axis="data"):
    """shard_map over `data` alone: `model` is the partitioner's inside."""
    m = jax.make_mesh((2, 2), ("data", "model"),
                      axis_types=(jax.sharding.AxisType.Auto,) * 2)
    w = jax.device_put(W, NamedSharding(m, w_spec))
    x = jax.device_put(X, NamedSharding(m, x_spec))
    step = jax.shard_map(step_of, mesh=m, axis_names={axis}, in_specs=in_specs,
                         out_specs=out_specs, check_vma=False)
    return check(jax.jit(step), w, x, gathers=gathers)


def partial_forward():
    partial(conv_of_w_and_x, P(), P("data"), (P(), P("data")), P("data"), {"all-reduce": 0})


def partial_output_channels():
    y = partial(conv_of_w_and_x, P(None, None, None, "model"), P("data"),
                (P(), P("data")), P("data"), {"all-reduce": 0})
    assert y.sharding.spec == P("data", None, None, "model"), y.sharding


def partial_batch():
    y = partial(conv_of_w_and_x, P(), P(("data", "model")), (P(), P("data")), P("data"),
                {"all-reduce": 0})
    assert y.sharding.spec == P(("data", "model")), y.sharding


def partial_over_the_last_axis():
    """The groups of devices that the partitioner has do not follow each other."""
    y = partial(conv_of_w_and_x, P(None, None, None, "data"), P("model"),
                (P(), P("model")), P("model"), {"all-reduce": 0}, axis="model")
    assert y.sharding.spec == P("model", None, None, "data"), y.sharding


def partial_gradients():
    """The images of a weight's gradient are gathered within a group."""
    partial(lambda w, x: lax.psum(jax.grad(loss)(w, x), "data"), P(), P(("data", "model")),
            (P(), P("data")), P(), None)


def cuda_jit(folder):
    """For GPUs, as far as XLA for CPUs goes: it partitions the program, and refuses the
    call whose attributes are another platform's when it makes the executable."""
    convjit.jax.install(cuda="sm_90")
    w, x = sharded(W, X)
    step = jax.jit(jax.grad(loss, (0, 1)))
    text = step.trace(w, x).lower(lowering_platforms=("cuda",))
    assert "stablehlo.convolution" not in text.as_text()
    try:
        text.compile({"xla_dump_to": folder, "xla_dump_hlo_as_text": True})
    except jax.errors.JaxRuntimeError as error:
        assert "lowered for CUDA" in str(error), error
    else:
        raise AssertionError("a kernel for GPUs was taken by XLA for CPUs")
    (dump,) = [path for path in pathlib.Path(folder).glob("*after_optimizations.txt")
               if "custom_call_target" in path.read_text()]
    lines = dump.read_text().splitlines()
    calls = [line for line in lines
             if f'custom_call_target="{convjit.jax.TARGET}"' in line]
    # Forward and both gradients, each of a device's two images of the four.
    assert len(calls) == 3 and all('gpu = "sm_90"' in call for call in calls), calls
    assert not any("f32[4,7,6,4]" in call for call in calls), calls
    count = {name: sum(f" {name}(" in line or f" {name}-start(" in line for line in lines)
             for name in ("all-gather", "all-reduce", "all-to-all")}
    assert count == {"all-gather": 0, "all-reduce": 1, "all-to-all": 0}, count
    left = [entry for entry in convjit.jax.report() if not entry.taken]
    assert not left, str(convjit.jax.report())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print("good")
