"""The gradient of a layer's weight."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from . import _convjit
from ._kernel import Kernel, _strides, as_array, with_strides


class WeightGradient(Kernel):
    """The gradient of one layer's weight, compiled for this CPU.

    What `convjit.compile` returns for a problem with `grad=weight`. Call it with
    the layer's input and its output's gradient. The result is the sum over the
    images; it does not depend on the number of threads. Arrays whose axes lie in
    another order in memory are copied; an input with gaps (a slice) is not.
    """

    def __init__(
        self, problem: str, convolution: str, layer: str, plan: str = "",
        mask: np.ndarray | None = None,
    ) -> None:
        # The mask multiplies the sum. The kernel knows nothing of it.
        # Its images are the layer's input channels.
        channels, groups = (
            int(re.search(rf",{name}=(\d+)", layer + f",{name}=1").group(1))
            for name in ("ic", "g")
        )
        super().__init__(problem, convolution, plan, images=channels // groups)
        self._layer, self._factors = layer, mask
        # Kernels for whole batches, by the number of images, and the strides of
        # an input with gaps.
        self._sums: dict[tuple[int, tuple[int, ...]], Any] = {(1, ()): self._kernel}
        self._images = int(np.flatnonzero(np.subtract(
            _convjit.shapes(layer, 2)[0], _convjit.shapes(layer, 1)[0]))[0])

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The layer's, and the result's."""
        return _convjit.shapes(self._layer, 1)[1]

    def input_shape(self, batch: int) -> tuple[int, ...]:
        """The layer's."""
        return _convjit.shapes(self._layer, batch)[0]

    def output_shape(self, batch: int) -> tuple[int, ...]:
        """The layer's, and its gradient's."""
        return _convjit.shapes(self._layer, batch)[2]

    def flops(self, batch: int = 1) -> int:
        """Those of the layer: a multiply-add for each true tap."""
        mask = None if self._factors is None else self._factors.ravel().tolist()
        return 2 * _convjit.macs(self._layer, batch, mask)

    def pack(self, w: Any) -> Any:
        """Has no meaning here: the output's gradient changes with every call."""
        raise TypeError(f"{self.problem} has no weight to pack; valid: calling it")

    def __call__(  # type: ignore[override]
        self, x: Any, gradient: Any, *, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Runs it.

        Args:
          x: the layer's input, `input_shape(batch)`, or without its batch axis.
          gradient: that of the output, `output_shape(batch)`, or without its
            batch axis where x has none.
          out: written and returned if given: a contiguous NumPy array of shape
            `weight_shape` that shares no memory with the others.

        Returns:
          The weight's gradient, of shape `weight_shape`.
        """
        x, batch, unbatched = self._input(x)
        gradient = as_array(gradient, "gradient")
        if unbatched:
            gradient = np.expand_dims(gradient, self._images)
        self._check(gradient, "gradient", self.output_shape(batch))
        if out is None:
            result = np.empty(self.weight_shape, self.dtype)
        else:
            result = self._check_out(out, self.weight_shape, 0, False)
            if not result.flags.c_contiguous:
                raise ValueError("out has gaps or another order of axes; valid: a"
                                 " contiguous array")
            for array, name in ((x, "x"), (gradient, "gradient")):
                if np.may_share_memory(out, array):
                    raise ValueError(
                        f"out shares memory with {name}; valid: an array of its own"
                    )
        mask = None if self._factors is None else self._factors.ravel().tolist()
        x, strides = self._gaps(x)
        self._kernel_for(max(batch, 1), strides).run_weight_gradient(
            with_strides(self._layer, strides), x, np.ascontiguousarray(gradient),
            result, mask,
        )
        return result

    def reads_in_place(self, x: Any) -> bool:
        """Whether a call reads this `x`, the layer's input, where it is."""
        array, _, _ = self._input(x)
        return array.flags.c_contiguous or bool(self._gaps(array)[1])

    def _input(self, x: Any) -> tuple[np.ndarray, int, bool]:
        """x with a batch axis, how many images it has, and whether it had none."""
        array = as_array(x, "x")
        unbatched = array.ndim == len(self.input_shape(1)) - 1
        if unbatched:
            array = np.expand_dims(array, self._images)
        batch = array.shape[self._images] if array.ndim > self._images else 1
        self._check(array, "x", self.input_shape(batch))
        return array, batch, unbatched

    def _kernel_for(self, batch: int, strides: tuple[int, ...]) -> Any:
        if (batch, strides) not in self._sums:
            text = _convjit.lower(self.problem, batch)[1] if batch > 1 else self._text
            self._sums[batch, strides] = _convjit.compile(
                with_strides(text, strides), self._plan, None, self._planned_images
            )
        return self._sums[batch, strides]

    def _gaps(self, x: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
        """x and its strides, which are none where it is contiguous or copied."""
        found = None if x.flags.c_contiguous else _strides(x)
        if found is not None:
            order, strides = found
            # As many strides as of a layer, each with any batch.
            known = {s for _, s in list(self._sums) if s}
            if (order == tuple(range(x.ndim)) and strides[-1] == 1
                    and not self._plan and len(known | {strides}) <= self._MOST_STRIDES):
                return x, strides
        return np.ascontiguousarray(x), ()
