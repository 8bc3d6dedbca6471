"""The general convolution behind a layer: shapes, work and bytes.

docs/semantics.md defines it; names here are the ones used there.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .problem import Problem


@dataclasses.dataclass(frozen=True)
class Dim:
    """One spatial dimension: input and kernel lengths, window stride, dilation of
    input and kernel, padding of the dilated input. Elements."""

    n: int
    k: int
    ws: int
    ld: int
    rd: int
    lo: int
    hi: int
    reversed: bool

    @property
    def ek(self):
        """Effective kernel length."""
        return (self.k - 1) * self.rd + 1

    @property
    def dilated(self):
        return (self.n - 1) * self.ld + 1

    @property
    def out(self):
        padded = self.dilated + self.lo + self.hi
        return max(0, (padded - self.ek) // self.ws + 1)

    def meetings(self):
        """For each tap, the input elements that it reads, one for each output: neither
        padding nor an inserted zero."""
        starts = np.arange(self.out, dtype=np.int64) * self.ws - self.lo
        for tap in range(self.k):
            at = starts + tap * self.rd
            yield at[(at >= 0) & (at % self.ld == 0) & (at // self.ld < self.n)] // self.ld

    def true_taps(self):
        """Pairs of an output and a tap that reads an input element."""
        return sum(len(elements) for elements in self.meetings())

    def used(self):
        """(input elements, taps) that take part in any output."""
        met = [elements for elements in self.meetings() if len(elements)]
        return len(np.unique(np.concatenate(met))) if met else 0, len(met)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """What is computed for a problem, its gradient with respect to the input
    included (the roles of the channels are swapped then)."""

    problem: Problem
    dims: tuple
    in_channels: int
    out_channels: int
    groups: int
    transposed: bool
    """Best said to a library as a transposed convolution."""

    @property
    def in_size(self):
        return tuple(dim.n for dim in self.dims)

    @property
    def out_size(self):
        return tuple(dim.out for dim in self.dims)

    def input_shape(self, batch):
        """With batch groups, every image of the output has that many of the input's."""
        return self.problem.data_shape(batch * self.problem.batch_groups, self.in_channels,
                                       self.in_size)

    def output_shape(self, batch):
        return self.problem.data_shape(batch, self.out_channels, self.out_size)


def layer_of(problem):
    """The layer itself, whatever its gradient."""
    dims = tuple(
        Dim(n, k, ws=1 if problem.transposed else s, ld=s if problem.transposed else ld, rd=d,
            lo=lo, hi=hi, reversed=problem.transposed)
        for n, k, s, d, ld, (lo, hi) in zip(
            problem.size, problem.kernel, problem.stride, problem.dilation,
            problem.input_dilation, problem.padding))
    return Convolution(problem, dims, problem.in_channels, problem.out_channels, problem.groups,
                       problem.transposed or _must_transpose(dims))


def input_gradient_of(layer):
    """Strides and input dilations swap, the window is reversed."""
    dims = []
    for dim in layer.dims:
        out_dilated = (dim.out - 1) * dim.ws + 1 if dim.out else 0
        lo = dim.ek - dim.lo - 1
        dims.append(Dim(dim.out, dim.k, ws=dim.ld, ld=dim.ws, rd=dim.rd, lo=lo,
                        hi=dim.dilated + dim.ek - 1 - out_dilated - lo,
                        reversed=not dim.reversed))
    transposed = (not layer.transposed or _must_transpose(dims)) and all(
        dim.ws == 1 for dim in dims)
    return Convolution(layer.problem, tuple(dims), layer.out_channels, layer.in_channels,
                       layer.groups, transposed)


def _must_transpose(dims):
    return any(dim.ld > 1 for dim in dims) and all(dim.ws == 1 for dim in dims)


def convolution_of(problem):
    """What is computed; with grad=weight, the layer whose weight's gradient it is."""
    layer = layer_of(problem)
    return input_gradient_of(layer) if problem.gradient == "input" else layer


def output_shape(problem, batch):
    """Of the array that the problem computes."""
    if problem.gradient == "weight":
        return problem.weight_shape()
    return convolution_of(problem).output_shape(batch)


def flops(problem, batch):
    """Two for every multiplication by a true tap. The gradients of a layer have
    exactly its own."""
    layer = layer_of(problem)
    channels = layer.out_channels * (layer.in_channels // layer.groups)
    return 2 * batch * channels * math.prod(dim.true_taps() for dim in layer.dims)


def bytes_read_and_written(problem, batch):
    """(read, written): every operand once, as the layer has it; of input and weight
    only what some output needs. Results are whole."""
    layer = layer_of(problem)
    element = problem.element_bytes
    used = [dim.used() for dim in layer.dims]
    pairs = layer.in_channels // layer.groups * layer.out_channels
    output = math.prod(layer.output_shape(batch)) * element
    if problem.gradient == "input":
        # Every output's gradient, and the taps that lead to an input.
        weight = math.prod(taps for _, taps in used) * pairs * element
        return output + weight, math.prod(layer.input_shape(batch)) * element
    data = (batch * problem.batch_groups * layer.in_channels
            * math.prod(elements for elements, _ in used) * element)
    if problem.gradient == "weight":
        return data + output, math.prod(problem.kernel) * pairs * element
    weight = math.prod(taps for _, taps in used) * pairs * element
    extra = output if problem.residual else 0
    extra += problem.out_channels * element if problem.bias else 0
    return data + weight + extra, output
