"""Reading ratings from probabilities (recipe, traps 1 to 5)."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import sample_distillation
import sample_responses
import score_distillation
import score_heldout
from hypothesis import given, settings
from hypothesis import strategies as st

from alma.engine import Engine, open_engine
from alma.errors import InputError
from alma.judging import (
    PREFILL,
    expected_rating,
    few_shot_examples,
    first_tokens,
    judge_answer,
    judge_messages,
    rating_probabilities,
    rating_tokens,
    score_pairs,
)
from alma.tables import read_table, write_table
from alma.workflow.config import ROOT


def logs(values):
    return [math.log(v) if v > 0 else -100.0 for v in values]


@given(st.lists(st.floats(1e-6, 1), min_size=11, max_size=11))
def test_probabilities_are_normalized_and_the_mean_lies_on_the_scale(weights):
    total = sum(weights) * 1.25
    p, mass = rating_probabilities(logs([w / total for w in weights]))
    assert len(p) == 11 and sum(p) == pytest.approx(1) and all(v >= 0 for v in p)
    assert mass == pytest.approx(0.8) and -1e-9 <= expected_rating(p) <= 10 + 1e-9


def test_answers_round_half_up():
    answers = [f"{PREFILL}{k}]]" for k in ("00", "07", "07", "10")]
    assert [judge_answer(s) for s in (0, 6.5, 7.49, 10)] == answers


def test_rubric_and_prompt_come_before_the_response():
    one, two = (judge_messages("Say hello.", r)[-1]["content"] for r in ("Hello!", "Goodbye!"))
    shared = one[: one.index("Hello!")]
    assert two.startswith(shared) and "Say hello." in shared and "10 outstanding" in shared


def test_few_shot_examples_are_seeded_and_spread():
    rows = [
        {
            "prompt_id": f"p{i // 3}",
            "response_id": f"r{i}",
            "prompt": "p",
            "response": "r",
            "score": float(i % 11),
        }
        for i in range(66)
    ]
    chosen = few_shot_examples(rows, 3, seed=1)
    assert chosen == few_shot_examples(rows[::-1], 3, seed=1) != few_shot_examples(rows, 3, seed=2)
    scores = sorted(row["score"] for row in chosen)
    assert scores[0] <= 4 and scores[2] >= 6 and len({row["prompt_id"] for row in chosen}) == 3
    turns = judge_messages("q", "a", chosen)
    assert [t["role"] for t in turns] == ["user", "assistant"] * 3 + ["user"]


class Vocabulary:
    """A tokenizer that writes the prefill as one token and the rest in the given pieces."""

    def __init__(self, split):
        self.split, self.known = split, [PREFILL]

    def __call__(self, text, add_special_tokens):
        rest = text.removeprefix(PREFILL)
        pieces = [PREFILL, *self.split(rest)] if rest != text else self.split(rest)
        self.known += [piece for piece in pieces if piece not in self.known]
        return {"input_ids": [self.known.index(piece) for piece in pieces]}

    def decode(self, ids):
        return "".join(self.known[i] for i in ids)

    def convert_ids_to_tokens(self, ids):
        return [self.known[i] for i in ids]


def bracket_apart(text):
    rating = text.removesuffix("]]")
    return [piece for piece in (rating, text[len(rating) :]) if piece]


def test_a_rating_may_be_two_tokens_or_one():
    """Recipe, trap 1: all eleven ratings are read, whichever way the tokenizer writes them."""
    two, one = Vocabulary(list), Vocabulary(bracket_apart)
    for vocabulary, length in ((two, 2), (one, 1)):
        ratings = rating_tokens(vocabulary)
        assert [vocabulary.decode(r) for r in ratings] == [f"{k:02d}" for k in range(11)]
        assert {len(r) for r in ratings} == {length}


def test_a_tokenizer_that_joins_ratings_to_brackets_is_refused():
    with pytest.raises(InputError, match="tokens of its own"):
        rating_tokens(Vocabulary(lambda text: [text] if text else []))


class NextTokens:
    """vLLM's `LLM` with the next-token distributions of a test: {text after the prefill: {token: p}}."""

    def __init__(self, tokenizer, distributions):
        self.tokenizer, self.distributions, self.calls = tokenizer, distributions, 0

    def get_tokenizer(self):
        return self.tokenizer

    def generate(self, prompts, params, use_tqdm):
        self.calls += 1
        outputs = []
        for prompt, param in zip(prompts, params, strict=True):
            after, steps = list(prompt["prompt_token_ids"][1:]), []
            for _ in range(param.max_tokens):
                known = self.distributions[self.tokenizer.decode(after)]
                logprobs = {t: math.log(known.get(t, 1e-30)) for t in param.logprob_token_ids}
                steps.append({t: SimpleNamespace(logprob=value) for t, value in logprobs.items()})
                after += param.allowed_token_ids
            outputs.append(SimpleNamespace(outputs=[SimpleNamespace(logprobs=steps)]))
        return outputs


