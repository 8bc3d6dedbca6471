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
