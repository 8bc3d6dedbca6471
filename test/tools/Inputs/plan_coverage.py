"""Which fields of plans random cases have reached: prints what is missing."""

import json
import re
import sys

WANTED = {
    "lanes": {"channels", "groups", "pixels", "reduction"},
    "row": {"unrolled", "ranged", "images", "outer"},
    "order": {"block", "input", "batch"},  # `filter` is not printed
    "prefetch": {"input", "filter", "both"},
    "merged": {"1", "2", "3"},
    "fold": {"2", "3", "4"},
    "strip": {"1", "2", "3", "5"},
}

plans = json.load(sys.stdin)["plans"]
for field, wanted in WANTED.items():
    seen = {value for plan in plans for value in re.findall(rf"\b{field} = (\w+)", plan)}
    for value in sorted(wanted - seen):
        print(f"no plan has {field} = {value}")
print(f"{len(plans)} plans")
