"""The lowering of JAX's convolution primitive, and its custom call.

The rules stand in JAX's table beside XLA's own, for the platform "cpu" and, where
that was asked for, "cuda", while convjit is installed or enabled somewhere. They ask
a user context, which is part of every cache key of JAX: a function that was compiled
without convjit is compiled again with it, and the old executable serves again
afterwards.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import jax
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.interpreters import mlir

try:  # jax.lax has it, but only for those who know where
    from jax.lax import conv_general_dilated_p
except ImportError:
    from jax._src.lax.convolution import conv_general_dilated_p

from .. import _convjit
from . import _convolution, _report
from ._convolution import NotTaken

#: Target of the custom call. XLA names it when it is not registered: import
#: convjit.jax before running an executable that has it.
TARGET = "convjit.jax.convolution"

#: True, False, or None: only what is traced within `marked()`.
enabled = jax.make_user_context(None)
#: Whether modules made by jax.export get the custom call as well.
exporting = jax.make_user_context(False)

#: Whether for CUDA too: False, True, or the target of kernels ("sm_90").
cuda = jax.make_user_context(False)

_MARK = "convjit"  # a frontend attribute of StableHLO, which XLA ignores

_lock = threading.RLock()
_users = {"cpu": 0, "cuda": 0}
# What the table had before, by platform: an entry, or nothing.
_saved: dict[str, Any] = {}
_registered = False


def register_target() -> None:
    """Makes the custom call known to XLA; once."""
    global _registered
    with _lock:
        if _registered:
            return
        # Before there is a backend JAX keeps them until there is.
        jax.ffi.register_ffi_target(TARGET, _convjit.xla_handlers(), platform="cpu")
        jax.ffi.register_ffi_target(TARGET, _convjit.xla_cuda_handlers(), platform="CUDA")
        _registered = True


def acquire(platform: str = "cpu") -> None:
    """Puts the rule into JAX's table; as often as `release` is called."""
    with _lock:
        register_target()
        _users[platform] += 1
        if _users[platform] > 1:
            return
        table = mlir._platform_specific_lowerings[platform]
        if conv_general_dilated_p in table:
            _saved[platform] = table[conv_general_dilated_p]
        rule = functools.partial(_rule, platform)
        mlir.register_lowering(conv_general_dilated_p, rule, platform=platform)
        if platform == "cpu":
            from . import _partition

            _partition.acquire()


def release(platform: str = "cpu") -> None:
    """Takes the rule out again with the last user: the table is as it was."""
    with _lock:
        _users[platform] -= 1
        if _users[platform]:
            return
        table = mlir._platform_specific_lowerings[platform]
        if platform in _saved:
            table[conv_general_dilated_p] = _saved.pop(platform)
        else:
            table.pop(conv_general_dilated_p, None)
        if platform == "cpu":
            from . import _partition

            _partition.release()


def _original(platform: str, ctx: Any, *operands: Any, **params: Any) -> Any:
    """XLA's own lowering, as it would have been called without us."""
    entry = _saved.get(platform) or mlir._lowerings[conv_general_dilated_p]
    return entry.rule(ctx, *operands, **params)


def images_of(lhs: Any, params: dict[str, Any]) -> int:
    """The images that a kernel is made for, if their number matters: where they are not
    outermost in memory, as in the gradient of a weight, whose images are channels."""
    batch_axis = params["dimension_numbers"].lhs_spec[0]
    return lhs.shape[batch_axis] // params["batch_group_count"] if batch_axis else 0


