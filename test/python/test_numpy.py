"""convjit.conv, conv_transpose and compile on arrays."""

import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

convjit = pytest.importorskip("convjit")
PROBLEM = "convT2d:in=5x4x6,oc=7,k=4x3,s=2,pad=2:1x1:3"


def integers(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def reference(x, w, stride, lo, hi):
    """A transposed convolution in two dimensions, by its formula."""
    batch, *sizes, _ = x.shape
    dilated = np.zeros((batch, *((n - 1) * stride + 1 + a + b
                                 for n, a, b in zip(sizes, lo, hi)), x.shape[-1]))
    rows = slice(lo[0], lo[0] + (sizes[0] - 1) * stride + 1, stride)
    columns = slice(lo[1], lo[1] + (sizes[1] - 1) * stride + 1, stride)
    dilated[:, rows, columns] = x
    out = [n - k + 1 for n, k in zip(dilated.shape[1:3], w.shape)]
    y = np.zeros((batch, *out, w.shape[2]))
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            window = dilated[:, i:i + out[0], j:j + out[1]]
            y += window @ w[-1 - i, -1 - j].T.astype(float)
    return y


X, W = integers((3, 5, 4, 6)), integers((4, 3, 7, 6), 1)
Y = reference(X, W, 2, (2, 1), (1, 3))


@pytest.fixture(scope="module")
def kernel():
    return convjit.compile(PROBLEM)


def test_compiled_layer(kernel):
    assert kernel.input_shape(3) == X.shape and kernel.weight_shape == W.shape
    assert kernel.output_shape(3) == Y.shape
    np.testing.assert_array_equal(kernel(X, W), Y)
    np.testing.assert_array_equal(kernel(X[1], W), Y[1])
    assert kernel(X[:0], W).shape == (0, *Y.shape[1:])


def test_arguments_say_the_same_as_a_problem(kernel):
    by_arguments = convjit.conv_transpose(X, W, stride=2, padding=((2, 1), (1, 3)))
    np.testing.assert_array_equal(by_arguments, Y)
    np.testing.assert_array_equal(convjit.conv_transpose(X, W, PROBLEM), Y)
    np.testing.assert_array_equal(convjit.conv_transpose(X, W, kernel), Y)


@pytest.mark.parametrize("order", [(3, 0, 1, 2), (0, 3, 2, 1), (2, 1, 3, 0)])
def test_transposed_arrays_are_read_in_place(kernel, order, monkeypatch):
    """By a kernel for that order of axes; nothing is copied."""
    view = lambda a: np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))
    x, w, out = view(X), view(W), view(np.empty(Y.shape, np.float32))
    assert not x.flags.c_contiguous
    monkeypatch.setattr(np, "ascontiguousarray", None)
    assert kernel(x, w, out=out) is out
    np.testing.assert_array_equal(out, Y)


def gap_free(monkeypatch):
    """From here on nothing can be copied to be contiguous."""
    monkeypatch.setattr(np, "ascontiguousarray", None)


def within(array, index):
    """A view with the array's values, of a larger one with NaN everywhere else.

    `index` makes a view of its shape of an array of any shape.
    """
    steps = [s.step or 1 for s in index]
    larger = np.full([n * abs(s) + 7 for n, s in zip(array.shape, steps)], np.nan,
                     array.dtype)
    part = larger[index]
    part = part[tuple(slice(n) for n in array.shape)]
    part[...] = array
    return part


GAPS = {
    "every second image": np.s_[::2, :, :, :],
    "some rows": np.s_[:, 2:, :, :],
    "some pixels": np.s_[:, :, 3:, :],
    "some channels": np.s_[:, :, :, 1:],
    "all of them": np.s_[1:, 1:, 1:, 1:],
    "every second row": np.s_[:, ::2, :, :],
    "every third pixel": np.s_[:, :, ::3, :],
    "rows upside down": np.s_[:, ::-1, :, :],
    "images in the opposite order": np.s_[::-1, :, ::2, :],
}


