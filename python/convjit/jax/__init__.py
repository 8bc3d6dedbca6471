"""convjit's kernels under JAX, on the CPU.

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

import jax

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


def install(*, export: bool = False) -> None:
    """Makes JAX run convjit's kernels, in all threads, from now on.

    Functions that were compiled before are compiled again when they are called.

    Args:
      export: whether `jax.export` keeps the kernels too. Such a module runs
        where convjit.jax was imported, and `export_checks()` must be passed to
        `jax.export.export`. By default exported modules hold XLA's own
        convolutions and run anywhere.
    """
    global _installed
    with _lowering._lock:
        if not _installed:
            _lowering.acquire()
            _installed = True
        _lowering.exporting.set_global(export)
        _lowering.enabled.set_global(True)


def uninstall() -> None:
    """Undoes `install()`: JAX lowers and runs as if it had never been called."""
    global _installed
    with _lowering._lock:
        if not _installed:
            return
        _lowering.enabled.set_global(None)
        _lowering.exporting.set_global(False)
        _lowering.release()
        _installed = False


def installed() -> bool:
    """Whether convolutions lowered in this thread now would be convjit's."""
    return bool(_lowering.enabled.value)


@contextlib.contextmanager
def enabled(value: bool = True, *, export: bool = False) -> Iterator[None]:
    """convjit's kernels for this thread, within `with`; `False` for XLA's own.

    What counts is where a function is lowered: one that is called inside is
    compiled for the inside, and once more if it is called outside as well.
    """
    if value:
        _lowering.acquire()
    try:
        with _lowering.enabled(value), _lowering.exporting(export):
            yield
    finally:
        if value:
            _lowering.release()


def export_checks() -> list[jax.export.DisabledSafetyCheck]:
    """For `jax.export.export(..., disabled_checks=...)`, with `export=True`.

    JAX asks this of custom calls that are not its own. The call's attribute is
    the convolution's text, which later versions of convjit read as well.
    """
    from jax import export

    return [export.DisabledSafetyCheck.custom_call(TARGET)]
