"""PyTorch, eager: one operator, then the epilogue in place.

Variants are memory formats: channels_last, channels_first. Data and weights are in
that format beforehand, whatever the problem's layout.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from compare_lib import arrays
from compare_lib.convolution import convolution_of
from compare_lib.fit import fit_input, fit_output, fits_of, note_of, unfit_output

from .prepared import Prepared

ACTIVATIONS = {
    "none": lambda y: y,
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
    "silu": lambda y: functional.silu(y, inplace=True),
    "gelu": torch.ops.aten.gelu_,
    "gelu_tanh": lambda y: torch.ops.aten.gelu_(y, approximate="tanh"),
}


def version(threads):
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return torch.__version__


class TorchLayer(Prepared):
    def __init__(self, problem, operands, channels_last):
        self.problem, self.channels_last = problem, channels_last
        conv = self.conv = convolution_of(problem)
        self.fits = fits_of(conv, symmetric=True)
        self.note = note_of(self.fits)
        self.x = self.tensor(fit_input(arrays.to_channels_first(problem, operands["input"]),
                                       self.fits))
        self.stride = [dim.ld if conv.transposed else dim.ws for dim in conv.dims]
        self.padding = [fit.low for fit in self.fits]
        self.extra = [fit.extra for fit in self.fits]
        if problem.gradient == "weight":
            self.prepare_weight_gradient(operands["grad_output"])
        else:
            self.prepare_layer(operands)

    def tensor(self, data):
        """(N, C, space...) with the variant's strides."""
        data = np.ascontiguousarray(np.moveaxis(data, 1, -1) if self.channels_last else data)
        tensor = torch.from_numpy(data)
        return tensor.movedim(-1, 1) if self.channels_last else tensor

    def prepare_layer(self, operands):
        problem, conv = self.problem, self.conv
        weight = (arrays.transposed_weight if conv.transposed else arrays.window_weight)
        self.weight = self.tensor(weight(problem, operands["weight"]))
        self.bias = torch.from_numpy(operands["bias"]) if problem.bias else None
        self.residual = None
        if problem.residual:
            self.residual = self.tensor(unfit_output(
                arrays.to_channels_first(problem, operands["residual"]), self.fits))
        name = "conv_transpose" if conv.transposed else "conv"
        self.function = getattr(functional, f"{name}{problem.rank}d")
        self.activation = ACTIVATIONS.get(
            problem.activation,
            lambda y: functional.leaky_relu(y, problem.slope, inplace=True))
        self.call = self.call_transposed if conv.transposed else self.call_plain

    def prepare_weight_gradient(self, gradient):
        problem, conv = self.problem, self.conv
        self.gradient = self.tensor(unfit_output(arrays.to_channels_first(problem, gradient),
                                                 self.fits))
        first, second = ((conv.in_channels, conv.out_channels) if conv.transposed else
                         (conv.out_channels, conv.in_channels))
        self.weight = self.tensor(np.zeros((first, second // conv.groups, *problem.kernel),
                                           arrays.DTYPES[problem.dtype]))
        self.call = self.call_weight_gradient

    def call_plain(self):
        self.epilogue(self.function(self.x, self.weight, self.bias, self.stride, self.padding,
                                    self.problem.dilation, self.conv.groups))

    def call_transposed(self):
        self.epilogue(self.function(self.x, self.weight, self.bias, self.stride, self.padding,
                                    self.extra, self.conv.groups, self.problem.dilation))

    def epilogue(self, y):
        if self.residual is not None:
            y += self.residual
        self.y = self.activation(y)

    def call_weight_gradient(self):
        self.y = torch.ops.aten.convolution_backward(
            self.gradient, self.x, self.weight, None, self.stride, self.padding,
            self.problem.dilation, self.conv.transposed, self.extra, self.conv.groups,
            [False, True, False])[1]

    def output(self):
        y = self.y.numpy()
        if self.problem.gradient != "weight":
            return arrays.from_channels_first(self.problem, fit_output(y, self.fits))
        back = (arrays.weight_from_transposed if self.conv.transposed else
                arrays.weight_from_window)
        return back(self.problem, y)


def prepare(problem, batch, operands, variant, threads):
    return TorchLayer(problem, operands, variant == "channels_last")
