"""torch.nn's layers against ours, which load their state_dict: outputs and all
gradients, of small integers, so that they are equal bit for bit. Runs where torch is
installed."""

import itertools
import random

import numpy as np
import pytest

from frameworks import run_layer, stored

torch = pytest.importorskip("torch", reason="torch is not installed: optional")


def make_cases():
    choose = random.Random(20260611)
    for rank, transposed, groups, dilated in itertools.product(
            (1, 2, 3), (False, True), (1, 2, 3), (False, True)):
        several = lambda low, high: tuple(choose.randint(low, high) for _ in range(rank))
        kernel, stride = several(1, 4), several(1, 3)
        dilation = several(2, 3) if dilated else (1,) * rank
        reach = [(k - 1) * d for k, d in zip(kernel, dilation)]
        padding = tuple(choose.randint(0, r // 2) for r in reach)
        extra = (tuple(choose.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation))
                 if transposed else (0,) * rank)
        # A plain layer's window has to fit in once.
        size = tuple(max(r + 1, choose.randint(3, 7)) for r in reach)
        yield pytest.param(
            transposed, groups * choose.randint(1, 3), groups * choose.randint(1, 3), size,
            dict(kernel_size=kernel, stride=stride, padding=padding, dilation=dilation,
                 groups=groups, bias=choose.random() < 0.7),
            extra, id=f"{rank}d-{'transposed' if transposed else 'plain'}-g{groups}"
                      f"{'-dilated' if dilated else ''}")


@pytest.mark.parametrize("transposed, channels, out, size, options, extra", list(make_cases()))
def test_layer(transposed, channels, out, size, options, extra, tmp_path):
    rank = len(size)
    more = dict(output_padding=extra) if transposed else {}
    kind = getattr(torch.nn, f"Conv{'Transpose' if transposed else ''}{rank}d")
    model = torch.nn.ModuleDict({"up": kind(channels, out, **options, **more)}).double()
    rng = np.random.default_rng([channels, out, *size])
    integers = lambda shape: rng.integers(-4, 5, shape).astype(np.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(integers(tuple(parameter.shape))))
    x = torch.from_numpy(integers((2, channels, *size))).requires_grad_()
    y = model["up"](x)
    g = torch.from_numpy(integers(tuple(y.shape)))
    y.backward(g)

    f32 = lambda tensor: tensor.detach().numpy().astype(np.float32)
    state = {name: f32(tensor) for name, tensor in model.state_dict().items()}
    made = run_layer(
        "torch", tmp_path, state, "up.", f32(x), f32(g), transposed=transposed,
        stride=options["stride"], dilation=options["dilation"], groups=options["groups"],
        output_padding=extra, pads=[(p, p) for p in options["padding"]])
    groups = options["groups"]
    np.testing.assert_array_equal(made["y"], f32(y))
    np.testing.assert_array_equal(made["dx"], f32(x.grad))
    np.testing.assert_array_equal(made["w"], stored(state["up.weight"], groups, transposed))
    np.testing.assert_array_equal(
        made["dw"], stored(f32(model["up"].weight.grad), groups, transposed))
    assert ("db" in made) == options["bias"]
    if options["bias"]:
        np.testing.assert_array_equal(made["db"].ravel(), f32(model["up"].bias.grad))
