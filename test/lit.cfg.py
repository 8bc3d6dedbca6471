# Tests of the compiler and the tools on text: lit + FileCheck.
import os
import platform

import lit.formats

config.name = "convjit"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "numerics", "unit", "python", "fuzz", "qemu"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.convjit_test_dir

for name in ("FileCheck", "clang", "not", "llc", "mlir-translate"):
    config.substitutions.append(
        (rf"\b{name}\b", os.path.join(config.llvm_tools_dir, name))
    )
config.substitutions.append(
    (r"\bconvjit-opt\b", os.path.join(config.convjit_tools_dir, "convjit-opt"))
)
config.substitutions.append(
    ("%convjit", os.path.join(config.convjit_tools_dir, "convjit"))
)
# The command line on a CUDA driver whose kernels the emulator runs.
config.substitutions.append(
    (
        "%cuda",
        "env CONVJIT_PTX_WITH_IR=1 CONVJIT_LIBCUDA="
        + os.path.join(config.convjit_lib_dir, "libcuda-emulated.so"),
    )
)
config.substitutions.append(("%python", config.python))
# For tests of the machine's own instructions.
config.available_features.add(platform.machine())
# Sanitizer builds find their runtime and options through these.
for name in ("LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
# Tests compile what they test.
config.environment["CONVJIT_CACHE"] = "off"
config.environment["CONVJIT_BIN"] = os.path.join(config.convjit_tools_dir, "convjit")
