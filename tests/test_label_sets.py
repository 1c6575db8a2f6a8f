"""Public label sets are read by name: each reader on rows of its set's shape, written for this test."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import read_seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from synthesize_prompts import seed_prompts

from alma.errors import InputError
from alma.label_sets import purposes
from alma.label_sets.item import Dropped
from alma.label_sets.registry import SETS, read_set, sets_for, split_set
from alma.label_summary import SourceCount
from alma.seed_formats import Row
from alma.seed_rows import sft_pair, take_asked, take_optional, take_score, take_text
from alma.tables import read_table
from alma.workflow.config import ROOT, check_config, data_sources

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ASK = "Name a river in France."


def message(name: str, parent: str | None, text: str, **more: Any) -> dict[str, Any]:
    """One message of OpenAssistant, with the keys that its files have."""
    role = "assistant" if name.startswith("a") else "prompter"
    row = {"message_id": name, "parent_id": parent, "text": text, "role": role, "lang": "en", "rank": None}
    row |= {"user_id": "u", "review_count": 3, "review_result": True, "deleted": False, "synthetic": False}
    return row | {"message_tree_id": "p0", "tree_state": "ready_for_export"} | more


TREE = [
    message("p0", None, ASK),
    message("a1", "p0", "The Thames.", rank=2),
    message("a2", "p0", "The Loire.", rank=0),
    message("a3", "p0", "Seine", rank=1),
    message("p4", "a2", "How long is it?"),
    message("a5", "p4", "About 1,000 km."),
    message("p6", "a2", "Spam.", deleted=True),
    message("a7", "p6", "Lost with it.", rank=0),
    message("p8", "a1", "Are you sure?"),
]


def nested(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The same tree as a row of the files of trees."""
    nodes = {row["message_id"]: {**row, "replies": []} for row in messages}
    for node in nodes.values():
        if node["parent_id"]:
            nodes[node["parent_id"]]["replies"].append(node)
    return {"message_tree_id": "p0", "tree_state": "ready_for_export", "prompt": nodes["p0"]}


def completion(text: str, fine: float | None, overall: float) -> dict[str, Any]:
    """One completion of UltraFeedback."""
    rating = {"Rating": "4", "Rationale": "It answers."}
    notes = dict.fromkeys(("instruction_following", "honesty", "truthfulness", "helpfulness"), rating)
    row: dict[str, Any] = {"model": "m", "principle": "honesty", "custom_system_prompt": "Be honest."}
    row |= {"response": text, "annotations": notes, "critique": "Fine.", "overall_score": overall}
    return row if fine is None else row | {"fine-grained_score": fine}


def steered(response: str, *ratings: Any, prompt: str = ASK) -> dict[str, Any]:
    """One row of HelpSteer2."""
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    return {"prompt": prompt, "response": response} | dict(zip(names, ratings, strict=True))


def said(*turns: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"from": who, "value": what} for who, what in turns]


