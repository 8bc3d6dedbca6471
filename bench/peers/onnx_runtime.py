"""ONNX Runtime's CPU provider. It knows channels first only: data are in that order
beforehand, whatever the problem's layout, and results are written to one buffer."""

from __future__ import annotations

import numpy as np
import onnxruntime

from .onnx_model import make_model
from .prepared import Prepared


def version(threads):
    return onnxruntime.__version__


class OnnxRuntimeLayer(Prepared):
    def __init__(self, model, threads):
        self.model, self.note = model, model.note
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model.serialized, options,
                                                    providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        for name, array in model.inputs.items():
            self.binding.bind_ortvalue_input(name,
                                             onnxruntime.OrtValue.ortvalue_from_numpy(array))
        self.y = onnxruntime.OrtValue.ortvalue_from_shape_and_type(model.output_shape, np.float32)
        self.binding.bind_ortvalue_output("y", self.y)

    def call(self):
        self.session.run_with_iobinding(self.binding)

    def output(self):
        return self.model.result(self.y.numpy())


def prepare(problem, batch, operands, variant, threads):
    return OnnxRuntimeLayer(make_model(problem, batch, operands), threads)
