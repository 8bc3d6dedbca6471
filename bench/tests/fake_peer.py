"""A peer for tests: what it does is the problem's number of output channels."""

import os
import signal
import time

import numpy as np

from compare_lib.convolution import output_shape
from compare_lib.fit import Unsupported
from peers.prepared import Prepared

QUICK, REFUSE, RAISE, CRASH, HANG, NOISY = 1, 2, 3, 4, 5, 6


def version(threads):
    print("libraries print things")
    if os.environ.get("FAKE_MISSING"):
        raise ImportError("no module named fake")
    return f"1.0 with {threads} thread(s)"


class Fake(Prepared):
    note = "fake"

    def __init__(self, problem, batch):
        self.problem, self.batch = problem, batch

    def call(self):
        time.sleep(1e-4)
        if self.problem.out_channels == CRASH:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.problem.out_channels == HANG:
            time.sleep(60)
        if self.problem.out_channels == NOISY:
            print("and here too", flush=True)

    def output(self):
        return np.zeros(output_shape(self.problem, self.batch), np.float32)


def prepare(problem, batch, operands, variant, threads):
    if problem.out_channels == REFUSE:
        raise Unsupported("twos")
    if problem.out_channels == RAISE:
        raise ValueError("threes")
    return Fake(problem, batch)