def chat(*texts: str) -> list[dict[str, str]]:
    """Texts as a conversation that the user begins."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


BEGIN = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: Name a river.\n\nAssistant:"
ALPACA_INPUT = {"instruction": "Say it in French.", "input": "Good day", "output": "Bonjour"}
QUESTIONS: list[dict[str, Any]] = [
    {
        "question_id": 111,
        "category": "math",
        "turns": ["What is 1+1?", "And twice that?"],
        "reference": ["2", "4"],
    },
    {"question_id": 81, "category": "writing", "turns": ["Write of a river.", "Now in one word."]},
    {"question_id": 103, "category": "reasoning", "turns": ["Why?", "How?"], "reference": ["So.", ""]},
    {"question_id": 9, "category": "writing", "turns": []},
    {"question_id": 8, "category": "writing", "turns": ["First", " "]},
]
SAMPLES: dict[str, list[dict[str, Any]]] = {
    "alpaca": [
        {"instruction": ASK, "input": "", "output": "The Loire.", "text": "Below is ..."},
        ALPACA_INPUT | {"text": "Below is ..."},
        {"instruction": "List two nuts.", "input": "<noinput>", "output": "Hazel, walnut", "text": "..."},
        {"instruction": "Write it down.", "input": "", "output": "", "text": "..."},
    ],
    "alpaca-eval": [
        {"dataset": "helpful_base", "instruction": ASK, "output": "The Loire.", "generator": "model_a"},
        {"dataset": "koala", "instruction": "", "output": "What?", "generator": "model_a"},
    ],
    "arena-hard": [
        {"uid": "a1", "category": "hard_prompt", "subcategory": "coding", "prompt": "Sort a list."},
        {"uid": "a2", "category": "creative_writing", "subcategory": "creative_writing", "prompt": ASK},
    ],
    "daring-anteater": [
        {
            "system": "Answer in one word.",
            "mask": "User",
            "dataset": "synthetic_conv",
            "conversations": [
                {"from": "User", "value": ASK, "label": None},
                {"from": "Assistant", "value": "Loire", "label": None},
            ],
        },
        {"system": "", "mask": "User", "dataset": "finqa", "conversations": said(("User", "1+1?"))},
    ],
    "dolly": [
        {"instruction": ASK, "context": "", "response": "The Loire.", "category": "open_qa"},
        {"instruction": "Who?", "context": "Ada wrote it.", "response": "Ada", "category": "closed_qa"},
        {"instruction": "Why?", "context": "", "response": " \n", "category": "open_qa"},
    ],
    "helpsteer2": [
        steered("The Loire.", 4, 4, 4, 1, 1),
        steered("A river.", 1, 2, 3, 0, 0),
        steered("No.", [2, 4], [2, 4], [2, 4], [1, 1], [1, 1], prompt="Is it long?"),
        steered("?", 3, 3, 3, 1, 1, prompt="Hi\n\n<extra_id_1>Assistant\nHello!\n<extra_id_1>User\nBye"),
        steered("Odd.", 5, 4, 4, 1, 1),
    ],
    "helpsteer3": [
        {
            "domain": "general",
            "language": "english",
            "context": chat(ASK),
            "response1": "The Loire.",
            "response2": "A river.",
            "overall_preference": -2,
            "individual_preference": [
                {"score": -3, "reasoning": "It names one.", "feedback1": "Right.", "feedback2": "Vague."},
                {"score": 0, "reasoning": "Both fine.", "feedback1": "Right.", "feedback2": "Right."},
            ],
        },
        {
            "domain": "code",
            "language": "python",
            "context": chat("Sort it.", "Which?", "The list."),
            "response1": "sorted(x)",
            "response2": "x.sort()",
            "overall_preference": 1,
            "individual_preference": [],
        },
        {"domain": "stem", "context": chat("1+1?"), "response1": "2", "response2": "3"}
        | {"overall_preference": -100, "individual_preference": [], "language": "english"},
    ],
    "hh-rlhf": [
        {"chosen": f"{BEGIN} The Loire.", "rejected": f"{BEGIN} The big one."},
        {"chosen": "\n\nHuman: 1+1?\n\nAssistant: 2", "rejected": "\n\nHuman: 1+1?\n\nAssistant: 3"},
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hey\n\nHuman: Bye\n\nAssistant: Bye",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Yo",
        },
        {"chosen": "\n\nHuman: Hi", "rejected": "\n\nHuman: Hi\n\nAssistant: Yo"},
    ],
    "ifeval": [
        {"key": 1000, "prompt": ASK, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        {"key": 1001, "prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": []},
    ],
    "lima": [
        {"conversations": [ASK, "The Loire."], "source": "stackexchange"},
        {"conversations": ["Hi", "Hello!", ASK, "The Seine."], "source": "multi_turn"},
        {"conversations": ["A question of the test split"], "source": "authors"},
    ],
    "mt-bench": QUESTIONS,
    "mt-bench-turn-1": QUESTIONS,
    "openassistant": TREE,
    "rewardbench": [
        {
            "id": 0,
            "prompt": ASK,
            "chosen": "The Loire.",
            "chosen_model": "a",
            "rejected": "No.",
            "subset": "x",
        },
    ],
    "rewardbench2": [
        {
            "id": "0",
            "prompt": ASK,
            "chosen": ["The Loire."],
            "rejected": ["No.", "The Thames.", "Why?"],
            "num_correct": 1,
            "num_incorrect": 3,
            "subset": "Factuality",
        },
        {"id": "ref:0", "prompt": "Pick a color.", "chosen": ["Red"], "rejected": ["Dog"], "subset": "Ties"},
    ],
    "self-instruct": [
        {
            "id": "seed_task_0",
            "name": "rivers",
            "instruction": "Where does it flow?",
            "instances": [{"input": "Loire", "output": "France"}, {"input": "", "output": "Say which."}],
            "is_classification": False,
        },
        {"id": "seed_task_1", "name": "x", "instruction": "Do it.", "instances": []},
    ],
    "sharegpt": [
        {"id": "x", "conversations": said(("gpt", "..."), ("human", ASK), ("gpt", "Loire"), ("human", "Ok"))},
        {"id": "y", "conversations": said(("system", "Be brief."), ("human", "Hi"), ("chatgpt", "Hello!"))},
        {"id": "z", "conversations": said(("human", "Hi"), ("function_call", "f()"), ("gpt", "Done"))},
        {"id": "t", "conversations": said(("human", "Hi"), ("human", "You there?"), ("gpt", "Yes"))},
        {"id": "e", "conversations": []},
    ],
    "ultrafeedback": [
        {
            "source": "evol_instruct",
            "instruction": ASK,
            "models": ["a", "b", "c"],
            "completions": [
                completion("The Loire.", 4.5, 8.5),
                completion("No.", 1.25, 10),  # a critic's 1, stored as 10
                completion("Perhaps.", None, 5),
            ],
            "correct_answers": ["None"],
            "incorrect_answers": ["None"],
        },
    ],
}


def taken(name: str, key: str, folder: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    """What a reader gives to a config key from the sample of its set, and what it left out."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SAMPLES[name]))
    problems: list[str] = []
    count = SourceCount(key, str(path))
    rows = read_set(name, str(path), key, problems, count)
    assert not problems and count.rows == len(SAMPLES[name])
    assert all(row.where.startswith(f"{path}: line ") for row in rows)
    return [row.values for row in rows], count.left_out


