"""The cases of ONNX's node tests for ConvTranspose and Conv.

Inputs and expected outputs restate those of onnx/backend/test/case/node
(convtranspose.py, conv.py). Every case is computed a second time by loops over
ONNX's definition, a *scatter* for ConvTranspose where convjit gathers; the last
cases, with asymmetric kernels and odd totals of padding, have only that. All data
are small integers, so that answers must be equal.
"""

import dataclasses
import itertools

import numpy as np
import pytest

from frameworks import run_layer
from layers import Layer, assert_equal


@dataclasses.dataclass(frozen=True)
class Case:
    """Attributes as ONNX has them; pads is [begin..., end...]."""

    name: str
    x: np.ndarray
    w: np.ndarray
    y: np.ndarray = None
    strides: tuple = ()
    dilations: tuple = ()
    pads: tuple = ()
    group: int = 1
    output_padding: tuple = ()
    output_shape: tuple = ()
    auto_pad: str = "NOTSET"

    @property
    def rank(self):
        return self.x.ndim - 2

    def per_dimension(self, name, default):
        return getattr(self, name) or (default,) * self.rank


def count_up(*shape, start=0):
    return np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)


def ones(*shape):
    return np.ones(shape, np.float32)


def twice(rows):
    """One image with two equal channels."""
    return np.array([[rows, rows]], np.float32)


def one(rows):
    return np.array([[rows]], np.float32)


# ---- ConvTranspose ----

