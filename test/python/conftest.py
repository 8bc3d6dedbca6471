"""The suite runs against the installed package; see scripts/test."""

import os

# Before anything imports JAX: on the CPU, whatever else is installed.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What is compiled is counted; nothing may come from an earlier run.
os.environ.setdefault("CONVJIT_CACHE", "off")

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--random-cases", type=int, default=30,
        help="how many random convolutions are held against XLA (default 30)",
    )
    parser.addoption(
        "--random-seed", type=int, default=None,
        help="the first seed of the random convolutions (default: a fresh one)",
    )


@pytest.fixture
def convjit_jax():
    """convjit.jax, not installed before and after, with nothing reported."""
    jax = pytest.importorskip("jax")
    module = pytest.importorskip("convjit.jax")
    module.uninstall()
    module.clear_report()
    jax.clear_caches()  # the report lists what is lowered, not what is cached
    yield module
    module.uninstall()
    jax.config.update("jax_enable_x64", False)
