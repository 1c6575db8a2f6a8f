"""Prompt synthesis, filters, embedding, clustering, and the deal to the rounds."""

from __future__ import annotations

import random
import string
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cluster_prompts
import compare_prompts
import deal_prompts
import drop_duplicates
import embed_prompts
import filter_prompts
import fit_projection
import gather_prompts
import numpy as np
import pytest
import round_prompts
import synthesize_prompts
import unique_prompts
from hypothesis import given
from hypothesis import strategies as st
from stand_ins.tokenizer import Characters
from unsharded_prompts import first_of_near_duplicates, in_band, survivors

from alma.clustering import (
    fit_axes,
    k_means,
    read_embeddings,
    read_projection,
    write_embeddings,
)
from alma.csv_tables import read_csv_table
from alma.duplicates import OverlapIndex, bare_words, grams_of
from alma.engine import Completion
from alma.errors import InputError
from alma.fewshot import (
    STOP,
    as_turns,
    choose_examples,
    example_pairs,
    first_example,
    has_marker,
    layout,
    usable_example,
)
from alma.ids import content_id, request_seed
from alma.minhash import (
    PERMUTATIONS,
    band_keys,
    compared,
    least_agreeing,
    lsh_bands,
    probable_pairs,
    signatures,
    sketches,
)
from alma.pooling import batches, embed_texts, load_encoder, mean_pooled
from alma.prompt_filters import ends_like_a_request
from alma.tables import (
    assistant,
    count_rows,
    iter_columns,
    read_columns,
    read_matching,
    read_table,
    user,
    write_columns,
    write_table,
)

# synthesis

ENGINE = {"max_model_len": 400}


def sft_rows(texts: list[str]) -> list[dict]:
    """Rows of an sft table with these prompts."""
    return [
        {
            "prompt_id": content_id("prompt", text),
            "prompt": user(text),
            "completion": assistant("Yes."),
            "category": None,
        }
        for text in texts
    ]


class FakeEngine:
    """Stands in for the engine: one token a character, and texts from a function of the request."""

    def __init__(self, answer) -> None:
        self.answer, self.requests = answer, []
        self.tokenizer = Characters()

    def generate(self, requests, what):
        self.requests += requests
        return [self.answer(index, request) for index, request in enumerate(requests)]


def synthesize(tmp_path: Path, monkeypatch, texts, answer=None, **changes):
    """Run synthesize_prompts with a fake engine; returns its rows and its requests."""
    engine = FakeEngine(answer or (lambda index, request: Completion(f" prompt {index}", "stop", 3)))
    monkeypatch.setattr(synthesize_prompts, "open_engine", lambda model, options: engine)
    write_table(tmp_path / "sft.parquet", "sft", sft_rows(texts))
    values = {
        "seed": 0,
        "engine": ENGINE,
        "shard": 0,
        "count": 8,
        "shots": [3, 5],
        "group": "none",
        "per_context": 1,
        "temperature": 1.0,
        "top_p": 0.9,
        "max_tokens": 40,
    }
    out = tmp_path / "raw.parquet"
    synthesize_prompts.main("model", tmp_path / "sft.parquet", out, **(values | changes))
    return read_table(out, "raw_prompt"), engine.requests


SEEDS = [f"Say {word} in one sentence." for word in ("red", "blue", "green", "pink", "gray", "teal", "lime")]


def context_of(request) -> str:
    return "".join(map(chr, request.token_ids))


def test_prompts_in_a_row_share_a_context_and_none_shares_a_seed(tmp_path, monkeypatch):
    rows, requests = synthesize(tmp_path, monkeypatch, SEEDS, count=8, per_context=3)
    contexts = [context_of(request) for request in requests]
    shared = [contexts.index(context) for context in contexts]
    assert shared == [0, 0, 0, 3, 3, 3, 6, 6] and len({request.seed for request in requests}) == 8
    assert [row["examples"] for row in rows[:3]] == [rows[0]["examples"]] * 3
    alone, _ = synthesize(tmp_path, monkeypatch, SEEDS, count=4, per_context=3)
    assert alone == rows[:4], "an item does not depend on how many there are"


def test_layout_keeps_examples_apart_and_ends_open() -> None:
    text = layout(["one", "two\nlines "])
    assert text == "Prompt: one\n---\nPrompt: two\nlines\n---\nPrompt:"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" What is rain?\n---\nPrompt: What is snow?", "What is rain?"),
        (" What is rain?\nPrompt: What is snow?\n---", "What is rain?"),
        (" What is rain?\n\n---", "What is rain?"),
        (" Fix this:\nx = 1 ", "Fix this:\nx = 1"),
        ("\n---\n", ""),
    ],
)
def test_the_first_example_only_is_kept(text: str, kept: str) -> None:
    assert first_example(text) == kept


def test_a_seed_that_the_stop_strings_would_cut_is_no_example() -> None:
    assert usable_example("Two\nlines - with -- dashes")
    assert not usable_example("a\n---\nb")
    assert not usable_example("---")
    assert not usable_example("a\nPrompt: b")
    assert not usable_example("  ")


@given(st.integers(0, 10**6), st.integers(0, 50), st.integers(0, 1000), st.integers(5, 40))
def test_examples_are_distinct_within_bounds_and_depend_on_the_key_alone(seed, shard, index, count) -> None:
    chosen = choose_examples(count, (3, 5), seed, shard, index)
    assert 3 <= len(chosen) <= 5 and len(set(chosen)) == len(chosen) and set(chosen) <= set(range(count))
    assert chosen == choose_examples(count, (3, 5), seed, shard, index)


def test_every_number_of_examples_and_every_seed_is_used() -> None:
    drawn = [choose_examples(40, (3, 5), 0, 0, index) for index in range(200)]
    assert {len(chosen) for chosen in drawn} == {3, 4, 5}
    assert {i for chosen in drawn for i in chosen} == set(range(40))
    assert drawn != [choose_examples(40, (3, 5), 0, 1, index) for index in range(200)]


def test_rows_name_the_examples_that_stood_in_the_context(tmp_path, monkeypatch) -> None:
    rows, requests = synthesize(tmp_path, monkeypatch, SEEDS)
    texts = {content_id("prompt", text): text for text in SEEDS}
    for row, request in zip(rows, requests, strict=True):
        assert context_of(request) == layout([texts[key] for key in row["examples"]])
        assert request.stop == STOP
    assert [row["prompt"] for row in rows] == [f"prompt {i}" for i in range(8)]
    assert all(row["prompt_id"] == content_id("prompt", row["prompt"]) for row in rows)
    assert {row["source"] for row in rows} == {"synthetic"}


