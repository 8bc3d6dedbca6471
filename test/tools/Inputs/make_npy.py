#!/usr/bin/env python3
"""Writes and shows .npy files without NumPy.

make_npy.py FILE SHAPE [VALUES] [--dtype f4|f8|b1|f2|V2]
    SHAPE is 2x3x4. VALUES: 'ones', 'count' (0, 1, 2, ...) or '1,2.5,...'.
make_npy.py --show FILE
    Prints dtype, shape and values in one line.
"""
import argparse
import struct


def npy(shape, data, descr="<f4", fortran=False, version=1, header=None):
    """The bytes of a .npy file; `header` replaces the whole dictionary."""
    if header is None:
        sizes = "".join(f"{size}, " for size in shape)
        header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({sizes}), }}"
    text = header.encode("latin1")
    start = 10 if version == 1 else 12
    text += b" " * (-(start + len(text) + 1) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def floats(shape, values="count", dtype="f4"):
    """The bytes of an array's elements."""
    count = 1
    for size in shape:
        count *= size
    if values == "count":
        numbers = range(count)
    elif values == "ones":
        numbers = [1] * count
    else:
        numbers = [float(value) for value in values.split(",")]
        assert len(numbers) == count, f"{len(numbers)} values for shape {shape}"
    if dtype == "V2":  # bfloat16: the upper halves
        data = struct.pack(f"<{count}f", *numbers)
        return b"".join(data[i + 2 : i + 4] for i in range(0, len(data), 4))
    code = {"f4": "f", "f8": "d", "b1": "?", "f2": "e"}[dtype]
    return struct.pack(f"<{count}{code}", *numbers)


def show(path):
    with open(path, "rb") as file:
        content = file.read()
    length = struct.unpack("<H", content[8:10])[0]
    header = eval(content[10:10 + length])  # our own output
    data = content[10 + length:]
    if header["descr"] == "<V2":
        data = b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))
    code = {"<f4": "f", "<f8": "d", "<f2": "e", "<V2": "f"}[header["descr"]]
    values = struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)
    print(header["descr"], "x".join(map(str, header["shape"])),
          " ".join(f"{value:g}" for value in values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("shape", nargs="?", default="")
    parser.add_argument("values", nargs="?", default="count")
    parser.add_argument("--dtype", choices=["f4", "f8", "b1", "f2", "V2"], default="f4")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    if options.show:
        return show(options.file)
    shape = [int(size) for size in options.shape.split("x") if size]
    data = floats(shape, options.values, options.dtype)
    with open(options.file, "wb") as file:
        file.write(npy(shape, data, ("|" if options.dtype == "b1" else "<") + options.dtype))


if __name__ == "__main__":
    main()
