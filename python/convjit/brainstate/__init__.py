"""brainstate's convolution layers, running convjit's kernels.

    from convjit.brainstate import ConvTranspose3d
    layer = ConvTranspose3d((8, 16, 16, 64), 32, kernel_size=4, stride=2)

The classes are subclasses of those in `brainstate.nn`, with the same names,
arguments, parameters and errors. Their convolutions, and the gradients of them,
are convjit's on the CPU wherever they are compiled; nothing else in the process
is touched, and no `convjit.jax.install()` is needed. Within
`convjit.jax.enabled(False)` they are XLA's.

With every brainstate from 0.2 on they do what 0.5 documents: the output of a
transposed layer has in*stride pixels with SAME padding and
in*stride + max(k - stride, 0) with VALID, k being the dilated kernel's size; its
kernel is flipped; and the bias of a layer with `channel_first` lies along the
channels.
"""

from ..jax import _lowering

try:
    import brainstate as _
except ModuleNotFoundError as error:
    if error.name != "brainstate":
        raise
    raise ModuleNotFoundError(
        "convjit.brainstate needs brainstate, and there is none: pip install brainstate",
        name="brainstate",
    ) from None
from ._layers import (
    Conv1d, Conv2d, Conv3d,
    ConvTranspose1d, ConvTranspose2d, ConvTranspose3d,
    ScaledWSConv1d, ScaledWSConv2d, ScaledWSConv3d,
)

__all__ = [
    "Conv1d", "Conv2d", "Conv3d",
    "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "ScaledWSConv1d", "ScaledWSConv2d", "ScaledWSConv3d",
]

# The rule that sees the layers' marks. It leaves everything else to XLA.
_lowering.acquire()