def test_each_item_has_its_own_seed_and_does_not_depend_on_the_count(tmp_path, monkeypatch) -> None:
    _, few = synthesize(tmp_path, monkeypatch, SEEDS, count=4)
    _, many = synthesize(tmp_path, monkeypatch, SEEDS[::-1], count=8)
    assert many[:4] == few
    assert [r.seed for r in many] == [request_seed(0, "prompts", "base", "0", i) for i in range(8)]
    _, other = synthesize(tmp_path, monkeypatch, SEEDS, shard=1)
    assert not {r.seed for r in other} & {r.seed for r in many}


def test_bad_prompts_are_written_too_and_marked(tmp_path, monkeypatch) -> None:
    answers = [
        Completion(" cut off in the mid", "length", 40),
        Completion("", "stop", 1),
        Completion(" one\n---\nPrompt: two", "stop", 9),
    ]
    rows, _ = synthesize(tmp_path, monkeypatch, SEEDS, answer=lambda i, request: answers[i], count=3)
    assert [(r["prompt"], r["finish_reason"]) for r in rows] == [
        ("cut off in the mid", "length"),
        ("", "stop"),
        ("one", "stop"),
    ]


def test_contexts_always_fit_the_model(tmp_path, monkeypatch, capsys) -> None:
    texts = [*SEEDS, "a long seed " * 20, "several\nlines\nof it", "broken\n---\nseed"]
    _, requests = synthesize(tmp_path, monkeypatch, texts, count=100)
    assert max(len(r.token_ids) + r.max_tokens for r in requests) <= ENGINE["max_model_len"]
    contexts = "".join(context_of(r) for r in requests)
    assert "several\nlines\nof it" in contexts
    assert "long seed" not in contexts and "broken" not in contexts
    assert "left out 1 of 9" in capsys.readouterr().out


def test_too_few_usable_seeds_are_refused_with_the_keys_to_change(tmp_path, monkeypatch) -> None:
    with pytest.raises(InputError, match=r"prompts\.shots.*only 2 of 2.*labels\.sft"):
        synthesize(tmp_path, monkeypatch, SEEDS[:2])
    with pytest.raises(InputError, match=r"prompts\.shots: found \[5, 3\]"):
        synthesize(tmp_path, monkeypatch, SEEDS, shots=[5, 3])


# filters


def raw(text: str, examples: tuple[str, ...] = (), finish_reason: str = "stop") -> dict:
    return {
        "prompt_id": content_id("prompt", text),
        "prompt": text,
        "source": "synthetic",
        "examples": [content_id("prompt", example) for example in examples],
        "finish_reason": finish_reason,
        "logprob": -1.0,
    }


def kept(text: str) -> dict:
    """A row of the prompt table."""
    return {k: v for k, v in raw(text).items() if k not in ("finish_reason", "logprob")} | {"checks": "[]"}


OF_TEXT = {"min_words": 3, "require_end": False, "min_function_words": 0, "blocked": [], "overlap": 0.5}
OF_TEXT |= {"require_constraint": False}
OF_TEXT |= {"max_model_len": 10**6, "max_tokens": 10}  # test_lengths.py has shorter ones


def filter_shards(tmp_path: Path, shards, sft=(), judge=(), pairs=(), evaluation=(), **changes):
    """Run all jobs from raw prompts to unique ones; returns the files of the kept prompts, one per shard."""
    write_table(tmp_path / "sft.parquet", "sft", sft_rows(list(sft)))
    judged = [{"prompt_id": content_id("prompt", text), "prompt": text} for text in judge]
    write_table(tmp_path / "judge.parquet", "seed_prompt", judged)
    pair_rows = [{"prompt_id": content_id(t), "prompt": t, "chosen": "a", "rejected": "b"} for t in pairs]
    write_table(tmp_path / "pairs.parquet", "judge_pair", pair_rows)
    eval_rows = [
        {
            "benchmark": "b",
            "prompt_id": content_id("prompt", t),
            "prompt": t,
            "category": None,
            "reference": None,
            "checks": "[]",
        }
        for t in evaluation
    ]
    write_table(tmp_path / "eval.parquet", "eval", eval_rows)
    filter_prompts.load_tokenizer = lambda folder: Characters()
    band = {"perplexity_band": changes.pop("perplexity_band", [0, 1])}
    near = changes.pop("near_duplicate", 0.7)
    names = ("filtered", "signatures", "duplicates", "near", "unique")
    files = {name: [str(tmp_path / f"{name}{i}.parquet") for i in range(len(shards))] for name in names}
    tables = [tmp_path / f"{name}.parquet" for name in ("sft", "judge", "pairs", "eval")]
    for number, rows in enumerate(shards):
        write_table(tmp_path / "raw.parquet", "raw_prompt", rows)
        out = files["filtered"][number], files["signatures"][number]
        values = {"seed": 0} | OF_TEXT | changes
        filter_prompts.main(tmp_path / "raw.parquet", *tables, tmp_path / "tokenizer.json", *out, **values)
    for part in range(len(shards)):
        out = files["duplicates"][part], files["near"][part]
        keys = {"part": part, "parts": len(shards), "near_duplicate": near} | band
        compare_prompts.main(files["signatures"], files["filtered"], *out, **keys)
    kept = tmp_path / "kept.parquet"
    tables = tmp_path / "filters.csv", tmp_path / "quality.csv"
    drop_duplicates.main(files["filtered"], files["duplicates"], files["near"], kept, *tables, **band)
    for shard, path in enumerate(files["unique"]):
        unique_prompts.main(files["filtered"][shard], kept, path, shard=shard)
    return files["unique"]


def run_filters(tmp_path: Path, shards, **changes):
    """Run `filter_shards`; returns the kept prompts and {filter: removed}."""
    paths = filter_shards(tmp_path, shards, **changes)
    lines = [line.split(",") for line in (tmp_path / "filters.csv").read_text().splitlines()]
    assert lines[0] == ["filter", "removed", "kept"]
    left = sum(map(len, shards))
    for _, removed, kept in lines[1:]:
        left -= int(removed)
        assert left == int(kept)
    found = []
    for path, written in zip(paths, shards, strict=True):
        rows = read_table(path, "prompt")
        assert [row["prompt_id"] for row in rows] == sorted(row["prompt_id"] for row in rows)
        assert {row["prompt_id"] for row in rows} <= {row["prompt_id"] for row in written}
        found += rows
    assert len(found) == left == len({row["prompt_id"] for row in found})
    return {row["prompt"] for row in found}, {name: int(removed) for name, removed, _ in lines[1:]}


