"""Requests are counted as the engine will count them, and what does not fit is found before any work."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import SimpleNamespace

import check_lengths
import filter_prompts
import pytest
import score_heldout
import tiny_model

from alma.chat_template import prompt_ids
from alma.csv_tables import read_csv_table
from alma.engine import Engine, Request
from alma.errors import InputError
from alma.fewshot import as_turns, example_pairs
from alma.fitting import EvaluationLengths, answer_examples, judge_examples, score_fitting, that_fit
from alma.ids import content_id
from alma.judging import few_shot_examples, score_pairs
from alma.lengths import JudgeLengths, prompt_lengths, sampling_length, too_long
from alma.tables import assistant, read_table, user, write_table


@pytest.fixture(scope="module")
def tokenizer():
    found = tiny_model.tiny_tokenizer()
    found.chat_template = (tiny_model.REPOSITORY / "templates" / "chatml.jinja").read_text().rstrip("\n")
    found.eos_token = "<|im_end|>"
    return found


class ReachedVllm(Exception):
    """The engine's own check let the requests pass."""


@pytest.fixture
def engine_of(tokenizer, monkeypatch):
    """An `alma.engine.Engine` of some max_model_len whose vLLM only says that it was reached."""
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=lambda **o: SimpleNamespace(**o)))

    def generate(*args, **options):
        raise ReachedVllm

    llm = SimpleNamespace(generate=generate, get_tokenizer=lambda: tokenizer)
    return lambda limit: Engine(llm, limit)


SEEDS = [
    {
        "prompt_id": f"s{i}",
        "prompt": user(f"Name river {i}."),
        "completion": assistant(f"River {i} it is."),
        "category": None,
    }
    for i in range(5)
]
RATED = [
    {
        "prompt_id": content_id("prompt", f"Say {i}."),
        "response_id": content_id("response", i),
        "annotator": 0,
        "prompt": f"Say {i}.",
        "response": f"I say {i}.",
        "score": float(i),
    }
    for i in range(8)
]


def test_a_sampling_request_of_exactly_the_limit_passes_the_engine_and_one_more_does_not(
    tokenizer, engine_of
) -> None:
    messages = [
        *as_turns(example_pairs(SEEDS, 3, 0)),
        *user("Why is the sky blue? <|im_end|> Say it in two words."),
    ]
    length = sampling_length(tokenizer, messages, 40)
    request = Request(prompt_ids(tokenizer, messages), 1, 1.0, 1.0, 40)
    with pytest.raises(ReachedVllm):
        engine_of(length).generate([request])
    with pytest.raises(InputError, match=f"found {length - 1}, expected at least {length}"):
        engine_of(length - 1).generate([request])


@pytest.mark.parametrize("shots", [0, 3])
def test_a_rating_of_exactly_the_limit_passes_the_engine_and_one_more_does_not(
    tokenizer, engine_of, shots
) -> None:
    examples = few_shot_examples(RATED, shots, 0)
    pair = ("Why is the sky blue?", "Since short waves are scattered more.")
    length = JudgeLengths(tokenizer, examples).of(*pair)
    with pytest.raises(ReachedVllm):
        score_pairs(engine_of(length), [pair], min_mass=0.5, examples=examples)
    with pytest.raises(InputError, match=f"found {length - 1}, expected at least {length}"):
        score_pairs(engine_of(length - 1), [pair], min_mass=0.5, examples=examples)


def test_a_new_prompt_counts_with_the_judge_s_question_about_its_longest_response(tokenizer) -> None:
    prompt = "Write one sentence about glaciers."
    judge = JudgeLengths(tokenizer)
    (length,) = prompt_lengths(tokenizer, [prompt], 50)
    assert length == judge.of_any_response(prompt, 50) > sampling_length(tokenizer, user(prompt), 50)
    words = " word" * 50
    sampled = tokenizer(words, add_special_tokens=False)["input_ids"][:50]
    # A response of so many tokens, read again by the judge, takes no more room.
    assert judge.of(prompt, tokenizer.decode(sampled).strip()) <= length


