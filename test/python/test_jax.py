"""convjit.jax under JAX's transformations, and what it leaves to XLA."""

import functools
import importlib.util
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp
from jax import lax

NHWC = ("NHWC", "HWIO", "NHWC")


def integers(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def conv(x, w, **options):
    options = {"window_strides": (2, 1), "padding": ((1, 0), (0, 2)),
               "dimension_numbers": NHWC, **options}
    return lax.conv_general_dilated(x, w, **options)


X, W = integers((3, 7, 6, 4)), integers((3, 2, 4, 5), 1)


def agree(convjit_jax, function, *arguments, taken=None):
    """`function` gives the same bits with and without convjit, and the report
    says that `taken` convolutions (all, by default) were taken."""
    convjit_jax.uninstall()
    expected = function(*arguments)
    convjit_jax.clear_report()
    convjit_jax.install()
    found = function(*arguments)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    report = convjit_jax.report()
    count = sum(entry.taken for entry in report)
    assert count == (len(report) if taken is None else taken) and report, str(report)
    if count:
        assert sum(entry.calls for entry in report if entry.taken) > 0
    return report


def test_eager(convjit_jax):
    agree(convjit_jax, conv, X, W)


def test_jit(convjit_jax):
    agree(convjit_jax, jax.jit(conv), X, W)


def test_grad(convjit_jax):
    loss = lambda x, w: jnp.sum(conv(x, w) ** 2)
    report = agree(convjit_jax, jax.jit(jax.grad(loss, (0, 1))), X, W)
    assert len(report) == 3


def test_second_derivatives(convjit_jax):
    loss = lambda x, w: jnp.sum(conv(x, w) ** 2)
    step = lambda x, w, v: jax.jvp(lambda w: jax.grad(loss, 1)(x, w), (w,), (v,))
    agree(convjit_jax, jax.jit(step), X, W, integers(W.shape, 2))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 3)])
def test_vmap(convjit_jax, axes):
    x = X if axes[0] is None else integers((2, *X.shape), 3)
    w = W if axes[1] is None else integers((2, *W.shape), 4)
    if axes == (2, 3):
        x, w = np.moveaxis(x, 0, 2), np.moveaxis(w, 0, 3)
    agree(convjit_jax, jax.jit(jax.vmap(conv, axes)), x, w)


def test_vmap_of_grad(convjit_jax):
    loss = lambda w, x: jnp.sum(conv(x[None], w) ** 2)
    agree(convjit_jax, jax.jit(jax.vmap(jax.grad(loss), (None, 0))), W, X)


def test_scan(convjit_jax):
    w = integers((3, 3, 4, 4), 5)

    def loss(w, x):
        body = lambda y, _: (lax.conv_general_dilated(
            y, w, (1, 1), "SAME", dimension_numbers=NHWC) % 5, None)
        return jnp.sum(lax.scan(body, x, None, length=3)[0])

    agree(convjit_jax, jax.jit(jax.value_and_grad(loss)), w, X)


def test_remat(convjit_jax):
    loss = jax.checkpoint(lambda w, x: jnp.sum(conv(jnp.maximum(conv(x, w), 0)[..., :4], w)))
    agree(convjit_jax, jax.jit(jax.grad(loss)), W, X)


def test_conv_transpose(convjit_jax):
    x, w = integers((2, 4, 3, 5, 6)), integers((4, 4, 3, 6, 7), 1)
    up = functools.partial(lax.conv_transpose, strides=(2, 2, 2), padding="SAME",
                           dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))
    agree(convjit_jax, jax.jit(up), x, w)


def test_rounding_is_all_that_differs(convjit_jax):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32)
            for s in ((2, 12, 12, 40), (3, 3, 40, 24)))
    step = jax.jit(lambda x, w: conv(x, w, precision=lax.Precision.HIGHEST))
    expected = step(x, w)
    convjit_jax.install()
    # 360 terms of about 1, each rounded to 2^-24 of sums of about 20.
    np.testing.assert_allclose(step(x, w), expected, rtol=0, atol=360 * 20 * 2**-24)


def test_x64(convjit_jax):
    jax.config.update("jax_enable_x64", True)
    loss = lambda x, w: jnp.sum(conv(x, w) ** 2)
    report = agree(convjit_jax, jax.jit(jax.grad(loss, (0, 1))),
                   X.astype("float64"), W.astype("float64"))
    assert all("dtype=f64" in entry.convolution for entry in report)


