"""The peers: what they are called, what runs them, what they need."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import sys

from .compiled import compiled
from .places import BENCH, PEERS, BenchError


@dataclasses.dataclass(frozen=True)
class Peer:
    """`name` in the output, `module` to import, `variant` that the module knows.
    `counts`: whether its time can be the best of the peers."""

    name: str
    module: str
    variant: str
    colour: str
    counts: bool = True


CONVJIT = Peer("convjit", "peers.convjit_cli", "-", "#d62728")

PEER_LIST = (
    Peer("onednn", "peers.onednn", "packed", "#1f77b4"),
    Peer("onednn_packing", "peers.onednn", "packing", "#9ec9e8", counts=False),
    Peer("torch_channels_last", "peers.pytorch", "channels_last", "#ff7f0e"),
    Peer("torch_channels_first", "peers.pytorch", "channels_first", "#ffbb78"),
    Peer("onnxruntime", "peers.onnx_runtime", "-", "#2ca02c"),
    Peer("openvino_channels_last", "peers.open_vino", "channels_last", "#9467bd"),
    Peer("openvino_channels_first", "peers.open_vino", "channels_first", "#c5b0d5"),
    Peer("xla", "peers.xla", "-", "#7f7f7f"),
)


def choose_peers(text):
    """Peers by a comma-separated list of names, beginnings of names up to a _, or
    patterns; "none" for none."""
    if text == "none":
        return []
    chosen = []
    for wanted in text.split(","):
        found = [peer for peer in PEER_LIST
                 if fnmatch.fnmatch(peer.name, wanted) or peer.name.startswith(wanted + "_")]
        if not found:
            raise BenchError(f"--peers={wanted}: valid: "
                             + ", ".join(peer.name for peer in PEER_LIST) + ", none")
        chosen += [peer for peer in found if peer not in chosen]
    return chosen


def peer_python(peer):
    """The interpreter that has the peer's packages."""
    path = PEERS / "bin" / "python"
    return str(path) if peer is not CONVJIT and path.exists() else sys.executable


def peer_environment(peer, convjit, threads):
    """Environment variables of the peer's process. Frameworks that allocate every
    result anew keep their memory (MALLOC_*), so that page faults do not count."""
    environment = {
        **os.environ, "PYTHONPATH": str(BENCH), "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": ""}
    if peer is CONVJIT:
        return {**environment, "CONVJIT_BIN": str(convjit)}
    environment.update({"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
                        "MALLOC_ARENA_MAX": "1"})
    if peer.module == "peers.onednn":
        environment.update(_onednn_environment())
    return environment


def _onednn_environment():
    """Its package has a SYCL build for CPUs, which finds its device through OpenCL."""
    library = PEERS / "lib"
    if not (library / "libdnnl.so").exists():
        return {}
    try:
        built = compiled(
            BENCH / "peers" / "onednn.cpp", "libbench_onednn.so",
            ["-O2", "-shared", "-fPIC", f"-I{PEERS / 'include'}", f"-L{library}", "-ldnnl",
             f"-Wl,-rpath,{library}", "-Wl,--allow-shlib-undefined"])
    except BenchError as e:
        print(f"onednn: {e}", file=sys.stderr)
        return {}
    paths = [str(library), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"BENCH_ONEDNN": str(built), "LD_LIBRARY_PATH": os.pathsep.join(paths),
            "OCL_ICD_FILENAMES": str(library / "libintelocl.so")}
