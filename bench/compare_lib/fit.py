"""How a library that knows less about padding is asked for the same layer.

convjit pads each side by any amount, negative ones included. A library may want the
same amount on both sides, or none below zero. What it cannot pad itself is added to
the input (or cut from it) before the time starts, and output that it makes too much
of is dropped: both cost the library nothing but the work on those elements.
"""

from __future__ import annotations

import dataclasses

from .problem import ceil_div


@dataclasses.dataclass(frozen=True)
class Fit:
    """One dimension. `before` and `after`: zeros added to the input outside the time
    (negative: elements cut off). `low`, `high`: padding as the library has it, which
    for a transposed convolution removes output. `extra`: a transposed convolution's
    output_padding. `drop_low`, `drop_high`: output elements that are not the
    layer's."""

    before: int
    after: int
    low: int
    high: int
    extra: int = 0
    drop_low: int = 0
    drop_high: int = 0

    @property
    def is_exact(self):
        return not (self.before or self.after or self.drop_low or self.drop_high)


class Unsupported(Exception):
    """The library has no way to say this layer; the message says what it lacks."""


def fit_forward(dim, symmetric):
    """For a convolution without input dilation. With `symmetric`, low == high."""
    # Padding behind the last window changes nothing: any high in this range does.
    least = (dim.out - 1) * dim.ws + dim.ek - dim.n - dim.lo
    most = least + dim.ws - 1
    low = max(0, min(dim.lo, most) if symmetric else dim.lo)
    high = low if symmetric else max(0, dim.hi)
    before = dim.lo - low
    after = least - high if high < least else min(0, most - high)
    if dim.n + before + after < 1:
        raise Unsupported("an input that padding cuts away")
    return Fit(before, after, low, high)


def fit_transposed(dim, symmetric, largest_extra):
    """For a transposed convolution of stride dim.ld, whose output is
    (n-1)*s + ek - low - high + extra, 0 <= extra <= largest_extra."""
    s = dim.ld
    # The layer's first output is at -(lo) of the dilated input, a library's at
    # low-(ek-1).
    before = max(0, ceil_div(dim.lo - (dim.ek - 1), s))
    low = dim.ek - 1 - (dim.lo - before * s)
    full = (dim.n + before - 1) * s + dim.ek  # without any padding
    high = full - low - dim.out
    extra, after, drop_low, drop_high = 0, 0, 0, 0
    if symmetric:
        # high == low: what is missing at the end is extra, what is too much is
        # dropped, on either side.
        if high > low:
            drop_high, high = high - low, low
        elif low - high > largest_extra:
            drop_low = low - max(0, high)
            low -= drop_low
            high = full - low - (dim.out + drop_low)
        if high < low:
            extra, high = low - high, low
    elif high < 0:
        extra, high = -high, 0
    if extra > largest_extra:
        after = ceil_div(extra - largest_extra, s)
        extra -= after * s
        if extra < 0:
            drop_high, extra = drop_high - extra, 0
    return Fit(before, after, low, high, extra, drop_low, drop_high)


def fits_of(conv, symmetric, largest_extra=None):
    """The fit of each dimension, by the convolution's own form. `largest_extra` is
    a function of (stride, dilation); by default one less than the larger."""
    if conv.problem.batch_groups > 1:
        raise Unsupported("batch groups")
    if any(dim.out < 1 for dim in conv.dims):
        raise Unsupported("no output")
    if not conv.transposed:
        if any(dim.ld > 1 for dim in conv.dims):
            raise Unsupported("stride and input dilation at once")
        return [fit_forward(dim, symmetric) for dim in conv.dims]
    extra = largest_extra or (lambda stride, dilation: max(stride, dilation) - 1)
    return [fit_transposed(dim, symmetric, extra(dim.ld, dim.rd)) for dim in conv.dims]


def fitted_size(dim, fit, transposed):
    """Length of the output that the library makes."""
    n = dim.n + fit.before + fit.after
    if transposed:
        return (n - 1) * dim.ld + dim.ek - fit.low - fit.high + fit.extra
    return (n + fit.low + fit.high - dim.ek) // dim.ws + 1


def fit_input(data, fits):
    """(N, C, space...) data with the zeros added and the elements cut that the fits
    ask for."""
    import numpy as np

    cut = tuple(slice(max(0, -fit.before), data.shape[axis + 2] - max(0, -fit.after))
                for axis, fit in enumerate(fits))
    data = data[(slice(None), slice(None), *cut)]
    pads = [(0, 0), (0, 0), *((max(0, fit.before), max(0, fit.after)) for fit in fits)]
    return np.pad(data, pads) if any(map(any, pads)) else data


def fit_output(data, fits):
    """(N, C, space...) result of the library without what the fits drop."""
    keep = tuple(slice(fit.drop_low, data.shape[axis + 2] - fit.drop_high)
                 for axis, fit in enumerate(fits))
    return data[(slice(None), slice(None), *keep)]


def unfit_output(data, fits):
    """The reverse of fit_output, with zeros: an output's gradient for the library."""
    import numpy as np

    pads = [(0, 0), (0, 0), *((fit.drop_low, fit.drop_high) for fit in fits)]
    return np.pad(data, pads) if any(map(any, pads)) else data


def note_of(fits):
    """What was done outside the time, for the report; empty when nothing was."""
    padded = any(fit.before or fit.after for fit in fits)
    dropped = any(fit.drop_low or fit.drop_high for fit in fits)
    return " and ".join(filter(None, ["input padded beforehand" if padded else "",
                                      "larger output" if dropped else ""]))
