"""convjit.brainstate against brainstate's own classes, and the definition."""

import inspect

import numpy as np
import pytest

jax = pytest.importorskip("jax")
brainstate = pytest.importorskip("brainstate")
import jax.numpy as jnp
from jax import lax

import convjit.brainstate as layers
import convjit.jax

# Releases before 0.5 compute something else where the documentation is the same.
RIGHT = hasattr(brainstate.nn.ConvTranspose3d, "_resolve_padding")
FAMILY = layers.__all__
RNG = np.random.default_rng(0)


def integers(*shape):
    return RNG.integers(-3, 4, shape).astype(np.float32)


@pytest.fixture(autouse=True)
def report(convjit_jax):
    """What was taken, and that nothing is installed."""
    assert not convjit_jax.installed()
    # Many small XLA programs; ours are not XLA's to optimize.
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield lambda: [entry for entry in convjit_jax.report() if entry.taken]
    jax.config.update("jax_disable_most_optimizations", before)
    left = [entry for entry in convjit_jax.report() if not entry.taken]
    assert not left, str(left)


def rank_of(name):
    return int(name[-2])


def sizes(name, channels=4, first=False):
    spatial = (6, 5, 5)[: rank_of(name)]
    return (channels, *spatial) if first else (*spatial, channels)


def shape_of_weight(name, k, channels, out, groups):
    pair = channels // groups, out
    return (*k, *(pair[::-1] if "Transpose" in name else pair))


def make(module, kind, *, first=False, groups=1, bias=True, mask=False, **options):
    """A layer with integers as parameters, from one seed for both modules."""
    rng = np.random.default_rng(1)
    rank = rank_of(kind)
    k = (3, 2, 4)[:rank]
    w = rng.integers(-3, 4, shape_of_weight(kind, k, 4, 6, groups)).astype(np.float32)
    b = rng.integers(-3, 4, 6).astype(np.float32)
    b = b.reshape((1, 6) + (1,) * rank if first else (1,) * rank + (6,))
    m = rng.integers(0, 2, w.shape).astype(bool if mask == "bool" else np.float32)
    return getattr(module, kind)(
        sizes(kind, first=first), 6, k, channel_first=first, groups=groups,
        w_init=jnp.asarray(w), b_init=jnp.asarray(b) if bias else None,
        w_mask=jnp.asarray(m) if mask else None, **options,
    )


def defined(layer, x):
    """The documentation's transposed layer, by JAX's own function."""
    rank = layer.num_spatial_dims
    w = layer.weight.value["weight"]
    if layer.w_mask is not None:
        w = w * layer.w_mask
    w = jnp.flip(w, tuple(range(rank)))  # (k..., out, in)
    letters = "HWD"[:rank]
    data = f"NC{letters}" if layer.channel_first else f"N{letters}C"
    y = lax.conv_transpose(
        x, w, layer.stride, layer.padding, layer.rhs_dilation,
        dimension_numbers=(data, f"{letters}OI", data),
    )
    return y + layer.weight.value.get("bias", 0)


OPTIONS = [
    dict(),
    dict(stride=2),
    dict(stride=2, padding="VALID"),
    dict(stride=3, padding="VALID", bias=False),
    dict(rhs_dilation=2, padding=2, mask=True),
    dict(stride=2, first=True, padding=((1, 2),)),
    dict(stride=2, groups=2, mask=True),
    dict(stride=2, mask="bool"),
]


