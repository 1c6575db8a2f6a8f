"""Best-of-N and preference pairs (recipe, traps 3, 4, 10, 11, 12)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alma.selection import best_of, distinct_candidates, is_echo, is_eligible, select, why_out

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


def choose(rows, selection="best", tolerance=1e-6, seed=(0, 2)):
    return select(PROMPT, rows, seed=list(seed), selection=selection, tie_tolerance=tolerance)


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
    row = select(
        {"prompt_id": "p", "prompt": prompt},
        [response(text, 10.0), response("Violet.", 1.0, 1)],
        seed=[0],
        selection="best",
        tie_tolerance=1e-6,
    )
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
    found = {row["response"]: row["multiplicity"] for row in distinct_candidates("?", rows)}
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
        wins += best_of(rows, 1e-6, [seed])["checkpoint"] == "sft-0"
    assert 140 < wins < 260


def test_random_control_ignores_the_score():
    rows = [response("Good.", 9.0, 0), response("Bad.", 1.0, 1)]
    picks = [choose(rows, selection="random", seed=(s, 2))["chosen"] for s in range(200)]
    assert 60 < picks.count("Bad.") < 140


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
        first_of_text = distinct_candidates(PROMPT["prompt"], rows)
        assert row["chosen_score"] == max(r["score"] for r in first_of_text)
        if row["rejected"] is not None:
            assert row["rejected"] != row["chosen"] and row["rejected_score"] < row["chosen_score"]


CHECKED = PROMPT | {"checks": '[{"kind": "sentences", "count": 1}, {"kind": "words", "max": 3}]'}


def choose_by_checks(rows, prompt=CHECKED, seed=0):
    return select(prompt, rows, seed=[seed, 2], selection="checks", tie_tolerance=1e-6)


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
