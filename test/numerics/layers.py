"""Layers as these tests name them, with data for them and bounds on the answers."""

import dataclasses
import math

import numpy as np

SINGLE_PRECISION = 2.0**-24  # unit roundoff of float32


@dataclasses.dataclass(frozen=True)
class Layer:
    """Per-dimension values are tuples. `pad` is 'same', 'valid' or a tuple of
    (low, high). `batch` None is an input without a batch axis."""

    transposed: bool
    size: tuple
    ic: int
    oc: int
    k: tuple
    s: tuple
    d: tuple = ()
    ld: tuple = ()
    g: int = 1
    pad: object = "same"
    channels_first: bool = False
    batch: object = None

    @property
    def rank(self):
        return len(self.size)

    @property
    def dilation(self):
        return self.d or (1,) * self.rank

    @property
    def input_dilation(self):
        return self.ld or (1,) * self.rank

    def problem(self, *extra):
        """The problem string, with `extra` fields such as 'bias'."""
        sizes = (self.ic, *self.size) if self.channels_first else (*self.size, self.ic)
        fields = [f"in={by(sizes)}", f"oc={self.oc}", f"k={by(self.k)}", f"s={by(self.s)}"]
        if self.d:
            fields.append(f"d={by(self.d)}")
        if self.ld:
            fields.append(f"ld={by(self.ld)}")
        if self.g != 1:
            fields.append(f"g={self.g}")
        pad = self.pad
        if not isinstance(pad, str):
            pad = "x".join(f"{low}:{high}" for low, high in pad)
        fields.append(f"pad={pad}")
        if self.channels_first:
            fields.append("layout=channels_first")
        kind = "convT" if self.transposed else "conv"
        return f"{kind}{self.rank}d:" + ",".join([*fields, *extra])

    def input_shape(self, batch):
        shape = (self.ic, *self.size) if self.channels_first else (*self.size, self.ic)
        return (batch, *shape)

    def weight_shape(self):
        ic = self.ic // self.g
        return (*self.k, self.oc, ic) if self.transposed else (*self.k, ic, self.oc)

    def terms(self):
        """Products in the longest sum that makes one output."""
        return math.prod(self.k) * (self.ic // self.g)


def by(values):
    return "x".join(map(str, values))


def floats(rng, shape):
    return rng.standard_normal(shape).astype(np.float32)


def integers(rng, shape):
    """Whole numbers small enough that every sum here stays below 2^24: float32
    holds each product and each partial sum exactly, in any order, so that answers
    can be compared for equality."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def rounding(terms, sum_of_sizes):
    """The bound on the error of a float32 sum of `terms` products, added in any
    order, with or without fused multiply-add (Higham, Accuracy and Stability of
    Numerical Algorithms, section 3.1): gamma_n times the sum of |x||w|."""
    n = terms * SINGLE_PRECISION
    return n / (1 - n) * sum_of_sizes


def assert_close(got, expected, bound, problem):
    """|got - expected| <= bound, element by element."""
    assert got.dtype == np.float32, problem
    assert got.shape == expected.shape, problem
    error = np.abs(got.astype(np.float64) - expected)
    wrong = ~(error <= bound)  # NaN is wrong as well
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{problem}: {wrong.sum()} of {wrong.size} elements are off; the first at {where}:"
            f" {got[where]!r}, expected {float(expected[where])!r},"
            f" bound {float(np.broadcast_to(bound, wrong.shape)[where]):.3g}")


def assert_equal(got, expected, problem):
    assert_close(got, expected, 0.0, problem)