@pytest.mark.parametrize("index", GAPS.values(), ids=GAPS.keys())
def test_inputs_with_gaps_are_read_in_place(kernel, index, monkeypatch):
    """By a kernel for their strides. What is not of them is NaN."""
    x = within(X, index)
    assert not x.flags.c_contiguous and kernel.reads_in_place(x)
    gap_free(monkeypatch)
    np.testing.assert_array_equal(kernel(x, W), Y)
    np.testing.assert_array_equal(kernel(x[1], W), Y[1])
    np.testing.assert_array_equal(
        convjit.conv_transpose(x, W, stride=2, padding=((2, 1), (1, 3))), Y)


def test_no_memory_is_taken_for_an_input_with_gaps():
    import tracemalloc

    x = within(np.ones((1, 40, 40, 64), np.float32), np.s_[:, 2:, 2:, :])
    kernel = convjit.compile("conv2d:in=40x40x64,oc=1,k=3,pad=valid")
    w, out = np.ones(kernel.weight_shape, np.float32), np.empty((1, 38, 38, 1), np.float32)
    packed = kernel.pack(w)
    kernel(x, packed, out=out)
    tracemalloc.start()
    try:
        kernel(x, packed, out=out)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < x.nbytes / 10
    np.testing.assert_array_equal(out, np.full(out.shape, 9 * 64))


