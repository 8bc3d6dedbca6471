"""Which fields of plans random cases have reached: prints what is missing."""

import json
import re
import sys

WANTED = {
    "lanes": {"channels", "groups", "pixels", "reduction", "images"},
    "row": {"unrolled", "ranged", "images", "outer"},
    "order": {"block", "input", "batch"},  # `filter` is not printed
    "prefetch": {"input", "filter", "both"},
    "merged": {"1", "2", "3"},
}
# Of these, some value: how often a number is legal depends on the plans that the
# machine at hand prefers.
ANY = ["fold", "strip", "stream_from"]
# Of these, some plan has both.
TOGETHER = [("row = outer", "prefetch = both"), ("row = outer", "lanes = groups")]

plans = json.load(sys.stdin)["plans"]
for field, wanted in WANTED.items():
    seen = {value for plan in plans for value in re.findall(rf"\b{field} = (\w+)", plan)}
    for value in sorted(wanted - seen):
        print(f"no plan has {field} = {value}")
for field in ANY:
    if not any(f" {field} = " in plan for plan in plans):
        print(f"no plan has {field}")
for pair in TOGETHER:
    if not any(all(text in plan for text in pair) for plan in plans):
        print(f"no plan has {' and '.join(pair)}")
print(f"{len(plans)} plans")
