"""Whether random gradients of weights in 16 bits have reached each form of tensor cores: prints
what is missing."""

import json
import re
import sys

plans = json.load(sys.stdin)["gradient_plans"]
missing = set()


def want(dtype, what, *patterns):
    """Some plan of that type in which all patterns are found."""
    if not any(all(re.search(p, plan) for p in patterns) for plan in plans.get(dtype, {})):
        missing.add(f"no gradient in {dtype} has {what}")


for dtype in ("f16", "bf16"):
    want(dtype, "tensor cores by elements", "schedule = mma,", r"vector = 1\b")
    want(dtype, "tensor cores by runs of channels", "schedule = mma,", r"vector = [248]\b")
    want(dtype, "tensor cores in parts", "schedule = mma,", r"split = \d")
    want(dtype, "tensor cores with several taps a step", "schedule = mma,", "mixed = true")
for line in sorted(missing):
    print(line)
print(sum(len(of) for of in plans.values()), "plans of gradients")
