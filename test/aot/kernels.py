"""Layers of an archive, what they give on main.c's numbers, and how to build it."""

import itertools
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent

# By the names that main.c uses. Padding is spelled out, so that the formula below
# needs no rule for it. Asymmetric kernels, odd totals.
LAYERS = {
    "up": "convT2d:in=4x5x3,oc=5,k=3x2,s=2,pad=1:2,bias,act=relu",
    "wide": "conv2d:in=5x9x4,oc=40,k=2x3,s=1x2,pad=1:0x1:1,bias",
    "back": "convT2d:in=4x5x3,oc=5,k=3x2,s=2,pad=1:2,grad=input",
    "weights": "convT2d:in=4x5x3,oc=5,k=3x2,s=2,pad=1:2,grad=weight",
    "masked": "conv2d:in=5x9x4,oc=6,k=2x3,s=1x2,pad=1:0x1:1,grad=weight,mask=MASK",
}
MASKED_SHAPE = (2, 3, 4, 6)


def mask_factor(index):
    return (0, 1, 0.5, 2, 0)[index % 5]


def numbers(count, factor):
    return [i * factor % 11 - 5 for i in range(count)]


def terms(transposed, size, channels, outputs, kernel, stride, padding):
    """Every product of the layer: positions in output, input and weight."""
    lengths = []
    for n, k, s, (low, high) in zip(size, kernel, stride, padding):
        dilated = (n - 1) * s + 1 if transposed else n
        lengths.append((dilated + low + high - k) // (1 if transposed else s) + 1)

    def flat(index, shape):
        at = 0
        for i, n in zip(index, shape):
            at = at * n + i
        return at

    result = []
    spaces = [range(n) for n in lengths], [range(k) for k in kernel]
    for out, tap in itertools.product(itertools.product(*spaces[0]),
                                      itertools.product(*spaces[1])):
        at = []
        for o, t, n, s, (low, _) in zip(out, tap, size, stride, padding):
            p = (o if transposed else o * s) + t - low
            step = s if transposed else 1
            at.append(p // step if p % step == 0 and 0 <= p // step < n else None)
        if None in at:
            continue
        stored = [k - 1 - t if transposed else t for t, k in zip(tap, kernel)]
        for oc, ic in itertools.product(range(outputs), range(channels)):
            order, shape = ((oc, ic), (outputs, channels)) if transposed else (
                (ic, oc), (channels, outputs))
            result.append((flat((*out, oc), (*lengths, outputs)),
                           flat((*at, ic), (*size, channels)),
                           flat((*stored, *order), (*kernel, *shape))))
    count = lambda shape, last: flat([n - 1 for n in shape] + [last - 1],  # noqa: E731
                                     [*shape, last]) + 1
    return (result, count(lengths, outputs), count(size, channels),
            flat([k - 1 for k in kernel], kernel) * channels * outputs
            + channels * outputs)


UP = terms(True, (4, 5), 3, 5, (3, 2), (2, 2), [(1, 2), (1, 2)])
WIDE = terms(False, (5, 9), 4, 40, (2, 3), (1, 2), [(1, 0), (1, 1)])
MASKED = terms(False, (5, 9), 4, 6, (2, 3), (1, 2), [(1, 0), (1, 1)])


def forward(layer, channels, activation):
    products, outputs, inputs, weights = layer
    x, w, b = numbers(2 * inputs, 7), numbers(weights, 3), numbers(channels, 5)
    y = [b[i % channels] for i in range(outputs)] * 2
    for image, (o, i, t) in itertools.product(range(2), products):
        y[image * outputs + o] += x[image * inputs + i] * w[t]
    return [activation(value) for value in y]


def input_gradient(layer):
    products, outputs, inputs, weights = layer
    g, w = numbers(2 * outputs, 7), numbers(weights, 3)
    x = [0] * (2 * inputs)
    for image, (o, i, t) in itertools.product(range(2), products):
        x[image * inputs + i] += g[image * outputs + o] * w[t]
    return x


def weight_gradient(layer, factor):
    products, outputs, inputs, weights = layer
    x, g = numbers(2 * inputs, 7), numbers(2 * outputs, 3)
    w = [0] * weights
    for image, (o, i, t) in itertools.product(range(2), products):
        w[t] += x[image * inputs + i] * g[image * outputs + o]
    return [value * factor(i) for i, value in enumerate(w)]


EXPECTED = {
    "up": forward(UP, 5, lambda value: max(value, 0)),
    "wide": forward(WIDE, 40, lambda value: value),
    "back": input_gradient(UP),
    "weights": weight_gradient(UP, lambda i: 1),
    "masked": weight_gradient(MASKED, mask_factor),
}


def write_mask(path):
    """The mask as a .npy file of version 1."""
    import struct
    count = 1
    for n in MASKED_SHAPE:
        count *= n
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {MASKED_SHAPE}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
                     + header.encode() + struct.pack(
                         f"<{count}f", *(mask_factor(i) for i in range(count))))


def emit(convjit, folder, cpus, parts="archive,header"):
    """Writes libnet.a and net.json, net.h or the objects into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_mask(folder / "mask.npy")
    command = [convjit, "emit", f"--emit={parts}", "--prefix=net", "-o", "."]
    for name, problem in LAYERS.items():
        command += [problem.replace("MASK", "mask.npy"), "--name", name]
    subprocess.run([*map(str, command), f"--target-cpu={','.join(cpus)}"],
                   cwd=folder, check=True, stdout=subprocess.DEVNULL)


def build(compiler, folder):
    """main.c against the archive: no library but the C library's own."""
    subprocess.run([*compiler, "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror",
                    "-O1", "-I.", HERE / "main.c", "libnet.a", "-o", "main"],
                   cwd=folder, check=True)
    return folder / "main"


def check(text, target):
    """That the output of `main run` is right, with kernels for `target`."""
    lines = text.splitlines()
    assert [line.split(":")[0] for line in lines] == list(EXPECTED)
    for line in lines:
        layer, got, values = line.split(":")
        assert got.strip() == target
        assert [float(value) for value in values.split()] == EXPECTED[layer], layer
