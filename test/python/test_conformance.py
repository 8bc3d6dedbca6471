"""scripts/conformance, on a checkout of JAX that is made up."""

import pathlib
import subprocess
import sys

import pytest

jax = pytest.importorskip("jax")

RUN = pathlib.Path(__file__).parents[1] / "conformance" / "run.py"

GOOD = """
import jax, jax.numpy as jnp
def test_convolution():
    x, w = jnp.ones((1, 1, 4)), jnp.ones((1, 1, 2))
    assert jax.lax.conv(x, w, (1,), "VALID").sum() == 6
def test_another():
    assert False, "not selected"
"""
BAD = GOOD + """
import os
def test_conv_wrong_with_convjit():
    assert os.environ["CONVJIT_CONFORMANCE"] == "off"
def test_conv_wrong_with_xla():
    assert False
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "tests").mkdir()
    # Stands before the installed package if it gets into sys.path.
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("raise ImportError\n")
    (tmp_path / "jax" / "version.py").write_text(f'_version = "{jax.__version__}"\n')
    for name in ("lax_test.py", "lax_autodiff_test.py", "lax_vmap_test.py"):
        (tmp_path / "tests" / name).write_text(GOOD)
    return tmp_path


def conformance(*arguments):
    return subprocess.run([sys.executable, str(RUN), *map(str, arguments)],
                          capture_output=True, text=True)


def row(text, name):
    return [line for line in text.split("\n") if line.startswith(name)][0].split()[1:]


def test_counts(checkout):
    (checkout / "tests" / "lax_vmap_test.py").write_text(BAD)
    # brainstate's file has a test in test_frameworks.py.
    done = conformance(checkout, "--jax-only")
    assert row(done.stdout, "lax_test.py")[:6] == ["1", "0", "0", "0", "1", "1"], done.stderr
    assert row(done.stdout, "lax_vmap_test.py")[:4] == ["1", "1", "1", "0"]
    assert "failed: lax_vmap_test.py::test_conv_wrong_with_convjit" in done.stdout
    assert done.returncode == 1
    assert sorted(p.name for p in checkout.rglob("*")) == [
        "__init__.py", "jax", "lax_autodiff_test.py", "lax_test.py", "lax_vmap_test.py",
        "tests", "version.py"]


def test_wrong_checkouts(checkout):
    (checkout / "jax" / "version.py").write_text('_version = "0.0.1"\n')
    done = conformance(checkout)
    assert done.returncode == 2 and "is JAX 0.0.1, installed is" in done.stderr
    (checkout / "tests" / "lax_test.py").unlink()
    done = conformance("--any-version", checkout)
    assert done.returncode == 2 and "has no tests/lax_test.py" in done.stderr
    done = conformance(checkout / "tests")
    assert done.returncode == 2 and "is no checkout of JAX" in done.stderr
