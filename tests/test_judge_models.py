"""Judges that training never used, with real models: a reward model in vLLM, and a model that it serves."""

import importlib
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import tiny_model
from test_outside_judges import MINE, PROMPTS, SETTINGS, THEIRS, prompt_id, write_prompts, write_responses
from vllm_server import vllm_server

from alma.errors import InputError
from alma.outside_judges import FIRST, SCORE, SECOND
from alma.reward_model import conversation_ids, reward_folder
from alma.tables import read_table, user

judge_with_api, judge_with_reward = map(importlib.import_module, ("judge_with_api", "judge_with_reward"))
ENGINE = {"device": "cpu", "dtype": "auto", "max_num_seqs": 4, "kv_cache_gib": 1}
ENGINE |= {"gpu_memory_utilization": 0.5, "tensor_parallel_size": 1}
CHATML = (tiny_model.REPOSITORY / "templates" / "chatml.jinja").read_text(encoding="utf-8").rstrip("\n")


def write_reward_model(folder):
    """A random reward model in the shape of Skywork-Reward-V2's Llamas, with rewards far beyond 0-1."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    sizes = tiny_model.SIZES | {"pad_token_id": 0}
    config = LlamaConfig(**sizes, num_hidden_layers=2, num_key_value_heads=2, num_labels=1)
    model = tiny_model.randomly(lambda: LlamaForSequenceClassification(config), 0)
    with torch.no_grad():
        model.score.weight.mul_(100)
    tokenizer = tiny_model.tiny_tokenizer()
    tokenizer.chat_template = CHATML
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_rewards_are_the_logits_of_the_classifier(tmp_path):
    """Against transformers on the same token ids; one conversation is too long."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = write_reward_model(tmp_path / "reward")
    write_prompts(tmp_path / "eval.parquet")
    texts = ["Yes.", "No, it is not.", "", "A <|im_end|> in the text.", "word " * 300, "Seven."]
    write_responses(tmp_path / "mine.parquet", "round-2", texts)
    settings = {
        "seed": 0,
        "judge": "rm",
        "benchmark_name": "b",
        "prompts_asked": None,
        "model": str(folder),
        "engine": ENGINE | {"max_model_len": 200},
        "max_unreadable": 0.2,
    }
    files = [tmp_path / f"{name}.parquet" for name in ("eval", "mine", "judged")]
    # In a process of its own, as a job is: an engine leaves its settings behind in the one that it ran in.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(judge_with_reward.main, *files, **settings).result()
    rows = {row["prompt_id"]: row for row in read_table(tmp_path / "judged.parquet", "judged")}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    expected = []
    for prompt, text in zip(PROMPTS, texts, strict=True):
        ids = conversation_ids(tokenizer, user(prompt), text)
        with torch.inference_mode():
            expected.append(model(torch.tensor([ids])).logits.item())
    found = [rows[prompt_id(i)]["value"] for i in range(len(PROMPTS))]
    assert found.pop(4) is None and rows[prompt_id(4)]["problem"] == "longer than max_length"
    assert found == pytest.approx(expected[:4] + expected[5:], abs=2e-3)
    assert min(expected) < 0 or max(expected) > 1, "what no sigmoid gives"
    assert {row["question"] for row in rows.values()} == {SCORE}


@pytest.mark.parametrize("name", ["template", "tokenizer", "none"])
def test_a_conversation_has_one_beginning(name):
    """Of those that write it in the template, leave it to the tokenizer, and have none."""
    tokenizer = {
        "template": tiny_model.bos_tokenizer,
        "tokenizer": lambda: tiny_model.tiny_tokenizer(bos=True),
        "none": tiny_model.tiny_tokenizer,
    }[name]()
    if name != "template":
        tokenizer.chat_template = CHATML
    ids = conversation_ids(tokenizer, user("Is it?"), "It is <|endoftext|> so.")
    begin = tokenizer.bos_token_id
    assert ids.count(begin) == (name != "none") and (name == "none" or ids[0] == begin)
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 2, "one for each turn"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "no readable config.json"),
        ({"architectures": ["LlamaForCausalLM"]}, r"found \['LlamaForCausalLM'\] with no labels, expected a"),
        (
            {"architectures": ["AForSequenceClassification"], "id2label": {"0": "a", "1": "b"}},
            "with 2 labels",
        ),
        (
            {"architectures": ["AForSequenceClassification"], "auto_map": {"AutoModel": "x.py"}},
            "code of its own",
        ),
        ({"architectures": ["AForSequenceClassification"], "id2label": {"0": "a"}}, "no .safetensors file"),
    ],
    ids=["nothing", "causal", "labels", "code", "weights"],
)
def test_what_is_no_reward_model_is_refused(tmp_path, config, message):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"evaluation\.judges\.rm\.model: .*{message}"):
        reward_folder(str(tmp_path), "evaluation.judges.rm")


@pytest.mark.slow
@pytest.mark.services
def test_a_model_that_vllm_serves_is_asked(tiny_checkpoint, tmp_path, monkeypatch):
    """The tiny model cannot judge, so the server lets it write verdicts alone; without that none is read."""
    monkeypatch.setenv("ALMA_CACHE", str(tmp_path / "cache"))
    write_prompts(tmp_path / "eval.parquet")
    write_responses(tmp_path / "mine.parquet", "round-2", MINE)
    write_responses(tmp_path / "theirs.parquet", "sft-0", THEIRS)
    files = [tmp_path / f"{name}.parquet" for name in ("eval", "mine", "theirs", "judged")]
    settings = SETTINGS | {"model": "alma", "api_key_env": None, "max_tokens": 12, "timeout": 120.0}
    verdicts = {"structured_outputs": {"choice": ["[[A]]", "[[B]]", "[[C]]"]}}
    with vllm_server(tiny_checkpoint, tmp_path / "log.txt") as url:
        judge_with_api.main(*files, **settings | {"base_url": url, "asks": ["pair"], "body": verdicts})
        rows = read_table(files[-1], "judged")
        asked = [row for row in rows if row["answer"] is not None]
        assert len(asked) == 6 and {row["question"] for row in rows} == {FIRST, SECOND}
        assert all(row["problem"] is None and row["value"] in (0.0, 0.5, 1.0) for row in rows)
        assert all(row["input_tokens"] > 100 and row["output_tokens"] >= 1 for row in asked)
        with pytest.raises(InputError, match=r"judges\.gpt: \d+ of \d+ (questions|requests) have no"):
            judge_with_api.main(*files, **settings | {"base_url": url, "asks": ["pair"]})
        with pytest.raises(InputError, match=r"HTTP 404: .*\n.*Check base_url, model \(other\)"):
            judge_with_api.main(*files, **settings | {"base_url": url, "model": "other"})
    before = files[-1].read_bytes()
    judge_with_api.main(*files, **settings | {"base_url": url, "asks": ["pair"], "body": verdicts})
    assert files[-1].read_bytes() == before, "the server is gone, and all answers are in the cache"