@pytest.mark.parametrize("kind", ["tiny", "bos"])
def test_what_fits_is_told_without_tokenizing_and_never_wrongly(kind, tokenizer) -> None:
    """Random texts around every limit: ASCII and others, control tokens, words that no vocabulary has."""
    found = tokenizer if kind == "tiny" else getattr(tiny_model, f"{kind}_tokenizer")()
    dice = random.Random(0)
    pieces = ["the ", "word", " ", "~#", "Zq", "\n", "|", "\ufdfa", "é", found.eos_token, "<s>", "a" * 30]
    texts = ["".join(dice.choices(pieces, k=dice.randrange(60))) for _ in range(150)]
    lengths = prompt_lengths(found, texts, 9)
    for limit in (0, min(lengths), sorted(lengths)[75], max(lengths) - 1, max(lengths) + 500):
        assert too_long(found, texts, 9, limit) == [length > limit for length in lengths]


def test_short_prompts_are_not_tokenized(tokenizer, monkeypatch) -> None:
    tokenized = []
    monkeypatch.setattr(
        "alma.lengths.prompt_lengths",
        lambda tokenizer, prompts, *_: tokenized.extend(prompts) or [200] * len(prompts),
    )
    prompts = ["Why is the sky blue?", "Pourquoi le ciel est-il bleu à midi\u202f?", "word " * 200]
    assert too_long(tokenizer, prompts, 50, 500) == [False] * 3
    assert tokenized == ["", *prompts[1:]]


# the scripts


@pytest.fixture
def tables(tmp_path, tokenizer, monkeypatch) -> Path:
    """A folder with the seed tables of a run."""
    for module in (check_lengths, filter_prompts):
        monkeypatch.setattr(module, "load_tokenizer", lambda folder: tokenizer)
    write_table(tmp_path / "sft.parquet", "sft", SEEDS)
    write_table(tmp_path / "judge.parquet", "judge", RATED[:6])
    write_table(tmp_path / "judge_heldout.parquet", "judge", RATED[6:])
    pairs = [{"prompt_id": "p", "prompt": "Say why.", "chosen": "Because.", "rejected": "No. " * 9}]
    write_table(tmp_path / "judge_benchmark.parquet", "judge_pair", pairs)
    asked = {"benchmark": "b", "category": None, "reference": None, "checks": "[]"}
    prompts = ["Why is the sky blue?", "Tell me all about rivers, lakes, seas and the rain over them."]
    rows = [asked | {"prompt": prompt, "prompt_id": content_id("prompt", prompt)} for prompt in prompts]
    write_table(tmp_path / "eval.parquet", "eval", rows)
    write_table(tmp_path / "eval_turns.parquet", "turns", [])
    return tmp_path


def check(folder: Path, **changes) -> dict[str, dict]:
    """Run check_lengths; returns the rows of its table by set."""
    names = ("sft", "judge", "judge_heldout", "judge_benchmark", "eval", "eval_turns")
    values = {"seed": 0, "max_model_len": 2000, "shots": 3, "max_tokens": 30, "judge_shots": 2}
    values |= {"own_benchmark": None, "own_prompts": 9}
    values |= {"few_shot_judge": 0, "new_prompt_tokens": 20, "response_tokens": 40, "prompt_shots": [1, 2]}
    values |= {"sft_max_length": 200, "judge_max_length": 400}
    check_lengths.main(
        folder / "tokenizer.json",
        *(folder / f"{name}.parquet" for name in names),
        folder / "checked.txt",
        folder / "lengths.csv",
        **(values | changes),
    )
    assert (folder / "checked.txt").read_text() == "ok\n"
    return {row["set"]: row for row in read_csv_table(folder / "lengths.csv", "lengths")}


KINDS = {"judge_heldout": "judge", "judge_benchmark": "judge_pair", "eval": "eval"}


