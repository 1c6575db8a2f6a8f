"""Training (recipe, traps 18 to 21): what the loss covers, equal bytes, resuming, DPO."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial

import pytest
import tiny_model
import train_judge
import train_judge_seed
import train_round
import train_sft
from hypothesis import given, settings
from hypothesis import strategies as st

from alma.chat_template import prompt_ids
from alma.checkpoints import MODEL_FILES, load_model
from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.files import sha256_of
from alma.judge_training import (
    RatingTerms,
    balanced,
    certain,
    distillation_targets,
    human_ratings,
    judge_conversations,
    rating_targets,
    rating_terms,
    split_score,
)
from alma.judging import (
    PREFILL,
    expected_rating,
    first_tokens,
    integer_rating,
    judge_messages,
    rating_probabilities,
    rating_tokens,
)
from alma.tables import assistant, user, write_table
from alma.tokenizer import load_tokenizer
from alma.training import choose_device, takes_rows, total_steps
from alma.training_data import (
    IGNORED,
    check_labels,
    completion_ids,
    one_row,
    padded,
    preference_examples,
    sft_examples,
)
from alma.workflow import resume

EOS = 2  # <|im_end|> of the tiny checkpoint
TRAINING = {
    "method": "full",
    "last_layers": None,
    "learning_rate": 1e-3,
    "epochs": 1.5,
    "batch_size": 4,
    "micro_batch_size": 2,
    "max_length": 160,
    "warmup": 0.1,
    "weight_decay": 0.01,
    "lora_rank": 4,
    "lora_alpha": 8,
    "save_steps": 2,
}


def pairs(count):
    lines = (tiny_model.DATA / "sft.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    return [
        {
            "prompt_id": str(i),
            "prompt": user(row["prompt"]),
            "completion": assistant(row["response"]),
        }
        for i, row in enumerate(rows)
    ]


def preferences(count):
    rows = pairs(count)
    return [
        {
            "prompt_id": row["prompt_id"],
            "prompt": row["prompt"],
            "chosen": row["completion"],
            "rejected": rows[i - 1]["completion"],
        }
        for i, row in enumerate(rows)
    ]


def judged(count):
    lines = (tiny_model.DATA / "judge.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    return [
        {
            "prompt_id": "p",
            "response_id": f"r{i}",
            "annotator": 0,
            "prompt": row["prompt"],
            "response": row["response"],
            "score": float(row["score"]),
        }
        for i, row in enumerate(rows)
    ]


def read_curve(path):
    return read_csv_table(path, "training_curve")


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint):
    return load_tokenizer(tiny_checkpoint)


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    return load_model(tiny_checkpoint, "float32")


@pytest.fixture
def dataset(tmp_path):
    write_table(tmp_path / "dataset.parquet", "dataset", pairs(10))
    return tmp_path / "dataset.parquet"


@pytest.fixture
def sft(tiny_checkpoint, dataset, tmp_path):
    """Train on ten pairs (five steps); returns (hash of the weights, curve)."""

    def run(name, seed=0, **changes):
        out, curve = tmp_path / "models" / name, tmp_path / f"{name}.csv"
        train_sft.main(
            tiny_checkpoint,
            dataset,
            out,
            curve,
            seed=[seed, "sft", 0],
            device="cpu",
            training=TRAINING | changes,
        )
        return sha256_of(out / "model.safetensors"), read_curve(curve)

    return run


# what the loss covers


def test_completion_follows_the_prompt_of_sampling_and_ends_with_eos(tokenizer):
    prompt, completion = user("What is ice?"), assistant("Frozen water.")
    before, after = completion_ids(tokenizer, prompt, completion, [EOS])
    assert tokenizer.decode(before).endswith("<|im_start|>assistant\n")
    # The template's line break after <|im_end|> is left out: generation stops before it.
    assert tokenizer.decode(after) == "Frozen water.<|im_end|>" and after[-1] == EOS


def test_the_loss_covers_exactly_the_completion(tokenizer):
    rows = pairs(30)
    for row, example in zip(rows, sft_examples(tokenizer, rows, [EOS], 500, "training.sft"), strict=True):
        learned = [label for label in example["labels"] if label != IGNORED]
        assert tokenizer.decode(learned) == row["completion"][0]["content"] + "<|im_end|>"


def test_a_template_without_eos_gets_one(tiny_checkpoint):
    tokenizer = load_tokenizer(tiny_checkpoint)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    _, after = completion_ids(tokenizer, user("Hi"), assistant("Hello"), [EOS, 0])
    assert after[-1] == EOS


def test_an_answer_that_merges_with_the_prompt_keeps_the_ids_of_sampling(tiny_checkpoint):
    tokenizer = load_tokenizer(tiny_checkpoint)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    prompt = user("Name a water sport")
    whole = tokenizer.apply_chat_template([*prompt, *assistant("the")], tokenize=False)
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    alone = prompt_ids(tokenizer, prompt)
    assert ids[: len(alone)] != alone  # " the" is one token
    before, after = completion_ids(tokenizer, prompt, assistant("the"), [EOS])
    assert before == alone and tokenizer.decode(before + after) == whole
    assert tokenizer.decode(after) == "the<|im_end|>"


def test_a_template_that_renders_the_prompt_otherwise_is_refused(tiny_checkpoint):
    tokenizer = load_tokenizer(tiny_checkpoint)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}{{ '<think>' }}{% endif %}"
    )
    with pytest.raises(InputError, match="chat_template"):
        completion_ids(tokenizer, user("Hi"), assistant("Hello"), [EOS])


@pytest.mark.parametrize(
    "labels",
    [
        [IGNORED, 6, 7, EOS],  # the loss begins in the prompt
        [IGNORED, IGNORED, IGNORED, EOS],  # it begins too late
        [IGNORED, IGNORED, 7, IGNORED],  # EOS is masked, as a pad token would be
    ],
)
def test_wrong_labels_are_caught(labels):
    with pytest.raises(ValueError, match="loss"):
        check_labels({"input_ids": [5, 6, 7, EOS], "labels": labels}, [5, 6], [EOS])
    check_labels({"input_ids": [5, 6, 7, EOS], "labels": [IGNORED, IGNORED, 7, EOS]}, [5, 6], [EOS])


def test_a_loss_that_does_not_end_with_eos_is_caught():
    with pytest.raises(ValueError, match="end the sequence"):
        check_labels({"input_ids": [5, 6, 7], "labels": [IGNORED, IGNORED, 7]}, [5, 6], [EOS])


# examples that are too long


def test_long_examples_are_left_out_and_counted(tokenizer, capsys):
    rows = pairs(20)
    lengths = [len(e["input_ids"]) for e in sft_examples(tokenizer, rows, [EOS], 10**6, "training.sft")]
    limit = sorted(lengths)[9]
    kept = list(sft_examples(tokenizer, rows, [EOS], limit, "training.sft"))
    expected = sum(n <= limit for n in lengths)
    assert len(kept) == expected < 20
    assert f"{20 - expected} longer ones left out" in capsys.readouterr().out
    assert [len(e["input_ids"]) for e in kept] == [n for n in lengths if n <= limit]  # never cut


def test_only_long_examples_are_an_error_that_names_the_key(tokenizer):
    with pytest.raises(InputError, match=r"judge\.training\.max_length: found 16"):
        list(sft_examples(tokenizer, pairs(5), [EOS], 16, "judge.training"))
    with pytest.raises(InputError, match=r"training\.dpo\.max_length"):
        list(preference_examples(tokenizer, preferences(5), [EOS], 16, "training.dpo"))


def test_no_example_at_all_is_an_error(tokenizer):
    with pytest.raises(InputError, match="no example"):
        list(sft_examples(tokenizer, [], [EOS], 100, "training.sft"))


# one row instead of a padded batch

tokens = st.integers(3, 9)
an_example = st.tuples(st.lists(tokens, min_size=1, max_size=12), st.lists(tokens, min_size=0, max_size=5))


def example(prompt, answer):
    answer = [*answer, EOS]
    return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}


@pytest.mark.slow
@given(st.lists(tokens, max_size=6), st.lists(an_example, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_row_holds_every_example_as_it_stands_alone(prefix, parts):
    examples = [example(prefix + prompt, answer) for prompt, answer in parts]
    row = one_row(examples)
    mask, ids = row["attention_mask"][0, 0], row["input_ids"][0]
    targets, positions = row["shift_labels"][0], row["position_ids"][0]
    ends = [i for i in range(len(ids)) if targets[i] == EOS]
    assert len(ends) == len(examples)  # EOS is in the loss of every example
    for one, last in zip(examples, ends, strict=True):
        seen = mask[last].nonzero().flatten().tolist()
        assert ids[seen].tolist() == one["input_ids"][:-1]
        assert positions[seen].tolist() == list(range(len(seen)))
        wanted = [label for label in one["labels"] if label != IGNORED]
        assert targets[seen][-len(wanted) :].tolist() == wanted
    total = sum(label != IGNORED for one in examples for label in one["labels"])
    assert int((targets != IGNORED).sum()) == total
    # what two prompts begin with stands there once
    beginnings = {
        tuple(e["input_ids"][: i + 1]) for e in examples for i in range(e["labels"].count(IGNORED) - 1)
    }
    own = sum(len(e["input_ids"]) - e["labels"].count(IGNORED) + 1 for e in examples)
    assert len(ids) == len(beginnings) + own


def test_a_row_gives_the_loss_and_the_gradients_of_single_examples(tokenizer, model):
    import torch
    from torch.nn.functional import cross_entropy

    from alma.training import row_loss

    rows = judge_conversations(human_ratings(judged(6)), [0])
    examples = list(sft_examples(tokenizer, rows, [EOS], 500, "judge.training"))
    assert len(one_row(examples)["input_ids"][0]) < 0.6 * sum(len(one["input_ids"]) for one in examples)
    model.zero_grad()
    alone = 0
    for one in examples:
        logits = model(torch.tensor([one["input_ids"]])).logits[0, :-1]
        alone += cross_entropy(logits, torch.tensor(one["labels"][1:]), reduction="sum")
    alone.backward()
    wanted = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.zero_grad()
    loss, count = row_loss(model, one_row(examples), cross_entropy)
    loss.backward()
    assert loss.item() == pytest.approx(alone.item(), rel=1e-5)
    assert count == sum(label != IGNORED for one in examples for label in one["labels"])
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.grad, wanted[name], rtol=1e-3, atol=1e-4)


def test_models_whose_attention_is_not_plain_are_padded(tokenizer, model):
    from transformers import MistralConfig, MistralForCausalLM

    examples = list(sft_examples(tokenizer, pairs(4), [EOS], 500, "training.sft"))
    assert takes_rows(model, examples)
    sizes = {
        "vocab_size": tiny_model.VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        # With the usual 0.02 attention is so even that no window would show in the loss.
        "initializer_range": 0.5,
    }
    windowed = MistralForCausalLM(MistralConfig(**sizes, sliding_window=8)).eval()
    assert not takes_rows(windowed, examples)
    plain = MistralForCausalLM(MistralConfig(**sizes, sliding_window=None)).eval()
    assert takes_rows(plain, examples)


def test_padded_batches_train_like_rows(sft, monkeypatch):
    _, rows = sft("rows")
    monkeypatch.setattr("alma.training.takes_rows", lambda *_: False)
    _, padded = sft("padded")
    assert len(rows) == len(padded) == 5
    for a, b in zip(rows, padded, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-4)


# a whole training


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_same_training_gives_the_same_bytes(sft, tiny_checkpoint, tmp_path, capsys, method):
    first, curve = sft("a", method=method)
    log = capsys.readouterr().out
    again, same_curve = sft("b", method=method)
    other, _ = sft("c", seed=1, method=method)
    assert first == again and curve == same_curve
    assert other != first != sha256_of(tiny_checkpoint / "model.safetensors")
    # one file of weights, float32, and nothing that was not declared
    assert sorted(path.name for path in (tmp_path / "models" / "a").iterdir()) == sorted(MODEL_FILES)
    assert not (tmp_path / "models" / ".resume").exists()
    trained = load_model(tmp_path / "models" / "a")
    assert trained.dtype.itemsize == 4
    assert set(trained.state_dict()) == set(load_model(tiny_checkpoint).state_dict())
    # 10 pairs in batches of 4, one and a half times
    assert [row["step"] for row in curve] == [1, 2, 3, 4, 5]
    assert total_steps(10, TRAINING) == 5
    assert list(curve[0]) == ["step", "epoch", "loss", "learning_rate", "tokens"]
    counts = [int(row["tokens"]) for row in curve]
    assert counts == sorted(counts) and counts[0] > 0
    assert all(float(row["learning_rate"]) > 0 for row in curve)
    assert "a: 5/5 steps, loss " in log and "tokens/s" in log and "%|" not in log


@pytest.mark.parametrize("method", ["full", "lora"])
def test_only_the_last_layers_change(sft, tiny_checkpoint, tmp_path, method):
    sft("a", method=method, last_layers=1)
    before = load_model(tiny_checkpoint).state_dict()
    after = load_model(tmp_path / "models" / "a").state_dict()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed and all(re.match(r"model\.(layers\.1\.|norm\.)", name) for name in changed)


def test_more_layers_than_the_model_has_are_refused(sft):
    with pytest.raises(InputError, match=r"last_layers: found 9, expected at most 2, the model's layers"):
        sft("a", last_layers=9)


def test_a_trained_model_gives_its_answers_and_stops(tiny_checkpoint, tmp_path, tokenizer):
    import torch

    rows = [
        {"prompt_id": q, "prompt": user(q), "completion": assistant(a)}
        for q, a in [("Say one", "one is 1."), ("Say two", "two"), ("Say ten", "ten of us\nhere")]
    ]
    write_table(tmp_path / "d.parquet", "dataset", rows)
    train_sft.main(
        tiny_checkpoint,
        tmp_path / "d.parquet",
        tmp_path / "models" / "m",
        tmp_path / "m.csv",
        seed=[0],
        device="cpu",
        training=TRAINING | {"learning_rate": 3e-3, "epochs": 60, "save_steps": 1000},
    )
    model = load_model(tmp_path / "models" / "m")
    for row in rows:
        ids = torch.tensor([prompt_ids(tokenizer, row["prompt"])])
        answer = model.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :]
        assert tokenizer.decode(answer) == row["completion"][0]["content"] + "<|im_end|>"


def test_a_loss_that_is_not_finite_ends_the_job(sft):
    with pytest.raises(InputError, match=r"training\.sft\.learning_rate"):
        sft("a", learning_rate=1e30)


@pytest.mark.slow
def test_cuda_without_a_gpu_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(InputError, match=r"engine\.device: found cuda"):
        choose_device("cuda")


# resuming

KILLED = """
import os, signal, sys
import alma.workflow.resume, train_sft
whole = alma.workflow.resume.mark_complete
def kill_after_the_first_save(folder):
    whole(folder)
    os.kill(os.getpid(), signal.SIGKILL)