def test_complex_is_three_real_ones(convjit_jax):
    """JAX's own lowering for the CPU makes them, and they are taken."""
    x, w = X + 1j * X[::-1], W - 1j * W[::-1]
    report = agree(convjit_jax, jax.jit(conv), x, w, taken=1)
    left, taken = report
    assert "complex64" in left.reason and taken.calls >= 3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32"])
def test_other_dtypes_are_xlas(convjit_jax, dtype):
    x, w = jnp.asarray(X, dtype), jnp.asarray(W, dtype)
    report = agree(convjit_jax, jax.jit(conv), x, w, taken=0)
    assert any("float32 or float64" in entry.reason for entry in report)


def test_preferred_element_type(convjit_jax):
    same = functools.partial(conv, preferred_element_type=jnp.float32)
    agree(convjit_jax, jax.jit(same), X, W)
    x, w = jnp.asarray(X, "bfloat16"), jnp.asarray(W, "bfloat16")
    agree(convjit_jax, jax.jit(same), x, w, taken=0)


def test_other_ranks_are_xlas(convjit_jax):
    flat = lambda x, w: lax.conv_general_dilated(x, w, (), ())
    report = agree(convjit_jax, jax.jit(flat), integers((3, 4)), integers((5, 4)), taken=0)
    assert "0 spatial dimensions" in report[0].reason
    x, w = integers((1, 2, 3, 3, 3, 3)), integers((2, 2, 2, 2, 2, 2))
    four = lambda x, w: lax.conv_general_dilated(x, w, (1,) * 4, "SAME")
    assert "4 spatial" in agree(convjit_jax, jax.jit(four), x, w, taken=0)[0].reason


def test_empty_arrays_are_xlas(convjit_jax):
    report = agree(convjit_jax, jax.jit(conv), X[:0], W, taken=0)
    assert "without elements" in report[0].reason


def test_infinities_and_nans_reach_what_they_reach_in_xla(convjit_jax):
    x = X.copy()
    x[1, 3, 2, 1], x[2, 0, 0, 0] = np.inf, np.nan
    agree(convjit_jax, jax.jit(functools.partial(conv, lhs_dilation=(2, 3))), x,
          np.abs(W) + 1)


def rule():
    from jax.interpreters import mlir

    from convjit.jax import _lowering

    return mlir._platform_specific_lowerings["cpu"].get(_lowering.conv_general_dilated_p)


def test_uninstall_restores_xla(convjit_jax):
    before, step = rule(), jax.jit(conv)
    text = step.lower(X, W).as_text()
    convjit_jax.install()
    convjit_jax.install()
    assert convjit_jax.TARGET in step.lower(X, W).as_text()
    # Once imported, convjit.brainstate keeps the rule for its own layers.
    assert rule() is not before or "convjit.brainstate" in sys.modules
    convjit_jax.uninstall()
    assert rule() is before and step.lower(X, W).as_text() == text
    convjit_jax.uninstall()
    assert rule() is before and not convjit_jax.installed()


def test_enabled_is_for_the_inside_and_its_thread(convjit_jax):
    before, step = rule(), jax.jit(conv)
    taken = lambda: convjit_jax.TARGET in step.lower(X, W).as_text()
    elsewhere = []
    with convjit_jax.enabled():
        assert taken()
        thread = threading.Thread(target=lambda: elsewhere.append(taken()))
        thread.start()
        thread.join()
        with convjit_jax.enabled(False):
            assert not taken()
        with convjit_jax.enabled():
            assert taken()
        assert taken()
    assert elsewhere == [False] and not taken() and rule() is before


def test_functions_compiled_before_run_convjit_afterwards(convjit_jax):
    step = jax.jit(conv)
    step(X, W)
    convjit_jax.install()
    step(X, W)
    assert [entry.calls for entry in convjit_jax.report()] != [0]
    convjit_jax.uninstall()
    calls = sum(entry.calls for entry in convjit_jax.report())
    step(X, W)
    assert sum(entry.calls for entry in convjit_jax.report()) == calls


