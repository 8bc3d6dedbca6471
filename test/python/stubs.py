"""mypy's stubtest on convjit._convjit, whose functions are nanobind's.

stubtest compares functions of Python and of CPython's own C interface only. Each of
nanobind's says its signature; a function of Python with that signature takes its place
for the comparison. Types in it are C++'s, so names, kinds, and defaults are compared.
"""

import ast
import pathlib
import re
import sys

from mypy import stubtest

from convjit import _convjit


def in_python(function):
    """A function of Python with the signature that one of nanobind's says."""
    overloads = function.__nb_signature__
    assert len(overloads) == 1, f"{function.__name__} has {len(overloads)} overloads"
    text, _, defaults = overloads[0]
    # ndarray[order='C'] is no expression of Python.
    text = re.sub(r"ndarray\[[^]]*\]", "ndarray", text)
    text = re.sub(r"\\(\d+)", r"defaults[\1]", text)
    tree = ast.parse(text + ": ...")
    definition = tree.body[0]
    for argument in (*definition.args.args, *definition.args.kwonlyargs):
        argument.annotation = None
    definition.returns = None
    space = {"defaults": defaults}
    exec(compile(tree, "signature", "exec"), space)
    return space[definition.name]


def replace(owner):
    for name, value in list(vars(owner).items()):
        if type(value).__name__ in ("nb_func", "nb_method"):
            made = in_python(value)
            made.__module__ = _convjit.__name__
            setattr(owner, name, made)


replace(_convjit.Kernel)
replace(_convjit)
allowed = pathlib.Path(__file__).with_suffix(".allow")
sys.exit(stubtest.test_stubs(stubtest.parse_options(
    [_convjit.__name__, "--allowlist", str(allowed), *sys.argv[1:]])))
