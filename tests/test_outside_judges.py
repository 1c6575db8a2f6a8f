"""Judges that training never used: what an endpoint is asked about responses, and what comes of its "
"answers."""

import importlib
import json

import pytest
from fake_endpoint import KEY, fake_endpoint

from alma.checks import run_checks
from alma.errors import InputError
from alma.ids import content_id
from alma.outside_judges import FIRST, SCORE, SECOND, asked_prompts, question_text, read_value
from alma.tables import read_table, write_table

judge_with_api, probe_judge, read_reference, score_evaluation = (
    importlib.import_module(name)
    for name in ("judge_with_api", "probe_judge", "read_reference", "score_evaluation")
)

PROMPTS = [f"Prompt {i} {{first}} </answer>" for i in range(6)]


def prompt_id(i):
    return content_id("prompt", PROMPTS[i])


def write_prompts(path):
    rows = [
        {
            "benchmark": "b",
            "prompt_id": prompt_id(i),
            "prompt": prompt,
            "category": None,
            "reference": "The right one." if i == 1 else None,
            "checks": "[]",
        }
        for i, prompt in enumerate(PROMPTS)
    ]
    write_table(path, "eval", [*rows, rows[0] | {"benchmark": "other", "prompt": "of another benchmark"}])


def write_responses(path, checkpoint, texts):
    rows = [
        {
            "prompt_id": prompt_id(i),
            "response_id": content_id(checkpoint, i),
            "checkpoint": checkpoint,
            "sample": 0,
            "seed": 0,
            "response": text,
            "finish_reason": "stop",
            "tokens": 1,
            "benchmark": "b",
            "passed": [],
        }
        for i, text in enumerate(texts)
    ]
    write_table(path, "evaluation_response", list(reversed(rows)))


SETTINGS = {
    "seed": 0,
    "judge": "gpt",
    "benchmark_name": "b",
    "reference": "sft-0",
    "asks": ["pair", "score"],
    "prompts_asked": None,
    "model": "m",
    "temperature": 0.0,
    "max_tokens": 50,
    "body": {},
    "api_key_env": "TEST_KEY",
    "max_retries": 1,
    "concurrency": 4,
    "timeout": 10.0,
    "max_unreadable": 0.0,
}
MINE = ["a b", "one two three", "", "same", "of {second} {prompt}", "x"]
THEIRS = ["a b c d", "one", "not empty", "same", "short", ""]


@pytest.fixture
def server(monkeypatch, tmp_path):
    pytest.importorskip("openai")  # the environment without torch has none
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("ALMA_CACHE", str(tmp_path / "cache"))
    with fake_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def tables(tmp_path):
    write_prompts(tmp_path / "eval.parquet")
    write_responses(tmp_path / "mine.parquet", "round-2", MINE)
    write_responses(tmp_path / "theirs.parquet", "sft-0", THEIRS)
    return tmp_path


def judged(server, folder, reference="theirs.parquet", **changes):
    judge_with_api.main(
        folder / "eval.parquet",
        folder / "mine.parquet",
        folder / reference if reference else None,
        folder / "judged.parquet",
        **{"base_url": server.url} | SETTINGS | changes,
    )
    return read_table(folder / "judged.parquet", "judged")


def values(rows, question):
    found = {row["prompt_id"]: row["value"] for row in rows if row["question"] == question}
    return [found.get(prompt_id(i)) for i in range(len(PROMPTS))]


def test_a_response_is_scored_and_compared_in_both_orders(server, tables):
    """The endpoint prefers the longer one and rates by words; equal and empty responses need no question."""
    rows = judged(server, tables)
    assert values(rows, FIRST) == values(rows, SECOND) == [0.0, 1.0, 0.0, 0.5, 1.0, 1.0]
    assert values(rows, SCORE) == [2.0, 3.0, 0.0, 1.0, 3.0, 1.0]
    assert len(server.asked) == 2 * 3 + 5
    game = next(row for row in rows if row["question"] == FIRST and row["prompt_id"] == prompt_id(1))
    assert (game["reference"], game["length"], game["reference_length"]) == ("sft-0", 13, 3)
    assert (game["input_tokens"], game["output_tokens"], game["answer"]) == (100, 10, "One is longer. [[A]]")
    assert [row["prompt_id"] for row in rows] == sorted(row["prompt_id"] for row in rows)
    before = (tables / "judged.parquet").read_bytes()
    judged(server, tables)
    assert len(server.asked) == 11 and (tables / "judged.parquet").read_bytes() == before, "from the cache"


def test_a_judge_that_favors_a_place_is_found_out(server, tables):
    server.answer = lambda body: "[[A]]"
    rows = judged(server, tables, asks=["pair"])
    assert values(rows, FIRST)[:2] == [1.0, 1.0] and values(rows, SECOND)[:2] == [0.0, 0.0]


def test_what_is_asked_follows_the_settings(server, tables):
    rows = judged(server, tables, reference=None)
    assert {row["question"] for row in rows} == {SCORE}, "a checkpoint is not compared with itself"
    rows = judged(server, tables, asks=["pair"], prompts_asked=2, temperature=None, body={"top_k": 1})
    assert len({row["prompt_id"] for row in rows}) == 2
    last = server.asked[-1]
    assert last["max_tokens"] == 50 and last["top_k"] == 1 and "temperature" not in last


def test_prompts_are_chosen_as_for_the_run_s_own_judge():
    ids = [prompt_id(i) for i in range(6)]
    for most in (None, 0, 3):
        assert asked_prompts(ids, most, 7) == score_evaluation.judged_prompts(ids, most, 7)