@pytest.mark.parametrize("name", KINDS)
def test_long_rows_are_left_out_and_counted_and_refused_where_none_is_left(tables, name, capsys) -> None:
    rows = read_table(tables / f"{name}.parquet", KINDS[name])
    long = rows[0] | {"prompt_id": "long", "prompt": "Say it again. " * 400}
    assert check(tables)[name]["too_long"] == 0
    write_table(tables / f"{name}.parquet", KINDS[name], [*rows, long])
    found = check(tables)[name]
    assert (found["rows"], found["too_long"]) == (len(rows) + 1, 1) and found["longest"] > 2000
    printed = capsys.readouterr().out
    assert f"{name}.parquet: row {len(rows)}, prompt 'Say it again." in printed
    assert f"left out, {found['longest']} tokens" in printed
    for made in ("checked.txt", "lengths.csv"):
        (tables / made).unlink()
    write_table(tables / f"{name}.parquet", KINDS[name], [long, long | {"prompt_id": "other"}])
    with pytest.raises(InputError) as error:
        check(tables)
    message = str(error.value)
    assert f"{name}.parquet: found {found['longest']} tokens in the shortest of 2 rows" in message
    assert "engine.max_model_len = 2000" in message and "Raise engine.max_model_len" in message
    assert not (tables / "checked.txt").exists() and not (tables / "lengths.csv").exists()


def test_long_rows_are_no_examples_and_labels_without_a_short_row_are_refused(tables) -> None:
    """Rows of a thousand tokens among the labels: the examples leave room for what they are examples for."""
    wide = [row | {"response": "And so on. " * 300} for row in RATED[:6]]
    write_table(tables / "judge.parquet", "judge", [*wide[:4], *RATED[4:6]])
    found = check(tables, judge_shots=3, judge_max_length=4000)
    assert found["judge_heldout"]["too_long"] == found["judge_benchmark"]["too_long"] == 0
    write_table(tables / "judge.parquet", "judge", wide)
    with pytest.raises(InputError, match=r"judge\.shots: found 3, but none of 6 rows has at most 1000"):
        check(tables, judge_shots=3, judge_max_length=4000)
    assert check(tables, judge_shots=0, judge_max_length=4000)
    write_table(tables / "judge.parquet", "judge", RATED[:6])
    long = [row | {"completion": assistant("And so on. " * 300)} for row in SEEDS]
    write_table(tables / "sft.parquet", "sft", [*long[:3], *SEEDS[3:]])
    assert check(tables, sft_max_length=4000)["eval"]["too_long"] == 0
    write_table(tables / "sft.parquet", "sft", long)
    with pytest.raises(InputError, match=r"evaluation\.shots: found 3, but none of 5 rows"):
        check(tables, sft_max_length=4000)


def test_seed_prompts_that_leave_no_room_for_a_new_one_are_found_here(tables) -> None:
    long = [row | {"prompt": user("Tell all of it. " * 120 + row["prompt_id"])} for row in SEEDS]
    write_table(tables / "sft.parquet", "sft", long)
    assert check(tables, shots=0, sft_max_length=4000, prompt_shots=[1, 1])
    with pytest.raises(InputError, match=r"prompts\.shots: found \[3, 5\], but only 0 of 5 usable seed"):
        check(tables, shots=0, sft_max_length=4000, prompt_shots=[3, 5])


def test_prompts_that_the_choice_is_measured_on_count_with_a_response_of_a_round(tables, capsys) -> None:
    assert check(tables)["selection"]["rows"] == 0, "no prompt has checks"
    rows = read_table(tables / "eval.parquet", "eval")
    checked = [row | {"checks": '[{"kind": "words", "max": 9}]'} for row in rows]
    write_table(
        tables / "eval.parquet", "eval", [*checked, rows[0] | {"benchmark": "c", "prompt_id": "other"}]
    )
    found = check(tables, response_tokens=300)["selection"]
    assert found["rows"] == 2 and check(tables, own_prompts=1)["selection"]["rows"] == 1
    assert check(tables, own_benchmark="c")["selection"]["rows"] == 0
    limit = found["longest"]
    assert check(tables, response_tokens=300, max_model_len=limit)["selection"]["rows"] == 2
    capsys.readouterr()
    assert check(tables, response_tokens=300, max_model_len=limit - 1)["selection"]["rows"] == 1
    assert "left out 1 of 2 evaluation prompts" in capsys.readouterr().out
    assert check(tables, response_tokens=300, max_model_len=limit - 1, own_prompts=0)


# what fits


def tokens_of(tokenizer, examples) -> int:
    return JudgeLengths(tokenizer, examples).of("", "") - JudgeLengths(tokenizer).of("", "")


