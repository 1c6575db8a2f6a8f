"""Best-of-N and preference pairs (recipe, traps 3, 4, 10, 11, 12)."""

import polars as pl
import pytest
import select_by_rows
import select_responses
from hypothesis import given, settings
from hypothesis import strategies as st

from alma.duplicates import folded
from alma.selection import (
    candidate_keys,
    distinct_candidates,
    is_echo,
    is_eligible,
    passed_shares,
    select,
    why_out,
)
from alma.tables import read_table, write_table

PROMPT = {"prompt_id": "p", "prompt": "Name a color.", "checks": "[]"}


def response(text, score, sample=0, finish="stop", checkpoint="sft-0"):
    return {
        "response_id": f"{checkpoint}-{sample}",
        "prompt_id": "p",
        "checkpoint": checkpoint,
        "sample": sample,
        "response": text,
        "finish_reason": finish,
        "score": score,
    }


TYPES = {"sample": pl.Int32, "score": pl.Float64, "response": pl.String, "finish_reason": pl.String}


def candidates_of(rows, prompt=PROMPT):
    """The distinct candidates among responses to one prompt, as a frame."""
    frame = pl.DataFrame(rows, schema_overrides=TYPES).with_columns(
        prompt=pl.lit(prompt["prompt"]), checks=pl.lit(prompt["checks"])
    )
    return distinct_candidates(frame.with_columns(candidate_keys(frame), passed_shares(frame)))


def choose(rows, selection="best", tolerance=1e-6, seed=(0, 2), prompt=PROMPT):
    """What becomes of one prompt, texts included; None where no response can be chosen."""
    if not rows:
        return None
    candidates = candidates_of(rows, prompt)
    found = select(candidates, seed=list(seed), selection=selection, tie_tolerance=tolerance).rows(named=True)
    texts = {row["response_id"]: row["response"] for row in rows} | {None: None}
    verdicts = ("chosen", "rejected")
    return found[0] | {name: texts[found[0][f"{name}_id"]] for name in verdicts} if found else None


def test_highest_score_is_chosen_and_rejected_is_another():
    row = choose([response("Red.", 3.0, 0), response("Blue.", 8.0, 1), response("Sky.", 5.0, 2)])
    assert (row["chosen"], row["chosen_score"]) == ("Blue.", 8.0)
    assert row["rejected"] in {"Red.", "Sky."} and row["rejected_score"] < 8.0
    assert row["candidates"] == 3


@pytest.mark.parametrize(
    "bad",
    [
        response("Blue and then", 10.0, 9, finish="length"),
        response("", 10.0, 9),
        response(" .", 10.0, 9),
        response("name a  COLOR.", 10.0, 9),
        response("No score.", None, 9),
    ],
    ids=["cut off", "empty", "no letter", "echo of the prompt", "no score"],
)
def test_never_chosen_and_never_rejected(bad):
    assert not is_eligible(PROMPT["prompt"], bad)
    row = choose([response("Red.", 1.0, 0), response("Blue.", 2.0, 1), bad])
    assert row["chosen"] == "Blue." and row["rejected"] == "Red."
    assert choose([bad]) is None


