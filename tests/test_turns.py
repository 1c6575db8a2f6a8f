"""Evaluation prompts of several turns: asked turn by turn, judged as conversations."""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from fake_endpoint import KEY, fake_endpoint
from fast_run import FastRun, merged
from stand_ins.tokenizer import Characters
from test_outside_judges import SETTINGS

from alma.asking import TurnLengths, after_examples, ask_in_turns
from alma.errors import InputError
from alma.fitting import EvaluationLengths
from alma.ids import content_id, request_seed
from alma.outside_judges import FIRST, SCORE, SECOND
from alma.seed_formats import Row
from alma.seed_rows import asked_fault, prompt_key, take_asked
from alma.tables import assistant, read_table, user, write_table
from alma.turns import answered, opening, parted, read_responses, read_turns, transcript, write_responses

judge_with_api, judge_with_reward, sample_evaluation, score_evaluation = (
    importlib.import_module(name)
    for name in ("judge_with_api", "judge_with_reward", "sample_evaluation", "score_evaluation")
)

SYSTEM = {"role": "system", "content": "Be brief."}
ALONE = user("Name a river.")
TWO = [*user("Name a river."), *user("How long is it?")]
GIVEN = [SYSTEM, *user("Hi"), *assistant("Hello!"), *user("Name a river.")]
MIXED = [*user("a"), *assistant("b"), *user("c"), *user("d"), *user("e")]


# what a conversation is


def test_a_conversation_is_cut_where_the_model_answers():
    assert opening(ALONE) == (ALONE, []) and opening(GIVEN) == (GIVEN, [])
    assert opening(TWO) == (TWO[:1], TWO[1:])
    assert opening(MIXED) == (MIXED[:3], MIXED[3:])
    filled, own = answered(MIXED, "x")
    assert own == 2
    assert filled == [*MIXED[:3], *assistant("x"), *user("d"), *assistant("x"), *user("e")]
    assert answered(GIVEN) == (GIVEN, 0)


def test_a_transcript_names_who_speaks_and_one_message_is_itself():
    assert transcript(ALONE) == "Name a river."
    assert transcript(GIVEN) == "System: Be brief.\n\nUser: Hi\n\nAssistant: Hello!\n\nUser: Name a river."


def test_what_two_conversations_share():
    mine, theirs = answered(TWO, "Loire")[0], answered(TWO, "Seine")[0]
    assert parted(mine, theirs) == (TWO[:1], mine[1:], theirs[1:])
    assert parted(mine, mine) == (mine, [], [])
    assert parted([*mine, *assistant("x")], [*mine, *assistant("y")]) == (
        mine,
        assistant("x"),
        assistant("y"),
    )


@pytest.mark.parametrize(
    ("roles", "fine"),
    [
        *((roles, True) for roles in ("u", "uu", "suu", "uau", "uauu")),
        *((roles, False) for roles in ("ua", "au", "uaau", "s", "usu", "ssu")),
    ],
)
def test_which_roles_may_follow_each_other(roles, fine):
    names = {"u": "user", "a": "assistant", "s": "system"}
    assert (asked_fault([{"role": names[role], "content": "x"} for role in roles]) is None) == fine


def test_messages_may_stand_in_a_cell_and_a_prompt_comes_first():
    problems: list[str] = []
    cell = Row("a.csv: row 1", {"messages": json.dumps(TWO)}, True)
    assert take_asked(cell, problems) == TWO and not problems
    assert take_asked(Row("a.jsonl: line 1", {"messages": TWO, "prompt": "Hi"}), problems) == user("Hi")
    assert take_asked(Row("a.jsonl: line 2", {"messages": [*TWO, *assistant("x")]}), problems) is None
    assert take_asked(Row("a.jsonl: line 3", {}), problems) is None
    assert "line 2, messages: found" in problems[0] and "line 3, prompt: found nothing" in problems[1]