GOOD = "Describe a quiet morning at the harbour in two short sentences."
OTHER = "Which tools does a carpenter need for building a plain wooden table?"


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (raw("Explain how bread is baked at home and", finish_reason="length"), "unfinished"),
        (raw(""), "too_short"),
        (raw("Why rain?"), "too_short"),
        (raw("... !? -"), "too_short"),
        (raw("What is rain? Response: Water from clouds."), "marker_or_answer"),
        (raw("What is two plus two?\nanswer : 4"), "marker_or_answer"),
        (raw("What is rain? Prompt: What is snow?"), "marker_or_answer"),
        (raw("What is rain, please?\n--- What is snow?"), "marker_or_answer"),
        (raw("What is rain, please?<|im_end|>"), "marker_or_answer"),
        (raw("describe a quiet   MORNING at the harbour: in two short sentences!"), "exact_duplicate"),
        (raw("Describe a quiet morning at the harbour in two short sentences, please."), "near_duplicate"),
    ],
)
def test_each_filter_removes_its_kind(tmp_path, bad, name) -> None:
    kept, removed = run_filters(tmp_path, [[raw(GOOD), raw(OTHER)], [bad]])
    assert removed == {key: int(key == name) for key in removed}
    assert len(kept) == 2 and OTHER in kept


@pytest.mark.parametrize("where", ["sft", "judge", "pairs", "evaluation"])
def test_prompts_that_overlap_a_seed_or_an_evaluation_prompt_are_removed(tmp_path, where) -> None:
    copied = "Describe a quiet morning at the harbour in three long paragraphs."
    kept, removed = run_filters(tmp_path, [[raw(GOOD), raw(OTHER)]], **{where: [copied]})
    assert kept == {OTHER}
    assert removed["evaluation_overlap" if where == "evaluation" else "seed_overlap"] == 1


def test_overlap_with_the_own_few_shot_examples_is_counted_apart(tmp_path) -> None:
    seeds = ["Describe a quiet morning at the harbour in three long paragraphs.", "Name one tall old tree."]
    kept, removed = run_filters(tmp_path, [[raw(GOOD, tuple(seeds)), raw(OTHER, tuple(seeds))]], sft=seeds)
    assert kept == {OTHER}
    assert removed["few_shot_overlap"] == 1 and removed["seed_overlap"] == 0
    _, removed = run_filters(tmp_path, [[raw(GOOD, (seeds[1],)), raw(OTHER)]], sft=seeds)
    assert removed["few_shot_overlap"] == 0 and removed["seed_overlap"] == 1


def test_all_user_turns_of_a_seed_count(tmp_path) -> None:
    run_filters(tmp_path, [[raw(GOOD), raw(OTHER)]])  # writes the other tables
    turns = [*user(GOOD), *assistant("Done."), *user("Thank you.")]
    row = {"prompt_id": "x", "prompt": turns, "completion": assistant("Yes."), "category": None}
    assert filter_prompts.user_texts(row) == [GOOD, "Thank you."]


def test_nothing_left_is_refused_with_the_counts(tmp_path) -> None:
    with pytest.raises(InputError, match=r"none of the 1 prompts.*\n.*unfinished: removed 1"):
        run_filters(tmp_path, [[raw(GOOD, finish_reason="length")]])


def test_overlap_is_the_share_in_one_other_text_at_the_threshold_itself() -> None:
    text = "a b c d e f"  # 3-grams: abc bcd cde def
    index = OverlapIndex(["a b c d x", "c d e y", "d e f z", "q a b"])
    assert index.overlapping(text, 0.5) == {0}  # 2 of 4; the four together would hold all
    assert index.overlapping(text, 0.51) == set()
    assert index.overlapping(text, 0.25) == {0, 1, 2}
    assert OverlapIndex(["A, b C!"]).overlapping("a B c", 1.0) == {0}


def test_texts_of_fewer_than_three_words_overlap_equal_texts_only() -> None:
    index = OverlapIndex(["Hello there", "Hello there friend", "?!", ""])
    assert index.overlapping("hello THERE.", 0.5) == {0}
    assert index.overlapping("hello", 0.5) == set()
    assert index.overlapping("", 0.5) == set()
    assert index.overlapping("well hello there dear friend", 0.5) == set()


def test_a_short_evaluation_prompt_inside_a_long_text_is_found() -> None:
    index = OverlapIndex(["Why does ice float on water?", "tell me more"])
    long = (
        "My son asked today: why does ice float on water? He is six, so tell me more " + "in easy words " * 9
    )
    assert index.overlapping(long, 0.5) == {0}


@given(st.lists(st.sampled_from("abcd"), max_size=9), st.lists(st.sampled_from("abcd"), max_size=9))
def test_overlap_agrees_with_the_definition(first, second) -> None:
    one, two = grams_of(" ".join(first)), grams_of(" ".join(second))
    shared = set(one) & set(two)
    wanted = bool(shared) and (2 * len(shared) >= len(one) or len(shared) == len(two) >= 3)
    found = OverlapIndex([" ".join(second)]).overlapping(" ".join(first), 0.5)
    assert found == ({0} if wanted else set())


def random_texts(count: int, words: int) -> list[str]:
    generator = random.Random(0)
    vocabulary = ["".join(generator.choices(string.ascii_lowercase, k=6)) for _ in range(2000)]
    return [" ".join(generator.choices(vocabulary, k=words)) for _ in range(count)]


def test_a_text_that_was_dropped_drops_no_other() -> None:
    """Each of the three is like the next (0.82), the first and the last are not (0.67)."""
    words = [f"w{i}" for i in range(260)]
    first, middle, last = (" ".join(words[start : start + 200]) for start in (0, 20, 40))
    assert first_of_near_duplicates([first, middle, last], 0.75) == [True, False, True]
    assert first_of_near_duplicates([middle, first, last], 0.75) == [True, False, False]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9, 0.99])
