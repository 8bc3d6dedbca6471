"""Weights and data in the libraries' layouts, against the definition and convjit."""

import numpy as np
import pytest

from compare_lib import arrays
from compare_lib.layers import read_list
from compare_lib.places import LAYERS
from compare_lib.problem import parse

CHECKED = [layer for layer in read_list(LAYERS / "check" / "mapping.csv")
           if layer.problem.batch_groups == 1]


@pytest.mark.parametrize("layer", CHECKED, ids=lambda layer: layer.text)
def test_convjit_computes_the_definition(layer, tool):
    operands = arrays.make_operands(layer.problem, layer.batch, seed=3)
    expected = arrays.reference(layer.problem, layer.batch, operands)
    got = tool.run(layer.problem, operands)
    assert got.shape == expected.shape
    # Sums of a few hundred products of size 1: each rounds by 6e-8.
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("text", [
    "conv2d:in=9x8x8,oc=12,k=3x2,g=4", "convT2d:in=9x8x8,oc=12,k=3x2,g=2"])
def test_weights_go_there_and_back(text):
    problem = parse(text)
    weight = np.random.default_rng(1).random(problem.weight_shape())
    window = arrays.window_weight(problem, weight)
    assert window.shape == (12, 8 // problem.groups, 3, 2)
    assert (arrays.weight_from_window(problem, window) == weight).all()
    transposed = arrays.transposed_weight(problem, weight)
    assert transposed.shape == (8, 12 // problem.groups, 3, 2)
    assert (arrays.weight_from_transposed(problem, transposed) == weight).all()


def test_transposed_weight_is_applied_as_libraries_do():
    problem = parse("convT1d:in=1x1,oc=1,k=3,s=1,pad=2:2")
    weight = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    # One input element of 1: the output is the weight as a library has it.
    operands = {"input": np.ones((1, 1, 1)), "weight": weight}
    output = arrays.reference(problem, 1, operands).ravel()
    assert output.tolist() == arrays.transposed_weight(problem, weight).ravel().tolist()


def test_data_for_timing_are_ordinary_numbers():
    problem = parse("conv1d:in=50x4,oc=4,k=3,bias,residual,dtype=f64")
    for array in arrays.make_operands(problem, 2).values():
        assert array.dtype == np.float64 and array.min() >= 0.5 and array.max() <= 0.75
