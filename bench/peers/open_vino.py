"""OpenVINO's CPU plugin, in single precision.

Variants say in which order the caller's data are: channels_first as in the ONNX
model, or channels_last, which the plugin is told and may compute in.
"""

from __future__ import annotations

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from .onnx_model import make_model
from .prepared import Prepared

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def version(threads):
    return openvino.__version__


class OpenVinoLayer(Prepared):
    def __init__(self, model, channels_last, threads):
        self.model, self.channels_last, self.note = model, channels_last, model.note
        core = openvino.Core()
        network = core.read_model(model.serialized)
        inputs = model.inputs
        if channels_last:
            network = self.in_channels_last(network)
            inputs = {name: np.ascontiguousarray(np.moveaxis(array, 1, -1))
                      for name, array in inputs.items()}
        compiled = core.compile_model(network, "CPU", {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False})
        self.request = compiled.create_infer_request()
        self.tensors = {name: openvino.Tensor(array, shared_memory=True)
                        for name, array in inputs.items()}
        for name, tensor in self.tensors.items():
            self.request.set_tensor(name, tensor)

    def in_channels_last(self, network):
        first, last = LAYOUTS[self.model.problem.rank]
        steps = PrePostProcessor(network)
        for name in self.model.inputs:
            steps.input(name).tensor().set_layout(openvino.Layout(last))
            steps.input(name).model().set_layout(openvino.Layout(first))
        steps.output("y").model().set_layout(openvino.Layout(first))
        steps.output("y").tensor().set_layout(openvino.Layout(last))
        return steps.build()

    def call(self):
        self.request.infer()

    def output(self):
        y = self.request.get_tensor("y").data
        return self.model.result(np.moveaxis(y, -1, 1) if self.channels_last else y)


def prepare(problem, batch, operands, variant, threads):
    return OpenVinoLayer(make_model(problem, batch, operands), variant == "channels_last", threads)
