"""The custom call as XLA for CUDA would make it, on a driver without a GPU: CASES SEED.

Started by test_jax_cuda.py with CONVJIT_LIBCUDA and CONVJIT_PTX_WITH_IR set: the driver
of a process is found once.
"""

import re
import sys

import fake_xla
import jax
import jax.numpy as jnp
import numpy as np
from convolutions import Call, random_call  # noqa: F401  (Call: for reproducers)
from jax import lax

import convjit.jax
from convjit import _convjit

NHWC = ("NHWC", "HWIO", "NHWC")


def lowered(function, *arguments):
    """The attributes of the custom call and the sizes of its results in bytes."""
    with convjit.jax.enabled(cuda="sm_90"):
        text = jax.jit(function).trace(*arguments).lower(
            lowering_platforms=("cuda",)).as_text()
    (call,) = [line for line in text.splitlines() if "convjit.jax.convolution" in line]
    attributes = dict(re.findall(r'(\w+) = "([^"]*)"', call))
    scratch = [int(size) for size in re.findall(r"tensor<(\d+)xui8>", call)]
    assert len(scratch) == 2, call
    wanted = ("convolution", "gpu", "plan")
    (images,) = re.findall(r"images = (\d+) : i64", call)
    made = {name: attributes[name] for name in wanted}
    return {**made, "images": int(images)}, scratch


def integers(shape, seed, dtype):
    values = np.random.default_rng(seed).integers(-3, 4, shape)
    return np.asarray(jnp.asarray(values, dtype))


def run(driver, xla, attributes, scratch, x, w, wanted):
    """The stages on one device: launched, then recorded and replayed."""
    xla.stream, xla.ordinal = driver.stream, driver.ordinal
    loaded = driver.controls.calls(b"cuModuleLoadDataEx")
    dtype = str(wanted.dtype)
    y = driver.allocate(wanted.nbytes)
    arguments = [(dtype, x.shape, driver.upload(x)), (dtype, w.shape, driver.upload(w))]
    results = [(dtype, wanted.shape, y)]
    results += [("uint8", (size,), driver.allocate(size)) for size in scratch]
    for _ in range(2):
        xla.initialize(arguments, results, attributes)
        assert driver.controls.calls(b"cuModuleLoadDataEx") == loaded + 1
    xla.execute(arguments, results, attributes)
    np.testing.assert_array_equal(driver.download(y, wanted), wanted)
    # A command buffer takes launches alone: the driver refuses all else.
    with driver.capturing():
        xla.execute(arguments, results, attributes)
    driver.controls.replay()
    np.testing.assert_array_equal(driver.download(y, wanted), wanted)
    return arguments, results


def check(devices, function, x, w, refusing=True, wanted=None):
    """What the handler computes on each device, as in a program for all of them."""
    attributes, scratch = lowered(function, x, w)
    if wanted is None:
        wanted = np.asarray(jax.jit(function)(x, w))
    first, *others = devices
    xla = fake_xla.Xla(_convjit.xla_cuda_handlers())
    # As XLA does when a handler is registered.
    traits, _ = xla.metadata("execute")
    assert traits == fake_xla.COMMAND_BUFFER_COMPATIBLE
    _, state_type = xla.metadata("instantiate")
    assert state_type in xla.types.values()
    loaded = first.controls.calls(b"cuModuleLoadDataEx")
    compiled = _convjit.compilations()
    xla.instantiate(attributes)
    # Nothing is loaded before a device is known, and lowering has compiled.
    assert first.controls.calls(b"cuModuleLoadDataEx") == loaded
    assert _convjit.compilations() == compiled
    with first.current():
        arguments, results = run(first, xla, attributes, scratch, x, w, wanted)
        if refusing:
            refusals(xla, arguments, results, attributes)
    for device in others:
        with device.current():
            run(device, xla, attributes, scratch, x, w, wanted)
    assert _convjit.compilations() == compiled
    xla.destroy()
    return scratch[1]


def refused(text, function, *arguments):
    try:
        function(*arguments)
    except fake_xla.XlaError as error:
        assert text in str(error), error
    else:
        raise AssertionError(f"nothing was refused: {text}")


def refusals(xla, arguments, results, attributes):
    dtype, shape, address = arguments[0]
    other = [(dtype, (*shape[:-1], shape[-1] + 1), address), arguments[1]]
    refused(": shape or dtype", xla.execute, other, results, attributes)
    small = [results[0], ("uint8", (1,), results[1][2]), results[2]]
    refused("packed weights: 1 bytes; valid:", xla.execute, arguments, small, attributes)
    null = [(dtype, shape, 0), arguments[1]]
    refused("input=0: valid: an address", xla.execute, null, results, attributes)
    xla.ordinal = 1
    refused("executed before the initialize stage", xla.execute, arguments, results,
            attributes)
    xla.ordinal = 9
    refused("cuda:9: the CUDA driver finds 2 devices", xla.initialize, arguments, results,
            attributes)
    refused("target-cpu=sm_1", xla.instantiate, {**attributes, "gpu": "sm_1"})
    refused("plan", xla.instantiate, {**attributes, "plan": "fast"})
    xla.ordinal = 0


def check_call(devices, call):
    """A random one, whatever its axes, groups and dilations."""
    x, w = call.arrays()
    check(devices, lambda x, w: lax.conv_general_dilated(x, w, **call.arguments()), x, w,
          refusing=False, wanted=call.defined(x, w)["y"].astype(x.dtype))


def main(cases, seed):
    jax.config.update("jax_enable_x64", True)
    devices = [fake_xla.Driver(ordinal) for ordinal in range(2)]

    def conv(x, w):
        return lax.conv_general_dilated(
            x, w, (2, 1), ((1, 0), (0, 2)), dimension_numbers=NHWC)

    for dtype in ("float32", "float64", "float16", "bfloat16"):
        check(devices, conv, integers((3, 7, 6, 8), 0, dtype), integers((3, 2, 8, 16), 1, dtype))

    def transposed(x, w):
        return lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=NHWC)

    check(devices, transposed, integers((2, 5, 4, 8), 0, "float32"),
          integers((4, 4, 8, 8), 1, "float32"))

    # A weight's gradient: small, of long sums, in parts that are added up.
    def gradient(x, g):
        return lax.conv_general_dilated(
            x, g, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("CHWN", "IHWO", "HWNC"))

    scratch = check(devices, gradient, integers((2, 24, 24, 8), 0, "float32"),
                    integers((2, 24, 24, 8), 1, "float32"))
    assert scratch > 0
    # Images that are neighbours in memory are copied eight at a time by a kernel that is
    # made for their number.
    x, g = (integers((2, 12, 12, 8), seed, "float16") for seed in (2, 3))
    attributes, _ = lowered(gradient, x, g)
    assert attributes["images"] == 8 and "schedule = mma" in attributes["plan"]
    assert "vector = 8" in attributes["plan"], attributes
    exact = np.asarray(jax.jit(gradient)(x.astype("float64"), g.astype("float64")))
    check(devices, gradient, x, g, refusing=False, wanted=exact.astype("float16"))
    x = integers((2, 5, 4, 8), 0, "float32")
    assert lowered(transposed, x, integers((4, 4, 8, 8), 1, "float32"))[0]["images"] == 0
    for case in range(cases):
        call = random_call(seed + case, dtypes=("float32", "float32", "float64"))
        try:
            check_call(devices, call)
        except Exception:
            print(f"check_call(devices, {call!r})", file=sys.stderr)
            raise
    print("ok")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