def test_all_first_questions_are_asked_before_the_second_ones():
    batches = []

    def ask(places, conversations, turn):
        batches.append((turn, places, [len(messages) for messages in conversations]))
        return [SimpleNamespace(text=f" {place}.{turn}\n") for place in places]

    found = ask_in_turns([ALONE, MIXED, TWO], ask)
    assert batches == [(0, [0, 1, 2], [1, 3, 1]), (1, [1, 2], [5, 3]), (2, [1], [7])]
    assert [completion.text for _, completion in found] == [" 0.0\n", " 1.2\n", " 2.1\n"]
    assert found[0][0] == ALONE
    assert found[1][0] == [
        *MIXED[:3], *assistant("1.0"), *user("d"), *assistant("1.1"), *user("e")
    ]  # fmt: skip
    assert found[2][0] == [*user("Name a river."), *assistant("2.0"), *user("How long is it?")]


def test_a_system_message_stands_before_the_examples():
    pair = {"prompt": user("p"), "completion": assistant("c")}
    assert after_examples(GIVEN, [pair]) == [SYSTEM, *user("p"), *assistant("c"), *GIVEN[1:]]
    assert after_examples(ALONE, [pair]) == [*user("p"), *assistant("c"), *ALONE]


# answering


class Talker:
    """An engine that answers with as many characters as it may, and keeps what it was asked."""

    def __init__(self, max_model_len: int) -> None:
        self.tokenizer, self.max_model_len = Characters(), max_model_len
        self.asked: list[Any] = []

    def generate(self, requests, what):
        for request in requests:
            assert 0 < len(request.token_ids) + request.max_tokens <= self.max_model_len
        self.asked += requests
        return [
            SimpleNamespace(text="x" * r.max_tokens, finish_reason="length", tokens=r.max_tokens)
            for r in requests
        ]


def row_of(messages, **more):
    row = {"benchmark": "b", "prompt_id": content_id("prompt", prompt_key(messages)), "category": None}
    return row | {"prompt": transcript(messages), "reference": None, "checks": "[]"} | more


def write_asked(folder, *prompts):
    """seeds/ of some prompts; returns the rows of the eval table."""
    rows = sorted((row_of(messages) for messages in prompts), key=lambda row: row["prompt_id"])
    write_table(folder / "eval", "eval", [*rows, row_of(user("of another benchmark"), benchmark="a")])
    several = {row_of(m)["prompt_id"]: m for m in prompts if len(m) > 1}
    turns = [{"prompt_id": key, "messages": several[key]} for key in sorted(several)]
    write_table(folder / "turns", "turns", turns)
    pair = {"prompt_id": "p", "prompt": user("Say."), "completion": assistant("Said."), "category": None}
    write_table(folder / "sft", "sft", [pair])
    return rows


def answers(folder, monkeypatch, limit=4000, **changes):
    """Run sample_evaluation; returns its rows by prompt and the engine."""
    engine = Talker(limit)
    monkeypatch.setattr("alma.engine.open_engine", lambda *_: engine)
    values = {"seed": 3, "engine": {}, "checkpoint": "base", "benchmark_name": "b", "shots": 0}
    values |= {"temperature": 0.0, "max_tokens": 5} | changes
    paths = [folder / name for name in ("sft", "eval", "turns", "responses")]
    sample_evaluation.main("model", *paths, **values)
    return {row["prompt_id"]: row for row in read_responses(folder / "responses")}, engine


def test_the_second_turn_sees_the_model_s_own_first_answer(tmp_path, monkeypatch):
    write_asked(tmp_path, ALONE, TWO, GIVEN)
    found, engine = answers(tmp_path, monkeypatch)
    alone, two, given = (found[row_of(messages)["prompt_id"]] for messages in (ALONE, TWO, GIVEN))
    assert len(found) == 3 and len(engine.asked) == 4
    assert alone["messages"] is None and given["messages"] == GIVEN
    assert two["messages"] == answered(TWO, "xxxxx")[0] and two["response"] == "xxxxx"
    last = "".join(map(chr, engine.asked[-1].token_ids))
    assert last == "user: Name a river.\nassistant: xxxxx\nuser: How long is it?\n"
    firsts = {request.seed for request in engine.asked[:3]}
    assert firsts == {request_seed(3, "evaluation", "base", row["prompt_id"], 0) for row in found.values()}
    assert two["seed"] == engine.asked[-1].seed not in firsts