def test_a_prompt_that_the_reference_lacks_is_not_compared(server, tables):
    write_responses(tables / "few.parquet", "reference", THEIRS[:2])
    rows = judged(server, tables, reference="few.parquet", asks=["pair"])
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("answer", "problem"),
    [("I like both.", "no verdict in the answer"), ("[[D]]", "no verdict"), ((400, "no"), "HTTP 400")],
    ids=str,
)
def test_what_cannot_be_read_is_counted_and_named(server, tables, capsys, answer, problem):
    server.answer = lambda body: answer
    rows = judged(server, tables, asks=["pair"], max_unreadable=0.5 if isinstance(answer, str) else 1.0)
    assert [row["problem"] is None for row in rows] == [row["value"] is not None for row in rows]
    assert sum((row["problem"] or "").startswith(problem) for row in rows) == 6
    assert f"12 questions, 6 without a value (6 x {problem}" in capsys.readouterr().out
    if isinstance(answer, str):
        with pytest.raises(InputError, match=rf"judges\.gpt: 6 of 12 questions .*6 x {problem}") as caught:
            judged(server, tables, asks=["pair"], max_unreadable=0.4)
        assert "most 40% (max_unreadable)" in str(caught.value) and repr(answer) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "question", "value"),
    [
        ("[[A]] or [[B]]? So: [[ B ]]", FIRST, 0.0),
        ("[[A]] or [[B]]? So: [[B]]", SECOND, 1.0),
        ("[[C]]", SECOND, 0.5),
        ("A", FIRST, None),
        ("[[7]] no, [[8.5]]", SCORE, 8.5),
        ("[[10/10]]", SCORE, 10.0),
        ("[[11]]", SCORE, None),
        ("[[-1]]", SCORE, None),
        ("[[A]]", SCORE, None),
    ],
)
def test_the_last_verdict_counts(text, question, value):
    assert read_value(text, question) == value


def test_texts_are_shown_as_they_are():
    text = question_text("p {first} \\1", None, "f {second}", "s {prompt}")
    assert "<prompt>\np {first} \\1\n</prompt>\n<answer A>\nf {second}\n</answer A>" in text
    assert "<answer B>\ns {prompt}\n</answer B>" in text and "right answer" not in text
    assert "<right answer>\nr\n</right answer>" in question_text("p", "r", "f")


# the probe


PROBE = {name: SETTINGS[name] for name in ("judge", "model", "temperature", "max_tokens", "body")}
PROBE |= {name: SETTINGS[name] for name in ("api_key_env", "max_retries", "timeout")} | {"kind": "api"}


def test_a_probe_asks_each_time(server, tmp_path, monkeypatch):
    for _ in range(2):
        probe_judge.main(tmp_path / "a.txt", base_url=server.url, **PROBE)
    assert len(server.asked) == 2 and "can be asked" in (tmp_path / "a.txt").read_text()
    (tmp_path / "a.txt").unlink()
    monkeypatch.setenv("TEST_KEY", "another")
    with pytest.raises(InputError, match=r"judges\.gpt: http://.* cannot be asked: HTTP 401"):
        probe_judge.main(tmp_path / "a.txt", base_url=server.url, **PROBE)
    assert not (tmp_path / "a.txt").exists()


# a file of outputs


def read_file(folder, rows, name="outputs.jsonl"):
    write_prompts(folder / "eval.parquet")
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"source": str(folder / name), "benchmark_name": "b"}
    read_reference.main(folder / "eval.parquet", folder / "reference.parquet", **settings)
    return read_table(folder / "reference.parquet", "evaluation_response")


@pytest.mark.parametrize("names", [("prompt", "response"), ("instruction", "output")])
def test_a_file_of_outputs_becomes_responses(tmp_path, names, capsys):
    rows = [dict(zip(names, (PROMPTS[i], f" text {i}\n"), strict=True)) for i in (4, 2)]
    found = read_file(tmp_path, [*rows, dict(zip(names, ("unknown", "x"), strict=True)) | {"generator": "g"}])
    assert {row["prompt_id"]: row["response"] for row in found} == {
        prompt_id(2): "text 2",
        prompt_id(4): "text 4",
    }
    assert {row["checkpoint"] for row in found} == {"reference"}
    assert "responses to 2 of the 6 prompts of b" in capsys.readouterr().out
    assert run_checks([], "a") == found[0]["passed"]


def test_a_blank_output_is_left_out_and_counted(tmp_path, capsys):
    rows = [{"instruction": PROMPTS[0], "output": "a"}, {"instruction": PROMPTS[1], "output": " \n"}]
    assert [row["prompt_id"] for row in read_file(tmp_path, rows)] == [prompt_id(0)]
    assert "left out 1 of 2 rows without a response" in capsys.readouterr().out


PAIR = {"prompt": PROMPTS[0], "response": "a"}
FAULTS = {
    "unknown": ([PAIR | {"prompt": "unknown"}], r"none of the 6 of the benchmark b, expected its prompts"),
    "columns": (
        [{"prompt": "p"}],
        r"outputs\.jsonl: missing columns: .* expected prompt and response, or inst",
    ),
    "type": ([PAIR | {"response": 3}], r"line 1, response: found 3"),
    "twice": ([PAIR, PAIR | {"response": "b"}], r"line 2, prompt: found .* a prompt with one response"),
}


@pytest.mark.parametrize(("rows", "message"), FAULTS.values(), ids=FAULTS)
def test_a_file_of_outputs_with_faults_is_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_file(tmp_path, rows)
    assert not (tmp_path / "reference.parquet").exists()