def some_joined(text):
    """ "00" and "10" as one token each, the other ratings digit by digit."""
    rating = text.removesuffix("]]")
    return [*([rating] if rating in ("00", "10") else rating), *([text[len(rating) :]] * (rating != text))]


weights = st.lists(st.floats(1e-6, 1), min_size=13, max_size=13)


@pytest.mark.parametrize("split", [list, bracket_apart, some_joined])
@given(values=st.lists(weights, min_size=3, max_size=3))
@settings(max_examples=25, deadline=None)
def test_the_score_is_the_one_that_the_notes_define(split, values):
    """Recipe, trap 1: the notes' formula, run as it stands there, against the engine and the judge.

    After "1" any digit may follow, so a score that takes P("1") for the rating 1 or 10 is caught.
    """
    vocabulary = Vocabulary(split)
    tokens = rating_tokens(vocabulary)
    ids = sorted({token for rating in tokens for token in rating})
    first, *rest = ({t: v / sum(row) for t, v in zip(ids, row, strict=False)} for row in values)
    openings = sorted({t[0] for t in tokens if len(t) == 2})
    second = dict(zip(openings, rest, strict=False))
    after = {vocabulary.decode([t]): second[t] for t in openings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=SimpleNamespace))
        engine = Engine(NextTokens(vocabulary, {"": first} | after), max_model_len=8)
        (log_p,) = engine.rating_logprobs([[0]], tokens, "rating")
    found, found_mass = rating_probabilities(log_p)

    notes = (ROOT / "docs" / "recipe.md").read_text().split("```python\n")[1].split("```")[0]
    defined = {"first": first, "second": second, "tokens": tokens}
    exec(notes, defined)
    assert found == pytest.approx(defined["p"]) and found_mass == pytest.approx(defined["mass"])
    assert expected_rating(found) == pytest.approx(defined["score"])


def test_fast_reading_takes_the_first_digit_of_10_for_the_whole():
    """One pass: P(10) is P("1"); ratings of one token stay as they are."""
    vocabulary = Vocabulary(list)
    tokens = rating_tokens(vocabulary)
    assert first_tokens(tokens) == [*tokens[:10], tokens[10][:1]]
    for split in (bracket_apart, some_joined):
        joined = rating_tokens(Vocabulary(split))
        assert first_tokens(joined) == joined
    zero, one = tokens[10][1], tokens[10][0]
    digits = dict.fromkeys({token for rating in tokens for token in rating}, 0.1)
    llm = NextTokens(vocabulary, {"": {zero: 0.7, one: 0.2}, "0": digits, "1": {zero: 0.25, one: 0.7}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=SimpleNamespace))
        engine = Engine(llm, max_model_len=8)
        (exact,) = engine.rating_logprobs([[0]], tokens, "rating")
        passes = llm.calls
        (fast,) = engine.rating_logprobs([[0]], first_tokens(tokens), "rating")
    assert (passes, llm.calls) == (2, 3)
    assert fast[:10] == exact[:10] == pytest.approx([math.log(0.07)] * 10)
    assert (math.exp(exact[10]), math.exp(fast[10])) == (pytest.approx(0.05), pytest.approx(0.2))


def test_fast_reading_is_asked_of_the_engine(chat_tokenizer):
    asked = {}
    for reading in ("exact", "fast"):
        engine = FakeEngine(chat_tokenizer)
        score_pairs(engine, [("a", "b")], min_mass=0.5, reading=reading)
        asked[reading] = engine.ratings
    assert asked["exact"] == rating_tokens(chat_tokenizer) != asked["fast"] == first_tokens(asked["exact"])