def pairs_of(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """SFT rows as (user's text or conversation, answer, category)."""
    return [(asked(row["messages"][:-1]), row["messages"][-1]["content"], row["category"]) for row in rows]


def asked(messages: list[dict[str, str]]) -> Any:
    """A conversation, or the text of the user where it is the only one."""
    alone = [turn["role"] for turn in messages] == ["user"]
    return messages[0]["content"] if alone else messages


def labels_of(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows of labels as (user's text or conversation, response, score)."""
    return [(asked(row["messages"]), row["response"], pytest.approx(row["score"])) for row in rows]


def blank(count: int) -> dict[str, int]:
    return {"a prompt or an answer that is not text that is not blank": count}


MULTI = [*chat("Hi", "Hello!", "Name a river.")]
SFT: dict[str, tuple[list[tuple[Any, ...]], dict[str, int]]] = {
    "alpaca": (
        [
            (ASK, "The Loire.", None),
            ("Say it in French.\n\nGood day", "Bonjour", None),
            ("List two nuts.", "Hazel, walnut", None),
        ],
        blank(1),
    ),
    "daring-anteater": (
        [([{"role": "system", "content": "Answer in one word."}, *chat(ASK)], "Loire", "synthetic_conv")],
        {"no question with an answer": 1},
    ),
    "dolly": ([(ASK, "The Loire.", "open_qa"), ("Who?\n\nAda wrote it.", "Ada", "closed_qa")], blank(1)),
    "helpsteer2": (
        [(ASK, "The Loire.", None), ("Is it long?", "No.", None), (chat("Hi", "Hello!", "Bye"), "?", None)],
        {"no rating from 0 to 4 of helpfulness, correctness and coherence": 1, purposes.NOT_BEST: 1},
    ),
    "helpsteer3": (
        [(ASK, "The Loire.", "general"), (chat("Sort it.", "Which?", "The list."), "x.sort()", "code")],
        {"no preference from -3 to 3": 1, purposes.NOT_BEST: 2},
    ),
    "hh-rlhf": (
        [(MULTI, "The Loire.", None), ("1+1?", "2", None)],
        {
            purposes.NOT_BEST: 2,
            "the two differ over several turns": 1,
            "no shared prompt of alternating turns": 1,
        },
    ),
    "lima": (
        [(ASK, "The Loire.", "stackexchange"), (chat("Hi", "Hello!", ASK), "The Seine.", "multi_turn")],
        {"no answer": 1},
    ),
    "openassistant": (
        [
            (ASK, "The Loire.", "en"),
            (chat(ASK, "The Loire.", "How long is it?"), "About 1,000 km.", "en"),
        ],
        {
            purposes.NOT_BEST: 2,
            "deleted or rejected in review, with all replies": 1,
            "a message without an answer": 1,
        },
    ),
    "self-instruct": (
        [("Where does it flow?\n\nLoire", "France", None), ("Where does it flow?", "Say which.", None)],
        {"no instances": 1},
    ),
    "sharegpt": (
        [(ASK, "Loire", None), ([{"role": "system", "content": "Be brief."}, *chat("Hi")], "Hello!", None)],
        {
            "a role that is neither user, assistant nor system": 1,
            "turns that do not alternate between user and assistant": 1,
            "no question with an answer": 1,
        },
    ),
    "ultrafeedback": (
        [(ASK, "The Loire.", "evol_instruct")],
        {purposes.NOT_BEST: 1, "a completion without a fine-grained score from 1 to 5": 1},
    ),
}
JUDGE: dict[str, tuple[list[tuple[Any, ...]], dict[str, int]]] = {
    "helpsteer2": (
        [
            (ASK, "The Loire.", 10),
            (ASK, "A river.", 5),
            ("Is it long?", "No.", 5),
            ("Is it long?", "No.", 10),
            (chat("Hi", "Hello!", "Bye"), "?", 7.5),
        ],
        {"no rating from 0 to 4 of helpfulness, correctness and coherence": 1},
    ),
    "helpsteer3": (
        [
            (ASK, "The Loire.", 10),
            (ASK, "The Loire.", 5),
            (ASK, "A river.", 0),
            (ASK, "A river.", 5),
            (chat("Sort it.", "Which?", "The list."), "sorted(x)", 10 / 3),
            (chat("Sort it.", "Which?", "The list."), "x.sort()", 20 / 3),
        ],
        {"no preference from -3 to 3": 1},
    ),
    "hh-rlhf": (
        [(MULTI, "The Loire.", 10), (MULTI, "The big one.", 0), ("1+1?", "2", 10), ("1+1?", "3", 0)],
        {
            "the two differ over several turns": 1,
            "no shared prompt of alternating turns": 1,
        },
    ),
    "openassistant": (
        [(ASK, "The Loire.", 10), (ASK, "Seine", 5), (ASK, "The Thames.", 0)],
        {
            purposes.NO_SCORE: 1,  # of a conversation: the only answer to its last question
            "deleted or rejected in review, with all replies": 1,
            "a message without an answer": 1,
        },
    ),
    "rewardbench": ([(ASK, "The Loire.", 10), (ASK, "No.", 0)], {}),
    "rewardbench2": (
        [(ASK, "The Loire.", 10), (ASK, "No.", 0), (ASK, "The Thames.", 0), (ASK, "Why?", 0)],
        {"subset Ties, which is not measured by pairs": 1},
    ),
    "ultrafeedback": (
        [(ASK, "The Loire.", 8.75), (ASK, "No.", 0.625)],
        {"a completion without a fine-grained score from 1 to 5": 1},
    ),
}


def asks(*texts: str) -> list[dict[str, str]]:
    """Turns of the user, which the model answers one by one."""
    return [{"role": "user", "content": text} for text in texts]


# (messages, reference, category), and what is left out
PROMPTS: dict[str, tuple[list[tuple[Any, ...]], dict[str, int]]] = {
    "alpaca-eval": ([(asks(ASK), None, "helpful_base")], blank(1)),
    "arena-hard": (
        [(asks("Sort a list."), None, "hard_prompt"), (asks(ASK), None, "creative_writing")],
        {},
    ),
    "ifeval": ([(asks(ASK), None, None)], {"no list of instructions with the arguments of each": 1}),
    "lima": (
        [
            (asks(ASK), "The Loire.", "stackexchange"),
            (chat("Hi", "Hello!", ASK), "The Seine.", "multi_turn"),
            (asks("A question of the test split"), None, "authors"),
        ],
        {},
    ),
    "mt-bench": (
        [
            (asks("What is 1+1?", "And twice that?"), "4", "math"),
            (asks("Write of a river.", "Now in one word."), None, "writing"),
            (asks("Why?", "How?"), None, "reasoning"),
        ],
        {"no list of turns": 1} | blank(1),
    ),
    "mt-bench-turn-1": (
        [
            (asks("What is 1+1?"), "2", "math"),
            (asks("Write of a river."), None, "writing"),
            (asks("Why?"), "So.", "reasoning"),
            (asks("First"), None, "writing"),
        ],
        {"no list of turns": 1},
    ),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_set_gives_prompts_of_a_benchmark(tmp_path, name):
    rows, left_out = taken(name, "evaluation.benchmarks.mine", tmp_path)
    found = [(row["messages"], row.get("reference"), row.get("category")) for row in rows]
    assert (found, dict(left_out)) == PROMPTS[name]


def test_mt_bench_is_read_from_its_copies_on_the_hub(tmp_path):
    """They call the turns `prompt`."""
    path = tmp_path / "copy.jsonl"
    rows = [{"prompt" if key == "turns" else key: value for key, value in row.items()} for row in QUESTIONS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    key = "evaluation.benchmarks.mine"
    found = read_set("mt-bench", str(path), key, [], SourceCount(key, "copy"))
    assert [row.values for row in found] == taken("mt-bench", key, tmp_path)[0]


@pytest.mark.parametrize("name", SFT)
def test_a_set_gives_sft_pairs(tmp_path, name):
    rows, left_out = taken(name, "labels.sft", tmp_path)
    assert (pairs_of(rows), dict(left_out)) == SFT[name]


@pytest.mark.parametrize("name", JUDGE)
def test_a_set_gives_labels_for_the_judge(tmp_path, name):
    rows, left_out = taken(name, "labels.judge", tmp_path)
    assert (labels_of(rows), dict(left_out)) == JUDGE[name]


def test_pairs_are_every_two_answers_whose_scores_differ(tmp_path):
    rows, left_out = taken("openassistant", "judge.benchmark", tmp_path)
    found = {(row["chosen"], row["rejected"]) for row in rows}
    assert found == {("The Loire.", "Seine"), ("The Loire.", "The Thames."), ("Seine", "The Thames.")}
    rows, left_out = taken("rewardbench2", "judge.benchmark", tmp_path)
    assert [(row["chosen"], row["rejected"]) for row in rows] == [
        ("The Loire.", rejected) for rejected in ("No.", "The Thames.", "Why?")
    ]
    rows, left_out = taken("helpsteer2", "judge.benchmark", tmp_path)
    assert len(rows) == 1 and left_out[purposes.NO_PAIR] == 2


def test_every_set_has_a_sample_for_all_that_it_serves():
    assert set(SAMPLES) == set(SETS)
    assert sorted(SFT) == sets_for("labels.sft") and sorted(JUDGE) == sets_for("labels.judge")
    assert sets_for("judge.benchmark") == sets_for("labels.judge")
    assert sorted(PROMPTS) == sets_for("evaluation.benchmarks.mine")
    for name, rows in SAMPLES.items():
        label_set = SETS[name]
        used = {column for row in rows for column in row} & {*label_set.optional}
        missing = {*label_set.optional} - used - {"system", "dataset", "source"}
        assert not missing, f"{name}: the sample has no {missing}"


def test_openassistant_is_read_as_trees_and_as_the_list_of_messages_on_the_hub(tmp_path):
    flat = taken("openassistant", "labels.sft", tmp_path)
    path = tmp_path / "trees.jsonl"
    path.write_text(json.dumps(nested(TREE)))
    count = SourceCount("labels.sft", "trees")
    rows = read_set("openassistant", str(path), "labels.sft", [], count)
    assert ([row.values for row in rows], count.left_out) == flat
    lost = [message("a9", "elsewhere", "To whom?"), message("p9", None, "Who?") | {"message_id": [9]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*reversed(TREE), *lost]))
    count = SourceCount("labels.sft", "list")
    rows = read_set("openassistant", str(path), "labels.sft", [], count)
    assert sorted(pairs_of([row.values for row in rows]), key=str) == sorted(pairs_of(flat[0]), key=str)
    assert count.left_out["a message without its tree"] == 2


def test_a_parquet_file_of_structs_gives_the_same_as_jsonl(tmp_path):
    for name in ("ultrafeedback", "openassistant", "helpsteer3", "sharegpt", "rewardbench2"):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(SAMPLES[name]), path)
        key = SETS[name].purposes[0]
        rows = read_set(name, str(path), key, [], SourceCount(key, name))
        assert [row.values for row in rows] == taken(name, key, tmp_path)[0]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_set_of_the_hub_gives_the_same_as_a_file(tmp_path, monkeypatch, name):
    """The hub's tables have all keys in every row, with nulls; the columns that are not used stay there."""
    datasets = pytest.importorskip("datasets")
    calls = []

    def load_dataset(*args, **kwargs):
        calls.append((args, kwargs))
        return datasets.Dataset.from_list([row | {"unused": 1} for row in SAMPLES[name]])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    key = SETS[name].purposes[0]
    if name == "helpsteer2":  # a column is of numbers or of lists
        monkeypatch.setitem(SAMPLES, name, [row for row in SAMPLES[name] if row["response"] != "No."])
    count = SourceCount(key, name)
    rows = read_set(name, f"hub:owner/name@{COMMIT}:part", key, [], count)
    assert calls == [(("owner/name",), {"revision": COMMIT, "split": "part"})]
    assert [row.values for row in rows] == taken(name, key, tmp_path)[0]


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.text(max_size=5)
    | st.just(f"{BEGIN} x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def damaged(value: Any, draw: Any) -> Any:
    """A value in which some part, at any depth, may be anything."""
    if draw(st.integers(0, 5)) == 0:
        return draw(junk)
    if isinstance(value, dict):
        return {key: damaged(inner, draw) for key, inner in value.items() if draw(st.integers(0, 9))}
    return [damaged(inner, draw) for inner in value] if isinstance(value, list) else value


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.data())
@pytest.mark.parametrize("name", SAMPLES)
def test_a_damaged_row_is_left_out_and_never_an_error(name, data):
    """Whatever comes out has the types that the rest of the workflow reads."""
    rows = [
        Row(f"row {i}", {key: damaged(value, data.draw) for key, value in row.items()})
        for i, row in enumerate(SAMPLES[name])
    ]
    for item in SETS[name].read(rows):
        for key in SETS[name].purposes:
            for row in [] if isinstance(item, Dropped) else purposes.PURPOSES[key](item):
                if isinstance(row, Dropped):
                    continue
                problems: list[str] = []
                if key == "labels.sft":
                    assert sft_pair(row, problems)
                elif key == "evaluation.benchmarks":
                    assert take_asked(row, problems)
                    assert take_optional(row, "category", problems) == row.values.get("category")
                    assert take_optional(row, "reference", problems) == row.values.get("reference")
                else:
                    assert take_asked(row, problems, rated=True)
                    texts = set(row.values) - {"score", "messages"}
                    assert all(take_text(row, column, problems) for column in texts)
                if key == "labels.judge":
                    assert take_score(row, [0, 10], problems) is not None
                assert not problems


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("dolly:hub:a/b@c", ("dolly", "hub:a/b@c")),
        ("hh-rlhf:my/file.jsonl", ("hh-rlhf", "my/file.jsonl")),
        ("hub:a/b@c:train", (None, "hub:a/b@c:train")),
        ("my/dolly:x.jsonl", (None, "my/dolly:x.jsonl")),
        ("doly:x.jsonl", (None, "doly:x.jsonl")),
        ("dolly:", (None, "dolly:")),
    ],
)
def test_a_source_may_begin_with_the_name_of_a_set(source, expected):
    assert split_set(source) == expected


# in a run


def config(**labels: str) -> dict[str, Any]:
    """A config whose labels are these; the other files are the repository's."""
    files = {"sft": str(ROOT / "data" / "sft.jsonl"), "judge": str(ROOT / "data" / "judge.jsonl")} | labels
    return {
        "base_model": "package:smollm2-135m",
        "labels": files,
        "evaluation": {"benchmarks": {"mine": str(ROOT / "data" / "eval.jsonl")}},
    }


def test_a_config_names_sets_of_the_hub_and_of_files(tmp_path, monkeypatch):
    (tmp_path / "mine.jsonl").write_text("{}")
    monkeypatch.chdir(tmp_path)
    found = config(sft=f"dolly:hub:a/b@{COMMIT}", judge="hh-rlhf:mine.jsonl")
    check_config(found)
    assert data_sources(found)["labels.sft"] == f"hub:a/b@{COMMIT}"
    assert data_sources(found)["labels.judge"] == "mine.jsonl"
    assert found["labels"]["judge"] == "hh-rlhf:mine.jsonl"
    beside = config(sft="alpaca:data/sft.jsonl")  # found beside the Snakefile, as any other file
    check_config(beside)
    assert beside["labels"]["sft"] == f"alpaca:{ROOT / 'data' / 'sft.jsonl'}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"judge": "dolly:hub:a/b@main"}, "labels.judge: found the label set dolly, expected one of"),
        ({"sft": "rewardbench:hub:a/b@main"}, "labels.sft: found the label set rewardbench, expected one of"),
        ({"sft": "doly:hub:a/b@main"}, "label sets that can stand before the colon: alpaca, daring-anteater"),
        ({"sft": "mt-bench:data/eval.jsonl"}, "labels.sft: found the label set mt-bench, expected one of"),
        ({"sft": "dolly:absent.jsonl"}, "labels.sft: found 'absent.jsonl', expected a file that exists"),
        ({"sft": "dolly:hub:a/b@main"}, "with the 40 digits of a commit"),
    ],
)
def test_a_set_that_cannot_be_used_is_refused_before_any_job(changes, expected):
    with pytest.raises(InputError, match=expected):
        check_config(config(**changes))


