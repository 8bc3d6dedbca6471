"""The same transposed layers in PyTorch, where its symmetric padding and its output
padding can say them. Runs when torch is installed in build/venv by hand."""

import itertools
import random

import numpy as np
import pytest

from layers import Layer, assert_close, floats, rounding

torch = pytest.importorskip("torch", reason="torch is not installed: optional")


def make_cases():
    choose = random.Random(20240612)
    made = []
    for rank, channels_first, _ in itertools.product((1, 2, 3), (False, True), range(8)):
        k = tuple(choose.randint(1, 5 if rank < 3 else 4) for _ in range(rank))
        s = tuple(choose.randint(1, 3) for _ in range(rank))
        d = tuple(choose.randint(1, 3) for _ in range(rank))
        # PyTorch wants an output padding below the stride or the dilation, and an
        # output of at least one element.
        extra = tuple(choose.randint(0, max(a, b) - 1) for a, b in zip(s, d))
        reach = [(a - 1) * b for a, b in zip(k, d)]
        padding = tuple(choose.randint(0, r // 2) for r in reach)
        g = choose.choice((1, 2))
        layer = Layer(
            True, tuple(choose.randint(2, 6) for _ in range(rank)), g * choose.randint(1, 3),
            g * choose.randint(1, 4), k, s, d, g=g,
            pad=tuple((r - p, r - p + e) for r, p, e in zip(reach, padding, extra)),
            channels_first=channels_first, batch=choose.randint(1, 3))
        made.append((layer, padding, extra))
    return made


def apply(layer, padding, extra, x, w):
    """`w` as convjit stores it, (K..., O, I/g); PyTorch wants [I, O/g, K...]."""
    w = np.moveaxis(w, (-1, -2), (0, 1))  # [I/g, O, K...]
    w = np.concatenate(np.split(w, layer.g, axis=1), axis=0)
    if not layer.channels_first:
        x = np.moveaxis(x, -1, 1)
    function = getattr(torch.nn.functional, f"conv_transpose{layer.rank}d")
    y = function(torch.from_numpy(np.ascontiguousarray(x)),
                 torch.from_numpy(np.ascontiguousarray(w)), stride=layer.s, padding=padding,
                 output_padding=extra, groups=layer.g, dilation=layer.dilation).numpy()
    return y if layer.channels_first else np.moveaxis(y, 1, -1)


@pytest.mark.parametrize("layer, padding, extra", make_cases(),
                         ids=lambda value: value.problem() if isinstance(value, Layer) else "")
def test_conv_transpose(layer, padding, extra, convjit):
    rng = np.random.default_rng(list(layer.problem().encode()))
    x = floats(rng, layer.input_shape(layer.batch))
    w = floats(rng, layer.weight_shape())
    wide = [a.astype(np.float64) for a in (x, w)]
    expected = apply(layer, padding, extra, *wide)
    sizes = apply(layer, padding, extra, *map(np.abs, wide))
    got = convjit(layer.problem(), input=x, weight=w)
    assert_close(got, expected, rounding(layer.terms(), sizes), layer.problem())