class FakeEngine:
    """Ratings that depend on the prompt's ids alone; mass 0.2 where the response says vague."""

    def __init__(self, tokenizer):
        self.tokenizer, self.seen = tokenizer, []

    def rating_logprobs(self, prompts, ratings, what):
        self.seen, self.ratings = prompts, ratings
        found = []
        for ids in prompts:
            text = self.tokenizer.decode(ids)
            mass = 0.2 if "vague" in text else 0.99
            peak = 9 if "splendid" in text else 2
            found.append(logs([mass if k == peak else 0.0 for k in range(11)]))
        return found


@pytest.fixture(scope="module")
def chat_tokenizer(tiny_checkpoint):
    from alma.tokenizer import load_tokenizer

    return load_tokenizer(tiny_checkpoint)


def test_scores_come_back_in_order_and_low_mass_is_null(chat_tokenizer):
    engine = FakeEngine(chat_tokenizer)
    pairs = [("b", "splendid"), ("a", "vague"), ("b", "bad"), ("a", "splendid")]
    rows = score_pairs(engine, pairs, min_mass=0.5)
    assert [row["score"] for row in rows] == [
        pytest.approx(9),
        None,
        pytest.approx(2),
        pytest.approx(9),
    ]
    assert rows[1]["mass"] == pytest.approx(0.2)
    assert engine.seen == sorted(engine.seen)  # equal prefixes side by side, for the cache


def test_too_many_unreadable_scores_are_a_loud_error(chat_tokenizer):
    with pytest.raises(InputError, match=r"1 of 2 responses have no readable score.*min_mass"):
        score_pairs(
            FakeEngine(chat_tokenizer),
            [("a", "vague"), ("a", "splendid")],
            min_mass=0.5,
            max_unreadable=0.4,
        )


def test_a_score_does_not_depend_on_where_the_response_stands(chat_tokenizer):
    """Recipe, trap 22: chosen and rejected are scored one by one, so no place can favor either."""
    pairs = [{"prompt_id": "p", "prompt": "q", "chosen": "splendid", "rejected": "bad"}] * 3
    rows = score_heldout.benchmark_rows(pairs)
    assert [(r["label"], r["response"]) for r in rows] == [(10.0, "splendid"), (0.0, "bad")] * 3
    assert len({row["response_id"] for row in rows}) == 6 and len({row["prompt_id"] for row in rows}) == 3
    engine, texts = FakeEngine(chat_tokenizer), [(row["prompt"], row["response"]) for row in rows]
    scores = score_pairs(engine, texts, min_mass=0.5)
    seen = [engine.tokenizer.decode(ids) for ids in engine.seen]
    assert not [text for text in seen if "bad" in text and "splendid" in text]
    assert scores == score_pairs(engine, texts[::-1], min_mass=0.5)[::-1]


def test_annotators_of_one_response_are_averaged():
    row = {"prompt_id": "p", "prompt": "q", "response": "a", "response_id": "r", "annotator": 0, "score": 4.0}
    (found,) = score_heldout.heldout_rows([row, row | {"annotator": 1, "score": 7.0}])
    assert found["label"] == 5.5


def dealt(prompts):
    """`deal` rows of the rounds 2 and 3, whose places hold the prompts from the last to the first."""
    return [
        {"round": r, "place": i, "cluster": i, "prompt_id": f"p{prompts - 1 - i}" if r == 2 else f"q{i}"}
        for r in (3, 2)
        for i in range(prompts)
    ]


class Sampler(FakeEngine):
    """Writes each request's seed as the response."""

    max_model_len = 1000

    def generate(self, requests, what):
        return [SimpleNamespace(text=f" {r.seed} ", finish_reason="stop", tokens=3) for r in requests]


