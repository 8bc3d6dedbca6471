"""Our layers with other frameworks' weights, by convjit-framework-layer."""

import os
import pathlib
import subprocess

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(
    os.environ.get("CONVJIT_FRAMEWORK_LAYER")
    or ROOT / "build/release/bin/convjit-framework-layer")


def run_layer(framework, folder, state, prefix, x, g, *, transposed, stride, pads,
              dilation, output_padding, groups):
    """{y, w, dx, dw, db}: the layer whose weight and bias are `prefix`'s in `state`,
    names and layouts being the framework's. `pads` has a (low, high) pair for each
    dimension, which crop a transposed layer's output."""
    arrays = {name: np.asarray(values, np.float64).reshape(-1) for name, values in dict(
        transposed=transposed, stride=stride, dilation=dilation, groups=groups,
        output_padding=output_padding, pads=pads).items()}
    given, made = folder / "in.npz", folder / "out.npz"
    np.savez(given, x=x, g=g, **arrays,
             **{name: np.ascontiguousarray(array) for name, array in state.items()})
    done = subprocess.run([BINARY, framework, prefix, given, made], capture_output=True,
                          text=True, timeout=120, env={**os.environ, "CONVJIT_CACHE": "off"})
    assert done.returncode == 0, done.stderr
    return dict(np.load(made))


def stored(weight, groups, transposed):
    """[O, I/g, K...] as (K..., I/g, O), or [I, O/g, K...] as (K..., O, I/g)."""
    if transposed:
        weight = np.concatenate(np.split(weight, groups, axis=0), axis=1)  # [I/g, O, K...]
    return np.moveaxis(weight, (0, 1), (-1, -2))