def test_prompts_of_one_message_leave_their_table_as_it_was(tmp_path, monkeypatch):
    write_asked(tmp_path, ALONE)
    assert read_turns(tmp_path / "turns") == {}
    answers(tmp_path, monkeypatch)
    rows = read_table(tmp_path / "responses", "evaluation_response")
    write_table(tmp_path / "before", "evaluation_response", rows)
    assert (tmp_path / "responses").read_bytes() == (tmp_path / "before").read_bytes()
    write_responses(tmp_path / "again", [row | {"messages": None} for row in rows])
    assert (tmp_path / "again").read_bytes() == (tmp_path / "before").read_bytes()


def test_a_damaged_table_of_responses_is_named(tmp_path):
    (tmp_path / "responses").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="responses: not a readable Parquet file"):
        read_responses(tmp_path / "responses")


@pytest.mark.parametrize("messages", [TWO, MIXED, GIVEN])
def test_a_conversation_counts_with_the_longest_answers_between_its_turns(tmp_path, monkeypatch, messages):
    """At its length all turns have room for a whole answer; with one token less it is left out."""
    (row,) = write_asked(tmp_path, messages)
    lengths = TurnLengths(Characters(), 40, read_turns(tmp_path / "turns"))
    limit = lengths.of(row)
    found, engine = answers(tmp_path, monkeypatch, limit=limit, max_tokens=40)
    assert all(request.max_tokens == 40 for request in engine.asked)
    assert len(engine.asked) == answered(messages)[1] + 1
    longest = max(len(request.token_ids) + 40 for request in engine.asked)
    before = found[row["prompt_id"]]["messages"]
    judged = EvaluationLengths(Characters(), 40).of(transcript(before))
    assert limit == max(longest, judged)
    assert answers(tmp_path, monkeypatch, limit=limit - 1, max_tokens=40)[0] == {}
    pair = read_table(tmp_path / "sft", "sft")
    assert lengths.of(row, pair) > limit or judged > longest


def test_a_prompt_of_one_message_is_as_long_as_before(tmp_path):
    (row,) = write_asked(tmp_path, ALONE)
    found = TurnLengths(Characters(), 9, {}).of(row, [])
    assert found == EvaluationLengths(Characters(), 9).of(row["prompt"], [])


def test_an_answer_that_leaves_no_room_ends_the_conversation(tmp_path, monkeypatch):
    """Read again, an answer may have more tokens than when it was sampled."""
    write_asked(tmp_path, TWO, ALONE)
    monkeypatch.setattr(TurnLengths, "fitting", lambda self, rows, limit: rows)
    found, engine = answers(tmp_path, monkeypatch, limit=60, max_tokens=30)
    two = found[row_of(TWO)["prompt_id"]]
    assert (two["response"], two["finish_reason"], two["tokens"]) == ("", "length", 0)
    assert len(engine.asked) == 2 and found[row_of(ALONE)["prompt_id"]]["response"] == "x" * 30


# judging


def write_answers(path, checkpoint, answers_of):
    """Responses of a checkpoint: {asked messages as a tuple index: (first answers, last answer)}."""
    rows = []
    for messages, between, last in answers_of:
        row = {"prompt_id": row_of(messages)["prompt_id"], "response_id": f"{checkpoint}-{len(rows)}"}
        row |= {"checkpoint": checkpoint, "sample": 0, "seed": 0, "response": last, "finish_reason": "stop"}
        row |= {"tokens": 1, "benchmark": "b", "passed": []}
        rows.append(row | {"messages": answered(messages, between)[0] if len(messages) > 1 else None})
    write_responses(path, rows)


