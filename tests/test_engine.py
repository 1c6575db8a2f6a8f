"""vLLM on tiny models: ratings against a float32 reference, texts that do not depend on the batch.

Llama is what the default is, Gemma 3 (layers with a short window) what config/gemma3-270m.yaml is.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_model

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
OPTIONS = {
    "device": "cpu",
    "dtype": "auto",
    "max_model_len": 512,
    "max_num_seqs": 16,
    "kv_cache_gib": 1,
    "gpu_memory_utilization": 0.5,
    "tensor_parallel_size": 1,
}

# One process with an engine serves all tests of an architecture: loading costs more than running.
PROGRAM = """
import json, sys
sys.path.insert(0, "scripts")
from alma.workflow.job import limit_threads
limit_threads(1)
from alma.chat_template import prompt_ids
from alma.engine import Request, open_engine
from alma.judging import PREFILL, rating_tokens, judge_messages
model, options, out = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
engine = open_engine(model, options)
prompts = [f"Write sentence number {i} about rain." for i in range(6)]
ids = [prompt_ids(engine.tokenizer, [{"role": "user", "content": p}]) for p in prompts]
requests = [Request(i, 1000 + 37 * n, 1.0, 0.95, 24) for n, i in enumerate(ids)]
texts = lambda rs: [c.text for c in engine.generate(rs)]
together = texts(requests)
pairs = [(p, r) for p in prompts[:3] for r in ("Rain falls.", "No.", "Rain " * 60)]
judged = [prompt_ids(engine.tokenizer, judge_messages(p, r), PREFILL) for p, r in pairs]
ratings = rating_tokens(engine.tokenizer)
json.dump({
    "together": together,
    "reversed": texts(requests[::-1])[::-1],
    "alone": [texts([r])[0] for r in requests],
    "in pairs": [t for i in (0, 2, 4) for t in texts(requests[i:i + 2])],
    "other seeds": texts([Request(r.token_ids, r.seed + 1, 1.0, 0.95, 24) for r in requests]),
    "cut": [[c.finish_reason, c.tokens] for c in engine.generate([Request(ids[0], 1, 1.0, 1.0, 3)])],
    "judged": judged, "ratings": ratings, "logprobs": engine.rating_logprobs(judged, ratings, "rating"),
}, open(out, "w"))
"""


@pytest.fixture(
    scope="module", params=[tiny_model.tiny_model, tiny_model.tiny_gemma], ids=["llama", "gemma3"]
)
def checkpoint(request, tmp_path_factory):
    return tiny_model.write_checkpoint(tmp_path_factory.mktemp("engine") / "model", request.param)


@pytest.fixture(scope="module")
def outcome(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("engine") / "out.json"
    command = [sys.executable, "-c", PROGRAM, str(checkpoint), json.dumps(OPTIONS), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(out.read_text())


@pytest.mark.parametrize("way", ["reversed", "alone", "in pairs"])
def test_a_text_depends_on_its_request_alone(outcome, way):
    assert outcome[way] == outcome["together"]


def test_another_seed_gives_another_text(outcome):
    differ = sum(a != b for a, b in zip(outcome["together"], outcome["other seeds"], strict=True))
    assert differ >= 5


def test_the_token_limit_is_reported(outcome):
    assert outcome["cut"] == [["length", 3]]


def test_ratings_match_a_float32_reference(outcome, checkpoint):
    """Teacher-forced log-probabilities of all ratings from transformers, one text at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    worst = 0.0
    for ids, got in zip(outcome["judged"], outcome["logprobs"], strict=True):
        for rating, value in zip(outcome["ratings"], got, strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([[*ids, *rating]])).logits[0].log_softmax(-1)
            places = range(len(ids) - 1, len(ids) + len(rating) - 1)
            want = sum(logits[at, token].item() for at, token in zip(places, rating, strict=True))
            worst = max(worst, abs(want - value))
    assert worst < 1e-3
