"""vLLM on tiny models: ratings against a float32 reference, texts that do not depend on the batch.

Llama with two tokens per rating is what the default is; Gemma 3 (layers with a short window) is what
config/gemma3-270m.yaml is, here with some ratings as one token; the third is as Llama 3 is: every rating is
one token. The tokenizers of the second and the third begin every text with a token of its own.
"""

import json
import os
import re
import subprocess
import sys
from functools import partial
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
from alma.engine import Request, open_engine, stable_path
from alma.judging import PREFILL, rating_tokens, judge_messages
model, options, out = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
from pathlib import Path
import shutil
copy = shutil.copytree(model, Path(out).parent / "another checkpoint")
engine = open_engine(stable_path(model), options)  # as on a GPU
from vllm.config import ModelConfig
key = lambda path: ModelConfig(model=str(path), dtype="float32").compute_hash()
keys = {"own": [key(model), key(copy)], "stable": [key(stable_path(model)), key(stable_path(copy))]}
prompts = [f"Write sentence number {i} about rain." for i in range(6)]
ids = [prompt_ids(engine.tokenizer, [{"role": "user", "content": p}]) for p in prompts]
requests = [Request(i, 1000 + 37 * n, 1.0, 0.95, 24) for n, i in enumerate(ids)]
texts = lambda rs: [c.text for c in engine.generate(rs)]
together = texts(requests)
pairs = [(p, r) for p in prompts[:3] for r in ("Rain falls.", "No.", "Rain " * 60)]
judged = [prompt_ids(engine.tokenizer, judge_messages(p, r), PREFILL) for p, r in pairs]
ratings = rating_tokens(engine.tokenizer)
json.dump({
    "keys": keys, "together": together,
    "reversed": texts(requests[::-1])[::-1],
    "alone": [texts([r])[0] for r in requests],
    "again": texts(requests),
    "in pairs": [t for i in (0, 2, 4) for t in texts(requests[i:i + 2])],
    "other seeds": texts([Request(r.token_ids, r.seed + 1, 1.0, 0.95, 24) for r in requests]),
    "cut": [[c.finish_reason, c.tokens] for c in engine.generate([Request(ids[0], 1, 1.0, 1.0, 3)])],
    "judged": judged, "ratings": ratings, "logprobs": engine.rating_logprobs(judged, ratings, "rating"),
}, open(out, "w"))
"""


RATINGS = tuple(f"{k:02d}" for k in range(11))
# Model of a checkpoint, and the ratings that its tokenizer writes as one token.
CHECKPOINTS = {
    "llama": (tiny_model.tiny_model, ()),
    "gemma3": (tiny_model.tiny_gemma, ("00", "10")),
    "one-token": (tiny_model.tiny_model, RATINGS),
}


@pytest.fixture(scope="module", params=CHECKPOINTS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def checkpoint(kind, tmp_path_factory):
    model, joined = CHECKPOINTS[kind]
    own = (partial(tiny_model.tiny_tokenizer, joined, bos=True), "plain") if joined else ()
    return tiny_model.write_checkpoint(tmp_path_factory.mktemp("engine") / "model", model, *own)


@pytest.fixture(scope="module")
def outcome(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("engine") / "out.json"
    command = [sys.executable, "-c", PROGRAM, str(checkpoint), json.dumps(OPTIONS), str(out)]
    quiet = os.environ | {"TQDM_DISABLE": "1"}  # as people set it; vLLM fails where a bar of its own is off
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(out.read_text()) | {"log": done.stdout}


@pytest.mark.parametrize("way", ["reversed", "alone", "again", "in pairs"])
def test_a_text_depends_on_its_request_alone(outcome, way):
    assert outcome[way] == outcome["together"]


def test_two_checkpoints_share_compiled_graphs_by_their_stable_path(outcome):
    """vLLM's part of the cache's key. The engine of the other tests here was given such a path."""
    assert len(set(outcome["keys"]["own"])) == 2, "vLLM no longer looks at the path: stable_path may go"
    assert len(set(outcome["keys"]["stable"])) == 1


def test_another_seed_gives_another_text(outcome):
    differ = sum(a != b for a, b in zip(outcome["together"], outcome["other seeds"], strict=True))
    assert differ >= 5


def test_the_token_limit_is_reported(outcome):
    assert outcome["cut"] == [["length", 3]]


def test_progress_is_lines_in_the_log(outcome):
    assert re.search(r"^sampling: 6/6 responses, [\d.]+/s, took", outcome["log"], flags=re.M)
    assert re.search(r"^rating(, pass \d of \d)?: 9/9 ratings, ", outcome["log"], flags=re.M)


def test_ratings_and_prompts_are_tokens_of_the_expected_kind(outcome, kind):
    """Recipe, traps 1 and 8: each way to write a rating is run here; a text begins once, not twice."""
    joined = CHECKPOINTS[kind][1]
    assert [len(r) for r in outcome["ratings"]] == [1 if text in joined else 2 for text in RATINGS]
    begin = len(tiny_model.SPECIAL_TOKENS)  # its id, where there is one
    assert not joined or all(ids[0] == begin and ids.count(begin) == 1 for ids in outcome["judged"])


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
