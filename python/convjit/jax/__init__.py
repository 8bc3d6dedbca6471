"""convjit's kernels under JAX, on the CPU and, where asked for, NVIDIA's GPUs.

    import convjit.jax
    convjit.jax.install()

After that every convolution that JAX lowers for the CPU in float32 or float64
(`lax.conv_general_dilated`, `lax.conv_transpose`, the layers of flax, equinox
and brainstate, their gradients) runs a kernel made for its shape. What convjit
does not take goes to XLA as before; `report()` says what and why.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

try:
    import jax
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ModuleNotFoundError(
        "convjit.jax needs JAX 0.10 or later, and there is none: pip install 'jax>=0.10'",
        name="jax",
    ) from None
if jax.__version_info__ < (0, 10):
    raise ImportError(
        f"convjit.jax needs JAX 0.10 or later, here is {jax.__version__}:"
        " pip install -U 'jax>=0.10'"
    )

from . import _lowering
from ._lowering import TARGET
from ._report import Entry, Report, clear_report, report

__all__ = [
    "TARGET", "Entry", "Report", "clear_report", "enabled", "export_checks",
    "install", "installed", "report", "uninstall",
]

# An executable or an exported module that has the custom call needs no more
# than this import.
_lowering.register_target()

_installed = False
_cuda_installed = False


def install(*, export: bool = False, cuda: bool | str = False) -> None:
    """Makes JAX run convjit's kernels, in all threads, from now on.

    Functions that were compiled before are compiled again when they are called.

    Args:
      export: whether `jax.export` keeps the kernels too. Such a module runs
        where convjit.jax was imported, and `export_checks()` must be passed to
        `jax.export.export`. By default exported modules hold XLA's own
        convolutions and run anywhere.
      cuda: whether convolutions on NVIDIA GPUs are convjit's as well, in float16
        and bfloat16 too. Kernels are for this machine's GPUs, or for the target
        that is named: "sm_80", "sm_90". Tested without a GPU: see docs/jax.md.
    """
    global _installed, _cuda_installed
    if isinstance(cuda, str):
        _lowering.check_target(cuda)
    with _lowering._lock:
        if not _installed:
            _lowering.acquire()
            _installed = True
        if bool(cuda) != _cuda_installed:
            (_lowering.acquire if cuda else _lowering.release)("cuda")
            _cuda_installed = bool(cuda)
        _lowering.cuda.set_global(cuda)
        _lowering.exporting.set_global(export)
        _lowering.enabled.set_global(True)


def uninstall() -> None:
    """Undoes `install()`: JAX lowers and runs as if it had never been called."""
    global _installed, _cuda_installed
    with _lowering._lock:
        if not _installed:
            return
        if _cuda_installed:
            _lowering.release("cuda")
            _cuda_installed = False
        _lowering.cuda.set_global(False)
        _lowering.enabled.set_global(None)
        _lowering.exporting.set_global(False)
        _lowering.release()
        _installed = False
_cuda_installed = False


def installed() -> bool:
    """Whether convolutions lowered in this thread now would be convjit's."""
    return bool(_lowering.enabled.value)


@contextlib.contextmanager
def enabled(
    value: bool = True, *, export: bool = False, cuda: bool | str = False
) -> Iterator[None]:
    """convjit's kernels for this thread, within `with`; `False` for XLA's own.

    What counts is where a function is lowered: one that is called inside is
    compiled for the inside, and once more if it is called outside as well.
    `export` and `cuda` are those of `install`.
    """
    if isinstance(cuda, str):
        _lowering.check_target(cuda)
    platforms = ["cpu", "cuda"][: 1 + bool(cuda)] if value else []
    for platform in platforms:
        _lowering.acquire(platform)
    try:
        with (
            _lowering.enabled(value), _lowering.exporting(export),
            _lowering.cuda(cuda),
        ):
            yield
    finally:
        for platform in platforms:
            _lowering.release(platform)


def export_checks() -> list[jax.export.DisabledSafetyCheck]:
    """For `jax.export.export(..., disabled_checks=...)`, with `export=True`.

    JAX asks this of custom calls that are not its own. The call's attribute is
    the convolution's text, which later versions of convjit read as well.
    """
    from jax import export

    return [export.DisabledSafetyCheck.custom_call(TARGET)]