def test_the_run_s_judge_scores_the_last_answer_in_its_conversation(tmp_path, monkeypatch):
    write_asked(tmp_path, ALONE, TWO)
    write_answers(tmp_path / "responses", "base", [(ALONE, "", "The Loire."), (TWO, "The Seine.", "777 km.")])
    seen = []

    def scored(engine, pairs, **_):
        seen.extend(pairs)
        return [{"score": 5.0, "mass": 1.0, "p": [0.0] * 11} for _ in pairs]

    monkeypatch.setattr("alma.fitting.score_fitting", scored)
    monkeypatch.setattr("alma.engine.open_engine", lambda *_: None)
    values = {"seed": 0, "judge_prompts": None, "engine": {}, "reading": "exact", "min_mass": 0.5}
    paths = [tmp_path / name for name in ("eval", "responses", "scores")]
    score_evaluation.main("model", *paths, **values, max_unreadable=0.0)
    conversation = "User: Name a river.\n\nAssistant: The Seine.\n\nUser: How long is it?"
    assert seen == [("Name a river.", "The Loire."), (conversation, "777 km.")]
    assert len(read_table(tmp_path / "scores", "evaluation")) == 2, "with the columns of every other table"


def test_a_reward_model_reads_the_whole_conversation(tmp_path, monkeypatch):
    write_asked(tmp_path, ALONE, GIVEN)
    write_answers(tmp_path / "responses", "base", [(ALONE, "", "The Loire."), (GIVEN, "", "The Seine.")])
    seen = []

    def rewards(folder, name, engine, pairs, what):
        seen.extend(pairs)
        return [1.0] * len(pairs)

    monkeypatch.setattr("alma.reward_model.rewards", rewards)
    monkeypatch.setattr("alma.reward_model.reward_folder", lambda *_: tmp_path)
    values = {"seed": 0, "judge": "rm", "benchmark_name": "b", "prompts_asked": None, "model": "m"}
    paths = [tmp_path / name for name in ("eval", "responses", "judged")]
    judge_with_reward.main(*paths, **values, engine={}, max_unreadable=0.0)
    assert sorted(seen, key=str) == sorted([(ALONE, "The Loire."), (GIVEN, "The Seine.")], key=str)


@pytest.fixture
def server(monkeypatch, tmp_path):
    pytest.importorskip("openai")  # the environment without torch has none
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("ALMA_CACHE", str(tmp_path / "cache"))
    with fake_endpoint() as endpoint:
        yield endpoint


def test_an_endpoint_is_shown_conversations_and_compares_how_they_went_on(tmp_path, server):
    write_asked(tmp_path, ALONE, TWO, GIVEN)
    mine = [(ALONE, "", "The Loire."), (TWO, "The Seine.", "777 km."), (GIVEN, "", "Po")]
    theirs = [(ALONE, "", "Rhine"), (TWO, "The Po.", "777 km."), (GIVEN, "", "Ebro")]
    write_answers(tmp_path / "mine", "round-2", mine)
    write_answers(tmp_path / "theirs", "sft-0", theirs)
    files = [tmp_path / name for name in ("eval", "mine", "theirs", "judged")]
    judge_with_api.main(*files, base_url=server.url, **SETTINGS)
    texts = [body["messages"][0]["content"] for body in server.asked]
    assert len(texts) == 9, "an equal last answer after other ones is no draw"
    river, seine, po = "User: Name a river.", "The Seine.", "The Po."
    (score,) = [text for text in texts if f"Assistant: {seine}" in text and "<answer>" in text]
    conversation = f"{river}\n\nAssistant: {seine}\n\nUser: How long is it?"
    assert f"<prompt>\n{conversation}\n</prompt>\nThe prompt is a conversation" in score
    assert "<answer>\n777 km.\n</answer>" in score
    games = [text for text in texts if "<answer A>" in text and "How long" in text]
    rests = [f"Assistant: {first}\n\nUser: How long is it?\n\nAssistant: 777 km." for first in (seine, po)]
    for order in (rests, rests[::-1]):
        shown = f"<answer A>\n{order[0]}\n</answer A>\n<answer B>\n{order[1]}\n</answer B>"
        (game,) = [text for text in games if shown in text]
        assert "<prompt>\nName a river.\n</prompt>\nEach answer is the rest of a conversation" in game
    given = [text for text in texts if "<answer A>\nPo\n</answer A>\n<answer B>\nEbro\n</answer B>" in text]
    assert len(given) == 1 and f"<prompt>\n{transcript(GIVEN)}\n</prompt>\nThe prompt is a conv" in given[0]
    rows = read_table(tmp_path / "judged", "judged")
    assert {row["question"] for row in rows} == {FIRST, SECOND, SCORE} and len(rows) == 9