def kernel_for(lhs: Any, rhs: Any, out: Any, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The compiled kernel and the custom call's attributes, of which "convolution" is the
    kernel's text; raises NotTaken with a reason.

    `lhs`, `rhs` and `out` have a shape and a dtype.
    """
    text = _convolution.describe(
        lhs.shape, rhs.shape, lhs.dtype, rhs.dtype, out.dtype, out.shape, **params
    )
    images = images_of(lhs, params)
    attributes = {"convolution": text}
    if images:  # Libraries from before there was this attribute know none.
        attributes["images"] = np.int64(images)
    try:
        return _convjit.compile(text, images=images), attributes
    except (ValueError, RuntimeError) as error:
        raise NotTaken(f"{text}: {error}") from None


def marked() -> Any:
    """A context: convolutions traced inside are convjit's wherever they are lowered.

    JAX keeps the mark with the traced operations and their gradients, so that it
    reaches the lowering of a function that is compiled outside. It counts while
    the rule is in the table and not within `enabled(False)`.
    """
    return set_xla_metadata(**{_MARK: True})


def _wanted(platform: str, ctx: Any) -> bool:
    if platform == "cuda" and not cuda.value:
        return False
    if enabled.value is not None:
        return enabled.value
    equation = ctx.jaxpr_eqn_ctx
    return equation is not None and _MARK in (equation.xla_metadata or {})


def gpu_target() -> str:
    """What kernels are made for: what was asked for, or else this process's GPUs,
    the oldest of them; without any sm_80, whose code later ones run."""
    if isinstance(cuda.value, str):
        return cuda.value
    try:
        devices = jax.local_devices(backend="cuda")
    except RuntimeError:  # no such backend
        devices = []
    capabilities = [
        int(str(d.compute_capability).replace(".", "")) for d in devices
    ]
    return _convjit.gpu_for(min(capabilities, default=80))


def check_target(gpu: str) -> None:
    """ValueError for what is no target, before it would be a reason not to take."""
    smallest = (
        "convolution:n=1,k=1,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=1,oc=1,x=b0f,w=0io,y=b0f"
    )
    _convjit.compile_gpu(smallest, gpu)


def gpu_kernel_for(
    lhs: Any, rhs: Any, out: Any, gpu: str, params: dict[str, Any]
) -> tuple[str, Any, int]:
    """The text, the compiled kernel for a GPU, and the images that it is made for: of
    any number of them, it would copy single elements where they are neighbours."""
    images = images_of(lhs, params)
    text = _convolution.describe(
        lhs.shape, rhs.shape, lhs.dtype, rhs.dtype, out.dtype, out.shape,
        platform="cuda", **params
    )
    try:
        return text, _convjit.compile_gpu(text, gpu, "", images), images
    except (ValueError, RuntimeError) as error:
        raise NotTaken(f"{text}: {error}") from None


def _rule(platform: str, ctx: Any, lhs: Any, rhs: Any, **params: Any) -> Any:
    if not _wanted(platform, ctx):
        return _original(platform, ctx, lhs, rhs, **params)
    lhs_aval, rhs_aval = ctx.avals_in
    (out_aval,) = ctx.avals_out
    batch_axis = params["dimension_numbers"].lhs_spec[0]
    batch = lhs_aval.shape[batch_axis]
    try:
        if ctx.module_context.lowering_parameters.for_export and not exporting.value:
            raise NotTaken("jax.export; taken: with convjit.jax.install(export=True)")
        from . import _partition

        where = _partition.place(ctx)
        if platform == "cuda":
            gpu = gpu_target()
            if where == "partitioned":
                return _partition.lower(ctx, lhs, rhs, out_aval, params, gpu)
            text, kernel, images = gpu_kernel_for(
                lhs_aval, rhs_aval, out_aval, gpu, params
            )
            _report.record(f"{text} ({gpu})", batch, kernel=kernel)
            value = emit_cuda(ctx, lhs, rhs, text, kernel, batch, images)
            return [with_sharding(ctx, value, out_aval)]
        if where == "partitioned":
            return _partition.lower(ctx, lhs, rhs, out_aval, params)
        kernel, attributes = kernel_for(lhs_aval, rhs_aval, out_aval, params)
    except NotTaken as reason:
        try:
            text = _convolution.text_of(
                lhs_aval.shape, rhs_aval.shape, out_aval.dtype, **params
            )
        except NotTaken:  # there is none
            text = f"{lhs_aval.str_short()}, {rhs_aval.str_short()}"
        _report.record(text, batch, str(reason).removeprefix(f"{text}: "))
        return _original(platform, ctx, lhs, rhs, **params)
    _report.record(attributes["convolution"], batch, kernel=kernel)
    call = emit(ctx, lhs, rhs, attributes, kernel, batch)
    return [with_sharding(ctx, call, out_aval)]


def emit(
    ctx: Any, lhs: Any, rhs: Any, attributes: dict[str, Any], kernel: Any, batch: int
) -> Any:
    """The custom call; its second result is what the kernel needs besides: where
    weights are packed, and sums of pieces that threads share."""
    scratch = jax.core.ShapedArray((kernel.xla_scratch_bytes(batch),), np.dtype("uint8"))
    ctx = ctx.replace(avals_out=[*ctx.avals_out, scratch])
    call = jax.ffi.build_ffi_lowering_function(TARGET)
    return call(ctx, lhs, rhs, **attributes).results[0]


def cuda_attributes(text: str, kernel: Any, images: int) -> dict[str, Any]:
    """Of the custom call on a GPU: the plan is one, so that an executable read from a
    file finds its scratch as large as it needs."""
    return {"convolution": text, "gpu": kernel.gpu, "plan": kernel.plan,
            "images": np.int64(images)}


def cuda_scratch(kernel: Any, batch: int) -> list[int]:
    """The sizes of the results that follow the output: packed weights, scratch."""
    return [kernel.packed_weight_bytes, kernel.scratch_bytes(batch)]


def emit_cuda(
    ctx: Any, lhs: Any, rhs: Any, text: str, kernel: Any, batch: int, images: int
) -> Any:
    """The custom call on a GPU."""
    scratch = [
        jax.core.ShapedArray((size,), np.dtype("uint8"))
        for size in cuda_scratch(kernel, batch)
    ]
    ctx = ctx.replace(avals_out=[*ctx.avals_out, *scratch])
    call = jax.ffi.build_ffi_lowering_function(TARGET)
    return call(ctx, lhs, rhs, **cuda_attributes(text, kernel, images)).results[0]


def with_sharding(ctx: Any, value: Any, aval: Any) -> Any:
    """Says the sharding of a type (explicit meshes) as JAX's own rule does."""
    from jax._src.interpreters import mlir as internal

    return internal.lower_with_sharding_in_types(ctx, value, aval)