def test_examples_take_half_of_the_context_at_most(tokenizer) -> None:
    free = judge_examples(tokenizer, RATED, 3, 0, 10_000)
    assert free == few_shot_examples(RATED, 3, 0), "where they fit, nothing is chosen anew"
    mixed = [row | {"response": "And so on. " * 100} if i % 2 else row for i, row in enumerate(RATED)]
    for limit in (300, 500, 900, 1500, 3000, 6000):
        chosen = judge_examples(tokenizer, mixed, 3, 0, limit)
        assert tokens_of(tokenizer, chosen) <= limit // 2
        assert chosen == judge_examples(tokenizer, mixed[::-1], 3, 0, limit)
    assert len(judge_examples(tokenizer, mixed, 3, 0, 900)) == 3
    one = tokens_of(tokenizer, [RATED[0]])
    assert len(judge_examples(tokenizer, mixed, 3, 0, 2 * one + 20)) == 1, "fewer where fewer fit"
    assert judge_examples(tokenizer, mixed, 3, 0, one) == [] == judge_examples(tokenizer, [], 3, 0, 900)

    assert answer_examples(tokenizer, SEEDS, 3, 0, 10_000) == example_pairs(SEEDS, 3, 0)
    system = {"role": "system", "content": "Be brief."}
    asked = [row | {"prompt": [system, *row["prompt"]]} if i else row for i, row in enumerate(SEEDS)]
    assert answer_examples(tokenizer, asked, 3, 0, 10_000) == [SEEDS[0]], "no system message between turns"


def test_as_many_examples_as_fit_stand_before_a_request() -> None:
    def length(some):
        return 10 + sum(some)

    assert that_fit([5, 6, 7], length, 28) == [5, 6, 7]
    assert that_fit([5, 6, 7], length, 27) == [5, 6]
    assert that_fit([5, 6, 7], length, 10) == []
    assert that_fit([5, 6, 7], length, 9) is None


def test_a_response_that_is_too_long_for_the_judge_has_no_score(tokenizer, monkeypatch, capsys) -> None:
    calls = []

    def scored(engine, pairs, *, examples, max_unreadable, min_mass):
        calls.append((len(examples), [response for _, response in pairs]))
        return [{"score": 5.0, "mass": 1.0, "p": [0.1] * 11} for _ in pairs]

    monkeypatch.setattr("alma.fitting.score_pairs", scored)
    pairs = [("Say a.", "a"), ("Say b.", "b " * 300), ("Say b.", "b"), ("Say c.", "c " * 900)]
    limit = JudgeLengths(tokenizer, RATED[:1]).of(*pairs[1])
    engine = SimpleNamespace(tokenizer=tokenizer, max_model_len=limit)
    rows = score_fitting(engine, pairs, examples=RATED[:2], min_mass=0.5)
    assert [row["score"] for row in rows] == [5.0, 5.0, 5.0, None]
    assert rows[3] == {"score": None, "mass": 0.0, "p": [0.0] * 11}
    # Responses to one prompt are compared, so they have the same examples.
    assert calls == [(2, ["a"]), (1, ["b " * 300, "b"])]
    assert "1 of 4 responses have no score: over" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"1 of 4 responses have no score: .*engine\.max_model_len"):
        score_fitting(engine, pairs, examples=[], max_unreadable=0.2, min_mass=0.5)


def test_heldout_rows_are_the_same_for_every_judge_and_a_pair_is_kept_whole(tokenizer) -> None:
    rated = [RATED[0], RATED[1] | {"response": "b " * 500}]
    pairs = [
        {"prompt_id": f"p{i}", "prompt": f"Ask {i}.", "chosen": "Yes.", "rejected": "No."} for i in (0, 1)
    ]
    pairs[1]["rejected"] = "No. " * 500
    rows = score_heldout.heldout_rows(rated) + score_heldout.benchmark_rows(pairs)
    alone = JudgeLengths(tokenizer)
    kept = score_heldout.fitting_rows(rows, lambda row: alone.of(row["prompt"], row["response"]) <= 300)
    assert [(row["prompt"], row["label"]) for row in kept] == [
        ("Say 0.", 0.0),
        ("Ask 0.", 10.0),
        ("Ask 0.", 0.0),
    ]


