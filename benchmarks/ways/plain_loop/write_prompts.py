"""write_prompts.py SETTINGS OUTPUT: new prompts from few-shot contexts; finished ones, each once."""

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams

settings, output = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
llm = LLM(settings["models"]["base"], **settings["engine"])
params = SamplingParams(stop=settings["stop"], **settings["writing"])
known, rows = set(), []
for answer in llm.generate(settings["contexts"], params, use_tqdm=False):
    text = answer.outputs[0].text.strip()
    if answer.outputs[0].finish_reason == "stop" and text and text not in known:
        known.add(text)
        rows.append({"prompt": text})
with open(output, "w") as handle:
    for row in rows:
        handle.write(json.dumps(row) + "\n")
