"""keep_best.py SCORES OUTPUT: the best finished response to each prompt."""

import json
import sys
from pathlib import Path

best = {}
for row in map(json.loads, Path(sys.argv[1]).read_text().splitlines()):
    known = best.get(row["prompt"])
    if row["finished"] and row["score"] is not None and (known is None or row["score"] > known["score"]):
        best[row["prompt"]] = row
with open(sys.argv[2], "w") as handle:
    for row in best.values():
        handle.write(json.dumps(row) + "\n")
