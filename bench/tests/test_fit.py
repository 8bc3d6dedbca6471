"""How libraries are asked for a layer: the same products, by counting them."""

import random

import numpy as np
import pytest

from compare_lib.convolution import Dim, convolution_of
from compare_lib.fit import (Unsupported, fit_forward, fit_input, fit_output, fit_transposed,
                             fits_of, fitted_size, note_of, unfit_output)
from compare_lib.problem import parse


def products(dim):
    """Triples (output, tap of the window, input) that the layer multiplies."""
    return {(o, t, p // dim.ld) for o in range(dim.out) for t in range(dim.k)
            for p in [o * dim.ws + t * dim.rd - dim.lo]
            if p >= 0 and p % dim.ld == 0 and p // dim.ld < dim.n}


def library_products(dim, fit, transposed):
    """The same of a library's convolution with the fit's numbers."""
    length = dim.n + fit.before + fit.after
    if transposed:
        s = dim.ld
        return {(o, dim.k - 1 - t, q - fit.before) for q in range(length) for t in range(dim.k)
                for o in [q * s + t * dim.rd - fit.low - fit.drop_low]
                if 0 <= o < dim.out and 0 <= q - fit.before < dim.n}
    return {(o, t, p - fit.before) for o in range(dim.out) for t in range(dim.k)
            for p in [o * dim.ws + t * dim.rd - fit.low]
            if 0 <= p < length and 0 <= p - fit.before < dim.n}


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_random_dimensions(transposed, symmetric):
    rng = random.Random(1)
    made = 0
    while made < 5000:
        s, d = rng.randint(1, 4), rng.randint(1, 3)
        dim = Dim(rng.randint(1, 6), rng.randint(1, 5), ws=1 if transposed else s,
                  ld=s if transposed else 1, rd=d, lo=rng.randint(-4, 12),
                  hi=rng.randint(-4, 12), reversed=transposed)
        if dim.out < 1:
            continue
        most = rng.choice((max(s, d), s)) - 1
        try:
            fit = (fit_transposed(dim, symmetric, most) if transposed else
                   fit_forward(dim, symmetric))
        except Unsupported:
            continue
        made += 1
        assert min(fit.low, fit.high, fit.drop_low, fit.drop_high) >= 0, dim
        assert not symmetric or fit.low == fit.high, dim
        assert 0 <= fit.extra <= most or not transposed, dim
        size = fitted_size(dim, fit, transposed) - fit.drop_low - fit.drop_high
        assert size == dim.out, (dim, fit)
        assert library_products(dim, fit, transposed) == products(dim), (dim, fit)


def fits(text, symmetric):
    return fits_of(convolution_of(parse(text)), symmetric)


def test_what_a_library_can_say_is_left_as_it_is():
    [fit] = fits("convT1d:in=8x4,oc=4,k=4,s=2", True)
    assert fit.is_exact and (fit.low, fit.high, fit.extra) == (1, 1, 0)
    [fit] = fits("convT1d:in=6x4,oc=4,k=3,s=2,pad=1:2", True)
    assert fit.is_exact and (fit.low, fit.extra) == (1, 1)
    assert note_of([fit]) == ""


def test_what_it_cannot_is_done_outside_the_time():
    [fit] = fits("convT1d:in=8x4,oc=4,k=3,s=2", True)
    assert (fit.low, fit.drop_high) == (0, 1) and note_of([fit]) == "larger output"
    [fit] = fits("conv1d:in=8x4,oc=4,k=3,s=2", True)
    # Low 0 and high 1: one zero more behind the input.
    assert (fit.low, fit.after) == (0, 1) and note_of([fit]) == "input padded beforehand"


@pytest.mark.parametrize("text", ["conv1d:in=8x4,oc=4,k=3,s=2,ld=3", "conv1d:in=8x4,oc=4,k=3,bg=2"])
def test_what_no_library_says(text):
    with pytest.raises(Unsupported):
        fits(text, False)


def test_arrays_follow_the_fit():
    data = np.arange(10.0).reshape(1, 1, 10)
    [fit] = fits("conv1d:in=10x1,oc=1,k=3,s=2,pad=-2:-2", False)
    assert fit_input(data, [fit])[0, 0].tolist() == [2, 3, 4, 5, 6, 7]
    [fit] = fits("convT1d:in=5x1,oc=1,k=3,s=2", True)
    assert fit_output(data, [fit]).shape == (1, 1, 9)
    assert unfit_output(fit_output(data, [fit]), [fit])[0, 0].tolist() == [*range(9), 0]
