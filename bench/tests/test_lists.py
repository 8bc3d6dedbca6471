"""Every line of every list: convjit accepts it, and agrees on shape, padding and work."""

import importlib.machinery
import importlib.util

import pytest

from compare_lib.convolution import convolution_of, flops, output_shape
from compare_lib.layers import default_lists, read_layers, read_list
from compare_lib.places import LAYERS, BenchError

LISTS = sorted(LAYERS.glob("**/*.csv"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_convjit_agrees(path, tool):
    for layer in read_list(path):
        problem = layer.problem
        plan = tool.plan(problem, layer.batch)
        assert tuple(plan["output_shape"]) == output_shape(problem, layer.batch), layer.text
        assert plan["flops"] == flops(problem, layer.batch), layer.text
        if problem.gradient != "weight":  # its report is of another convolution
            padding = [[dim.lo, dim.hi] for dim in convolution_of(problem).dims]
            assert plan["padding"] == padding, layer.text


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_no_layer_twice(path):
    texts = [layer.text for layer in read_list(path)]
    assert len(set(texts)) == len(texts)


def test_default_lists_end_with_the_unseen():
    names = [path.stem for path in default_lists()]
    assert set(names) == {"cliffs", "drawn", "gradients", "networks", "plain", "unseen"}
    assert names[-1] == "unseen"
    assert all(layer.unseen == (layer.list == "unseen") for layer in read_layers([]))


def generator():
    path = str(LAYERS / "generate-unseen")
    loader = importlib.machinery.SourceFileLoader("generate_unseen", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_unseen_is_what_its_seed_generates():
    module = generator()
    text = (LAYERS / "unseen" / "unseen.csv").read_text(encoding="utf-8")
    assert text == module.table(module.SEED, module.COUNT)
    assert text != module.table(module.SEED + 1, module.COUNT)
    for layer in read_list(LAYERS / "unseen" / "unseen.csv"):
        assert module.LEAST_FLOPS <= flops(layer.problem, layer.batch) <= module.MOST_FLOPS


@pytest.mark.parametrize("text, message", [
    ("layer\nx\n", "no column 'problem'"),
    ("problem,batch\n\"conv1d:in=4x4,oc=1,k=1\",0\n", "line 2: batch=0"),
    ("problem\n\"conv1d:in=4x4,oc=1\"\n", "line 2: k: is missing"),
])
def test_errors_name_file_line_and_field(tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(BenchError) as caught:
        read_list(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_match_searches_problem_network_and_list():
    assert {layer.list for layer in read_layers([], "^convT.* gradients$")} == {"gradients"}
    with pytest.raises(BenchError, match="--match"):
        read_layers([], "(")