alma.workflow.resume.mark_complete = kill_after_the_first_save
import json
model, dataset, out, curve, training = sys.argv[1:]
train_sft.main(model, dataset, out, curve, seed=[0, "sft", 0], device="cpu", training=json.loads(training))
"""


def test_a_killed_training_resumes_to_the_same_bytes(sft, tiny_checkpoint, dataset, tmp_path, capsys):
    undisturbed, curve = sft("undisturbed")
    out = tmp_path / "models" / "killed"
    command = [sys.executable, "-c", KILLED, tiny_checkpoint, dataset, out, tmp_path / "killed.csv"]
    scripts = str(tiny_model.REPOSITORY / "scripts")
    ended = subprocess.run(
        [*map(str, command), json.dumps(TRAINING)],
        env=os.environ | {"PYTHONPATH": scripts},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not out.exists()
    saved = resume.resume_folder(out)
    assert (saved / "checkpoint-2").is_dir()
    # a later save that the kill cut short: its files lie there without the list of them
    shutil.copytree(saved / "checkpoint-2", saved / "checkpoint-4")
    (saved / "checkpoint-4" / "complete.json").unlink()
    capsys.readouterr()
    resumed, resumed_curve = sft("killed")
    log = capsys.readouterr().out
    assert "resume: from step 2" in log and "checkpoint-4 is not whole" in log
    assert resumed == undisturbed and resumed_curve == curve
    assert not saved.exists()


class Stopped(Exception):
    pass


def stop_after_a_save(monkeypatch):
    whole = resume.mark_complete

    def stop(folder):
        whole(folder)
        monkeypatch.setattr(resume, "mark_complete", whole)
        raise Stopped

    monkeypatch.setattr(resume, "mark_complete", stop)


def test_lora_resumes_to_the_same_bytes_also_with_another_save_interval(sft, monkeypatch, capsys):
    undisturbed, curve = sft("a", method="lora")
    stop_after_a_save(monkeypatch)
    with pytest.raises(Stopped):
        sft("b", method="lora")
    capsys.readouterr()
    assert sft("b", method="lora", save_steps=3) == (undisturbed, curve)
    assert "resume: from step 2" in capsys.readouterr().out


def test_the_state_of_another_job_is_not_used(sft, monkeypatch, capsys):
    wanted, _ = sft("a", learning_rate=2e-3)
    stop_after_a_save(monkeypatch)
    with pytest.raises(Stopped):
        sft("b")
    capsys.readouterr()
    assert sft("b", learning_rate=2e-3)[0] == wanted
    log = capsys.readouterr().out
    assert "belongs to another job" in log and "resume: from step" not in log


def test_a_checkpoint_counts_only_with_all_its_files(tmp_path):
    facts = {"seed": 1}
    assert resume.last_checkpoint(tmp_path / "s", facts) is None
    for step in (5, 10, 15):
        folder = tmp_path / "s" / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        resume.mark_complete(folder)
    (tmp_path / "s" / "checkpoint-15" / "model.safetensors").write_bytes(b"wei")
    assert resume.last_checkpoint(tmp_path / "s", facts).name == "checkpoint-10"
    assert not (tmp_path / "s" / "checkpoint-15").exists()
    assert resume.last_checkpoint(tmp_path / "s", {"seed": 2}) is None
    assert not (tmp_path / "s" / "checkpoint-10").exists()


# judge and rounds


def test_judge_conversations_hold_a_rating_and_the_others_if_there_are_any(tokenizer):
    rows = [judged(1)[0] | {"score": 8.0}]
    (row,) = judge_conversations(human_ratings(rows), [0])
    assert row["completion"] == assistant("Rating: [[08]]") and "ratings" not in row
    (one,) = sft_examples(tokenizer, [row], [EOS], 500, "judge.training", rating_targets)
    assert one["soft"] == []
    learned = [label for label in one["labels"] if label != IGNORED]
    assert tokenizer.decode(learned) == "Rating: [[08]]<|im_end|>"
    rows += [rows[0] | {"annotator": 1, "score": 3.5}]
    (row,) = judge_conversations(human_ratings(rows), [0])
    assert row["completion"] == assistant("Rating: [[08]]")
    assert row["ratings"] == [0, 0, 0, 0.25, 0.25, 0, 0, 0, 0.5, 0, 0]  # its mean is that of 8 and 3.5


def test_balance_keeps_as_many_good_as_bad_responses_to_each_prompt(capsys):
    scores = {"p": (9, 8, 7, 2, 5), "q": (1, 6, 3, 4), "r": (9, 10), "s": (5,)}
    rows = human_ratings(
        [
            {"prompt_id": prompt, "response_id": f"{prompt}{i}", "prompt": prompt, "response": str(i)}
            | {"score": float(score)}
            for prompt, given in scores.items()
            for i, score in enumerate(given)
        ]
    )
    assert balanced(rows, "none", [0]) == rows
    found = balanced(rows, "within_prompt", [0])
    means = {row["response_id"]: expected_rating(row["p"]) for row in found}
    by_prompt = {prompt: sorted(means[name] for name in means if name[0] == prompt) for prompt in scores}
    assert [len(by_prompt[prompt]) for prompt in "pqrs"] == [3, 2, 0, 1]
    assert by_prompt["p"][:2] == [2, 5] and by_prompt["q"][1] == 6 and by_prompt["q"][0] < 5
    assert "6 of 12 responses with human scores, 2 above 5" in capsys.readouterr().out
    assert found == [row for row in rows if row in found]
    assert balanced(rows[::-1], "within_prompt", [0]) == found[::-1]
    chosen = {tuple(row["response_id"] for row in balanced(rows, "within_prompt", [i])) for i in range(9)}
    assert len(chosen) > 1
    with pytest.raises(InputError, match=r"judge\.balance: found within_prompt.*above and below 5"):
        balanced(rows[9:], "within_prompt", [0])


@given(st.floats(0, 10))
def test_a_score_between_two_ratings_keeps_its_mean(score):
    p = split_score(score)
    assert sum(p) == pytest.approx(1) and min(p) >= 0 and expected_rating(p) == pytest.approx(score)
    assert sum(value > 0 for value in p) <= 2


def distilled(count):
    """Rows as score_distillation writes them, with a distribution of their own each."""
    rows = []
    for i, row in enumerate(judged(count)):
        weights = [1.0 + (7 * i + 3 * k * k) % 11 for k in range(11)]
        p = [weight / sum(weights) for weight in weights]
        keys = ("prompt_id", "response_id", "prompt", "response")
        rows.append({key: row[key] for key in keys} | {"score": expected_rating(p), "p": p})
    return rows


def test_distillation_trains_on_the_distribution_or_on_one_rating():
    rows = distilled(5)
    assert distillation_targets(rows, "distribution", [0]) == rows
    rounded = judge_conversations(distillation_targets(rows, "integer", [0]), [0])
    texts = {row["response"]: assistant(f"Rating: [[{round(row['score']):02d}]]") for row in rows}
    for row in rounded:  # the ablation: as if a person had given the rounded score
        assert "ratings" not in row
        assert row["completion"] == texts[row["prompt"][0]["content"].split("Response: ")[1]]

    many = [rows[0] | {"response_id": f"r{i}"} for i in range(4000)]
    drawn = distillation_targets(many, "sampled", [0])
    assert drawn == distillation_targets(many[::-1], "sampled", [0])[::-1]
    assert drawn != distillation_targets(many, "sampled", [1])
    assert all(sorted(row["p"]) == [0.0] * 10 + [1.0] for row in drawn)
    shares = [sum(row["p"][k] for row in drawn) / len(drawn) for k in range(11)]
    assert shares == pytest.approx(rows[0]["p"], abs=0.03)
    means = [expected_rating(row["p"]) for row in drawn]
    assert sum(means) / len(means) == pytest.approx(rows[0]["score"], abs=0.2)


RATINGS = tuple(f"{k:02d}" for k in range(11))


@pytest.mark.slow
@pytest.mark.parametrize("joined", [(), ("00", "10"), RATINGS], ids=["two tokens", "mixed", "one token"])
def test_soft_targets_give_the_expected_cross_entropy(joined, tmp_path):
    """Against float64, rating by rating: sum of p_k * CE(rating k), and the rest of the answer once."""
    import torch
    from torch.nn.functional import cross_entropy

    from alma.training import padded_loss, row_loss

    make = partial(tiny_model.tiny_tokenizer, joined, bos=bool(joined))
    folder = tiny_model.write_checkpoint(tmp_path / "m", make_tokenizer=make, template="plain")
    tokenizer = load_tokenizer(folder)
    rows = judge_conversations(distilled(4) + human_ratings(judged(5)[4:]), [0])
    assert [("ratings" in row) for row in rows].count(True) == 4
    examples = list(sft_examples(tokenizer, rows, [EOS], 500, "judge.training", rating_targets))
    exact = load_model(folder, "float32").double()

    def nats(ids, first):
        logits = exact(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        return [-logits[i - 1, ids[i]].item() for i in range(first, len(ids))]

    wanted, ratings = 0.0, rating_tokens(tokenizer)
    for row, one in zip(rows, examples, strict=True):
        start, own = one["labels"].count(IGNORED), ratings[integer_rating(row.get("ratings", [0] * 11))]
        if "ratings" not in row:
            wanted += sum(nats(one["input_ids"], start))
            continue
        place = len(prompt_ids(tokenizer, row["prompt"], PREFILL))
        plain = nats(one["input_ids"], start)
        wanted += sum(plain[: place - start]) + sum(plain[place - start + len(own) :])
        for rating, p in zip(ratings, row["ratings"], strict=True):
            wanted += p * sum(nats(one["input_ids"][:place] + list(rating), place))
    labels = sum(label != IGNORED for one in examples for label in one["labels"])
    plain_model = load_model(folder, "float32")
    row = one_row(examples)
    for loss, count in (
        row_loss(plain_model, row, cross_entropy),
        padded_loss(plain_model, padded(examples, tokenizer.pad_token_id)),
    ):
        assert loss.item() == pytest.approx(wanted, rel=1e-5) and count == labels


def rated_rows():
    """Conversations with three prompts: two with responses of different scores, one that is not ranked."""
    groups = {"p": (9.0, 2.5, 2.5), "q": (10.0, 0.0), "r": (7.0, 3.0)}
    rows = [
        {"prompt_id": prompt, "response_id": f"{prompt}{i}", "prompt": f"Say {prompt}.", "score": score}
        | {"response": f"{prompt} {'yes ' * i}"}
        for prompt, scores in groups.items()
        for i, score in enumerate(scores)
    ]
    return judge_conversations(
        [row | {"ranked": row["prompt"] != "Say r."} for row in human_ratings(rows)], [0]
    )


@pytest.mark.slow
@pytest.mark.parametrize("joined", [(), ("00", "10"), RATINGS], ids=["two tokens", "mixed", "one token"])
def test_the_terms_of_the_expected_rating_by_hand(joined, tmp_path):
    """Against float64, rating by rating and pair by pair, in a row and padded."""
    import torch
    from torch.nn.functional import cross_entropy

    from alma.training import padded_loss, row_loss

    make = partial(tiny_model.tiny_tokenizer, joined, bos=bool(joined))
    folder = tiny_model.write_checkpoint(tmp_path / "m", make_tokenizer=make, template="plain")
    tokenizer = load_tokenizer(folder)
    terms, rows = RatingTerms(ranking=0.7, squared_error=0.2), rated_rows()
    examples = list(sft_examples(tokenizer, rows, [EOS], 500, "judge.training", rating_targets, terms.target))
    exact = load_model(folder, "float32").double()
    for weights in exact.parameters():  # else all ratings are equally likely
        weights.data *= 3

    def nats(start, rating):
        logits = exact(torch.tensor([[*start, *rating]])).logits[0].log_softmax(-1)
        return sum(logits[len(start) - 1 + i, token].item() for i, token in enumerate(rating))

    expected = []
    for row in rows:
        start = prompt_ids(tokenizer, row["prompt"], PREFILL)
        p, _ = rating_probabilities([nats(start, r) for r in first_tokens(rating_tokens(tokenizer))])
        expected.append(expected_rating(p))
    gaps = [
        a - b
        for a, one in zip(expected, rows, strict=True)
        for b, other in zip(expected, rows, strict=True)
        if one["prompt"] != other["prompt"] and one["group"] == other["group"] >= 0
        if one["score"] > other["score"]
    ]
    assert len(gaps) == 3 and max(expected) - min(expected) > 0.01
    wanted = 0.7 * sum(math.log1p(math.exp(-gap)) for gap in gaps) / 3
    wanted += 0.2 * sum((a - row["score"]) ** 2 for a, row in zip(expected, rows, strict=True)) / 7
    model = exact.float()
    openings = terms.openings(tokenizer)
    assert len(openings) == (len(set(joined)) < 11)
    term = partial(terms.loss, tokenizer=tokenizer)
    pad = tokenizer.pad_token_id
    row = one_row(examples, openings)
    for loss_of, batch, plain in (
        (partial(row_loss, cross_entropy=cross_entropy), row, one_row(examples)),
        (padded_loss, padded(examples, pad, openings), padded(examples, pad)),
    ):
        (loss, count), (without, same) = loss_of(model, batch, term=term), loss_of(model, plain)
        assert count == same
        assert (loss - without).item() / count == pytest.approx(wanted, rel=1e-4)


def test_no_term_without_a_weight():
    assert rating_terms({"ranking": 0, "squared_error": 0.0}) is None
    assert rating_terms({"ranking": 2, "squared_error": 0}) == RatingTerms(ranking=2)


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "padded"])
def test_the_ranking_term_learns_the_order(tiny_checkpoint, tmp_path, tokenizer, monkeypatch, rows):
    """On answers that tell which is better: the ranking loss of held-back pairs falls below that without."""
    import torch

    if not rows:
        monkeypatch.setattr("alma.training.takes_rows", lambda *_: False)
    words = ("yes", "no", "maybe", "later", "today", "never")
    judged_rows = [
        {"prompt_id": word, "response_id": f"{word}{good}", "annotator": 0, "prompt": f"Say {word}."}
        | {"response": "Good, good." if good else "Bad, bad, bad.", "score": 5.4 if good else 4.6}
        for word in words
        for good in (0, 1)
    ]
    seeds = tmp_path / "judge.parquet"
    write_table(seeds, "judge", judged_rows[:8])
    terms, found = RatingTerms(ranking=1.0), {}
    kept = judge_conversations(human_ratings(judged_rows[8:]), [0])
    examples = list(sft_examples(tokenizer, kept, [EOS], 500, "judge.training", None, terms.target))
    batch = padded(examples, tokenizer.pad_token_id, terms.openings(tokenizer))
    for ranking in (0.0, 2.0):
        out = tmp_path / f"judge-{ranking}"
        train_judge_seed.main(
            tiny_checkpoint,
            seeds,
            out,
            tmp_path / "curve.csv",
            seed=[0, "judge-seed"],
            device="cpu",
            training=TRAINING | {"epochs": 6, "max_length": 400, "save_steps": 100},
            loss={"ranking": ranking, "squared_error": 0.0},
            balance="none",
        )
        with torch.no_grad():
            model = load_model(out, "float32")
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            read = logits[batch["rated_rows"], batch["rated_columns"]]
            found[ranking] = terms.loss(read, batch, tokenizer).item()
    assert found[2.0] < 0.8 * found[0.0]


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "padded"])
def test_the_judge_learns_the_distribution(tiny_checkpoint, tmp_path, tokenizer, monkeypatch, rows):
    """A judge that is torn between 2 and 10 stays torn; a rounded mean would teach it 6."""
    import torch

    if not rows:
        monkeypatch.setattr("alma.training.takes_rows", lambda *_: False)
    p = [0.0] * 2 + [0.5] + [0.0] * 7 + [0.5]
    torn = [row | {"score": 6.0, "p": p} for row in distilled(4)]
    write_table(tmp_path / "pairs", "distilled", torn)
    write_table(tmp_path / "judge", "judge", judged(1))
    training = TRAINING | {"epochs": 60, "learning_rate": 4e-3, "max_length": 400, "save_steps": 100}
    train_judge.main(
        tiny_checkpoint,
        tmp_path / "judge",
        tmp_path / "pairs",
        tmp_path / "m",
        tmp_path / "curve.csv",
        seed=[0, "judge"],
        device="cpu",
        training=training,
        loss={},
        balance="none",
        replay=0,
        target="distribution",
    )
    trained = load_model(tmp_path / "m", "float32")
    for row in torn:
        start = prompt_ids(tokenizer, judge_messages(row["prompt"], row["response"]), PREFILL)
        log_p = []
        for rating in rating_tokens(tokenizer):
            with torch.no_grad():
                steps = trained(torch.tensor([[*start, *rating]])).logits[0].log_softmax(-1)
            log_p.append(sum(steps[len(start) - 1 + i, t].item() for i, t in enumerate(rating)))
        found, mass = rating_probabilities(log_p)
        assert (
            mass > 0.9
            and found[2] == pytest.approx(0.5, abs=0.1)
            and found[10] == pytest.approx(0.5, abs=0.1)
        )
        assert expected_rating(found) == pytest.approx(6, abs=0.6)


def test_responses_to_one_prompt_are_trained_side_by_side():
    rows = [{"prompt": f"p{i}", "response": f"r{i}{j}", "p": certain(j)} for j in range(3) for i in range(20)]
    texts = [row["prompt"][0]["content"] for row in judge_conversations(rows, [0])]
    order = [text.split("Prompt: ")[1].split("\n")[0] for text in texts]
    assert all(len(set(order[i : i + 3])) == 1 for i in range(0, 60, 3)) and len(set(order)) == 20
    assert order != sorted(order) and order != [
        text["prompt"][0]["content"].split("Prompt: ")[1].split("\n")[0]
        for text in judge_conversations(rows, [1])
    ]
    assert judge_conversations(rows[::-1], [0]) == judge_conversations(rows, [0])


def test_the_judge_is_trained_on_human_scores_then_on_its_own(tiny_checkpoint, tmp_path, capsys):
    seeds, distilled = tmp_path / "judge.parquet", tmp_path / "distillation.parquet"
    write_table(seeds, "judge", judged(8))
    own = [
        {k: v for k, v in row.items() if k != "annotator"} | {"p": certain(int(row["score"]))}
        for row in judged(14)[8:]
    ]
    write_table(distilled, "distilled", own)
    common = {"device": "cpu", "training": TRAINING | {"max_length": 400}, "loss": {}, "balance": "none"}
    first, second = tmp_path / "models" / "judge-seed", tmp_path / "models" / "judge"
    train_judge_seed.main(tiny_checkpoint, seeds, first, tmp_path / "a.csv", seed=[0, "judge-seed"], **common)
    assert "examples: 8 of at most judge.training.max_length" in capsys.readouterr().out
    train_judge.main(
        first,
        seeds,
        distilled,
        second,
        tmp_path / "b.csv",
        seed=[0, "judge"],
        replay=5,
        target="integer",
        **common,
    )
    log = capsys.readouterr().out
    assert "5 human scores and 6 of the judge's own" in log
    assert "examples: 11 of at most judge.distillation.training.max_length" in log
    losses = [float(read_curve(tmp_path / name)[0]["loss"]) for name in ("a.csv", "b.csv")]
    assert losses[1] < losses[0]  # it goes on from the seed judge


@pytest.fixture
def train_dpo(tiny_checkpoint, tmp_path):
    def run(name, **changes):
        table = tmp_path / "preferences.parquet"
        write_table(table, "preferences", preferences(10))
        out, curve = tmp_path / "models" / name, tmp_path / f"{name}.csv"
        train_round.main(
            tiny_checkpoint,
            [table],
            out,
            curve,
            seed=[0, "round", 2],
            device="cpu",
            objective="dpo",
            training=TRAINING | {"learning_rate": 1e-4} | changes,
            beta=0.1,
        )
        return sha256_of(out / "model.safetensors"), read_curve(curve)

    return run


def test_dpo_starts_at_its_reference_and_repeats(train_dpo, monkeypatch, capsys):
    first, curve = train_dpo("a")
    assert len(curve) == 5 and float(curve[0]["loss"]) == pytest.approx(math.log(2), abs=2e-6)
    assert float(curve[-1]["loss"]) < math.log(2) - 1e-3
    stop_after_a_save(monkeypatch)
    with pytest.raises(Stopped):
        train_dpo("b")
    capsys.readouterr()
    # The reference of a resumed run is still the start model, or the losses would differ.
    assert train_dpo("b") == (first, curve)
    assert "resume: from step 2" in capsys.readouterr().out


def test_dpo_with_lora(train_dpo):
    _, curve = train_dpo("a", method="lora", learning_rate=1e-2)
    assert float(curve[0]["loss"]) == pytest.approx(math.log(2), abs=2e-6)
    assert float(curve[-1]["loss"]) < math.log(2) - 1e-3


def test_preferences_share_the_prompt_and_both_end_with_eos(tokenizer):
    rows = preferences(4)
    for row, one in zip(rows, preference_examples(tokenizer, rows, [EOS], 500, "training.dpo"), strict=True):
        for side in ("chosen", "rejected"):
            text = tokenizer.decode(one[f"{side}_ids"])
            assert text == row[side][0]["content"] + "<|im_end|>"
        assert tokenizer.decode(one["prompt_ids"]).endswith("<|im_start|>assistant\n")


def test_dpo_without_pairs_says_why(tiny_checkpoint, tmp_path):
    write_table(tmp_path / "none.parquet", "preferences", [])
    with pytest.raises(InputError, match="no preference pair"):
        train_round.main(
            tiny_checkpoint,
            [tmp_path / "none.parquet"],
            tmp_path / "models" / "m",
            tmp_path / "m.csv",
            seed=[0],
            device="cpu",
            objective="dpo",
            training=TRAINING,
            beta=0.1,
        )


def test_a_round_trains_on_all_data_sets_in_their_order(tiny_checkpoint, tmp_path, monkeypatch):
    rows, seen = pairs(5), {}
    write_table(tmp_path / "1.parquet", "dataset", rows[3:])
    write_table(tmp_path / "2.parquet", "dataset", rows[:3])
    monkeypatch.setattr(
        "alma.training.train_supervised",
        lambda model, rows, checkpoint, curve, **kwargs: seen.update(kwargs, rows=rows),
    )
    train_round.main(
        tiny_checkpoint,
        [tmp_path / "1.parquet", tmp_path / "2.parquet"],
        tmp_path / "models" / "m",
        tmp_path / "m.csv",
        seed=[0],
        device="cpu",
        objective="best_of_n",
        training=TRAINING,
    )
    assert seen["rows"] == rows[3:] + rows[:3] and seen["key"] == "training.sft"
