"""oneDNN, through the library that onednn.cpp is built into.

Variants: "packed" times the layer with its weights in oneDNN's format, "packing"
with bringing them there in each call. The library's path is the environment's
BENCH_ONEDNN.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np

from compare_lib import arrays
from compare_lib.convolution import convolution_of
from compare_lib.fit import Unsupported, fit_input, fits_of, note_of

from .prepared import Prepared

# In the order of onednn.cpp's table.
ACTIVATIONS = ("none", "relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh")

Three = ctypes.c_int64 * 3
FloatPointer = ctypes.POINTER(ctypes.c_float)


class Layer(ctypes.Structure):
    """Mirrors onednn.cpp's BenchLayer."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in
          ("rank", "batch", "in_channels", "out_channels", "groups")),
        *((name, Three) for name in
          ("input", "output", "kernel", "stride", "dilation", "low", "high")),
        *((name, ctypes.c_int64) for name in
          ("transposed", "weight_gradient", "channels_last", "packing", "bias", "residual",
           "activation")),
        ("slope", ctypes.c_double)]


def load():
    library = ctypes.CDLL(os.environ["BENCH_ONEDNN"])
    library.bench_prepare.restype = ctypes.c_void_p
    library.bench_run.restype = ctypes.c_double
    library.bench_run.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    library.bench_output.argtypes = [ctypes.c_void_p, FloatPointer]
    library.bench_release.argtypes = [ctypes.c_void_p]
    library.bench_prepare.argtypes = [ctypes.POINTER(Layer), *[FloatPointer] * 4,
                                      ctypes.c_char_p, ctypes.c_size_t]
    return library


def version(threads):
    if not os.environ.get("BENCH_ONEDNN"):
        raise OSError("not installed, or bench/peers/onednn.cpp does not compile")
    text = ctypes.create_string_buffer(64)
    load().bench_version(text, ctypes.c_size_t(64))
    return text.value.decode()


def pointer(array):
    return None if array is None else array.ctypes.data_as(FloatPointer)


class OneDnnLayer(Prepared):
    def __init__(self, problem, batch, operands, packing):
        conv = convolution_of(problem)
        # Padding after the input may be negative, down to the stride.
        fits = fits_of(conv, symmetric=False, largest_extra=lambda stride, dilation: stride - 1)
        self.problem, self.conv, self.batch = problem, conv, batch
        self.library = load()
        weight_gradient = problem.gradient == "weight"
        stride = [dim.ld if conv.transposed else dim.ws for dim in conv.dims]
        data = fit_input(arrays.to_channels_first(problem, operands["input"]), fits)
        if any(fit.drop_low or fit.drop_high for fit in fits):
            raise Unsupported("padding")
        layer = Layer(
            rank=problem.rank, batch=batch, in_channels=conv.in_channels,
            out_channels=conv.out_channels, groups=conv.groups, input=Three(*data.shape[2:]),
            output=Three(*conv.out_size), kernel=Three(*problem.kernel), stride=Three(*stride),
            dilation=Three(*problem.dilation), low=Three(*(fit.low for fit in fits)),
            high=Three(*(fit.high - fit.extra for fit in fits)), transposed=conv.transposed,
            weight_gradient=weight_gradient, channels_last=problem.channels_last,
            packing=packing, bias=problem.bias, residual=problem.residual,
            activation=ACTIVATIONS.index(problem.activation),
            slope=problem.slope if problem.activation == "leaky_relu" else 0)
        values = [arrays.from_channels_first(problem, data),
                  operands["grad_output"] if weight_gradient else self.weights(operands),
                  operands.get("bias"), operands.get("residual")]
        values = [None if v is None else np.ascontiguousarray(v, np.float32) for v in values]
        text = ctypes.create_string_buffer(256)
        self.handle = self.library.bench_prepare(ctypes.byref(layer), *map(pointer, values), text,
                                                 ctypes.c_size_t(256))
        if not self.handle:
            raise Unsupported(text.value.decode())
        self.note = "; ".join(filter(None, [text.value.decode(), note_of(fits)]))

    def weights(self, operands):
        """(g,) o, i, space...: of a transposed convolution as it is applied to input
        elements, like PyTorch's, but with the output channels first."""
        if not self.conv.transposed:
            return arrays.window_weight(self.problem, operands["weight"])
        return self.swapped(arrays.transposed_weight(self.problem, operands["weight"]),
                            self.conv.in_channels)

    def swapped(self, taps, leading):
        """(leading, b/g, space...) to (b, leading/g, space...), group by group."""
        g, (_, per_group, *space) = self.conv.groups, taps.shape
        grouped = taps.reshape(g, leading // g, per_group, *space)
        return np.swapaxes(grouped, 1, 2).reshape(g * per_group, leading // g, *space)

    def run(self, count):
        seconds = self.library.bench_run(self.handle, count)
        if seconds < 0:
            raise RuntimeError("a call failed")
        return seconds

    def output(self):
        conv, problem = self.conv, self.problem
        if problem.gradient != "weight":
            result = np.empty(conv.output_shape(self.batch), np.float32)
            self.library.bench_output(self.handle, pointer(result))
            return result
        taps = np.empty((conv.out_channels, conv.in_channels // conv.groups, *problem.kernel),
                        np.float32)
        self.library.bench_output(self.handle, pointer(taps))
        if not conv.transposed:
            return arrays.weight_from_window(problem, taps)
        return arrays.weight_from_transposed(problem, self.swapped(taps, conv.out_channels))

    def release(self):
        self.library.bench_release(self.handle)


def prepare(problem, batch, operands, variant, threads):
    if problem.dtype != "f32":
        raise Unsupported(problem.dtype)
    return OneDnnLayer(problem, batch, operands, packing=variant == "packing")