def test_an_answer_without_its_conversation_is_not_compared(tmp_path, server):
    """As a file of outputs may have one, whose prompt is the conversation as text."""
    write_asked(tmp_path, TWO)
    write_answers(tmp_path / "mine", "round-2", [(TWO, "The Seine.", "777 km.")])
    rows = [row | {"messages": None, "response": "Long."} for row in read_responses(tmp_path / "mine")]
    write_responses(tmp_path / "theirs", rows)
    files = [tmp_path / name for name in ("eval", "mine", "theirs", "judged")]
    judge_with_api.main(*files, base_url=server.url, **SETTINGS)
    assert [row["question"] for row in read_table(tmp_path / "judged", "judged")] == [SCORE]


def test_what_needs_no_judge():
    def row(response, before=None):
        return {"response": response, "messages": before}

    value = judge_with_api.without_question
    assert value(row("a"), row("a")) == 0.5 and value(row("a", TWO), row("a", TWO)) == 0.5
    assert value(row("a", TWO), row("a", MIXED)) is None
    assert value(row(" ", TWO), row(" ", MIXED)) == 0.5, "neither says anything"
    assert (value(row(""), row("a")), value(row("a"), row("")), value(row(""), None)) == (0.0, 1.0, 0.0)
    assert value(row("a"), row("b")) is None and value(row("a"), None) is None


@pytest.mark.slow
def test_two_turns_go_through_the_rules(tmp_path, server):
    """MT-Bench's form beside single prompts, from its file to what a judge from outside says of it."""
    run = FastRun.make(tmp_path / "run")
    questions = [
        {"question_id": i, "category": "math", "turns": [f"What is {i} and {i}?", "And twice that?"]}
        for i in range(4)
    ]
    path = run.folder / "data" / "question.jsonl"
    path.write_text("".join(json.dumps(question) + "\n" for question in questions))
    judge = {"kind": "api", "model": "m", "base_url": server.url, "api_key_env": "TEST_KEY"}
    names = {"everyday": "data/eval.jsonl", "mt": "mt-bench:data/question.jsonl"}
    run.config = merged(run.config, {"evaluation": {"benchmarks": names, "judges": {"gpt": judge}}})
    judged = run.path("evaluation/judges/api/gpt/base/mt.parquet")
    single = run.path("evaluation/responses/base/everyday.parquet")
    run.finish(*(str(path.relative_to(run.folder)) for path in (judged, single)))
    for checkpoint in ("base", "sft-0"):
        rows = read_responses(run.path(f"evaluation/responses/{checkpoint}/mt.parquet"))
        assert len(rows) == 4
        for row in rows:
            roles = [message["role"] for message in row["messages"]]
            assert roles == ["user", "assistant", "user"] and row["messages"][1]["content"]
            assert row["response"]
    assert read_table(single, "evaluation_response")
    games = read_table(judged, "judged")
    assert len(games) == 8 and all(row["value"] is not None for row in games)
    asked = [body["messages"][0]["content"] for body in server.asked]
    assert any("Each answer is the rest of a conversation" in text for text in asked)