def test_a_config_names_sets_of_benchmarks():
    source = str(ROOT / "data" / "eval.jsonl")
    found = config() | {"evaluation": {"benchmarks": {"mt": f"mt-bench:{source}", "own": source}}}
    check_config(found)
    assert data_sources(found)["evaluation.benchmarks.mt"] == source
    found = config() | {"evaluation": {"benchmarks": {"mt": f"dolly:{source}"}}}
    wanted = r"evaluation\.benchmarks\.mt: found the label set dolly, .*\(alpaca-eval, arena-hard, ife"
    with pytest.raises(InputError, match=wanted):
        check_config(found)
    found = config() | {"evaluation": {"benchmarks": {"mt": "mtbench:question.jsonl"}}}
    with pytest.raises(InputError, match="can stand before the colon: alpaca-eval, arena-hard"):
        check_config(found)


def test_a_scale_is_refused_beside_a_set_whose_reader_maps_its_scores():
    found = config(judge=f"helpsteer2:hub:a/b@{COMMIT}") | {"judge": {"scale": [1, 5]}}
    with pytest.raises(InputError, match=r"judge\.scale: found \[1, 5\], expected \[0, 10\]"):
        check_config(found)


def read(folder: Path, **sources: str | None) -> dict[str, list[dict[str, Any]]]:
    """Run read_seeds on sources; returns the rows of its tables."""
    kinds = {"sft": "sft", "judge": "judge", "heldout": "judge", "pairs": "judge_pair", "eval": "eval"}
    kinds |= {"turns": "turns"}
    values: dict[str, Any] = {"seed": 0, "scale": [0, 10], "heldout_fraction": 0.5, "max_bad_rows": 0}
    values |= {"benchmarks": {"mine": sources.pop("eval", str(ROOT / "data" / "eval.jsonl"))}}
    outputs = [folder / f"{name}.parquet" for name in (*kinds, "judge_prompts")]
    read_seeds.main(*outputs, **(values | sources))
    return {name: read_table(folder / f"{name}.parquet", kind) for name, kind in kinds.items()}


