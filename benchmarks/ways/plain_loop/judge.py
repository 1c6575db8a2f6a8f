"""judge.py SETTINGS SAMPLES OUTPUT: the judge's rating of each response, out of the text that it writes."""

import json
import re
import sys
from pathlib import Path

from vllm import LLM, SamplingParams

settings, output = json.loads(Path(sys.argv[1]).read_text()), sys.argv[3]
rows = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
llm = LLM(settings["models"]["judge"], **settings["engine"])
chats = [[{"role": "user", "content": settings["question"].format(**row)}] for row in rows]
answers = llm.chat(chats, SamplingParams(**settings["judging"]), use_tqdm=False)
with open(output, "w") as handle:
    for row, answer in zip(rows, answers, strict=True):
        rating = re.search(r"\[\[(\d+)\]\]", answer.outputs[0].text)
        row["score"] = float(rating[1]) if rating else None
        handle.write(json.dumps(row) + "\n")
