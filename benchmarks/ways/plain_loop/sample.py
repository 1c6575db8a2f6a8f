"""sample.py SETTINGS ROUND PROMPTS OUTPUT: N responses to each prompt of the round."""

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams

settings, round_, output = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), sys.argv[4]
prompts = [json.loads(line)["prompt"] for line in Path(sys.argv[3]).read_text().splitlines()]
size = settings["prompts_per_round"]
prompts = prompts[(round_ - 2) * size : (round_ - 1) * size]
llm = LLM(settings["models"]["sampled"], **settings["engine"])
params = SamplingParams(n=settings["samples"], seed=round_, **settings["sampling"])
chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
answers = llm.chat(chats, params, use_tqdm=False)
with open(output, "w") as handle:
    for prompt, answer in zip(prompts, answers, strict=True):
        for one in answer.outputs:
            row = {"prompt": prompt, "response": one.text.strip(), "finished": one.finish_reason == "stop"}
            handle.write(json.dumps(row) + "\n")