FULL = [
    [0, 1, 3, 3, 2],
    [3, 8, 15, 12, 7],
    [9, 21, 36, 27, 15],
    [9, 20, 33, 24, 13],
    [6, 13, 21, 15, 8],
]
SECOND = [
    [9, 19, 30, 21, 11],
    [21, 44, 69, 48, 25],
    [36, 75, 117, 81, 42],
    [27, 56, 87, 60, 31],
    [15, 31, 48, 33, 17],
]
STRIDED = [
    [0, 0, 1, 1, 3, 2, 2, 0],
    [0, 0, 1, 1, 3, 2, 2, 0],
    [0, 0, 1, 1, 3, 2, 2, 0],
    [3, 3, 7, 4, 9, 5, 5, 0],
    [3, 3, 7, 4, 9, 5, 5, 0],
    [3, 3, 7, 4, 9, 5, 5, 0],
    [6, 6, 13, 7, 15, 8, 8, 0],
    [6, 6, 13, 7, 15, 8, 8, 0],
    [6, 6, 13, 7, 15, 8, 8, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
]
VOLUME = [
    [[0, 1, 3, 6, 9, 7, 4], [5, 12, 21, 27, 33, 24, 13], [15, 33, 54, 63, 72, 51, 27],
     [30, 63, 99, 108, 117, 81, 42], [25, 52, 81, 87, 93, 64, 33], [15, 31, 48, 51, 54, 37, 19]],
    [[20, 42, 66, 72, 78, 54, 28], [50, 104, 162, 174, 186, 128, 66],
     [90, 186, 288, 306, 324, 222, 114], [120, 246, 378, 396, 414, 282, 144],
     [90, 184, 282, 294, 306, 208, 106], [50, 102, 156, 162, 168, 114, 58]],
    [[60, 123, 189, 198, 207, 141, 72], [135, 276, 423, 441, 459, 312, 159],
     [225, 459, 702, 729, 756, 513, 261], [270, 549, 837, 864, 891, 603, 306],
     [195, 396, 603, 621, 639, 432, 219], [105, 213, 324, 333, 342, 231, 117]],
    [[60, 122, 186, 192, 198, 134, 68], [130, 264, 402, 414, 426, 288, 146],
     [210, 426, 648, 666, 684, 462, 234], [240, 486, 738, 756, 774, 522, 264],
     [170, 344, 522, 534, 546, 368, 186], [90, 182, 276, 282, 288, 194, 98]],
    [[40, 81, 123, 126, 129, 87, 44], [85, 172, 261, 267, 273, 184, 93],
     [135, 273, 414, 423, 432, 291, 147], [150, 303, 459, 468, 477, 321, 162],
     [105, 212, 321, 327, 333, 224, 113], [55, 111, 168, 171, 174, 117, 59]],
]
IMAGE, KERNEL = count_up(1, 1, 3, 3), ones(1, 2, 3, 3)
LOPSIDED = count_up(2, 3, 2, 3, start=-7)  # [I, O/g, 2, 3], no symmetry

TRANSPOSED = [
    Case("convtranspose", IMAGE, KERNEL, twice(FULL)),
    Case("convtranspose_1d", count_up(1, 1, 3), ones(1, 2, 3), twice([0, 1, 3, 3, 2])),
    Case("convtranspose_3d", count_up(1, 1, 3, 4, 5), ones(1, 2, 3, 3, 3), twice(VOLUME)),
    Case("convtranspose_output_shape", IMAGE, KERNEL, twice(STRIDED), strides=(3, 2),
         output_shape=(10, 8)),
    Case("convtranspose_pad", IMAGE, KERNEL, twice(STRIDED), strides=(3, 2),
         output_padding=(1, 1)),
    Case("convtranspose_kernel_shape", IMAGE, KERNEL, twice(STRIDED), strides=(3, 2),
         output_shape=(10, 8), output_padding=(1, 1)),
    Case("convtranspose_pads", IMAGE, KERNEL,
         twice([[1, 1, 3], [1, 1, 3], [7, 4, 9], [7, 4, 9], [7, 4, 9], [13, 7, 15],
                [13, 7, 15]]),
         strides=(3, 2), pads=(1, 2, 1, 2)),
    Case("convtranspose_dilations", one([[3, 8, 1], [9, 5, 7], [3, 2, 6]]),
         one([[7, 2], [1, 9]]),
         one([[21, 56, 13, 16, 2], [63, 35, 67, 10, 14], [24, 22, 76, 76, 21],
              [9, 5, 88, 45, 63], [3, 2, 33, 18, 54]]),
         dilations=(2, 2)),
    Case("convtranspose_autopad_same", IMAGE, KERNEL,
         twice([[0, 0, 1, 1, 3, 2], [0, 0, 1, 1, 3, 2], [3, 3, 8, 5, 12, 7],
                [3, 3, 7, 4, 9, 5], [9, 9, 20, 11, 24, 13], [6, 6, 13, 7, 15, 8]]),
         strides=(2, 2), auto_pad="SAME_UPPER"),
    Case("convtranspose_group_2", count_up(1, 2, 3, 3), ones(2, 1, 3, 3),
         np.array([[FULL, SECOND]], np.float32), group=2),
    Case("convtranspose_group_2_image_3",
         np.concatenate([count_up(1, 2, 3, 3), count_up(1, 2, 3, 3, start=18),
                         count_up(1, 2, 3, 3)]),
         ones(2, 1, 3, 3),
         np.array([[FULL, SECOND],
                   [[[18, 37, 57, 39, 20], [39, 80, 123, 84, 43], [63, 129, 198, 135, 69],
                     [45, 92, 141, 96, 49], [24, 49, 75, 51, 26]],
                    [[27, 55, 84, 57, 29], [57, 116, 177, 120, 61], [90, 183, 279, 189, 96],
                     [63, 128, 195, 132, 67], [33, 67, 102, 69, 35]]],
                   [FULL, SECOND]], np.float32),
         group=2),
    # Ours: where begin and end cannot be exchanged without being noticed.
    Case("same_upper, odd total", count_up(2, 2, 3, 4), LOPSIDED, strides=(1, 2),
         auto_pad="SAME_UPPER"),
    Case("same_lower, odd total", count_up(2, 2, 3, 4), LOPSIDED, strides=(1, 2),
         auto_pad="SAME_LOWER"),
    Case("output_shape, odd and negative total", count_up(1, 2, 3, 4), LOPSIDED,
         strides=(4, 4), output_shape=(13, 18)),
    Case("output_shape and same_upper, odd and negative total", count_up(1, 2, 3, 4),
         LOPSIDED, strides=(4, 4), output_shape=(13, 18), auto_pad="SAME_UPPER"),
    Case("uneven pads, dilated, output_padding", count_up(1, 2, 4, 3), LOPSIDED,
         strides=(2, 3), dilations=(3, 2), pads=(2, 0, 1, 3), output_padding=(1, 2)),
    Case("stride and dilation share a factor", count_up(1, 2, 4, 3), LOPSIDED,
         strides=(2, 4), dilations=(2, 2)),
    Case("groups of two", count_up(2, 4, 3, 2), count_up(4, 3, 2, 3, start=-30), group=2,
         strides=(2, 1), pads=(1, 0, 0, 2)),
]

# ---- Conv ----

SQUARE, TALL, BOX = count_up(1, 1, 5, 5), count_up(1, 1, 7, 5), ones(1, 1, 3, 3)
PLAIN = [
    Case("basic_conv_with_padding", SQUARE, BOX,
         one([[12, 21, 27, 33, 24], [33, 54, 63, 72, 51], [63, 99, 108, 117, 81],
              [93, 144, 153, 162, 111], [72, 111, 117, 123, 84]]),
         pads=(1, 1, 1, 1)),
    Case("basic_conv_without_padding", SQUARE, BOX,
         one([[54, 63, 72], [99, 108, 117], [144, 153, 162]])),
    Case("conv_with_strides_padding", TALL, BOX,
         one([[12, 27, 24], [63, 108, 81], [123, 198, 141], [112, 177, 124]]),
         pads=(1, 1, 1, 1), strides=(2, 2)),
    Case("conv_with_strides_no_padding", TALL, BOX,
         one([[54, 72], [144, 162], [234, 252]]), strides=(2, 2)),
    Case("conv_with_strides_and_asymmetric_padding", TALL, BOX,
         one([[21, 33], [99, 117], [189, 207], [171, 183]]),
         pads=(1, 0, 1, 0), strides=(2, 2)),
    Case("conv_with_autopad_same", SQUARE, BOX,
         one([[12, 27, 24], [63, 108, 81], [72, 117, 84]]),
         strides=(2, 2), auto_pad="SAME_LOWER"),
    Case("same_upper, odd total", count_up(2, 2, 4, 6), count_up(3, 2, 2, 3, start=-17),
         strides=(1, 2), auto_pad="SAME_UPPER"),
    Case("same_lower, odd total", count_up(2, 2, 4, 6), count_up(3, 2, 2, 3, start=-17),
         strides=(1, 2), auto_pad="SAME_LOWER"),
    Case("uneven pads, dilated, groups", count_up(1, 4, 6, 5), count_up(6, 2, 2, 3, start=-36),
         group=2, strides=(2, 1), dilations=(3, 2), pads=(2, 0, 1, 3)),
]


def resolve_transposed(case):
    """pads as [(begin, end)] and output sizes, from ONNX's operator document."""
    pads, sizes = [], []
    for i in range(case.rank):
        n, s = case.x.shape[2 + i], case.per_dimension("strides", 1)[i]
        ek = (case.w.shape[2 + i] - 1) * case.per_dimension("dilations", 1)[i] + 1
        op = case.per_dimension("output_padding", 0)[i]
        out = None
        if case.output_shape:
            out = case.output_shape[i]
        elif case.auto_pad.startswith("SAME"):
            out = n * s
        if out is None:
            given = case.per_dimension("pads", 0)
            begin, end = given[i], given[i + case.rank] if case.pads else 0
        else:
            total = (n - 1) * s + op + ek - out
            begin = total // 2 if case.auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        pads.append((begin, end))
        sizes.append((n - 1) * s + op + ek - begin - end)
    return pads, sizes


def resolve_plain(case):
    pads, sizes = [], []
    for i in range(case.rank):
        n, s = case.x.shape[2 + i], case.per_dimension("strides", 1)[i]
        ek = (case.w.shape[2 + i] - 1) * case.per_dimension("dilations", 1)[i] + 1
        if case.auto_pad.startswith("SAME"):
            total = max((-(-n // s) - 1) * s + ek - n, 0)
            begin = total // 2 if case.auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        else:
            given = case.per_dimension("pads", 0)
            begin, end = given[i], given[i + case.rank] if case.pads else 0
        pads.append((begin, end))
        sizes.append((n + begin + end - ek) // s + 1)
    return pads, sizes


def taps(case, input_sizes, kernel, pads, output_sizes, transposed):
    """Every (input, tap, output) position triple that contributes."""
    s, d = case.per_dimension("strides", 1), case.per_dimension("dilations", 1)
    # The one line that ONNX's two operators are: the strided side has `small`.
    small_sizes, large_sizes = ((input_sizes, output_sizes) if transposed
                                else (output_sizes, input_sizes))
    for small in itertools.product(*map(range, small_sizes)):
        for tap in itertools.product(*map(range, kernel)):
            large = tuple(p * st + t * dil - pad[0]
                          for p, st, t, dil, pad in zip(small, s, tap, d, pads))
            if all(0 <= p < size for p, size in zip(large, large_sizes)):
                yield (small, tap, large) if transposed else (large, tap, small)


def loops(case, pads, sizes, transposed):
    oc = case.w.shape[1] * case.group if transposed else case.w.shape[0]
    ic = case.x.shape[1]
    y = np.zeros((case.x.shape[0], oc, *sizes))
    per_in, per_out = ic // case.group, oc // case.group
    for i, tap, o in taps(case, case.x.shape[2:], case.w.shape[2:], pads, sizes, transposed):
        for group, a, b in itertools.product(range(case.group), range(per_in), range(per_out)):
            c_in, c_out = group * per_in + a, group * per_out + b
            weight = case.w[(c_in, b, *tap)] if transposed else case.w[(c_out, a, *tap)]
            y[(slice(None), c_out, *o)] += case.x[(slice(None), c_in, *i)] * weight
    return y


def stored_weight(case, transposed):
    """From ONNX's [I, O/g, K...] to (K..., O, I/g), or [O, I/g, K...] to
    (K..., I/g, O)."""
    w = case.w
    if transposed:
        parts = np.split(w, case.group, axis=0)  # each [I/g, O/g, K...]
        w = np.concatenate(parts, axis=1)  # [I/g, O, K...]
    return np.moveaxis(w, (0, 1), (-1, -2))


def run_case(case, transposed, convjit):
    pads, sizes = (resolve_transposed if transposed else resolve_plain)(case)
    expected = loops(case, pads, sizes, transposed)
    if case.y is not None:
        # The two sources must agree before either judges convjit.
        assert_equal(case.y, expected, f"{case.name}: the loops")

    ops = case.per_dimension("output_padding", 0)
    added = []  # what the general convolution adds to its dilated input
    for i, (begin, end) in enumerate(pads):
        ek = (case.w.shape[2 + i] - 1) * case.per_dimension("dilations", 1)[i] + 1
        added.append((ek - 1 - begin, ek - 1 - end + ops[i]) if transposed else (begin, end))
    oc = case.w.shape[1] * case.group if transposed else case.w.shape[0]
    layer = Layer(transposed, case.x.shape[2:], case.x.shape[1], oc, case.w.shape[2:],
                  case.per_dimension("strides", 1), case.dilations, g=case.group,
                  pad=tuple(added), channels_first=True)
    weight = stored_weight(case, transposed)
    assert weight.shape == layer.weight_shape()
    assert_equal(convjit(layer.problem(), input=case.x, weight=weight), expected,
                 f"{case.name}: {layer.problem()}")


@pytest.mark.parametrize("case", TRANSPOSED, ids=lambda case: case.name)
def test_conv_transpose(case, convjit):
    run_case(case, True, convjit)


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_conv(case, convjit):
    run_case(case, False, convjit)


@pytest.mark.parametrize("transposed, case", [
    pytest.param(transposed, case, id=f"{'transposed' if transposed else 'plain'}: {case.name}")
    for transposed, cases in ((True, TRANSPOSED), (False, PLAIN)) for case in cases])
def test_layer_reads_the_weight(transposed, case, tmp_path):
    """Ours, with W and B as they are in a model's file."""
    pads, sizes = (resolve_transposed if transposed else resolve_plain)(case)
    oc = case.w.shape[1] * case.group if transposed else case.w.shape[0]
    bias = count_up(oc, start=1)
    expected = loops(case, pads, sizes, transposed) + bias.reshape(-1, *[1] * case.rank)
    made = run_layer(
        "onnx", tmp_path, {"node.W": case.w, "node.B": bias}, "node.", case.x,
        expected.astype(np.float32), transposed=transposed,
        stride=case.per_dimension("strides", 1), dilation=case.per_dimension("dilations", 1),
        groups=case.group, output_padding=case.per_dimension("output_padding", 0), pads=pads)
    assert_equal(made["y"], expected, case.name)
    assert_equal(made["w"], stored_weight(case, transposed), case.name)
