"""The ways in which a layer is computed: types, and what multiplies."""

from __future__ import annotations

import dataclasses

from compare_lib.places import BenchError


@dataclasses.dataclass(frozen=True)
class Mode:
    """`field` is added to a problem, `plan` is given to convjit; for PyTorch the name of
    the tensors' type, and whether float32 may be multiplied as tf32."""

    name: str
    field: str = ""
    plan: str = ""
    torch_type: str = "float32"
    tf32: bool = False

    def problem(self, text):
        return f"{text},{self.field}" if self.field else text


MODES = {
    mode.name: mode
    for mode in (
        Mode("f32"),
        Mode("tf32", plan="schedule = mma", tf32=True),
        Mode("f16", field="dtype=f16", torch_type="float16"),
        Mode("bf16", field="dtype=bf16", torch_type="bfloat16"),
    )
}


def read_modes(text):
    names = text.split(",")
    for name in names:
        if name not in MODES:
            raise BenchError(f"--modes={name}: valid: {', '.join(MODES)}, with commas between")
    return [MODES[name] for name in names]
