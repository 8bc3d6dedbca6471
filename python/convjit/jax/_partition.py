"""What XLA's partitioner is told of a convolution over several devices.

A custom call is opaque to the partitioner: left alone, it gathers the operands
of one on every device. So under `jit` with several devices the convolution is
wrapped in `custom_partitioning`. Each device convolves its own images, or its
own output channels; where the channels that are summed over are split (the
weight gradient of data-parallel training: they are the images), each device
sums its own and the results are added by one all-reduce. Spatial dimensions and
the channels of groups are never split.

Inside `pmap`, and `shard_map` over all axes, there is nothing to decide: shapes are a
device's. Inside a `shard_map` over some axes the partitioner has the others.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.interpreters import mlir
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from . import _lowering, _report
from ._convolution import NotTaken


def _devices_during_lowering() -> set[Any]:
    from jax._src import dispatch

    return dispatch.prim_requires_devices_during_lowering


def acquire() -> None:
    # custom_partitioning needs to know the devices when it is lowered.
    _devices_during_lowering().add(_lowering.conv_general_dilated_p)


def release() -> None:
    _devices_during_lowering().discard(_lowering.conv_general_dilated_p)


def place(ctx: Any) -> str:
    """"local" on one device or in a manual region, else "partitioned"."""
    context = ctx.module_context.axis_context
    if hasattr(context, "manual_axes"):
        names = set(context.mesh.axis_names)
        if set(context.manual_axes) == names or context.mesh.size == 1:
            return "local"
        return "partitioned"
    return "partitioned" if getattr(context, "num_devices", 1) > 1 else "local"


class _Parameters:
    """The primitive's parameters as one static argument, equal by value."""

    def __init__(
        self, params: dict[str, Any], in_groups: bool = False, gpu: str | None = None
    ):
        self.params = params
        # What kernels are made for; None: the CPU.
        self.gpu = gpu
        # Whether several groups of devices do this, each with axes of its own. What
        # we emit says numbers of devices within one: no collective can be ours.
        self.in_groups = in_groups
        self.key = (in_groups, gpu, *sorted((k, str(v)) for k, v in params.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Parameters) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _local(x: Any, w: Any, parameters: _Parameters) -> Any:
    """The convolution of one device's shapes."""
    params = {k: v for k, v in parameters.params.items() if k != "out_sharding"}
    out = jax.eval_shape(
        functools.partial(_lowering.conv_general_dilated_p.bind,
                          **params, out_sharding=None),
        jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct(w.shape, w.dtype),
    )
    batch = x.shape[params["dimension_numbers"].lhs_spec[0]]
    result = jax.ShapeDtypeStruct(out.shape, out.dtype)
    try:
        if parameters.gpu is None:
            kernel, attributes = _lowering.kernel_for(x, w, out, params)
            text = attributes["convolution"]
            scratch = [kernel.xla_scratch_bytes(batch)]
        else:
            text, kernel, images = _lowering.gpu_kernel_for(
                x, w, out, parameters.gpu, params
            )
            attributes = _lowering.cuda_attributes(text, kernel, images)
            scratch = _lowering.cuda_scratch(kernel, batch)
            text += f" ({parameters.gpu})"
    except NotTaken as reason:
        _report.record(f"{x.shape}, {w.shape}", batch, str(reason))
        return _lowering.conv_general_dilated_p.bind(x, w, **params, out_sharding=None)
    _report.record(text, batch, kernel=kernel)
    call = jax.ffi.ffi_call(
        _lowering.TARGET,
        (result, *(jax.ShapeDtypeStruct((size,), "uint8") for size in scratch)),
    )
    return call(x, w, **attributes)[0]


def _axis(sharding: Any, axis: int) -> Any:
    spec = getattr(sharding, "spec", None)
    return spec[axis] if spec is not None and axis < len(spec) else None


def _names(entry: Any) -> tuple[str, ...]:
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def _shardings(parameters: _Parameters, mesh: Any, args: Any, result: Any) -> Any:
    """(batch, output channels, summed channels): how each of them is split."""
    params = parameters.params
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    x, w = args
    used: set[str] = set()

    def split(size: int, *entries: Any) -> Any:
        for entry in entries:
            names = _names(entry)
            ways = 1
            for name in names:
                ways *= mesh.shape[name]
            if names and size % ways == 0 and not used & set(names):
                used.update(names)
                return entry
        return None

    grouped = params["feature_group_count"] > 1
    batch_grouped = params["batch_group_count"] > 1
    out = getattr(result, "sharding", None)
    batch = summed = channels = None
    if not batch_grouped:
        batch = split(x.shape[lhs_spec[0]], _axis(x.sharding, lhs_spec[0]),
                      _axis(out, out_spec[0]))
    if not grouped and not parameters.in_groups:
        summed = split(x.shape[lhs_spec[1]], _axis(x.sharding, lhs_spec[1]))
    if not grouped and not batch_grouped:
        channels = split(w.shape[rhs_spec[0]], _axis(w.sharding, rhs_spec[0]),
                         _axis(out, out_spec[1]))
    return batch, channels, summed


def _specs(parameters: _Parameters, mesh: Any, splits: Any) -> Any:
    lhs_spec, rhs_spec, out_spec = parameters.params["dimension_numbers"]
    batch, channels, summed = splits

    def sharding(spec: Any, first: Any, second: Any) -> Any:
        entries = [None] * len(spec)
        entries[spec[0]], entries[spec[1]] = first, second
        return NamedSharding(mesh, PartitionSpec(*entries))

    return (
        sharding(lhs_spec, batch, summed),
        sharding(rhs_spec, channels, summed),
        sharding(out_spec, batch, channels),
    )


def _infer(parameters: _Parameters, mesh: Any, args: Any, result: Any) -> Any:
    return _specs(parameters, mesh, _shardings(parameters, mesh, args, result))[2]


def _partition(parameters: _Parameters, mesh: Any, args: Any, result: Any) -> Any:
    splits = _shardings(parameters, mesh, args, result)
    x, w, out = _specs(parameters, mesh, splits)

    def on_one_device(x: Any, w: Any) -> Any:
        y = _local(x, w, parameters)
        return jax.lax.psum(y, _names(splits[2])) if splits[2] else y

    return mesh, on_one_device, out, (x, w)


def _rule(parameters: _Parameters, mesh: Any, operands: Any, results: Any) -> Any:
    """Shardy's form of the same: which dimensions are one and the same."""
    params = parameters.params
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    rank = len(lhs_spec) - 2
    grouped = params["feature_group_count"] > 1
    batch_grouped = params["batch_group_count"] > 1
    whole: list[str] = []

    def names(spec: Any, first: str, second: str, letter: str) -> str:
        entries = [""] * len(spec)
        entries[spec[0]], entries[spec[1]] = first, second
        for i in range(rank):
            entries[spec[2 + i]] = f"{letter}{i}"
            whole.append(f"{letter}{i}")
        return " ".join(entries)

    together = not grouped and not batch_grouped
    lhs = names(lhs_spec, "b", "i", "x")
    rhs = names(rhs_spec, "o", "j" if grouped else "i", "k")
    out = names(out_spec, "q" if batch_grouped else "b", "o" if together else "p", "y")
    if not together:
        whole += ["o", "p"]
    if grouped:
        whole += ["i", "j"]
    elif parameters.in_groups:
        whole += ["i"]
    if batch_grouped:
        whole += ["b", "q"]
    # Shardy wants them in the order of their first appearance.
    order = f"{lhs} {rhs} {out}".split()
    options: dict[str, Any] = {
        "need_replication_factors": tuple(sorted(whole, key=order.index))
    }
    if not grouped and not parameters.in_groups:
        options["reduction_factors"] = ("i",)
    return f"{lhs}, {rhs} -> {out}", options


_convolution = custom_partitioning(_local, static_argnums=(2,))
_convolution.def_partition(
    partition=_partition, infer_sharding_from_operands=_infer, sharding_rule=_rule
)


def _own_axes(ctx: Any) -> Any:
    """The mesh that the partitioner has to itself within a shard_map over some axes:
    the other axes of the first of that one's devices. Elsewhere None."""
    context = ctx.module_context.axis_context
    mesh, manual = getattr(context, "mesh", None), getattr(context, "manual_axes", ())
    if not manual:
        return None
    if not isinstance(mesh, Mesh):
        raise NotTaken("shard_map over some axes of an abstract mesh; taken: of a"
                       " mesh of devices")
    here = tuple(0 if name in manual else slice(None) for name in mesh.axis_names)
    return Mesh(mesh.devices[here], [n for n in mesh.axis_names if n not in manual])


def lower(
    ctx: Any, lhs: Any, rhs: Any, out_aval: Any, params: dict[str, Any],
    gpu: str | None = None,
) -> Any:
    # Asked first, for the global shapes, so that what is not taken goes to XLA
    # in one piece. What is compiled is what each device gets.
    from . import _convolution as texts

    texts.describe(
        ctx.avals_in[0].shape, ctx.avals_in[1].shape, ctx.avals_in[0].dtype,
        ctx.avals_in[1].dtype, out_aval.dtype, out_aval.shape,
        platform="cuda" if gpu else "cpu", **params,
    )
    own = _own_axes(ctx)
    parameters = _Parameters(params, in_groups=own is not None, gpu=gpu)
    fun = mlir.lower_fun(
        lambda x, w: _convolution(x, w, parameters), multiple_results=False
    )
    # custom_partitioning tells our rules of this mesh.
    with own or contextlib.nullcontext():
        (result,) = fun(ctx, lhs, rhs)
    return [_lowering.with_sharding(ctx, result, out_aval)]