def test_nothing_compiles_in_the_steady_state(convjit_jax):
    from convjit import _convjit

    convjit_jax.install()
    w = integers((3, 2, 4, 11))
    before = _convjit.compilations()
    compiled = jax.jit(conv).lower(X, w).compile()
    assert _convjit.compilations() == before + 1  # while lowering, and once
    for _ in range(3):
        compiled(X, w)
    # Another batch is the same kernel, and so is a call without jit.
    jax.jit(conv)(X[:2], w), conv(X, w)
    assert _convjit.compilations() == before + 1


COUNT = """
import jax, jax.numpy as jnp
import convjit.jax
from convjit import _convjit

convjit.jax.install()
x, w = jnp.ones((3, 7, 6, 8)), jnp.ones((3, 2, 8, 16))
loss = lambda x, w: jax.lax.conv_general_dilated(
    x, w, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).sum()
jax.jit(jax.value_and_grad(loss, (0, 1)))(x, w)
print(len(convjit.jax.report()), _convjit.compilations())
"""


def test_a_later_process_compiles_nothing(tmp_path):
    environment = {**os.environ, "CONVJIT_CACHE": "on", "CONVJIT_CACHE_DIR": str(tmp_path / "c")}
    printed = [
        subprocess.run([sys.executable, "-c", COUNT], env=environment, check=True,
                       capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert printed == ["3 3\n", "3 0\n"]


def test_report_says_what_happened(convjit_jax):
    convjit_jax.install()
    assert "no convolution" in str(convjit_jax.report())
    step = jax.jit(conv)
    step(X, W), step(X, W)
    conv(jnp.asarray(X, "float16"), jnp.asarray(W, "float16"))
    taken, left = convjit_jax.report()
    assert taken.taken and taken.batch == 3 and taken.lowered == 1
    assert taken.convolution.startswith("convolution:n=7x6,k=3x2,ws=2x1")
    assert taken.plan.startswith("#conv.plan") and taken.compile_ms > 0
    assert taken.calls >= 2 and taken.total_ms >= taken.fastest_ms > 0
    assert 0 < taken.pack_share < 1 and taken.gflops > 0
    assert not left.taken and "float16" in left.reason and left.total_ms is None
    # What could be taken but for its dtype has a text as well.
    assert left.convolution == taken.convolution + ",dtype=f16"
    text = str(convjit_jax.report())
    assert taken.plan in text and text.endswith("\n1 taken, 1 left to XLA")
    assert "<table>" in convjit_jax.report()._repr_html_()


def test_a_bad_custom_call_is_xlas_error(convjit_jax):
    scratch = jax.ShapeDtypeStruct((64,), jnp.uint8)
    call = lambda text: jax.jit(lambda x, w: jax.ffi.ffi_call(
        convjit_jax.TARGET, (jax.ShapeDtypeStruct((1, 3, 2), jnp.float32), scratch)
    )(x, w, convolution=text)[0])
    x, w = integers((1, 3, 2)), integers((1, 2, 2))
    good = "convolution:n=3,k=1,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=2,oc=2,x=b0f,w=0io,y=b0f"
    assert call(good)(x, w).shape == (1, 3, 2)
    with pytest.raises(Exception, match="convjit: .*field 'n'"):
        call("convolution:k=1")(x, w)
    with pytest.raises(Exception, match="INVALID_ARGUMENT.*convjit: input: shape or dtype"):
        jax.block_until_ready(call(good.replace("n=3", "n=4"))(x, w))


def test_too_little_scratch_is_no_error(convjit_jax):
    """An executable made for shorter vectors brings less than is needed here."""
    out = (jax.ShapeDtypeStruct((1, 3, 2), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.uint8))
    text = "convolution:n=3,k=1,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=2,oc=2,x=b0f,w=0io,y=b0f"
    x, w = integers((1, 3, 2)), integers((1, 2, 2))
    y = jax.ffi.ffi_call(convjit_jax.TARGET, out)(x, w, convolution=text)[0]
    np.testing.assert_array_equal(y, x @ w[0])


def test_scratch_is_what_kernels_use():
    """Packed weights, where a kernel wants them; nothing for weights read in place."""
    from convjit import _convjit

    layer = "convolution:n=8x9,k=3x3,ws=1x1,ld=1x1,rd=1x1,pad=1:1x1:1,rev=0x0," \
            "ic=16,oc=32,x=b01f,w=01io,y=b01f"
    kernel = _convjit.compile(layer)
    assert kernel.xla_scratch_bytes(2) == kernel.packed_weight_bytes == 4 * 9 * 16 * 32
    gradient = "convolution:n=8x9,k=8x9,ws=1x1,ld=1x1,rd=1x1,pad=1:1x1:1,rev=0x0," \
               "ic=2,oc=32,x=f01b,w=i01o,y=01bf"
    kernel = _convjit.compile(gradient)
    assert "row = outer" in kernel.plan
    # So many images are tasks enough for any machine.
    assert kernel.packed_weight_bytes > 0 == kernel.xla_scratch_bytes(100_000)


def test_gradients_of_weights_are_planned_for_their_images(convjit_jax):
    """Which are a layer's input channels; a batch that is outermost says nothing."""
    convjit_jax.install()

    def planned(channels):
        layer = lambda x, w: lax.conv_general_dilated(
            x, w, (1, 1, 1), ((2, 2),) * 3, (2, 2, 2),
            dimension_numbers=("NCDHW", "DHWIO", "NCDHW"))
        x, w = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (
            (1, channels, 24, 24, 24), (4, 4, 4, channels, 32)))
        text = jax.jit(layer).lower(x, w).as_text()
        assert "images" not in text
        gradient = jax.jit(jax.grad(lambda w, x: jnp.sum(layer(x, w))))
        (call,) = [line for line in gradient.lower(w, x).as_text().splitlines()
                   if convjit_jax.TARGET in line and "images" in line]
        assert f"images = {channels} : i64" in call
        (entry,) = [e for e in convjit_jax.report() if f"oc={channels}" not in e.convolution
                    and ",k=4x4x4" not in e.convolution]
        convjit_jax.clear_report()
        return entry.plan

    assert "lanes = channels" in planned(1)
    assert "lanes = images" in planned(64)


def test_a_number_of_images_is_for_speed_alone(convjit_jax):
    """Programs from before there was the attribute have none, and others may be run
    with more or fewer."""
    text = "convolution:n=512,k=1024,ws=1,ld=2,rd=1,pad=1:3,rev=0,ic=2,oc=32,x=fb0," \
           "w=io0,y=0fb"
    x, g = integers((2, 3, 512)), integers((2, 32, 1024), 1)
    out = (jax.ShapeDtypeStruct((4, 32, 3), jnp.float32), jax.ShapeDtypeStruct((0,), jnp.uint8))
    dilated = np.zeros((2, 3, 1027))
    dilated[:, :, 1:1024:2] = x
    expected = np.stack([np.einsum("nbi,noi->ob", dilated[:, :, k:k + 1024], g) for k in range(4)])
    for images in (None, 1, 3, 40):
        attributes = {} if images is None else {"images": np.int64(images)}
        y = jax.ffi.ffi_call(convjit_jax.TARGET, out)(x, g, convolution=text, **attributes)[0]
        np.testing.assert_array_equal(y, expected)
    with pytest.raises(Exception, match="images=-1: valid: 0, or a number of images"):
        jax.ffi.ffi_call(convjit_jax.TARGET, out)(
            x, g, convolution=text, images=np.int64(-1))[0].block_until_ready()


def test_small_gradients_share_pieces(convjit_jax):
    """Sums of pieces go to XLA's scratch; where it is too small, to the handler's."""
    from convjit import _convjit

    convjit_jax.install()
    x, g = integers((2, 3000, 3)), integers((2, 2992, 16))
    text = "convolution:n=3000,k=2992,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=2,oc=16," \
           "x=f0b,w=i0o,y=0bf"
    kernel = _convjit.compile(text)
    expected = np.einsum("ntki,nto->kio", np.stack(
        [x[:, k:k + 2992] for k in range(9)], 2).astype(float), g.astype(float))
    for scratch in (0, kernel.xla_scratch_bytes(3), 1 << 22):
        out = (jax.ShapeDtypeStruct((9, 3, 16), jnp.float32),
               jax.ShapeDtypeStruct((scratch,), jnp.uint8))
        call = jax.jit(lambda x, g: jax.ffi.ffi_call(convjit_jax.TARGET, out)(
            x, g, convolution=text)[0])
        np.testing.assert_array_equal(call(x, g), expected)


def test_many_threads_at_once(convjit_jax):
    convjit_jax.install()
    step = jax.jit(jax.grad(lambda w, x: jnp.sum(conv(x, w) ** 2)))
    x = integers((8, 40, 40, 4))
    expected, wrong = step(W, x), []

    def work():
        for _ in range(10):
            if not np.array_equal(step(W, x), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    [t.start() for t in threads]
    [t.join(timeout=120) for t in threads]
    assert not wrong and not any(t.is_alive() for t in threads)


def test_export_is_xlas_by_default(convjit_jax):
    from jax import export

    convjit_jax.install()
    exported = export.export(jax.jit(conv))(X, W)
    assert convjit_jax.TARGET not in exported.mlir_module()
    again = export.deserialize(bytearray(exported.serialize()))
    np.testing.assert_array_equal(again.call(X, W), conv(X, W))
    assert any("install(export=True)" in e.reason for e in convjit_jax.report())


RUN_EXPORTED = """
import sys, numpy as np, jax
from jax import export
if sys.argv[2] == "with":
    import convjit.jax
exported = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
print(float(np.abs(exported.call(np.ones((3, 7, 6, 4), "float32"),
                                 np.ones((3, 2, 4, 5), "float32"))).sum()))
"""


def test_export_with_kernels(convjit_jax, tmp_path):
    from jax import export

    convjit_jax.install(export=True)
    with pytest.raises(ValueError, match=convjit_jax.TARGET):
        export.export(jax.jit(conv))(X, W)  # JAX wants to be told
    exported = export.export(
        jax.jit(conv), disabled_checks=convjit_jax.export_checks())(X, W)
    assert convjit_jax.TARGET in exported.mlir_module()
    file = tmp_path / "exported"
    file.write_bytes(exported.serialize())
    run = lambda how: subprocess.run(
        [sys.executable, "-c", RUN_EXPORTED, str(file), how], capture_output=True, text=True)
    done = run("with")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == float(jnp.sum(conv(jnp.ones(X.shape), jnp.ones(W.shape))))
    missing = run("without")
    assert missing.returncode and convjit_jax.TARGET in missing.stderr


FIRST_USE = {
    "jax": "import jax, jax.numpy as jnp; jax.jit(lambda x: x + 1)(jnp.ones(3))",
    "convjit": "import convjit, numpy as np;"
               "convjit.conv(np.ones((5, 1), 'f'), np.ones((2, 1, 1), 'f'))",
    "torch": "import torch; torch.ones(2).sum()",
    "triton": "import triton, triton._C.libtriton",
}


@pytest.mark.parametrize("order", [
    "jax convjit", "convjit jax", "torch triton jax convjit", "convjit triton torch jax",
])
def test_any_order_of_import(order):
    """jaxlib and Triton have LLVMs of their own, and so have we."""
    for name in order.split():
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    script = [FIRST_USE[name] for name in order.split()]
    script += ["import convjit.jax as c; c.install()",
               "print(jax.lax.conv(jnp.ones((1,1,4)), jnp.ones((1,1,2)), (1,), 'VALID').sum())",
               "assert c.report()[0].calls == 1"]
    script += [FIRST_USE[name] for name in order.split()]
    done = subprocess.run([sys.executable, "-c", "\n".join(script)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "6.0\n", done.stderr


SERIALIZED = """
import pickle, sys, numpy as np, jax
import convjit.jax
from jax.experimental import serialize_executable
payload, inputs, outputs = pickle.load(open(sys.argv[1], "rb"))
step = serialize_executable.deserialize_and_load(
    payload, inputs, outputs, execution_devices=jax.devices()[:1])
x, w = np.ones((3, 7, 6, 4), "float32"), np.ones((3, 2, 4, 5), "float32")
print(float(np.asarray(step(x, w)).sum()))
"""


def test_a_serialized_executable_compiles_its_kernels_again(convjit_jax, tmp_path):
    import pickle

    from jax.experimental import serialize_executable

    convjit_jax.install()
    compiled = jax.jit(conv).lower(X, W).compile()
    file = tmp_path / "executable"
    file.write_bytes(pickle.dumps(serialize_executable.serialize(compiled)))
    done = subprocess.run([sys.executable, "-c", SERIALIZED, str(file)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == float(jnp.sum(conv(jnp.ones(X.shape), jnp.ones(W.shape))))
