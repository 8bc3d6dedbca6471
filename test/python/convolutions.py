"""Random calls of lax.conv_general_dilated, each with a one-line reproducer."""

import dataclasses
import math
import random

import numpy as np


@dataclasses.dataclass(frozen=True)
class Call:
    """Shapes and arguments; `repr` is Python that makes the same call again."""

    lhs: tuple
    rhs: tuple
    strides: tuple
    padding: tuple
    lhs_dilation: tuple
    rhs_dilation: tuple
    specs: tuple
    groups: int = 1
    batch_groups: int = 1
    dtype: str = "float32"
    seed: int = 0

    def arguments(self):
        return dict(
            window_strides=self.strides, padding=self.padding,
            lhs_dilation=self.lhs_dilation, rhs_dilation=self.rhs_dilation,
            dimension_numbers=self.specs, feature_group_count=self.groups,
            batch_group_count=self.batch_groups,
        )

    def defined(self, x, w, g=None):
        """The results y, dx and dw (the latter two if `g` is given, the gradient of y)
        by the definition: in each dimension tap k of output o reads input i where
        o * stride + k * rhs_dilation - low = i * lhs_dilation. y is linear in x and w,
        so all three are one sum of products, over different indices.

        Not XLA's results: in float32 it reads beside the input where the low padding
        is negative and the high one positive (github.com/openxla/xla/issues/48713),
        and it ends the process on some calls with batch groups (its algebraic
        simplifier: "Window dimensions do not match RHS shape")."""
        letters = [a for a in self.specs[1] if a not in "OI"]
        axes = lambda spec, first, second: [spec.index(a) for a in (first, second, *letters)]
        order = (axes(self.specs[0], "N", "C"), axes(self.specs[1], "O", "I"),
                 axes(self.specs[2], "N", "C"))
        x, w = (a.astype("float64").transpose(o) for a, o in zip((x, w), order))
        # Groups become an axis (a) of x, of w and of y.
        groups, batches = self.groups, self.batch_groups
        split = lambda a, axis, n: a.reshape(*a.shape[:axis], n, -1, *a.shape[axis + 1:])
        fold = lambda a, axis: a.reshape(*a.shape[:axis], -1, *a.shape[axis + 2:])
        x = split(split(x, 1, groups), 0, batches)  # b n a c ...
        w = split(split(w, 0, groups), 1, batches)  # a b o c ...
        used = [
            np.array([[[o * s + k * r - low == i * l for i in range(n)]
                       for k in range(size)] for o in range(
                           ((n - 1) * l + low + high - (size - 1) * r) // s + 1)], float)
            for s, r, (low, high), l, n, size in zip(
                self.strides, self.rhs_dilation, self.padding, self.lhs_dilation,
                x.shape[4:], w.shape[4:])
        ]
        i, k, o = "ijlm"[: len(used)], "pqrs"[: len(used)], "uvxy"[: len(used)]
        terms = [o[d] + k[d] + i[d] for d in range(len(used))]
        names = {"x": "bnac" + i, "w": "abtc" + k, "g": "nabt" + o}

        def product(result, **given):
            text = ",".join([*(names[name] for name in given), *terms])
            return np.einsum(f"{text}->{names[result]}", *given.values(), *used, optimize=True)

        back = lambda a, order: np.ascontiguousarray(a.transpose(np.argsort(order)))
        channels = lambda a: fold(fold(a, 1), 1)  # n (a b t) ...
        results = {"y": back(channels(product("g", x=x, w=w)), order[2])}
        if g is not None:
            g = g.astype("float64").transpose(order[2])
            g = split(split(g, 1, groups), 2, batches)
            dx, dw = product("x", w=w, g=g), product("w", x=x, g=g)
            results["dx"] = back(fold(fold(dx, 2), 0), order[0])
            results["dw"] = back(fold(fold(dw, 0), 0), order[1])
        return results

    def arrays(self):
        """Small integers: sums in float32 are exact in any order."""
        rng = np.random.default_rng(self.seed)
        return tuple(
            rng.integers(-3, 4, shape).astype(self.dtype)
            for shape in (self.lhs, self.rhs)
        )


def random_call(seed, dtypes=("float32",)):
    rng = random.Random(seed)
    rank = rng.choice((1, 2, 2, 3, 3))
    pick = lambda low, high: tuple(rng.randint(low, high) for _ in range(rank))
    kernel = pick(1, 4)
    strides = pick(1, 3)
    lhs_dilation = pick(1, 3) if rng.random() < 0.5 else (1,) * rank
    rhs_dilation = pick(1, 2)
    spatial = pick(1, 7)
    padding = []
    for i in range(rank):
        reach = (kernel[i] - 1) * rhs_dilation[i]
        lo, hi = rng.randint(-1, reach + 1), rng.randint(-1, reach + 2)
        length = (spatial[i] - 1) * lhs_dilation[i] + 1
        hi += max(0, reach + 1 - length - lo - hi)  # at least one output
        padding.append((lo, hi))
    groups = batch_groups = 1
    kind = rng.random()
    if kind < 0.25:
        groups = rng.randint(2, 4)
    elif kind < 0.4:
        batch_groups = rng.randint(2, 3)
    inputs = rng.choice((1, 2, 3, 5))
    outputs = rng.choice((1, 2, 3, 8, 17)) * groups * batch_groups
    batch = rng.randint(1, 3) * batch_groups

    letters = [str(i) for i in range(rank)]

    def spec(first, second):
        axes = [first, second, *letters]
        rng.shuffle(axes)
        return "".join(axes)

    specs = (spec("N", "C"), spec("O", "I"), spec("N", "C"))
    # JAX counts spatial dimensions as they appear in the kernel.
    order = [a for a in specs[1] if a in letters]
    lengths = lambda sizes: dict(zip(order, sizes))
    lhs = {"N": batch, "C": inputs * groups, **lengths(spatial)}
    rhs = {"O": outputs, "I": inputs, **lengths(kernel)}
    return Call(
        lhs=tuple(lhs[a] for a in specs[0]), rhs=tuple(rhs[a] for a in specs[1]),
        strides=strides, padding=tuple(padding), lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation, specs=specs, groups=groups,
        batch_groups=batch_groups, dtype=rng.choice(dtypes), seed=seed,
    )
