"""The classes; what they are is said in the package."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from brainstate import nn

from ..jax import _lowering

# Before 0.5 the padding of transposed layers came to other sizes, their kernels
# were not flipped, and biases ignored channel_first.
_OLD = not hasattr(nn.ConvTranspose3d, "_resolve_padding")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _pairs(padding: Any, rank: int) -> Any:
    """'SAME', 'VALID', or a (low, high) pair for each dimension."""
    if isinstance(padding, str) and padding in ("SAME", "VALID"):
        return padding
    if _is_int(padding):
        return ((padding, padding),) * rank
    if isinstance(padding, Sequence) and not isinstance(padding, str) and padding:
        if all(map(_is_int, padding)):
            if len(padding) == rank:  # a pair in one dimension is below
                return tuple((p, p) for p in padding)
            if len(padding) == 2:
                return (tuple(padding),) * rank
        elif all(
            isinstance(p, Sequence) and len(p) == 2 and all(map(_is_int, p))
            for p in padding
        ):
            if len(padding) in (1, rank):
                return tuple(map(tuple, padding)) * (rank // len(padding))
    raise ValueError(
        f"padding {padding!r}; valid: 'SAME', 'VALID', an int, {rank} ints, a"
        f" (low, high) pair, or {rank} such pairs"
    )


def _transposed_pair(size: int, stride: int, mode: str) -> tuple[int, int]:
    """The zeros around the dilated input; `size` is that of the dilated kernel."""
    if mode == "VALID":
        return size - 1, max(size, stride) - 1
    low = size - 1 if stride >= size else (size + stride - 1) // 2
    return low, size + stride - 2 - low


class _Layer:
    """Before a class of brainstate's: its computation is marked as convjit's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        named = self._signature.bind(self, *args, **kwargs).arguments
        named.pop("self")
        rank = self.num_spatial_dims
        if "padding" in named:
            named["padding"] = _pairs(named["padding"], rank)
        if not _OLD:
            super().__init__(**named)
            return
        in_size, groups = tuple(named["in_size"]), named.get("groups", 1)
        if len(in_size) != rank + 1:
            raise ValueError(
                f"in_size {in_size}; valid: {rank} spatial sizes and the channels"
            )
        first = named.get("channel_first", False)
        for name, channels in (
            ("in_channels", in_size[0 if first else -1]),
            ("out_channels", named["out_channels"]),
        ):
            if channels % groups:
                raise ValueError(f"{name} {channels} is not a multiple of groups {groups}")
        b_init = named.pop("b_init", None)
        super().__init__(**named)
        self.b_initializer = b_init
        if b_init is not None:
            self._add_bias(b_init, named.get("param_type"))

    def _add_bias(self, b_init: Any, param_type: Any) -> None:
        ones = (1,) * self.num_spatial_dims
        channels = (self.out_channels,)
        shape = (1, *channels, *ones) if self.channel_first else (*ones, *channels)
        params = dict(self.weight.value)
        bias = nn.init.param(b_init, shape, allow_none=True)
        # The order of brainstate's own: the gain is last.
        gain = {"gain": params.pop("gain")} if "gain" in params else {}
        self.weight = (param_type or type(self.weight))({**params, "bias": bias, **gain})
        x = jax.ShapeDtypeStruct((1, *self.in_size), params["weight"].dtype)
        self.out_size = jax.eval_shape(self._conv_op, x, self.weight.value).shape[1:]

    def _conv_op(self, x: Any, params: Any) -> Any:
        with _lowering.marked():
            return super()._conv_op(x, params)


class _Transposed(_Layer):
    """Before a transposed class: `lhs_dilation`, and the documented output."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "lhs_dilation" in self._signature.parameters:  # before 0.5
            named = self._signature.bind(self, *args, **kwargs).arguments
            lhs_dilation = named.get("lhs_dilation", 1)
        else:
            lhs_dilation = kwargs.pop("lhs_dilation", 1)
        super().__init__(*args, **kwargs)
        values = (
            tuple(lhs_dilation) if isinstance(lhs_dilation, Sequence)
            and not isinstance(lhs_dilation, str) else (lhs_dilation,)
        )
        rank = self.num_spatial_dims
        if len(values) not in (1, rank) or not all(map(_is_int, values)):
            raise TypeError(f"lhs_dilation {lhs_dilation!r}; valid: an int or {rank} ints")
        values *= rank // len(values)
        if values not in ((1,) * rank, self.stride):
            raise ValueError(
                f"lhs_dilation {lhs_dilation!r}; valid: 1, or the stride"
                f" {self.stride}, which dilates the input already"
            )
        self.lhs_dilation = values
        if _OLD and self.padding_mode != "explicit":
            self.padding = self.padding_mode  # not the pairs it was made into

    if _OLD:

        def _resolve_padding(self) -> Any:
            if self.padding_mode == "explicit":
                return self.padding
            return tuple(
                _transposed_pair((k - 1) * d + 1, s, self.padding_mode)
                for k, s, d in zip(self.kernel_size, self.stride, self.rhs_dilation)
            )

        def _conv_op(self, x: Any, params: Any) -> Any:
            w = params["weight"]
            if self.w_mask is not None:
                w = w * self.w_mask
            with _lowering.marked():
                y = jax.lax.conv_general_dilated(
                    x, jnp.flip(w, tuple(range(self.num_spatial_dims))),
                    (1,) * self.num_spatial_dims, self._resolve_padding(),
                    self.stride, self.rhs_dilation,
                    feature_group_count=self.groups,
                    dimension_numbers=self.dimension_numbers,
                )
            return y + params["bias"] if "bias" in params else y


def _class(name: str) -> type:
    base = getattr(nn, name)
    before = _Transposed if name.startswith("ConvTranspose") else _Layer
    signature = inspect.signature(base.__init__)
    shown = list(signature.parameters.values())[1:]
    if "lhs_dilation" not in signature.parameters:
        # By name alone: the arguments that follow padding keep their places.
        shown.append(inspect.Parameter(
            "lhs_dilation", inspect.Parameter.KEYWORD_ONLY, default=1
        ))
    return type(name, (before, base), {
        "__doc__": base.__doc__,
        "__module__": __package__,
        "__signature__": signature.replace(parameters=shown),
        "_signature": signature,
    })


Conv1d, Conv2d, Conv3d = map(_class, ("Conv1d", "Conv2d", "Conv3d"))
ScaledWSConv1d, ScaledWSConv2d, ScaledWSConv3d = map(
    _class, ("ScaledWSConv1d", "ScaledWSConv2d", "ScaledWSConv3d")
)
ConvTranspose1d, ConvTranspose2d, ConvTranspose3d = map(
    _class, ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
)