def sample(folder: Path, name: str) -> str:
    """A source that names a set and a file with its sample."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SAMPLES[name]))
    return f"{name}:{path}"


def test_read_seeds_takes_sets_for_sft_judge_and_judge_benchmark(tmp_path, capsys):
    tables = read(
        tmp_path / "out",
        sft=sample(tmp_path, "lima"),
        judge=sample(tmp_path, "helpsteer2"),
        judge_benchmark=sample(tmp_path, "hh-rlhf"),
    )
    assert [len(row["prompt"]) for row in tables["sft"]] in ([1, 3], [3, 1])
    labels = tables["judge"] + tables["heldout"]
    assert sorted(row["score"] for row in labels) == [5, 5, 7.5, 10, 10]
    assert "User: Hi\n\nAssistant: Hello!\n\nUser: Bye" in {row["prompt"] for row in labels}
    assert {(row["prompt"], row["annotator"]) for row in labels} >= {("Is it long?", 0), ("Is it long?", 1)}
    assert [(row["chosen"], row["rejected"]) for row in tables["pairs"]] == [("2", "3")]  # "Hi" is judged
    printed = capsys.readouterr().out
    assert "left out 1: the prompt is in labels.judge" in printed
    assert "labels.sft: 3 rows read of lima:" in printed and "  left out 1: no answer" in printed


def test_a_conversation_gives_its_first_message_as_an_example_for_new_prompts(tmp_path):
    tables = read(
        tmp_path / "out",
        sft=sample(tmp_path, "openassistant"),
        judge=sample(tmp_path, "helpsteer2"),
        judge_benchmark=None,
    )
    rows = tables["sft"]
    (alone,) = [row["prompt_id"] for row in rows if len(row["prompt"]) == 1]
    assert len(rows) == 2, "the reply to the follow-up question is trained on"
    assert seed_prompts(rows) == [{"prompt_id": alone, "prompt": ASK, "category": "en"}]
    system = {"role": "system", "content": "Be brief."}
    more = {"prompt_id": "z", "prompt": [system, *chat("Hi", "Hello!", "And now?")], "category": None}
    assert {row["prompt"] for row in seed_prompts([*rows, more])} == {ASK, "Hi"}


def test_pairs_of_a_set_whose_prompt_is_judged_are_left_out(tmp_path, capsys):
    source = sample(tmp_path, "helpsteer2")
    more = {"prompt": "1+1?", "chosen": "2", "rejected": "3", "subset": "math"}
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*SAMPLES["rewardbench"], more]))
    tables = read(
        tmp_path / "out", sft=sample(tmp_path, "lima"), judge=source, judge_benchmark=f"rewardbench:{path}"
    )
    assert [row["prompt"] for row in tables["pairs"]] == ["1+1?"]
    assert "left out 1: the prompt is in labels.judge" in capsys.readouterr().out


def test_read_seeds_takes_the_turns_of_a_benchmark(tmp_path, capsys):
    """Its prompts of several turns are in a table of their own; a prompt of the labels is left out."""
    labels = {"sft": sample(tmp_path, "lima"), "judge": sample(tmp_path, "helpsteer2")}
    extra = {"question_id": 1, "category": "x", "turns": [f" {ASK.upper()}", "Longer, please."]}
    path = tmp_path / "question.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*QUESTIONS, extra]))
    tables = read(tmp_path / "out", **labels, judge_benchmark=None, eval=f"mt-bench:{path}")
    turns = {row["prompt_id"]: row["messages"] for row in tables["turns"]}
    assert sorted(turns) == [row["prompt_id"] for row in tables["eval"]] == sorted(turns)
    (math,) = [row for row in tables["eval"] if row["category"] == "math"]
    assert math["prompt"] == "User: What is 1+1?\n\nUser: And twice that?" and math["reference"] == "4"
    assert turns[math["prompt_id"]] == asks("What is 1+1?", "And twice that?")
    printed = capsys.readouterr().out
    assert "left out 1: the prompt is in the labels" in printed
    assert "Evaluation, mine: 3 prompts, 0 with checks, 3 of several turns" in printed
    tables = read(tmp_path / "one", **labels, judge_benchmark=None, eval=f"mt-bench-turn-1:{path}")
    assert tables["turns"] == [] and len(tables["eval"]) == 4
    path.write_text(json.dumps(extra))
    with pytest.raises(InputError, match=r"question\.jsonl: found no prompt that is not in the labels"):
        read(tmp_path / "none", **labels, judge_benchmark=None, eval=f"mt-bench:{path}")


def test_a_file_of_another_shape_or_without_a_usable_row_is_refused(tmp_path):
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(json.dumps({"question": "a", "answer": "b"}))
    unused = tmp_path / "unused.jsonl"
    unused.write_text(json.dumps({"instruction": "a", "response": ""}))
    with pytest.raises(InputError) as error:
        read(
            tmp_path / "out",
            sft=f"dolly:{unused}",
            judge=f"ultrafeedback:{wrong}",
            judge_benchmark=sample(tmp_path, "rewardbench"),
        )
    assert "wrong.jsonl: missing columns: found 'answer', 'question'" in str(error.value)
    assert "unused.jsonl: found no row of dolly that labels.sft can take (1: a prompt or" in str(error.value)


def test_the_page_names_every_set_and_what_it_serves():
    page = (ROOT / "docs" / "label_sets.md").read_text()
    for name, label_set in SETS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        serves = [key for key in purposes.PURPOSES if f"`{key}`" in row.split("|")[3]]
        assert tuple(serves) == label_set.purposes, name
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert all(f"| `{name}` |" in page for name in sets_for("evaluation.benchmarks.mine"))