LONG = "List three colors of the rainbow."


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Hi", " hi "),
        (LONG, "list three colors of the RAINBOW"),
        (LONG, f"{LONG}\n\nRed, green, blue."),
        (LONG, f'"{LONG}" Red.'),
        (LONG, "List three colors of the rainbow: red, green, blue."),
        (LONG, "List three colors of"),
        ("List three\n\ncolors of the rainbow", "List  three colors of the rainbow. Red"),
        ("法国的首都是哪里?", "法国的首都是哪里? 巴黎。"),
        ("Ｗhat is two plus two?", "What is two plus two? Four."),
    ],
)
def test_a_response_that_says_the_prompt_again_never_wins(prompt, text):
    assert is_echo(prompt, text)
    assert why_out(prompt, response(text, 10.0)) == "echo of the prompt"
    row = choose([response(text, 10.0), response("Violet.", 1.0, 1)], prompt=PROMPT | {"prompt": prompt})
    assert row["chosen"] == "Violet." and row["rejected"] is None


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Hi", "Hi there!"),
        ("Good morning!", "Good morning! How can I help?"),
        ("Red or blue?", "Red"),
        ("True or false: the sea is dry.", "True"),
        ("안녕하세요", "안녕하세요! 무엇을 도와드릴까요?"),
        (LONG, "Three colors of the rainbow are red, green and blue."),
        (LONG, "Sure! List three colors of the rainbow."),
        ("Write one line about the sea", "Write one line about the seaside? Gladly."),
        ("Say what the cat did", "Say what the cats did"),
        ("What is 3 - 1?", "What is 3 + 1?"),
        ("?", "."),
    ],
)
def test_an_answer_that_begins_as_the_prompt_does_may_win(prompt, text):
    assert not is_echo(prompt, text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_an_echo_is_one_in_any_case_and_spacing(prompt, rest):
    assert is_echo(prompt, prompt)
    assert is_echo(f"one two three four {prompt}", f"ONE  two\nthree four {prompt}\n\n{rest}")


def test_null_score_is_not_the_lowest_score():
    row = choose([response("Red.", 4.0, 0), response("Blue.", 6.0, 1), response("Sky.", None, 2)])
    assert row["rejected"] == "Red."


def test_repeats_keep_their_multiplicity():
    rows = [response("Red.", 4.0, s) for s in range(3)] + [
        response("RED. ", 4.0, 3),
        response("Blue.", 5.0, 4),
    ]
    found = dict(candidates_of(rows, PROMPT | {"prompt": "?"}).select("response", "multiplicity").iter_rows())
    assert found == {"Red.": 4, "Blue.": 1}


def test_rejected_follows_multiplicity():
    rows = [
        response("Best.", 9.0, 0),
        *[response("Often.", 2.0, s) for s in range(1, 10)],
        response("Once.", 2.0, 10),
    ]
    picks = [choose(rows, seed=(s, 2))["rejected"] for s in range(300)]
    assert 0.82 < picks.count("Often.") / len(picks) < 0.97  # 9 of 10 expected


def test_no_pair_where_all_tie_or_only_one_is_distinct():
    tie = choose([response("Red.", 5.0, 0), response("Blue.", 5.0, 1)])
    assert tie["chosen"] in {"Red.", "Blue."} and tie["rejected"] is None and tie["rejected_id"] is None
    one = choose([response("Red.", 5.0, 0), response("red.", 4.0, 1)])
    assert one["candidates"] == 1 and one["rejected"] is None


def test_ties_do_not_favor_a_checkpoint():
    wins = 0
    for seed in range(400):
        rows = [
            response("A.", 7.0, 0, checkpoint="sft-0"),
            response("B.", 7.0, 1, checkpoint="sft-1"),
        ]
        wins += choose(rows, seed=[seed])["chosen_id"] == "sft-0-0"
    assert 140 < wins < 260


def test_scores_within_the_tolerance_tie_with_the_highest_alone():
    rows = [response("Red.", 7.0, 0), response("Blue.", 7.0 + 8e-7, 1), response("Sky.", 7.0 + 1.6e-6, 2)]
    picks = {choose(rows, seed=(s, 2))["chosen"] for s in range(40)}
    assert picks == {"Blue.", "Sky."}


def test_random_control_ignores_the_score():
    rows = [response("Good.", 9.0, 0), response("Bad.", 1.0, 1)]
    picks = [choose(rows, selection="random", seed=(s, 2))["chosen"] for s in range(200)]
    assert 60 < picks.count("Bad.") < 140


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "d", ""]), st.none() | st.integers(0, 10), st.booleans()),
        max_size=12,
    ),
    st.randoms(),
)
def test_selection_holds_for_any_candidates_in_any_order(drawn, shuffler):
    rows = [
        response(text, None if score is None else float(score), i, "stop" if done else "length")
        for i, (text, score, done) in enumerate(drawn)
    ]
    row = choose(rows)
    eligible = [r for r in rows if is_eligible(PROMPT["prompt"], r)]
    assert (row is None) == (not eligible)
    shuffled = rows[:]
    shuffler.shuffle(shuffled)
    assert choose(shuffled) == row
    if row:
        assert row["chosen_score"] == candidates_of(rows)["score"].max()
        if row["rejected"] is not None:
            assert row["rejected"] != row["chosen"] and row["rejected_score"] < row["chosen_score"]


CHECKED = PROMPT | {"checks": '[{"kind": "sentences", "count": 1}, {"kind": "words", "max": 3}]'}


def choose_by_checks(rows, prompt=CHECKED, seed=0):
    return choose(rows, "checks", seed=(seed, 2), prompt=prompt)


def test_the_checks_choose_and_the_judge_has_no_part_in_it():
    long = "I like red. And blue. And green a lot."
    rows = [response(long, 9.0, 0), response("Blue.", 1.0, 1), response("It is red, I am sure.", 8.0, 2)]
    row = choose_by_checks(rows)
    assert (row["chosen"], row["chosen_score"]) == ("Blue.", 1.0)
    assert {choose_by_checks(rows, seed=s)["rejected"] for s in range(50)} == {
        rows[0]["response"],
        rows[2]["response"],
    }
    ties = [response("Red.", 9.0, 0), response("Blue.", 1.0, 1)]
    picks = [choose_by_checks(ties, seed=s) for s in range(200)]
    assert 60 < sum(pick["chosen"] == "Blue." for pick in picks) < 140
    assert all(pick["rejected"] is None for pick in picks)


def test_without_checks_their_choice_is_random_and_makes_no_pair():
    rows = [response("Good.", 9.0, 0), response("Bad.", 1.0, 1)]
    picks = [choose_by_checks(rows, PROMPT, seed=s) for s in range(200)]
    assert 60 < sum(pick["chosen"] == "Bad." for pick in picks) < 140
    assert all(pick["rejected"] is None for pick in picks)


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["stop", "length"]), st.booleans())
def test_a_key_is_null_where_there_is_a_reason(prompt, text, finish, scored):
    same_as_in_python(prompt, [text], finish, scored)


