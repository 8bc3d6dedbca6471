"""convjit.jax for CUDA, without a GPU: what is lowered, and what its handler does."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp
from jax import lax

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CONVJIT_BUILD") or ROOT / "build" / "release")
DRIVER = BUILD / "lib" / "libcuda-emulated.so"
NHWC = ("NHWC", "HWIO", "NHWC")


def conv(x, w, **options):
    options = {"window_strides": (2, 1), "padding": ((1, 0), (0, 2)),
               "dimension_numbers": NHWC, **options}
    return lax.conv_general_dilated(x, w, **options)


def arrays(dtype="float32"):
    return jnp.ones((3, 7, 6, 8), dtype), jnp.ones((3, 2, 8, 16), dtype)


def lowered(function, *arguments, platforms=("cuda",)):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=platforms).as_text()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_is_lowered(convjit_jax, dtype):
    convjit_jax.install(cuda="sm_90")
    text = lowered(conv, *arrays(dtype))
    (call,) = [line for line in text.splitlines() if "custom_call" in line]
    assert f"@{convjit_jax.TARGET}" in call and "stablehlo.convolution" not in text
    short = {"float32": "", "float16": ",dtype=f16", "bfloat16": ",dtype=bf16"}[dtype]
    assert 'convolution = "convolution:n=7x6,k=3x2,' in call and f'{short}"' in call
    assert 'gpu = "sm_90"' in call and 'plan = "#conv.gpu_plan<schedule = ' in call
    # Row-major, and two results that are XLA's scratch.
    assert "operand_layouts = [dense<[3, 2, 1, 0]>" in call
    assert call.count("xui8>") == 2
    (entry,) = convjit_jax.report()
    assert entry.taken and entry.convolution.endswith("(sm_90)") and entry.batch == 3


def test_only_where_asked_for(convjit_jax):
    convjit_jax.install()
    assert "stablehlo.convolution" in lowered(conv, *arrays())
    assert convjit_jax.TARGET in lowered(conv, *arrays(), platforms=("cpu",))
    with convjit_jax.enabled(cuda=True):
        # Without a GPU here: code that all of them run.
        assert 'gpu = "sm_80"' in lowered(conv, *arrays())
    with convjit_jax.enabled(False):
        assert "stablehlo.convolution" in lowered(conv, *arrays())
    convjit_jax.install(cuda="sm_100")
    assert 'gpu = "sm_100"' in lowered(conv, *arrays())
    with convjit_jax.enabled(False):
        assert "stablehlo.convolution" in lowered(conv, *arrays())
    convjit_jax.uninstall()
    assert "stablehlo.convolution" in lowered(conv, *arrays())


def test_the_table_is_as_it_was(convjit_jax):
    from jax.interpreters import mlir

    before = dict(mlir._platform_specific_lowerings["cuda"])
    convjit_jax.install(cuda=True)
    convjit_jax.install(cuda=True)
    with convjit_jax.enabled(cuda=True):
        pass
    assert mlir._platform_specific_lowerings["cuda"] != before
    convjit_jax.install()
    assert mlir._platform_specific_lowerings["cuda"] == before
    convjit_jax.install(cuda=True)
    convjit_jax.uninstall()
    assert mlir._platform_specific_lowerings["cuda"] == before


def test_the_targets_name_is_checked(convjit_jax):
    with pytest.raises(ValueError, match="sm_1: not a GPU that kernels are made for; valid: "
                                         "sm_80"):
        convjit_jax.install(cuda="sm_1")
    assert not convjit_jax.installed()
    with pytest.raises(ValueError, match="valid: sm_80"), convjit_jax.enabled(cuda="h100"):
        pass


def test_gradients_and_vmap(convjit_jax):
    convjit_jax.install(cuda="sm_90")
    x, w = arrays()
    loss = lambda x, w: jnp.sum(conv(x, w) ** 2)
    text = lowered(jax.grad(loss, (0, 1)), x, w)
    assert text.count(f"@{convjit_jax.TARGET}") == 3 and "stablehlo.convolution" not in text
    text = lowered(jax.vmap(conv), x[None].repeat(2, 0), w[None].repeat(2, 0))
    assert f"@{convjit_jax.TARGET}" in text


def test_what_is_not_taken(convjit_jax):
    convjit_jax.install(cuda="sm_90")
    x, w = arrays("float16")
    text = lowered(lambda x, w: conv(x, w, preferred_element_type=jnp.float32), x, w)
    assert "stablehlo.convolution" in text
    (entry,) = convjit_jax.report()
    assert not entry.taken
    assert entry.reason.endswith("taken: float32, float64, float16 or bfloat16 throughout")
    convjit_jax.clear_report()
    # CPUs have no float16.
    assert "stablehlo.convolution" in lowered(conv, x, w, platforms=("cpu",))
    (entry,) = convjit_jax.report()
    assert entry.reason.endswith("taken: float32 or float64 throughout")


def test_export(convjit_jax):
    from jax import export

    convjit_jax.install(cuda="sm_90")
    whole = export.export(jax.jit(conv), platforms=("cuda",))(*arrays())
    assert "stablehlo.convolution" in whole.mlir_module()
    convjit_jax.install(export=True, cuda="sm_90")
    # One module for both: its kernels are chosen when it runs.
    both = export.export(jax.jit(conv), platforms=("cpu", "cuda"),
                         disabled_checks=convjit_jax.export_checks())(*arrays())
    text = both.mlir_module()
    assert text.count(f"@{convjit_jax.TARGET}") == 2 and text.count('gpu = "sm_90"') == 1
    again = export.deserialize(both.serialize())
    np.testing.assert_array_equal(again.call(*arrays()), conv(*arrays()))


def test_the_handler_is_registered():
    import convjit.jax  # noqa: F401
    from jaxlib import xla_client

    # Kept until a plugin for CUDA asks for it.
    kept = xla_client._custom_callback.get("CUDA", [])
    (fn,) = [fn for name, fn, version, _ in kept
             if name == convjit.jax.TARGET and version == 1]
    assert set(fn) == {"instantiate", "initialize", "execute"}


COUNT = """
import jax, jax.numpy as jnp
import convjit.jax
from convjit import _convjit

convjit.jax.install(cuda="sm_90")
x, w = jnp.ones((3, 7, 6, 8)), jnp.ones((3, 2, 8, 16))
conv = lambda x, w: jax.lax.conv_general_dilated(
    x, w, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
jax.jit(conv).trace(x, w).lower(lowering_platforms=("cuda",))
print(_convjit.compilations())
"""


def test_a_later_process_compiles_nothing(tmp_path):
    environment = {**os.environ, "CONVJIT_CACHE": "on", "CONVJIT_CACHE_DIR": str(tmp_path / "c")}
    compiled = [
        subprocess.run([sys.executable, "-c", COUNT], env=environment, check=True,
                       capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    # The layer, and what finds out whether there is such a target.
    assert compiled == ["2\n", "0\n"]


def test_on_a_driver_without_a_gpu(request):
    """Layers by hand, and a third as many random ones as test_jax_random.py has."""
    if not DRIVER.exists():
        pytest.skip(f"{DRIVER} is not built")
    environment = {**os.environ, "CONVJIT_LIBCUDA": str(DRIVER), "CONVJIT_PTX_WITH_IR": "1",
                   "CONVJIT_FAKE_CUDA": "devices=2"}
    cases = request.config.getoption("--random-cases") // 3
    seed = request.config.getoption("--random-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(10**9)
    command = [sys.executable, str(ROOT / "test/python/xla_cuda.py"), str(cases), str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "ok\n", done.stderr