def test_an_evaluation_prompt_of_exactly_the_limit_is_kept(tokenizer, capsys) -> None:
    lengths = EvaluationLengths(tokenizer, 30)
    rows = [{"prompt": "Why is the sky blue?"}, {"prompt": "Why is it?"}]
    limit = lengths.of(rows[0]["prompt"])
    assert lengths.fitting(rows, limit) == rows and not capsys.readouterr().out
    assert lengths.fitting(rows, limit - 1) == rows[1:]
    assert "left out 1 of 2 evaluation prompts" in capsys.readouterr().out


# the scripts


def test_long_training_examples_are_counted_and_refused_only_if_none_is_left(tables) -> None:
    longest = check(tables)["sft"]["longest"]
    long = SEEDS[0] | {"completion": assistant("And so on. " * 40), "prompt_id": "long"}
    write_table(tables / "sft.parquet", "sft", [*SEEDS, long])
    row = check(tables, sft_max_length=longest, shots=0)["sft"]
    assert (row["rows"], row["too_long"], row["limit"]) == (6, 1, longest)
    with pytest.raises(
        InputError, match=r"training\.sft\.max_length: found 3, but the shortest of 6 examples"
    ):
        check(tables, sft_max_length=3, shots=0)
    with pytest.raises(InputError, match=r"judge\.training\.max_length: found 5, but"):
        check(tables, judge_max_length=5, shots=0)


def test_new_prompts_that_are_too_long_are_dropped_and_counted(tables, tokenizer) -> None:
    texts = ["Why does ice float on water?", "How do bees find their way home at night, " * 3 + "and why?"]
    judged = read_table(tables / "judge.parquet", "judge") + read_table(
        tables / "judge_heldout.parquet", "judge"
    )
    prompts = [{"prompt_id": row["prompt_id"], "prompt": row["prompt"]} for row in judged]
    write_table(tables / "judge_prompts.parquet", "seed_prompt", prompts)
    raw = [
        {
            "prompt_id": content_id("prompt", text),
            "prompt": text,
            "source": "synthetic",
            "examples": [],
            "finish_reason": "stop",
            "logprob": -1.0,
        }
        for text in texts
    ]
    write_table(tables / "raw.parquet", "raw_prompt", raw)
    short, long = prompt_lengths(tokenizer, texts, 30)
    assert short < long

    def kept(limit: int) -> dict[str, str | None]:
        """{prompt: what it fails}."""
        filter_prompts.main(
            tables / "raw.parquet",
            tables / "sft.parquet",
            tables / "judge_prompts.parquet",
            tables / "judge_benchmark.parquet",
            tables / "eval.parquet",
            tables / "tokenizer.json",
            tables / "filtered.parquet",
            tables / "signatures.parquet",
            **{"seed": 0, "min_words": 3, "overlap": 0.9, "require_end": False, "min_function_words": 0},
            **{"blocked": [], "require_constraint": False, "max_model_len": limit, "max_tokens": 30},
        )
        return {
            row["prompt"]: row["fails"] for row in read_table(tables / "filtered.parquet", "filtered_prompt")
        }

    assert kept(long) == dict.fromkeys(texts)
    assert kept(long - 1) == {texts[0]: None, texts[1]: "too_long"}
    assert kept(short - 1) == dict.fromkeys(texts, "too_long")


def test_a_few_shot_judge_must_have_room_for_the_longest_prompt_and_response(tables) -> None:
    assert check(tables)["few_shot_judge"]["rows"] == 0
    longest = check(tables, few_shot_judge=2, response_tokens=600)["few_shot_judge"]["longest"]
    assert (
        check(tables, few_shot_judge=2, response_tokens=600, new_prompt_tokens=21)["few_shot_judge"][
            "longest"
        ]
        == longest + 1
    )
    assert (
        check(tables, few_shot_judge=2, response_tokens=600, max_model_len=longest)["few_shot_judge"][
            "too_long"
        ]
        == 0
    )
    with pytest.raises(
        InputError, match=rf"judge\.checkpoint: found base, whose longest request has {longest} "
    ):
        check(tables, few_shot_judge=2, response_tokens=600, max_model_len=longest - 1)