ASCII = st.text(st.characters(max_codepoint=127), max_size=12)


@settings(deadline=None, max_examples=200)
@given(ASCII, st.lists(ASCII | st.text(max_size=6), max_size=5), st.sampled_from(["", "one two three four "]))
def test_ascii_texts_are_compared_as_in_python(prompt, texts, start):
    same_as_in_python(start + prompt, [start + text for text in texts] + texts, "stop", True)


def same_as_in_python(prompt, texts, finish, scored):
    """A null key for each reason of `why_out`, and one key for each folded text."""
    rows = [response(text, 5.0 if scored else None, finish=finish) | {"prompt": prompt} for text in texts]
    keys = candidate_keys(pl.DataFrame(rows, schema_overrides=TYPES)).to_list() if rows else []
    reasons = [why_out(prompt, row) for row in rows]
    assert [key is None for key in keys] == [reason is not None for reason in reasons]
    kept = [(key, folded(text)) for key, text in zip(keys, texts, strict=True) if key is not None]
    assert len(set(kept)) == len({key for key, _ in kept}) == len({text for _, text in kept})


# A shard against the same selection row by row

PROMPTS = ("Name a color.", "List three colors of the rainbow.", "Hi", "說一種顏色")
STATED = ("[]", CHECKED["checks"], '[{"kind": "contains", "words": ["red"]}]')
TEXTS = (
    *("Red.", "RED. ", "Ｒed.", "Blue.", "Sky", "I like red. And blue.", "It is red, I am sure.", "紅色", ""),
    *("name a color", "Hi", "List three colors of the rainbow. Red, I think.", "!?", "ß", "SS"),
)
SCORES = (None, 2.5, 5.0, 5.0 + 5e-7, 5.0 + 9e-7, 5.0 + 2e-6)
ROWS = st.tuples(
    st.integers(0, len(PROMPTS)),  # the last is a prompt of another shard
    st.sampled_from(TEXTS),
    st.sampled_from(SCORES),
    st.sampled_from(["stop", "stop", "stop", "length"]),
    st.integers(0, 2),  # the file that it is in
)


def write_shard(folder, drawn, checks):
    """Prompts, responses and scores of a shard; returns the arguments of `select_responses.main`."""
    keys = {"source": "seed", "examples": [], "cluster": 0}
    asked = [
        keys | {"prompt_id": f"p{i}", "prompt": text, "checks": checks[i]} for i, text in enumerate(PROMPTS)
    ]
    write_table(folder / "prompts", "round_prompt", asked)
    files = [[], [], []]
    for number, (prompt, text, score, finish, file) in enumerate(drawn):
        row = response(text, score, number % 5, finish) | {
            "response_id": f"r{number}",
            "seed": 0,
            "tokens": 1,
        }
        files[file].append(row | {"prompt_id": f"p{prompt}"})
    for name, rows in enumerate(files):
        bare = [{key: value for key, value in row.items() if key != "score"} for row in rows]
        write_table(folder / f"responses-{name}", "response", bare)
        judged = [{key: row[key] for key in ("response_id", "prompt_id", "score")} for row in rows][::-1]
        write_table(
            folder / f"scores-{name}", "score", [row | {"mass": 1.0, "p": [0.0] * 11} for row in judged]
        )
    paths = [[folder / f"{kind}-{name}" for name in range(3)] for kind in ("responses", "scores")]
    return asked, files, (folder / "prompts", *paths, folder / "selected")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(ROWS, max_size=60),
    st.lists(st.sampled_from(STATED), min_size=len(PROMPTS), max_size=len(PROMPTS)),
    st.sampled_from(["best", "random", "checks"]),
    st.integers(0, 3),
)
def test_a_shard_is_selected_as_row_by_row(tmp_path_factory, drawn, checks, selection, seed):
    asked, files, arguments = write_shard(tmp_path_factory.mktemp("shard"), drawn, checks)
    options = {"seed": [seed, 2], "selection": selection, "tie_tolerance": 1e-6}
    select_responses.main(*arguments, **options)
    rows = [row for file in files for row in file]
    expected = [
        select_by_rows.select(prompt, [r for r in rows if r["prompt_id"] == prompt["prompt_id"]], **options)
        for prompt in asked
    ]
    assert read_table(arguments[-1], "selected") == [row for row in expected if row]


def test_a_response_without_a_row_of_scores_is_an_error(tmp_path):
    _, _, arguments = write_shard(tmp_path, [(0, "Red.", 1.0, "stop", 0)], STATED[:1] * len(PROMPTS))
    write_table(arguments[2][0], "score", [])
    with pytest.raises(KeyError, match="responses-0: 1 responses, with 0 rows in the score tables"):
        select_responses.main(*arguments, seed=[0], selection="best", tie_tolerance=1e-6)