@pytest.mark.skipif(not RIGHT, reason="this release computes something else")
@pytest.mark.parametrize("name, options", [
    (name, options) for i, name in enumerate(FAMILY)
    for options in (OPTIONS if name == "ConvTranspose3d" else OPTIONS[i % 2 + 1::3])
], ids=lambda v: v if isinstance(v, str) else None)
def test_as_brainstates_own(name, options, report):
    ours, own = (make(module, name, **options) for module in (layers, brainstate.nn))
    assert isinstance(ours, getattr(brainstate.nn, name))
    assert ours.out_size == own.out_size and ours.kernel_shape == own.kernel_shape
    x = integers(2, *ours.in_size)

    def everything(layer):
        loss = lambda p, x: jnp.sum(layer._conv_op(x, p) ** 2)
        step = lambda p, x: (layer(x), layer(x[0]), jax.grad(loss, (0, 1))(p, x))
        return jax.jit(step)(layer.weight.value, x)

    expected, found = map(everything, (own, ours))
    assert report()
    # Integers below 2^24: any order of summation gives the same bits, except
    # where weights are standardized.
    exact = not name.startswith("ScaledWS")
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b) if exact else
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3),
        found, expected,
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride, dilation, first", [
    (1, 1, False), (2, 1, False), (3, 1, True), (5, 1, False), (2, 2, True),
])
@pytest.mark.parametrize("rank", [1, 3])
def test_documented_output(rank, stride, dilation, first, padding, report):
    layer = make(layers, f"ConvTranspose{rank}d", stride=stride, first=first,
                 rhs_dilation=dilation, padding=padding, mask=True)
    x = integers(2, *layer.in_size)
    y = layer(x)
    assert report() and y.shape == (2, *layer.out_size)
    np.testing.assert_array_equal(y, defined(layer, x))
    spatial = layer.in_size[1:] if first else layer.in_size[:-1]
    size = [(k - 1) * dilation + 1 for k in layer.kernel_size]
    extra = [max(k - stride, 0) if padding == "VALID" else 0 for k in size]
    expected = tuple(n * stride + e for n, e in zip(spatial, extra))
    assert (layer.out_size[1:] if first else layer.out_size[:-1]) == expected


def test_taken_wherever_it_is_compiled(convjit_jax):
    """Under transformations made elsewhere; and nothing else is."""
    layer, own = (make(m, "ConvTranspose2d", stride=2) for m in (layers, brainstate.nn))
    x = integers(3, 2, *layer.in_size)

    def loss(layer):
        step = jax.checkpoint(lambda p, x: jnp.sum(layer._conv_op(x, p) ** 2))
        return jax.jit(jax.vmap(jax.value_and_grad(step, (0, 1)), (None, 0)))

    taken = lambda f, *a: f.lower(*a).as_text().count(f"@{convjit_jax.TARGET}")
    p = layer.weight.value
    assert taken(loss(layer), p, x) >= 3
    assert taken(loss(own), p, x) == 0
    with convjit_jax.enabled(False):
        assert taken(loss(layer), p, x) == 0
    convjit_jax.install()
    assert taken(loss(own), p, x) >= 3
    convjit_jax.uninstall()
    assert taken(loss(layer), p, x) >= 3 and taken(loss(own), p, x) == 0

    def scanned(x):
        return lax.scan(lambda c, x: (c, layer(x)), 0, x)[1]

    assert taken(jax.jit(scanned), x) == 1


def test_training_step(report):
    layer = make(layers, "ConvTranspose3d", stride=2)
    x = integers(2, *layer.in_size)

    @brainstate.transform.jit
    def step(x):
        weights = layer.states(brainstate.ParamState)
        loss = lambda: jnp.sum(layer(x) ** 2)
        return brainstate.transform.grad(loss, weights, return_value=True)()

    grads, value = step(x)
    np.testing.assert_array_equal(value, jnp.sum(defined(layer, x) ** 2))
    expected = jax.grad(lambda w: jnp.sum(layer._conv_op(x, w) ** 2))(layer.weight.value)
    jax.tree.map(np.testing.assert_array_equal, dict(next(iter(grads.values()))), expected)
    assert len(report()) >= 2


@pytest.mark.parametrize("given, meant", [
    (2, ((2, 2),) * 3), ((1, 2, 0), ((1, 1), (2, 2), (0, 0))), ((1, 2), ((1, 2),) * 3),
    ([(1, 2)], ((1, 2),) * 3), ([(0, 1), (2, 0), (1, 1)], ((0, 1), (2, 0), (1, 1))),
])
@pytest.mark.parametrize("name", ["Conv3d", "ConvTranspose3d"])
def test_padding(name, given, meant):
    one, other = (make(layers, name, padding=p) for p in (given, meant))
    assert one.padding == meant
    x = integers(1, *one.in_size)
    np.testing.assert_array_equal(one(x), other(x))


