"""Problem strings, as docs/command-line.md describes them, read into a layer.

Only what the benchmark can time: no mask, no empty sizes, no `convolution:` texts.
"""

from __future__ import annotations

import dataclasses
import re

ACTIVATIONS = ("none", "relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh")
FIELDS = ("in", "oc", "k", "s", "d", "ld", "g", "bg", "pad", "layout", "dtype", "grad",
          "bias", "residual", "act", "mask")


class ProblemError(ValueError):
    """A problem string that cannot be used; the message names the field."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A layer as its problem string says it. Sizes are elements; tuples have one
    entry a spatial dimension; `padding` is resolved to (low, high) pairs that are
    added to the dilated input."""

    text: str
    transposed: bool
    size: tuple
    in_channels: int
    out_channels: int
    kernel: tuple
    stride: tuple
    dilation: tuple
    input_dilation: tuple
    groups: int
    batch_groups: int
    padding: tuple
    channels_last: bool
    dtype: str  # f32 or f64
    gradient: str  # "", "input" or "weight"
    bias: bool
    residual: bool
    activation: str
    slope: float

    @property
    def rank(self):
        return len(self.size)

    @property
    def element_bytes(self):
        return 4 if self.dtype == "f32" else 8

    def data_shape(self, batch, channels, size):
        """Of an array of data in the problem's layout."""
        if self.channels_last:
            return (batch, *size, channels)
        return (batch, channels, *size)

    def weight_shape(self):
        per_group = self.in_channels // self.groups
        if self.transposed:
            return (*self.kernel, self.out_channels, per_group)
        return (*self.kernel, per_group, self.out_channels)


