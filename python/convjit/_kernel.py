"""Compiled layers, and how arrays reach them without a copy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from . import _convjit

_DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}

#: The stages that `Kernel.ir` shows, in the order of the pipeline.
STAGES = ("conv", "general", "phases", "tiles", "linalg", "vector", "llvm", "asm")


def as_array(value: Any, name: str) -> np.ndarray:
    """A NumPy view of a NumPy or DLPack array on the CPU; never a copy."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except Exception as error:
            raise TypeError(
                f"{name}: {type(value).__name__} gives no array on the CPU"
                f" ({error}); valid: NumPy arrays and DLPack arrays on the CPU"
            ) from None
    raise TypeError(
        f"{name}: {type(value).__name__}; valid: NumPy arrays and DLPack arrays"
        " on the CPU"
    )


def _memory_order(array: np.ndarray) -> tuple[int, ...] | None:
    """The axes from slowest to fastest, if the elements lie without gaps."""
    order = sorted(
        range(array.ndim),
        key=lambda a: (array.shape[a] == 1, abs(array.strides[a])), reverse=True,
    )
    moved = array.transpose(order)
    return tuple(order) if moved.flags.c_contiguous else None


def _strides(array: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The axes from slowest to fastest, and the elements from one index of each
    to the next; nothing for strides in parts of elements."""
    if any(stride % array.itemsize for stride in array.strides):
        return None
    order = sorted(
        range(array.ndim),
        key=lambda a: (array.shape[a] == 1 or array.strides[a] == 0,
                       abs(array.strides[a])),
        reverse=True,
    )
    strides: list[int] = []
    after = 1
    for axis in reversed(order):
        # That of an axis of length 1 says nothing; so it is always the same.
        step = array.strides[axis] // array.itemsize if array.shape[axis] > 1 else after
        strides.insert(0, step)
        after = max(abs(step) * array.shape[axis], 1)
    return tuple(order), tuple(strides)


def with_strides(convolution: str, strides: tuple[int, ...]) -> str:
    """The text of a convolution whose input has these strides; none: contiguous."""
    if not strides:
        return convolution
    given = "x".join(map(str, strides))
    return re.sub(r",x=(\w+)", rf",x=\1,xs={given}", convolution, count=1)


def _shape_text(shape: Any) -> str:
    return "(" + ", ".join(str(n) for n in shape) + ")"


class Packed:
    """A weight in the form that one kernel reads; made by `Kernel.pack`."""

    def __init__(self, kernel: Kernel, native: Any, axes: str, data: np.ndarray) -> None:
        self._kernel, self._native, self._axes, self._data = kernel, native, axes, data

    def _suits(self, native: Any) -> bool:
        """Whether this kernel reads what another one's packing made: as plans say."""
        return native is self._native or native.plan == self._native.plan

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    def __repr__(self) -> str:
        return f"Packed({self._kernel.problem!r}, {self.nbytes} bytes)"


class Kernel:
    """One layer, compiled for this CPU. Immutable and thread-safe.

    Call it with arrays. The input has the layer's shape, with the batch in
    front or without any; `kernel.input_shape(batch)`, `kernel.weight_shape` and
    `kernel.output_shape(batch)` say them. NumPy arrays and CPU arrays that
    speak DLPack (JAX, PyTorch) are read where they are. An array whose axes lie
    in another order in memory (a transposed view) is not copied either, nor an
    input with gaps (a slice): a kernel for that order and those strides is
    compiled once. docs/python.md says what else is copied.
    """

    #: Strides of inputs that kernels are compiled for; of more, inputs are copied.
    _MOST_STRIDES = 16

    def __init__(
        self, problem: str, convolution: str, plan: str = "",
        mask: np.ndarray | None = None, images: int = 0,
    ) -> None:
        self._problem, self._text, self._plan, self._mask = (
            problem, convolution, plan, mask,
        )
        #: What plans are made for where the batch is not outermost.
        self._planned_images = images
        self._x, self._w, self._y = re.search(
            r",x=(\w+),w=(\w+),y=(\w+)", convolution
        ).groups()
        self._dtype = _DTYPES["f64" if ",dtype=f64" in convolution else "f32"]
        self._bias = ",bias" in convolution
        self._residual = ",residual" in convolution
        self._natives: dict[tuple[str, str, str, tuple[int, ...]], Any] = {}
        # Axes and strides of inputs, and whether they are read in place.
        self._in_place: dict[tuple[str, tuple[int, ...]], bool] = {}
        self._kernel = self._native(self._x, self._w, self._y)

    def _native(self, x: str, w: str, y: str, strides: tuple[int, ...] = ()) -> Any:
        """The kernel for these axes, as letters from slowest to fastest, and
        strides of the input's; none where it is contiguous."""
        key = (x, w, y, strides)
        if key not in self._natives:
            self._natives[key] = _convjit.compile(*self._layer(*key))
        return self._natives[key]

    def _layer(
        self, x: str, w: str, y: str, strides: tuple[int, ...] = ()
    ) -> tuple[str, str, list[float] | None, int]:
        """What the compiler is asked for."""
        text = self._text.replace(
            f",x={self._x},w={self._w},y={self._y}", f",x={x},w={w},y={y}"
        )
        mask = None
        if self._mask is not None:
            mask = self._mask.transpose([self._w.index(a) for a in w]).ravel().tolist()
        return with_strides(text, strides), self._plan, mask, self._planned_images

    def _has_kernel(self, x: str, strides: tuple[int, ...]) -> bool:
        """Whether inputs of these axes and strides are worth a kernel."""
        if (x, strides) not in self._in_place:
            if len(self._in_place) >= self._MOST_STRIDES:
                return False
            # Elements that are apart cannot be loaded as vectors. Where that is
            # what the plan would do, a copy is cheaper than another plan.
            good = strides[-1] == 1 and not self._plan
            if not good:
                try:
                    plans = [_convjit.plan_report(*self._layer(x, self._w, self._y, s))
                             for s in ((), strides)]
                    good = plans[0]["plan"] == plans[1]["plan"]
                except ValueError:  # a plan by hand that cannot do it
                    good = False
            self._in_place[x, strides] = good
        return self._in_place[x, strides]

    def _view(
        self, x: np.ndarray, batch: int
    ) -> tuple[np.ndarray, str, tuple[int, ...]] | None:
        """A view of x, its axes, and its strides where it has gaps; nothing where
        no kernel reads it in place."""
        self._check(x, "x", self.input_shape(batch))
        order = _memory_order(x)
        if order is not None:
            return x.transpose(order), "".join(self._x[a] for a in order), ()
        found = _strides(x)
        if found is not None:
            order, strides = found
            axes = "".join(self._x[a] for a in order)
            if batch == 1:
                strides = self._strides_of_any_batch(axes, strides)
            if self._has_kernel(axes, strides):
                return x.transpose(order), axes, strides
        return None

    def _strides_of_any_batch(self, x: str, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of a kernel that there is, which differ in the batch's alone."""
        at = x.index("b")
        for axes, known in list(self._in_place):  # other threads add to it
            if axes == x and known[:at] + known[at + 1:] == strides[:at] + strides[at + 1:]:
                return known
        return strides

    @property
    def problem(self) -> str:
        """The layer in one line, in its canonical form."""
        return self._problem

    @property
    def convolution(self) -> str:
        """The general convolution that the layer means, in one line."""
        return self._text

    @property
    def dtype(self) -> np.dtype:
        return self._dtype

    @property
    def plan(self) -> str:
        """The plan that was compiled; `compile(problem, plan=...)` takes it."""
        return self._kernel.plan

    @property
    def compile_ms(self) -> float:
        """How long compiling took, in milliseconds."""
        return self._kernel.compile_ms

    @property
    def code_bytes(self) -> int:
        """Bytes of machine code and constants."""
        return self._kernel.code_bytes

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(k..., in/groups, out) of a plain layer, (k..., out, in/groups) of a
        transposed one."""
        return tuple(self._kernel.weight_shape())

    def input_shape(self, batch: int) -> tuple[int, ...]:
        return tuple(self._kernel.input_shape(batch))

    def output_shape(self, batch: int) -> tuple[int, ...]:
        return tuple(self._kernel.output_shape(batch))

    def flops(self, batch: int = 1) -> int:
        """Floating-point operations over true taps, zeros not counted."""
        mask = None if self._mask is None else self._mask.ravel().tolist()
        return 2 * _convjit.macs(self._text, batch, mask)

    def report(self) -> dict[str, Any]:
        """The plan, the candidates with their predicted cycles, the target."""
        mask = None if self._mask is None else self._mask.ravel().tolist()
        return _convjit.plan_report(
            self._text, self._plan, mask, self._planned_images
        )

    def ir(self, stage: str = "linalg", *, cpu: str = "", features: str = "") -> str:
        """The layer's IR at one of `convjit.STAGES`.

        `cpu` and `features` name another target, as LLVM does ("haswell",
        "+avx2,-fma").
        """
        if stage not in STAGES:
            raise ValueError(f"stage={stage!r}: valid: {', '.join(STAGES)}")
        mask = None if self._mask is None else self._mask.ravel().tolist()
        problem = self._problem if "grad=" not in self._problem else None
        if mask is not None:
            problem = None
        return _convjit.emit(
            self._text, stage, self._plan, cpu, features, problem, mask,
            self._planned_images,
        )

    def asm(self, *, cpu: str = "", features: str = "") -> str:
        """The assembly of the kernel."""
        return self.ir("asm", cpu=cpu, features=features)

    def pack(self, w: Any) -> Packed:
        """The weight in the kernel's own form, for many calls with one weight.

        Args:
          w: of shape `weight_shape`.
        """
        weights, axes = self._operand(w, "w", self.weight_shape, self._w)
        kernel = self._native(self._x, axes, self._y)
        packed = np.empty(kernel.packed_weight_bytes, np.uint8)
        kernel.pack(weights, packed)
        return Packed(self, kernel, axes, packed)

    def __call__(
        self, x: Any, w: Any, bias: Any = None, residual: Any = None, *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Runs the layer.

        Args:
          x: `input_shape(batch)`, or without its batch axis.
          w: `weight_shape`, or what `pack` returned.
          bias: (out_channels,), where the problem says `bias`.
          residual: the output's shape, where the problem says `residual`.
          out: written and returned if given: a NumPy array of the output's
            shape that shares no memory with the others.

        Returns:
          The output, `output_shape(batch)`, or without its batch axis.
        """
        x, unbatched = self._batched(x)
        batch = x.shape[self._x.index("b")]
        if isinstance(w, Packed):
            if w._kernel is not self:
                raise ValueError(
                    f"w was packed for {w._kernel.problem}; valid: by this kernel,"
                    f" {self.problem}"
                )
            packed, w_axes = w._data, w._axes
        else:
            packed = None
            weights, w_axes = self._operand(w, "w", self.weight_shape, self._w)
        input, x_axes, strides = self._view(x, batch) or (
            np.ascontiguousarray(x), self._x, ()
        )

        y_shape = self.output_shape(batch)
        y_at = self._y.index("b")
        if out is None:
            y = np.empty(y_shape, self._dtype)
        else:
            y = self._check_out(out, y_shape, y_at, unbatched)
            for value, name in ((x, "x"), (w, "w"), (bias, "bias"), (residual, "residual")):
                if isinstance(value, np.ndarray) and np.may_share_memory(out, value):
                    raise ValueError(
                        f"out shares memory with {name}; valid: an array of its own"
                    )
        target, y_axes = y, self._y
        order = _memory_order(y)
        if order is None:
            target = np.empty(y_shape, self._dtype)  # out has gaps
        else:
            target = y.transpose(order)
            y_axes = "".join(self._y[a] for a in order)

        kernel = self._native(x_axes, w_axes, y_axes, strides)
        if packed is not None and not w._suits(kernel):
            # Of arrays in another order, or with gaps, the plan may be another.
            kernel, input = w._native, np.ascontiguousarray(x)
            target, y_axes, order = np.empty(y_shape, self._dtype), self._y, None
        if packed is None:
            packed = np.empty(kernel.packed_weight_bytes, np.uint8)
            kernel.pack(weights, packed)
        extra = []
        for value, wanted, name, want_shape in (
            (bias, self._bias, "bias", (y_shape[self._y.index("f")],)),
            (residual, self._residual, "residual", y_shape),
        ):
            if (value is not None) != wanted:
                valid = f"an array of shape {_shape_text(want_shape)}" if wanted else "None"
                raise ValueError(
                    f"{name} is {'None' if value is None else 'given'}; valid:"
                    f" {valid}, as the problem says: {self.problem}"
                )
            if value is None:
                extra.append(None)
                continue
            array = as_array(value, name)
            if name == "residual":
                if unbatched and array.ndim == len(want_shape) - 1:
                    array = np.expand_dims(array, y_at)
                self._check(array, name, want_shape)
                array = array.transpose([self._y.index(a) for a in y_axes])
            else:
                self._check(array, name, want_shape)
            extra.append(np.ascontiguousarray(array))
        kernel.run(input, packed, target, *extra)
        if order is None:
            y[...] = target
        if out is not None:
            return out
        return y.squeeze(y_at) if unbatched else y

    def reads_in_place(self, x: Any) -> bool:
        """Whether a call reads this `x` where it is, and not a copy of it.

        docs/python.md says when; with weights from `pack` there is one more reason.
        """
        array, _ = self._batched(x)
        return self._view(array, array.shape[self._x.index("b")]) is not None

    def _batched(self, x: Any) -> tuple[np.ndarray, bool]:
        """x with a batch axis, and whether it had none."""
        array, shape = as_array(x, "x"), self.input_shape(1)
        unbatched = array.ndim == len(shape) - 1
        if unbatched:
            array = np.expand_dims(array, self._x.index("b"))
        if array.ndim != len(shape):
            raise ValueError(
                f"x has shape {_shape_text(array.shape)}; valid:"
                f" {_shape_text(['batch' if a == 'b' else n for a, n in zip(self._x, shape)])}"
                " or the same without the batch"
            )
        return array, unbatched

    def _check(self, array: np.ndarray, name: str, shape: tuple[int, ...]) -> None:
        if array.dtype != self._dtype:
            raise TypeError(f"{name} has dtype {array.dtype}; valid: {self._dtype}")
        if array.shape != tuple(shape):
            raise ValueError(
                f"{name} has shape {_shape_text(array.shape)}; valid:"
                f" {_shape_text(shape)}"
            )

    def _operand(
        self, value: Any, name: str, shape: tuple[int, ...], axes: str
    ) -> tuple[np.ndarray, str]:
        """A contiguous view and its axes; a copy only where there are gaps."""
        array = as_array(value, name)
        self._check(array, name, shape)
        order = _memory_order(array)
        if order is None:
            return np.ascontiguousarray(array), axes
        return array.transpose(order), "".join(axes[a] for a in order)

    def _check_out(
        self, out: Any, shape: tuple[int, ...], at: int, unbatched: bool
    ) -> np.ndarray:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out: {type(out).__name__}; valid: a NumPy array")
        if not out.flags.writeable:
            raise ValueError("out is read-only; valid: a writeable array")
        y = np.expand_dims(out, at) if unbatched else out
        if y.dtype != self._dtype or y.shape != tuple(shape):
            want = [n for i, n in enumerate(shape) if not unbatched or i != at]
            raise ValueError(
                f"out has shape {_shape_text(out.shape)} and dtype {out.dtype};"
                f" valid: {_shape_text(want)} and {self._dtype}"
            )
        return y

    def __repr__(self) -> str:
        return f"Kernel({self.problem!r}, plan={self.plan!r})"

    def _repr_svg_(self) -> str:
        from ._picture import roofline

        return roofline(self)

    def _repr_html_(self) -> str:
        from ._picture import page

        return page(self)
