#!/usr/bin/env python3
"""Runs convjit on malformed input of every kind.

malformed.py CONVJIT FOLDER: each case must exit with 2, print nothing on standard
output, and on standard error one line "convjit: error: ..." that holds the case's
expected words (the field or tensor, its value or what is valid). FOLDER is for the
files that the cases need.
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True  # nothing into the source tree
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "Inputs"))
from make_npy import floats, npy  # noqa: E402

# Problem strings, each with words that the message must hold.
PROBLEMS = [
    ("", "operation ''"),
    (":", "operation ''"),
    ("conv", "operation 'conv'"),
    ("conv2d", "':' and fields"),
    ("conv2d:", "field ''"),
    ("conv4d:in=8x8x8x8x3,oc=4,k=3", "conv3d"),
    ("conv0d:in=3,oc=4,k=3", "conv0d"),
    ("conv2D:in=8x8x3,oc=4,k=3", "conv2D"),
    ("Conv2d:in=8x8x3,oc=4,k=3", "Conv2d"),
    ("convt2d:in=8x8x3,oc=4,k=3", "convT2d"),
    ("convT:in=8x8x3,oc=4,k=3", "convT"),
    (" conv2d:in=8x8x3,oc=4,k=3", "operation"),
    ("conv2d in=8x8x3,oc=4,k=3", "operation"),
    ("conv2d:oc=4,k=3", "in: is missing"),
    ("conv2d:in=8x8x3,k=3", "oc: is missing"),
    ("conv2d:in=8x8x3,oc=4", "k: is missing"),
    ("conv2d:in=8x8,oc=4,k=3", "in=8x8"),
    ("conv2d:in=8,oc=4,k=3", "in=8"),
    ("conv2d:in=8x8x8x3,oc=4,k=3", "3 integers"),
    ("conv2d:in=8x-8x3,oc=4,k=3", "in=-8"),
    ("conv2d:in=8x8x0,oc=4,k=3", "channels"),
    ("conv2d:in=8x8x3.0,oc=4,k=3", "in=8x8x3.0"),
    ("conv2d:in=8x8xthree,oc=4,k=3", "in=8x8xthree"),
    ("conv2d:in=8xx3,oc=4,k=3", "in=8xx3"),
    ("conv2d:in=8*8*3,oc=4,k=3", "in=8*8*3"),
    ("conv2d:in=8x8x3 ,oc=4,k=3", "in="),
    ("conv2d:in=0x8x8x3,oc=4,k=3", "in="),
    ("conv2d:in=99999999999999999999x8x3,oc=4,k=3", "in="),
    ("conv2d:in=8x8x2000000000,oc=4,k=3", "2000000000"),
    ("conv3d:in=1000000x1000000x1000000x1,oc=1,k=1", "2^40"),
    ("conv3d:in=0x1073741824x1073741824x1,oc=1,k=1", "a size of 0 counted as 1"),
    ("conv2d:in=,oc=4,k=3", "no value"),
    ("conv2d:in,oc=4,k=3", "no value"),
    ("conv2d:in=8x8x3,oc=0,k=3", "oc=0"),
    ("conv2d:in=8x8x3,oc=-4,k=3", "oc=-4"),
    ("conv2d:in=8x8x3,oc=4x4,k=3", "oc=4x4"),
    ("conv2d:in=8x8x3,oc=0x10,k=3", "oc=0x10"),
    ("conv2d:in=8x8x3,oc=1e3,k=3", "oc=1e3"),
    ("conv2d:in=8x8x3,oc=+4,k=3", "oc=+4"),
    ("conv2d:in=8x8x3,oc=4,k=0", "k=0"),
    ("conv2d:in=8x8x3,oc=4,k=3x3x3", "k=3x3x3"),
    ("conv2d:in=8x8x3,oc=4,k=3x", "k=3x"),
    ("conv2d:in=8x8x3,oc=4,k=", "no value"),
    ("conv2d:in=8x8x3,oc=4,k=3,k=5", "appears twice"),
    ("conv2d:in=8x8x3,oc=4,k=3,s=0", "s=0"),
    ("conv2d:in=8x8x3,oc=4,k=3,s=-1", "s=-1"),
    ("conv2d:in=8x8x3,oc=4,k=3,s=1x2x3", "s=1x2x3"),
    ("conv2d:in=8x8x3,oc=4,k=3,d=0", "d=0"),
    ("conv2d:in=8x8x3,oc=4,k=3,ld=0", "ld=0"),
    ("convT2d:in=8x8x3,oc=4,k=3,ld=2", "ld=2"),
    ("conv2d:in=8x8x3,oc=4,k=3,g=2", "g=2"),
    ("conv2d:in=8x8x3,oc=4,k=3,g=0", "g=0"),
    ("conv2d:in=8x8x4,oc=3,k=3,g=2", "oc=3"),
    ("conv2d:in=8x8x3,oc=4,k=3,bg=3", "bg=3"),
    ("conv2d:in=8x8x4,oc=4,k=3,g=2,bg=2", "at most one"),
    ("conv2d:in=8x8x4,oc=4,k=3,bg=2,grad=input", "bg=2"),
    ("conv2d:in=8x8x4,oc=4,k=3,bg=2,grad=weight", "bg=2"),
    ("conv2d:in=8x8x3,oc=4,k=3,pad=SAME", "pad=SAME"),
    ("conv2d:in=8x8x3,oc=4,k=3,pad=full", "pad=full"),
    ("conv2d:in=8x8x3,oc=4,k=3,pad=1x1x1", "pad=1x1x1"),
    ("conv2d:in=8x8x3,oc=4,k=3,pad=1:2:3", "pad=1:2:3"),
    ("conv2d:in=8x8x3,oc=4,k=3,pad=1:", "pad=1:"),
    ("conv2d:in=8x8x3,oc=4,k=3,pad=99999999999", "pad=99999999999"),
    ("conv2d:in=8x8x3,oc=4,k=3,layout=NHWC", "channels_last"),
    ("conv2d:in=8x8x3,oc=4,k=3,dtype=float32", "f32"),
    ("conv2d:in=8x8x3,oc=4,k=3,dtype=i8", "dtype=i8"),
    ("conv2d:in=8x8x3,oc=4,k=3,grad=bias", "grad=bias"),
    ("conv2d:in=8x8x3,oc=4,k=3,grad=input,bias", "grad=input"),
    ("conv2d:in=8x8x3,oc=4,k=3,grad=weight,act=relu", "grad=weight"),
    ("conv2d:in=0x8x3,oc=4,k=3,pad=valid,grad=weight", "no output"),
    ("conv2d:in=8x8x3,oc=4,k=3,bias=1", "bias=1"),
    ("conv2d:in=8x8x3,oc=4,k=3,bias,bias", "appears twice"),
    ("conv2d:in=8x8x3,oc=4,k=3,residual=yes", "residual=yes"),
    ("conv2d:in=8x8x3,oc=4,k=3,act=swish", "act=swish"),
    ("conv2d:in=8x8x3,oc=4,k=3,act=leaky_relu:", "act=leaky_relu:"),
    ("conv2d:in=8x8x3,oc=4,k=3,act=leaky_relu:nan", "finite"),
    ("conv2d:in=8x8x3,oc=4,k=3,act=relu:0.1", "act=relu:0.1"),
    ("conv2d:in=8x8x3,oc=4,k=3,mask=", "no value"),
    ("conv2d:in=8x8x3,oc=4,k=3,colour=red", "field 'colour'"),
    ("conv2d:in=8x8x3,oc=4,k=3,,s=2", "field ''"),
    ("conv2d:in=8x8x3,oc=4,k=3,", "field ''"),
    ("conv2d:in=8x8x3,oc=4,k=3\nconv2d", "k=3"),
    ("conv2d:in=8x8x3,oc=4,k=3,act=\x1b[31m", "act="),
    ("conv2d:" + "in=8x8x3," * 2000, "appears twice"),
    ("x" * 100000, "operation"),
    ("convolution:", "convolution"),
    ("convolution:n=8,k=3", "convolution"),
    ("convolution:n=8,k=3,ws=0,ld=1,rd=1,pad=0:0,rev=0,ic=4,oc=3,x=b0f,w=0io,y=b0f",
     "windowStride[0]=0"),
    ("convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=4,oc=3,x=b00,w=0io,y=b0f",
     "inputSpatial"),
    ("convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=4,oc=3,g=3,x=b0f,w=0io,y=b0f",
     "groups=3"),
    ("convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=4,oc=3,x=b0f,w=0io,y=b0f,"
     "mask=stripes@1", "stripes"),
]

LAYER = "conv2d:in=4x5x3,oc=2,k=3"  # input 4x5x3, weight 3x3x3x2, output 4x5x2
BIASED = LAYER + ",bias"
GRADIENT = LAYER + ",grad=weight"
GOOD = {
    "x": npy((4, 5, 3), floats((4, 5, 3))),
    "xb": npy((2, 4, 5, 3), floats((2, 4, 5, 3))),
    "w": npy((3, 3, 3, 2), floats((3, 3, 3, 2))),
    "b": npy((2,), floats((2,))),
    "g": npy((4, 5, 2), floats((4, 5, 2))),
    "x64": npy((4, 5, 3), floats((4, 5, 3), dtype="f8"), "<f8"),
    "w64": npy((3, 3, 3, 2), floats((3, 3, 3, 2), dtype="f8"), "<f8"),
}
# Shapes that are wrong for --input, --weight and --bias.
INPUT_SHAPES = [(), (60,), (4, 5), (5, 4, 3), (4, 5, 4), (3, 4, 5), (2, 4, 5, 4),
                (2, 5, 4, 3), (1, 1, 4, 5, 3), (0,), (4, 5, 0)]
WEIGHT_SHAPES = [(), (3, 3, 2, 3), (3, 3, 3), (3, 3, 3, 2, 1), (9, 3, 2), (1, 3, 3, 2),
                 (3, 3, 3, 0)]
BIAS_SHAPES = [(), (3,), (1, 2), (2, 1), (0,)]
# A weight mask with another shape than the weight's.
MASK_SHAPES = [(3, 3, 3), (3, 3, 2, 3), (2,)]

DATA = floats((4, 5, 3))
HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5, 3), }"
# Broken files, and words of the message.
FILES = [
    (b"", "not a .npy file"),
    (b"\x93NUMP", "not a .npy file"),
    (b"PK\x03\x04" + b"\0" * 100, "not a .npy file"),
    (b"hello, this is text\n", "not a .npy file"),
    (GOOD["x"][:7], "truncated"),
    (GOOD["x"][:9], "truncated"),
    (GOOD["x"][:40], "truncated"),
    (GOOD["x"][:-1], "truncated"),
    (GOOD["x"][:-4], "truncated"),
    (GOOD["x"] + b"\0", "too long"),
    (npy((4, 5, 3), b""), "truncated"),
    (npy((4, 5, 3), DATA, fortran=True), "Fortran"),
    (npy((4, 5, 3), DATA, ">f4"), ">f4"),
    (npy((4, 5, 3), DATA, "<i4"), "<i4"),
    (npy((4, 5, 3), DATA[:120], "<f2"), "<f2"),
    (npy((4, 5, 3), DATA * 2, "<c8"), "<c8"),
    (npy((4, 5, 3), DATA, "|O"), "|O"),
    (npy((4, 5, 3), DATA, "\x01\x02"), "dtype"),
    (b"\x93NUMPY\x00\x00" + GOOD["x"][8:], "version 0"),
    (b"\x93NUMPY\x04\x00" + GOOD["x"][8:], "version 4"),
    (b"\x93NUMPY\x01\x00\x00\x00" + DATA, "header"),
    (b"\x93NUMPY\x01\x00\xff\xff" + GOOD["x"][10:], "truncated"),
    (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + GOOD["x"][10:], "header"),
    (npy((), DATA, header="[1, 2]"), "dictionary"),
    (npy((), DATA, header="{"), "header"),
    (npy((), DATA, header="{}"), "lacks"),
    (npy((), DATA, header="{'descr': '<f4', 'fortran_order': False}"), "lacks"),
    (npy((), DATA, header=HEADER.replace("(4, 5, 3)", "(4, -5, 3)")), "not a size"),
    (npy((), DATA, header=HEADER.replace("(4, 5, 3)", "(4, 5.0, 3)")), "shape"),
    (npy((), DATA, header=HEADER.replace("(4, 5, 3)", "(4, 5, " + "9" * 30 + ")")),
     "not a size"),
    (npy((), DATA, header=HEADER.replace("(4, 5, 3)", "(4294967296, 4294967296, 3)")),
     "2^44"),
    (npy((), DATA, header=HEADER.replace("(4, 5, 3)", "(" + "1, " * 40 + ")")), "32 axes"),
    (npy((), DATA, header=HEADER.replace("(4, 5, 3)", "[4, 5, 3]")), "tuple"),
    (npy((), DATA, header=HEADER.replace("(4, 5, 3)", "(4, 5, 3")), "shape"),
    (npy((), DATA, header=HEADER.replace("False", "0")), "fortran_order"),
    (npy((), DATA, header=HEADER.replace("'<f4'", "[('a', '<f4')]")), "descr"),
    (npy((), DATA, header=HEADER + "import os"), "after the dictionary"),
    (npy((), DATA, header=HEADER.replace("}", "'extra': 1}")), "unknown key"),
]

# Lists for bench --file, and words of the message.
LISTS = [
    ("", "no column 'problem'"),
    ("name,batch\nx,1\n", "no column 'problem'"),
    ("problem,batch\n", "no problem"),
    ("batch,problem\n4\n", "line 2"),
    (f"batch,problem\nfour,\"{LAYER}\"\n", "batch=four"),
    (f"batch,problem\n0,\"{LAYER}\"\n", "batch=0"),
    (f"batch,problem\n-1,\"{LAYER}\"\n", "batch=-1"),
    (f"batch,problem\n99999999999999999999,\"{LAYER}\"\n", "batch=999"),
    # Commas of a problem that are taken for the file's.
    (f"batch,problem\n1,{LAYER}\n", "line 2: has 4 fields, the header has 2; valid: "
     "quote the problem"),
    (f"problem\n{LAYER}\n", "quote the problem"),
    (f"problem,batch\n\"{LAYER}\",1,,\n{LAYER},,\n", "line 3: has 3 fields"),
    (f"batch,problem\n1,\"{LAYER}\"\n1,\"conv9d:in=4\"\n", "line 3"),
]

# Other arguments.
ARGUMENTS = [
    ([], "VERB"),
    ([""], "verb ''"),
    (["fly"], "verb 'fly'"),
    (["PLAN", LAYER], "verb 'PLAN'"),
    (["tune", LAYER], "not available yet"),
    (["roofline"], "not available yet"),
    (["cache"], "subcommand"),
    (["cache", "--clear"], "convjit cache --help"),
    (["cache", "ls", "x"], "x"),
    (["import", "model.onnx"], "not available yet"),
    (["--frobnicate"], "VERB"),
    (["--json"], "VERB"),
    (["plan"], "problem"),
    (["plan", LAYER, LAYER], "argument"),
    (["plan", LAYER, "--frobnicate"], "frobnicate"),
    (["plan", LAYER, "--batch"], "--batch"),
    (["verify", LAYER, "--time-limit", "0"], "--time-limit"),
    (["verify", LAYER, "--time-limit", "soon"], "--time-limit"),
    (["plan", LAYER, "--batch", "many"], "--batch"),
    (["plan", LAYER, "--batch", "-1"], "--batch"),
    (["plan", LAYER, "--batch", "99999999999999999999"], "--batch"),
    (["plan", LAYER, "--target-cpu", "pentium-ludicrous"], "pentium-ludicrous"),
    (["plan", LAYER, "--plan", "fast"], "plan"),
    (["plan", LAYER, "--plan", "#conv.plan<lanes = diagonals>"], "plan"),
    (["plan", LAYER, "plan", LAYER], "argument"),
    (["run"], "problem"),
    (["run", LAYER], "--output"),
    (["run", LAYER, "--output", "y.npy"], "--input"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy"], "--weight"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy", "--weight", "."],
     "directory"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy", "--weight", "w.npy",
      "--batch-from-input"], "--input=x.npy"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy", "--weight", "w.npy",
      "--bias", "b.npy"], "has no bias"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy", "--weight", "w.npy",
      "--residual", "g.npy"], "has no residual"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy", "--weight", "w.npy",
      "--grad-output", "g.npy"], "grad=weight"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy", "--weight", "w.npy",
      "--threads", "0"], "--threads"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy", "--input", "x.npy"],
     "--input"),
    (["run", LAYER, "--output", "y.npy", "--input", "x64.npy", "--weight", "w.npy"],
     "dtype f64"),
    (["run", LAYER, "--output", "y.npy", "--input", "x.npy", "--weight", "w64.npy"],
     "dtype f64"),
    (["run", BIASED, "--output", "y.npy", "--input", "x.npy", "--weight", "w.npy"],
     "--bias is missing"),
    (["run", LAYER + ",residual", "--output", "y.npy", "--input", "x.npy", "--weight",
      "w.npy", "--residual", "x.npy"], "valid: 4x5x2"),
    (["run", LAYER + ",bg=2", "--output", "y.npy", "--input", "x.npy", "--weight",
      "w.npy"], "multiple of bg=2"),
    (["run", GRADIENT, "--output", "y.npy", "--input", "x.npy"], "--grad-output"),
    (["run", GRADIENT, "--output", "y.npy", "--input", "x.npy", "--grad-output",
      "x.npy"], "valid: 4x5x2"),
    (["run", GRADIENT, "--output", "y.npy", "--input", "xb.npy", "--grad-output",
      "g.npy"], "valid: 2x4x5x2"),
    (["run", GRADIENT, "--output", "y.npy", "--input", "x.npy", "--grad-output",
      "g.npy", "--weight", "w.npy"], "--weight=w.npy"),
    (["verify"], "no problem"),
    (["verify", "--random", "0"], "no problem"),
    (["verify", "--random", "-5"], "--random"),
    (["verify", "--random", "ten"], "--random"),
    (["verify", LAYER, "--seed", "x"], "--seed"),
    (["verify", LAYER, "--threads", "0"], "--threads"),
    (["verify", LAYER, "--threads", "1,x"], "--threads"),
    (["verify", LAYER, "--jobs", "0"], "--jobs"),
    (["verify", LAYER, "nonsense"], "nonsense"),
    (["verify", LAYER, "--plan", "fast", "--seed", "1", "--json"], "plan"),
    (["bench"], "no problem"),
    (["bench", LAYER, "--batch", "0"], "--batch"),
    (["bench", LAYER, "--min-ms", "-1"], "--min-ms"),
    (["bench", LAYER, "nonsense"], "nonsense"),
    (["bench", "convT3d:in=4096x4096x4096x4,oc=1,k=1", "--batch", "1000"], "2^48"),
    (["emit", LAYER], "--emit"),
    (["emit", LAYER, "--emit="], "--emit"),
    (["emit", LAYER, "--emit=wasm"], "--emit=wasm"),
    (["emit", LAYER, "--emit=archive"], "-o DIR"),
    (["emit", LAYER, "--emit=header", "--prefix=a-b"], "prefix=a-b"),
    (["emit", LAYER, "--emit=header", "--name=a-b"], "name=a-b"),
    (["emit", LAYER, "--emit=ptx"], "valid without --target=nvptx: conv"),
    (["emit", LAYER, "--emit=tiles", "--target=nvptx"], "valid with --target=nvptx: conv"),
    (["emit", LAYER, "--target=cuda", "--emit=ptx"], "--target"),
    (["verify", LAYER, "--device=abacus"], "--device=abacus"),
    (["emit", LAYER, "--emit=conv,wasm", "-o", "out"], "--emit=wasm"),
    (["emit", LAYER, "--emit=conv,,asm", "-o", "out"], "--emit="),
    (["emit", LAYER, "--emit=asm,asm", "-o", "out"], "twice"),
    (["emit", LAYER, "--emit=conv,asm"], "-o DIR"),
    (["emit", LAYER, "--emit=obj"], "-o DIR"),
    (["emit", LAYER, "--emit=asm,obj", "--json"], "-o DIR"),
]


def make_cases(folder):
    """(arguments, words) of every case; writes their files into the folder."""
    def put(name, content):
        (folder / name).write_bytes(content)
        return name

    for name, content in GOOD.items():
        put(f"{name}.npy", content)
    cases = [(["plan", problem], words) for problem, words in PROBLEMS]
    run = ["run", LAYER, "--output", "y.npy"]
    for shape in INPUT_SHAPES:
        name = put("x-" + "x".join(map(str, shape)) + ".npy", npy(shape, floats(shape)))
        cases.append((run + ["--input", name, "--weight", "w.npy"], f"--input={name}"))
    for shape in WEIGHT_SHAPES:
        name = put("w-" + "x".join(map(str, shape)) + ".npy", npy(shape, floats(shape)))
        cases.append((run + ["--input", "x.npy", "--weight", name], "valid: 3x3x3x2"))
    for shape in BIAS_SHAPES:
        name = put("b-" + "x".join(map(str, shape)) + ".npy", npy(shape, floats(shape)))
        cases.append((["run", BIASED, "--output", "y.npy", "--input", "x.npy",
                       "--weight", "w.npy", "--bias", name], f"--bias={name}"))
    for shape in MASK_SHAPES:
        name = put("m-" + "x".join(map(str, shape)) + ".npy", npy(shape, floats(shape)))
        cases.append((["plan", f"{LAYER},mask={name}"], f"mask={name}"))
    for number, (content, words) in enumerate(FILES):
        name = put(f"broken-{number}.npy", content)
        cases.append((run + ["--input", name, "--weight", "w.npy"], words))
    for number, (content, words) in enumerate(LISTS):
        name = put(f"list-{number}.csv", content.encode())
        cases.append((["bench", "--file", name], words))
    cases += ARGUMENTS
    # Errors leave standard output alone with --json as well.
    cases += [(arguments + ["--json"], words) for arguments, words in cases[::7]
              if arguments and arguments[0] in ("plan", "run", "bench")
              and "--json" not in arguments and arguments[-1] != "--batch"]
    return cases


def check(convjit, folder, arguments, words):
    """What is wrong with the answer to one case; empty if nothing."""
    try:
        done = subprocess.run([convjit, *arguments], cwd=folder, capture_output=True,
                              timeout=60)
    except subprocess.TimeoutExpired:
        return "still running after 60 s"
    error = done.stderr.decode(errors="replace")
    if done.returncode != 2:
        return f"exit code {done.returncode}, expected 2: {error[:300]!r}"
    if done.stdout:
        return f"standard output: {done.stdout[:200]!r}"
    if not error.startswith("convjit: error: ") or error.count("\n") != 1 \
            or not error.endswith("\n"):
        return f"not one line of ours: {error[:300]!r}"
    if any(ord(c) < 32 for c in error[:-1]):
        return f"control characters: {error[:300]!r}"
    if len(error) > 2000:
        return f"a line of {len(error)} characters: {error[:100]!r}"
    if words not in error:
        return f"{words!r} is not in {error[:300]!r}"
    return ""


def main():
    convjit, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    cases = make_cases(folder)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = list(pool.map(lambda case: check(convjit, folder, *case), cases))
    failed = 0
    for (arguments, _), answer in zip(cases, answers):
        if answer:
            failed += 1
            shown = " ".join(repr(argument[:200]) for argument in arguments)
            print(f"FAILED convjit {shown}\n    {answer}")
    leftover = [path.name for path in folder.iterdir()
                if path.name in ("y.npy", "out") or "reproducer" in path.name]
    if leftover:
        failed += 1
        print(f"FAILED: left behind {leftover}")
    print(f"{len(cases)} malformed inputs, {failed} wrong answers")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
