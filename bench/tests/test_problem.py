"""Problem strings and what follows from them, by the rules of docs/semantics.md."""

import pytest

from compare_lib.convolution import (Dim, bytes_read_and_written, convolution_of, flops,
                                     output_shape)
from compare_lib.problem import ProblemError, parse


def test_reads_every_field():
    p = parse("conv2d:in=3x20x30,oc=8,k=3x5,s=2,d=1x2,g=1,pad=1:2x-1,layout=channels_first,"
              "bias,residual,act=leaky_relu:0.2,dtype=f64")
    assert (p.transposed, p.size, p.in_channels, p.out_channels) == (False, (20, 30), 3, 8)
    assert (p.kernel, p.stride, p.dilation) == ((3, 5), (2, 2), (1, 2))
    assert p.padding == ((1, 2), (-1, -1))
    assert not p.channels_last and p.bias and p.residual
    assert (p.activation, p.slope, p.dtype) == ("leaky_relu", 0.2, "f64")


@pytest.mark.parametrize("text, padding, size", [
    ("convT1d:in=8x1,oc=1,k=4,s=2", (2, 2), 16),
    ("convT1d:in=8x1,oc=1,k=3,s=2", (2, 1), 16),
    ("convT1d:in=8x1,oc=1,k=2,s=2", (1, 1), 16),
    ("convT1d:in=8x1,oc=1,k=2,s=3", (1, 2), 24),
    ("convT1d:in=8x1,oc=1,k=3,s=2,pad=valid", (2, 2), 17),
    ("convT1d:in=8x1,oc=1,k=2,s=4,pad=valid", (1, 3), 32),
    ("convT1d:in=6x1,oc=1,k=3,s=2,pad=1:2", (1, 2), 12),
    ("conv1d:in=8x1,oc=1,k=3", (1, 1), 8),
    ("conv1d:in=8x1,oc=1,k=3,s=2", (0, 1), 4),
    ("conv1d:in=7x1,oc=1,k=4,s=2,d=3", (4, 5), 4),
    ("conv1d:in=8x1,oc=1,k=2", (0, 1), 8),
    ("conv1d:in=8x1,oc=1,k=1,s=3", (0, 0), 3),
    ("conv1d:in=8x1,oc=1,k=3,s=2,pad=valid", (0, 0), 3),
    ("conv1d:in=4x1,oc=1,k=3,ld=2", (1, 1), 7),
])
def test_padding_and_output(text, padding, size):
    problem = parse(text)
    assert problem.padding == (padding,)
    assert output_shape(problem, 1) == (1, size, 1)


def test_true_taps_leave_padding_and_zeros_out():
    # Inputs 0 and 1 at 0 and 2 of the dilated input; windows of 2 at -1, 0, 1, 2.
    assert Dim(n=2, k=2, ws=1, ld=2, rd=1, lo=1, hi=1, reversed=True).true_taps() == 4
    assert flops(parse("conv1d:in=4x2,oc=3,k=3"), 5) == 2 * 5 * 2 * 3 * (3 * 4 - 2)


@pytest.mark.parametrize("plain, same_work", [
    ("convT2d:in=6x6x8,oc=4,k=4,s=2", "convT2d:in=6x6x8,oc=4,k=4,s=2,grad=input"),
    ("conv2d:in=9x6x8,oc=4,k=3,s=2", "conv2d:in=9x6x8,oc=4,k=3,s=2,grad=weight"),
])
def test_gradients_have_the_layers_work(plain, same_work):
    assert flops(parse(plain), 3) == flops(parse(same_work), 3)


def test_input_gradient_has_the_inputs_shape():
    problem = parse("conv2d:in=9x7x8,oc=4,k=3x2,s=2x3,pad=0:1x1:0,grad=input")
    assert output_shape(problem, 2) == (2, 9, 7, 8)
    assert convolution_of(problem).transposed
    assert not convolution_of(parse("convT2d:in=9x7x8,oc=4,k=3,s=2,grad=input")).transposed


def test_bytes_count_every_operand_once():
    problem = parse("conv1d:in=10x4,oc=6,k=3,bias,residual")
    assert bytes_read_and_written(problem, 2) == (4 * (2 * 40 + 72 + 2 * 60 + 6), 4 * 2 * 60)
    gradient = parse("conv1d:in=10x4,oc=6,k=3,grad=weight")
    assert bytes_read_and_written(gradient, 2) == (4 * (2 * 40 + 2 * 60), 4 * 72)


def test_bytes_leave_out_what_no_output_needs():
    # One input: of 4 taps, the two of the two outputs that meet it.
    one = parse("convT1d:in=1x8,oc=16,k=4,s=2")
    assert bytes_read_and_written(one, 1) == (4 * (8 + 2 * 8 * 16), 4 * 2 * 16)
    # A stride of 3 and a kernel of 1 read every third input.
    third = parse("conv1d:in=9x2,oc=1,k=1,s=3")
    assert bytes_read_and_written(third, 1) == (4 * (3 * 2 + 2), 4 * 3)


@pytest.mark.parametrize("text, field", [
    ("conv4d:in=1x1,oc=1,k=1", "operation"),
    ("conv2d:in=8x8,oc=1,k=1", "in="),
    ("conv2d:in=8x8x4,k=1", "oc"),
    ("conv2d:in=8x8x4,oc=1,k=1x2x3", "k="),
    ("conv2d:in=8x8x4,oc=6,k=1,g=4", "g="),
    ("conv2d:in=8x8x4,oc=6,k=1,act=softmax", "act="),
    ("conv2d:in=8x8x4,oc=6,k=1,pad=1:2:3", "pad="),
    ("conv2d:in=8x8x4,oc=6,k=1,s=0", "s="),
    ("convT2d:in=8x8x4,oc=6,k=1,ld=2", "ld="),
    ("conv2d:in=8x8x4,oc=6,k=1,oc=2", "'oc' appears twice"),
    ("conv2d:in=8x8x4,oc=6,k=1,colour=red", "colour"),
    ("conv2d:in=8x8x4,oc=6,k=1,grad=weight,bias", "grad="),
    ("conv2d:in=8x8x4,oc=6,k=1,mask=m.npy", "mask"),
])
def test_errors_name_the_field(text, field):
    with pytest.raises(ProblemError, match="valid") as caught:
        parse(text)
    assert field in str(caught.value)