def ceil_div(a, b):
    return -(-a // b)


def same_padding(transposed, size, kernel, stride, dilation, input_dilation):
    """(low, high) of one dimension with pad=same."""
    reach = (kernel - 1) * dilation + 1
    if transposed:
        low = reach - 1 if stride >= reach else ceil_div(reach + stride - 2, 2)
        return low, reach + stride - 2 - low
    dilated = (size - 1) * input_dilation + 1
    outputs = ceil_div(dilated, stride)
    total = max((outputs - 1) * stride + reach - dilated, 0)
    return total // 2, total - total // 2


def valid_padding(transposed, kernel, stride, dilation):
    """(low, high) of one dimension with pad=valid."""
    if not transposed:
        return 0, 0
    reach = (kernel - 1) * dilation + 1
    return reach - 1, max(reach, stride) - 1


def _integer(field, text):
    if not re.fullmatch(r"-?\d+", text):
        raise ProblemError(f"{field}={text}: valid: an integer")
    return int(text)


def _positive(field, text):
    value = _integer(field, text)
    if value < 1:
        raise ProblemError(f"{field}={text}: valid: at least 1")
    return value


def _list(field, text, rank):
    parts = [_positive(field, part) for part in text.split("x")]
    if len(parts) == 1:
        parts *= rank
    if len(parts) != rank:
        raise ProblemError(f"{field}={text}: valid: one integer, or {rank} with 'x' between")
    return tuple(parts)


def _explicit_padding(text, rank):
    pairs = []
    for part in text.split("x"):
        ends = part.split(":")
        if len(ends) > 2:
            raise ProblemError(f"pad={text}: valid: same, valid, N, LOW:HIGH, or {rank} of these")
        pairs.append((_integer("pad", ends[0]), _integer("pad", ends[-1])))
    if len(pairs) == 1:
        pairs *= rank
    if len(pairs) != rank:
        raise ProblemError(f"pad={text}: valid: one padding, or {rank} with 'x' between")
    return tuple(pairs)


def _fields(text):
    """The operation's two facts and a dict of the fields."""
    operation, colon, rest = text.partition(":")
    match = re.fullmatch(r"conv(T?)([123])d", operation)
    if not match or not colon:
        raise ProblemError(f"operation '{operation}': valid: conv1d, conv2d, conv3d, convT1d, "
                           "convT2d, convT3d, then ':' and fields")
    fields = {}
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if key not in FIELDS:
            raise ProblemError(f"field '{key}': valid: {', '.join(FIELDS)}")
        if key in fields:
            raise ProblemError(f"field '{key}' appears twice; valid: each field once")
        if bool(equals) == (key in ("bias", "residual")) or (equals and not value):
            raise ProblemError(f"field '{part}': valid: bias and residual alone, others "
                               "with '=' and a value")
        fields[key] = value
    for key in ("in", "oc", "k"):
        if key not in fields:
            raise ProblemError(f"{key}: is missing; valid: in=, oc= and k= are required")
    if "mask" in fields:
        raise ProblemError("mask: the benchmark times no masks; valid: none")
    return match.group(1) == "T", int(match.group(2)), fields


def _word(fields, key, valid):
    value = fields.get(key, valid[0])
    if value not in valid:
        raise ProblemError(f"{key}={value}: valid: {', '.join(filter(None, valid))}")
    return value


def _activation(text):
    name, colon, slope = text.partition(":")
    if name not in ACTIVATIONS or (colon and name != "leaky_relu"):
        raise ProblemError(f"act={text}: valid: {', '.join(ACTIVATIONS)}, leaky_relu:SLOPE")
    try:
        return name, float(slope) if colon else 0.01
    except ValueError:
        raise ProblemError(f"act={text}: valid: a number after leaky_relu:") from None


def _padding(text, transposed, size, kernel, stride, dilation, input_dilation):
    if text == "same":
        return tuple(same_padding(transposed, *values) for values in
                     zip(size, kernel, stride, dilation, input_dilation))
    if text == "valid":
        return tuple(valid_padding(transposed, *values) for values in
                     zip(kernel, stride, dilation))
    return _explicit_padding(text, len(size))


def parse(text):
    """The Problem that `text` says; raises ProblemError."""
    transposed, rank, fields = _fields(text)
    layout = _word(fields, "layout", ("channels_last", "channels_first"))
    sizes = [_positive("in", part) for part in fields["in"].split("x")]
    if len(sizes) != rank + 1:
        raise ProblemError(f"in={fields['in']}: valid: {rank} spatial sizes and the channels")
    last = layout == "channels_last"
    channels, size = (sizes[-1], sizes[:-1]) if last else (sizes[0], sizes[1:])
    kernel = _list("k", fields["k"], rank)
    stride, dilation, input_dilation = (
        _list(key, fields.get(key, "1"), rank) for key in ("s", "d", "ld"))
    if transposed and any(value != 1 for value in input_dilation):
        raise ProblemError(f"ld={fields['ld']}: valid: 1 for a transposed convolution")
    out_channels = _positive("oc", fields["oc"])
    groups, batch_groups = (_positive(key, fields.get(key, "1")) for key in ("g", "bg"))
    if channels % groups or out_channels % groups:
        raise ProblemError(f"g={groups}: valid: a divisor of {channels} and {out_channels}")
    if out_channels % batch_groups or min(groups, batch_groups) > 1:
        raise ProblemError(f"bg={batch_groups}: valid: a divisor of oc, and 1 with g=")
    activation, slope = _activation(fields.get("act", "none"))
    problem = Problem(
        text=text, transposed=transposed, size=tuple(size), in_channels=channels,
        out_channels=out_channels, kernel=kernel, stride=stride, dilation=dilation,
        input_dilation=input_dilation, groups=groups, batch_groups=batch_groups,
        padding=_padding(fields.get("pad", "same"), transposed, size, kernel, stride, dilation,
                         input_dilation),
        channels_last=last, dtype=_word(fields, "dtype", ("f32", "f64")),
        gradient=_word(fields, "grad", ("", "input", "weight")), bias="bias" in fields,
        residual="residual" in fields, activation=activation, slope=slope)
    if problem.gradient and (problem.bias or problem.residual or activation != "none"):
        raise ProblemError(f"grad={problem.gradient}: valid: without bias, residual and act")
    if problem.gradient and batch_groups > 1:
        raise ProblemError(f"bg={batch_groups}: valid: 1 with grad=")
    return problem
