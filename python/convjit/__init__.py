"""convjit: one convolution layer, one kernel made for it and this CPU.

    import convjit
    y = convjit.conv_transpose(x, w, stride=2)                    # NumPy, DLPack
    kernel = convjit.compile("convT3d:in=8x16x16x64,oc=32,k=4,s=2")

`convjit.jax` makes JAX run these kernels; `python -m convjit.doctor` says
whether all is well here.
"""

from . import _convjit
from ._gradient import WeightGradient
from ._kernel import STAGES, Kernel, Packed
from ._layers import compile, conv, conv_transpose, set_threads, threads

__version__ = _convjit.__version__
__all__ = [
    "STAGES", "Kernel", "Packed", "WeightGradient", "compile", "conv",
    "conv_transpose", "set_threads", "threads",
]