@pytest.mark.parametrize("name, given, meant", [
    ("ConvTranspose1d", (1, 2), ((1, 2),)), ("Conv1d", (3,), ((3, 3),)),
    ("Conv2d", (1, 2), ((1, 1), (2, 2))),
])
def test_padding_of_lower_ranks(name, given, meant):
    assert make(layers, name, padding=given).padding == meant


@pytest.mark.parametrize("options, error, says", [
    (dict(padding="same"), ValueError, "padding 'same'"),
    (dict(padding=(1, 2, 3, 4)), ValueError, "padding"),
    (dict(padding=1.5), ValueError, "padding 1.5"),
    (dict(padding=()), ValueError, "padding"),
    (dict(lhs_dilation=3, stride=2), ValueError, "lhs_dilation 3"),
    (dict(lhs_dilation="2"), TypeError, "lhs_dilation '2'"),
    (dict(lhs_dilation=(1, 2)), TypeError, "lhs_dilation"),
    (dict(stride=(1, 2)), TypeError, "stride"),
    (dict(groups=5), ValueError, "groups"),
    (dict(no_such=1), TypeError, "no_such"),
    (dict(w_init=None), ValueError, None),
])
def test_errors_name_the_argument(options, error, says):
    arguments = dict(w_init=jnp.ones((3, 3, 3, 5, 4)) if options.get("groups") is None
                     else None, **{k: v for k, v in options.items() if k != "w_init"})
    if "w_init" in options:
        arguments["w_init"] = options["w_init"]
    if options.get("groups"):
        arguments["w_init"] = jnp.ones(1)
    with pytest.raises(error, match=says):
        layers.ConvTranspose3d((5, 4, 3, 4), 5, 3, **arguments)


@pytest.mark.parametrize("lhs_dilation", [1, 2, (2,), (2, 2, 2)])
def test_lhs_dilation(lhs_dilation):
    layer = make(layers, "ConvTranspose3d", stride=2, lhs_dilation=lhs_dilation)
    assert layer.out_size == (12, 10, 10, 6)
    assert "lhs_dilation" in inspect.signature(layers.ConvTranspose3d).parameters


def test_name_and_param_type():
    class Frozen(brainstate.ParamState):
        pass

    layer = make(layers, "ConvTranspose3d", name="up", param_type=Frozen)
    assert layer.name == "up" and type(layer.weight) is Frozen
    assert list(layer.states()) == [("weight",)]


def outcome(make_and_call):
    try:
        return make_and_call()
    except Exception as error:
        return type(error)


@pytest.mark.skipif(not RIGHT, reason="this release computes something else")
@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose3d", "ScaledWSConv1d"])
@pytest.mark.parametrize("what", ["w", "b", "mask", "x", "w and b", "w, b and x", "none"])
def test_units_as_brainstates_own(name, what):
    """Arrays where it gives arrays, its error where it gives errors."""
    u = pytest.importorskip("brainunit")
    rank = rank_of(name)
    shape = shape_of_weight(name, (3,) * rank, 4, 6, 1)
    unit = lambda key, value, of: value * of if key in what else value

    def run(module):
        layer = getattr(module, name)(
            sizes(name), 6, 3, w_init=unit("w", jnp.ones(shape), u.siemens),
            b_init=unit("b", jnp.ones((1,) * rank + (6,)), u.ampere),
            w_mask=u.Quantity(jnp.ones(shape)) if "mask" in what else None,
        )
        return layer(unit("x", jnp.ones((2, *sizes(name))), u.volt))

    expected, found = (outcome(lambda: run(m)) for m in (brainstate.nn, layers))
    if isinstance(expected, type):
        assert found is expected
    else:
        assert type(found) is type(expected)
        np.testing.assert_allclose(u.get_magnitude(found), u.get_magnitude(expected),
                                   rtol=1e-4, atol=1e-4)
        assert u.get_unit(found) == u.get_unit(expected)
    assert (what == "none") <= (not isinstance(found, type))
