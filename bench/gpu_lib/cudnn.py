"""cuDNN, by PyTorch: the layers of peers/pytorch.py on a GPU.

One operator, then the epilogue in place, in both memory formats; cuDNN may try all its
algorithms (benchmark mode) before the time starts.
"""

from __future__ import annotations

import statistics

from compare_lib.arrays import make_operands
from compare_lib.fit import Unsupported
from compare_lib.places import BenchError
from compare_lib.problem import parse

VARIANTS = ("channels_last", "contiguous")


class Cudnn:
    """`device` is PyTorch's name; tests have a CPU."""

    def __init__(self, device, seconds):
        self.device, self.seconds = device, seconds
        try:
            import torch
        except ImportError as e:
            raise BenchError(
                f"PyTorch: {e}; valid: a Python that has torch built for CUDA, or "
                "--without-torch") from None
        if device.startswith("cuda") and not torch.cuda.is_available():
            built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else (
                "built without CUDA")
            raise BenchError(
                f"PyTorch {torch.__version__}, {built}, finds no GPU "
                "(torch.cuda.is_available()); valid: torch for CUDA and a driver, or "
                "--without-torch")
        torch.set_grad_enabled(False)
        torch.backends.cudnn.benchmark = True
        self.torch = torch

    def description(self):
        cudnn = self.torch.backends.cudnn.version() if self.device.startswith("cuda") else None
        return f"PyTorch {self.torch.__version__}, cuDNN {cudnn}"

    def prepare(self, problem, batch, mode, variant):
        """The layer on the device, in the mode's type."""
        from peers.pytorch import TorchLayer

        problem = parse(problem)
        layer = TorchLayer(problem, make_operands(problem, batch),
                           channels_last=variant == "channels_last")
        for name, value in list(vars(layer).items()):
            if isinstance(value, self.torch.Tensor):
                # Keeps the strides, and so the memory format.
                setattr(layer, name, value.to(self.device,
                                              getattr(self.torch, mode.torch_type)))
        self.torch.backends.cuda.matmul.allow_tf32 = mode.tf32
        self.torch.backends.cudnn.allow_tf32 = mode.tf32
        return layer

    def time(self, problem, batch, mode, variant):
        """Milliseconds: the median of calls, each between two events."""
        try:
            layer = self.prepare(problem, batch, mode, variant)
            for _ in range(3):  # cuDNN's choice is made here
                layer.call()
            return self._median(layer.call)
        except Unsupported as e:
            raise PeerFailed(str(e)) from None
        except RuntimeError as e:  # no memory, no algorithm
            raise PeerFailed(str(e).splitlines()[0]) from None

    def _median(self, call):
        cuda = self.torch.cuda
        cuda.synchronize()
        times = []
        while len(times) < 3 or sum(times) < self.seconds * 1e3:
            start, stop = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            start.record()
            call()
            stop.record()
            stop.synchronize()
            times.append(start.elapsed_time(stop))
        return statistics.median(times)


class PeerFailed(Exception):
    """Why PyTorch has no time for a layer."""
