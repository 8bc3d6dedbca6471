"""A layer as an ONNX model, for the runtimes that read them."""

from __future__ import annotations

import dataclasses

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from compare_lib import arrays
from compare_lib.convolution import convolution_of
from compare_lib.fit import (Unsupported, fit_input, fit_output, fits_of, fitted_size, note_of,
                             unfit_output)


@dataclasses.dataclass
class Model:
    """`inputs` by name: x and perhaps residual, (N, C, space...) arrays; the output
    is y, of `output_shape`."""

    serialized: bytes
    inputs: dict
    output_shape: tuple
    fits: list
    problem: object

    @property
    def note(self):
        return note_of(self.fits)

    def result(self, y):
        """The model's output in the problem's layout."""
        return arrays.from_channels_first(self.problem, fit_output(y, self.fits))


def _activation_nodes(problem, name):
    """From tensor `name` to y."""
    simple = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    act = problem.activation
    if act in simple:
        return [helper.make_node(simple[act], [name], ["y"])]
    if act == "leaky_relu":
        return [helper.make_node("LeakyRelu", [name], ["y"], alpha=problem.slope)]
    if act == "silu":
        return [helper.make_node("Sigmoid", [name], ["gate"]),
                helper.make_node("Mul", [name, "gate"], ["y"])]
    return [helper.make_node("Gelu", [name], ["y"],
                             approximate="tanh" if act == "gelu_tanh" else "none")]


def make_model(problem, batch, operands):
    if problem.gradient == "weight":
        raise Unsupported("gradients of weights")
    if problem.dtype != "f32":
        raise Unsupported(problem.dtype)
    conv = convolution_of(problem)
    fits = fits_of(conv, symmetric=False)
    x = fit_input(arrays.to_channels_first(problem, operands["input"]), fits)
    inputs = {"x": np.ascontiguousarray(x)}
    weight = arrays.transposed_weight if conv.transposed else arrays.window_weight
    constants = {"w": weight(problem, operands["weight"])}
    names = ["x", "w"]
    if problem.bias:
        constants["b"] = operands["bias"]
        names.append("b")
    attributes = {
        "strides": [dim.ld if conv.transposed else dim.ws for dim in conv.dims],
        "dilations": list(problem.dilation), "group": conv.groups,
        "pads": [fit.low for fit in fits] + [fit.high for fit in fits]}
    if conv.transposed:
        attributes["output_padding"] = [fit.extra for fit in fits]
    steps = [name for name, there in (("sum", problem.residual),
                                      ("y", problem.activation != "none")) if there]
    nodes = [helper.make_node("ConvTranspose" if conv.transposed else "Conv", names,
                              ["c" if steps else "y"], **attributes)]
    if problem.residual:
        residual = arrays.to_channels_first(problem, operands["residual"])
        inputs["residual"] = np.ascontiguousarray(unfit_output(residual, fits))
        nodes.append(helper.make_node("Add", ["c", "residual"],
                                      ["sum" if len(steps) == 2 else "y"]))
    if problem.activation != "none":
        nodes += _activation_nodes(problem, "sum" if problem.residual else "c")
    output_shape = (batch, conv.out_channels, *(
        fitted_size(dim, fit, conv.transposed) for dim, fit in zip(conv.dims, fits)))
    graph = helper.make_graph(
        nodes, "layer",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
         for name, array in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(array), name)
         for name, array in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return Model(model.SerializeToString(), inputs, output_shape, fits, problem)