def test_bands_are_as_few_as_find_a_pair_at_the_threshold(threshold) -> None:
    def missed(bands: int) -> float:
        return (1 - threshold ** (PERMUTATIONS // bands)) ** bands

    bands = lsh_bands(threshold)
    assert bands == PERMUTATIONS or missed(bands) <= 0.001
    assert bands == 1 or missed(bands // 2) > 0.001


def test_near_duplicates_are_found_among_many_and_nothing_else_is() -> None:
    texts = random_texts(2000, 20)
    changed = [text.rsplit(" ", 1)[0] + " end" for text in texts]  # 17 of 19 3-grams: Jaccard 0.89
    assert first_of_near_duplicates(texts, 0.7) == [True] * 2000
    assert sum(first_of_near_duplicates(texts + changed, 0.7)[2000:]) == 0
    assert sum(first_of_near_duplicates(texts + changed, 1.0)[2000:]) > 1900


def some_prompts(dice: random.Random, count: int) -> list[dict]:
    """Raw prompts, many of which repeat others, nearly or wholly, were cut off or have no probability."""
    bases = random_texts(6, 24)
    rows = []
    for _ in range(count):
        words = dice.choice(bases).split()
        for _ in range(dice.choice((0, 0, 1, 1, 2, 3))):
            words[dice.randrange(len(words))] = dice.choice(("one", "two", "three", "end."))
        text = dice.choice((str, str.upper, str.title))(" ".join(words[dice.choice((0, 0, 2)) :]))
        text += dice.choice(("", "", "!", " Use at most 20 words."))
        examples = tuple(dice.sample([*bases, "x", "y"], dice.choice((1, 2))))
        row = raw(text, examples, "length" if dice.random() < 0.05 else "stop")
        rows.append(row | {"logprob": dice.choice((None, *(-i / 8 for i in range(9))))})
    return rows


@pytest.mark.parametrize("number", range(16))
def test_shards_keep_what_the_filters_keep_in_memory(tmp_path, number) -> None:
    """Survivors and counts are those of one filter after the other over all rows, whatever the cut."""
    dice = random.Random(number)
    rows = some_prompts(dice, dice.choice((3, 40, 70)))
    seeds = [text for text in random_texts(6, 24) if dice.random() < 0.2]
    asked = [f"{random_texts(6, 24)[dice.randrange(6)]} in short"] if dice.random() < 0.3 else []
    keys = {
        "seed": number,
        "min_words": 3,
        "perplexity_band": dice.choice(([0, 1], [0, 0.9], [0.1, 0.8], [0.45, 0.5])),
        "require_constraint": dice.random() < 0.2,
        "near_duplicate": dice.choice((0.3, 0.5, 0.7, 0.9, 1.0)),
        "overlap": dice.choice((0.5, 0.9)),
    }
    wanted, removed = survivors(rows, sft_rows(seeds), seeds, asked, **keys)
    for shards in (1, dice.choice((2, 3, 7))):
        dice.shuffle(rows)
        cuts = sorted(dice.randrange(len(rows) + 1) for _ in range(shards - 1))
        parts = [rows[a:b] for a, b in pairwise((0, *cuts, len(rows)))]
        if not wanted:
            with pytest.raises(InputError, match="none of the"):
                filter_shards(tmp_path, parts, sft=seeds, evaluation=asked, **keys)
            continue
        files = filter_shards(tmp_path, parts, sft=seeds, evaluation=asked, **keys)
        found = sorted(
            (row for path in files for row in read_table(path, "prompt")), key=lambda r: r["prompt_id"]
        )
        names = ("prompt_id", "prompt", "source", "examples")
        assert [[row[n] for n in names] for row in found] == [[row[n] for n in names] for row in wanted]
        counts = {
            r["filter"]: r["removed"] for r in read_csv_table(tmp_path / "filters.csv", "prompt_filters")
        }
        assert {name: n for name, n in counts.items() if n} == {name: n for name, n in removed.items() if n}


@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.95])
def test_arrays_find_the_pairs_that_rensa_finds(threshold) -> None:
    from rensa import RMinHash, RMinHashLSH

    texts = [row["prompt"] for row in some_prompts(random.Random(5), 150)]
    found, bands = signatures(texts), lsh_bands(threshold)
    own = [RMinHash(PERMUTATIONS, 0) for _ in texts]
    index, wanted = RMinHashLSH(threshold, PERMUTATIONS, bands), set()
    for number, (text, sketch) in enumerate(zip(texts, own, strict=True)):
        sketch.update(grams_of(text))
        assert sketch.digest() == found[number].tolist()
        alike = [i for i in index.query(sketch) if sketch.jaccard(own[i]) >= threshold]
        wanted |= {(i, number) for i in alike}
        index.insert(number, sketch)
    keys, least = band_keys(found, bands), least_agreeing(threshold)
    places = np.repeat(np.arange(len(texts), dtype=np.int32), bands)
    pairs = probable_pairs(keys.ravel(), places, sketches(found), least)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    alike = set()
    for some, agreeing, first in compared(pairs, found, bands):
        assert (first >= 0).all()
        alike |= {tuple(pair) for pair in some[agreeing >= least].tolist()}
    assert alike == wanted and len(wanted) > 20


def test_each_pair_is_found_by_one_part_of_any_number(tmp_path) -> None:
    filter_shards(tmp_path, [some_prompts(random.Random(5), 60)])
    inputs = [str(tmp_path / "signatures0.parquet")], [str(tmp_path / "filtered0.parquet")]
    found = {}
    for parts in (1, 29):
        tables = {"duplicate": [], "near_pair": []}
        for part in range(parts):
            out = [tmp_path / f"{kind}.parquet" for kind in tables]
            keys = {"perplexity_band": [0, 1], "near_duplicate": 0.6}
            compare_prompts.main(*inputs, *out, part=part, parts=parts, **keys)
            for path, (kind, rows) in zip(out, tables.items(), strict=True):
                rows += read_table(path, kind)
        found[parts] = {kind: sorted(map(repr, rows)) for kind, rows in tables.items()}
    assert found[29] == found[1]
    assert all(len(rows) > 10 for rows in found[1].values())


def test_the_table_of_a_run_does_not_depend_on_the_cut_into_shards(tmp_path) -> None:
    rows = some_prompts(random.Random(1), 60)
    run_filters(tmp_path, [rows])
    wanted = (tmp_path / "filters.csv").read_bytes(), (tmp_path / "quality.csv").read_bytes()
    run_filters(tmp_path, [rows[40:], rows[:25], [], rows[25:40]])
    assert ((tmp_path / "filters.csv").read_bytes(), (tmp_path / "quality.csv").read_bytes()) == wanted


def test_equal_prompts_keep_the_examples_that_sort_first_in_any_cut(tmp_path) -> None:
    rows = [raw(GOOD, (f"example {i}",)) for i in range(6)] + [raw(GOOD, ())]
    for shards in ([rows], [rows[:3], rows[3:]], [rows[6:], rows[:6]]):
        files = filter_shards(tmp_path, shards)
        (kept_row,) = [row for path in files for row in read_table(path, "prompt")]
        assert kept_row["examples"] == []
    files = filter_shards(tmp_path, [rows[3:6], rows[:3]])
    (kept_row,) = [row for path in files for row in read_table(path, "prompt")]
    assert kept_row["examples"] == min(row["examples"] for row in rows[:6])


def test_bare_words_ignore_case_space_punctuation_and_width() -> None:
    assert bare_words("  Ｈello,\n WORLD! ") == "hello world"


def test_markers_inside_words_are_no_markers() -> None:
    assert not has_marker("Give the answer in one word - and a prompt reply, user friendly.")
    assert has_marker("Assistant: hello") and has_marker("x </s> y")


def test_seed_pairs_as_earlier_turns_are_the_same_whatever_the_order_of_the_seeds() -> None:
    rows = sft_rows([f"prompt {i}" for i in range(9)])
    turns = as_turns(example_pairs(rows, 3, seed=1))
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 3
    assert turns == as_turns(example_pairs(rows[::-1], 3, seed=1))
    assert turns[:4] == as_turns(example_pairs(rows, 2, seed=1))
    assert turns != as_turns(example_pairs(rows, 3, seed=2))
    assert as_turns(example_pairs(rows, 0, seed=1)) == []


# embedding


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    """A random Llama of 2 layers with a tokenizer that knows the letters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", *string.ascii_lowercase])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.padding_side = "left"  # the wrong one, on purpose: pooling must not trust it
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def letters(count: int) -> list[str]:
    generator = random.Random(1)
    return [
        " ".join(generator.choices(string.ascii_lowercase, k=generator.randint(1, 40))) for _ in range(count)
    ]


@pytest.mark.parametrize("side", ["left", "right"])
def test_embeddings_do_not_depend_on_the_batch_or_the_padding_side(tiny_model, side) -> None:
    tokenizer, encoder = load_encoder(str(tiny_model), "cpu")
    tokenizer.padding_side = side
    texts = letters(40)
    batched = embed_texts(tokenizer, encoder, texts, tokens_per_batch=200)
    alone = np.concatenate([embed_texts(tokenizer, encoder, [text]) for text in texts])
    assert batched.dtype == np.float32 and batched.shape == (40, 32)
    assert np.abs(batched - alone).max() < 1e-5
    assert np.abs(alone[0] - alone[1]).max() > 1e-2  # not all the same


def test_embedding_is_the_mean_of_the_last_hidden_states_in_float32(tiny_model) -> None:
    import torch

    tokenizer, encoder = load_encoder(str(tiny_model), "cpu")
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    ids = torch.tensor([tokenizer("a b c d e")["input_ids"]])
    with torch.inference_mode():
        wanted = encoder(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy()
    assert np.allclose(embed_texts(tokenizer, encoder, ["a b c d e"])[0], wanted, atol=1e-6)


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 100))
def test_a_batch_has_its_tokens_or_one_text(lengths, tokens) -> None:
    found = list(batches(lengths, tokens))
    assert sorted(i for chosen in found for i in chosen) == list(range(len(lengths)))
    padded = [len(chosen) * max(lengths[i] for i in chosen) for chosen in found]
    assert all(size <= tokens or len(chosen) == 1 for size, chosen in zip(padded, found, strict=True))
    for chosen, later in pairwise(found):
        assert (len(chosen) + 1) * lengths[later[0]] > tokens, "no batch is shorter than it must be"


def test_a_gpu_s_encoder_is_in_bfloat16_and_its_states_are_summed_in_float32(tiny_model) -> None:
    import torch

    tokenizer, exact = load_encoder(str(tiny_model), "cpu")
    _, half = load_encoder(str(tiny_model), "cpu")
    half = half.to(torch.bfloat16)  # as `load_encoder` has it on a GPU
    texts = letters(8)
    found = embed_texts(tokenizer, half, texts)
    assert found.dtype == np.float32
    assert np.abs(found - embed_texts(tokenizer, exact, texts)).max() < 0.05
    rounded = torch.tensor(found).bfloat16().float().numpy()
    assert np.any(found != rounded), "a mean has more digits than its terms"


@pytest.mark.slow
def test_pooling_leaves_padding_out() -> None:
    import torch

    hidden = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert mean_pooled(hidden, mask).tolist() == [[2.0], [4.0]]


def test_shards_of_embeddings_make_up_the_whole(tiny_model, tmp_path) -> None:
    rows = sorted((kept(text) for text in set(letters(23))), key=lambda row: row["prompt_id"])
    paths = [str(tmp_path / f"{shard}.parquet") for shard in range(4)]
    for shard, path in enumerate(paths):
        unique = tmp_path / "unique.parquet"
        write_table(unique, "prompt", rows[shard::3] if shard < 3 else [])
        embed_prompts.main(tiny_model, unique, None, path, device="cpu")
    assert [count_rows(path, "embedding") for path in paths] == [
        len(rows[shard::3]) for shard in range(3)
    ] + [0]
    ids, vectors = read_embeddings(paths[::-1])
    assert ids == [row["prompt_id"] for row in rows]
    tokenizer, encoder = load_encoder(str(tiny_model), "cpu")
    wanted = embed_texts(tokenizer, encoder, [row["prompt"] for row in rows])
    assert np.abs(vectors - wanted).max() < 2e-3 * np.abs(wanted).max(), "float16"


def test_shards_are_projected_on_the_axes_of_a_sample(tiny_model, tmp_path) -> None:
    rows = sorted((kept(text) for text in set(letters(40))), key=lambda row: row["prompt_id"])
    unique = [tmp_path / f"unique{shard}.parquet" for shard in (0, 1)]
    axes = tmp_path / "projection.parquet"
    for shard, path in enumerate(unique):
        write_table(path, "prompt", rows[shard::2])
    fit_projection.main(tiny_model, unique[0], axes, device="cpu", dimensions=8)
    found = {}
    for projection in (None, str(axes)):
        paths = [str(tmp_path / f"{shard}.parquet") for shard in (0, 1)]
        for prompts, path in zip(unique, paths, strict=True):
            embed_prompts.main(tiny_model, prompts, projection, path, device="cpu")
        found[projection] = read_embeddings(paths)[1]
    whole, few = found[None], found[str(axes)]
    assert few.shape == (len(rows), 8)
    assert np.abs(few - read_projection(axes).of(whole)).max() < 0.02 * np.abs(few).max()
    assert few[::2].var(axis=0).argmax() == 0, "the first axis is that of the largest variance"
    with pytest.raises(InputError, match=r"embedding_dimensions: found 20, but only 20 prompts"):
        fit_projection.main(tiny_model, unique[0], axes, device="cpu", dimensions=20)


def test_principal_components_are_found_with_their_signs() -> None:
    dice = np.random.default_rng(0)
    axes = np.linalg.qr(dice.normal(size=(30, 30)))[0][:3]
    vectors = (dice.normal(size=(500, 3)) * [9, 3, 1] @ axes + 40).astype(np.float32)
    found = fit_axes(vectors, 3)
    assert np.abs(np.abs(np.sum(found.axes * axes, axis=1)) - 1).max() < 0.05
    assert np.abs(found.of(vectors) @ found.axes + found.mean - vectors).max() < 1e-3, (
        "nothing else was there"
    )
    for axis in found.axes:
        assert axis[np.abs(axis).argmax()] > 0
    assert np.array_equal(fit_axes(vectors, 99).axes.shape, (30, 30))


def test_embeddings_that_are_wanted_are_read_in_the_order_of_their_ids(tmp_path) -> None:
    vectors = np.arange(30_000, dtype=np.float32).reshape(10_000, 3) / 1000
    ids = [f"{number:05d}" for number in range(10_000)]
    order = np.random.default_rng(0).permutation(10_000)
    paths = [str(tmp_path / f"{shard}.parquet") for shard in (0, 1)]
    for part, path in zip(np.array_split(order, [9000]), paths, strict=True):
        write_embeddings(path, [ids[i] for i in part], vectors[part])
    found, read = read_embeddings(paths)
    assert found == ids and np.array_equal(read, vectors.astype(np.float16).astype(np.float32))
    found, some = read_embeddings(paths, ["09000", "00007", "absent", "00123"])
    assert found == ["00007", "00123", "09000"] and np.array_equal(some, read[[7, 123, 9000]])


def test_embeddings_beyond_float16_are_refused(tmp_path) -> None:
    for value in (1e5, np.nan):
        with pytest.raises(InputError, match=r"expected numbers of at most 65504"):
            write_embeddings(tmp_path / "e.parquet", ["a", "b"], np.array([[1.0, 2.0], [value, 1.0]]))
    assert not (tmp_path / "e.parquet").exists()


def test_embeddings_of_two_widths_or_of_another_schema_are_refused(tmp_path) -> None:
    paths = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    for path, width in zip(paths, (2, 4), strict=True):
        write_embeddings(path, ["p", "q"], np.zeros((2, width), dtype=np.float32))
    with pytest.raises(InputError, match=r"embeddings of \[2, 4\] numbers, expected one width"):
        read_embeddings(paths)
    write_table(paths[0], "prompt", [])
    with pytest.raises(InputError, match="expected those of a embedding table"):
        read_embeddings(paths)


def test_matching_rows_are_read_in_their_order(tmp_path) -> None:
    path = tmp_path / "prompts.parquet"
    rows = [kept(f"text {i}") for i in range(9)]
    write_table(path, "prompt", rows)
    wanted = [rows[7]["prompt_id"], rows[2]["prompt_id"], "absent"]
    assert read_matching(path, "prompt", [("prompt_id", "in", wanted)]) == [rows[2], rows[7]]
    assert count_rows(path, "prompt") == 9
    parts = [part.to_pylist() for part in iter_columns(path, "prompt", rows=4)]
    assert [len(part) for part in parts] == [4, 4, 1] and [row for part in parts for row in part] == rows
    assert read_columns(path, "prompt", ["prompt"]).column_names == ["prompt"]
    with pytest.raises(InputError, match="expected those of a sft table"):
        read_matching(path, "sft", [("prompt_id", "in", wanted)])
    with pytest.raises(ValueError, match="expected that of a prompt table"):
        write_columns(path, "prompt", read_columns(path, "prompt", ["prompt"]))


def test_a_damaged_embeddings_file_is_named(tmp_path) -> None:
    (tmp_path / "0.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"0\.parquet: not a readable"):
        read_embeddings([str(tmp_path / "0.parquet")])


# clustering


def embeddings_of(tmp_path: Path, vectors: np.ndarray, shards: int = 2) -> list[str]:
    ids = [content_id("prompt", i) for i in range(len(vectors))]
    paths = []
    for shard in range(shards):
        paths.append(str(tmp_path / f"embeddings{shard}.parquet"))
        write_embeddings(paths[-1], ids[shard::shards], vectors[shard::shards])
    return paths


def cluster(tmp_path: Path, paths: list[str], **changes) -> list[dict]:
    values = {
        "seed": 0,
        "clusters": 5,
        "iterations": 10,
        "diversify": True,
    }
    cluster_prompts.main(paths, tmp_path / "clusters.parquet", **(values | changes))
    return read_table(tmp_path / "clusters.parquet", "cluster")


def blobs(count: int, groups: int, width: int = 8) -> np.ndarray:
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(groups, width))
    noise = generator.normal(scale=0.05, size=(count, width))
    return (centers[np.arange(count) % groups] + noise + 50.0).astype(np.float32)


def test_k_means_looks_at_directions_from_the_mean() -> None:
    generator = np.random.default_rng(0)
    sign = np.where(np.arange(60) % 2, 1.0, -1.0)
    # Along one axis two groups; along the line that a large shared part makes, none. The lengths
    # differ a hundredfold, so plain distances would split the long vectors from the short ones.
    vectors = np.full((60, 8), 50.0) + generator.normal(scale=0.001, size=(60, 8))
    vectors[:, 0] += sign * np.repeat([0.05, 5.0], 30)
    for seed in range(4):
        found, distance = k_means(vectors.astype(np.float32), 2, 20, seed)
        assert len(set(found[::2])) == len(set(found[1::2])) == 1 and found[0] != found[1]
        assert distance.max() < 0.1


def test_k_means_trains_on_every_point_without_a_warning(capfd) -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(3000, 4)).astype(np.float32)
    found, distance = k_means(vectors.copy(), 4, 100, 3)
    data = vectors - vectors.mean(axis=0)
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    centers = np.stack([data[found == c].mean(axis=0) for c in range(4)])
    # At a fixed point of Lloyd's algorithm on ALL points the centroids are the means of their members.
    assert np.abs(((data - centers[found]) ** 2).sum(axis=1) - distance).max() < 0.02
    k_means(vectors[:5], 4, 3, 3)
    captured = capfd.readouterr()
    assert "WARNING" not in captured.out + captured.err


def test_clusters_do_not_depend_on_the_shards_and_repeat(tmp_path) -> None:
    vectors = blobs(60, 5)
    rows = cluster(tmp_path, embeddings_of(tmp_path, vectors, 2))
    wanted = (tmp_path / "clusters.parquet").read_bytes()
    assert cluster(tmp_path, embeddings_of(tmp_path, vectors, 3)[::-1]) == rows
    assert (tmp_path / "clusters.parquet").read_bytes() == wanted
    assert cluster(tmp_path, embeddings_of(tmp_path, vectors)) == rows
    assert [row["prompt_id"] for row in rows] == sorted(row["prompt_id"] for row in rows)
    for number, size in Counter(row["cluster"] for row in rows).items():
        assert sorted(row["rank"] for row in rows if row["cluster"] == number) == list(range(size))


def test_fewer_prompts_than_clusters_are_refused(tmp_path) -> None:
    paths = embeddings_of(tmp_path, blobs(4, 2))
    with pytest.raises(InputError, match=r"prompts\.clusters: found 5, but only 4 prompts.*\n.*per_shard"):
        cluster(tmp_path, paths)
    with pytest.raises(InputError, match=r"only 0 prompts"):
        cluster(tmp_path, embeddings_of(tmp_path, np.empty((0, 8), np.float32)))
    assert not (tmp_path / "clusters.parquet").exists()


def test_without_diversification_groups_are_equal_and_ignore_the_vectors(tmp_path) -> None:
    rows = cluster(tmp_path, embeddings_of(tmp_path, blobs(53, 5)), diversify=False)
    assert sorted(Counter(row["cluster"] for row in rows).values()) == [10, 10, 11, 11, 11]
    assert {row["distance"] for row in rows} == {None}
    other = cluster(tmp_path, embeddings_of(tmp_path, blobs(53, 3) ** 2), diversify=False)
    assert other == rows
    assert cluster(tmp_path, embeddings_of(tmp_path, blobs(53, 5)), diversify=False, seed=1) != rows


# rounds


def deal(
    tmp_path: Path, round_: int, total: int, per_shard: int, rounds: int | None = None, places: int = 5
) -> list[list[str]]:
    """All shards of a round of `total` prompts, as lists of prompt ids."""
    unique = [str(tmp_path / f"unique{part}.parquet") for part in (0, 1)]
    shards = []
    for shard in range(-(-total // per_shard)):
        out, first = tmp_path / "round.parquet", shard * per_shard
        count = min(per_shard, total - first)
        gathered = []
        for block in range(first // places, (first + count - 1) // places + 1):
            gathered.append(str(tmp_path / f"gathered{block}.parquet"))
            where = {"round_": round_, "block": block, "places": places}
            gather_prompts.main(unique, tmp_path / "deal.parquet", gathered[-1], **where)
        round_prompts.main(
            gathered,
            tmp_path / "deal.parquet",
            tmp_path / "clusters.parquet",
            out,
            round_=round_,
            shard=shard,
            prompts_per_shard=per_shard,
            prompts_in_shard=count,
            places=places,
            rounds=rounds or round_,
            prompts_per_round=total,
        )
        shards.append([row["prompt_id"] for row in read_table(out, "round_prompt")])
    return shards


@pytest.fixture
def clustered(tmp_path) -> Path:
    """unique{0,1}.parquet, clusters.parquet and deal.parquet of 60 prompts in 12 groups of five."""
    rows = [kept(f"prompt {i}") for i in range(60)]
    rows.sort(key=lambda row: row["prompt_id"])
    for part in (0, 1):
        write_table(tmp_path / f"unique{part}.parquet", "prompt", rows[part::2])
    path = str(tmp_path / "embeddings.parquet")
    write_embeddings(path, [row["prompt_id"] for row in rows], blobs(60, 5))
    cluster(tmp_path, [path], clusters=12, diversify=False)
    deal_prompts.main(
        tmp_path / "clusters.parquet", tmp_path / "deal.parquet", seed=0, rounds=2, prompts_per_round=1
    )
    return tmp_path


def test_raising_prompts_per_round_only_adds_shards(clustered) -> None:
    assert deal(clustered, 2, 12, 4)[:2] == deal(clustered, 2, 8, 4)
    flat = [key for shard in deal(clustered, 3, 9, 2) for key in shard]
    assert flat == [key for shard in deal(clustered, 3, 9, 4) for key in shard]


def test_equal_groups_are_used_in_turn(clustered) -> None:
    """Prompts at random (diversify: false): 12 groups of five last for ten rounds of six."""
    places = {
        row["prompt_id"]: row["cluster"] for row in read_table(clustered / "clusters.parquet", "cluster")
    }
    rounds = [deal(clustered, round_, 6, 6)[0] for round_ in range(2, 12)]
    assert sorted(key for keys in rounds for key in keys) == sorted(places)
    assert all(len({places[key] for key in keys}) == 6 for keys in rounds)
    assert {places[key] for keys in rounds[:3] for key in keys} == set(range(12))


def test_rows_of_a_round_carry_their_text_and_cluster(clustered) -> None:
    deal(clustered, 2, 12, 12)
    places = {
        row["prompt_id"]: row["cluster"] for row in read_table(clustered / "clusters.parquet", "cluster")
    }
    for row in read_table(clustered / "round.parquet", "round_prompt"):
        assert row["prompt_id"] == content_id("prompt", row["prompt"])
        assert row["cluster"] == places[row["prompt_id"]]


@pytest.mark.parametrize("places", [1, 5, 7, 100])
def test_a_shard_has_the_bytes_that_a_search_through_all_prompts_gives(clustered, places) -> None:
    rows = [row for part in (0, 1) for row in read_table(clustered / f"unique{part}.parquet", "prompt")]
    texts = {row["prompt_id"]: row for row in rows}
    dealt = read_matching(clustered / "deal.parquet", "deal", [("round", "==", 3)])
    for total, per_shard in ((12, 12), (11, 4)):
        deal(clustered, 3, total, per_shard, places=places)
        first = (total - 1) // per_shard * per_shard  # of the last shard, which is what lies there
        wanted = [
            texts[row["prompt_id"]] | {"cluster": row["cluster"]}
            for row in dealt
            if first <= row["place"] < total
        ]
        write_table(clustered / "wanted.parquet", "round_prompt", wanted)
        found = (clustered / "round.parquet").read_bytes()
        assert wanted and found == (clustered / "wanted.parquet").read_bytes()


def test_a_shard_reads_its_blocks_and_nothing_of_the_other_prompts(clustered) -> None:
    """And blocks do not hang on prompts_per_round, so that a larger number leaves them alone."""
    wanted = deal(clustered, 2, 8, 4)
    blocks = {block: (clustered / f"gathered{block}.parquet").read_bytes() for block in (0, 1)}
    assert deal(clustered, 2, 12, 4)[:2] == wanted
    assert {block: (clustered / f"gathered{block}.parquet").read_bytes() for block in (0, 1)} == blocks
    for part in (0, 1):
        (clustered / f"unique{part}.parquet").unlink()
    facts = {"round_": 2, "shard": 1, "prompts_per_shard": 4, "prompts_in_shard": 4, "places": 5}
    inputs = [str(clustered / f"gathered{block}.parquet") for block in (0, 1)]
    tables = [clustered / name for name in ("deal.parquet", "clusters.parquet", "round.parquet")]
    round_prompts.main(inputs, *tables, rounds=2, prompts_per_round=8, **facts)
    assert [row["prompt_id"] for row in read_table(tables[-1], "round_prompt")] == wanted[1]


def test_a_dealt_prompt_that_is_nowhere_is_named(clustered) -> None:
    rows = read_table(clustered / "unique0.parquet", "prompt")
    write_table(clustered / "unique0.parquet", "prompt", rows[1:])
    with pytest.raises(
        InputError, match=rf"deal\.parquet: the prompt {rows[0]['prompt_id']} of round \d+ is in no"
    ):
        for round_ in range(2, 12):
            deal(clustered, round_, 6, 6)


def test_a_run_that_was_raised_too_far_is_refused_before_its_first_new_prompt(clustered) -> None:
    with pytest.raises(
        InputError, match=r"found 6 with rounds: 12, which is 66 prompts.*\n.*rounds: 11 with"
    ):
        deal(clustered, 2, 6, 6, rounds=12)
    with pytest.raises(InputError, match=r"the 60 prompts .* in 12 clusters"):
        deal(clustered, 2, 13, 13)
    assert not (clustered / "round.parquet").exists()


def test_a_damaged_deal_is_named(clustered) -> None:
    (clustered / "deal.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"deal\.parquet: not a readable"):
        deal(clustered, 2, 4, 4)


def test_prompts_carry_the_checks_that_they_state_and_the_table_counts_them(tmp_path) -> None:
    stated, plain = "Describe a quiet morning at the harbor in under ten words.", OTHER
    run_filters(tmp_path, [[raw(stated), raw(plain)], [raw("Give two bullets on", finish_reason="length")]])
    checks = {row["prompt"]: row["checks"] for row in read_table(tmp_path / "unique0.parquet", "prompt")}
    assert checks == {stated: '[{"kind": "words", "max": 9}]', plain: "[]"}
    rows = {row.pop("kind"): row for row in read_csv_table(tmp_path / "quality.csv", "prompt_quality")}
    third = pytest.approx(1 / 3, rel=1e-3)
    assert rows["any"] == {
        "raw": 2,
        "raw_share": pytest.approx(2 / 3, rel=1e-3),
        "kept": 1,
        "kept_share": 0.5,
    }
    assert rows["words"] == {"raw": 1, "raw_share": third, "kept": 1, "kept_share": 0.5}
    assert rows["bullets"] == {"raw": 1, "raw_share": third, "kept": 0, "kept_share": 0.0}


def test_all_examples_of_a_context_are_of_one_group(tmp_path, monkeypatch) -> None:
    seeds = [*SEEDS, *(f"Describe {word} in under ten words." for word in ("tea", "rain", "ice", "tin"))]
    kinds = {content_id("prompt", text): text.startswith("Say") for text in seeds}
    rows, _ = synthesize(tmp_path, monkeypatch, seeds, count=20, group="kind")
    contexts = [{kinds[key] for key in row["examples"]} for row in rows]
    assert all(len(found) == 1 for found in contexts)
    assert sum(found == {True} for found in contexts) == 10


@pytest.mark.parametrize(
    ("bad", "name", "keys"),
    [
        ("Describe the tools that a gardener", "no_end", {"require_end": True}),
        ("Describe the tools that a gardener needs,", "no_end", {"require_end": True}),
        ("Describe the tools that a gardener needs and the.", "no_end", {"require_end": True}),
        ("Describe what is wrong here:", "no_end", {"require_end": True}),
        ("Salt, oil, bread, rice, tea.", "other_language", {"min_function_words": 0.1}),
        ("Jaka jest dzisiaj pogoda nad waszym jeziorem?", "other_language", {"min_function_words": 0.1}),
        ("Tell the IDIOT what you think of this.", "blocked_word", {"blocked": ["idiot", "shut up"]}),
    ],
)
def test_filters_of_a_text_remove_their_kind(tmp_path, bad, name, keys) -> None:
    seeds = [f"Explain to me what the {word} does in the house." for word in ("cat", "dog", "cow", "hen")]
    left, removed = run_filters(tmp_path, [[raw(GOOD), raw(OTHER), raw(bad)]], sft=seeds, **keys)
    assert left == {GOOD, OTHER}
    assert removed == {key: int(key == name) for key in removed}


def test_a_filter_that_the_seeds_do_not_pass_is_not_used(tmp_path, capsys) -> None:
    seeds = ["Erkl\u00e4re mir den Regen", "\u4ec0\u4e48\u662f\u96e8", "What is the rain"]
    keys = {"require_end": True, "min_function_words": 0.1, "blocked": ["rain"]}
    left, _ = run_filters(tmp_path, [[raw("Nenne drei rote Dinge")]], sft=seeds, **keys)
    assert left == {"Nenne drei rote Dinge"}
    assert "no_end: not used, it would drop 3 of 3 seed prompts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ('End with "Good luck!"', True),
        ("Is it (really)?", True),
        ("Use the word 'tea'.", True),
        ('Begin with "Only if".', True),
        ("\u4ec0\u4e48\u662f\u96e8\uff1f", True),
        ("What is", False),
        ("Give me a list of the.", False),
        ("!", True),
        ("", False),
    ],
)
def test_how_a_request_ends(text, ends) -> None:
    assert ends_like_a_request(text) == ends


def test_the_band_of_perplexity_is_cut_at_quantiles(tmp_path) -> None:
    logprobs = [None, *(-i / 10 for i in range(11))]
    assert in_band(logprobs, (0, 1)) == [True] * 12
    assert in_band(logprobs, (0.1, 0.9)) == [False, False, *[True] * 9, False]
    rows = [raw(GOOD) | {"logprob": -3.0}, raw(OTHER) | {"logprob": -1.0}]
    left, removed = run_filters(tmp_path, [rows], perplexity_band=[0, 0.9])
    assert left == {OTHER} and removed["perplexity"] == 1
    with pytest.raises(InputError, match=r"prompts\.perplexity_band: found \[1, 0\]"):
        run_filters(tmp_path, [rows], perplexity_band=[1, 0])


def test_a_prompt_without_a_constraint_can_be_dropped(tmp_path) -> None:
    listed = "Name the parts of a violin in exactly three bullet points."
    rows = [raw("Describe a quiet morning at the harbour, please."), raw(listed)]
    assert run_filters(tmp_path, [rows])[1]["no_constraint"] == 0
    left, removed = run_filters(tmp_path, [rows], require_constraint=True)
    assert left == {listed} and removed["no_constraint"] == 1


def test_a_raw_prompt_tells_how_probable_it_is(tmp_path, monkeypatch) -> None:
    def answer(index, request):
        assert request.logprob
        return Completion("one", "stop", 3, -0.123456 if index else None)

    rows, _ = synthesize(tmp_path, monkeypatch, SEEDS, answer, count=2)
    assert [row["logprob"] for row in rows] == [None, -0.1235]