def test_one_kernel_for_all_batches_of_a_slice(kernel, monkeypatch):
    """The first image alone has the strides of all of them."""
    gap_free(monkeypatch)
    x = within(X, np.s_[1:, 1:, 1:, 2:])
    kernel(x, W)
    kernels = len(kernel._natives)
    for part in (x[:1], x[1], x[1:], x[:0]):
        kernel(part, W)
    assert len(kernel._natives) == kernels


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("fields", [
    dict(stride=2, padding=1), dict(groups=6, padding=((2, 0), (0, 3))),
    dict(dilation=2), dict(input_dilation=2, activation="relu"),
])
def test_random_slices(layout, fields):
    """The same bits as of a copy, whatever is cut out."""
    random = np.random.default_rng(5)
    groups = fields.get("groups", 1)
    w = random.standard_normal((3, 2, 12 // groups, 18), np.float32)
    large = random.standard_normal((7, 41, 37, 43), np.float32)
    for _ in range(12):
        shape = (3, 9, 11, 12) if layout == "channels_last" else (3, 12, 9, 11)
        index = []
        for axis, n in enumerate(shape):
            most = 3 if axis < 3 and large.shape[axis] > 3 * n else 1
            step = int(random.integers(1, most + 1))
            first = int(random.integers(0, large.shape[axis] - n * step + 1))
            index.append(slice(first, first + (n - 1) * step + 1, step))
        x = large[tuple(index)]
        if random.integers(3) == 0:
            x = x[:, ::-1]
        np.testing.assert_array_equal(
            convjit.conv(x, w, layout=layout, **fields),
            convjit.conv(x.copy(), w, layout=layout, **fields))


def test_what_vectors_cannot_load_is_copied():
    """Every second pixel of a row, where a plan has rows in its vectors."""
    layer = "conv2d:in=16x20x32,oc=16,k=3,pad=1,g=16,layout=channels_first"
    kernel = convjit.compile(layer)
    assert "lanes = pixels" in kernel.plan
    x, w = integers((2, 16, 20, 64)), integers(kernel.weight_shape, 1)
    expected = kernel(x[..., ::2].copy(), w)
    assert not kernel.reads_in_place(x[..., ::2]) and kernel.reads_in_place(x[0, ..., 32:])
    np.testing.assert_array_equal(kernel(x[..., ::2], w), expected)
    assert all(not strides for _, _, _, strides in kernel._natives)
    # Elements that are loaded one by one may be anywhere.
    other = convjit.compile("conv2d:in=20x32x16,oc=16,k=3,pad=1")
    x, w = integers((2, 20, 32, 32)), integers(other.weight_shape, 1)
    np.testing.assert_array_equal(other(x[..., ::2], w), other(x[..., ::2].copy(), w))
    assert any(strides for _, _, _, strides in other._natives)


def test_strides_in_parts_of_elements_are_copied(kernel):
    records = np.zeros(X.shape, [("x", np.float32), ("other", np.int8)])
    records["x"] = X
    np.testing.assert_array_equal(kernel(records["x"], W), Y)


def test_an_input_that_repeats_itself(kernel, monkeypatch):
    """A broadcast image, and windows that overlap."""
    images = np.broadcast_to(X[1], X.shape)
    windows = np.lib.stride_tricks.as_strided(
        X, X.shape, (X.strides[0] // 2, *X.strides[1:]))
    expected = kernel(images.copy(), W), kernel(windows.copy(), W)
    gap_free(monkeypatch)
    np.testing.assert_array_equal(kernel(images, W), expected[0])
    np.testing.assert_array_equal(kernel(windows, W), expected[1])


def test_ever_new_strides_are_copied_in_the_end():
    """Compiling for each would cost more than copies."""
    kernel = convjit.compile("conv1d:in=9x4,oc=3,k=2,pad=valid")
    w = integers(kernel.weight_shape, 1)
    for gap in range(1, 25):
        x = within(integers((2, 9, 4), gap), np.s_[:, :, :])
        x = np.concatenate([x, np.full((2, 9, gap), np.nan, np.float32)], 2)[..., :4]
        np.testing.assert_array_equal(kernel(x, w), kernel(x.copy(), w))
    assert len(kernel._natives) == 1 + kernel._MOST_STRIDES


@pytest.mark.parametrize("problem, shape", [
    # Rows with gaps between them cannot be one row, as in the plan of the whole.
    ("conv2d:in=9x14x40,oc=33,k=1", (2, 9, 14, 40)),
    ("conv2d:in=3x24x24,oc=4,k=3,layout=channels_first", (2, 3, 24, 24)),
])
def test_packed_weights_of_inputs_in_any_order(problem, shape):
    kernel = convjit.compile(problem)
    w, x = integers(kernel.weight_shape, 1), integers(shape)
    packed, expected = kernel.pack(w), kernel(x, w)
    for view in (within(x, np.s_[:, 2:, 3:, :]), np.asfortranarray(x),
                 np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        np.testing.assert_array_equal(kernel(view, packed), expected)
        out = np.empty(expected.shape[::-1], np.float32).T
        np.testing.assert_array_equal(kernel(view, packed, out=out), expected)


def test_outputs_and_weights_with_gaps_are_copied(kernel):
    x = np.repeat(X, 2, axis=2)[:, :, ::2]
    out = np.zeros((*Y.shape[:-1], 9), np.float32)
    kernel(x, W[::-1][::-1], out=out[..., 1:8])
    np.testing.assert_array_equal(out[..., 1:8], Y)
    assert not out[..., 0].any() and not out[..., 8].any()


def test_dlpack(kernel):
    jax = pytest.importorskip("jax")
    np.testing.assert_array_equal(kernel(jax.numpy.asarray(X), jax.numpy.asarray(W)), Y)


def test_torch(kernel):
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(kernel(torch.tensor(X), torch.tensor(W)), Y)


def test_packed_weights(kernel):
    packed = kernel.pack(W)
    np.testing.assert_array_equal(kernel(X, packed), Y)
    np.testing.assert_array_equal(kernel(X, kernel.pack(np.asfortranarray(W))), Y)
    with pytest.raises(ValueError, match="packed for convT2d.*; valid: by this kernel"):
        convjit.compile(PROBLEM + ",dtype=f64")(X.astype(float), packed)


def test_bias_residual_activation_mask():
    bias, residual = integers(7, 2), integers(Y.shape, 3)
    mask = integers(W.shape, 4) > 0
    y = convjit.conv_transpose(
        X, W, stride=2, padding=((2, 1), (1, 3)), bias=bias, residual=residual,
        activation="relu", mask=mask,
    )
    expected = reference(X, W * mask, 2, (2, 1), (1, 3)) + bias + residual
    np.testing.assert_array_equal(y, np.maximum(expected, 0))


def test_mask_with_axes_in_another_order():
    mask = integers(W.shape, 4) > 0
    kernel = convjit.compile(PROBLEM, mask=mask)
    w = np.asfortranarray(W)
    np.testing.assert_array_equal(kernel(X, w), reference(X, W * mask, 2, (2, 1), (1, 3)))
    assert kernel.flops() < convjit.compile(PROBLEM).flops()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_plain_convolution(dtype, layout):
    x, w = integers((2, 9, 4), dtype=dtype), integers((3, 2, 6), 1, dtype)
    padded = np.pad(x.astype(float), ((0, 0), (1, 2), (0, 0)))
    expected = np.zeros((2, 5, 6))
    for o in range(5):
        for t in range(3):
            for g in range(2):
                at = padded[:, 2 * o + t, 2 * g:2 * g + 2] if 2 * o + t < 12 else 0
                expected[:, o, 3 * g:3 * g + 3] += at @ w[t, :, 3 * g:3 * g + 3]
    first = layout == "channels_first"
    y = convjit.conv(np.moveaxis(x, -1, 1) if first else x, w, stride=2,
                     padding=[(1, 2)], groups=2, layout=layout)
    assert y.dtype == dtype
    np.testing.assert_array_equal(np.moveaxis(y, 1, -1) if first else y, expected)


def test_ir_asm_and_report(kernel):
    assert "conv.conv_transpose" in kernel.ir("conv")
    for stage in convjit.STAGES:
        assert len(kernel.ir(stage)) > 100
    assert ".text" in kernel.asm() and "zmm" not in kernel.asm(cpu="haswell")
    assert any(c["chosen"] for c in kernel.report()["candidates"])
    assert kernel.plan in repr(kernel) and kernel.compile_ms > 0
    again = convjit.compile(PROBLEM, plan=kernel.plan)
    np.testing.assert_array_equal(again(X, W), Y)


def test_pictures(kernel):
    from xml.etree import ElementTree

    svg = kernel._repr_svg_()
    ElementTree.fromstring(svg)
    page = kernel._repr_html_()
    assert svg in page and kernel.problem in page and "GFLOP/s" in svg


ERRORS = [
    (lambda k: k(X[:, :3], W), ValueError, r"x has shape \(3, 3, 4, 6\); valid: \(3, 5, 4, 6\)"),
    (lambda k: k(X[0, 0], W), ValueError, r"valid: \(batch, 5, 4, 6\)"),
    (lambda k: k(X.astype(float), W), TypeError, "x has dtype float64; valid: float32"),
    (lambda k: k(X, W[:3]), ValueError, r"w has shape .*; valid: \(4, 3, 7, 6\)"),
    (lambda k: k(X.tolist(), W), TypeError, "x: list; valid: NumPy arrays"),
    (lambda k: k(X, W, integers(7)), ValueError, "bias is given; valid: None"),
    (lambda k: convjit.compile(PROBLEM + ",bias")(X, W), ValueError, "bias is None; valid: an array of shape"),
    (lambda k: k(X, W, out=np.empty(3, np.float32)), ValueError, "out has shape"),
    (lambda k: k(X, W, out=[]), TypeError, "out: list"),
    (lambda k: k(X, W, out=X), ValueError, "out shares memory with x|out has shape"),
    (lambda k: k.ir("mlir"), ValueError, "stage='mlir': valid: conv"),
    (lambda k: convjit.compile("conv2d:in=3x3,oc=1,k=1"), ValueError, "in=3x3"),
    (lambda k: convjit.compile(PROBLEM, plan="#conv.plan<>"), ValueError, "plan="),
    (lambda k: convjit.compile(PROBLEM, mask=np.ones(3)), ValueError, "mask has shape"),
    (lambda k: convjit.conv(X, W, PROBLEM), ValueError, "valid: conv1d, 2d or 3d"),
    (lambda k: convjit.conv(X, W, stride=(1, 2, 3)), ValueError, "stride="),
    (lambda k: convjit.conv(X.astype(int), W), TypeError, "float32 or float64"),
    (lambda k: convjit.conv(X, W[0, 0]), ValueError, "w has 2 axes"),
    (lambda k: convjit.set_threads(-1), ValueError, "threads=-1"),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors_say_what_would_be_valid(kernel, case):
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        call(kernel)


def test_any_number_of_threads_gives_the_same(kernel):
    try:
        for count in (1, 2, 5, 0):
            convjit.set_threads(count)
            np.testing.assert_array_equal(kernel(X, W), Y)
    finally:
        convjit.set_threads(0)
    assert convjit.threads() >= 1


def test_calls_from_many_threads(kernel):
    wrong = []

    def work():
        for _ in range(50):
            if not np.array_equal(kernel(X, W), Y):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(5)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_doctor():
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "convjit.doctor"], capture_output=True, text=True)
    assert done.returncode == 0 and "all is well" in done.stdout, done.stdout + done.stderr
    for word in ("numpy", "target", "cache", "threads"):
        assert word in done.stdout


def unit_weights(shape):
    """(index, the weight that is one there and zero elsewhere)."""
    for index in np.ndindex(*shape):
        weight = np.zeros(shape)
        weight[index] = 1
        yield index, weight


GRADIENT = PROBLEM + ",grad=weight"


def test_weight_gradient():
    """The layer is linear in its weight: each element of the gradient is what the
    output's gradient says of a weight that is one there."""
    g = integers(Y.shape, 2)
    expected = np.zeros(W.shape)
    # An output channel meets its own weights alone: one input channel will do.
    for (i, j, o, c), unit in unit_weights((4, 3, 1, 6)):
        y = reference(X, unit, 2, (2, 1), (1, 3))[..., 0]
        expected[i, j, :, c] = np.tensordot(y, g.astype(float), 3)
    gradient = convjit.compile(GRADIENT)
    assert isinstance(gradient, convjit.WeightGradient)
    assert gradient is convjit.compile(GRADIENT)
    assert gradient.weight_shape == W.shape and gradient.output_shape(3) == Y.shape
    assert gradient.flops(3) == convjit.compile(PROBLEM).flops(3)
    np.testing.assert_array_equal(gradient(X, g), expected)
    np.testing.assert_array_equal(convjit.conv_transpose(X, g, GRADIENT), expected)
    np.testing.assert_array_equal(convjit.conv_transpose(X, g, gradient), expected)
    out = np.empty(W.shape, np.float32)
    assert gradient(X, g, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(
        sum(gradient(x, each) for x, each in zip(X, g)), expected)
    view = lambda a: np.ascontiguousarray(a.T).T
    np.testing.assert_array_equal(gradient(view(X), view(g)), expected)
    np.testing.assert_array_equal(gradient(X[:0], g[:0]), np.zeros(W.shape))
    assert "conv.phases" in gradient.ir("phases") and "WeightGradient" not in gradient.plan


def test_weight_gradient_of_channels_first_in_groups():
    problem = "conv2d:in=4x6x5,oc=6,k=3x2,s=2x1,g=2,layout=channels_first,dtype=f64"
    layer, gradient = convjit.compile(problem), convjit.compile(problem + ",grad=weight")
    x = integers(layer.input_shape(2), 3, np.float64)
    g = integers(layer.output_shape(2), 4, np.float64)
    expected = np.zeros(layer.weight_shape)
    for index, unit in unit_weights(layer.weight_shape):
        expected[index] = np.sum(layer(x, unit) * g)
    np.testing.assert_array_equal(gradient(x, g), expected)


@pytest.mark.parametrize("problem", [
    "conv1d:in=3000x3,oc=16,k=9,grad=weight",
    "conv2d:in=40x30x12,oc=12,k=3,g=3,pad=1,grad=weight",
])
def test_small_weight_gradients_do_not_depend_on_threads(problem):
    """Pieces of the reduction are told out to threads, and added in their order."""
    gradient = convjit.compile(problem)
    rng = np.random.default_rng(7)
    x = rng.standard_normal(gradient.input_shape(3), np.float32)
    g = rng.standard_normal(gradient.output_shape(3), np.float32)
    try:
        for batch in (1, 3):
            found = []
            for count in (1, 2, 3, 16):
                convjit.set_threads(count)
                found.append(gradient(x[:batch], g[:batch]))
            for other in found[1:]:
                np.testing.assert_array_equal(found[0], other)
    finally:
        convjit.set_threads(0)


@pytest.mark.parametrize("problem", [
    "conv2d:in=9x8x6,oc=5,k=3x2,s=2", "conv2d:in=6x9x8,oc=6,k=3,g=3,layout=channels_first",
    PROBLEM.replace("5x4x6", "9x8x6"),
])
def test_weight_gradient_of_an_input_with_gaps(problem, monkeypatch):
    layer, gradient = convjit.compile(problem), convjit.compile(problem + ",grad=weight")
    x, g = integers(layer.input_shape(3)), integers(layer.output_shape(3), 1)
    expected = [gradient(x, g), gradient(x[:1], g[:1]), gradient(x[2], g[2])]
    x = within(x, np.s_[:, 1:, 2:, 3:])
    gap_free_x = [x, x[:1], x[2]]
    copied = []
    real = np.ascontiguousarray
    monkeypatch.setattr(np, "ascontiguousarray", lambda a: copied.append(a.shape) or real(a))
    for part, own, wanted in zip(gap_free_x, (g, g[:1], g[2]), expected):
        np.testing.assert_array_equal(gradient(part, own), wanted)
    # The output's gradient, which has no gaps.
    assert set(copied) <= {layer.output_shape(3), layer.output_shape(1)}
    # In another order it is copied.
    assert gradient.reads_in_place(x[1]) and not gradient.reads_in_place(np.asfortranarray(x))
    np.testing.assert_array_equal(gradient(np.asfortranarray(x), g), expected[0])


def test_weight_gradient_with_a_mask():
    mask = integers(W.shape, 5) * (integers(W.shape, 6) > 0)
    x = X.copy()
    x[0, 0, 0, 0] = np.inf  # does not reach what is absent
    g = integers(Y.shape, 2)
    found = convjit.compile(GRADIENT, mask=mask)(x, g)
    assert not found[mask == 0].any()
    np.testing.assert_array_equal(
        convjit.compile(GRADIENT, mask=mask)(X, g), convjit.compile(GRADIENT)(X, g) * mask)


def test_weight_gradient_says_what_is_valid():
    gradient, g = convjit.compile(GRADIENT), integers(Y.shape, 2)
    for error, text, arguments in (
        (ValueError, r"x has shape \(3, 4, 4, 6\); valid: \(3, 5, 4, 6\)", (X[:, 1:], g)),
        (ValueError, r"gradient has shape \(2, .*; valid: \(3, ", (X, g[1:])),
        (TypeError, "gradient has dtype float64; valid: float32", (X, g.astype(float))),
        (TypeError, "x: int; valid: NumPy", (3, g)),
    ):
        with pytest.raises(error, match=text):
            gradient(*arguments)
    with pytest.raises(ValueError, match="out has shape"):
        gradient(X, g, out=np.empty(W.shape[::-1], np.float32))
    with pytest.raises(ValueError, match="valid: a contiguous array"):
        gradient(X, g, out=np.empty(W.shape[::-1], np.float32).T)
    with pytest.raises(TypeError, match="has no weight to pack"):
        gradient.pack(W)
    with pytest.raises(ValueError, match="bias is given; valid: None with grad=weight"):
        convjit.conv_transpose(X, g, gradient, bias=np.zeros(7, np.float32))


def test_stubs_say_what_the_extension_has():
    """mypy's stubtest imports the module and compares."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, str(pathlib.Path(__file__).with_name("stubs.py"))],
        capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found in 1 module" in done.stdout


def test_types_are_consistent(tmp_path):
    """What users' type checkers see of the package: no error within, and the types
    that a call has."""
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(
        "import numpy as np, convjit\n"
        "reveal_type(convjit.compile('conv1d:in=8x4,oc=4,k=3'))\n"
        "reveal_type(convjit.conv(np.ones((8, 4)), np.ones((3, 4, 4))))\n"
        "convjit.compile(3)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), str(tmp_path / "user.py")],
        capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert 'Revealed type is "convjit._kernel.Kernel"' in done.stdout, done.stdout
    assert 'Revealed type is "numpy.ndarray' in done.stdout, done.stdout
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1 and errors[0].startswith("user.py:4: "), done.stdout