def test_no_round_selects_from_the_responses_of_distillation(chat_tokenizer, tmp_path, monkeypatch):
    """The same prompts, checkpoint and seed, and yet other ids, seeds and texts than round 2's."""
    monkeypatch.setattr("alma.engine.open_engine", lambda *_: Sampler(chat_tokenizer))
    prompts = [
        {"prompt_id": f"p{i}", "prompt": f"q{i}", "source": "seed", "examples": [], "checks": "[]"}
        for i in range(6)
    ]
    write_table(tmp_path / "unique", "prompt", prompts)
    write_table(tmp_path / "deal", "deal", dealt(6))
    write_table(tmp_path / "round", "round_prompt", [row | {"cluster": 0} for row in prompts])
    common = {
        "seed": 0,
        "engine": {},
        "checkpoint": "sft-0",
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 9,
    }
    sample_distillation.main(
        "m", [tmp_path / "unique"], tmp_path / "deal", tmp_path / "own", prompts_used=4, **common
    )
    sample_responses.main("m", tmp_path / "round", tmp_path / "rounds", round_=2, samples=[0, 1], **common)
    own = read_table(tmp_path / "own", "distillation_response")
    rounds = read_table(tmp_path / "rounds", "response")
    assert [row["prompt_id"] for row in own] == ["p5", "p4", "p3", "p2"], "the first places of round 2"
    assert {row["prompt_id"] for row in own} < {row["prompt_id"] for row in rounds}
    for column in ("response_id", "seed", "response"):
        assert {row[column] for row in own}.isdisjoint(row[column] for row in rounds)

    score_distillation.main(
        "m",
        [tmp_path / "own"],
        tmp_path / "pairs",
        seed=0,
        engine={},
        pairs=3,
        reading="fast",
        min_mass=0.5,
        max_unreadable=0,
    )
    scored = read_table(tmp_path / "pairs", "distilled")
    assert len(scored) == 3 and {r["response_id"] for r in scored} < {r["response_id"] for r in own}
    assert [len(row["p"]) for row in scored] == [11] * 3


def test_distillation_pairs_are_seeded_distinct_and_finished():
    rows = [
        {
            "prompt_id": f"p{i % 5}",
            "response_id": f"r{i}",
            "response": f"text {i % 10}" if i % 7 else "",
            "finish_reason": "length" if i % 6 == 0 else "stop",
        }
        for i in range(60)
    ]
    chosen = score_distillation.choose_pairs(rows, 5, seed=0)
    assert chosen == score_distillation.choose_pairs(rows[::-1], 5, seed=0)
    assert len(chosen) == 5 and all(row["response"] and row["finish_reason"] == "stop" for row in chosen)
    every = score_distillation.choose_pairs(rows, 1000, seed=0)
    assert len({(row["prompt_id"], row["response"]) for row in every}) == len(every) < len(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "dtype", "overrides"),
    [
        ({"dtype": "bfloat16", "head_dtype": "float32"}, "bfloat16", {"head_dtype": "float32"}),
        ({"dtype": "auto", "head_dtype": "float32"}, "float32", {}),  # on a CPU all is float32
        ({"dtype": "bfloat16"}, "bfloat16", {}),  # a model that is sampled
    ],
)
def test_the_output_layer_of_a_judge_is_float32(monkeypatch, changes, dtype, overrides):
    """Recipe, trap 27: what vLLM is told; benchmarks/bench_judge_dtype.py measures what it gives."""
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=LoadedModel))
    monkeypatch.setattr("alma.engine._prepare_environment", lambda *_: None)
    options = {"device": "cpu", "max_model_len": 64, "max_num_seqs": 4, "kv_cache_gib": 1}
    options["tensor_parallel_size"] = 1
    told = open_engine("m", options | changes).llm.told
    assert told["dtype"] == dtype and told["hf_overrides"] == overrides


@pytest.mark.slow
@pytest.mark.parametrize(("gpu", "size", "stable"), [(True, 1, True), (True, 2, False), (False, 1, False)])
def test_on_one_gpu_every_checkpoint_has_the_same_path(monkeypatch, tmp_path, gpu, size, stable):
    """vLLM compiles anew for each path; workers of several GPUs could not open this one."""
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=LoadedModel))
    monkeypatch.setattr("alma.engine._prepare_environment", lambda *_: None)
    monkeypatch.setattr("alma.engine.use_gpu", lambda device: gpu)
    options = {"device": "auto", "dtype": "auto", "max_model_len": 64, "max_num_seqs": 4, "kv_cache_gib": 1}
    options |= {"gpu_memory_utilization": 0.5, "tensor_parallel_size": size}
    names = []
    for checkpoint in ("sft-0", "sft-1"):
        (tmp_path / checkpoint).mkdir()
        (tmp_path / checkpoint / "config.json").write_text(checkpoint)
        names.append(open_engine(tmp_path / checkpoint, options).llm.told["model"])
        assert (Path(names[-1]) / "config.json").read_text() == checkpoint
    assert (names[0] == names[1]) == stable == (str(tmp_path) not in names[0])


class LoadedModel:
    def __init__(self, **told):
        self.told = told

    def get_tokenizer(self):
        return None
